use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;
use crate::error::{Code, Failure};
use twinroot_trust::time::Seconds;

const IMAGE: &str = r#"
[identity]
product = "container-host"
architecture = "x86-64"

[repository]
metadata-url = "https://updates.example/metadata/"
targets-url = "https://updates.example/targets/"

[update]
channel = "stable"

[polling]
interval = "2h"
"#;

fn source(layer: Layer, name: &str, text: &str) -> Source {
    let folder = match layer {
        Layer::Image => "/usr/lib",
        Layer::Run => "/run",
        Layer::Etc => "/etc",
    };
    let path = alloc::format!("{folder}/twinroot/config.d/{name}");
    Source {
        layer,
        path,
        text: text.to_string(),
    }
}

fn read_with(more: &[Source]) -> Result<(Settings, Origins), Failure> {
    let mut sources = Vec::from([source(Layer::Image, "10-image.toml", IMAGE)]);
    sources.extend_from_slice(more);
    // The order in which files are found must not matter.
    sources.reverse();
    read(&sources)
}

#[test]
fn an_image_alone_gives_settings_with_safe_defaults() {
    let (settings, origins) = read_with(&[]).expect("it reads");
    assert_eq!(settings.identity.product.as_str(), "container-host");
    assert_eq!(settings.update.strategy, Strategy::StagedOnly);
    assert_eq!((settings.update.tries, settings.update.workers), (3, 2));
    assert_eq!(settings.health.probation, Seconds(300));
    assert!(!settings.trust.p256);
    assert_eq!(settings.polling.interval, Seconds(7200));
    let image = Origin::File("/usr/lib/twinroot/config.d/10-image.toml".into());
    assert_eq!(origins["polling.interval"], image);
    assert_eq!(origins["update.tries"], Origin::Default);
}

#[test]
fn later_layers_win_key_by_key_and_say_so() {
    let run = source(
        Layer::Run,
        "99.toml",
        "[polling]\ninterval = \"3h\"\njitter = \"1m\"",
    );
    let etc = source(Layer::Etc, "01.toml", "[polling]\ninterval = \"5m\"");
    let (settings, origins) = read_with(&[run, etc]).expect("it reads");
    assert_eq!(
        settings.polling,
        Polling {
            interval: Seconds(300),
            jitter: Seconds(60)
        }
    );
    assert_eq!(
        origins["polling.interval"],
        Origin::File("/etc/twinroot/config.d/01.toml".into())
    );
    assert_eq!(
        origins["polling.jitter"],
        Origin::File("/run/twinroot/config.d/99.toml".into())
    );
}

#[test]
fn within_a_layer_the_later_name_wins() {
    let a = source(Layer::Etc, "20-a.toml", "[update]\ntries = 5");
    let b = source(Layer::Etc, "10-b.toml", "[update]\ntries = 2");
    assert_eq!(read_with(&[a, b]).expect("it reads").0.update.tries, 5);
}

#[test]
fn a_file_replaces_the_one_of_its_name_in_lower_layers() {
    let image = source(Layer::Image, "50-fast.toml", "[update]\nworkers = 8");
    let off = source(Layer::Etc, "50-fast.toml", "");
    assert_eq!(
        read_with(core::slice::from_ref(&image))
            .expect("it reads")
            .0
            .update
            .workers,
        8
    );
    assert_eq!(
        read_with(&[image, off]).expect("it reads").0.update.workers,
        2
    );
}

#[test]
fn what_is_wrong_is_refused_with_file_and_line() {
    for (text, code, place) in [
        ("[update]\ntrys = 3", Code::ConfigUnknownKey, ":2"),
        ("[updates]\ntries = 3", Code::ConfigUnknownKey, ":1"),
        ("x-note = 1", Code::ConfigUnknownKey, ":1"),
        ("[update\ntries = 3", Code::ConfigSyntax, ":1"),
        ("[update]\ntries = 1\ntries = 2", Code::ConfigSyntax, ":3"),
        ("[update]\ntries = \"three\"", Code::ConfigValue, ":2"),
        ("[update]\n\ntries = -1", Code::ConfigValue, ":3"),
        ("[update]\ntries = 0", Code::ConfigValue, ", update.tries"),
        ("[update]\nstrategy = \"yolo\"", Code::ConfigValue, ":2"),
        ("[update]\nchannel = \"../stable\"", Code::ConfigValue, ":2"),
        ("[polling]\ninterval = \"5\"", Code::ConfigValue, ":2"),
        (
            "[polling]\ninterval = \"5s\"",
            Code::ConfigValue,
            ", polling.interval",
        ),
        (
            "[repository]\nmin-throughput = \"1 kB\"",
            Code::ConfigValue,
            ":2",
        ),
        (
            "[repository]\nrate-limit = \"100B\"",
            Code::ConfigValue,
            ", repository.rate-limit",
        ),
        (
            "[repository]\nproxy = \"file:/x\"",
            Code::ConfigValue,
            ", repository.proxy",
        ),
        (
            "[repository]\nca = \"ca.pem\"",
            Code::ConfigValue,
            ", repository.ca",
        ),
        (
            "[repository]\nclient-key = \"/k.pem\"",
            Code::ConfigValue,
            "repository.client-cert",
        ),
        (
            "[repository]\nbearer-file = \"/t\"\nmirrors = [\"http://localhost.example/\"]",
            Code::ConfigValue,
            ", repository.bearer-file",
        ),
        (
            "[metrics]\nlisten = \"0.0.0.0:9273\"",
            Code::ConfigValue,
            ", metrics.listen",
        ),
        (
            "[metrics]\nlisten = \"127.0.0.1\"",
            Code::ConfigValue,
            ", metrics.listen",
        ),
        (
            "[repository]\nmetadata-url = \"ftp://x/\"",
            Code::ConfigValue,
            ", repository.metadata-url",
        ),
        (
            "[repository]\nmirrors = [\"https://u:p@x/\"]",
            Code::ConfigValue,
            ", repository.mirrors",
        ),
        (
            "[health]\nprobation = \"20m\"",
            Code::ConfigValue,
            "health.deadline",
        ),
    ] {
        let failure = read_with(&[source(Layer::Etc, "x.toml", text)]).expect_err(text);
        assert_eq!(failure.code, code, "{text}: {failure}");
        assert!(failure.subject.ends_with(place), "{text}: {failure}");
        assert!(!failure.remedy.is_empty());
    }
}

#[test]
fn only_the_image_says_what_the_node_is_and_whom_it_trusts() {
    for text in [
        "[trust]\np256 = true",
        "[identity]\nproduct = \"other\"",
        "[trust]",
    ] {
        for layer in [Layer::Run, Layer::Etc] {
            let failure = read_with(&[source(layer, "x.toml", text)]).expect_err(text);
            assert_eq!(failure.code, Code::ConfigImageOnly, "{text}");
        }
        let twin = source(Layer::Image, "x.toml", text);
        assert!(read_with(&[twin]).is_ok(), "{text}");
    }
}

#[test]
fn a_node_may_not_switch_the_identity_off_by_replacing_the_file() {
    let off = source(Layer::Etc, "10-image.toml", "");
    let failure = read_with(&[off]).expect_err("it replaces the identity");
    assert_eq!(failure.code, Code::ConfigImageOnly);
}

#[test]
fn what_nobody_sets_is_named() {
    let failure = read(&[]).expect_err("nothing is set");
    assert_eq!(
        (failure.code, failure.subject.as_str()),
        (Code::ConfigMissing, "identity.product")
    );
}

#[test]
fn the_listing_names_every_key_once_with_its_origin() {
    let throughput = source(
        Layer::Etc,
        "x.toml",
        "[repository]\nmin-throughput = \"4KiB\"",
    );
    let (settings, origins) = read_with(&[throughput]).expect("it reads");
    let listing = settings.listing();
    assert!(listing.contains(&("repository.min-throughput".into(), "4096".into())));
    assert!(listing.contains(&("update.strategy".into(), "\"staged-only\"".into())));
    for (key, _) in &listing {
        assert!(origins.contains_key(key), "{key} has no origin");
    }
}

#[test]
fn windows_and_the_strategy_that_heeds_them_come_together() {
    let windowed = "[update]\nstrategy = \"windowed\"\n[reboot]\nzone = \"Europe/Berlin\"\n\
                    windows = [\"sat,sun 02:00 3h\", \"daily 04:00 1h critical\"]\n\
                    freezes = [\"2026-12-20/2027-01-06 except critical\"]\n";
    let (settings, _) = read_with(&[source(Layer::Etc, "x.toml", windowed)]).expect("it reads");
    assert_eq!(settings.reboot.windows.len(), 2);
    assert_eq!(settings.reboot.stage_lead, Seconds(86_400));
    let (plain, _) = read_with(&[]).expect("it reads");
    assert_eq!(plain.reboot.stage_lead, Seconds(0));
    for (text, place) in [
        ("[update]\nstrategy = \"windowed\"", ", update.strategy"),
        ("[update]\nstrategy = \"fleetlock\"", ", update.strategy"),
        (
            "[update]\nstrategy = \"automatic\"\n[reboot]\nwindows = [\"daily 02:00 1h\"]",
            ", update.strategy",
        ),
        ("[reboot]\nwindows = [\"daily 25:00 1h\"]", ":2"),
        ("[reboot]\nfreezes = [\"christmas\"]", ":2"),
        ("[reboot]\nzone = \"../localtime\"", ", reboot.zone"),
        (
            "[fleetlock]\nurl = \"https://lock.example\"",
            "fleetlock.group",
        ),
    ] {
        let failure = read_with(&[source(Layer::Etc, "x.toml", text)]).expect_err(text);
        assert!(failure.subject.ends_with(place), "{text}: {failure}");
    }
}

#[test]
fn a_token_goes_to_the_loopback_and_over_tls_only() {
    for mirror in [
        "http://127.0.0.1:80/",
        "http://[::1]/",
        "http://localhost",
        "https://x/",
    ] {
        let text =
            alloc::format!("[repository]\nbearer-file = \"/run/token\"\nmirrors = [\"{mirror}\"]");
        let (settings, _) = read_with(&[source(Layer::Etc, "x.toml", &text)]).expect(mirror);
        assert_eq!(
            settings.repository.bearer_file.as_deref(),
            Some("/run/token")
        );
    }
}

/// The file that the image ships as the documentation of every setting.
const SHIPPED: &str = include_str!("../../../../systemd/config.d/00-defaults.toml");

/// The shipped file with its settings switched on: those that show a default, or the examples too.
fn switched_on(examples: bool) -> alloc::string::String {
    let on = |line: &str| -> Option<alloc::string::String> {
        let bare = line.strip_prefix('#')?;
        let table = bare.starts_with('[');
        let key = bare.starts_with(|c: char| c.is_ascii_lowercase()) && bare.contains(" = ");
        let example = bare.ends_with("# example");
        ((table || key) && (examples || !example)).then(|| bare.into())
    };
    SHIPPED
        .lines()
        .filter_map(on)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Keys that a table knows, as the reader itself lists them when it meets one that it does not know.
fn known_to(table: &str) -> Vec<alloc::string::String> {
    let text = match table {
        "" => "no-such-key = 1".into(),
        table => alloc::format!("[{table}]\nno-such-key = 1"),
    };
    let failure = read(&[source(Layer::Image, "x.toml", &text)]).expect_err("it is unknown");
    let listed = failure
        .cause
        .split_once("expected")
        .expect("it lists what it knows")
        .1;
    let names = listed.split('`').skip(1).step_by(2);
    names.map(ToString::to_string).collect()
}

#[test]
fn the_shipped_file_is_all_comments_and_names_every_setting() {
    let live = |line: &&str| !line.is_empty() && !line.starts_with('#');
    assert_eq!(
        SHIPPED.lines().find(live),
        None,
        "it would hide where a value comes from"
    );
    let shown: toml::Table = switched_on(true).parse().expect("it is TOML");
    let tables = known_to("");
    assert!(tables.len() >= 10, "{tables:?}");
    for table in tables {
        let keys = shown.get(&table).and_then(toml::Value::as_table);
        let keys = keys.unwrap_or_else(|| panic!("[{table}] is not described"));
        for key in known_to(&table) {
            assert!(keys.contains_key(&key), "{table}.{key} is not described");
        }
    }
}

#[test]
fn what_the_shipped_file_gives_as_default_is_the_default_and_its_examples_can_be_read() {
    let minimal = "[identity]\nproduct = \"p\"\narchitecture = \"x86-64\"\n\
                   [repository]\nmetadata-url = \"https://x/\"\ntargets-url = \"https://x/\"\n\
                   [update]\nchannel = \"stable\"\n";
    let base = source(Layer::Image, "10-image.toml", minimal);
    let (plain, _) = read(core::slice::from_ref(&base)).expect("it reads");
    let defaults = source(Layer::Image, "20-on.toml", &switched_on(false));
    let (with_defaults, _) = read(&[base.clone(), defaults]).expect("it reads");
    assert_eq!(plain, with_defaults);
    let all = source(Layer::Image, "20-on.toml", &switched_on(true));
    let (with_examples, _) = read(&[base, all]).expect("every example is one that is taken");
    assert_ne!(plain, with_examples);
}
