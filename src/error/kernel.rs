//! The errors of kernels that the application provides.

use super::{Count, DeviceError, TensorError};
use thiserror::Error;

/// The reason why a kernel was not built or not dispatched. The failure changes nothing.
///
/// Cause and remedy of each variant: [`guide::errors::kernel`](crate::guide::errors::kernel).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The WGSL does not parse or does not validate. The message contains naga's text and the source line.
    #[error("the WGSL does not compile: {message}")]
    Compile {
        /// naga's message, with the line and the position.
        message: String,
    },
    /// No compute entry point has this name.
    #[error("no compute entry point `{entry}`; the shader has {available:?}")]
    EntryPoint {
        /// The requested name.
        entry: String,
        /// The compute entry points of the shader.
        available: Vec<String>,
    },
    /// The declaration of a binding is not compatible with pool memory.
    #[error("binding `{name}` at group {group}, binding {binding}: {problem}")]
    Declaration {
        /// The variable's name.
        name: String,
        /// Its group.
        group: u32,
        /// Its binding.
        binding: u32,
        /// The problem, and a valid alternative.
        problem: String,
    },
    /// The number of tensors is not the number of bindings.
    #[error("the kernel binds {}, not {given}", Count(*wanted, "tensor"))]
    TensorCount {
        /// Bindings that the shader declares.
        wanted: usize,
        /// The number of given tensors.
        given: usize,
    },
    /// A tensor's dtype is not the binding's element type.
    #[error("binding {binding} `{name}` holds {wanted}, the tensor holds {given}")]
    Kind {
        /// The binding.
        binding: usize,
        /// The variable's name.
        name: String,
        /// The element type that the shader declares.
        wanted: String,
        /// The tensor's dtype.
        given: &'static str,
    },
    /// A tensor is shorter than the declaration in the shader, or has no elements.
    #[error("binding {binding} `{name}` needs {}, the tensor holds {given}", Count(*wanted, "byte"))]
    TooShort {
        /// The binding.
        binding: usize,
        /// The variable's name.
        name: String,
        /// The minimum number of bytes.
        wanted: u64,
        /// The tensor's bytes.
        given: u64,
    },
    /// The device cannot bind the view at its start.
    #[error(
        "binding {binding} `{name}`: the view starts {} into its memory, not a multiple of {alignment}: pass \
         a copy (`copied`)",
        Count(*offset, "byte")
    )]
    Unaligned {
        /// The binding.
        binding: usize,
        /// The variable's name.
        name: String,
        /// The view's start, in bytes.
        offset: u64,
        /// The device's alignment, in bytes.
        alignment: u64,
    },
    /// A view that the kernel writes ends within a unit of four bytes that also contains elements after the view.
    /// Concerns only f16 views with an odd number of elements that do not end with their tensor's memory.
    #[error(
        "binding {binding} `{name}` is written, and the view's {} of {bytes} B end within a unit of \
         {unit} B that holds other elements; use an even number of elements, or a copy",
        Count(*elements, "element")
    )]
    HalfUnit {
        /// The binding.
        binding: usize,
        /// The variable's name.
        name: String,
        /// The view's elements.
        elements: usize,
        /// The view's bytes.
        bytes: u64,
        /// The unit: bindings are multiples of this many bytes.
        unit: u64,
    },
    /// A tensor that the kernel writes (in a browser, any tensor) shares elements with another tensor of the dispatch.
    #[error("binding {binding} `{name}` is written and overlaps binding {other} `{other_name}`")]
    Overlap {
        /// The written binding.
        binding: usize,
        /// Its name.
        name: String,
        /// The overlapping binding.
        other: usize,
        /// Its name.
        other_name: String,
    },
    /// The number of scalar parameters is not the number that the shader declares.
    #[error("the kernel takes {}, not {given}", Count(*wanted, "scalar parameter"))]
    ParameterCount {
        /// Scalars that the shader declares.
        wanted: usize,
        /// The number of given scalars.
        given: usize,
    },
    /// A scalar parameter has the wrong type.
    #[error("parameter {index} `{name}` is {wanted}, {given} was given")]
    ParameterKind {
        /// The position of the parameter.
        index: usize,
        /// Its name.
        name: String,
        /// The type that the shader declares.
        wanted: &'static str,
        /// The given type.
        given: &'static str,
    },
    /// The dispatch is larger than the device allows.
    #[error("{given:?} workgroups are above the device's {limit} per dimension")]
    Workgroups {
        /// The requested workgroups.
        given: [u32; 3],
        /// The maximum per dimension.
        limit: u32,
    },
    /// A tensor could not be used.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

#[cfg(test)]
mod tests {
    use super::KernelError;

    #[test]
    fn a_wrong_number_of_tensors_shows_both_numbers() {
        let error = KernelError::TensorCount { wanted: 3, given: 2 };
        assert_eq!(error.to_string(), "the kernel binds 3 tensors, not 2");
    }
}
