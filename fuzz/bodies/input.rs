//! The input of the fuzzer, read as numbers. After its end, all numbers are zero.

#![allow(dead_code, reason = "each body reads its own part of it")]

pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub(crate) fn two(&mut self) -> u64 {
        u64::from(self.byte()) | u64::from(self.byte()) << 8
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// A small number, or one near a limit of some integer type.
    pub(crate) fn extreme(&mut self) -> usize {
        let byte = self.byte();
        let low = usize::from(byte & 15);
        match byte >> 4 {
            0..=9 => low,
            10 => usize::MAX - low,
            11 => (u32::MAX as usize).wrapping_add(low).wrapping_sub(7),
            12 => (isize::MAX as usize).wrapping_add(low).wrapping_sub(7),
            13 => 1_usize.checked_shl(u32::from(byte & 15) * 4).unwrap_or(0),
            14 => (i32::MAX as usize) + low - 7,
            _ => (1_usize << (usize::BITS - 1)) >> low,
        }
    }
}
