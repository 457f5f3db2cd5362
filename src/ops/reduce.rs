//! Sums and means.

use super::launch::{WORKGROUP, grid, index, launch, padded, with_gpu};
use super::shader::{AS_IT_IS, Operation, SUM_BY_INVOCATION, SUM_BY_WORKGROUP, Variant};
use crate::error::TensorError;
use crate::tensor::{DType, Layout, Tensor};
use bytemuck::{Pod, Zeroable};

/// What a mean does with a sum.
pub(super) const MEAN: Operation = Operation { name: "mean", expression: "total * bitcast<f32>(params.scale)" };

/// The parameters of `sum.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    sizes: [u32; 6],
    strides: [u32; 6],
    rank: u32,
    kept_rank: u32,
    sums: u32,
    reduced_count: u32,
    split: u32,
    part: u32,
    input_offset: u32,
    scale: u32,
}

const _: () = assert!(size_of::<Params>() == 80);

/// The most elements that one workgroup adds up.
const PART: usize = 1 << 18;
/// Up to this many elements an output is one invocation's work.
const FEW: usize = 32;

impl Tensor {
    /// The sum along some axes, which are dropped from the shape, or kept with size 1. No axes at all means all of them.
    /// Equals `torch.sum`; integers wrap, and keep their dtype. f32 is added in stripes and then as a tree, always in
    /// the same order.
    ///
    /// # Errors
    /// [`TensorError::Axis`], [`TensorError::RepeatedAxis`]; as [`Tensor::empty`].
    pub fn sum(&self, axes: impl AsRef<[usize]>, keep_dims: bool) -> Result<Self, TensorError> {
        self.reduce("sum", AS_IT_IS, axes.as_ref(), keep_dims)
    }

    /// The mean along some axes, as [`Tensor::sum`]. For f32. The mean of nothing is NaN. Equals `torch.mean`.
    ///
    /// # Errors
    /// [`TensorError::NotDefined`] for integers; as [`Tensor::sum`].
    pub fn mean(&self, axes: impl AsRef<[usize]>, keep_dims: bool) -> Result<Self, TensorError> {
        if self.dtype() != DType::F32 {
            return Err(TensorError::NotDefined { operation: "mean", dtype: self.dtype().name() });
        }
        self.reduce("mean", MEAN, axes.as_ref(), keep_dims)
    }

    fn reduce(
        &self,
        name: &'static str,
        last: Operation,
        axes: &[usize],
        keep_dims: bool,
    ) -> Result<Self, TensorError> {
        self.layout().check_axes(name, axes)?;
        let is_reduced = |axis: &usize| axes.is_empty() || axes.contains(axis);
        let (reduced, kept): (Vec<usize>, Vec<usize>) = (0..self.rank()).partition(is_reduced);
        let sizes = |of: &[usize]| -> Vec<usize> { of.iter().map(|&axis| self.shape()[axis]).collect() };
        let kept_shape = sizes(&kept);
        let count: usize = sizes(&reduced).iter().product();
        let order: Vec<usize> = kept.iter().chain(&reduced).copied().collect();
        let input = self.permute(&order)?;
        let output = if kept_shape.contains(&0) {
            Self::empty(&self.pool(), &kept_shape, self.dtype())?
        } else if count == 0 {
            self.reduction_of_nothing(last, &kept_shape)?
        } else {
            input.reduce_last(name, last, kept.len())?
        };
        if !keep_dims {
            return output.reshape(&kept_shape);
        }
        let full: Vec<usize> =
            (0..self.rank()).map(|axis| if is_reduced(&axis) { 1 } else { self.shape()[axis] }).collect();
        output.reshape(&full)
    }

    fn reduction_of_nothing(&self, last: Operation, shape: &[usize]) -> Result<Self, TensorError> {
        if last == MEAN {
            Self::full(&self.pool(), shape, f32::NAN)
        } else {
            Self::zeros(&self.pool(), shape, self.dtype())
        }
    }

    /// Adds up the axes from `kept_rank` on; no axis is empty.
    fn reduce_last(&self, name: &'static str, last: Operation, kept_rank: usize) -> Result<Self, TensorError> {
        let (kept, reduced) = (&self.shape()[..kept_rank], &self.shape()[kept_rank..]);
        let outputs: usize = kept.iter().product();
        let count: usize = reduced.iter().product();
        #[expect(clippy::cast_possible_truncation, reason = "a mean's factor is rounded to f32")]
        let scale = (1.0 / count as f64) as f32;
        let mut current = self.clone();
        let mut current_kept = kept_rank;
        loop {
            let left: usize = current.shape()[current_kept..].iter().product();
            let split = left.div_ceil(PART);
            let operation = if split == 1 { last } else { AS_IT_IS };
            let sums = Self::empty(&self.pool(), [outputs, split], self.dtype())?;
            current.sum_into(name, operation, &sums, current_kept, scale)?;
            if split == 1 {
                return sums.reshape(kept);
            }
            (current, current_kept) = (sums, 1);
        }
    }

    /// One pass: `sums` is (outputs, parts).
    fn sum_into(
        &self,
        name: &'static str,
        operation: Operation,
        sums: &Self,
        kept_rank: usize,
        scale: f32,
    ) -> Result<(), TensorError> {
        let (kept, reduced) = self.split_collapsed(kept_rank);
        let count = reduced.elements();
        let split = sums.shape()[1];
        let chain = |kept: &[usize], reduced: &[usize]| padded(name, &[kept, reduced].concat());
        let total = index(name, sums.elements())?;
        let params = Params {
            sizes: chain(&kept.shape, &reduced.shape)?,
            strides: chain(&kept.strides, &reduced.strides)?,
            rank: index(name, kept.rank() + reduced.rank())?,
            kept_rank: index(name, kept.rank())?,
            sums: total,
            reduced_count: index(name, count)?,
            split: index(name, split)?,
            part: index(name, count.div_ceil(split))?,
            input_offset: index(name, self.layout().offset)?,
            scale: scale.to_bits(),
        };
        let few = count <= FEW;
        let shader = if few { &SUM_BY_INVOCATION } else { &SUM_BY_WORKGROUP };
        let workgroups = if few { total.div_ceil(WORKGROUP) } else { total };
        let program = with_gpu(sums, |gpu| shader.program(gpu, Variant { operation, ..Variant::plain(sums.dtype()) }))?;
        launch(&program, &[sums.storage(), self.storage()], bytemuck::bytes_of(&params), grid(workgroups))?;
        Ok(())
    }

    /// The kept and the reduced dimensions, each collapsed among themselves.
    fn split_collapsed(&self, kept_rank: usize) -> (Layout, Layout) {
        let layout = self.layout();
        (layout.part(0..kept_rank).collapsed(), layout.part(kept_rank..layout.rank()).collapsed())
    }
}
