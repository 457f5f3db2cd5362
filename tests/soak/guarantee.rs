//! Random programs in which every refusal is checked against the guarantee of `Pool::allocate`.

use crate::budget::Budget;
use crate::requests::{Budgeted, run_programs};
use crate::subjects::{Accounting, Host};

/// The number of steps of a program.
const STEPS: usize = 100;

/// Runs the programs of a budget. Prints their number, and whether a long run reached its goal. Half of the programs pin blocks.
fn soak<S: Budgeted>(budget: &Budget, goal: u64) {
    let programs = budget.seeds().map(|seed| (seed, if seed % 2 == 0 { 0 } else { 4 }));
    let (mut count, mut refused, mut served) = (0, 0, 0);
    for (seed, most_pins) in programs {
        let counts = run_programs::<S>(std::iter::once(seed), STEPS, most_pins);
        (count, refused, served) = (count + counts.programs, refused + counts.refused, served + counts.served);
    }
    let reached = budget.compared(count, goal);
    budget.report(&format!(
        "{count} programs of {STEPS} steps{reached}, {served} requests served and {refused} refused, each of which did not fit"
    ));
}

#[test]
fn every_refusal_on_an_accounting_memory_is_of_a_request_that_does_not_fit() {
    soak::<Accounting>(&Budget::new("guarantee, accounting", 20), 1_000_000);
}

#[test]
fn every_refusal_on_the_host_is_of_a_request_that_does_not_fit() {
    soak::<Host>(&Budget::new("guarantee, host", 10), 100_000);
}
