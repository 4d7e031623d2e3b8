use alloc::vec;

use super::*;

fn entry(file: &str, version: &str) -> LoaderEntry {
    LoaderEntry {
        name: EntryName::parse(file).expect("a good name"),
        sort_key: "hostos".into(),
        version: version.into(),
    }
}

fn state(entries: &[(&str, &str)]) -> LoaderState {
    let entries = entries
        .iter()
        .map(|(file, version)| entry(file, version))
        .collect();
    LoaderState {
        entries,
        ..LoaderState::default()
    }
}

fn chosen(state: &LoaderState) -> (String, Option<String>) {
    let choice = choose(state).expect("something boots");
    (choice.entry, choice.renamed_to)
}

#[test]
fn the_newest_entry_boots_and_its_counter_moves_first() {
    let found = state(&[("os_1.9.efi", "1.9"), ("os_1.10+3.efi", "1.10")]);
    assert_eq!(
        chosen(&found),
        ("os_1.10+3.efi".into(), Some("os_1.10+2-1.efi".into()))
    );
}

#[test]
fn leading_zeros_do_not_make_a_version_newer() {
    let found = state(&[("os_1.02.efi", "1.02"), ("os_1.9.efi", "1.9")]);
    assert_eq!(chosen(&found).0, "os_1.9.efi");
}

#[test]
fn an_exhausted_entry_comes_after_every_other() {
    let found = state(&[("os_2.0+0-3.efi", "2.0"), ("os_1.0.efi", "1.0")]);
    assert_eq!(chosen(&found), ("os_1.0.efi".into(), None));
}

#[test]
fn where_all_are_exhausted_the_newest_still_boots() {
    let found = state(&[("os_1.0+0-3.efi", "1.0"), ("os_2.0+0-3.efi", "2.0")]);
    assert_eq!(chosen(&found), ("os_2.0+0-3.efi".into(), None));
}

#[test]
fn three_failed_starts_of_a_trial_end_in_the_older_entry() {
    let mut found = state(&[("os_1.0.efi", "1.0"), ("os_2.0+3.efi", "2.0")]);
    let mut booted = vec![];
    for _ in 0..4 {
        let (name, renamed) = chosen(&found);
        booted.push(name.clone());
        if let Some(new) = renamed {
            found.entries.retain(|e| e.name.file_name() != name);
            found.entries.push(entry(&new, "2.0"));
        }
    }
    assert_eq!(
        booted,
        [
            "os_2.0+3.efi",
            "os_2.0+2-1.efi",
            "os_2.0+1-2.efi",
            "os_1.0.efi"
        ]
    );
}

#[test]
fn a_pin_beats_the_newer_entry_and_one_shot_beats_the_pin() {
    let mut found = state(&[
        ("os_1.0.efi", "1.0"),
        ("os_2.0.efi", "2.0"),
        ("os_3.0+3.efi", "3.0"),
    ]);
    found.default = Some("os_1.0.efi".into());
    assert_eq!(chosen(&found).0, "os_1.0.efi");
    found.one_shot = Some("os_3.0*".into());
    let choice = choose(&found).expect("something boots");
    assert!(choice.by_one_shot);
    assert_eq!(choice.renamed_to.as_deref(), Some("os_3.0+2-1.efi"));
}

#[test]
fn a_request_that_matches_nothing_is_passed_over() {
    let mut found = state(&[("os_1.0.efi", "1.0"), ("os_2.0.efi", "2.0")]);
    found.default = Some("gone.efi".into());
    found.one_shot = Some("gone-too.efi".into());
    let choice = choose(&found).expect("something boots");
    assert_eq!(
        (choice.entry.as_str(), choice.by_one_shot),
        ("os_2.0.efi", false)
    );
}

#[test]
fn a_pinned_entry_boots_even_without_tries_left() {
    let mut found = state(&[("os_1.0+0-3.efi", "1.0"), ("os_2.0.efi", "2.0")]);
    found.default = Some("os_1.0+0-3.efi".into());
    assert_eq!(chosen(&found).0, "os_1.0+0-3.efi");
}

#[test]
fn an_entry_with_sort_key_comes_before_one_without() {
    let mut found = state(&[("zz_9.efi", "9"), ("os_1.0.efi", "1.0")]);
    found.entries[0].sort_key.clear();
    assert_eq!(chosen(&found).0, "os_1.0.efi");
}

#[test]
fn an_empty_directory_boots_nothing() {
    assert_eq!(choose(&LoaderState::default()), None);
}

#[test]
fn each_quirk_does_what_its_bug_did() {
    let with = |quirk, entries: &[(&str, &str)]| {
        let found = LoaderState {
            quirks: vec![quirk],
            ..state(entries)
        };
        choose(&found).expect("something boots")
    };
    let trial = [("os_1.efi", "1"), ("os_2+3.efi", "2")];
    assert_eq!(with(Quirk::NoCounting, &trial).renamed_to, None);
    assert_eq!(with(Quirk::ReadOnlyEsp, &trial).renamed_to, None);
    assert_eq!(
        with(Quirk::CountsTwice, &trial).renamed_to.as_deref(),
        Some("os_2+1-2.efi")
    );
    assert!(with(Quirk::DuplicateNames, &trial).old_name_stays);
    let used_up = [("os_1.efi", "1"), ("os_2+0-3.efi", "2")];
    assert_eq!(with(Quirk::BootsExhausted, &used_up).entry, "os_2+0-3.efi");
    let mut asked = state(&trial);
    asked.one_shot = Some("os_1.efi".into());
    asked.quirks.push(Quirk::ForgetsOneShot);
    assert_eq!(chosen(&asked).0, "os_2+3.efi");
}

#[test]
fn a_rename_onto_a_name_that_exists_fails_and_the_start_goes_on() {
    let found = state(&[("os_2+3.efi", "2"), ("os_2+2-1.efi", "1")]);
    assert_eq!(chosen(&found), ("os_2+3.efi".into(), None));
}

#[test]
fn globs_match_as_the_loader_matches() {
    for (pattern, name, expected) in [
        ("os.efi", "os.efi", true),
        ("OS.EFI", "os.efi", true),
        ("os*", "os+3-1.efi", true),
        ("*", "", true),
        ("o?.efi", "os.efi", true),
        ("*1*1*", "a1b11", true),
        ("os", "os.efi", false),
        ("os.efi", "os", false),
        ("", "x", false),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}
