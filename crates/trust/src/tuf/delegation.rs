//! Who may speak for which targets.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::role::{Members, RoleKeys};
use super::{Limits, TopLevel, TufError, quoted_role};
use crate::digest::Digest;
use crate::error::BadValue;
use crate::keys::KeyPolicy;

/// The `delegations` of one targets role, in the order in which they are searched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delegations {
    /// Earlier ones outrank later ones.
    pub roles: Vec<Delegation>,
}

impl Delegations {
    pub(super) fn read(
        members: &Members<'_>,
        policy: KeyPolicy,
        limits: &Limits,
    ) -> Result<Self, TufError> {
        let keys = members.keys(policy)?;
        let entries = members.list("roles")?;
        if entries.len() > limits.delegated_roles {
            let most = limits.delegated_roles;
            return Err(members.malformed(format!("more than {most} delegations")));
        }
        let mut roles: Vec<Delegation> = Vec::with_capacity(entries.len());
        for entry in entries {
            let object = entry.as_object();
            let object =
                object.ok_or_else(|| members.malformed("a delegation must be an object"))?;
            let name = Members::new("", object).text("name").unwrap_or_default();
            check_role_name(name).map_err(|reason| members.malformed(reason))?;
            if roles.iter().any(|known| known.name == name) {
                return Err(members.malformed(format!("it delegates to {name} twice")));
            }
            let members = members.within(object);
            roles.push(Delegation {
                name: name.into(),
                keys: members.role_keys(&keys)?,
                terminating: members.truth("terminating")?,
                scope: Scope::read(&members)?,
            });
        }
        Ok(Self { roles })
    }

    /// The delegation to that role.
    pub fn get(&self, role: &str) -> Option<&Delegation> {
        self.roles.iter().find(|delegation| delegation.name == role)
    }
}

/// A delegated role must not pass for a top-level one, whose files stand in the same directory.
fn check_role_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("a delegation has no name");
    }
    if TopLevel::ALL.iter().any(|top| top.as_str() == name) {
        return Err("it delegates to a role with the name of a top-level role");
    }
    // With a version number and `.json` the name must stay below the 255 bytes of a file name.
    if quoted_role(name).len() > 225 {
        return Err("a delegated role's name is longer than a file name may be");
    }
    Ok(())
}

/// One entry of `delegations.roles`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The role that is trusted.
    pub name: String,
    /// Its keys, as this delegator sees them.
    pub keys: RoleKeys,
    /// Whether the search for a target in this scope ends with this role.
    pub terminating: bool,
    /// What it is trusted for.
    pub scope: Scope,
}

/// Which targets a delegation covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Targets whose name matches one of these.
    Paths(Vec<Pattern>),
    /// Targets whose name has a SHA-256 that starts with one of these hex digits.
    HashPrefixes(Vec<String>),
}

impl Scope {
    /// Section 4.5: exactly one of `paths` and `path_hash_prefixes`.
    fn read(members: &Members<'_>) -> Result<Self, TufError> {
        match (members.get("paths"), members.get("path_hash_prefixes")) {
            (Some(_), None) => {
                let patterns = members.texts("paths")?.into_iter().map(Pattern::new);
                let patterns = patterns.collect::<Result<_, _>>();
                patterns
                    .map(Self::Paths)
                    .map_err(|bad| members.malformed(bad.to_string()))
            }
            (None, Some(_)) => Ok(Self::HashPrefixes(members.texts("path_hash_prefixes")?)),
            _ => Err(members.malformed("a delegation needs either paths or path_hash_prefixes")),
        }
    }

    /// Whether a target of that name is covered.
    pub fn covers(&self, target: &str) -> bool {
        match self {
            Self::Paths(patterns) => patterns.iter().any(|pattern| pattern.matches(target)),
            Self::HashPrefixes(prefixes) => {
                let digest = Digest::of(target.as_bytes()).to_string();
                prefixes
                    .iter()
                    .any(|prefix| digest.starts_with(prefix.as_str()))
            }
        }
    }
}

/// A path pattern: `*` stands for any characters and `?` for one, neither for a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// Section 4.5 leaves character classes to the shell's `fnmatch`, and implementations read
    /// them differently; a pattern with `[` is refused rather than guessed at.
    pub fn new(text: String) -> Result<Self, BadValue> {
        if text.contains('[') {
            return Err(BadValue::new(
                "path pattern",
                &text,
                "'[' is read differently by clients",
            ));
        }
        if text.len() > 4096 {
            return Err(BadValue::new(
                "path pattern",
                &text,
                "at most 4096 bytes are allowed",
            ));
        }
        Ok(Self(text))
    }

    /// Whether a target of that name matches, part by part.
    pub fn matches(&self, target: &str) -> bool {
        let (mut patterns, mut names) = (self.0.split('/'), target.split('/'));
        loop {
            match (patterns.next(), names.next()) {
                (None, None) => return true,
                (Some(pattern), Some(name)) if part_matches(pattern, name) => {}
                _ => return false,
            }
        }
    }
}

/// One part without slashes. On a mismatch only the last star need be tried longer, so this takes
/// at most pattern × name steps.
fn part_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                in_name = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// Refuses target names that could leave the directory they are written to, or that file systems
/// and URLs read differently.
///
/// # Errors
/// [`TufError::UnsafeTargetName`] with the broken rule.
pub fn check_target_name(name: &str) -> Result<(), TufError> {
    let rule = if name.is_empty() {
        "it is empty"
    } else if name.starts_with('/') {
        "it must be relative"
    } else if name.contains('\\') {
        "a backslash is a separator on some systems"
    } else if name.chars().any(char::is_control) {
        "it holds control characters"
    } else if name.len() > 4096 || name.split('/').any(|part| part.len() > 255) {
        "no part may exceed 255 bytes and the whole 4096"
    } else if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "no part may be empty, '.' or '..'"
    } else {
        return Ok(());
    };
    Err(TufError::UnsafeTargetName(BadValue::new(
        "target name",
        name,
        rule,
    )))
}
