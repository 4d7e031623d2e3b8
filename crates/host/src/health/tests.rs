use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;

use super::units::FilesUnits;
use super::*;

fn sh(script: &str, timeout: Duration) -> Answer {
    exec::run(&["/bin/sh".into(), "-c".into(), script.into()], timeout)
}

const PATIENT: Duration = Duration::from_secs(20);

/// A machine whose service manager does not answer.
fn no_manager() -> FilesUnits {
    FilesUnits::new(std::path::Path::new("/nowhere/units.json"))
}

#[test]
fn a_program_is_judged_by_how_it_ends() {
    assert_eq!(sh("exit 0", PATIENT).0, Ended::Passed);
    let (ended, detail) = sh("echo the disk is gone >&2; exit 3", PATIENT);
    assert_eq!(ended, Ended::Failed);
    assert!(
        detail.contains("ended with 3") && detail.contains("the disk is gone"),
        "{detail}"
    );
    assert!(sh("kill -9 $$", PATIENT).1.contains("signal 9"));
    for missing in ["/no/such/program", "/etc/passwd"] {
        assert_eq!(
            exec::run(&[missing.into()], PATIENT).0,
            Ended::NotRun,
            "{missing}"
        );
    }
    assert_eq!(exec::run(&[], PATIENT).0, Ended::NotRun);
}

#[test]
fn a_program_that_hangs_is_killed_with_all_its_children() {
    let home = tempfile::tempdir().unwrap();
    let alive = home.path().join("alive");
    nix::unistd::mkfifo(&alive, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // The child holds the writing end of the FIFO: reading it ends when the child does.
    let script = format!("sleep 1000 >{} & wait", alive.display());
    let reader = std::thread::spawn(move || std::fs::read(alive).unwrap());
    let (ended, detail) = sh(&script, Duration::from_millis(300));
    assert_eq!(ended, Ended::Failed);
    assert!(detail.contains("took longer"), "{detail}");
    assert_eq!(reader.join().unwrap(), b"", "the grandchild is gone");
}

#[test]
fn a_child_left_in_the_background_does_not_outlive_its_check() {
    let home = tempfile::tempdir().unwrap();
    let alive = home.path().join("alive");
    nix::unistd::mkfifo(&alive, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("sleep 1000 >{} & exit 0", alive.display());
    let reader = std::thread::spawn(move || std::fs::read(alive).unwrap());
    // The shell may end before its child has opened the FIFO; then the reader is let go here.
    assert_eq!(sh(&script, PATIENT).0, Ended::Passed);
    // Without waiting, since it fails where the reader has ended already.
    drop(
        std::fs::File::options()
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(home.path().join("alive")),
    );
    reader.join().unwrap();
}

#[test]
fn a_flood_of_output_is_kept_to_its_tail() {
    let (ended, detail) = sh("yes flood | head -c 3000000; echo the end; exit 1", PATIENT);
    assert_eq!(ended, Ended::Failed);
    assert!(detail.ends_with("the end"), "{detail}");
    assert!(detail.len() < 5000, "{}", detail.len());
}

#[test]
fn a_check_sees_nothing_of_the_agents_environment() {
    let (_, detail) = sh("env; pwd; exit 1", PATIENT);
    for line in detail.lines().skip(1) {
        assert!(
            line.starts_with("PATH=/usr/sbin:")
                || line.starts_with("PWD=")
                || line == "/"
                || line.starts_with("_=")
                || line.starts_with("SHLVL="),
            "{line}"
        );
    }
}

#[test]
fn sockets_and_web_servers_are_reached_or_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert_eq!(probe::tcp(&address, PATIENT).0, Ended::Passed);
    let url = format!("http://{address}/healthz");
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 1024]);
            stream
                .write_all(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
        }
    });
    // The connection of the TCP check above is the first that is accepted.
    assert_eq!(probe::http(&url, 503, PATIENT).0, Ended::Passed);
    server.join().unwrap();
    assert_eq!(
        probe::tcp(&address, PATIENT).0,
        Ended::Unreachable,
        "the listener is gone"
    );
    assert_eq!(probe::http(&url, 200, PATIENT).0, Ended::Unreachable);
    assert_eq!(probe::http("no url", 200, PATIENT).0, Ended::NotRun);
}

#[test]
fn a_kubelet_is_good_when_it_says_so_and_not_by_being_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/healthz", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for status in ["200 OK", "500 Internal Server Error"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let read = std::io::Read::read(&mut stream, &mut head).unwrap();
            assert!(head[..read].starts_with(b"GET /healthz "));
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let text = format!("[[check]]\nname = \"kubelet\"\nkind = \"kubelet\"\nurl = \"{url}\"\n");
    let check = &read_checks(Author::Owner, "x.toml", &text).unwrap()[0];
    let ended = || run_one(check, &no_manager()).0;
    assert_eq!(ended(), Ended::Passed);
    assert_eq!(ended(), Ended::Failed);
    server.join().unwrap();
    assert_eq!(ended(), Ended::Unreachable);
}

#[test]
fn units_pass_only_when_active() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("units.json");
    let units = FilesUnits::new(&path);
    assert_eq!(
        units.state("kubelet.service").0,
        Ended::NotRun,
        "no file is no pass"
    );
    let states =
        r#"{"kubelet.service": "active", "a.service": "failed", "b.service": "activating"}"#;
    std::fs::File::create(&path)
        .unwrap()
        .write_all(states.as_bytes())
        .unwrap();
    assert_eq!(units.state("kubelet.service").0, Ended::Passed);
    assert_eq!(units.state("a.service").0, Ended::FailedForGood);
    assert_eq!(units.state("b.service").0, Ended::Failed);
    assert_eq!(units.state("none.service").0, Ended::Failed);
    assert_eq!(no_manager().state("kubelet.service").0, Ended::NotRun);
}

fn put(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn definition(name: &str, unit: &str) -> String {
    format!("[[check]]\nname = \"{name}\"\nkind = \"unit\"\nunit = \"{unit}\"\n")
}

fn runner(home: &Path) -> Runner {
    Runner::new(
        Folders {
            definitions: vec![
                (Author::Publisher, home.join("image")),
                (Author::Owner, home.join("etc")),
                (Author::Owner, home.join("none")),
            ],
            greenboot: vec![
                (Author::Publisher, home.join("usr-greenboot")),
                (Author::Owner, home.join("etc-greenboot")),
            ],
        },
        Arc::new(no_manager()),
    )
}

#[test]
fn an_owners_file_stands_beside_the_publishers_of_the_same_name() {
    let home = tempfile::tempdir().unwrap();
    put(&home.path().join("image/20-b.toml"), &definition("b", "b"));
    put(&home.path().join("image/10-a.toml"), &definition("a", "a"));
    put(
        &home.path().join("etc/20-b.toml"),
        &definition("b", "other"),
    );
    // Not even an empty one takes the publisher's away.
    put(&home.path().join("etc/10-a.toml"), "");
    let runner = runner(home.path());
    let checks = runner.checks().unwrap();
    let seen: Vec<(&str, Author)> = checks.iter().map(|c| (c.name.as_str(), c.by)).collect();
    assert_eq!(
        seen,
        [
            ("a", Author::Publisher),
            ("b", Author::Publisher),
            ("owner/b", Author::Owner)
        ]
    );
    let results = runner.run(&checks, &|| {}).unwrap();
    assert!(
        results.iter().all(|result| result.outcome == Ended::NotRun),
        "{results:?}"
    );
}

#[test]
fn a_definition_that_cannot_be_read_is_refused() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("etc")).unwrap();
    std::os::unix::fs::symlink("/nowhere", home.path().join("etc/30-c.toml")).unwrap();
    assert_eq!(
        runner(home.path()).checks().unwrap_err().code,
        Code::HealthCheckInvalid
    );
}

#[test]
fn scripts_in_greenboots_folders_are_checks() {
    let home = tempfile::tempdir().unwrap();
    let script = |path: &str, text: &str| put(&home.path().join(path), text);
    script("usr-greenboot/required.d/10-good.sh", "exit 0\n");
    script(
        "etc-greenboot/required.d/20-bad.sh",
        "echo no disk; exit 4\n",
    );
    script("etc-greenboot/wanted.d/30-wanted.sh", "exit 1\n");
    script("etc-greenboot/wanted.d/README", "not a script\n");
    let runner = runner(home.path());
    let checks = runner.checks().unwrap();
    let results = runner.run(&checks, &|| {}).unwrap();
    let seen: Vec<_> = checks
        .iter()
        .zip(&results)
        .map(|(check, result)| (check.name.as_str(), check.required, result.outcome))
        .collect();
    assert_eq!(
        seen,
        [
            ("greenboot/required.d/10-good.sh", true, Ended::Passed),
            ("greenboot/required.d/20-bad.sh", true, Ended::Failed),
            ("greenboot/wanted.d/30-wanted.sh", false, Ended::Failed),
        ]
    );
    assert!(
        results[1].detail.contains("ended with 4: no disk"),
        "{results:?}"
    );
}

fn scripts(list: &[&str]) -> Vec<Check> {
    let text: String = list
        .iter()
        .enumerate()
        .map(|(at, script)| {
            format!(
                "[[check]]\nname = \"{at}\"\nkind = \"exec\"\ntimeout = \"1s\"\n\
                 command = [\"/bin/sh\", \"-c\", \"{script}\"]\n"
            )
        })
        .collect();
    read_checks(Author::Owner, "x.toml", &text).unwrap()
}

#[test]
fn checks_that_hang_do_not_hold_up_the_others() {
    let home = tempfile::tempdir().unwrap();
    let hang = ["sleep 1000"; 9];
    let checks = scripts(&[&hang[..], &["exit 0"]].concat());
    let results = runner(home.path()).run(&checks, &|| {}).unwrap();
    assert_eq!(results.len(), 10);
    for result in &results[..9] {
        assert_eq!(result.outcome, Ended::Failed, "{result:?}");
        assert!(result.detail.contains("took longer than 1s"), "{result:?}");
    }
    assert_eq!(results[9].outcome, Ended::Passed);
}

#[test]
fn a_check_that_hangs_alone_does_not_look_like_silence() {
    let home = tempfile::tempdir().unwrap();
    let mut checks = scripts(&["sleep 1000"]);
    checks[0].timeout = twinroot_trust::time::Seconds(4);
    let beats = std::cell::Cell::new(0);
    runner(home.path())
        .run(&checks, &|| beats.set(beats.get() + 1))
        .unwrap();
    // One of them may be for its end.
    assert!(beats.get() >= 2, "{} beats", beats.get());
}

#[test]
fn checks_that_end_one_after_the_other_without_a_pause_do_not_look_like_silence() {
    let home = tempfile::tempdir().unwrap();
    let checks = scripts(&["exit 0"; 20]);
    let beats = std::cell::Cell::new(0);
    runner(home.path())
        .run(&checks, &|| beats.set(beats.get() + 1))
        .unwrap();
    assert!(beats.get() >= 20, "{} beats in 20 checks", beats.get());
}

#[test]
fn a_check_that_would_pass_after_its_time_has_failed() {
    let (ended, detail) = sh("sleep 2; exit 0", Duration::from_millis(300));
    assert_eq!(ended, Ended::Failed);
    assert!(detail.contains("took longer"), "{detail}");
}

#[test]
fn a_check_that_forks_a_crowd_leaves_nobody() {
    let home = tempfile::tempdir().unwrap();
    let alive = home.path().join("alive");
    nix::unistd::mkfifo(&alive, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Each of the crowd holds the writing end: reading ends when the last of them has gone.
    let script = format!(
        "exec 3>{}; i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; wait",
        alive.display()
    );
    let reader = std::thread::spawn(move || std::fs::read(alive).unwrap());
    assert_eq!(sh(&script, Duration::from_millis(500)).0, Ended::Failed);
    // On a busy machine the shell may not have opened it in its time; then the reader is let go here.
    drop(
        std::fs::File::options()
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(home.path().join("alive")),
    );
    assert_eq!(reader.join().unwrap(), b"");
}

#[test]
fn a_child_that_leaves_the_group_and_keeps_the_output_holds_nobody_up() {
    let home = tempfile::tempdir().unwrap();
    let pid = home.path().join("pid");
    let script = format!(
        "setsid sh -c 'echo $$ >{}; exec sleep 1000' & \
         while [ ! -s {} ]; do sleep 0.01; done; echo said; exit 1",
        pid.display(),
        pid.display()
    );
    // It would be waited for to its end if its output were read to the end.
    let (ended, detail) = sh(&script, PATIENT);
    assert_eq!(ended, Ended::Failed);
    assert!(detail.ends_with("ended with 1: said"), "{detail}");
    let left: i32 = std::fs::read_to_string(pid)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(left),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
}
