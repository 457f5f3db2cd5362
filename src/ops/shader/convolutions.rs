//! The kernels of convolutions by the sizes of their tiles, the order of K, and the way in which results are stored.

use super::Shader;
use super::catalog::source;

/// The kernels of one tile of `conv2d_tiled.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct ConvolutionTile {
    /// Outputs and windows of a tile.
    pub(in crate::ops) tile: [usize; 2],
    /// The tile size along the K dimension.
    pub(in crate::ops) slice: usize,
    /// Whether its units are those of `lib/lines.wgsl`, for few channels.
    pub(in crate::ops) by_lines: bool,
    /// By whether K is divided into parts, and by whether windows are stored as vec4s.
    pub(in crate::ops) shaders: [[Shader; 2]; 2],
}

/// The largest number of lines of `lib/lines.wgsl`.
pub(in crate::ops) const MOST_LINES: usize = 256;

macro_rules! convolution {
    ($outputs:literal, $windows:literal, $slice:literal, $units:literal) => {
        ConvolutionTile {
            tile: [$outputs, $windows],
            slice: $slice,
            by_lines: is_by_lines($units),
            shaders: [
                [
                    convolution!($outputs, $windows, $slice, $units, "windows_scalar", "false"),
                    convolution!($outputs, $windows, $slice, $units, "windows_vec4", "false"),
                ],
                [
                    convolution!($outputs, $windows, $slice, $units, "windows_scalar", "true"),
                    convolution!($outputs, $windows, $slice, $units, "windows_vec4", "true"),
                ],
            ],
        }
    };
    ($outputs:literal, $windows:literal, $slice:literal, $units:literal, $target:literal, $in_parts:literal) => {
        Shader::new(
            concat!("conv2d_tiled_", $units, "_", $outputs, "_", $windows, "_", $target, "_", $in_parts),
            &[
                source!("lib/convolution"),
                include_str!(concat!("../../../shaders/lib/", $units, ".wgsl")),
                source!("conv2d_tiled"),
                source!("lib/block"),
                include_str!(concat!("../../../shaders/lib/", $target, ".wgsl")),
                source!("lib/row_epilogue"),
                source!("lib/activation"),
            ],
        )
        .edited(&[
            ["OUTPUTS", concat!($outputs, "u")],
            ["WINDOWS", concat!($windows, "u")],
            ["SLICE", concat!($slice, "u")],
            ["IN_PARTS", $in_parts],
        ])
    };
}

/// Whether a file of units is `lib/lines.wgsl`.
const fn is_by_lines(file: &str) -> bool {
    matches!(file.as_bytes(), b"lines")
}

/// Convolutions with many outputs, by the size of the tile; the last two are for few channels.
pub(in crate::ops) static CONV2D_TILED: [ConvolutionTile; 5] = [
    convolution!(128, 128, 16, "channels"),
    convolution!(64, 64, 8, "channels"),
    convolution!(32, 256, 8, "channels"),
    convolution!(64, 64, 8, "lines"),
    convolution!(32, 256, 8, "lines"),
];

macro_rules! cooperative_convolution {
    ($target:literal, $in_parts:literal) => {
        Shader::new(
            concat!("conv2d_cooperative_", $target, "_", $in_parts),
            &[
                source!("conv2d_cooperative"),
                source!("lib/convolution"),
                source!("lib/channels"),
                source!("lib/fragments"),
                include_str!(concat!("../../../shaders/lib/", $target, ".wgsl")),
                source!("lib/row_epilogue"),
                source!("lib/activation"),
            ],
        )
        .edited(&[["IN_PARTS", $in_parts]])
    };
}

/// Convolutions of f16 with many outputs, by whether K is divided into parts, and by whether windows are stored as vec4s.
pub(in crate::ops) static CONV2D_COOPERATIVE: [[Shader; 2]; 2] = [
    [cooperative_convolution!("windows_scalar", "false"), cooperative_convolution!("windows_vec4", "false")],
    [cooperative_convolution!("windows_scalar", "true"), cooperative_convolution!("windows_vec4", "true")],
];

macro_rules! rows_in_tiles {
    ($name:literal, $($parts:literal),+) => {
        Shader::new(
            concat!("conv2d_rows_tiled_", $name),
            &[
                source!("lib/convolution"),
                source!("lib/two_rows"),
                source!("conv2d_rows_tiled"),
                $(source!($parts),)+
                source!("lib/row_epilogue"),
                source!("lib/activation"),
            ],
        )
    };
}

/// Convolutions with 3 × 3 and with 5 × 5 taps, and with 3 × 3 taps that are two rows and columns apart.
pub(in crate::ops) static CONV2D_ROWS_TILED: [Shader; 3] = [
    rows_in_tiles!("of_three", "lib/sides_of_one", "lib/three_adjacent", "lib/rows_of_three"),
    rows_in_tiles!("of_five", "lib/sides_of_two", "lib/rows_of_five"),
    rows_in_tiles!("of_three_apart", "lib/sides_of_two", "lib/three_apart", "lib/rows_of_three"),
];

/// The kernels of one tile of `conv2d_weight_tiled.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct WeightTile {
    /// Outputs and lines of a tile.
    pub(in crate::ops) tile: [usize; 2],
    /// The tile size along the K dimension.
    pub(in crate::ops) slice: usize,
    /// Whether its units are those of `lib/lines.wgsl`, for few channels.
    pub(in crate::ops) by_lines: bool,
    /// Stores parts in the order of the gradient.
    pub(in crate::ops) shader: Shader,
    /// Stores parts in the order of the units, which [`CONV2D_WEIGHT_SUM`] adds up.
    pub(in crate::ops) in_units: Option<Shader>,
}

macro_rules! weight_gradient {
    ($outputs:literal, $lines:literal, $slice:literal, $units:literal, $order:literal) => {
        Shader::new(
            concat!("conv2d_weight_tiled_", $units, "_", $outputs, "_", $lines, "_", $order),
            &[
                source!("lib/weight_gradient"),
                include_str!(concat!("../../../shaders/lib/", $units, ".wgsl")),
                source!("conv2d_weight_tiled"),
                source!("lib/block"),
                include_str!(concat!("../../../shaders/lib/", $order, ".wgsl")),
            ],
        )
        .edited(&[
            ["OUTPUTS", concat!($outputs, "u")],
            ["LINES", concat!($lines, "u")],
            ["SLICE", concat!($slice, "u")],
        ])
    };
    ($outputs:literal, $lines:literal, $slice:literal, $units:literal, in units: $in_units:expr) => {
        WeightTile {
            tile: [$outputs, $lines],
            slice: $slice,
            by_lines: is_by_lines($units),
            shader: weight_gradient!($outputs, $lines, $slice, $units, "parts_in_order"),
            in_units: $in_units,
        }
    };
}

/// Weight gradients of convolutions, by the size of the tile; the last two are for few channels. Parts of few outputs are too small for
/// their order to matter.
pub(in crate::ops) static CONV2D_WEIGHT_TILED: [WeightTile; 5] = [
    weight_gradient!(
        128,
        128,
        16,
        "channels",
        in units: Some(weight_gradient!(128, 128, 16, "channels", "parts_in_units"))
    ),
    weight_gradient!(64, 64, 16, "channels", in units: Some(weight_gradient!(64, 64, 16, "channels", "parts_in_units"))),
    weight_gradient!(32, 64, 8, "channels", in units: None),
    weight_gradient!(64, 64, 16, "lines", in units: None),
    weight_gradient!(32, 64, 8, "lines", in units: None),
];

macro_rules! weight_gradient_of_rows {
    ($outputs:literal, $taps:literal $(, $lib:literal)*) => {
        Shader::new(
            concat!("conv2d_", $taps, "_", $outputs),
            &[
                source!("lib/weight_gradient"),
                source!("conv2d_weight_rows_tiled"),
                include_str!(concat!("../../../shaders/lib/", $taps, ".wgsl")),
                $(source!($lib),)*
            ],
        )
        .edited(&[["OUTPUTS", concat!($outputs, "u")]])
    };
}

/// Weight gradients of 3 × 3 taps in tiles of 128 outputs and 16 channels, and of 64 and 32; and of 5 × 5 taps in tiles of 64 outputs and
/// 16 channels.
pub(in crate::ops) static CONV2D_WEIGHT_ROWS_TILED: [Shader; 3] = [
    weight_gradient_of_rows!(128, "weight_rows_of_three", "lib/sides_of_one", "lib/three_taps"),
    weight_gradient_of_rows!(64, "weight_rows_of_three", "lib/sides_of_one", "lib/three_taps"),
    weight_gradient_of_rows!(64, "weight_rows_of_five", "lib/sides_of_two"),
];

macro_rules! weight_sum {
    ($lanes:literal) => {
        Shader::new(concat!("conv2d_weight_sum_", $lanes), &[source!("conv2d_weight_sum")]).edited(&[["LANES", $lanes]])
    };
}

/// Sums of the parts of a weight gradient in the order of the units: for few parts, and for more.
pub(in crate::ops) static CONV2D_WEIGHT_SUM: [Shader; 2] = [weight_sum!("1u"), weight_sum!("8u")];

macro_rules! weight_gradient_of_few {
    ($count:literal, $lines:literal, $units:literal) => {
        WeightTile {
            tile: [8, $lines],
            slice: 32,
            by_lines: is_by_lines($units),
            shader: Shader::new(
                concat!("conv2d_weight_few_", $units),
                &[
                    source!("lib/weight_gradient"),
                    include_str!(concat!("../../../shaders/lib/", $units, ".wgsl")),
                    source!("conv2d_weight_few"),
                    source!("lib/lane_sums"),
                ],
            )
            .edited(&[["UNITS", $count]]),
            in_units: None,
        }
    };
}

/// Weight gradients with few outputs or few lines; the last one is for few channels.
pub(in crate::ops) static CONV2D_WEIGHT_FEW: [WeightTile; 2] =
    [weight_gradient_of_few!("3u", 24, "channels"), weight_gradient_of_few!("4u", 32, "lines")];

impl WeightTile {
    /// Invocations of a workgroup, of 8 × 8 elements each.
    pub(in crate::ops) const fn invocations(&self) -> usize {
        self.tile[0] * self.tile[1] / 64
    }

    /// Bytes of workgroup memory, without those of `lib/lines.wgsl`: lines of both operands, a vec4 longer.
    pub(in crate::ops) const fn workgroup_bytes(&self) -> usize {
        self.slice * (self.tile[0] + self.tile[1] + 8) * 4
    }
}
