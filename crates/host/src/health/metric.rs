//! A number of a Prometheus endpoint within bounds.

use std::time::Duration;

use twinroot_core::health::Outcome as Ended;

use super::{Answer, probe};

/// Endpoints of a node exporter have some hundred KiB.
const LIMIT: u64 = 8 * 1024 * 1024;

pub(super) fn bound(
    url: &str,
    metric: &str,
    at_least: Option<i64>,
    at_most: Option<i64>,
    timeout: Duration,
) -> Answer {
    match probe::text(url, LIMIT, timeout) {
        Err(answer) => answer,
        Ok(text) => judge(&text, metric, at_least, at_most),
    }
}

/// Exposition format: `name{labels} value [timestamp]`. The series must be there exactly as named.
fn judge(text: &str, metric: &str, at_least: Option<i64>, at_most: Option<i64>) -> Answer {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    let value = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    let Some(value) = value else {
        return (Ended::Failed, format!("there is no number {metric}"));
    };
    // Bounds are small whole numbers; a float holds them exactly up to 2^53. NaN is within no bounds.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let within = at_least.is_none_or(|bound| value >= bound as f64)
        && at_most.is_none_or(|bound| value <= bound as f64)
        && !value.is_nan();
    let ended = if within { Ended::Passed } else { Ended::Failed };
    (ended, format!("{metric} is {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# HELP up x\nup 1\nup_total 7\nerrors{code=\"500\"} 3 1700000000\nodd NaN\nbig +Inf\n";

    fn ended(metric: &str, at_least: Option<i64>, at_most: Option<i64>) -> Ended {
        judge(TEXT, metric, at_least, at_most).0
    }

    #[test]
    fn bounds_are_inclusive_and_series_are_taken_by_their_whole_name() {
        assert_eq!(ended("up", Some(1), Some(1)), Ended::Passed);
        assert_eq!(ended("up", Some(2), None), Ended::Failed);
        assert_eq!(ended("errors{code=\"500\"}", None, Some(3)), Ended::Passed);
        assert_eq!(ended("errors{code=\"500\"}", None, Some(2)), Ended::Failed);
    }

    #[test]
    fn what_is_missing_or_no_number_never_passes() {
        for metric in ["errors", "u", "down", "odd", ""] {
            assert_eq!(ended(metric, Some(0), None), Ended::Failed, "{metric}");
        }
        assert_eq!(ended("big", None, Some(10)), Ended::Failed);
    }
}
