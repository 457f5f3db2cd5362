// The rows of an image under the 3 × 3 taps of a window of four columns and two rows, for conv2d_rows_tiled.wgsl.
//
// The kernel declares `staged_image`, in which it stages rows of the image, and `step`, which adds a tap of both rows of a window. A row of
// `staged_image` is a tap of a row of the image. Needs lib/sides_of_one.wgsl.
//
// Indices: none outside workgroup memory. Loops: none.

const KERNEL: u32 = 3u;
const CHANNELS: u32 = 2u;

// Stages a vec4 of a row of the image for each tap.
fn stage_row(line: u32, window: u32, own: vec4<Element>, before: Side, after: Side, exist: vec3<bool>) {
    let middle = select(Vec4(), Vec4(own), exist.y);
    let left = select(Number(), Number(before), exist.x);
    let right = select(Number(), Number(after), exist.z);
    staged_image[line][window] = Vec4(left, middle.xyz);
    staged_image[line + 1u][window] = middle;
    staged_image[line + 2u][window] = Vec4(middle.yzw, right);
}

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
