//! A UKI as an image builder would deliver it, for an image whose kernel does not matter here.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use twinroot_core::bootfmt::pe::{Machine, build_uki};
use twinroot_payload::io::{Fault, ReadAt};
use twinroot_payload::verity::{TreeShape, hex, root_of};

/// What to make.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image whose root hash goes into the command line
    #[arg(long)]
    image: PathBuf,
    /// Salt of its verity tree, as hex
    #[arg(long)]
    salt: String,
    /// Product that the image is
    #[arg(long, default_value = "container-host")]
    product: String,
    /// Its version
    #[arg(long)]
    version: String,
    /// When it was built, in Unix seconds: the earliest time that a node running it believes [default: now]
    #[arg(long)]
    built: Option<u64>,
    /// Bytes that stand for the kernel, so that two versions differ as real ones do
    #[arg(long, default_value_t = 65_536)]
    kernel_bytes: usize,
    /// A real kernel instead of these
    #[arg(long, value_name = "FILE", conflicts_with = "kernel_bytes")]
    kernel: Option<PathBuf>,
    /// A real initramfs
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Where to write the UKI
    #[arg(long)]
    out: PathBuf,
}

/// Writes the UKI and prints the root hash.
pub(crate) fn make(args: &Args) -> Result<()> {
    let root = root_hash(&args.image, &args.salt)?;
    let cmdline = format!("roothash={root} ro quiet");
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    };
    let os_release = format!(
        "ID={product}\nIMAGE_ID={product}\nIMAGE_VERSION={version}\nTWINROOT_BUILT={built}\n\
         PRETTY_NAME=\"{product} {version}\"\n",
        built = args.built.unwrap_or_else(now),
        product = args.product,
        version = args.version,
    );
    let read = |path: &PathBuf| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let kernel: Vec<u8> = match &args.kernel {
        Some(path) => read(path)?,
        None => root.bytes().cycle().take(args.kernel_bytes).collect(),
    };
    let initrd = args.initrd.as_ref().map(read).transpose()?;
    let mut sections: Vec<(&str, &[u8])> = vec![
        (".osrel", os_release.as_bytes()),
        (".cmdline", cmdline.as_bytes()),
        (".uname", b"6.1.0-lab"),
    ];
    sections.extend(initrd.as_deref().map(|initrd| (".initrd", initrd)));
    sections.push((".linux", &kernel));
    let name = args.out.display().to_string();
    let uki = build_uki(&name, None, Machine::X86_64, &sections)
        .map_err(|failure| anyhow!("{failure}"))?;
    std::fs::write(&args.out, uki).with_context(|| format!("cannot write {name}"))?;
    println!("{root}");
    Ok(())
}

/// Root hash of the image as hex.
pub(crate) fn root_hash(image: &Path, salt: &str) -> Result<String> {
    let salt = unhex(salt)?;
    let data = Image::open(image)?;
    let shape = TreeShape::for_size(data.size)?;
    let root = root_of(&data, &shape, &salt)
        .with_context(|| format!("cannot compute the root hash of {}", image.display()))?;
    Ok(hex(&root))
}

pub(crate) fn unhex(text: &str) -> Result<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        bail!(
            "a salt of {} hex digits: an even number is needed",
            text.len()
        );
    }
    (0..text.len())
        .step_by(2)
        .map(|at| {
            let pair = text.get(at..at + 2).unwrap_or("");
            u8::from_str_radix(pair, 16).with_context(|| format!("'{pair}' in the salt is not hex"))
        })
        .collect()
}

/// An image file as the payload room reads it.
#[derive(Debug)]
pub(crate) struct Image {
    file: File,
    /// In bytes.
    pub(crate) size: u64,
}

impl Image {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl ReadAt for Image {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.file
            .read_exact_at(buf, offset)
            .map_err(|error| Fault::disk(error.to_string()))
    }

    fn len(&self) -> Result<u64, Fault> {
        Ok(self.size)
    }
}
