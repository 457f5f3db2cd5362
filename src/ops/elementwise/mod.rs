//! The engine of elementwise kernels. It runs single operations and fused expressions alike, reads each input once and
//! writes once.
//!
//! `operation.rs` has the rows of the table of operations, `graph.rs` the steps of a kernel, `form.rs` the iteration over
//! operands, `variant.rs` the properties for which a kernel is generated, `pack.rs` the inputs of devices with few storage
//! buffers; `wgsl.rs` generates the kernel, and this file runs it.

mod form;
mod graph;
mod operation;
mod pack;
#[cfg(test)]
mod tests;
mod variant;
mod wgsl;

pub(super) use graph::{Graph, MOST_OPERANDS, Node, Place};
pub(super) use operation::{Code, IDENTITY, IN_REAL, OnIntegers, Operation, Typed, UNDEFINED, Value, computed};
pub(super) use pack::distinct;
#[cfg(test)]
pub(super) use tests::check_texts;
pub use variant::MOST_INPUTS;

use super::launch::{MOST_BINDINGS, check_pools, each_walk, grid, index, launch, relation, with_gpu, workgroup_size};
use super::placed::Placed;
use crate::device::Gpu;
use crate::device::gpu::{ExpressionKey, Program, ProgramDescriptor, ProgramKey, Structure};
use crate::error::{Argument, DeviceError, TensorError};
use crate::tensor::{DType, Layout, Piece, Tensor, any_divided, elementwise_pieces};
use form::{Form, LANES};
use pack::Packed;
use std::borrow::Cow;
use std::sync::Arc;
use variant::{OPERANDS, Parameters, Variant, Words};

/// One operation of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Single {
    pub(super) operation: &'static Operation,
    pub(super) typed: Typed,
    /// Whether the operands are exchanged, for a number on the left.
    pub(super) is_reversed: bool,
}

/// The computation for each element.
#[derive(Clone, Copy, Debug)]
pub(super) enum Computation<'a> {
    /// An operation on the inputs, then the numbers, which have the dtype of its operands.
    Single(Single),
    /// A graph, with the types of its nodes.
    Expression(&'a Arc<Graph>, &'a [Typed]),
}

/// A run of a kernel, without its output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elementwise<'a> {
    /// The name in errors.
    pub(super) name: &'static str,
    pub(super) computation: Computation<'a>,
    pub(super) inputs: &'a [&'a Tensor],
    /// The bits of the constants.
    pub(super) numbers: &'a [u32],
    /// The dtypes as which elements are loaded and stored, if they differ from the tensors' dtypes.
    pub(super) moved_as: Option<[DType; 2]>,
}

/// The layouts of the operands, the output first; for operands that a kernel does not have, the output's layout.
#[derive(Clone, Debug)]
struct Layouts<const N: usize> {
    all: [Layout; N],
    count: usize,
}

impl<const N: usize> AsMut<[Layout]> for Layouts<N> {
    fn as_mut(&mut self) -> &mut [Layout] {
        &mut self.all[..self.count]
    }
}

/// The tensor that an operation in place writes, in errors.
pub(super) const OUTPUT: Argument = Argument::Named("output");

impl<'a> Elementwise<'a> {
    /// Creates a run of an operation of the table on the inputs, then the numbers.
    pub(super) const fn single(
        name: &'static str,
        single: Single,
        inputs: &'a [&'a Tensor],
        numbers: &'a [u32],
    ) -> Self {
        Self { name, computation: Computation::Single(single), inputs, numbers, moved_as: None }
    }

    /// Writes the results to a new tensor of a dtype, with the shape to which the inputs broadcast. There is at least one input.
    #[track_caller]
    pub(super) fn run(&self, written: DType) -> Result<Tensor, TensorError> {
        let [first, others @ ..] = self.inputs else { unreachable!("a result has the pool of an input") };
        let mut layout = *first.layout();
        for (number, other) in (1..).zip(others) {
            check_pools(self.name, (Argument::operand(0), first), (Argument::operand(number), other))?;
            if other.shape() != &*layout.shape {
                layout = layout.broadcast(self.name, Argument::operand(number), other.layout())?;
            }
        }
        let output = first.new_empty(&*layout.shape, written)?;
        self.launch(&output)?;
        Ok(output)
    }

    /// Writes results of a dtype to `output`, which may be one of the inputs. The inputs are broadcast to the shape of
    /// the output.
    ///
    /// # Errors
    /// [`TensorError::DType`] if the dtype is not the output's; [`TensorError::Overlap`] if the output shares elements with an
    /// input at different indices, or if elements of the output overlap each other; [`TensorError::Pools`],
    /// [`TensorError::Shape`].
    pub(super) fn run_into(&self, written: DType, output: &Tensor) -> Result<(), TensorError> {
        let name = self.name;
        if written != output.dtype() {
            return Err(TensorError::dtypes(name, ("result", written.name()), (OUTPUT, output.dtype().name())));
        }
        output.check_writable(name, OUTPUT)?;
        for (number, input) in self.inputs.iter().enumerate() {
            let operand = Argument::operand(number);
            check_pools(name, (OUTPUT, output), (operand, input))?;
            let layout = input.layout().expand(name, operand, output.shape())?;
            relation(name, [OUTPUT, operand], (output, output.layout()), (input, &layout))?;
        }
        self.launch(output)
    }

    /// Writes the results to `output`, whose elements do not overlap other elements of the inputs.
    pub(super) fn launch(&self, output: &Tensor) -> Result<(), TensorError> {
        if any_divided(self.inputs.iter().copied().chain([output])) {
            return self.launch_pieces(output);
        }
        // Most kernels have few operands, and layouts are large.
        match self.inputs.len() {
            ..3 => self.launch_of::<3>(output),
            _ => self.launch_packed(output),
        }
    }

    /// Launches for each piece of operands in several blocks. An input of rank 0 remains one, because it matters less for the
    /// dtype.
    fn launch_pieces(&self, output: &Tensor) -> Result<(), TensorError> {
        let is_scalar = |input: &Tensor| input.rank() == 0;
        let widened = self.inputs.iter().filter(|input| !is_scalar(input));
        let widened: Vec<Tensor> = widened.map(|input| input.expand(output.shape())).collect::<Result<_, _>>()?;
        let operands: Vec<&Tensor> = std::iter::once(output).chain(&widened).collect();
        for Piece { operands, .. } in elementwise_pieces(self.name, &operands)? {
            let mut own = operands[1..].iter();
            let inputs = self.inputs.iter().map(|&input| if is_scalar(input) { Some(input) } else { own.next() });
            let inputs: Vec<&Tensor> = inputs.flatten().collect();
            Elementwise { inputs: &inputs, ..*self }.launch(&operands[0])?;
        }
        Ok(())
    }

    /// Launches with any number of inputs; on devices with few storage buffers in a shader, with inputs that share some.
    fn launch_packed(&self, output: &Tensor) -> Result<(), TensorError> {
        let most = with_gpu(output, Gpu::storage_buffers);
        if most < MOST_BINDINGS && output.elements() > 0 {
            let constants = usize::from(Parameters::may_bind(self.inputs.len(), self.numbers.len()));
            match pack::packed(self.inputs, output, most.saturating_sub(constants))? {
                Packed::AsGiven => {}
                Packed::Shared(inputs) => {
                    let inputs: Vec<&Tensor> = inputs.iter().collect();
                    return Elementwise { inputs: &inputs, ..*self }.launch_of::<OPERANDS>(output);
                }
                Packed::AboveABlock if output.elements() > 1 => return self.launch_halves(output),
                Packed::AboveABlock => {}
            }
        }
        self.launch_of::<OPERANDS>(output)
    }

    /// Launches for each half of the output, which has several elements.
    fn launch_halves(&self, output: &Tensor) -> Result<(), TensorError> {
        let axis = output.shape().iter().position(|&size| size > 1).unwrap_or(0);
        let (size, half) = (output.shape()[axis], output.shape()[axis] / 2);
        for [start, size] in [[0, half], [half, size - half]] {
            let part = |tensor: &Tensor| tensor.expand(output.shape())?.narrow(axis, start, size);
            let inputs: Vec<Tensor> = self.inputs.iter().map(|&input| part(input)).collect::<Result<_, _>>()?;
            let inputs: Vec<&Tensor> = inputs.iter().collect();
            Elementwise { inputs: &inputs, ..*self }.launch(&part(output)?)?;
        }
        Ok(())
    }

    /// Up to `N` operands.
    fn launch_of<const N: usize>(&self, output: &Tensor) -> Result<(), TensorError> {
        if output.elements() == 0 {
            return Ok(());
        }
        let mut layouts = Layouts { all: [*output.layout(); N], count: 1 + self.inputs.len() };
        for (number, (layout, input)) in layouts.all[1..].iter_mut().zip(self.inputs).enumerate() {
            if input.shape() == output.shape() {
                *layout = *input.layout();
            } else {
                *layout = input.layout().expand(self.name, Argument::operand(number), output.shape())?;
            }
        }
        each_walk(&mut layouts, |walk| self.launch_walk(output, &walk.all[..walk.count]))
    }

    /// Runs the kernel on layouts with at most as many dimensions as kernels support.
    fn launch_walk(&self, output: &Tensor, layouts: &[Layout]) -> Result<(), TensorError> {
        let Self { name, computation, inputs, numbers, moved_as } = *self;
        let variant = Variant::new(layouts, inputs, output, moved_as);
        let parameters = Parameters::new(&variant, numbers.len());
        let program = with_gpu(output, |gpu| computation.program(gpu, &variant, &parameters, numbers.len()))?;
        let unit = if variant.form == Form::Flat { LANES } else { 1 };
        let (first, offset) = Placed::at(output, &layouts[0]).bind(name, unit)?;
        let (mut bindings, mut offsets) = ([first; MOST_BINDINGS], [offset; OPERANDS]);
        for (place, input) in (1..).zip(inputs) {
            (bindings[usize::from(variant.bindings[place])], offsets[place]) =
                Placed::at(input, &layouts[place]).bind(name, unit)?;
        }
        let elements = layouts[0].elements();
        let count = index(name, if variant.form == Form::Strided { elements } else { elements.div_ceil(LANES) })?;
        let mut words = Words::new(name, layouts, &offsets[..layouts.len()], &variant, count)?;
        let mut bound = usize::from(variant.bound);
        let constants;
        if parameters.binds_constants {
            constants = output.new_empty([numbers.len()], DType::U32)?;
            constants.in_one_block(name, "constants")?.write(0, bytemuck::cast_slice(numbers))?;
            bindings[bound] = Placed::of(&constants).bind_whole(name)?;
            bound += 1;
        } else {
            words.extend(numbers);
        }
        let words = bytemuck::cast_slice(words.as_slice(parameters.words()));
        let workgroups = grid(count.div_ceil(workgroup_size(output)));
        launch(name, &program, &bindings[..bound], words, workgroups, computation.iterations())
    }
}

impl Computation<'_> {
    /// Returns the loop iterations of an invocation.
    fn iterations(self) -> u64 {
        match self {
            Self::Single(single) => single.typed.iterations(),
            Self::Expression(_, kinds) => kinds.iter().map(|kind| kind.iterations()).sum(),
        }
    }

    /// Returns the nodes, their types, and the index of the result.
    fn steps(&self, variant: &Variant, numbers: usize) -> wgsl::Steps<'_> {
        match *self {
            Self::Single(single) => single.steps(&variant.dtypes[..variant.inputs], numbers),
            Self::Expression(graph, kinds) => {
                wgsl::Steps { nodes: Cow::from(&*graph.nodes), kinds: Cow::from(kinds), result: graph.result }
            }
        }
    }

    /// Returns the compiled program from the device's cache; compiles it if necessary.
    fn program(
        self,
        gpu: &Gpu,
        variant: &Variant,
        parameters: &Parameters,
        numbers: usize,
    ) -> Result<Arc<Program>, DeviceError> {
        let label = match self {
            Self::Single(Single { operation, .. }) => operation.name,
            Self::Expression(..) => "fused",
        };
        let build = || {
            let steps = self.steps(variant, numbers);
            let source = wgsl::kernel(&steps, variant, parameters, gpu.workgroup_size());
            #[cfg(test)]
            let source = {
                let codes = steps.kinds.iter().filter_map(|kind| kind.code);
                super::launch::lowered::note(codes.flat_map(|code| code.functions.iter().copied()));
                super::launch::lowered::limited(source)
            };
            gpu.program(&ProgramDescriptor {
                label,
                source: &source,
                entry: wgsl::ENTRY,
                tensors: usize::from(variant.bound) + usize::from(parameters.binds_constants),
                parameter_bytes: u32::try_from(parameters.words() * 4).expect("no more than fit a slot of parameters"),
                immediates: true,
                zeroes_workgroup_memory: false,
            })
        };
        match self {
            Self::Single(Single { operation, is_reversed, .. }) => {
                let variant = (variant.key() * 4 + numbers as u64) * 2 + u64::from(is_reversed);
                gpu.cached_program(ProgramKey::Operation { address: operation.address(), variant }, build)
            }
            Self::Expression(graph, _) => {
                let structure: Arc<dyn Structure> = Arc::<Graph>::clone(graph);
                gpu.expression_program(ExpressionKey { structure, variant: variant.key() }, build)
            }
        }
    }
}

impl Single {
    /// An operation of the table, as computed on operands of a dtype.
    pub(super) const fn of(operation: &'static Operation, typed: Typed) -> Self {
        Self { operation, typed, is_reversed: false }
    }

    /// The operand itself, whose elements are moved as those of a dtype.
    pub(super) const fn moving(operation: &'static Operation, dtype: DType) -> (Self, [DType; 2]) {
        (Self::of(operation, Typed::number(dtype)), [dtype; 2])
    }

    /// As a graph: inputs of some dtypes, numbers, and the operation on them.
    fn steps(&self, dtypes: &[DType], numbers: usize) -> wgsl::Steps<'static> {
        let Self { operation, typed, is_reversed } = *self;
        let number = typed.operands.number();
        let mut nodes: Vec<Node> = (0..).zip(dtypes).map(|(input, _)| Node::Input(input)).collect();
        nodes.extend((0..).take(numbers).map(|constant| Node::Constant { number: constant, dtype: number }));
        let mut kinds: Vec<Typed> = dtypes.iter().map(|&dtype| Typed::number(dtype)).collect();
        kinds.resize(nodes.len(), Typed::number(number));
        debug_assert_eq!(nodes.len(), operation.arity, "{}: each operand is an input or a number", operation.name);
        if typed.code.is_some() {
            let operands = if is_reversed { [1, 0, 2] } else { [0, 1, 2] };
            nodes.push(Node::Apply(operation, operands));
            kinds.push(typed);
        }
        let result = Place::try_from(nodes.len() - 1).expect("an operation has at most three operands");
        wgsl::Steps { nodes: nodes.into(), kinds: kinds.into(), result }
    }
}
