//! Small releases for the tests of this room.

use twinroot_core::bootfmt::pe::{Machine, build_uki};
use twinroot_payload::io::ReadAt;
use twinroot_payload::verity::{TreeShape, root_of};
use twinroot_ports::contract::bootloader::Image;
use twinroot_trust::digest::Digest;

pub(crate) const SALT: [u8; 32] = [7; 32];

/// A UKI that boots `root_hash`.
pub(crate) fn uki(version: &str, root_hash: &Digest) -> Vec<u8> {
    let cmdline = format!("roothash={root_hash} quiet");
    let osrel = format!(
        "ID=debian\nIMAGE_ID=container-host\nIMAGE_VERSION={version}\nTWINROOT_BUILT=1700000000\n"
    );
    let sections: [(&str, &[u8]); 3] = [
        (".osrel", osrel.as_bytes()),
        (".cmdline", cmdline.as_bytes()),
        (".linux", &[0x4C; 5000]),
    ];
    build_uki("test UKI", None, Machine::X86_64, &sections).unwrap()
}

/// A UKI of a release that has no image.
pub(crate) fn image(version: &str) -> Image {
    let root_hash = Digest::of(version.as_bytes());
    Image {
        version: version.parse().unwrap(),
        root_hash,
        uki: uki(version, &root_hash),
    }
}

/// An image of `blocks` blocks that differs from version to version, with its root hash and UKI.
pub(crate) struct Release {
    pub(crate) version: &'static str,
    pub(crate) data: Vec<u8>,
    pub(crate) root_hash: Digest,
    pub(crate) uki: Vec<u8>,
}

pub(crate) fn release(version: &'static str, blocks: u64) -> Release {
    let mut data = Vec::new();
    for block in 0..blocks {
        let seed = Digest::of(format!("{version} {block}").as_bytes());
        data.extend(seed.as_bytes().repeat(128));
    }
    let shape = TreeShape::for_size(ReadAt::len(&data).unwrap()).unwrap();
    let root_hash = Digest::from_bytes(root_of(&data, &shape, &SALT).unwrap());
    Release {
        version,
        uki: uki(version, &root_hash),
        root_hash,
        data,
    }
}

/// Counts and prints a test that could not run here, so that it never looks green by itself.
pub(crate) fn skip(what: &str, reason: &str) {
    println!("SKIP {what}: {reason}");
}
