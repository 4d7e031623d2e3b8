//! The repositories of the crash matrix, each as it stands after one act of its publisher.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use twinroot_payload::encode::Params;
use twinroot_payload::io::Fault;
use twinroot_payload::verity::{BLOCK, Superblock, TreeBuilder, TreeShape, block_hash};
use twinroot_publish::add::AddPlan;
use twinroot_publish::fake::{self, Release, Repo, SALT, STABLE};
use twinroot_sim::source::Repository;
use twinroot_trust::time::{Seconds, UnixTime};

/// Blocks of every image: enough for a tree with a root block, segments that are fetched, reused
/// and found in place, and few enough that thousands of runs take minutes.
const BLOCKS: u64 = 8;

/// Everything that was published along one line of history.
#[derive(Debug)]
pub struct Line {
    /// The trust anchor of every image.
    pub anchor: Vec<u8>,
    /// Releases by version.
    pub releases: BTreeMap<&'static str, Release>,
    /// What the repository looked like after each act.
    pub stages: BTreeMap<&'static str, Arc<Repository>>,
    /// The publisher's time at the end.
    pub now: UnixTime,
}

impl Line {
    /// A release of this line.
    ///
    /// # Panics
    /// Where the line has none of that version.
    #[must_use]
    pub fn release(&self, version: &str) -> &Release {
        self.releases
            .get(version)
            .expect("the line has this release")
    }

    /// The repository after an act.
    ///
    /// # Panics
    /// Where the line has no such act.
    #[must_use]
    pub fn stage(&self, name: &str) -> Arc<Repository> {
        self.stages
            .get(name)
            .expect("the line has this stage")
            .clone()
    }
}

/// A publisher at work.
struct Work {
    repo: Repo,
    line: Line,
}

impl Work {
    fn new() -> Self {
        let mut repo = Repo::new(7);
        repo.set_params(Params {
            segment_blocks: 2,
            level: 1,
            ..Params::default()
        });
        let (anchor, now) = (repo.anchor(), repo.now);
        let line = Line {
            anchor,
            releases: BTreeMap::new(),
            stages: BTreeMap::new(),
            now,
        };
        Self { repo, line }
    }

    /// A release that shares half of its blocks with every other one of the line.
    fn release(&mut self, version: &'static str, seed: u64) {
        self.repo.pass(Seconds(3600));
        let shared = fake::image(1, BLOCKS);
        let image = fake::changed(&shared, seed, (0..BLOCKS).filter(|block| block % 2 == 1));
        let release = self.repo.release(STABLE, version, &image);
        self.line.releases.insert(version, release);
        self.mark(version);
    }

    /// A release of which every second block has a few bytes of its own, with deltas that pay.
    fn release_by_delta(&mut self, version: &'static str, seed: u8) {
        self.repo.pass(Seconds(3600));
        let mut image = fake::image(1, BLOCKS);
        for block in image.chunks_exact_mut(BLOCK).skip(1).step_by(2) {
            block[200..208].fill(seed);
        }
        let change = |plan: &mut AddPlan| plan.delta_from = 2;
        let release = self.repo.release_with(STABLE, version, &image, change);
        let made = &release.added.deltas;
        let paid = made.iter().filter(|d| d.published && d.kind == "root");
        assert_eq!(paid.count(), self.line.releases.len().min(2), "{made:?}");
        self.line.releases.insert(version, release);
        self.mark(version);
    }

    fn mark(&mut self, name: &'static str) {
        let repository = read(&self.repo.published());
        self.line.stages.insert(name, Arc::new(repository));
    }

    fn done(mut self) -> Line {
        self.line.now = self.repo.now;
        self.line
    }
}

/// 1.0, 1.1, 1.2 and the release that everybody must be able to take in the end.
#[must_use]
pub fn plain() -> Line {
    let mut work = Work::new();
    work.release("1.0", 10);
    work.release("1.1", 11);
    work.release("1.2", 12);
    work.release("9.0", 90);
    work.done()
}

/// The same three with deltas from one to the next.
///
/// # Panics
/// Where a delta does not pay: then the history would say nothing of deltas.
#[must_use]
pub fn by_delta() -> Line {
    let mut work = Work::new();
    work.release_by_delta("1.0", 10);
    work.release_by_delta("1.1", 11);
    work.release_by_delta("9.0", 90);
    work.done()
}

/// 1.1 is withdrawn after it was released.
#[must_use]
pub fn withdrawn() -> Line {
    let mut work = Work::new();
    work.release("1.0", 10);
    work.release("1.1", 11);
    let id = work.line.release("1.1").id;
    work.repo.withdraw(STABLE, &id);
    work.mark("withdrawn");
    work.release("9.0", 90);
    work.done()
}

/// Timestamp, snapshot and root keys are replaced before 1.1 comes.
#[must_use]
pub fn rotated() -> Line {
    let mut work = Work::new();
    work.release("1.0", 10);
    work.repo
        .rotate("timestamp", "timestamp-1", "timestamp-new");
    work.repo.rotate("snapshot", "snapshot-1", "snapshot-new");
    work.repo.rotate("root", "root-1", "root-new");
    work.release("1.1", 11);
    work.release("9.0", 90);
    work.done()
}

/// All published files below a directory.
fn read(published: &Path) -> Repository {
    let mut repository = Repository::default();
    walk(&published.join("metadata"), "", &mut repository.metadata);
    walk(&published.join("targets"), "", &mut repository.targets);
    repository
}

fn walk(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Arc<[u8]>>) {
    for entry in std::fs::read_dir(folder).expect("the publisher made it") {
        let entry = entry.expect("a readable directory");
        let name = entry
            .file_name()
            .into_string()
            .expect("published names are plain");
        let path = format!("{prefix}{name}");
        if entry.file_type().expect("a readable entry").is_dir() {
            walk(&entry.path(), &format!("{path}/"), files);
        } else {
            let bytes = std::fs::read(entry.path()).expect("a readable file");
            files.insert(path, bytes.into());
        }
    }
}

/// Superblock and hash tree of a release, as the installer writes them.
///
/// # Panics
/// Never for images of whole blocks.
#[must_use]
pub fn tree_of(release: &Release) -> Vec<u8> {
    let shape = TreeShape::for_size(release.image.len() as u64).expect("whole blocks");
    let mut tree = vec![0; usize::try_from(shape.partition_bytes()).expect("a small image")];
    let mut builder = TreeBuilder::new(shape, &SALT).expect("the salt fits");
    let mut emit = |offset: u64, block: &[u8; BLOCK]| -> Result<(), Fault> {
        let at = usize::try_from(offset).expect("a small image");
        tree[at..at + BLOCK].copy_from_slice(block);
        Ok(())
    };
    for block in release.image.chunks_exact(BLOCK) {
        builder
            .push(&block_hash(&SALT, block), &mut emit)
            .expect("as many leaves as blocks");
    }
    let root = builder.finish(&mut emit).expect("all leaves are in");
    let superblock = Superblock::new(&shape, &SALT, &root).expect("the salt fits");
    tree[..BLOCK].copy_from_slice(&superblock.encode());
    tree
}
