//! The rules that need nothing but a list of files and a few numbers.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::Outcome;
use crate::build::{Bytes, Description, Partitions};
use crate::files;
use crate::output::megabytes;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: &'static str,
    /// On what.
    pub subject: String,
    /// What a person can do.
    pub remedy: &'static str,
}

impl Finding {
    pub(super) fn new(rule: &'static str, subject: &str, remedy: &'static str) -> Self {
        Self {
            rule,
            subject: subject.to_owned(),
            remedy,
        }
    }
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link and where it points.
    Link(String),
    /// Anything else.
    Special,
}

/// One path of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path below the root.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
}

/// Everything below a root.
pub(super) fn entries(root: &Path) -> Outcome<Vec<Entry>> {
    let mut entries = Vec::new();
    files::walk(root, &mut |path, meta| {
        let kind = if meta.is_dir() {
            Kind::Folder
        } else if meta.file_type().is_symlink() {
            let full = root.join(path);
            let target =
                std::fs::read_link(&full).map_err(|error| files::failed(&full, "read", &error))?;
            Kind::Link(target.to_string_lossy().into_owned())
        } else if meta.file_type().is_char_device()
            || meta.file_type().is_block_device()
            || !meta.is_file()
        {
            Kind::Special
        } else {
            Kind::File
        };
        entries.push(Entry {
            path: path.to_string_lossy().into_owned(),
            kind,
            mode: meta.mode() & 0o7777,
        });
        Ok(())
    })?;
    Ok(entries)
}

/// No device nodes, nothing that everybody may write to, nothing setuid beyond the list.
pub(super) fn modes(entries: &[Entry], setuid: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in entries {
        let Entry { path, kind, mode } = entry;
        if *kind == Kind::Special {
            findings.push(Finding::new(
                "special-file",
                path,
                "take it out with an overlay or prune.paths",
            ));
        }
        // A folder with the sticky bit is the usual /tmp: nobody can touch what belongs to others.
        let sticky = *kind == Kind::Folder && mode & 0o1000 != 0;
        if !matches!(kind, Kind::Link(_)) && mode & 0o002 != 0 && !sticky {
            findings.push(Finding::new(
                "world-writable",
                path,
                "correct its mode in the package or overlay",
            ));
        }
        if *kind == Kind::File && mode & 0o6000 != 0 && !setuid.contains(path) {
            findings.push(Finding::new(
                "setuid",
                path,
                "prune it, or add it to the recipe's list",
            ));
        }
    }
    findings
}

/// No private key, which every host of the release would share.
pub(super) fn keys(root: &Path) -> Outcome<Vec<Finding>> {
    let remedy = "take it out, and let each host make its own";
    let found = crate::tree::secrets::private_keys(root)?;
    let finding = |path: &String| Finding::new("private-key", path, remedy);
    Ok(found.iter().map(finding).collect())
}

/// Units that something in the image starts, and the project's own.
pub(super) fn units_that_start(entries: &[Entry]) -> Vec<String> {
    const FOLDER: &str = "usr/lib/systemd/system/";
    let mut names = std::collections::BTreeSet::from(["default.target".to_owned()]);
    let masked = |name: &str| {
        let own = format!("{FOLDER}{name}");
        let null = |entry: &Entry| entry.kind == Kind::Link("/dev/null".to_owned());
        entries.iter().any(|entry| entry.path == own && null(entry))
    };
    for entry in entries {
        let Some(rest) = entry.path.strip_prefix(FOLDER) else {
            continue;
        };
        let (folder, name) = rest.rsplit_once('/').unwrap_or(("", rest));
        let pulled = folder.ends_with(".wants") || folder.ends_with(".requires");
        let ours = folder.is_empty() && name.starts_with("twinroot-") && entry.kind == Kind::File;
        if (pulled || ours) && !masked(name) {
            names.insert(name.to_owned());
        }
    }
    names.into_iter().collect()
}

/// Numbers that decide whether later releases fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) now: Bytes,
    pub(super) before: Option<Bytes>,
    pub(super) partitions: Partitions,
}

/// Growth between two releases that is planned for where nobody knows better: a quarter of a hundred,
/// which a year of monthly Debian refreshes has not passed.
const GROWTH_PERCENT: u64 = 3;
/// Boot images on the ESP while an update is armed: the booted one, the staged one, the entry that is made of it.
const BOOT_IMAGES: u64 = 3;
/// Loader twice (its own path and the fallback path), records and folders.
const ESP_OTHER: u64 = 4 << 20;

/// Whether this release and the two after it fit their partitions.
pub(super) fn room(sizes: &Sizes) -> Vec<Finding> {
    let Sizes {
        now,
        before,
        partitions,
    } = sizes;
    let grown = |now: u64, before: Option<u64>| match before {
        Some(before) => now + 2 * now.saturating_sub(before).max(now * GROWTH_PERCENT / 100),
        None => now + 2 * (now * GROWTH_PERCENT / 100),
    };
    let root = grown(now.root, before.map(|bytes| bytes.root));
    let uki = grown(now.uki, before.map(|bytes| bytes.uki));
    let mut findings = Vec::new();
    if root > partitions.slot {
        let detail = format!(
            "the release after next would have {}, a slot {}",
            megabytes(root),
            megabytes(partitions.slot)
        );
        findings.push(Finding::new(
            "slot-room",
            &detail,
            "make the image smaller, or later hosts' slots larger",
        ));
    }
    let esp = uki * BOOT_IMAGES + ESP_OTHER;
    if esp > partitions.esp {
        let detail = format!(
            "boot images of the release after next need {}, the ESP has {}",
            megabytes(esp),
            megabytes(partitions.esp)
        );
        findings.push(Finding::new(
            "esp-room",
            &detail,
            "make initramfs or kernel smaller, or later hosts' ESP larger",
        ));
    }
    findings
}

/// Words of a command line that weaken a host or open a console; `check` refuses them in a release.
const WEAK: [&str; 10] = [
    "mitigations=off",
    "nokaslr",
    "init=",
    "systemd.debug-shell",
    "rd.break",
    "selinux=0",
    "apparmor=0",
    "console=ttyS0",
    "lockdown=none",
    "module.sig_enforce=0",
];

/// Words of a unit that logs somebody in without a password.
const CONSOLE: &str = "--autologin";
/// Where units and their drop-ins are.
const UNITS: &str = "usr/lib/systemd/system/";
/// The trust anchor, without which a node can verify no release.
const ANCHOR: &str = "usr/share/twinroot/root.json";

/// What a test image may have and a release may not, and what a release must have.
pub(super) fn for_release(
    root: &Path,
    description: &Description,
    entries: &[Entry],
) -> Outcome<Vec<Finding>> {
    let mut findings = weak_words(&description.cmdline);
    if description.not_for_release {
        let name = description.variant.as_deref().unwrap_or("the recipe");
        findings.push(Finding::new("not-for-release", name, "build what ships"));
    }
    if !entries.iter().any(|entry| entry.path == ANCHOR) {
        let remedy = "build it with --anchor";
        findings.push(Finding::new("no-trust-anchor", ANCHOR, remedy));
    }
    for entry in entries.iter().filter(|entry| entry.kind == Kind::File) {
        let test = entry.path.starts_with("usr/lib/twinroot-test");
        let unit = entry.path.starts_with(UNITS);
        if test || (unit && files::read_text(&root.join(&entry.path))?.contains(CONSOLE)) {
            findings.push(Finding::new("test-file", &entry.path, "build what ships"));
        }
    }
    Ok(findings)
}

fn weak_words(cmdline: &str) -> Vec<Finding> {
    let weak = |word: &&str| {
        WEAK.iter()
            .any(|weak| word == weak || (weak.ends_with('=') && word.starts_with(weak)))
    };
    let finding = |word| Finding::new("weak-command-line", word, "move it to a variant for tests");
    cmdline.split(' ').filter(weak).map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind, mode: u32) -> Entry {
        Entry {
            path: path.into(),
            kind,
            mode,
        }
    }

    fn rules_of(findings: &[Finding]) -> Vec<(&str, &str)> {
        findings
            .iter()
            .map(|finding| (finding.rule, finding.subject.as_str()))
            .collect()
    }

    #[test]
    fn a_private_key_is_found_and_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("etc/some/host.key");
        crate::files::write(&path, "-----BEGIN PRIVATE KEY-----\nabc\n").unwrap();
        let found = keys(root.path()).unwrap();
        assert_eq!(rules_of(&found), [("private-key", "etc/some/host.key")]);
    }

    #[test]
    fn setuid_world_writable_and_devices_are_found_and_listed_ones_are_not() {
        let entries = [
            entry("usr/bin/su", Kind::File, 0o4755),
            entry("usr/bin/odd", Kind::File, 0o2755),
            entry("tmp", Kind::Folder, 0o1777),
            entry("srv/open", Kind::Folder, 0o777),
            entry("etc/open", Kind::File, 0o666),
            entry("dev/sda", Kind::Special, 0o600),
            entry("usr/bin/link", Kind::Link("su".into()), 0o777),
        ];
        assert_eq!(
            rules_of(&modes(&entries, &["usr/bin/su".to_owned()])),
            [
                ("setuid", "usr/bin/odd"),
                ("world-writable", "srv/open"),
                ("world-writable", "etc/open"),
                ("special-file", "dev/sda")
            ]
        );
    }

    #[test]
    fn units_that_start_are_judged_and_masked_ones_are_not() {
        let unit = |path: &str, kind| entry(&format!("usr/lib/systemd/system/{path}"), kind, 0o644);
        let link = || Kind::Link("../x.service".into());
        let entries = [
            unit("multi-user.target.wants/net.service", link()),
            unit("multi-user.target.wants/off.service", link()),
            unit("off.service", Kind::Link("/dev/null".into())),
            unit("twinroot-agent.service", Kind::File),
            unit("rc-local.service", Kind::File),
        ];
        assert_eq!(
            units_that_start(&entries),
            ["default.target", "net.service", "twinroot-agent.service"]
        );
    }

    #[test]
    fn words_that_weaken_a_host_are_found() {
        let findings =
            weak_words("roothash=00 ro mitigations=off init=/bin/sh quiet systemd.unit=x");
        assert_eq!(
            rules_of(&findings),
            [
                ("weak-command-line", "mitigations=off"),
                ("weak-command-line", "init=/bin/sh")
            ]
        );
    }

    #[test]
    fn a_slot_that_the_release_after_next_would_outgrow_is_found() {
        let bytes = |root, uki| Bytes {
            root,
            uki,
            initramfs: 1,
            modules: 1,
        };
        let partitions = Partitions {
            esp: 100 << 20,
            slot: 110,
            tree: 1,
            state: 1,
        };
        let fits = Sizes {
            now: bytes(100, 20 << 20),
            before: Some(bytes(96, 20 << 20)),
            partitions,
        };
        assert_eq!(rules_of(&room(&fits)), []);
        let grows = Sizes {
            before: Some(bytes(94, 20 << 20)),
            ..fits
        };
        assert_eq!(room(&grows)[0].rule, "slot-room");
        let large = Sizes {
            now: bytes(100, 33 << 20),
            before: None,
            partitions,
        };
        assert_eq!(room(&large)[0].rule, "esp-room");
    }
}
