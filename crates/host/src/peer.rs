//! Who is at the other end of the control socket, beyond the file mode that let it connect.
//!
//! Root in a container with a user namespace is not root here, and a socket that is mounted into
//! such a container must not make it so. The namespace is read from `/proc`; a peer that is gone by
//! then, so that its process id could belong to somebody else, is refused.

use std::path::Path;

use twinroot_core::error::{Code, Failure};
use twinroot_ports::Outcome;

/// The rules of one control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Members of this group may act, beside root and the agent's own user.
    pub group: Option<u32>,
    /// Peers of other user namespaces may act.
    pub other_user_namespaces: bool,
}

/// A peer as the kernel named it when it connected.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// Process; zero or less where it cannot be seen from here.
    pub pid: i32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Lets a peer act, and says under which name its requests are written down.
///
/// # Errors
/// `not-permitted`.
pub fn admit(rules: Rules, peer: Named) -> Outcome<String> {
    admit_by(Path::new("/proc"), rules, peer)
}

fn admit_by(proc: &Path, rules: Rules, peer: Named) -> Outcome<String> {
    let subject = format!("process {} of user {}", peer.pid, peer.uid);
    let refuse = |cause: &str| {
        Failure::new(Code::NotPermitted, subject.clone(), cause)
            .with_remedy("ask as root or as a member of the control socket's group, on the host")
    };
    if peer.pid <= 0 {
        return Err(refuse(
            "it lives in a process namespace that cannot be seen from here",
        ));
    }
    let folder = proc.join(peer.pid.to_string());
    if !rules.other_user_namespaces {
        let theirs = std::fs::read_link(folder.join("ns/user"));
        let ours = std::fs::read_link(proc.join("self/ns/user"));
        match (theirs, ours) {
            (Ok(theirs), Ok(ours)) if theirs == ours => {}
            (Ok(_), Ok(_)) => return Err(refuse("it lives in another user namespace")),
            (Err(_), _) | (_, Err(_)) => {
                return Err(refuse("its user namespace cannot be read, or it is gone"));
            }
        }
    }
    let own = nix::unistd::geteuid().as_raw();
    let member = |group| peer.gid == group || groups(&folder).contains(&group);
    if peer.uid != 0 && peer.uid != own && !rules.group.is_some_and(member) {
        return Err(refuse(
            "it is neither root nor in the group of the control socket",
        ));
    }
    Ok(name_of(proc, peer.uid, peer.pid))
}

/// The name under which this process's own requests are written down.
#[must_use]
pub fn this_process() -> String {
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    name_of(Path::new("/proc"), nix::unistd::geteuid().as_raw(), pid)
}

/// User, process and program, by number and, where it is known, by name: `user root (0), process 10
/// (curl)`. The numbers are the kernel's word, the names are for people.
fn name_of(proc: &Path, uid: u32, pid: i32) -> String {
    let plain = |text: &str| -> String {
        let text = text.trim().chars().filter(|c| !c.is_control());
        text.take(32).collect()
    };
    // Read as a file: a name service that hangs must not hold up a request.
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of_uid = |line: &&str| line.split(':').nth(2).is_some_and(|n| n.parse() == Ok(uid));
    let user = users
        .lines()
        .find(of_uid)
        .and_then(|line| line.split(':').next());
    let program = std::fs::read_to_string(proc.join(pid.to_string()).join("comm"));
    let user = user.map_or_else(
        || uid.to_string(),
        |name| format!("{} ({uid})", plain(name)),
    );
    match program {
        Ok(name) => format!("user {user}, process {pid} ({})", plain(&name)),
        Err(_) => format!("user {user}, process {pid}"),
    }
}

/// Supplementary groups of a process; none where they cannot be read.
fn groups(folder: &Path) -> Vec<u32> {
    let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    let numbers = line.unwrap_or_default().split_whitespace();
    numbers.filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const RULES: Rules = Rules {
        group: Some(700),
        other_user_namespaces: false,
    };

    /// A `/proc` with ourselves, a peer in our namespace and one in another.
    fn proc() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (pid, namespace) in [("self", "user:[1]"), ("10", "user:[1]"), ("11", "user:[2]")] {
            let folder = home.path().join(pid);
            std::fs::create_dir_all(folder.join("ns")).unwrap();
            symlink(namespace, folder.join("ns/user")).unwrap();
            let mut comm = std::fs::File::create(folder.join("comm")).unwrap();
            std::io::Write::write_all(&mut comm, b"ask\x1b it\n").unwrap();
        }
        let status = home.path().join("10/status");
        std::io::Write::write_all(
            &mut std::fs::File::create(status).unwrap(),
            b"Name:\tx\nGroups:\t4 700 1000\n",
        )
        .unwrap();
        home
    }

    fn named(pid: i32, uid: u32, gid: u32) -> Named {
        Named { pid, uid, gid }
    }

    #[test]
    fn root_of_the_host_may_act_and_root_of_a_container_may_not() {
        let proc = proc();
        let by = admit_by(proc.path(), RULES, named(10, 0, 0)).unwrap();
        assert_eq!(by, "user root (0), process 10 (ask it)");
        for pid in [11, 12, 0, -1] {
            let refused = admit_by(proc.path(), RULES, named(pid, 0, 0)).unwrap_err();
            assert_eq!(refused.code, Code::NotPermitted, "{pid}");
        }
        let open = Rules {
            other_user_namespaces: true,
            ..RULES
        };
        assert!(admit_by(proc.path(), open, named(11, 0, 0)).is_ok());
    }

    #[test]
    fn others_may_act_only_as_members_of_the_group() {
        let proc = proc();
        let strange = 65_000;
        assert!(admit_by(proc.path(), RULES, named(10, strange, 700)).is_ok());
        assert!(
            admit_by(proc.path(), RULES, named(10, strange, 5)).is_ok(),
            "supplementary"
        );
        let none = Rules {
            group: None,
            ..RULES
        };
        assert!(admit_by(proc.path(), none, named(10, strange, 700)).is_err());
        let other = Rules {
            group: Some(701),
            ..RULES
        };
        assert!(admit_by(proc.path(), other, named(10, strange, 5)).is_err());
    }

    #[test]
    fn we_ourselves_are_in_our_own_namespace() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let uid = nix::unistd::geteuid().as_raw();
        assert!(admit(RULES, named(pid, uid, 0)).is_ok());
    }
}
