//! What the publisher's schedule and marks do on a node, what a person may go past, and what `plan`
//! says beforehand.

use std::path::PathBuf;

use serde_json::{Value, json};
use twinroot_publish::serve::faults::Kind;
use twinroot_trust::digest::Digest;
use twinroot_trust::time::Seconds;

use crate::support::Node;

const HOUR: u64 = 3600;

fn history(node: &Node, what: &str) -> Vec<Value> {
    let lines = node.run(&["history", "--json"]).json()["lines"].clone();
    let lines = lines.as_array().unwrap().clone();
    lines
        .into_iter()
        .filter(|line| line["what"] == what)
        .collect()
}

#[test]
fn force_goes_ahead_of_a_wave_on_the_record_and_never_against_a_withdrawal() {
    let mut node = Node::new();
    let later = node.repo.now.plus(Seconds(6 * HOUR));
    let early = node.publish_with("1.1", 3, |plan| plan.earliest = Some(later));
    node.refuses(&["apply"], "not-now");
    node.run(&["stage", "--force"]).is_good();
    let forced = history(&node, "forced");
    assert_eq!(forced.len(), 1, "{forced:?}");
    let by = forced[0]["by"].as_str().unwrap();
    assert!(by.contains("(twinroot)"), "{by}");
    node.repo.withdraw("stable", &early.id);
    node.refuses(
        &["apply", "--version", "1.1", "--force"],
        "release-withdrawn",
    );
}

#[test]
fn a_release_that_revokes_older_ones_raises_the_floor_and_takes_the_fallback_away() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.update();
    assert_eq!(node.status()["fallback"], "proven");
    node.publish_with("1.2", 4, |plan| {
        plan.revokes_below = Some("1.2".parse().unwrap());
    });
    let plan = node.run(&["plan", "--json"]).json();
    assert_eq!(plan["floor-after"], "1.2");
    node.update();
    assert_eq!(node.running(), "1.2");
    assert_eq!(node.status()["floor"], "1.2");
    assert_eq!(node.status()["fallback"], "absent");
    node.refuses(&["rollback"], "no-fallback");
    node.refuses(&["apply", "--version", "1.1", "--force"], "below-floor");
}

/// An SPDX document with these packages, as a file of the publisher.
fn sbom(node: &Node, name: &str, packages: &[(&str, &str)]) -> PathBuf {
    let list: Vec<Value> = packages
        .iter()
        .map(|(name, version)| {
            json!({"SPDXID": format!("SPDXRef-{name}"), "name": name, "versionInfo": version})
        })
        .collect();
    let path = node.dir.path().join(name);
    std::fs::write(
        &path,
        json!({"spdxVersion": "SPDX-2.2", "packages": list}).to_string(),
    )
    .unwrap();
    path
}

#[test]
fn a_plan_says_what_comes_from_where_and_what_changes_inside() {
    let mut node = Node::new();
    let first = sbom(
        &node,
        "1.1.spdx",
        &[("bash", "5.2"), ("openssl", "3.0.1"), ("tar", "1.34")],
    );
    node.publish_with("1.1", 3, |plan| plan.sbom = Some(first));
    let plan = node.run(&["plan", "--json"]).json();
    // The release that runs names no bill of materials: that is said, and nothing is made up.
    assert_eq!(plan["contents"]["source"], "components", "{plan}");
    assert!(
        plan["contents"]["unknown"]
            .as_str()
            .unwrap()
            .contains("1.0")
    );
    node.update();

    let second = sbom(
        &node,
        "1.2.spdx",
        &[("bash", "5.2"), ("openssl", "3.0.2"), ("zstd", "1.5")],
    );
    node.publish_with("1.2", 4, |plan| plan.sbom = Some(second));
    let plan = node.run(&["plan", "--json"]).json();
    let contents = &plan["contents"];
    assert_eq!(contents["source"], "sbom", "{plan}");
    assert_eq!(
        contents["changed"],
        json!([{"name": "openssl", "before": "3.0.1", "after": "3.0.2"}])
    );
    assert_eq!(
        contents["added"],
        json!([{"name": "zstd", "before": null, "after": "1.5"}])
    );
    assert_eq!(
        contents["removed"],
        json!([{"name": "tar", "before": "1.34", "after": null}])
    );

    let sum = |wanted: &dyn Fn(&Value) -> bool| -> u64 {
        let parts = plan["bytes"].as_array().unwrap().iter();
        parts
            .filter(|p| wanted(p))
            .map(|p| p["bytes"].as_u64().unwrap())
            .sum()
    };
    let here = ["booted slot", "already there"];
    let is_here = |p: &Value| here.contains(&p["from"].as_str().unwrap());
    assert_eq!(
        sum(&|p| !is_here(p)),
        plan["fetch"].as_u64().unwrap(),
        "{plan}"
    );
    assert_eq!(
        sum(&|p| is_here(p)),
        plan["reuse"].as_u64().unwrap(),
        "{plan}"
    );
    let esp = &plan["esp"];
    assert!(esp["after"].as_u64() < esp["before"].as_u64(), "{plan}");
    assert_eq!(plan["restart"], "when a person asks for it");
    let said = node.run(&["plan"]).said();
    assert!(said.contains("openssl 3.0.1 to 3.0.2"), "{said}");
}

#[test]
fn a_bill_of_materials_that_is_not_the_signed_one_is_not_believed() {
    let mut node = Node::new();
    let path = sbom(&node, "1.1.spdx", &[("bash", "5.2")]);
    node.publish_with("1.1", 3, |plan| plan.sbom = Some(path));
    node.update();
    let path = sbom(&node, "1.2.spdx", &[("bash", "5.3")]);
    // It is published under its digest, as every payload.
    let name = Digest::of(&std::fs::read(&path).unwrap()).to_string();
    node.publish_with("1.2", 4, |plan| plan.sbom = Some(path));
    node.plant(&name, Kind::Corrupt(20));
    let contents = node.run(&["plan", "--json"]).json()["contents"].clone();
    assert_eq!(contents["source"], "components", "{contents}");
    let why = contents["unknown"].as_str().unwrap();
    assert!(why.contains("signed size and digest"), "{why}");
    assert_eq!(contents["changed"], json!([]));
}
