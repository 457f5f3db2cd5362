//! Every kernel that the crate has of its own: its WGSL, and what is bound to it.

use super::Shader;

macro_rules! source {
    ($file:literal) => {
        include_str!(concat!("../../../shaders/", $file))
    };
}

macro_rules! sources {
    ($($file:literal),+) => {
        concat!($(source!($file)),+)
    };
}

const MATRIX_AS_LEFT: [&str; 3] =
    ["@group(0) @binding(2) var<storage, read_write> right: array<Element>;\n", "right[", "left["];
const KEPT_AS_LEFT: [&str; 3] =
    ["@group(0) @binding(2) var<storage, read_write> right: array<StoredInput>;\n", "right[", "left["];
pub(in crate::ops) const COPY_TRANSPOSED: Shader = Shader {
    name: "copy_transposed",
    source: source!("copy_transposed.wgsl"),
    entry: "copy_transposed",
    tensors: 2,
    parameter_bytes: 80,
    kind: &[],
    body: None,
    shared: None,
};
pub(in crate::ops) const REDUCE_PART: Shader = Shader {
    name: "reduce_part",
    source: sources!("lib/reduce.wgsl", "reduce_part.wgsl"),
    entry: "reduce_part",
    tensors: 2,
    parameter_bytes: 80,
    kind: &[],
    body: None,
    shared: None,
};
pub(in crate::ops) const REDUCE_FEW: Shader =
    REDUCE_PART.with_source("reduce_few", sources!("lib/reduce.wgsl", "reduce_few.wgsl"));
pub(in crate::ops) const REDUCE_ROW: Shader =
    REDUCE_PART.with_source("reduce_row", sources!("lib/reduce.wgsl", "lib/as_vec4.wgsl", "reduce_row.wgsl"));
pub(in crate::ops) const REDUCE_SHORT_ROW: Shader = REDUCE_PART
    .with_source("reduce_short_row", sources!("lib/reduce.wgsl", "lib/as_vec4.wgsl", "reduce_short_row.wgsl"));
pub(in crate::ops) const REDUCE_COLUMNS: Shader =
    REDUCE_PART.with_source("reduce_columns", sources!("lib/reduce.wgsl", "lib/as_vec4.wgsl", "reduce_columns.wgsl"));
pub(in crate::ops) const SOFTMAX: Shader = Shader {
    name: "softmax",
    source: sources!("lib/row.wgsl", "lib/as_vec4.wgsl", "softmax.wgsl"),
    entry: "softmax",
    tensors: 2,
    parameter_bytes: 24,
    kind: &[],
    body: Some("return exp(shifted) / total;"),
    shared: None,
};
pub(in crate::ops) const SOFTMAX_LONG: Shader =
    SOFTMAX.with_source("softmax_long", sources!("lib/row.wgsl", "softmax_long.wgsl"));
pub(in crate::ops) const NORMALIZE: Shader = Shader {
    name: "normalize",
    source: sources!("lib/row.wgsl", "lib/as_vec4.wgsl", "normalize.wgsl"),
    entry: "normalize",
    tensors: 4,
    body: None,
    ..SOFTMAX
};
pub(in crate::ops) const NORMALIZE_LONG: Shader =
    NORMALIZE.with_source("normalize_long", sources!("lib/row.wgsl", "normalize_long.wgsl"));
pub(in crate::ops) const MATMUL: Shader = Shader {
    name: "matmul",
    source: concat!(source!("matmul.wgsl"), source!("lib/epilogue.wgsl")),
    entry: "matmul",
    tensors: 3,
    parameter_bytes: 64,
    kind: &[],
    body: Some("return x;"),
    shared: Some(MATRIX_AS_LEFT),
};

macro_rules! tiled {
    ($operands:literal, $tile:literal, $left:literal, $right:literal) => {
        Shader {
            name: concat!("matmul_tiled_", $operands, "_", $tile, "_", $left, "_", $right),
            source: concat!(
                include_str!(concat!("../../../shaders/lib/", $operands, ".wgsl")),
                source!("matmul_tiled.wgsl"),
                source!("lib/epilogue.wgsl")
            ),
            entry: "matmul_tiled",
            parameter_bytes: 56,
            kind: &[
                ["const TILE: u32 = 128u;", concat!("const TILE: u32 = ", $tile, ";")],
                ["const LEFT_K_CONTIGUOUS: bool = true;", concat!("const LEFT_K_CONTIGUOUS: bool = ", $left, ";")],
                ["const RIGHT_K_CONTIGUOUS: bool = true;", concat!("const RIGHT_K_CONTIGUOUS: bool = ", $right, ";")],
            ],
            shared: Some(KEPT_AS_LEFT),
            ..MATMUL
        }
    };
    ($operands:literal, $tile:literal) => {
        [
            [tiled!($operands, $tile, "false", "false"), tiled!($operands, $tile, "false", "true")],
            [tiled!($operands, $tile, "true", "false"), tiled!($operands, $tile, "true", "true")],
        ]
    };
}

macro_rules! cooperative {
    ($left:literal, $right:literal) => {
        Shader {
            name: concat!("matmul_cooperative_", $left, "_", $right),
            source: concat!(
                source!("matmul_cooperative.wgsl"),
                source!("lib/operands_vec4.wgsl"),
                source!("lib/epilogue.wgsl")
            ),
            entry: "matmul_cooperative",
            parameter_bytes: 56,
            kind: &[
                ["const LEFT_K_CONTIGUOUS: bool = true;", concat!("const LEFT_K_CONTIGUOUS: bool = ", $left, ";")],
                ["const RIGHT_K_CONTIGUOUS: bool = true;", concat!("const RIGHT_K_CONTIGUOUS: bool = ", $right, ";")],
            ],
            shared: Some(KEPT_AS_LEFT),
            ..MATMUL
        }
    };
}

/// Products of large matrices of f16, by whether the left and then the right one is contiguous along the depth.
pub(in crate::ops) static COOPERATIVE: [[Shader; 2]; 2] = [
    [cooperative!("false", "false"), cooperative!("false", "true")],
    [cooperative!("true", "false"), cooperative!("true", "true")],
];

/// Kernels by whether the operands are in vec4s, and whether the left and then the right one is contiguous along the depth.
pub(in crate::ops) type Tiled = [[[Shader; 2]; 2]; 2];

/// Products of large matrices.
pub(in crate::ops) static TILED_MANY: Tiled = [tiled!("operands_scalar", "128u"), tiled!("operands_vec4", "128u")];
/// Products of medium ones.
pub(in crate::ops) static TILED_FEW: Tiled = [tiled!("operands_scalar", "64u"), tiled!("operands_vec4", "64u")];
pub(in crate::ops) const UNIFORM: Shader = Shader {
    name: "uniform",
    source: include_str!("../../../shaders/random.wgsl"),
    entry: "uniform_numbers",
    tensors: 1,
    parameter_bytes: 24,
    kind: &[],
    body: None,
    shared: None,
};
pub(in crate::ops) const NORMAL: Shader = Shader { name: "normal", entry: "normal_numbers", ..UNIFORM };

/// Bytes of the parameters of `lib/indexed.wgsl`.
pub(in crate::ops) const INDEXED_BYTES: u32 = 128;

pub(in crate::ops) const GATHER: Shader = Shader {
    name: "gather",
    source: concat!(source!("lib/indexed.wgsl"), source!("gather.wgsl")),
    entry: "gather",
    tensors: 3,
    parameter_bytes: INDEXED_BYTES,
    kind: &[],
    body: None,
    shared: None,
};
pub(in crate::ops) const SCATTER_ADD: Shader = Shader {
    name: "scatter_add",
    source: concat!(source!("lib/indexed.wgsl"), source!("scatter_add.wgsl")),
    entry: "scatter_add",
    ..GATHER
};
pub(in crate::ops) const ARANGE: Shader = Shader {
    name: "arange",
    source: source!("arange.wgsl"),
    entry: "arange",
    tensors: 1,
    parameter_bytes: 12,
    ..GATHER
};

/// Bytes of the parameters of `lib/image.wgsl`.
pub(in crate::ops) const IMAGE_BYTES: u32 = 112;

pub(in crate::ops) const UNFOLD: Shader = Shader {
    name: "unfold",
    source: concat!(source!("lib/image.wgsl"), source!("unfold.wgsl")),
    entry: "unfold",
    tensors: 2,
    parameter_bytes: IMAGE_BYTES,
    ..GATHER
};
pub(in crate::ops) const CONV2D: Shader = Shader {
    name: "conv2d",
    source: concat!(source!("lib/image.wgsl"), source!("conv2d.wgsl")),
    entry: "conv2d",
    tensors: 3,
    parameter_bytes: IMAGE_BYTES,
    ..GATHER
};
pub(in crate::ops) const CONV2D_WEIGHT: Shader = Shader {
    name: "conv2d_weight",
    source: concat!(source!("lib/image.wgsl"), source!("conv2d_weight.wgsl")),
    entry: "conv2d_weight",
    tensors: 3,
    parameter_bytes: IMAGE_BYTES,
    ..GATHER
};
pub(in crate::ops) const FOLD: Shader = Shader {
    name: "fold",
    source: concat!(source!("lib/image.wgsl"), source!("fold.wgsl")),
    entry: "fold",
    tensors: 2,
    parameter_bytes: IMAGE_BYTES,
    ..GATHER
};
pub(in crate::ops) const MAX_POOL: Shader = Shader {
    name: "max_pool",
    source: concat!(source!("lib/image.wgsl"), source!("max_pool.wgsl")),
    entry: "max_pool",
    tensors: 3,
    parameter_bytes: IMAGE_BYTES,
    ..GATHER
};
pub(in crate::ops) const MAX_POOL_BACK: Shader = Shader {
    name: "max_pool_back",
    source: concat!(source!("lib/image.wgsl"), source!("max_pool_back.wgsl")),
    entry: "max_pool_back",
    tensors: 3,
    parameter_bytes: IMAGE_BYTES,
    ..GATHER
};
pub(in crate::ops) const AVERAGE_POOL: Shader = Shader {
    name: "average_pool",
    source: sources!("lib/image.wgsl", "lib/quotient.wgsl", "lib/average.wgsl", "average_pool.wgsl"),
    entry: "average_pool",
    tensors: 2,
    parameter_bytes: IMAGE_BYTES,
    ..GATHER
};
pub(in crate::ops) const AVERAGE_POOL_BACK: Shader = Shader {
    name: "average_pool_back",
    source: sources!("lib/image.wgsl", "lib/quotient.wgsl", "lib/average.wgsl", "average_pool_back.wgsl"),
    entry: "average_pool_back",
    tensors: 2,
    parameter_bytes: IMAGE_BYTES,
    ..GATHER
};
pub(in crate::ops) const UPSAMPLE: Shader = Shader {
    name: "upsample",
    source: concat!(source!("lib/image.wgsl"), source!("lib/resample.wgsl"), source!("upsample.wgsl")),
    entry: "upsample",
    tensors: 2,
    parameter_bytes: IMAGE_BYTES,
    ..GATHER
};
pub(in crate::ops) const UPSAMPLE_BACK: Shader = Shader {
    name: "upsample_back",
    source: concat!(source!("lib/image.wgsl"), source!("lib/resample.wgsl"), source!("upsample_back.wgsl")),
    entry: "upsample_back",
    tensors: 2,
    parameter_bytes: IMAGE_BYTES,
    ..GATHER
};

/// Kernels over lists, by how many windows on memory they bind, less one.
pub(in crate::ops) type Listed = [Shader; 4];

/// The lines of windows that a kernel doesn't bind.
const WITHOUT_ONE: [[&str; 2]; 3] = [
    ["@group(0) @binding(3) var<storage, read_write> memory_3: array<Element>;\n", ""],
    ["        case 3u: { return f32(memory_3[place]); }\n", ""],
    ["        case 3u: { memory_3[place] = Element(value); }\n", ""],
];
const WITHOUT_TWO: [[&str; 2]; 6] = [
    ["@group(0) @binding(2) var<storage, read_write> memory_2: array<Element>;\n", ""],
    ["        case 2u: { return f32(memory_2[place]); }\n", ""],
    ["        case 2u: { memory_2[place] = Element(value); }\n", ""],
    ["@group(0) @binding(3) var<storage, read_write> memory_3: array<Element>;\n", ""],
    ["        case 3u: { return f32(memory_3[place]); }\n", ""],
    ["        case 3u: { memory_3[place] = Element(value); }\n", ""],
];
const WITHOUT_THREE: [[&str; 2]; 9] = [
    ["@group(0) @binding(1) var<storage, read_write> memory_1: array<Element>;\n", ""],
    ["        case 1u: { return f32(memory_1[place]); }\n", ""],
    ["        case 1u: { memory_1[place] = Element(value); }\n", ""],
    ["@group(0) @binding(2) var<storage, read_write> memory_2: array<Element>;\n", ""],
    ["        case 2u: { return f32(memory_2[place]); }\n", ""],
    ["        case 2u: { memory_2[place] = Element(value); }\n", ""],
    ["@group(0) @binding(3) var<storage, read_write> memory_3: array<Element>;\n", ""],
    ["        case 3u: { return f32(memory_3[place]); }\n", ""],
    ["        case 3u: { memory_3[place] = Element(value); }\n", ""],
];

macro_rules! listed {
    ($name:literal) => {
        [
            listed!($name, "_1", 1, &WITHOUT_THREE),
            listed!($name, "_2", 2, &WITHOUT_TWO),
            listed!($name, "_3", 3, &WITHOUT_ONE),
            listed!($name, "_4", 4, &[]),
        ]
    };
    ($name:literal, $suffix:literal, $windows:literal, $kind:expr) => {
        Shader {
            name: concat!($name, $suffix),
            source: concat!(include_str!(concat!("../../../shaders/", $name, ".wgsl")), source!("lib/list.wgsl")),
            entry: $name,
            tensors: $windows,
            parameter_bytes: 256,
            kind: $kind,
            ..GATHER
        }
    };
}

pub(in crate::ops) static SGD: Listed = listed!("sgd");
pub(in crate::ops) static ADAMW: Listed = listed!("adamw");
