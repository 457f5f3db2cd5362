// The elements of a row of an image under the three taps of each of four adjacent windows, with a stride and a dilation of 1, and their
// products with the gradient of the windows.
//
// Loops: none.

alias Vec3 = vec3<Number>;

struct Row {
    first: Vec3,
    second: Vec3,
    third: Vec3,
    fourth: Vec3,
}

// `head`: the element before the windows and those of the first three, `tail`: that of the fourth, and the element after it.
fn row_from(head: vec4<Number>, tail: vec2<Number>) -> Row {
    return Row(head.xyz, head.yzw, Vec3(head.zw, tail.x), Vec3(head.w, tail));
}

fn added(sum: Vec3, slope: vec4<Number>, row: Row) -> Vec3 {
    return sum + slope.x * row.first + slope.y * row.second + slope.z * row.third + slope.w * row.fourth;
}
