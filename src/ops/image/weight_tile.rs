//! The tiles of the kernels of `lib/weight_gradient.wgsl`, and the parts into which they divide the windows.

use crate::ops::shader::{
    CONV2D_WEIGHT_FEW, CONV2D_WEIGHT_ROWS, CONV2D_WEIGHT_ROWS_TILED, CONV2D_WEIGHT_SINGLE, CONV2D_WEIGHT_TILED, Shader,
    WeightTile,
};

/// Elements of a vec4.
pub(super) const FOUR: usize = 4;
/// Channels of a unit of `conv2d_weight_tiled.wgsl`.
pub(super) const PACK: usize = 8;
/// Invocations of `conv2d_weight_tiled.wgsl` that occupy a large GPU, and the workgroups that are distributed evenly over its
/// multiprocessors: with 144 tiles of 128 × 128 in one part, an H100 with 132 of them is half idle.
const MANY_INVOCATIONS: usize = 1 << 16;
const MANY_WORKGROUPS: usize = 512;
/// Multiprocessors of a large GPU (an H100 and an H200), the most waves of workgroups that are considered, and the least slices of a part
/// of the large tile.
pub(super) const MANY_MULTIPROCESSORS: usize = 132;
const MOST_WAVES: usize = 12;
const LEAST_SLICES_OF_LARGE: usize = 4;
/// Workgroups of `conv2d_weight_few.wgsl` and of `conv2d_weight_rows.wgsl` that occupy a large GPU. For 16 channels of 16 × 128 × 128
/// the latter takes 45 µs on an H100 with 512 workgroups and 60 with 2,048, since each adds up the sums of its invocations.
const MANY_OF_FEW: usize = 1024;
const MANY_OF_ROWS: usize = 512;
/// Outputs and channels of each tile of [`CONV2D_WEIGHT_ROWS_TILED`], and the vec4s of windows of a slice.
const TILES_OF_ROWS: [[usize; 2]; 3] = [[128, 16], [64, 32], [64, 16]];
const SLICE_OF_ROWS: usize = 4;
/// The tile of [`CONV2D_WEIGHT_TILED`] for many outputs of a group.
pub(super) const TILE_OF_MANY: usize = 0;

/// The workgroups that occupy a large GPU, by which sums are divided into parts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fill {
    /// About so many.
    About(usize),
    /// Whole waves of [`MANY_MULTIPROCESSORS`]: see [`even_parts`].
    Waves,
}

/// How a kernel divides the lines of a group into tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// Taps of units of so many channels, to which channels are rounded up.
    OfChannels(usize),
    /// Units of so many lines, to which all lines are rounded up together.
    Together(usize),
    /// All taps of a channel of eight outputs, with windows in vec4s.
    Pairs,
    /// All taps of a channel, with windows in vec4s.
    Channels,
}

/// Which parts are stored in the order of the units of a tile, and not in that of the gradient.
#[derive(Clone, Copy, Debug)]
pub(super) enum InUnits {
    None,
    /// More than one part, with another shader.
    Several(&'static Shader),
    All,
}

/// A kernel of `lib/weight_gradient.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub(super) shader: &'static Shader,
    /// Outputs and lines of a workgroup, of rows outputs and channels.
    pub(super) tile: [usize; 2],
    /// How lines are divided into tiles.
    pub(super) lines: Lines,
    /// Windows of a step of the loop; of rows vec4s of windows.
    pub(super) slice: usize,
    /// The least slices of a part.
    pub(super) least_slices: usize,
    /// The most slices in one part, which need no sum of the parts, if these would be more. A dispatch takes as long as some slices.
    pub(super) whole: usize,
    /// Loop iterations in addition to those over the slices, without those of `lib/lines.wgsl`.
    pub(super) more_iterations: u64,
    pub(super) fill: Fill,
    /// Which parts have the order of the units, which `conv2d_weight_sum.wgsl` changes as it adds them up.
    pub(super) in_units: InUnits,
}

pub(super) const SINGLE: Tile = Tile {
    shader: &CONV2D_WEIGHT_SINGLE,
    tile: [1, 12],
    lines: Lines::OfChannels(1),
    slice: 64,
    least_slices: 16,
    whole: 16,
    more_iterations: 9,
    fill: Fill::About(4096),
    in_units: InUnits::None,
};

/// A line of a tile is a channel of eight outputs.
pub(super) const ROWS: Tile = Tile {
    shader: &CONV2D_WEIGHT_ROWS,
    tile: [8, 4],
    lines: Lines::Pairs,
    slice: 32,
    least_slices: 4,
    whole: 12,
    more_iterations: 4 * 33 + 1,
    fill: Fill::About(MANY_OF_ROWS),
    ..SINGLE
};

impl Lines {
    const fn of(by_lines: bool) -> Self {
        if by_lines { Self::Together(PACK) } else { Self::OfChannels(PACK) }
    }

    /// Elements of a column of windows.
    pub(super) const fn column(self) -> usize {
        match self {
            Self::OfChannels(_) | Self::Together(_) => 1,
            Self::Pairs | Self::Channels => FOUR,
        }
    }
}

impl Tile {
    pub(super) fn few(number: usize) -> Self {
        let &WeightTile { tile, slice, by_lines, ref shader, .. } = &CONV2D_WEIGHT_FEW[number];
        Self {
            shader,
            tile,
            lines: Lines::of(by_lines),
            slice,
            least_slices: 8,
            fill: Fill::About(MANY_OF_FEW),
            ..ROWS
        }
    }

    pub(super) fn rows_tiled(number: usize) -> Self {
        let shader = &CONV2D_WEIGHT_ROWS_TILED[number];
        Self {
            shader,
            tile: TILES_OF_ROWS[number],
            lines: Lines::Channels,
            slice: SLICE_OF_ROWS,
            fill: Fill::Waves,
            least_slices: 2 * LEAST_SLICES_OF_LARGE,
            more_iterations: 2,
            in_units: InUnits::All,
            ..SINGLE
        }
    }

    pub(super) fn tiled(number: usize) -> Self {
        let of_tile = &CONV2D_WEIGHT_TILED[number];
        let &WeightTile { tile, slice, by_lines, ref shader, ref in_units } = of_tile;
        let (fill, least_slices) = match number {
            TILE_OF_MANY => (Fill::Waves, LEAST_SLICES_OF_LARGE),
            _ => {
                let about = (MANY_INVOCATIONS / of_tile.invocations()).max(MANY_WORKGROUPS);
                (Fill::About(about), SINGLE.least_slices)
            }
        };
        let in_units = in_units.as_ref().map_or(InUnits::None, InUnits::Several);
        Self { shader, tile, lines: Lines::of(by_lines), slice, fill, least_slices, in_units, ..SINGLE }
    }

    /// The parts of a sum of so many slices, at most `most`, with so many tiles.
    pub(super) fn parts(&self, tiles: usize, slices: usize, most: usize) -> usize {
        let parts = match self.fill {
            Fill::About(workgroups) => workgroups / tiles,
            Fill::Waves => even_parts(tiles, slices, most),
        };
        parts.min(most).max(1)
    }
}

/// The parts with which the workgroups of the large tile take the least time, in slices: as many as fill whole waves of one workgroup
/// for each multiprocessor, of which a wave takes as long as a part has slices, and each part takes the time of storing it and of
/// adding it up. On an H100, 256 channels of 32 × 32 take 70 µs in 4 parts, 144 workgroups, of which 12 multiprocessors have two, 52
/// in 3 parts and 49 in 7. Two workgroups on a multiprocessor take nearly twice as long as one.
fn even_parts(tiles: usize, slices: usize, most: usize) -> usize {
    let tiles = tiles.max(1);
    let cost = |parts: usize| {
        let waves = tiles.saturating_mul(parts).div_ceil(MANY_MULTIPROCESSORS);
        // A single workgroup hides a little less latency.
        let slice = if waves == 1 { 33 } else { 32 };
        let stored = if parts == 1 { 0 } else { tiles.saturating_mul(parts).saturating_mul(64) / MANY_MULTIPROCESSORS };
        waves.saturating_mul(slices.div_ceil(parts)).saturating_mul(slice).saturating_add(stored)
    };
    let full = (1..=MOST_WAVES).map(|waves| (waves.saturating_mul(MANY_MULTIPROCESSORS) / tiles).clamp(1, most.max(1)));
    full.min_by_key(|&parts| cost(parts)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_large_tile_fill_waves_of_workgroups() {
        let many = usize::MAX;
        // 256 channels of 32 × 32: 252 workgroups of 10 slices.
        assert_eq!(even_parts(36, 64, many), 7);
        // 128 channels of 256 × 256: 261 workgroups, twice as many as one wave has.
        assert_eq!(even_parts(9, 4096, many), 29);
        // 512 channels of 64 × 64: 1,152 workgroups in nine waves, and fewer where the parts have no room.
        assert_eq!([many, 3, 1].map(|most| even_parts(144, 256, most)), [8, 3, 1]);
        assert_eq!(even_parts(1 << 20, 1 << 20, many), 1, "many tiles need no parts");
        assert_eq!([even_parts(0, 0, 0), even_parts(many, many, many)], [1, 1]);
    }
}
