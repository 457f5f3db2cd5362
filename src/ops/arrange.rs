//! Concatenation, stacking, flattening, ranges of numbers, and the indices of extremes.

use super::fuse::{Fused, fuse};
use super::launch::{check_pools, grid, index, launch, with_gpu, workgroup_size};
use super::placed::Placed;
use super::shader::{ARANGE, Variant};
use crate::error::{Argument, ShapeRequirement, TensorError};
use crate::pool::Pool;
use crate::tensor::{Axis, DType, Element, IndexRange, Part, Tensor, arithmetic};
use std::sync::LazyLock;

/// Among the elements that equal the extreme, or are NaN, the index; a number above all indices for other elements.
static INDEX_OF_EXTREME: LazyLock<Fused<3>> =
    LazyLock::new(|| fuse(|[x, extreme, index]| (x.eq(extreme) | x.ne(x)).select(index, u32::MAX)));

/// One of the tensors of a list.
const fn tensor(index: usize) -> Argument {
    Argument::Nth { name: "tensor", index }
}

impl Tensor {
    /// Creates a tensor of `count` numbers: `start`, `start + step`, … Equals
    /// `torch.arange(start, start + count · step, step)`, except that the number of elements is an argument and not the
    /// result of a rounded division. Integers wrap. For f16, start and step must be f16 numbers; PyTorch accepts any
    /// number. For other numbers, create an f32 tensor and convert it with [`Tensor::to`].
    ///
    /// # Errors
    /// [`TensorError::TooManyElements`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn arange<T: Element>(pool: &Pool, count: usize, start: T, step: T) -> Result<Self, TensorError> {
        let elements = index("arange", count)?;
        let output = Self::empty(pool, [count], T::DTYPE)?;
        if elements == 0 {
            return Ok(output);
        }
        let program = with_gpu(&output, |gpu| ARANGE.program(gpu, Variant::plain(T::DTYPE)))?;
        for Part { start: first, tensor: block } in output.parts() {
            let elements = index("arange", block.elements())?;
            let params = [elements, start.bits(), step.bits(), index("arange", first[0])?];
            let workgroups = grid(elements.div_ceil(workgroup_size(&block)));
            let written = Placed::of(&block).bind_whole("arange")?;
            launch("arange", &program, &[written], bytemuck::bytes_of(&params), workgroups, 0)?;
        }
        Ok(output)
    }

    /// Concatenates tensors along an axis. Their sizes along the other axes must be equal. Different dtypes are promoted as by
    /// [`DType::promote`]. One kernel for each tensor. Equals `torch.cat`. To write to a part of an existing tensor, use
    /// [`copy_`](Tensor::copy_) on a [`narrow`](Tensor::narrow) view.
    ///
    /// # Errors
    /// [`TensorError::Zero`] without tensors, [`TensorError::Axis`], [`TensorError::Shape`], [`TensorError::DType`] of
    /// i32 and u32, [`TensorError::Pools`], [`TensorError::Overflow`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn cat(tensors: &[&Self], axis: impl Into<Axis>) -> Result<Self, TensorError> {
        let name = "cat";
        let Some((first, others)) = tensors.split_first() else {
            return Err(TensorError::Zero { operation: name, argument: "number of tensors" });
        };
        let axis = first.layout().axis(name, axis)?;
        let mut shape = first.shape().to_vec();
        let mut dtype = first.dtype();
        for (index, other) in (1..).zip(others) {
            check_pools(name, (tensor(0), first), (tensor(index), other))?;
            // The dtype of the tensors before is that of one of them, or the floating-point dtype to which they are promoted.
            let by = if first.dtype() == dtype { tensor(0) } else { tensor(index - 1) };
            let of_other = other.dtype().name();
            let mismatch = TensorError::dtypes(name, (tensor(index), of_other), (by, dtype.name()));
            dtype = dtype.promote(other.dtype()).ok_or(mismatch)?;
            let mut alike = other.shape().to_vec();
            if alike.len() == shape.len() {
                arithmetic::extend(&mut shape, axis, alike[axis], dtype.bytes())?;
                alike[axis] = shape[axis];
            }
            if alike != shape {
                let required = ShapeRequirement::SameExcept { axis, by: tensor(0), of: first.shape().to_vec() };
                return Err(TensorError::shape(name, tensor(index), other.shape(), required));
            }
        }
        let output = first.new_empty(shape, dtype)?;
        let mut at = 0;
        for tensor in tensors {
            let length = tensor.shape()[axis];
            output.narrow(axis, at, length)?.copy_(tensor)?;
            at += length;
        }
        Ok(output)
    }

    /// Joins tensors of one shape along a new axis before the given axis; −1 appends the axis. Equals `torch.stack`.
    ///
    /// # Errors
    /// [`TensorError::Zero`] without tensors, [`TensorError::Axis`], [`TensorError::Rank`]; as [`Tensor::cat`].
    #[track_caller]
    pub fn stack(tensors: &[&Self], axis: impl Into<Axis>) -> Result<Self, TensorError> {
        let name = "stack";
        let Some(first) = tensors.first() else {
            return Err(TensorError::Zero { operation: name, argument: "number of tensors" });
        };
        if let Some((index, other)) = (0..).zip(tensors).find(|(_, other)| other.shape() != first.shape()) {
            let required = ShapeRequirement::Same { by: tensor(0), of: first.shape().to_vec() };
            return Err(TensorError::shape(name, tensor(index), other.shape(), required));
        }
        let axis = axis.into();
        let wide: Result<Vec<Self>, TensorError> = tensors.iter().map(|tensor| tensor.unsqueeze(axis)).collect();
        let wide = wide.map_err(|error| error.of_operation(name))?;
        let references: Vec<&Self> = wide.iter().collect();
        // A negative axis counts the axes of the result, which include the new axis.
        Self::cat(&references, axis).map_err(|error| error.of_operation(name))
    }

    /// Merges a range of axes into one axis: `x.flatten(1..)` of shape (n, c, h, w) gives (n, c · h · w). `..` merges all axes; a
    /// scalar becomes one axis of size 1. Returns a view if the strides permit, otherwise a copy. Equals `torch.flatten`.
    ///
    /// # Errors
    /// [`TensorError::Slice`] if the range exceeds the axes; as [`Tensor::empty`].
    #[track_caller]
    pub fn flatten(&self, axes: impl IndexRange) -> Result<Self, TensorError> {
        let (given, rank) = (axes.given(), self.rank());
        if rank == 0 {
            return self.reshape([1]);
        }
        let (start, end) = given.resolve(rank).ok_or_else(|| given.error("flatten", 0, 1, rank))?;
        if start == end {
            return Ok(self.clone());
        }
        let shape = self.shape();
        let shape = [&shape[..start], &[arithmetic::elements(&shape[start..end])], &shape[end..]].concat();
        match self.reshape(&shape) {
            Err(TensorError::NotViewable { .. }) => self.copied()?.reshape(&shape),
            view => view,
        }
    }

    /// Returns the index, as u32, of the largest element along an axis, which is removed from the shape. The first of
    /// several equal elements; NaN counts as the largest. Equals `torch.argmax`, whose result is int64.
    ///
    /// Cost: three passes over the elements.
    ///
    /// # Errors
    /// [`TensorError::Axis`], [`TensorError::Empty`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn argmax(&self, axis: impl Into<Axis>) -> Result<Self, TensorError> {
        match self.layout().axis_or_scalar("argmax", axis)? {
            Some(axis) => self.index_of("argmax", self.amax_keepdim(axis), axis, false),
            None => self.index_in_scalar(),
        }
    }

    /// Returns the index, as u32, of the largest element along an axis, which keeps size 1 in the shape. See [`Tensor::argmax`]. Equals
    /// `torch.argmax(keepdim=True)`.
    ///
    /// # Errors
    /// As [`Tensor::argmax`].
    #[track_caller]
    pub fn argmax_keepdim(&self, axis: impl Into<Axis>) -> Result<Self, TensorError> {
        match self.layout().axis_or_scalar("argmax_keepdim", axis)? {
            Some(axis) => self.index_of("argmax_keepdim", self.amax_keepdim(axis), axis, true),
            None => self.index_in_scalar(),
        }
    }

    /// Returns the index, as u32, of the smallest element along an axis, which is removed from the shape. The first of several
    /// equal elements; NaN counts as the smallest. Cost: see [`Tensor::argmax`]. Equals `torch.argmin`.
    ///
    /// # Errors
    /// As [`Tensor::argmax`].
    #[track_caller]
    pub fn argmin(&self, axis: impl Into<Axis>) -> Result<Self, TensorError> {
        match self.layout().axis_or_scalar("argmin", axis)? {
            Some(axis) => self.index_of("argmin", self.amin_keepdim(axis), axis, false),
            None => self.index_in_scalar(),
        }
    }

    /// Returns the index, as u32, of the smallest element along an axis, which keeps size 1 in the shape. See [`Tensor::argmin`]. Equals
    /// `torch.argmin(keepdim=True)`.
    ///
    /// # Errors
    /// As [`Tensor::argmax`].
    #[track_caller]
    pub fn argmin_keepdim(&self, axis: impl Into<Axis>) -> Result<Self, TensorError> {
        match self.layout().axis_or_scalar("argmin_keepdim", axis)? {
            Some(axis) => self.index_of("argmin_keepdim", self.amin_keepdim(axis), axis, true),
            None => self.index_in_scalar(),
        }
    }

    /// Returns the index of the only element of a scalar.
    #[track_caller]
    fn index_in_scalar(&self) -> Result<Self, TensorError> {
        Self::zeros(&self.pool(), [], DType::U32)
    }

    /// Returns the index of an extreme along an axis.
    #[track_caller]
    fn index_of(
        &self,
        name: &'static str,
        extreme: Result<Self, TensorError>,
        axis: usize,
        keep_dims: bool,
    ) -> Result<Self, TensorError> {
        let extreme = extreme.map_err(|error| error.of_operation(name))?;
        let mut lone = vec![1; self.rank()];
        lone[axis] = self.shape()[axis];
        let indices = Self::arange(&self.pool(), lone[axis], 0_u32, 1_u32)?.reshape(lone)?;
        let found = INDEX_OF_EXTREME.run_as(name, [self, &extreme, &indices])?;
        if keep_dims { found.amin_keepdim(axis) } else { found.amin(axis) }
    }
}
