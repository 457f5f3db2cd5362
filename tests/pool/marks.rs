//! Growth between two marks, and loops that must not grow.

use crate::common::Outcome;
use crate::subjects::{Subject, options, over_every_memory};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgpu_pool::{HostMemory, Pool};

over_every_memory! {
    growth_between_two_marks_is_reported_by_call_site,
    a_loop_without_growth_passes_the_check,
    growth_after_the_warm_up_is_reported_with_the_call_site,
}

fn growth_between_two_marks_is_reported_by_call_site<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let shrinking = pool.allocate(5000)?;
    let _same = pool.allocate(100)?;
    let mark = pool.mark();
    let _grown = (0..2).map(|_| pool.allocate(1000)).collect::<Result<Vec<_>, _>>()?;
    drop(shrinking);
    let later = pool.mark();
    let _after = pool.allocate(1)?;
    let growth = mark.growth_to(&later);
    let found: Vec<(i64, i64)> = growth.holders.iter().map(|holder| (holder.bytes, holder.blocks)).collect();
    assert_eq!(found, [(2000, 2), (-5000, -1)]);
    assert_eq!(growth.bytes(), -3000);
    let text = growth.to_string();
    assert!(text.starts_with(&format!("+1.9 KiB in +2 blocks, {}:", file!())), "{text}");
    assert!(text.contains("\n-4.8 KiB in -1 block, "), "{text}");
    assert_eq!(pool.growth_since(&later).bytes(), 1);
    assert_eq!(mark.growth_to(&mark).to_string(), "no growth\n");
    Ok(())
}

fn a_loop_without_growth_passes_the_check<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut state = Vec::new();
    let mut check = pool.growth_check(2);
    for turn in 0..20_u64 {
        state.push(pool.allocate(1000)?);
        if turn >= 2 {
            state.remove(0);
        }
        drop(pool.allocate(100_000)?);
        check.assert_iteration();
    }
    Ok(())
}

fn growth_after_the_warm_up_is_reported_with_the_call_site<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut check = pool.growth_check(1);
    let mut kept = vec![pool.allocate(1000)?];
    check.check_iteration()?;
    check.check_iteration()?;
    kept.push(pool.allocate(500)?);
    let at = line!() - 1;
    let error = check.check_iteration().err().ok_or("it has grown")?;
    assert_eq!((error.iteration, error.allowed, error.requested), (3, 1000, 1500));
    let wanted = format!("+500 B in +1 block, {}:{at}:", file!());
    assert!(error.holders.len() == 1 && error.holders[0].to_string().starts_with(&wanted), "{error}");
    assert_eq!((error.holders[0].holder.blocks, error.holders[0].holder.bytes), (1, 500));
    check.check_iteration()?;
    Ok(())
}

#[test]
fn asserting_an_iteration_that_grows_panics_with_the_call_site() -> Outcome {
    let pool = Pool::new(HostMemory::default(), crate::common::options())?;
    let mut check = pool.growth_check(0);
    let _kept = pool.allocate(500)?;
    let panic = catch_unwind(AssertUnwindSafe(|| check.assert_iteration())).err().ok_or("it has grown")?;
    let text = panic.downcast_ref::<String>().ok_or("a text")?;
    assert!(
        text.starts_with(
            "iteration 1 ends with 500 B requested, 500 B more than allowed\n  +500 B in +1 block, tests/"
        ),
        "{text}"
    );
    Ok(())
}
