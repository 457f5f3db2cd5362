//! From tensors to a dispatch.

use super::placed::Binding;
use crate::device::gpu::Program;
pub(super) use crate::device::gpu::grid;
use crate::error::{Argument, TensorError};
use crate::pool::record;
use crate::tensor::{Layout, Tensor, collapse_in_place};

/// Returns the number of invocations in a workgroup on the device of a tensor: the shaders' `WORKGROUP`.
pub(super) fn workgroup_size(tensor: &Tensor) -> u32 {
    with_gpu(tensor, crate::device::Gpu::workgroup_size)
}

/// The largest number of loop iterations of one invocation, the sum over all its loops. Mesa's software drivers (22.3, LLVM) end
/// every loop of an invocation after 65,536 iterations in total, without an error: the remaining elements keep stale bytes. The
/// same limit applies to all devices, so that all of them split work in the same way.
const LOOP_LIMIT: u64 = 65_535;

/// [`LOOP_LIMIT`], or the lower one of a test.
pub(super) fn loop_limit() -> u64 {
    #[cfg(test)]
    return lowered::LIMIT.get();
    #[cfg(not(test))]
    LOOP_LIMIT
}

/// Returns the iterations of a loop of `times` iterations with `inside` iterations of inner loops in each. The test
/// that ends a loop counts as one iteration.
pub(super) const fn iterations(times: u64, inside: u64) -> u64 {
    times.saturating_mul(inside.saturating_add(1)).saturating_add(1)
}

/// Returns a number of elements as u32. The index of an invocation is below the number of workgroups in a grid times their size,
/// and therefore below `count` + 65,535 · 256 < 2^32 for each accepted `count`.
///
/// # Errors
/// [`TensorError::TooManyElements`] if 32 bits cannot index the elements and one more row of workgroups.
pub(super) fn index(operation: &'static str, elements: usize) -> Result<u32, TensorError> {
    let limit = u32::MAX - (1 << 24);
    let too_many = TensorError::TooManyElements { operation, elements: elements as u64, limit: u64::from(limit) };
    u32::try_from(elements).ok().filter(|&count| count <= limit).ok_or(too_many)
}

/// An argument of an operation, with its name in errors.
pub(super) type Given<'a, N> = (N, &'a Tensor);

/// Checks that arguments belong to one pool.
pub(super) fn check_pools(
    operation: &'static str,
    (by, other): Given<'_, impl Into<Argument>>,
    (argument, tensor): Given<'_, impl Into<Argument>>,
) -> Result<(), TensorError> {
    if other.any_storage().is_of_same_pool(tensor.any_storage()) {
        return Ok(());
    }
    Err(TensorError::Pools { operation, argument: argument.into(), by: by.into() })
}

/// Checks that arguments belong to one pool and have one dtype.
pub(super) fn check_kinds(
    operation: &'static str,
    (by, other): Given<'_, impl Into<Argument> + Copy>,
    (argument, tensor): Given<'_, impl Into<Argument> + Copy>,
) -> Result<(), TensorError> {
    check_pools(operation, (by, other), (argument, tensor))?;
    if other.dtype() == tensor.dtype() {
        return Ok(());
    }
    Err(TensorError::dtypes(operation, (argument, tensor.dtype().name()), (by, other.dtype().name())))
}

/// Checks that an argument has a floating-point dtype, for operations that are not defined for integers.
pub(super) fn check_floating_point(
    operation: &'static str,
    (argument, tensor): Given<'_, impl Into<Argument>>,
) -> Result<(), TensorError> {
    if tensor.dtype().is_floating_point() {
        return Ok(());
    }
    Err(TensorError::not_defined(operation, argument, tensor.dtype().name()))
}

/// Checks a number of loop iterations against the limit of drivers.
///
/// # Errors
/// [`TensorError::TooManyIterations`].
pub(super) fn check_iterations(operation: &'static str, iterations: u64) -> Result<(), TensorError> {
    let limit = loop_limit();
    if iterations <= limit {
        return Ok(());
    }
    Err(TensorError::TooManyIterations { operation, iterations, limit })
}

/// The most bindings of a kernel: WebGPU's least limit of storage buffers in a shader.
pub(super) const MOST_BINDINGS: usize = 8;

/// Records a dispatch over the storages of 1 to [`MOST_BINDINGS`] operands. `iterations` is the largest number of loop
/// iterations of one invocation, as stated in the header of the shader.
///
/// # Errors
/// [`TensorError::TooManyIterations`] if drivers might end the loops early; [`TensorError::Device`].
pub(super) fn launch(
    operation: &'static str,
    program: &Program,
    bindings: &[Binding<'_>],
    parameters: &[u8],
    workgroups: [u32; 3],
    iterations: u64,
) -> Result<(), TensorError> {
    check_iterations(operation, iterations)?;
    let mut storages = [bindings[0].storage(); MOST_BINDINGS];
    for (storage, binding) in storages.iter_mut().zip(bindings) {
        *storage = binding.storage();
    }
    let storages = &storages[..bindings.len()];
    record(storages, |commands, places| commands.dispatch(program, places, parameters, workgroups))?;
    Ok(())
}

/// The device's limits and handles for the tensors of an operation.
pub(super) fn with_gpu<R>(tensor: &Tensor, act: impl FnOnce(&crate::device::Gpu) -> R) -> R {
    act(tensor.any_storage().memory())
}

/// The largest number of dimensions of a kernel: four lists of six numbers fit in the 128 bytes of immediates.
pub(super) const KERNEL_RANK: usize = 6;

/// Merges the dimensions of operands of one shape, and calls the function with layouts of at most [`KERNEL_RANK`] dimensions. If
/// more dimensions remain, the function is called for each index of the smallest dimensions, with increased offsets.
pub(super) fn each_walk<L: AsMut<[Layout]> + Clone>(
    layouts: &mut L,
    mut run: impl FnMut(&L) -> Result<(), TensorError>,
) -> Result<(), TensorError> {
    collapse_in_place(layouts.as_mut());
    within_kernel_rank(layouts, &mut run)
}

fn within_kernel_rank<L: AsMut<[Layout]> + Clone>(
    layouts: &mut L,
    run: &mut impl FnMut(&L) -> Result<(), TensorError>,
) -> Result<(), TensorError> {
    let first = layouts.as_mut().first().filter(|first| first.rank() > KERNEL_RANK);
    let smallest = first.and_then(|first| first.shape.iter().copied().enumerate().min_by_key(|&(_, size)| size));
    let Some((axis, size)) = smallest else { return run(layouts) };
    (0..size).try_for_each(|index| {
        let mut part = layouts.clone();
        part.as_mut().iter_mut().for_each(|layout| *layout = layout.at(axis, index));
        within_kernel_rank(&mut part, run)
    })
}

/// Sizes or strides, padded to the [`KERNEL_RANK`] that kernels take.
///
/// # Errors
/// [`TensorError::Rank`] for more dimensions, which [`each_walk`] never passes.
pub(super) fn padded(operation: &'static str, values: &[usize]) -> Result<[u32; KERNEL_RANK], TensorError> {
    let mut padded = [0; KERNEL_RANK];
    if values.len() > KERNEL_RANK {
        return Err(TensorError::Rank { rank: values.len(), limit: KERNEL_RANK });
    }
    for (slot, &value) in padded.iter_mut().zip(values) {
        *slot = index(operation, value)?;
    }
    Ok(padded)
}

/// The relation between the memory of an output and that of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// In separate memory.
    Apart,
    /// In memory of the same tensor, and they do not overlap.
    InOneMemory,
    /// The same elements at the same indices.
    Same,
}

/// Checks that `output` and `input`, with a layout each, are the same elements at the same indices or do not overlap, so that one
/// pass can read and write them.
///
/// # Errors
/// [`TensorError::Overlap`] when they partly overlap.
pub(super) fn relation(
    operation: &'static str,
    [argument, other]: [Argument; 2],
    (output, output_layout): (&Tensor, &Layout),
    (input, input_layout): (&Tensor, &Layout),
) -> Result<Relation, TensorError> {
    match output.layouts_in_common(output_layout, input, input_layout) {
        None => Ok(Relation::Apart),
        Some([output, input]) if output == input => Ok(Relation::Same),
        Some([output, input]) if output.overlaps(&input) => {
            Err(TensorError::Overlap { operation, argument, other: Some(other) })
        }
        Some(_) => Ok(Relation::InOneMemory),
    }
}

/// A lower limit of loop iterations, for tests on one thread.
#[cfg(test)]
pub(super) mod lowered {
    use std::cell::{Cell, RefCell};

    thread_local! {
        pub(in crate::ops) static LIMIT: Cell<u64> = const { Cell::new(super::LOOP_LIMIT) };
        static IN_LOOPS: Cell<Option<u64>> = const { Cell::new(None) };
        /// The files of the kernels that were launched.
        static USED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }

    /// Runs `act` with a lower limit.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::ops) fn with_loop_limit<R>(limit: u64, act: impl FnOnce() -> R) -> R {
        crate::device::with_choice(&LIMIT, limit, act)
    }

    /// Runs `act`. The loops of kernels that are compiled meanwhile end at this number of iterations of an invocation, as on Mesa's
    /// software drivers at their limit.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::ops) fn with_loops_ended_at<R>(limit: u64, act: impl FnOnce() -> R) -> R {
        crate::device::with_choice(&IN_LOOPS, Some(limit), act)
    }

    /// Returns the texts of the files of the kernels that `act` launches, or compiles if they have no file of their own.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::ops) fn used<R>(act: impl FnOnce() -> R) -> (R, Vec<&'static str>) {
        USED.take();
        let result = act();
        (result, USED.take())
    }

    /// Registers files that a kernel uses.
    pub(in crate::ops) fn note(files: impl IntoIterator<Item = &'static str>) {
        USED.with_borrow_mut(|used| used.extend(files));
    }

    /// Returns a kernel's text, with the limit of [`with_loops_ended_at`] in its loops.
    pub(in crate::ops) fn limited(wgsl: String) -> String {
        let Some(limit) = IN_LOOPS.get() else { return wgsl };
        let mut text = String::new();
        for line in wgsl.lines() {
            match line.trim_start() {
                loops if loops.starts_with("for (") => {
                    let parts: Vec<&str> = loops.split(';').collect();
                    let &[begin, condition, step] = &parts[..] else { panic!("not the head of a loop: {line}") };
                    let condition = if condition.trim().is_empty() { "true" } else { condition };
                    text += &format!("{begin}; is_within_limit() && ({condition});{step}\n");
                }
                "loop {" => text += "loop {\nif !is_within_limit() { break; }\n",
                _ => text += &format!("{line}\n"),
            }
        }
        text + &format!(
            "var<private> loop_iterations: u32;
             fn is_within_limit() -> bool {{ loop_iterations += 1u; return loop_iterations <= {limit}u; }}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{KERNEL_RANK, Layout, TensorError, check_iterations, each_walk, grid, index, iterations, padded};
    use crate::tensor::MAX_RANK;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn walks_have_few_dimensions_and_visit_each_element_of_each_operand_once(
            sizes in prop::collection::vec(1_usize..4, 0..=MAX_RANK),
            order in Just((0..MAX_RANK).collect::<Vec<_>>()).prop_shuffle(),
            expanded in prop::collection::vec(any::<bool>(), MAX_RANK),
        ) {
            let order: Vec<usize> = order.into_iter().filter(|&axis| axis < sizes.len()).collect();
            let plain = Layout::contiguous(&sizes, 4)?;
            let permuted: Vec<usize> = order.iter().map(|&axis| sizes[axis]).collect();
            let mut back = vec![0; sizes.len()];
            order.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
            let permuted = Layout::contiguous(&permuted, 4)?.permute(&back)?;
            let lone: Vec<usize> = sizes.iter().zip(&expanded).map(|(&size, &lone)| if lone { 1 } else { size }).collect();
            let repeated = Layout::contiguous(&lone, 4)?.expand("test", "tensor", &sizes)?;
            let mut layouts = [plain, permuted, repeated];
            let mut wanted: Vec<[usize; 3]> = Vec::new();
            let indices = layouts.map(|layout| layout.indices().collect::<Vec<_>>());
            wanted.extend((0..plain.elements()).map(|number| [0, 1, 2].map(|operand| indices[operand][number])));
            let mut found = Vec::new();
            each_walk(&mut layouts, |walk| {
                padded("test", &walk[0].shape)?;
                assert!(walk.iter().all(|layout| layout.rank() <= KERNEL_RANK && layout.shape == walk[0].shape));
                let indices = walk.each_ref().map(|layout| layout.indices().collect::<Vec<_>>());
                found.extend((0..walk[0].elements()).map(|number| [0, 1, 2].map(|operand| indices[operand][number])));
                Ok(())
            })?;
            found.sort_unstable();
            wanted.sort_unstable();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn more_dimensions_than_a_kernel_has_are_refused_and_never_dropped() {
        assert_eq!(padded("test", &[1, 2, 3]), Ok([1, 2, 3, 0, 0, 0]));
        assert_eq!(padded("test", &[2; 7]), Err(TensorError::Rank { rank: 7, limit: 6 }));
    }

    #[test]
    fn the_number_of_an_invocation_stays_below_32_bits() {
        for elements in [1, 255, 65_535 * 256, (1 << 32) - (1 << 24)] {
            for each in [1, 4, 256] {
                let Ok(count) = index("test", elements) else { continue };
                let [x, y, _] = grid(count.div_ceil(each)).map(u64::from);
                assert!(x * y * u64::from(each) <= 1 << 32, "{elements} {each}");
            }
        }
        assert!(index("test", (1 << 32) - (1 << 24)).is_err());
    }

    #[test]
    fn iterations_count_each_test_that_ends_a_loop_and_are_refused_above_the_limit() {
        assert_eq!(iterations(0, 5), 1);
        assert_eq!(iterations(3, 0), 4);
        assert_eq!(iterations(10, iterations(3, 0)), 51);
        assert_eq!(iterations(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(check_iterations("test", 65_535), Ok(()));
        let refused = TensorError::TooManyIterations { operation: "test", iterations: 65_536, limit: 65_535 };
        assert_eq!(check_iterations("test", 65_536), Err(refused));
    }
}
