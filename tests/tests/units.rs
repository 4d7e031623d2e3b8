//! The units of a node: systemd itself reads them, and the pages say of them what it says.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinroot_tests::skip;
use xtask::run::{have, root};

fn units() -> Vec<PathBuf> {
    let listed = std::fs::read_dir(root().join("systemd/system")).unwrap();
    let mut units: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    units.sort();
    assert!(units.len() >= 7, "{units:?}");
    units
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn systemd_finds_nothing_wrong_with_any_unit() {
    if !have("systemd-analyze") {
        return skip("systemd-analyze is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    // Programs of the image are not here; that they are executable is the image's own check.
    for unit in units() {
        let text = std::fs::read_to_string(&unit).unwrap();
        let text = text.replace("/usr/bin/twinroot", "/bin/sh");
        std::fs::write(dir.path().join(name(&unit)), text).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]);
    let verify = verify
        .args(units().iter().map(|unit| dir.path().join(name(unit))))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.success() && said.trim().is_empty(), "{said}");
    // A judge that never says no is none.
    let broken = dir.path().join("broken.service");
    std::fs::write(&broken, "[Service]\nExecStart=/bin/sh\nWatchdogSec=soon\n").unwrap();
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(broken)
        .output();
    assert!(!verify.unwrap().stderr.is_empty());
}

/// What `systemd-analyze security` gives a unit, of 10.
fn exposure(unit: &str) -> f64 {
    let path = root().join("systemd/system").join(unit);
    let mut analyze = Command::new("systemd-analyze");
    analyze
        .args(["security", "--offline=yes", "--no-pager"])
        .arg(path);
    let said = String::from_utf8(analyze.output().unwrap().stdout).unwrap();
    let line = said
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .expect(&said);
    let figure = line.rsplit(": ").next().unwrap().split(' ').next().unwrap();
    figure.parse().unwrap_or_else(|_| panic!("{line}"))
}

#[test]
fn the_exposure_of_the_services_is_what_the_page_says() {
    if !have("systemd-analyze") {
        return skip("systemd-analyze is not installed");
    }
    let page = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for unit in ["twinroot-agent.service", "twinroot-health.service"] {
        let of = |rest: &str| -> Option<f64> {
            rest.trim_start_matches(['`', ' '])
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        };
        let stated = page.split(unit).skip(1).find_map(of);
        let stated = stated.unwrap_or_else(|| panic!("the page says nothing of {unit}"));
        let found = exposure(unit);
        // Versions of the tool weigh a few tenths differently.
        assert!(
            (found - stated).abs() < 0.35,
            "{unit}: {found}, the page says {stated}"
        );
    }
}

#[test]
fn presets_and_image_enable_what_can_be_enabled_and_nothing_else() {
    let can = |unit: &PathBuf| std::fs::read_to_string(unit).unwrap().contains("[Install]");
    let can: BTreeSet<String> = units()
        .iter()
        .filter(|unit| can(unit))
        .map(|u| name(u))
        .collect();
    let preset = root().join("systemd/system-preset/50-twinroot.preset");
    let preset = std::fs::read_to_string(preset).unwrap();
    let enabled = preset
        .lines()
        .filter_map(|line| line.strip_prefix("enable "));
    assert_eq!(enabled.map(str::to_owned).collect::<BTreeSet<_>>(), can);
    let recipe = std::fs::read_to_string(root().join("rootfs/container-host.toml")).unwrap();
    for unit in can {
        assert!(
            recipe.contains(&format!("\"{unit}\"")),
            "the image does not enable {unit}"
        );
    }
}

#[test]
fn the_sockets_are_those_that_the_agent_takes() {
    for (unit, word, file) in [
        ("twinroot-read.socket", "read", twinroot_host::sockets::READ),
        (
            "twinroot-control.socket",
            "control",
            twinroot_host::sockets::CONTROL,
        ),
    ] {
        let text = std::fs::read_to_string(root().join("systemd/system").join(unit)).unwrap();
        for line in [
            format!("ListenStream=/run/twinroot/{file}"),
            format!("FileDescriptorName={word}"),
            format!("SocketGroup=twinroot-{word}"),
            String::from("SocketMode=0660"),
            String::from("Service=twinroot-agent.service"),
        ] {
            assert!(text.lines().any(|l| l == line), "{unit} lacks {line}");
        }
    }
}

#[test]
fn groups_and_folders_are_made_as_the_units_need_them() {
    if !nix::unistd::geteuid().is_root() || !have("systemd-sysusers") || !have("systemd-tmpfiles") {
        return skip("this needs root and systemd's own tools");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("etc")).unwrap();
    let at = |option: &str| format!("{option}={}", dir.path().display());
    let run = |tool: &str, args: &[String]| {
        let done = Command::new(tool).args(args).output().unwrap();
        assert!(
            done.status.success(),
            "{tool}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    let file = |path: &str| root().join("systemd").join(path).display().to_string();
    run(
        "systemd-sysusers",
        &[at("--root"), file("sysusers.d/twinroot.conf")],
    );
    run(
        "systemd-tmpfiles",
        &[
            at("--root"),
            "--create".into(),
            file("tmpfiles.d/twinroot.conf"),
        ],
    );
    let groups = std::fs::read_to_string(dir.path().join("etc/group")).unwrap();
    for group in ["twinroot-read", "twinroot-control"] {
        assert!(
            groups
                .lines()
                .any(|line| line.starts_with(&format!("{group}:"))),
            "{groups}"
        );
    }
    for folder in ["run/twinroot/gate.d", "var/lib/twinroot"] {
        assert!(dir.path().join(folder).is_dir(), "{folder}");
    }
}
