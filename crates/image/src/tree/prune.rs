//! Taking out paths that the recipe names.

use std::path::Path;

use twinroot_core::error::{Code, Failure};

use crate::Outcome;
use crate::files;

/// Removes everything that matches one of the patterns.
///
/// # Errors
/// `config-value` for a pattern that matches nothing: the packages have moved on, and something else may
/// now carry what was to go.
pub(super) fn paths(root: &Path, patterns: &[String]) -> Outcome<()> {
    let mut used = vec![false; patterns.len()];
    files::walk(root, &mut |path, _| {
        let name = path.to_string_lossy();
        let found = patterns
            .iter()
            .position(|pattern| files::matches(pattern, &name));
        if let Some(number) = found {
            used[number] = true;
            return files::remove(&root.join(path));
        }
        Ok(())
    })?;
    let unused: Vec<&str> = patterns
        .iter()
        .zip(used)
        .filter(|(_, used)| !used)
        .map(|(pattern, _)| pattern.as_str())
        .collect();
    match unused.is_empty() {
        true => Ok(()),
        false => {
            let subject = format!("prune.paths {}", unused.join(", "));
            Err(Failure::new(Code::ConfigValue, subject, "matches nothing")
                .with_remedy("take it out of the recipe, or correct it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matches_goes_and_a_pattern_for_nothing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in ["etc/rc0.d/K01", "etc/rc1.d/K01", "etc/rc.local"] {
            files::write(&root.join(path), "x").unwrap();
        }
        paths(root, &["etc/rc*.d".to_owned()]).unwrap();
        assert!(!root.join("etc/rc0.d").exists() && root.join("etc/rc.local").exists());
        let failure = paths(root, &["etc/init.d".to_owned()]).unwrap_err();
        assert!(
            failure.to_string().contains("prune.paths etc/init.d"),
            "{failure}"
        );
    }
}
