//! What a node reports of its updates, to a collector and as files.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use twinroot_host::machine::BootFault;

use crate::support::Daemon;

const AUTOMATIC: &str = "[update]\nstrategy = \"automatic\"\n\
    [polling]\ninterval = \"10m\"\njitter = \"0s\"\n";

/// A collector that answers with this status and keeps the bodies of what it took.
#[derive(Clone)]
struct Collector {
    url: String,
    status: Arc<Mutex<u16>>,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn new(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Self {
            url: format!("http://{}/reports", listener.local_addr().unwrap()),
            status: Arc::new(Mutex::new(status)),
            bodies: Arc::default(),
        };
        let serving = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serving.answer(stream.unwrap());
            }
        });
        collector
    }

    fn answer(&self, mut stream: std::net::TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            let lower = line.trim().to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let status = *self.status.lock().unwrap();
        if status == 200 {
            self.bodies.lock().unwrap().push(body);
        }
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        // The node may have gone meanwhile.
        let _ = stream.write_all(head.as_bytes());
    }

    fn taken(&self) -> Vec<Value> {
        let bodies = self.bodies.lock().unwrap();
        bodies.iter().map(|body| payload(body)).collect()
    }
}

/// The payload of an envelope. That its signature is right, the agent's own test holds to a vector of
/// another implementation.
fn payload(envelope: &[u8]) -> Value {
    let envelope: Value = serde_json::from_slice(envelope).unwrap();
    assert_eq!(
        envelope["payloadType"],
        "application/vnd.twinroot.report+json"
    );
    assert!(envelope["signatures"][0]["sig"].as_str().unwrap().len() > 80);
    serde_json::from_slice(&base64(envelope["payload"].as_str().unwrap())).unwrap()
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in text.trim_end_matches('=').chars() {
        bits = (bits << 6) | u32::try_from(DIGITS.find(digit).unwrap()).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}

#[test]
fn a_collector_that_was_away_hears_of_a_failed_and_of_a_good_release_in_order() {
    let collector = Collector::new(503);
    let config = format!("{AUTOMATIC}[report]\nurl = \"{}\"\n", collector.url);
    let mut daemon = Daemon::with(&config);
    daemon.live_through_a_failed_trial();
    assert_eq!(collector.taken().len(), 0);
    *collector.status.lock().unwrap() = 200;
    daemon.pass(7200);
    let is_denied = |report: &Value| report["line"]["what"] == "denied";
    daemon.until("reports arrive", |_| {
        collector.taken().iter().any(is_denied)
    });

    let taken = collector.taken();
    let key = daemon.status()["node"]["key"].as_str().unwrap().to_owned();
    assert_eq!(key.len(), 64);
    for report in &taken {
        assert_eq!(report["schema"], 1);
        assert_eq!(report["node"]["key"], key.as_str());
        assert_eq!(report["node"]["channel"], "stable");
    }
    let words: Vec<&str> = taken
        .iter()
        .map(|r| r["line"]["what"].as_str().unwrap())
        .collect();
    let failed = words
        .iter()
        .position(|word| *word == "trial-failed")
        .unwrap();
    let denied = words.iter().position(|word| *word == "denied").unwrap();
    assert!(failed < denied, "{words:?}");
    assert_eq!(taken[failed]["line"]["release"]["version"], "1.1");
    assert_eq!(taken[failed]["line"]["health"][0]["check"], "workload");
    let numbers: Vec<u64> = taken
        .iter()
        .map(|r| r["line"]["number"].as_u64().unwrap())
        .collect();
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "each once, in order: {numbers:?}"
    );
}

#[test]
fn without_a_collector_reports_lie_as_files() {
    let mut daemon = Daemon::with(AUTOMATIC);
    daemon.node.publish("1.1", 3);
    daemon.spawn();
    daemon.until_it_restarts();
    daemon.boot(BootFault::None);
    daemon.start();
    daemon.pass(2);
    daemon.until("it is committed", |d| {
        d.history().last().unwrap() == "committed"
    });
    let folder = daemon.node.machine().join("state/reports");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let reports: Vec<Value> = files
        .map(|file| payload(&std::fs::read(file).unwrap()))
        .collect();
    let last = reports
        .iter()
        .max_by_key(|r| r["line"]["number"].as_u64())
        .unwrap();
    assert_eq!(last["line"]["what"], "committed", "{reports:?}");
    assert_eq!(last["line"]["release"]["version"], "1.1");
}

#[test]
fn a_report_that_a_collector_will_never_take_holds_up_no_other() {
    let collector = Collector::new(422);
    let config = format!("{AUTOMATIC}[report]\nurl = \"{}\"\n", collector.url);
    let mut daemon = Daemon::with(&config);
    daemon.start();
    daemon.until("it is refused for good", |d| {
        d.log().contains("a report is refused for good")
    });
    *collector.status.lock().unwrap() = 200;
    daemon.node.publish("1.1", 3);
    daemon.pass(601);
    daemon.until_it_restarts();
    daemon.boot(BootFault::None);
    daemon.start();
    daemon.pass(2);
    daemon.until("the next one arrives", |_| !collector.taken().is_empty());
    assert_eq!(collector.taken()[0]["line"]["release"]["version"], "1.1");
}
