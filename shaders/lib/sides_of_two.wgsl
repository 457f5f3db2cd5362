// The neighbours of a vec4 of a row of an image that is bound as vec4s, for a padding of 2: the two elements before it, and the two after it.
//
// The kernel declares `image`.
//
// Indices: neighbours outside the image may be past the binding, where WebGPU makes reads harmless. Loops: none.

alias Side = vec2<Element>;

fn side_before(at: u32) -> Side {
    return image[at - 1u].zw;
}

fn side_after(at: u32) -> Side {
    return image[at + 1u].xy;
}
