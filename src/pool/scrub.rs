//! Clearing of freed bytes, for [`PoolOptions::scrub_on_free`](super::PoolOptions::scrub_on_free).
//!
//! The clear is an ordinary command: it executes after every command recorded for the block, and before the first
//! command of the next block there. Bytes are freed in three ways: the last handle of a block is dropped, its last pin
//! is dropped, or compaction moves the block.

use super::storage::finish;
use super::{Inner, State};
use crate::device::{Commands, Memory};
use crate::error::DeviceError;
use crate::heap::compaction::{Move, Plan};
use crate::heap::{BlockId, Heap, SegmentId};
use crate::pool::messages::{Postponed, note};
use std::collections::BTreeMap;
use std::sync::Arc;

impl<M: Memory> Inner<M> {
    /// Calls `release`, which removes a handle or a pin from a block. If this makes the block inactive, as `vacates`
    /// predicts, its bytes are cleared before the block can be reused.
    ///
    /// `release` is called once. It is passed by reference because the compiler copies the variables of a closure that is passed by
    /// value, in other units than it has just written, for which the processor waits: 10 ns for each free.
    #[inline]
    pub(super) fn release_block(
        self: &Arc<Self>,
        block: BlockId,
        vacates: fn(&Heap, BlockId) -> bool,
        release: &mut impl FnMut(&mut State<M>),
    ) {
        let leaves_excess = if self.scrubs {
            self.scrub_and_release(block, vacates, release)
        } else {
            let mut state = self.state();
            release(&mut state);
            self.note_free(&state)
        };
        if leaves_excess {
            self.schedule_release();
        }
    }

    #[cold]
    fn scrub_and_release(
        self: &Arc<Self>,
        block: BlockId,
        vacates: fn(&Heap, BlockId) -> bool,
        release: &mut impl FnMut(&mut State<M>),
    ) -> bool {
        let _later = Postponed::new();
        let mut commands = self.memory.commands();
        let mut state = self.state();
        let mut failures = Vec::new();
        if let Some(host) = state.host_location(block) {
            match commands.clear(&host) {
                // No command reads the bytes on a lost device.
                Ok(()) | Err(DeviceError::Lost { .. }) => {}
                Err(error) => failures.push(format!("{host:?} cannot be cleared: {error}")),
            }
        }
        if vacates(&state.heap, block) {
            if let Some(place) = state.heap.active_place(block).and_then(|place| state.location_before_free(place)) {
                match commands.clear(&place) {
                    // No command reads the bytes on a lost device.
                    Ok(()) | Err(DeviceError::Lost { .. }) => {}
                    Err(error) => {
                        // Stale bytes must not be exposed: the block stays active, with a pin that is never removed.
                        failures.push(format!("{place:?} cannot be cleared and is not reused: {error}"));
                        let _ = state.heap.pin(block);
                    }
                }
            }
        }
        release(&mut state);
        let leaves_excess = self.note_free(&state);
        drop(state);
        if let Err(error) = finish(self, commands) {
            // The error is latched: the next fallible call returns it.
            note!(Warn, "wgpu-pool: scrubbing: {error}");
        }
        for failure in failures {
            note!(Error, "wgpu-pool: {failure}");
        }
        leaves_excess
    }

    /// Clears the old locations of a plan's moves. Recorded directly after the copies.
    pub(super) fn scrub_vacated(
        &self,
        commands: &mut M::Commands<'_>,
        state: &mut State<M>,
        plan: &Plan,
    ) -> Result<(), DeviceError> {
        if !self.scrubs {
            return Ok(());
        }
        for (segment, offset, size) in vacated(plan.moves()) {
            commands.clear(&state.location(segment, offset, size))?;
        }
        Ok(())
    }
}

/// Returns the ranges that moves leave and that no move fills: segment, offset, and size.
fn vacated(moves: &[Move]) -> Vec<(SegmentId, u64, u64)> {
    // The number of ranges that begin or end at each offset of a segment: left ranges, and filled ranges.
    let mut edges: BTreeMap<(SegmentId, u64), (i64, i64)> = BTreeMap::new();
    for moved in moves {
        edges.entry((moved.from_segment, moved.from_offset)).or_default().0 += 1;
        edges.entry((moved.from_segment, moved.from_offset + moved.size)).or_default().0 -= 1;
        edges.entry((moved.to_segment, moved.to_offset)).or_default().1 += 1;
        edges.entry((moved.to_segment, moved.to_offset + moved.size)).or_default().1 -= 1;
    }
    let mut ranges: Vec<(SegmentId, u64, u64)> = Vec::new();
    let (mut left, mut filled) = (0, 0);
    let mut edges = edges.into_iter().peekable();
    while let Some(((segment, offset), (leaving, filling))) = edges.next() {
        (left, filled) = (left + leaving, filled + filling);
        let Some(&((_, end), _)) = edges.peek() else { break };
        if left > 0 && filled == 0 {
            match ranges.last_mut() {
                Some((last, start, size)) if *last == segment && *start + *size == offset => *size = end - *start,
                _ => ranges.push((segment, offset, end - offset)),
            }
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{HeapOptions, SubPool};
    use std::num::NonZeroU64;

    /// A segment, and an offset in it.
    type Address = (u64, u64);

    /// Returns the vacated ranges of moves, which are given as source, target, and size.
    fn ranges(moves: &[(Address, Address, u64)]) -> Vec<(u64, u64, u64)> {
        let mut heap = Heap::new(HeapOptions::default()).expect("the default options suit");
        heap.add_segment(SubPool::Large, 1 << 20).expect("there is room");
        let block = heap.allocate_from(SubPool::Large, NonZeroU64::MIN).expect("there is room");
        let moves: Vec<Move> = moves
            .iter()
            .map(|&((from_segment, from_offset), (to_segment, to_offset), size)| Move {
                block,
                from_segment: SegmentId::from_number(from_segment),
                from_offset,
                to_segment: SegmentId::from_number(to_segment),
                to_offset,
                size,
            })
            .collect();
        vacated(&moves).into_iter().map(|(segment, offset, size)| (segment.number(), offset, size)).collect()
    }

    #[test]
    fn vacated_ranges_exclude_ranges_that_other_moves_fill() {
        assert_eq!(ranges(&[]), []);
        // To another segment; two adjacent ranges are merged.
        assert_eq!(ranges(&[((0, 64), (1, 0), 32), ((0, 96), (1, 32), 32)]), [(0, 64, 64)]);
        // Moved down by less than its size, then by more.
        assert_eq!(ranges(&[((0, 64), (0, 0), 256)]), [(0, 256, 64)]);
        assert_eq!(ranges(&[((0, 512), (0, 0), 256)]), [(0, 512, 256)]);
        // A chain in which each block moves to the old location of the previous block.
        assert_eq!(ranges(&[((0, 32), (0, 0), 32), ((0, 64), (0, 32), 32), ((0, 96), (0, 64), 32)]), [(0, 96, 32)]);
        // A range that is left, and partly filled by another block.
        assert_eq!(ranges(&[((0, 0), (1, 0), 128), ((2, 0), (0, 32), 64)]), [(0, 0, 32), (0, 96, 32), (2, 0, 64)]);
    }
}
