//! Every kernel in a separate file, and the files of `shaders/lib` that it needs. Entry point, bindings and parameters
//! of a kernel are read from its text.

use super::{Edit, Shader};

macro_rules! source {
    ($file:literal) => {
        include_str!(concat!("../../../shaders/", $file, ".wgsl"))
    };
}
pub(super) use source;

macro_rules! shaders {
    ($($row:ident = $file:literal $(, $lib:literal)*;)*) => {
        $(pub(in crate::ops) static $row: Shader = Shader::new($file, &[$(source!($lib),)* source!($file)]);)*

        /// Every row.
        #[cfg(test)]
        pub(super) static ROWS: &[&Shader] = &[$(&$row),*];
    };
}

shaders! {
    COPY_TRANSPOSED = "copy_transposed";
    ARANGE = "arange";
    GATHER = "gather", "lib/indexed";
    SCATTER_ADD = "scatter_add", "lib/indexed";
    REDUCE_PART = "reduce_part", "lib/reduce";
    REDUCE_FEW = "reduce_few", "lib/reduce";
    REDUCE_ROW = "reduce_row", "lib/reduce", "lib/as_vec4";
    REDUCE_SHORT_ROW = "reduce_short_row", "lib/reduce", "lib/as_vec4";
    REDUCE_COLUMNS = "reduce_columns", "lib/reduce", "lib/as_vec4";
    SOFTMAX = "softmax", "lib/row", "lib/as_vec4", "lib/number", "lib/exponential";
    SOFTMAX_LONG = "softmax_long", "lib/row", "lib/number", "lib/exponential";
    NORMALIZE = "normalize", "lib/row", "lib/as_vec4";
    NORMALIZE_LONG = "normalize_long", "lib/row";
    MATMUL = "matmul", "lib/epilogue", "lib/activation";
    CONV2D = "conv2d", "lib/image", "lib/activation";
    CONV2D_WEIGHT = "conv2d_weight", "lib/image";
    CONV2D_PACK = "conv2d_pack";
    CONV2D_NARROW = "conv2d_narrow", "lib/convolution", "lib/channels", "lib/four_outputs", "lib/epilogue", "lib/activation";
    CONV2D_ROWS = "conv2d_rows", "lib/convolution", "lib/two_rows", "lib/padded_row", "lib/row_epilogue", "lib/activation";
    CONV2D_SMALL = "conv2d_small", "lib/convolution", "lib/channels", "lib/four_outputs", "lib/epilogue", "lib/activation";
    CONV2D_SINGLE = "conv2d_single", "lib/convolution", "lib/channels", "lib/row_epilogue", "lib/activation";
    CONV2D_WEIGHT_ROWS = "conv2d_weight_rows", "lib/weight_gradient", "lib/padded_row", "lib/three_taps", "lib/lane_sums";
    CONV2D_WEIGHT_SINGLE = "conv2d_weight_single", "lib/weight_gradient", "lib/channels";
    UNFOLD = "unfold", "lib/image";
    FOLD = "fold", "lib/image";
    MAX_POOL = "max_pool", "lib/image";
    MAX_POOL_BACK = "max_pool_back", "lib/image";
    AVERAGE_POOL = "average_pool", "lib/image", "lib/quotient", "lib/average";
    AVERAGE_POOL_BACK = "average_pool_back", "lib/image", "lib/quotient", "lib/average";
    UPSAMPLE = "upsample", "lib/image", "lib/resample";
    UPSAMPLE_BACK = "upsample_back", "lib/image", "lib/resample";
}

/// Two entry points of one file.
pub(in crate::ops) static UNIFORM: Shader = Shader::new("uniform_numbers", &[source!("random")]);
pub(in crate::ops) static NORMAL: Shader = Shader::new("normal_numbers", &[source!("random")]);

macro_rules! product {
    ($file:literal $(+ $lib:literal)*, $operands:literal, [$($size:literal = $value:literal),*], $left:literal, $right:literal) => {
        Shader::new(
            concat!($file, "_", $operands, $("_", $value,)* "_", $left, "_", $right),
            &[
                source!($file),
                include_str!(concat!("../../../shaders/lib/", $operands, ".wgsl")),
                source!("lib/epilogue"),
                source!("lib/activation"),
                $(source!($lib),)*
            ],
        )
        .edited(&[$([$size, $value],)* ["LEFT_K_CONTIGUOUS", $left], ["RIGHT_K_CONTIGUOUS", $right]])
    };
    ($file:literal $(+ $lib:literal)*, $operands:literal, $sizes:tt) => {
        [
            [
                product!($file $(+ $lib)*, $operands, $sizes, "false", "false"),
                product!($file $(+ $lib)*, $operands, $sizes, "false", "true"),
            ],
            [
                product!($file $(+ $lib)*, $operands, $sizes, "true", "false"),
                product!($file $(+ $lib)*, $operands, $sizes, "true", "true"),
            ],
        ]
    };
    (tiled $sizes:tt) => {
        [
            product!("matmul_tiled" + "lib/block", "operands_scalar", $sizes),
            product!("matmul_tiled" + "lib/block", "operands_vec4", $sizes),
        ]
    };
}

/// Kernels by whether the left and then the right operand is contiguous along K.
pub(in crate::ops) type ByContiguity = [[Shader; 2]; 2];
/// Kernels by whether the operands are in vec4s.
pub(in crate::ops) type Tiled = [ByContiguity; 2];

/// Products of large matrices of f16.
pub(in crate::ops) static COOPERATIVE: ByContiguity =
    product!("matmul_cooperative" + "lib/fragments", "operands_vec4", ["TILE" = "128u"]);
/// Products of large matrices.
pub(in crate::ops) static TILED_MANY: Tiled = product!(tiled ["ROWS" = "128u", "COLUMNS" = "128u", "SLICE" = "16u"]);
/// Products of medium ones.
pub(in crate::ops) static TILED_FEW: Tiled = product!(tiled ["ROWS" = "64u", "COLUMNS" = "64u", "SLICE" = "8u"]);
/// Products with few rows.
pub(in crate::ops) static TILED_FEW_ROWS: Tiled = product!(tiled ["ROWS" = "32u", "COLUMNS" = "128u", "SLICE" = "8u"]);

/// The sums of the parts of a product.
pub(in crate::ops) static MATMUL_PARTS: Shader =
    Shader::new("matmul_parts", &[source!("matmul_parts"), source!("lib/epilogue"), source!("lib/activation")])
        .without(&["right"]);

/// Kernels over lists, by how many windows on memory they bind, less one.
pub(in crate::ops) type Listed = [Shader; 4];

/// `load` and `store` of `lib/list.wgsl` with windows 0 and these.
macro_rules! windows {
    () => {{
        const EDITS: &[Edit] = &[
            ["load", "return f32(memory_0[at & 0x3fffffffu]);"],
            ["store", "memory_0[at & 0x3fffffffu] = Element(value);"],
        ];
        EDITS
    }};
    ($($window:literal),*) => {{
        const EDITS: &[Edit] = &[
            [
                "load",
                concat!(
                    "let place = at & 0x3fffffffu;\n    switch at >> 30u {\n",
                    $("        case ", $window, "u: { return f32(memory_", $window, "[place]); }\n",)*
                    "        default: { return f32(memory_0[place]); }\n    }"
                ),
            ],
            [
                "store",
                concat!(
                    "let place = at & 0x3fffffffu;\n    switch at >> 30u {\n",
                    $("        case ", $window, "u: { memory_", $window, "[place] = Element(value); }\n",)*
                    "        default: { memory_0[place] = Element(value); }\n    }"
                ),
            ],
        ];
        EDITS
    }};
}

macro_rules! listed {
    ($name:literal) => {
        [
            listed!($name, "_1").edited(windows!()).without(&["memory_3", "memory_2", "memory_1"]),
            listed!($name, "_2").edited(windows!("1")).without(&["memory_3", "memory_2"]),
            listed!($name, "_3").edited(windows!("1", "2")).without(&["memory_3"]),
            listed!($name, "_4").edited(windows!("1", "2", "3")),
        ]
    };
    ($name:literal, $suffix:literal) => {
        Shader::new(concat!($name, $suffix), &[source!($name), source!("lib/list")])
    };
}

pub(in crate::ops) static SGD: Listed = listed!("sgd");
pub(in crate::ops) static ADAMW: Listed = listed!("adamw");
