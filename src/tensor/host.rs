//! Tensors on the host.

use super::{Element, Tensor, format};
use crate::error::TensorError;
use crate::pool::Pool;
use std::fmt;

/// A tensor's elements on the host, with their shape, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor<T> {
    /// The size of each dimension, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub elements: Vec<T>,
}

/// Formats shape and elements as PyTorch: four decimal places, or scientific notation if the elements differ by a
/// factor of more than 1000. Of more than 1000 elements, only the first and last three along each axis are shown. A
/// dtype other than f32 is named at the end.
///
/// ```
/// use wgpu_pool::HostTensor;
///
/// let matrix = HostTensor { shape: vec![2, 2], elements: vec![1.0_f32, -0.5, 2.25, 10.0] };
/// let text = "tensor([[ 1.0000, -0.5000],\n        [ 2.2500, 10.0000]])";
/// assert_eq!(matrix.to_string(), text);
/// ```
impl<T: Element> fmt::Display for HostTensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format::text(&self.shape, &self.elements, &self.shape))
    }
}

impl<T: Element> HostTensor<T> {
    /// Copies the elements into a new tensor on the device.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    #[track_caller]
    pub fn to_device(&self, pool: &Pool) -> Result<Tensor, TensorError> {
        Tensor::from_slice(pool, &self.elements, &self.shape)
    }
}

/// The error of moving a tensor to the host, with the unchanged tensor.
///
/// Cause and remedy: [`guide::errors::into_host`](crate::guide::errors::into_host).
#[derive(Debug)]
pub struct IntoHostError {
    /// The unchanged tensor.
    pub tensor: Box<Tensor>,
    /// The reason.
    pub error: TensorError,
}

impl fmt::Display for IntoHostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// Drops the tensor, and returns the reason.
impl From<IntoHostError> for crate::error::Error {
    fn from(error: IntoHostError) -> Self {
        error.error.into()
    }
}

impl std::error::Error for IntoHostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
