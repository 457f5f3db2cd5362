// The neighbours of a vec4 of a row of an image that is bound as vec4s, for a padding of 1: the element before it, and the one after it.
//
// The kernel declares `image`.
//
// Indices: neighbours outside the image may be past the binding, where WebGPU makes reads harmless. Loops: none.

alias Side = Element;

fn side_before(at: u32) -> Side {
    return image[at - 1u].w;
}

fn side_after(at: u32) -> Side {
    return image[at + 1u].x;
}
