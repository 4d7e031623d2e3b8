//! What a client must refuse, each with its reason; and what it must not lose by refusing.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use twinroot_publish::fake;
use twinroot_publish::serve::faults::{Fault, Kind};
use twinroot_trust::time::Seconds;

use crate::support::{Client, EDGE, files, present_repo};

#[test]
fn an_expired_repository_is_refused_and_its_accepted_roots_are_kept() {
    let repo = fake::Repo::new(1); // valid for a week from the first of the month, long ago
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    client.refresh(&[]).is_refused("metadata-expired");
    assert_eq!(client.stored().keys().collect::<Vec<_>>(), ["root.json"]);
}

#[test]
fn replayed_metadata_is_refused_and_the_store_keeps_the_newer() {
    let mut repo = present_repo();
    let metadata = repo.published().join("metadata");
    let old = std::fs::read(metadata.join("timestamp.json")).unwrap();
    repo.refresh();
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    client.refresh(&[]).is_good();
    let before = client.stored();
    replace(&metadata.join("timestamp.json"), &old);
    client.refresh(&[]).is_refused("metadata-rollback");
    assert_eq!(client.stored(), before);
}

#[test]
fn parts_of_two_snapshots_are_not_mixed() {
    let mut repo = present_repo();
    let metadata = repo.published().join("metadata");
    let before = names(&metadata);
    repo.pass(Seconds(60));
    repo.set_paused(fake::EDGE, true);
    let newest = |names: &BTreeMap<String, Vec<u8>>| {
        let of = |name: &String| {
            name.strip_suffix(".snapshot.json")
                .and_then(|n| n.parse::<u64>().ok())
        };
        names.keys().filter_map(of).max().unwrap()
    };
    let (old, new) = (newest(&before), newest(&names(&metadata)));
    assert!(new > old);
    let replayed = before[&format!("{old}.snapshot.json")].clone();
    replace(&metadata.join(format!("{new}.snapshot.json")), &replayed);
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    let answer = client.refresh(&[]);
    assert_eq!(answer.0.status.code(), Some(1));
    let said = answer.said();
    let named = ["[wrong-digest]", "[wrong-length]", "[mix-and-match]"];
    assert!(named.iter().any(|code| said.contains(code)), "{said}");
    assert!(!client.stored().contains_key("snapshot.json"));
}

#[test]
fn a_root_without_the_threshold_is_refused_and_the_old_one_kept() {
    let mut repo = present_repo();
    repo.rotate("root", "root-1", "root-9");
    let path = repo.published().join("metadata/2.root.json");
    let mut root: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let signatures = root["signatures"].as_array_mut().unwrap();
    signatures.truncate(1);
    replace(&path, &serde_json::to_vec(&root).unwrap());
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    client.refresh(&[]).is_refused("threshold-not-met");
    assert_eq!(client.stored()["root.json"], repo.anchor());
}

#[test]
fn answers_without_end_are_cut_off() {
    let repo = present_repo();
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    server.set_faults(vec![Fault::always("timestamp.json", Kind::Endless)]);
    client.refresh(&[]).is_refused("endless-data");
    server.set_faults(vec![Fault::always("targets/", Kind::Endless)]);
    client.fetch(&[EDGE]).is_refused("endless-data");
    assert!(!client.out().join(EDGE).exists());
}

#[test]
fn a_redirect_to_files_is_not_followed() {
    let repo = present_repo();
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    let away = Kind::Redirect("file:///etc/passwd".into());
    server.set_faults(vec![Fault::always("timestamp.json", away)]);
    client.refresh(&[]).is_refused("redirect-refused");
}

#[test]
fn a_server_that_forbids_the_next_root_is_refused_unless_that_is_its_way_to_say_no() {
    let repo = present_repo();
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    server.set_faults(vec![Fault::always(".root.json", Kind::Status(403))]);
    client.refresh(&[]).is_refused("http-status");
    client.refresh(&["--forbidden-is-missing"]).is_good();
    server.set_faults(vec![Fault::always(".root.json", Kind::Status(500))]);
    client
        .refresh(&["--forbidden-is-missing"])
        .is_refused("http-status");
}

#[test]
fn without_an_anchor_nothing_is_trusted() {
    let repo = present_repo();
    let server = repo.serve();
    let client = Client::of(&server);
    client.refresh(&[]).is_refused("anchor-missing");
    let bad = client.dir.path().join("bad.json");
    std::fs::write(&bad, repo.anchor().repeat(2)).unwrap();
    let answer = client.refresh(&["--root", bad.to_str().unwrap()]);
    answer.is_refused("malformed-metadata");
    assert!(
        client.stored().is_empty(),
        "a refused root does not become the anchor"
    );
    let good = client.dir.path().join("good.json");
    std::fs::write(&good, repo.anchor()).unwrap();
    client
        .refresh(&["--root", good.to_str().unwrap()])
        .is_good();
    // From now on the store's own is the anchor, whatever is given.
    client.refresh(&["--root", bad.to_str().unwrap()]).is_good();
}

#[test]
fn a_good_refresh_follows_a_refused_one() {
    let mut repo = present_repo();
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    let flipped = Fault::times("timestamp.json", 1, Kind::Corrupt(200));
    server.set_faults(vec![flipped]);
    assert_eq!(client.refresh(&[]).0.status.code(), Some(1));
    client.refresh(&[]).is_good();
    repo.refresh();
    client.refresh(&[]).is_good();
}

#[test]
fn a_valid_file_in_the_store_is_not_fetched_again() {
    let repo = present_repo();
    let server = repo.serve();
    let client = Client::of(&server).trust(&repo.anchor());
    client.fetch(&[EDGE]).is_good();
    server.forget();
    client.fetch(&[EDGE]).is_good();
    let asked: Vec<String> = server.log().into_iter().map(|served| served.path).collect();
    assert_eq!(asked, ["/metadata/2.root.json", "/metadata/timestamp.json"]);
}

fn names(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    files(folder)
}

/// Published files may be read-only.
fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}
