//! A node whose agent runs as a process, and whose time the test lets pass.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use twinroot_host::machine::{self, BootFault, Machine};
use twinroot_tests::program;
use twinroot_trust::time::Seconds;

pub use crate::node::Node;

/// How long the test waits for something that takes milliseconds on an idle machine; these run on
/// busy ones.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Daemon {
    pub node: Node,
    pub child: Option<Child>,
    passed: u64,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Http {
    pub status: u16,

    pub body: Vec<u8>,
}

impl Http {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Daemon {
    /// A committed 1.0 with this operator configuration; the agent does not run yet.
    pub fn with(config: &str) -> Self {
        let node = Node::new();
        let file = node.machine().join("config.d/50-daemon.toml");
        std::fs::write(file, config).unwrap();
        let mut daemon = Self {
            node,
            child: None,
            passed: 0,
        };
        daemon.set_clock();
        daemon
    }

    /// The wall clock of the machine shows the repository's time.
    fn set_clock(&mut self) {
        let real = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs() as i64;
        let offset = self.node.repo.now.0 - real - self.passed as i64;
        self.write("clock-offset", &offset.to_string());
        self.write("time-passed", &self.passed.to_string());
    }

    pub fn write(&self, name: &str, text: &str) {
        // Renamed into place: the daemon reads it at any moment.
        let file = self.node.machine().join(name);
        let new = self.node.dir.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Lets time pass, for the machine and for the repository, which signs again.
    pub fn pass(&mut self, seconds: u64) {
        self.node.repo.pass(Seconds(seconds));
        self.node.repo.refresh();
        self.passed += seconds;
        self.write("time-passed", &self.passed.to_string());
    }

    /// Starts the agent and waits until it answers.
    pub fn start(&mut self) {
        self.spawn();
        self.until("it answers", |daemon| {
            daemon.get("/v1/status").is_some_and(|a| a.status == 200)
        });
    }

    /// Starts the agent.
    pub fn spawn(&mut self) {
        self.spawn_by(Command::new(program("twinroot")));
    }

    /// Starts the agent by a command that becomes it.
    pub fn spawn_by(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "it runs already");
        self.set_clock();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.node.dir.path().join("agent.log"))
            .unwrap();
        let child = command
            .args(["-v", "--machine"])
            .arg(self.node.machine())
            .arg("agent")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.node.dir.path().join("agent.log")).unwrap_or_default()
    }

    /// Waits for a condition, looking every few milliseconds.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            if begin.elapsed() > PATIENCE {
                let status = self
                    .get("/v1/status")
                    .map(|a| String::from_utf8(a.body).unwrap());
                panic!(
                    "{what}: not within {PATIENCE:?}; {status:?}\n{}",
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.node.machine().join("run").join(name)
    }

    /// `GET` on the read socket; nothing where nobody answers.
    pub fn get(&self, path: &str) -> Option<Http> {
        self.ask("read.sock", "GET", path, "")
    }

    /// `POST` on the control socket.
    pub fn post(&self, path: &str, body: &str) -> Http {
        self.ask("control.sock", "POST", path, body)
            .expect("the agent answers")
    }

    pub fn ask(&self, socket: &str, method: &str, path: &str, body: &str) -> Option<Http> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.raw(socket, request.as_bytes())
    }

    /// Sends these bytes and reads to the end.
    pub fn raw(&self, socket: &str, bytes: &[u8]) -> Option<Http> {
        let mut stream = UnixStream::connect(self.socket(socket)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        Some(Http {
            status: head.get(9..12)?.parse().ok()?,
            body: answer[end + 4..].to_vec(),
        })
    }

    pub fn status(&self) -> Value {
        self.get("/v1/status").expect("the agent answers").json()
    }

    pub fn phase(&self) -> String {
        self.status()["phase"].as_str().unwrap().to_owned()
    }

    /// Codes of what it waits for.
    pub fn waits_for(&self) -> Vec<String> {
        // An agent that is starting has nothing to say yet.
        let Some(answer) = self.get("/v1/why").filter(|answer| answer.status == 200) else {
            return Vec::new();
        };
        let reasons = answer.json()["reasons"].as_array().unwrap().clone();
        let code = |reason: &Value| reason["code"].as_str().unwrap().to_owned();
        reasons.iter().map(code).collect()
    }

    pub fn until_it_waits_for(&mut self, code: &str) {
        self.until(code, |daemon| daemon.waits_for().iter().any(|c| c == code));
    }

    /// Waits until the agent has asked for a restart and ended.
    pub fn until_it_restarts(&mut self) {
        self.until("it asks for a restart and ends", |daemon| {
            daemon.child.as_mut().unwrap().try_wait().unwrap().is_some()
        });
        let status = self.child.take().unwrap().wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
        assert!(
            Machine::wants_reboot(&self.node.machine()),
            "{}",
            self.log()
        );
    }

    /// Starts the machine; the version that comes up.
    pub fn boot(&mut self, fault: BootFault) -> String {
        self.set_clock();
        let report = machine::boot(&self.node.machine(), fault).unwrap();
        report.booted.expect("it comes up").version.to_string()
    }

    /// Release 1.1 comes, is unhealthy on trial, and 1.0 runs again and remembers it.
    pub fn live_through_a_failed_trial(&mut self) {
        self.node.publish("1.1", 3);
        self.spawn();
        self.until_it_restarts();
        self.boot(BootFault::Health);
        self.spawn();
        self.until_it_restarts();
        assert_eq!(self.boot(BootFault::None), "1.0");
        self.start();
        self.until("it is remembered", |d| {
            d.history().contains(&"denied".into())
        });
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
    }

    /// Ends the agent and answers how it ended.
    pub fn stop(&mut self, signal: Signal) -> std::process::ExitStatus {
        self.signal(signal);
        self.child.take().unwrap().wait().unwrap()
    }

    /// Looks at the repository so far in this run of the agent.
    pub fn checks(&self) -> u64 {
        let text = String::from_utf8(self.get("/metrics").unwrap().body).unwrap();
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix("twinroot_checks_total "));
        line.unwrap().parse().unwrap()
    }

    /// `what` of every line of history.
    pub fn history(&self) -> Vec<String> {
        let lines = self.get("/v1/history").unwrap().json();
        let what = |line: &Value| line["what"].as_str().unwrap().to_owned();
        lines["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(what)
            .collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
