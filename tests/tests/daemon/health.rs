//! Health on a node: before the update, on trial, and what is told of it.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;
use twinroot_host::machine::BootFault;
use twinroot_publish::serve::faults::Kind;

use crate::support::Daemon;

const AUTOMATIC: &str = "[update]\nstrategy = \"automatic\"\n\
    [polling]\ninterval = \"10m\"\njitter = \"0s\"\n";
/// Deadline and extension of a trial by default.
const LAST: u64 = 900 + 3600;

/// Sets the workload's unit on the machine.
fn workload(daemon: &Daemon, state: &str) {
    daemon.write(
        "units.json",
        &format!("{{\"workload.service\": \"{state}\"}}"),
    );
}

/// A web server that answers everything with this status.
fn answering(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // What is asked for does not matter; the client may have gone.
            let _ = stream.read(&mut [0; 1024]);
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
        }
    });
    url
}

fn remote(daemon: &Daemon, url: &str) {
    daemon.write(
        "health.d/50-registry.toml",
        &format!(
            "[[check]]\nname = \"registry\"\nkind = \"http\"\nscope = \"remote\"\n\
             period = \"1s\"\nsuccesses = 1\nurl = \"{url}\"\n"
        ),
    );
}

fn lines(daemon: &Daemon, what: &str) -> Vec<Value> {
    let history = daemon.get("/v1/history").unwrap().json();
    let lines = history["lines"].as_array().unwrap().clone();
    lines
        .into_iter()
        .filter(|line| line["what"] == what)
        .collect()
}

#[test]
fn a_workload_that_is_ill_before_the_update_keeps_the_node_from_restarting() {
    let mut daemon = Daemon::with(AUTOMATIC);
    workload(&daemon, "failed");
    daemon.node.publish("1.1", 3);
    daemon.start();
    daemon.until_it_waits_for("unhealthy-before");
    assert_eq!(daemon.phase(), "staged");
    let why = daemon.get("/v1/why").unwrap().json();
    let sentence = why["reasons"][0]["sentence"].as_str().unwrap().to_owned();
    assert!(sentence.contains("workload"), "{sentence}");
    workload(&daemon, "active");
    daemon.pass(61);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
}

#[test]
fn a_remote_endpoint_that_was_ill_before_the_update_rolls_nobody_back() {
    let mut daemon = Daemon::with(AUTOMATIC);
    remote(&daemon, &answering("503 Service Unavailable"));
    daemon.node.publish("1.1", 3);
    daemon.spawn();
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
    daemon.start();
    daemon.until("it is looked at", |d| {
        let health = d.get("/v1/health").unwrap().json();
        health["checks"]
            .as_array()
            .is_some_and(|list| list.len() == 2)
    });
    assert_eq!(daemon.phase(), "trial", "it waits for the registry");
    daemon.pass(LAST);
    daemon.until("it is committed", |d| {
        d.history().last().unwrap() == "committed"
    });
    let kept = lines(&daemon, "kept");
    let detail = kept[0]["detail"].as_str().unwrap();
    assert!(detail.contains("registry"), "{detail}");
    let evidence = &kept[0]["health"][1];
    assert_eq!(evidence["check"], "registry", "{kept:?}");
    assert_eq!(evidence["outcome"], "failed");
    assert!(evidence["detail"].as_str().unwrap().contains("503"));
    assert!(evidence["since"].is_number());
}

#[test]
fn an_endpoint_that_nobody_reaches_leads_back_only_where_the_owner_wants_it() {
    let config = format!("{AUTOMATIC}[health]\non-remote-loss = \"roll-back\"\n");
    let mut daemon = Daemon::with(&config);
    // Nothing listens on the reserved port 1.
    remote(&daemon, "http://127.0.0.1:1/");
    daemon.node.publish("1.1", 3);
    daemon.spawn();
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
    daemon.start();
    daemon.until("it is on trial", |d| d.phase() == "trial");
    daemon.pass(LAST);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.0");
    daemon.start();
    daemon.until("it is remembered", |d| {
        d.status()["denied"][0]["automatic"] == true
    });
    let reason = daemon.status()["denied"][0]["reason"].to_string();
    assert!(reason.contains("registry"), "{reason}");
}

#[test]
fn a_failed_trial_is_told_with_its_evidence_and_with_what_it_left() {
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.live_through_a_failed_trial();
    let failed = lines(&daemon, "trial-failed");
    assert_eq!(
        failed[0]["running"], "1.1",
        "told by the system that failed"
    );
    let evidence = &failed[0]["health"][0];
    assert_eq!(evidence["check"], "workload", "{failed:?}");
    assert_eq!(evidence["outcome"], "failed-for-good");
    assert!(
        evidence["detail"]
            .as_str()
            .unwrap()
            .contains("workload.service is failed")
    );
    let denied = lines(&daemon, "denied");
    // The machine in files has no firmware that keeps a console: that is said, not left open.
    assert_eq!(denied[0]["left"]["console"], "", "{denied:?}");
    let history = daemon.node.run(&["history"]).said();
    assert!(
        history.contains("nothing was left of its last start"),
        "{history}"
    );
    assert_eq!(daemon.status()["denied"][0]["left"]["console"], "");
}

#[test]
fn a_trial_is_committed_while_the_repository_is_away() {
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.node.publish("1.1", 3);
    daemon.spawn();
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
    daemon.node.plant("timestamp.json", Kind::Status(503));
    daemon.start();
    daemon.pass(2);
    daemon.until("it is committed", |d| {
        d.history().last().unwrap() == "committed"
    });
    let ignored = lines(&daemon, "ignored");
    let told = ignored.iter().any(|line| {
        let detail = line["detail"].as_str().unwrap();
        detail.contains("new system's look at the repository failed")
    });
    assert!(told, "{ignored:?}");
}

#[test]
fn a_system_that_can_verify_nothing_any_more_is_left() {
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.node.publish("1.1", 3);
    daemon.spawn();
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
    // Neither what lies on the node nor what is served verifies here.
    std::fs::remove_dir_all(daemon.node.machine().join("state/releases")).unwrap();
    daemon.node.plant("timestamp.json", Kind::Corrupt(40));
    daemon.start();
    daemon.until("the look has failed", |d| {
        let failed = |line: &Value| {
            line["detail"]
                .to_string()
                .contains("look at the repository")
        };
        lines(d, "ignored").iter().any(failed)
    });
    assert_eq!(daemon.phase(), "trial", "healthy, and not blessed");
    daemon.pass(LAST + 300);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.0");
    daemon.node.heal();
    daemon.start();
    daemon.until("it is remembered", |d| {
        d.status()["denied"][0]["automatic"] == true
    });
    let reason = daemon.status()["denied"][0]["reason"].to_string();
    assert!(reason.contains("cannot look at the repository"), "{reason}");
}

#[test]
fn who_asked_stands_in_the_history() {
    let mut daemon = Daemon::with("[polling]\ninterval = \"10m\"\njitter = \"0s\"\n");
    daemon.start();
    assert_eq!(daemon.post("/v1/pause", "").status, 200);
    daemon.node.run(&["hold", "--reason", "a demo"]).is_good();
    let asked = lines(&daemon, "asked");
    assert_eq!(asked[0]["detail"], "pause");
    let user = nix::unistd::geteuid().to_string();
    let by = asked[0]["by"].as_str().unwrap();
    let process = format!("process {}", std::process::id());
    assert!(by.contains(&user) && by.contains(&process), "{by}");
    assert_eq!(asked[1]["detail"], "hold: a demo");
    assert!(
        asked[1]["by"].as_str().unwrap().contains("(twinroot)"),
        "{asked:?}"
    );
}

#[test]
fn a_persons_denial_may_end_and_the_nodes_own_does_not() {
    let mut daemon = Daemon::with("[polling]\ninterval = \"10m\"\njitter = \"0s\"\n");
    daemon.node.publish("1.1", 3);
    daemon.start();
    assert_eq!(daemon.post("/v1/stage", "").status, 200);
    daemon.node.run(&["deny", "1.1", "--for", "1h"]).is_good();
    assert!(daemon.status()["denied"][0]["until"].is_number());
    assert_eq!(daemon.post("/v1/stage", "").code(), "release-denied");
    daemon.pass(3601);
    let staged = daemon.post("/v1/stage", "");
    assert_eq!(staged.status, 200, "{staged:?}");
    assert_eq!(daemon.status()["denied"], serde_json::json!([]));
}
