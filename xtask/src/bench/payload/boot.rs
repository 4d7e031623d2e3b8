//! Boot files: a real kernel and a real initramfs in one file, published and fetched by delta.
//!
//! The initramfs is what a systemd host needs to open a verity root, from the trees of the refresh:
//! systemd, udev, veritysetup, their libraries, and modules. It is stored unpacked and in a stable order,
//! as the reference image's is (`twinroot-image`), since a packed one changes all over when a byte does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::ours::boot_files;
use super::peer::today;
use super::row::{Made, Row};
use super::trees::extract;
use crate::bench::node::Node;
use crate::bench::publisher::Publisher;
use crate::bench::reference::size_of;
use crate::programs::Programs;
use crate::run;

/// The same kernel, and an initramfs whose programs are four months newer.
pub const INITRD: &str = "boot-file";
/// A new build of the kernel as well, packed with LZ4 as Debian's cloud kernel is.
pub const KERNEL: &str = "boot-file-kernel";
/// The same with the kernel stored unpacked.
pub const UNPACKED: &str = "boot-file-kernel-unpacked";
/// As rows name the format.
pub const FORMAT: &str = "uki";

/// The root image beside it, in bytes: as small as tests have it, since it is not what is measured.
const IMAGE: u64 = 4 << 20;

/// Programs of the initramfs and what they load.
const PROGRAMS: &str = "usr/lib/systemd usr/lib/x86_64-linux-gnu/systemd usr/bin/udevadm usr/bin/kmod \
    usr/sbin/veritysetup usr/lib/x86_64-linux-gnu/libc.so.6 usr/lib/x86_64-linux-gnu/libcrypto.so.3";

/// Modules of the initramfs, below a kernel's folder.
const MODULES: &str =
    "drivers/md drivers/nvme drivers/virtio drivers/block fs/erofs fs/ext4 fs/overlayfs";

/// Copies programs and modules of a tree apart, and its kernel.
const COLLECT: &str = r#"
set -eu
tree=$1 to=$2 programs=$3 modules=$4
mkdir -p "$to/programs" "$to/modules"
cp "$tree"/boot/vmlinuz-* "$to/kernel"
cd "$tree"
cp -a --parents $programs "$to/programs"
cd usr/lib/modules/*/kernel
for folder in $modules; do
    [ ! -d "$folder" ] || cp -a --parents "$folder" "$to/modules"
done
"#;

/// Packs programs of one tree and modules of another, always in the same order and without times.
const PACK: &str = r#"
set -eu
export LC_ALL=C
mkdir "$4"
cp -a "$1/programs/." "$2/modules" "$4"
cd "$4"
find . -exec touch -h -d @0 {} +
find . | sort | cpio -o -H newc --reproducible --quiet >"$3"
rm -rf "$4"
"#;

/// Measures the three kinds of a new boot file.
pub fn rows(programs: &Programs, images: &Path, scratch: &Path) -> Result<Vec<Row>> {
    let folder = scratch.join("boot");
    let mut parts = Vec::new();
    for tree in ["old", "new", "old-unpacked", "new-unpacked"] {
        let from = extract(&images.join(format!("{tree}.erofs")), scratch)?;
        let to = folder.join(tree);
        script(COLLECT, &[&from, &to, PROGRAMS.as_ref(), MODULES.as_ref()])?;
        std::fs::remove_dir_all(&from).context("cannot remove a tree")?;
        parts.push(to);
    }
    let [old, new, old_unpacked, new_unpacked] = &parts[..] else {
        unreachable!("four trees were collected");
    };
    let before = initrd(&folder, "before", old, old)?;
    let mixed = initrd(&folder, "mixed", old, new)?;
    let after = initrd(&folder, "after", new, new)?;
    let mut rows = Vec::new();
    for (pair, (old, old_initrd), new) in [
        (INITRD, (new, &mixed), new),
        (KERNEL, (old, &before), new),
        (UNPACKED, (old_unpacked, &before), new_unpacked),
    ] {
        let boot = |tree: &Path, initrd: &Path| [tree.join("kernel"), initrd.to_owned()];
        let files = [boot(old, old_initrd), boot(new, &after)];
        rows.extend(pair_rows(programs, pair, &files, &folder)?);
    }
    std::fs::remove_dir_all(&folder).context("cannot remove the boot files")?;
    Ok(rows)
}

fn initrd(folder: &Path, name: &str, programs: &Path, modules: &Path) -> Result<PathBuf> {
    let (file, work) = (
        folder.join(format!("{name}.initrd")),
        folder.join("packing"),
    );
    script(PACK, &[programs, modules, &file, &work])?;
    Ok(file)
}

fn script(text: &str, paths: &[&Path]) -> Result<()> {
    run::capture(Command::new("sh").args(["-c", text, "sh"]).args(paths)).map(drop)
}

/// Publishes the older and the newer boot file and has a node fetch the newer one: a row of ours, and one
/// of the file sent plain.
fn pair_rows(
    programs: &Programs,
    pair: &str,
    files: &[[PathBuf; 2]; 2],
    folder: &Path,
) -> Result<[Row; 2]> {
    let folder = folder.join(pair);
    std::fs::create_dir_all(&folder).context("cannot make a folder")?;
    let publisher = Publisher::new(programs, &folder)?;
    let mut releases = Vec::new();
    for (number, [kernel, initrd]) in files.iter().enumerate() {
        let image = folder.join(format!("{number}.img"));
        let mut seeded = programs.lab();
        seeded.args(["seeded", "--size", &IMAGE.to_string()]);
        seeded.args(["--release", &(number + 1).to_string()]);
        run::capture(seeded.arg("--out").arg(&image))?;
        let version = format!("{}.0", number + 1);
        releases.push(publisher.publish_boot(&version, &image, (kernel, initrd))?);
    }
    let mut server = publisher.serve()?;
    let machine = folder.join("machine");
    let node = Node::install(programs, &machine, &publisher, &releases[0], &server)?;
    node.check()?;
    server.sent()?;
    node.stage()?;
    let boot = boot_files(&publisher)?;
    let sent = server.sent()?.files;
    let came = sent.iter().filter(|(path, _)| boot.contains(*path));
    let (bytes, requests) = came.fold((0, 0), |(bytes, requests), (_, sent)| {
        (bytes + sent.0, requests + sent.1)
    });
    ensure!(bytes > 0, "the server sent nothing of the boot file");
    let row = |tool: &str, bytes, requests| Row {
        pair: pair.to_owned(),
        format: FORMAT.to_owned(),
        tool: tool.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made: Made {
            bytes,
            requests,
            cpu_s: None,
            rss_kib: None,
            day: today(),
        },
        fresh: true,
        warm: None,
        cold: None,
        note: String::new(),
    };
    let rows = [
        row("twinroot-delta", bytes, requests),
        row("plain", size_of(&releases[1].uki)?, 1),
    ];
    std::fs::remove_dir_all(folder).context("cannot remove a repository")?;
    Ok(rows)
}
