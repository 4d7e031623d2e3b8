//! Targets come whole, proven and where they were asked for, or not at all.

use twinroot_publish::serve::faults::{Fault, Kind};

use crate::support::{Client, EDGE, present_repo};

#[test]
fn a_changed_or_cut_off_target_leaves_no_file() {
    let repo = present_repo();
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    for (kind, code) in [
        (Kind::Corrupt(10), "wrong-digest"),
        (Kind::Truncated(10), "truncated"),
        (Kind::Status(404), "target-not-found"),
    ] {
        server.set_faults(vec![Fault::always("targets/", kind)]);
        client.fetch(&[EDGE]).is_refused(code);
        let folder = client.out().join(EDGE).parent().unwrap().to_owned();
        let left: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
        assert!(left.is_empty(), "{code}: {left:?}");
    }
    server.set_faults(Vec::new());
    client.fetch(&[EDGE]).is_good();
}

#[test]
fn a_file_that_is_wrong_is_replaced_and_one_that_is_right_is_left_alone() {
    let repo = present_repo();
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    client.fetch(&[EDGE]).is_good();
    let path = client.out().join(EDGE);
    let right = std::fs::read(&path).unwrap();
    std::fs::write(&path, vec![b'x'; right.len()]).unwrap();
    client.fetch(&[EDGE]).is_good();
    assert_eq!(std::fs::read(&path).unwrap(), right);
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    let repo = present_repo();
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    for name in ["../evil", "/etc/passwd", "a/../../b", "", "a//b", "a\\b"] {
        client.fetch(&[name]).is_refused("unsafe-target-name");
    }
    client.fetch(&["not/listed"]).is_refused("target-not-found");
}

#[test]
fn a_link_planted_in_the_folder_is_not_followed() {
    let repo = present_repo();
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    let elsewhere = client.dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::create_dir(client.out()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, client.out().join("channels")).unwrap();
    client.fetch(&[EDGE]).is_refused("file-io");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
}
