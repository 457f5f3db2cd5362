//! Why a user's kernel was refused.

use super::{DeviceError, TensorError};
use thiserror::Error;

/// Why a kernel was not built or not dispatched. Nothing was changed by the failure.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The WGSL doesn't parse or doesn't validate. The message has naga's words and the source line.
    #[error("the WGSL does not compile: {message}")]
    Compile {
        /// naga's message, with the line and the place in it.
        message: String,
    },
    /// No compute entry point has this name.
    #[error("no compute entry point `{entry}`; the shader has {available:?}")]
    EntryPoint {
        /// The name asked for.
        entry: String,
        /// The compute entry points that are there.
        available: Vec<String>,
    },
    /// A binding is declared in a way that pool memory can't be bound to.
    #[error("binding `{name}` at group {group}, binding {binding}: {problem}")]
    Declaration {
        /// The variable's name.
        name: String,
        /// Its group.
        group: u32,
        /// Its binding.
        binding: u32,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// The number of tensors is not the number of bindings.
    #[error("the kernel binds {wanted} tensors, {given} were given")]
    TensorCount {
        /// Bindings that the shader declares.
        wanted: usize,
        /// Tensors given.
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
    /// A tensor is too short for what the shader declares, or has no element at all.
    #[error("binding {binding} `{name}` needs {wanted} bytes, the tensor holds {given}")]
    TooShort {
        /// The binding.
        binding: usize,
        /// The variable's name.
        name: String,
        /// Least bytes.
        wanted: u64,
        /// The tensor's bytes.
        given: u64,
    },
    /// A view starts where the device can't bind it.
    #[error(
        "binding {binding} `{name}`: the view starts {offset} bytes into its memory, not a multiple of {alignment}"
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
    /// A view that the kernel writes ends within a unit of four bytes, whose other bytes are elements behind the view: only f16
    /// views of an odd number of elements that don't end with their tensor's memory.
    #[error(
        "binding {binding} `{name}` is written, and the view's {elements} elements of {bytes} bytes end within a unit of \
         {unit} bytes that holds other elements; use an even number of elements, or a copy"
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
        /// Bindings are multiples of so many bytes.
        unit: u64,
    },
    /// A tensor that the kernel writes, or in a browser any, shares elements with another one of the dispatch.
    #[error("binding {binding} `{name}` is written and overlaps binding {other} `{other_name}`")]
    Overlap {
        /// The binding that is written.
        binding: usize,
        /// Its name.
        name: String,
        /// The binding it overlaps.
        other: usize,
        /// Its name.
        other_name: String,
    },
    /// The number of scalar parameters is not the number that the shader declares.
    #[error("the kernel takes {wanted} scalar parameters, {given} were given")]
    ParameterCount {
        /// Scalars that the shader declares.
        wanted: usize,
        /// Scalars given.
        given: usize,
    },
    /// A scalar parameter has the wrong type.
    #[error("parameter {index} `{name}` is {wanted}, {given} was given")]
    ParameterKind {
        /// Position of the parameter.
        index: usize,
        /// Its name.
        name: String,
        /// The type that the shader declares.
        wanted: &'static str,
        /// The type given.
        given: &'static str,
    },
    /// The dispatch is larger than the device allows.
    #[error("{given:?} workgroups are above the device's {limit} per dimension")]
    Workgroups {
        /// Workgroups asked for.
        given: [u32; 3],
        /// The most per dimension.
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
        assert_eq!(error.to_string(), "the kernel binds 3 tensors, 2 were given");
    }
}
