//! What a publisher does over the years, and what a node makes of it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail by panicking, and its input files need not survive a crash"
)]

mod common;

use common::{Store, view};
use twinroot_publish::error::Error;
use twinroot_publish::fake::{self, EDGE, Repo, STABLE};
use twinroot_publish::release::Selection;
use twinroot_trust::time::Seconds;

const DAY: u64 = 86_400;

fn seen(repo: &Repo, channel: &str) -> Vec<String> {
    let view = view(
        &repo.published(),
        &repo.anchor(),
        &mut Store::new(),
        repo.now,
    )
    .expect("a node reads the repository");
    view.releases[channel].clone()
}

#[test]
fn a_release_is_found_by_nodes_of_its_channel_and_by_no_other() {
    let mut repo = Repo::new(1);
    repo.release(STABLE, "1.0", &fake::image(1, 64));
    repo.release(EDGE, "2.0", &fake::image(2, 16));
    assert_eq!(seen(&repo, STABLE), ["1.0"]);
    assert_eq!(seen(&repo, EDGE), ["2.0"]);
}

#[test]
fn one_signature_of_two_publishes_nothing() {
    let mut repo = Repo::new(2);
    repo.add(STABLE, "1.0", &fake::image(1, 16), |_| ())
        .unwrap();
    let signer = repo.ring().signer("stable-1").unwrap().unwrap();
    for _ in 0..2 {
        // The same key twice is still one key.
        repo.repository
            .sign_draft("channel-stable", &*signer)
            .unwrap();
    }
    let refused = repo.publish().unwrap_err();
    assert!(
        matches!(refused, Error::DraftIncomplete { .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("stable-2, stable-3"),
        "it names who could sign: {refused}"
    );
    assert_eq!(seen(&repo, STABLE), [""; 0]);
}

#[test]
fn promotion_lists_the_same_bytes_so_the_release_keeps_its_id() {
    let mut repo = Repo::new(3);
    let release = repo.release(EDGE, "1.0", &fake::image(1, 16));
    repo.repository
        .promote(EDGE, STABLE, &release.version, repo.now)
        .unwrap();
    repo.sign_all().unwrap();
    repo.publish().unwrap();
    assert_eq!(seen(&repo, STABLE), ["1.0"]);
    assert_eq!(
        repo.repository
            .manifest_of(STABLE, &release.version)
            .unwrap()
            .1,
        release.manifest
    );
    let again = repo
        .repository
        .promote(EDGE, STABLE, &release.version, repo.now);
    assert!(
        matches!(again, Err(Error::ReleaseExists { .. })),
        "{again:?}"
    );
}

/// Bytes that a node on `base` fetches of a release, index included.
fn fetched(repo: &Repo, release: &fake::Release, base: &[u8]) -> u64 {
    use twinroot_payload::index::{self, Expect, Index};
    use twinroot_payload::plan::{Plan, TargetScan};
    use twinroot_payload::reuse::{Base, ReuseTable, TABLE_BYTES};
    let manifest = twinroot_trust::manifest::Manifest::parse(&release.manifest).unwrap();
    let (image, root_hash) = (manifest.system_image(), *release.root_hash.as_bytes());
    let file = std::fs::read(repo.published().join("targets").join(&image.full.path)).unwrap();
    let twinroot_trust::manifest::Coding::Segments { index: named, .. } = &image.full.coding else {
        panic!("images are coded in segments");
    };
    let bytes = index::load(&file, named.size, named.sha256.as_bytes()).unwrap();
    let expect = Expect {
        image_bytes: image.size,
        root_hash,
        file_bytes: image.full.size,
    };
    let index = Index::open(&bytes, &expect).unwrap();
    let blocks = base.len() as u64 / 4096;
    let table = ReuseTable::build(
        Base::to_hash(&base, blocks, &fake::SALT),
        &index,
        TABLE_BYTES,
    );
    let plan = Plan::make(&index, Some(&table), TargetScan::Nothing).unwrap();
    named.size + plan.figures().fetch
}

#[test]
fn a_node_on_the_release_before_fetches_little_more_than_what_is_new() {
    let base = fake::image(1, 256);
    // Every eighth block: without the history each segment of 16 blocks would hold two new ones.
    let next = fake::changed(&base, 2, (0..256).step_by(8));
    let mut repo = Repo::new(4);
    repo.release(STABLE, "1.0", &base);
    let release = repo.release(STABLE, "1.1", &next);
    let mut forgetful = Repo::new(4);
    forgetful.release(STABLE, "1.0", &base);
    std::fs::remove_file(
        forgetful
            .repository
            .layout
            .releases()
            .join("1.0/blocks.history"),
    )
    .unwrap();
    let without = forgetful.release(STABLE, "1.1", &next);
    let (with, without) = (
        fetched(&repo, &release, &base),
        fetched(&forgetful, &without, &base),
    );
    println!(
        "with history {with}, without {without} of {} bytes",
        release.added.payload_bytes
    );
    // An eighth of the blocks is new; twice that leaves room for the index of a tiny image.
    assert!(
        with * 4 < release.added.payload_bytes,
        "{with} of {}",
        release.added.payload_bytes
    );
    assert!(with * 3 < without, "{with} with history, {without} without");
}

#[test]
fn payload_bytes_do_not_depend_on_the_number_of_threads() {
    let image = fake::image(1, 200);
    let payload_with = |threads: usize| {
        let mut repo = Repo::new(5);
        let release = repo.release_with(STABLE, "1.0", &image, |plan| plan.threads = threads);
        let manifest = twinroot_trust::manifest::Manifest::parse(&release.manifest).unwrap();
        manifest.system_image().full.sha256
    };
    assert_eq!(payload_with(1), payload_with(2));
    assert_eq!(payload_with(1), payload_with(7));
}

#[test]
fn a_repository_that_nobody_refreshes_is_refused_after_seven_days_and_refresh_heals_it() {
    let mut repo = Repo::new(6);
    repo.release(STABLE, "1.0", &fake::image(1, 16));
    repo.pass(Seconds(7 * DAY));
    let refused = view(
        &repo.published(),
        &repo.anchor(),
        &mut Store::new(),
        repo.now,
    )
    .unwrap_err();
    assert!(refused.contains("expired"), "{refused}");
    repo.refresh();
    assert_eq!(seen(&repo, STABLE), ["1.0"]);
    // The snapshot lives 30 days and is renewed when ten are left.
    let before = repo.repository.published.version("snapshot");
    repo.pass(Seconds(14 * DAY));
    repo.refresh();
    assert_eq!(repo.repository.published.version("snapshot"), before + 1);
}

#[test]
fn a_role_that_nears_its_expiry_is_drafted_again_as_it_is() {
    let mut repo = Repo::new(16);
    repo.release(STABLE, "1.0", &fake::image(1, 16));
    repo.pass(Seconds(360 * DAY));
    for role in [
        "root",
        "targets",
        "channel-stable",
        "channel-edge",
        "rollout",
    ] {
        repo.repository.renew(role, repo.now).unwrap();
    }
    assert!(repo.repository.renew("timestamp", repo.now).is_err());
    repo.sign_all().unwrap();
    repo.publish().unwrap();
    repo.pass(Seconds(6 * DAY));
    assert_eq!(seen(&repo, STABLE), ["1.0"], "a day after the first expiry");
}

#[test]
fn every_role_can_change_a_key_and_old_nodes_follow() {
    let mut repo = Repo::new(7);
    repo.release(STABLE, "1.0", &fake::image(1, 16));
    let mut store = Store::new();
    view(&repo.published(), &repo.anchor(), &mut store, repo.now).unwrap();
    let rotations = [
        ("root", "root-1", "root-9"),
        ("targets", "targets-1", "targets-9"),
        ("snapshot", "snapshot-1", "snapshot-9"),
        ("timestamp", "timestamp-1", "timestamp-9"),
        ("rollout", "rollout-1", "rollout-9"),
        (STABLE, "stable-1", "stable-9"),
        (STABLE, "stable-2", "stable-8"),
    ];
    for (role, old, new) in rotations {
        repo.rotate(role, old, new);
        let found = view(&repo.published(), &repo.anchor(), &mut store, repo.now)
            .unwrap_or_else(|why| panic!("{role}: {why}"));
        assert_eq!(found.releases[STABLE], ["1.0"], "{role}");
        assert_eq!(
            seen(&repo, STABLE),
            ["1.0"],
            "{role}: a new node starts from the first root"
        );
        let refused = repo.repository.rotate_key(
            role,
            old,
            (new, &fake::key_from_seed(0, new).public()),
            repo.now,
        );
        assert!(
            matches!(refused, Err(Error::Argument { .. })),
            "{role}: {refused:?}"
        );
    }
    assert_eq!(repo.repository.published.version("root"), 5);
}

#[test]
fn a_lost_timestamp_key_can_be_replaced_when_the_gap_is_accepted() {
    let mut repo = Repo::new(8);
    repo.release(STABLE, "1.0", &fake::image(1, 16));
    let mut store = Store::new();
    view(&repo.published(), &repo.anchor(), &mut store, repo.now).unwrap();
    std::fs::remove_file(repo.keys().path().join("timestamp-1.key")).unwrap();
    let secret = fake::key_from_seed(0, "timestamp-9");
    repo.keys().store("timestamp-9", &secret).unwrap();
    repo.repository
        .rotate_key(
            "timestamp",
            "timestamp-1",
            ("timestamp-9", &secret.public()),
            repo.now,
        )
        .unwrap();
    repo.sign_all().unwrap();
    let refused = repo.publish().unwrap_err();
    assert!(
        matches!(refused, Error::OnlineKeyMissing { .. }),
        "{refused}"
    );
    let selection = Selection {
        accept_gap: true,
        ..Selection::default()
    };
    repo.repository
        .release(&selection, &repo.ring(), repo.now)
        .unwrap();
    assert_eq!(seen(&repo, STABLE), ["1.0"]);
    view(&repo.published(), &repo.anchor(), &mut store, repo.now)
        .expect("a node with the old store follows");
}

#[test]
fn a_key_ceremony_that_is_not_finished_stops_neither_release_nor_pause() {
    let mut repo = Repo::new(9);
    repo.release(STABLE, "1.0", &fake::image(1, 16));
    for (role, old, new) in [
        ("rollout", "rollout-1", "rollout-9"),
        (EDGE, "edge-1", "edge-9"),
    ] {
        let secret = fake::key_from_seed(0, new);
        repo.keys().store(new, &secret).unwrap();
        repo.repository
            .rotate_key(role, old, (new, &secret.public()), repo.now)
            .unwrap();
    }
    // Nobody has signed the new delegations: the old keys still count.
    repo.repository.set_paused(STABLE, true, repo.now).unwrap();
    let signer = repo.ring().signer("rollout-1").unwrap().unwrap();
    repo.repository.sign_draft("rollout", &*signer).unwrap();
    let selection = Selection {
        roles: vec!["rollout".into()],
        accept_gap: false,
    };
    repo.repository
        .release(&selection, &repo.ring(), repo.now)
        .unwrap();
    assert!(repo.repository.policy(STABLE).unwrap().unwrap().paused);
    assert_eq!(seen(&repo, STABLE), ["1.0"]);
}

#[test]
fn a_withdrawn_release_stays_listed_and_is_named_by_its_id() {
    let mut repo = Repo::new(10);
    let release = repo.release(STABLE, "1.0", &fake::image(1, 16));
    repo.withdraw(STABLE, &release.id);
    repo.withdraw(STABLE, &release.id);
    let policy = repo.repository.policy(STABLE).unwrap().unwrap();
    assert_eq!(policy.withdrawn, [release.id]);
    assert_eq!(
        seen(&repo, STABLE),
        ["1.0"],
        "manifests are immutable and never unlisted"
    );
}
