//! Units are enabled and masked below `/usr`, so that `/etc` holds only what the node's people say and
//! an update that enables a new unit takes effect.

use std::path::Path;

use twinroot_core::error::{Code, Failure};

use crate::Outcome;
use crate::files;
use crate::recipe::Units;

const UNITS: &str = "usr/lib/systemd/system";

/// What a unit file's `[Install]` section asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Install {
    /// `WantedBy=` and `UpheldBy=` targets with the kind of folder.
    pub links: Vec<(String, &'static str)>,
    /// Other names.
    pub aliases: Vec<String>,
}

/// Reads the `[Install]` section of a unit file.
#[must_use]
pub fn parse_install(text: &str) -> Install {
    let mut install = Install::default();
    let mut within = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            within = line == "[Install]";
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| within) else {
            continue;
        };
        let words = value.split_whitespace().map(str::to_owned);
        let kind = match key.trim() {
            "WantedBy" => "wants",
            "RequiredBy" => "requires",
            "UpheldBy" => "upholds",
            "Alias" => {
                install.aliases.extend(words);
                continue;
            }
            _ => continue,
        };
        install.links.extend(words.map(|word| (word, kind)));
    }
    install
}

/// Drops what packages have enabled in `/etc`, enables and masks what the recipe names, and writes
/// presets that say the same.
pub(super) fn settle(root: &Path, units: &Units) -> Outcome<()> {
    files::remove(&root.join("etc/systemd/system"))?;
    files::make_folder(&root.join("etc/systemd/system"))?;
    for unit in &units.enable {
        enable(root, unit)?;
    }
    for unit in &units.mask {
        files::link("/dev/null", &root.join(UNITS).join(unit))?;
    }
    let mut preset = String::from(
        "# Made by the image's build. Units are enabled below /usr; nothing is enabled in /etc.\n",
    );
    for unit in &units.enable {
        preset.push_str(&format!("enable {unit}\n"));
    }
    preset.push_str("disable *\n");
    files::write(
        &root.join("usr/lib/systemd/system-preset/00-image.preset"),
        preset,
    )
}

fn enable(root: &Path, unit: &str) -> Outcome<()> {
    let wrong =
        |cause: &str| Failure::new(Code::ConfigValue, format!("units.enable {unit}"), cause);
    // An instance is enabled through its template.
    let template = match unit.split_once('@') {
        Some((name, rest)) => format!("{name}@.{}", rest.rsplit('.').next().unwrap_or("service")),
        None => unit.to_owned(),
    };
    let file = [unit, template.as_str()].map(|name| root.join(UNITS).join(name));
    let file = file.iter().find(|path| path.is_file());
    let file = file.ok_or_else(|| wrong("the image has no such unit"))?;
    let install = parse_install(&files::read_text(file)?);
    if install == Install::default() {
        return Err(wrong(
            "the unit has no [Install] section; name it in a .wants folder of an overlay",
        ));
    }
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for (target, kind) in install.links {
        let link = root.join(UNITS).join(format!("{target}.{kind}")).join(unit);
        files::link(&format!("../{name}"), &link)?;
    }
    for alias in install.aliases {
        files::link(&name, &root.join(UNITS).join(alias))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toy() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let unit = |name: &str, text: &str| {
            files::write(&dir.path().join(UNITS).join(name), text).unwrap()
        };
        unit(
            "net.service",
            "[Unit]\nWants=x\n[Install]\nWantedBy=multi-user.target\nAlias=dbus-net.service\n",
        );
        unit(
            "getty@.service",
            "[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n",
        );
        unit("static.service", "[Service]\nWantedBy=no.target\n");
        files::link(
            "/x",
            &dir.path()
                .join("etc/systemd/system/multi-user.target.wants/old.service"),
        )
        .unwrap();
        dir
    }

    fn units(enable: &[&str]) -> Units {
        Units {
            enable: enable.iter().map(|unit| (*unit).to_owned()).collect(),
            mask: vec!["old.service".into()],
        }
    }

    #[test]
    fn units_are_enabled_and_masked_below_usr_and_nothing_in_etc() {
        let dir = toy();
        settle(dir.path(), &units(&["net.service", "getty@ttyS0.service"])).unwrap();
        let target = |path: &str| std::fs::read_link(dir.path().join(UNITS).join(path)).unwrap();
        assert_eq!(
            target("multi-user.target.wants/net.service"),
            Path::new("../net.service")
        );
        assert_eq!(target("dbus-net.service"), Path::new("net.service"));
        assert_eq!(
            target("getty.target.wants/getty@ttyS0.service"),
            Path::new("../getty@.service")
        );
        assert_eq!(target("old.service"), Path::new("/dev/null"));
        assert_eq!(
            files::list(&dir.path().join("etc/systemd/system"))
                .unwrap()
                .len(),
            0
        );
    }

    #[test]
    fn a_unit_that_is_not_there_or_cannot_be_enabled_is_refused() {
        let dir = toy();
        for unit in ["none.service", "static.service"] {
            let failure = settle(dir.path(), &units(&[unit])).unwrap_err();
            assert!(failure.to_string().contains(unit), "{failure}");
        }
    }
}
