//! Resizing of images.

use super::super::launch::{check_floating_point, iterations};
use super::super::shader::{AS_IT_IS, Specialization, UPSAMPLE, UPSAMPLE_BACK};
use super::bands::{Band, ByPlane};
use super::{Planes, Run, receiver, shape_like};
use crate::error::TensorError;
use crate::tensor::Tensor;
use std::ops::Range;

/// The longest axis of which `lib/resample.wgsl` gives places exactly. In f32 such an axis alone has 4 GiB.
const LONGEST_AXIS: usize = (1 << 30) - 1;

/// Loop iterations of a division of 64 bits.
const DIVISION: u64 = iterations(32, 0);

const BILINEAR: Specialization = Specialization::new("bilinear", &[["BILINEAR", "true"]]);

const BILINEAR_ALIGNED: Specialization =
    Specialization::new("bilinear_aligned", &[["BILINEAR", "true"], ["ALIGNED", "true"]]);

/// Every variant.
#[cfg(test)]
pub(in crate::ops) const ALL: [Specialization; 3] = [AS_IT_IS, BILINEAR, BILINEAR_ALIGNED];

/// The points of two images of different size that coincide, PyTorch's argument `align_corners`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Corners {
    /// The outer corners of the images, with elements as squares: position i is at (i + 1/2) · h / height − 1/2 of the
    /// original, clamped to its range. Equals `align_corners=False`, PyTorch's default.
    #[default]
    Outer,
    /// The centers of the elements in the corners: position i is at i · (h − 1) / (height − 1) of the original, or at 0
    /// if there is only one position. Equals `align_corners=True`.
    Centers,
}

impl Corners {
    fn operation(self) -> Specialization {
        match self {
            Self::Outer => BILINEAR,
            Self::Centers => BILINEAR_ALIGNED,
        }
    }
}

impl Tensor {
    /// Resizes images to (height, width). Element i along an axis is the nearest element, ⌊i · h / height⌋, in exact arithmetic.
    /// (n, c, h, w), or (c, h, w) without a batch axis, gives (n, c, size). For f32 and f16. Equals
    /// `torch.nn.functional.interpolate(size, mode="nearest")`.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`] unless there are three or four dimensions, [`TensorError::Zero`] for a size of 0,
    /// [`TensorError::Empty`] for images without elements, [`TensorError::NotDefined`] for integers,
    /// [`TensorError::TooManyElements`] for an axis of 2^30 elements or more; as [`Tensor::empty`].
    #[track_caller]
    pub fn upsample_nearest(&self, size: [usize; 2]) -> Result<Self, TensorError> {
        self.resampled("upsample_nearest", AS_IT_IS, size)
    }

    /// Resizes images to (height, width) with bilinear interpolation: each element is the mean of the four nearest
    /// elements, weighted by distance. `corners` selects the points of both images that coincide. Shapes and dtypes are
    /// those of [`Tensor::upsample_nearest`]. Distances are exact for every size. Elements of weight 0 do not
    /// contribute, also if they are NaN or infinite. Equals
    /// `torch.nn.functional.interpolate(size, mode="bilinear", align_corners)`, in which NaN or infinity of weight 0
    /// gives NaN.
    ///
    /// # Errors
    /// As [`Tensor::upsample_nearest`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use wgpu_pool::{Corners, Pool, PoolOptions, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let image = Tensor::from_slice(&pool, &[0.0_f32, 3.0], [1, 1, 2])?;
    /// let wide = image.upsample_bilinear([1, 4], Corners::Centers)?;
    /// assert_eq!(wide.read_blocking::<f32>()?, [0.0, 1.0, 2.0, 3.0]);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[track_caller]
    pub fn upsample_bilinear(&self, size: [usize; 2], corners: Corners) -> Result<Self, TensorError> {
        self.resampled("upsample_bilinear", corners.operation(), size)
    }

    /// Returns the gradient of [`Tensor::upsample_nearest`] with respect to its input, whose images have the given
    /// size. `self` is the gradient of the result. For f32 and f16. Equals `x.grad` after
    /// `torch.nn.functional.interpolate(x, size, mode="nearest").backward(gradient)`.
    ///
    /// # Errors
    /// As [`Tensor::upsample_nearest`].
    #[track_caller]
    pub fn upsample_nearest_backward(&self, size: [usize; 2]) -> Result<Self, TensorError> {
        self.gathered_back("upsample_nearest_backward", AS_IT_IS, size)
    }

    /// Returns the gradient of [`Tensor::upsample_bilinear`] with respect to its input, whose images have the given
    /// size. `self` is the gradient of the result. For f32 and f16. Equals `x.grad` after
    /// `torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners).backward(gradient)`.
    ///
    /// # Errors
    /// As [`Tensor::upsample_nearest`].
    #[track_caller]
    pub fn upsample_bilinear_backward(&self, size: [usize; 2], corners: Corners) -> Result<Self, TensorError> {
        self.gathered_back("upsample_bilinear_backward", corners.operation(), size)
    }

    #[track_caller]
    fn resampled(&self, name: &'static str, operation: Specialization, out: [usize; 2]) -> Result<Self, TensorError> {
        let planes = self.check_sizes(name, out)?;
        let heights = [planes.size[0], out[0]];
        let shape = shape_like(self.shape(), planes.shape(out));
        if !self.exceeds_a_block(&shape) {
            return self.resampled_rows(name, operation, out, [[0; 2], heights]);
        }
        let result = self.new_empty(shape, self.dtype())?;
        let needed = |rows: &Range<usize>| Band { rows: sources(operation, rows, heights), padding: [0; 2] };
        let whole = Band { rows: 0..heights[0], padding: [0; 2] };
        let axes = self.rank() - 2;
        let by_plane = ByPlane { name, axes, outputs: &[&result], inputs: &[self], needed: &needed, whole };
        for piece in by_plane.pieces()? {
            let (out, first) = ([piece.rows.len(), out[1]], [piece.band.rows.start, piece.rows.start]);
            piece.outputs[0].copy_(&piece.input(0)?.resampled_rows(name, operation, out, [first, heights])?)?;
        }
        Ok(result)
    }

    /// Resizes rows of images of some height to rows of images of another height. `rows` has the first rows, and the heights.
    #[track_caller]
    fn resampled_rows(
        &self,
        name: &'static str,
        operation: Specialization,
        out: [usize; 2],
        rows: [[usize; 2]; 2],
    ) -> Result<Self, TensorError> {
        let planes = Planes::of(name, self.shape())?;
        let result = self.new_empty(shape_like(self.shape(), planes.shape(out)), self.dtype())?;
        let input = self.contiguous()?;
        let run = Run { operation, planes, out, counted: rows, ..Run::new(name, &UPSAMPLE, &input) };
        run.over(&[&result, &input], result.elements(), 2 * DIVISION)?;
        Ok(result)
    }

    #[track_caller]
    fn gathered_back(
        &self,
        name: &'static str,
        operation: Specialization,
        size: [usize; 2],
    ) -> Result<Self, TensorError> {
        let planes = self.check_sizes(name, size)?;
        let heights = [size[0], planes.size[0]];
        let shape = shape_like(self.shape(), planes.shape(size));
        if !self.exceeds_a_block(&shape) {
            return self.rows_back(name, operation, size, [[0; 2], heights]);
        }
        let result = self.new_empty(&shape, self.dtype())?;
        let needed = |rows: &Range<usize>| Band { rows: targets(operation, rows, heights), padding: [0; 2] };
        let whole = Band { rows: 0..heights[1], padding: [0; 2] };
        let axes = self.rank() - 2;
        let by_plane = ByPlane { name, axes, outputs: &[&result], inputs: &[self], needed: &needed, whole };
        for piece in by_plane.pieces()? {
            let (size, first) = ([piece.rows.len(), size[1]], [piece.rows.start, piece.band.rows.start]);
            piece.outputs[0].copy_(&piece.input(0)?.rows_back(name, operation, size, [first, heights])?)?;
        }
        Ok(result)
    }

    /// The gradient for rows of images from rows of the gradient of the result. `rows` has the first rows, and the heights.
    #[track_caller]
    fn rows_back(
        &self,
        name: &'static str,
        operation: Specialization,
        size: [usize; 2],
        rows: [[usize; 2]; 2],
    ) -> Result<Self, TensorError> {
        let own = Planes::of(name, self.shape())?;
        let (planes, out) = (Planes { size, ..own }, own.size);
        let input = self.contiguous()?;
        let run = Run { operation, planes, out, counted: rows, ..Run::new(name, &UPSAMPLE_BACK, &input) };
        // An upper bound of the number of outputs that read one input element: out / size for nearest, twice as many for
        // bilinear, plus one at each end for rounding. With aligned corners, both sizes are one less.
        let takers = |[size, out]: [usize; 2]| {
            let each = match operation == BILINEAR_ALIGNED {
                true if size == 1 => out,
                true => (2 * (out - 1)).div_ceil(size - 1),
                false => (2 * out).div_ceil(size),
            };
            each.saturating_add(2).min(out)
        };
        let shape = shape_like(self.shape(), planes.shape(size));
        run.sums(&shape, &[&input], [takers(rows[1]), takers([size[1], out[1]])], 4 * DIVISION)
    }

    fn check_sizes(&self, name: &'static str, size: [usize; 2]) -> Result<Planes, TensorError> {
        check_floating_point(name, (receiver(name), self))?;
        let planes = Planes::of(name, self.shape())?;
        if size.contains(&0) {
            return Err(TensorError::Zero { operation: name, argument: "size" });
        }
        if planes.size.contains(&0) {
            return Err(TensorError::Empty { operation: name, shape: self.shape().to_vec() });
        }
        for axis in planes.size.into_iter().chain(size) {
            if axis > LONGEST_AXIS {
                let (elements, limit) = (axis as u64, LONGEST_AXIS as u64);
                return Err(TensorError::TooManyElements { operation: name, elements, limit });
            }
        }
        Ok(planes)
    }
}

/// Returns the rows of images of height `size` that rows of the results, of height `out`, take: `taps` of `lib/resample.wgsl`.
fn sources(operation: Specialization, rows: &Range<usize>, [size, out]: [usize; 2]) -> Range<usize> {
    // Sizes are below 2^30.
    let lowest = |at: usize| {
        let (at, size, out) = (at as u64, size as u64, out as u64);
        let low = match operation {
            BILINEAR => ((2 * at + 1) * size).saturating_sub(out) / (2 * out),
            BILINEAR_ALIGNED => at * (size - 1) / (out.max(2) - 1),
            _ => at * size / out,
        };
        usize::try_from(low).unwrap_or(usize::MAX)
    };
    let neighbours = usize::from(operation != AS_IT_IS);
    lowest(rows.start)..(lowest(rows.end - 1) + neighbours).min(size - 1) + 1
}

/// Returns the rows of the results, of height `out`, that take some rows of images of height `size`: `output_range` of
/// `lib/resample.wgsl`.
fn targets(operation: Specialization, rows: &Range<usize>, [size, out]: [usize; 2]) -> Range<usize> {
    let scaled = |out: usize, factor: usize, size: usize| {
        let found = (out as u64 * factor as u64).div_ceil(size as u64);
        usize::try_from(found).unwrap_or(usize::MAX)
    };
    let (first, last) = (rows.start, rows.end - 1);
    let (is_first, is_last) = (first == 0, last + 1 == size);
    let range = match operation {
        BILINEAR => {
            let start = if is_first { 0 } else { scaled(out, 2 * first - 1, size) / 2 };
            start..if is_last { out } else { scaled(out, 2 * last + 3, size) / 2 }
        }
        // The only output takes the first row.
        BILINEAR_ALIGNED if out == 1 => 0..usize::from(is_first),
        BILINEAR_ALIGNED => {
            let start = if is_first { 0 } else { scaled(out - 1, first - 1, size - 1) };
            start..if is_last { out } else { scaled(out - 1, last + 1, size - 1) }
        }
        _ => scaled(out, first, size)..scaled(out, last + 1, size),
    };
    range.start..range.end.min(out).max(range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows that an output takes with a weight other than zero.
    fn taken(operation: Specialization, at: usize, size: usize, out: usize) -> Vec<usize> {
        let source = match operation {
            BILINEAR => ((at as f64 + 0.5) * size as f64 / out as f64 - 0.5).max(0.0),
            BILINEAR_ALIGNED => (at * (size - 1)) as f64 / (out.max(2) - 1) as f64,
            _ => return vec![at * size / out],
        };
        let near =
            |row: &usize| (*row as f64 - source).abs() < 1.0 - 1e-9 || (*row == size - 1 && source >= *row as f64);
        (0..size).filter(near).collect()
    }

    #[test]
    fn bands_have_every_row_that_counts_and_few_others() {
        for (size, out) in (1..14).flat_map(|size| (1..14).map(move |out| (size, out))) {
            for operation in ALL {
                for (start, end) in (0..out).flat_map(|start| (start + 1..=out).map(move |end| (start, end))) {
                    let band = sources(operation, &(start..end), [size, out]);
                    let counts: Vec<usize> = (start..end).flat_map(|at| taken(operation, at, size, out)).collect();
                    let what = format!("{operation:?} of {size} to {out}, {start}..{end}: {band:?}, not {counts:?}");
                    assert!(band.end <= size && counts.iter().all(|row| band.contains(row)), "{what}");
                    let [least, most] = [counts.iter().min(), counts.iter().max()].map(|row| *row.unwrap_or(&0));
                    assert!(band.start + 1 >= least && band.end <= most + 2, "{what}");
                }
                for (start, end) in (0..size).flat_map(|start| (start + 1..=size).map(move |end| (start, end))) {
                    let band = targets(operation, &(start..end), [size, out]);
                    let takes =
                        |at: &usize| taken(operation, *at, size, out).iter().any(|row| (start..end).contains(row));
                    let counts: Vec<usize> = (0..out).filter(takes).collect();
                    let what = format!("{operation:?} of {size} to {out}, {start}..{end}: {band:?}, not {counts:?}");
                    assert!(band.end <= out && counts.iter().all(|at| band.contains(at)), "{what}");
                    assert!(band.len() <= counts.len() + 2, "{what}");
                }
            }
        }
    }
}
