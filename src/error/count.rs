//! Numbers of things in messages.

use std::fmt;

/// A number and its noun, displayed as `1 hole` or `2 holes`. The noun is given in the singular, and takes an s.
pub(crate) struct Count<N>(pub(crate) N, pub(crate) &'static str);

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, noun) = self;
        let ending = if *number == N::from(1) { "" } else { "s" };
        write!(f, "{number} {noun}{ending}")
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn only_one_is_singular() {
        let shown = [0, 1, 2].map(|number| Count(number, "hole").to_string());
        assert_eq!(shown, ["0 holes", "1 hole", "2 holes"]);
        assert_eq!(Count(1_u64, "other handle").to_string(), "1 other handle");
    }
}
