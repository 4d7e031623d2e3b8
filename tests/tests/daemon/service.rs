//! The daemon as a service: signals, kills, configuration.

use nix::sys::signal::Signal;
use twinroot_host::machine::BootFault;

use crate::support::Daemon;

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
