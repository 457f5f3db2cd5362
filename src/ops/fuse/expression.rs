//! Expressions: the computation of a fused kernel for each element.

use crate::ops::elementwise::{MOST_OPERANDS, Node, Operation, Place};
use crate::tensor::{DType, Element};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::ops::{BitAnd, BitOr, Not};

/// The nodes of an expression while it is built.
#[derive(Debug, Default)]
pub struct Nodes(RefCell<Builder>);

#[derive(Debug, Default)]
struct Builder {
    nodes: Vec<Node>,
    /// The index of each node, filled once there are more than [`FEW`].
    places: FxHashMap<Node, Place>,
    /// The bits of each constant.
    constants: Vec<u32>,
}

/// Up to this many nodes are searched one by one, which is faster than hashing them.
const FEW: usize = 32;

/// A value for each element, in an expression that is being [fused](super::fuse): an input, or a result of other
/// values. A value can be used several times and is computed once.
///
/// The operators `+`, `-`, `*`, `/`, `%`, with another expression or a number, are those of tensors. `&`, `|` and `!` combine
/// comparisons; numbers other than 0, including NaN, are true. Operands of different dtypes are promoted as those of tensors
/// ([`Fused::run`](super::Fused::run)). A comparison as the result of the expression is u32: 1 for true, 0 for false.
#[derive(Clone, Copy)]
pub struct Expression<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) place: Place,
}

impl std::fmt::Debug for Expression<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expression").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The other operand of an operation on an expression: an expression or a number.
pub trait Operand<'a>: sealed::Operand<'a> {}

impl<'a, T: sealed::Operand<'a>> Operand<'a> for T {}

/// A number of a dtype that kernels compute with.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Constant {
    pub(in crate::ops) bits: u32,
    pub(in crate::ops) dtype: DType,
}

mod sealed {
    use super::{Constant, Element, Expression, Node, Nodes, Place};

    pub trait Operand<'a> {
        fn place(self, nodes: &'a Nodes) -> Place;
    }

    impl<'a> Operand<'a> for Expression<'a> {
        fn place(self, nodes: &'a Nodes) -> Place {
            if std::ptr::eq(nodes, self.nodes) { self.place } else { nodes.add(Node::Foreign) }
        }
    }

    impl<'a> Operand<'a> for Constant {
        fn place(self, nodes: &'a Nodes) -> Place {
            nodes.add_constant(self.bits, self.dtype)
        }
    }

    impl<'a, T: Element> Operand<'a> for T {
        fn place(self, nodes: &'a Nodes) -> Place {
            nodes.add_constant(self.bits(), T::DTYPE)
        }
    }
}

impl Nodes {
    /// The place of a node: that of an equal one, if there is one.
    pub(super) fn add(&self, node: Node) -> Place {
        self.0.borrow_mut().add(node)
    }

    /// The place of a new constant. Equal constants are not merged: the next call may give them different values, and should find
    /// the same kernel.
    fn add_constant(&self, bits: u32, dtype: DType) -> Place {
        let mut graph = self.0.borrow_mut();
        let number = place(graph.constants.len());
        graph.constants.push(bits);
        graph.push(Node::Constant { number, dtype })
    }

    /// The nodes, and the bits of the constants.
    pub(super) fn into_inner(self) -> (Vec<Node>, Vec<u32>) {
        let Builder { nodes, constants, .. } = self.0.into_inner();
        (nodes, constants)
    }
}

impl Builder {
    fn add(&mut self, node: Node) -> Place {
        let known = if self.nodes.len() <= FEW {
            self.nodes.iter().position(|known| *known == node).map(place)
        } else {
            if self.places.is_empty() {
                self.places = self.nodes.iter().copied().zip(0..).collect();
            }
            self.places.get(&node).copied()
        };
        known.unwrap_or_else(|| self.push(node))
    }

    fn push(&mut self, node: Node) -> Place {
        let place = place(self.nodes.len());
        if !self.places.is_empty() {
            self.places.insert(node, place);
        }
        self.nodes.push(node);
        place
    }
}

/// The number of a node or of a constant.
fn place(index: usize) -> Place {
    Place::try_from(index).expect("an expression of 2^32 steps has no room in the host's memory")
}

impl<'a> Expression<'a> {
    fn with(self, node: Node) -> Self {
        Self { nodes: self.nodes, place: self.nodes.add(node) }
    }

    /// An operation on one operand.
    pub(in crate::ops) fn apply(self, operation: &'static Operation) -> Self {
        self.with(Node::Apply(operation, [self.place; MOST_OPERANDS]))
    }

    /// An operation on two operands.
    pub(in crate::ops) fn apply_to(self, operation: &'static Operation, other: impl Operand<'a>) -> Self {
        let other = other.place(self.nodes);
        self.with(Node::Apply(operation, [self.place, other, other]))
    }

    /// An operation on a number and this operand.
    pub(in crate::ops) fn apply_reversed(self, operation: &'static Operation, left: impl Element) -> Self {
        let left = sealed::Operand::place(left, self.nodes);
        self.with(Node::Apply(operation, [left, self.place, self.place]))
    }

    /// Selects `this` where the expression is true or not 0 (NaN is not 0), otherwise `other`. Equals `torch.where`.
    #[must_use]
    pub fn select(self, this: impl Operand<'a>, other: impl Operand<'a>) -> Self {
        let (this, other) = (this.place(self.nodes), other.place(self.nodes));
        self.with(Node::Select(self.place, this, other))
    }
}

impl Not for Expression<'_> {
    type Output = Self;

    fn not(self) -> Self {
        self.with(Node::Not(self.place))
    }
}

impl BitAnd for Expression<'_> {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        let other = sealed::Operand::place(other, self.nodes);
        self.with(Node::Both(self.place, other))
    }
}

impl BitOr for Expression<'_> {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        let other = sealed::Operand::place(other, self.nodes);
        self.with(Node::Either(self.place, other))
    }
}
