//! The fuser: an expression over elements becomes one kernel, which reads each input once and writes once.
//!
//! `expression.rs` builds the expression, `kinds.rs` determines the dtypes of its steps, and the engine of elementwise
//! kernels runs it.

mod expression;
mod kinds;
#[cfg(test)]
mod tests;

pub(super) use expression::Constant;
pub use expression::{Expression, Operand};

use super::elementwise::{Computation, Elementwise, Graph, MOST_INPUTS, Node, Typed};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};
use expression::Nodes;
use std::sync::Arc;

/// An expression over the elements of `N` inputs, as one kernel. Created by [`fuse`].
#[derive(Clone, Debug)]
pub struct Fused<const N: usize> {
    graph: Arc<Graph>,
    /// The bits of the constants.
    constants: Arc<[u32]>,
}

/// Fuses an expression over elements into one kernel. The kernel is compiled at its first run on a device, and cached
/// by its structure: constants are parameters of the kernel, so expressions that differ only in constants share a
/// kernel. A device caches the 512 most recently used kernels of expressions;
/// [`Pool::clear_caches`](crate::Pool::clear_caches) drops them.
///
/// Up to about 50 constants are passed as parameters. More constants are written to memory of the pool first, which costs a few
/// microseconds for each run.
///
/// Corresponds to `torch.compile` for elementwise chains.
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
/// # Limits
/// At most [`MOST_INPUTS`] inputs; more are a compile-time error.
pub fn fuse<const N: usize>(build: impl for<'a> FnOnce([Expression<'a>; N]) -> Expression<'a>) -> Fused<N> {
    const { assert!(N >= 1 && N <= MOST_INPUTS, "an expression has one to six inputs") };
    let nodes = Nodes::default();
    let inputs = std::array::from_fn(|input| u32::try_from(input).expect("at most six"));
    let inputs = inputs.map(|input| nodes.add(Node::Input(input)));
    let result = build(inputs.map(|place| Expression { nodes: &nodes, place })).place;
    let (nodes, constants) = nodes.into_inner();
    Fused { graph: Arc::new(Graph::new(nodes, result)), constants: constants.into() }
}

impl<const N: usize> Fused<N> {
    /// Evaluates the expression for each element of the inputs, whose shapes broadcast.
    ///
    /// The operands of each step are promoted as by [`Tensor::add`]: numbers and inputs of rank 0 take the dtype of the
    /// other operand, unless the other operand is an integer and they are floating point. Functions such as `exp`, and
    /// quotients, of integers are f32. Intermediate f16 results are not rounded.
    ///
    /// On devices with fewer than eight storage buffers in a shader, inputs of one dtype are copied into one tensor first, as
    /// many as necessary, the smallest ones.
    ///
    /// # Errors
    /// [`TensorError::Shape`], [`TensorError::DType`] if the operands of a step are i32 and u32, [`TensorError::NotDefined`],
    /// [`TensorError::Pools`], [`TensorError::TooManyIterations`] for more than about 1,800 integer divisions and remainders;
    /// [`DeviceError::TooManyBindings`](crate::DeviceError::TooManyBindings) where inputs of four dtypes, or of three and more
    /// than about 40 constants, need more than the device's storage buffers; as [`Tensor::empty`].
    #[track_caller]
    pub fn run(&self, inputs: [&Tensor; N]) -> Result<Tensor, TensorError> {
        self.run_as("Fused::run", inputs)
    }

    /// The same, under a name of its own in errors.
    #[track_caller]
    pub(super) fn run_as(&self, name: &'static str, inputs: [&Tensor; N]) -> Result<Tensor, TensorError> {
        let kinds = self.kinds(name, &inputs)?;
        self.elementwise(name, &inputs, &kinds).run(self.dtype(&kinds))
    }

    /// Evaluates the expression in the dtype of the computation, for callers that continue with the result: f16 is not rounded.
    #[track_caller]
    pub(super) fn run_unrounded_as(&self, name: &'static str, inputs: [&Tensor; N]) -> Result<Tensor, TensorError> {
        let kinds = self.kinds(name, &inputs)?;
        self.elementwise(name, &inputs, &kinds).run(self.dtype(&kinds).number())
    }

    /// Evaluates the expression for each element of the inputs, broadcast to the output's shape, and writes the results
    /// to `output`, which may be one of the inputs.
    ///
    /// # Errors
    /// As [`Fused::run`]; [`TensorError::Overlap`] if the output shares elements with an input at different indices, or
    /// if elements of the output overlap each other.
    pub fn run_into(&self, inputs: [&Tensor; N], output: &Tensor) -> Result<(), TensorError> {
        self.run_into_as("Fused::run_into", inputs, output)
    }

    /// The same, under a name of its own in errors.
    pub(super) fn run_into_as(
        &self,
        name: &'static str,
        inputs: [&Tensor; N],
        output: &Tensor,
    ) -> Result<(), TensorError> {
        let kinds = self.kinds(name, &inputs)?;
        self.elementwise(name, &inputs, &kinds).run_into(self.dtype(&kinds), output)
    }

    fn elementwise<'a>(
        &'a self,
        name: &'static str,
        inputs: &'a [&'a Tensor; N],
        kinds: &'a [Typed],
    ) -> Elementwise<'a> {
        let computation = Computation::Expression(&self.graph, kinds);
        Elementwise { name, computation, inputs, numbers: &self.constants, moved_as: None }
    }

    fn kinds(&self, name: &'static str, inputs: &[&Tensor; N]) -> Result<Vec<Typed>, TensorError> {
        let inputs = inputs.map(|input| kinds::Input { dtype: input.dtype(), is_scalar: input.rank() == 0 });
        kinds::of(name, &self.graph.nodes, &inputs)
    }

    fn dtype(&self, kinds: &[Typed]) -> DType {
        kinds[self.graph.result as usize].dtype()
    }
}
