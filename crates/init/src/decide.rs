//! What a start decides, as functions of what was found.

use std::time::Duration;

use twinroot_core::bootfmt::pe::root_hash;
use twinroot_core::layout::Guid;
use twinroot_trust::digest::Digest;

use crate::disk::Disk;
use crate::trouble::{Outcome, Trouble};

/// How often the list of disks is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// Looks without change after which the list counts as complete. Drivers of NVMe and USB find their
/// disks after they are loaded; 200 ms without a new one is ten times what they take from one to the
/// next.
pub(crate) const QUIET: u32 = 10;
/// Looks until a disk counts as missing: 30 s, as long as slow arrays take to come up and a person
/// waits before a screen.
pub(crate) const PATIENCE: u32 = 1500;

/// The root hash of the kernel command line, which is part of the signed image.
pub(crate) fn root_of(cmdline: &str) -> Outcome<Digest> {
    Ok(root_hash("the kernel command line", cmdline)?)
}

/// The partition that the loader says it was started from.
pub(crate) fn loader_partition(variable: Option<&str>) -> Outcome<Guid> {
    let text = variable.ok_or_else(|| {
        Trouble::Failed(String::from(
            "the loader does not say which partition it was started from (LoaderDevicePartUUID)",
        ))
    })?;
    text.parse()
        .map_err(|error| Trouble::failed("read", "LoaderDevicePartUUID", error))
}

/// The one disk that holds the loader's partition. Two of them are copies of each other, and nobody
/// can say which one the loader meant: to guess would mean to write to a disk that is perhaps a
/// backup.
pub(crate) fn only_one(mut found: Vec<Disk>, uuid: Guid) -> Outcome<Disk> {
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Trouble::Failed(format!(
            "no disk has the partition {uuid} that the loader was started from"
        ))),
        _ => {
            let names: Vec<&str> = found.iter().map(|disk| disk.name.as_str()).collect();
            let names = names.join(" and ");
            Err(Trouble::Halt(format!(
                "the disks {names} are copies of each other (both have the partition {uuid}); \
                 detach the one that is not to be booted"
            )))
        }
    }
}

/// Whether a start goes on where the state partition cannot be mounted. On trial with another system on the
/// disk it does not: the release may be what cannot mount it, and the loader goes back by itself.
pub(crate) const fn may_start_without_state(counted: bool, other_slot_holds_a_root: bool) -> bool {
    !(counted && other_slot_holds_a_root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroot_core::layout::{PartitionTable, SectorSize};

    fn disk(name: &str) -> Disk {
        Disk {
            name: name.to_owned(),
            table: PartitionTable {
                disk: format!("/dev/{name}"),
                uuid: Guid::from_number(1),
                sector: SectorSize::S512,
                usable: 34..1000,
                partitions: Vec::new(),
            },
        }
    }

    #[test]
    fn copies_of_the_boot_disk_are_refused_by_name_without_a_restart() {
        let uuid = Guid::from_number(7);
        let refused = only_one(vec![disk("vda"), disk("vdb")], uuid).unwrap_err();
        let Trouble::Halt(text) = refused else {
            panic!("{refused:?} would spend tries")
        };
        assert!(
            text.contains("vda and vdb") && text.contains("detach"),
            "{text}"
        );
        assert_eq!(only_one(vec![disk("vda")], uuid).unwrap().name, "vda");
        assert!(matches!(only_one(vec![], uuid), Err(Trouble::Failed(_))));
    }

    /// Promise 3: a bad state partition must not keep both slots from coming up.
    #[test]
    fn lost_state_ends_a_trial_only_where_there_is_something_to_go_back_to() {
        assert!(!may_start_without_state(true, true), "a trial goes back");
        assert!(may_start_without_state(true, false), "a first start");
        assert!(may_start_without_state(false, true), "a committed system");
        assert!(may_start_without_state(false, false));
    }

    #[test]
    fn the_loaders_partition_is_read_in_either_case_and_never_guessed() {
        let text = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
        assert_eq!(
            loader_partition(Some(text)).unwrap(),
            loader_partition(Some(&text.to_lowercase())).unwrap()
        );
        assert!(loader_partition(None).is_err());
        assert!(loader_partition(Some("vda1")).is_err());
    }

    #[test]
    fn a_command_line_without_root_hash_starts_nothing() {
        let root = Digest::of(b"a root");
        let line = format!("quiet roothash={root} panic=10");
        assert_eq!(root_of(&line).unwrap(), root);
        assert!(root_of("quiet panic=10").is_err());
        assert!(root_of(&format!("{line} roothash={root}")).is_err());
    }
}
