//! The errors of tensor operations.

use super::{AllocateError, Argument, Bytes, Count, DeviceError, Number, OutOfMemory, ShapeRequirement, WindowFault};
use thiserror::Error;

/// The error of creating, viewing, reading or computing with tensors. The failed call has changed nothing.
///
/// Shapes are listed outermost dimension first; dtypes by their WGSL name.
///
/// Cause and remedy of each variant: [`guide::errors::tensor`](crate::guide::errors::tensor).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The shape of an argument does not fit the operation.
    #[error("{operation}: the {argument} {shape:?} {required}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// The argument with the wrong shape.
        argument: Argument,
        /// Its shape.
        shape: Vec<usize>,
        /// The shape that the operation requires; boxed, so that the enum stays small.
        required: Box<ShapeRequirement>,
    },
    /// The dtypes of two arguments do not match.
    #[error("{operation}: the {argument} has dtype {dtype}, and the {by} {by_dtype}: convert one with `to`")]
    DType {
        /// The operation.
        operation: &'static str,
        /// The argument; `result` if an operation in place would give a dtype that its output does not have.
        argument: Argument,
        /// Its dtype.
        dtype: &'static str,
        /// The other argument.
        by: Argument,
        /// The dtype of the other argument.
        by_dtype: &'static str,
    },
    /// A tensor of indices or classes has another dtype than the operation takes.
    #[error("{operation}: the {argument} has dtype {dtype}, and {wanted} is needed: convert with `to`")]
    IndexDType {
        /// The operation.
        operation: &'static str,
        /// The argument: `index`, `target` or `places`.
        argument: Argument,
        /// Its dtype.
        dtype: &'static str,
        /// The dtypes that the operation takes.
        wanted: &'static str,
    },
    /// An integer is beyond the range of the dtype to which it is converted.
    #[error("{operation}: the {argument} {value} is beyond the range of {dtype}")]
    Scalar {
        /// The operation.
        operation: &'static str,
        /// The argument.
        argument: Argument,
        /// The integer.
        value: i64,
        /// The dtype.
        dtype: &'static str,
    },
    /// A number is outside the valid range of the argument.
    #[error("{operation}: {argument} is {value}, which is not {range}")]
    Argument {
        /// The operation.
        operation: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// The number.
        value: Number,
        /// The range, as in "from 0 to 1".
        range: &'static str,
    },
    /// The operation is not defined for the dtype of an argument.
    #[error("{operation}: the {argument} has dtype {dtype}, for which {operation} is not defined: convert with `to`")]
    NotDefined {
        /// The operation.
        operation: &'static str,
        /// The argument.
        argument: Argument,
        /// Its dtype.
        dtype: &'static str,
    },
    /// The device does not support the dtype.
    #[error(
        "{dtype} needs wgpu's feature SHADER_F16, which {device} lacks or did not enable: use f32, or request the feature"
    )]
    Unsupported {
        /// The dtype.
        dtype: &'static str,
        /// The device's name, and its backend.
        device: String,
    },
    /// A fused expression cannot be compiled to a kernel.
    #[error("{operation}: the expression can't be a kernel: {problem}")]
    Expression {
        /// The operation.
        operation: &'static str,
        /// The reason.
        problem: &'static str,
    },
    /// There are no elements from which to choose one.
    #[error("{operation}: shape {shape:?} has no elements to choose from")]
    Empty {
        /// The operation.
        operation: &'static str,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// The length of a slice differs from the shape's number of elements.
    #[error("{} for shape {shape:?}, which holds {wanted}", Count(*given, "element"))]
    Length {
        /// The length of the slice.
        given: usize,
        /// The shape's number of elements.
        wanted: usize,
        /// The shape.
        shape: Vec<usize>,
    },
    /// The shape's number of elements or bytes overflows.
    #[error("shape {shape:?} of {element_bytes}-byte elements overflows")]
    Overflow {
        /// The shape.
        shape: Vec<usize>,
        /// Bytes of an element.
        element_bytes: u64,
    },
    /// The shape has too many dimensions.
    #[error("rank {rank} is above the largest, {limit}")]
    Rank {
        /// The given number of dimensions.
        rank: usize,
        /// The largest number of dimensions.
        limit: usize,
    },
    /// The tensor has no such axis. The axes of shape [n, m] are 0 and 1, or −2 and −1.
    #[error("{operation}: axis {axis} is outside of shape {shape:?}, {}", valid_axes(*places, shape.len()))]
    Axis {
        /// The operation.
        operation: &'static str,
        /// The given axis; negative axes are counted from the end.
        axis: i64,
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The number of valid places: the rank, or one more for a new axis.
        places: usize,
    },
    /// The number of axes for a permutation differs from the tensor's number of axes.
    #[error("permute: axes {axes:?} are not all {} of shape {shape:?}", shape.len())]
    Permutation {
        /// The given axes, counted from the start.
        axes: Vec<usize>,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// The tensor's number of dimensions is not one that the operation supports.
    #[error("{operation}: the {argument} {shape:?} has {}, and {wanted} are needed", Count(shape.len(), "dimension"))]
    Dimensions {
        /// The operation.
        operation: &'static str,
        /// The argument with the wrong number of dimensions.
        argument: Argument,
        /// The supported numbers of dimensions.
        wanted: &'static str,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// An axis occurs twice.
    #[error("{operation}: axis {axis} is named twice")]
    RepeatedAxis {
        /// The operation.
        operation: &'static str,
        /// The axis, as given the second time.
        axis: i64,
    },
    /// A range exceeds its axis.
    #[error("narrow: {start}..{} is outside of axis {axis}, which holds {size}", start.saturating_add(*length))]
    Narrow {
        /// The axis.
        axis: usize,
        /// First index.
        start: usize,
        /// Number of indices.
        length: usize,
        /// The axis's size.
        size: usize,
    },
    /// The axis has no such index.
    #[error("{operation}: index {index} is outside of axis {axis}, which holds {size}")]
    Index {
        /// The operation.
        operation: &'static str,
        /// The axis.
        axis: usize,
        /// The index as given; negative indices are counted from the end.
        index: i64,
        /// The axis's size.
        size: usize,
    },
    /// A range of indices exceeds its axis or ends before its start, or the step is 0.
    #[error("{operation}: {start}..{end} by {step} is no range of axis {axis}, which holds {size}")]
    Slice {
        /// The operation.
        operation: &'static str,
        /// The axis.
        axis: usize,
        /// The first index as given; negative indices are counted from the end.
        start: i64,
        /// The end of the range as given.
        end: i64,
        /// The distance between consecutive indices.
        step: usize,
        /// The axis's size.
        size: usize,
    },
    /// An argument is 0 that must be at least 1.
    #[error("{operation}: the {argument} is 0; it has to be 1 or more")]
    Zero {
        /// The operation.
        operation: &'static str,
        /// The argument.
        argument: &'static str,
    },
    /// More views than an operation makes at once, which a view that repeats elements permits without memory for them.
    #[error("{operation}: {views} views are above the limit of {limit}: narrow to one part after the other")]
    TooManyViews {
        /// The operation.
        operation: &'static str,
        /// The number of views.
        views: usize,
        /// The largest number of them.
        limit: usize,
    },
    /// A tensor that was read as one number does not have exactly one element.
    #[error("{operation}: shape {shape:?} has {}, not one", Count(*elements, "element"))]
    Item {
        /// The operation: `item` or `item_blocking`.
        operation: &'static str,
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The number of its elements.
        elements: usize,
    },
    /// A kernel window has no position on the image, or a position without an element of the image; or a size, a stride or a
    /// dilation is 0. Pairs of numbers are (height, width).
    #[error(
        "{operation}: a kernel of {kernel:?} with stride {stride:?}, dilation {dilation:?} and padding {padding:?} {}",
        fault.on(*size)
    )]
    KernelWindow {
        /// The operation.
        operation: &'static str,
        /// The image's size.
        size: [usize; 2],
        /// The kernel's size.
        kernel: [usize; 2],
        /// The stride.
        stride: [usize; 2],
        /// The dilation.
        dilation: [usize; 2],
        /// The padding before and after the image on each axis; boxed, so that the enum stays small.
        padding: Box<[[usize; 2]; 2]>,
        /// The reason.
        fault: WindowFault,
    },
    /// The channels or outputs of a convolution are not divisible by the number of groups.
    #[error("{operation}: {} and {} can't be in {}", Count(*channels, "channel"), Count(*outputs, "output"), Count(*groups, "group"))]
    Groups {
        /// The operation.
        operation: &'static str,
        /// The image's channels.
        channels: usize,
        /// The weight's outputs.
        outputs: usize,
        /// The groups.
        groups: usize,
    },
    /// The strides do not permit a view of this shape; make the tensor contiguous first.
    #[error(
        "reshape: a tensor of shape {shape:?} and strides {strides:?} has no view of shape {wanted:?}: call `contiguous` first"
    )]
    NotViewable {
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The tensor's strides, in elements.
        strides: Vec<usize>,
        /// The requested shape.
        wanted: Vec<usize>,
    },
    /// The operation requires contiguous tensors.
    #[error(
        "{operation}: the {argument} {shape:?} with strides {strides:?} is not contiguous: call `contiguous` first"
    )]
    NotContiguous {
        /// The operation.
        operation: &'static str,
        /// The argument that is not contiguous.
        argument: Argument,
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides, in elements.
        strides: Vec<usize>,
    },
    /// The tensor consists of several blocks, and the operation needs one.
    #[error(
        "{operation}: the {argument} is in {}, and one is needed; use its parts(), or narrow it to fewer indices",
        Count(*blocks, "block")
    )]
    SeveralBlocks {
        /// The operation.
        operation: &'static str,
        /// The argument that is in several blocks.
        argument: Argument,
        /// The number of blocks, of the argument or of a copy with the 32-bit elements with which kernels compute.
        blocks: usize,
    },
    /// Two arguments belong to different pools.
    #[error(
        "{operation}: the {argument} and the {by} belong to different pools: read one and upload it to the pool of the other"
    )]
    Pools {
        /// The operation.
        operation: &'static str,
        /// The argument.
        argument: Argument,
        /// The argument with another pool; `kernel` where a kernel of the program was compiled for another pool.
        by: Argument,
    },
    /// A tensor to which the operation writes overlaps another argument, or its elements overlap each other.
    #[error(
        "{operation}: the {argument} overlaps {}: use the form that returns a new tensor, or pass a copy (`copied`)",
        overlapped(other.as_ref())
    )]
    Overlap {
        /// The operation.
        operation: &'static str,
        /// The tensor that is written: `output` of elementwise operations in place.
        argument: Argument,
        /// The other argument; `None` if elements of the argument overlap each other.
        other: Option<Argument>,
    },
    /// The tensor has more elements than a kernel can index or a dispatch can cover.
    #[error(
        "{operation}: {elements} elements are above the {limit} that a kernel can index: divide the tensor with `chunk`"
    )]
    TooManyElements {
        /// The operation.
        operation: &'static str,
        /// Elements of the largest operand.
        elements: u64,
        /// The largest number of elements that a kernel can index.
        limit: u64,
    },
    /// One invocation of a kernel would run more loop iterations than drivers allow: software Vulkan ends all loops of an
    /// invocation after 65,536 in total, without an error.
    #[error("{operation}: {iterations} loop iterations of an invocation are above the limit of {limit}")]
    TooManyIterations {
        /// The operation.
        operation: &'static str,
        /// The sum of the iterations of all loops of one invocation.
        iterations: u64,
        /// The limit of all drivers.
        limit: u64,
    },
    /// The host has too little memory for the elements.
    #[error("{operation}: the host has no room for {}: read parts of the tensor", Bytes(*bytes))]
    HostMemory {
        /// The operation.
        operation: &'static str,
        /// The requested bytes.
        bytes: u64,
    },
    /// Other handles share the tensor's memory, so the tensor cannot be moved to the host.
    #[error("{operation}: {} of the tensor's memory must be dropped first", Count(*others, "other handle"))]
    Shared {
        /// The operation: `into_host` or `into_host_blocking`.
        operation: &'static str,
        /// The number of other handles.
        others: usize,
    },
    /// The memory for the result could not be allocated.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl TensorError {
    /// The error of an argument's shape.
    pub(crate) fn shape(
        operation: &'static str,
        argument: impl Into<Argument>,
        shape: &[usize],
        required: ShapeRequirement,
    ) -> Self {
        Self::Shape { operation, argument: argument.into(), shape: shape.to_vec(), required: Box::new(required) }
    }

    /// Returns the error with the name of the operation that the program called, which ran the operation that failed.
    pub(crate) fn of_operation(mut self, name: &'static str) -> Self {
        if let Some(operation) = self.operation_mut() {
            *operation = name;
        }
        self
    }

    /// The name of the operation. Each variant is listed, so that a new one cannot be forgotten.
    fn operation_mut(&mut self) -> Option<&mut &'static str> {
        match self {
            Self::Shape { operation, .. }
            | Self::DType { operation, .. }
            | Self::IndexDType { operation, .. }
            | Self::Scalar { operation, .. }
            | Self::Argument { operation, .. }
            | Self::NotDefined { operation, .. }
            | Self::Expression { operation, .. }
            | Self::Empty { operation, .. }
            | Self::Axis { operation, .. }
            | Self::Dimensions { operation, .. }
            | Self::RepeatedAxis { operation, .. }
            | Self::Index { operation, .. }
            | Self::Slice { operation, .. }
            | Self::Zero { operation, .. }
            | Self::TooManyViews { operation, .. }
            | Self::Item { operation, .. }
            | Self::KernelWindow { operation, .. }
            | Self::Groups { operation, .. }
            | Self::NotContiguous { operation, .. }
            | Self::SeveralBlocks { operation, .. }
            | Self::Pools { operation, .. }
            | Self::Overlap { operation, .. }
            | Self::TooManyElements { operation, .. }
            | Self::TooManyIterations { operation, .. }
            | Self::HostMemory { operation, .. }
            | Self::Shared { operation, .. } => Some(operation),
            // Of one operation each, or of a shape or the device.
            Self::Permutation { .. }
            | Self::Narrow { .. }
            | Self::NotViewable { .. }
            | Self::Unsupported { .. }
            | Self::Length { .. }
            | Self::Overflow { .. }
            | Self::Rank { .. }
            | Self::Allocate(_)
            | Self::Device(_) => None,
        }
    }

    /// The error of two arguments of different dtypes.
    pub(crate) fn dtypes(
        operation: &'static str,
        (argument, dtype): (impl Into<Argument>, &'static str),
        (by, by_dtype): (impl Into<Argument>, &'static str),
    ) -> Self {
        Self::DType { operation, argument: argument.into(), dtype, by: by.into(), by_dtype }
    }

    /// The error of an argument's dtype for which the operation is not defined.
    pub(crate) fn not_defined(operation: &'static str, argument: impl Into<Argument>, dtype: &'static str) -> Self {
        Self::NotDefined { operation, argument: argument.into(), dtype }
    }

    /// The error of an argument's number of dimensions.
    pub(crate) fn dimensions(
        operation: &'static str,
        argument: impl Into<Argument>,
        shape: &[usize],
        wanted: &'static str,
    ) -> Self {
        Self::Dimensions { operation, argument: argument.into(), wanted, shape: shape.to_vec() }
    }

    /// Returns the details if the pool had no memory for the result; `None` for all other errors.
    #[must_use]
    pub fn out_of_memory(&self) -> Option<&OutOfMemory> {
        if let Self::Allocate(error) = self { error.out_of_memory() } else { None }
    }
}

/// The object of the sentence about an overlap.
fn overlapped(other: Option<&Argument>) -> String {
    other.map_or_else(|| "itself".to_owned(), |other| format!("the {other}"))
}

/// The valid axes among a number of places, which is larger than the rank where a new axis is inserted.
fn valid_axes(places: usize, rank: usize) -> String {
    match places {
        0 => "which has no axes".to_owned(),
        1 => "whose only axis is 0 or -1".to_owned(),
        _ if places > rank => format!("where the places of a new axis are 0 to {rank}, or -{places} to -1"),
        _ => format!("whose axes are 0 to {}, or -{places} to -1", places - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::TensorError;

    #[test]
    fn a_mismatch_shows_both_sides() {
        let dtypes = TensorError::dtypes("mul", ("left", "f32"), ("right", "u32"));
        assert_eq!(dtypes.to_string(), "mul: the left has dtype f32, and the right u32: convert one with `to`");
        let narrow = TensorError::Narrow { axis: 1, start: 2, length: 5, size: 4 };
        assert_eq!(narrow.to_string(), "narrow: 2..7 is outside of axis 1, which holds 4");
    }
}
