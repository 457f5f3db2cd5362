// What the kernels over images have in common. Images are (batch, channels, height, width), contiguous; a window of
// `kernel` places moves over them by `stride`, over edges widened by `padding`, and stops at `out` places of each axis.
//
// Vectors are (height, width). Offsets are in elements.
//
// Kernels that sum over a range of places, the places under a window or the windows over a place, go over the part of it from
// `tile_start` up to `tile_end` on each axis, counted from the range's own start. Where all of a range would take more loop
// iterations than drivers allow, the host dispatches the kernel once for each part, and each pass goes on with what the one
// before it left in the output.
//
// Indices: the host checks that size + 2 padding, the stride, and every number of elements is below 2^32 - 2^24. Windows lie within
// the padded image: (out - 1) * stride + kernel <= size + 2 padding. An invocation's number is below count + 2^24.

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
    tile_start: vec2<u32>,
    tile_end: vec2<u32>,
    // CONTINUES where the output holds the sums of passes before this one, LAST in the last pass; both are bits.
    pass_kind: u32,
}

const CONTINUES: u32 = 1u;
const LAST: u32 = 2u;

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

// Places from `first` up to `end`, on each axis.
struct Range {
    first: vec2<u32>,
    end: vec2<u32>,
}

// The part of a range that this pass goes over.
fn tile_of(first: vec2<u32>, end: vec2<u32>) -> Range {
    let length = max(end, first) - first;
    return Range(first + min(params.tile_start, length), first + min(params.tile_end, length));
}

// The places of the image that lie under a window whose first place, counted with the padding, is `corner`.
fn places_under(corner: vec2<u32>) -> Range {
    let first = max(corner, params.padding) - params.padding;
    let end = max(corner + params.kernel, params.padding) - params.padding;
    return tile_of(first, min(end, params.size));
}

// The windows that cover a place of the image.
fn windows_over(own: vec2<u32>) -> Range {
    let at = own + params.padding;
    return tile_of(first_window(at), end_window(at));
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
    let whole = before / params.stride;
    return whole + vec2<u32>(whole * params.stride < before);
}

// One beyond the last window that covers a place.
fn end_window(at: vec2<u32>) -> vec2<u32> {
    return min(at / params.stride + 1u, params.out);
}
