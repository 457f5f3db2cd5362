// The rows of an image under the 5 × 5 taps of a window of four columns and two rows, for conv2d_rows_tiled.wgsl.
//
// The kernel declares `staged_image`, in which it stages rows of the image, and `step`, which adds a tap of both rows of a window. A row of
// `staged_image` is a tap of a row of the image. Needs lib/sides_of_two.wgsl.
//
// Indices: none outside workgroup memory. Loops: none.

const KERNEL: u32 = 5u;
const DILATION: u32 = 1u;
const CHANNELS: u32 = 1u;

// Stages a vec4 of a row of the image for each tap.
fn stage_row(line: u32, window: u32, own: vec4<Element>, before: Side, after: Side, exist: vec3<bool>) {
    let middle = select(Vec4(), Vec4(own), exist.y);
    let left = select(vec2<Number>(), vec2<Number>(before), exist.x);
    let right = select(vec2<Number>(), vec2<Number>(after), exist.z);
    staged_image[line][window] = Vec4(left, middle.xy);
    staged_image[line + 1u][window] = Vec4(left.y, middle.xyz);
    staged_image[line + 2u][window] = middle;
    staged_image[line + 3u][window] = Vec4(middle.yzw, right.x);
    staged_image[line + 4u][window] = Vec4(middle.zw, right);
}

// The five taps in a column.
fn steps(weight: u32, down: u32, line: u32, along: u32, sums: ptr<function, array<Vec4, 16>>) {
    let row_0 = staged_image[line][along];
    let row_1 = staged_image[line + 5u][along];
    step(weight, down, row_0, row_1, sums);
    let row_2 = staged_image[line + 10u][along];
    step(weight + 5u, down, row_1, row_2, sums);
    let row_3 = staged_image[line + 15u][along];
    step(weight + 10u, down, row_2, row_3, sums);
    let row_4 = staged_image[line + 20u][along];
    step(weight + 15u, down, row_3, row_4, sums);
    let row_5 = staged_image[line + 25u][along];
    step(weight + 20u, down, row_4, row_5, sums);
}

// Multiplies a slice, which is a channel.
fn multiply(down: u32, along: u32, sums: ptr<function, array<Vec4, 16>>) {
    steps(0u, down, 0u, along, sums);
    steps(1u, down, 1u, along, sums);
    steps(2u, down, 2u, along, sums);
    steps(3u, down, 3u, along, sums);
    steps(4u, down, 4u, along, sums);
}
