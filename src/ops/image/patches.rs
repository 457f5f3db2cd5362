//! Patches of images as columns, and back.

use super::super::shader::{FOLD, UNFOLD};
use super::blocks::plane_pieces;
use super::{KernelWindow, Planes, Run, Unfold};
use crate::error::TensorError;
use crate::tensor::{Tensor, arithmetic};

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
        if self.exceeds_a_block(columns.shape()) {
            let (images, columns) = (
                self.as_batch()?,
                columns.reshape([planes.batch, planes.channels, lines / planes.channels.max(1), windows])?,
            );
            for piece in plane_pieces(name, 2, &[&columns], &[&images])? {
                piece[0].copy_(&piece[1].unfolded(name, window)?.reshape(piece[0].shape())?)?;
            }
            return columns.reshape(&shape[4 - self.rank()..]);
        }
        let input = self.contiguous()?;
        let run = Run { planes, out, window, ..Run::new(name, &UNFOLD, &input) };
        run.over(&[&columns, &input], columns.elements(), 0)?;
        Ok(columns)
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
            _ => {
                let (left, right) = (self.shape().to_vec(), vec![0, taps, windows]);
                return Err(TensorError::Shape { operation: name, left, right });
            }
        };
        if lines % taps != 0 || count != windows {
            let wanted = lines.checked_next_multiple_of(taps).unwrap_or(taps);
            let (left, right) = (self.shape().to_vec(), vec![batch, wanted, windows]);
            return Err(TensorError::Shape { operation: name, left, right });
        }
        let planes = Planes { batch, channels: lines / taps, size };
        let shape = planes.shape(size);
        if self.exceeds_a_block(&shape) {
            let image = self.new_empty(shape, self.dtype())?;
            let columns = self.reshape_or_copy(&[batch, planes.channels, taps, windows])?;
            for piece in plane_pieces(name, 2, &[&image], &[&columns])? {
                let [batch, channels] = [piece[1].shape()[0], piece[1].shape()[1]];
                let columns = piece[1].reshape_or_copy(&[batch, channels * taps, windows])?;
                piece[0].copy_(&columns.folded(name, size, window)?)?;
            }
            return image.reshape(&shape[3 - self.rank()..]);
        }
        let input = self.contiguous()?;
        let run = Run { planes, out, window, ..Run::new(name, &FOLD, &input) };
        run.sums(&shape[3 - self.rank()..], &[&input], window.windows_over(out), 0)
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
