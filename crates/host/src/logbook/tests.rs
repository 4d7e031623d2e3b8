use std::os::unix::fs::FileExt;

use super::*;

/// Boots of the fixture, in their order; the second one was killed.
const FIRST: BootId = 0x11111111_1111_4111_8111_111111111111_u128.to_be_bytes();
pub(crate) const DEAD: BootId = 0x22222222_2222_4222_8222_222222222222_u128.to_be_bytes();
const SURVIVOR: BootId = 0x33333333_3333_4333_8333_333333333333_u128.to_be_bytes();
const MOST: usize = 4096;

fn put(path: &Path, bytes: &[u8]) {
    let file = std::fs::File::create(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

/// What the real journald wrote, unpacked (`fixtures/journal/make.sh`).
pub(crate) fn journal(form: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let machine = home.path().join("0123456789abcdef0123456789abcdef");
    std::fs::create_dir(&machine).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/journal")
        .join(form);
    for file in std::fs::read_dir(fixtures).unwrap() {
        let path = file.unwrap().path();
        let packed = std::fs::read(&path).unwrap();
        let size = zstd_safe::get_frame_content_size(&packed).unwrap().unwrap();
        let mut plain = vec![0; usize::try_from(size).unwrap()];
        zstd_safe::decompress(plain.as_mut_slice(), &packed).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let name = name.replace("-unclean", "~");
        put(&machine.join(name), &plain);
    }
    home
}

#[test]
fn the_end_of_what_a_dead_boot_logged_is_read_from_journalds_own_files() {
    for form in ["compact", "plain"] {
        let home = journal(form);
        let words = last_words(home.path(), DEAD, MOST);
        let lines: Vec<&str> = words.lines().collect();
        let end = lines.last().unwrap();
        // The last line is longer than what journald stores as it is.
        assert!(
            end.starts_with("workload: dead the end: because because") && end.len() > 900,
            "{form}: {end}"
        );
        assert_eq!(lines[lines.len() - 2], "workload: dead line 40", "{form}");
        assert!(lines.contains(&"workload: dead line 1"), "{form}: {words}");
        assert!(
            !words.contains("survivor") && !words.contains("first"),
            "{form}: {words}"
        );
    }
}

#[test]
fn each_boot_has_its_own_words() {
    let home = journal("compact");
    for (boot, own) in [(FIRST, "first the end"), (SURVIVOR, "survivor the end")] {
        let words = last_words(home.path(), boot, MOST);
        assert!(words.contains(own) && !words.contains("dead"), "{words}");
    }
    let words = last_words(home.path(), FIRST, MOST);
    assert!(
        words.contains("kernel: Command line: ro panic=10"),
        "{words}"
    );
    assert_eq!(last_words(home.path(), [0; 16], MOST), "");
}

#[test]
fn no_more_is_kept_than_asked_for_and_it_is_the_end() {
    let home = journal("compact");
    let words = last_words(home.path(), DEAD, 100);
    assert_eq!(words.len(), 100);
    assert!(words.ends_with("because\n"), "{words}");
}

#[test]
fn where_there_is_no_journal_nothing_was_left() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(last_words(&home.path().join("none"), DEAD, MOST), "");
    let machine = home.path().join("m");
    std::fs::create_dir(&machine).unwrap();
    put(&machine.join("system.journal"), b"no journal");
    put(&machine.join("system@1.journal"), &[0; 4096]);
    assert_eq!(last_words(home.path(), DEAD, MOST), "");
}

#[test]
fn a_damaged_file_costs_words_and_nothing_else() {
    let home = journal("compact");
    let machine = home.path().join("0123456789abcdef0123456789abcdef");
    let dead = std::fs::read_dir(&machine)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with('~'))
        .unwrap();
    let whole = std::fs::read(&dead).unwrap();
    let file = std::fs::File::options().write(true).open(&dead).unwrap();
    let mut tried = 0;
    let bytes = whole.iter().enumerate();
    for (at, byte) in bytes.filter(|(_, byte)| **byte != 0).step_by(29) {
        for wrong in [0, 0xff, byte ^ 0x80] {
            file.write_all_at(&[wrong], at as u64).unwrap();
            assert!(last_words(home.path(), DEAD, MOST).len() <= MOST);
            tried += 1;
        }
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
    assert!(tried > 1000, "{tried}");
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    for length in (0..used).step_by(1999) {
        file.set_len(length).unwrap();
        assert!(last_words(home.path(), DEAD, MOST).len() <= MOST);
    }
}

#[test]
fn what_the_restart_logs_after_a_failed_trial_is_no_reason() {
    let entry = |who: &str, message: &str, what: &str| Fields {
        message: message.into(),
        who: who.into(),
        what: what.into(),
    };
    let mut last = [
        entry("systemd", "Reached target reboot.target", ""),
        entry("systemd", "Stopping workload.service", ""),
        entry("twinroot", "check workload: no answer", "trial-failed"),
        entry("workload", "no answer on port 80", ""),
    ];
    let reason = "workload: no answer on port 80\ntwinroot: check workload: no answer\n";
    assert_eq!(end_of(&last, MOST), reason);
    // A node that panicked or hung has ended nothing itself: all that is there counts.
    last[2].what.clear();
    assert!(end_of(&last, MOST).ends_with("Reached target reboot.target\n"));
}
