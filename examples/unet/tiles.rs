//! A large image in overlapping tiles, so that each pixel has its full receptive field.

use crate::model::{SIGHT, UNIT, UNet};
use std::ops::Range;
use wgpu_pool::{Pool, Tensor, TensorError};

/// A part of an axis: the computed range, and the range that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    seen: Range<usize>,
    kept: Range<usize>,
}

/// Divides an axis of `size` into parts of `core` pixels with a halo, which is clipped at the image border. The model
/// halves images, so every part begins and ends at a multiple of [`UNIT`], as do `size`, `core` and `halo`.
fn parts(size: usize, core: usize, halo: usize) -> impl Iterator<Item = Part> {
    debug_assert!([size, core, halo].iter().all(|length| length.is_multiple_of(UNIT)));
    (0..size).step_by(core).map(move |start| {
        let kept = start..(start + core).min(size);
        Part { seen: kept.start.saturating_sub(halo)..(kept.end + halo).min(size), kept }
    })
}

/// The number of tiles of an image of this height and width.
pub(crate) fn count([height, width]: [usize; 2], core: usize) -> usize {
    height.div_ceil(core) * width.div_ceil(core)
}

/// Returns the class of each pixel of an image on the host, row by row, computed tile by tile: the pool holds one tile
/// at a time. `after` is called after each tile.
pub(crate) fn classes(
    model: &UNet,
    pool: &Pool,
    image: &[f32],
    [height, width]: [usize; 2],
    core: usize,
    halo: usize,
    mut after: impl FnMut(),
) -> Result<Vec<u32>, TensorError> {
    let mut stitched = vec![0; height * width];
    for rows in parts(height, core, halo) {
        for columns in parts(width, core, halo) {
            let tile = cut(pool, image, width, [&rows, &columns])?;
            let found = model.infer(&tile)?.argmax(1)?;
            let inner = |part: &Part| (part.kept.start - part.seen.start, part.kept.len());
            let ((top, tall), (left, wide)) = (inner(&rows), inner(&columns));
            let found = found.narrow(1, top, tall)?.narrow(2, left, wide)?.contiguous()?.read_blocking::<u32>()?;
            for (row, line) in rows.kept.clone().zip(found.chunks(wide)) {
                stitched[row * width..][columns.kept.clone()].copy_from_slice(line);
            }
            after();
        }
    }
    Ok(stitched)
}

/// Returns the pixels that a tile sees, as one image.
fn cut(pool: &Pool, image: &[f32], width: usize, [rows, columns]: [&Part; 2]) -> Result<Tensor, TensorError> {
    let seen = rows.seen.clone().flat_map(|row| &image[row * width..][columns.seen.clone()]);
    let seen: Vec<f32> = seen.copied().collect();
    Tensor::from_slice(pool, &seen, [1, 1, rows.seen.len(), columns.seen.len()])
}

/// Returns the same with the full receptive field around each tile.
pub(crate) fn classes_exactly(
    model: &UNet,
    pool: &Pool,
    image: &[f32],
    size: [usize; 2],
    core: usize,
    after: impl FnMut(),
) -> Result<Vec<u32>, TensorError> {
    classes(model, pool, image, size, core, SIGHT, after)
}

/// Returns for each pixel with two different classes in `one` and `other` how far apart the scores of the two classes are in the tile of
/// [`classes_exactly`], as a part of the pixel's largest score. Computes one tile for each such pixel.
pub(crate) fn gaps(
    model: &UNet,
    pool: &Pool,
    image: &[f32],
    [height, width]: [usize; 2],
    core: usize,
    [one, other]: [&[u32]; 2],
) -> Result<Vec<f32>, TensorError> {
    let differing = (0..one.len()).filter(|&pixel| one[pixel] != other[pixel]);
    let gap = |pixel: usize| {
        let [row, column] = [pixel / width, pixel % width];
        let part = |size: usize, at: usize| parts(size, core, SIGHT).nth(at / core).expect("a pixel is in a tile");
        let (rows, columns) = (part(height, row), part(width, column));
        let scores = model.infer(&cut(pool, image, width, [&rows, &columns])?)?;
        let scores = scores.narrow(2, row - rows.seen.start, 1)?.narrow(3, column - columns.seen.start, 1)?;
        let scores = scores.contiguous()?.read_blocking::<f32>()?;
        let [one, other] = [one, other].map(|classes| scores[classes[pixel] as usize]);
        let largest = scores.iter().fold(0.0_f32, |largest, score| largest.max(score.abs()));
        Ok((one - other).abs() / largest)
    };
    differing.map(gap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_pixel_once_and_include_their_halo() {
        for (size, core, halo) in [(64, 16, 8), (68, 32, 40), (16, 32, 4)] {
            let mut next = 0;
            for Part { seen, kept } in parts(size, core, halo) {
                assert_eq!(kept.start, next);
                next = kept.end;
                assert!(seen.start == 0 || kept.start - seen.start == halo);
                assert!(seen.end == size || seen.end - kept.end == halo);
            }
            assert_eq!(next, size);
        }
    }
}
