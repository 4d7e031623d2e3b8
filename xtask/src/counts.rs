//! Counts of real test runs, read from what the runners print.
//!
//! A test that cannot run on this machine prints one line `SKIP <reason>` and returns. The runner calls
//! that 'passed'; here it is taken out of the passed ones and counted as skipped, with its reason, so
//! that a run on a bare machine cannot look greener than it is.

use std::collections::BTreeSet;
use std::fmt;

/// Results of one or several runs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Tests that ran and held.
    pub passed: u64,
    /// Tests that ran and did not hold.
    pub failed: u64,
    /// Tests that did not run: ignored, or skipped by themselves.
    pub skipped: u64,
    /// The reasons of those that skipped themselves.
    pub reasons: BTreeSet<String>,
}

impl Counts {
    /// Adds the results of another run.
    pub fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.reasons.extend(other.reasons);
    }

    /// Moves `skips` tests from passed to skipped: the runner saw them return without a panic.
    fn with_skips(mut self, skips: &Skips) -> Self {
        let count = skips.count.min(self.passed);
        self.passed -= count;
        self.skipped += count;
        self.reasons.extend(skips.reasons.iter().cloned());
        self
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[derive(Debug, Default)]
struct Skips {
    count: u64,
    reasons: BTreeSet<String>,
    seen_in_this_test: bool,
}

impl Skips {
    /// Takes one line of output; `starts_test` says that another test's output begins here.
    fn line(&mut self, line: &str, starts_test: bool) {
        if starts_test {
            self.seen_in_this_test = false;
        }
        if let Some(reason) = line.trim_start().strip_prefix("SKIP ") {
            self.reasons.insert(reason.trim().to_owned());
            self.count += u64::from(!self.seen_in_this_test);
            self.seen_in_this_test = true;
        }
    }
}

/// Reads the output of `cargo test … -- --show-output` (several test binaries, or doc tests).
pub fn of_cargo_test(output: &str) -> Counts {
    let mut counts = Counts::default();
    let mut skips = Skips::default();
    for line in output.lines() {
        skips.line(line, line.starts_with("---- "));
        let Some((_, figures)) = line.split_once("test result: ") else {
            continue;
        };
        // `ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
        let figures = figures.split_once(". ").map_or("", |(_, rest)| rest);
        for part in figures.split(';') {
            add_figure(&mut counts, part.trim());
        }
    }
    counts.with_skips(&skips)
}

/// Reads the output of `cargo nextest run --success-output immediate`.
pub fn of_nextest(output: &str) -> Counts {
    let mut counts = Counts::default();
    let mut skips = Skips::default();
    for line in output.lines() {
        skips.line(line, is_nextest_result(line));
        // `     Summary [   0.041s] 12 tests run: 11 passed (1 slow), 1 failed, 2 skipped`
        let Some((_, figures)) = line
            .trim_start()
            .strip_prefix("Summary [")
            .and_then(|rest| rest.split_once("run: "))
        else {
            continue;
        };
        counts = Counts::default();
        for part in figures.split(',') {
            add_figure(&mut counts, part.trim());
        }
    }
    counts.with_skips(&skips)
}

/// `        PASS [   0.006s] (1/3) package::binary test_name`
fn is_nextest_result(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (verdict, bracket) = (words.next(), words.next());
    bracket.is_some_and(|word| word.starts_with('['))
        && verdict.is_some_and(|word| word.chars().all(|c| c.is_ascii_uppercase() || c == '-'))
}

/// Adds `5 passed`, `1 timed out`, `2 ignored`… to the right count.
fn add_figure(counts: &mut Counts, figure: &str) {
    let mut words = figure.split_whitespace();
    let (Some(number), Some(what)) = (
        words.next().and_then(|n| n.parse::<u64>().ok()),
        words.next(),
    ) else {
        return;
    };
    match what {
        "passed" => counts.passed += number,
        "failed" | "timed" | "exec" => counts.failed += number,
        "ignored" | "skipped" => counts.skipped += number,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_binaries_of_cargo_test_add_up() {
        let output = "\
running 2 tests\n\
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s\n";
        let counts = of_cargo_test(output);
        assert_eq!((counts.passed, counts.failed, counts.skipped), (5, 4, 1));
    }

    #[test]
    fn a_test_that_skips_itself_is_not_counted_as_passed() {
        let output = "\
---- reads_python stdout ----\n\
SKIP no python3 here\n\
SKIP no python3 here, second half\n\
---- other stdout ----\n\
SKIP no veritysetup here\n\
test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let counts = of_cargo_test(output);
        assert_eq!((counts.passed, counts.failed, counts.skipped), (3, 0, 2));
        assert_eq!(counts.reasons.len(), 3);
    }

    #[test]
    fn the_summary_of_nextest_is_read_and_its_skips_taken_out() {
        let output = "        PASS [   0.004s] (1/3) xtask a::b\n  stdout ───\n\n    running 1 test\n    SKIP no tool\n\n        \
PASS [   0.004s] (2/3) xtask c\n     Summary [   0.012s] 4 tests run: 2 passed (1 slow), 1 failed, 1 timed out, 3 skipped\n";
        let counts = of_nextest(output);
        assert_eq!((counts.passed, counts.failed, counts.skipped), (1, 2, 4));
        assert!(counts.reasons.contains("no tool"));
    }

    #[test]
    fn output_without_a_summary_counts_nothing() {
        assert_eq!(of_nextest("error: could not compile"), Counts::default());
        assert_eq!(of_cargo_test("error: could not compile"), Counts::default());
    }
}
