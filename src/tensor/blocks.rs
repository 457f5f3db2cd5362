//! The memory of a tensor: one block, or several for a tensor above the largest block.
//!
//! Several blocks are one range of elements, divided at `starts`. Layouts refer to elements of this range, so that every view of a
//! tensor of one block is also a view of a tensor of several. Blocks are divided between slices of the outermost axes, if a slice
//! fits a block; see [`division`].
//!
//! A tensor is *divided* if its elements are in several blocks. A view whose elements are in one block is an ordinary tensor over
//! that block. Kernels bind one block of each operand: `pieces.rs` divides an operation accordingly.

use super::{Layout, arithmetic};
use crate::pool::{Storage, WeakStorage};
use rustc_hash::FxHashMap;
use std::hash::Hash;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// The memory of a tensor.
#[derive(Clone)]
pub(super) enum Blocks {
    One(Storage),
    Several(Arc<Several>),
}

/// At least two blocks.
pub(super) struct Several {
    storages: Vec<Storage>,
    /// The first element of each block, and the end of the last block.
    starts: Vec<usize>,
}

/// The blocks of a tensor, without keeping the memory allocated.
#[derive(Clone, Debug)]
pub(super) enum WeakBlocks {
    One(WeakStorage),
    Several(Weak<Several>),
}

impl Blocks {
    /// The blocks of elements that are divided at `starts`, which includes 0 and the number of elements.
    pub(super) fn of(storages: Vec<Storage>, starts: Vec<usize>) -> Self {
        debug_assert_eq!(storages.len() + 1, starts.len());
        Self::Several(Arc::new(Several { storages, starts }))
    }

    pub(super) fn storages(&self) -> &[Storage] {
        match self {
            Self::One(storage) => std::slice::from_ref(storage),
            Self::Several(several) => &several.storages,
        }
    }

    /// Returns the blocks of a layout's elements, and the layout in them: one block if all elements are in one.
    pub(super) fn narrowed_to(&self, layout: Layout) -> (Self, Layout) {
        if let Self::Several(several) = self {
            let span = layout.span();
            let block = several.block_of(span.start);
            if span.is_empty() || span.end <= several.starts[block + 1] {
                let offset = layout.offset.saturating_sub(several.starts[block]);
                return (Self::One(several.storages[block].clone()), Layout { offset, ..layout });
            }
        }
        (self.clone(), layout)
    }

    /// Returns the parts of a range of elements that are in one block each: the storage, and the elements in it.
    pub(super) fn spans(&self, span: Range<usize>) -> Vec<(&Storage, Range<usize>)> {
        match self {
            Self::One(storage) => vec![(storage, span)],
            Self::Several(several) => {
                let blocks = several.storages.iter().zip(several.starts.windows(2));
                let parts = blocks.map(|(storage, starts)| {
                    let [start, end] = [span.start, span.end].map(|at| at.clamp(starts[0], starts[1]) - starts[0]);
                    (storage, start..end)
                });
                parts.filter(|(_, part)| !part.is_empty()).collect()
            }
        }
    }

    /// Returns the end of the block that contains an element.
    pub(super) fn end_of_block(&self, element: usize) -> usize {
        match self {
            Self::One(_) => usize::MAX,
            Self::Several(several) => several.starts[several.block_of(element) + 1],
        }
    }

    /// Returns the number of other handles to the memory.
    pub(super) fn other_handles(&self) -> usize {
        match self {
            Self::One(storage) => storage.handles() - 1,
            Self::Several(several) => {
                let of_parts: usize = several.storages.iter().map(|storage| storage.handles() - 1).sum();
                Arc::strong_count(several) - 1 + of_parts
            }
        }
    }

    /// Returns the elements before the first common element of two ranges of memory, in each of them: the distance by which an
    /// offset in one is converted to an offset in the other. `None` if they have no block in common.
    pub(super) fn common(&self, other: &Self) -> Option<[usize; 2]> {
        match (self, other) {
            (Self::One(one), Self::One(other)) => one.is_same(other).then_some([0, 0]),
            (Self::Several(one), Self::Several(other)) if Arc::ptr_eq(one, other) => Some([0, 0]),
            _ => {
                let identities = |blocks: &Self| blocks.storages().iter().map(Storage::identity).collect::<Vec<_>>();
                let [own, others] = first_common(&identities(self), &identities(other))?;
                Some([self.starts().nth(own)?, other.starts().nth(others)?])
            }
        }
    }

    /// Returns the first element of each block, and the end of several.
    fn starts(&self) -> impl Iterator<Item = usize> + '_ {
        match self {
            Self::One(_) => [0].iter().copied(),
            Self::Several(several) => several.starts.iter().copied(),
        }
    }

    pub(super) fn downgrade(&self) -> WeakBlocks {
        match self {
            Self::One(storage) => WeakBlocks::One(storage.downgrade()),
            Self::Several(several) => WeakBlocks::Several(Arc::downgrade(several)),
        }
    }
}

/// Compared one by one up to this many pairs, which costs less than a table.
const FEW_PAIRS: usize = 64;

/// Returns the first key that another list has, too, and its first place in that list. O(keys of both).
fn first_common<K: Eq + Hash>(own: &[K], others: &[K]) -> Option<[usize; 2]> {
    let place =
        |find: &dyn Fn(&K) -> Option<usize>| own.iter().enumerate().find_map(|(at, key)| Some([at, find(key)?]));
    if own.len().saturating_mul(others.len()) <= FEW_PAIRS || own.len() == 1 || others.len() == 1 {
        return place(&|key| others.iter().position(|other| other == key));
    }
    let mut places = FxHashMap::default();
    for (at, key) in others.iter().enumerate() {
        places.entry(key).or_insert(at);
    }
    place(&|key| places.get(key).copied())
}

impl Several {
    /// Returns the block that contains an element, or the last block for the end of the range.
    fn block_of(&self, element: usize) -> usize {
        let after = self.starts.partition_point(|&start| start <= element);
        after.saturating_sub(1).min(self.storages.len() - 1)
    }
}

impl WeakBlocks {
    pub(super) fn upgrade(&self) -> Option<Blocks> {
        match self {
            Self::One(storage) => storage.upgrade().map(Blocks::One),
            Self::Several(several) => several.upgrade().map(Blocks::Several),
        }
    }
}

impl std::fmt::Debug for Several {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { storages, starts } = self;
        f.debug_struct("Several").field("storages", storages).field("starts", starts).finish()
    }
}

/// The sizes of blocks for a shape that does not fit one block of `most` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Division {
    /// The axis between whose indices the blocks are divided; the axes before it have `outer` indices in total.
    axis: usize,
    outer: usize,
    /// The indices of this axis, and of a block; the last block of each outer index may have fewer.
    size: usize,
    length: usize,
    /// The elements of one index of this axis.
    inner: usize,
}

/// Blocks begin at a multiple of this many slices where possible, so that kernels can move vectors.
const VECTOR: usize = 4;

/// Divides a shape into blocks of at most `most` elements: along the outermost axis of which a slice fits a block, into as few
/// blocks as possible, of about equal size. The innermost axis is divided only if a row exceeds a block.
pub(super) fn division(shape: &[usize], most: usize) -> Division {
    let mut inner = 1;
    let mut axis = shape.len().saturating_sub(1);
    // From the innermost axis outwards, while a slice of the next axis fits a block.
    while axis > 0 && inner * shape[axis] <= most {
        inner *= shape[axis];
        axis -= 1;
    }
    let size = shape.get(axis).copied().unwrap_or(1);
    let most = (most / inner).max(1);
    let most = if most > VECTOR { most - most % VECTOR } else { most };
    let even = size.div_ceil(size.div_ceil(most).max(1)).max(1);
    let length = if most > VECTOR { even.next_multiple_of(VECTOR) } else { even };
    let outer = arithmetic::elements(&shape[..axis]);
    Division { axis, outer, size, length, inner }
}

impl Division {
    /// Returns the shape of each block and its first element, in order, for the shape that was divided.
    pub(super) fn blocks(self, shape: &[usize]) -> impl Iterator<Item = (Vec<usize>, usize)> + '_ {
        let Self { axis, outer, size, length, inner } = self;
        (0..outer).flat_map(move |outer| {
            (0..size).step_by(length).map(move |start| {
                let mut block = vec![1; shape.len()];
                block[axis..].copy_from_slice(&shape[axis..]);
                block[axis] = length.min(size - start);
                (block, (outer * size + start) * inner)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::hash::Hasher;

    /// A key that counts how often it is compared.
    struct Counted<'a>(usize, &'a Cell<usize>);

    impl PartialEq for Counted<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.1.set(self.1.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counted<'_> {}

    impl Hash for Counted<'_> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    #[test]
    fn the_blocks_of_two_tensors_are_compared_about_once_each() {
        let compared = Cell::new(0);
        let keys = |range: Range<usize>| range.map(|key| Counted(0x1000 + 96 * key, &compared)).collect::<Vec<_>>();
        let (own, others) = (keys(0..5000), keys(5000..9000));
        assert_eq!(first_common(&own, &others), None);
        assert_eq!(first_common(&own, &keys(4999..9000)), Some([4999, 0]));
        assert_eq!(first_common(&own[..1], &keys(1..9000)), None);
        assert!(compared.get() < 3 * 9000, "{} comparisons", compared.get());
    }

    proptest! {
        #[test]
        fn the_first_common_block_is_that_of_all_pairs(
            own in prop::collection::vec(0_usize..60, 0..20),
            others in prop::collection::vec(0_usize..60, 0..20),
        ) {
            let pairs = (0..own.len()).flat_map(|at| (0..others.len()).map(move |other| [at, other]));
            let wanted = pairs.into_iter().find(|&[at, other]| own[at] == others[other]);
            prop_assert_eq!(first_common(&own, &others), wanted);
        }

        #[test]
        fn blocks_cover_a_shape_without_gaps_and_fit(
            shape in prop::collection::vec(1_usize..12, 1..5),
            most in 1_usize..40,
        ) {
            let division = division(&shape, most);
            let mut next = 0;
            for (block, start) in division.blocks(&shape) {
                prop_assert_eq!(start, next);
                let elements = arithmetic::elements(&block);
                prop_assert!(elements <= most && elements > 0, "{:?} of {:?}", block, shape);
                next += elements;
            }
            prop_assert_eq!(next, arithmetic::elements(&shape));
            // A row is divided only if it exceeds a block.
            let row = shape.last().copied().unwrap_or(1);
            if row <= most && shape.len() > 1 {
                prop_assert!(division.blocks(&shape).all(|(_, start)| start % row == 0));
            }
        }
    }

    #[test]
    fn a_cube_of_four_gibibytes_has_three_blocks_of_two_gibibytes_less_a_vector() {
        let most = ((1_usize << 31) - 4) / 4;
        let division = division(&[1024, 1024, 1024], most);
        let blocks: Vec<_> = division.blocks(&[1024, 1024, 1024]).map(|(shape, _)| shape).collect();
        assert_eq!(blocks, [[344, 1024, 1024], [344, 1024, 1024], [336, 1024, 1024]]);
    }

    #[test]
    fn one_index_of_the_outermost_axis_may_exceed_a_block() {
        let blocks: Vec<_> = division(&[2, 10, 3], 12).blocks(&[2, 10, 3]).collect();
        let wanted =
            [([1, 4, 3], 0), ([1, 4, 3], 12), ([1, 2, 3], 24), ([1, 4, 3], 30), ([1, 4, 3], 42), ([1, 2, 3], 54)];
        assert_eq!(blocks, wanted.map(|(shape, start)| (shape.to_vec(), start)));
    }
}
