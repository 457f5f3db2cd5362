//! Floating-point numbers in errors.

use std::fmt;

/// A floating-point argument that was refused. Two are equal if their bits are equal, so that an error with NaN equals itself.
///
/// # Examples
///
/// ```
/// use wgpu_pool::error::Number;
///
/// assert_eq!(Number(f64::NAN), Number(f64::NAN));
/// assert_eq!(Number(1.1_f32.into()).to_string(), "1.1");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Number {}

impl fmt::Display for Number {
    /// Writes the shortest digits that identify the number: those of the f32, if the number was one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_possible_truncation, reason = "the next line compares the rest")]
        let single = self.0 as f32;
        if Self(single.into()) == *self { single.fmt(f) } else { self.0.fmt(f) }
    }
}

#[cfg(test)]
mod tests {
    use super::Number;

    #[test]
    fn a_number_is_written_with_the_digits_of_its_own_precision() {
        assert_eq!(Number(1.1).to_string(), "1.1");
        assert_eq!(Number(1.1_f32.into()).to_string(), "1.1");
        assert_eq!(Number(f64::MAX).to_string(), f64::MAX.to_string());
        assert_eq!(Number(f64::NEG_INFINITY).to_string(), "-inf");
        assert_ne!(Number(0.0), Number(-0.0));
    }
}
