//! When a node may restart by itself: maintenance windows, freezes, and how long before a window the
//! fallback slot may be overwritten.
//!
//! Windows are civil times in one IANA zone; everything that comes out is Unix time. The zone's rules
//! come in as the bytes of its TZif file, read by `host`: no table of zones is linked, and a zone that
//! the image lacks is refused by name instead of being taken for UTC.
//!
//! Where a night in spring has no 02:30, a window that starts then does not open that night; where a
//! night in autumn has it twice, it opens at the first. systemd's calendar does the same, and is the
//! oracle of the property test (`tests/tests/window_oracle.rs`).

mod text;
mod zone;

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use twinroot_trust::manifest::Severity;
use twinroot_trust::time::{Seconds, UnixTime};

pub use text::{Freeze, Minute, Weekdays, Window};
pub use zone::Zone;

/// Days that are looked through for the next window: a year and the days of a leap one, since a
/// freeze may hide every weekly window for months and no rule repeats more seldom than yearly.
const HORIZON: i32 = 400;
/// Longest window, so that a look back of that many days finds every one that may still be open.
pub const LONGEST: Seconds = Seconds(7 * 86_400);

/// Whether a restart is allowed at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opening {
    /// It is, until then; without an end where there are neither windows nor freezes ahead.
    Open {
        /// The first second in which it is not any more.
        until: Option<UnixTime>,
    },
    /// Not before then.
    At(UnixTime),
    /// Not within the time looked at: every window is hidden or for more severe releases.
    Never,
}

/// The owner's times for restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Where days and hours are counted.
    pub zone: Zone,
    /// When restarts are allowed; none means at any time.
    pub windows: Vec<Window>,
    /// Days on which nothing restarts, whatever the windows say.
    pub freezes: Vec<Freeze>,
    /// How long before a window opens the fallback slot may be overwritten.
    pub stage_lead: Seconds,
}

/// A span of time, the end not in it.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: UnixTime,
    end: UnixTime,
}

impl Schedule {
    /// At any time.
    #[must_use]
    pub const fn always() -> Self {
        Self {
            zone: Zone::utc(),
            windows: Vec::new(),
            freezes: Vec::new(),
            stage_lead: Seconds(0),
        }
    }

    /// Whether a release of that severity may restart the node at `now`, or when.
    #[must_use]
    pub fn opening(&self, now: UnixTime, severity: Severity) -> Opening {
        let freezes = self.frozen(severity);
        let best = if self.windows.is_empty() {
            let forever = Span {
                start: now,
                end: UnixTime(i64::MAX),
            };
            first_free(forever, &freezes)
        } else {
            self.spans(now, severity)
                .into_iter()
                .filter(|span| span.end > now)
                .filter_map(|span| {
                    let start = span.start.max(now);
                    first_free(Span { start, ..span }, &freezes)
                })
                .min_by_key(|span| span.start)
        };
        match best {
            None => Opening::Never,
            Some(span) if span.start > now => Opening::At(span.start),
            Some(span) => Opening::Open {
                until: (span.end.0 < i64::MAX).then_some(span.end),
            },
        }
    }

    /// When the fallback slot may be overwritten for a release of that severity: so long before the
    /// next opening that the old release stays a fallback until it is needed no more.
    #[must_use]
    pub fn staging(&self, now: UnixTime, severity: Severity) -> Opening {
        match self.opening(now, severity) {
            Opening::At(at) => {
                let from = UnixTime(at.0.saturating_sub_unsigned(self.stage_lead.0));
                if from <= now {
                    Opening::Open { until: None }
                } else {
                    Opening::At(from)
                }
            }
            open @ (Opening::Open { .. } | Opening::Never) => open,
        }
    }

    /// Windows that may be open at or after `now`, in order of their starts.
    fn spans(&self, now: UnixTime, severity: Severity) -> Vec<Span> {
        let today = self.zone.day_of(now);
        // One day more, since a zone's day may begin before the UTC day of the same name.
        let back = i32::try_from(LONGEST.0 / 86_400).unwrap_or(i32::MAX) + 1;
        let mut spans = Vec::new();
        for offset in -back..HORIZON {
            let Some(day) = self.zone.day_after(today, offset) else {
                continue;
            };
            for window in self.windows.iter().filter(|w| w.severity <= severity) {
                if !window.days.contains(day.weekday()) {
                    continue;
                }
                if let Some(start) = self.zone.at(day, window.start) {
                    let end = start.plus(window.length);
                    spans.push(Span { start, end });
                }
            }
            // A few openings after now are enough unless freezes hide them.
            if self.freezes.is_empty() && spans.iter().any(|span| span.start > now) && offset > 0 {
                break;
            }
        }
        spans
    }

    /// Freezes that hold for that severity, as spans.
    fn frozen(&self, severity: Severity) -> Vec<Span> {
        let holds = |freeze: &&Freeze| {
            freeze
                .except
                .is_none_or(|let_through| severity < let_through)
        };
        let span = |freeze: &Freeze| {
            Some(Span {
                start: self.zone.begins(freeze.first)?,
                end: self.zone.begins(freeze.last.tomorrow().ok()?)?,
            })
        };
        self.freezes.iter().filter(holds).filter_map(span).collect()
    }
}

/// The first part of a span that no freeze covers.
fn first_free(span: Span, freezes: &[Span]) -> Option<Span> {
    let mut start = span.start;
    // Each freeze can push the start once; more rounds change nothing.
    for _ in 0..=freezes.len() {
        match freezes.iter().find(|f| f.start <= start && start < f.end) {
            Some(freeze) => start = freeze.end,
            None => break,
        }
    }
    let next = freezes.iter().map(|f| f.start).filter(|s| *s > start).min();
    let end = next.map_or(span.end, |next| next.min(span.end));
    (start < end).then_some(Span { start, end })
}

#[cfg(test)]
mod tests;
