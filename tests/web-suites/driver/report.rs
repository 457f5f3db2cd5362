//! The outcome of a run.

use crate::page::End;
use std::collections::BTreeMap;
use std::time::Duration;

/// A test that takes longer than this is listed at the end.
const LONG: Duration = Duration::from_secs(5);

/// What has happened so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: usize,
    /// The failed tests and other mistakes, each with its reason.
    failures: Vec<String>,
    /// The number of tests that were skipped for each reason.
    skipped: BTreeMap<String, usize>,
    /// The time of all tests.
    total: Duration,
    long: Vec<(Duration, String)>,
}

impl Report {
    /// Notes and prints the end of a test.
    pub(crate) fn add(&mut self, name: &str, end: End, duration: Duration) {
        self.total += duration;
        if duration > LONG {
            self.long.push((duration, name.to_string()));
        }
        let (word, reason) = match end {
            End::Passed => ("ok", None),
            End::Failed(reason) => ("FAILED", Some(reason)),
            End::Hung => {
                ("HUNG", Some(format!("no end after {}, and no further call of the device", seconds(duration))))
            }
        };
        println!("test {name} ... {word} ({})", seconds(duration));
        match reason {
            None => self.passed += 1,
            Some(reason) => self.complain(format!("{name}: {reason}")),
        }
    }

    /// Notes a test that was not run.
    pub(crate) fn skip(&mut self, reason: &str) {
        *self.skipped.entry(reason.to_string()).or_default() += 1;
    }

    /// Notes and prints a failure.
    pub(crate) fn complain(&mut self, complaint: String) {
        println!("    {}", complaint.replace('\n', "\n    "));
        self.failures.push(complaint);
    }

    /// Prints the summary. Returns whether nothing failed.
    pub(crate) fn conclude(mut self) -> bool {
        println!("\n{} failures:", self.failures.len());
        for failure in &self.failures {
            println!("---- {failure}");
        }
        for (reason, tests) in &self.skipped {
            println!("skipped {tests}: {reason}");
        }
        self.long.sort();
        for (duration, name) in self.long.iter().rev() {
            println!("took {}: {name}", seconds(*duration));
        }
        println!("\n{}", self.result());
        self.failures.is_empty()
    }

    fn result(&self) -> String {
        let word = if self.failures.is_empty() { "ok" } else { "FAILED" };
        format!(
            "test result: {word}. {} passed; {} failed; {} skipped; finished in {}",
            self.passed,
            self.failures.len(),
            self.skipped.values().sum::<usize>(),
            seconds(self.total)
        )
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_counts_each_end() {
        let mut report = Report::default();
        report.add("ops::a", End::Passed, Duration::from_millis(1500));
        report.skip("needs threads");
        report.skip("needs files");
        assert_eq!(report.result(), "test result: ok. 1 passed; 0 failed; 2 skipped; finished in 1.50 s");
        report.add("ops::b", End::Failed("wrong".into()), Duration::from_millis(250));
        report.add("ops::c", End::Hung, Duration::from_secs(300));
        report.complain("a pattern that matches nothing".into());
        assert_eq!(report.result(), "test result: FAILED. 1 passed; 3 failed; 2 skipped; finished in 301.75 s");
        assert!(report.failures[1].starts_with("ops::c: ") && report.failures[1].contains("no end after 300.00 s"));
        assert!(!report.conclude());
    }
}
