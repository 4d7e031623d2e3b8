use super::*;

const GOOD: &str = r#"
schema = 1
[product]
name = "toy"
title = "Toy"
architecture = "x86-64"
salt = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
[base]
kind = "debian"
suite = "trixie"
archive = [{ name = "debian", suites = ["trixie"] }]
kernel = "linux-image"
build = []
[common]
packages = ["a", "b"]
boot = { cmdline = ["panic=10", "quiet"] }
sizes = { slot = "512MiB" }
[[common.overlay]]
name = "network"
reason = "DHCP on every wired interface"
review-by = "2027-06-30"
[variant.test]
not-for-release = true
packages = ["-b", "c"]
boot = { cmdline = ["-quiet", "console=ttyS0"] }
sizes = { slot = "96MiB" }
"#;

fn refused(text: &str) -> String {
    Recipe::parse("toy.toml", text).unwrap_err().to_string()
}

#[test]
fn an_overlay_without_a_reason_is_refused() {
    let without = GOOD.replace("reason = \"DHCP on every wired interface\"\n", "");
    assert!(
        refused(&without).contains("missing field `reason`"),
        "{}",
        refused(&without)
    );
    let empty = GOOD.replace("DHCP on every wired interface", "because so");
    assert!(
        refused(&empty).contains("overlay network has no reason"),
        "{}",
        refused(&empty)
    );
}

#[test]
fn an_overlay_without_a_date_is_refused() {
    let without = GOOD.replace("review-by = \"2027-06-30\"\n", "");
    assert!(
        refused(&without).contains("missing field `review-by`"),
        "{}",
        refused(&without)
    );
    for wrong in ["soon", "2027-13-01", "2027-6-30", "2027-00-10", "20270630"] {
        let text = GOOD.replace("2027-06-30", wrong);
        assert!(
            refused(&text).contains("not a date"),
            "{wrong}: {}",
            refused(&text)
        );
    }
}

#[test]
fn an_unknown_key_is_refused() {
    let text = GOOD.replace("kind = \"debian\"", "kind = \"debian\"\nmirror = \"x\"");
    assert!(
        refused(&text).contains("unknown field `mirror`"),
        "{}",
        refused(&text)
    );
}

#[test]
fn a_variant_adds_takes_out_and_overrides() {
    let recipe = Recipe::parse("toy.toml", GOOD).unwrap();
    let ships = recipe.choose(None).unwrap();
    assert_eq!(ships.part.packages, ["a", "b"]);
    assert!(!ships.part.not_for_release);
    let test = recipe.choose(Some("test")).unwrap();
    assert_eq!(test.part.packages, ["a", "c"]);
    assert_eq!(test.part.boot.cmdline, ["panic=10", "console=ttyS0"]);
    assert_eq!(test.part.sizes.slot, Some(Size(96 << 20)));
    assert_eq!(test.part.overlay.len(), 1);
    assert!(test.part.not_for_release);
    assert!(
        recipe
            .choose(Some("none"))
            .unwrap_err()
            .to_string()
            .contains("it has test")
    );
}

#[test]
fn a_salt_that_is_none_is_refused() {
    let text = GOOD.replace("00112233", "xx112233");
    assert!(refused(&text).contains("salt"), "{}", refused(&text));
}
