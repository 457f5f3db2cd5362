//! The duration of each part of the soak test.

use std::time::{Duration, Instant};

/// Returns the number in an environment variable.
///
/// # Panics
/// If the value does not parse as an integer.
fn number(name: &str) -> Option<f64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
}

/// The parts of the soak test, and their shares of the total time in percent.
const SHARES: [(&str, u32); 13] = [
    ("accounting", 15),
    ("host", 15),
    ("noop", 4),
    ("adapter", 17),
    ("gl", 4),
    ("guarantee, accounting", 5),
    ("guarantee, host", 2),
    ("flat", 13),
    ("training and decoding at 1.1 times the need", 10),
    ("threads, accounting", 2),
    ("threads, host", 2),
    ("threads, adapter", 3),
    ("faults", 8),
];

#[test]
fn the_parts_take_all_of_the_time_together() {
    assert_eq!(SHARES.iter().map(|(_, percent)| percent).sum::<u32>(), 100);
}

/// A part of the soak test: a share of the total time; in a short run, a number of rounds.
pub(crate) struct Budget {
    name: &'static str,
    began: Instant,
    time: Option<Duration>,
    rounds: u64,
    first_seed: u64,
}

impl Budget {
    /// # Panics
    /// If the part has no share.
    pub(crate) fn new(name: &'static str, rounds: u64) -> Self {
        let share = SHARES.iter().find(|(part, _)| *part == name);
        let percent = f64::from(share.unwrap_or_else(|| panic!("{name} has no share of the time")).1);
        let minutes = number("WGPU_POOL_SOAK_MINUTES");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a seed is any number")]
        let first_seed = number("WGPU_POOL_SOAK_SEED").map_or(0, |seed| seed as u64);
        let time = minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0 * percent / 100.0));
        Self { name, began: Instant::now(), time, rounds, first_seed }
    }

    /// Whether this is a long run.
    pub(crate) fn is_long(&self) -> bool {
        self.time.is_some()
    }

    /// Says whether a long run has reached its goal, for the summary. Empty in a short run.
    pub(crate) fn compared(&self, done: u64, goal: u64) -> String {
        let reached = if done >= goal { "reached" } else { "not reached" };
        if self.is_long() { format!(", the goal of {goal} {reached}") } else { String::new() }
    }

    /// The seeds of the rounds, until the time is over. The rounds of a short run always take place.
    pub(crate) fn seeds(&self) -> impl Iterator<Item = u64> + '_ {
        let goes_on = |round: &u64| *round < self.rounds || self.time.is_some_and(|time| self.began.elapsed() < time);
        (0..).take_while(goes_on).map(|round| self.first_seed + round)
    }

    /// Prints a summary.
    pub(crate) fn report(&self, what: &str) {
        println!("soak: {}: {what} in {:.1} s", self.name, self.began.elapsed().as_secs_f64());
    }
}
