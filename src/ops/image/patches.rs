//! Patches of images as columns, and back.

use super::super::shader::{FOLD, UNFOLD};
use super::bands::{Band, ByPlane, back, under};
use super::{KernelWindow, Planes, Run, Unfold};
use crate::error::{ShapeRequirement, TensorError};
use crate::tensor::{Tensor, arithmetic};
use std::ops::Range;

/// The order of axes (images, channels, rows of windows, taps, columns of windows), which is its own inverse: taps come before rows
/// of windows in columns.
const ROWS_FIRST: [usize; 5] = [0, 1, 3, 2, 4];

impl Tensor {
    /// Returns the elements of the window at each position as columns: (n, c, h, w) gives (n, c · taps, positions),
    /// channels outermost, and (c, h, w) without a batch axis gives (c · taps, positions). For every dtype. Equals
    /// `torch.nn.functional.unfold`.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`] unless there are three or four dimensions, [`TensorError::KernelWindow`] if the
    /// window does not fit, [`TensorError::Overflow`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn unfold(&self, options: Unfold) -> Result<Self, TensorError> {
        self.unfolded("unfold", options.into())
    }

    #[track_caller]
    pub(super) fn unfolded(&self, name: &'static str, window: KernelWindow) -> Result<Self, TensorError> {
        let planes = Planes::of(name, self.shape())?;
        let out = window.out(name, planes.size)?;
        let bytes = self.dtype().bytes();
        let lines = arithmetic::size_of(&[planes.channels, window.kernel[0], window.kernel[1]], bytes)?;
        let windows = arithmetic::size_of(&out, bytes)?;
        let shape = [planes.batch, lines, windows];
        let columns = self.new_empty(&shape[4 - self.rank()..], self.dtype())?;
        if !self.exceeds_a_block(columns.shape()) {
            self.unfold_into(&columns, name, window, out)?;
            return Ok(columns);
        }
        let (images, taps) = (self.as_batch()?, lines / planes.channels.max(1));
        let by_rows = columns.reshape([planes.batch, planes.channels, taps, out[0], out[1]])?.permute(ROWS_FIRST)?;
        let needed = |windows: &Range<usize>| under(&window, planes.size[0], windows);
        let whole = Band { rows: 0..planes.size[0], padding: window.padding[0] };
        let by_plane = ByPlane { name, axes: 2, outputs: &[&by_rows], inputs: &[&images], needed: &needed, whole };
        for piece in by_plane.pieces()? {
            let output = piece.outputs[0].permute(ROWS_FIRST)?;
            let found = self.new_empty(output.shape(), self.dtype())?;
            piece.input(0)?.unfold_into(&found, name, piece.band.window(window), [piece.rows.len(), out[1]])?;
            output.copy_(&found)?;
        }
        Ok(columns)
    }

    /// Unfolds images in one block into contiguous columns.
    #[track_caller]
    fn unfold_into(
        &self,
        columns: &Self,
        name: &'static str,
        window: KernelWindow,
        out: [usize; 2],
    ) -> Result<(), TensorError> {
        let planes = Planes::of(name, self.shape())?;
        let input = self.contiguous()?;
        let run = Run { planes, out, window, ..Run::new(name, &UNFOLD, &input) };
        run.over(&[columns, &input], columns.elements(), 0)
    }

    /// Adds columns into images of `size`, (height, width): the gradient of [`Tensor::unfold`]. (n, c · taps, positions) gives
    /// (n, c, h, w), and (c · taps, positions) gives (c, h, w). For every dtype. Equals `torch.nn.functional.fold`.
    ///
    /// # Errors
    /// [`TensorError::Shape`] if the shape of the columns does not match such an image, [`TensorError::KernelWindow`];
    /// as [`Tensor::empty`].
    #[track_caller]
    pub fn fold(&self, size: [usize; 2], options: Unfold) -> Result<Self, TensorError> {
        self.folded("fold", size, options.into())
    }

    #[track_caller]
    pub(super) fn folded(
        &self,
        name: &'static str,
        size: [usize; 2],
        window: KernelWindow,
    ) -> Result<Self, TensorError> {
        let out = window.out(name, size)?;
        let taps = arithmetic::size_of(&window.kernel, self.dtype().bytes())?;
        let windows = arithmetic::size_of(&out, self.dtype().bytes())?;
        let (batch, lines, count) = match *self.shape() {
            [batch, lines, count] => (batch, lines, count),
            [lines, count] => (1, lines, count),
            _ => return Err(TensorError::dimensions(name, "tensor", self.shape(), "2 or 3")),
        };
        if lines % taps != 0 || count != windows {
            let wanted = lines.checked_next_multiple_of(taps).unwrap_or(taps);
            let shape = [batch, wanted, windows][3 - self.rank()..].to_vec();
            let required = ShapeRequirement::Exactly { shape, by: "image size".into(), of: size.to_vec() };
            return Err(TensorError::shape(name, "tensor", self.shape(), required));
        }
        let planes = Planes { batch, channels: lines / taps, size };
        let shape = planes.shape(size);
        if !self.exceeds_a_block(&shape) {
            return self.fold_into(name, planes, window, out)?.reshape(&shape[3 - self.rank()..]);
        }
        let image = self.new_empty(shape, self.dtype())?;
        let columns = self.reshape_or_copy(&[batch, planes.channels, taps, out[0], out[1]])?.permute(ROWS_FIRST)?;
        let needed = |rows: &Range<usize>| back(&window, rows, out[0]);
        let whole = Band { rows: 0..out[0], padding: window.padding[0] };
        let by_plane = ByPlane { name, axes: 2, outputs: &[&image], inputs: &[&columns], needed: &needed, whole };
        for piece in by_plane.pieces()? {
            let columns = piece.permuted(0, &ROWS_FIRST)?;
            let [batch, channels] = [columns.shape()[0], columns.shape()[1]];
            let planes = Planes { batch, channels, size: [piece.rows.len(), size[1]] };
            let out = [piece.band.rows.len(), out[1]];
            piece.outputs[0].copy_(&columns.fold_into(name, planes, piece.band.window(window), out)?)?;
        }
        image.reshape(&shape[3 - self.rank()..])
    }

    /// Folds columns in one block, whose elements are in row-major order, into images, with a batch axis.
    #[track_caller]
    fn fold_into(
        &self,
        name: &'static str,
        planes: Planes,
        window: KernelWindow,
        out: [usize; 2],
    ) -> Result<Self, TensorError> {
        let input = self.contiguous()?;
        let run = Run { planes, out, window, ..Run::new(name, &FOLD, &input) };
        run.sums(&planes.shape(planes.size), &[&input], window.windows_over(out), 0)
    }

    /// The elements in another shape: a view, or a view of a copy.
    #[track_caller]
    fn reshape_or_copy(&self, shape: &[usize]) -> Result<Self, TensorError> {
        match self.reshape(shape) {
            Err(TensorError::NotViewable { .. }) => self.copied()?.reshape(shape),
            view => view,
        }
    }
}
