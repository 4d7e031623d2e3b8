//! The daemon as a service: signals, kills, configuration.

use nix::sys::signal::Signal;
use twinroot_host::machine::{BootFault, Machine};
use twinroot_publish::serve::faults::Kind;

use crate::support::Daemon;

const AUTOMATIC: &str = "[update]\nstrategy = \"automatic\"\n\
    [polling]\ninterval = \"10m\"\njitter = \"0s\"\n";
const MANUAL: &str = "[polling]\ninterval = \"10m\"\njitter = \"0s\"\n";

#[test]
fn sigterm_ends_a_waiting_agent_in_good_order_and_its_lock_with_it() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.start();
    daemon.until_it_waits_for("no-newer-release");
    assert!(daemon.stop(Signal::SIGTERM).success(), "{}", daemon.log());
    daemon.node.run(&["check"]).is_good();
}

#[test]
fn a_killed_agent_starts_over_leftover_sockets_and_goes_on() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.node.publish("1.1", 3);
    daemon.start();
    let answer = daemon.post("/v1/apply", "{\"no-reboot\": true}");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(daemon.phase(), "activated");
    daemon.stop(Signal::SIGKILL);
    assert!(daemon.socket("read.sock").exists());
    daemon.start();
    daemon.until("it stands where it stood", |d| d.phase() == "activated");
    assert_eq!(daemon.post("/v1/reboot", "").status, 200);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
}

#[test]
fn sighup_takes_a_good_configuration_and_refuses_a_bad_one() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.start();
    let strategy = |d: &Daemon| d.status()["node"]["strategy"].clone();
    assert_eq!(strategy(&daemon), "manual");
    daemon.write("config.d/60-more.toml", "[update]\nstrategy = \"yolo\"\n");
    daemon.signal(Signal::SIGHUP);
    daemon.until("it says what is wrong", |d| {
        d.log().contains("60-more.toml:2")
    });
    assert_eq!(strategy(&daemon), "manual");
    daemon.write(
        "config.d/60-more.toml",
        "[update]\nstrategy = \"staged-only\"\n",
    );
    daemon.signal(Signal::SIGHUP);
    daemon.until("it follows", |d| strategy(d) == "staged-only");
}

#[test]
fn a_new_configuration_counts_before_the_restart_of_an_update_that_is_under_way() {
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.node.publish("1.1", 3);
    // Slow enough that the update is still being written when the person has saved the file.
    daemon.node.plant("payload", Kind::Slow(40_000));
    daemon.start();
    daemon.until("it writes", |d| d.phase() == "staging");
    daemon.write(
        "config.d/60-more.toml",
        "[update]\nstrategy = \"staged-only\"\n",
    );
    daemon.signal(Signal::SIGHUP);
    daemon.until("it follows", |d| {
        d.status()["node"]["strategy"] == "staged-only"
    });
    assert!(!Machine::wants_reboot(&daemon.node.machine()));
    assert_ne!(daemon.phase(), "rebooting");
}

#[test]
fn a_refused_configuration_lets_no_later_one_be_missed() {
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.node.publish("1.1", 3);
    let hold = daemon.node.machine().join("gate.d/backup");
    std::fs::create_dir_all(hold.parent().unwrap()).unwrap();
    std::fs::write(&hold, "nightly run\n").unwrap();
    daemon.start();
    daemon.until_it_waits_for("gate-held");

    // Taken up again after the refusal, the update looks at the repository, which takes some seconds.
    daemon.node.plant("timestamp.json", Kind::Slow(200));
    daemon.write("config.d/60-more.toml", "[update]\nstrategy = \"yolo\"\n");
    daemon.signal(Signal::SIGHUP);
    daemon.until("it says what is wrong", |d| {
        d.log().contains("60-more.toml:2")
    });
    daemon.write(
        "config.d/60-more.toml",
        "[update]\nstrategy = \"staged-only\"\n",
    );
    daemon.signal(Signal::SIGHUP);
    std::fs::remove_file(&hold).unwrap();
    daemon.until("it follows", |d| {
        d.status()["node"]["strategy"] == "staged-only"
    });
    assert!(!Machine::wants_reboot(&daemon.node.machine()));
}

#[test]
fn a_rollback_without_a_restart_restarts_only_when_asked() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.node.publish("1.1", 3);
    daemon.node.update();
    assert_eq!(daemon.node.running(), "1.1");
    daemon
        .node
        .run(&["rollback", "--no-reboot", "--reason", "slow"])
        .is_good();
    let wants = |d: &Daemon| twinroot_host::machine::Machine::wants_reboot(&d.node.machine());
    assert!(!wants(&daemon));
    daemon.node.run(&["pause"]).is_good();
    daemon.node.run(&["resume"]).is_good();
    assert!(
        !wants(&daemon),
        "acting on something else restarted the host"
    );
    daemon.start();
    daemon.until_it_waits_for("rollback-needs-reboot");
    let checks = daemon.checks();
    daemon.pass(7200);
    daemon.until("a check comes and goes", |d| d.checks() > checks);
    assert!(!wants(&daemon), "time alone restarted the host");
    assert_eq!(daemon.post("/v1/reboot", "").status, 200);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.0");
}

/// What a disk that was full, a slip of the hand and two people who did not speak to each other leave.
const BAD: [(&str, &[u8], &str); 4] = [
    ("partly written", b"[update]\nstrat", "config-syntax"),
    (
        "not text",
        b"[update]\nstrategy = \"\xff\"\n",
        "config-unreadable",
    ),
    (
        "contradictory",
        b"[health]\nprobation = \"10m\"\ndeadline = \"5m\"\n",
        "config-value",
    ),
    (
        "for the image alone",
        b"[identity]\nproduct = \"x\"\n",
        "config-image-only",
    ),
];

#[test]
fn a_configuration_that_makes_no_sense_ends_the_start_with_3_and_leaves_a_running_agent_as_it_is() {
    let mut daemon = Daemon::with(MANUAL);
    let file = daemon.node.machine().join("config.d/60-more.toml");
    for (what, bytes, code) in BAD {
        std::fs::write(&file, bytes).unwrap();
        daemon.spawn();
        let ended = daemon.child.take().unwrap().wait().unwrap();
        assert_eq!(ended.code(), Some(3), "{what}: {}", daemon.log());
        assert!(
            daemon.log().contains(&format!("[{code}]")),
            "{what}: {}",
            daemon.log()
        );
    }
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/nowhere", &file).unwrap();
    daemon.spawn();
    let ended = daemon.child.take().unwrap().wait().unwrap();
    assert_eq!(ended.code(), Some(3), "a dangling link: {}", daemon.log());
    std::fs::remove_file(&file).unwrap();

    daemon.start();
    for (times, (what, bytes, _)) in BAD.iter().enumerate() {
        std::fs::write(&file, bytes).unwrap();
        daemon.signal(Signal::SIGHUP);
        daemon.until(what, |d| {
            d.log().matches("the configuration stays as it was").count() == times + 1
        });
        assert_eq!(daemon.status()["node"]["strategy"], "manual", "{what}");
    }
}
