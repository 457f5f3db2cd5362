//! The arguments of operations in errors, and the shapes that the arguments must have.

use super::count::Count;
use std::fmt;

/// An argument of an operation, as named in errors: `weight`, `2nd operand`, `gradient of the 1st parameter`.
///
/// The tensor whose method was called is `input` of operations that PyTorch has as functions with that parameter, `gradient` of the
/// functions that compute gradients, `1st operand` of elementwise operations, `output` of elementwise operations in place, and `tensor`
/// otherwise. Indices count from 0, and are displayed from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Argument {
    /// The only argument of this name.
    Named(&'static str),
    /// One of several arguments, such as the tensors of a concatenation.
    Nth {
        /// The name of each argument.
        name: &'static str,
        /// The index of the argument.
        index: usize,
    },
    /// A tensor of one of several parameters of an optimizer.
    OfParameter {
        /// The name of the tensor.
        name: &'static str,
        /// The index of the parameter.
        index: usize,
    },
}

impl Argument {
    /// One of the operands of an elementwise operation. The tensor whose method was called is the first.
    pub(crate) const fn operand(index: usize) -> Self {
        Self::Nth { name: "operand", index }
    }
}

impl From<&'static str> for Argument {
    fn from(name: &'static str) -> Self {
        Self::Named(name)
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Nth { name, index } => write!(f, "{} {name}", Ordinal(*index)),
            Self::OfParameter { name, index } => write!(f, "{name} of the {} parameter", Ordinal(*index)),
        }
    }
}

/// An index from 0, displayed as `1st`, `2nd`, `3rd`, `4th`, `11th`, `21st`.
struct Ordinal(usize);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.saturating_add(1);
        let ending = match (number % 10, number % 100) {
            (1, rest) if rest != 11 => "st",
            (2, rest) if rest != 12 => "nd",
            (3, rest) if rest != 13 => "rd",
            _ => "th",
        };
        write!(f, "{number}{ending}")
    }
}

/// The shape that an argument must have. Displayed as the predicate of a sentence about the argument.
///
/// Cause and remedy of each variant: [`guide::errors::tensor`](crate::guide::errors::tensor).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeRequirement {
    /// A shape that follows from another argument, such as that of a bias from the weight.
    Exactly {
        /// The required shape.
        shape: Vec<usize>,
        /// The other argument.
        by: Argument,
        /// The shape of the other argument.
        of: Vec<usize>,
    },
    /// The shape of another argument.
    Same {
        /// The other argument.
        by: Argument,
        /// The shape of the other argument.
        of: Vec<usize>,
    },
    /// The shape of another argument, except along an axis.
    SameExcept {
        /// The axis along which the sizes may differ.
        axis: usize,
        /// The other argument.
        by: Argument,
        /// The shape of the other argument.
        of: Vec<usize>,
    },
    /// The rank of another argument, and at most its size along each axis except one.
    Within {
        /// The axis along which the size may be larger.
        axis: usize,
        /// The other argument.
        by: Argument,
        /// The shape of the other argument.
        of: Vec<usize>,
    },
    /// A shape that broadcasts to this shape.
    BroadcastTo {
        /// The shape.
        shape: Vec<usize>,
    },
    /// A shape that broadcasts with the shape of the other arguments.
    BroadcastWith {
        /// The shape to which the other arguments broadcast.
        shape: Vec<usize>,
    },
    /// Leading dimensions, all but the last two, that broadcast with those of another argument.
    LeadingDimensions {
        /// The other argument.
        by: Argument,
        /// The shape of the other argument.
        of: Vec<usize>,
    },
    /// The size of a dimension that another argument has, too.
    Size {
        /// The dimension, such as `inner size` of a matrix product or `batch size`.
        dimension: &'static str,
        /// The size of the dimension.
        size: usize,
        /// The other argument.
        by: Argument,
        /// The shape of the other argument.
        of: Vec<usize>,
        /// The size of the dimension in the other argument.
        wanted: usize,
    },
    /// The input channels of a group of a convolution.
    Channels {
        /// The weight's input channels per group.
        channels: usize,
        /// The shape of the input.
        input: Vec<usize>,
        /// The input's channels per group.
        wanted: usize,
        /// The number of groups.
        groups: usize,
    },
    /// The number of elements of another shape.
    Elements {
        /// The argument's number of elements.
        elements: usize,
        /// The other shape.
        shape: Vec<usize>,
        /// The number of elements of the other shape; `None` if it overflows.
        wanted: Option<usize>,
    },
    /// Sizes of parts whose sum is the size of an axis. The argument is a list of sizes.
    Sum {
        /// The axis.
        axis: usize,
        /// The size of the axis.
        size: usize,
    },
}

impl fmt::Display for ShapeRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly { shape, by, of } => write!(f, "must have shape {shape:?} for the {by} {of:?}"),
            Self::Same { by, of } => write!(f, "must have the shape of the {by}, {of:?}"),
            Self::SameExcept { axis, by, of } => {
                write!(f, "must have the shape of the {by}, {of:?}, except along axis {axis}")
            }
            Self::Within { axis, by, of } => {
                write!(f, "must have the rank of the {by} {of:?} and no larger sizes, except along axis {axis}")
            }
            Self::BroadcastTo { shape } => write!(f, "does not broadcast to {shape:?}"),
            Self::BroadcastWith { shape } => write!(f, "does not broadcast with {shape:?}"),
            Self::LeadingDimensions { by, of } => {
                write!(f, "has leading dimensions that do not broadcast with those of the {by} {of:?}")
            }
            Self::Size { dimension, size, by, of, wanted } => {
                write!(f, "has {dimension} {size}, but the {by} {of:?} has {wanted}")
            }
            Self::Channels { channels, input, wanted, groups } => write!(
                f,
                "has {} per group, but the input {input:?} has {wanted} with groups = {groups}",
                Count(*channels, "input channel")
            ),
            Self::Elements { elements, shape, wanted } => {
                write!(f, "has {}, but shape {shape:?} has ", Count(*elements, "element"))?;
                match wanted {
                    Some(wanted) => write!(f, "{wanted}"),
                    None => write!(f, "more than {}", usize::MAX),
                }
            }
            Self::Sum { axis, size } => write!(f, "must have the sum {size}, the size of axis {axis}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Argument;

    #[test]
    fn indices_are_shown_as_ordinal_numbers() {
        let shown = [0, 1, 2, 3, 10, 11, 12, 20, 21, 100, 110, 111, usize::MAX].map(|index| {
            let text = Argument::Nth { name: "tensor", index }.to_string();
            text.split(' ').next().unwrap_or_default().to_owned()
        });
        let largest = format!("{}th", usize::MAX);
        let wanted = ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th", "112th"];
        assert_eq!(shown[..12], wanted);
        assert_eq!(shown[12], largest);
        assert_eq!(Argument::from("weight").to_string(), "weight");
        let gradient = Argument::OfParameter { name: "gradient", index: 2 };
        assert_eq!(gradient.to_string(), "gradient of the 3rd parameter");
    }
}
