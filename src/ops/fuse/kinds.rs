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
}

/// The kind of each step.
///
/// # Errors
/// [`TensorError::DType`] where a step's operands are of different dtypes, [`TensorError::NotDefined`].
pub(super) fn of(name: &'static str, nodes: &[Node], inputs: &[DType]) -> Result<Vec<Kind>, TensorError> {
    let mut kinds: Vec<Kind> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let dtype = |place: u32| kinds[place as usize].dtype();
        let same = |left: u32, right: u32| {
            let (left, right) = (dtype(left), dtype(right));
            let mismatch = TensorError::DType { operation: name, left: left.name(), right: right.name() };
            if left == right { Ok(left) } else { Err(mismatch) }
        };
        let kind = match *node {
            Node::Input(input) => Kind::Number(inputs[input as usize], None),
            Node::Scalar { dtype, .. } => {
                let known = DType::ALL.into_iter().find(|known| known.name() == dtype);
                Kind::Number(known.expect("a scalar is of a dtype"), None)
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
        };
        kinds.push(kind);
    }
    Ok(kinds)
}
