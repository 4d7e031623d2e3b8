//! Which checks a node has: the publisher's, which the image carries, and the owner's. Both count. A
//! check of the owner that bears the name of one of the publisher's stands beside it under another
//! name; nothing that lies below `/etc` can take a publisher's check away, and no image an owner's.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use twinroot_trust::time::Seconds;

use super::definition::{Author, Check, Kind};
use crate::error::{Code, Failure};

/// Most checks of a node: eight run at a time, so that a round in which all of them take their
/// whole default time still ends within the longest pause between two rounds.
const MOST: usize = 128;
/// Time for a script of greenboot: it knows no limit, and scripts that wait for a cluster give
/// themselves five minutes.
const SCRIPT_TIMEOUT: Seconds = Seconds(300);
/// Pause between two runs of a script: greenboot runs each once a start, so that they may be heavy.
const SCRIPT_PERIOD: Seconds = Seconds(60);
/// What greenboot runs its scripts with, executable or not.
const SHELL: &str = "/bin/bash";

/// The checks of one file.
#[derive(Debug, Clone)]
pub struct Defined {
    /// The file, for messages.
    pub path: String,
    /// What it defines.
    pub checks: Vec<Check>,
}

/// The check that a script in one of greenboot's folders is: it holds where the script ends with 0.
#[must_use]
pub fn greenboot(by: Author, required: bool, path: &str) -> Check {
    let file = path.rsplit('/').next().unwrap_or(path);
    let folder = if required { "required.d" } else { "wanted.d" };
    Check {
        name: format!("greenboot/{folder}/{file}"),
        by,
        kind: Kind::Exec {
            command: vec![SHELL.to_string(), path.to_string()],
        },
        required,
        remote: false,
        timeout: SCRIPT_TIMEOUT,
        period: SCRIPT_PERIOD,
        successes: 1,
    }
}

/// Lays the checks of all files side by side, the publisher's first.
///
/// # Errors
/// `health-check-invalid` where two files of one author define a check of one name, or where there
/// are too many: a definition that cannot be followed must not be taken for one that passes.
pub fn together(files: Vec<Defined>) -> Result<Vec<Check>, Failure> {
    let mut all: Vec<(String, Check)> = Vec::new();
    for Defined { path, checks } in files {
        for check in checks {
            let same =
                |(_, other): &&(String, Check)| other.name == check.name && other.by == check.by;
            if let Some((other, _)) = all.iter().find(same) {
                let cause = format!("{other} defines a check of this name too");
                let subject = format!("{path}, check {}", check.name);
                return Err(Failure::new(Code::HealthCheckInvalid, subject, cause));
            }
            all.push((path.clone(), check));
        }
    }
    if all.len() > MOST {
        let cause = format!("there are {}, and at most {MOST} are run", all.len());
        return Err(Failure::new(
            Code::HealthCheckInvalid,
            "the health checks",
            cause,
        ));
    }
    let mut checks: Vec<Check> = all.into_iter().map(|(_, check)| check).collect();
    checks.sort_by_key(|check| check.by);
    let published: Vec<String> = checks
        .iter()
        .filter(|check| check.by == Author::Publisher)
        .map(|check| check.name.clone())
        .collect();
    for check in &mut checks {
        if check.by == Author::Owner && published.contains(&check.name) {
            // No name in a file has a '/', so that this one is free.
            check.name = format!("owner/{}", check.name);
        }
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::read_checks;

    fn file(by: Author, path: &str, checks: &[(&str, &str)]) -> Defined {
        let text: String = checks
            .iter()
            .map(|(name, level)| {
                format!("[[check]]\nname = \"{name}\"\nkind = \"kubelet\"\nlevel = \"{level}\"\n")
            })
            .collect();
        Defined {
            path: path.to_string(),
            checks: read_checks(by, path, &text).expect("they read"),
        }
    }

    #[test]
    fn neither_publisher_nor_owner_can_remove_or_weaken_the_others_check() {
        let checks = together(vec![
            file(Author::Owner, "/etc/a.toml", &[("kubelet", "wanted")]),
            file(Author::Publisher, "/usr/a.toml", &[("kubelet", "required")]),
        ])
        .expect("they fit together");
        let seen: Vec<_> = checks
            .iter()
            .map(|check| (check.name.as_str(), check.required))
            .collect();
        assert_eq!(seen, [("kubelet", true), ("owner/kubelet", false)]);
    }

    #[test]
    fn two_files_of_one_author_with_one_name_are_refused() {
        let failure = together(vec![
            file(Author::Owner, "/etc/a.toml", &[("x", "required")]),
            file(Author::Owner, "/etc/b.toml", &[("x", "wanted")]),
        ])
        .expect_err("one of the two would be lost");
        assert_eq!(failure.code, Code::HealthCheckInvalid);
        assert!(failure.subject.contains("/etc/b.toml"), "{failure}");
        assert!(failure.cause.contains("/etc/a.toml"), "{failure}");
    }

    #[test]
    fn a_script_of_greenboot_is_a_check_of_its_folders_level() {
        let wanted = greenboot(
            Author::Owner,
            false,
            "/etc/greenboot/check/wanted.d/10-x.sh",
        );
        assert_eq!(wanted.name, "greenboot/wanted.d/10-x.sh");
        assert!(!wanted.required && !wanted.remote);
        let path = "/usr/lib/greenboot/check/required.d/10-x.sh";
        let required = greenboot(Author::Publisher, true, path);
        assert!(required.required);
        assert_eq!(
            required.kind,
            Kind::Exec {
                command: vec!["/bin/bash".into(), path.into()]
            }
        );
    }
}
