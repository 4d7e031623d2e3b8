//! A tar archive of a few small documents (POSIX.1-1988 `ustar`), which every system can open. Twelve
//! fields of a fixed header are less than what a library for it would bring.

/// Size of header and padding units (POSIX, 'ustar Interchange Format').
const BLOCK: usize = 512;
/// Longest name without the format's split prefix; ours have a dozen characters.
const NAME: usize = 100;

/// The documents as one archive, each readable by its owner alone. `at` is the time of all of them, in
/// seconds since 1970.
#[must_use]
pub(crate) fn tar(documents: &[(String, Vec<u8>)], at: u64) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in documents {
        archive.extend_from_slice(&header(name, content.len(), at));
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    // Two blocks of zeros end it.
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

fn header(name: &str, size: usize, at: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put =
        |from: usize, bytes: &[u8]| header[from..from + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(NAME)]);
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{:011o}\0", at & 0o77_777_777_777).as_bytes());
    // The checksum is taken with spaces in its own place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "an independent reader judges the archive, which is a file for it"
    )]
    fn the_system_s_own_tar_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let documents = [
            ("status.json".to_owned(), b"{}".to_vec()),
            ("folder/history.jsonl".to_owned(), vec![b'x'; 1500]),
            ("empty".to_owned(), Vec::new()),
        ];
        std::fs::write(dir.path().join("a.tar"), tar(&documents, 1_795_435_200)).unwrap();
        let opened = std::process::Command::new("tar")
            .args(["--extract", "--file", "a.tar"])
            .current_dir(dir.path())
            .output();
        let Ok(opened) = opened else {
            println!("SKIP tar is not installed");
            return;
        };
        assert!(
            opened.status.success() && opened.stderr.is_empty(),
            "{opened:?}"
        );
        for (name, content) in documents {
            assert_eq!(
                std::fs::read(dir.path().join(&name)).unwrap(),
                content,
                "{name}"
            );
        }
    }
}
