//! Promise: a manifest or rollout policy is taken whole or refused with the reason, old ones load
//! for ever, and a policy can only slow a rollout down.
#![allow(clippy::unwrap_used)] // a helper that cannot go on panics, as its test would

use proptest::prelude::*;
use twinroot_trust::manifest::{Coding, Kind, Manifest, ManifestError, Severity};
use twinroot_trust::policy::{Offer, PolicyError, RolloutPolicy, Schedule, Wave};
use twinroot_trust::time::{Seconds, UnixTime};

const FULL: &str = include_str!("fixtures/manifest/schema-1/full.toml");
const MINIMAL: &str = include_str!("fixtures/manifest/schema-1/minimal.toml");
const GROWTH: &str = include_str!("fixtures/manifest/schema-1/growth.toml");
const STABLE: &str = include_str!("fixtures/policy/schema-1/stable.toml");
const PAUSED: &str = include_str!("fixtures/policy/schema-1/paused.toml");

fn manifest(text: &str) -> Manifest {
    Manifest::parse(text.as_bytes()).expect("the manifest is good")
}

fn refusal(text: &str) -> ManifestError {
    Manifest::parse(text.as_bytes()).expect_err("the manifest must be refused")
}

/// `FULL` with one piece of text replaced; the piece must be there.
fn changed(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "the fixture does not hold {from:?}");
    FULL.replacen(from, to, 1)
}

#[test]
fn every_manifest_of_schema_1_loads() {
    let full = manifest(FULL);
    assert_eq!(full.product.as_str(), "container-host");
    assert_eq!(
        full.variant.as_ref().map(|name| name.as_str()),
        Some("edge-site")
    );
    assert_eq!(full.version.as_str(), "2026.11.2");
    assert_eq!(full.released.to_string(), "2026-11-23T10:00:00Z");
    assert_eq!(
        full.supported_until.map(|day| day.to_string()).as_deref(),
        Some("2028-11-23")
    );
    assert_eq!(full.severity, Severity::Security);
    assert_eq!(
        full.requires.from.as_ref().map(|from| from.as_str()),
        Some("2026.9.0")
    );
    assert_eq!(
        full.revokes_below.as_ref().map(|below| below.as_str()),
        Some("2026.8.0")
    );
    assert_eq!(full.probation, Some(Seconds(300)));
    assert_eq!(full.system_image().kind(), Kind::Root);
    assert_eq!(full.system_image().size, 400_953_344);
    assert_eq!(full.verity().root_hash.to_string(), "1".repeat(64));
    assert_eq!(full.verity().salt, [0x5a; 4]);
    assert_eq!(
        full.system_image().deltas[0].base.to_string(),
        "4".repeat(64)
    );
    assert_eq!(full.uki().digest().to_string(), "7".repeat(64));
    assert_eq!(full.uki().full.coding, Coding::Zstd);
    assert_eq!(full.state["twinroot"].reads, [1]);
    assert_eq!(full.contents.components["kernel"], "6.1.0-56");
    let minimal = manifest(MINIMAL);
    assert_eq!(minimal.system_image().kind(), Kind::Usr);
    assert_eq!(minimal.uki().full.coding, Coding::Plain);
}

#[test]
fn optional_keys_and_deltas_of_unknown_format_are_skipped() {
    let grown = manifest(GROWTH);
    assert!(grown.system_image().deltas.is_empty());
    let mut expected = manifest(MINIMAL);
    expected.summary = "written by a later publisher".into();
    assert_eq!(grown, expected);
}

#[test]
fn what_the_publisher_writes_reads_back_the_same() {
    for text in [FULL, MINIMAL, GROWTH] {
        let first = manifest(text);
        assert_eq!(manifest(&first.to_toml()), first, "{}", first.to_toml());
        assert_eq!(manifest(&first.to_toml()).to_toml(), first.to_toml());
    }
    let mut odd = manifest(FULL);
    odd.summary = "quotes \" \\ and ''' and é\nsecond line".into();
    odd.contents
        .components
        .insert("key with \"quotes\" = and spaces".into(), "1".into());
    assert_eq!(manifest(&odd.to_toml()), odd);
}

#[test]
fn anything_else_that_is_unknown_needs_a_newer_client_and_names_the_barrier() {
    let cases = [
        changed("schema = 1", "schema = 2"),
        changed("severity = \"security\"", "severity = \"apocalyptic\""),
        changed("product =", "shape = \"round\"\nproduct ="),
        changed("cpu =", "gpu = \"big\"\ncpu ="),
        changed("firmware = \"uefi\"", "firmware = \"bios\""),
        changed("below =", "above = \"1\"\nbelow ="),
        changed("kind = \"uki\"", "kind = \"sysext\""),
        changed("algorithm = \"sha256\"", "algorithm = \"sha512\""),
        changed("data-block = 4096", "data-block = 1024"),
        changed("full = { format = 1", "full = { format = 2"),
        changed("compression = \"zstd\"", "compression = \"xz\""),
        changed("probation =", "surprise = 1\nprobation ="),
        changed("earliest =", "latest = 1\nearliest ="),
        changed("{ percent = 1, soak", "{ percent = 1, group = \"a\", soak"),
        changed("writes = 1,", "writes = 1, converts = [2],"),
        changed("[contents]", "[contents]\nlicences = \"all\""),
        format!("{FULL}\n[future]\nkey = 1\n"),
    ];
    for text in cases {
        match refusal(&text) {
            ManifestError::ClientTooOld {
                barrier: Some(barrier),
                unknown,
            } => {
                assert_eq!(barrier.as_str(), "2026.9.0", "{unknown}");
                let error = refusal(&text);
                assert_eq!(error.code(), "client-too-old");
                assert!(
                    error.to_string().contains("install release 2026.9.0 first"),
                    "{error}"
                );
            }
            other => panic!("{other:?} for\n{text}"),
        }
    }
    let without = MINIMAL.replace("schema = 1", "schema = 7");
    assert!(matches!(
        refusal(&without),
        ManifestError::ClientTooOld { barrier: None, .. }
    ));
}

#[test]
#[allow(clippy::too_many_lines)] // one table
fn values_outside_their_bounds_are_refused() {
    let uki = "size = 25000000, sha256 = \"8888888888888888888888888888888888888888888888888888888888888888\", compression = \"zstd\"";
    let cases = [
        changed("schema = 1\n", ""),
        changed("schema = 1", "schema = \"1\""),
        changed("schema = 1", "schema = 1.0"),
        changed("schema = 1", "schema = -1"),
        changed("schema = 1", "schema = 1\nschema = 1"),
        changed("severity = \"security\"\n", ""),
        changed("product = \"container-host\"", "product = \"../up\""),
        changed("version = \"2026.11.2\"", "version = \"2026+11\""),
        changed("released = 2026-11-23T10:00:00Z", "released = 2026-11-23"),
        changed(
            "released = 2026-11-23T10:00:00Z",
            "released = 2026-11-23T10:00:00+02:00",
        ),
        changed(
            "released = 2026-11-23T10:00:00Z",
            "released = 2026-11-23T10:00:00.5Z",
        ),
        changed(
            "released = 2026-11-23T10:00:00Z",
            "released = \"2026-11-23T10:00:00Z\"",
        ),
        changed(
            "supported-until = 2028-11-23",
            "supported-until = 2028-11-23T00:00:00Z",
        ),
        changed("summary = \"Sec", "summary = \"\\u0007Sec"),
        changed("from = \"2026.9.0\"", "from = \"2026.11.2\""),
        changed("below = \"2026.8.0\"", "below = \"2027.1\""),
        changed("size = 400953344", "size = 400953345"),
        changed("size = 400953344", "size = 0"),
        changed("size = 400953344", "size = -4096"),
        changed("size = 400953344", "size = 68719480832"),
        changed("size = 400953344", "size = 9223372036854775807"),
        changed("size = 30000000", "size = 536870913"),
        changed("size = 150000000", "size = 0"),
        changed("index = { size = 20000", "index = { size = 150000001"),
        changed("salt = \"5a5a5a5a\"", "salt = \"5a5a5a5\""),
        changed("salt = \"5a5a5a5a\"", "salt = \"zz\""),
        changed(
            "salt = \"5a5a5a5a\"",
            &format!("salt = \"{}\"", "5a".repeat(257)),
        ),
        changed(&"1".repeat(64), &"1".repeat(63)),
        changed(&"7".repeat(64), &"A".repeat(64)),
        changed("path = \"payload/2222", "path = \"../2222"),
        changed("path = \"payload/2222", "path = \"/payload/2222"),
        changed("path = \"payload/2222", "path = \"payload//2222"),
        changed("path = \"payload/2222", "path = \"payload/.hidden/2222"),
        changed("path = \"payload/2222", "path = \"payload\\\\2222"),
        changed("path = \"payload/2222", "path = \"http://h/2222"),
        changed(uki, &uki.replace(", compression = \"zstd\"", "")),
        changed("full = { format = 1, ", "full = { "),
        changed("probation = \"5m\"", "probation = \"5\""),
        changed("probation = \"5m\"", "probation = 300"),
        changed("percent = 1,", "percent = 0,"),
        changed("percent = 100", "percent = 101"),
        changed("percent = 10,", "percent = 1,"),
        changed("percent = 1,", "percent = 1.5,"),
        changed(
            "[ { percent = 1, soak = \"1h\" }, { percent = 10, soak = \"12h\" }, { percent = 100 } ]",
            "[]",
        ),
        changed("earliest = 2026-11-23T12:00:00Z\n", ""),
        changed("reads = [1]", "reads = [-1]"),
        changed("reads = [1]", "reads = [4294967296]"),
        changed("kind = \"uki\"\n", ""),
        FULL.replace("[rollout-limit]", "[x-limit]"),
        FULL.split("[[artefact]]\nkind = \"uki\"")
            .next()
            .unwrap()
            .to_string(),
        format!("\u{feff}{FULL}"),
        String::new(),
        "\0".into(),
    ];
    for text in cases {
        assert_eq!(
            refusal(&text).code(),
            "malformed-manifest",
            "{:?}\n{text}",
            refusal(&text)
        );
    }
    assert_eq!(
        Manifest::parse(b"\xff").expect_err("not UTF-8").code(),
        "malformed-manifest"
    );
}

#[test]
fn two_ukis_or_two_images_are_refused() {
    let uki = FULL
        .split("[[artefact]]")
        .nth(2)
        .unwrap()
        .split("[health]")
        .next()
        .unwrap();
    let doubled = changed("[health]", &format!("[[artefact]]{uki}\n[health]"));
    assert_eq!(refusal(&doubled).code(), "malformed-manifest");
}

#[test]
fn a_manifest_larger_than_256_kib_is_refused_unread() {
    let long = format!("{FULL}#{}", "x".repeat(256 * 1024));
    assert!(matches!(refusal(&long), ManifestError::EndlessData { .. }));
}

#[test]
fn deeply_nested_toml_does_not_overflow_the_stack() {
    for text in [
        "[".repeat(200_000),
        format!("a = {}", "[".repeat(200_000)),
        format!("a = {}", "{b=".repeat(60_000)),
    ] {
        assert!(Manifest::parse(text.as_bytes()).is_err());
    }
    let dotted = format!("{}a = 1", "a.".repeat(100_000));
    assert!(Manifest::parse(dotted.as_bytes()).is_err());
}

#[test]
fn every_policy_of_schema_1_loads_and_is_written_back_the_same() {
    let stable = RolloutPolicy::parse(STABLE.as_bytes()).unwrap();
    let offer = stable.offer.clone().unwrap();
    assert_eq!(
        (offer.version.as_str(), offer.start.to_string().as_str()),
        ("2026.11.2", "2026-11-23T12:00:00Z")
    );
    assert_eq!(offer.schedule.waves().len(), 3);
    let paused = RolloutPolicy::parse(PAUSED.as_bytes()).unwrap();
    assert!(paused.paused && paused.offer.is_none());
    assert_eq!(paused.withdrawn[0].to_string(), "4".repeat(64));
    for policy in [stable, paused] {
        assert_eq!(
            RolloutPolicy::parse(policy.to_toml().as_bytes()),
            Ok(policy)
        );
    }
}

#[test]
fn a_policy_without_a_pause_switch_or_a_schedule_is_refused() {
    for missing in [
        "paused = false\n",
        "withdrawn = []\n",
        "channel = \"stable\"\n",
        "start = 2026-11-23T12:00:00Z\n",
        "offer = \"2026.11.2\"\n",
    ] {
        let text = STABLE.replace(missing, "");
        assert_eq!(
            RolloutPolicy::parse(text.as_bytes())
                .expect_err(missing)
                .code(),
            "malformed-rollout"
        );
    }
    let waveless: String = STABLE
        .lines()
        .filter(|line| !line.starts_with("waves"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(
        RolloutPolicy::parse(waveless.as_bytes())
            .expect_err("waves")
            .code(),
        "malformed-rollout"
    );
    let unknown = format!("{STABLE}force = true\n");
    assert_eq!(
        RolloutPolicy::parse(unknown.as_bytes())
            .expect_err("unknown")
            .code(),
        "client-too-old"
    );
    let huge = format!("{STABLE}#{}", "x".repeat(64 * 1024));
    assert_eq!(
        RolloutPolicy::parse(huge.as_bytes())
            .expect_err("huge")
            .code(),
        "endless-data"
    );
}

fn within(policy: &str) -> Result<(), PolicyError> {
    RolloutPolicy::parse(policy.as_bytes())
        .expect("a policy")
        .check_within(&manifest(FULL))
}

#[test]
fn a_policy_may_delay_and_narrow_but_not_hasten_or_widen() {
    let waves = |waves: &str| {
        let old = "[ { percent = 1, soak = \"1h\" }, { percent = 10, soak = \"12h\" }, { percent = 100 } ]";
        assert!(STABLE.contains(old));
        STABLE.replace(old, waves)
    };
    assert_eq!(within(STABLE), Ok(()));
    assert_eq!(within(PAUSED), Ok(()));
    assert_eq!(within(&STABLE.replace("12:00:00Z", "12:00:01Z")), Ok(()));
    assert_eq!(within(&waves("[ { percent = 1 } ]")), Ok(()));
    assert_eq!(
        within(&waves(
            "[ { percent = 1, soak = \"13h\" }, { percent = 100 } ]"
        )),
        Ok(())
    );
    let hastened = within(&STABLE.replace("12:00:00Z", "11:59:59Z")).expect_err("too early");
    assert_eq!(hastened.code(), "rollout-hastened");
    for faster in [
        "[ { percent = 2 } ]",
        "[ { percent = 100 } ]",
        "[ { percent = 1, soak = \"59m\" }, { percent = 2 } ]",
        "[ { percent = 1, soak = \"1h\" }, { percent = 11 } ]",
        "[ { percent = 1, soak = \"12h\" }, { percent = 100 } ]",
    ] {
        assert_eq!(
            within(&waves(faster)).expect_err(faster).code(),
            "rollout-widened"
        );
    }
    // A month of delay does not buy a faster rollout.
    let late = waves("[ { percent = 100 } ]").replace("2026-11-23", "2026-12-23");
    assert_eq!(
        within(&late).expect_err("late but at once").code(),
        "rollout-widened"
    );
    let other = within(&STABLE.replace("2026.11.2", "2026.11.3")).expect_err("other release");
    assert_eq!(other.code(), "rollout-of-other-release");
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let wave = (1u8..=100, 0u64..100_000);
    proptest::collection::btree_map(1u8..=100, wave, 1..8).prop_map(|waves| {
        let waves = waves.into_iter().map(|(percent, (_, soak))| Wave {
            percent,
            soak: Seconds(soak),
        });
        Schedule::new(waves.collect()).expect("percents of a map rise")
    })
}

proptest! {
    #[test]
    fn an_accepted_policy_never_reaches_more_nodes_than_the_limit_and_a_refused_one_does_somewhere(
        schedule in any_schedule(), limit in any_schedule(), start in 0i64..100, earliest in 0i64..100,
    ) {
        let mut manifest = manifest(MINIMAL);
        manifest.rollout_limit.earliest = UnixTime(earliest);
        manifest.rollout_limit.schedule = limit.clone();
        let offer = Offer { version: manifest.version.clone(), start: UnixTime(start), schedule: schedule.clone() };
        let policy = RolloutPolicy { channel: "c".parse().unwrap(), offer: Some(offer), paused: false, withdrawn: vec![] };
        // Looked at second by second around every change of either schedule.
        let moments = schedule.openings().chain(limit.openings()).flat_map(|(at, _)| [at.0.saturating_sub(1), at.0, at.0 + 1]);
        let wider = moments.into_iter().any(|at| schedule.percent_at(Seconds(at)) > limit.percent_at(Seconds(at)));
        prop_assert_eq!(policy.check_within(&manifest).is_ok(), start >= earliest && !wider);
    }

    #[test]
    fn a_schedule_only_widens_with_time(schedule in any_schedule(), a in 0u64..1_000_000, b in 0u64..1_000_000) {
        let (early, late) = (a.min(b), a.max(b));
        prop_assert!(schedule.percent_at(Seconds(early)) <= schedule.percent_at(Seconds(late)));
        let last = schedule.waves().last().unwrap().percent;
        prop_assert_eq!(schedule.percent_at(Seconds(u64::MAX)), last);
    }

    #[test]
    fn a_policy_with_any_schedule_reads_back_the_same(schedule in any_schedule(), start in 0i64..4_000_000_000) {
        let offer = Offer { version: "1.2~rc1".parse().unwrap(), start: UnixTime(start), schedule };
        let policy = RolloutPolicy { channel: "beta".parse().unwrap(), offer: Some(offer), paused: true, withdrawn: vec![] };
        prop_assert_eq!(RolloutPolicy::parse(policy.to_toml().as_bytes()), Ok(policy));
    }

    #[test]
    fn no_change_of_one_byte_makes_the_reader_panic_or_changes_meaning_silently(at in 0usize..2500, byte in any::<u8>()) {
        let mut bytes = FULL.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(manifest) = Manifest::parse(&bytes) {
            prop_assert_eq!(Manifest::parse(manifest.to_toml().as_bytes()), Ok(manifest));
        }
    }
}
