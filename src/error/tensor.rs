//! Why a tensor operation was refused.

use super::{AllocateError, DeviceError};
use thiserror::Error;

/// Why a tensor was not made, viewed, read or computed with. Nothing was changed by the failure.
///
/// Shapes are listed outermost dimension first; dtypes by their WGSL name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TensorError {
    /// Two shapes do not go together.
    #[error("{operation}: shapes {left:?} and {right:?} do not match")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// The left or given shape.
        left: Vec<usize>,
        /// The right or wanted shape.
        right: Vec<usize>,
    },
    /// Two dtypes do not go together.
    #[error("{operation}: dtypes {left} and {right} do not match")]
    DType {
        /// The operation.
        operation: &'static str,
        /// The left or given dtype.
        left: &'static str,
        /// The right or wanted dtype.
        right: &'static str,
    },
    /// An integer is beyond the range of the dtype that it is used as.
    #[error("{operation}: {value} is beyond the range of {dtype}")]
    Scalar {
        /// The operation.
        operation: &'static str,
        /// The integer.
        value: i64,
        /// The dtype.
        dtype: &'static str,
    },
    /// A number is outside of the range that the operation takes.
    #[error("{operation}: {argument} is {value}, which is not {range}")]
    Argument {
        /// The operation.
        operation: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// The number.
        value: String,
        /// The range, as in "from 0 to 1".
        range: &'static str,
    },
    /// The operation is not defined for this dtype.
    #[error("{operation} is not defined for {dtype}")]
    NotDefined {
        /// The operation.
        operation: &'static str,
        /// The dtype.
        dtype: &'static str,
    },
    /// The device's kernels don't know the dtype.
    #[error("{dtype}: {device} has no such numbers in kernels (wgpu's feature SHADER_F16)")]
    Unsupported {
        /// The dtype.
        dtype: &'static str,
        /// The device's name, and its backend.
        device: String,
    },
    /// A fused expression can't be a kernel.
    #[error("{operation}: the expression can't be a kernel: {problem}")]
    Expression {
        /// The operation.
        operation: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There are no elements to choose one from.
    #[error("{operation}: shape {shape:?} leaves no elements to choose from")]
    Empty {
        /// The operation.
        operation: &'static str,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// A slice's length is not the shape's number of elements.
    #[error("{given} elements were given for shape {shape:?}, which holds {wanted}")]
    Length {
        /// Elements given.
        given: usize,
        /// Elements that the shape holds.
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
        /// Dimensions given.
        rank: usize,
        /// Dimensions allowed.
        limit: usize,
    },
    /// A tensor has no such axis. Of shape [n, m] the axes are 0 and 1, or −2 and −1.
    #[error("{operation}: axis {axis} is not one of the {} of shape {shape:?}", shape.len())]
    Axis {
        /// The operation.
        operation: &'static str,
        /// The axis given; a negative one is counted from the last axis.
        axis: i64,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// The axes to permute are not as many as the tensor has.
    #[error("permute: axes {axes:?} are not all {} of shape {shape:?}", shape.len())]
    Permutation {
        /// The axes given, counted from the first one.
        axes: Vec<usize>,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// The tensor has another number of dimensions than the operation takes.
    #[error("{operation}: shape {shape:?} has {} dimensions; {wanted} are needed", shape.len())]
    Dimensions {
        /// The operation.
        operation: &'static str,
        /// The numbers of dimensions that it takes.
        wanted: &'static str,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// An axis is named twice.
    #[error("{operation}: axis {axis} is named twice")]
    RepeatedAxis {
        /// The operation.
        operation: &'static str,
        /// The axis, as it was given the second time.
        axis: i64,
    },
    /// A range reaches beyond its axis.
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
    /// A range of indices reaches beyond its axis, or ends before it starts; or the step is 0.
    #[error("{operation}: {start}..{end} by {step} is no range of axis {axis}, which holds {size}")]
    Slice {
        /// The operation.
        operation: &'static str,
        /// The axis.
        axis: usize,
        /// First index, as it was given; a negative one is counted from the end.
        start: i64,
        /// One past the last index, as it was given.
        end: i64,
        /// From one index to the next.
        step: usize,
        /// The axis's size.
        size: usize,
    },
    /// An argument that has to be 1 or more is 0.
    #[error("{operation}: the {argument} is 0; it has to be 1 or more")]
    Zero {
        /// The operation.
        operation: &'static str,
        /// The argument.
        argument: &'static str,
    },
    /// A tensor was read as one number, and has more elements or none.
    #[error("item: shape {shape:?} has {elements} elements, not one")]
    Item {
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The number of its elements.
        elements: usize,
    },
    /// A kernel window has no position on an image, or one without an element of the image; or a size, a stride or a
    /// dilation is 0. Numbers are (height, width).
    #[error(
        "{operation}: a kernel of {kernel:?} with stride {stride:?}, dilation {dilation:?} and padding {padding:?} does not \
         fit images of {size:?}"
    )]
    KernelWindow {
        /// The operation.
        operation: &'static str,
        /// The image's size.
        size: [usize; 2],
        /// The kernel's size.
        kernel: [usize; 2],
        /// From one position to the next.
        stride: [usize; 2],
        /// From one element of the kernel to the next.
        dilation: [usize; 2],
        /// Places before and behind the image on each axis; boxed, so that the other errors stay small.
        padding: Box<[[usize; 2]; 2]>,
    },
    /// Channels or outputs of a convolution can't be parted into as many groups.
    #[error("{operation}: {channels} channels and {outputs} outputs can't be in {groups} groups")]
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
    /// The shape can't be had as a view of these strides; make the tensor contiguous first.
    #[error("reshape: a tensor of shape {shape:?} and strides {strides:?} has no view of shape {wanted:?}")]
    NotViewable {
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The tensor's strides, in elements.
        strides: Vec<usize>,
        /// The shape wanted.
        wanted: Vec<usize>,
    },
    /// The operation takes contiguous tensors only.
    #[error("{operation}: a tensor of shape {shape:?} and strides {strides:?} is not contiguous")]
    NotContiguous {
        /// The operation.
        operation: &'static str,
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The tensor's strides, in elements.
        strides: Vec<usize>,
    },
    /// The tensors belong to different pools.
    #[error("{operation}: the tensors belong to different pools")]
    Pools {
        /// The operation.
        operation: &'static str,
    },
    /// An output shares elements with an input, or with itself.
    #[error("{operation}: the output overlaps {other}")]
    Overlap {
        /// The operation.
        operation: &'static str,
        /// What it overlaps.
        other: &'static str,
    },
    /// The tensor has more elements than a kernel can index or a dispatch can cover.
    #[error("{operation}: {elements} elements are above the {limit} that a kernel can index")]
    TooManyElements {
        /// The operation.
        operation: &'static str,
        /// Elements of the largest operand.
        elements: u64,
        /// The most that can be indexed.
        limit: u64,
    },
    /// One invocation of a kernel would run more loop iterations than drivers allow: software Vulkan ends all loops of an
    /// invocation after 65,536 in total, without an error.
    #[error("{operation}: {iterations} loop iterations of an invocation are above the limit of {limit}")]
    TooManyIterations {
        /// The operation.
        operation: &'static str,
        /// Iterations of all loops of one invocation together.
        iterations: u64,
        /// The most that every driver allows.
        limit: u64,
    },
    /// The host has no memory for the elements.
    #[error("{operation}: the host has no room for {bytes} bytes")]
    HostMemory {
        /// The operation.
        operation: &'static str,
        /// Bytes asked for.
        bytes: u64,
    },
    /// Other handles share the tensor's memory, so it can't leave the device.
    #[error("into_host: {others} other handles share the tensor's memory")]
    Shared {
        /// Handles in addition to this one.
        others: usize,
    },
    /// There was no memory for the result.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

#[cfg(test)]
mod tests {
    use super::TensorError;

    #[test]
    fn a_mismatch_shows_both_sides() {
        let shapes = TensorError::Shape { operation: "add", left: vec![2, 3], right: vec![4] };
        assert_eq!(shapes.to_string(), "add: shapes [2, 3] and [4] do not match");
        let dtypes = TensorError::DType { operation: "mul", left: "f32", right: "u32" };
        assert_eq!(dtypes.to_string(), "mul: dtypes f32 and u32 do not match");
        let narrow = TensorError::Narrow { axis: 1, start: 2, length: 5, size: 4 };
        assert_eq!(narrow.to_string(), "narrow: 2..7 is outside of axis 1, which holds 4");
    }
}
