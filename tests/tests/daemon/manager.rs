//! The agent under a service manager: sockets that are handed over, readiness, watchdog, status.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use twinroot_tests::program;

use crate::support::Daemon;

const MANUAL: &str = "[polling]\ninterval = \"10m\"\njitter = \"0s\"\n";

/// Where a manager of the test hears what the agent says.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(daemon: &Daemon) -> Self {
        let path = daemon.node.dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self { socket, path }
    }

    /// Listens until a message holds that line; all lines until then.
    fn until(&self, line: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let mut bytes = [0; 4096];
        while !heard.iter().any(|said: &String| said.starts_with(line)) {
            let count = self
                .socket
                .recv(&mut bytes)
                .unwrap_or_else(|e| panic!("{line}: {e}; {heard:?}"));
            let text = String::from_utf8(bytes[..count].to_vec()).unwrap();
            heard.extend(text.lines().map(str::to_owned));
        }
        heard
    }
}

/// A socket that a child inherits.
fn handed(socket: UnixListener) -> OwnedFd {
    let fd = OwnedFd::from(socket);
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    fd
}

/// A shell (bash: the numbers may have two digits) that takes the place of systemd: descriptors from 3 on, their names, and for whom they are
/// (sd_listen_fds(3)); then it becomes the agent.
fn handing_over(fds: &[OwnedFd], names: &str) -> Command {
    let redirect = |(at, fd): (usize, &OwnedFd)| format!("{}<&{}", at + 3, fd.as_raw_fd());
    let redirects: Vec<_> = fds.iter().enumerate().map(redirect).collect();
    let script = format!(
        "LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={names} exec \"$0\" \"$@\" {}",
        fds.len(),
        redirects.join(" ")
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]).arg(program("twinroot"));
    command
}

#[test]
fn sockets_of_the_service_manager_are_taken_by_name_and_left_as_they_are() {
    let mut daemon = Daemon::with(MANUAL);
    let run = daemon.node.machine().join("run");
    std::fs::create_dir_all(&run).unwrap();
    let bind = |name: &str| handed(UnixListener::bind(run.join(name)).unwrap());
    // High numbers first, so that the shell's redirections cannot overwrite one another.
    let _spare: Vec<_> = (0..8)
        .map(|_| std::fs::File::open("/dev/null").unwrap())
        .collect();
    // The other way round than the agent binds them itself: the names decide.
    let fds = [bind("control.sock"), bind("read.sock")];
    // Whoever came before the agent waits in the manager's queue and is answered.
    let early = daemon.socket("read.sock");
    let early = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(early).unwrap();
        stream
            .write_all(b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    daemon.spawn_by(handing_over(&fds, "control:read"));
    daemon.until("it answers", |d| {
        d.get("/v1/status").is_some_and(|a| a.status == 200)
    });
    assert!(early.join().unwrap().starts_with("HTTP/1.1 404"));
    assert_eq!(
        daemon
            .ask("read.sock", "POST", "/v1/pause", "")
            .unwrap()
            .status,
        403
    );
    assert_eq!(daemon.post("/v1/pause", "").status, 200);
    assert!(daemon.stop(Signal::SIGTERM).success(), "{}", daemon.log());
    // They are the manager's: the next start is handed the same ones.
    assert!(daemon.socket("read.sock").exists());
    daemon.spawn_by(handing_over(&fds, "control:read"));
    daemon.until("it answers again", |d| {
        d.get("/v1/status").is_some_and(|a| a.status == 200)
    });
}

#[test]
fn a_manager_that_hands_over_something_else_is_refused_by_name() {
    let mut daemon = Daemon::with(MANUAL);
    let path = daemon.node.dir.path().join("x.sock");
    let fds = [handed(UnixListener::bind(path).unwrap())];
    daemon.spawn_by(handing_over(&fds, "varlink"));
    let status = daemon.child.take().unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(3), "{}", daemon.log());
    assert!(daemon.log().contains("varlink"), "{}", daemon.log());
}

#[test]
fn the_manager_hears_of_readiness_state_life_and_end() {
    let mut daemon = Daemon::with(MANUAL);
    let manager = Manager::new(&daemon);
    let mut command = Command::new(program("twinroot"));
    command.env("NOTIFY_SOCKET", &manager.path);
    // A second: the loop must wake at half of it with nothing else to do.
    command.env("WATCHDOG_USEC", "1000000");
    daemon.spawn_by(command);
    let begin = manager.until("READY=1");
    assert!(!begin.iter().any(|line| line == "STOPPING=1"), "{begin:?}");
    manager.until("STATUS=1.0 runs and nothing is under way");
    for _ in 0..4 {
        manager.until("WATCHDOG=1");
    }
    daemon.until_it_waits_for("no-newer-release");
    daemon.node.publish("1.1", 3);
    daemon.pass(601);
    manager.until("STATUS=1.1 is available");
    assert!(daemon.stop(Signal::SIGTERM).success(), "{}", daemon.log());
    manager.until("STOPPING=1");
}

#[test]
fn a_loop_that_stands_still_gives_no_sign_of_life() {
    let mut daemon = Daemon::with(MANUAL);
    let manager = Manager::new(&daemon);
    let mut command = Command::new(program("twinroot"));
    command
        .env("NOTIFY_SOCKET", &manager.path)
        .env("WATCHDOG_USEC", "1000000");
    daemon.spawn_by(command);
    manager.until("READY=1");
    daemon.until_it_waits_for("no-newer-release");
    // What a hang looks like from outside.
    daemon.signal(Signal::SIGSTOP);
    manager.socket.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    while manager.socket.recv(&mut bytes).is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    manager
        .socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    assert!(
        manager.socket.recv(&mut bytes).is_err(),
        "nobody is there to say so"
    );
    manager
        .socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    daemon.signal(Signal::SIGCONT);
    manager.until("WATCHDOG=1");
}
