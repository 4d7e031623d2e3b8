//! A crash between any two steps leaves a repository that nodes read as the old or as the new one.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail by panicking, and its input files need not survive a crash"
)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Death, Mortal, Store, View, copy_tree, view};
use tempfile::TempDir;
use twinroot_publish::add::AddPlan;
use twinroot_publish::error::Result;
use twinroot_publish::fake::{self, EDGE, NoSync, Repo, SALT, STABLE};
use twinroot_publish::release::Selection;
use twinroot_publish::repository::Repository;
use twinroot_publish::rollout::OfferPlan;

/// What is done to the repository while it may die.
type Act<'a> = &'a dyn Fn(&mut Repository) -> Result<()>;

struct Figures {
    operations: usize,
    old: usize,
    new: usize,
}

/// Dies before every operation of `act` in turn, in both ways; every node must then read the
/// repository as it was or as it is to be, and doing `act` again must lead to the end.
fn die_everywhere(repo: &Repo, act: Act<'_>) -> Figures {
    let old = see(&repo.published(), repo).expect("the starting point is good");
    let end = {
        let dir = copy_of(repo);
        let mut repository = open(&dir, Arc::new(NoSync)).unwrap();
        act(&mut repository).expect("without a death it succeeds");
        see(&dir.path().join("repo"), repo).expect("the end is good")
    };
    let mut figures = Figures {
        operations: 0,
        old: 0,
        new: 0,
    };
    for death in [Death::Killed, Death::PowerCut] {
        for operations in 0.. {
            let dir = copy_of(repo);
            let mortal = Arc::new(Mortal::new(operations, death));
            let outcome =
                open(&dir, mortal.clone()).and_then(|mut repository| act(&mut repository));
            assert_eq!(
                outcome.is_err(),
                mortal.is_dead(),
                "{death:?} before operation {operations}: {outcome:?}"
            );
            let published = dir.path().join("repo");
            let found = see(&published, repo)
                .unwrap_or_else(|why| panic!("{death:?} before operation {operations}: {why}"));
            match (same(&found, &old), same(&found, &end)) {
                (true, _) => figures.old += 1,
                (false, true) => figures.new += 1,
                (false, false) => panic!(
                    "{death:?} before operation {operations}: neither old nor new: {found:?}"
                ),
            }
            if !mortal.is_dead() {
                break;
            }
            // Killed for good, the publisher starts again. What is published already needs no
            // second time; everything else does.
            let mut repository =
                open(&dir, Arc::new(NoSync)).expect("the repository opens after the crash");
            if same(&found, &old) {
                act(&mut repository).unwrap_or_else(|why| {
                    panic!("{death:?} before operation {operations}, again: {why}")
                });
            }
            drop(repository);
            let found = see(&published, repo).expect("the repository is good after the second try");
            assert!(
                same(&found, &end),
                "{death:?} before operation {operations}: ends as {found:?}"
            );
            figures.operations += 1;
        }
    }
    figures
}

/// The timestamp's version may rise once more by the second try; everything else must be equal.
fn same(one: &View, other: &View) -> bool {
    one.root == other.root && one.releases == other.releases
}

/// A new node, and one that has seen the old state before: both must be able to read.
fn see(published: &Path, repo: &Repo) -> std::result::Result<View, String> {
    let new_node = view(published, &repo.anchor(), &mut Store::new(), repo.now)?;
    let mut store = Store::new();
    view(&repo.published(), &repo.anchor(), &mut store, repo.now)?;
    let old_node = view(published, &repo.anchor(), &mut store, repo.now)?;
    assert_eq!(new_node, old_node);
    Ok(new_node)
}

fn copy_of(repo: &Repo) -> TempDir {
    let dir = TempDir::new().unwrap();
    copy_tree(&repo.path(), dir.path());
    dir
}

fn open(dir: &TempDir, files: Arc<dyn twinroot_publish::files::Files>) -> Result<Repository> {
    Repository::open_with(dir.path(), files)
}

fn report(what: &str, figures: &Figures) {
    let Figures {
        operations,
        old,
        new,
    } = figures;
    println!("{what}: {operations} deaths, {old} ends old, {new} ends new");
    assert!(
        *old > 0 && *new > 0,
        "the deaths must fall on both sides of the publication"
    );
}

#[test]
fn a_crash_while_publishing_a_release_leaves_the_old_or_the_new_repository() {
    let mut repo = Repo::new(11);
    let first = repo.release(STABLE, "1.0", &fake::image(1, 32));
    repo.add(STABLE, "1.1", &fake::changed(&first.image, 2, [5]), |_| ())
        .unwrap();
    repo.sign_all().unwrap();
    let (ring, now) = (repo.ring(), repo.now);
    let act = move |repository: &mut Repository| {
        repository
            .release(&Selection::default(), &ring, now)
            .map(drop)
    };
    report("release", &die_everywhere(&repo, &act));
}

#[test]
fn a_crash_while_adding_signing_and_publishing_leaves_the_old_or_the_new_repository() {
    let mut repo = Repo::new(12);
    let first = repo.release(EDGE, "1.0", &fake::image(1, 32));
    let image = fake::changed(&first.image, 2, [5]);
    let version: twinroot_trust::version::Version = "1.1".parse().unwrap();
    let input = TempDir::new().unwrap();
    let (image_path, uki_path) = (input.path().join("root.img"), input.path().join("uki.efi"));
    std::fs::write(&image_path, &image).unwrap();
    std::fs::write(&uki_path, fake::uki(&version, &fake::root_hash(&image))).unwrap();
    let mut plan = AddPlan::new(EDGE, version.clone(), &image_path, &uki_path);
    plan.salt = Some(SALT.to_vec());
    plan.params.level = 1;
    let (ring, now) = (repo.ring(), repo.now);
    let act = move |repository: &mut Repository| {
        // As a person would go on: what is drafted already is not added again.
        let drafted = repository
            .releases(EDGE)?
            .iter()
            .any(|(known, _)| *known == version);
        if !drafted {
            repository.add(&plan, &|_, _| (), now)?;
        }
        repository.sign_draft("channel-edge", &*ring.signer("edge-1")?.unwrap())?;
        repository.release(&Selection::default(), &ring, now)?;
        Ok(())
    };
    report("add, sign, release", &die_everywhere(&repo, &act));
}

#[test]
fn a_crash_while_the_timestamp_key_is_replaced_never_leaves_a_pair_that_does_not_fit() {
    let mut repo = Repo::new(13);
    repo.release(STABLE, "1.0", &fake::image(1, 16));
    for (role, old, new) in [
        ("timestamp", "timestamp-1", "timestamp-2"),
        ("snapshot", "snapshot-1", "snapshot-2"),
        ("targets", "targets-1", "targets-4"),
    ] {
        let secret = fake::key_from_seed(13, new);
        repo.keys().store(new, &secret).unwrap();
        repo.repository
            .rotate_key(role, old, (new, &secret.public()), repo.now)
            .unwrap();
    }
    repo.sign_all().unwrap();
    let (ring, now) = (repo.ring(), repo.now);
    let act = move |repository: &mut Repository| match repository.release(
        &Selection::default(),
        &ring,
        now,
    ) {
        // The root itself was out already and only its draft was left behind.
        Err(twinroot_publish::error::Error::DraftMissing(_)) => Ok(()),
        other => other.map(drop),
    };
    report("root rotation", &die_everywhere(&repo, &act));
}

#[test]
fn a_crash_while_pausing_or_refreshing_leaves_the_old_or_the_new_repository() {
    let mut repo = Repo::new(14);
    repo.release(EDGE, "1.0", &fake::image(1, 16));
    let image = fake::image(2, 16);
    repo.add(EDGE, "2.0", &image, |_| ()).unwrap();
    repo.sign_all().unwrap();
    let (ring, now) = (repo.ring(), repo.now);
    let act = move |repository: &mut Repository| {
        let plan = OfferPlan {
            version: "2.0".parse().unwrap(),
            start: None,
            schedule: None,
        };
        repository.offer(EDGE, &plan, now)?;
        repository.sign_draft("rollout", &*ring.signer("rollout-1")?.unwrap())?;
        repository.release(&Selection::default(), &ring, now)?;
        repository.refresh(&ring, now)?;
        Ok(())
    };
    report("offer and refresh", &die_everywhere(&repo, &act));
}

#[test]
fn a_publisher_that_forgets_to_sync_files_is_caught_by_these_tests() {
    let mut repo = Repo::new(15);
    repo.add(EDGE, "1.0", &fake::image(1, 16), |_| ()).unwrap();
    repo.sign_all().unwrap();
    let mut caught = 0;
    for operations in 0.. {
        let dir = copy_of(&repo);
        let mortal = Arc::new(Mortal::forgetful(operations));
        let published = open(&dir, mortal.clone()).and_then(|mut repository| {
            repository.release(&Selection::default(), &repo.ring(), repo.now)
        });
        caught += usize::from(see(&dir.path().join("repo"), &repo).is_err());
        if published.is_ok() {
            break;
        }
    }
    println!("{caught} deaths show the missing sync");
    assert!(
        caught > 0,
        "power cuts without syncs must break the repository"
    );
}
