// Three taps of a row that are two columns apart, for lib/rows_of_three.wgsl. Needs lib/sides_of_two.wgsl.
//
// Indices: none outside workgroup memory. Loops: none.

const DILATION: u32 = 2u;

// Stages a vec4 of a row of the image for each tap.
fn stage_row(line: u32, window: u32, own: vec4<Element>, before: Side, after: Side, exist: vec3<bool>) {
    let middle = select(Vec4(), Vec4(own), exist.y);
    let left = select(vec2<Number>(), vec2<Number>(before), exist.x);
    let right = select(vec2<Number>(), vec2<Number>(after), exist.z);
    staged_image[line][window] = Vec4(left, middle.xy);
    staged_image[line + 1u][window] = middle;
    staged_image[line + 2u][window] = Vec4(middle.zw, right);
}
