//! Lookups by index (gather), and additions by index (scatter).

use super::elementwise::distinct;
use super::launch::{
    KERNEL_RANK, check_kinds, check_pools, each_walk, grid, index as number, iterations, launch, loop_limit, padded,
    with_gpu, workgroup_size,
};
use super::placed::Placed;
use super::shader::{AS_IT_IS, GATHER, SCATTER_ADD, Shader, Specialization, Variant};
use crate::error::{ShapeRequirement, TensorError};
use crate::tensor::{Axis, DType, Layout, MAX_RANK, Tensor, any_divided, elementwise_pieces};
use bytemuck::{Pod, Zeroable};

/// The parameters of `lib/indexed.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    sizes: [u32; KERNEL_RANK],
    table_strides: [u32; KERNEL_RANK],
    index_strides: [u32; KERNEL_RANK],
    value_strides: [u32; KERNEL_RANK],
    count: u32,
    rank: u32,
    table_offset: u32,
    index_offset: u32,
    value_offset: u32,
    axis_size: u32,
    axis_stride: u32,
    first: u32,
}

impl Tensor {
    /// Gathers elements along an axis by index: in two dimensions, `out[i][j] = self[index[i][j]][j]` for axis 0. The
    /// index has dtype u32 and the shape of the result; along the other axes it may be smaller than the tensor. For
    /// every dtype. An index beyond the axis gives 0; PyTorch returns an error, after waiting for the device. Equals
    /// `torch.gather`.
    ///
    /// # Errors
    /// [`TensorError::Axis`], [`TensorError::Shape`] if the index has another rank or is larger along another axis,
    /// [`TensorError::IndexDType`] unless it is u32, [`TensorError::Pools`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn gather(&self, axis: impl Into<Axis>, index: &Self) -> Result<Self, TensorError> {
        let name = "gather";
        match self.layout().axis_or_scalar(name, axis)? {
            Some(axis) => self.gathered(name, axis, index),
            None => self.reshape([1])?.gathered(name, 0, &index.of_scalar()?)?.reshape(index.shape()),
        }
    }

    /// Gathers elements for the operation `name`, which errors have.
    #[track_caller]
    fn gathered(&self, name: &'static str, axis: usize, index: &Self) -> Result<Self, TensorError> {
        self.check_index(name, axis, index)?;
        let output = self.new_empty(index.shape(), self.dtype())?;
        if self.elements() == 0 {
            // The table has no element to bind, and every index is out of range.
            output.clear()?;
            return Ok(output);
        }
        // One storage bound twice would be two writable bindings of the same bytes.
        let index = index.in_other_storage_than(self)?;
        run(name, &GATHER, [self, &index, &output], axis)?;
        Ok(output)
    }

    /// Returns the slices along an axis that a one-dimensional index of dtype u32 selects; the size of the axis in the
    /// result is that of the index. An index of rank 0 selects one slice. For axis 0 of a scalar, an index of one
    /// element gives a scalar. For every dtype. An index beyond the axis gives zeros. Equals `torch.index_select`, and
    /// along axis 0 `torch.nn.functional.embedding`.
    ///
    /// # Errors
    /// [`TensorError::Axis`], [`TensorError::Dimensions`] if the index has a higher rank, [`TensorError::Shape`] if an index into a
    /// scalar has not exactly one element, [`TensorError::IndexDType`] unless the index is u32, [`TensorError::Pools`]; as
    /// [`Tensor::empty`].
    #[track_caller]
    pub fn index_select(&self, axis: impl Into<Axis>, index: &Self) -> Result<Self, TensorError> {
        let name = "index_select";
        let Some(axis) = self.layout().axis_or_scalar(name, axis)? else {
            let index = self.index_into_scalar(name, index)?;
            return self.reshape([1])?.gathered(name, 0, &index)?.reshape([]);
        };
        let all = self.index_of_slices(name, axis, index)?;
        self.gathered(name, axis, &all)
    }

    /// Adds the elements of `source` to the elements that the index selects along an axis, in place: the gradient of
    /// [`Tensor::gather`]. Several additions to one element happen in any order, so sums of f32 and f16 differ in their
    /// last bits from run to run. For every dtype; f16 is accumulated in f32, in a copy of the tensor, and rounded
    /// once. Indices beyond the axis are ignored. Equals `torch.Tensor.scatter_add_`.
    ///
    /// # Errors
    /// As [`Tensor::gather`]; [`TensorError::Shape`] unless `source` and the index have the same shape,
    /// [`TensorError::Overlap`] if elements of the tensor overlap each other.
    #[track_caller]
    pub fn scatter_add_(&self, axis: impl Into<Axis>, index: &Self, source: &Self) -> Result<(), TensorError> {
        let name = "scatter_add_";
        let Some(axis) = self.layout().axis_or_scalar(name, axis)? else {
            return self.reshape([1])?.scatter_added(name, 0, &index.of_scalar()?, &source.of_scalar()?);
        };
        self.scatter_added(name, axis, index, source)
    }

    /// Adds elements for the operation `name`, which errors have.
    #[track_caller]
    fn scatter_added(&self, name: &'static str, axis: usize, index: &Self, source: &Self) -> Result<(), TensorError> {
        check_kinds(name, ("tensor", self), ("source", source))?;
        self.check_index(name, axis, index)?;
        self.check_writable(name, "tensor")?;
        if source.shape() != index.shape() {
            let required = ShapeRequirement::Same { by: "index".into(), of: index.shape().to_vec() };
            return Err(TensorError::shape(name, "source", source.shape(), required));
        }
        if self.elements() == 0 {
            return Ok(());
        }
        let number = self.dtype().number();
        if self.dtype() != number {
            // Each element is rounded once, not after each addition.
            let table = self.to(number)?;
            table.scatter_added(name, axis, index, &source.to(number)?)?;
            return self.copy_(&table);
        }
        let source = source.in_other_storage_than(self)?;
        let index = index.in_other_storage_than(self)?.in_other_storage_than(&source)?;
        run(name, &SCATTER_ADD, [self, &index, &source], axis)
    }

    /// Adds the slices of `source` to the slices that a one-dimensional index selects along an axis, in place: the gradient of
    /// [`Tensor::index_select`]. See [`Tensor::scatter_add_`]. Equals `torch.Tensor.index_add_`.
    ///
    /// # Errors
    /// As [`Tensor::index_select`] and [`Tensor::scatter_add_`].
    #[track_caller]
    pub fn index_add_(&self, axis: impl Into<Axis>, index: &Self, source: &Self) -> Result<(), TensorError> {
        let name = "index_add_";
        let Some(axis) = self.layout().axis_or_scalar(name, axis)? else {
            let index = self.index_into_scalar(name, index)?;
            return self.reshape([1])?.scatter_added(name, 0, &index, &source.of_scalar()?);
        };
        let all = self.index_of_slices(name, axis, index)?;
        self.scatter_added(name, axis, &all, source)
    }

    /// A scalar with one dimension, as a view; another tensor as it is.
    fn of_scalar(&self) -> Result<Self, TensorError> {
        if self.rank() == 0 { self.reshape([1]) } else { Ok(self.clone()) }
    }

    /// The index of the only slice of a scalar, with one dimension.
    fn index_into_scalar(&self, name: &'static str, index: &Self) -> Result<Self, TensorError> {
        if index.rank() <= 1 && index.elements() == 1 {
            return index.of_scalar();
        }
        let (elements, shape) = (index.elements(), self.shape().to_vec());
        let required = ShapeRequirement::Elements { elements, shape, wanted: Some(1) };
        Err(TensorError::shape(name, "index", index.shape(), required))
    }

    /// An index of one dimension for all lines of an axis, as a view.
    fn index_of_slices(&self, name: &'static str, axis: usize, index: &Self) -> Result<Self, TensorError> {
        let count = match *index.shape() {
            [] => 1,
            [count] => count,
            _ => return Err(TensorError::dimensions(name, "index", index.shape(), "0 or 1")),
        };
        let mut shape = self.shape().to_vec();
        shape[axis] = count;
        let mut lone = vec![1; self.rank()];
        lone[axis] = count;
        index.reshape(lone)?.expand(shape)
    }

    fn check_index(&self, name: &'static str, axis: usize, index: &Self) -> Result<(), TensorError> {
        check_pools(name, ("tensor", self), ("index", index))?;
        if index.dtype() != DType::U32 {
            let dtype = index.dtype().name();
            return Err(TensorError::IndexDType { operation: name, argument: "index".into(), dtype, wanted: "u32" });
        }
        let fits = |(other, (&own, &wanted)): (usize, (&usize, &usize))| other == axis || wanted <= own;
        let pairs = self.shape().iter().zip(index.shape()).enumerate();
        if index.rank() == self.rank() && pairs.into_iter().all(fits) {
            return Ok(());
        }
        let required = ShapeRequirement::Within { axis, by: "tensor".into(), of: self.shape().to_vec() };
        Err(TensorError::shape(name, "index", index.shape(), required))
    }
}

/// `scatter_add.wgsl` for integers, which have an atomic addition.
const OF_INTEGERS: Specialization =
    Specialization::new("of_integers", &[["add", "atomicAdd(&table[place], bitcast<u32>(more));"]]);

/// The specialization of one of the two kernels for a dtype.
pub(super) fn operation(shader: &Shader, dtype: DType) -> Specialization {
    let is_integer = matches!(dtype, DType::I32 | DType::U32);
    if shader.name == SCATTER_ADD.name && is_integer { OF_INTEGERS } else { AS_IT_IS }
}

/// Runs a kernel over each element of the index, with a table that is looked up along an axis, and the value of each element.
#[track_caller]
fn run(
    name: &'static str,
    shader: &Shader,
    [table, index, value]: [&Tensor; 3],
    axis: usize,
) -> Result<(), TensorError> {
    if index.elements() == 0 {
        return Ok(());
    }
    if !any_divided([table, index, value]) {
        return Table::new(table, axis, index.shape(), true).run(name, shader, index, value);
    }
    if table.rank() == MAX_RANK {
        // One axis more than a tensor may have: each index of the shortest other axis by itself.
        let others = (0..table.rank()).filter(|&other| other != axis);
        let Some(shortest) = others.min_by_key(|&other| index.shape()[other]) else { return Ok(()) };
        for at in 0..index.shape()[shortest] {
            let at = Axis::from(at);
            let [table, index, value] = [table, index, value].map(|tensor| tensor.select(shortest, at));
            run(name, shader, [&table?, &index?, &value?], axis - usize::from(shortest < axis))?;
        }
        return Ok(());
    }
    // The axes of the index, then the indices of the table's axis, of which every element of the index uses one.
    let fits = |table: Tensor, other: usize| {
        if other == axis { Ok(table) } else { table.narrow(other, 0, index.shape()[other]) }
    };
    let table = (0..table.rank()).try_fold(table.clone(), fits)?.transpose_to_last(axis)?;
    let wide = [index.shape(), &[table.shape()[table.rank() - 1]]].concat();
    let [index, value] = [index, value].map(|tensor| tensor.unsqueeze(-1)?.expand(&wide));
    let operands = [table.expand(&wide)?, index?, value?];
    let operands: Vec<&Tensor> = operands.iter().collect();
    for piece in elementwise_pieces(name, &operands)? {
        let [table, index, value] = &*piece.operands else { continue };
        let last = wide.len() - 1;
        let table = table.narrow(axis, 0, 1)?.transpose(axis, last)?.squeeze(last)?;
        let [index, value] = [index, value].map(|tensor| tensor.select(last, 0));
        let (mut index, value) = (index?, value?);
        let first = piece.ranges[last].start;
        if first > 0 {
            // Indices of earlier parts wrap, and are beyond the axis.
            index = distinct(&index)?.sub(i64::from(number(name, first)?))?.expand(index.shape())?;
        }
        Table::new(&table, axis, index.shape(), first == 0).run(name, shader, &index, &value)?;
    }
    Ok(())
}

impl Tensor {
    /// A view with an axis of size 1 in the place of an axis, which becomes the last one.
    fn transpose_to_last(&self, axis: usize) -> Result<Self, TensorError> {
        let rank = self.rank();
        self.unsqueeze(-1)?.transpose(axis, rank)
    }
}

/// A tensor that is looked up along an axis.
struct Table<'a> {
    tensor: &'a Tensor,
    axis: usize,
    /// False for a part of a table other than the first.
    is_first: bool,
    /// The tensor's layout, expanded to the index's shape, with a stride of zero along the axis.
    layout: Layout,
}

impl<'a> Table<'a> {
    fn new(tensor: &'a Tensor, axis: usize, shape: &[usize], is_first: bool) -> Self {
        Self { tensor, axis, is_first, layout: tensor.layout().with_axis_of(axis, shape) }
    }

    /// Runs a kernel over each element of the index. The tensor that the kernel writes is bound first, then the one
    /// that it reads, then the index.
    fn run(&self, name: &'static str, shader: &Shader, index: &Tensor, value: &Tensor) -> Result<(), TensorError> {
        each_walk(&mut [self.layout, *index.layout(), *value.layout()], |walk| {
            self.run_walk(name, shader, [index, value], walk)
        })
    }

    /// Runs the kernel on elements of the index that are walked over in few dimensions.
    fn run_walk(
        &self,
        name: &'static str,
        shader: &Shader,
        [index, value]: [&Tensor; 2],
        [table_walk, index_walk, value_walk]: &[Layout; 3],
    ) -> Result<(), TensorError> {
        let (table_binding, table_offset) = Placed::at(self.tensor, table_walk).bind(name, 1)?;
        let (index_binding, index_offset) = Placed::at(index, index_walk).bind(name, 1)?;
        let (value_binding, value_offset) = Placed::at(value, value_walk).bind(name, 1)?;
        let count = number(name, index_walk.elements())?;
        let mut params = Params {
            sizes: padded(name, &index_walk.shape)?,
            table_strides: padded(name, &table_walk.strides)?,
            index_strides: padded(name, &index_walk.strides)?,
            value_strides: padded(name, &value_walk.strides)?,
            count,
            rank: number(name, index_walk.rank())? | u32::from(!self.is_first) << 16,
            table_offset,
            index_offset,
            value_offset,
            axis_size: number(name, self.tensor.shape()[self.axis])?,
            axis_stride: number(name, self.tensor.strides()[self.axis])?,
            first: 0,
        };
        let dtype = self.tensor.dtype();
        let variant = Variant { operation: operation(shader, dtype), ..Variant::plain(dtype) };
        let program = with_gpu(self.tensor, |gpu| shader.program(gpu, variant))?;
        let bindings = match shader.name == SCATTER_ADD.name {
            true => [table_binding, value_binding, index_binding],
            false => [value_binding, table_binding, index_binding],
        };
        // A floating-point addition is a compare-and-swap loop, repeated while other invocations change the same element.
        let tries = shader.name == SCATTER_ADD.name && dtype.is_floating_point();
        let walk = iterations(KERNEL_RANK as u64, 0);
        // Only software drivers limit the iterations of loops; they lose no time with several smaller dispatches.
        let is_limited = tries && with_gpu(self.tensor, crate::device::Gpu::is_software);
        let most = if is_limited {
            u32::try_from(loop_limit().saturating_sub(walk + 1).max(1)).unwrap_or(u32::MAX)
        } else {
            count
        };
        for first in (0..count).step_by(most as usize) {
            params.first = first;
            params.count = count.min(first.saturating_add(most));
            let elements = params.count - first;
            let workgroups = grid(elements.div_ceil(workgroup_size(self.tensor)));
            let loops = walk + if is_limited { iterations(u64::from(elements), 0) } else { 0 };
            launch(name, &program, &bindings, bytemuck::bytes_of(&params), workgroups, loops)?;
        }
        Ok(())
    }
}
