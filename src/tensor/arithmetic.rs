//! Arithmetic over shapes. The crate computes every product and sum of sizes here, with checks in every build: `usize` has 32
//! bits on the web, and release builds wrap silently.
//!
//! Invariant of every [`Layout`](super::Layout): the product of its sizes, each counted at least as 1, times the bytes of the
//! largest element is at most `i64::MAX`, and fits `usize`. Products over any subset of the sizes of a layout, its row-major
//! strides and its bytes therefore never overflow.

use crate::error::TensorError;

/// The size of an element of the largest dtype in bytes.
const LARGEST_ELEMENT: u64 = 4;

/// Returns the product of the numbers. `None` if the product overflows; 0 if a number is 0.
pub(crate) fn product(factors: &[usize]) -> Option<usize> {
    if factors.contains(&0) {
        return Some(0);
    }
    factors.iter().try_fold(1_usize, |product, &factor| product.checked_mul(factor))
}

/// Returns the number of elements for sizes of a checked shape, which cannot overflow.
pub(crate) fn elements(sizes: &[usize]) -> usize {
    if sizes.contains(&0) {
        return 0;
    }
    sizes.iter().fold(1, |product, &size| product.saturating_mul(size))
}

/// Returns the bytes of the elements of a checked shape.
pub(crate) fn bytes(elements: usize, element_bytes: u64) -> u64 {
    (elements as u64).saturating_mul(element_bytes)
}

/// Checks the invariant of layouts on a shape of new memory.
///
/// # Errors
/// [`TensorError::Overflow`].
pub(crate) fn check_shape(shape: &[usize], element_bytes: u64) -> Result<(), TensorError> {
    // A size of zero would hide an overflow of the product, but the strides would still overflow.
    let extent = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size.max(1)));
    let bytes = extent.and_then(|extent| (extent as u64).checked_mul(element_bytes.max(LARGEST_ELEMENT)));
    match bytes {
        Some(bytes) if bytes <= i64::MAX.unsigned_abs() => Ok(()),
        _ => Err(overflow(shape, element_bytes)),
    }
}

/// Checks the invariant of layouts on the shape of a view.
///
/// # Errors
/// [`TensorError::Overflow`].
pub(crate) fn check_view(shape: &[usize]) -> Result<(), TensorError> {
    check_shape(shape, LARGEST_ELEMENT)
}

/// Returns the product of the factors of a size.
///
/// # Errors
/// [`TensorError::Overflow`] with the factors for the shape.
pub(crate) fn size_of(factors: &[usize], element_bytes: u64) -> Result<usize, TensorError> {
    check_shape(factors, element_bytes)?;
    Ok(elements(factors))
}

/// Adds to one size of a shape.
///
/// # Errors
/// [`TensorError::Overflow`] with both sizes as two of the shape's dimensions.
pub(crate) fn extend(shape: &mut [usize], axis: usize, more: usize, element_bytes: u64) -> Result<(), TensorError> {
    match shape[axis].checked_add(more) {
        Some(size) => shape[axis] = size,
        None => return Err(overflow(&[shape[axis], more], element_bytes)),
    }
    Ok(())
}

/// Returns the row-major strides of a checked shape.
pub(crate) fn fill_row_major(strides: &mut [usize], shape: &[usize]) {
    let mut step = 1_usize;
    for (stride, &size) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.saturating_mul(size.max(1));
    }
}

/// Returns a size plus the padding before and after it. `None` if the sum overflows.
pub(crate) fn padded_size(size: usize, [before, behind]: [usize; 2]) -> Option<usize> {
    size.checked_add(before)?.checked_add(behind)
}

/// Returns the extent of a kernel along an axis, (kernel − 1) · dilation + 1. `None` if it is empty or overflows.
pub(crate) fn window_extent(kernel: usize, dilation: usize) -> Option<usize> {
    if dilation == 0 {
        return None;
    }
    kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)
}

/// Returns the number of positions of a kernel window along an axis: ⌊(size + padding − extent) / stride⌋ + 1. With
/// `ceil_mode` the quotient is rounded up, unless the last position would begin after the image and the padding before
/// the image. `None` if there is no position, or if a number overflows.
pub(crate) fn window_positions(
    size: usize,
    extent: usize,
    stride: usize,
    padding: [usize; 2],
    ceil_mode: bool,
) -> Option<usize> {
    if size == 0 || extent == 0 {
        return None;
    }
    let room = padded_size(size, padding)?.checked_sub(extent)?;
    // At most usize::MAX - 1, since a kernel has at least one position.
    let whole = room.checked_div(stride)?;
    let begin = whole.checked_add(1).and_then(|next| next.checked_mul(stride));
    let begins_inside = begin.is_some_and(|begin| begin < size.saturating_add(padding[0]));
    let is_more = ceil_mode && !room.is_multiple_of(stride) && begins_inside;
    whole.checked_add(1 + usize::from(is_more))
}

fn overflow(shape: &[usize], element_bytes: u64) -> TensorError {
    TensorError::Overflow { shape: shape.to_vec(), element_bytes }
}

#[cfg(test)]
#[path = "arithmetic_tests.rs"]
mod tests;
