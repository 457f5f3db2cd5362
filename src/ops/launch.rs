//! From tensors to a dispatch.

use super::placed::Binding;
use crate::device::gpu::Program;
use crate::error::{DeviceError, TensorError};
use crate::pool::{Storage, record};
use crate::tensor::{Layout, Tensor};

/// Invocations of a workgroup, as the shaders' `WORKGROUP` has it.
pub(super) const WORKGROUP: u32 = 256;

/// Workgroups in one dimension of a dispatch: WebGPU's least limit, so that it needs no asking.
const MOST_WORKGROUPS: u32 = 65_535;

/// Workgroups in two dimensions, at least `count` of them. Kernels number them row by row and pass over those beyond.
pub(super) fn grid(count: u32) -> [u32; 3] {
    if count <= MOST_WORKGROUPS {
        return [count, 1, 1];
    }
    let rows = count.div_ceil(MOST_WORKGROUPS);
    [count.div_ceil(rows), rows, 1]
}

/// A number of elements as kernels take it.
///
/// # Errors
/// [`TensorError::TooManyElements`] above what 32 bits can index with a workgroup to spare.
pub(super) fn index(operation: &'static str, elements: usize) -> Result<u32, TensorError> {
    let limit = u32::MAX - (1 << 24);
    let too_many = TensorError::TooManyElements { operation, elements: elements as u64, limit: u64::from(limit) };
    u32::try_from(elements).ok().filter(|&count| count <= limit).ok_or(too_many)
}

/// Checks that tensors are of one pool.
pub(super) fn check_pools(operation: &'static str, left: &Tensor, right: &Tensor) -> Result<(), TensorError> {
    if left.storage().is_of_same_pool(right.storage()) { Ok(()) } else { Err(TensorError::Pools { operation }) }
}

/// Checks that tensors are of one pool and one dtype.
pub(super) fn check_kinds(operation: &'static str, left: &Tensor, right: &Tensor) -> Result<(), TensorError> {
    check_pools(operation, left, right)?;
    if left.dtype() == right.dtype() {
        return Ok(());
    }
    Err(TensorError::DType { operation, left: left.dtype().name(), right: right.dtype().name() })
}

/// The most bindings of a kernel: WebGPU's least limit of storage buffers in a shader.
pub(super) const MOST_BINDINGS: usize = 8;

/// Records a dispatch over the storages of some operands, of which there are 1 to [`MOST_BINDINGS`].
pub(super) fn launch(
    program: &Program,
    bindings: &[Binding<'_>],
    parameters: &[u8],
    workgroups: [u32; 3],
) -> Result<(), DeviceError> {
    let mut storages = [bindings[0].storage(); MOST_BINDINGS];
    for (storage, binding) in storages.iter_mut().zip(bindings) {
        *storage = binding.storage();
    }
    let storages = &storages[..bindings.len()];
    record(storages, |commands, places| commands.dispatch(program, places, parameters, workgroups))
}

/// The device's limits and handles for the tensors of an operation.
pub(super) fn with_gpu<R>(tensor: &Tensor, act: impl FnOnce(&crate::device::Gpu) -> R) -> R {
    act(tensor.storage().memory())
}

/// Sizes or strides, padded to the six that kernels take.
pub(super) fn padded(operation: &'static str, values: &[usize]) -> Result<[u32; 6], TensorError> {
    let mut padded = [0; 6];
    for (slot, &value) in padded.iter_mut().zip(values) {
        *slot = index(operation, value)?;
    }
    Ok(padded)
}

/// Whether writing `output` and reading `input` can be one pass: they are the same elements in the same places, or share
/// none.
///
/// # Errors
/// [`TensorError::Overlap`] when they partly overlap.
pub(super) fn is_in_place(
    operation: &'static str,
    output: (&Storage, &Layout),
    input: (&Storage, &Layout),
) -> Result<bool, TensorError> {
    if !output.0.is_same(input.0) {
        return Ok(false);
    }
    if output.1 != input.1 && output.1.overlaps(input.1) {
        return Err(TensorError::Overlap { operation, other: "an input" });
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::grid;

    #[test]
    fn a_grid_covers_its_count_and_wastes_less_than_a_row() {
        for count in [0, 1, 65_535, 65_536, 1 << 20, (1 << 24) + 1] {
            let [x, y, z] = grid(count);
            let covered = u64::from(x) * u64::from(y) * u64::from(z);
            assert!(covered >= u64::from(count) && covered < u64::from(count) + u64::from(x).max(1), "{count}");
            assert!(x <= 65_535 && y <= 65_535);
        }
    }
}
