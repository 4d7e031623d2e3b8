//! What a child process cost: wall, CPU, peak memory, and the largest file it held open on the side.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};

use crate::run;

/// How often a running child is looked at. The kernel keeps the memory's high-water mark itself, so
/// only a peak in the child's very last moment can be missed; files are seen while they are open.
const LOOK: Duration = Duration::from_millis(2);

/// The cost of one program's run.
#[derive(Debug, Clone)]
pub struct Usage {
    /// From start to end.
    pub wall: Duration,
    /// User and system time of the program and of children it waited for.
    pub cpu: Duration,
    /// High-water mark of resident memory, in bytes.
    pub peak_rss: u64,
    /// Regular files that were open, with the largest size seen, in bytes.
    pub files: BTreeMap<PathBuf, u64>,
    /// How often the child was looked at.
    pub looks: u64,
    /// What it printed.
    pub stdout: String,
    /// When it first said the line that was waited for: wall and CPU until then.
    pub marked: Option<(Duration, Duration)>,
}

impl Usage {
    /// The largest open file that `known` does not recognise as one the program is meant to write.
    pub fn largest_file_but(&self, known: impl Fn(&Path) -> bool) -> Option<(&Path, u64)> {
        let others = self.files.iter().filter(|(path, _)| !known(path));
        others
            .map(|(path, size)| (path.as_path(), *size))
            .max_by_key(|(_, size)| *size)
    }
}

/// Runs the command to its end and says what it cost; a failing command is an error.
///
/// Must not run while another child is being waited for: CPU time is the growth of this process's
/// account of waited-for children.
pub fn measure(command: &mut Command) -> Result<Usage> {
    watch(command, None)
}

/// The same, and notes the moment at which the program begins a line of its standard error with `mark`.
pub fn measure_until(command: &mut Command, mark: &str) -> Result<Usage> {
    watch(command.stderr(Stdio::piped()), Some(mark))
}

fn watch(command: &mut Command, mark: Option<&str>) -> Result<Usage> {
    let line = run::line_of(command);
    let before = children_cpu()?;
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let mut watch = Watch::default();
    let mut marked = None;
    let mut said = String::new();
    let over = AtomicBool::new(false);
    let (output, wall) = std::thread::scope(|scope| {
        let pid = child.id();
        if let (Some(stderr), Some(mark)) = (child.stderr.take(), mark) {
            let (marked, said) = (&mut marked, &mut said);
            scope.spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    if marked.is_none() && line.trim_start().starts_with(mark) {
                        *marked = cpu_so_far(pid).map(|cpu| (start.elapsed(), cpu));
                    }
                    said.push_str(&line);
                    said.push('\n');
                }
            });
        }
        let (watch, over) = (&mut watch, &over);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                watch.look(pid);
                std::thread::park_timeout(LOOK);
            }
        });
        let output = Child::wait_with_output(child);
        let wall = start.elapsed();
        over.store(true, Ordering::Relaxed);
        (output, wall)
    });
    let output = output.with_context(|| format!("cannot wait for `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({}) {}", output.status, said.trim());
    }
    Ok(Usage {
        wall,
        cpu: children_cpu()?.saturating_sub(before),
        peak_rss: watch.peak_rss,
        files: watch.files,
        looks: watch.looks,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        marked,
    })
}

/// User and system time of a running process with all its threads, in the kernel's ticks of 10 ms
/// (proc(5): `utime` and `stime`, the 14th and 15th field of `/proc/PID/stat`, in units of USER_HZ = 100).
fn cpu_so_far(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces: fields are counted from behind it, where the third begins.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}

fn children_cpu() -> Result<Duration> {
    let usage =
        getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask the kernel for CPU times")?;
    let micros = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000
            + u64::try_from(time.tv_usec()).unwrap_or(0)
    };
    Ok(Duration::from_micros(
        micros(usage.user_time()) + micros(usage.system_time()),
    ))
}

#[derive(Debug, Default)]
struct Watch {
    peak_rss: u64,
    files: BTreeMap<PathBuf, u64>,
    looks: u64,
}

impl Watch {
    /// Reads what `/proc` says of the child; a child that is gone changes nothing.
    fn look(&mut self, pid: u32) {
        self.looks += 1;
        if let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) {
            self.peak_rss = self.peak_rss.max(high_water(&status).unwrap_or(0));
        }
        let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
            return;
        };
        for link in entries.flatten().map(|entry| entry.path()) {
            // Following the link also sees files that are deleted or never had a name.
            let (Ok(path), Ok(meta)) = (std::fs::read_link(&link), std::fs::metadata(&link)) else {
                continue;
            };
            if meta.is_file() {
                let size = self.files.entry(path).or_default();
                *size = meta.len().max(*size);
            }
        }
    }
}

/// `VmHWM:      9216 kB` in bytes.
fn high_water(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix(" kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_child_shows_cpu_and_an_idle_one_does_not() {
        let busy = measure(
            Command::new("sh").args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]),
        )
        .unwrap();
        assert!(busy.cpu > Duration::from_millis(20), "{busy:?}");
        let idle = measure(Command::new("sleep").arg("0.2")).unwrap();
        assert!(
            idle.wall >= Duration::from_millis(200) && idle.cpu < Duration::from_millis(100),
            "{idle:?}"
        );
        assert!(idle.peak_rss > 100_000, "{idle:?}");
    }

    #[test]
    fn a_deleted_temporary_file_is_seen_while_it_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let script = "exec 3>big; rm big; head -c 3000000 /dev/zero >&3; sleep 0.2";
        let usage = measure(
            Command::new("sh")
                .args(["-c", script])
                .current_dir(dir.path()),
        )
        .unwrap();
        let (path, size) = usage.largest_file_but(|_| false).unwrap();
        assert!(path.to_string_lossy().contains("big"), "{usage:?}");
        assert_eq!(size, 3_000_000);
    }

    #[test]
    fn cost_is_split_at_the_line_that_was_waited_for() {
        let script = "echo early >&2; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo 'half way' >&2; sleep 0.3";
        let usage = measure_until(Command::new("sh").args(["-c", script]), "half").unwrap();
        let (wall, cpu) = usage.marked.unwrap();
        assert!(cpu >= Duration::from_millis(20), "{usage:?}");
        assert!(usage.wall - wall >= Duration::from_millis(250), "{usage:?}");
        let never = measure_until(Command::new("sh").args(["-c", "echo x >&2"]), "half").unwrap();
        assert_eq!(never.marked, None);
    }

    #[test]
    fn a_failing_child_is_an_error() {
        assert!(measure(&mut Command::new("false")).is_err());
    }

    #[test]
    fn the_high_water_mark_is_read_in_bytes() {
        assert_eq!(
            high_water("Name:\tx\nVmHWM:\t    9216 kB\n"),
            Some(9216 * 1024)
        );
        assert_eq!(high_water("Name:\tx\n"), None);
    }
}
