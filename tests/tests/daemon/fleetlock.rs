//! A FleetLock server between the node and its restart.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use twinroot_host::machine::BootFault;

use crate::support::Daemon;

/// What the server does.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// It keeps to the protocol, with a place for everybody.
    Kind,
    /// It says that all places are taken.
    Full,
    /// It answers what is no answer.
    Lying,
}

/// A server that notes what it is asked.
struct Server {
    url: String,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            mood: Arc::new(Mutex::new(mood)),
            asked: Arc::default(),
        };
        let (mood, asked) = (server.mood.clone(), server.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &mood, &asked);
            }
        });
        server
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// `pre-reboot` and `steady-state`, in the order in which they were asked and granted, from the last
    /// `pre-reboot` on: a node that is steady says so at its start too.
    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let last = asked.iter().rposition(|verb| verb == "pre-reboot");
        last.map_or(Vec::new(), |last| asked[last..].to_vec())
    }

    fn config(&self) -> String {
        format!(
            "[update]\nstrategy = \"fleetlock\"\n[polling]\ninterval = \"10m\"\njitter = \"0s\"\n\
             [fleetlock]\nurl = \"{}\"\ngroup = \"workers\"\n",
            self.url
        )
    }
}

fn answer(mut stream: TcpStream, mood: &Mutex<Mood>, asked: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length, mut line) = (String::new(), 0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        let lower = line.trim().to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if first.is_empty() {
            first = lower;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let (status, said) = match *mood.lock().unwrap() {
        Mood::Kind => {
            let verb = first.split('/').nth(2).unwrap_or_default();
            let verb = verb.split(' ').next().unwrap_or_default().to_owned();
            asked.lock().unwrap().push(verb);
            ("200 OK", "")
        }
        Mood::Full => (
            "409 Conflict",
            "{\"kind\": \"all_slots_full\", \"value\": \"none\"}",
        ),
        Mood::Lying => ("204 No Content", ""),
    };
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
        said.len()
    );
    // The node may have gone meanwhile.
    let _ = stream.write_all(text.as_bytes());
}

fn with(server: &Server) -> Daemon {
    let mut daemon = Daemon::with("");
    daemon.write("machine-id", "0123456789abcdef0123456789abcdef\n");
    daemon.write("config.d/50-daemon.toml", &server.config());
    daemon.node.publish("1.1", 3);
    daemon
}

#[test]
fn the_place_is_taken_before_the_restart_and_given_back_only_when_the_new_system_is_steady() {
    let server = Server::new(Mood::Full);
    let mut daemon = with(&server);
    daemon.start();
    daemon.until_it_waits_for("gate-held");
    let why = daemon.get("/v1/why").unwrap().json();
    assert!(why.to_string().contains("all_slots_full"), "{why}");
    assert_eq!(server.asked(), [""; 0]);

    server.becomes(Mood::Kind);
    daemon.pass(61);
    daemon.until_it_restarts();
    assert_eq!(server.asked(), ["pre-reboot"]);
    assert_eq!(daemon.boot(BootFault::None), "1.1");

    daemon.write("units.json", "{\"workload.service\": \"activating\"}");
    daemon.start();
    daemon.until("it is judged", |d| {
        let health = d.get("/v1/health").unwrap().json();
        health["checks"][0]["outcome"] == "failed"
    });
    assert_eq!(daemon.phase(), "trial");
    assert_eq!(server.asked(), ["pre-reboot"], "it is not steady yet");
    daemon.write("units.json", "{\"workload.service\": \"active\"}");
    daemon.until("the place is given back", |_| server.asked().len() == 2);
    assert_eq!(server.asked(), ["pre-reboot", "steady-state"]);
    assert_eq!(daemon.phase(), "idle");
    assert_eq!(daemon.status()["fallback"], "proven");
}

/// Has the configuration read again, for the `times`th time.
fn reload(daemon: &mut Daemon, times: usize) {
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    daemon.until("the configuration is read again", |d| {
        d.log().matches("the configuration was read again").count() == times
    });
}

#[test]
fn a_server_that_lies_or_is_down_delays_the_update_and_never_loses_it() {
    let server = Server::new(Mood::Lying);
    let mut daemon = with(&server);
    daemon.start();
    daemon.until_it_waits_for("gate-held");
    for _ in 0..3 {
        daemon.pass(61);
        daemon.until_it_waits_for("gate-held");
    }
    assert_eq!(daemon.phase(), "activated");
    // It goes away altogether, and another one comes.
    let next = Server::new(Mood::Kind);
    daemon.write(
        "config.d/50-daemon.toml",
        &next.config().replace(&next.url, "http://127.0.0.1:1"),
    );
    reload(&mut daemon, 1);
    daemon.pass(61);
    daemon.until("it is down", |d| {
        let why = d.get("/v1/why").map(|a| a.json().to_string());
        why.is_some_and(|why| why.contains("cannot be reached"))
    });
    daemon.write("config.d/50-daemon.toml", &next.config());
    reload(&mut daemon, 2);
    daemon.pass(61);
    daemon.until_it_restarts();
    assert_eq!(next.asked(), ["pre-reboot"]);
    assert_eq!(daemon.boot(BootFault::None), "1.1");
}

#[test]
fn the_place_of_a_release_that_failed_is_given_back_by_the_survivor() {
    let server = Server::new(Mood::Kind);
    let mut daemon = with(&server);
    daemon.spawn();
    daemon.until_it_restarts();
    daemon.boot(BootFault::Health);
    daemon.spawn();
    daemon.until_it_restarts();
    assert_eq!(daemon.boot(BootFault::None), "1.0");
    assert_eq!(server.asked(), ["pre-reboot"]);
    daemon.start();
    daemon.until("it is remembered", |d| {
        d.history().contains(&"denied".into())
    });
    // Health is looked at again after a minute; only a system that is well is steady.
    daemon.pass(61);
    daemon.until("the place is given back", |_| server.asked().len() == 2);
    assert_eq!(server.asked(), ["pre-reboot", "steady-state"]);
}
