//! Abuse of the sockets: whatever is done to them, the agent lives, answers, and acts for nobody
//! who may not.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use twinroot_tests::{program, skip};

use crate::support::Daemon;

const MANUAL: &str = "[polling]\ninterval = \"10m\"\njitter = \"0s\"\n";

#[test]
fn the_read_socket_never_acts() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.start();
    for action in ["pause", "apply", "rollback", "hold"] {
        let answer = daemon
            .ask("read.sock", "POST", &format!("/v1/{action}"), "")
            .unwrap();
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "not-permitted"),
            "{action}"
        );
    }
    assert_eq!(daemon.status()["paused"], false);
}

#[test]
fn ten_thousand_connections_leave_control_and_memory_as_they_were() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.start();
    let before = resident(&daemon);
    let address = UnixAddr::new(&daemon.socket("read.sock")).unwrap();
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..10_000 {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        // Our own limit of descriptors ends the flood before the agent's does, if it is low.
        let Ok(fd) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else {
            break;
        };
        match connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address) {
            Ok(()) => held.push(fd),
            Err(_) => refused += 1,
        }
    }
    println!(
        "{} connections held, {refused} refused by the kernel",
        held.len()
    );
    assert!(held.len() >= 100, "too few for a flood");
    // Descriptors for our own questions.
    held.truncate(held.len() - 16);
    assert_eq!(
        daemon.post("/v1/pause", "").status,
        200,
        "control is served meanwhile"
    );
    let grown = resident(&daemon).saturating_sub(before);
    assert!(grown < 4 << 20, "it grew by {grown} bytes");
    drop(held);
    daemon.until("reading is served again", |d| d.get("/v1/status").is_some());
    assert_eq!(daemon.status()["paused"], true);
}

/// Resident bytes of the agent.
fn resident(daemon: &Daemon) -> u64 {
    let pid = daemon.child.as_ref().unwrap().id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_slow_head_a_slow_body_and_a_gigabyte_are_cut_off() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.start();
    let begin = Instant::now();
    let mut slow = UnixStream::connect(daemon.socket("control.sock")).unwrap();
    slow.write_all(b"POST /v1/pause HTTP/1.1\r\nHo").unwrap();
    let mut body = UnixStream::connect(daemon.socket("control.sock")).unwrap();
    body.write_all(b"POST /v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        .unwrap();
    let mut huge = UnixStream::connect(daemon.socket("control.sock")).unwrap();
    huge.write_all(b"POST /v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n")
        .unwrap();
    let sent = flood(&mut huge);
    assert!(sent < 16 << 20, "{sent} bytes of a gigabyte were taken");
    for stream in [&mut slow, &mut body] {
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let answer = String::from_utf8_lossy(&rest);
        assert!(ended.is_ok() || !answer.is_empty(), "{ended:?}");
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert_eq!(daemon.status()["paused"], false);
}

/// Writes until the other end has had enough; how much it took.
fn flood(stream: &mut UnixStream) -> u64 {
    stream
        .set_write_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let chunk = vec![b' '; 1 << 16];
    let mut sent = 0;
    while sent < 1 << 30 {
        match stream.write(&chunk) {
            Ok(0) => break,
            Ok(some) => sent += some as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    sent
}

#[test]
fn nonsense_on_the_line_is_refused() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.start();
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000));
    for bytes in [
        b"\0\0\0\0\r\n\r\n".as_slice(),
        b"SSH-2.0-x\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /v1/%2e%2e/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        long.as_bytes(),
    ] {
        let answer = daemon.raw("control.sock", bytes);
        let status = answer.map_or(0, |a| a.status);
        assert!(
            !(200..300).contains(&status),
            "{status} for {:?}",
            &bytes[..20.min(bytes.len())]
        );
    }
    assert_eq!(daemon.status()["paused"], false);
}

/// Lets everybody reach the control socket, so that only the peer's own rights decide.
fn open_to_all(daemon: &Daemon) {
    let machine = daemon.node.machine();
    let mut folder = Some(machine.join("run"));
    while let Some(dir) = folder.filter(|dir| dir.starts_with(daemon.node.dir.path())) {
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        folder = dir.parent().map(Path::to_owned);
    }
    let socket = daemon.socket("control.sock");
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666)).unwrap();
}

#[test]
fn a_user_without_the_group_may_connect_and_not_act() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can become another user");
    }
    let mut daemon = Daemon::with(MANUAL);
    daemon.start();
    open_to_all(&daemon);
    let nobody = Command::new("/usr/bin/python3")
        .args(["-c", ASK])
        .arg(daemon.socket("control.sock"))
        .uid(65534)
        .gid(65534)
        .output();
    let Ok(answer) = nobody else {
        return skip("/usr/bin/python3 is not installed");
    };
    let said = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(
        said.contains("403") && said.contains("not-permitted"),
        "{answer:?}"
    );
    assert_eq!(daemon.status()["paused"], false);
}

/// Asks for a pause and prints the answer.
const ASK: &str = "import socket,sys\n\
    s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n\
    s.sendall(b'POST /v1/pause HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: 0\\r\\n\\r\\n')\n\
    print(s.makefile('rb').read().decode())\n";

#[test]
fn root_of_another_user_namespace_may_connect_and_not_act() {
    let mut daemon = Daemon::with(MANUAL);
    daemon.start();
    let inside = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user"])
            .args(args)
            .output()
    };
    if !inside(&["true"]).is_ok_and(|done| done.status.success()) {
        return skip("user namespaces cannot be made here");
    }
    let twinroot = program("twinroot");
    let machine = daemon.node.machine();
    let answer = inside(&[
        twinroot.to_str().unwrap(),
        "--machine",
        machine.to_str().unwrap(),
        "pause",
    ])
    .unwrap();
    let said = String::from_utf8_lossy(&answer.stderr);
    assert!(said.contains("[not-permitted]"), "{said}");
    assert_eq!(daemon.status()["paused"], false);
}
