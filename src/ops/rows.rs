//! Softmax and norms: operations on whole rows.

use super::fuse::{Fused, fuse};
use super::launch::{
    check_floating_point, check_kinds, grid, index, iterations, launch, loop_limit, with_gpu, workgroup_size,
};
use super::placed::{Binding, Placed};
use super::shader::{
    AS_IT_IS, LOGARITHM, NORMALIZE, NORMALIZE_LONG, SOFTMAX, SOFTMAX_LONG, Shader, Specialization, Variant,
};
use crate::error::{ShapeRequirement, TensorError};
use crate::tensor::{Axis, Tensor, any_divided, pieces, several_blocks};
use bytemuck::{Pod, Zeroable};
use std::sync::LazyLock;

/// The logarithm of the softmax.
pub(super) const LOG: Specialization =
    Specialization::applying("log", "shifted - logarithm(vec4<f32>(total))", &[LOGARITHM]);
/// The norm without subtraction of the mean.
pub(super) const ROOT_MEAN_SQUARE: Specialization = Specialization::new("root_mean_square", &[["CENTERED", "false"]]);

/// The parameters of `lib/row.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    columns: u32,
    input_offset: u32,
    weight_offset: u32,
    bias_offset: u32,
    epsilon: f32,
}

/// Elements of a vector that a kernel moves at once.
const FOUR: usize = 4;
/// Elements of a row that an invocation holds, in a kernel whose workgroup holds the row.
const HELD_EACH: usize = 16;
/// Loop iterations of the sum over a workgroup, or of its largest: of which every kernel has two.
const JOINED: u64 = 2 * iterations(15, 0);

/// Up to this many columns a workgroup would be idle for the most part, where there are many rows.
const FEW_COLUMNS: usize = 32;
const MANY_ROWS: usize = 1024;

/// Loop iterations of a kernel for rows of any length: three loops over the row.
fn long(columns: usize, workgroup_size: usize) -> u64 {
    JOINED + 3 * iterations(columns.div_ceil(workgroup_size) as u64, 0)
}

/// Whether a workgroup may go over rows of this length alone, within the limit of loop iterations. Beyond, reductions of several
/// passes take its place: on a large device they are faster, too.
fn suits_a_workgroup(tensor: &Tensor, columns: usize) -> bool {
    long(columns, workgroup_size(tensor) as usize) <= loop_limit()
}

/// The steps of a softmax along an axis that no workgroup holds.
static RAISED: LazyLock<Fused<2>> = LazyLock::new(|| fuse(|[x, most]| (x - most).exp()));
static LOG_SHARE: LazyLock<Fused<3>> = LazyLock::new(|| fuse(|[x, most, total]| (x - most) - total.log()));

/// A kernel for rows that a workgroup holds, and the one for all others.
#[derive(Clone, Copy, Debug)]
struct Kernels {
    held: &'static Shader,
    long: &'static Shader,
}

/// A run of these kernels over the rows of a tensor; the other operands are rows.
#[derive(Clone, Copy)]
struct OnRows<'a> {
    name: &'static str,
    kernels: Kernels,
    operation: Specialization,
    operands: &'a [&'a Tensor],
    epsilon: f32,
}

const SOFTMAXES: Kernels = Kernels { held: &SOFTMAX, long: &SOFTMAX_LONG };
const NORMS: Kernels = Kernels { held: &NORMALIZE, long: &NORMALIZE_LONG };

impl Tensor {
    /// Returns exp(x) divided by the sum of exp(x) along an axis, computed without overflow. For f32 and f16. A row
    /// that contains NaN or +∞, or only −∞, is all NaN. Accuracy in f32: within 100 ULP. Equals `torch.softmax`.
    ///
    /// Cost: along the last axis one kernel, which reads rows of up to 4,096 elements once. Along any other axis, for
    /// many rows of up to 32 elements, and for rows from about 5.5 million elements on, four kernels that read the
    /// tensor three times, and a temporary tensor of the same size.
    ///
    /// # Errors
    /// [`TensorError::NotDefined`] for integers, [`TensorError::Axis`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn softmax(&self, axis: impl Into<Axis>) -> Result<Self, TensorError> {
        let axis = self.layout().axis_or_scalar("softmax", axis)?;
        self.softmax_along("softmax", AS_IT_IS, axis)
    }

    /// Returns the logarithm of [`Tensor::softmax`], computed directly. Accuracy in f32: within 100 ULP of the larger
    /// of 1 and the largest difference between elements of the row. Equals `torch.log_softmax`.
    ///
    /// # Errors
    /// As [`Tensor::softmax`].
    #[track_caller]
    pub fn log_softmax(&self, axis: impl Into<Axis>) -> Result<Self, TensorError> {
        let axis = self.layout().axis_or_scalar("log_softmax", axis)?;
        self.softmax_along("log_softmax", LOG, axis)
    }

    /// Returns (x − mean) / √(variance + epsilon) · weight + bias along the last axis, with the mean and the variance
    /// (correction 0) of each row. Weight and bias have shape (n), and default to ones and zeros. For f32 and f16. A
    /// row of equal elements gives the bias. Accuracy in f32: within 100 ULP of the larger of 1 and the result before
    /// weight and bias, if the sum of the squared differences to the mean is below 3.4e38, and their mean plus epsilon
    /// above 1e-30. Above the range the normalized row is 0 or NaN, as PyTorch's in f32. Equals
    /// `torch.nn.functional.layer_norm` over the last axis.
    ///
    /// # Errors
    /// [`TensorError::NotDefined`] for integers, [`TensorError::Dimensions`] for a scalar, [`TensorError::Shape`],
    /// [`TensorError::DType`], [`TensorError::Pools`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn layer_norm(&self, weight: Option<&Self>, bias: Option<&Self>, epsilon: f32) -> Result<Self, TensorError> {
        self.norm("layer_norm", AS_IT_IS, weight, bias, epsilon)
    }

    /// Returns x / √(mean of x² + epsilon) · weight along the last axis, as [`Tensor::layer_norm`], whose range applies to the
    /// sum of the squares: a row with a larger sum gives 0. Equals `torch.nn.functional.rms_norm` over the last axis.
    ///
    /// # Errors
    /// As [`Tensor::layer_norm`].
    #[track_caller]
    pub fn rms_norm(&self, weight: Option<&Self>, epsilon: f32) -> Result<Self, TensorError> {
        self.norm("rms_norm", ROOT_MEAN_SQUARE, weight, None, epsilon)
    }

    #[track_caller]
    fn softmax_along(
        &self,
        name: &'static str,
        operation: Specialization,
        axis: Option<usize>,
    ) -> Result<Self, TensorError> {
        check_floating_point(name, ("input", self))?;
        // A scalar is a row of one element.
        let Some(axis) = axis else { return self.reshape([1])?.softmax_along(name, operation, Some(0))?.reshape([]) };
        let columns = self.shape()[axis];
        let many_short = columns <= FEW_COLUMNS && self.elements() >= columns * MANY_ROWS;
        if axis + 1 == self.rank() && !many_short && suits_a_workgroup(self, columns) && self.has_whole_rows() {
            let rows = OnRows { name, kernels: SOFTMAXES, operation, operands: &[], epsilon: 0.0 };
            return self.contiguous()?.over_rows(rows);
        }
        if self.elements() == 0 {
            return self.new_empty(self.shape(), self.dtype());
        }
        if self.dtype() != self.dtype().number() {
            // Intermediate results are not rounded to f16.
            return self.to(self.dtype().number())?.softmax_along(name, operation, Some(axis))?.to(self.dtype());
        }
        let most = self.amax_keepdim(axis)?;
        let raised = RAISED.run_as(name, [self, &most])?;
        let total = raised.sum_keepdim(axis)?;
        if operation == LOG {
            return LOG_SHARE.run_as(name, [self, &most, &total]);
        }
        raised.div_(&total)?;
        Ok(raised)
    }

    #[track_caller]
    fn norm(
        &self,
        name: &'static str,
        operation: Specialization,
        weight: Option<&Self>,
        bias: Option<&Self>,
        epsilon: f32,
    ) -> Result<Self, TensorError> {
        check_floating_point(name, ("input", self))?;
        let Some(&columns) = self.shape().last() else {
            return Err(TensorError::dimensions(name, "input", &[], "1 or more"));
        };
        let rows = self.contiguous()?;
        let weight = self.row_operand((name, "weight"), weight, columns, 1.0)?;
        let bias = self.row_operand((name, "bias"), bias, columns, 0.0)?;
        if !suits_a_workgroup(self, columns) || !rows.has_whole_rows() || any_divided([&weight, &bias]) {
            return rows.norm_in_steps(operation, &weight, &bias, epsilon);
        }
        // One storage bound twice would be two writable bindings of the same bytes.
        let weight = weight.in_other_storage_than(&rows)?;
        let bias = bias.in_other_storage_than(&rows)?.in_other_storage_than(&weight)?;
        rows.over_rows(OnRows { name, kernels: NORMS, operation, operands: &[&weight, &bias], epsilon })
    }

    /// The norm by reductions of several passes, for rows of any length.
    #[track_caller]
    fn norm_in_steps(
        &self,
        operation: Specialization,
        weight: &Self,
        bias: &Self,
        epsilon: f32,
    ) -> Result<Self, TensorError> {
        if self.elements() == 0 {
            return self.new_empty(self.shape(), self.dtype());
        }
        let number = self.dtype().number();
        if self.dtype() != number {
            // Intermediate results are not rounded to f16.
            let steps = self.to(number)?.norm_in_steps(operation, &weight.to(number)?, &bias.to(number)?, epsilon)?;
            return steps.to(self.dtype());
        }
        let last = self.rank() - 1;
        let is_centered = operation != ROOT_MEAN_SQUARE;
        let centered = if is_centered { self.deviations("layer_norm", &[last])? } else { self.clone() };
        let variance = centered.square()?.mean_keepdim(last)?.add(epsilon)?;
        let normal = centered.div(&variance.sqrt()?)?;
        normal.mul_(weight)?;
        normal.add_(bias)?;
        Ok(normal)
    }

    /// Returns the tensor itself, or a copy if it shares the storage of another operand.
    #[track_caller]
    pub(super) fn in_other_storage_than(&self, other: &Self) -> Result<Self, TensorError> {
        if self.shares_memory_with(other) { self.copied() } else { Ok(self.clone()) }
    }

    /// Returns a weight or bias as a contiguous tensor, filled with `default` if there is none.
    #[track_caller]
    fn row_operand(
        &self,
        (name, argument): (&'static str, &'static str),
        given: Option<&Self>,
        columns: usize,
        default: f32,
    ) -> Result<Self, TensorError> {
        let Some(tensor) = given else { return self.filled(&[columns], default) };
        check_kinds(name, ("input", self), (argument, tensor))?;
        if tensor.shape() != [columns] {
            let (shape, of) = (vec![columns], self.shape().to_vec());
            let required = ShapeRequirement::Exactly { shape, by: "input".into(), of };
            return Err(TensorError::shape(name, argument, tensor.shape(), required));
        }
        tensor.contiguous()
    }

    /// Runs a kernel over the rows of a contiguous tensor; the operands are contiguous rows. Each row is in one block.
    #[track_caller]
    fn over_rows(&self, rows: OnRows<'_>) -> Result<Self, TensorError> {
        let output = self.new_empty(self.shape(), self.dtype())?;
        if output.elements() == 0 {
            return Ok(output);
        }
        if !any_divided([self, &output]) {
            self.over_rows_into(rows, &output)?;
            return Ok(output);
        }
        let Some(pieces) = pieces(&[&output, self], self.rank() - 1) else {
            return Err(several_blocks(rows.name, &[("input", self)]));
        };
        for piece in pieces {
            let [output, own] = &*piece.operands else { continue };
            if output.is_whole() {
                own.over_rows_into(rows, output)?;
            } else {
                output.copy_(&own.contiguous()?.over_rows(rows)?)?;
            }
        }
        Ok(output)
    }

    /// Runs a kernel over the rows of a contiguous tensor in one block, into a new tensor.
    fn over_rows_into(&self, rows: OnRows<'_>, output: &Self) -> Result<(), TensorError> {
        let OnRows { name, kernels, operation, operands, epsilon } = rows;
        let columns = self.shape()[self.rank() - 1];
        let inputs = || std::iter::once(self).chain(operands.iter().copied());
        let in_vec4s = columns.is_multiple_of(FOUR) && inputs().all(|input| input.layout().offset.is_multiple_of(FOUR));
        let workgroup_size = workgroup_size(self) as usize;
        let is_held = in_vec4s && columns <= HELD_EACH * workgroup_size;
        let written = Placed::of(output).bind_whole(name)?;
        let unit = if is_held { FOUR } else { 1 };
        let bound = inputs().map(|input| Placed::of(input).bind_contiguous(name, unit));
        let bound: Vec<(Binding<'_>, u32)> = bound.collect::<Result<_, TensorError>>()?;
        let offset = |place: usize| bound.get(place).map_or(0, |&(_, offset)| offset);
        let rows = index(name, self.elements() / columns)?;
        // The kernel's index counts all elements, so their number must fit in 32 bits.
        index(name, self.elements())?;
        let params = Params {
            rows,
            columns: index(name, columns)?,
            input_offset: offset(0),
            weight_offset: offset(1),
            bias_offset: offset(2),
            epsilon,
        };
        let shader = if is_held { kernels.held } else { kernels.long };
        let variant = Variant { operation, ..Variant::plain(self.dtype()) };
        let program = with_gpu(output, |gpu| shader.program(gpu, variant))?;
        let bindings: Vec<_> = std::iter::once(written).chain(bound.iter().map(|&(binding, _)| binding)).collect();
        let loops = if is_held { JOINED } else { long(columns, workgroup_size) };
        launch(name, &program, &bindings, bytemuck::bytes_of(&params), grid(rows), loops)
    }

    /// Whether each row of the last axis is in one block.
    fn has_whole_rows(&self) -> bool {
        !self.is_divided() || pieces(&[self], self.rank() - 1).is_some()
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::super::launch::lowered::with_loop_limit;
    use super::*;
    use crate::pool::{Pool, PoolOptions};
    use crate::tensor::DType;

    /// Reductions of several passes against one workgroup a row. Their own kernels take up to 40 iterations here.
    #[test]
    fn rows_beyond_the_limit_of_loop_iterations_give_the_same() -> Result<(), TensorError> {
        let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F16, 2e-3)] {
            if dtype == DType::F16 && !pool.memory().has_f16() {
                continue;
            }
            for columns in [1000, 5000] {
                let x = Tensor::randn(&pool, [3, columns], 1)?.to(dtype)?;
                let weight = Tensor::randn(&pool, [columns], 2)?.to(dtype)?;
                let bias = x.narrow(0, 1, 1)?.reshape([columns])?;
                let all = || -> Result<Vec<Vec<f32>>, TensorError> {
                    let results = [
                        x.softmax(1)?,
                        x.log_softmax(1)?,
                        x.layer_norm(Some(&weight), Some(&bias), 1e-5)?,
                        x.layer_norm(None, None, 1e-5)?,
                        x.rms_norm(Some(&weight), 1e-5)?,
                    ];
                    results.iter().map(|result| result.to(DType::F32)?.read_blocking()).collect()
                };
                let (whole, steps) = (all()?, with_loop_limit(45, all)?);
                for (number, (whole, steps)) in whole.iter().zip(&steps).enumerate() {
                    for (whole, steps) in whole.iter().zip(steps) {
                        let error = (whole - steps).abs();
                        assert!(error <= tolerance * whole.abs().max(1.0), "{number} of {columns}: {whole} {steps}");
                    }
                }
            }
        }
        Ok(())
    }

    /// By the kernels for one workgroup a row, and by reductions.
    #[test]
    fn rows_of_equal_elements_give_the_bias() -> Result<(), TensorError> {
        let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
        for (number, columns) in [(0.1_f32, 1000), (1e20, 1000), (-3e30, 5000), (3e38, 5000)] {
            let x = Tensor::full(&pool, [3, columns], number)?;
            let bias = Tensor::full(&pool, [columns], 0.25_f32)?;
            for limit in [45, loop_limit()] {
                let found = with_loop_limit(limit, || x.layer_norm(None, Some(&bias), 1e-5))?.read_blocking::<f32>()?;
                assert!(found.iter().all(|&found| found == 0.25), "{number}, {limit}: {:?}", found[0]);
            }
        }
        Ok(())
    }
}
