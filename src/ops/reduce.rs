//! Sums, means, and the largest and smallest elements.

mod blocks;
mod centered;

pub(super) use centered::{DISTANCES, SQUARES};

use super::launch::{
    KERNEL_RANK, MOST_BINDINGS, check_floating_point, grid, index, iterations, launch, padded, with_gpu, workgroup_size,
};
use super::placed::Placed;
use super::shader::{
    AS_IT_IS, QUOTIENT, REDUCE_COLUMNS, REDUCE_FEW, REDUCE_PART, REDUCE_ROW, REDUCE_SHORT_ROW, Shader, Specialization,
    Variant,
};
use crate::error::TensorError;
use crate::tensor::{Axes, DType, Layout, Tensor, arithmetic};
use bytemuck::{Pod, Zeroable};

/// The last step of a mean: divides the sum by the number of elements.
const MEAN: Specialization = Specialization::new(
    "mean",
    &[["finish", "return vec4<Output>(quotient(total, vec4(bitcast<f32>(params.divisor))));"]],
)
.calling(&[QUOTIENT]);

/// Extremes of f32 are computed on keys: integers in the order of the numbers, with NaN beyond all others. Comparing the
/// numbers themselves may drop a NaN, because drivers compile the comparison to `max` or `min`.
macro_rules! extreme_of_floats {
    ($name:literal, $join:literal, $start:literal, $nan_key:literal) => {
        Specialization::new(
            $name,
            &[
                ["Accumulator", "i32"],
                ["identity", concat!("return ", $start, ";")],
                ["prepare", concat!("return key_of(bitcast<vec4<i32>>(vec4<Number>(x)), ", $nan_key, ");")],
                ["combine", concat!("return ", $join, "(x, y);")],
                ["finish", "return vec4<Output>(bitcast<vec4<f32>>(ordered(total)));"],
            ],
        )
    };
}

macro_rules! extreme_of_integers {
    ($name:literal, $join:literal, $start:literal) => {
        Specialization::new(
            $name,
            &[["identity", concat!("return ", $start, ";")], ["combine", concat!("return ", $join, "(x, y);")]],
        )
    };
}

const AMAX: &str = "amax";
const AMIN: &str = "amin";

/// The operation that leaves the largest elements of a dtype.
fn largest(dtype: DType) -> Specialization {
    match dtype {
        DType::F32 | DType::F16 => extreme_of_floats!("amax", "max", "i32(-2147483647 - 1)", "0x7fffffff"),
        DType::I32 => extreme_of_integers!("amax", "max", "i32(-2147483647 - 1)"),
        DType::U32 => extreme_of_integers!("amax", "max", "0u"),
    }
}

/// The operation that leaves the smallest elements of a dtype.
fn smallest(dtype: DType) -> Specialization {
    match dtype {
        DType::F32 | DType::F16 => extreme_of_floats!("amin", "min", "0x7fffffff", "i32(-2147483647 - 1)"),
        DType::I32 => extreme_of_integers!("amin", "min", "0x7fffffff"),
        DType::U32 => extreme_of_integers!("amin", "min", "0xffffffffu"),
    }
}

/// Every operation on a dtype.
#[cfg(test)]
pub(super) fn operations(dtype: DType) -> Vec<Specialization> {
    let mean = dtype.is_floating_point().then_some(MEAN);
    let centered = dtype.is_floating_point().then_some([centered::DISTANCES, centered::SQUARES]);
    let of_every_dtype = [AS_IT_IS, largest(dtype), smallest(dtype)].into_iter();
    of_every_dtype.chain(mean).chain(centered.into_iter().flatten()).collect()
}

/// The parameters of `lib/reduce.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    sizes: [u32; KERNEL_RANK],
    strides: [u32; KERNEL_RANK],
    rank: u32,
    kept_rank: u32,
    kept_count: u32,
    reduced_count: u32,
    split: u32,
    part: u32,
    input_offset: u32,
    divisor: u32,
}

/// Elements of a vector that a kernel moves at once.
const FOUR: usize = 4;
/// Up to this many elements of any layout, one invocation computes an output.
const FEW: usize = 32;
/// Up to this many elements a row is a team's work, and from [`FEW`] / 4 on.
const SHORT_ROW: usize = 1024;
/// Invocations of a team, as `reduce_short_row.wgsl` has it.
const TEAM: u32 = 16;
/// Workgroups that a pass is split into, and invocations of columns: enough for a large device, with many elements each.
const WORKGROUPS: usize = 16_384;
const INVOCATIONS: usize = 65_536;

/// The kernel of a pass, which the layout of the elements of an output decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Strided,
    Few,
    Row,
    ShortRow,
    Columns,
}

/// The result of a reduction of no elements. Not a closure, whose allocation would have a call site in this file.
#[derive(Clone, Copy, Debug)]
enum EmptyReduction {
    Zero,
    NotANumber,
    Refused,
}

impl Tensor {
    /// Returns the sum along axes, which are removed from the shape: one axis, a list of axes, or `..` for all.
    /// Integers wrap and keep their dtype. f32 is added in stripes and then as a tree, always in the same order; f16 is
    /// accumulated in f32 and rounded once. The sum of no elements is 0. Accuracy in f32: half a unit in the last place
    /// of the sum of magnitudes for each sequential addition, of which there are about 1,100 for 300,000 elements.
    /// Equals `torch.sum`.
    ///
    /// # Errors
    /// [`TensorError::Axis`], [`TensorError::RepeatedAxis`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn sum(&self, axes: impl Axes) -> Result<Self, TensorError> {
        let axes = self.layout().axes("sum", &axes)?;
        self.reduce("sum", [AS_IT_IS; 2], &axes, false, EmptyReduction::Zero)
    }

    /// Returns the sum along axes, which keep size 1 in the shape. See [`Tensor::sum`]. Equals
    /// `torch.sum(keepdim=True)`.
    ///
    /// # Errors
    /// As [`Tensor::sum`].
    #[track_caller]
    pub fn sum_keepdim(&self, axes: impl Axes) -> Result<Self, TensorError> {
        let axes = self.layout().axes("sum_keepdim", &axes)?;
        self.reduce("sum_keepdim", [AS_IT_IS; 2], &axes, true, EmptyReduction::Zero)
    }

    /// Returns the mean along axes, as [`Tensor::sum`]. For f32 and f16. The mean of no elements is NaN. Equals `torch.mean`.
    ///
    /// # Errors
    /// [`TensorError::NotDefined`] for integers; as [`Tensor::sum`].
    #[track_caller]
    pub fn mean(&self, axes: impl Axes) -> Result<Self, TensorError> {
        let axes = self.layout().axes("mean", &axes)?;
        self.mean_along("mean", &axes, false)
    }

    /// Returns the mean along axes, which keep size 1 in the shape. See [`Tensor::mean`]. Equals
    /// `torch.mean(keepdim=True)`.
    ///
    /// # Errors
    /// As [`Tensor::mean`].
    #[track_caller]
    pub fn mean_keepdim(&self, axes: impl Axes) -> Result<Self, TensorError> {
        let axes = self.layout().axes("mean_keepdim", &axes)?;
        self.mean_along("mean_keepdim", &axes, true)
    }

    /// Returns the largest element along axes, which are removed from the shape: one axis, a list of axes, or `..` for
    /// all. For every dtype; NaN if any element is NaN. Equals `torch.amax`.
    ///
    /// # Errors
    /// [`TensorError::Empty`] if a reduced axis is empty; as [`Tensor::sum`].
    #[track_caller]
    pub fn amax(&self, axes: impl Axes) -> Result<Self, TensorError> {
        let axes = self.layout().axes(AMAX, &axes)?;
        self.reduce(AMAX, [largest(self.dtype()); 2], &axes, false, EmptyReduction::Refused)
    }

    /// Returns the largest element along axes, which keep size 1 in the shape. See [`Tensor::amax`]. Equals
    /// `torch.amax(keepdim=True)`.
    ///
    /// # Errors
    /// As [`Tensor::amax`].
    #[track_caller]
    pub fn amax_keepdim(&self, axes: impl Axes) -> Result<Self, TensorError> {
        let axes = self.layout().axes("amax_keepdim", &axes)?;
        self.reduce("amax_keepdim", [largest(self.dtype()); 2], &axes, true, EmptyReduction::Refused)
    }

    /// Returns the smallest element along axes, as [`Tensor::amax`]. Equals `torch.amin`.
    ///
    /// # Errors
    /// As [`Tensor::amax`].
    #[track_caller]
    pub fn amin(&self, axes: impl Axes) -> Result<Self, TensorError> {
        let axes = self.layout().axes(AMIN, &axes)?;
        self.reduce(AMIN, [smallest(self.dtype()); 2], &axes, false, EmptyReduction::Refused)
    }

    /// Returns the smallest element along axes, which keep size 1 in the shape. See [`Tensor::amin`]. Equals
    /// `torch.amin(keepdim=True)`.
    ///
    /// # Errors
    /// As [`Tensor::amax`].
    #[track_caller]
    pub fn amin_keepdim(&self, axes: impl Axes) -> Result<Self, TensorError> {
        let axes = self.layout().axes("amin_keepdim", &axes)?;
        self.reduce("amin_keepdim", [smallest(self.dtype()); 2], &axes, true, EmptyReduction::Refused)
    }

    #[track_caller]
    fn mean_along(&self, name: &'static str, axes: &[usize], keep_dims: bool) -> Result<Self, TensorError> {
        check_floating_point(name, ("input", self))?;
        self.reduce(name, [AS_IT_IS, MEAN], axes, keep_dims, EmptyReduction::NotANumber)
    }

    /// Reduces by the first operation, in the last pass by the second. `nothing` is the result for no elements.
    #[track_caller]
    fn reduce(
        &self,
        name: &'static str,
        operations: [Specialization; 2],
        axes: &[usize],
        keep_dims: bool,
        nothing: EmptyReduction,
    ) -> Result<Self, TensorError> {
        let is_reduced = |axis: &usize| axes.is_empty() || axes.contains(axis);
        let (reduced, kept): (Vec<usize>, Vec<usize>) = (0..self.rank()).partition(is_reduced);
        let sizes = |of: &[usize]| -> Vec<usize> { of.iter().map(|&axis| self.shape()[axis]).collect() };
        let kept_shape = sizes(&kept);
        let count = arithmetic::elements(&sizes(&reduced));
        let order: Vec<usize> = kept.iter().chain(&reduced).copied().collect();
        let input = self.permute(&order)?;
        let output = if count == 0 {
            match nothing {
                EmptyReduction::Zero => Self::zeros(&self.pool(), &kept_shape, self.dtype())?,
                EmptyReduction::NotANumber => self.filled(&kept_shape, f32::NAN)?,
                EmptyReduction::Refused => {
                    return Err(TensorError::Empty { operation: name, shape: self.shape().to_vec() });
                }
            }
        } else if kept_shape.contains(&0) {
            self.new_empty(&kept_shape, self.dtype())?
        } else {
            input.reduce_last(name, operations, kept.len())?.reshape(&kept_shape)?
        };
        if !keep_dims {
            return Ok(output);
        }
        let full: Vec<usize> =
            (0..self.rank()).map(|axis| if is_reduced(&axis) { 1 } else { self.shape()[axis] }).collect();
        output.reshape(&full)
    }

    /// Reduces the axes from `kept_rank` on; no axis is empty. Has as many elements as the kept axes.
    #[track_caller]
    fn reduce_last(
        &self,
        name: &'static str,
        [operation, last]: [Specialization; 2],
        kept_rank: usize,
    ) -> Result<Self, TensorError> {
        let divisor = arithmetic::elements(&self.shape()[kept_rank..]) as f32;
        let pass = if self.is_divided() { None } else { Some(Pass::new(self.clone(), kept_rank)?) };
        if let Some(pass) = pass.filter(Pass::fits_a_block) {
            return pass.run_all(name, [operation, last], self.dtype(), divisor);
        }
        // Intermediate results are not rounded.
        let joined = self.reduce_blocks(name, operation, kept_rank)?;
        if operation == last { joined.to(self.dtype()) } else { joined.finish(name, last, self.dtype(), divisor) }
    }
}

/// One pass over the elements.
#[derive(Debug)]
struct Pass {
    input: Tensor,
    /// The kept and the reduced dimensions, each collapsed among themselves.
    kept: Layout,
    reduced: Layout,
    kernel: Kernel,
}

impl Pass {
    /// A pass over a tensor whose first dimensions are kept. Takes a copy of one with more dimensions than kernels walk over.
    #[track_caller]
    fn new(input: Tensor, kept_rank: usize) -> Result<Self, TensorError> {
        let layout = input.layout();
        let kept = layout.part(0..kept_rank).collapsed();
        let reduced = layout.part(kept_rank..layout.rank()).collapsed();
        if kept.rank() + reduced.rank() > KERNEL_RANK {
            // In a contiguous tensor, each of the two groups of axes is one dimension.
            return Self::new(input.copied()?, kept_rank);
        }
        let kernel = kernel_for(&kept, &reduced);
        Ok(Self { input, kept, reduced, kernel })
    }

    /// Elements of a part of an output.
    fn part(&self) -> usize {
        let (outputs, count) = (self.kept.elements(), self.reduced.elements());
        let all = outputs.saturating_mul(count);
        match self.kernel {
            Kernel::Few | Kernel::ShortRow => count,
            Kernel::Strided => all.div_ceil(WORKGROUPS).clamp(1 << 12, 1 << 18),
            Kernel::Row => all.div_ceil(WORKGROUPS).clamp(1 << 14, 1 << 20).next_multiple_of(FOUR),
            Kernel::Columns => all.div_ceil(FOUR * INVOCATIONS).clamp(32, 1 << 13),
        }
    }

    /// Returns the loop iterations of an invocation, as stated in the headers of the kernels.
    fn iterations(&self) -> u64 {
        let walk = iterations(KERNEL_RANK as u64 - 1, 0);
        let workgroup_size = workgroup_size(&self.input);
        let tree = iterations(u64::from(workgroup_size.ilog2()), 0);
        let each = |invocations: usize| self.part().div_ceil(invocations) as u64;
        walk + match self.kernel {
            Kernel::Strided => iterations(each(workgroup_size as usize), walk) + tree,
            Kernel::Few => iterations(each(1), walk),
            Kernel::Row => iterations(each(FOUR * FOUR * workgroup_size as usize), 0) + iterations(3, 0) + tree,
            Kernel::ShortRow => iterations(each(FOUR * TEAM as usize), 0) + iterations(u64::from(TEAM), 0),
            Kernel::Columns => iterations(each(FOUR), 0) + iterations(each(1), walk),
        }
    }

    /// Whether the result, and those of parts, are in one block each.
    fn fits_a_block(&self) -> bool {
        let elements = self.kept.elements().saturating_mul(self.split());
        let bytes = arithmetic::bytes(elements, self.input.dtype().number().bytes());
        bytes <= self.input.any_storage().largest_block()
    }

    /// Runs this pass and as many further ones as it takes; the last one by the last operation, to elements of a dtype.
    #[track_caller]
    fn run_all(
        mut self,
        name: &'static str,
        [operation, last]: [Specialization; 2],
        written: DType,
        divisor: f32,
    ) -> Result<Tensor, TensorError> {
        while self.split() > 1 {
            // Intermediate results are not rounded.
            let joined = self.run(name, operation, self.input.dtype().number(), divisor)?;
            self = Self::new(joined, 1)?;
        }
        self.run(name, last, written, divisor)
    }

    /// Parts of an output.
    fn split(&self) -> usize {
        self.reduced.elements().div_ceil(self.part())
    }

    /// The result: (outputs, parts).
    #[track_caller]
    fn run(
        &self,
        name: &'static str,
        operation: Specialization,
        written: DType,
        divisor: f32,
    ) -> Result<Tensor, TensorError> {
        self.run_with(name, operation, written, divisor, &[])
    }

    /// Runs the pass with more tensors of an element for each output, which the operation reads. Otherwise as [`Pass::run`].
    #[track_caller]
    fn run_with(
        &self,
        name: &'static str,
        operation: Specialization,
        written: DType,
        divisor: f32,
        more: &[&Tensor],
    ) -> Result<Tensor, TensorError> {
        let Self { input, kept, reduced, kernel } = self;
        let (outputs, count, split) = (kept.elements(), reduced.elements(), self.split());
        let shape = if *kernel == Kernel::Columns { [split, outputs] } else { [outputs, split] };
        let output = input.new_empty(shape, written)?;
        let number = |value: usize| index(name, value);
        let written_to = Placed::of(&output).bind_whole(name)?;
        let (read, input_offset) = Placed::of(input).bind(name, 1)?;
        let chain = |kept: &[usize], reduced: &[usize]| padded(name, &[kept, reduced].concat());
        let params = Params {
            sizes: chain(&kept.shape, &reduced.shape)?,
            strides: chain(&kept.strides, &reduced.strides)?,
            rank: number(kept.rank() + reduced.rank())?,
            kept_rank: number(kept.rank())?,
            kept_count: number(outputs)?,
            reduced_count: number(count)?,
            split: number(split)?,
            part: number(self.part())?,
            input_offset,
            divisor: divisor.to_bits(),
        };
        // The index of a kernel's loop counts all input elements, so their number must fit in 32 bits too.
        number(outputs.saturating_mul(count))?;
        let parts = number(outputs * split)?;
        let workgroup_size = workgroup_size(input);
        let (shader, workgroups): (&Shader, u32) = match kernel {
            Kernel::Strided => (&REDUCE_PART, parts),
            Kernel::Few => (&REDUCE_FEW, parts.div_ceil(workgroup_size)),
            Kernel::Row => (&REDUCE_ROW, parts),
            Kernel::ShortRow => (&REDUCE_SHORT_ROW, parts.div_ceil(workgroup_size / TEAM)),
            Kernel::Columns => (&REDUCE_COLUMNS, (parts / 4).div_ceil(workgroup_size)),
        };
        let variant = Variant { operation, output: written, ..Variant::plain(input.dtype()) };
        let program = with_gpu(input, |gpu| shader.program(gpu, variant))?;
        let mut bindings = [written_to; MOST_BINDINGS];
        bindings[1] = read;
        for (binding, tensor) in bindings[2..].iter_mut().zip(more) {
            *binding = Placed::of(tensor).bind_whole(name)?;
        }
        let bindings = &bindings[..2 + more.len()];
        launch(name, &program, bindings, bytemuck::bytes_of(&params), grid(workgroups), self.iterations())?;
        if *kernel == Kernel::Columns { output.t() } else { Ok(output) }
    }
}

fn kernel_for(kept: &Layout, reduced: &Layout) -> Kernel {
    let in_vec4s = |layout: &Layout, besides: usize| {
        let strides = layout.strides.iter().enumerate().filter(|&(axis, _)| axis != besides);
        strides.map(|(_, stride)| stride).all(|stride| stride.is_multiple_of(FOUR))
    };
    let innermost = |layout: &Layout| layout.rank().checked_sub(1);
    let begins_in_vec4s = kept.offset.is_multiple_of(FOUR);
    let count = reduced.elements();
    if let Some(inner) = innermost(kept) {
        let is_wide = kept.strides[inner] == 1 && kept.shape[inner].is_multiple_of(FOUR);
        if is_wide && begins_in_vec4s && in_vec4s(kept, inner) && in_vec4s(reduced, reduced.rank()) && count > 1 {
            return Kernel::Columns;
        }
    }
    let is_row = reduced.rank() == 1 && reduced.strides[0] == 1 && begins_in_vec4s && in_vec4s(kept, kept.rank());
    match is_row {
        true if count > SHORT_ROW => Kernel::Row,
        true if count >= FEW / FOUR && count.is_multiple_of(FOUR) => Kernel::ShortRow,
        _ if count <= FEW => Kernel::Few,
        _ => Kernel::Strided,
    }
}
