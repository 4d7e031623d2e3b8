//! What the operations page says of a host by day: who may hold a restart, how configuration changes, how a
//! person takes it by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::Node;

/// The host's loopback, as QEMU shows it to its guest.
const HOST: &str = "10.0.2.2";
/// The person's own settings.
const SITE: &str = "/etc/twinroot/config.d/50-site.toml";

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let (mut node, _) = Node::started(lab, "1.0")?;
    let new = lab.build(&Wanted::test("1.1"))?;
    let locks = Locks::serve()?;

    site(&mut node, "[reboot]\ninhibitors = [\"backup\"]\n")?;
    node.sh(
        "systemd-run --quiet --unit=backup systemd-inhibit --what=shutdown --who=backup \
         --why='nightly run' sleep infinity",
    )?;
    node.publish(&new)?;
    expect_wait(lab, &mut node, "backup")?;
    refuses_nonsense(lab, &mut node)?;

    // The lock server says no, in its own words; then a place is free.
    let fleet = format!(
        "[update]\nstrategy = \"fleetlock\"\n[fleetlock]\nurl = \"http://{HOST}:{}\"\ngroup = \"workers\"\n",
        locks.address.port()
    );
    site(&mut node, &fleet)?;
    node.sh("systemctl stop backup.service")?;
    expect_wait(lab, &mut node, Locks::NO)?;
    locks.open.store(true, Ordering::SeqCst);
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    node.expect_enforced(&new, "b")?;
    node.wait_status("the lock given back", |_| locks.gave_back())?;
    lab.figure(format!("the lock server was asked: {}", locks.asked()));

    by_hand(lab, &mut node)?;
    node.passed();
    Ok(())
}

/// Writes the person's settings and has the running agent take them.
fn site(node: &mut Node, text: &str) -> Result<()> {
    node.sh("mkdir -p /etc/twinroot/config.d")?;
    node.put(SITE, text.as_bytes())?;
    node.sh("systemctl reload twinroot-agent.service").map(drop)
}

/// The release waits for its restart, and `why` names the holder.
fn expect_wait(lab: &mut Lab, node: &mut Node, holder: &str) -> Result<()> {
    node.wait_status(&format!("a wait for {holder}"), |status| {
        status["waits-for"].to_string().contains(holder)
    })?;
    let why = node.good(&["twinroot", "why"])?;
    ensure!(
        why.contains(holder),
        "`twinroot why` does not name {holder}: {why}"
    );
    lab.figure(format!("why: {}", why.trim()));
    Ok(())
}

/// A configuration that is wrong is refused in the journal by file and line, and the agent goes on with the old one.
fn refuses_nonsense(lab: &mut Lab, node: &mut Node) -> Result<()> {
    const WRONG: &str = "/etc/twinroot/config.d/60-wrong.toml";
    node.put(WRONG, b"[update]\nstrategi = \"automatic\"\n")?;
    node.sh("systemctl reload twinroot-agent.service")?;
    node.wait_status("the same wait as before", |status| {
        status["waits-for"].to_string().contains("backup")
    })?;
    let said = node.sh(
        "systemctl is-active twinroot-agent.service\n\
         journalctl --no-pager -b -u twinroot-agent.service -o cat | grep -F 60-wrong.toml | tail -n 1",
    )?;
    ensure!(
        said.starts_with("active") && said.contains("strategi"),
        "a wrong configuration was not refused by name: {said}"
    );
    lab.figure(format!("reload: {}", said.trim().replace('\n', "; ")));
    node.sh(&format!("rm {WRONG}")).map(drop)
}

/// The agent and its sockets are stopped: the commands work all the same, and the journal explains what it says.
fn by_hand(lab: &mut Lab, node: &mut Node) -> Result<()> {
    let said = node.sh(
        "systemctl stop twinroot-agent.service twinroot-read.socket twinroot-control.socket\n\
         twinroot status\n\
         twinroot hold --for 2h --reason 'a demo'\n\
         if systemctl -q is-active twinroot-agent.service; then exit 1; fi\n\
         systemctl start twinroot-read.socket twinroot-control.socket twinroot-agent.service\n\
         twinroot hold --clear",
    )?;
    ensure!(
        said.contains("1.1"),
        "commands without the agent said {said}"
    );
    let explained =
        node.sh("journalctl --no-pager -x -u twinroot-agent.service TWINROOT_WHAT=committed")?;
    ensure!(
        explained.contains("Subject: A release was healthy for the whole probation"),
        "the journal has no catalog text for a commit: {explained}"
    );
    lab.figure(format!("catalog: {} bytes", explained.len()));
    Ok(())
}

/// A lock server that is full until it is opened.
struct Locks {
    address: SocketAddr,
    open: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Locks {
    /// What it says while it is full.
    const NO: &str = "every place of workers is taken";

    fn serve() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for the lock server")?;
        let locks = Self {
            address: listener.local_addr()?,
            open: Arc::default(),
            asked: Arc::default(),
        };
        let (open, asked) = (locks.open.clone(), locks.asked.clone());
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that hangs up has its answer or asks again.
                let Ok(path) = answer(stream, open.load(Ordering::SeqCst)) else {
                    continue;
                };
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                if asked.last() != Some(&path) {
                    asked.push(path);
                }
            }
        });
        Ok(locks)
    }

    /// Paths in the order in which they were asked for; repeats are told once.
    fn asked(&self) -> String {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.join(", ")
    }

    fn gave_back(&self) -> bool {
        self.asked().ends_with("/v1/pre-reboot, /v1/steady-state")
    }
}

/// Answers one request; gives its path.
fn answer(stream: TcpStream, open: bool) -> Result<String> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut body = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let lower = line.to_ascii_lowercase();
        if let Some(length) = lower.strip_prefix("content-length:") {
            body = length.trim().parse()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.take(body).read_to_end(&mut Vec::new())?;
    let path = first
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    let (code, text) = match open || path == "/v1/steady-state" {
        true => ("200 OK", String::new()),
        false => (
            "409 Conflict",
            format!(r#"{{"kind": "failed_lock", "value": "{}"}}"#, Locks::NO),
        ),
    };
    write!(
        &stream,
        "HTTP/1.1 {code}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )?;
    Ok(path)
}
