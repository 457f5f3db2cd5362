//! Products of matrices.

mod blocks;
mod choice;
mod in_parts;
mod product;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

#[cfg(all(test, not(target_arch = "wasm32")))]
pub(super) use choice::{FEW, Tiling, forced};

use super::activation::Activation;
use super::launch::{check_kinds, index};
use super::placed::Placed;
use crate::error::{Argument, ShapeRequirement, TensorError};
use crate::tensor::{DType, Layout, Tensor, any_divided, arithmetic, collapse};
use choice::{Kernel, MANY};
use product::{Finish, Product};

const NAME: &str = "matmul";
/// The largest part of the K dimension in one dispatch: Mesa's software drivers end an invocation after 65,535 loop iterations.
const DEEPEST: usize = 32_768;
/// Elements of a vector that a kernel moves at once.
const FOUR: usize = 4;
/// The largest number of batches in a dispatch: enough for any device, and well below WebGPU's minimum limit of workgroups in one
/// dimension.
const MOST_BATCHES: usize = 4096;

/// Matrices of one operand, in elements of its storage.
#[derive(Clone, Copy, Debug)]
struct Matrices<'a> {
    operand: Placed<'a>,
    dtype: DType,
    row: usize,
    column: usize,
    batch: usize,
}

/// The number of products, and their sizes.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    batches: usize,
    rows: usize,
    columns: usize,
    depth: usize,
}

impl Tensor {
    /// Multiplies matrices: (…, m, k) and (…, k, n) give (…, m, n); leading dimensions broadcast. A vector on the left
    /// is a row, a vector on the right is a column, and this dimension is removed from the result. For every dtype;
    /// sums are computed in that dtype, for f16 in f32 with one rounding. Transposed views have no additional cost.
    /// Accuracy in f32: within k · 2⁻²³ of the sum of the products' magnitudes. Equals `torch.matmul`.
    ///
    /// Sums are added in the order of k. On GPUs, if the output is small and k is 768 or more, k is divided into at
    /// most 256 parts of at least 256 products, which different workgroups add up in the order of k; the sums of the
    /// parts are then added in their order. They take at most 16 MiB of temporary memory; if the pool cannot allocate
    /// it, k is not divided, and the last places of the result differ.
    ///
    /// Fast for matrices that are contiguous along one dimension, and fastest if sizes and strides are multiples of 16.
    /// f16 uses cooperative matrices if the application enables them (see
    /// [`GpuOptions::experimental`](crate::GpuOptions::experimental)), k is a multiple of 32, and the other sizes are
    /// multiples of 4.
    ///
    /// # Errors
    /// [`TensorError::Shape`] if the inner sizes differ, if the leading dimensions do not broadcast, or if an operand
    /// is a scalar; [`TensorError::DType`], [`TensorError::Pools`], [`TensorError::TooManyElements`]; as
    /// [`Tensor::empty`].
    #[track_caller]
    pub fn matmul(&self, other: &Self) -> Result<Self, TensorError> {
        self.multiplied("matmul", [other, other], None, None)
    }

    /// Multiplies matrices as [`Tensor::matmul`], adds a bias of shape (n), and applies an activation, all in one
    /// kernel. If the right operand is a vector, the bias has one element. Equals
    /// `activation(torch.matmul(x, other) + bias)`.
    ///
    /// # Errors
    /// As [`Tensor::matmul`]; [`TensorError::Shape`] unless the bias has n elements; [`TensorError::NotDefined`] if the
    /// activation is not defined for the dtype.
    #[track_caller]
    pub fn matmul_then(
        &self,
        other: &Self,
        bias: Option<&Self>,
        activation: Option<Activation>,
    ) -> Result<Self, TensorError> {
        self.multiplied("matmul_then", [other, other], bias, activation)
    }

    /// Multiplies matrices for the operation `name`. Errors have this name, and the shape of `given`, of which `other` is a view.
    #[track_caller]
    fn multiplied(
        &self,
        name: &'static str,
        operands: [&Self; 2],
        bias: Option<&Self>,
        activation: Option<Activation>,
    ) -> Result<Self, TensorError> {
        // Kernels have the name of `matmul` in their errors.
        self.product_with(name, operands, bias, activation).map_err(|error| error.of_operation(name))
    }

    #[track_caller]
    fn product_with(
        &self,
        name: &'static str,
        [other, given]: [&Self; 2],
        bias: Option<&Self>,
        activation: Option<Activation>,
    ) -> Result<Self, TensorError> {
        let (own_name, other_name) = operand_names(name);
        check_kinds(name, (own_name, self), (other_name, other))?;
        let mismatch = |required| TensorError::shape(name, other_name, given.shape(), required);
        let (by, of) = (Argument::from(own_name), || self.shape().to_vec());
        let left = if self.rank() == 1 { self.reshape([1, self.elements()])? } else { self.clone() };
        let right = if other.rank() == 1 { other.reshape([other.elements(), 1])? } else { other.clone() };
        let [.., rows, depth] = left.shape() else {
            return Err(TensorError::dimensions(name, own_name, self.shape(), "1 or more"));
        };
        let [.., inner, columns] = right.shape() else {
            return Err(TensorError::dimensions(name, other_name, given.shape(), "1 or more"));
        };
        if depth != inner {
            let (dimension, size, wanted) = ("inner size", *inner, *depth);
            return Err(mismatch(ShapeRequirement::Size { dimension, size, by, of: of(), wanted }));
        }
        let (rows, depth, columns) = (*rows, *depth, *columns);
        let bias = match bias {
            Some(bias) => Some(self.bias((name, bias), columns, (other_name, given), other)?),
            None => None,
        };
        let operation =
            activation.map_or(Ok(Finish::NONE.operation), |activation| activation.on(name, self.dtype()))?;
        let finish = Finish { bias: bias.as_ref(), operation };
        let lead = |tensor: &Self| tensor.layout().part(0..tensor.rank() - 2);
        let batch = lead(&left).broadcast_shape(&lead(&right));
        let batch = batch.ok_or_else(|| mismatch(ShapeRequirement::LeadingDimensions { by, of: of() }))?;
        let mut shape = batch.to_vec();
        if self.rank() > 1 {
            shape.push(rows);
        }
        if other.rank() > 1 {
            shape.push(columns);
        }
        // An expanded operand occupies little memory, so the length of K has to be checked separately.
        index(name, depth)?;
        // Sums that continue in the next dispatch are not rounded.
        let in_one_dispatch = depth <= DEEPEST && depth.is_multiple_of(MANY.slice) && !any_divided([&left, &right]);
        let written = if in_one_dispatch { self.dtype() } else { self.dtype().number() };
        let output = self.new_empty(shape, written)?;
        if output.elements() == 0 {
            return output.to(self.dtype());
        }
        if any_divided([&left, &right, &output]) {
            let matrices = output.reshape([&*batch, &[rows, columns]].concat())?;
            blocks::multiply([&left, &right, &matrices], bias.as_ref(), activation)?;
        } else {
            left.multiply_into(&right, &batch, &output, finish)?;
        }
        output.to(self.dtype())
    }

    /// Multiplies matrices in one block each, whose batch dimensions broadcast to `batch`, into a new tensor of the products.
    #[track_caller]
    fn multiply_into(
        &self,
        right: &Self,
        batch: &[usize],
        output: &Self,
        finish: Finish<'_>,
    ) -> Result<(), TensorError> {
        let left = self;
        let [rows, depth] = left.last_two();
        let [_, columns] = right.last_two();
        let batches = arithmetic::elements(batch);
        if depth == 0 {
            // A single zero on each side gives the sum of no elements, 0.
            let left = Self::zeros(&self.pool(), [rows * batches, 1], self.dtype())?;
            let right = Self::zeros(&self.pool(), [1, columns], self.dtype())?;
            let sizes = Sizes { batches: 1, rows: batches * rows, columns, depth: 1 };
            return multiply(sizes, left.matrices(0), right.matrices(0), output, finish);
        }
        if right.rank() == 2 {
            // Merges the batch into the rows of one matrix, if the strides permit.
            if let Ok(tall) = left.reshape([batches * rows, depth]) {
                let sizes = Sizes { batches: 1, rows: batches * rows, columns, depth };
                return multiply(sizes, tall.matrices(0), right.matrices(0), output, finish);
            }
        }
        let lead = |tensor: &Self| tensor.layout().part(0..tensor.rank() - 2);
        let expand = |tensor: &Self, sides: [usize; 2]| tensor.expand([batch, &sides].concat());
        let (left, right) = (expand(left, [rows, depth])?, expand(right, [depth, columns])?);
        let (left, right) = in_one_stride(left, right)?;
        let [of_left, of_right] = collapse([&lead(&left), &lead(&right)]);
        let stride = |layout: &Layout| layout.strides.first().copied().unwrap_or(0);
        let sizes = Sizes { batches, rows, columns, depth };
        multiply(sizes, left.matrices(stride(&of_left)), right.matrices(stride(&of_right)), output, finish)
    }

    /// The sizes of the last two dimensions.
    fn last_two(&self) -> [usize; 2] {
        let shape = self.shape();
        [shape[shape.len() - 2], shape[shape.len() - 1]]
    }

    /// Applies a linear map to the last axis: (…, inputs), a weight of shape (outputs, inputs), and a bias of shape
    /// (outputs) give (…, outputs). One kernel. Equals `torch.nn.functional.linear`.
    ///
    /// # Errors
    /// As [`Tensor::matmul_then`]; [`TensorError::Dimensions`] unless the weight is a matrix.
    #[track_caller]
    pub fn linear(&self, weight: &Self, bias: Option<&Self>) -> Result<Self, TensorError> {
        let name = "linear";
        if weight.rank() != 2 {
            return Err(TensorError::dimensions(name, "weight", weight.shape(), "2"));
        }
        self.multiplied(name, [&weight.t()?, weight], bias, None)
    }

    /// Returns a bias for kernels: contiguous, and not in the storage of an operand.
    #[track_caller]
    fn bias(
        &self,
        (name, bias): (&'static str, &Self),
        columns: usize,
        (by, given): (&'static str, &Self),
        other: &Self,
    ) -> Result<Self, TensorError> {
        check_kinds(name, (operand_names(name).0, self), ("bias", bias))?;
        if bias.shape() != [columns] {
            let (shape, of) = (vec![columns], given.shape().to_vec());
            let required = ShapeRequirement::Exactly { shape, by: by.into(), of };
            return Err(TensorError::shape(name, "bias", bias.shape(), required));
        }
        bias.contiguous()?.in_other_storage_than(self)?.in_other_storage_than(other)
    }

    /// Multiplies two batches of matrices: (b, m, k) and (b, k, n) give (b, m, n). Equals `torch.bmm`.
    ///
    /// # Errors
    /// [`TensorError::Shape`] unless both have three dimensions and the same batch size; as [`Tensor::matmul`].
    #[track_caller]
    pub fn bmm(&self, other: &Self) -> Result<Self, TensorError> {
        let name = "bmm";
        let (own_name, other_name) = operand_names(name);
        for (argument, tensor) in [(own_name, self), (other_name, other)] {
            if tensor.rank() != 3 {
                return Err(TensorError::dimensions(name, argument, tensor.shape(), "3"));
            }
        }
        let (wanted, size) = (self.shape()[0], other.shape()[0]);
        if size != wanted {
            let (by, of) = (own_name.into(), self.shape().to_vec());
            let required = ShapeRequirement::Size { dimension: "batch size", size, by, of, wanted };
            return Err(TensorError::shape(name, other_name, other.shape(), required));
        }
        self.multiplied(name, [other, other], None, None)
    }

    /// Transposes a matrix: exchanges the first two axes. Returns a view. Equals `torch.t` of a matrix.
    ///
    /// # Errors
    /// [`TensorError::Axis`] if there are fewer than two axes.
    #[track_caller]
    pub fn t(&self) -> Result<Self, TensorError> {
        self.transpose(0, 1).map_err(|error| error.of_operation("t"))
    }

    /// The matrices of the last two dimensions.
    fn matrices(&self, batch: usize) -> Matrices<'_> {
        let layout = self.layout();
        let [row, column] = [layout.rank() - 2, layout.rank() - 1].map(|axis| layout.strides[axis]);
        Matrices { operand: Placed::of(self), dtype: self.dtype(), row, column, batch }
    }
}

/// The names of the operands of a product in errors.
fn operand_names(operation: &'static str) -> (&'static str, &'static str) {
    if operation == "linear" { ("input", "weight") } else { ("left operand", "right operand") }
}

/// Whether all batches of each operand are at the same distance.
fn have_one_stride(left: &Tensor, right: &Tensor) -> bool {
    let lead = |tensor: &Tensor| tensor.layout().part(0..tensor.rank() - 2);
    collapse([&lead(left), &lead(right)])[0].rank() <= 1
}

/// The operands with one stride for all batches each: copies those that have several.
#[track_caller]
fn in_one_stride(left: Tensor, right: Tensor) -> Result<(Tensor, Tensor), TensorError> {
    if have_one_stride(&left, &right) {
        return Ok((left, right));
    }
    let copy = left.contiguous()?;
    if have_one_stride(&copy, &right) {
        return Ok((copy, right));
    }
    let other = right.contiguous()?;
    if have_one_stride(&left, &other) { Ok((left, other)) } else { Ok((copy, other)) }
}

/// Writes the products to `output`, which is contiguous and new.
#[track_caller]
fn multiply(
    sizes: Sizes,
    left: Matrices<'_>,
    right: Matrices<'_>,
    output: &Tensor,
    finish: Finish<'_>,
) -> Result<(), TensorError> {
    let kernel = Kernel::of(&sizes, &left, &right, output);
    let whole = Product { sizes, left, right, output, first_batch: 0, accumulate: false, finish };
    if in_parts::multiply(whole, kernel)? {
        return Ok(());
    }
    for first_batch in (0..sizes.batches).step_by(MOST_BATCHES) {
        let batches = MOST_BATCHES.min(sizes.batches - first_batch);
        add_up(Product { sizes: Sizes { batches, ..sizes }, first_batch, ..whole }, kernel)?;
    }
    Ok(())
}

/// Computes a product in as many dispatches as the length of K takes.
fn add_up(whole: Product<'_>, kernel: Kernel) -> Result<(), TensorError> {
    let total = whole.sizes.depth;
    let kernel = kernel.for_depth(total);
    let mut depth = 0;
    while depth < total {
        let rest = total - depth;
        let kernel = kernel.for_depth(rest);
        let length = (rest - rest % kernel.slice()).min(DEEPEST);
        let product = Product {
            sizes: Sizes { depth: length, ..whole.sizes },
            left: whole.left.further(depth * whole.left.column),
            right: whole.right.further(depth * whole.right.row),
            accumulate: depth > 0,
            finish: if length == rest { whole.finish } else { Finish::NONE },
            ..whole
        };
        match kernel {
            Kernel::Strided => product.run()?,
            Kernel::Tiled(tiling, layout) => product.run_tiled(tiling, layout)?,
            Kernel::Cooperative(_, layout) => product.run_cooperative(layout)?,
        }
        depth += length;
    }
    Ok(())
}

impl Matrices<'_> {
    /// The matrices from some elements further on.
    fn further(self, elements: usize) -> Self {
        Self { operand: self.operand.further(elements), ..self }
    }
}
