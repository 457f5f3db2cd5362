//! Convolutions and their gradients: 3 × 3 with several numbers of channels, and the other kinds that networks use.

use super::{Bench, Work, Worth};
use std::error::Error;
use wgpu_pool::{Conv2d, DType, Padding, TensorError};

/// Sizes of the images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Images {
    pub(crate) batch: usize,
    pub(crate) side: usize,
    /// Channels of the images and of the results.
    pub(crate) channels: &'static [usize],
    /// Channels of the kinds other than 3 × 3.
    pub(crate) wide: usize,
}

/// A convolution of square images with a square kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) batch: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) side: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) groups: usize,
}

impl Bench<'_> {
    /// The three passes of each convolution.
    pub(crate) fn convolutions(&self, images: Images) -> Result<(), Box<dyn Error>> {
        let Images { batch, side, channels, wide } = images;
        let square = |name, channels, kernel| Case {
            name,
            batch,
            inputs: channels,
            outputs: channels,
            side,
            kernel,
            stride: 1,
            dilation: 1,
            groups: 1,
        };
        for &channels in channels {
            self.convolution(square("3×3", channels, 3))?;
        }
        let three = square("3×3", wide, 3);
        for case in [
            square("1×1", wide, 1),
            square("5×5", wide, 5),
            Case { name: "7×7, stride 2,", inputs: 3, stride: 2, ..square("", wide, 7) },
            Case { name: "3×3, stride 2,", outputs: 2 * wide, stride: 2, ..three },
            Case { name: "2×2, stride 2,", outputs: 2 * wide, stride: 2, ..square("", wide, 2) },
            Case { name: "3×3, dilation 2,", dilation: 2, ..three },
            Case { name: "3×3, depthwise,", groups: wide, ..three },
            Case { name: "3×3, small images,", inputs: 4 * wide, outputs: 4 * wide, side: side / 8, ..three },
        ] {
            self.convolution(case)?;
        }
        Ok(())
    }

    pub(crate) fn convolution(&self, case: Case) -> Result<(), Box<dyn Error>> {
        let Case { name, batch, inputs, outputs, side, kernel, stride, dilation, groups } = case;
        let padding = Padding::all((kernel - 1) * dilation / 2);
        let options = Conv2d { stride: [stride; 2], padding, dilation: [dilation; 2], groups };
        let names = ["conv2d", "conv2d's gradient by its input", "conv2d's gradient by its weight"];
        let of_f16 = "conv2d of f16";
        let outputs_differ = if outputs == inputs { String::new() } else { format!("→{outputs}") };
        let size = format!("{name} {batch}×{inputs}{outputs_differ}×{side}²");
        if !names.iter().chain([&of_f16]).any(|name| self.wanted(&format!("{name} {size}"))) {
            return Ok(());
        }
        let image = [batch, inputs, side, side];
        let weight = [outputs, inputs / groups, kernel, kernel];
        let (x, weights) = (self.random(&image, 14)?, self.random(&weight, 15)?);
        let gradient = x.conv2d(&weights, None, options)?;
        let copy = self.random(&image, 16)?;
        let terms = inputs / groups * kernel * kernel;
        let worth = Worth::Operations(2.0 * gradient.elements() as f64 * terms as f64);
        type Run<'a> = Box<dyn Fn() -> Result<(), TensorError> + 'a>;
        let peer = |pass, dtype| {
            Some(serde_json::json!({
                "operation": "conv2d", "pass": pass, "dtype": dtype, "image": image, "weight": weight,
                "stride": stride, "padding": (kernel - 1) * dilation / 2, "dilation": dilation, "groups": groups,
            }))
        };
        let runs: [(&str, Run<'_>); 3] = [
            ("forward", Box::new(|| x.conv2d(&weights, None, options).map(drop))),
            ("input", Box::new(|| gradient.conv2d_backward_input(image, &weights, options).map(drop))),
            ("weight", Box::new(|| gradient.conv2d_backward_weight(&x, weight, options).map(drop))),
        ];
        let works: Vec<Work<'_>> = names
            .into_iter()
            .zip(runs)
            .map(|(name, (pass, run))| Work { name: name.into(), worth, run, peer: peer(pass, "f32") })
            .collect();
        self.compare(&works, &size, &x, &copy)?;
        if groups > 1 || !self.pool.memory().device().features().contains(wgpu::Features::SHADER_F16) {
            return Ok(());
        }
        let (x_half, weights_half) = (x.to(DType::F16)?, weights.to(DType::F16)?);
        let run = || x_half.conv2d(&weights_half, None, options).map(drop);
        let half = Work { name: of_f16.into(), worth, run: Box::new(run), peer: peer("forward", "f16") };
        self.compare(&[half], &size, &x, &copy)
    }
}
