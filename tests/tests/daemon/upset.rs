//! Clocks that jump, and an agent that is killed at any moment.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use twinroot_host::machine::{BootFault, Machine};

use crate::support::Daemon;

const HOUR: i64 = 3600;
const WINDOWED: &str = "[update]\nstrategy = \"windowed\"\n\
    [polling]\ninterval = \"10m\"\njitter = \"0s\"\n\
    [reboot]\nwindows = [\"daily 12:00 1h\"]\n";
const AUTOMATIC: &str = "[update]\nstrategy = \"automatic\"\n\
    [polling]\ninterval = \"10m\"\njitter = \"0s\"\n";

/// Moves the machine's wall clock, and nothing else: time since boot goes on as before.
fn set_off(daemon: &Daemon, seconds: i64) {
    let file = daemon.node.machine().join("clock-offset");
    let text = std::fs::read_to_string(&file).unwrap();
    let offset: i64 = text.trim().parse().unwrap();
    daemon.write("clock-offset", &(offset + seconds).to_string());
}

#[test]
fn a_clock_that_is_set_into_the_window_opens_it_and_one_that_is_set_back_does_not_lose_it() {
    let mut daemon = Daemon::with(WINDOWED);
    daemon.node.publish("1.1", 3);
    daemon.start();
    daemon.until_it_waits_for("window-opens-at");
    // Back by ten years: nothing is installed by such a clock, and nothing is lost.
    set_off(&daemon, -10 * 365 * 24 * HOUR);
    daemon.pass(601);
    daemon.until_it_waits_for("clock-untrusted");
    assert_eq!(daemon.phase(), "staged");
    set_off(&daemon, 10 * 365 * 24 * HOUR);
    daemon.pass(601);
    daemon.until("the clock is believed again", |d| {
        d.waits_for() == ["window-opens-at"]
    });
    // The repository began at midnight, twenty minutes ago: now it is in the window.
    set_off(&daemon, 12 * HOUR);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
}

#[test]
fn a_trial_is_judged_by_the_time_since_the_start_whatever_the_wall_clock_does() {
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.node.publish("1.1", 3);
    daemon.spawn();
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
    daemon.write("units.json", "{\"workload.service\": \"activating\"}");
    daemon.start();
    daemon.until("it is on trial", |d| d.phase() == "trial");
    // Far past any deadline by the wall clock, and before the start by it.
    for jump in [48 * HOUR, -72 * HOUR, 24 * HOUR] {
        set_off(&daemon, jump);
        let health = |d: &Daemon| d.get("/v1/health").unwrap().json()["checks"][0].clone();
        daemon.until("it is looked at", |d| health(d)["outcome"] == "failed");
        assert_eq!(daemon.phase(), "trial", "after {jump} s");
    }
    daemon.write("units.json", "{\"workload.service\": \"active\"}");
    daemon.until("it is committed", |d| {
        d.history().last().unwrap() == "committed"
    });
}

#[test]
fn an_agent_that_is_killed_at_any_moment_brings_the_update_to_its_end() {
    // Printed, so that a run that fails can be repeated.
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    println!("seed {seed}");
    let mut random = u64::from(seed) | 1;
    let begin = Instant::now();
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.node.publish("1.1", 3);
    let wants = |d: &Daemon| Machine::wants_reboot(&d.node.machine());
    let mut kills = 0;
    while kills < 25 && begin.elapsed() < Duration::from_secs(60) {
        daemon.spawn();
        // xorshift64: spread over what an update of this size takes.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(random % 400_000));
        daemon.stop(Signal::SIGKILL);
        kills += 1;
        if wants(&daemon) {
            let version = daemon.boot(BootFault::None);
            assert!(["1.0", "1.1"].contains(&version.as_str()), "{version}");
        }
    }
    assert!(
        kills >= 5,
        "too slow a machine for {kills} kills to say anything"
    );
    // Whatever was cut, the agent now brings it to its end.
    daemon.spawn();
    daemon.until("it restarts or has committed", |d| {
        d.child.as_mut().unwrap().try_wait().unwrap().is_some()
            || d.get("/v1/status").is_some_and(|a| {
                a.json()["booted"]["release"]["version"] == "1.1" && a.json()["phase"] == "idle"
            })
    });
    if wants(&daemon) {
        daemon.until_it_restarts();
        assert_eq!(daemon.boot(BootFault::None), "1.1");
        daemon.start();
        daemon.pass(2);
    }
    daemon.until("it is committed", |d| {
        d.history().contains(&"committed".into()) && d.phase() == "idle"
    });
    assert_eq!(daemon.status()["booted"]["release"]["version"], "1.1");
    assert_eq!(daemon.status()["fallback"], "proven");
    daemon.stop(Signal::SIGTERM);
    daemon.node.run(&["verify"]).is_good();
    println!("{kills} kills");
}
