//! Programs of the build host: what was run is named when it fails.

use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

thread_local! {
    /// Who speaks on this thread, where several scenarios are played at once.
    static SPEAKER: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on, what this thread says begins with this name.
pub fn speak_as(name: &str) {
    SPEAKER.with_borrow_mut(|speaker| *speaker = format!("{name}: "));
}

/// Says something to whoever watches.
pub fn say(text: &str) {
    SPEAKER.with_borrow(|speaker| {
        for line in text.lines() {
            println!("    {speaker}{line}");
        }
    });
}

/// Keeps everybody else out of a folder for as long as the file is open: scenarios that are played at once
/// want the same images.
///
/// # Errors
/// When the file that stands for the lock cannot be made or locked.
pub fn alone_in(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    std::fs::create_dir_all(folder)?;
    let lock = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    lock.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(lock)
}

/// Runs a program to its end and gives its standard output.
///
/// # Errors
/// When it cannot be started or ends with a failure; with what it said.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start `{}`", line_of(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({}): {}{}",
            line_of(command),
            output.status,
            String::from_utf8_lossy(&output.stdout).trim(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as a person would type it.
#[must_use]
pub fn line_of(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Where a program lies: in `PATH`, or where Debian keeps those of the administrator.
#[must_use]
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// A moment by which something must have happened.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    end: Instant,
    length: Duration,
}

impl Deadline {
    /// So many seconds from now.
    #[must_use]
    pub fn seconds(seconds: u64) -> Self {
        let length = Duration::from_secs(seconds);
        Self {
            end: Instant::now() + length,
            length,
        }
    }

    /// What is left of it.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Nothing is left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// How long it was, for messages.
    #[must_use]
    pub const fn length(&self) -> Duration {
        self.length
    }
}

/// The workspace's folder: this package lies directly below it.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in a folder of the workspace")
}

/// Cargo's target folder, wherever the caller has put it.
#[must_use]
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => workspace().join(folder),
        None => workspace().join("target"),
    }
}
