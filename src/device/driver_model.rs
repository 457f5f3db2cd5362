//! A model of the memory that a driver holds for segments, for the memory that only counts bytes.

use std::collections::BTreeMap;

/// The size of a block of the driver's allocator in bytes, which this crate requests through wgpu's memory hints.
pub(super) const BLOCK: u64 = 4 << 20;

/// The location of an allocation in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a separate block of exactly its size.
    Dedicated,
    /// In a block with other allocations.
    Shared { block: usize, offset: u64 },
}

/// The memory that gpu-allocator 0.28, which wgpu uses on Vulkan and DX12, would hold with blocks of [`BLOCK`] bytes.
///
/// An allocation above the block size has a separate block. Smaller allocations share blocks: each takes the smallest gap of
/// the newest block that has room. A shared block without allocations is freed, unless it is the last shared block.
#[derive(Debug, Default)]
pub(super) struct DriverModel {
    /// The shared blocks: the size of each allocation by its offset.
    blocks: Vec<Option<BTreeMap<u64, u64>>>,
    /// Bytes of all blocks.
    held: u64,
    peak: u64,
}

impl DriverModel {
    /// Places an allocation of `bytes` bytes.
    pub(super) fn allocate(&mut self, bytes: u64) -> Place {
        if bytes > BLOCK {
            self.grow(bytes);
            return Place::Dedicated;
        }
        let found = self.blocks.iter().enumerate().rev().find_map(|(index, block)| {
            let gap = smallest_gap(block.as_ref()?, bytes)?;
            Some((index, gap))
        });
        let (block, offset) = found.unwrap_or_else(|| {
            self.grow(BLOCK);
            let free = self.blocks.iter().position(Option::is_none);
            let index = free.unwrap_or(self.blocks.len());
            if free.is_none() {
                self.blocks.push(None);
            }
            self.blocks[index] = Some(BTreeMap::new());
            (index, 0)
        });
        if let Some(allocations) = &mut self.blocks[block] {
            allocations.insert(offset, bytes);
        }
        Place::Shared { block, offset }
    }

    /// Frees an allocation of `bytes` bytes.
    pub(super) fn free(&mut self, place: Place, bytes: u64) {
        match place {
            Place::Dedicated => self.held -= bytes,
            Place::Shared { block, offset } => {
                let alive = self.blocks.iter().flatten().count();
                if let Some(allocations) = &mut self.blocks[block] {
                    allocations.remove(&offset);
                    if allocations.is_empty() && alive > 1 {
                        self.blocks[block] = None;
                        self.held -= BLOCK;
                    }
                }
            }
        }
    }

    /// Returns the bytes of all blocks now.
    pub(super) const fn held(&self) -> u64 {
        self.held
    }

    /// Returns the peak of the bytes of all blocks.
    pub(super) const fn peak(&self) -> u64 {
        self.peak
    }

    fn grow(&mut self, bytes: u64) {
        self.held += bytes;
        self.peak = self.peak.max(self.held);
    }
}

/// Returns the offset of the smallest gap of at least `bytes` bytes between allocations of a shared block.
fn smallest_gap(allocations: &BTreeMap<u64, u64>, bytes: u64) -> Option<u64> {
    let starts = std::iter::once(0).chain(allocations.iter().map(|(offset, size)| offset + size));
    let ends = allocations.keys().copied().chain(std::iter::once(BLOCK));
    starts
        .zip(ends)
        .map(|(start, end)| (end - start, start))
        .filter(|&(size, _)| size >= bytes)
        .min()
        .map(|(_, start)| start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn an_allocation_above_a_block_has_one_of_its_own_and_smaller_ones_share() {
        let mut model = DriverModel::default();
        let large = model.allocate(BLOCK + 1);
        assert_eq!((large, model.held()), (Place::Dedicated, BLOCK + 1));
        let small = [3 * MIB, MIB].map(|bytes| model.allocate(bytes));
        assert_eq!(small, [Place::Shared { block: 0, offset: 0 }, Place::Shared { block: 0, offset: 3 * MIB }]);
        assert_eq!(model.held(), 2 * BLOCK + 1);
        model.free(large, BLOCK + 1);
        assert_eq!((model.held(), model.peak()), (BLOCK, 2 * BLOCK + 1));
    }

    #[test]
    fn an_empty_block_is_freed_unless_it_is_the_last() {
        let mut model = DriverModel::default();
        let places = [0; 3].map(|_| model.allocate(BLOCK));
        assert_eq!(model.held(), 3 * BLOCK);
        for (place, left) in places.into_iter().zip([2, 1, 1]) {
            model.free(place, BLOCK);
            assert_eq!(model.held(), left * BLOCK);
        }
        assert_eq!(model.allocate(MIB), Place::Shared { block: 2, offset: 0 });
        assert_eq!((model.held(), model.peak()), (BLOCK, 3 * BLOCK));
    }

    #[test]
    fn the_smallest_gap_of_the_newest_block_is_taken() {
        let mut model = DriverModel::default();
        let sizes = [MIB, MIB / 2, MIB / 2, MIB, MIB];
        let places = sizes.map(|bytes| model.allocate(bytes));
        model.free(places[0], sizes[0]);
        model.free(places[2], sizes[2]);
        assert_eq!(model.allocate(MIB / 2), Place::Shared { block: 0, offset: 3 * MIB / 2 });
        assert_eq!(model.allocate(2 * MIB), Place::Shared { block: 1, offset: 0 });
        assert_eq!(model.allocate(MIB), Place::Shared { block: 1, offset: 2 * MIB });
        assert_eq!(model.allocate(MIB), Place::Shared { block: 1, offset: 3 * MIB });
        assert_eq!(model.allocate(MIB), Place::Shared { block: 0, offset: 0 });
    }
}
