//! Builds of the reference host, kept by what they were made from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::host::{alone_in, capture, target, workspace};

/// The programs of the project, as `./x vm` has built them.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `twinroot-image`.
    pub image: PathBuf,
    /// `twinroot-publish`.
    pub publish: PathBuf,
    /// The node's binary.
    pub node: PathBuf,
    /// The initramfs's program.
    pub init: PathBuf,
    /// The command server of the guest.
    pub guest: PathBuf,
    /// Budget of root images in place of the recipe's: development builds of these programs are larger.
    pub root_budget: Option<String>,
}

/// Which image is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its version.
    pub version: String,
    /// Variant of the recipe; what ships has none.
    pub variant: Option<String>,
    /// More words of the kernel command line: faults.
    pub words: Vec<String>,
    /// A tree laid over everything else.
    pub overlay: Option<PathBuf>,
}

impl Wanted {
    /// The test variant without a fault.
    #[must_use]
    pub fn test(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            variant: Some("test".to_owned()),
            words: Vec::new(),
            overlay: None,
        }
    }

    /// Everything that ships, with the tests' way in and a console that a person can type on.
    #[must_use]
    pub fn shipped(version: &str) -> Self {
        Self {
            variant: Some("probe".to_owned()),
            overlay: Some(workspace().join("rootfs/overlay/test")),
            ..Self::test(version)
        }
    }

    /// With a word on the kernel command line.
    #[must_use]
    pub fn with(mut self, word: &str) -> Self {
        self.words.push(word.to_owned());
        self
    }
}

/// A built release.
#[derive(Debug, Clone)]
pub struct Built {
    /// Its version.
    pub version: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The root image.
    pub root: PathBuf,
    /// Its hash tree.
    pub tree: PathBuf,
    /// The boot image.
    pub uki: PathBuf,
    /// Root hash, by the builder's description; every scenario compares it with what the guest's kernel
    /// enforces.
    pub root_hash: String,
    /// Its variant; what ships has none.
    pub variant: Option<String>,
}

/// Builds images and keeps them below one folder.
#[derive(Debug)]
pub struct Builder {
    programs: Programs,
    cache: PathBuf,
    /// The publisher's first root, in every image.
    anchor: PathBuf,
}

impl Builder {
    /// Builds with these programs into `cache`.
    #[must_use]
    pub fn new(programs: &Programs, cache: &Path, anchor: PathBuf) -> Self {
        Self {
            programs: programs.clone(),
            cache: cache.to_owned(),
            anchor,
        }
    }

    /// The image, from the cache where the same was built before.
    ///
    /// # Errors
    /// What the image builder says.
    pub fn build(&self, wanted: &Wanted) -> Result<Built> {
        let key = self.key(wanted)?;
        let _alone = alone_in(&self.cache)?;
        let folder = self.cache.join("images").join(key);
        if !folder.join("image.json").is_file() {
            capture(&mut self.command(wanted, &folder)?)?;
        }
        self.built(wanted, folder)
    }

    /// A disk with the release in slot A, from the cache where the same was made before.
    ///
    /// # Errors
    /// What the image builder says.
    pub fn disk(&self, built: &Built) -> Result<PathBuf> {
        self.disk_with(built, &[])
    }

    /// The same with more options of `twinroot-image disk`.
    ///
    /// # Errors
    /// What the image builder says.
    pub fn disk_with(&self, built: &Built, options: &[&str]) -> Result<PathBuf> {
        let name = match options {
            [] => "disk.raw".to_owned(),
            _ => format!("disk-{}.raw", hash_words(options)),
        };
        let path = built.folder.join(name);
        let _alone = alone_in(&self.cache)?;
        if !path.is_file() {
            // It gets its name when it is whole.
            let mut disk = Command::new(&self.programs.image);
            disk.args(["--quiet", "disk"]).arg(&built.folder);
            capture(disk.arg("--out").arg(&path).args(options))?;
        }
        Ok(path)
    }

    fn command(&self, wanted: &Wanted, folder: &Path) -> Result<Command> {
        let config = self.config(wanted)?;
        let mut build = Command::new(&self.programs.image);
        build.current_dir(workspace()).args(["--quiet", "build"]);
        build.args(["--image-version", &wanted.version]);
        build.arg("--out").arg(folder);
        build.arg("--cache").arg(target().join("image-cache"));
        build.arg("--anchor").arg(&self.anchor);
        build.arg("--config").arg(config);
        build.arg("--init").arg(&self.programs.init);
        let program = |name: &str, path: &Path| format!("{name}={}", path.display());
        build.args(["--program", &program("twinroot", &self.programs.node)]);
        if let Some(variant) = &wanted.variant {
            let guest = program("twinroot-vm-guest", &self.programs.guest);
            build.args(["--variant", variant, "--program", &guest]);
            build.arg("--overlay").arg(overlay());
        }
        if let Some(tree) = &wanted.overlay {
            build.arg("--overlay").arg(tree);
        }
        for word in &wanted.words {
            build.args(["--cmdline", word]);
        }
        if let Some(size) = &self.programs.root_budget {
            build.args(["--root-budget", size]);
        }
        Ok(build)
    }

    /// The image's own configuration, in a folder as the builder wants it.
    fn config(&self, wanted: &Wanted) -> Result<PathBuf> {
        let name = wanted.variant.as_deref().unwrap_or("release");
        let folder = self.cache.join("config").join(name);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("10-vm.toml"), config_text(wanted))?;
        Ok(folder)
    }

    /// Digest of everything that decides about an image. Packages of the archive are not among it:
    /// the builder keeps those itself, until it is told to look again.
    fn key(&self, wanted: &Wanted) -> Result<String> {
        let mut hash = Sha256::new();
        let programs = &self.programs;
        for file in [
            &programs.image,
            &programs.node,
            &programs.init,
            &programs.guest,
            &self.anchor,
        ] {
            hash_file(&mut hash, file)?;
        }
        for tree in [
            workspace().join("rootfs"),
            workspace().join("systemd"),
            overlay(),
        ] {
            hash_tree(&mut hash, &tree)?;
        }
        if let Some(tree) = &wanted.overlay {
            hash_tree(&mut hash, tree)?;
        }
        hash.update(config_text(wanted));
        hash.update(format!("{wanted:?}"));
        Ok(format!("{}-{}", wanted.version, &hex(hash)[..16]))
    }

    fn built(&self, wanted: &Wanted, folder: PathBuf) -> Result<Built> {
        let path = folder.join("image.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("the image builder made no {}", path.display()))?;
        let described: Value = serde_json::from_str(&text)?;
        let Some(root_hash) = described["root-hash"].as_str() else {
            bail!("{} names no root hash", path.display());
        };
        Ok(Built {
            version: wanted.version.clone(),
            root: folder.join("root.img"),
            tree: folder.join("root.verity"),
            uki: folder.join("uki.efi"),
            root_hash: root_hash.to_owned(),
            variant: wanted.variant.clone(),
            folder,
        })
    }
}

/// Units and files that only test machines have.
fn overlay() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("overlay")
}

/// The node updates by itself, as it would on a rack: a scenario publishes and watches. Five seconds of
/// probation are five successes of the workload's check; scenarios that need more say so in the manifest.
fn config_text(wanted: &Wanted) -> String {
    let variant = wanted
        .variant
        .as_ref()
        .map(|name| format!("variant = \"{name}\"\n"))
        .unwrap_or_default();
    format!(
        "[identity]\nproduct = \"container-host\"\n{variant}architecture = \"x86-64\"\n\
         [update]\nchannel = \"stable\"\nstrategy = \"automatic\"\n\
         [polling]\ninterval = \"60s\"\njitter = \"0s\"\n\
         [health]\nprobation = \"5s\"\ndeadline = \"10m\"\n"
    )
}

fn hash_words(words: &[&str]) -> String {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word);
        hash.update([0]);
    }
    hex(hash)[..12].to_owned()
}

fn hash_file(hash: &mut Sha256, path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("there is no {}", path.display()))?;
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
    Ok(())
}

/// Names, kinds and contents below a folder, in a fixed order; nothing where there is no folder.
fn hash_tree(hash: &mut Sha256, folder: &Path) -> Result<()> {
    let Ok(listed) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    let mut paths: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        if path.is_symlink() {
            hash.update(std::fs::read_link(&path)?.as_os_str().as_encoded_bytes());
        } else if path.is_dir() {
            hash_tree(hash, &path)?;
        } else {
            hash_file(hash, &path)?;
        }
    }
    Ok(())
}

fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
