// Four adjacent elements of a row of an image that is bound as vec4s, and the ones before and after them, for a padding of 1.
//
// The kernel declares `image`, and its parameters the size of the image, (height, width) in vec4s.
//
// Indices: rows before the image wrap to numbers above its height.
// Loops: none.

struct Padded {
    before: Number,
    own: vec4<Number>,
    after: Number,
}

// Loads the vec4 `column` of a row of the plane that begins at `start`, with zero padding.
fn load_padded(start: u32, row: u32, column: u32) -> Padded {
    var found = Padded();
    if row < params.size.x {
        let at = start + row * params.size.y + column;
        found.own = vec4<Number>(image[at]);
        if column > 0u {
            found.before = Number(image[at - 1u].w);
        }
        if column + 1u < params.size.y {
            found.after = Number(image[at + 1u].x);
        }
    }
    return found;
}
