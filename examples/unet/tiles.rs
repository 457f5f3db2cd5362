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
            let seen: Vec<f32> =
                rows.seen.clone().flat_map(|row| &image[row * width..][columns.seen.clone()]).copied().collect();
            let tile = Tensor::from_slice(pool, &seen, [1, 1, rows.seen.len(), columns.seen.len()])?;
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
