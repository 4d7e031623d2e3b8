//! The command server inside the guest. Part of the `test` variant only: it gives whoever holds the
//! virtio serial port all of root's power.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use twinroot_vm_guest::wire::{Answer, Ask, CHUNK, PORT, Request, Said};

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("twinroot-vm-guest: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), String> {
    let path = port()?;
    let shown = path.display();
    let open = OpenOptions::new().read(true).write(true).open(&path);
    let port = open.map_err(|error| format!("{shown}: {error}"))?;
    let writer = port
        .try_clone()
        .map_err(|error| format!("{shown}: {error}"))?;
    let writer = Arc::new(Mutex::new(writer));
    let mut reader = BufReader::new(port);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader
            .read_until(b'\n', &mut line)
            .map_err(|error| format!("{shown}: {error}"))?;
        if read == 0 {
            // Nobody holds the other end: the service manager starts the server again.
            return Err(format!("{shown}: nobody is connected"));
        }
        // What an earlier boot left half-said is no request.
        let Ok(request) = serde_json::from_slice::<Request>(&line) else {
            continue;
        };
        let writer = Arc::clone(&writer);
        // A thread each, so that a long command does not hold up the next question.
        std::thread::spawn(move || answer(request, &writer));
    }
}

/// The device of the port with our name, by the kernel's own list (no udev rule is needed for it).
fn port() -> Result<PathBuf, String> {
    let class = "/sys/class/virtio-ports";
    let listed = std::fs::read_dir(class).map_err(|error| format!("{class}: {error}"))?;
    for entry in listed.flatten() {
        let name = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim() == PORT {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    Err(format!("{class}: no port is called {PORT}"))
}

fn answer(request: Request, writer: &Mutex<File>) {
    let said = act(request.ask).unwrap_or_else(|cause| Said::Failed { cause });
    let answer = Answer {
        id: request.id,
        said,
    };
    let Ok(mut line) = serde_json::to_vec(&answer) else {
        return;
    };
    line.push(b'\n');
    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = writer.write_all(&line) {
        eprintln!("twinroot-vm-guest: an answer was lost: {error}");
    }
}

fn act(ask: Ask) -> Result<Said, String> {
    let io = |path: &str, error: std::io::Error| format!("{path}: {error}");
    match ask {
        Ask::Hello => {
            let path = "/proc/sys/kernel/random/boot_id";
            let id = std::fs::read_to_string(path).map_err(|error| io(path, error))?;
            Ok(Said::Here {
                boot_id: id.trim().to_owned(),
            })
        }
        Ask::Run { argv } => run(&argv),
        Ask::Get { path, offset } => {
            let mut file = File::open(&path).map_err(|error| io(&path, error))?;
            file.seek(SeekFrom::Start(offset))
                .map_err(|error| io(&path, error))?;
            let mut bytes = Vec::new();
            file.take(CHUNK as u64)
                .read_to_end(&mut bytes)
                .map_err(|error| io(&path, error))?;
            Ok(Said::Bytes {
                bytes: STANDARD.encode(bytes),
            })
        }
        Ask::Put {
            path,
            offset,
            bytes,
        } => {
            put(&path, offset, &bytes)?;
            Ok(Said::Done)
        }
        Ask::SetClock { seconds } => {
            clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, 0))
                .map_err(|errno| format!("the clock cannot be set: {errno}"))?;
            Ok(Said::Done)
        }
    }
}

fn put(path: &str, offset: u64, text: &str) -> Result<(), String> {
    let io = |error: std::io::Error| format!("{path}: {error}");
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| format!("{path}: not base64: {error}"))?;
    if let Some(parent) = std::path::Path::new(path).parent() {
        std::fs::create_dir_all(parent).map_err(io)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(offset == 0)
        .open(path)
        .map_err(io)?;
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    file.write_all(&bytes).map_err(io)
}

fn run(argv: &[String]) -> Result<Said, String> {
    let (program, args) = argv.split_first().ok_or("no program is named")?;
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let signal = output.status.signal().map(|signal| 128 + signal);
    Ok(Said::Ended {
        code: output.status.code().or(signal).unwrap_or(-1),
        stdout: STANDARD.encode(&output.stdout),
        stderr: STANDARD.encode(&output.stderr),
    })
}
