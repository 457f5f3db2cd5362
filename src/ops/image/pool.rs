//! Pooling: one number for each position of a kernel window.

use super::super::launch::{check_floating_point, check_pools, index};
use super::super::shader::{AVERAGE_POOL, AVERAGE_POOL_BACK, MAX_POOL, MAX_POOL_BACK};
use super::bands::{Band, ByPlane, back, under};
use super::{AvgPool2d, KernelWindow, MaxPool2d, Planes, Run, receiver, shape_like};
use crate::error::{TensorError, WindowFault};
use crate::tensor::{DType, Tensor, arithmetic};
use std::ops::Range;

impl Tensor {
    /// Returns the largest element in the window at each position. (n, c, h, w), or (c, h, w) without a batch axis, gives
    /// (n, c, rows, columns). NaN counts as the largest. For f32 and f16. Equals `torch.nn.functional.max_pool2d`.
    ///
    /// Cost: that of [`Tensor::max_pool2d_with_indices`], whose indices are computed in temporary memory.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`] unless there are three or four dimensions, [`TensorError::KernelWindow`] if the
    /// window does not fit or could be completely outside the image, [`TensorError::NotDefined`] for integers; as
    /// [`Tensor::empty`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use wgpu_pool::{DType, MaxPool2d, Pool, PoolOptions, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let images = Tensor::zeros(&pool, [8, 3, 32, 48], DType::F32)?;
    /// let halves = images.max_pool2d(MaxPool2d::new(2))?;
    /// assert_eq!(halves.shape(), [8, 3, 16, 24]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn max_pool2d(&self, options: MaxPool2d) -> Result<Self, TensorError> {
        let (largest, _) = self.max_pooled("max_pool2d", options)?;
        Ok(largest)
    }

    /// Returns the results of [`Tensor::max_pool2d`], and the index of each in its plane, as u32, for
    /// [`Tensor::max_pool2d_backward`]. Both have shape (n, c, rows, columns). The index is that of the first of several equal
    /// elements, and of the last NaN of several. Equals `torch.nn.functional.max_pool2d(return_indices=True)` and
    /// `aten::max_pool2d_with_indices`, whose indices are int64.
    ///
    /// # Errors
    /// As [`Tensor::max_pool2d`].
    #[track_caller]
    pub fn max_pool2d_with_indices(&self, options: MaxPool2d) -> Result<(Self, Self), TensorError> {
        self.max_pooled("max_pool2d_with_indices", options)
    }

    #[track_caller]
    fn max_pooled(&self, name: &'static str, options: MaxPool2d) -> Result<(Self, Self), TensorError> {
        let (planes, window, out) = self.max_window(name, self.shape(), options)?;
        let shape = shape_like(self.shape(), planes.shape(out));
        let largest = self.new_empty(&shape, self.dtype())?;
        let places = self.new_empty(&shape, DType::U32)?;
        if self.exceeds_a_block(&shape) {
            let needed = |windows: &Range<usize>| under(&window, planes.size[0], windows);
            let whole = Band { rows: 0..planes.size[0], padding: window.padding[0] };
            let (axes, outputs) = (self.rank() - 2, [&largest, &places]);
            let by_plane = ByPlane { name, axes, outputs: &outputs, inputs: &[self], needed: &needed, whole };
            for piece in by_plane.pieces()? {
                let [largest, places] = &piece.outputs[..] else { continue };
                let before = index(name, piece.band.rows.start * planes.size[1])?;
                piece.input(0)?.max_pool_into(name, piece.band.window(window), largest, places, before)?;
            }
            return Ok((largest, places));
        }
        self.contiguous()?.max_pool(name, window, &largest, &places)?;
        Ok((largest, places))
    }

    /// Pools planes in one block, and copies the results to rows of tensors in several; `before` elements of each plane come before.
    #[track_caller]
    fn max_pool_into(
        &self,
        name: &'static str,
        window: KernelWindow,
        largest: &Self,
        places: &Self,
        before: u32,
    ) -> Result<(), TensorError> {
        let [found, at] = [self.new_empty(largest.shape(), self.dtype())?, self.new_empty(places.shape(), DType::U32)?];
        self.contiguous()?.max_pool(name, window, &found, &at)?;
        if before > 0 {
            at.add_(i64::from(before))?;
        }
        largest.copy_(&found)?;
        places.copy_(&at)
    }

    /// Pools contiguous planes into new tensors.
    fn max_pool(
        &self,
        name: &'static str,
        window: KernelWindow,
        largest: &Self,
        places: &Self,
    ) -> Result<(), TensorError> {
        let planes = Planes::of(name, self.shape())?;
        let [.., rows, columns] = largest.shape() else { return Ok(()) };
        let run = Run { planes, out: [*rows, *columns], window, ..Run::new(name, &MAX_POOL, self) };
        run.in_passes(&[largest, places, self], largest.elements(), window.taps_inside(planes.size), 0)
    }

    /// Returns the gradient of [`Tensor::max_pool2d`] with respect to its input, which has the given shape. `self` is
    /// the gradient of the result, `places` the second result of [`Tensor::max_pool2d_with_indices`]. For f32 and f16. Equals `x.grad` after
    /// `torch.nn.functional.max_pool2d(x, …).backward(gradient)`.
    ///
    /// # Errors
    /// As [`Tensor::max_pool2d`]; [`TensorError::Shape`], [`TensorError::IndexDType`], [`TensorError::Pools`].
    #[track_caller]
    pub fn max_pool2d_backward(
        &self,
        places: &Self,
        input: impl AsRef<[usize]>,
        options: MaxPool2d,
    ) -> Result<Self, TensorError> {
        let (name, shape) = ("max_pool2d_backward", input.as_ref());
        let (planes, window, out) = self.max_window(name, shape, options)?;
        let result = shape_like(shape, planes.shape(out));
        self.check_shape((name, "gradient"), &result, ("input", shape))?;
        places.check_shape((name, "places"), &result, ("input", shape))?;
        if places.dtype() != DType::U32 {
            let dtype = places.dtype().name();
            return Err(TensorError::IndexDType { operation: name, argument: "places".into(), dtype, wanted: "u32" });
        }
        check_pools(name, ("gradient", self), ("places", places))?;
        if !self.exceeds_a_block(shape) && !places.is_divided() {
            return self.max_pooled_back(places, planes, out, window);
        }
        let output = self.new_empty(shape, self.dtype())?;
        let needed = |rows: &Range<usize>| back(&window, rows, out[0]);
        let whole = Band { rows: 0..out[0], padding: window.padding[0] };
        let axes = self.rank() - 2;
        let by_plane = ByPlane { name, axes, outputs: &[&output], inputs: &[self, places], needed: &needed, whole };
        for piece in by_plane.pieces()? {
            let (gradient, places) = (piece.input(0)?, piece.input(1)?);
            // Places are counted from the first row of the plane. Those in earlier rows become larger than those of the band.
            let before = index(name, piece.rows.start * planes.size[1])?;
            let places = if before > 0 { places.sub(i64::from(before))? } else { places };
            let planes = Planes { size: [piece.rows.len(), planes.size[1]], ..Planes::of(name, gradient.shape())? };
            let (out, window) = ([piece.band.rows.len(), out[1]], piece.band.window(window));
            piece.outputs[0].copy_(&gradient.max_pooled_back(&places, planes, out, window)?)?;
        }
        Ok(output)
    }

    /// The gradient of [`Tensor::max_pool2d`], with operands in one block each.
    #[track_caller]
    fn max_pooled_back(
        &self,
        places: &Self,
        planes: Planes,
        out: [usize; 2],
        window: KernelWindow,
    ) -> Result<Self, TensorError> {
        let (gradient, places) = (self.contiguous()?, places.whole()?);
        let run = Run { planes, out, window, ..Run::new("max_pool2d_backward", &MAX_POOL_BACK, &gradient) };
        let shape = shape_like(self.shape(), planes.shape(planes.size));
        run.sums(&shape, &[&gradient, &places], window.windows_over(out), 0)
    }

    /// Returns the mean of the window at each position, including the zeros of the padding unless the options exclude
    /// them. (n, c, h, w), or (c, h, w) without a batch axis, gives (n, c, rows, columns). For f32 and f16. Equals
    /// `torch.nn.functional.avg_pool2d`.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`], [`TensorError::KernelWindow`], [`TensorError::NotDefined`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn avg_pool2d(&self, options: AvgPool2d) -> Result<Self, TensorError> {
        let name = "avg_pool2d";
        let average = self.average(name, self.shape(), options)?;
        let Average { planes, window, out, .. } = average;
        let shape = shape_like(self.shape(), planes.shape(out));
        if !self.exceeds_a_block(&shape) {
            return self.contiguous()?.averages(average);
        }
        let output = self.new_empty(&shape, self.dtype())?;
        let needed = |windows: &Range<usize>| under(&window, planes.size[0], windows);
        let whole = Band { rows: 0..planes.size[0], padding: window.padding[0] };
        let axes = self.rank() - 2;
        let by_plane = ByPlane { name, axes, outputs: &[&output], inputs: &[self], needed: &needed, whole };
        for piece in by_plane.pieces()? {
            let of_band = average.of_band(&piece.band, piece.rows.start, [piece.rows.len(), out[1]]);
            piece.outputs[0].copy_(&piece.input(0)?.contiguous()?.averages(of_band)?)?;
        }
        Ok(output)
    }

    /// The averages of contiguous planes.
    #[track_caller]
    fn averages(&self, Average { window, out, scale, counted, .. }: Average) -> Result<Self, TensorError> {
        let name = "avg_pool2d";
        let planes = Planes::of(name, self.shape())?;
        let run = Run { planes, out, window, scale, counted, ..Run::new(name, &AVERAGE_POOL, self) };
        let shape = shape_like(self.shape(), planes.shape(out));
        run.sums(&shape, &[self], window.taps_inside(planes.size), 0)
    }

    /// Returns the gradient of [`Tensor::avg_pool2d`] with respect to its input, which has the given shape. `self` is
    /// the gradient of the result. For f32 and f16. Equals `x.grad` after
    /// `torch.nn.functional.avg_pool2d(x, …).backward(gradient)`.
    ///
    /// # Errors
    /// As [`Tensor::avg_pool2d`]; [`TensorError::Shape`].
    #[track_caller]
    pub fn avg_pool2d_backward(&self, input: impl AsRef<[usize]>, options: AvgPool2d) -> Result<Self, TensorError> {
        let (name, shape) = ("avg_pool2d_backward", input.as_ref());
        let average = self.average(name, shape, options)?;
        let Average { planes, window, out, .. } = average;
        self.check_shape((name, "gradient"), &shape_like(shape, planes.shape(out)), ("input", shape))?;
        if !self.exceeds_a_block(shape) {
            return self.averaged_back(average);
        }
        let output = self.new_empty(shape, self.dtype())?;
        let needed = |rows: &Range<usize>| back(&window, rows, out[0]);
        let whole = Band { rows: 0..out[0], padding: window.padding[0] };
        let axes = self.rank() - 2;
        let by_plane = ByPlane { name, axes, outputs: &[&output], inputs: &[self], needed: &needed, whole };
        for piece in by_plane.pieces()? {
            let gradient = piece.input(0)?;
            let planes = Planes { size: [piece.rows.len(), planes.size[1]], ..Planes::of(name, gradient.shape())? };
            let of_band = average.of_band(&piece.band, piece.band.rows.start, [piece.band.rows.len(), out[1]]);
            piece.outputs[0].copy_(&gradient.averaged_back(Average { planes, ..of_band })?)?;
        }
        Ok(output)
    }

    /// The gradient of [`Tensor::avg_pool2d`], with operands in one block each.
    #[track_caller]
    fn averaged_back(&self, average: Average) -> Result<Self, TensorError> {
        let Average { planes, window, out, scale, counted } = average;
        let gradient = self.contiguous()?;
        let run = Run {
            planes,
            out,
            window,
            scale,
            counted,
            ..Run::new("avg_pool2d_backward", &AVERAGE_POOL_BACK, &gradient)
        };
        let shape = shape_like(self.shape(), planes.shape(planes.size));
        run.sums(&shape, &[&gradient], window.windows_over(out), 0)
    }

    /// Checks a maximum's window: each of its positions has an element of the image.
    fn max_window(
        &self,
        name: &'static str,
        shape: &[usize],
        options: MaxPool2d,
    ) -> Result<(Planes, KernelWindow, [usize; 2]), TensorError> {
        check_floating_point(name, (receiver(name), self))?;
        let (planes, window) = (Planes::of(name, shape)?, KernelWindow::from(options));
        let out = window.out(name, planes.size)?;
        // With a dilation above the image's size, all taps of a window can be in the padding.
        let is_stepped_over = |axis: usize| window.dilation[axis] > planes.size[axis] && window.padding[axis] != [0; 2];
        if !window.is_padded_by_half() || (0..2).any(is_stepped_over) {
            return Err(window.error(name, planes.size, WindowFault::InPadding));
        }
        Ok((planes, window, out))
    }

    fn average(&self, name: &'static str, shape: &[usize], options: AvgPool2d) -> Result<Average, TensorError> {
        check_floating_point(name, (receiver(name), self))?;
        let (planes, window) = (Planes::of(name, shape)?, KernelWindow::from(options));
        let out = window.out(name, planes.size)?;
        let padded = |axis: usize| arithmetic::padded_size(planes.size[axis], window.padding[axis]);
        let padded = [0, 1].map(|axis| padded(axis).unwrap_or(usize::MAX));
        let is_padded = window.padding != [[0; 2]; 2];
        // The divisor varies only if windows can extend beyond the elements that count.
        if !options.ceil_mode && (options.count_include_pad || !is_padded) {
            return Ok(Average { planes, window, out, scale: area_of(&window), counted: [[0; 2]; 2] });
        }
        if !window.is_padded_by_half() {
            return Err(window.error(name, planes.size, WindowFault::InPadding));
        }
        let before = window.padding.map(|[before, _]| before);
        let counted = match options.count_include_pad {
            true => [[0; 2], padded],
            false => [before, [0, 1].map(|axis| before[axis].saturating_add(planes.size[axis]))],
        };
        Ok(Average { planes, window, out, scale: 0.0, counted })
    }
}

/// The divisor of an average.
#[derive(Clone, Copy, Debug)]
struct Average {
    planes: Planes,
    window: KernelWindow,
    out: [usize; 2],
    /// The divisor of all positions, or 0 for that of the places that count.
    scale: f32,
    counted: [[usize; 2]; 2],
}

impl Average {
    /// The average of a band of windows, of which the first one has this number.
    fn of_band(self, band: &Band, first: usize, out: [usize; 2]) -> Self {
        // Counted from the first row of the band in the padded image.
        let first = first * self.window.stride[0];
        let counted = self.counted.map(|[row, column]| [row.saturating_sub(first), column]);
        Self { window: band.window(self.window), out, counted, ..self }
    }
}

/// Places of a window, by which its mean divides.
#[expect(clippy::cast_possible_truncation, reason = "the divisor of a mean is rounded to f32")]
fn area_of(window: &KernelWindow) -> f32 {
    (window.kernel[0] as f64 * window.kernel[1] as f64) as f32
}
