//! Small repositories for everyone's tests: real formats, real signatures, tiny images.
//!
//! Nothing here takes a shortcut that a node could notice: a release goes through `add`, `sign`
//! and `release` like any other. Only fsync is left out, since a test's directory need not
//! survive a power cut.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use twinroot_core::bootfmt::pe::{self, Machine};
use twinroot_payload::encode::Params;
use twinroot_payload::verity::{self, TreeShape};
use twinroot_trust::digest::Digest;
use twinroot_trust::name::Name;
use twinroot_trust::time::{Seconds, UnixTime};
use twinroot_trust::version::Version;

use crate::add::{AddPlan, Added};
use crate::error::Result;
use crate::files::{Disk, Files};
use crate::init::{InitPlan, RolePlan, init};
use crate::keys::{KeyDirectory, KeyKind, Passphrase, SecretKey};
use crate::release::{Report, Selection};
use crate::repository::Repository;
use crate::ring::Ring;
use crate::rollout::{OfferPlan, Which};
use crate::serve::Server;
use crate::settings::Settings;

/// The time at which every fake repository begins: 2026-11-01T00:00:00Z.
pub const BEGINNING: UnixTime = UnixTime(1_793_491_200);
/// The product of fake repositories.
pub const PRODUCT: &str = "container-host";
/// Their architecture.
pub const ARCHITECTURE: &str = "x86-64";
/// The salt of their hash trees.
pub const SALT: [u8; 32] = [0x5a; 32];
/// Their channel that needs two of three keys.
pub const STABLE: &str = "stable";
/// Their channel that needs one key.
pub const EDGE: &str = "edge";

/// A small repository in a temporary directory, with its keys, at a time of its own.
#[derive(Debug)]
pub struct Repo {
    /// Present time; move it with [`Repo::pass`].
    pub now: UnixTime,
    /// The repository itself, for everything that has no short form here.
    pub repository: Repository,
    keys: KeyDirectory,
    params: Params,
    dir: TempDir,
}

/// A release that was published, with everything that a test wants to compare.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// Its id: the digest of its manifest.
    pub id: Digest,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The root image.
    pub image: Vec<u8>,
    /// Root hash of the image.
    pub root_hash: Digest,
    /// The UKI.
    pub uki: Vec<u8>,
    /// What `add` reported.
    pub added: Added,
}

impl Repo {
    /// A published repository without releases: channels `stable` (2 of 3) and `edge` (1 of 1),
    /// root and targets 2 of 3, keys that depend on `seed` alone.
    ///
    /// # Panics
    /// When the temporary directory cannot be used; this is for tests.
    pub fn new(seed: u64) -> Self {
        Self::with_files(seed, Arc::new(NoSync))
            .expect("a new repository in an empty temporary directory")
    }

    /// As [`Repo::new`], with writes going through `files`.
    ///
    /// # Errors
    /// Whatever `files` fails with.
    pub fn with_files(seed: u64, files: Arc<dyn Files>) -> Result<Self> {
        let dir = TempDir::new().expect("a temporary directory");
        let keys = KeyDirectory::new(dir.path().join("keys"), Passphrase::None);
        let name = |text: &str| text.parse::<Name>().expect("the constant is a name");
        let mut plan = InitPlan::new(Settings::new(name(PRODUCT), name(ARCHITECTURE)));
        plan.channels = vec![
            (name(STABLE), RolePlan::numbered(STABLE, 2, 3)),
            (name(EDGE), RolePlan::numbered(EDGE, 1, 1)),
        ];
        for key in plan.key_names() {
            keys.store(key, &key_from_seed(seed, key))?;
        }
        let repository = init(
            &dir.path().join("repository"),
            &plan,
            &keys,
            files,
            BEGINNING,
        )?;
        // 16 blocks a segment and a low level: several segments in an image of a few hundred KiB.
        let params = Params {
            segment_blocks: 16,
            level: 1,
            ..Params::default()
        };
        let mut repo = Self {
            now: BEGINNING,
            repository,
            keys,
            params,
            dir,
        };
        repo.sign_all()?;
        repo.publish()?;
        Ok(repo)
    }

    /// The repository directory.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    /// The directory that a web server hands out: `metadata` and `targets` are below it.
    pub fn published(&self) -> PathBuf {
        self.repository.layout.published()
    }

    /// The key directory.
    pub fn keys(&self) -> &KeyDirectory {
        &self.keys
    }

    /// Every key that is at hand.
    pub fn ring(&self) -> Ring {
        Ring::new(Some(self.keys.clone()))
    }

    /// The first root: the trust anchor of an image.
    ///
    /// # Panics
    /// When it is not there.
    pub fn anchor(&self) -> Vec<u8> {
        std::fs::read(self.repository.layout.metadata().join("1.root.json"))
            .expect("the first root is published")
    }

    /// Lets time pass.
    pub fn pass(&mut self, span: Seconds) {
        self.now = self.now.plus(span);
    }

    /// Coding parameters of later releases.
    pub fn set_params(&mut self, params: Params) {
        self.params = params;
    }

    /// Publishes a release of this image on a channel, signed by as many keys as it needs, and
    /// offers it to every node at once.
    ///
    /// # Panics
    /// When any step refuses it; use [`Repo::add`] to see refusals.
    pub fn release(&mut self, channel: &str, version: &str, image: &[u8]) -> Release {
        self.release_with(channel, version, image, |_| ())
    }

    /// As [`Repo::release`], after `change` has had its way with the plan.
    ///
    /// # Panics
    /// As [`Repo::release`].
    pub fn release_with(
        &mut self,
        channel: &str,
        version: &str,
        image: &[u8],
        change: impl FnOnce(&mut AddPlan),
    ) -> Release {
        let release = self
            .add(channel, version, image, change)
            .expect("a good release is added");
        self.sign_all().expect("every key is at hand");
        self.publish().expect("the drafts are complete");
        self.offer(channel, version);
        release
    }

    /// Adds a release to the draft of a channel without signing it.
    ///
    /// # Errors
    /// What `add` refuses.
    pub fn add(
        &mut self,
        channel: &str,
        version: &str,
        image: &[u8],
        change: impl FnOnce(&mut AddPlan),
    ) -> Result<Release> {
        let version: Version = version.parse().expect("the test gives a version");
        let root_hash = root_hash(image);
        let uki = uki(&version, &root_hash);
        let input = self.dir.path().join("input");
        std::fs::create_dir_all(&input).expect("a directory for input files");
        let (image_path, uki_path) = (input.join("root.img"), input.join("uki.efi"));
        write(&image_path, image);
        write(&uki_path, &uki);
        let mut plan = AddPlan::new(channel, version.clone(), &image_path, &uki_path);
        plan.salt = Some(SALT.to_vec());
        plan.params = self.params;
        // Tests of the full payload count its bytes; those of deltas ask for them.
        plan.delta_from = 0;
        change(&mut plan);
        let added = self.repository.add(&plan, &|_, _| (), self.now)?;
        let (_, manifest) = self.repository.manifest_of(channel, &plan.version)?;
        Ok(Release {
            version: plan.version,
            id: Digest::of(&manifest),
            manifest,
            image: image.to_vec(),
            root_hash,
            uki,
            added,
        })
    }

    /// Signs every draft with every key.
    ///
    /// # Errors
    /// When a draft cannot be read or written.
    pub fn sign_all(&mut self) -> Result<()> {
        let ring = self.ring();
        for role in self.repository.drafts()? {
            for name in self.repository.missing_signers(&role)? {
                if let Some(signer) = ring.signer(&name)? {
                    self.repository.sign_draft(&role, &*signer)?;
                }
            }
        }
        Ok(())
    }

    /// Publishes every complete draft.
    ///
    /// # Errors
    /// As [`Repository::release`].
    pub fn publish(&mut self) -> Result<Report> {
        self.repository
            .release(&Selection::default(), &self.ring(), self.now)
    }

    /// Signs timestamp (and snapshot when due) again.
    ///
    /// # Panics
    /// When it fails.
    pub fn refresh(&mut self) {
        self.repository
            .refresh(&self.ring(), self.now)
            .expect("the online keys are at hand");
    }

    /// Offers a release to every node at once, as fast as its manifest allows.
    ///
    /// # Panics
    /// When the channel does not list it.
    pub fn offer(&mut self, channel: &str, version: &str) {
        let version = version.parse().expect("the test gives a version");
        let plan = OfferPlan {
            version,
            start: None,
            schedule: None,
        };
        self.repository
            .offer(channel, &plan, self.now)
            .expect("within the manifest's limit");
        self.finish_policy();
    }

    /// Stops or resumes the rollout of a channel.
    ///
    /// # Panics
    /// When the channel is not there.
    pub fn set_paused(&mut self, channel: &str, paused: bool) {
        self.repository
            .set_paused(channel, paused, self.now)
            .expect("the channel is there");
        self.finish_policy();
    }

    /// Withdraws a release.
    ///
    /// # Panics
    /// When the channel is not there.
    pub fn withdraw(&mut self, channel: &str, release: &Digest) {
        self.repository
            .withdraw(channel, &Which::Release(*release), self.now)
            .expect("the channel is there");
        self.finish_policy();
    }

    /// Replaces a key of a role by a new one, signs and publishes everything that follows.
    ///
    /// # Panics
    /// When the role does not have the key.
    pub fn rotate(&mut self, role: &str, old: &str, new: &str) {
        let secret = key_from_seed(0, new);
        self.keys
            .store(new, &secret)
            .expect("the new key is not there yet");
        self.repository
            .rotate_key(role, old, (new, &secret.public()), self.now)
            .expect("the role has the old key");
        self.sign_all().expect("every key is at hand");
        self.publish().expect("the drafts are complete");
    }

    /// A web server on the published files.
    ///
    /// # Panics
    /// When no port is free.
    pub fn serve(&self) -> Server {
        Server::start(&self.published(), "127.0.0.1:0").expect("a port on the loopback")
    }

    fn finish_policy(&mut self) {
        self.sign_all().expect("every key is at hand");
        self.publish().expect("the rollout draft is complete");
    }
}

/// The key of that name in a fake repository of that seed.
///
/// # Panics
/// Never: every seed is an ed25519 key.
pub fn key_from_seed(seed: u64, name: &str) -> SecretKey {
    let seed: [u8; 32] = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(name)
        .finalize()
        .into();
    SecretKey::from_seed(KeyKind::Ed25519, &seed).expect("every seed is an ed25519 key")
}

/// An image of that many blocks, each with a content that depends on `seed` and its number: the
/// first half of a block is random, the rest repeats, so it compresses about two to one.
pub fn image(seed: u64, blocks: u64) -> Vec<u8> {
    (0..blocks).flat_map(|number| block(seed, number)).collect()
}

/// The same image with the blocks of these numbers changed, as a new release changes some.
pub fn changed(image: &[u8], seed: u64, numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut image = image.to_vec();
    for number in numbers {
        let at = usize::try_from(number).expect("a test image is small") * verity::BLOCK;
        image[at..at + verity::BLOCK].copy_from_slice(&block(seed, number));
    }
    image
}

fn block(seed: u64, number: u64) -> Vec<u8> {
    let start = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(number.to_le_bytes());
    let random =
        (0u64..64).flat_map(|part| start.clone().chain_update(part.to_le_bytes()).finalize());
    let mut block: Vec<u8> = random.collect();
    block.resize(verity::BLOCK, 0x2e);
    block
}

/// The root hash of an image under [`SALT`].
///
/// # Panics
/// When the image is no multiple of 4096 bytes.
pub fn root_hash(image: &[u8]) -> Digest {
    let shape = TreeShape::for_size(image.len() as u64).expect("test images are whole blocks");
    Digest::from_bytes(verity::root_of(&image, &shape, &SALT).expect("memory can be read"))
}

/// A UKI that carries the root hash, readable by every tool and started by none.
///
/// # Panics
/// Never, for a version and a digest.
pub fn uki(version: &Version, root_hash: &Digest) -> Vec<u8> {
    let cmdline = format!("roothash={root_hash} ro");
    // No clock is believed that lies before the build time or far behind it.
    let os_release = format!(
        "ID={PRODUCT}\nIMAGE_ID={PRODUCT}\nIMAGE_VERSION={version}\nVERSION_ID={version}\n\
         TWINROOT_BUILT={built}\n",
        built = BEGINNING.0
    );
    let kernel = block(u64::from_le_bytes(first_eight(root_hash)), 0);
    let sections: [(&str, &[u8]); 3] = [
        (".osrel", os_release.as_bytes()),
        (".cmdline", cmdline.as_bytes()),
        (".linux", &kernel),
    ];
    pe::build_uki("uki", None, Machine::X86_64, &sections).expect("three small sections fit")
}

fn first_eight(digest: &Digest) -> [u8; 8] {
    digest.as_bytes()[..8]
        .try_into()
        .expect("a digest has 32 bytes")
}

#[expect(clippy::disallowed_methods, reason = "an input file of a test")]
fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("the temporary directory can be written");
}

/// The real file system without waiting for the disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSync;

impl Files for NoSync {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        Disk.create_dir(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        Disk.write(path, bytes)
    }

    fn sync_file(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }
}
