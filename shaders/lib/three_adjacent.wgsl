// Three adjacent taps of a row, for lib/rows_of_three.wgsl. Needs lib/sides_of_one.wgsl.
//
// Indices: none outside workgroup memory. Loops: none.

const DILATION: u32 = 1u;

// Stages a vec4 of a row of the image for each tap.
fn stage_row(line: u32, window: u32, own: vec4<Element>, before: Side, after: Side, exist: vec3<bool>) {
    let middle = select(Vec4(), Vec4(own), exist.y);
    let left = select(Number(), Number(before), exist.x);
    let right = select(Number(), Number(after), exist.z);
    staged_image[line][window] = Vec4(left, middle.xyz);
    staged_image[line + 1u][window] = middle;
    staged_image[line + 2u][window] = Vec4(middle.yzw, right);
}
