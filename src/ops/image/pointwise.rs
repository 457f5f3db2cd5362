//! Convolutions with one tap as products of matrices.

use super::correlate::{Correlation, Finish};
use super::correlation_kernel::is_forced;
use crate::error::TensorError;
use crate::tensor::{Tensor, arithmetic};

/// The fewest outputs for which a product is faster than the kernels for few outputs, and the depth of a slice of its fast kernels. On an
/// H100 21 outputs of 256 channels of 128 × 128 take 19 µs instead of 28, 256 outputs of 21 channels 41 instead of 16.
const FEWEST: usize = 17;
const SLICE: usize = 16;

impl Correlation {
    /// Whether each image of the result is the product of the weight and an image, (outputs, channels) and (channels, pixels). A
    /// product neither packs the weight nor computes positions, but its epilogue has no bias for each row.
    pub(super) fn is_matrix_product(&self, finish: Finish<'_>) -> bool {
        let window = self.window;
        self.groups == 1
            && self.outputs >= FEWEST
            && self.channels.is_multiple_of(SLICE)
            && window.kernel == [1, 1]
            && window.stride == [1, 1]
            && window.padding == [[0, 0]; 2]
            && finish.bias.is_none()
            && finish.activation.is_none()
            && !is_forced()
    }

    /// Multiplies the weight and the images. `weight` has the convolution's shape.
    #[track_caller]
    pub(super) fn multiplied(&self, image: &Tensor, weight: &Tensor) -> Result<Tensor, TensorError> {
        let weight = weight.reshape([weight.shape()[0], weight.shape()[1]])?;
        let weight = if self.is_gradient { weight.t()? } else { weight };
        let pixels = arithmetic::elements(&self.size);
        let matrices = image.reshape([self.batch, self.channels, pixels])?;
        weight.matmul(&matrices)?.reshape(self.shape())
    }
}
