//! Users and groups have the numbers that the recipe gives them, in every release: files on the state
//! partition outlive releases and know numbers only.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use twinroot_core::error::{Code, Failure};

use crate::Outcome;
use crate::files;
use crate::recipe::Ids;
use crate::tool::Tool;

/// Numbers below this are the distribution's own constants (Debian policy 9.2.2).
const STATIC: u32 = 100;
/// `nobody` and `nogroup`, the same everywhere.
const NOBODY: u32 = 65534;

/// Makes the users and groups that packages and overlays declare.
pub(super) fn make(root: &Path) -> Outcome<()> {
    Tool::new("systemd-sysusers")
        .arg(format!("--root={}", root.display()))
        .run()
        .map(drop)
}

/// Gives users and groups their numbers, files their new owners, and writes the same down for
/// `systemd-sysusers`, which adds to a node's edited `/etc/passwd` whoever is new.
pub(super) fn fix(root: &Path, ids: &Ids) -> Outcome<()> {
    let (passwd, group) = (root.join("etc/passwd"), root.join("etc/group"));
    let (users, groups) = (files::read_text(&passwd)?, files::read_text(&group)?);
    let new_users = changes("ids.users", &users, &ids.users)?;
    let new_groups = changes("ids.groups", &groups, &ids.groups)?;
    let users = renumbered(&users, &new_users, &new_groups);
    let groups = renumbered(&groups, &new_groups, &BTreeMap::new());
    files::write(&passwd, &users)?;
    files::write(&group, &groups)?;
    forget_days(root)?;
    if !new_users.is_empty() || !new_groups.is_empty() {
        give_away(root, &new_users, &new_groups)?;
    }
    let text = sysusers_lines(&users, &groups);
    // Everybody is in our file now; the same line in two files is a warning at each boot.
    files::remove(&root.join("usr/lib/sysusers.d"))?;
    files::write(&root.join("usr/lib/sysusers.d/00-image.conf"), text)
}

/// What must change: old number to new number.
fn changes(key: &str, table: &str, wanted: &BTreeMap<String, u32>) -> Outcome<BTreeMap<u32, u32>> {
    let mut changes = BTreeMap::new();
    for line in table.lines() {
        let mut fields = line.split(':');
        let (name, number) = (fields.next().unwrap_or(""), fields.nth(1).unwrap_or(""));
        let Ok(number) = number.parse::<u32>() else {
            continue;
        };
        if number < STATIC || number == NOBODY {
            continue;
        }
        match wanted.get(name) {
            Some(new) if *new == number => {}
            Some(new) => {
                changes.insert(number, *new);
            }
            None => {
                let cause = format!("a package makes {name}, and the recipe gives it no number");
                let remedy = format!("add {name} = {number} or another free number");
                return Err(Failure::new(Code::ConfigMissing, key, cause).with_remedy(remedy));
            }
        }
    }
    Ok(changes)
}

/// A table with its numbers changed: the third field by `own`, the fourth (a user's group) by `group`.
fn renumbered(table: &str, own: &BTreeMap<u32, u32>, group: &BTreeMap<u32, u32>) -> String {
    let renumber = |field: &str, map: &BTreeMap<u32, u32>| {
        let new = field.parse().ok().and_then(|number: u32| map.get(&number));
        new.map_or(field.to_owned(), u32::to_string)
    };
    let mut lines: Vec<String> = table
        .lines()
        .map(|line| {
            let fields = line.split(':').enumerate().map(|(at, field)| match at {
                2 => renumber(field, own),
                3 => renumber(field, group),
                _ => field.to_owned(),
            });
            fields.collect::<Vec<_>>().join(":")
        })
        .collect();
    // The order of installation is not the image's business.
    lines.sort_by_key(|line| number_of(line));
    lines.join("\n") + "\n"
}

fn number_of(line: &str) -> u32 {
    line.split(':')
        .nth(2)
        .and_then(|field| field.parse().ok())
        .unwrap_or(u32::MAX)
}

/// Passwords have no day on which they were changed: it would be the day of the build.
fn forget_days(root: &Path) -> Outcome<()> {
    let path = root.join("etc/shadow");
    let text = files::read_text(&path)?;
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let fields = line
                .split(':')
                .enumerate()
                .map(|(at, field)| if at == 2 { "" } else { field });
            fields.collect::<Vec<_>>().join(":")
        })
        .collect();
    lines.sort();
    let meta = files::metadata(&path)?;
    files::write_mode(&path, lines.join("\n") + "\n", 0o640)?;
    lchown(&path, Some(meta.uid()), Some(meta.gid()))
        .map_err(|error| files::failed(&path, "give away", &error))
}

fn give_away(root: &Path, users: &BTreeMap<u32, u32>, groups: &BTreeMap<u32, u32>) -> Outcome<()> {
    files::walk(root, &mut |path, meta| {
        let (user, group) = (users.get(&meta.uid()), groups.get(&meta.gid()));
        if user.is_none() && group.is_none() {
            return Ok(());
        }
        let path = root.join(path);
        lchown(&path, user.copied(), group.copied())
            .map_err(|error| files::failed(&path, "give away", &error))?;
        // The kernel drops setuid and setgid when a file changes hands.
        match meta.file_type().is_symlink() {
            true => Ok(()),
            false => files::set_mode(&path, meta.mode() & 0o7777),
        }
    })
}

/// Lines for `sysusers.d` that make the users and groups of both tables with their numbers.
#[must_use]
pub fn sysusers_lines(users: &str, groups: &str) -> String {
    let mut text =
        String::from("# Made by the image's build: every user and group with its number.\n");
    for line in groups.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, number, ..] = fields.as_slice() {
            text.push_str(&format!("g {name} {number}\n"));
        }
    }
    for line in users.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, number, group, title, home, shell] = fields.as_slice() {
            text.push_str(&format!(
                "u {name} {number}:{group} \"{title}\" {home} {shell}\n"
            ));
        }
    }
    for line in groups.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, _, members] = fields.as_slice() {
            for member in members.split(',').filter(|member| !member.is_empty()) {
                text.push_str(&format!("m {member} {name}\n"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:*:0:0:root:/root:/bin/bash\nnet:x:998:997:Net:/:/usr/sbin/nologin\nnobody:*:65534:65534:nobody:/none:/x\n";
    const GROUPS: &str = "root:*:0:\nnet:x:997:root\nnogroup:*:65534:\n";

    fn ids(user: u32, group: u32) -> Ids {
        Ids {
            users: [("net".to_owned(), user)].into(),
            groups: [("net".to_owned(), group)].into(),
        }
    }

    #[test]
    fn a_number_that_the_recipe_does_not_give_is_refused() {
        let failure = changes("ids.users", USERS, &BTreeMap::new()).unwrap_err();
        assert!(
            failure.to_string().contains("a package makes net"),
            "{failure}"
        );
        assert_eq!(
            changes("ids.users", USERS, &ids(998, 0).users).unwrap(),
            BTreeMap::new()
        );
    }

    #[test]
    fn numbers_become_those_of_the_recipe_whatever_the_packages_took() {
        let wanted = ids(301, 302);
        let users = changes("ids.users", USERS, &wanted.users).unwrap();
        let groups = changes("ids.groups", GROUPS, &wanted.groups).unwrap();
        let passwd = renumbered(USERS, &users, &groups);
        assert!(passwd.contains("\nnet:x:301:302:Net:"), "{passwd}");
        assert!(renumbered(GROUPS, &groups, &BTreeMap::new()).contains("net:x:302:root"));
    }

    #[test]
    fn sysusers_makes_the_same_users_groups_and_members() {
        let text = sysusers_lines(USERS, GROUPS);
        for line in [
            "g net 997\n",
            "u net 998:997 \"Net\" / /usr/sbin/nologin\n",
            "m root net\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
