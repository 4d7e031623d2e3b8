//! Ways in which a mirror, a proxy or an attacker may answer. Planted by tests, never by default.

use std::time::Duration;

/// What the answer to certain requests looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Requests whose path contains this text are hit.
    pub path: String,
    /// How often before the server behaves again; `None` for ever.
    pub times: Option<u32>,
    /// What happens.
    pub kind: Kind,
}

/// The misbehaviours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The body trickles at this many bytes a second.
    Slow(u32),
    /// A range answer that starts one byte early.
    WrongRange,
    /// The connection closes after this many bytes of body, before the announced end.
    Truncated(u64),
    /// 200 and the whole file where a range was asked for.
    IgnoreRange,
    /// A redirect to this location.
    Redirect(String),
    /// A body without end.
    Endless,
    /// This status and no body.
    Status(u16),
    /// The lowest bit of the byte at this offset of the file is flipped.
    Corrupt(u64),
}

impl Fault {
    /// A fault that hits every request whose path contains `path`.
    pub fn always(path: impl Into<String>, kind: Kind) -> Self {
        Self {
            path: path.into(),
            times: None,
            kind,
        }
    }

    /// A fault that hits the first `times` such requests.
    pub fn times(path: impl Into<String>, times: u32, kind: Kind) -> Self {
        Self {
            path: path.into(),
            times: Some(times),
            kind,
        }
    }
}

/// The first fault that fits the path, used up by one.
pub(super) fn take(faults: &mut [Fault], path: &str) -> Option<Fault> {
    let fault = faults
        .iter_mut()
        .find(|fault| fault.times != Some(0) && path.contains(&fault.path))?;
    if let Some(times) = &mut fault.times {
        *times -= 1;
    }
    Some(fault.clone())
}

/// Pieces a second in which a slow body goes out: fine enough that a client's throughput meter
/// sees a trickle and not bursts.
const PIECES: u32 = 10;

/// How fast the body goes out.
pub(super) struct Pace(Option<u32>);

impl Pace {
    pub(super) fn new(fault: Option<&Fault>) -> Self {
        Self(match fault.map(|fault| &fault.kind) {
            Some(Kind::Slow(rate)) => Some(*rate),
            _ => None,
        })
    }

    /// Bytes to send before the next rest.
    pub(super) fn chunk(&self, full: usize) -> usize {
        self.0
            .map_or(full, |rate| (rate.div_ceil(PIECES) as usize).clamp(1, full))
    }

    /// Being slow is what this fault is: it waits for nothing, it takes its time.
    pub(super) fn rest(&mut self) {
        if let Some(rate) = self.0 {
            let piece = rate.div_ceil(PIECES).max(1);
            std::thread::sleep(Duration::from_secs(1) * piece / rate.max(1));
        }
    }
}
