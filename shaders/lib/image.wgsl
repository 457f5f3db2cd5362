// Common part of the kernels on images. Images are (batch, channels, height, width), contiguous. A kernel window of `kernel`
// elements moves over the image, padded by `padding`, with `stride`, and has `out` positions on each axis.
//
// Vectors are (height, width). Offsets are in elements.
//
// Kernels that sum over a range of positions (the elements of a window, or the windows that contain an element) process the part
// from `tile_start` up to `tile_end` on each axis, relative to the start of the range. If a whole range would take more loop
// iterations than drivers permit, the host dispatches the kernel once for each part; each pass continues with the output of the
// previous pass.
//
// Indices: the host checks that size + 2 padding, the stride, and every number of elements is below 2^32 - 2^24. Windows lie
// within the padded image: (out - 1) * stride + kernel <= size + 2 padding. The invocation index is below count + 2^24.

alias Element = f32;
// The type of arithmetic: f32 for f16 elements.
alias Number = Element;
// The type of output elements.
alias Output = Element;
alias Real = f32;
alias Bits = u32;

struct Params {
    size: vec2<u32>,
    out: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    padding: vec2<u32>,
    // Only for convolutions.
    channels: u32,
    outputs: u32,
    span: u32,
    // The number of invocations, unless the kernel states otherwise.
    count: u32,
    input_offset: u32,
    // The bits of an f32.
    scale: u32,
    tile_start: vec2<u32>,
    tile_end: vec2<u32>,
    // CONTINUES if the output contains the sums of earlier passes, LAST in the last pass; both are bits.
    pass_kind: u32,
}

const CONTINUES: u32 = 1u;
const LAST: u32 = 2u;

@group(1) @binding(0) var<uniform> params: Params;

override WORKGROUP: u32 = 256u;

fn step_of(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
}

// Splits an index into (plane, row, column).
fn split(index: u32, size: vec2<u32>) -> vec3<u32> {
    let line = index / size.y;
    let plane = line / size.x;
    return vec3(plane, line - plane * size.x, index - line * size.y);
}

// Positions from `first` up to `end`, on each axis.
struct Range {
    first: vec2<u32>,
    end: vec2<u32>,
}

// Returns the part of a range that this pass processes.
fn tile_of(first: vec2<u32>, end: vec2<u32>) -> Range {
    let length = max(end, first) - first;
    return Range(first + min(params.tile_start, length), first + min(params.tile_end, length));
}

// Returns the image elements of a window whose first element, relative to the padded image, is `corner`.
fn places_under(corner: vec2<u32>) -> Range {
    let first = max(corner, params.padding) - params.padding;
    let end = max(corner + params.kernel, params.padding) - params.padding;
    return tile_of(first, min(end, params.size));
}

// Returns the windows that contain an element of the image.
fn windows_over(own: vec2<u32>) -> Range {
    let at = own + params.padding;
    return tile_of(first_window(at), end_window(at));
}

// Returns whether a position relative to the padded image is inside the image.
fn is_inside(at: vec2<u32>) -> bool {
    return all(at >= params.padding) && all(at < params.padding + params.size);
}

fn place(plane: u32, at: vec2<u32>, size: vec2<u32>) -> u32 {
    return (plane * size.x + at.x) * size.y + at.y;
}

// Returns the first window that contains a position, relative to the padded image, on each axis.
fn first_window(at: vec2<u32>) -> vec2<u32> {
    let before = max(at + 1u, params.kernel) - params.kernel;
    let whole = before / params.stride;
    return whole + vec2<u32>(whole * params.stride < before);
}

// Returns the end of the range of windows that contain a position.
fn end_window(at: vec2<u32>) -> vec2<u32> {
    return min(at / params.stride + 1u, params.out);
}
