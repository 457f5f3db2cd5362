//! Products of sizes written with `*`, which wrap silently in release builds. Each file over the shapes of the caller has as many of them
//! as are listed here, with the reason why they cannot overflow. Others go through `src/tensor/arithmetic.rs`.

/// The files and folders whose sizes come from the caller.
pub(crate) const OVER_SHAPES: [&str; 9] = [
    "src/ops/arrange.rs",
    "src/ops/copy.rs",
    "src/ops/image/",
    "src/ops/indexed.rs",
    "src/ops/matmul/",
    "src/ops/reduce",
    "src/ops/rows.rs",
    "src/ops/transposing_copy.rs",
    "src/tensor/",
];

/// Files with the checked products.
pub(crate) const CHECKED: &str = "src/tensor/arithmetic";

/// The number of products in a file, and why each is bounded.
const BOUNDED: [(&str, usize, &str); 27] = [
    (
        "src/ops/image/bands.rs",
        3,
        "windows times the stride are at most the padded size, which was checked when the windows were counted",
    ),
    ("src/ops/image/blocks.rs", 1, "windows times the stride, as in bands.rs"),
    ("src/ops/image/convolve.rs", 1, "sizes of one weight"),
    ("src/ops/image/correlate.rs", 4, "sizes of one result, which exists"),
    ("src/ops/image/correlation_kernel.rs", 4, "the sizes of a tile, and constants; iterations of loops"),
    (
        "src/ops/image/correlation_weights.rs",
        4,
        "sizes and strides of one weight, and lines and blocks of its copy, which exists",
    ),
    (
        "src/ops/image/folded_gradient.rs",
        4,
        "rows of windows times their columns, which exist; windows times the stride, as in bands.rs",
    ),
    ("src/ops/image/pool.rs", 4, "rows of a plane; windows times the stride, as in bands.rs; floating-point numbers"),
    (
        "src/ops/image/resample.rs",
        12,
        "twice a size, of which four bytes each fit; iterations of loops; in 64 bits, sizes below 2^30",
    ),
    ("src/ops/image/weight_gradient.rs", 1, "at most 2^14 slices of a tile"),
    ("src/ops/image/weight_kernel.rs", 1, "constants"),
    ("src/ops/image/weight_tile.rs", 2, "constants"),
    ("src/ops/image/weight_parts.rs", 4, "channels or outputs of an image or a weight, which exist"),
    ("src/ops/matmul/choice.rs", 6, "tiles of an output, which exists, in 64 bits; their sizes are constants"),
    ("src/ops/matmul/in_parts.rs", 7, "parts of the operands and of the output, which exist"),
    ("src/ops/matmul/mod.rs", 6, "rows of the output, and parts of the operands, which exist"),
    ("src/ops/matmul/product.rs", 2, "iterations of loops; the sides of a tile; tiles of the output, which exists"),
    ("src/ops/reduce.rs", 5, "constants; parts of the outputs, fewer than elements, whose number was checked"),
    (
        "src/ops/rows.rs",
        4,
        "iterations of loops; columns of a tensor times a constant; the size of a workgroup times a constant",
    ),
    ("src/ops/transposing_copy.rs", 1, "constants"),
    ("src/tensor/blocks.rs", 4, "products over sizes of a checked shape"),
    ("src/tensor/create.rs", 1, "at most the bytes of the tensor, as just compared"),
    ("src/tensor/format.rs", 3, "indices of the elements that are printed"),
    (
        "src/tensor/layout.rs",
        10,
        "sizes and strides of a layout, whose products with a number below the size never overflow",
    ),
    ("src/tensor/overlap.rs", 2, "numbers of 128 bits"),
    ("src/tensor/pieces.rs", 2, "an index times the stride of a layout"),
    ("src/tensor/view.rs", 1, "with more than one element, the next one is within the axis"),
];

/// Complains about a file with more products than are listed.
pub(crate) fn complaints(path: &str, text: &str) -> Vec<String> {
    let (lines, listed) = (products(path, text), bounded(path));
    match lines.last() {
        Some(last) if lines.len() > listed => vec![format!(
            "{path}:{last}: {} products of sizes with `*`, in lines {lines:?}, of which tests/house/products.rs lists {listed} as \
             bounded; src/tensor/arithmetic.rs has checked ones",
            lines.len()
        )],
        _ => Vec::new(),
    }
}

/// Complains about entries of the list for more products than the file has.
pub(crate) fn unneeded(sources: &[(String, String)]) -> Vec<String> {
    let found =
        |file: &str| sources.iter().find(|(path, _)| path == file).map_or(0, |(path, text)| products(path, text).len());
    let listed = BOUNDED.iter().filter(|(file, count, _)| found(file) < *count);
    listed
        .map(|(file, count, _)| format!("{file}: {} products of {count} in tests/house/products.rs", found(file)))
        .collect()
}

/// The lines of the products.
fn products(path: &str, text: &str) -> Vec<usize> {
    let is_over_shapes = OVER_SHAPES.iter().any(|one| path.starts_with(one));
    if !is_over_shapes || path.starts_with(CHECKED) || path.ends_with("tests.rs") {
        return Vec::new();
    }
    let code = text.lines().enumerate().take_while(|(_, line)| *line != "mod tests {");
    // As rustfmt writes a multiplication, and neither a dereference nor the repetition of a macro.
    let lines = code.flat_map(|(index, line)| {
        let line = line.split("//").next().unwrap_or_default();
        let count = line.matches(" * ").count() + line.matches(" *= ").count();
        std::iter::repeat_n(index + 1, count)
    });
    lines.collect()
}

fn bounded(path: &str) -> usize {
    BOUNDED.iter().find(|(file, ..)| *file == path).map_or(0, |(_, count, _)| *count)
}
