//! Size classes: map a number of granules to the free list for blocks of that size.
//!
//! Two levels, as in TLSF (Masmano et al. 2004, "TLSF: a new dynamic memory allocator for real-time systems"): octaves
//! between powers of two, each divided into [`BINS`] bins of equal width. Up to `2 * BINS` granules every size has a
//! separate class; above, the width of a class is at most 1/64 of its sizes.
//!
//! ```text
//! granules   0  1  2 … 63 │ 64 65 … 127 │ 128–129 … 254–255 │ 256–259 … 508–511 │ …
//! octave     0            │ 1           │ 2                 │ 3                 │
//! bin width  1            │ 1           │ 2                 │ 4                 │
//! ```

/// The bits of the bin within an octave.
const BIN_BITS: u32 = 6;
/// The bins in an octave: one bit each of a `u64`.
pub(super) const BINS: usize = BINS_U32 as usize;
const BINS_U32: u32 = 1 << BIN_BITS;
/// The octaves that cover every `u32`: sizes below `BINS`, then one octave for each bit from `BIN_BITS` to 31.
pub(super) const OCTAVES: usize = (u32::BITS - BIN_BITS) as usize + 1;
/// The number of classes.
pub(super) const CLASSES: usize = OCTAVES * BINS;

/// A class of block sizes. Classes are ordered by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class(u16);

impl Class {
    /// Returns the class of blocks of `granules` granules.
    #[inline]
    pub(super) const fn of(granules: u32) -> Self {
        if granules < BINS_U32 {
            return Self::at(0, granules as usize);
        }
        let shift = granules.ilog2() - BIN_BITS;
        Self::at(shift as usize + 1, (granules >> shift) as usize & (BINS - 1))
    }

    /// Returns the class at `octave` and `bin`, which must be within their ranges.
    #[expect(clippy::cast_possible_truncation, reason = "CLASSES is below 2^16, as the constant proves")]
    #[inline]
    pub(super) const fn at(octave: usize, bin: usize) -> Self {
        const { assert!(CLASSES <= u16::MAX as usize) };
        debug_assert!(octave < OCTAVES && bin < BINS);
        Self((octave << BIN_BITS | bin) as u16)
    }

    /// The index among all classes, from 0.
    #[inline]
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The number for reports.
    pub(super) const fn number(self) -> u16 {
        self.0
    }

    /// The octave.
    #[inline]
    pub(super) const fn octave(self) -> usize {
        self.index() >> BIN_BITS
    }

    /// The bin within the octave.
    #[inline]
    pub(super) const fn bin(self) -> usize {
        self.index() & (BINS - 1)
    }

    /// The smallest size in the class, in granules.
    #[cfg(test)]
    const fn least(self) -> u32 {
        match self.octave() {
            0 => self.0 as u32,
            octave => (BINS_U32 | (self.0 as u32 & (BINS_U32 - 1))) << (octave - 1),
        }
    }

    /// The largest size in the class, in granules.
    #[cfg(test)]
    const fn most(self) -> u32 {
        match self.octave() {
            0 => self.0 as u32,
            octave => self.least() + ((1 << (octave - 1)) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> impl Iterator<Item = Class> {
        (0..CLASSES).map(|index| Class::at(index / BINS, index % BINS))
    }

    #[test]
    fn the_classes_tile_all_sizes_in_order() {
        let mut next = 0u64;
        for class in classes() {
            assert_eq!(u64::from(class.least()), next, "{class:?}");
            assert!(class.most() >= class.least(), "{class:?}");
            next = u64::from(class.most()) + 1;
        }
        assert_eq!(next, 1 << 32);
    }

    #[test]
    fn every_size_at_a_boundary_is_in_the_class_that_spans_it() {
        for class in classes() {
            for size in [class.least(), class.least() + (class.most() - class.least()) / 2, class.most()] {
                assert_eq!(Class::of(size), class, "{size}");
            }
            if let Some(below) = class.least().checked_sub(1) {
                assert_eq!(Class::of(below).index() + 1, class.index());
            }
            if let Some(above) = class.most().checked_add(1) {
                assert_eq!(Class::of(above).index(), class.index() + 1);
            }
        }
    }

    #[test]
    fn a_larger_size_is_never_in_a_lower_class() {
        for size in 1..1u32 << 20 {
            assert!(Class::of(size) >= Class::of(size - 1), "{size}");
        }
    }

    #[test]
    fn sizes_up_to_two_octaves_of_bins_have_a_class_of_their_own() {
        for size in 0..2 * BINS_U32 {
            let class = Class::of(size);
            assert_eq!((class.least(), class.most()), (size, size));
        }
        assert_eq!(Class::of(128), Class::of(129));
    }

    #[test]
    fn a_class_is_at_most_a_64th_of_its_sizes_wide() {
        for class in classes().skip(1) {
            let width = u64::from(class.most() - class.least());
            assert!(width * BINS as u64 <= u64::from(class.least()), "{class:?}");
        }
    }

    #[test]
    fn octave_and_bin_map_back_to_the_class() {
        for class in classes() {
            assert_eq!(Class::at(class.octave(), class.bin()), class);
            assert_eq!(usize::from(class.number()), class.index());
        }
    }
}
