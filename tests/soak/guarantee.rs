//! Random programs in which every refusal is checked against the guarantee of `Pool::allocate`.

use crate::budget::Budget;
use crate::requests::{Budgeted, run_programs};
use crate::subjects::{Accounting, Host};

/// Half of the programs pin blocks.
fn soak<S: Budgeted>(budget: &Budget) {
    let programs = budget.seeds().map(|seed| (seed, if seed % 2 == 0 { 0 } else { 4 }));
    let (mut count, mut refused, mut served) = (0, 0, 0);
    for (seed, most_pins) in programs {
        let counts = run_programs::<S>(std::iter::once(seed), 100, most_pins);
        (count, refused, served) = (count + counts.programs, refused + counts.refused, served + counts.served);
    }
    budget.report(&format!(
        "{count} programs, {served} requests served and {refused} refused, each of which did not fit"
    ));
}

#[test]
fn every_refusal_on_an_accounting_memory_is_of_a_request_that_does_not_fit() {
    soak::<Accounting>(&Budget::new("guarantee, accounting", 20));
}

#[test]
fn every_refusal_on_the_host_is_of_a_request_that_does_not_fit() {
    soak::<Host>(&Budget::new("guarantee, host", 10));
}
