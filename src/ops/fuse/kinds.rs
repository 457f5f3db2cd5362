//! The dtype of each step of an expression, for given dtypes of the inputs.

use crate::error::{Argument, TensorError};
use crate::ops::elementwise::{Node, Typed};
use crate::tensor::DType;

/// The priority of a value's dtype in promotion, as in `torch.result_type`.
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

/// Returns the dtype of a result of two values. A number or an input of rank 0 matters only if it is floating point and the other
/// value is an integer.
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

/// One of the operands of a step of an expression.
const fn operand(index: usize) -> Argument {
    Argument::Nth { name: "operand of a step", index }
}

/// Returns the common dtype of the operands of a step before the operand with an index, and of that operand.
fn common_dtype(
    name: &'static str,
    before: (DType, Rank),
    (index, other): (usize, (DType, Rank)),
) -> Result<DType, TensorError> {
    let [of_other, of_before] = [other.0, before.0].map(DType::name);
    let mismatch = TensorError::dtypes(name, (operand(index), of_other), (operand(index - 1), of_before));
    promoted(before, other).ok_or(mismatch)
}

/// The largest number of steps of an expression, which bounds the text of its kernel and the time to compile it.
const MOST_STEPS: usize = 4096;

/// The types of each step.
///
/// # Errors
/// [`TensorError::DType`] where a step's operands are of i32 and u32, [`TensorError::NotDefined`], [`TensorError::Expression`].
pub(super) fn of(name: &'static str, nodes: &[Node], inputs: &[Input]) -> Result<Vec<Typed>, TensorError> {
    if nodes.len() > MOST_STEPS {
        let problem = "it has more than 4,096 steps";
        return Err(TensorError::Expression { operation: name, problem });
    }
    let mut kinds: Vec<Typed> = Vec::with_capacity(nodes.len());
    let mut ranks: Vec<Rank> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let dtype = |place: u32| kinds[place as usize].dtype();
        let rank = |place: u32| ranks[place as usize];
        let (kind, rank) = match *node {
            Node::Input(input) => {
                let Input { dtype, is_scalar } = inputs[input as usize];
                (Typed::number(dtype), if is_scalar { Rank::Scalar } else { Rank::Dimensions })
            }
            Node::Constant { dtype, .. } => (Typed::number(dtype), Rank::Number),
            Node::Apply(operation, operands) => {
                let mut common = (dtype(operands[0]), rank(operands[0]));
                for (index, &other) in (1..).zip(&operands[1..operation.arity]) {
                    let other = (dtype(other), rank(other));
                    common = (common_dtype(name, common, (index, other))?, common.1.max(other.1));
                }
                (operation.defined_on(operation.name, operand(0), common.0)?, common.1)
            }
            Node::Both(left, right) | Node::Either(left, right) => (Typed::TRUTH, rank(left).max(rank(right))),
            Node::Not(x) => (Typed::TRUTH, rank(x)),
            Node::Select(_, this, other) => {
                let common = common_dtype(name, (dtype(this), rank(this)), (1, (dtype(other), rank(other))))?;
                (Typed::number(common), rank(this).max(rank(other)))
            }
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
