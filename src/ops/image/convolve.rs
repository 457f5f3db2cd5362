//! Convolutions, as products of matrices over unfolded images.

use super::super::launch::{check_kinds, index, iterations, loop_limit, with_gpu, workgroup_size};
use super::super::shader::{CONV2D, CONV2D_WEIGHT};
use super::{Conv2d, Convolved, KernelWindow, Planes, Run, shape_like};
use crate::device::Memory;
use crate::error::TensorError;
use crate::tensor::{Tensor, arithmetic};

/// Bytes that an unfolded part of a batch may have, if a shader can be bound to as much; at least one image is unfolded
/// at a time.
const MOST_COLUMNS: u64 = 64 << 20;

/// Outputs that a convolution's kernels make at once, and windows or lines.
const BLOCK: usize = 8;
const FOUR: usize = 4;
/// Windows of a part of `conv2d_weight.wgsl`: at least some for each of a workgroup's invocations, at most what keeps its loops
/// within the limit of iterations; and the parts that a large device needs.
const LEAST_SPAN: usize = 1024;
const MOST_SPAN: usize = 1 << 18;
const PARTS: usize = 2048;
/// From this many outputs, and elements of an image for each, products are faster. On an H100, with 16 images of 128 by 128 and
/// kernels of 3 by 3, they take 0.81 of the time with 16 channels and 1.4 with 8; for the gradient by the weight 0.23 with 32
/// channels, and as long with 32 as the kernel does with 16.
const MANY: [usize; 2] = [16, 128];
/// From this many on it is worth more than [`MOST_COLUMNS`] for an image.
const WORTH_MEMORY: [usize; 2] = [64, 256];
/// Workgroups that a product along all windows is split into, and the least windows of each.
const MOST_CHUNKS: usize = 512;
const LEAST_CHUNK: usize = 256;

impl Tensor {
    /// Convolves (cross-correlates) images with `weight`: (n, c, h, w), or (c, h, w) without a batch axis, and a weight
    /// of shape (o, c / groups, kernel) give (n, o, rows, columns), plus a bias of shape (o). For every dtype; sums are
    /// computed in that dtype, for f16 in f32, channel by channel. Equals `torch.nn.functional.conv2d`.
    ///
    /// Cost: one kernel over the images, which needs memory only for the result and a copy of the weight. On a GPU,
    /// from 16 outputs of a group and 128 elements of an image for each on, the images are unfolded and multiplied
    /// instead, a part of the batch at a time. This is faster and needs up to 64 MiB, or, from 64 outputs and 256
    /// elements on, the columns of one image if that is more. Groups are then multiplied one after the other.
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
        let name = "conv2d";
        let convolution = Convolution::new(name, self.shape(), weight.shape(), options)?;
        check_kinds(name, self, weight)?;
        let Convolution { planes, outputs, groups, lines, windows, window, .. } = convolution;
        if let Some(bias) = bias {
            check_kinds(name, self, bias)?;
            bias.check_shape(name, &[outputs])?;
        }
        let shape = shape_like(self.shape(), convolution.output());
        if !convolution.is_multiplied(self) {
            let rows = weight.contiguous()?.reshape([groups, outputs / groups, lines])?.permute([2, 0, 1])?;
            return self.convolved(name, &convolution, &rows, bias)?.reshape(&shape);
        }
        let images = self.batched()?;
        if groups > 1 {
            let output = self.new_empty(convolution.output(), self.dtype())?;
            for group in 0..groups {
                let (from, of_image, of_weight) = convolution.group(group, &images, weight)?;
                let bias = bias.map(|bias| bias.narrow(0, from, outputs / groups)).transpose()?;
                let options = Conv2d { groups: 1, ..options };
                let part = of_image.conv2d(&of_weight, bias.as_ref(), options)?;
                output.narrow(1, from, outputs / groups)?.copy_(&part)?;
            }
            return output.reshape(&shape);
        }
        let matrix = weight.contiguous()?.reshape([outputs, lines])?;
        let output = self.new_empty([planes.batch, outputs, windows], self.dtype())?;
        let is_half = self.dtype() != self.dtype().number();
        for (start, length) in convolution.parts(self) {
            let columns = images.narrow(0, start, length)?.unfolded("unfold", window)?;
            // A bias that is added afterwards would round f16 twice: the product's own bias is one of columns, so both
            // are transposed.
            let product = match bias {
                Some(bias) if is_half => {
                    columns.permute([0, 2, 1])?.matmul_then(&matrix.t()?, Some(bias), None)?.permute([0, 2, 1])?
                }
                _ => matrix.matmul(&columns)?,
            };
            output.narrow(0, start, length)?.copy_(&product)?;
        }
        let output = match bias.filter(|_| !is_half) {
            Some(bias) => output.add(&bias.reshape([outputs, 1])?)?,
            None => output,
        };
        output.reshape(&shape)
    }

    /// The images with a batch axis.
    fn batched(&self) -> Result<Self, TensorError> {
        if self.rank() == 3 { self.unsqueeze(0) } else { Ok(self.clone()) }
    }

    /// The convolution without unfolding; the weights' rows are (channels and taps of a group, groups, outputs of a group).
    #[track_caller]
    fn convolved(
        &self,
        name: &'static str,
        convolution: &Convolution,
        rows: &Self,
        bias: Option<&Self>,
    ) -> Result<Self, TensorError> {
        let Convolution { planes, outputs, groups, lines, out, window, .. } = *convolution;
        if lines == 0 {
            // Without channels there is no element to bind, and the sum of no elements is 0.
            let output = Self::zeros(&self.pool(), convolution.output(), self.dtype())?;
            if let Some(bias) = bias {
                output.copy_(&bias.reshape([outputs, 1, 1])?)?;
            }
            return Ok(output);
        }
        let of_group = outputs / groups;
        let weights = self.new_empty([lines + 1, groups, of_group.next_multiple_of(BLOCK)], self.dtype())?;
        let taken = weights.narrow(2, 0, of_group)?;
        match bias {
            Some(bias) => taken.narrow(0, lines, 1)?.copy_(&bias.reshape([groups, of_group])?)?,
            None => weights.storage().clear()?,
        }
        taken.narrow(0, 0, lines)?.copy_(rows)?;
        let output = self.new_empty(convolution.output(), self.dtype())?;
        let image = self.contiguous()?;
        let run = Run { planes, out, window, ..Run::new(name, &CONV2D, &image) };
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
    /// gradient of the result. Equals `torch.nn.grad.conv2d_input`.
    ///
    /// Cost: as [`Tensor::conv2d`] of the gradient with the reversed kernel, if the stride is 1 and the padding is
    /// below the kernel's extent. Otherwise columns are multiplied and folded, up to 64 MiB or one image at a time.
    ///
    /// # Errors
    /// As [`Tensor::conv2d`].
    #[track_caller]
    pub fn conv2d_input(
        &self,
        input: impl AsRef<[usize]>,
        weight: &Self,
        options: Conv2d,
    ) -> Result<Self, TensorError> {
        let (name, input) = ("conv2d_input", input.as_ref());
        let convolution = Convolution::new(name, input, weight.shape(), options)?;
        check_kinds(name, self, weight)?;
        self.check_shape(name, &shape_like(input, convolution.output()))?;
        let Convolution { planes, outputs, groups, lines, windows, window, .. } = convolution;
        if let Some(reversed) = convolution.reversed().filter(|reversed| !reversed.is_multiplied(self)) {
            // The same taps in reverse order, outputs and channels exchanged.
            let taps = arithmetic::elements(&window.kernel);
            let (of_group, channels) = (outputs / groups, planes.channels / groups);
            let order = Self::arange(&self.pool(), taps, index(name, taps - 1)?, u32::MAX)?;
            let weight = weight.contiguous()?.reshape([outputs, channels, taps])?.index_select(2, &order)?;
            let rows = weight.reshape([groups, of_group, channels, taps])?.permute([1, 3, 0, 2])?.contiguous()?;
            let rows = rows.reshape([of_group * taps, groups, channels])?;
            return self.convolved(name, &reversed, &rows, None)?.reshape(input);
        }
        let number = self.dtype().number();
        if number != self.dtype() {
            // Columns are added after the product, and are not rounded before.
            return self.to(number)?.conv2d_input(input, &weight.to(number)?, options)?.to(self.dtype());
        }
        let of_group = outputs / groups;
        let matrices = weight.contiguous()?.reshape([groups, of_group, lines])?.transpose(1, 2)?;
        let gradient = self.contiguous()?.reshape([planes.batch, groups, of_group, windows])?;
        let result = self.new_empty(planes.shape(planes.size), self.dtype())?;
        if result.elements() == 0 {
            // The batch of an expanded gradient can be arbitrarily large.
            return result.reshape(input);
        }
        for (start, length) in convolution.parts(self) {
            let columns = matrices.matmul(&gradient.narrow(0, start, length)?)?;
            let columns = columns.reshape([length, groups * lines, windows])?;
            result.narrow(0, start, length)?.copy_(&columns.folded("fold", planes.size, window)?)?;
        }
        result.reshape(input)
    }

    /// Returns the gradient of [`Tensor::conv2d`] with respect to its weight, which has the given shape. `self` is the
    /// gradient of the result. The gradient with respect to the bias is the sum of `self` over all axes except the
    /// channels. Equals `torch.nn.grad.conv2d_weight`.
    ///
    /// Cost: one kernel, and a sum of its parts. On a GPU, where [`Tensor::conv2d`] multiplies, products with one
    /// unfolded image after the other.
    ///
    /// # Errors
    /// As [`Tensor::conv2d`].
    #[track_caller]
    pub fn conv2d_weight(
        &self,
        input: &Self,
        weight: impl AsRef<[usize]>,
        options: Conv2d,
    ) -> Result<Self, TensorError> {
        let (name, weight) = ("conv2d_weight", weight.as_ref());
        let convolution = Convolution::new(name, input.shape(), weight, options)?;
        check_kinds(name, self, input)?;
        self.check_shape(name, &shape_like(input.shape(), convolution.output()))?;
        let Convolution { planes, outputs, groups, lines, windows, out, window } = convolution;
        let of_group = outputs / groups;
        let all = arithmetic::size_of(&[planes.batch, windows], self.dtype().bytes())?;
        let blocks = [lines.div_ceil(FOUR), groups, of_group.div_ceil(BLOCK)];
        let blocks = arithmetic::size_of(&blocks, self.dtype().bytes())?;
        if all == 0 || blocks == 0 {
            return Self::zeros(&self.pool(), weight, self.dtype());
        }
        if convolution.exceeds_many(self) {
            if groups == 1 {
                let product = self.batched()?.conv2d_weight_multiplied(&input.batched()?, &convolution)?;
                return product.reshape(weight);
            }
            let result = self.new_empty(weight, self.dtype())?;
            let (gradient, images) = (self.batched()?, input.batched()?);
            for group in 0..groups {
                let (from, of_image, part) = convolution.group(group, &images, &result)?;
                let options = Conv2d { groups: 1, ..options };
                let gradient = gradient.narrow(1, from, of_group)?;
                part.copy_(&gradient.conv2d_weight(&of_image, part.shape(), options)?)?;
            }
            return Ok(result);
        }
        let span = (all.saturating_mul(blocks) / PARTS).clamp(LEAST_SPAN, MOST_SPAN);
        let parts = all.div_ceil(span);
        // The parts of a sum of f16 are not rounded.
        let sums = self.new_empty([parts, outputs, lines], self.dtype().number())?;
        let gradient = self.whole()?;
        let input = input.contiguous()?.in_other_storage_than(&gradient)?;
        let run = Run { planes, out, window, ..Run::new(name, &CONV2D_WEIGHT, &input) };
        let workgroups = arithmetic::size_of(&[blocks, parts], self.dtype().bytes())?;
        let loops = iterations((span / 64) as u64 + 1, iterations(4, 0) + iterations(BLOCK as u64, 0)) + 55;
        run.convolving(
            &[&sums, &input, &gradient],
            Convolved { outputs, span, groups, ..Convolved::default() },
            all,
            workgroups,
            loops,
        )?;
        sums.sum(0)?.to(self.dtype())?.reshape(weight)
    }
}

impl Tensor {
    /// The gradient by the weight, (outputs, lines), by products with unfolded images, one at a time.
    #[track_caller]
    fn conv2d_weight_multiplied(&self, input: &Self, convolution: &Convolution) -> Result<Self, TensorError> {
        let Convolution { planes, outputs, lines, windows, window, .. } = *convolution;
        // Sums of one image each are not rounded before they are added up.
        let number = self.dtype().number();
        let gradient = self.to(number)?.contiguous()?.reshape([planes.batch, outputs, windows])?;
        let images = input.to(number)?;
        let sums = self.new_empty([planes.batch, outputs, lines], number)?;
        // One image at a time, and its windows in chunks, each a product: there are few outputs and lines, and many windows.
        let chunks = convolution.chunks();
        let chunk = windows / chunks;
        for image in 0..planes.batch {
            let columns = images.narrow(0, image, 1)?.unfolded("unfold", window)?;
            let columns = columns.reshape([lines, chunks, chunk])?.permute([1, 2, 0])?;
            let slopes = gradient.narrow(0, image, 1)?.reshape([outputs, chunks, chunk])?.permute([1, 0, 2])?;
            let product = slopes.matmul(&columns)?.sum(0)?;
            sums.narrow(0, image, 1)?.copy_(&product.reshape([1, outputs, lines])?)?;
        }
        sums.sum(0)?.to(self.dtype())
    }
}

/// The sizes of a convolution, derived from its operands.
#[derive(Clone, Copy, Debug)]
struct Convolution {
    planes: Planes,
    outputs: usize,
    groups: usize,
    /// Elements of one output's weight, and of one window's column in its group.
    lines: usize,
    windows: usize,
    out: [usize; 2],
    window: KernelWindow,
}

impl Convolution {
    fn new(name: &'static str, input: &[usize], weight: &[usize], options: Conv2d) -> Result<Self, TensorError> {
        let planes = Planes::of(name, input)?;
        let &[outputs, channels, rows, columns] = weight else {
            return Err(TensorError::Dimensions { operation: name, wanted: "4", shape: weight.to_vec() });
        };
        let groups = options.groups;
        if groups == 0 || !planes.channels.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(TensorError::Groups { operation: name, channels: planes.channels, outputs, groups });
        }
        if channels != planes.channels / groups {
            let right = vec![outputs, planes.channels / groups, rows, columns];
            return Err(TensorError::Shape { operation: name, left: weight.to_vec(), right });
        }
        let window = options.window([rows, columns]);
        let out = window.out(name, planes.size)?;
        // Of any dtype: no element has fewer bytes.
        let lines = arithmetic::size_of(&[channels, rows, columns], 1)?;
        arithmetic::size_of(&[outputs, channels, rows, columns], 1)?;
        arithmetic::size_of(&[planes.channels, rows, columns], 1)?;
        Ok(Self { planes, outputs, groups, lines, windows: arithmetic::size_of(&out, 1)?, out, window })
    }

    fn output(&self) -> [usize; 4] {
        [self.planes.batch, self.outputs, self.out[0], self.out[1]]
    }

    /// The first output of a group, its channels of the images, and its part of the weight.
    fn group(&self, group: usize, images: &Tensor, weight: &Tensor) -> Result<(usize, Tensor, Tensor), TensorError> {
        let (outputs, channels) = (self.outputs / self.groups, self.planes.channels / self.groups);
        let from = group * outputs;
        Ok((from, images.narrow(1, group * channels, channels)?, weight.narrow(0, from, outputs)?))
    }

    /// Whether a product of unfolded images is faster than the kernel that takes them as they are, or the only way within the
    /// limit of loop iterations.
    fn is_multiplied(&self, tensor: &Tensor) -> bool {
        self.exceeds_many(tensor) || self.iterations() > loop_limit()
    }

    /// Loop iterations of an invocation of `conv2d.wgsl`.
    fn iterations(&self) -> u64 {
        let (channels, [rows, columns]) = (self.planes.channels / self.groups, self.window.kernel);
        let row = iterations(columns as u64, iterations(FOUR as u64, 0));
        let windows = iterations(channels as u64, iterations(rows as u64, row));
        windows + iterations(4, 0) + iterations(BLOCK as u64, iterations(FOUR as u64, 0))
    }

    /// Returns whether both sides are large and the device is a GPU: on software drivers a product is not faster.
    fn exceeds_many(&self, tensor: &Tensor) -> bool {
        let of_group = self.outputs / self.groups;
        let reaches = |[outputs, lines]: [usize; 2]| of_group >= outputs && self.lines >= lines;
        let columns = (self.lines as u64).saturating_mul(self.windows as u64).saturating_mul(tensor.dtype().bytes());
        let is_affordable = columns <= MOST_COLUMNS || reaches(WORTH_MEMORY);
        reaches(MANY) && is_affordable && !with_gpu(tensor, crate::device::Gpu::is_software)
    }

    /// Equal chunks of the windows that a large device has work for.
    fn chunks(&self) -> usize {
        let tiles = self.outputs.div_ceil(64) * self.lines.div_ceil(64);
        let mut chunks = 1;
        while chunks * tiles < MOST_CHUNKS
            && self.windows.is_multiple_of(8 * chunks)
            && self.windows / chunks > LEAST_CHUNK
        {
            chunks *= 2;
        }
        chunks
    }

    /// The convolution that makes the gradient by the input out of that of the result, if there is one.
    fn reversed(&self) -> Option<Self> {
        let Self { planes, outputs, groups, out, window, .. } = *self;
        if window.stride != [1, 1] {
            return None;
        }
        let padding = |axis: usize, side: usize| window.extent(axis)?.checked_sub(1 + window.padding[axis][side]);
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

    /// Parts of the batch that are unfolded together: the first image and how many.
    fn parts(&self, tensor: &Tensor) -> impl Iterator<Item = (usize, usize)> + use<> {
        let most = with_gpu(tensor, |gpu| gpu.limits().largest_binding.min(MOST_COLUMNS)) / tensor.dtype().bytes();
        let one = self.lines.saturating_mul(self.groups).saturating_mul(self.windows).max(1);
        let length = (usize::try_from(most).unwrap_or(usize::MAX) / one).max(1);
        let batch = self.planes.batch;
        (0..batch).step_by(length).map(move |start| (start, length.min(batch - start)))
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::pool::{Pool, PoolOptions};

    /// Software takes the kernel for every size, and real GPUs products for large ones.
    #[test]
    fn both_ways_to_the_gradient_by_the_weight_give_the_same() -> Result<(), TensorError> {
        let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
        let options = Conv2d { stride: [2, 1], padding: 1.into(), ..Conv2d::default() };
        let (image, weight) = ([3, 5, 63, 47], [7, 5, 3, 2]);
        let convolution = Convolution::new("conv2d_weight", &image, &weight, options)?;
        let images = Tensor::randn(&pool, image, 1)?;
        let gradient = Tensor::randn(&pool, convolution.output(), 2)?;
        let products = gradient.conv2d_weight_multiplied(&images, &convolution)?.read_blocking::<f32>()?;
        let kernel = gradient.conv2d_weight(&images, weight, options)?.read_blocking::<f32>()?;
        for (product, kernel) in products.iter().zip(&kernel) {
            assert!((product - kernel).abs() < 1e-4, "{product} {kernel}");
        }
        assert_eq!(products.len(), kernel.len());
        Ok(())
    }
}
