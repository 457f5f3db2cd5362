//! Repeated steps at the edges: nested steps in dry runs, extreme options, and steps that leave out much of their plan.

use crate::common::Outcome;
use crate::subjects::{assert_consistent, options};
use wgpu_pool::{
    AccountingMemory, AllocateError, DeviationCause, Pool, PoolOptions, RepeatError, RepeatOptions, Storage,
};

fn accounting() -> Pool<AccountingMemory> {
    Pool::new(AccountingMemory::new(), options()).expect("the options suit every memory")
}

#[test]
fn a_step_in_a_step_is_refused_in_a_dry_run_as_in_the_program() -> Outcome {
    let (pool, other) = (accounting(), accounting());
    let [outer, inner] = [&pool, &pool].map(|pool| pool.repeat(RepeatOptions::default()));
    let of_other = other.repeat(RepeatOptions::default());
    let program = || {
        let same = outer.run(|| outer.run(|| ()));
        let nested = outer.run(|| (inner.run(|| ()), of_other.run(|| ())));
        (same, nested, inner.run(|| ()))
    };
    let wanted = (Ok(Err(RepeatError::Nested)), Ok((Err(RepeatError::Nested), Ok(()))), Ok(()));
    assert_eq!(program(), wanted);
    let (predicted, _) = pool.dry_run(program)?;
    assert_eq!(predicted, wanted);
    // A step in a dry run in a step.
    let between = outer.run(|| pool.dry_run(|| inner.run(|| ())).map(|(result, _)| result))?;
    assert_eq!(between, Ok(Err(RepeatError::Nested)));
    Ok(())
}

#[test]
fn after_a_panic_in_a_dry_run_no_step_is_in_progress() -> Outcome {
    let pool = accounting();
    let outer = pool.repeat(RepeatOptions::default());
    let (after, _) = pool.dry_run(|| {
        let step = || outer.run(|| std::panic::panic_any("expected"));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(step)).is_err();
        (panicked, outer.run(|| ()))
    })?;
    assert_eq!(after, (true, Ok(())));
    Ok(())
}

/// The largest options: a loop of steps that never repeat themselves.
#[test]
fn extreme_options_of_a_loop_change_no_result() -> Outcome {
    for (kinds, planning_time) in [
        (usize::MAX, std::time::Duration::MAX),
        (usize::MAX / 2 + 1, std::time::Duration::ZERO),
        (0, std::time::Duration::MAX),
    ] {
        let pool = accounting();
        let step = pool.repeat(RepeatOptions { kinds, planning_time });
        for run in 0..40 {
            step.run(|| pool.allocate(1000 + 5000 * run).map(drop))??;
        }
        assert_eq!(step.stats().runs, 40);
    }
    Ok(())
}

/// Allocates blocks of distinct sizes, apart from those of the numbers left out. At most four blocks are live at once.
fn distinct(pool: &Pool<AccountingMemory>, left_out: std::ops::Range<u64>) -> Result<(), AllocateError> {
    let mut live: Vec<(u64, Storage<AccountingMemory>)> = Vec::new();
    for number in (0..400).filter(|number| !left_out.contains(number)) {
        live.retain(|(other, _)| other + 4 > number);
        live.push((number, pool.allocate((number + 1) << 10)?));
    }
    Ok(())
}

#[test]
fn a_step_that_leaves_out_much_of_its_plan_follows_the_rest() -> Outcome {
    for left_out in [0, 1, 31, 32, 33, 100, 250, 299] {
        let pool = accounting();
        let step = pool.repeat(RepeatOptions { kinds: 1, ..RepeatOptions::default() });
        for _ in 0..3 {
            step.run(|| distinct(&pool, 0..0))??;
        }
        let before = step.stats();
        assert_eq!((before.agreeing, before.plans), (2, 1));
        step.run(|| distinct(&pool, 100..100 + left_out))??;
        let after = step.stats();
        assert_eq!(after.planned_requests - before.planned_requests, 400 - left_out, "{left_out} are left out");
        assert_eq!(after.heap_requests, before.heap_requests);
        if left_out > 0 {
            let deviation = after.last_deviation.ok_or("the step differs")?;
            assert_eq!((deviation.request, deviation.cause), (100, DeviationCause::Size));
        }
        assert_consistent(&pool);
    }
    Ok(())
}

/// One more request, of the size of a distant one, is no reason to leave the place in the plan.
#[test]
fn a_request_like_a_distant_one_does_not_lose_the_place_in_the_plan() -> Outcome {
    let pool = accounting();
    let step = pool.repeat(RepeatOptions { kinds: 1, ..RepeatOptions::default() });
    let program = |at: Option<u64>| -> Result<(), AllocateError> {
        for number in 0..400 {
            if at == Some(number) {
                drop(pool.allocate(300 << 10)?);
            }
            drop(pool.allocate((number + 1) << 10)?);
        }
        Ok(())
    };
    for _ in 0..3 {
        step.run(|| program(None))??;
    }
    let before = step.stats();
    step.run(|| program(Some(100)))??;
    let after = step.stats();
    assert_eq!(after.planned_requests - before.planned_requests, 401);
    assert_eq!(after.heap_requests, before.heap_requests);
    Ok(())
}

/// A limit does not change what is planned of a step that leaves out requests.
#[test]
fn a_step_that_leaves_out_requests_stays_within_the_limit() -> Outcome {
    let pool = Pool::new(AccountingMemory::new(), PoolOptions { limit: Some(2 << 20), ..options() })?;
    let step = pool.repeat(RepeatOptions { kinds: 1, ..RepeatOptions::default() });
    for left_out in [0, 0, 0, 50, 200, 0] {
        step.run(|| distinct(&pool, 100..100 + left_out))??;
        assert_consistent(&pool);
    }
    Ok(())
}
