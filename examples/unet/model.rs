//! A U-Net (Ronneberger et al. 2015) of three levels.

use crate::nn::convolution::Convolution;
use crate::nn::{Activation, Parameter, Seeds};
use crate::shapes::CLASSES;
use wgpu_pool::{MaxPool2d, Pool, Tensor, TensorError};

const RELU: Activation = Activation::Relu;
/// Halves both sides of an image.
const HALF: MaxPool2d = MaxPool2d::new(2);
/// Channels of each level.
const WIDTHS: [usize; 3] = [8, 16, 32];

/// Sides of an image must be multiples of this: it is halved twice.
pub(crate) const UNIT: usize = 4;

/// The radius of the receptive field, rounded up to a multiple of [`UNIT`]. Two convolutions per level extend it by 2
/// pixels on the way down and on the way up, in pixels of 1, 2 and 4; pooling and upsampling shift by less than one
/// pixel of the lower level.
pub(crate) const SIGHT: usize = (2 + 4 + 8 + 4 + 2 + 2 * (2 + 4_usize)).next_multiple_of(UNIT);

/// Two convolutions, each followed by ReLU.
#[derive(Debug)]
struct Block {
    first: Convolution,
    second: Convolution,
}

/// The values that `backward` needs from a block: its input, and the output of each convolution.
#[derive(Debug)]
struct Kept {
    x: Tensor,
    between: Tensor,
    y: Tensor,
}

impl Block {
    fn new(pool: &Pool, inputs: usize, outputs: usize, seeds: &mut Seeds) -> Result<Self, TensorError> {
        let first = Convolution::new(pool, [inputs, outputs], 3, seeds)?;
        Ok(Self { first, second: Convolution::new(pool, [outputs; 2], 3, seeds)? })
    }

    fn forward(&self, x: Tensor) -> Result<Kept, TensorError> {
        let between = self.first.forward_relu(&x)?;
        let y = self.second.forward_relu(&between)?;
        Ok(Kept { x, between, y })
    }

    /// The gradient of the second convolution's input.
    fn backward_second(&mut self, kept: &Kept, gradient: &Tensor) -> Result<Tensor, TensorError> {
        let gradient = self.second.backward(&kept.between, &RELU.backward(&kept.y, gradient)?)?;
        RELU.backward(&kept.between, &gradient)
    }

    fn backward(&mut self, kept: &Kept, gradient: &Tensor) -> Result<Tensor, TensorError> {
        let gradient = self.backward_second(kept, gradient)?;
        self.first.backward(&kept.x, &gradient)
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        self.first.parameters().into_iter().chain(self.second.parameters()).collect()
    }
}

/// (n, 1, h, w) gives scores of classes, (n, classes, h, w).
#[derive(Debug)]
pub(crate) struct UNet {
    down: [Block; 2],
    bottom: Block,
    /// The lower level first.
    up: [Block; 2],
    head: Convolution,
}

/// The values that `backward` needs from `forward`.
#[derive(Debug)]
pub(crate) struct Course {
    down: Vec<(Kept, Tensor)>,
    bottom: Kept,
    up: Vec<Kept>,
}

impl UNet {
    pub(crate) fn new(pool: &Pool, seed: u64) -> Result<Self, TensorError> {
        let mut seeds = Seeds(seed);
        let mut block = |inputs, outputs| Block::new(pool, inputs, outputs, &mut seeds);
        let [fine, middle, coarse] = WIDTHS;
        let down = [block(1, fine)?, block(fine, middle)?];
        let bottom = block(middle, coarse)?;
        let up = [block(coarse + middle, middle)?, block(middle + fine, fine)?];
        Ok(Self { down, bottom, up, head: Convolution::new(pool, [fine, CLASSES], 1, &mut seeds)? })
    }

    /// Returns the scores, with all values that the gradients need.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<(Tensor, Course), TensorError> {
        let mut down = Vec::new();
        let mut x = x.clone();
        for block in &self.down {
            let kept = block.forward(x)?;
            let (halved, places) = kept.y.max_pool2d_with_indices(HALF)?;
            x = halved;
            down.push((kept, places));
        }
        let bottom = self.bottom.forward(x)?;
        let mut up: Vec<Kept> = Vec::new();
        for (block, (skip, _)) in self.up.iter().zip(down.iter().rev()) {
            let below = up.last().map_or(&bottom.y, |kept| &kept.y);
            up.push(block.forward(upsample_and_concatenate(below, &skip.y)?)?);
        }
        let scores = self.head.forward(&up[1].y)?;
        Ok((scores, Course { down, bottom, up }))
    }

    /// Returns the scores only: each intermediate image returns to the pool as soon as it was used.
    pub(crate) fn infer(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.infer_with(x.clone(), || ())
    }

    /// As [`infer`](Self::infer), and calls `after` after each block and the head: six times.
    pub(crate) fn infer_with(&self, x: Tensor, mut after: impl FnMut()) -> Result<Tensor, TensorError> {
        let mut skips = Vec::new();
        let mut x = x;
        for block in &self.down {
            let y = block.forward(x)?.y;
            x = y.max_pool2d(HALF)?;
            skips.push(y);
            after();
        }
        x = self.bottom.forward(x)?.y;
        after();
        for block in &self.up {
            if let Some(skip) = skips.pop() {
                x = upsample_and_concatenate(&x, &skip)?;
            }
            x = block.forward(x)?.y;
            after();
        }
        let scores = self.head.forward(&x)?;
        after();
        Ok(scores)
    }

    /// Adds to every parameter's gradient.
    pub(crate) fn backward(&mut self, course: Course, gradient: &Tensor) -> Result<(), TensorError> {
        let Course { down, bottom, mut up } = course;
        let mut gradient = self.head.backward(&up[1].y, gradient)?;
        let mut skips = Vec::new();
        for block in self.up.iter_mut().rev() {
            let Some(kept) = up.pop() else { break };
            let both = block.backward(&kept, &gradient)?;
            let below = up.last().map_or(&bottom.y, |kept| &kept.y);
            let [channels, height, width] = [1, 2, 3].map(|axis| below.shape()[axis]);
            gradient = both.narrow(1, 0, channels)?.upsample_nearest_backward([height, width])?;
            skips.push(both.narrow(1, channels, both.shape()[1] - channels)?);
        }
        gradient = self.bottom.backward(&bottom, &gradient)?;
        drop(bottom);
        for (level, (block, (kept, places))) in self.down.iter_mut().zip(down).enumerate().rev() {
            let shape = kept.y.shape();
            let shape = [shape[0], shape[1], shape[2], shape[3]];
            let by_y = gradient.max_pool2d_backward(&places, shape, HALF)?;
            if let Some(skip) = skips.pop() {
                by_y.add_(&skip)?;
            }
            let by_between = block.backward_second(&kept, &by_y)?;
            if level == 0 {
                return block.first.backward_parameters(&kept.x, &by_between);
            }
            gradient = block.first.backward(&kept.x, &by_between)?;
        }
        Ok(())
    }

    pub(crate) fn parameters(&mut self) -> Vec<&mut Parameter> {
        let Self { down, bottom, up, head } = self;
        let blocks = down.iter_mut().chain([bottom]).chain(up);
        blocks.flat_map(Block::parameters).chain(head.parameters()).collect()
    }
}

/// Upsamples an image of half the size, and concatenates it with the image of the way down along the channels.
fn upsample_and_concatenate(below: &Tensor, skip: &Tensor) -> Result<Tensor, TensorError> {
    let size = [skip.shape()[2], skip.shape()[3]];
    Tensor::cat(&[&below.upsample_nearest(size)?, skip], 1)
}
