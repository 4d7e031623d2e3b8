//! The two stories of an unattended node.

use twinroot_host::machine::BootFault;
use twinroot_publish::fake;
use twinroot_publish::serve::faults::Kind;
use twinroot_trust::time::Seconds;

use crate::support::Daemon;

const HOUR: u64 = 3600;

/// The fake repository begins at midnight UTC.
const WINDOWED: &str = "[update]\nstrategy = \"windowed\"\n\
    [polling]\ninterval = \"10m\"\njitter = \"0s\"\n\
    [reboot]\nwindows = [\"daily 12:00 1h\"]\nstage-lead = \"4h\"\n\
    [health]\nprobation = \"5m\"\n";

const AUTOMATIC: &str = "[update]\nstrategy = \"automatic\"\n\
    [polling]\ninterval = \"10m\"\njitter = \"0s\"\n";

#[test]
fn a_release_waits_for_its_wave_and_its_window_and_is_committed() {
    let mut daemon = Daemon::with(WINDOWED);
    assert_eq!(daemon.node.repo.now, fake::BEGINNING);
    let wave = fake::BEGINNING.plus(Seconds(6 * HOUR));
    daemon
        .node
        .publish_with("1.1", 3, |plan| plan.earliest = Some(wave));
    daemon.start();
    daemon.until_it_waits_for("wave-opens-at");
    assert!(daemon.waits_for().contains(&"next-check-at".to_owned()));

    daemon.pass(6 * HOUR + 601);
    daemon.until_it_waits_for("stages-at");
    assert_eq!(daemon.status()["other"]["release"], serde_json::Value::Null);

    daemon.pass(2 * HOUR);
    daemon.until_it_waits_for("window-opens-at");
    assert_eq!(daemon.phase(), "staged");

    daemon.pass(4 * HOUR);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");

    daemon.start();
    daemon.until_it_waits_for("on-probation");
    assert_eq!(daemon.phase(), "trial");
    daemon.pass(301);
    daemon.until("it is committed", |daemon| daemon.phase() == "idle");
    let history = daemon.history();
    let tail = &history[history.len() - 3..];
    assert_eq!(tail, ["staged", "activated", "committed"], "{history:?}");
    assert_eq!(daemon.status()["fallback"], "proven");
}

#[test]
fn a_bad_release_is_left_denied_withdrawn_and_the_next_one_taken() {
    let mut daemon = Daemon::with(AUTOMATIC);
    let bad = daemon.node.publish("1.1", 3);
    // It may end before it is asked: the release is taken at once.
    daemon.spawn();
    daemon.until_it_restarts();
    daemon.boot(BootFault::Health);
    // It may end before it is asked: its checks fail at once.
    daemon.spawn();
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.0");

    daemon.start();
    daemon.until("it is remembered", |d| {
        d.status()["denied"][0]["automatic"] == true
    });
    daemon.until_it_waits_for("denied");
    daemon.node.repo.withdraw(fake::STABLE, &bad.id);
    let checks = daemon.checks();
    daemon.pass(601);
    daemon.until("it looks again", |d| d.checks() > checks);
    assert_eq!(
        daemon.phase(),
        "idle",
        "what is denied stays so, withdrawn or not"
    );

    daemon.node.publish("1.2", 4);
    daemon.pass(601);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.2");
    daemon.start();
    daemon.pass(2);
    daemon.until("it is committed", |d| {
        d.history().last().unwrap() == "committed"
    });
}

#[test]
fn a_node_waits_while_a_person_holds_the_restart_and_while_it_is_paused() {
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.start();
    daemon.until_it_waits_for("no-newer-release");
    let held = daemon.post("/v1/hold", "{\"reason\": \"a demo\"}");
    assert_eq!(held.status, 200, "{held:?}");
    daemon.node.publish("1.1", 3);
    daemon.pass(601);
    daemon.until("it is activated", |d| d.phase() == "activated");
    daemon.until_it_waits_for("held");
    // Time alone does not lift it.
    daemon.pass(HOUR);
    daemon.until_it_waits_for("held");
    assert_eq!(daemon.post("/v1/hold", "{\"clear\": true}").status, 200);
    daemon.pass(601);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
    daemon.start();
    daemon.pass(2);
    daemon.until("it is committed", |d| d.phase() == "idle");

    assert_eq!(daemon.post("/v1/pause", "").status, 200);
    daemon.node.publish("1.2", 4);
    daemon.pass(601);
    daemon.until_it_waits_for("paused-locally");
    assert_eq!(daemon.phase(), "idle");
    assert_eq!(daemon.post("/v1/resume", "").status, 200);
    daemon.pass(601);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.2");
}

#[test]
fn a_file_holds_the_restart_and_a_newer_release_takes_the_place_of_the_one_held() {
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.write("hold-reboot", "backup is running\n");
    daemon.node.publish("1.1", 3);
    daemon.start();
    daemon.until_it_waits_for("gate-held");
    let why = daemon.get("/v1/why").unwrap().json();
    let sentence = why["reasons"][0]["sentence"].as_str().unwrap().to_owned();
    assert!(sentence.contains("backup is running"), "{sentence}");
    daemon.node.publish("1.2", 4);
    daemon.pass(601);
    daemon.until("1.2 takes its place", |d| {
        d.status()["target"]["version"] == "1.2"
    });
    std::fs::remove_file(daemon.node.machine().join("hold-reboot")).unwrap();
    daemon.pass(61);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.2");
}

#[test]
fn metadata_that_has_grown_old_while_the_restart_was_held_is_looked_at_again_first() {
    let config = format!("{AUTOMATIC}[reboot]\nmax-metadata-age = \"1h\"\n");
    let mut daemon = Daemon::with(&config);
    daemon.write("hold-reboot", "backup is running\n");
    daemon.node.publish("1.1", 3);
    daemon.start();
    daemon.until_it_waits_for("gate-held");
    daemon.node.plant("timestamp.json", Kind::Status(503));
    std::fs::remove_file(daemon.node.machine().join("hold-reboot")).unwrap();
    daemon.pass(2 * HOUR);
    daemon.until_it_waits_for("metadata-too-old");
    let why = daemon.get("/v1/why").unwrap().json();
    let sentence = why["reasons"][0]["sentence"].as_str().unwrap().to_owned();
    assert!(
        sentence.contains("2h") && sentence.contains("1h is allowed"),
        "{sentence}"
    );
    assert_eq!(daemon.phase(), "activated");
    daemon.node.heal();
    daemon.pass(61);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
}

#[test]
fn a_staged_release_that_cannot_be_armed_says_what_failed() {
    let mut daemon = Daemon::with(WINDOWED);
    daemon.node.publish("1.1", 3);
    daemon.start();
    // The repository signs anew as time passes: not while the first look is under way.
    daemon.until_it_waits_for("stages-at");
    daemon.pass(8 * HOUR + 601);
    daemon.until_it_waits_for("window-opens-at");
    assert_eq!(daemon.status()["last-failure"], serde_json::Value::Null);

    // A folder has the name that its boot entry is to get.
    let esp = daemon.node.machine().join("esp/EFI/Linux");
    let names = std::fs::read_dir(&esp).unwrap();
    let mut names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    let staged = names.find(|name| name.ends_with(".staged"));
    let staged = staged.expect("a staged boot image lies on the ESP");
    let digest = staged.trim_start_matches("twinroot_");
    let entry = format!("twinroot_1.1_{}+3.efi", &digest[..16]);
    std::fs::create_dir_all(esp.join(entry).join("of-somebody-else")).unwrap();

    daemon.pass(4 * HOUR);
    daemon.until_it_waits_for("operator-needed");
    let status = daemon.status();
    assert_eq!(status["phase"], "staged", "{status}");
    let waits = status["waits-for"].to_string();
    let code = status["last-failure"]["code"].as_str();
    let code = code.unwrap_or_else(|| panic!("the failure is hidden: {status}"));
    assert!(waits.contains(code), "{status}");
}
