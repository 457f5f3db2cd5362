//! Attribution of memory: call sites, labels, dtypes and shapes.

use crate::common::Outcome;
use crate::subjects::{SEGMENT, Subject, options, over_every_memory};
use std::panic::Location;
use wgpu_pool::{AllocateError, BlockState, HeldBlock, Holder, HostMemory, Pool, PoolOptions};

over_every_memory! {
    every_block_has_the_call_site_of_its_allocation,
    a_block_in_a_reused_slot_has_its_own_origin,
    a_label_belongs_to_the_block_and_ends_with_it,
    a_moved_block_keeps_its_origin,
    holders_are_grouped_by_call_site_label_and_scope_with_the_largest_first,
    every_list_of_holders_has_the_same_records,
    blocks_that_prevent_a_segment_from_being_trimmed_are_listed,
    an_error_lists_the_five_top_holders_and_the_measures_taken,
}

/// Returns the number of the line `above` lines before the call.
#[track_caller]
fn line(above: u32) -> u32 {
    Location::caller().line() - above
}

fn every_block_has_the_call_site_of_its_allocation<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let _small = pool.allocate(100)?;
    let first = line(1);
    let _large = pool.allocate(SEGMENT)?;
    let second = line(1);
    let snapshot = pool.snapshot();
    let mut lines: Vec<(u64, u32, &str)> = Vec::new();
    for block in snapshot.allocated_blocks() {
        let origin = block.origin.as_ref().ok_or("every block has an origin")?;
        let site = &snapshot.sites[origin.site as usize];
        lines.push((block.requested, site.line, &site.file));
        assert_eq!((&origin.dtype, &origin.shape, &origin.label, origin.scope), (&None, &None, &None, None));
    }
    lines.sort_unstable();
    assert_eq!(lines, [(100, first, file!()), (SEGMENT, second, file!())]);
    let ages: Vec<u64> = snapshot.allocated_blocks().filter_map(|block| Some(block.origin.as_ref()?.age)).collect();
    assert_eq!(ages.iter().sum::<u64>(), 1, "one allocation was made after the first, none after the second");
    Ok(())
}

fn a_block_in_a_reused_slot_has_its_own_origin<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let first = pool.allocate(100)?;
    first.set_label("first");
    drop(first);
    let _second = pool.allocate(100)?;
    let [block] = &pool.leaks().blocks[..] else { return Err("one block is held".into()) };
    assert_eq!((block.holder.site.line, &block.holder.label, block.age), (line(2), &None, 0));
    Ok(())
}

fn a_label_belongs_to_the_block_and_ends_with_it<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let handle = pool.allocate(100)?;
    let other = handle.clone();
    handle.set_label("weights");
    other.set_label("biases");
    drop(handle);
    let labels: Vec<_> = pool.top_holders(9).into_iter().map(|holder| holder.label).collect();
    assert_eq!(labels, [Some("biases".into())]);
    drop(other);
    assert_eq!(pool.top_holders(9), []);
    pool.allocate(0)?.set_label("nothing");
    Ok(())
}

fn a_moved_block_keeps_its_origin<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut live = (0..8).map(|_| pool.allocate(SEGMENT / 4)).collect::<Result<Vec<_>, _>>()?;
    for (number, storage) in live.iter().enumerate() {
        storage.set_label(format!("block {number}"));
    }
    for number in [6, 5, 2, 1] {
        live.swap_remove(number);
    }
    let before = pool.top_holders(9);
    assert!(pool.compact()?.moves > 0);
    assert_eq!(pool.top_holders(9), before);
    let labels: Vec<_> = before.iter().filter_map(|holder| holder.label.as_deref()).collect();
    assert_eq!(labels, ["block 0", "block 3", "block 4", "block 7"]);
    Ok(())
}

fn holders_are_grouped_by_call_site_label_and_scope_with_the_largest_first<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let allocate = || pool.allocate(1000);
    let many_line = line(1);
    let _many = (0..3).map(|_| allocate()).collect::<Result<Vec<_>, _>>()?;
    let named = pool.allocate(2500)?;
    let named_line = line(1);
    named.set_label("named");
    let outer = pool.scope("outer");
    let inner = pool.scope("inner");
    let _scoped = [allocate()?, allocate()?];
    drop((inner, outer));
    let found = pool.top_holders(9);
    let mut fields = Vec::new();
    for Holder { site, label, scope, blocks, bytes } in &found {
        assert_eq!(site.file, file!());
        fields.push((site.line, label.as_deref(), scope.as_deref(), *blocks, *bytes));
    }
    let expected = [
        (many_line, None, None, 3, 3000),
        (named_line, Some("named"), None, 1, 2500),
        (many_line, None, Some("outer/inner"), 2, 2000),
    ];
    assert_eq!(fields, expected);
    assert_eq!(pool.top_holders(1), found[..1]);
    Ok(())
}

fn every_list_of_holders_has_the_same_records<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { limit: Some(8 * SEGMENT), ..options() })?;
    let mark = pool.mark();
    let first = pool.allocate(3000)?;
    first.set_label("first");
    let scope = pool.scope("step");
    let _second = pool.allocate(2000)?;
    let holders = pool.top_holders(9);
    assert_eq!(holders.len(), 2);
    assert_eq!(pool.snapshot().holders(), holders);
    let blocks = |blocks: Vec<HeldBlock>| blocks.into_iter().map(|block| block.holder).collect::<Vec<_>>();
    assert_eq!(blocks(pool.leaks().blocks), holders, "each holder has one block");
    assert_eq!(blocks(scope.retained()), holders[1..]);
    let growth = pool.growth_since(&mark).holders;
    assert_eq!(growth.iter().map(|growth| growth.holder.clone()).collect::<Vec<_>>(), holders);
    let Err(AllocateError::OutOfMemory(error)) = pool.allocate(9 * SEGMENT) else { return Err("no error".into()) };
    assert_eq!(error.holders, holders);
    let report = pool.report().to_string();
    let is_listed = |holder: &Holder| report.lines().any(|line| line.contains(&holder.site.to_string()));
    assert!(holders.iter().all(is_listed) && report.contains(" in step\n"), "{report}");
    Ok(())
}

#[test]
fn neither_label_nor_scope_breaks_the_line_of_a_held_block() -> Outcome {
    let pool = Pool::new(HostMemory::default(), crate::common::options())?;
    let scope = pool.scope("a\nb");
    let kept = pool.allocate(100)?;
    kept.set_label("c\nd");
    let text = pool.leaks().to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("100 B c\\nd, ") && text.ends_with(" in a\\nb\n"), "{text}");
    assert!(pool.growth_since(&pool.mark()).holders.is_empty());
    drop(scope);
    Ok(())
}

// Case 16.
fn blocks_that_prevent_a_segment_from_being_trimmed_are_listed<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let neighbor = pool.allocate(SEGMENT / 2)?;
    let kept = pool.allocate(SEGMENT / 4)?;
    let at = line(1);
    kept.set_label("kept");
    let idle = pool.allocate(SEGMENT)?;
    drop((neighbor, idle));
    let trimmed = pool.trim();
    assert_eq!(trimmed.segments, 1);
    let [segment] = &pool.snapshot().segments[..] else { return Err("one segment stays".into()) };
    let [block] = &pool.holders_of(segment.id)[..] else { return Err("one block holds it".into()) };
    let Holder { site, label, bytes, .. } = &block.holder;
    assert_eq!((label.as_deref(), site.line, *bytes), (Some("kept"), at, SEGMENT / 4));
    let report = pool.report().to_string();
    let named = report.lines().any(|line| line.contains("kept") && line.contains(&format!("holders.rs:{at}")));
    assert!(named, "{report}");
    Ok(())
}

// Case 30.
fn an_error_lists_the_five_top_holders_and_the_measures_taken<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { limit: Some(8 * SEGMENT), ..options() })?;
    let mut live = Vec::new();
    for number in 1..=7 {
        let storage = pool.allocate(number * 1000)?;
        storage.set_label(format!("block {number}"));
        live.push(storage);
    }
    pool.set_pressure_callback(|_, _| false);
    let Err(AllocateError::OutOfMemory(error)) = pool.allocate(9 * SEGMENT) else { return Err("no error".into()) };
    pool.clear_pressure_callback();
    let labels: Vec<_> = error.holders.iter().filter_map(|holder| holder.label.as_deref()).collect();
    assert_eq!(labels, ["block 7", "block 6", "block 5", "block 4", "block 3"]);
    assert_eq!((error.gains.callbacks, error.gains.relieved), (1, 0));
    let text = error.to_string();
    assert_eq!(text.lines().filter(|line| line.starts_with("  held: ")).count(), 5, "{text}");
    assert!(text.contains("holders.rs:"), "{text}");
    assert!(text.ends_with("advice: raise the limit to 2.2 MiB or more, or ask for less at a time"), "{text}");
    Ok(())
}

#[cfg(feature = "tensor")]
#[test]
fn the_block_of_a_tensor_has_its_dtype_and_shape() -> Outcome {
    use wgpu_pool::{DType, Tensor};

    let (device, queue) = crate::common::adapter::noop();
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let _weights = Tensor::zeros(&pool, [3, 4, 5], DType::F32)?.labelled("weights");
    let at = line(1);
    let _ids = Tensor::from_slice(&pool, &[1_u32, 2], [2])?;
    let _scalar = Tensor::empty(&pool, [], DType::I32)?;
    let _deep = Tensor::empty(&pool, [1, 2, 1, 1, 1, 1, 1, 1], DType::I32)?;
    let found: Vec<String> = pool.leaks().blocks.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 4);
    let site = format!("{}:{at}:", file!());
    assert!(found[0].starts_with(&format!("240 B weights f32 [3, 4, 5], 3 allocations old, {site}")), "{found:?}");
    assert!(found[1].starts_with("8 B u32 [2], 2 allocations old, "), "{found:?}");
    assert!(found[2].starts_with("8 B i32 [1, 2, 1, 1, 1, 1, 1, 1], 0 allocations old, "), "{found:?}");
    assert!(found[3].starts_with("4 B i32 [], 1 allocation old, "), "{found:?}");
    Ok(())
}

#[test]
fn a_pending_block_has_an_origin_and_a_hole_has_none() -> Outcome {
    let (device, queue) = crate::common::adapter::noop();
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let storage = pool.allocate(1000)?;
    let pinned = storage.pin()?;
    let at = line(1);
    drop(storage);
    let snapshot = pool.snapshot();
    for block in snapshot.segments.iter().flat_map(|segment| &segment.blocks) {
        assert_eq!(block.origin.is_some(), block.state == BlockState::PendingFree, "{block:?}");
    }
    let [pin] = snapshot.pins[..] else { return Err("one pin".into()) };
    assert_eq!(snapshot.sites[pin.site as usize].line, at);
    drop(pinned);
    Ok(())
}

#[test]
fn an_allocation_through_the_ladder_has_its_call_site() -> Outcome {
    let pool = Pool::new(HostMemory::default(), crate::common::options())?;
    let _first = pool.allocate(100)?;
    assert_eq!(pool.top_holders(1)[0].site.line, line(1));
    Ok(())
}
