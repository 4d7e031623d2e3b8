//! One start, from the first instruction to the hand-over.

use std::convert::Infallible;
use std::path::Path;

use nix::mount::MsFlags;
use twinroot_core::bootfmt::attempt::{Next, Start, decide as decide_attempt};
use twinroot_core::bootfmt::dm::{Target, verity_uuid};
use twinroot_core::bootfmt::stage::{Stage, boot_id};
use twinroot_core::bootfmt::start::{DEGRADED, ESP_UNCLEAN, STATE_LOST};
use twinroot_core::bootfmt::variables;
use twinroot_core::layout::{Architecture, Holds, Layout, SlotsOnDisk, Tree, locate};
use twinroot_core::slot::SlotName;
use twinroot_payload::verity::Claim;
use twinroot_trust::digest::Digest;

use crate::decide::{self, POLL};
use crate::disk::{self, Device, Disk};
use crate::esp::Esp;
use crate::trouble::{Outcome, Trouble};
use crate::{copies, dm, efi, log, modules, mounts, state, switch};

/// Where the root is put together.
pub(crate) const SYSROOT: &str = "/sysroot";
/// Name of the root's mapping, which systemd knows by this name.
const ROOT_MAPPING: &str = "root";

/// A slot that holds a root.
struct Slot {
    name: SlotName,
    data: Device,
    tree: Device,
    claim: Option<Claim>,
}

impl Slot {
    fn holds(&self, root: &Digest) -> bool {
        let claimed = self.claim.as_ref().map(|claim| claim.root_hash);
        claimed == Some(*root.as_bytes())
    }
}

/// What is known of this start so far.
struct Progress {
    root: Digest,
    boot: [u8; 16],
    stage: Stage,
    esp: Option<Esp>,
}

impl Progress {
    fn reached(&mut self, stage: Stage) {
        self.stage = stage;
        log::info(&format!("stage {}", stage.as_str()));
        if let Some(esp) = &self.esp {
            esp.mark(|record| record.reached(&self.root, self.boot, stage));
        }
    }

    /// Whether the last start of this root came as far as its agent; yes where nobody knows.
    fn came_up_before(&self) -> bool {
        let stages = self.esp.as_ref().map(Esp::stages).unwrap_or_default();
        let last = stages.of(&self.root).map(|mark| mark.stage);
        last.is_none_or(|stage| stage >= Stage::Agent)
    }

    fn failed(&self, cause: &str) {
        if let Some(esp) = &self.esp {
            esp.mark(|record| record.failed(&self.root, self.boot, self.stage, cause));
        }
    }
}

/// Starts the system. Never returns where that works.
///
/// # Errors
/// Why this start ends here.
pub(crate) fn run() -> Outcome<Infallible> {
    mounts::kernel_file_systems()?;
    log::open_the_tap();
    let text =
        |path: &str| std::fs::read_to_string(path).map_err(Trouble::on("read", Path::new(path)));
    let mut progress = Progress {
        root: decide::root_of(&text("/proc/cmdline")?)?,
        boot: boot_id(&text("/proc/sys/kernel/random/boot_id")?),
        stage: Stage::Kernel,
        esp: None,
    };
    log::info(&format!("looking for the root {}", progress.root));
    let ended = steps(&mut progress);
    match &ended {
        // The other slot is started instead: this says nothing about the root, and its mark stays what its last
        // real start has left. Overwritten, a host with two ill slots would take both for roots that never come up,
        // and halt (docs/decisions.md 55: what came as far as its agent stays up).
        Err(Trouble::OtherSlot(_)) | Ok(_) => {}
        Err(trouble) => progress.failed(&trouble.to_string()),
    }
    ended
}

fn steps(progress: &mut Progress) -> Outcome<Infallible> {
    modules::load_all()?;
    mounts::efi_variables(variables::FOLDER);
    progress.reached(Stage::Modules);

    let disk = boot_disk()?;
    let found = locate(&disk.table, &layout())?;
    progress.esp = Esp::open(&disk::device(&disk, &found.esp)?);
    // Read before this start is marked in its place, which it is only once it is known to be one of this root.
    let came_up = progress.came_up_before();
    progress.stage = Stage::Disk;
    if progress.esp.as_ref().is_some_and(Esp::is_unclean) {
        leave(ESP_UNCLEAN, "");
    }
    log::info(&format!("booted from the disk {}", disk.name));

    let slots = slots(&disk, &found)?;
    let slot = choose(&slots, progress, came_up)?;
    progress.reached(Stage::Disk);
    let claim = slot.claim.as_ref().ok_or_else(|| {
        Trouble::failed("start", format!("slot {}", slot.name), "it claims no root")
    })?;
    let root = verity(slot, claim, &progress.root)?;
    progress.reached(Stage::Verity);

    // Only what the verified image needs: no device nodes in it.
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    mounts::file_system(&root.node, "erofs", SYSROOT, flags, "")?;
    progress.reached(Stage::Root);

    if let Err(trouble) = state::bring_up(&disk, &found) {
        let other = slots
            .iter()
            .any(|one| one.name != slot.name && one.claim.is_some());
        without_state(progress, other, &trouble)?;
    }
    progress.reached(Stage::State);

    progress.reached(Stage::SwitchRoot);
    switch::into_root(SYSROOT)
}

fn layout() -> Layout {
    let architecture = if cfg!(target_arch = "aarch64") {
        Architecture::Arm64
    } else {
        Architecture::X86_64
    };
    Layout::twinroot(Holds::Root, architecture)
}

/// Waits for the disk that the loader was started from, and for the list of disks to be complete, so
/// that a copy of it cannot come late.
fn boot_disk() -> Outcome<Disk> {
    let uuid = decide::loader_partition(efi::get(variables::PART_UUID)?.as_deref())?;
    let (mut names, mut quiet) = (Vec::new(), 0);
    for _ in 0..decide::PATIENCE {
        let now = disk::names();
        quiet = if now == names && !disk::are_coming() {
            quiet + 1
        } else {
            0
        };
        names = now;
        if quiet >= decide::QUIET {
            let found = disk::with_partition(uuid);
            if found.len() > 1 {
                copies::give_back(&found, uuid, efi::get(variables::COUNT_PATH)?.as_deref());
            }
            if !found.is_empty() {
                return decide::only_one(found, uuid);
            }
        }
        std::thread::sleep(POLL);
    }
    let seen = names.join(", ");
    decide::only_one(Vec::new(), uuid)
        .map_err(|trouble| Trouble::Failed(format!("{trouble}; disks seen: {seen}")))
}

fn slots(disk: &Disk, found: &SlotsOnDisk) -> Outcome<Vec<Slot>> {
    let slot = |name: SlotName| {
        let on_disk = found.slot(name);
        let Tree::Partition(tree) = &on_disk.tree else {
            return Err(Trouble::failed(
                "use",
                format!("slot {name}"),
                "it has no hash tree of its own",
            ));
        };
        let tree = disk::device(disk, tree)?;
        Ok(Slot {
            name,
            data: disk::device(disk, &on_disk.data)?,
            claim: disk::claim(&tree)?,
            tree,
        })
    };
    SlotName::BOTH.into_iter().map(slot).collect()
}

/// The slot to start, after the attempt record was asked and kept.
fn choose<'a>(slots: &'a [Slot], progress: &Progress, came_up: bool) -> Outcome<&'a Slot> {
    let holder = |root: &Digest| slots.iter().find(|slot| slot.holds(root));
    let record = progress.esp.as_ref().map(Esp::attempts).unwrap_or_default();
    let start = Start {
        root: &progress.root,
        on_disk: holder(&progress.root).is_some(),
        counted: efi::get(variables::COUNT_PATH)?.is_some(),
        allowed_on_disk: record
            .allowed
            .as_ref()
            .is_some_and(|allowed| holder(&allowed.root).is_some()),
        came_up,
    };
    let (next, changed) = decide_attempt(&record, &start);
    if let (Some(esp), Some(changed)) = (&progress.esp, changed) {
        esp.write_attempts(&changed);
    }
    match next {
        Next::Start => {}
        Next::StartDegraded => degraded(),
        Next::OtherSlotOnce { entry } => {
            efi::set(variables::ONE_SHOT, &entry)?;
            return Err(Trouble::OtherSlot(format!(
                "the root {} has been started {} times without health; next is {entry}",
                progress.root,
                record.starts_of(&progress.root)
            )));
        }
        // On a counted boot the loader goes on to the next entry by itself.
        Next::Halt { reason } if start.counted => return Err(Trouble::Failed(reason)),
        Next::Halt { reason } => return Err(Trouble::Halt(reason)),
    }
    holder(&progress.root).ok_or_else(|| {
        Trouble::Failed(format!(
            "no slot of this disk holds the root {}",
            progress.root
        ))
    })
}

/// Goes on with an empty state in memory, or ends the start where the loader has somewhere better to go. The
/// state partition is one for both slots: what a person has to mend there must not keep either from coming up.
fn without_state(progress: &Progress, other: bool, trouble: &Trouble) -> Outcome<()> {
    let counted = efi::get(variables::COUNT_PATH)?.is_some();
    if !decide::may_start_without_state(counted, other) {
        return Err(trouble.clone());
    }
    let cause = trouble.to_string();
    log::critical(&format!(
        "there is no state, this start goes on without: {cause}"
    ));
    progress.failed(&cause);
    state::in_memory()?;
    leave(STATE_LOST, &cause);
    // Nothing that restarts would help.
    leave(DEGRADED, &cause);
    Ok(())
}

/// Says that nowhere is better than here. `twinroot-deadline.service` then lets the system be: one
/// that is up can report itself and be repaired.
fn degraded() {
    let cause = "this root has failed several times, and there is no other to go to: it stays";
    log::warning(cause);
    leave(DEGRADED, cause);
}

/// Leaves word for the system that is started.
fn leave(path: &str, text: &str) {
    let left = std::fs::create_dir_all("/run/twinroot")
        .and_then(|()| std::fs::File::create(path))
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    if let Err(error) = left {
        log::warning(&format!("cannot leave {path}: {error}"));
    }
}

fn verity(slot: &Slot, claim: &Claim, root: &Digest) -> Outcome<dm::Mapping> {
    let devices = (slot.data.number.as_str(), slot.tree.number.as_str());
    let target = Target::verity(devices, claim.data_blocks, &claim.salt, root);
    if target.sectors > slot.data.sectors {
        let cause = format!(
            "its hash tree is over {} blocks, more than it has",
            claim.data_blocks
        );
        return Err(Trouble::failed(
            "start",
            format!("slot {}", slot.name),
            cause,
        ));
    }
    log::info(&format!("slot {} holds the root", slot.name));
    dm::map(
        ROOT_MAPPING,
        &verity_uuid(root, ROOT_MAPPING),
        &target,
        true,
    )
}
