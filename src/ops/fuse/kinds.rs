//! What each step of an expression is, on inputs of some dtypes.

use super::super::shader::Operation;
use super::super::{binary, unary};
use super::expression::Node;
use crate::error::TensorError;
use crate::tensor::DType;

/// What a step's value is, with the operation that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number of a dtype.
    Number(DType, Option<Operation>),
    /// True or false.
    Truth,
}

impl Kind {
    /// The dtype of a tensor of it.
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::Number(dtype, _) => dtype,
            Self::Truth => DType::U32,
        }
    }

    /// Loop iterations of the operation that computes it.
    pub(super) fn iterations(self) -> u64 {
        match self {
            Self::Number(_, Some(operation)) => operation.iterations,
            Self::Number(_, None) | Self::Truth => 0,
        }
    }
}

/// The most steps of an expression: the text of its kernel, and the time to compile it, grow with them.
const MOST_STEPS: usize = 4096;

/// The kind of each step.
///
/// # Errors
/// [`TensorError::DType`] where a step's operands are of different dtypes, [`TensorError::NotDefined`],
/// [`TensorError::Expression`].
pub(super) fn of(name: &'static str, nodes: &[Node], inputs: &[DType]) -> Result<Vec<Kind>, TensorError> {
    if nodes.len() > MOST_STEPS {
        let problem = "it has more than 4,096 steps";
        return Err(TensorError::Expression { operation: name, problem });
    }
    let mut kinds: Vec<Kind> = Vec::with_capacity(nodes.len());
    // Whether a step is made of numbers alone: those of f32 go with f16, too.
    let mut yields: Vec<bool> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let dtype = |place: u32| kinds[place as usize].dtype();
        let same = |left: u32, right: u32| {
            let ([left, right], yields) = ([left, right].map(dtype), [left, right].map(|place| yields[place as usize]));
            match (left == right, yields) {
                (true, _) => Ok(left),
                (_, [true, _]) if left == right.number() => Ok(right),
                (_, [_, true]) if right == left.number() => Ok(left),
                _ => Err(TensorError::DType { operation: name, left: left.name(), right: right.name() }),
            }
        };
        let kind = match *node {
            Node::Input(input) => Kind::Number(inputs[input as usize], None),
            Node::Constant { dtype, .. } => {
                let known = DType::ALL.into_iter().find(|known| known.name() == dtype);
                Kind::Number(known.expect("a constant is of a dtype"), None)
            }
            Node::Unary(operation, of) => {
                let dtype = dtype(of);
                let undefined = TensorError::NotDefined { operation: operation.name, dtype: dtype.name() };
                Kind::Number(dtype, Some(unary::on(operation, dtype).ok_or(undefined)?))
            }
            Node::Binary(operation, left, right) => {
                let dtype = same(left, right)?;
                let undefined = TensorError::NotDefined { operation: operation.name, dtype: dtype.name() };
                Kind::Number(dtype, Some(binary::defined(operation, dtype).ok_or(undefined)?))
            }
            Node::Compare(_, left, right) => {
                same(left, right)?;
                Kind::Truth
            }
            Node::Both(..) | Node::Either(..) | Node::Not(_) => Kind::Truth,
            Node::Select(_, this, other) => Kind::Number(same(this, other)?, None),
            Node::Foreign => {
                let problem = "it uses a value of another expression";
                return Err(TensorError::Expression { operation: name, problem });
            }
        };
        let all_yield = |places: &[u32]| places.iter().all(|&place| yields[place as usize]);
        let is_yielding = match *node {
            Node::Constant { .. } => true,
            Node::Unary(_, x) => all_yield(&[x]),
            Node::Binary(_, x, y) | Node::Select(_, x, y) => all_yield(&[x, y]),
            Node::Input(_) | Node::Compare(..) | Node::Both(..) | Node::Either(..) | Node::Not(_) | Node::Foreign => {
                false
            }
        };
        kinds.push(kind);
        yields.push(is_yielding);
    }
    Ok(kinds)
}
