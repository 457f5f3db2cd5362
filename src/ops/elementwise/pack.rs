//! Inputs of kernels on devices with few storage buffers in a shader: inputs of one dtype are copied into one tensor, which is
//! bound once.

use super::form::LANES;
use super::variant::MOST_INPUTS;
use crate::error::TensorError;
use crate::tensor::{DType, Tensor, arithmetic};

/// A storage that a kernel binds for some of its inputs.
struct Bound<'a> {
    /// Its first input.
    input: &'a Tensor,
    /// The elements of all its inputs, without those that are repeated by a stride of 0.
    elements: usize,
}

/// The inputs of a kernel on a device with few storage buffers in a shader.
pub(super) enum Packed {
    /// They have few enough bindings, or too many dtypes: a binding has one dtype.
    AsGiven,
    /// Some are copied into shared storages.
    Shared(Vec<Tensor>),
    /// A shared storage would be larger than a block.
    AboveABlock,
}

/// Returns the inputs with some of them copied into shared storages, such that they and the output have at most `most` bindings;
/// copies as few elements as possible.
pub(super) fn packed(inputs: &[&Tensor], output: &Tensor, most: usize) -> Result<Packed, TensorError> {
    let mut bound: Vec<Bound<'_>> = Vec::with_capacity(MOST_INPUTS);
    for &input in inputs.iter().filter(|input| !input.any_storage().is_same(output.any_storage())) {
        let elements = distinct(input)?.elements();
        match bound.iter_mut().find(|known| known.input.any_storage().is_same(input.any_storage())) {
            Some(known) => known.elements += elements,
            None => bound.push(Bound { input, elements }),
        }
    }
    let bindings = 1 + bound.len();
    if bindings <= most {
        return Ok(Packed::AsGiven);
    }
    bound.sort_by_key(|bound| bound.elements);
    let Some(counts) = counts(&bound, most) else { return Ok(Packed::AsGiven) };
    let mut all: Vec<Tensor> = inputs.iter().map(|&input| input.clone()).collect();
    for (dtype, count) in counts {
        let storages: Vec<_> = of_dtype(&bound, dtype).take(count).map(|bound| bound.input.any_storage()).collect();
        let is_packed = |input: &&mut Tensor| storages.iter().any(|storage| storage.is_same(input.any_storage()));
        if !copy_together(all.iter_mut().filter(is_packed), output, dtype)? {
            return Ok(Packed::AboveABlock);
        }
    }
    Ok(Packed::Shared(all))
}

fn of_dtype<'b, 'a>(bound: &'b [Bound<'a>], dtype: DType) -> impl Iterator<Item = &'b Bound<'a>> {
    bound.iter().filter(move |bound| bound.input.dtype() == dtype)
}

/// Returns for each dtype how many storages to combine, the smallest first. `None` if there are still too many bindings when
/// each dtype has one. `bound` is sorted by size.
fn counts(bound: &[Bound<'_>], most: usize) -> Option<Vec<(DType, usize)>> {
    let mut counts = [DType::F32, DType::F16, DType::I32, DType::U32].map(|dtype| (dtype, 1));
    let mut bindings = 1 + bound.len();
    while bindings > most {
        // The first combination of a dtype copies two storages, each further one a storage more.
        let cost = |&(dtype, count): &(DType, usize)| {
            let sizes: Vec<_> = of_dtype(bound, dtype).map(|bound| bound.elements as u64 * dtype.bytes()).collect();
            let next = sizes.get(count)?;
            Some(if count == 1 { sizes[0] + next } else { *next })
        };
        let cheapest = counts.iter_mut().filter_map(|entry| Some((cost(entry)?, entry))).min_by_key(|(cost, _)| *cost);
        cheapest?.1.1 += 1;
        bindings -= 1;
    }
    Some(counts.into_iter().filter(|(_, count)| *count > 1).collect())
}

/// Replaces tensors by views of one new tensor with the same elements. Returns whether it fits a block; if not, nothing is replaced.
fn copy_together<'a>(
    tensors: impl Iterator<Item = &'a mut Tensor>,
    output: &Tensor,
    dtype: DType,
) -> Result<bool, TensorError> {
    let mut replaced = Vec::with_capacity(MOST_INPUTS);
    let mut total = 0;
    for tensor in tensors {
        let elements = distinct(tensor)?;
        let start = total;
        // Vectors of elements start at multiples of their length.
        total += elements.elements().next_multiple_of(LANES);
        replaced.push((tensor, elements, start));
    }
    if arithmetic::bytes(total, dtype.bytes()) > output.any_storage().largest_block() {
        return Ok(false);
    }
    let together = output.new_empty([total], dtype)?;
    for (tensor, elements, start) in replaced {
        let own = together.narrow(0, start, elements.elements())?.reshape(elements.shape())?;
        own.copy_(&elements)?;
        *tensor = own.expand(tensor.shape())?;
    }
    Ok(true)
}

/// A view without the elements that are repeated by a stride of 0.
pub(in crate::ops) fn distinct(input: &Tensor) -> Result<Tensor, TensorError> {
    let mut view = input.clone();
    for axis in 0..input.rank() {
        if input.strides()[axis] == 0 && input.shape()[axis] > 1 {
            view = view.narrow(axis, 0, 1)?;
        }
    }
    Ok(view)
}
