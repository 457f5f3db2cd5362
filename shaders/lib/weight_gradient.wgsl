// Common part of the kernels for the gradient of conv2d with respect to its weight, which is the sum over all windows of all images.
// The windows are divided into parts of `span` adjacent windows.
//
// Bindings: 0 parts, (parts, groups * outputs, channels, taps), contiguous, 1 image, contiguous from `image_offset` on, 2 gradient,
// (batch, groups * outputs, windows), contiguous from `gradient_offset` on. The kernel declares them, and SLICE, the windows from one
// step of an invocation to the next. Vectors are (height, width).
//
// Indices: lib/channels.wgsl; the host checks that parts * span < count + span, count, and the number of elements of `parts` are
// below 2^32 - 2^24.
// Loops: none.

struct Params {
    size: vec2<u32>,
    windows: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    // The dilation.
    tap_move: vec2<u32>,
    // The padding, negated modulo 2^32.
    origin: vec2<u32>,
    // Of a group.
    channels: u32,
    outputs: u32,
    groups: u32,
    // The windows of all images, and of a part.
    count: u32,
    span: u32,
    parts: u32,
    image_offset: u32,
    gradient_offset: u32,
    // SLICE windows as images, rows and columns.
    images_step: u32,
    rows_step: u32,
    columns_step: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

struct Window {
    image: u32,
    at: vec2<u32>,
}

fn window_at(number: u32) -> Window {
    let line = number / params.windows.y;
    let image_number = line / params.windows.x;
    return Window(image_number, vec2(line - image_number * params.windows.x, number - line * params.windows.y));
}

// Returns the window SLICE windows further on.
fn next_window(window: Window) -> Window {
    var next = Window(window.image + params.images_step, window.at + vec2(params.rows_step, params.columns_step));
    if next.at.y >= params.windows.y {
        next.at = vec2(next.at.x + 1u, next.at.y - params.windows.y);
    }
    if next.at.x >= params.windows.x {
        next.at.x -= params.windows.x;
        next.image += 1u;
    }
    return next;
}

// Returns the first element of a group's channels in the image of a window.
fn image_of(window: Window, group: u32) -> u32 {
    let plane = (window.image * params.groups + group) * params.channels;
    return params.image_offset + plane * params.size.x * params.size.y;
}
