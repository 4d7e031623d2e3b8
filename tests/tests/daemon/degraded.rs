//! No release of a host is healthy: what it needs lies outside the image. It must not restart from one into
//! the other for ever; it stays up, where somebody can reach it, and says how it is.

use nix::sys::signal::Signal;
use twinroot_core::bootfmt::attempt::STARTS_ALLOWED;
use twinroot_host::machine::{BootFault, Machine};

use crate::support::Daemon;

const AUTOMATIC: &str = "[update]\nstrategy = \"automatic\"\n\
    [polling]\ninterval = \"10m\"\njitter = \"0s\"\n";

/// 1.1 runs, committed; 1.0 is the proven fallback.
fn updated() -> Daemon {
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.node.publish("1.1", 3);
    daemon.spawn();
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
    daemon.start();
    daemon.pass(2);
    daemon.until("it is committed", |d| {
        d.history().last().unwrap() == "committed"
    });
    assert_eq!(daemon.status()["fallback"], "proven");
    daemon
}

fn workload_fails(daemon: &Daemon) {
    daemon.write("units.json", "{\"workload.service\": \"failed\"}");
}

fn warnings(daemon: &Daemon) -> String {
    daemon.status()["warnings"].to_string()
}

#[test]
fn two_committed_releases_that_are_both_ill_end_the_flipping_and_not_the_node() {
    let mut daemon = updated();
    let allowed = usize::from(STARTS_ALLOWED);
    let mut came_up = Vec::new();
    // Twice what both slots are allowed, and some more.
    for _ in 0..4 * allowed + 2 {
        // Somebody pulls the plug of a host that does not work.
        daemon.stop(Signal::SIGKILL);
        let wants = Machine::wants_reboot(&daemon.node.machine());
        assert!(!wants, "{}", daemon.log());
        came_up.push(daemon.boot(BootFault::None));
        workload_fails(&daemon);
        daemon.start();
        daemon.until("its health was looked at", |d| {
            let health = d.get("/v1/health").unwrap().json();
            health["checks"][0]["outcome"] == "failed-for-good"
        });
        daemon.until("it says that it is degraded", |d| {
            warnings(d).contains("degraded: ")
        });
        daemon.pass(61);
    }
    // It asks for no restart by itself, though its strategy would let it.
    assert!(daemon.child.as_mut().unwrap().try_wait().unwrap().is_none());
    assert_eq!(came_up[..allowed], vec!["1.1"; allowed], "{came_up:?}");
    assert_eq!(came_up[allowed], "1.0", "{came_up:?}");
    let end = &came_up[2 * allowed..];
    assert!(end.iter().all(|version| *version == end[0]), "{came_up:?}");
    daemon.until_it_waits_for("unhealthy-before");
    // Nobody was blamed for what lies outside: both may run again.
    assert_eq!(daemon.status()["denied"], serde_json::json!([]));

    // What was missing comes back.
    daemon.write("units.json", "{\"workload.service\": \"active\"}");
    daemon.pass(61);
    daemon.until("it is well, or restarts into what it repaired", |d| {
        let ended = d.child.as_mut().unwrap().try_wait().unwrap().is_some();
        let well = |body: &[u8]| !String::from_utf8_lossy(body).contains("degraded: ");
        ended || d.get("/v1/status").is_some_and(|s| well(&s.body))
    });
}

#[test]
fn a_trial_that_fails_where_nothing_else_could_run_stays_up_and_says_so() {
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.node.publish("1.1", 3);
    daemon.spawn();
    daemon.until_it_restarts();
    // The way back is lost before the trial has begun.
    let entries = daemon.node.machine().join("esp/EFI/Linux");
    let old = std::fs::read_dir(entries)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("_1.0_"))
        .unwrap();
    std::fs::remove_file(old).unwrap();
    assert_eq!(daemon.boot(BootFault::Health), "1.1");
    daemon.start();
    daemon.until("it says that it is degraded", |d| {
        d.history().contains(&"degraded".into())
    });
    assert_eq!(daemon.phase(), "blocked");
    assert_eq!(daemon.status()["fallback"], "absent");
    daemon.until_it_waits_for("operator-needed");
    let why = daemon.get("/v1/why").unwrap().json();
    let sentence = why["reasons"][0]["sentence"].as_str().unwrap().to_owned();
    assert!(sentence.contains("[both-slots-unhealthy]"), "{why}");
    // Neither time nor the deadline of its trial makes it restart, and looks at the repository go on.
    let checks = daemon.checks();
    daemon.pass(2 * 3600);
    daemon.until("it looks again", |d| d.checks() > checks);
    assert!(warnings(&daemon).contains("degraded: "), "{}", daemon.log());
    assert!(daemon.child.as_mut().unwrap().try_wait().unwrap().is_none());
    // A release that could help would leave nothing to go back to, and the plan says so.
    daemon.node.publish("1.2", 4);
    let plan = daemon.get("/v1/plan").unwrap().json().to_string();
    assert!(plan.contains("fallback-unproven"), "{plan}");
}
