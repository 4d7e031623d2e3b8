//! `/var` is the state partition: what packages put there becomes a rule for `systemd-tmpfiles`, which
//! makes it on the node, so that a folder that a later release needs is there too.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use twinroot_core::error::{Code, Failure};

use crate::Outcome;
use crate::files;

/// Folders of `/` that people write to; each becomes a link into `/var`, with the mode it has there.
const WRITABLE: [(&str, &str, u32); 4] = [
    ("home", "var/home", 0o755),
    ("root", "var/roothome", 0o700),
    ("srv", "var/srv", 0o755),
    ("mnt", "var/mnt", 0o755),
];

/// Files that packages leave in `/var` and that are made again or of no use on a node.
const DROPPED: [&str; 9] = [
    "var/log",
    "var/cache/ldconfig",
    "var/lib/systemd/catalog",
    "var/lib/systemd/deb-systemd-helper-enabled",
    "var/lib/systemd/deb-systemd-helper-masked",
    "var/lib/systemd/deb-systemd-user-helper-enabled",
    "var/lib/pam",
    "var/lib/ucf",
    "var/lib/dbus/machine-id",
];

/// Empties `/var` and writes the rules; moves folders that people write to.
pub(super) fn settle(root: &Path) -> Outcome<()> {
    for path in DROPPED {
        files::remove(&root.join(path))?;
    }
    let mut rules = String::from("# Made by the image's build: what its packages need on /var.\n");
    let var = root.join("var");
    files::walk(&var, &mut |path, meta| {
        rule(&var, path, meta).map(|line| rules.push_str(&line))
    })?;
    for (name, place, mode) in WRITABLE {
        let folder = root.join(name);
        if folder.is_dir() && !files::list(&folder)?.iter().all(|path| skeleton(path)) {
            let cause = "packages put files there, and nodes have it on /var";
            return Err(Failure::new(
                Code::ConfigValue,
                folder.display().to_string(),
                cause,
            ));
        }
        files::link(place, &folder)?;
        rules.push_str(&format!("d /{place} {mode:04o} root root -\n"));
    }
    rules.push_str("d /var/log 0755 root root -\n");
    files::write(&root.join("usr/lib/tmpfiles.d/00-image-var.conf"), rules)?;
    files::remove(&var)?;
    files::make_folder(&var)
}

/// The shell's start files in root's home, which every user gets from `/etc/skel`.
fn skeleton(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    [".bashrc", ".profile", ".ssh"]
        .iter()
        .any(|known| name == *known)
}

fn rule(var: &Path, path: &Path, meta: &std::fs::Metadata) -> Outcome<String> {
    let full = var.join(path);
    let name = format!("/var/{}", path.display());
    if meta.is_dir() {
        let mode = meta.mode() & 0o7777;
        return Ok(format!(
            "d {name} {mode:04o} {} {} -\n",
            meta.uid(),
            meta.gid()
        ));
    }
    if meta.file_type().is_symlink() {
        let target =
            std::fs::read_link(&full).map_err(|error| files::failed(&full, "read", &error))?;
        return Ok(format!("L {name} - - - - {}\n", target.display()));
    }
    Err(Failure::new(
        Code::ConfigValue,
        name,
        "a package puts a file on /var, which nodes have on the state partition",
    )
    .with_remedy("prune it, or move it below /usr with an overlay"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_var_become_rules_and_var_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        files::make_folder(&root.join("var/lib/private")).unwrap();
        files::set_mode(&root.join("var/lib/private"), 0o700).unwrap();
        files::link("/run", &root.join("var/run")).unwrap();
        files::write(&root.join("root/.profile"), "x").unwrap();
        settle(root).unwrap();
        let rules = files::read_text(&root.join("usr/lib/tmpfiles.d/00-image-var.conf")).unwrap();
        let meta = files::metadata(root).unwrap();
        let owner = format!("{} {}", meta.uid(), meta.gid());
        assert!(
            rules.contains(&format!("d /var/lib/private 0700 {owner} -\n")),
            "{rules}"
        );
        assert!(rules.contains("L /var/run - - - - /run\n"), "{rules}");
        assert_eq!(
            std::fs::read_link(root.join("root")).unwrap(),
            Path::new("var/roothome")
        );
        assert_eq!(files::list(&root.join("var")).unwrap().len(), 0);
    }

    #[test]
    fn a_file_on_var_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        files::write(&dir.path().join("var/lib/x/db"), "x").unwrap();
        let failure = settle(dir.path()).unwrap_err();
        assert!(
            failure.to_string().starts_with("/var/lib/x/db"),
            "{failure}"
        );
    }
}
