use alloc::vec;

use super::*;
use proptest::prelude::*;

const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const OSREL: &str = "ID=debian\nIMAGE_ID=container-host\nIMAGE_VERSION=2026.11.2\n\
    # a comment\nPRETTY_NAME=\"Container \\\"Host\\\"\"\nVERSION_ID='12'\n";

fn uki_with(cmdline: &str) -> Vec<u8> {
    let added: [(&str, &[u8]); 5] = [
        (".osrel", OSREL.as_bytes()),
        (".cmdline", cmdline.as_bytes()),
        (".uname", b"6.1.0-56-cloud-amd64"),
        (".initrd", &[7; 5000]),
        (".linux", &[9; 9000]),
    ];
    build_uki("new", None, Machine::X86_64, &added).expect("it can be built")
}

fn good() -> Vec<u8> {
    uki_with(&format!("console=ttyS0 roothash={HASH} quiet\n"))
}

#[test]
fn what_is_put_in_comes_out() {
    let file = good();
    let info = read_uki("x.efi", &file).expect("it reads");
    assert_eq!(info.machine, Machine::X86_64);
    assert_eq!(info.root_hash.to_string(), HASH);
    assert_eq!(info.cmdline, format!("console=ttyS0 roothash={HASH} quiet"));
    assert_eq!(info.uname.as_deref(), Some("6.1.0-56-cloud-amd64"));
    assert_eq!(info.os_release.sort_key(), "container-host");
    assert_eq!(info.os_release.version(), "2026.11.2");
    assert_eq!(info.os_release.title(), "Container \"Host\"");
    let all = sections("x.efi", &file).expect("it reads");
    assert_eq!(
        all.last().map(|s| (s.name, s.data.len())),
        Some((".linux", 9000))
    );
}

#[test]
fn sections_start_on_pages_and_do_not_overlap() {
    let file = good();
    let all = sections("x.efi", &file).expect("it reads");
    for pair in all.windows(2) {
        assert!(pair[1].address.is_multiple_of(4096));
        assert!(pair[0].address as usize + pair[0].data.len() <= pair[1].address as usize);
    }
}

#[test]
fn a_second_build_upon_the_first_keeps_the_first_sections() {
    let stub = build_uki("stub", None, Machine::Arm64, &[(".text", &[1; 700])]).expect("builds");
    let file = build_uki("new", Some(&stub), Machine::Arm64, &[(".linux", &[2; 10])]);
    let file = file.expect("it can be built");
    let all = sections("x.efi", &file).expect("it reads");
    assert_eq!(
        all.iter()
            .map(|s| (s.name, s.data.len()))
            .collect::<Vec<_>>(),
        [(".text", 700), (".linux", 10)]
    );
    let failure = build_uki("new", Some(&stub), Machine::X86_64, &[]).expect_err("wrong machine");
    assert_eq!(failure.code, Code::UkiInvalid);
}

#[test]
fn a_stub_without_room_or_a_bad_name_is_refused() {
    let many = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r",
    ];
    let many = many.map(|name| (name, &[0u8][..]));
    for added in [
        &many[..],
        &[("ninechars", &[][..])],
        &[("", &[][..])],
        &[(".a", &[][..]), (".a", &[][..])],
    ] {
        let failure = build_uki("new", None, Machine::X86_64, added).expect_err("refused");
        assert_eq!(failure.code, Code::UkiInvalid);
    }
}

#[test]
fn exactly_one_root_hash_is_taken() {
    let other = HASH.replace('b', "c");
    for (cmdline, cause) in [
        ("quiet".to_string(), "carries no root hash"),
        (format!("roothash={HASH} roothash={other}"), "more than one"),
        (format!("roothash={HASH} roothash={HASH}"), "more than one"),
        (format!("roothash={HASH} usrhash={HASH}"), "more than one"),
        (
            format!("roothash={HASH} \"roothash={other}\""),
            "more than one",
        ),
        ("roothash=".to_string(), "no SHA-256"),
        (format!("roothash={}", &HASH[1..]), "no SHA-256"),
        (format!("roothash={}", HASH.to_uppercase()), "no SHA-256"),
        (format!("xroothash={HASH}"), "carries no root hash"),
    ] {
        let failure = read_uki("x.efi", &uki_with(&cmdline)).expect_err(&cmdline);
        assert_eq!(failure.code, Code::UkiRootHashMissing, "{cmdline}");
        assert!(
            failure.cause.contains(cause),
            "{cmdline}: {}",
            failure.cause
        );
    }
}

#[test]
fn a_uki_that_lacks_a_part_is_refused() {
    let cmdline = format!("roothash={HASH}");
    let parts: [(&str, &[u8]); 3] = [
        (".osrel", OSREL.as_bytes()),
        (".cmdline", cmdline.as_bytes()),
        (".linux", &[9; 10]),
    ];
    for missing in 0..parts.len() {
        let mut added = parts.to_vec();
        let (name, _) = added.remove(missing);
        let file = build_uki("new", None, Machine::X86_64, &added).expect("builds");
        let failure = read_uki("x.efi", &file).expect_err(name);
        assert!(failure.cause.contains(name), "{}", failure.cause);
    }
}

#[test]
fn a_uki_with_two_command_lines_is_refused() {
    let mut file = good();
    // Rename `.uname` to a second `.cmdline`.
    let at = file
        .windows(6)
        .position(|bytes| bytes == b".uname")
        .expect("its row");
    file[at..at + 8].copy_from_slice(b".cmdline");
    let failure = read_uki("x.efi", &file).expect_err("refused");
    assert!(
        failure.cause.contains("two sections .cmdline"),
        "{}",
        failure.cause
    );
}

#[test]
fn a_nul_inside_the_command_line_is_refused() {
    let failure = read_uki("x.efi", &uki_with(&format!("a\0 roothash={HASH}"))).expect_err("NUL");
    assert_eq!(failure.code, Code::UkiInvalid);
}

#[test]
fn a_cut_file_never_reads_as_a_whole_one() {
    let file = good();
    let whole = read_uki("x.efi", &file).expect("it reads");
    // Only the zeros behind the kernel may go: 9000 bytes are stored in 9216.
    for length in (0..file.len() - 216).step_by(97) {
        if let Ok(read) = read_uki("x.efi", &file[..length]) {
            panic!(
                "{length} of {} bytes read as {read:?}, {whole:?}",
                file.len()
            );
        }
    }
}

#[test]
fn junk_is_refused_with_its_name() {
    for junk in [vec![], vec![0; 64], b"MZ".to_vec(), vec![0xFF; 4096]] {
        let failure = read_uki("esp/x.efi", &junk).expect_err("junk");
        assert_eq!(
            (failure.code, failure.subject.as_str()),
            (Code::UkiInvalid, "esp/x.efi")
        );
    }
}

proptest! {
    #[test]
    fn damaged_headers_never_panic(at in 0usize..1024, value in any::<u8>(), again in 0usize..1024) {
        let mut file = good();
        file[at] = value;
        file[again] = !value;
        let _ = read_uki("x.efi", &file);
        let _ = build_uki("x.efi", Some(&file), Machine::X86_64, &[(".new", &[1])]);
    }
}
