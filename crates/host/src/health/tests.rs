use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;

use twinroot_trust::time::Seconds;

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

#[test]
fn a_later_folder_replaces_a_check_of_the_image_and_a_dangling_one_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (image, etc) = (home.path().join("image"), home.path().join("etc"));
    let define = |folder: &Path, file: &str, unit: &str| {
        std::fs::create_dir_all(folder).unwrap();
        let text = format!(
            "[[check]]\nname = \"{file}\"\nkind = \"unit\"\nunit = \"{unit}\"\ntimeout = \"3s\"\n"
        );
        let path = folder.join(format!("{file}.toml"));
        std::fs::File::create(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    };
    define(&image, "20-b", "b");
    define(&image, "10-a", "a");
    define(&etc, "20-b", "other");
    let runner = Runner::new(
        vec![image, etc.clone(), home.path().join("none")],
        Box::new(no_manager()),
    );
    let checks = runner.local_checks().unwrap();
    let units: Vec<&Kind> = checks.iter().map(|check| &check.kind).collect();
    assert_eq!(
        units,
        [
            &Kind::Unit { unit: "a".into() },
            &Kind::Unit {
                unit: "other".into()
            }
        ]
    );
    assert_eq!(checks[0].timeout, Seconds(3));
    let results = runner.run(&checks).unwrap();
    assert!(
        results.iter().all(|result| result.outcome == Ended::NotRun),
        "{results:?}"
    );

    std::os::unix::fs::symlink("/nowhere", etc.join("30-c.toml")).unwrap();
    assert_eq!(
        runner.local_checks().unwrap_err().code,
        Code::HealthCheckInvalid
    );
}
