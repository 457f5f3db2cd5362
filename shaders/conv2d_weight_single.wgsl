// conv2d_weight_single: parts[part, o, c, tap] = sum over the windows of a part of gradient[o, window] * image[c, window * stride -
// padding + tap * dilation]: the gradient of conv2d with respect to its weight, in parts, for groups of one output, as a depthwise
// convolution has. The gradient is the sum of all parts, in a fixed order.
//
// Parameters and bindings: lib/weight_gradient.wgsl.
//
// A workgroup computes twelve lines (a channel and a tap each) of one output, of a part. Its invocations stride over the windows of
// the part, adjacent ones over adjacent windows, and their sums are added in a tree in a fixed order. Lines past the last one are
// computed again and not stored, except for the last three, which a kernel of 3 × 3 does not have. Dispatch parts * groups *
// outputs * ceil(lines / 12) workgroups, where lines are channels * taps.
//
// Indices: lib/weight_gradient.wgsl.
// Loops: span / 64 + 2, and 7.

const SLICE: u32 = 64u;
const LINES: u32 = 12u;
const PACK: u32 = 1u;

alias Vec4 = vec4<Number>;

@group(0) @binding(0) var<storage, read_write> parts: array<Output>;
@group(0) @binding(1) var<storage, read_write> image: array<Element>;
@group(0) @binding(2) var<storage, read_write> gradient: array<Element>;

var<workgroup> sums: array<array<Vec4, 3>, SLICE>;

// The element of an image under a line: its position in the window, and the first element of its channel.
struct Line {
    place: vec2<u32>,
    start: u32,
}

fn line_at(number: u32, lines: u32) -> Line {
    let unit = unit_at(min(number, lines - 1u), params.kernel);
    return Line(unit.tap * params.tap_move + params.origin, unit.chunk * params.size.x * params.size.y);
}

fn load_element(line: Line, corner: vec2<u32>, start: u32) -> Number {
    let at = corner + line.place;
    let found = Number(image[start + line.start + at.x * params.size.y + at.y]);
    return select(Number(), found, all(at < params.size));
}

fn store_line(at: u32, exists: bool, sum: Number) {
    if exists {
        parts[at] = Output(sum);
    }
}

fn store_lines(at: u32, line: u32, lines: u32, sum: Vec4) {
    store_line(at + line, line < lines, sum.x);
    store_line(at + line + 1u, line + 1u < lines, sum.y);
    store_line(at + line + 2u, line + 2u < lines, sum.z);
    store_line(at + line + 3u, line + 3u < lines, sum.w);
}

@compute @workgroup_size(SLICE)
fn conv2d_weight_single(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let lines = params.channels * params.kernel.x * params.kernel.y;
    let across = (lines + LINES - 1u) / LINES;
    let tile = workgroup.y * workgroups.x + workgroup.x;
    let outputs = params.groups * params.outputs;
    let part = tile / across / outputs;
    if part >= params.parts {
        return;
    }
    let row = tile / across % outputs;
    let group = row / params.outputs;
    let first_line = tile % across * LINES;
    let start = part * params.span;
    let end = min(start + params.span, params.count);

    let line_0 = line_at(first_line, lines);
    let line_1 = line_at(first_line + 1u, lines);
    let line_2 = line_at(first_line + 2u, lines);
    let line_3 = line_at(first_line + 3u, lines);
    let line_4 = line_at(first_line + 4u, lines);
    let line_5 = line_at(first_line + 5u, lines);
    let line_6 = line_at(first_line + 6u, lines);
    let line_7 = line_at(first_line + 7u, lines);
    let line_8 = line_at(first_line + 8u, lines);
    let line_9 = line_at(first_line + 9u, lines);
    let line_10 = line_at(first_line + 10u, lines);
    let line_11 = line_at(first_line + 11u, lines);

    var low = vec4<Number>();
    var middle = vec4<Number>();
    var high = vec4<Number>();
    var window = window_at(start + local);
    let windows = params.windows.x * params.windows.y;
    for (var number = start + local; number < end; number += SLICE) {
        let slope_at = (window.image * outputs + row) * windows + window.at.x * params.windows.y + window.at.y;
        let slope = Number(gradient[params.gradient_offset + slope_at]);
        let corner = window.at * params.stride;
        let image_start = image_of(window, group);
        low += slope * Vec4(
            load_element(line_0, corner, image_start),
            load_element(line_1, corner, image_start),
            load_element(line_2, corner, image_start),
            load_element(line_3, corner, image_start),
        );
        middle += slope * Vec4(
            load_element(line_4, corner, image_start),
            load_element(line_5, corner, image_start),
            load_element(line_6, corner, image_start),
            load_element(line_7, corner, image_start),
        );
        high.x += slope * load_element(line_8, corner, image_start);
        if first_line + 9u < lines {
            high += slope * Vec4(
                Number(),
                load_element(line_9, corner, image_start),
                load_element(line_10, corner, image_start),
                load_element(line_11, corner, image_start),
            );
        }
        window = next_window(window);
    }
    sums[local][0] = low;
    sums[local][1] = middle;
    sums[local][2] = high;
    workgroupBarrier();
    for (var offset = SLICE / 2u; offset > 0u; offset /= 2u) {
        if local < offset {
            sums[local][0] += sums[local + offset][0];
            sums[local][1] += sums[local + offset][1];
            sums[local][2] += sums[local + offset][2];
        }
        workgroupBarrier();
    }
    if local == 0u {
        let at = (part * outputs + row) * lines;
        store_lines(at, first_line, lines, sums[0][0]);
        store_lines(at, first_line + 4u, lines, sums[0][1]);
        store_lines(at, first_line + 8u, lines, sums[0][2]);
    }
}
