//! What the others on the machine notice: latency of a neighbour's fsync, and memory with the page cache
//! counted, by running the node in a memory cgroup of its own.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What a neighbour writes before each flush, in bytes: a small database's page.
const PAGE: usize = 4096;
/// Between two writes of the neighbour: a busy database, yet far from keeping the disk busy itself.
const PAUSE: Duration = Duration::from_millis(5);

/// Latency of a neighbour's fsync, of flushes of the same number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// 99th percentile in milliseconds while nothing is staged.
    pub idle_ms: f64,
    /// The same while a release is staged.
    pub busy_ms: f64,
    /// Flushes behind the busy figure.
    pub flushes: usize,
}

impl Neighbour {
    /// Of latencies at rest and under way.
    pub fn of(idle: &[Duration], busy: &[Duration]) -> Result<Self> {
        let p99 = |of| Ok::<_, anyhow::Error>(percentile(of, 99)?.as_secs_f64() * 1e3);
        Ok(Self {
            idle_ms: p99(idle)?,
            busy_ms: p99(busy)?,
            flushes: busy.len(),
        })
    }
}

/// Runs `work` while a neighbour flushes a file in `folder`; gives the latency of each flush.
pub fn fsync_during<T>(
    folder: &Path,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<Duration>)> {
    let path = folder.join("neighbour");
    let file = File::create(&path).context("cannot make the neighbour's file")?;
    let over = AtomicBool::new(false);
    let (done, latencies) = std::thread::scope(|scope| {
        let neighbour = scope.spawn(|| flush_until(&file, &over));
        let done = work();
        over.store(true, Ordering::Relaxed);
        let latencies = neighbour.join().expect("the neighbour does not panic");
        (done, latencies)
    });
    std::fs::remove_file(&path).context("cannot remove the neighbour's file")?;
    Ok((done?, latencies?))
}

fn flush_until(mut file: &File, over: &AtomicBool) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&[0x5a; PAGE]))
            .and_then(|()| file.sync_all())
            .context("the neighbour cannot write")?;
        latencies.push(start.elapsed());
        std::thread::park_timeout(PAUSE);
    }
    Ok(latencies)
}

fn percentile(values: &[Duration], percent: usize) -> Result<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    // Nearest rank: the least value that so many percent of all do not exceed.
    let rank = (sorted.len() * percent).div_ceil(100);
    match rank.checked_sub(1) {
        Some(at) => Ok(sorted[at]),
        None => bail!("the neighbour never flushed"),
    }
}

/// A memory cgroup that ends with this value.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
    peak: &'static str,
}

impl Cgroup {
    /// A cgroup that may hold `limit` bytes, page cache included. `Err` says why there can be none.
    pub fn new(limit: u64) -> Result<Self> {
        let name = format!("twinroot-bench-{}", std::process::id());
        // Version 1 and 2 name the same things differently.
        for (parent, most, peak) in [
            (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.max_usage_in_bytes",
            ),
            ("/sys/fs/cgroup", "memory.max", "memory.peak"),
        ] {
            let folder = Path::new(parent).join(&name);
            if std::fs::create_dir(&folder).is_err() {
                continue;
            }
            let cgroup = Self { folder, peak };
            if std::fs::write(cgroup.folder.join(most), limit.to_string()).is_ok() {
                return Ok(cgroup);
            }
        }
        bail!("no memory cgroup can be made here")
    }

    /// Puts a command into it.
    pub fn wrap(&self, command: &Command) -> Command {
        let mut wrapped = Command::new("sh");
        wrapped.args(["-c", "echo $$ >\"$1\" && shift && exec \"$@\"", "sh"]);
        wrapped
            .arg(self.folder.join("cgroup.procs"))
            .arg(command.get_program())
            .args(command.get_args());
        wrapped
    }

    /// The most bytes that it held.
    pub fn peak(&self) -> Result<u64> {
        let path = self.folder.join(self.peak);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        text.trim()
            .parse()
            .context("the cgroup's peak is no number")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A cgroup that stays behind is empty and harms nobody.
        if let Err(error) = std::fs::remove_dir(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_watched_for_as_long_as_the_work_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let work = || {
            std::thread::sleep(Duration::from_millis(200));
            Ok(7)
        };
        let (done, latencies) = fsync_during(dir.path(), work).unwrap();
        assert_eq!(done, 7);
        assert!(latencies.len() > 2, "{latencies:?}");
        assert!(latencies.iter().all(|one| *one > Duration::ZERO));
        assert!(!dir.path().join("neighbour").exists());
    }

    #[test]
    fn the_ninety_ninth_of_a_hundred_is_the_percentile() {
        let values: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 99).unwrap(), Duration::from_millis(99));
        assert!(percentile(&[], 99).is_err());
        let slow: Vec<_> = values.iter().map(|one| *one * 2).collect();
        let both = Neighbour::of(&values, &slow).unwrap();
        assert_eq!(
            (both.idle_ms, both.busy_ms, both.flushes),
            (99.0, 198.0, 100)
        );
    }
}
