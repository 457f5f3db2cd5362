//! Scopes: named parts of a program with their own counters.

use crate::common::Outcome;
use crate::subjects::{Subject, options, over_every_memory};
use wgpu_pool::{HostMemory, Pool, ScopeCounts};

over_every_memory! {
    nested_scopes_count_the_events_inside_them,
    a_scope_that_frees_more_than_it_allocates_has_a_negative_balance,
    blocks_of_a_scope_that_are_not_marked_as_outputs_are_listed,
    blocks_carry_the_path_of_their_scope,
}

// Case 26.
fn nested_scopes_count_the_events_inside_them<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let outer = pool.scope("outer");
    let _before = pool.allocate(7)?;
    let inner = pool.scope("inner");
    let mut live = (0..10).map(|_| pool.allocate(10)).collect::<Result<Vec<_>, _>>()?;
    live.truncate(5);
    let counts = inner.counts();
    assert_eq!(counts, ScopeCounts { current: 50, peak: 100, allocated: 100, freed: 50, blocks: 5 });
    assert_eq!(outer.counts(), ScopeCounts { current: 57, peak: 107, allocated: 107, freed: 50, blocks: 6 });
    assert_eq!(inner.finish(), counts);
    assert_eq!(outer.counts(), ScopeCounts { current: 57, peak: 107, allocated: 107, freed: 50, blocks: 6 });
    drop(live);
    assert_eq!(outer.finish(), ScopeCounts { current: 7, peak: 107, allocated: 107, freed: 100, blocks: 1 });
    Ok(())
}

// Case 26.
fn a_scope_that_frees_more_than_it_allocates_has_a_negative_balance<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let older = pool.allocate(1000)?;
    let scope = pool.scope("freeing");
    let _younger = pool.allocate(100)?;
    drop(older);
    assert_eq!(scope.finish(), ScopeCounts { current: -900, peak: 100, allocated: 100, freed: 1000, blocks: 0 });
    Ok(())
}

fn blocks_of_a_scope_that_are_not_marked_as_outputs_are_listed<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let _before = pool.allocate(1)?;
    let mut scope = pool.scope("step");
    let output = pool.allocate(2)?;
    scope.mark_output(&output);
    let inner = pool.scope("inner");
    let forgotten = pool.allocate(3)?;
    drop(inner);
    let _also = pool.allocate(4)?;
    let kept = |scope: &wgpu_pool::Scope<S::Memory>| {
        scope.retained().into_iter().map(|block| (block.holder.bytes, block.holder.scope)).collect::<Vec<_>>()
    };
    assert_eq!(kept(&scope), [(4, Some("step".into())), (3, Some("step/inner".into()))]);
    drop(forgotten);
    assert_eq!(kept(&scope), [(4, Some("step".into()))]);
    drop(scope);
    let second = pool.scope("step");
    assert_eq!(kept(&second), [], "what an earlier entry left is not this one's");
    Ok(())
}

fn blocks_carry_the_path_of_their_scope<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let _step = pool.scope("step");
        let _forward = pool.scope("forward");
        drop(pool.allocate(50)?);
        kept.push(pool.allocate(20)?);
    }
    drop(kept);
    let _other = pool.scope("forward");
    let _kept = pool.allocate(60)?;
    let snapshot = pool.snapshot();
    let paths: Vec<String> = (0..).zip(&snapshot.scopes).map(|(number, _)| snapshot.scope_path(number)).collect();
    assert_eq!(paths, ["step", "step/forward", "forward"]);
    assert_eq!(snapshot.scopes.iter().map(|scope| scope.entries).collect::<Vec<_>>(), [3, 3, 1]);
    let allocated: Vec<u64> = snapshot.scopes.iter().map(|scope| scope.counts.allocated).collect();
    assert_eq!(allocated, [210, 210, 60]);
    let ends: Vec<_> = snapshot.scopes.iter().map(|scope| (scope.counts.peak, scope.counts.current)).collect();
    assert_eq!(ends, [(50, 60), (50, 60), (60, 60)], "the peak is that of one entry, the growth that of all");
    let scopes: Vec<_> = snapshot.allocated_blocks().filter_map(|block| block.origin.as_ref()?.scope).collect();
    assert_eq!(scopes, [2]);
    Ok(())
}

#[test]
fn a_scope_counts_its_own_thread_only() -> Outcome {
    let pool = Pool::new(HostMemory::default(), crate::common::options())?;
    let scope = pool.scope("here");
    let there = std::thread::spawn({
        let pool = pool.clone();
        move || -> Result<_, wgpu_pool::AllocateError> {
            let unscoped = pool.allocate(5)?;
            let scope = pool.scope("there");
            let scoped = pool.allocate(6)?;
            let counts = scope.finish();
            Ok((unscoped, scoped, counts))
        }
    });
    let (_unscoped, scoped, counts) = there.join().map_err(|_| "the thread panicked")??;
    assert_eq!(counts.allocated, 6);
    assert_eq!(scope.counts(), ScopeCounts::default());
    drop(scoped);
    assert_eq!(scope.finish().freed, 6, "the thread that frees counts it");
    let paths: Vec<_> = pool.snapshot().scopes.iter().map(|scope| (scope.name.clone(), scope.parent)).collect();
    assert_eq!(paths, [("here".into(), None), ("there".into(), None)]);
    Ok(())
}

#[test]
fn scopes_that_end_out_of_order_keep_their_counts() -> Outcome {
    let pool = Pool::new(HostMemory::default(), crate::common::options())?;
    let outer = pool.scope("outer");
    let inner = pool.scope("inner");
    let _first = pool.allocate(5)?;
    assert_eq!(outer.finish().allocated, 5);
    let _second = pool.allocate(6)?;
    assert_eq!(inner.finish().allocated, 11);
    let _outside = pool.allocate(7)?;
    let totals: Vec<u64> = pool.snapshot().scopes.iter().map(|scope| scope.counts.allocated).collect();
    assert_eq!(totals, [5, 11]);
    Ok(())
}

#[test]
fn scopes_with_too_many_names_are_counted_together() -> Outcome {
    let pool = Pool::new(HostMemory::default(), crate::common::options())?;
    let outer = pool.scope("outer");
    for number in 0..3000 {
        let step = pool.scope(&format!("step {number}"));
        let kept = pool.allocate(100)?;
        assert_eq!(step.retained().len(), 1);
        drop(kept);
        let inner = pool.scope(&format!("inner {number}"));
        drop(pool.allocate(10)?);
        assert_eq!(inner.finish().allocated, 10);
        assert_eq!(step.finish().allocated, 110);
    }
    assert_eq!(outer.finish().allocated, 3000 * 110);
    let snapshot = pool.snapshot();
    assert!(snapshot.scopes.len() <= 1030, "{} names", snapshot.scopes.len());
    let entries = snapshot.scopes.iter().filter(|scope| scope.name == "(others)").map(|scope| scope.entries);
    assert_eq!(entries.sum::<u64>() + 1023, 6000, "a name of each scope within outer, or one of the others");
    Ok(())
}
