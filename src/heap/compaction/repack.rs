//! Repacking: replaces one segment by segments that are exactly as large as its active blocks.
//!
//! The replacement exists in the heap before its memory does. The last step of the pool's out-of-memory ladder uses
//! this when there is no room for the new segment in addition to the old one: it copies the blocks to host memory,
//! repacks, releases the old segment's memory, creates the new segment's memory, and copies the blocks back.

use super::super::Heap;
use super::super::address::{BlockId, SegmentId, SubPool};
use super::super::blocks::{Block, Key, NONE};
use super::Move;

/// The result of [`Heap::repack_segment`]. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repacked {
    /// The size of the segment that was removed from the heap.
    pub released: u64,
    /// The sub-pool of that segment and of its replacements.
    pub pool: SubPool,
    /// The replacement segments with their sizes. They have no holes.
    pub segments: Vec<(SegmentId, u64)>,
    /// The old and new location of each active block, in the order of the offsets.
    pub moves: Vec<Move>,
}

/// A segment that can be repacked. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repackable {
    /// The segment.
    pub segment: SegmentId,
    /// Its size.
    pub bytes: u64,
    /// Bytes of its active blocks.
    pub active: u64,
}

impl Heap {
    /// Returns the segments with holes and active blocks and without pinned blocks, sparsest first.
    ///
    /// Cost: O(segments · log segments).
    #[must_use]
    pub fn repackable_segments(&self) -> Vec<Repackable> {
        let segments =
            SubPool::ALL.into_iter().flat_map(|pool| self.segments_of(pool)).map(|slot| &self.segments[slot]);
        let sparse = segments.filter(|segment| 0 < segment.active && segment.active < segment.size);
        let movable = sparse.filter(|segment| segment.pinned == 0);
        let mut found: Vec<Repackable> = movable
            .map(|segment| Repackable {
                segment: segment.id,
                bytes: self.bytes(segment.size),
                active: self.bytes(segment.active),
            })
            .collect();
        found.sort_by_key(|moved| ((u128::from(moved.active) << 64) / u128::from(moved.bytes), moved.segment));
        found
    }

    /// Returns the active blocks of a segment with their offsets and sizes in bytes, in the order of the offsets. Empty
    /// if the segment is not in the heap.
    ///
    /// Cost: O(blocks of the segment); of a segment in the arena of a repeated step O(blocks).
    #[must_use]
    pub fn active_blocks_of(&self, id: SegmentId) -> Vec<(BlockId, u64, u64)> {
        let Some(slot) = self.segments.slot(id) else { return Vec::new() };
        let segment = &self.segments[slot];
        let keys = if segment.planned {
            self.planned_blocks(slot)
        } else {
            self.blocks_of(segment.first).filter(|(_, block)| block.is_active()).map(|(key, _)| key).collect()
        };
        let place =
            |key: Key| (self.id_of(key), self.bytes(self.blocks[key].offset), self.bytes(self.blocks[key].size));
        keys.into_iter().map(place).collect()
    }

    /// Replaces a segment by segments without holes that contain its active blocks in the same order: each of at most
    /// `most` bytes, or of one block. Block ids stay valid; the blocks resolve to their new locations. `None` if the
    /// segment is not in the heap, is idle, or has a pinned block; the heap is then unchanged.
    ///
    /// Reserved bytes fall by the size of the holes, and are never higher in between.
    ///
    /// Cost: O(blocks of the segment).
    #[must_use = "the blocks have moved, and the memory behind the old segment is still there"]
    pub fn repack_segment(&mut self, id: SegmentId, most: u64) -> Option<Repacked> {
        self.unplan_segment(id);
        let slot = self.segments.slot(id)?;
        let segment = &self.segments[slot];
        let (pool, size, active) = (segment.pool, segment.size, segment.active);
        if active == 0 || segment.pinned > 0 {
            return None;
        }
        let blocks: Vec<(Key, Block)> = self.blocks_of(segment.first).map(|(key, block)| (key, *block)).collect();
        self.version += 1;
        for &(key, _) in blocks.iter().filter(|(_, block)| !block.is_active()) {
            self.lists[pool.index()].remove(&mut self.blocks, key);
            self.blocks.remove(key);
        }
        self.segments.take(slot);
        let released = self.bytes(size);
        self.tallies.reserved.subtract(released);
        self.tallies.segments.subtract(1);
        self.tallies.inactive_split.subtract(self.bytes(size - active));
        self.tallies.pools[pool.index()].reserved -= released;

        let mut repacked = Repacked { released, pool, segments: Vec::new(), moves: Vec::new() };
        let active: Vec<(Key, Block)> = blocks.into_iter().filter(|(_, block)| block.is_active()).collect();
        let mut rest = active.as_slice();
        while let Some(((_, first), others)) = rest.split_first() {
            let mut count = 1;
            let mut sum = first.size;
            for (_, block) in others {
                if self.bytes(sum + block.size) > most {
                    break;
                }
                (sum, count) = (sum + block.size, count + 1);
            }
            let (group, behind) = rest.split_at(count);
            self.fill_new_segment(id, group, sum, &mut repacked);
            rest = behind;
        }
        Some(repacked)
    }

    /// Adds a segment of `size` granules that consists of blocks of the segment `from`, which was removed from the
    /// heap.
    fn fill_new_segment(&mut self, from: SegmentId, group: &[(Key, Block)], size: u32, repacked: &mut Repacked) {
        let slot = self.segments.insert(repacked.pool, size);
        self.segments.unlink_idle(slot);
        let segment = &mut self.segments[slot];
        (segment.active, segment.first) = (size, group[0].0);
        let id = segment.id;
        let bytes = self.bytes(size);
        self.tallies.reserved.add(bytes);
        self.tallies.segments.add(1);
        self.tallies.pools[repacked.pool.index()].reserved += bytes;
        repacked.segments.push((id, bytes));
        let (mut offset, mut before) = (0, NONE);
        for (index, &(key, old)) in group.iter().enumerate() {
            let after = group.get(index + 1).map_or(NONE, |&(next, _)| next);
            let block = &mut self.blocks[key];
            (block.offset, block.segment, block.before, block.after) = (offset, slot, before, after);
            repacked.moves.push(Move {
                block: self.id_of(key),
                size: self.bytes(old.size),
                from_segment: from,
                from_offset: self.bytes(old.offset),
                to_segment: id,
                to_offset: self.bytes(offset),
            });
            (offset, before) = (offset + old.size, key);
        }
    }
}
