use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use twinroot_ports::contract::store::store_contract;

use super::*;

fn code<T: std::fmt::Debug>(outcome: Outcome<T>) -> Code {
    outcome.expect_err("must be refused").code
}

#[test]
fn it_keeps_the_contract_of_every_store() {
    let home = tempfile::tempdir().unwrap();
    let mut n = 0;
    store_contract(&mut || {
        n += 1;
        Box::new(FileStore::open(&home.path().join(format!("store-{n}"))).unwrap())
    });
}

#[test]
fn records_are_readable_by_their_owner_only() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("state");
    let store = FileStore::open(&root).unwrap();
    store.write("trust/root.json", b"{}").unwrap();
    let mode = |path: &str| root.join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(""), mode("trust"), mode("trust/root.json")),
        (0o700, 0o700, 0o600)
    );
}

#[test]
fn a_write_replaces_the_file_and_never_changes_it_in_place() {
    let home = tempfile::tempdir().unwrap();
    let store = FileStore::open(home.path()).unwrap();
    store.write("floor", b"1").unwrap();
    let before = home.path().join("floor").metadata().unwrap().ino();
    let mut reader = File::open(home.path().join("floor")).unwrap();
    store.write("floor", b"2").unwrap();
    assert_ne!(before, home.path().join("floor").metadata().unwrap().ino());
    let mut seen = String::new();
    reader.read_to_string(&mut seen).unwrap();
    assert_eq!(
        seen, "1",
        "who had opened the old record reads the old record"
    );
}

#[test]
fn planted_symlinks_lead_nowhere() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("state");
    let store = FileStore::open(&root).unwrap();
    std::fs::create_dir(home.path().join("victim")).unwrap();
    symlink(home.path().join("victim"), root.join("trust")).unwrap();
    assert_eq!(
        code(store.write("trust/root.json", b"x")),
        Code::NameRefused
    );
    assert_eq!(
        std::fs::read_dir(home.path().join("victim"))
            .unwrap()
            .count(),
        0
    );

    symlink(home.path().join("victim/file"), root.join("floor")).unwrap();
    assert_eq!(code(store.read("floor")), Code::NameRefused);
    store.write("floor", b"1").unwrap();
    assert!(
        !home.path().join("victim/file").exists(),
        "the link is replaced, not followed"
    );

    symlink(home.path().join("victim/file"), root.join(TEMPORARY)).unwrap();
    store.write("deny", b"1").unwrap();
    assert!(!home.path().join("victim/file").exists());
    symlink(&root, home.path().join("alias")).unwrap();
    assert!(FileStore::open(&home.path().join("alias")).is_err());
}

#[test]
fn a_leftover_temporary_file_is_neither_listed_nor_in_the_way() {
    let home = tempfile::tempdir().unwrap();
    let store = FileStore::open(home.path()).unwrap();
    File::create(home.path().join(TEMPORARY))
        .unwrap()
        .write_all(b"torn and rather long")
        .unwrap();
    store.write("floor", b"1").unwrap();
    assert_eq!(store.list("").unwrap(), ["floor"]);
    assert_eq!(store.read("floor").unwrap().unwrap(), b"1");
}

#[test]
fn what_is_no_file_is_damage_and_not_absence() {
    let home = tempfile::tempdir().unwrap();
    let store = FileStore::open(home.path()).unwrap();
    std::fs::create_dir(home.path().join("floor")).unwrap();
    assert_eq!(code(store.read("floor")), Code::StateDamaged);
    nix::unistd::mkfifo(&home.path().join("deny"), Mode::S_IRWXU).unwrap();
    assert_eq!(
        code(store.read("deny")),
        Code::StateDamaged,
        "a FIFO must not block the node"
    );
}

#[test]
fn the_lock_is_refused_with_the_name_of_its_holder() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("lock");
    let held = Lock::acquire(&path).unwrap();
    let refusal = Lock::acquire(&path).unwrap_err();
    assert_eq!(refusal.code, Code::LockHeld);
    let expected = format!("process {}", std::process::id());
    assert!(refusal.cause.contains(&expected), "{refusal}");
    drop(held);
    Lock::acquire(&path).unwrap();
}

#[test]
fn a_lock_file_without_a_living_holder_holds_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("lock");
    File::create(&path)
        .unwrap()
        .write_all(b"1 /sbin/init\n")
        .unwrap();
    Lock::acquire(&path).unwrap();
}
