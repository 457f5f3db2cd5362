// Four adjacent elements of a row of an image that is bound as vec4s, and the ones before and after them, for a padding of 1.
//
// The kernel declares `image`, and its parameters the size of the image, (height, width) in vec4s.
//
// Indices: rows before the image wrap to numbers above its height; elements outside it may be past the binding, where WebGPU makes
// reads harmless.
// Loops: none.

struct Padded {
    before: Number,
    own: vec4<Number>,
    after: Number,
}

// Loads the vec4 `column` of a row of the plane that begins at `start`, with zero padding.
fn load_padded(start: u32, row: u32, column: u32) -> Padded {
    let at = start + row * params.size.y + column;
    let own = vec4<Number>(image[at]);
    let before = Number(image[at - 1u].w);
    let after = Number(image[at + 1u].x);
    let exists = row < params.size.x;
    return Padded(
        select(Number(), before, exists && column > 0u),
        select(vec4<Number>(), own, exists),
        select(Number(), after, exists && column + 1u < params.size.y),
    );
}
