//! Convolutions, as products of matrices over unfolded images.

use super::super::launch::{WORKGROUP, check_kinds, index, iterations, loop_limit, with_gpu};
use super::super::shader::{AS_IT_IS, CONV2D, CONV2D_WEIGHT, FOLD, UNFOLD};
use super::{Convolved, Planes, Run, Window, windows_over};
use crate::device::Memory;
use crate::error::TensorError;
use crate::tensor::{Tensor, arithmetic};

/// Bytes that an unfolded part of a batch may have, if a shader can be bound to as much; at least one image is unfolded at a time.
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
    /// The patches under a window as columns: (n, c, h, w) gives (n, c · kernel places, windows), channels outermost. For every
    /// dtype. Equals `torch.nn.functional.unfold` without dilation.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`] unless it has four dimensions, [`TensorError::Window`] if the window doesn't fit,
    /// [`TensorError::Overflow`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn unfold(&self, window: Window) -> Result<Self, TensorError> {
        let name = "unfold";
        let planes = Planes::of(name, self.shape())?;
        let out = window.out(name, planes.size)?;
        let bytes = self.dtype().bytes();
        let lines = arithmetic::size_of(&[planes.channels, window.kernel[0], window.kernel[1]], bytes)?;
        let windows = arithmetic::size_of(&out, bytes)?;
        let columns = self.new_empty([planes.batch, lines, windows], self.dtype())?;
        let input = self.contiguous()?;
        let run = Run { name, shader: &UNFOLD, operation: AS_IT_IS, planes, out, window, scale: 1.0, input: &input };
        run.over(&[&columns, &input], columns.elements(), 0)?;
        Ok(columns)
    }

    /// Columns added up into an image of `size`, (height, width): the reverse of [`Tensor::unfold`], and its gradient. For every
    /// dtype. Equals `torch.nn.functional.fold` without dilation.
    ///
    /// # Errors
    /// [`TensorError::Shape`] unless the columns are those of such an image, [`TensorError::Window`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn fold(&self, size: [usize; 2], window: Window) -> Result<Self, TensorError> {
        let name = "fold";
        let out = window.out(name, size)?;
        let places = arithmetic::size_of(&window.kernel, self.dtype().bytes())?;
        let windows = arithmetic::size_of(&out, self.dtype().bytes())?;
        let &[batch, lines, count] = self.shape() else {
            let (left, right) = (self.shape().to_vec(), vec![0, places, windows]);
            return Err(TensorError::Shape { operation: name, left, right });
        };
        if lines % places != 0 || count != windows {
            let wanted = lines.checked_next_multiple_of(places).unwrap_or(places);
            let (left, right) = (self.shape().to_vec(), vec![batch, wanted, windows]);
            return Err(TensorError::Shape { operation: name, left, right });
        }
        let planes = Planes { batch, channels: lines / places, size };
        let input = self.contiguous()?;
        let run = Run { name, shader: &FOLD, operation: AS_IT_IS, planes, out, window, scale: 1.0, input: &input };
        run.sums(planes.shape(size), &[&input], windows_over(window, out), 0)
    }

    /// The convolution (cross-correlation) with `weight`: (n, c, h, w) by (o, c, kernel) gives (n, o, windows), plus a bias of
    /// shape (o). The window's kernel must be the weight's. For every dtype; sums are in that dtype, of f16 in f32, channel by channel. Equals
    /// `torch.nn.functional.conv2d` without dilation and groups.
    ///
    /// Cost: one kernel over the images, which takes no memory besides the result and a copy of the weight. Where both sides are
    /// large, on a real GPU from 16 outputs of 128 elements of an image each, they are unfolded and multiplied instead, a part of
    /// the batch at a time, which is faster and takes up to 64 MiB; from 64 outputs of 256 elements on, what one unfolded image
    /// takes, if that is more.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`], [`TensorError::Shape`], [`TensorError::Window`], [`TensorError::DType`], [`TensorError::Pools`];
    /// as [`Tensor::empty`].
    #[track_caller]
    pub fn conv2d(&self, weight: &Self, bias: Option<&Self>, window: Window) -> Result<Self, TensorError> {
        let name = "conv2d";
        let convolution = Convolution::new(name, self.shape(), weight.shape(), window)?;
        check_kinds(name, self, weight)?;
        let Convolution { planes, outputs, lines, windows, .. } = convolution;
        if let Some(bias) = bias {
            check_kinds(name, self, bias)?;
            bias.check_shape(name, &[outputs])?;
        }
        if !convolution.is_multiplied(self, window) {
            let rows = weight.contiguous()?.reshape([outputs, lines])?.t()?;
            return self.convolved(name, &convolution, window, &rows, bias);
        }
        let matrix = weight.contiguous()?.reshape([outputs, lines])?;
        let output = self.new_empty([planes.batch, outputs, windows], self.dtype())?;
        let is_half = self.dtype() != self.dtype().number();
        for (start, length) in convolution.parts(self) {
            let columns = self.narrow(0, start, length)?.unfold(window)?;
            // A bias that is added afterwards would round f16 twice: the product's own bias is one of columns, so both are transposed.
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
        output.reshape(convolution.output())
    }

    /// The convolution without unfolding; the weights' rows are (channels and places, outputs).
    #[track_caller]
    fn convolved(
        &self,
        name: &'static str,
        convolution: &Convolution,
        window: Window,
        rows: &Self,
        bias: Option<&Self>,
    ) -> Result<Self, TensorError> {
        let Convolution { planes, outputs, lines, out, .. } = *convolution;
        if lines == 0 {
            // No channels: nothing is there to be bound, and a sum of nothing is 0.
            let output = Self::zeros(&self.pool(), convolution.output(), self.dtype())?;
            if let Some(bias) = bias {
                output.copy_(&bias.reshape([outputs, 1, 1])?)?;
            }
            return Ok(output);
        }
        let weights = self.new_empty([lines + 1, outputs.next_multiple_of(BLOCK)], self.dtype())?;
        let taken = weights.narrow(1, 0, outputs)?;
        match bias {
            Some(bias) => taken.narrow(0, lines, 1)?.copy_(bias)?,
            None => weights.storage().clear()?,
        }
        taken.narrow(0, 0, lines)?.copy_(rows)?;
        let output = self.new_empty(convolution.output(), self.dtype())?;
        let image = self.contiguous()?;
        let run = Run { name, shader: &CONV2D, operation: AS_IT_IS, planes, out, window, scale: 1.0, input: &image };
        let span = out[1].div_ceil(FOUR);
        // The last four of a row may reach beyond the last window: three more windows, and those of the four itself.
        let beyond =
            arithmetic::product(&[span + 1, FOUR, window.stride[1]]).and_then(|far| far.checked_add(window.kernel[1]));
        index(name, if out[1] == 1 { 0 } else { beyond.unwrap_or(usize::MAX) })?;
        let count = arithmetic::elements(&[planes.batch, outputs.div_ceil(BLOCK), out[0], span]);
        let workgroups = count.div_ceil(WORKGROUP as usize);
        let loops = Convolution::iterations(planes.channels, window.kernel);
        run.convolving(
            &[&output, &image, &weights],
            Convolved { outputs, span, ..Convolved::default() },
            count,
            workgroups,
            loops,
        )?;
        Ok(output)
    }

    /// The gradient of [`Tensor::conv2d`] by its input, of this shape; `self` is the gradient of the result. Equals
    /// `torch.nn.grad.conv2d_input`.
    ///
    /// Cost: as [`Tensor::conv2d`] of the gradient with the weight turned about, where the window moves by one place and is
    /// padded by less than its size; otherwise columns are multiplied and folded, up to 64 MiB of them at a time, or one image's.
    ///
    /// # Errors
    /// As [`Tensor::conv2d`].
    #[track_caller]
    pub fn conv2d_input(&self, input: [usize; 4], weight: &Self, window: Window) -> Result<Self, TensorError> {
        let name = "conv2d_input";
        let convolution = Convolution::new(name, &input, weight.shape(), window)?;
        check_kinds(name, self, weight)?;
        self.check_shape(name, &convolution.output())?;
        let Convolution { planes, outputs, lines, windows, .. } = convolution;
        if let Some((turned, back)) =
            convolution.turned(window).filter(|(turned, back)| !turned.is_multiplied(self, *back))
        {
            // The same places in reverse order, outputs and channels exchanged.
            let places = arithmetic::elements(&window.kernel);
            let reversed = Self::arange(&self.pool(), places, index(name, places - 1)?, u32::MAX)?;
            let weight = weight.contiguous()?.reshape([outputs, planes.channels, places])?;
            let rows = weight.index_select(2, &reversed)?.permute([0, 2, 1])?.contiguous()?;
            let rows = rows.reshape([outputs * places, planes.channels])?;
            return self.convolved(name, &turned, back, &rows, None);
        }
        let number = self.dtype().number();
        if number != self.dtype() {
            // Columns are added up after the product, and aren't rounded in between.
            return self.to(number)?.conv2d_input(input, &weight.to(number)?, window)?.to(self.dtype());
        }
        let turned = weight.contiguous()?.reshape([outputs, lines])?.t()?;
        let gradient = self.contiguous()?.reshape([planes.batch, outputs, windows])?;
        let result = self.new_empty(input, self.dtype())?;
        if result.elements() == 0 {
            // The batch of an expanded gradient may have no end.
            return Ok(result);
        }
        for (start, length) in convolution.parts(self) {
            let columns = turned.matmul(&gradient.narrow(0, start, length)?)?;
            result.narrow(0, start, length)?.copy_(&columns.fold(planes.size, window)?)?;
        }
        Ok(result)
    }

    /// The gradient of [`Tensor::conv2d`] by its weight, of this shape; `self` is the gradient of the result. That by the bias is the
    /// sum over all axes but the channels'. Equals `torch.nn.grad.conv2d_weight`.
    ///
    /// Cost: one kernel, and a sum of its parts; on a real GPU, where [`Tensor::conv2d`] multiplies, products with one unfolded
    /// image after the other.
    ///
    /// # Errors
    /// As [`Tensor::conv2d`].
    #[track_caller]
    pub fn conv2d_weight(&self, input: &Self, weight: [usize; 4], window: Window) -> Result<Self, TensorError> {
        let name = "conv2d_weight";
        let convolution = Convolution::new(name, input.shape(), &weight, window)?;
        check_kinds(name, self, input)?;
        self.check_shape(name, &convolution.output())?;
        let Convolution { planes, outputs, lines, windows, out } = convolution;
        let all = arithmetic::size_of(&[planes.batch, windows], self.dtype().bytes())?;
        let blocks = arithmetic::size_of(&[lines.div_ceil(FOUR), outputs.div_ceil(BLOCK)], self.dtype().bytes())?;
        if all == 0 || blocks == 0 {
            return Self::zeros(&self.pool(), weight, self.dtype());
        }
        if convolution.exceeds_many(self) {
            return self.conv2d_weight_multiplied(input, &convolution, window)?.reshape(weight);
        }
        let span = (all.saturating_mul(blocks) / PARTS).clamp(LEAST_SPAN, MOST_SPAN);
        let parts = all.div_ceil(span);
        // The parts of a sum of f16 aren't rounded.
        let sums = self.new_empty([parts, outputs, lines], self.dtype().number())?;
        let gradient = self.whole()?;
        let input = input.contiguous()?.in_other_storage_than(&gradient)?;
        let run =
            Run { name, shader: &CONV2D_WEIGHT, operation: AS_IT_IS, planes, out, window, scale: 1.0, input: &input };
        let workgroups = arithmetic::size_of(&[blocks, parts], self.dtype().bytes())?;
        let loops = iterations((span / 64) as u64 + 1, iterations(4, 0) + iterations(BLOCK as u64, 0)) + 55;
        run.convolving(
            &[&sums, &input, &gradient],
            Convolved { outputs, span, ..Convolved::default() },
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
    fn conv2d_weight_multiplied(
        &self,
        input: &Self,
        convolution: &Convolution,
        window: Window,
    ) -> Result<Self, TensorError> {
        let Convolution { planes, outputs, lines, windows, .. } = *convolution;
        // Sums of one image each are not rounded before they are added up.
        let number = self.dtype().number();
        let gradient = self.to(number)?.contiguous()?.reshape([planes.batch, outputs, windows])?;
        let images = input.to(number)?;
        let sums = self.new_empty([planes.batch, outputs, lines], number)?;
        // One image at a time, and its windows in chunks, each a product: there are few outputs and lines, and many windows.
        let chunks = convolution.chunks();
        let chunk = windows / chunks;
        for image in 0..planes.batch {
            let columns =
                images.narrow(0, image, 1)?.unfold(window)?.reshape([lines, chunks, chunk])?.permute([1, 2, 0])?;
            let slopes = gradient.narrow(0, image, 1)?.reshape([outputs, chunks, chunk])?.permute([1, 0, 2])?;
            let product = slopes.matmul(&columns)?.sum(0)?;
            sums.narrow(0, image, 1)?.copy_(&product.reshape([1, outputs, lines])?)?;
        }
        sums.sum(0)?.to(self.dtype())
    }
}

/// What a convolution's operands come to.
#[derive(Clone, Copy, Debug)]
struct Convolution {
    planes: Planes,
    outputs: usize,
    /// Elements of one output's weight, and of one window's column.
    lines: usize,
    windows: usize,
    out: [usize; 2],
}

impl Convolution {
    fn new(name: &'static str, input: &[usize], weight: &[usize], window: Window) -> Result<Self, TensorError> {
        let planes = Planes::of(name, input)?;
        let [rows, columns] = window.kernel;
        let &[outputs, channels, height, width] = weight else {
            return Err(TensorError::Dimensions { operation: name, wanted: "4", shape: weight.to_vec() });
        };
        if channels != planes.channels || [height, width] != window.kernel {
            let right = vec![outputs, planes.channels, rows, columns];
            return Err(TensorError::Shape { operation: name, left: weight.to_vec(), right });
        }
        let out = window.out(name, planes.size)?;
        // Of any dtype: no element has fewer bytes.
        let lines = arithmetic::size_of(&[channels, rows, columns], 1)?;
        arithmetic::size_of(&[outputs, channels, rows, columns], 1)?;
        Ok(Self { planes, outputs, lines, windows: arithmetic::size_of(&out, 1)?, out })
    }

    fn output(&self) -> [usize; 4] {
        [self.planes.batch, self.outputs, self.out[0], self.out[1]]
    }

    /// Whether a product of unfolded images is faster than the kernel that takes them as they are, or the only way within the
    /// limit of loop iterations.
    fn is_multiplied(&self, tensor: &Tensor, window: Window) -> bool {
        self.exceeds_many(tensor) || Self::iterations(self.planes.channels, window.kernel) > loop_limit()
    }

    /// Loop iterations of an invocation of `conv2d.wgsl`.
    fn iterations(channels: usize, [rows, columns]: [usize; 2]) -> u64 {
        let row = iterations(columns as u64, iterations(FOUR as u64, 0));
        let windows = iterations(channels as u64, iterations(rows as u64, row));
        windows + iterations(4, 0) + iterations(BLOCK as u64, iterations(FOUR as u64, 0))
    }

    /// Whether both sides are large, on a real GPU: software gains nothing by a product.
    fn exceeds_many(&self, tensor: &Tensor) -> bool {
        let reaches = |[outputs, lines]: [usize; 2]| self.outputs >= outputs && self.lines >= lines;
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

    /// The convolution that makes the gradient by the input out of that of the result, if there is one, and its window.
    fn turned(&self, window: Window) -> Option<(Self, Window)> {
        let Self { planes, outputs, out, .. } = *self;
        let padding = |axis: usize| window.kernel[axis].checked_sub(1 + window.padding[axis]);
        if window.stride != [1, 1] {
            return None;
        }
        let back = Window { padding: [padding(0)?, padding(1)?], ..window };
        let lines = arithmetic::size_of(&[outputs, window.kernel[0], window.kernel[1]], 1).ok()?;
        let turned = Self {
            planes: Planes { batch: planes.batch, channels: outputs, size: out },
            outputs: planes.channels,
            lines,
            windows: arithmetic::size_of(&planes.size, 1).ok()?,
            out: planes.size,
        };
        Some((turned, back))
    }

    /// Parts of the batch that are unfolded together: the first image and how many.
    fn parts(&self, tensor: &Tensor) -> impl Iterator<Item = (usize, usize)> + use<> {
        let most = with_gpu(tensor, |gpu| gpu.limits().largest_binding.min(MOST_COLUMNS)) / tensor.dtype().bytes();
        let one = self.lines.saturating_mul(self.windows).max(1);
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
        let window = Window { kernel: [3, 2], stride: [2, 1], padding: [1, 1] };
        let (image, weight) = ([3, 5, 63, 47], [7, 5, 3, 2]);
        let convolution = Convolution::new("conv2d_weight", &image, &weight, window)?;
        let images = Tensor::randn(&pool, image, 1)?;
        let gradient = Tensor::randn(&pool, convolution.output(), 2)?;
        let products = gradient.conv2d_weight_multiplied(&images, &convolution, window)?.read_blocking::<f32>()?;
        let kernel = gradient.conv2d_weight(&images, weight, window)?.read_blocking::<f32>()?;
        for (product, kernel) in products.iter().zip(&kernel) {
            assert!((product - kernel).abs() < 1e-4, "{product} {kernel}");
        }
        assert_eq!(products.len(), kernel.len());
        Ok(())
    }
}
