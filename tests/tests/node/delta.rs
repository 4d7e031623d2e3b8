//! Updates by delta: what is fetched is what the plan said; what is damaged on the way, in the base
//! or at the source costs bytes and nothing else.

use twinroot_publish::fake::{self, Release};
use twinroot_publish::serve::faults::{Fault, Kind};

use super::life::rot;
use super::support::{BLOCKS, Node};

/// Publishes 2.0: every third block of 1.0 has a few other bytes, one is new.
fn publish(node: &mut Node) -> Release {
    let mut image = node.image().to_vec();
    for block in (0..BLOCKS as usize).step_by(3) {
        for i in 0..5 {
            image[block * 4096 + 800 * i + 7 * block] ^= 0x15;
        }
    }
    let image = fake::changed(&image, 11, [5]);
    let release = node.repo.release_with(fake::STABLE, "2.0", &image, |plan| {
        plan.delta_from = 3;
    });
    assert!(
        release.added.deltas[0].published,
        "{:?}",
        release.added.deltas
    );
    release
}

/// The paths of the release's root deltas and full payload.
fn payloads(release: &Release) -> (String, String) {
    let manifest = twinroot_trust::manifest::Manifest::parse(&release.manifest).unwrap();
    let root = manifest.system_image();
    (root.deltas[0].payload.path.clone(), root.full.path.clone())
}

/// How many requests for a path were served, and the bytes.
fn served(node: &Node, path: &str) -> (usize, u64) {
    let log = node.server.log();
    let hits: Vec<_> = log.iter().filter(|s| s.path.contains(path)).collect();
    (hits.len(), hits.iter().map(|s| s.bytes).sum())
}

/// What the plan said of bytes and requests against what staging took: payloads, manifest and boot image.
/// The metadata of the look before is no part of either.
fn assert_close(plan: &serde_json::Value, node: &Node) {
    let log = node.server.log();
    let taken: Vec<_> = log
        .iter()
        .filter(|s| s.path.contains("payload/") || s.path.ends_with("manifest.toml"))
        .collect();
    let came: u64 = taken.iter().map(|s| s.bytes).sum();
    let said = plan["fetch"].as_u64().unwrap();
    assert!(came.abs_diff(said) * 50 <= said, "{came} came, {said} said");
    let requests = plan["requests"].as_u64().unwrap();
    assert!(taken.len() as u64 <= requests, "{plan} {taken:?}");
}

#[test]
fn an_update_by_delta_fetches_what_the_plan_said_in_one_request() {
    let mut node = Node::new();
    let release = publish(&mut node);
    let plan = node.run(&["plan", "--json"]).json();
    assert_eq!(plan["payload"], "delta", "{plan}");
    node.server.forget();
    node.run(&["stage"]).is_good();
    assert_close(&plan, &node);
    node.update();
    assert_eq!(node.running(), "2.0");
    let (delta, full) = payloads(&release);
    let (requests, bytes) = served(&node, &delta);
    assert_eq!(requests, 1, "index and segments in one");
    assert_eq!(served(&node, &full).0, 0, "nothing of the full payload");
    let manifest = twinroot_trust::manifest::Manifest::parse(&release.manifest).unwrap();
    assert_eq!(bytes, manifest.system_image().deltas[0].payload.size);
    let history = node.run(&["history", "--json"]).json();
    assert!(history.to_string().contains("fetched"), "{history}");
}

#[test]
fn an_update_by_reuse_fetches_what_the_plan_said_in_few_requests() {
    let mut node = Node::new();
    let release = node.publish_with("2.0", 11, |plan| plan.delta_from = 0);
    let plan = node.run(&["plan", "--json"]).json();
    assert_eq!(plan["payload"], "reuse", "{plan}");
    node.server.forget();
    node.run(&["stage"]).is_good();
    assert_close(&plan, &node);
    let manifest = twinroot_trust::manifest::Manifest::parse(&release.manifest).unwrap();
    let (requests, _) = served(&node, &manifest.system_image().full.path);
    assert_eq!(requests, 2, "its index, and what the booted slot lacks");
}

#[test]
fn a_base_that_rotted_costs_bytes_and_nothing_else() {
    let mut node = Node::new();
    let release = publish(&mut node);
    // A block that is copied, and one that a patch is made against.
    let booted = node.status()["booted"]["slot"].as_str().unwrap().to_owned();
    for block in [4, 6] {
        rot(&node, &booted, block);
    }
    node.server.forget();
    node.run(&["apply"]).is_good();
    let (_, full) = payloads(&release);
    assert!(served(&node, &full).0 > 0, "the full payload heals");
    let verified = node.run(&["verify", "--json"]).json();
    let other = if booted == "a" { "b" } else { "a" };
    assert!(
        verified["slots"]
            .as_array()
            .unwrap()
            .iter()
            .any(|slot| slot["slot"] == other && slot["good"] == true),
        "{verified}"
    );
}

#[test]
fn a_delta_that_is_damaged_or_gone_at_the_source_is_left_for_the_full_payload() {
    for kind in [Kind::Corrupt(900), Kind::Corrupt(20), Kind::Status(404)] {
        let mut node = Node::new();
        let release = publish(&mut node);
        let (delta, full) = payloads(&release);
        node.plant(&delta, kind.clone());
        node.update();
        assert_eq!(node.running(), "2.0", "{kind:?}");
        assert!(served(&node, &full).0 > 0);
    }
}

/// What the manifest says of the delta: its size and that of its index.
fn sizes(release: &Release) -> (u64, u64) {
    let manifest = twinroot_trust::manifest::Manifest::parse(&release.manifest).unwrap();
    let payload = &manifest.system_image().deltas[0].payload;
    match &payload.coding {
        twinroot_trust::manifest::Coding::Segments { index, .. } => (payload.size, index.size),
        other => panic!("a delta of segments, not {other:?}"),
    }
}

#[test]
fn a_stream_that_ends_halfway_goes_on_where_it_ended() {
    let mut node = Node::new();
    let release = publish(&mut node);
    let ((delta, full), (size, _)) = (payloads(&release), sizes(&release));
    let cut = Fault::times(&*delta, 1, Kind::Truncated(size / 2));
    node.server.set_faults(vec![cut]);
    node.server.forget();
    node.update();
    assert_eq!(node.running(), "2.0");
    assert_eq!(served(&node, &delta), (2, size), "no byte comes twice");
    assert_eq!(served(&node, &full).0, 0, "nothing of the full payload");
}

/// Publishes 2.0 with four segments, each with a block of 4 KiB that nothing helps with.
fn publish_four_segments(node: &mut Node) -> Release {
    let mut image = node.image().to_vec();
    for block in 0..BLOCKS as usize {
        image[block * 4096 + 7 * block] ^= 0x15;
    }
    let image = fake::changed(&image, 11, [2, 20, 36, 52]);
    node.repo
        .release_with(fake::STABLE, "2.0", &image, |plan| plan.delta_from = 1)
}

#[test]
fn a_try_after_a_stream_that_ended_halfway_fetches_only_what_is_missing() {
    let mut node = Node::new();
    let release = publish_four_segments(&mut node);
    let ((delta, full), (size, index)) = (payloads(&release), sizes(&release));
    let half = size / 2;
    // The server closes the connection halfway, and then has no time for anybody.
    node.server.set_faults(vec![
        Fault::times(&*delta, 1, Kind::Truncated(half)),
        Fault::always(&*delta, Kind::Status(503)),
    ]);
    node.run(&["stage"]).is_refused("http-status");
    node.heal();
    node.server.forget();
    node.run(&["stage"]).is_good();
    let (requests, bytes) = served(&node, &delta);
    assert_eq!(requests, 2, "the index, and one range for the rest");
    // Of the segment that was under way when the stream ended, nothing was kept.
    let segment = size / 4;
    assert!(
        bytes >= index + (size - half) && bytes <= index + (size - half) + segment,
        "{bytes} of {size} came, {index} of index, after {half} had come before"
    );
    assert_eq!(served(&node, &full).0, 0, "nothing of the full payload");
    node.update();
    assert_eq!(node.running(), "2.0");
}
