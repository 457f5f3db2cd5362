//! Clearing the bytes that a block leaves, for [`PoolOptions::scrub_on_free`](super::PoolOptions::scrub_on_free).
//!
//! The clear is a command like any other: it comes after every command that was recorded for the block, and before the first
//! of its next owner. Bytes leave a block in three ways: its last handle is dropped, its last pin is, or compaction moves it.

use super::storage::finish;
use super::{Inner, State};
use crate::device::{Commands, Memory};
use crate::error::DeviceError;
use crate::heap::compaction::{Move, Plan};
use crate::heap::{BlockId, Heap, SegmentId};
use std::collections::BTreeMap;

impl<M: Memory> Inner<M> {
    /// Has `release` take a handle or a pin from a block. If that makes the block inactive, as `vacates` foretells, its bytes are
    /// cleared before anyone else can have them.
    #[inline]
    pub(super) fn release_block(
        &self,
        block: BlockId,
        vacates: fn(&Heap, BlockId) -> bool,
        release: impl FnOnce(&mut State<M>),
    ) {
        if self.scrubs {
            self.scrub_and_release(block, vacates, release);
        } else {
            release(&mut self.state());
        }
    }

    #[cold]
    fn scrub_and_release(
        &self,
        block: BlockId,
        vacates: fn(&Heap, BlockId) -> bool,
        release: impl FnOnce(&mut State<M>),
    ) {
        let mut commands = self.memory.commands();
        let mut state = self.state();
        if vacates(&state.heap, block) {
            if let Some(place) = state.heap.active_place(block).and_then(|place| state.leaving(place)) {
                if let Err(error) = commands.clear(&place) {
                    // Stale bytes must not be handed out: the block stays active, with a pin that is never taken off.
                    log::error!("wgpu-pool: {place:?} is not used again, since it can't be cleared: {error}");
                    let _ = state.heap.pin(block);
                }
            }
        }
        release(&mut state);
        drop(state);
        if let Err(error) = finish(&self.memory, commands) {
            // It is latched: the next call that can fail returns it.
            log::warn!("wgpu-pool: scrubbing: {error}");
        }
    }

    /// Clears what the moves of a plan leave behind. Recorded right behind the copies.
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

/// The ranges that some move leaves and no move fills: segment, offset, and size.
fn vacated(moves: &[Move]) -> Vec<(SegmentId, u64, u64)> {
    // At each offset of a segment, how many ranges begin or end there: of those left, and of those filled.
    let mut edges: BTreeMap<(SegmentId, u64), (i64, i64)> = BTreeMap::new();
    for one in moves {
        edges.entry((one.from_segment, one.from_offset)).or_default().0 += 1;
        edges.entry((one.from_segment, one.from_offset + one.size)).or_default().0 -= 1;
        edges.entry((one.to_segment, one.to_offset)).or_default().1 += 1;
        edges.entry((one.to_segment, one.to_offset + one.size)).or_default().1 -= 1;
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
    type Spot = (u64, u64);

    /// What moves leave that are given as where from, where to, and how many bytes.
    fn ranges(moves: &[(Spot, Spot, u64)]) -> Vec<(u64, u64, u64)> {
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
    fn what_a_plan_leaves_is_what_no_move_of_it_fills() {
        assert_eq!(ranges(&[]), []);
        // To another segment, and two neighbours as one range.
        assert_eq!(ranges(&[((0, 64), (1, 0), 32), ((0, 96), (1, 32), 32)]), [(0, 64, 64)]);
        // Slid down by less than its size, then by more.
        assert_eq!(ranges(&[((0, 64), (0, 0), 256)]), [(0, 256, 64)]);
        assert_eq!(ranges(&[((0, 512), (0, 0), 256)]), [(0, 512, 256)]);
        // A chain in which each takes the place of the one before.
        assert_eq!(ranges(&[((0, 32), (0, 0), 32), ((0, 64), (0, 32), 32), ((0, 96), (0, 64), 32)]), [(0, 96, 32)]);
        // A place that is left and filled from elsewhere, in part.
        assert_eq!(ranges(&[((0, 0), (1, 0), 128), ((2, 0), (0, 32), 64)]), [(0, 0, 32), (0, 96, 32), (2, 0, 64)]);
    }
}
