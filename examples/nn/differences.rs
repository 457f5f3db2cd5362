//! Comparison of hand-written gradients with finite differences.

use wgpu_pool::{Tensor, TensorError};

/// Compares a gradient by x of Σ outputs · direction with the symmetric difference quotient, element by element.
///
/// `f` computes the sum for the current x; x is restored. For many elements a sample is checked. The error of the
/// difference of a smooth function is its third derivative times `step`² / 6, plus the sum's rounding error divided by
/// `step`.
pub(crate) fn check(
    what: &str,
    x: &Tensor,
    gradient: &Tensor,
    step: f32,
    tolerance: f32,
    mut f: impl FnMut() -> Result<f32, TensorError>,
) -> Result<(), TensorError> {
    assert_eq!(x.shape(), gradient.shape(), "{what}");
    let (elements, gradient) = (x.read_blocking::<f32>()?, gradient.read_blocking::<f32>()?);
    let scale = gradient.iter().fold(0.0_f32, |most, g| most.max(g.abs()));
    assert!(scale > 0.0, "{what}: the gradient is all zeros");
    for at in (0..elements.len()).step_by(elements.len().div_ceil(40)) {
        let mut with = |change: f32| -> Result<f32, TensorError> {
            let mut changed = elements.clone();
            changed[at] += change;
            x.copy_(&Tensor::from_slice(&x.pool(), &changed, x.shape())?)?;
            f()
        };
        let slope = (with(step)? - with(-step)?) / (2.0 * step);
        assert!((slope - gradient[at]).abs() <= tolerance * scale, "{what} {at}: {slope} {} of {scale}", gradient[at]);
    }
    x.copy_(&Tensor::from_slice(&x.pool(), &elements, x.shape())?)
}
