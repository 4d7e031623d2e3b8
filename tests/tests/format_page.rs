//! Promise: `docs/formats/payload.md` says enough to write a second decoder. One in Python, written from
//! the page, decodes what the publisher's code makes, byte for byte.

use std::path::{Path, PathBuf};
use std::process::Command;

use twinroot_payload::delta::Kind;
use twinroot_payload::encode::delta::{DeltaParams, EncodedDelta, Identity, encode_delta};
use twinroot_payload::encode::{Params, encode_full};
use twinroot_payload::verity::{BLOCK, hex, sha256};

const SALT: &[u8] = &[0x5a; 32];

/// SplitMix64: the only source of content.
fn mix(n: u64) -> u64 {
    let mut x = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 8)
        .flat_map(|n| mix(seed << 32 | n).to_le_bytes())
        .collect()
}

/// Words that repeat with numbers that do not, as programs and texts do.
fn text(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 64);
    let mut n = seed;
    while out.len() < bytes {
        n += 1;
        out.extend_from_slice(
            format!("symbol {:x} at {:04x}; ", mix(n % 5000), n % 7919).as_bytes(),
        );
    }
    out.truncate(bytes);
    out
}

/// Rows of few different bytes, which occur nowhere else.
fn table(bytes: usize) -> Vec<u8> {
    (0..bytes as u64)
        .map(|n| b"QWXYZ\n"[(mix(n / 3) % 6) as usize])
        .collect()
}

/// An image, and one after it: blocks that stay, move and go, zeroes, content that shifts by a few bytes,
/// and content that is new, compressible and not.
fn images() -> (Vec<u8>, Vec<u8>) {
    let zero = vec![0; 40 * BLOCK];
    let (kept, moved) = (noise(1, 100 * BLOCK), noise(2, 60 * BLOCK));
    let program = text(3, 200 * BLOCK);
    let base = [&kept[..], &program, &zero, &moved].concat();
    let mut shifted = b"inserted at the front".to_vec();
    shifted.extend_from_slice(&program);
    for at in (1000..shifted.len()).step_by(5003) {
        shifted[at] = shifted[at].wrapping_add(4);
    }
    shifted.truncate(program.len());
    let fresh = [noise(9, 48 * BLOCK), table(48 * BLOCK)].concat();
    let target = [&moved[..], &zero, &kept, &shifted, &fresh].concat();
    (base, target)
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("the folder is the test's own");
        path
    }

    /// Runs the decoder; gives what it printed and what it wrote.
    fn decode(&self, verb: &str, file: &Path, index: u64, third: &str) -> (String, Vec<u8>) {
        let out = self.0.path().join("out");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/decode_payload.py");
        let done = Command::new("python3")
            .arg(script)
            .arg(verb)
            .arg(file)
            .arg(index.to_string())
            .arg(third)
            .arg(&out)
            .output()
            .expect("python3 starts");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{verb}: {said}");
        let printed = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        (
            printed,
            std::fs::read(out).expect("the decoder has written its output"),
        )
    }
}

/// The decoder needs two programs; without them nothing can be said, and the reason is printed.
fn tools() -> bool {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let missing: Vec<_> = ["python3", "zstd"]
        .into_iter()
        .filter(|p| !there(p))
        .collect();
    if !missing.is_empty() {
        println!("SKIP {} is not installed", missing.join(" and "));
    }
    missing.is_empty()
}

#[test]
fn a_decoder_written_from_the_page_decodes_a_full_payload() {
    if !tools() {
        return;
    }
    let (_, image) = images();
    let mut file = Vec::new();
    let params = Params {
        segment_blocks: 64,
        level: 3,
        ..Params::default()
    };
    let encoded = encode_full(&image, SALT, None, &params, &mut |at, bytes| {
        let (at, end) = (at as usize, at as usize + bytes.len());
        file.resize(file.len().max(end), 0);
        file[at..end].copy_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    let folder = Folder(tempfile::tempdir().unwrap());
    let path = folder.file("payload", &file);
    let (root, out) = folder.decode("full", &path, encoded.index_bytes, &hex(SALT));
    assert_eq!(root, hex(&encoded.root_hash));
    assert!(out == image);
}

#[test]
fn a_decoder_written_from_the_page_decodes_a_delta_of_every_coding() {
    if !tools() {
        return;
    }
    let (base, mut target) = images();
    // A file need not be whole blocks.
    target.truncate(target.len() - 100);
    let delta = delta_of(&base, &target);
    let folder = Folder(tempfile::tempdir().unwrap());
    let (path, base) = (
        folder.file("delta", &delta.file),
        folder.file("base", &base),
    );
    let (digest, out) = folder.decode(
        "delta",
        &path,
        delta.index_bytes,
        &base.display().to_string(),
    );
    assert_eq!(digest, hex(&sha256(&target)));
    assert!(out == target);
}

fn delta_of(base: &[u8], target: &[u8]) -> EncodedDelta {
    let (base, target) = (base.to_vec(), target.to_vec());
    let identity = Identity {
        kind: Kind::File,
        base: sha256(&base),
        target: sha256(&target),
    };
    // Small segments, so that there are some of every coding.
    let params = DeltaParams {
        segment_blocks: 16,
        level: 3,
        ..DeltaParams::default()
    };
    let delta = encode_delta(&base, &target, &identity, &params).expect("both are images");
    let codings = codings(&delta, target.len() as u64, identity);
    for coding in [1, 2, 5] {
        assert!(
            codings.contains(&coding),
            "no segment of coding {coding}: {codings:?}"
        );
    }
    delta
}

/// The codings that occur.
fn codings(delta: &EncodedDelta, target_bytes: u64, named: Identity) -> Vec<u8> {
    use twinroot_payload::delta::{DeltaIndex, Expect};
    let expect = Expect {
        kind: named.kind,
        base: named.base,
        target: named.target,
        target_bytes,
        file_bytes: delta.file.len() as u64,
    };
    let index = DeltaIndex::open(&delta.file[..delta.index_bytes as usize], &expect)
        .expect("it was made for them");
    index
        .segments()
        .iter()
        .map(|segment| segment.coding.byte())
        .collect()
}
