// Common part of the kernels on images. Images are (batch, channels, height, width), contiguous. A kernel window of
// `kernel` elements, `dilation` places apart, moves over the image with `stride`, starting `padding` places before the
// first row and column, and has `out` positions on each axis.
//
// Vectors are (height, width). Offsets are in elements.
//
// Kernels that sum over a range of positions (the elements of a window, or the windows that contain an element) process the part
// from `tile_start` up to `tile_end` on each axis, relative to the start of the range. If a whole range would take more loop
// iterations than drivers permit, the host dispatches the kernel once for each part; each pass continues with the output of the
// previous pass.
//
// Indices: the host checks that the padded size, the stride, the extent of the window, (kernel - 1) * dilation + 1, and
// every number of elements is below 2^32 - 2^24. Each window starts within the padded image, and without ceil_mode also
// ends there. The invocation index is below count + 2^24.

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
    // Of convolutions: the number of groups of channels and outputs.
    groups: u32,
    dilation: vec2<u32>,
    // Of averages without a `scale`: the range of the padded image that counts. Of resampling: lib/resample.wgsl.
    counted_first: vec2<u32>,
    counted_end: vec2<u32>,
}

const CONTINUES: u32 = 1u;
const LAST: u32 = 2u;

@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP: u32 = 256u;

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

fn divide_up(number: vec2<u32>, divisor: vec2<u32>) -> vec2<u32> {
    let whole = number / divisor;
    return whole + vec2<u32>(whole * divisor < number);
}

// Returns the elements of a window that lie within the image. `corner` is the first element, relative to the padded image.
fn elements_inside(corner: vec2<u32>) -> Range {
    let first = divide_up(max(corner, params.padding) - corner, params.dilation);
    let end = divide_up(max(corner, params.padding + params.size) - corner, params.dilation);
    return tile_of(first, min(end, params.kernel));
}

// Returns the position in the image of an element of a window that lies within it.
fn position_of(corner: vec2<u32>, element: vec2<u32>) -> vec2<u32> {
    return corner + element * params.dilation - params.padding;
}

// Returns the windows whose extent contains an element of the image.
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

// Returns the places that a window covers on each axis.
fn extent() -> vec2<u32> {
    return (params.kernel - 1u) * params.dilation + 1u;
}

// Returns the first window whose extent contains a position, relative to the padded image, on each axis.
fn first_window(at: vec2<u32>) -> vec2<u32> {
    let covered = extent();
    return divide_up(max(at + 1u, covered) - covered, params.stride);
}

// Returns the end of the range of windows that contain a position.
fn end_window(at: vec2<u32>) -> vec2<u32> {
    return min(at / params.stride + 1u, params.out);
}

// The element of a window at a position; between the elements of a dilated window there is none.
struct Found {
    exists: bool,
    element: vec2<u32>,
}

// Returns the element of a window at a position, relative to the padded image, that its extent contains.
fn element_at(at: vec2<u32>, window: vec2<u32>) -> Found {
    let distance = at - window * params.stride;
    var found = Found(true, distance);
    if any(params.dilation != vec2(1u)) {
        found.element = distance / params.dilation;
        found.exists = all(found.element * params.dilation == distance);
    }
    return found;
}
