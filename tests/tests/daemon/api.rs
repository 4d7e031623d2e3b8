//! What the local API answers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use twinroot_publish::serve::faults::Kind;

use crate::support::Daemon;

const MANUAL: &str = "[polling]\ninterval = \"10m\"\njitter = \"0s\"\n";

#[test]
fn everything_that_is_there_to_look_at_answers() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.node.publish("1.1", 3);
    daemon.start();
    assert_eq!(daemon.status()["booted"]["release"]["version"], "1.0");
    assert_eq!(
        daemon.get("/v1/plan").unwrap().json()["release"]["version"],
        "1.1"
    );
    assert_eq!(daemon.get("/v1/health").unwrap().json()["healthy"], true);
    assert!(!daemon.history().is_empty());
    let metrics = String::from_utf8(daemon.get("/metrics").unwrap().body).unwrap();
    for line in [
        "twinroot_phase{phase=\"available\"} 1",
        "twinroot_fallback ",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}

#[test]
fn a_check_says_what_is_there_and_staging_ends_with_the_status() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.node.publish("1.1", 3);
    daemon.start();
    let check = daemon.post("/v1/check", "").json();
    assert_eq!(check["available"]["version"], "1.1");
    let staged = daemon.post("/v1/stage", "{\"version\": \"1.1\"}");
    assert_eq!(staged.json()["phase"], "staged", "{staged:?}");
    // The command line asks the agent, which holds the lock.
    daemon.node.run(&["activate"]).is_good();
    assert_eq!(daemon.phase(), "activated");
    daemon.node.run(&["check"]).is_good();
    assert_eq!(daemon.phase(), "activated");
}

#[test]
fn a_look_that_finds_nothing_new_costs_two_requests() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.start();
    daemon.until("it has looked once by itself", |d| d.checks() == 1);
    daemon.node.server.forget();
    assert_eq!(daemon.post("/v1/check", "").status, 200);
    let asked: Vec<_> = daemon
        .node
        .server
        .log()
        .into_iter()
        .map(|s| s.path)
        .collect();
    assert_eq!(asked, ["/metadata/2.root.json", "/metadata/timestamp.json"]);
    // What was kept is not believed: a policy that has changed is fetched.
    daemon.node.publish("1.1", 3);
    let check = daemon.post("/v1/check", "").json();
    assert_eq!(check["available"]["version"], "1.1");
}

#[test]
fn events_tell_of_phases_progress_and_notes() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.node.publish("1.1", 3);
    daemon.start();
    let mut listener = UnixStream::connect(daemon.socket("read.sock")).unwrap();
    listener
        .write_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut lines = BufReader::new(listener).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK");
    assert!(lines.by_ref().any(|line| line.is_empty()), "the head ends");
    assert_eq!(daemon.post("/v1/stage", "").status, 200);
    let mut seen = std::collections::BTreeSet::new();
    for line in lines {
        if let Some(json) = line.strip_prefix("data: ") {
            let event: serde_json::Value = serde_json::from_str(json).unwrap();
            seen.insert(event["event"].as_str().unwrap().to_owned());
            if event["what"] == "staged" {
                break;
            }
        }
    }
    assert!(
        seen.contains("phase") && seen.contains("progress") && seen.contains("note"),
        "{seen:?}"
    );
}

#[test]
fn refusals_carry_their_code_and_a_status_that_blames_the_right_side() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.start();
    for (path, body, status, code) in [
        ("/v1/activate", "", 409, "nothing-staged"),
        ("/v1/reboot", "", 409, "not-now"),
        ("/v1/rollback", "", 409, "no-fallback"),
        ("/v1/deny", "{\"release\": \"9.9\"}", 404, "unknown-release"),
        (
            "/v1/deny",
            "{\"release\": \"../../etc/passwd\"}",
            404,
            "unknown-release",
        ),
        ("/v1/deny", "", 400, "bad-request"),
        ("/v1/stage", "{\"version\": \"../x\"}", 400, "bad-request"),
        ("/v1/stage", "{\"url\": \"http://x/\"}", 400, "bad-request"),
        (
            "/v1/stage",
            "{\"version\": \"9.9\"}",
            404,
            "unknown-release",
        ),
        ("/v1/pause", "{\"force\": true}", 400, "bad-request"),
        ("/v1/pause", "not json", 400, "bad-request"),
        ("/v1/nothing", "", 404, "bad-request"),
    ] {
        let answer = daemon.post(path, body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{path} {body}"
        );
        assert!(
            !answer.json()["error"]["remedy"]
                .as_str()
                .unwrap()
                .is_empty()
        );
    }
    let wrong = daemon.ask("control.sock", "GET", "/v1/pause", "").unwrap();
    assert_eq!(wrong.status, 405);
    daemon.node.plant("timestamp.json", Kind::Status(503));
    assert_eq!(
        daemon.post("/v1/check", "").status,
        424,
        "the network's fault is not ours"
    );
}
