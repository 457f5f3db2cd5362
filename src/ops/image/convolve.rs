//! Convolutions and their gradients.

use super::super::activation::Activation;
use super::super::launch::{check_kinds, index, iterations, loop_limit, with_gpu, workgroup_size};
use super::super::shader::CONV2D;
use super::bands::gathered;
use super::blocks::Blocks;
use super::correlate::{Correlation, Finish};
use super::correlation_kernel;
use super::{Conv2d, Convolved, KernelWindow, Planes, Run, shape_like};
use crate::error::{ShapeRequirement, TensorError};
use crate::tensor::{Tensor, arithmetic};

/// Outputs that a convolution's kernels make at once, and windows or lines.
const BLOCK: usize = 8;
const FOUR: usize = 4;
impl Tensor {
    /// Convolves (cross-correlates) images with `weight`: (n, c, h, w), or (c, h, w) without a batch axis, and a weight
    /// of shape (o, c / groups, kernel) give (n, o, rows, columns), plus a bias of shape (o). For every dtype; sums are
    /// computed in that dtype, for f16 in f32. The zeros of the padding are multiplied, too, so that an infinite weight or NaN
    /// gives NaN there. Equals `torch.nn.functional.conv2d`.
    ///
    /// Cost: one kernel over the images (an implicit matrix product; images are never unfolded), and one that reorders the
    /// weight, unless the convolution is small, or has 3 × 3 taps without stride and dilation and a group has at most 32
    /// outputs (56 of f32) or 4 channels. With 1 × 1 taps, one group, a multiple of 16 channels, more than 16 outputs, and
    /// neither bias nor activation each image is multiplied by the weight, as by [`Tensor::matmul`]. Apart from the result the
    /// operation allocates the reordered weight, whose numbers of channels and of outputs of a group are rounded up to 8,
    /// copies of images and weights that are not contiguous, and, where a long sum has few outputs, up to 16 MiB for parts of
    /// the sum.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`], [`TensorError::Shape`], [`TensorError::KernelWindow`], [`TensorError::Groups`],
    /// [`TensorError::DType`], [`TensorError::Pools`]; as [`Tensor::empty`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use wgpu_pool::{Conv2d, Padding, Pool, PoolOptions, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let images = Tensor::randn(&pool, [8, 16, 32, 48], 1)?;
    /// let weight = Tensor::randn(&pool, [32, 16, 3, 3], 2)?;
    /// let options = Conv2d { stride: [2, 2], padding: Padding::all(1), ..Conv2d::default() };
    /// assert_eq!(images.conv2d(&weight, None, options)?.shape(), [8, 32, 16, 24]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn conv2d(&self, weight: &Self, bias: Option<&Self>, options: Conv2d) -> Result<Self, TensorError> {
        self.convolve_for("conv2d", weight, bias, options, None)
    }

    /// Convolves images as [`Tensor::conv2d`] and applies an activation, all in one kernel over the images. Equals
    /// `activation(torch.nn.functional.conv2d(x, weight, bias))`.
    ///
    /// # Errors
    /// As [`Tensor::conv2d`]; [`TensorError::NotDefined`] if the activation is not defined for the dtype.
    #[track_caller]
    pub fn conv2d_then(
        &self,
        weight: &Self,
        bias: Option<&Self>,
        options: Conv2d,
        activation: Option<Activation>,
    ) -> Result<Self, TensorError> {
        self.convolve_for("conv2d_then", weight, bias, options, activation)
    }

    /// Convolves images for the operation `name`, which errors have.
    #[track_caller]
    fn convolve_for(
        &self,
        name: &'static str,
        weight: &Self,
        bias: Option<&Self>,
        options: Conv2d,
        activation: Option<Activation>,
    ) -> Result<Self, TensorError> {
        let convolution = Convolution::new(name, self.shape(), weight.shape(), options)?;
        check_kinds(name, ("input", self), ("weight", weight))?;
        let Convolution { outputs, groups, lines, .. } = convolution;
        if let Some(bias) = bias {
            check_kinds(name, ("input", self), ("bias", bias))?;
            bias.check_shape((name, "bias"), &[outputs], ("weight", weight.shape()))?;
        }
        let finish = Finish { bias, activation };
        finish.operation(name, self.dtype())?;
        let shape = shape_like(self.shape(), convolution.output());
        if let Some(result) = convolution.by_outputs([self, weight], bias, options, activation)? {
            return result.reshape(&shape);
        }
        let weight = &gathered(weight)?;
        if self.exceeds_a_block(&shape) {
            let blocks = convolution.blocks(name, options, weight.shape());
            return blocks.convolve(&self.as_batch()?, weight, bias, activation)?.reshape(&shape);
        }
        if convolution.is_direct(self) {
            let rows = weight.contiguous()?.reshape([groups, outputs / groups, lines])?.permute([2, 0, 1])?;
            return self.convolved(name, &convolution, &rows, finish)?.reshape(&shape);
        }
        convolution.correlation(name).run(self, weight, finish)?.reshape(&shape)
    }

    /// The convolution by `conv2d.wgsl`; the weights' rows are (channels and taps of a group, groups, outputs of a group).
    #[track_caller]
    fn convolved(
        &self,
        name: &'static str,
        convolution: &Convolution,
        rows: &Self,
        finish: Finish<'_>,
    ) -> Result<Self, TensorError> {
        let Convolution { planes, outputs, groups, lines, out, window, .. } = *convolution;
        let of_group = outputs / groups;
        let weights = self.new_empty([lines + 1, groups, of_group.next_multiple_of(BLOCK)], self.dtype())?;
        let taken = weights.narrow(2, 0, of_group)?;
        match finish.bias {
            Some(bias) => taken.narrow(0, lines, 1)?.copy_(&bias.reshape([groups, of_group])?)?,
            None => weights.clear()?,
        }
        taken.narrow(0, 0, lines)?.copy_(rows)?;
        let output = self.new_empty(convolution.output(), self.dtype())?;
        let image = self.contiguous()?;
        let operation = finish.operation(name, self.dtype())?;
        let run = Run { planes, out, window, operation, ..Run::new(name, &CONV2D, &image) };
        let span = out[1].div_ceil(FOUR);
        // The last four of a row may reach beyond the last window: three more windows, and those of the four itself.
        let extent = window.extent(1).unwrap_or(usize::MAX);
        let beyond = arithmetic::product(&[span + 1, FOUR, window.stride[1]]).and_then(|far| far.checked_add(extent));
        index(name, if out[1] == 1 { 0 } else { beyond.unwrap_or(usize::MAX) })?;
        let count = arithmetic::elements(&[planes.batch, groups, of_group.div_ceil(BLOCK), out[0], span]);
        let workgroups = count.div_ceil(workgroup_size(&image) as usize);
        let loops = convolution.iterations();
        run.convolving(
            &[&output, &image, &weights],
            Convolved { outputs, span, groups, ..Convolved::default() },
            count,
            workgroups,
            loops,
        )?;
        Ok(output)
    }

    /// Returns the gradient of [`Tensor::conv2d`] with respect to its input, which has the given shape. `self` is the
    /// gradient of the result. Equals `torch.nn.grad.conv2d_input`. Where taps of the window lie beyond the gradient, an infinite
    /// weight or NaN may give NaN, which depends on the kernel: some multiply zeros there.
    ///
    /// Cost: as [`Tensor::conv2d`] of the gradient with as many multiplications as the convolution has: a stride adds
    /// neither zeros nor columns. The same memory. On GPUs, the gradient of an f32 input of at most 4 channels, and of one whose windows do
    /// not overlap with at least 512 outputs, is the fold of matrix products of at most 64 MiB each, or of one row of windows if that has
    /// more; without room for these, a slower kernel runs.
    ///
    /// # Errors
    /// As [`Tensor::conv2d`].
    #[track_caller]
    pub fn conv2d_backward_input(
        &self,
        input: impl AsRef<[usize]>,
        weight: &Self,
        options: Conv2d,
    ) -> Result<Self, TensorError> {
        let (name, input) = ("conv2d_backward_input", input.as_ref());
        let convolution = Convolution::new(name, input, weight.shape(), options)?;
        check_kinds(name, ("gradient", self), ("weight", weight))?;
        self.check_shape((name, "gradient"), &shape_like(input, convolution.output()), ("input", input))?;
        if let Some(result) = convolution.gradient_by_channels([self, weight], options)? {
            return result.reshape(input);
        }
        let weight = &gathered(weight)?;
        if self.exceeds_a_block(input) {
            let blocks = convolution.blocks(name, options, weight.shape());
            return blocks.gradient(&self.as_batch()?, weight)?.reshape(input);
        }
        if let Some(rows) = convolution.rows_of_columns(self).filter(|_| !self.shape().contains(&0)) {
            match convolution.folded_gradient(name, self, weight, rows) {
                // Without room for the columns, the kernels that need none are used.
                Err(TensorError::Allocate(_)) => {}
                gradient => return gradient?.reshape(input),
            }
        }
        let Convolution { planes, outputs, groups, window, .. } = convolution;
        if let Some(reversed) = convolution.reversed().filter(|reversed| reversed.is_direct(self)) {
            // The same taps in reverse order, outputs and channels exchanged.
            let taps = arithmetic::elements(&window.kernel);
            let (of_group, channels) = (outputs / groups, planes.channels / groups);
            let order = Self::arange(&self.pool(), taps, index(name, taps - 1)?, u32::MAX)?;
            let weight = weight.contiguous()?.reshape([outputs, channels, taps])?.index_select(2, &order)?;
            let rows = weight.reshape([groups, of_group, channels, taps])?.permute([1, 3, 0, 2])?.contiguous()?;
            let rows = rows.reshape([of_group * taps, groups, channels])?;
            return self.convolved(name, &reversed, &rows, Finish::NONE)?.reshape(input);
        }
        convolution.gradient(name).run(self, weight, Finish::NONE)?.reshape(input)
    }

    /// Returns the gradient of [`Tensor::conv2d`] with respect to its weight, which has the given shape. `self` is the
    /// gradient of the result. The gradient with respect to the bias is the sum of `self` over all axes except the
    /// channels. Equals `torch.nn.grad.conv2d_weight`.
    ///
    /// Cost: one kernel, and a sum of its parts in a fixed order. Apart from the result the operation allocates the parts:
    /// at most 64 MiB, or one part for each 131,072 windows if these are more.
    ///
    /// # Errors
    /// As [`Tensor::conv2d`].
    #[track_caller]
    pub fn conv2d_backward_weight(
        &self,
        input: &Self,
        weight: impl AsRef<[usize]>,
        options: Conv2d,
    ) -> Result<Self, TensorError> {
        let (name, weight) = ("conv2d_backward_weight", weight.as_ref());
        let convolution = Convolution::new(name, input.shape(), weight, options)?;
        check_kinds(name, ("gradient", self), ("input", input))?;
        let result = shape_like(input.shape(), convolution.output());
        self.check_shape((name, "gradient"), &result, ("input", input.shape()))?;
        let Convolution { planes, outputs, lines, windows, .. } = convolution;
        if [planes.batch, windows, outputs, lines].contains(&0) {
            return Self::zeros(&self.pool(), weight, self.dtype());
        }
        if let Some(result) = convolution.weight_gradient_by_outputs([self, input], options)? {
            return Ok(result);
        }
        if self.exceeds_a_block(input.shape()) || input.is_divided() {
            let blocks = convolution.blocks(name, options, weight);
            return blocks.weight_gradient(&self.as_batch()?, &input.as_batch()?)?.to(self.dtype());
        }
        convolution.weight_gradient(name, self, input)?.reshape(weight)
    }
}

/// The sizes of a convolution, derived from its operands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Convolution {
    pub(super) planes: Planes,
    pub(super) outputs: usize,
    pub(super) groups: usize,
    /// Elements of one output's weight, and of one window's column in its group.
    pub(super) lines: usize,
    pub(super) windows: usize,
    pub(super) out: [usize; 2],
    pub(super) window: KernelWindow,
}

impl Convolution {
    pub(super) fn new(
        name: &'static str,
        input: &[usize],
        weight: &[usize],
        options: Conv2d,
    ) -> Result<Self, TensorError> {
        let planes = Planes::of(name, input)?;
        let &[outputs, channels, rows, columns] = weight else {
            return Err(TensorError::dimensions(name, "weight", weight, "4"));
        };
        let groups = options.groups;
        if groups == 0 || !planes.channels.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(TensorError::Groups { operation: name, channels: planes.channels, outputs, groups });
        }
        let wanted = planes.channels / groups;
        if channels != wanted {
            let required = ShapeRequirement::Channels { channels, input: input.to_vec(), wanted, groups };
            return Err(TensorError::shape(name, "weight", weight, required));
        }
        let window = options.window([rows, columns]);
        let out = window.out(name, planes.size)?;
        // Of any dtype: no element has fewer bytes.
        let lines = arithmetic::size_of(&[channels, rows, columns], 1)?;
        arithmetic::size_of(&[outputs, channels, rows, columns], 1)?;
        arithmetic::size_of(&[planes.channels, rows, columns], 1)?;
        Ok(Self { planes, outputs, groups, lines, windows: arithmetic::size_of(&out, 1)?, out, window })
    }

    /// The convolution of images in several blocks, with a weight of this shape.
    fn blocks<'a>(&self, name: &'static str, options: Conv2d, weight: &'a [usize]) -> Blocks<'a> {
        let images = self.planes.shape(self.planes.size);
        Blocks { name, options, window: self.window, images, result: self.output(), weight }
    }

    pub(super) fn output(&self) -> [usize; 4] {
        [self.planes.batch, self.outputs, self.out[0], self.out[1]]
    }

    /// Whether `conv2d.wgsl` is chosen: on software drivers, where it is faster, within the limit of loop iterations.
    fn is_direct(&self, tensor: &Tensor) -> bool {
        self.lines > 0
            && with_gpu(tensor, crate::device::Gpu::is_software)
            && self.iterations() <= loop_limit()
            && !correlation_kernel::is_forced()
    }

    /// The convolution as sums over the image.
    fn correlation(&self, name: &'static str) -> Correlation {
        let Self { planes, outputs, groups, out, window, .. } = *self;
        Correlation {
            name,
            batch: planes.batch,
            groups,
            channels: planes.channels / groups,
            outputs: outputs / groups,
            size: planes.size,
            written: out,
            window,
            is_gradient: false,
        }
    }

    /// The input gradient as sums over the gradient of the result.
    fn gradient(&self, name: &'static str) -> Correlation {
        let Correlation { channels, outputs, size, written, .. } = self.correlation(name);
        Correlation {
            channels: outputs,
            outputs: channels,
            size: written,
            written: size,
            is_gradient: true,
            ..self.correlation(name)
        }
    }

    /// Loop iterations of an invocation of `conv2d.wgsl`.
    fn iterations(&self) -> u64 {
        let (channels, [rows, columns]) = (self.planes.channels / self.groups, self.window.kernel);
        let row = iterations(columns as u64, 0);
        let windows = iterations(channels as u64, iterations(rows as u64, row));
        let stores = iterations(4, 0) + iterations(BLOCK as u64, 0);
        windows.saturating_add(stores)
    }

    /// The convolution that makes the input gradient out of that of the result, if there is one.
    fn reversed(&self) -> Option<Self> {
        let Self { planes, outputs, groups, out, window, .. } = *self;
        if window.stride != [1, 1] {
            return None;
        }
        let padding =
            |axis: usize, side: usize| window.extent(axis)?.checked_sub(window.padding[axis][side].checked_add(1)?);
        let padding = [[padding(0, 0)?, padding(0, 1)?], [padding(1, 0)?, padding(1, 1)?]];
        let lines = arithmetic::size_of(&[outputs / groups, window.kernel[0], window.kernel[1]], 1).ok()?;
        Some(Self {
            planes: Planes { batch: planes.batch, channels: outputs, size: out },
            outputs: planes.channels,
            groups,
            lines,
            windows: arithmetic::size_of(&planes.size, 1).ok()?,
            out: planes.size,
            window: KernelWindow { padding, ..window },
        })
    }
}
