//! The steps of a kernel on elements.

use super::operation::Operation;
use crate::device::gpu::Structure;
use crate::tensor::DType;
use rustc_hash::FxHasher;
use std::any::Any;
use std::hash::{Hash, Hasher};

/// The index of a node in a graph.
pub(in crate::ops) type Place = u32;

/// The largest number of operands of an operation.
pub(in crate::ops) const MOST_OPERANDS: usize = 3;

/// One step. It refers to earlier steps only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::ops) enum Node {
    /// The element of an input.
    Input(u32),
    /// A number, by its index among the kernel's parameters. Its value is not part of the structure.
    Constant {
        number: u32,
        dtype: DType,
    },
    /// An operation on its first `arity` operands.
    Apply(&'static Operation, [Place; MOST_OPERANDS]),
    /// A logical operation on two conditions.
    Both(Place, Place),
    Either(Place, Place),
    Not(Place),
    /// The second operand where the first is true, otherwise the third.
    Select(Place, Place, Place),
    /// A value of another expression, which is an error: lifetimes do not prevent the use of a value of an outer
    /// [`fuse`](crate::fuse) in the closure of an inner one.
    Foreign,
}

/// The steps of a kernel, and which of them is the result.
#[derive(Debug)]
pub(in crate::ops) struct Graph {
    pub(in crate::ops) nodes: Box<[Node]>,
    pub(in crate::ops) result: Place,
    hash: u64,
}

impl Graph {
    pub(in crate::ops) fn new(nodes: Vec<Node>, result: Place) -> Self {
        let mut hasher = FxHasher::default();
        (&nodes, result).hash(&mut hasher);
        Self { nodes: nodes.into(), result, hash: hasher.finish() }
    }
}

impl Structure for Graph {
    fn hash(&self) -> u64 {
        self.hash
    }

    fn equals(&self, other: &dyn Structure) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref().is_some_and(|other: &Self| self.result == other.result && self.nodes == other.nodes)
    }
}
