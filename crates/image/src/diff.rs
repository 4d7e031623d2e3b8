//! What changed between two built releases: packages, files and bytes.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;
use twinroot_trust::digest::Digest;

use crate::Outcome;
use crate::build::{Bytes, Description, names, read_description};
use crate::check::extract;
use crate::files;

/// The difference.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// Versions compared.
    pub versions: [String; 2],
    /// Packages that came, went or changed: name, version before, version after.
    pub packages: Vec<Change>,
    /// Files that came, went or changed: path, bytes before, bytes after.
    pub files: Vec<Change>,
    /// Bytes of what was made.
    pub bytes: [Bytes; 2],
}

/// One thing before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Name or path.
    pub name: String,
    /// Before; nothing where it is new.
    pub before: Option<String>,
    /// After; nothing where it is gone.
    pub after: Option<String>,
}

/// Compares two folders of results.
///
/// # Errors
/// `input-file-invalid`, `tool-missing`, `tool-failed`.
pub fn run(before: &Path, after: &Path) -> Outcome<Difference> {
    let (old, new) = (read_description(before)?, read_description(after)?);
    let (old_files, new_files) = (contents(before)?, contents(after)?);
    // What a file has is compared by digest and shown by size.
    let shown = |map: &BTreeMap<String, (String, String)>| -> BTreeMap<String, String> {
        map.iter()
            .map(|(path, (_, shown))| (path.clone(), shown.clone()))
            .collect()
    };
    let exact = |map: &BTreeMap<String, (String, String)>| -> BTreeMap<String, String> {
        map.iter()
            .map(|(path, (exact, _))| (path.clone(), exact.clone()))
            .collect()
    };
    let (old_shown, new_shown) = (shown(&old_files), shown(&new_files));
    let files = changes(&exact(&old_files), &exact(&new_files))
        .into_iter()
        .map(|change| Change {
            before: change
                .before
                .and_then(|_| old_shown.get(&change.name).cloned()),
            after: change
                .after
                .and_then(|_| new_shown.get(&change.name).cloned()),
            name: change.name,
        });
    Ok(Difference {
        packages: changes(&versions(&old), &versions(&new)),
        files: files.collect(),
        bytes: [old.bytes, new.bytes],
        versions: [old.version, new.version],
    })
}

fn versions(description: &Description) -> BTreeMap<String, String> {
    description
        .packages
        .iter()
        .map(|package| (package.name.clone(), package.version.clone()))
        .collect()
}

/// Each path with what makes it the same (mode, owner, content) and with what is shown of it.
fn contents(dir: &Path) -> Outcome<BTreeMap<String, (String, String)>> {
    let work = tempfile::tempdir_in(dir).map_err(|error| files::failed(dir, "use", &error))?;
    let root = work.path().join("root");
    extract(&dir.join(names::ROOT), &root)?;
    let mut found = BTreeMap::new();
    files::walk(&root, &mut |path, meta| {
        let full = root.join(path);
        let (content, shown) = if meta.is_file() {
            (
                Digest::of(&files::read(&full)?).to_string(),
                meta.len().to_string(),
            )
        } else if meta.file_type().is_symlink() {
            let target =
                std::fs::read_link(&full).map_err(|error| files::failed(&full, "read", &error))?;
            (
                target.display().to_string(),
                format!("-> {}", target.display()),
            )
        } else {
            (String::new(), "folder".to_owned())
        };
        let exact = format!("{:o} {}:{} {content}", meta.mode(), meta.uid(), meta.gid());
        found.insert(path.to_string_lossy().into_owned(), (exact, shown));
        Ok(())
    })?;
    Ok(found)
}

fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Change> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| Change {
        name: name.clone(),
        before: before.get(name).cloned(),
        after: after.get(name).cloned(),
    };
    names
        .into_iter()
        .map(change)
        .filter(|change| change.before != change.after)
        .collect()
}

impl Difference {
    /// For people: one line a change.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{} -> {}\n", self.versions[0], self.versions[1]);
        for (title, list) in [("packages", &self.packages), ("files", &self.files)] {
            text.push_str(&format!("{title}: {} changed\n", list.len()));
            for change in list {
                text.push_str(&match (&change.before, &change.after) {
                    (None, Some(after)) => format!("  + {} {after}\n", change.name),
                    (Some(before), None) => format!("  - {} {before}\n", change.name),
                    (before, after) => format!(
                        "    {} {} -> {}\n",
                        change.name,
                        before.as_deref().unwrap_or(""),
                        after.as_deref().unwrap_or("")
                    ),
                });
            }
        }
        let [old, new] = self.bytes;
        for (what, old, new) in [
            ("root image", old.root, new.root),
            ("boot image", old.uki, new.uki),
        ] {
            text.push_str(&format!("{what}: {old} -> {new} bytes\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_went_and_changed_is_listed_and_what_stayed_is_not() {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let found = changes(
            &map(&[("a", "1"), ("b", "1"), ("c", "1")]),
            &map(&[("b", "1"), ("c", "2"), ("d", "1")]),
        );
        let names: Vec<&str> = found.iter().map(|change| change.name.as_str()).collect();
        assert_eq!(names, ["a", "c", "d"]);
        assert_eq!(
            (found[0].after.as_deref(), found[2].before.as_deref()),
            (None, None)
        );
    }
}
