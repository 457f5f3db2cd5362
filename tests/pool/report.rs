//! The report: consistent with counters and snapshot, and with a text that fits a terminal.

use crate::common::Outcome;
use crate::common::random::Random;
use crate::subjects::{SEGMENT, Subject, assert_consistent, options, over_every_memory};
use wgpu_pool::{Breakdown, HostMemory, Memory, Pool, PoolOptions};

over_every_memory! {
    counters_block_sums_and_the_driver_report_agree_throughout_a_program,
    every_line_fits_80_columns_with_any_labels_and_scopes,
    fragmentation_agrees_with_hand_computed_cases,
    the_log_line_consists_of_name_value_pairs,
}

/// The parts of the breakdown, compared with the counters and with the driver's report.
fn assert_agrees<M: Memory>(pool: &Pool<M>) {
    assert_consistent(pool);
    let stats = pool.stats();
    let report = pool.report();
    let breakdown = report.breakdown();
    let Breakdown { live, rounding, pending_free, releasable, split: inactive_split, reserved, pending, .. } =
        breakdown;
    assert_eq!(live, stats.requested.current);
    assert_eq!(live + rounding, stats.allocated.current);
    assert_eq!(live + rounding + pending_free, stats.active.current);
    assert_eq!(inactive_split, stats.inactive_split.current);
    assert_eq!(releasable + inactive_split, stats.inactive());
    assert_eq!(reserved, stats.reserved.current);
    assert_eq!(live + rounding + pending_free + releasable + inactive_split, reserved);
    let Some(driver) = breakdown.driver else { return };
    assert_eq!(
        driver.total,
        reserved + driver.other_segments + driver.own + driver.foreign + driver.unused,
        "{breakdown:?}"
    );
    // The driver may round a segment up to its alignment. Trimmed segments remain until the device has finished.
    assert!(driver.other_segments >= pending, "{breakdown:?}");
    assert!(driver.other_segments - pending <= stats.segments.current * 4096, "{breakdown:?}");
    if let Some(bytes) = pool.memory().driver_holdings().map(|held| held.reserved) {
        assert_eq!(bytes, driver.total);
    }
}

// Cases 24 and 25, and the driver's report.
fn counters_block_sums_and_the_driver_report_agree_throughout_a_program<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut random = Random::new(29);
    let mut live = Vec::new();
    for step in 0..60 {
        match random.below(8) {
            0 => {
                pool.trim();
                // A segment that is being freed may be missing in one of the counts until the free has completed.
                pool.synchronize_blocking()?;
                pool.trim();
            }
            1 => {
                pool.compact()?;
                pool.synchronize_blocking()?;
                pool.trim();
            }
            2 | 3 if !live.is_empty() => drop(live.swap_remove(random.below(live.len()))),
            _ => live.push(pool.allocate(random.size(SEGMENT))?),
        }
        if step % 5 == 0 {
            pool.synchronize_blocking()?;
            assert_agrees(&pool);
        }
    }
    drop(live);
    assert_agrees(&pool);
    Ok(())
}

fn every_line_fits_80_columns_with_any_labels_and_scopes<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let outer = pool.scope(&"a long name ".repeat(20));
    let inner = pool.scope("inner\n\u{1b}[31m");
    let mut live = Vec::new();
    for number in 0..40_u64 {
        let storage = pool.allocate(SEGMENT / 7 + number)?;
        storage.set_label(format!("{}\n\u{1b}[31m{number}", "very long ".repeat(30)));
        live.push(storage);
    }
    live.retain(|storage| storage.bytes() % 3 == 0);
    let text = pool.report().to_string();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
    for heading in
        ["where the memory is", "fragmentation", "top holders", "cached and not releasable", "scopes", "remedies"]
    {
        assert!(text.contains(heading), "{text}");
    }
    drop((inner, outer));
    Ok(())
}

// Case 29.
fn fragmentation_agrees_with_hand_computed_cases<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { compaction_share: 0.0, ..options() })?;
    let empty = pool.report().fragmentation();
    assert_eq!((empty.external(), empty.unused()), (0.0, 0.0));
    let mut live = (0..8).map(|_| pool.allocate(SEGMENT / 8)).collect::<Result<Vec<_>, _>>()?;
    let full = pool.report().fragmentation();
    assert_eq!((full.holes, full.external(), full.unused()), (0, 0.0, 0.0));
    // Two adjacent holes form one of two eighths; with another hole of one eighth, three eighths are free.
    for index in [6, 3, 2] {
        live.remove(index);
    }
    let found = pool.report().fragmentation();
    assert_eq!((found.holes, found.largest_hole, found.free), (2, SEGMENT / 4, 3 * SEGMENT / 8));
    assert!((found.external() - 1.0 / 3.0).abs() < 1e-12, "{found:?}");
    assert!((found.unused() - 3.0 / 8.0).abs() < 1e-12, "{found:?}");
    live.clear();
    let idle = pool.report().fragmentation();
    assert_eq!((idle.external(), idle.unused()), (0.0, 1.0));
    Ok(())
}

fn the_log_line_consists_of_name_value_pairs<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let _live = pool.allocate(1000)?;
    let line = pool.report().to_log_line();
    assert!(line.starts_with("requested=1000 peak_requested=1000 reserved=262144 "), "{line}");
    assert!(line.split(' ').all(|pair| pair.split('=').count() == 2), "{line}");
    Ok(())
}

/// Without labels, scopes and pins, the corresponding parts are omitted.
#[test]
fn the_report_of_a_small_program_has_the_expected_lines() -> Outcome {
    let pool = Pool::new(HostMemory::default(), crate::common::options())?;
    let neighbor = pool.allocate(512 << 10)?;
    let weights = pool.allocate(256 << 10)?;
    weights.set_label("weights");
    drop(neighbor);
    let text = pool.report().to_string();
    let wanted = [
        "wgpu-pool on host",
        "                                  now         peak    allocated        freed",
        "requested                   256.0 KiB    768.0 KiB    768.0 KiB    512.0 KiB",
        "  in the small pool               0 B",
        "  in the large pool           1.0 MiB",
        "inactive split blocks               2",
        "  live                      256.0 KiB  requested: drop tensors",
        "  cached, not releasable    768.0 KiB  1 segment: compact, trim",
        "  = reserved                  1.0 MiB  no limit",
        "  = held by the driver        1.0 MiB  for this device",
        "  1 - largest / free = 0.333, 1 - live / reserved = 0.750",
        "   768.0 KiB free in segment 0, 1 block active, the largest:",
    ];
    for line in wanted {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let holder = format!("   256.0 KiB in     1  weights {}:", file!());
    assert!(text.lines().any(|line| line.starts_with(&holder)), "{text}");
    Ok(())
}
