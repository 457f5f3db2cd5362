// The rows of an image under the 3 × 3 taps of a window of four columns and two rows, for conv2d_rows_tiled.wgsl.
//
// The kernel declares `staged_image`, in which it stages rows of the image, and `step`, which adds a tap of both rows of a window. A row of
// `staged_image` is a tap of a row of the image. Needs lib/three_adjacent.wgsl or lib/three_apart.wgsl, and the neighbours of a vec4 that
// they need.
//
// Indices: none outside workgroup memory. Loops: none.

const KERNEL: u32 = 3u;
const CHANNELS: u32 = 2u;

// The three taps in a column.
fn steps(weight: u32, down: u32, line: u32, along: u32, sums: ptr<function, array<Vec4, 16>>) {
    let row_0 = staged_image[line][along];
    let row_1 = staged_image[line + 3u][along];
    step(weight, down, row_0, row_1, sums);
    let row_2 = staged_image[line + 6u][along];
    step(weight + 3u * CHANNELS, down, row_1, row_2, sums);
    let row_3 = staged_image[line + 9u][along];
    step(weight + 6u * CHANNELS, down, row_2, row_3, sums);
}

fn multiply_channel(weight: u32, line: u32, down: u32, along: u32, sums: ptr<function, array<Vec4, 16>>) {
    steps(weight, down, line, along, sums);
    steps(weight + CHANNELS, down, line + 1u, along, sums);
    steps(weight + 2u * CHANNELS, down, line + 2u, along, sums);
}

// Multiplies a slice.
fn multiply(down: u32, along: u32, sums: ptr<function, array<Vec4, 16>>) {
    multiply_channel(0u, 0u, down, along, sums);
    multiply_channel(1u, ROWS * KERNEL, down, along, sums);
}
