//! Replays of small traces, whose figures can be worked out by hand.

use super::*;
use crate::stamp::{Stamps, Unstamped};
use wgpu_pool::{AccountingMemory, AllocateError, HostMemory, PoolOptions};

const MIB: u64 = 1 << 20;

fn trace(text: &str) -> Trace {
    Trace::read(text.as_bytes()).expect("it is well formed")
}

fn counted(trace: &Trace, trim_points: u32, options: &PoolOptions) -> Result<Figures, ReplayError> {
    counted_with(trace, Trims { points: trim_points, compact: false }, options)
}

fn counted_with(trace: &Trace, trims: Trims, options: &PoolOptions) -> Result<Figures, ReplayError> {
    let open = || Ok(Pool::new(AccountingMemory::new(), options.clone())?);
    measure(
        trace,
        (trims, false),
        open,
        |memory| Some(memory.driver_peak()),
        &mut Unstamped,
        &Progress::new("test", trace.events.len(), false),
    )
}

fn numbers(figures: &Figures) -> [f64; 5] {
    let Figures { ratio, moved_ratio, trim_residue, ns_per_event_cold, ns_per_event_warm, .. } = *figures;
    [ratio, moved_ratio, trim_residue, ns_per_event_cold, ns_per_event_warm]
}

#[test]
fn the_figures_are_those_of_the_trace() {
    let trace = trace(&format!("a 0 {}\na 1 {}\nf 0\na 2 {}\n", 8 * MIB, 16 * MIB, 4 * MIB));
    let figures = counted(&trace, 20, &PoolOptions::default()).expect("nothing limits it");
    assert_eq!(figures.events, 4);
    assert_eq!(figures.peak_requested, 24 * MIB);
    assert_eq!(figures.bytes_allocated, 28 * MIB);
    assert!(figures.peak_reserved >= 24 * MIB);
    assert_eq!(figures.ratio, figures.peak_reserved as f64 / figures.peak_requested as f64);
    assert!(figures.trim_residue >= 1.0);
    assert!(figures.segments_created > 0 && figures.segments_released <= figures.segments_created);
    assert!(numbers(&figures).iter().all(|number| number.is_finite()), "{figures:?}");
}

#[test]
fn the_driver_holds_whole_blocks_of_4_mib_for_small_segments_and_no_more_than_large_ones() {
    let options = |smallest| PoolOptions { smallest_segment: Some(smallest), ..PoolOptions::default() };
    let trace = trace(&format!("a 0 {MIB}\na 1 {MIB}\na 2 {MIB}\n"));
    let peaks = [MIB, 3 * MIB, 5 * MIB].map(|smallest| {
        let figures = counted(&trace, 1, &options(smallest)).expect("nothing limits it");
        (figures.peak_reserved, figures.driver_peak)
    });
    assert_eq!(peaks, [(3 * MIB, Some(4 * MIB)), (3 * MIB, Some(4 * MIB)), (5 * MIB, Some(5 * MIB))]);
}

#[test]
fn the_figures_of_an_empty_trace_are_finite() {
    for text in ["", "a 0 0\na 1 0\nf 0\n"] {
        let figures = counted(&trace(text), 20, &PoolOptions::default()).expect("nothing limits it");
        assert_eq!((figures.peak_requested, figures.peak_reserved, figures.bytes_allocated), (0, 0, 0), "{text:?}");
        assert_eq!((figures.ratio, figures.moved_ratio, figures.trim_residue), (1.0, 0.0, 1.0), "{text:?}");
        assert!(numbers(&figures).iter().all(|number| number.is_finite()), "{figures:?}");
    }
}

#[test]
fn the_residue_is_what_stays_reserved_right_after_trimming() {
    let options = PoolOptions { compaction_share: 0.0, ..PoolOptions::default() };
    let trace = trace(&format!("a 0 {}\na 1 {}\nf 1\na 2 {}\nf 0\nf 2\n", 64 * MIB, 256 * MIB, 2 * MIB));
    let figures = counted(&trace, 5, &options).expect("nothing limits it");

    let pool = Pool::new(AccountingMemory::new(), options).expect("the options suit it");
    let allocate = |bytes| Some(pool.allocate(bytes).expect("nothing limits it"));
    let reserved_after_trim = || {
        pool.trim();
        pool.stats().reserved.current
    };
    let (mut reserved, mut untrimmed) = (0, 0);
    let first = allocate(64 * MIB);
    reserved += reserved_after_trim();
    let second = allocate(256 * MIB);
    reserved += reserved_after_trim();
    drop(second);
    untrimmed += pool.stats().reserved.current;
    reserved += reserved_after_trim();
    assert!(pool.stats().reserved.current < untrimmed, "trimming changes nothing, so the test shows nothing");
    let _third = allocate(2 * MIB);
    reserved += reserved_after_trim();
    drop(first);
    reserved += reserved_after_trim();
    let requested = (64 + (64 + 256) + 64 + (64 + 2) + 2) * MIB;
    assert_eq!(figures.trim_residue, reserved as f64 / requested as f64);
}

#[test]
fn trim_points_cut_a_trace_into_equal_parts_and_lie_within_it() {
    let at = |events, count| points(events, count).collect::<Vec<_>>();
    assert_eq!(at(100, 4), [20, 40, 60, 80]);
    assert_eq!(at(100, 1), [50]);
    assert_eq!(at(3, 5), [1, 1, 2, 2]);
    assert!(at(0, 20).is_empty());
}

#[test]
fn trimming_happens_once_at_each_point_even_where_points_coincide() {
    let trace = trace("a 0 100\na 1 100\nf 0\n");
    let figures = counted(&trace, 1000, &PoolOptions::default()).expect("nothing limits it");
    assert!(figures.trim_residue.is_finite() && figures.trim_residue >= 1.0);
}

#[test]
fn a_limit_that_the_trace_does_not_fit_ends_the_replay_with_the_line_and_the_numbers() {
    let trace = trace(&format!("a 0 {}\na 1 {}\n", 64 * MIB, 96 * MIB));
    let options = PoolOptions { limit: Some(128 * MIB), ..PoolOptions::default() };
    let error = counted(&trace, 20, &options).expect_err("160 MiB don't fit into 128");
    let ReplayError::Allocate { line: 2, error: AllocateError::OutOfMemory(numbers) } = &error else {
        panic!("{error}")
    };
    assert_eq!((numbers.requested, numbers.limit), (96 * MIB, Some(128 * MIB)));
    let text = error.to_string();
    assert!(text.starts_with("line 2: out of memory: requested 96.0 MiB, limit 128.0 MiB, "), "{text}");
    let fits = PoolOptions { limit: Some(160 * MIB), ..PoolOptions::default() };
    assert!(counted(&trace, 20, &fits).expect("it fits exactly").peak_reserved <= 160 * MIB);
}

/// A trace of blocks of all kinds of sizes, most of them freed out of order.
fn mixed_sizes() -> Trace {
    let sizes = [0, 1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 100, 4097, 70_001, 3 * MIB + 1];
    let mut text = String::new();
    for id in 0..300_usize {
        text += &format!("a {id} {}\n", sizes[id * 7 % sizes.len()]);
        if id >= 20 && id % 5 != 0 {
            text += &format!("f {}\n", id - 20);
        }
    }
    trace(&text)
}

fn stamped<M: Memory>(open: impl Fn() -> wgpu_pool::Result<Pool<M>>) -> Figures {
    let figures = measure(
        &mixed_sizes(),
        (Trims { points: 7, compact: true }, false),
        open,
        |_| None,
        &mut Stamps::new(),
        &Progress::new("test", 0, false),
    );
    figures.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn real_bytes_give_the_same_figures_and_every_stamp_matches() {
    let untimed =
        |figures: Figures| Figures { driver_peak: None, ns_per_event_cold: 0.0, ns_per_event_warm: 0.0, ..figures };
    let real = stamped(|| Ok(Pool::new(HostMemory::default(), PoolOptions::default())?));
    let trims = Trims { points: 7, compact: true };
    let counted = counted_with(&mixed_sizes(), trims, &PoolOptions::default()).expect("nothing limits it");
    assert_eq!(untimed(real), untimed(counted));
}

#[test]
fn every_stamp_matches_in_wgpu_buffers() {
    // This device runs copies and maps, which is all that stamps need, and no driver.
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let figures = stamped(|| Ok(Pool::from_device(device.clone(), queue.clone(), PoolOptions::default())?));
    assert!(figures.segments_created > 0);
}

/// Damages a block behind the back of the stamps.
#[derive(Debug)]
struct Vandal {
    stamps: Stamps<HostMemory>,
    allocations: u64,
}

impl Witness<HostMemory> for Vandal {
    fn begin(&mut self, pool: &Pool<HostMemory>, slots: u32) {
        self.stamps.begin(pool, slots);
    }

    fn allocated(&mut self, slot: u32, storage: &Storage<HostMemory>) -> Result<(), ReplayError> {
        self.stamps.allocated(slot, storage)?;
        self.allocations += 1;
        if self.allocations == 2 {
            storage.write(96, &[0xff; 4])?;
        }
        Ok(())
    }

    fn freed(&mut self, slot: u32, storage: &Storage<HostMemory>) -> Result<(), ReplayError> {
        self.stamps.freed(slot, storage)
    }

    fn end(&mut self) -> Result<(), ReplayError> {
        self.stamps.end()
    }
}

#[test]
fn a_damaged_block_ends_the_replay_even_if_it_is_never_freed() {
    let trace = trace("a 0 100\na 1 100\na 2 100\nf 0\n");
    let open = || Ok(Pool::new(HostMemory::default(), PoolOptions::default())?);
    let mut vandal = Vandal { stamps: Stamps::new(), allocations: 0 };
    let error = measure(
        &trace,
        (Trims { points: 1, compact: false }, false),
        open,
        |_| None,
        &mut vandal,
        &Progress::new("test", 0, false),
    )
    .expect_err("block 1 is damaged");
    assert!(matches!(error, ReplayError::Stamp { id: 1, bytes: 100, offset: 96..100, .. }), "{error}");
}

/// Results of a trace's replay, and the allocations that PyTorch 2.11's allocator requests from its device in the same
/// program.
struct Shown {
    ratio: f64,
    moved: f64,
    segments: u64,
    peak: u64,
}

/// The traces of `tests/data`, and the device allocations of PyTorch in them.
fn programs() -> Vec<(Trace, u64)> {
    let programs = [("resnet50_train", 109), ("gpt2_varlen_train", 231), ("llama_decode", 77), ("bert_serving", 48)];
    let open = |name| Trace::open(std::path::Path::new(&format!("tests/data/{name}.trace.gz"))).expect("it is there");
    programs.map(|(name, allocations)| (open(name), allocations)).into()
}

fn shown(trace: &Trace, compaction_share: f64) -> Shown {
    let options = PoolOptions { compaction_share, ..PoolOptions::default() };
    let pool = Pool::new(AccountingMemory::new(), options).expect("the options suit it");
    let progress = Progress::new("test", trace.events.len(), false);
    replay(trace, &pool, &mut Unstamped, &progress, |_| Ok(()), |_| ()).expect("nothing limits it");
    let stats = pool.stats();
    Shown {
        ratio: stats.reserved.peak as f64 / stats.requested.peak as f64,
        moved: pool.remedies().bytes_moved as f64 / stats.allocated.allocated as f64,
        segments: stats.segments.allocated,
        peak: stats.requested.peak,
    }
}

fn geometric_mean(shown: &[Shown]) -> f64 {
    (shown.iter().map(|one| one.ratio.ln()).sum::<f64>() / shown.len() as f64).exp()
}

fn worst(shown: &[Shown]) -> f64 {
    shown.iter().map(|one| one.ratio).fold(0.0, f64::max)
}

#[test]
fn programs_of_every_size_reserve_little_more_than_they_request_and_create_few_segments() {
    let programs = programs();
    for (scale, most_mean, most) in [(1, 1.022, 1.039), (8, 1.035, 1.08), (32, 1.06, 1.12), (128, 1.12, 1.2)] {
        let divisor = std::num::NonZeroU64::new(scale).expect("not zero");
        let shown: Vec<Shown> = programs.iter().map(|(trace, _)| shown(&trace.clone().scaled(divisor), 0.1)).collect();
        let (mean, worst) = (geometric_mean(&shown), worst(&shown));
        assert!(
            mean <= most_mean && worst <= most,
            "sizes divided by {scale}: {mean:.3} in the mean, {worst:.3} at worst"
        );
        for (one, (_, allocations)) in shown.iter().zip(&programs) {
            let Shown { moved, segments, peak, .. } = *one;
            assert!(moved <= 0.05, "sizes divided by {scale}: {moved:.3} were moved");
            // What a pool creates that only grows, see `growth.rs`; twice that, since programs free.
            let stated = 14.0 + 15.0 * (peak as f64 / (14.0 * MIB as f64)).ln().max(0.0);
            let most = if scale == 1 { *allocations as f64 } else { 2.0 * stated };
            assert!(
                segments as f64 <= most,
                "sizes divided by {scale}: {segments} segments for {peak} bytes, not {most}"
            );
        }
    }
}

#[test]
fn without_compaction_small_programs_are_as_tight_as_large_ones() {
    let programs = programs();
    for (scale, most_mean, most) in [(1, 1.09, 1.26), (32, 1.16, 1.3)] {
        let divisor = std::num::NonZeroU64::new(scale).expect("not zero");
        let shown: Vec<Shown> = programs.iter().map(|(trace, _)| shown(&trace.clone().scaled(divisor), 0.0)).collect();
        let (mean, worst) = (geometric_mean(&shown), worst(&shown));
        assert!(
            mean <= most_mean && worst <= most,
            "sizes divided by {scale}: {mean:.3} in the mean, {worst:.3} at worst"
        );
    }
}

#[test]
fn a_trace_as_a_repeated_step_has_the_peak_of_its_plan_and_keeps_every_byte() {
    let trace = mixed_sizes();
    let open = || Ok(Pool::new(HostMemory::default(), PoolOptions::default())?);
    let trims = Trims { points: 1, compact: true };
    let progress = Progress::new("test", 0, false);
    let figures =
        measure(&trace, (trims, true), open, |_| None, &mut Stamps::new(), &progress).expect("nothing limits it");
    let planned = figures.planned.expect("with a plan");
    assert_eq!((planned.agreeing, planned.segments_created, planned.bytes_moved), (8, 0, 0));
    assert!(planned.lower_bound <= planned.arena && planned.peak_reserved == planned.arena, "{planned:?}");
    assert!(planned.ratio < figures.ratio, "{planned:?}");
}
