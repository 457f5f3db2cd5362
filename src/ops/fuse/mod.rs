//! The fuser: an expression over elements becomes one kernel, which reads each input once and writes once.
//!
//! `expression.rs` builds it, `kinds.rs` finds out what each step is on the dtypes at hand, `wgsl.rs` writes the kernel, and
//! this file runs it.

mod expression;
mod kinds;
mod wgsl;

pub(super) use expression::Constant;
pub use expression::{Expression, Operand};

use super::form::{Form, LANES, form};
use super::launch::{MOST_BINDINGS, WORKGROUP, check_pools, each_walk, grid, index, is_in_place, launch, with_gpu};
use super::placed::Placed;
use super::shader::moves_pairs;
use crate::device::gpu::{ExpressionKey, SLOT_BYTES, Structure};
use crate::error::TensorError;
use crate::pool::Storage;
use crate::tensor::{DType, Layout, Tensor};
use expression::{Node, Nodes, Place};
use rustc_hash::FxHasher;
use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

const NAME: &str = "fused";

/// The most inputs of an expression: with the output, and the constants where they are bound as well, as many bindings as every
/// WebGPU device has in a kernel.
pub const MOST_INPUTS: usize = 6;
const OPERANDS: usize = MOST_INPUTS + 1;
const _: () = assert!(OPERANDS + 1 == MOST_BINDINGS);

/// An expression over the elements of `N` inputs, as one kernel. Made by [`fuse`].
#[derive(Clone, Debug)]
pub struct Fused<const N: usize> {
    steps: Arc<Steps>,
    /// The bits of its constants.
    constants: Arc<[u32]>,
}

/// The structure of an expression: its steps, and which of them is the result.
#[derive(Debug)]
struct Steps {
    nodes: Box<[Node]>,
    result: Place,
    hash: u64,
}

impl Structure for Steps {
    fn hash(&self) -> u64 {
        self.hash
    }

    fn equals(&self, other: &dyn Structure) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref().is_some_and(|other: &Self| self.result == other.result && self.nodes == other.nodes)
    }
}

/// Makes one kernel of an expression over elements. Compiled when it first runs on a device, and found again by its structure:
/// constants are parameters of the kernel, so that expressions that differ in their values alone share one. A device keeps the 512
/// kernels of expressions that were used last ([`Pool::clear_caches`](crate::Pool::clear_caches) drops them).
///
/// Up to about 50 constants are passed like other parameters. More are written to memory of the pool first, which costs some
/// microseconds for each run.
///
/// Does the work of `torch.compile` for elementwise chains.
///
/// # Examples
///
/// ```no_run
/// use wgpu_pool::{Pool, PoolOptions, Tensor, fuse};
///
/// let pool = Pool::request_blocking(PoolOptions::default())?;
/// let kernel = fuse(|[x, y]| (x * y + x).relu() * 0.5_f32);
/// let x = Tensor::from_slice(&pool, &[1.0_f32, 2.0, 3.0], [3])?;
/// let y = Tensor::full(&pool, [], -3.0_f32)?;
/// assert_eq!(kernel.run([&x, &y])?.read_blocking::<f32>()?, [0.0; 3]);
/// # Ok::<(), wgpu_pool::Error>(())
/// ```
///
/// # Panics
/// Doesn't compile for more than [`MOST_INPUTS`] inputs.
pub fn fuse<const N: usize>(build: impl for<'a> FnOnce([Expression<'a>; N]) -> Expression<'a>) -> Fused<N> {
    const { assert!(N >= 1 && N <= MOST_INPUTS, "an expression has one to six inputs") };
    let nodes = Nodes::default();
    let inputs = std::array::from_fn(|input| u32::try_from(input).expect("at most six"));
    let inputs = inputs.map(|input| nodes.add(Node::Input(input)));
    let result = build(inputs.map(|place| Expression { nodes: &nodes, place })).place;
    let (nodes, constants) = nodes.into_inner();
    let mut hasher = FxHasher::default();
    (&nodes, result).hash(&mut hasher);
    let steps = Steps { nodes: nodes.into(), result, hash: hasher.finish() };
    Fused { steps: Arc::new(steps), constants: constants.into() }
}

/// What a kernel is written for, in addition to the expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variant {
    form: Form,
    rank: usize,
    /// Of the output: that of the expression, or the one that it is computed with.
    written: DType,
    /// Of the inputs.
    dtypes: [DType; MOST_INPUTS],
    /// Inputs without dimensions, whose dtype counts less; none where all inputs are of one dtype.
    scalars: [bool; MOST_INPUTS],
    /// The binding of each operand, the output first: operands in one storage share one.
    bindings: [usize; OPERANDS],
    /// Operands of which one element stands for all in a row.
    is_spread: [bool; OPERANDS],
    /// Whether a vec4 is moved as two numbers of 64 bits: depends on the device and the dtypes.
    in_pairs: bool,
}

impl Variant {
    /// A number that tells it from all others.
    fn key(&self) -> u64 {
        let mut key = self.form as u64 * 8 + self.rank as u64;
        for dtype in [self.written].into_iter().chain(self.dtypes) {
            let place = DType::ALL.iter().position(|&known| known == dtype);
            key = key * 4 + place.expect("every dtype is listed") as u64;
        }
        for is_scalar in self.scalars {
            key = key * 2 + u64::from(is_scalar);
        }
        for (binding, is_spread) in self.bindings.iter().zip(self.is_spread) {
            key = key * 16 + *binding as u64 * 2 + u64::from(is_spread);
        }
        key
    }

    fn bound(&self) -> usize {
        self.bindings.iter().max().map_or(0, |last| last + 1)
    }
}

impl<const N: usize> Fused<N> {
    /// The expression of each element of the inputs, broadcast to each other.
    ///
    /// Of different dtypes, the operands of each step are converted as those of [`Tensor::add`]: numbers and inputs without dimensions
    /// take the dtype of the other operand, unless that is of integers and they are not. Functions such as `exp`, and quotients, of
    /// integers are of f32. What goes from step to step in f16 is not rounded.
    ///
    /// # Errors
    /// [`TensorError::Shape`], [`TensorError::DType`] where a step takes operands of i32 and u32,
    /// [`TensorError::NotDefined`], [`TensorError::Pools`], [`TensorError::TooManyIterations`] of more than about 1,800 integer
    /// divisions and remainders; as [`Tensor::empty`].
    #[track_caller]
    pub fn run(&self, inputs: [&Tensor; N]) -> Result<Tensor, TensorError> {
        self.run_as(NAME, inputs)
    }

    /// The same, under a name of its own in errors.
    #[track_caller]
    pub(super) fn run_as(&self, name: &'static str, inputs: [&Tensor; N]) -> Result<Tensor, TensorError> {
        let kinds = self.kinds(name, inputs)?;
        self.run_written(name, inputs, &kinds, self.dtype(&kinds))
    }

    /// The same in the dtype that it is computed with, for what goes on with the result: f16 isn't rounded in between.
    #[track_caller]
    pub(super) fn run_unrounded_as(&self, name: &'static str, inputs: [&Tensor; N]) -> Result<Tensor, TensorError> {
        let kinds = self.kinds(name, inputs)?;
        self.run_written(name, inputs, &kinds, self.dtype(&kinds).number())
    }

    #[track_caller]
    fn run_written(
        &self,
        name: &'static str,
        inputs: [&Tensor; N],
        kinds: &[kinds::Kind],
        written: DType,
    ) -> Result<Tensor, TensorError> {
        let mut layout = *inputs[0].layout();
        for input in &inputs[1..] {
            check_pools(name, inputs[0], input)?;
            let shape = layout.broadcast_shape(name, input.layout())?;
            layout = layout.expand(name, &shape)?;
        }
        let output = inputs[0].new_empty(&*layout.shape, written)?;
        self.launch(name, inputs, &output, kinds)?;
        Ok(output)
    }

    /// Writes the expression of each element of the inputs, broadcast to the output's shape, to `output`, which may be one of
    /// the inputs.
    ///
    /// # Errors
    /// As [`Fused::run`]; [`TensorError::Overlap`] if the output shares elements with an input other than each with itself, or
    /// if its own elements share places.
    pub fn run_into(&self, inputs: [&Tensor; N], output: &Tensor) -> Result<(), TensorError> {
        self.run_into_as(NAME, inputs, output)
    }

    /// The same, under a name of its own in errors.
    pub(super) fn run_into_as(
        &self,
        name: &'static str,
        inputs: [&Tensor; N],
        output: &Tensor,
    ) -> Result<(), TensorError> {
        let kinds = self.kinds(name, inputs)?;
        let dtype = self.dtype(&kinds);
        if dtype != output.dtype() {
            let (left, right) = (dtype.name(), output.dtype().name());
            return Err(TensorError::DType { operation: name, left, right });
        }
        output.check_writable(name)?;
        for input in inputs {
            check_pools(name, output, input)?;
            let layout = input.layout().expand(name, output.shape())?;
            is_in_place(name, (output.storage(), output.layout()), (input.storage(), &layout))?;
        }
        self.launch(name, inputs, output, &kinds)
    }

    fn kinds(&self, name: &'static str, inputs: [&Tensor; N]) -> Result<Vec<kinds::Kind>, TensorError> {
        let inputs = inputs.map(|input| kinds::Input { dtype: input.dtype(), is_scalar: input.rank() == 0 });
        kinds::of(name, &self.steps.nodes, &inputs)
    }

    fn dtype(&self, kinds: &[kinds::Kind]) -> DType {
        kinds[self.steps.result as usize].dtype()
    }

    fn launch(
        &self,
        name: &'static str,
        inputs: [&Tensor; N],
        output: &Tensor,
        kinds: &[kinds::Kind],
    ) -> Result<(), TensorError> {
        if output.elements() == 0 {
            return Ok(());
        }
        let mut wide = [*output.layout(); OPERANDS];
        for (layout, input) in wide[1..].iter_mut().zip(inputs) {
            *layout = input.layout().expand(name, output.shape())?;
        }
        let layouts = std::array::from_fn::<_, OPERANDS, _>(|operand| &wide[operand]);
        each_walk(layouts, |walk| self.launch_walk(name, inputs, output, kinds, walk))
    }

    /// Runs the kernel on elements that are walked over in few dimensions.
    fn launch_walk(
        &self,
        name: &'static str,
        inputs: [&Tensor; N],
        output: &Tensor,
        kinds: &[kinds::Kind],
        layouts: &[Layout; OPERANDS],
    ) -> Result<(), TensorError> {
        let variant = variant(&layouts[..=N], inputs, output);
        let unit = if variant.form == Form::Flat { LANES } else { 1 };
        let mut bound = [Placed::at(output, &layouts[0]).bind(name, unit)?; OPERANDS];
        for ((operand, input), layout) in bound[1..].iter_mut().zip(inputs).zip(&layouts[1..]) {
            *operand = Placed::at(input, layout).bind(name, unit)?;
        }
        let parameters = Parameters::new(N, &variant, self.constants.len());
        let program = with_gpu(output, |gpu| {
            let structure: Arc<dyn Structure> = Arc::<Steps>::clone(&self.steps);
            gpu.expression_program(ExpressionKey { structure, variant: variant.key() }, || {
                let source = wgsl::kernel(&self.steps.nodes, self.steps.result, kinds, &variant, &parameters);
                (source, variant.bound() + usize::from(parameters.binds_constants), parameters.words())
            })
        })?;
        let elements = layouts[0].elements();
        let count = index(name, if variant.form == Form::Strided { elements } else { elements.div_ceil(LANES) })?;
        let offsets = bound.map(|(_, offset)| offset);
        let mut words = words(name, &layouts[..=N], &offsets[..=N], &variant, count)?;
        let mut bindings = [bound[0].0; MOST_BINDINGS];
        for (&binding, operand) in variant.bindings.iter().zip(bound).take(N + 1) {
            bindings[binding] = operand.0;
        }
        let mut bound = variant.bound();
        let constants;
        if parameters.binds_constants {
            constants = output.new_empty([self.constants.len()], DType::U32)?;
            constants.storage().write(0, bytemuck::cast_slice(&self.constants))?;
            bindings[bound] = Placed::of(&constants).bind_whole(name)?;
            bound += 1;
        } else {
            words.extend(&*self.constants);
        }
        // A kernel's parameters are declared as vec4.
        words.resize(parameters.words(), 0);
        let workgroups = grid(count.div_ceil(WORKGROUP));
        let iterations = kinds.iter().map(|kind| kind.iterations()).sum();
        launch(name, &program, &bindings[..bound], bytemuck::cast_slice(&words), workgroups, iterations)
    }
}

/// The parameters but for the constants, in the order in which `wgsl.rs` reads them.
fn words(
    name: &'static str,
    layouts: &[Layout],
    offsets: &[u32],
    variant: &Variant,
    count: u32,
) -> Result<Vec<u32>, TensorError> {
    let number = |value| index(name, value);
    let mut words = vec![count];
    if variant.form == Form::Flat {
        words.push(number((layouts[0].elements() - 1) % LANES + 1)?);
        words.extend(offsets);
    } else {
        let inner = variant.rank.checked_sub(1);
        let in_vec4s = |axis: usize| variant.form == Form::Rows && Some(axis) == inner;
        for (axis, &size) in layouts[0].shape.iter().enumerate() {
            words.push(number(if in_vec4s(axis) { size / LANES } else { size })?);
        }
        for (layout, &offset) in layouts.iter().zip(offsets) {
            words.push(offset);
            for (axis, &stride) in layout.strides.iter().enumerate() {
                words.push(number(if in_vec4s(axis) { stride * LANES } else { stride })?);
            }
        }
    }
    Ok(words)
}

/// How a kernel takes its parameters: words for the walk over its operands, then the constants, unless all that is more than a
/// kernel's parameters may have. Then the constants are one more binding.
#[derive(Clone, Copy, Debug)]
struct Parameters {
    inputs: usize,
    /// Words before the constants.
    walk: usize,
    constants: usize,
    binds_constants: bool,
}

impl Parameters {
    fn new(inputs: usize, variant: &Variant, constants: usize) -> Self {
        let operands = inputs + 1;
        let walk = match variant.form {
            Form::Flat => 2 + operands,
            Form::Rows | Form::Strided => 1 + variant.rank + operands * (1 + variant.rank),
        };
        let bytes = (walk + constants).next_multiple_of(4) * size_of::<u32>();
        Self { inputs, walk, constants, binds_constants: bytes as u64 > SLOT_BYTES }
    }

    /// Words of the parameters, a multiple of four.
    fn words(&self) -> usize {
        (self.walk + if self.binds_constants { 0 } else { self.constants }).next_multiple_of(4)
    }
}

/// How the operands lie, and which of them share a binding.
fn variant<const N: usize>(layouts: &[Layout], inputs: [&Tensor; N], output: &Tensor) -> Variant {
    let form = form(layouts);
    let suit = |gpu: &_| moves_pairs(gpu, &[output.dtype()]) && moves_pairs(gpu, &inputs.map(Tensor::dtype));
    let in_pairs = form != Form::Strided && with_gpu(output, suit);
    let mut storages = [None; OPERANDS];
    let mut bindings = [0; OPERANDS];
    let mut dtypes = [DType::F32; MOST_INPUTS];
    let mut scalars = [false; MOST_INPUTS];
    let is_mixed = inputs.iter().any(|input| input.dtype() != inputs[0].dtype());
    storages[0] = Some(output.storage());
    let mut bound = 1;
    for (operand, input) in (1..).zip(inputs) {
        dtypes[operand - 1] = input.dtype();
        scalars[operand - 1] = is_mixed && input.rank() == 0;
        let known = storages.iter().flatten().position(|known: &&Storage| known.is_same(input.storage()));
        bindings[operand] = known.unwrap_or_else(|| {
            storages[bound] = Some(input.storage());
            bound += 1;
            bound - 1
        });
    }
    let mut is_spread = [false; OPERANDS];
    if form == Form::Rows {
        for (spread, layout) in is_spread.iter_mut().zip(layouts) {
            *spread = layout.strides.last() == Some(&0);
        }
    }
    let rank = if form == Form::Flat { 0 } else { layouts[0].rank() };
    Variant { form, rank, written: output.dtype(), dtypes, scalars, bindings, is_spread, in_pairs }
}
