//! The reasons why a kernel window has no result.

/// The reason why a kernel window has no result on images of a size.
///
/// Cause and remedy of each variant: [`guide::errors::tensor`](crate::guide::errors::tensor).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WindowFault {
    /// The kernel size, the stride or the dilation is 0.
    Zero,
    /// The window's extent exceeds the padded image.
    TooLarge,
    /// All taps of a position can be in the padding.
    InPadding,
}

impl WindowFault {
    /// The predicate of a sentence about the window.
    pub(super) fn on(self, size: [usize; 2]) -> String {
        match self {
            Self::Zero => "is not defined: kernel, stride and dilation have to be 1 or more".to_owned(),
            Self::TooLarge => format!("does not fit images of {size:?}"),
            Self::InPadding => format!(
                "has a position with all taps in the padding on images of {size:?}: reduce the padding or the dilation"
            ),
        }
    }
}
