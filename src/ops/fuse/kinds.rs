//! What each step of an expression is, on inputs of some dtypes.

use super::super::shader::Operation;
use super::super::{binary, unary};
use super::expression::Node;
use crate::error::TensorError;
use crate::tensor::DType;

/// What a step's value is, with the operation that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number of a dtype. The operands of the operation are converted to that dtype first.
    Number(DType, Option<Operation>),
    /// True or false. The operands of a comparison are converted to the dtype first.
    Truth(DType),
}

impl Kind {
    /// The dtype of a tensor of it.
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::Number(dtype, _) => dtype,
            Self::Truth(_) => DType::U32,
        }
    }

    /// The dtype that its numeric operands are converted to.
    pub(super) fn of_operands(self) -> DType {
        match self {
            Self::Number(dtype, _) | Self::Truth(dtype) => dtype,
        }
    }

    /// Loop iterations of the operation that computes it.
    pub(super) fn iterations(self) -> u64 {
        match self {
            Self::Number(_, Some(operation)) => operation.iterations,
            Self::Number(_, None) | Self::Truth(_) => 0,
        }
    }
}

/// How much the dtype of a value counts against that of another one, as in `torch.result_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Number,
    /// An input without dimensions.
    Scalar,
    Dimensions,
}

/// An input of an expression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    pub(super) dtype: DType,
    pub(super) is_scalar: bool,
}

/// The dtype of a result of two values. A number, and an input without dimensions, count only where they are of floating point and
/// the other value is of integers.
fn promoted(left: (DType, Rank), right: (DType, Rank)) -> Option<DType> {
    let (higher, lower) = match left.1.cmp(&right.1) {
        std::cmp::Ordering::Equal => return left.0.promote(right.0),
        std::cmp::Ordering::Greater => (left, right),
        std::cmp::Ordering::Less => (right, left),
    };
    Some(match (higher.0.is_floating_point(), lower.0.is_floating_point()) {
        (false, true) if lower.1 == Rank::Number => DType::F32,
        (false, true) => lower.0,
        _ => higher.0,
    })
}

/// The most steps of an expression: the text of its kernel, and the time to compile it, grow with them.
const MOST_STEPS: usize = 4096;

/// The kind of each step.
///
/// # Errors
/// [`TensorError::DType`] where a step's operands are of i32 and u32, [`TensorError::NotDefined`], [`TensorError::Expression`].
pub(super) fn of(name: &'static str, nodes: &[Node], inputs: &[Input]) -> Result<Vec<Kind>, TensorError> {
    if nodes.len() > MOST_STEPS {
        let problem = "it has more than 4,096 steps";
        return Err(TensorError::Expression { operation: name, problem });
    }
    let mut kinds: Vec<Kind> = Vec::with_capacity(nodes.len());
    let mut ranks: Vec<Rank> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let dtype = |place: u32| kinds[place as usize].dtype();
        let rank = |place: u32| ranks[place as usize];
        let common = |left: u32, right: u32| {
            let mismatch = TensorError::DType { operation: name, left: dtype(left).name(), right: dtype(right).name() };
            promoted((dtype(left), rank(left)), (dtype(right), rank(right))).ok_or(mismatch)
        };
        let (kind, rank) = match *node {
            Node::Input(input) => {
                let Input { dtype, is_scalar } = inputs[input as usize];
                (Kind::Number(dtype, None), if is_scalar { Rank::Scalar } else { Rank::Dimensions })
            }
            Node::Constant { dtype, .. } => {
                let known = DType::ALL.into_iter().find(|known| known.name() == dtype);
                (Kind::Number(known.expect("a constant is of a dtype"), None), Rank::Number)
            }
            Node::Unary(operation, x) => {
                let (dtype, operation) = unary::promoted(operation, dtype(x))?;
                (Kind::Number(dtype, operation), rank(x))
            }
            Node::Binary(operation, left, right) => {
                let (dtype, operation) = binary::promoted(operation, common(left, right)?)?;
                (Kind::Number(dtype, Some(operation)), rank(left).max(rank(right)))
            }
            Node::Compare(_, left, right) => (Kind::Truth(common(left, right)?), rank(left).max(rank(right))),
            Node::Both(left, right) | Node::Either(left, right) => {
                (Kind::Truth(DType::U32), rank(left).max(rank(right)))
            }
            Node::Not(x) => (Kind::Truth(DType::U32), rank(x)),
            Node::Select(_, this, other) => (Kind::Number(common(this, other)?, None), rank(this).max(rank(other))),
            Node::Foreign => {
                let problem = "it uses a value of another expression";
                return Err(TensorError::Expression { operation: name, problem });
            }
        };
        kinds.push(kind);
        ranks.push(rank);
    }
    Ok(kinds)
}
