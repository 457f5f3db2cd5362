//! The fuser: an expression over elements becomes one kernel, which reads each input once and writes once.
//!
//! `expression.rs` builds it, `kinds.rs` finds out what each step is on the dtypes at hand, and the engine of elementwise kernels runs it.

mod expression;
mod kinds;

pub(super) use expression::Constant;
pub use expression::{Expression, Operand};

use super::elementwise::{Computation, Elementwise, Graph, MOST_INPUTS, Node, Typed};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};
use expression::Nodes;
use std::sync::Arc;

const NAME: &str = "fused";

/// An expression over the elements of `N` inputs, as one kernel. Made by [`fuse`].
#[derive(Clone, Debug)]
pub struct Fused<const N: usize> {
    graph: Arc<Graph>,
    /// The bits of its constants.
    constants: Arc<[u32]>,
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
    Fused { graph: Arc::new(Graph::new(nodes, result)), constants: constants.into() }
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
        let kinds = self.kinds(name, &inputs)?;
        self.elementwise(name, &inputs, &kinds).run(self.dtype(&kinds))
    }

    /// The same in the dtype that it is computed with, for what goes on with the result: f16 isn't rounded in between.
    #[track_caller]
    pub(super) fn run_unrounded_as(&self, name: &'static str, inputs: [&Tensor; N]) -> Result<Tensor, TensorError> {
        let kinds = self.kinds(name, &inputs)?;
        self.elementwise(name, &inputs, &kinds).run(self.dtype(&kinds).number())
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
