use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::process::id;

use twinroot_core::facts::{Counting, SystemObserved, Tries};
use twinroot_core::slot::SlotName;
use twinroot_ports::contract::bootloader::{Image, bootloader_contract};
use twinroot_ports::contract::facts::system_running;

use super::vars::FileVars;
use super::*;
use crate::store::FileStore;
use crate::testing::{image, skip};

#[derive(Debug)]
struct Running(Digest);

impl System for Running {
    fn observe(&self) -> Outcome<SystemObserved> {
        Ok(system_running(SlotName::A, self.0))
    }

    fn measured(&self) -> Outcome<Option<Digest>> {
        Ok(None)
    }
}

struct Esp {
    home: tempfile::TempDir,
    loader: SdBoot,
}

impl Esp {
    /// An ESP of `capacity` bytes on a machine that runs `running`.
    fn new(running: Digest, capacity: u64) -> Self {
        let home = tempfile::tempdir().unwrap();
        let esp = home.path().join("esp");
        std::fs::create_dir(&esp).unwrap();
        let loader = SdBoot::new(
            Volume::open(&esp, Some(capacity)).unwrap(),
            Box::new(FileVars::open(&home.path().join("vars")).unwrap()),
            Arc::new(FileStore::open(&home.path().join("state")).unwrap()),
            Arc::new(Running(running)),
        );
        Self { home, loader }
    }

    fn roomy() -> Self {
        Self::new(Digest::of(b"running"), 64 << 20)
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("esp").join(FOLDER)
    }

    fn files(&self) -> Vec<String> {
        self.loader.volume.list(FOLDER).unwrap()
    }

    fn stage(&self, image: &Image) -> Outcome<()> {
        let mut writer = self
            .loader
            .stage_image(&Digest::of(&image.uki), image.uki.len() as u64)?;
        writer.write(&image.uki)?;
        writer.finish()
    }

    fn arm(&self, image: &Image) -> String {
        self.stage(image).unwrap();
        let uki = Digest::of(&image.uki);
        self.loader
            .arm(&image.version, &uki, Arming::Counted { tries: 3 })
            .unwrap();
        EntryName::for_release(&image.version, &uki)
            .stem()
            .to_owned()
    }

    /// What the loader does before it starts an entry.
    fn count(&self, stem: &str, from: &str, to: &str) {
        let path = |counter: &str| format!("{FOLDER}/{stem}{counter}.efi");
        self.loader.volume.rename(&path(from), &path(to)).unwrap();
        self.loader
            .vars
            .set(
                vars::SELECTED,
                Some(&format!("{stem}{from}.efi").to_lowercase()),
            )
            .unwrap();
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(self.folder()).unwrap();
        File::create(self.folder().join(name))
            .unwrap()
            .write_all(bytes)
            .unwrap();
    }
}

#[test]
fn it_keeps_the_contract_of_every_bootloader() {
    bootloader_contract(&Esp::roomy().loader, &image("1.0"), &image("1.1"));
}

#[test]
fn a_new_entry_is_staged_under_a_name_that_no_loader_boots() {
    let esp = Esp::roomy();
    esp.stage(&image("1.0")).unwrap();
    assert!(
        esp.files().iter().all(|name| !name.ends_with(".efi")),
        "{:?}",
        esp.files()
    );
    let stem = esp.arm(&image("1.0"));
    assert_eq!(esp.files(), [format!("{stem}+3.efi")]);
}

#[test]
fn the_good_entry_is_neither_renamed_nor_written_while_another_is_tried() {
    let esp = Esp::new(image("1.0").root_hash, 64 << 20);
    let old = esp.arm(&image("1.0"));
    esp.loader.bless(&old).unwrap();
    let good = esp.folder().join(format!("{old}.efi"));
    let stamp = || {
        good.metadata()
            .map(|meta| (meta.ino(), meta.mtime_nsec(), meta.len()))
            .unwrap()
    };
    let before = stamp();
    let new = esp.arm(&image("1.1"));
    esp.loader.pin(Some(&old)).unwrap();
    esp.loader.sweep(&[]).unwrap();
    esp.loader.clear_attempts().unwrap();
    esp.loader.remove(&new).unwrap();
    assert_eq!(stamp(), before);
    let refusal = esp.loader.remove(&old).unwrap_err();
    assert_eq!(
        refusal.code,
        Code::SlotIsBooted,
        "the entry that runs and is good stays"
    );
    assert_eq!(stamp(), before);
}

#[test]
fn a_loader_that_counts_is_believed_and_one_that_does_not_is_found_out() {
    let esp = Esp::roomy();
    esp.loader
        .vars
        .set(vars::INFO, Some("systemd-boot 252"))
        .unwrap();
    let stem = esp.arm(&image("1.0"));
    let counting = || esp.loader.observe().unwrap().counting;
    assert_eq!(counting(), Counting::Unproven, "nothing was booted yet");
    esp.count(&stem, "+3", "+2-1");
    assert_eq!(counting(), Counting::Proven);
    esp.loader.bless(&stem).unwrap();
    assert_eq!(
        counting(),
        Counting::Proven,
        "remembered after the counter is gone"
    );
    esp.loader
        .vars
        .set(vars::INFO, Some("systemd-boot 259"))
        .unwrap();
    assert_eq!(
        counting(),
        Counting::Unproven,
        "another loader proves itself anew"
    );

    let new = esp.arm(&image("1.1"));
    esp.loader
        .vars
        .set(vars::SELECTED, Some(&format!("{new}+3.efi")))
        .unwrap();
    assert_eq!(
        counting(),
        Counting::Broken,
        "it runs, and its counter never moved"
    );
}

#[test]
fn the_booted_entry_is_recognised_whatever_counter_the_loader_names() {
    let esp = Esp::roomy();
    let stem = esp.arm(&image("1.0-RC1"));
    for value in [
        format!("{stem}+3.efi"),
        format!("{stem}.efi").to_lowercase(),
        format!("{stem}+1-2.efi"),
    ] {
        esp.loader.vars.set(vars::SELECTED, Some(&value)).unwrap();
        assert_eq!(
            esp.loader.observe().unwrap().booted.as_ref(),
            Some(&stem),
            "{value}"
        );
    }
    for value in ["windows.efi", "auto-windows", "", "../x.efi"] {
        esp.loader.vars.set(vars::SELECTED, Some(value)).unwrap();
        assert_eq!(esp.loader.observe().unwrap().booted, None, "{value}");
    }
}

#[test]
fn after_a_cut_amid_blessing_the_entry_is_good_and_the_rest_is_tidied_up() {
    let esp = Esp::roomy();
    let (release, stem) = (image("1.0"), esp.arm(&image("1.0")));
    esp.count(&stem, "+3", "+2-1");
    // Cut after the copy got its head, before the counted name was removed.
    esp.put(&format!("{stem}.efi"), &release.uki);
    let seen = esp.loader.observe().unwrap();
    assert_eq!(seen.entries.len(), 1, "two files, one entry");
    assert_eq!(seen.entries[0].tries, None);
    esp.loader.bless(&stem).unwrap();
    let entries: Vec<String> = esp
        .files()
        .into_iter()
        .filter(|name| name.ends_with(".efi"))
        .collect();
    assert_eq!(entries, [format!("{stem}.efi")]);
}

#[test]
fn of_two_counted_names_the_one_with_fewer_tries_counts() {
    let esp = Esp::roomy();
    let (release, stem) = (image("1.0"), esp.arm(&image("1.0")));
    // A rename that FAT has torn: the loader's new name is there, and so is the old one.
    esp.put(&format!("{stem}+2-1.efi"), &release.uki);
    let seen = esp.loader.observe().unwrap();
    assert_eq!(seen.entries.len(), 1);
    assert_eq!(seen.entries[0].tries, Some(Tries { left: 2, done: 1 }));
    esp.loader.bless(&stem).unwrap();
    assert_eq!(esp.files(), [format!("{stem}.efi")]);
}

#[test]
fn a_damaged_entry_counts_for_nothing_and_is_swept() {
    let esp = Esp::roomy();
    let stem = esp.arm(&image("1.0"));
    esp.loader.bless(&stem).unwrap();
    let path = esp.folder().join(format!("{stem}.efi"));
    let mut byte = [0];
    let file = File::options().read(true).write(true).open(&path).unwrap();
    file.read_exact_at(&mut byte, 4000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 4000).unwrap();
    drop(file);
    assert_eq!(esp.loader.observe().unwrap().entries, []);
    assert_eq!(
        esp.loader.bless(&stem).unwrap_err().code,
        Code::EntryMissing
    );
    assert_eq!(
        esp.loader.pin(Some(&stem)).unwrap_err().code,
        Code::EntryMissing
    );
    esp.loader.sweep(&[]).unwrap();
    assert_eq!(esp.files(), Vec::<String>::new());
}

/// What a power cut amid blessing leaves: a name without content, or all but the head, which comes last. The next
/// start runs the counted entry, and blesses it.
#[test]
fn a_blessed_name_without_its_content_or_head_is_no_obstacle_to_blessing() {
    let release = image("1.0");
    let mut headless = release.uki.clone();
    headless[..volume::HEAD].fill(0);
    for left in [&[][..], &[0; volume::HEAD], &headless] {
        let esp = Esp::roomy();
        let stem = esp.arm(&release);
        esp.put(&format!("{stem}.efi"), left);
        let seen = esp.loader.observe().unwrap();
        assert_eq!(seen.entries.len(), 1);
        assert!(seen.entries[0].tries.is_some(), "{:?}", seen.entries);
        esp.loader.bless(&stem).unwrap();
        assert_eq!(esp.files(), [format!("{stem}.efi")]);
        let blessed = std::fs::read(esp.folder().join(format!("{stem}.efi"))).unwrap();
        assert_eq!(blessed, release.uki);
        assert_eq!(esp.loader.observe().unwrap().entries[0].tries, None);
    }
}

/// The same for arming, and what was staged is swept where a cut came before it was removed.
#[test]
fn an_entry_without_its_head_is_armed_anew_and_what_was_staged_goes() {
    let (esp, release) = (Esp::roomy(), image("1.0"));
    let uki = Digest::of(&release.uki);
    let name = EntryName::for_release(&release.version, &uki).on_trial(3);
    let mut headless = release.uki.clone();
    headless[..volume::HEAD].fill(0);
    esp.put(name.file_name(), &headless);
    assert_eq!(esp.loader.observe().unwrap().entries, []);
    esp.arm(&release);
    assert_eq!(esp.files(), [name.file_name()]);
    esp.stage(&release).unwrap();
    assert_eq!(esp.files().len(), 2);
    esp.loader.sweep(&[]).unwrap();
    assert_eq!(esp.files(), [name.file_name()]);
}

/// Who looks at the file while it goes sees that it was no image any more before.
#[test]
fn an_image_that_is_removed_has_lost_its_head_before() {
    let esp = Esp::roomy();
    let stem = esp.arm(&image("1.0"));
    let path = esp.folder().join(format!("{stem}+3.efi"));
    let held = File::open(&path).unwrap();
    esp.loader.remove(&stem).unwrap();
    assert!(!path.exists());
    let mut head = [1; volume::HEAD];
    held.read_exact_at(&mut head, 0).unwrap();
    assert_eq!(head, [0; volume::HEAD]);
}

#[test]
fn files_of_others_are_neither_counted_nor_removed() {
    let esp = Esp::roomy();
    let others = [
        "FSCK0000.REC",
        "Arch.efi",
        "debian+2-1.efi",
        "twinroot_1.0.efi",
        "twinroot_x.staged",
    ];
    for name in others {
        esp.put(name, b"somebody else's");
    }
    assert_eq!(esp.loader.observe().unwrap().entries, []);
    esp.loader.sweep(&[]).unwrap();
    let mut left = esp.files();
    left.sort();
    let mut expected = others.map(String::from);
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn a_full_esp_is_refused_before_a_byte_and_the_next_good_update_succeeds() {
    let release = image("1.1");
    let size = release.uki.len() as u64;
    let esp = Esp::new(Digest::of(b"running"), 2 * size + RESERVE + 24 * 1024);
    esp.put("FSCK0000.REC", &vec![0; 64 * 1024]);
    let refusal = esp.stage(&release).unwrap_err();
    assert_eq!(refusal.code, Code::EspFull, "{refusal}");
    assert_eq!(
        esp.files(),
        ["FSCK0000.REC"],
        "nothing was written, nothing of others removed"
    );
    std::fs::remove_file(esp.folder().join("FSCK0000.REC")).unwrap();
    esp.arm(&release);
}

#[test]
fn with_no_room_for_a_copy_an_entry_is_blessed_all_the_same() {
    let esp = Esp::roomy();
    let stem = esp.arm(&image("1.0"));
    // The file system itself says 'no space': a limit of the process's file sizes stands in for it.
    let refused = esp_of_a_full_file_system(&esp, &stem);
    if let Some(files) = refused {
        assert_eq!(files, [format!("{stem}.efi")]);
    }
}

/// Blesses on a tmpfs that is full; `None` where tmpfs cannot be mounted.
fn esp_of_a_full_file_system(esp: &Esp, stem: &str) -> Option<Vec<String>> {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let root = esp.home.path().join("tiny");
    std::fs::create_dir(&root).unwrap();
    let mounted = mount(
        Some("tmpfs"),
        &root,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=64k"),
    );
    if let Err(errno) = mounted {
        skip("blessing on a full file system", &format!("tmpfs: {errno}"));
        return None;
    }
    let folder = root.join(FOLDER);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(
        esp.folder().join(format!("{stem}+3.efi")),
        folder.join(format!("{stem}+3.efi")),
    )
    .unwrap();
    let mut filler = File::create(root.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    let loader = SdBoot::new(
        Volume::open(&root, None).unwrap(),
        Box::new(FileVars::open(&esp.home.path().join("vars")).unwrap()),
        Arc::new(FileStore::open(&esp.home.path().join("state")).unwrap()),
        Arc::new(Running(Digest::of(b"running"))),
    );
    let full = loader.stage_image(&Digest::of(b"x"), 1).unwrap_err();
    let outcome = loader.bless(stem);
    let files = loader.volume.list(FOLDER);
    drop((filler, loader));
    umount2(&root, MntFlags::MNT_DETACH).unwrap();
    assert_eq!(full.code, Code::EspFull);
    outcome.unwrap();
    Some(files.unwrap())
}

#[test]
fn a_read_only_esp_is_refused_as_such() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let home = tempfile::tempdir().unwrap();
    let options = Some("size=1m");
    let mounted = mount(
        Some("tmpfs"),
        home.path(),
        Some("tmpfs"),
        MsFlags::MS_RDONLY,
        options,
    );
    if let Err(errno) = mounted {
        return skip(
            "a read-only ESP",
            &format!("tmpfs (process {}): {errno}", id()),
        );
    }
    let volume = Volume::open(home.path(), None).unwrap();
    let checked = volume.check_writable();
    let created = volume.create("EFI/Linux/x.staged").map(|_| ());
    let attempts = attempts::prepare(&volume);
    umount2(home.path(), MntFlags::MNT_DETACH).unwrap();
    for outcome in [checked, created, attempts] {
        assert_eq!(outcome.unwrap_err().code, Code::EspReadOnly);
    }
}

#[test]
fn without_an_esp_it_says_so() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(
        Volume::open(&home.path().join("esp"), None)
            .unwrap_err()
            .code,
        Code::EspMissing
    );
    std::os::unix::fs::symlink("/", home.path().join("link")).unwrap();
    assert_eq!(
        Volume::open(&home.path().join("link"), None)
            .unwrap_err()
            .code,
        Code::EspMissing
    );
}

#[test]
fn a_staged_image_that_rotted_is_not_armed() {
    let esp = Esp::roomy();
    let release = image("1.0");
    esp.stage(&release).unwrap();
    let name = esp.files().remove(0);
    esp.put(&name, b"something else");
    let refusal = esp.loader.arm(
        &release.version,
        &Digest::of(&release.uki),
        Arming::Counted { tries: 3 },
    );
    assert_eq!(refusal.unwrap_err().code, Code::ReadBackMismatch);
    assert_eq!(esp.loader.observe().unwrap().entries, []);
}

#[test]
fn health_allows_the_initramfs_the_other_good_entry_and_no_other() {
    let running = image("1.1");
    let esp = Esp::new(running.root_hash, 64 << 20);
    let new = esp.arm(&running);
    esp.loader.bless(&new).unwrap();
    let old = esp.arm(&image("1.0"));
    let allowed = || {
        attempts::read(&esp.loader.volume)
            .unwrap()
            .allowed
            .map(|allowed| allowed.root)
    };
    esp.loader.clear_attempts().unwrap();
    assert_eq!(allowed(), None, "an entry on trial is not proven");
    esp.loader.bless(&old).unwrap();
    esp.loader.clear_attempts().unwrap();
    assert_eq!(allowed(), Some(image("1.0").root_hash));
    esp.loader.remove(&old).unwrap();
    assert_eq!(
        allowed(),
        None,
        "an entry that is removed is not allowed any more"
    );
}

/// Promise 6: a start reads no boot image that has not changed. Promise 3: what is relied upon is read anew.
#[test]
fn digests_outlive_the_program_and_what_is_allowed_is_read_anew() {
    let esp = Esp::new(image("1.1").root_hash, 64 << 20);
    let (old, new) = (esp.arm(&image("1.0")), esp.arm(&image("1.1")));
    esp.loader.bless(&old).unwrap();
    esp.loader.bless(&new).unwrap();
    assert_eq!(esp.loader.observe().unwrap().entries.len(), 2);
    // It rots: no time and no size tells.
    let path = esp.folder().join(format!("{old}.efi"));
    let changed = path.metadata().unwrap().modified().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let mut file = File::options().write(true).open(&path).unwrap();
    file.write_all(&bytes).unwrap();
    file.set_modified(changed).unwrap();
    let again = SdBoot::new(
        esp.loader.volume.clone(),
        Box::new(FileVars::open(&esp.home.path().join("vars")).unwrap()),
        esp.loader.notes.clone(),
        Arc::new(Running(image("1.1").root_hash)),
    );
    let believed = again.observe().unwrap().entries.len();
    assert_eq!(believed, 2, "the image was read although it looks the same");
    again.clear_attempts().unwrap();
    let record = attempts::read(&again.volume).unwrap();
    assert_eq!(
        record.allowed, None,
        "the initramfs may go to a rotten image"
    );
    assert_eq!(again.observe().unwrap().entries.len(), 1);
}

#[test]
fn a_damaged_attempt_record_reads_as_empty_and_is_written_whole() {
    let esp = Esp::roomy();
    let volume = &esp.loader.volume;
    for bytes in [&[][..], &[0; 1023], &[0xFF; 1024], &[0; 4096]] {
        volume
            .create(attempts::PATH)
            .unwrap()
            .write_all(bytes)
            .unwrap();
        assert_eq!(attempts::read(volume).unwrap().starts, []);
        esp.loader.clear_attempts().unwrap();
        let size = volume.path(attempts::PATH).metadata().unwrap().len();
        assert_eq!(size, 1024);
    }
}
