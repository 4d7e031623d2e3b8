//! What others see of the agent: figures on the loopback, health, and the archive for whoever helps.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use twinroot_agent::api::METRICS;
use twinroot_host::machine::BootFault;
use xtask::run::root;

use crate::support::Daemon;

const MANUAL: &str = "[polling]\ninterval = \"10m\"\njitter = \"0s\"\n";

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn ask(at: SocketAddr, line: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(5)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn figures_are_on_the_loopback_where_asked_for_and_nothing_else_is() {
    let (first, second) = (free_port(), free_port());
    let config = |at: SocketAddr| format!("{MANUAL}[metrics]\nlisten = \"{at}\"\n");
    let mut daemon = Daemon::with(&config(first));
    daemon.start();
    daemon.until("figures come", |_| ask(first, "GET /metrics").is_some());
    let answer = ask(first, "GET /metrics").unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("twinroot_fallback 0"),
        "{answer}"
    );
    for line in [
        "GET /v1/status",
        "GET /v1/history",
        "POST /v1/pause",
        "POST /v1/rollback",
    ] {
        let answer = ask(first, line).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{line}: {answer}");
    }
    assert!(
        ask(first, "POST /metrics")
            .unwrap()
            .starts_with("HTTP/1.1 405")
    );
    // A new configuration moves them, and takes them away.
    daemon.write("config.d/50-daemon.toml", &config(second));
    daemon.signal(Signal::SIGHUP);
    daemon.until("they have moved", |_| ask(second, "GET /metrics").is_some());
    assert_eq!(ask(first, "GET /metrics"), None);
    daemon.write("config.d/50-daemon.toml", MANUAL);
    daemon.signal(Signal::SIGHUP);
    daemon.until("they have gone", |_| ask(second, "GET /metrics").is_none());
    assert_eq!(daemon.get("/metrics").unwrap().status, 200);
}

#[test]
fn a_port_that_is_taken_does_not_keep_the_node_from_updating() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let mut daemon = Daemon::with(&format!("{MANUAL}[metrics]\nlisten = \"{at}\"\n"));
    daemon.start();
    assert!(daemon.log().contains("metrics.listen"), "{}", daemon.log());
    assert_eq!(daemon.post("/v1/check", "").status, 200);
}

/// Names of ours in a text, without what PromQL puts around them.
fn names_in(text: &str) -> Vec<String> {
    let begins = text.match_indices("twinroot_").map(|(at, _)| &text[at..]);
    let name = |rest: &str| -> String {
        rest.chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect()
    };
    begins.map(name).collect()
}

#[test]
fn every_figure_of_dashboard_and_alerts_exists_and_every_one_is_described() {
    let known: Vec<_> = METRICS
        .iter()
        .map(|(name, _)| format!("twinroot_{name}"))
        .collect();
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    for page in [
        "docs/observability/alerts.yml",
        "docs/observability/dashboard.json",
    ] {
        let names = names_in(&read(page));
        assert!(names.len() >= 6, "{page}: {names:?}");
        for name in names {
            assert!(
                known.contains(&name),
                "{page} asks for {name}, which nobody gives"
            );
        }
    }
    let page = read("docs/operations.md");
    for name in &known {
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/operations.md does not describe {name}"
        );
    }
    let _: Value = serde_json::from_str(&read("docs/observability/dashboard.json")).unwrap();
}

#[test]
fn what_the_agent_gives_is_what_is_promised() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.node.publish("1.1", 3);
    daemon.start();
    daemon.until_it_waits_for("manual-strategy");
    let text = String::from_utf8(daemon.get("/metrics").unwrap().body).unwrap();
    for name in names_in(&text) {
        let bare = name.trim_start_matches("twinroot_");
        // A counter is described without the suffix that its value carries.
        let promised = |known: &&str| *known == bare || known.trim_end_matches("_total") == bare;
        assert!(
            METRICS
                .iter()
                .map(|(known, _)| *known)
                .any(|k| promised(&k)),
            "{name}"
        );
    }
    // All but those that say something only when there is something to say.
    let silent = ["last_failure", "health_check"];
    for (name, _) in METRICS.iter().filter(|(name, _)| !silent.contains(name)) {
        assert!(
            text.contains(&format!("\ntwinroot_{name}")),
            "{name} is missing in\n{text}"
        );
    }
}

#[test]
fn health_waits_for_the_verdict_on_this_boot() {
    let mut daemon = Daemon::with(&format!("{MANUAL}[health]\nprobation = \"5m\"\n"));
    daemon.node.publish("1.1", 3);
    daemon.start();
    daemon.node.run(&["health"]).is_good();
    daemon.node.run(&["health", "--wait"]).is_good();
    assert_eq!(daemon.post("/v1/apply", "").status, 200);
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.1");
    // The unit that waits may be started before the agent answers.
    let mut waits = std::process::Command::new(twinroot_tests::program("twinroot"));
    waits
        .arg("--machine")
        .arg(daemon.node.machine())
        .args(["health", "--wait", "--json"]);
    let waits = waits.stdout(std::process::Stdio::piped()).spawn().unwrap();
    daemon.start();
    daemon.until_it_waits_for("on-probation");
    daemon.pass(301);
    let done = waits.wait_with_output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let health: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(health["healthy"], true);
    assert_eq!(daemon.history().last().unwrap(), "committed");
}

#[test]
fn the_archive_for_whoever_helps_holds_no_secret() {
    let token = "tok3n-of-the-repository";
    let files = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let config = format!(
        "# planted-in-a-comment\n{MANUAL}[repository]\nbearer-file = \"{}\"\n",
        secret("token", &format!("{token}\n"))
    );
    let mut daemon = Daemon::with(&config);
    daemon.start();
    // Words of others: a person's reason and a check's output land in the history.
    let planted =
        "{\"release\": \"1.0\", \"reason\": \"password=planted-word tok3n-of-the-repository\"}";
    daemon.post("/v1/deny", planted);
    let hold = "{\"reason\": \"Authorization: Bearer planted-bearer\"}";
    assert_eq!(daemon.post("/v1/hold", hold).status, 200);
    let seed = std::fs::read(daemon.node.machine().join("state/seed")).unwrap();
    let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let archive = files.path().join("help.tar");
    let out = archive.to_str().unwrap();
    daemon.node.run(&["diagnose", "--out", out]).is_good();
    assert_eq!(
        std::fs::metadata(&archive).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let bytes = std::fs::read(&archive).unwrap();
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    for secret in [
        token,
        "planted-word",
        "planted-bearer",
        "planted-in-a-comment",
        &hex,
    ] {
        assert!(!holds(secret.as_bytes()), "{secret} is in the archive");
    }
    assert!(!holds(&seed), "the seed is in the archive");
    for there in [
        "about.txt",
        "status.json",
        "history.jsonl",
        "agent/metrics.txt",
        "\"phase\"",
        "twinroot_phase",
    ] {
        assert!(holds(there.as_bytes()), "{there} is missing");
    }
    let again = daemon.node.run(&["diagnose", "--out", out]);
    assert!(!again.0.status.success(), "it wrote over a file");
}
