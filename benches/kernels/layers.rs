//! The convolutions of two segmentation networks, each layer in its three passes.

use super::Bench;
use super::convolutions::Case;
use std::error::Error;

const fn layer(name: &'static str, [inputs, outputs]: [usize; 2], kernel: usize, side: usize) -> Case {
    Case { name, batch: 1, inputs, outputs, side, kernel, stride: 1, dilation: 1, groups: 1 }
}

/// U-Net (Ronneberger et al. 2015, figure 1) for images of 3 × 512 × 512 with padding, and 2 classes. Layers of equal shape
/// are listed once. The transposed convolutions are listed as the convolution whose gradient by the input they are.
const U_NET: [Case; 17] = [
    layer("U-Net", [3, 64], 3, 512),
    layer("U-Net", [64, 64], 3, 512),
    layer("U-Net", [64, 128], 3, 256),
    layer("U-Net", [128, 128], 3, 256),
    layer("U-Net", [128, 256], 3, 128),
    layer("U-Net", [256, 256], 3, 128),
    layer("U-Net", [256, 512], 3, 64),
    layer("U-Net", [512, 512], 3, 64),
    layer("U-Net", [512, 1024], 3, 32),
    layer("U-Net", [1024, 1024], 3, 32),
    Case { stride: 2, ..layer("U-Net, up,", [512, 1024], 2, 64) },
    Case { stride: 2, ..layer("U-Net, up,", [64, 128], 2, 512) },
    layer("U-Net", [1024, 512], 3, 64),
    layer("U-Net", [512, 256], 3, 128),
    layer("U-Net", [256, 128], 3, 256),
    layer("U-Net", [128, 64], 3, 512),
    layer("U-Net", [64, 2], 1, 512),
];

/// DeepLabv3+ (Chen et al. 2018) on ResNet-50 with output stride 16, for images of 3 × 512 × 512 and 21 classes: one layer
/// of each shape.
const DEEPLAB: [Case; 15] = [
    Case { stride: 2, ..layer("DeepLab, stem,", [3, 64], 7, 512) },
    layer("DeepLab", [64, 64], 3, 128),
    layer("DeepLab", [64, 256], 1, 128),
    layer("DeepLab", [128, 128], 3, 64),
    layer("DeepLab", [128, 512], 1, 64),
    layer("DeepLab", [256, 256], 3, 32),
    layer("DeepLab", [256, 1024], 1, 32),
    Case { dilation: 2, ..layer("DeepLab, dilation 2,", [512, 512], 3, 32) },
    layer("DeepLab", [512, 2048], 1, 32),
    layer("DeepLab, pyramid,", [2048, 256], 1, 32),
    Case { dilation: 6, ..layer("DeepLab, dilation 6,", [2048, 256], 3, 32) },
    Case { dilation: 18, ..layer("DeepLab, dilation 18,", [2048, 256], 3, 32) },
    layer("DeepLab, decoder,", [304, 256], 3, 128),
    Case { groups: 304, ..layer("DeepLab, depthwise,", [304, 304], 3, 128) },
    layer("DeepLab, classes,", [256, 21], 1, 128),
];

/// The layers of the example `unet` in a training step: 8 images of 48 × 48.
const EXAMPLE: [Case; 9] = [
    of_example([1, 8], 3, 48),
    of_example([8, 8], 3, 48),
    of_example([8, 16], 3, 24),
    of_example([16, 16], 3, 24),
    of_example([16, 32], 3, 12),
    of_example([32, 32], 3, 12),
    of_example([48, 16], 3, 24),
    of_example([24, 8], 3, 48),
    of_example([8, 4], 1, 48),
];

const fn of_example(channels: [usize; 2], kernel: usize, side: usize) -> Case {
    Case { batch: 8, ..layer("example,", channels, kernel, side) }
}

impl Bench<'_> {
    /// The layers of both networks, for images whose sides are divided by `divisor`, and those of the example `unet`.
    pub(crate) fn layers(&self, divisor: usize) -> Result<(), Box<dyn Error>> {
        for case in EXAMPLE {
            self.convolution(case)?;
        }
        for case in U_NET.into_iter().chain(DEEPLAB) {
            self.convolution(Case { side: case.side / divisor, ..case })?;
        }
        Ok(())
    }
}
