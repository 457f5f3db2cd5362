//! Options of operations that move a kernel window over images, with PyTorch's defaults.

use crate::error::{TensorError, WindowFault};
use crate::tensor::arithmetic;

/// The padding at each edge of an image.
///
/// Converts from one number for all edges, from (height, width), each for both edges of the axis, and from
/// ((top, bottom), (left, right)).
///
/// ```
/// use wgpu_pool::{MaxPool2d, Padding};
///
/// let options = MaxPool2d { stride: [2, 2], padding: 1.into(), ..MaxPool2d::new(3) };
/// assert_eq!(options.padding, Padding { top: 1, bottom: 1, left: 1, right: 1 });
/// assert_eq!(Padding::from([[0, 1], [2, 3]]), Padding { top: 0, bottom: 1, left: 2, right: 3 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Above the first row.
    pub top: usize,
    /// Below the last row.
    pub bottom: usize,
    /// Before the first column.
    pub left: usize,
    /// After the last column.
    pub right: usize,
}

impl Padding {
    /// Returns the same padding at every edge.
    #[must_use]
    pub const fn all(places: usize) -> Self {
        Self { top: places, bottom: places, left: places, right: places }
    }

    /// Returns the padding with which the result of a convolution of stride 1 has the size of its input; if the total
    /// is odd, the bottom and the right edge get one more. Equals `padding="same"` of `torch.nn.functional.conv2d`.
    #[must_use]
    pub const fn same(kernel: [usize; 2], dilation: [usize; 2]) -> Self {
        let vertical = kernel[0].saturating_sub(1).saturating_mul(dilation[0]);
        let horizontal = kernel[1].saturating_sub(1).saturating_mul(dilation[1]);
        Self {
            top: vertical / 2,
            bottom: vertical - vertical / 2,
            left: horizontal / 2,
            right: horizontal - horizontal / 2,
        }
    }
}

impl From<usize> for Padding {
    fn from(places: usize) -> Self {
        Self::all(places)
    }
}

impl From<[usize; 2]> for Padding {
    fn from([rows, columns]: [usize; 2]) -> Self {
        Self { top: rows, bottom: rows, left: columns, right: columns }
    }
}

impl From<[[usize; 2]; 2]> for Padding {
    fn from([[top, bottom], [left, right]]: [[usize; 2]; 2]) -> Self {
        Self { top, bottom, left, right }
    }
}

/// The options of a convolution. The weight determines the kernel size. Pairs of numbers are (height, width).
///
/// The default is PyTorch's: a stride of 1, no padding, a dilation of 1, one group.
///
/// ```
/// use wgpu_pool::{Conv2d, Padding};
///
/// let options = Conv2d { padding: Padding::all(1), ..Conv2d::default() };
/// assert_eq!((options.stride, options.dilation, options.groups), ([1, 1], [1, 1], 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Stride in elements.
    pub stride: [usize; 2],
    /// Zeros around the images.
    pub padding: Padding,
    /// Dilation in elements.
    pub dilation: [usize; 2],
    /// The number of groups into which input and output channels are divided; each group is convolved separately. A depthwise
    /// convolution has as many groups as channels.
    pub groups: usize,
}

impl Default for Conv2d {
    fn default() -> Self {
        Self { stride: [1; 2], padding: Padding::all(0), dilation: [1; 2], groups: 1 }
    }
}

/// The options of [`Tensor::max_pool2d`](crate::Tensor::max_pool2d). Pairs of numbers are (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// Size of the window.
    pub kernel_size: [usize; 2],
    /// Stride in elements.
    pub stride: [usize; 2],
    /// Padding with −∞; at each edge at most half of the window's extent.
    pub padding: Padding,
    /// Dilation in elements.
    pub dilation: [usize; 2],
    /// Whether the output size is rounded up, which allows a last window that extends past the padded image (PyTorch's `ceil_mode`).
    pub ceil_mode: bool,
}

impl MaxPool2d {
    /// Returns a square window whose stride is its size, with PyTorch's defaults: no padding, dilation 1, no `ceil_mode`.
    #[must_use]
    pub const fn new(kernel_size: usize) -> Self {
        Self {
            kernel_size: [kernel_size; 2],
            stride: [kernel_size; 2],
            padding: Padding::all(0),
            dilation: [1; 2],
            ceil_mode: false,
        }
    }
}

/// The options of [`Tensor::avg_pool2d`](crate::Tensor::avg_pool2d). Pairs of numbers are (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    /// Size of the window.
    pub kernel_size: [usize; 2],
    /// Stride in elements.
    pub stride: [usize; 2],
    /// Zeros around the images; at each edge at most half of the window with `ceil_mode` or without `count_include_pad`.
    pub padding: Padding,
    /// Whether the output size is rounded up, which allows a last window that extends past the padded image (PyTorch's `ceil_mode`).
    /// Elements beyond the padded image do not count.
    pub ceil_mode: bool,
    /// Whether the zeros of the padding count in the mean.
    pub count_include_pad: bool,
}

impl AvgPool2d {
    /// Returns a square window whose stride is its size, with PyTorch's defaults: no padding, no `ceil_mode`, zeros count.
    #[must_use]
    pub const fn new(kernel_size: usize) -> Self {
        Self {
            kernel_size: [kernel_size; 2],
            stride: [kernel_size; 2],
            padding: Padding::all(0),
            ceil_mode: false,
            count_include_pad: true,
        }
    }
}

/// The options of [`Tensor::unfold`](crate::Tensor::unfold) and [`Tensor::fold`](crate::Tensor::fold). Pairs of numbers are
/// (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfold {
    /// Size of the window.
    pub kernel_size: [usize; 2],
    /// Stride in elements.
    pub stride: [usize; 2],
    /// Zeros around the images.
    pub padding: Padding,
    /// Dilation in elements.
    pub dilation: [usize; 2],
}

impl Unfold {
    /// Returns a square window with PyTorch's defaults: a stride of 1, no padding, a dilation of 1.
    #[must_use]
    pub const fn new(kernel_size: usize) -> Self {
        Self { kernel_size: [kernel_size; 2], stride: [1; 2], padding: Padding::all(0), dilation: [1; 2] }
    }
}

/// A kernel window of any operation: its size, stride, dilation and padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelWindow {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// Before the first place of each axis, and behind the last.
    pub(super) padding: [[usize; 2]; 2],
    pub(super) ceil_mode: bool,
}

impl KernelWindow {
    /// The window of operations without one.
    pub(super) const ONE: Self =
        Self { kernel: [1; 2], stride: [1; 2], dilation: [1; 2], padding: [[0; 2]; 2], ceil_mode: false };

    /// From the first to one beyond the last place that the window covers along an axis; none if it overflows.
    pub(super) fn extent(&self, axis: usize) -> Option<usize> {
        arithmetic::window_extent(self.kernel[axis], self.dilation[axis])
    }

    /// The number of its positions along each axis of an image of this size.
    pub(super) fn out(&self, name: &'static str, size: [usize; 2]) -> Result<[usize; 2], TensorError> {
        let along = |axis: usize| {
            let Self { stride, padding, ceil_mode, .. } = *self;
            arithmetic::window_positions(size[axis], self.extent(axis)?, stride[axis], padding[axis], ceil_mode)
        };
        match (along(0), along(1)) {
            (Some(rows), Some(columns)) => Ok([rows, columns]),
            _ => {
                let is_zero = [self.kernel, self.stride, self.dilation].as_flattened().contains(&0);
                Err(self.error(name, size, if is_zero { WindowFault::Zero } else { WindowFault::TooLarge }))
            }
        }
    }

    /// Whether no padding is more than half of the window's extent, so that no position lies within the padding alone.
    pub(super) fn is_padded_by_half(&self) -> bool {
        let is_half = |axis: usize, extent: usize| self.padding[axis].iter().all(|&places| places <= extent / 2);
        (0..2).all(|axis| self.extent(axis).is_some_and(|extent| is_half(axis, extent)))
    }

    pub(super) fn error(&self, operation: &'static str, size: [usize; 2], fault: WindowFault) -> TensorError {
        let Self { kernel, stride, dilation, padding, .. } = *self;
        TensorError::KernelWindow { operation, size, kernel, stride, dilation, padding: Box::new(padding), fault }
    }

    /// Taps of the window within the image, at most, on each axis.
    pub(super) fn taps_inside(&self, size: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| self.kernel[axis].min(size[axis].div_ceil(self.dilation[axis])))
    }

    /// Windows whose extents cover a place of the image, at most, on each axis.
    pub(super) fn windows_over(&self, out: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| self.extent(axis).unwrap_or(usize::MAX).div_ceil(self.stride[axis]).min(out[axis]))
    }
}

impl Padding {
    fn by_axis(self) -> [[usize; 2]; 2] {
        [[self.top, self.bottom], [self.left, self.right]]
    }
}

impl Conv2d {
    /// The window of a weight's kernel.
    pub(super) fn window(&self, kernel: [usize; 2]) -> KernelWindow {
        let Self { stride, padding, dilation, groups: _ } = *self;
        KernelWindow { kernel, stride, dilation, padding: padding.by_axis(), ceil_mode: false }
    }
}

impl From<MaxPool2d> for KernelWindow {
    fn from(options: MaxPool2d) -> Self {
        let MaxPool2d { kernel_size: kernel, stride, padding, dilation, ceil_mode } = options;
        Self { kernel, stride, dilation, padding: padding.by_axis(), ceil_mode }
    }
}

impl From<AvgPool2d> for KernelWindow {
    fn from(options: AvgPool2d) -> Self {
        let AvgPool2d { kernel_size: kernel, stride, padding, ceil_mode, count_include_pad: _ } = options;
        Self { kernel, stride, dilation: [1; 2], padding: padding.by_axis(), ceil_mode }
    }
}

impl From<Unfold> for KernelWindow {
    fn from(Unfold { kernel_size: kernel, stride, padding, dilation }: Unfold) -> Self {
        Self { kernel, stride, dilation, padding: padding.by_axis(), ceil_mode: false }
    }
}
