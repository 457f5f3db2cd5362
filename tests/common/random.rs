//! Seeded random numbers, identical on every machine.

/// `SplitMix64` (Steele, Lea and Flood 2014): one addition and a mixing function; any seed is valid.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }

    /// A number from 1 to `most` with a uniformly distributed logarithm: each order of magnitude is equally likely.
    pub(crate) fn size(&mut self, most: u64) -> u64 {
        let octaves = u64::from(u64::BITS - most.leading_zeros());
        let octave = self.next() % octaves;
        ((1 << octave) + self.next() % (1 << octave)).min(most)
    }

    /// An integer from -8 to 8. Sums and products in `f32` are exact as long as results stay below 2^24.
    pub(crate) fn whole(&mut self) -> i32 {
        i32::try_from(self.below(17)).expect("it is below 17") - 8
    }

    /// A real number in [-1, 1).
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit the significand of f32")]
    pub(crate) fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
