//! Releasing memory that the program no longer needs: decay, as in jemalloc and mimalloc.
//!
//! Time is divided into periods. [`Decay`] stores the peak of the active bytes in a period. Reserved bytes that exceed the
//! need of the last two periods plus a margin are released: idle segments first, then segments that compaction empties. In
//! a loop whose iterations are shorter than two periods the need is the loop's peak, so no memory is released.
//!
//! Periods end on the memory's timer thread. When a block is freed and reserved bytes exceed the current need, a call is
//! scheduled; the call is repeated until reserved bytes no longer exceed the need. On a memory without a timer
//! ([`call_after`](crate::device::DeviceResources::call_after)) periods end when commands are submitted.

use super::{Inner, State};
use crate::device::{CacheLevel, Memory, Submit};
use crate::error::{Bytes, DeviceError};
use crate::heap::{SegmentId, SubPool};
use crate::pool::messages::note;
use quanta::Instant;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// This part of the need stays reserved in addition to the need, so that small changes of the need neither release nor
/// create segments.
const MARGIN: u64 = 4;
/// The longest period, as a multiple of the option.
const LONGEST: u32 = 64;
/// The number of periods without a new segment after which the period is halved.
const QUIET: u32 = 16;

/// The means by which periods end. Shared by threads, outside the pool's lock.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Whether no call has to be scheduled: a call is pending, submissions end the periods, or memory is never released.
    is_settled: AtomicBool,
    /// Whether submissions end the periods, because the memory has no timer.
    by_submissions: AtomicBool,
}

impl Schedule {
    pub(super) const fn new(is_enabled: bool) -> Self {
        Self { is_settled: AtomicBool::new(!is_enabled), by_submissions: AtomicBool::new(false) }
    }
}

/// The program's need over the current and the previous period. Sizes are in bytes.
#[derive(Debug)]
pub(super) struct Decay {
    /// The period in the options. `None` if memory is never released.
    shortest: Option<Duration>,
    period: Duration,
    began: Option<Instant>,
    previous_peak: u64,
    /// The number of segments that were created before the end of the previous period.
    created: u64,
    /// Whether memory was released at the end of the previous period.
    has_released: bool,
    /// The number of periods since a segment was created.
    quiet: u32,
}

/// The pool's usage at the end of a period. Sizes are in bytes.
#[derive(Clone, Copy, Debug)]
struct Usage {
    reserved: u64,
    /// The peak of the active bytes in the period.
    peak: u64,
    /// The number of segments created so far.
    created: u64,
    smallest_segment: u64,
}

impl Decay {
    pub(super) fn new(shortest: Option<Duration>) -> Self {
        Self {
            shortest,
            period: shortest.unwrap_or_default(),
            began: None,
            previous_peak: 0,
            created: 0,
            has_released: false,
            quiet: 0,
        }
    }

    /// Returns whether the current period has ended at `now`. The first call begins the first period.
    fn is_over(&mut self, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        self.shortest.is_some() && now.duration_since(began) >= self.period
    }

    /// Ends a period. Returns the target for the reserved bytes if they exceed the need.
    fn end_period(&mut self, now: Instant, usage: &Usage) -> Option<u64> {
        let shortest = self.shortest?;
        let has_grown = usage.created > self.created;
        self.quiet = if has_grown { 0 } else { self.quiet + 1 };
        if has_grown && self.has_released {
            // Memory was needed again after its release.
            self.period = self.period.saturating_mul(2).min(shortest.saturating_mul(LONGEST));
        } else if self.quiet >= QUIET {
            self.period = (self.period / 2).max(shortest);
            self.quiet = 0;
        }
        let target = kept(self.previous_peak.max(usage.peak), usage.smallest_segment);
        (self.began, self.previous_peak, self.created) = (Some(now), usage.peak, usage.created);
        self.has_released = false;
        (usage.reserved > target).then_some(target)
    }
}

/// Returns the bytes that stay reserved for a need.
const fn kept(needed: u64, smallest_segment: u64) -> u64 {
    if needed == 0 {
        return 0;
    }
    needed.saturating_add(needed / MARGIN).saturating_add(smallest_segment)
}

impl<M: Memory> Inner<M> {
    /// Returns whether no free has to schedule the end of a period.
    #[inline]
    pub(super) fn is_release_settled(&self) -> bool {
        self.schedule.is_settled.load(Ordering::Relaxed)
    }

    /// Returns whether the end of a period has to be scheduled after a block was freed: more is reserved than needed, and no
    /// call is pending. Costs about a nanosecond.
    #[inline]
    pub(super) fn note_free(self: &Arc<Self>, state: &State<M>) -> bool {
        !self.is_release_settled() && self.has_excess(state)
    }

    /// Returns whether reserved bytes exceed the current need.
    #[inline]
    fn has_excess(&self, state: &State<M>) -> bool {
        let stats = state.heap.held();
        stats.reserved > kept(stats.active, self.growth.minimum_segment)
    }

    /// Schedules the end of the period, unless a call is pending.
    #[cold]
    pub(super) fn schedule_release(self: &Arc<Self>) {
        if self.schedule.is_settled.swap(true, Ordering::AcqRel) {
            return;
        }
        // Ends a period that has lasted since the last release, so that the earlier need counts for only one more period.
        let _ = self.end_period();
        if !self.call_after_period() {
            self.schedule.by_submissions.store(true, Ordering::Release);
        }
    }

    /// A browser has no timer thread.
    #[cfg(target_arch = "wasm32")]
    fn call_after_period(self: &Arc<Self>) -> bool {
        false
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn call_after_period(self: &Arc<Self>) -> bool {
        let period = self.state().decay.period;
        let inner = Arc::downgrade(self);
        self.memory.call_after(period, move || {
            if let Some(inner) = inner.upgrade() {
                inner.end_scheduled_period();
            }
        })
    }

    /// Called on the timer thread: releases unneeded memory, and schedules the next period while there is more to release.
    #[cfg(not(target_arch = "wasm32"))]
    fn end_scheduled_period(self: &Arc<Self>) {
        // First, so that a block that is freed from now on schedules a call if necessary.
        self.schedule.is_settled.store(false, Ordering::Release);
        let is_waiting = match self.end_period() {
            // The need of the previous period still counts, or the period has become longer.
            None => true,
            Some(target) => self.release_down_to(target),
        };
        let again = is_waiting && self.has_excess(&self.state());
        if again {
            self.schedule_release();
        }
    }

    /// Called after a submission: ends the period and releases unneeded memory, on a memory without a timer.
    pub(super) fn note_submission(self: &Arc<Self>) {
        if self.schedule.by_submissions.load(Ordering::Acquire) {
            if let Some(target) = self.end_period() {
                self.release_down_to(target);
            }
        }
    }

    /// Ends the period if its time is over. Returns the target for the reserved bytes if they exceed the need.
    fn end_period(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state();
        if !state.decay.is_over(now) {
            return None;
        }
        let usage = Usage {
            peak: state.heap.take_recent_active(),
            reserved: state.heap.held().reserved,
            created: state.remedies.segments_created,
            smallest_segment: self.growth.minimum_segment,
        };
        state.decay.end_period(now, &usage)
    }

    /// Releases idle segments, longest idle first, and segments that compaction empties, until at most `target` bytes are
    /// reserved. Returns whether a segment was released. Application callbacks may run inside, so the caller must hold no
    /// lock.
    fn release_down_to(&self, target: u64) -> bool {
        let before = self.state().heap.held().reserved;
        let released = self.release_idle_to(target)
            + self.compact_down_to(target).unwrap_or_else(|error| {
                note!(Warn, "wgpu-pool: unneeded memory is not compacted: {error}");
                0
            });
        if released == 0 {
            return false;
        }
        self.state().decay.has_released = true;
        if target == 0 {
            self.memory.drop_caches(CacheLevel::Buffers);
        }
        if let Err(error) = self.memory.submit(Submit::WithoutWaiting) {
            // The error is latched: the next fallible call returns it.
            note!(Warn, "wgpu-pool: releasing unneeded memory: {error}");
        }
        self.reclaim();
        let sizes = [before, self.state().heap.held().reserved, target].map(Bytes);
        note!(Debug, "wgpu-pool: reserved {} to {} for a need of {}", sizes[0], sizes[1], sizes[2]);
        true
    }

    fn release_idle_to(&self, target: u64) -> usize {
        self.destroy_idle(|state| {
            let segments = state.release_longest_idle(target);
            state.remedies.count_released(&segments);
            segments
        })
    }

    /// Moves blocks out of sparse segments and releases these segments, until at most `target` bytes are reserved or the
    /// allowance for moves is exhausted. Returns the number of released segments.
    pub(super) fn compact_down_to(&self, target: u64) -> Result<usize, DeviceError> {
        let mut released = 0;
        if self.compaction_share <= 0.0 {
            return Ok(released);
        }
        let excess = || self.state().heap.held().reserved.saturating_sub(target);
        for pool in SubPool::ALL {
            while excess() > 0 && self.evacuate(pool, excess(), self.move_allowance())? {
                released += self.release_idle_to(target);
            }
            // Blocks that fit no hole are packed into a new segment, which is smaller than the released segments.
            while excess() > 0 {
                let growing = self.lock_growth();
                let packed = self.pack_before_growth(&growing, pool, excess(), self.move_allowance())?;
                drop(growing);
                let Some(plan) = packed else { break };
                self.release_emptied(&plan, Submit::WithoutWaiting)?;
                released += 1;
            }
        }
        Ok(released)
    }
}

impl<M: Memory> State<M> {
    /// Removes idle segments from the heap, longest idle first, until at most `bytes` bytes are reserved; then the arenas of plans that no
    /// run uses.
    pub(super) fn release_longest_idle(&mut self, bytes: u64) -> Vec<(SegmentId, u64)> {
        let mut released = Vec::new();
        let mut has_arenas = true;
        while self.heap.held().reserved > bytes {
            let Some((id, size)) = self.heap.inactive_segments().next() else {
                if std::mem::take(&mut has_arenas) {
                    self.let_go_of_arenas();
                    continue;
                }
                break;
            };
            self.heap.release_segment(id).expect("an idle segment may leave");
            released.push((id, size));
        }
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const PERIOD: Duration = Duration::from_secs(1);

    /// A decay whose periods end on demand.
    struct Periods {
        decay: Decay,
        now: Instant,
        created: u64,
    }

    impl Periods {
        fn new() -> Self {
            let mut decay = Decay::new(Some(PERIOD));
            let now = Instant::now();
            assert!(!decay.is_over(now));
            Self { decay, now, created: 0 }
        }

        /// Ends a period with these reserved bytes and this peak of active bytes, in MiB.
        fn end(&mut self, reserved: u64, peak: u64) -> Option<u64> {
            let almost = self.now + self.decay.period - Duration::from_millis(1);
            assert!(!self.decay.is_over(almost));
            self.now += self.decay.period;
            assert!(self.decay.is_over(self.now));
            let (reserved, peak) = (reserved * MIB, peak * MIB);
            let usage = Usage { reserved, peak, created: self.created, smallest_segment: 8 * MIB };
            self.decay.end_period(self.now, &usage)
        }
    }

    #[test]
    fn the_longest_periods_do_not_overflow() {
        for shortest in [Duration::MAX, Duration::MAX / 2] {
            let mut decay = Decay::new(Some(shortest));
            for created in 0..100 {
                decay.has_released = true;
                let usage = Usage { reserved: 9 * MIB, peak: MIB, created: created / 10, smallest_segment: MIB };
                let now = Instant::now();
                decay.end_period(now, &usage);
                assert!(decay.period >= shortest && !decay.is_over(now));
            }
        }
    }

    #[test]
    fn a_need_counts_for_the_period_after_it_too() {
        let mut periods = Periods::new();
        assert_eq!(periods.end(1000, 1000), None);
        assert_eq!(periods.end(1000, 100), None);
        assert_eq!(periods.end(1000, 100), Some(133 * MIB));
        assert_eq!(periods.end(133, 0), None);
        assert_eq!(periods.end(133, 0), Some(0));
        assert_eq!(periods.end(0, 0), None);
    }

    #[test]
    fn a_quarter_above_the_need_is_kept() {
        let mut periods = Periods::new();
        for _ in 0..3 {
            assert_eq!(periods.end(133, 100), None);
        }
        assert_eq!(periods.end(134, 100), Some(133 * MIB));
    }

    #[test]
    fn the_period_doubles_when_released_memory_is_needed_again_and_shrinks_when_nothing_grows() {
        let mut periods = Periods::new();
        periods.end(1000, 10);
        for doubled in [2, 4, 8, 16, 32, 64, 64] {
            assert!(periods.end(1000, 10).is_some());
            periods.decay.has_released = true;
            periods.created += 1;
            periods.end(10, 10);
            assert_eq!(periods.decay.period, doubled * PERIOD);
        }
        for _ in 0..6 * QUIET {
            assert_eq!(periods.end(10, 10), None);
        }
        assert_eq!(periods.decay.period, PERIOD);
    }

    #[test]
    fn growth_without_a_release_before_it_leaves_the_period_alone() {
        let mut periods = Periods::new();
        periods.end(1000, 10);
        for _ in 0..10 {
            periods.created += 1;
            // Nothing could be released, for example because every segment holds a pinned block.
            assert!(periods.end(1000, 10).is_some());
        }
        assert_eq!(periods.decay.period, PERIOD);
    }

    #[test]
    fn without_the_option_no_period_ends() {
        let mut decay = Decay::new(None);
        let now = Instant::now();
        assert!(!decay.is_over(now));
        assert!(!decay.is_over(now + Duration::from_secs(1_000_000)));
    }
}
