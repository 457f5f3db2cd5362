//! Sizes in readable form.

use std::fmt;

/// A number of bytes, displayed with a binary unit: `512 B`, `64.0 MiB`, `1.5 GiB`.
///
/// # Examples
///
/// ```
/// use wgpu_pool::Bytes;
///
/// assert_eq!(Bytes(512).to_string(), "512 B");
/// assert_eq!(Bytes(64 << 20).to_string(), "64.0 MiB");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        // Tenths are computed in integers and rounded down, so that no size below the next unit is shown as "1024.0".
        let mut unit = 0;
        while unit + 1 < UNITS.len() && self.0 >> (10 * (unit + 2)) > 0 {
            unit += 1;
        }
        let shift = 10 * (unit + 1);
        let whole = self.0 >> shift;
        let tenths = (u128::from(self.0 & ((1 << shift) - 1)) * 10) >> shift;
        f.pad(&format!("{whole}.{tenths} {}", UNITS[unit]))
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_leaves_a_whole_part() {
        let shown = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (3 << 30, "3.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, text) in shown {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        assert_eq!(format!("{:>10}", Bytes(2048)), "   2.0 KiB");
    }
}
