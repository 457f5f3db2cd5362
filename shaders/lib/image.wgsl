// What the kernels over images have in common. Images are (batch, channels, height, width), contiguous; a window of
// `kernel` places moves over them by `stride`, over edges widened by `padding`, and stops at `out` places of each axis.
//
// Vectors are (height, width). Offsets are in elements.

alias Element = f32;
// What is computed with: f32 for elements of half its size.
alias Number = Element;
// The elements that are written.
alias Output = Element;
alias Real = f32;
alias Bits = u32;

struct Params {
    size: vec2<u32>,
    out: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    padding: vec2<u32>,
    // Of convolutions alone.
    channels: u32,
    outputs: u32,
    span: u32,
    // Invocations, where the kernel doesn't say otherwise.
    count: u32,
    input_offset: u32,
    // The bits of an f32.
    scale: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

override WORKGROUP: u32 = 256u;

fn step_of(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
}

// A place of a plane as (plane, row, column).
fn split(index: u32, size: vec2<u32>) -> vec3<u32> {
    let line = index / size.y;
    let plane = line / size.x;
    return vec3(plane, line - plane * size.x, index - line * size.y);
}

// Whether a place of the widened image is in the image itself; `at` is counted with the padding.
fn is_inside(at: vec2<u32>) -> bool {
    return all(at >= params.padding) && all(at < params.padding + params.size);
}

fn place(plane: u32, at: vec2<u32>, size: vec2<u32>) -> u32 {
    return (plane * size.x + at.x) * size.y + at.y;
}

// The first window that covers a place, counted with the padding, on each axis.
fn first_window(at: vec2<u32>) -> vec2<u32> {
    let before = max(at + 1u, params.kernel) - params.kernel;
    return (before + params.stride - 1u) / params.stride;
}

// One beyond the last window that covers a place.
fn end_window(at: vec2<u32>) -> vec2<u32> {
    return min(at / params.stride + 1u, params.out);
}
