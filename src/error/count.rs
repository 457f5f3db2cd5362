//! Numbers of things in messages.

use std::fmt;

/// A number and its noun, displayed as `1 hole` or `2 holes`. The noun is given in the singular. Flags of the format apply to the
/// number: `{:+}` displays `+1 block`.
pub(crate) struct Count<N>(pub(crate) N, pub(crate) &'static str);

impl<N: fmt::Display + Copy + TryInto<i128>> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, noun) = *self;
        number.fmt(f)?;
        let is_one = number.try_into().is_ok_and(|number: i128| number.unsigned_abs() == 1);
        let ending = match noun.as_bytes() {
            _ if is_one => "",
            [.., b'c' | b's', b'h'] | [.., b's' | b'x'] => "es",
            _ => "s",
        };
        write!(f, " {noun}{ending}")
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn only_one_is_singular() {
        let shown = [0, 1, 2, usize::MAX].map(|number| Count(number, "hole").to_string());
        assert_eq!(shown, ["0 holes".into(), "1 hole".into(), "2 holes".into(), format!("{} holes", usize::MAX)]);
        assert_eq!(Count(1_u64, "other handle").to_string(), "1 other handle");
        assert_eq!([1, 2].map(|number| Count(number, "dispatch").to_string()), ["1 dispatch", "2 dispatches"]);
        let changes = [-2_i64, -1, 0, 1, 2].map(|change| format!("{:+}", Count(change, "block")));
        assert_eq!(changes, ["-2 blocks", "-1 block", "+0 blocks", "+1 block", "+2 blocks"]);
    }
}
