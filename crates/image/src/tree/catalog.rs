//! The journal's message catalog is compiled at the build, into `/usr`: what `journalctl -x` explains then
//! belongs to the release that runs, and no boot has to compile it. `/var` gets a link (the overlay
//! `immutable-root`), since that is where journalctl looks.

use std::path::Path;

use crate::Outcome;
use crate::files;
use crate::tool::Tool;

/// Where packages and the project put what is compiled.
const SOURCES: &str = "usr/lib/systemd/catalog";
/// Where `journalctl --update-catalog` writes.
const MADE: &str = "var/lib/systemd/catalog/database";
/// Where it lies in the image.
const DATABASE: &str = "usr/lib/systemd/catalog/database";

/// Compiles what is there by the image's own journalctl, whose format it is.
pub(super) fn settle(root: &Path) -> Outcome<()> {
    compile(root, Tool::of_image(root, "usr/bin/journalctl"))
}

fn compile(root: &Path, journalctl: Tool) -> Outcome<()> {
    for path in files::list(&root.join(SOURCES))? {
        if is_translation(&path) {
            files::remove(&path)?;
        }
    }
    journalctl
        .arg("--update-catalog")
        .arg(format!("--root={}", root.display()))
        .run()?;
    let made = root.join(MADE);
    files::write_mode(&root.join(DATABASE), files::read(&made)?, 0o644)?;
    files::remove(&made)
}

/// `NAME.LANGUAGE.catalog`: the image has no other translations either.
fn is_translation(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".catalog")
        .is_some_and(|stem| stem.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_by_their_ids_in_what_was_compiled() {
        let journalctl = || Tool::new("journalctl");
        if journalctl().arg("--version").run().is_err() {
            println!("SKIP journalctl is not here");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        files::lay_over(&project.join("systemd/catalog"), &root.join(SOURCES)).unwrap();
        files::write(&root.join(SOURCES).join("systemd.de.catalog"), "wrong").unwrap();
        files::make_folder(&root.join("var/lib/systemd")).unwrap();
        compile(root, journalctl()).unwrap();
        let left = files::list(&root.join("var/lib/systemd/catalog")).unwrap();
        assert_eq!(left.len(), 0, "/var is empty in an image");
        // As on a node, where a link leads from there to the image.
        files::link(&format!("../../../../{DATABASE}"), &root.join(MADE)).unwrap();
        let listed = journalctl()
            .arg("--list-catalog")
            .arg(format!("--root={}", root.display()))
            .text()
            .unwrap();
        let denied = "df7a657c09404aafab07fd815c706245 twinroot: ";
        assert!(listed.contains(denied), "{listed}");
    }
}
