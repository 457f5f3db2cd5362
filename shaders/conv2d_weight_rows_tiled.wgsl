// conv2d_weight_rows_tiled: parts[part, o, line] = sum over the windows of a part of gradient[o, window] * image[c, window * stride -
// padding + tap * dilation] for KERNEL × KERNEL taps, where windows have the columns of the image: a stride and a dilation of 1 along
// the rows, and a padding of KERNEL / 2 on both sides. The gradient of conv2d with respect to its weight is the sum of all parts, in a
// fixed order.
//
// Parameters: lib/weight_gradient.wgsl, where a column is a vec4: sizes of rows, `count`, `span` and offsets are in vec4s. Bindings:
// lib/weight_gradient.wgsl, both operands as vec4s. Parts have the order of lib/parts_in_units.wgsl, also if there is one alone, so that
// eight adjacent invocations store 32 adjacent bytes.
//
// A workgroup of 256 invocations computes OUTPUTS outputs and all taps of CHANNELS channels of a part, an invocation AT_ONCE outputs and
// all taps of one channel. The host sets OUTPUTS to 128 or 64, and includes lib/weight_rows_of_three.wgsl or
// lib/weight_rows_of_five.wgsl. A slice is four vec4s of windows. Workgroup memory has two slices: while one is multiplied, the next one
// is loaded into registers and then stored in the place of the other, with one barrier for each slice. A slice has the gradient of the
// windows, and of each channel the rows of the image under the taps, each with the elements before and after the vec4. So with 3 × 3 taps
// an invocation reads 14 vectors for 288 products, with 5 × 5 taps 14 for 400, where a tile of 8 × 8 elements reads 16 for 256, and an
// element of the image is loaded KERNEL times and not for each tap. Windows past the end of the part count as zeros, channels and
// outputs past the last one are not stored. Dispatch parts * groups * ceil(outputs / OUTPUTS) * ceil(channels / CHANNELS) workgroups.
//
// Bound: with 3 × 3 taps 1,152 of about 1,330 instructions of a slice are products in NVIDIA's machine code.
//
// Indices: lib/weight_gradient.wgsl. Gradients of outputs and channels past the last one are others, or past the binding, where WebGPU
// makes reads harmless.
// Loops: span / 8 + 2.

const OUTPUTS: u32 = 128u;
const SLICE: u32 = 4u;
const INVOCATIONS: u32 = 256u;
const TAPS: u32 = KERNEL * KERNEL;
const BLOCKS: u32 = OUTPUTS / AT_ONCE;
const CHANNELS: u32 = INVOCATIONS / BLOCKS;
// Groups of eight channels: 32 consecutive invocations have one of them, and four blocks of outputs.
const ACROSS: u32 = CHANNELS / 8u;
// Invocations of one vec4 of the slice. Each stages one or two rows of the image and one or two outputs.
const LANES: u32 = INVOCATIONS / SLICE;
const ROWS: u32 = KERNEL * CHANNELS;

alias Vec4 = vec4<Number>;

@group(0) @binding(0) var<storage, read_write> parts: array<Output>;
@group(0) @binding(1) var<storage, read_write> image: array<vec4<Element>>;
@group(0) @binding(2) var<storage, read_write> gradient: array<vec4<Element>>;

// Of each vec4 of windows and each row of taps: the elements under the taps of all four windows, the first four and the others. Rows are
// an element longer, so that adjacent invocations use different banks.
var<workgroup> heads: array<array<Vec4, CHANNELS + 1u>, 2u * KERNEL * SLICE>;
var<workgroup> tails: array<array<Tail, CHANNELS + 1u>, 2u * KERNEL * SLICE>;
// Of each vec4 of windows: BLOCKS adjacent outputs in each of AT_ONCE rows, and one row more, for the same reason.
var<workgroup> slopes: array<array<array<Vec4, BLOCKS + AT_ONCE / 4u>, AT_ONCE + 1u>, 2u * SLICE>;

// A vec4 of a row of the image with its neighbours as they were loaded, and which of them are within the image.
struct Loaded {
    before: Side,
    own: vec4<Element>,
    after: Side,
    has_before: bool,
    exists: bool,
    has_after: bool,
}

// The vec4 of a slice that an invocation stages, its number among the invocations of this vec4, which is that of its first output, and
// its rows of the image, numbered by channels and taps. Invocations without a row load the last one, and do not store it: a branch
// around the loads would wait for them.
struct Place {
    k: u32,
    lane: u32,
    row_0: u32,
    row_1: u32,
}

fn load_row(window: Window, exists: bool, group: u32, channel: u32, tap: u32) -> Loaded {
    let row = window.at.x * params.stride.x + params.origin.x + tap * params.tap_move.x;
    let at = image_of(window, group) + (channel * params.size.x + row) * params.size.y + window.at.y;
    let found = exists && row < params.size.x;
    return Loaded(
        side_before(at),
        image[at],
        side_after(at),
        found && window.at.y > 0u,
        found,
        found && window.at.y + 1u < params.size.y,
    );
}

fn load_output(window: Window, output: u32) -> vec4<Element> {
    let line = window.image * params.groups * params.outputs + output;
    return gradient[params.gradient_offset + (line * params.windows.x + window.at.x) * params.windows.y + window.at.y];
}

fn stage_output(k: u32, output: u32, loaded: vec4<Element>, exists: bool) {
    slopes[k][output / BLOCKS][output % BLOCKS] = select(Vec4(), Vec4(loaded), exists);
}

// Stores a slice from vec4 `first` on in workgroup memory.
fn stage(first: u32, place: Place, exists: bool, image_0: Loaded, image_1: Loaded, gradient_0: vec4<Element>, gradient_1: vec4<Element>) {
    let k = first + place.k;
    if place.lane < ROWS {
        stage_row(KERNEL * k + place.row_0 % KERNEL, place.row_0 / KERNEL, image_0);
    }
    if ROWS > LANES && place.lane + LANES < ROWS {
        stage_row(KERNEL * k + place.row_1 % KERNEL, place.row_1 / KERNEL, image_1);
    }
    stage_output(k, place.lane, gradient_0, exists);
    if OUTPUTS > LANES {
        stage_output(k, place.lane + LANES, gradient_1, exists);
    }
}

// Where the sums of a channel are stored: those of output 0, and the distance of two outputs.
struct Target {
    at: u32,
    width: u32,
    exists: bool,
}

fn target_of(group_of_part: u32, channel: u32) -> Target {
    let width = (params.channels + 7u) / 8u * 8u * TAPS;
    let start = group_of_part * params.outputs * width + channel / 8u * 8u * TAPS;
    return Target(start + channel % 8u, width, channel < params.channels);
}

@compute @workgroup_size(INVOCATIONS)
fn conv2d_weight_rows_tiled(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let across = (params.channels + CHANNELS - 1u) / CHANNELS;
    let down = (params.outputs + OUTPUTS - 1u) / OUTPUTS;
    let tile = workgroup.y * workgroups.x + workgroup.x;
    let part = tile / across / down / params.groups;
    if part >= params.parts {
        return;
    }
    let group = tile / across / down % params.groups;
    let first_output = tile / across % down * OUTPUTS;
    let first_channel = tile % across * CHANNELS;
    let start = part * params.span;
    let end = min(start + params.span, params.count);

    let k = local % SLICE;
    let lane = local / SLICE;
    let other = lane + LANES;
    let row_0 = min(lane, ROWS - 1u);
    let row_1 = min(other, ROWS - 1u);
    let channel_0 = first_channel + row_0 / KERNEL;
    let channel_1 = first_channel + row_1 / KERNEL;
    let output_0 = group * params.outputs + first_output + lane;
    let output_1 = output_0 + LANES;
    let place = Place(k, lane, row_0, row_1);
    let block = local / 32u / ACROSS * 4u + local % 32u / 8u;
    let channel = local / 32u % ACROSS * 8u + local % 8u;

    var number = start + k;
    var window = window_at(number);
    var exists = number < end;
    var image_0 = load_row(window, exists, group, channel_0, row_0 % KERNEL);
    var image_1: Loaded;
    if ROWS > LANES {
        image_1 = load_row(window, exists, group, channel_1, row_1 % KERNEL);
    }
    var gradient_0 = load_output(window, output_0);
    var gradient_1: vec4<Element>;
    if OUTPUTS > LANES {
        gradient_1 = load_output(window, output_1);
    }
    stage(0u, place, exists, image_0, image_1, gradient_0, gradient_1);
    workgroupBarrier();
    var sums: Sums;
    for (var next = start + SLICE; ; next += 2u * SLICE) {
        if next < end {
            number += SLICE;
            window = next_window(window);
            exists = number < end;
            image_0 = load_row(window, exists, group, channel_0, row_0 % KERNEL);
            if ROWS > LANES {
                image_1 = load_row(window, exists, group, channel_1, row_1 % KERNEL);
            }
            gradient_0 = load_output(window, output_0);
            if OUTPUTS > LANES {
                gradient_1 = load_output(window, output_1);
            }
        }
        step(0u, block, channel, &sums);
        step(1u, block, channel, &sums);
        step(2u, block, channel, &sums);
        step(3u, block, channel, &sums);
        if next >= end {
            break;
        }
        stage(SLICE, place, exists, image_0, image_1, gradient_0, gradient_1);
        workgroupBarrier();
        if next + SLICE < end {
            number += SLICE;
            window = next_window(window);
            exists = number < end;
            image_0 = load_row(window, exists, group, channel_0, row_0 % KERNEL);
            if ROWS > LANES {
                image_1 = load_row(window, exists, group, channel_1, row_1 % KERNEL);
            }
            gradient_0 = load_output(window, output_0);
            if OUTPUTS > LANES {
                gradient_1 = load_output(window, output_1);
            }
        }
        step(4u, block, channel, &sums);
        step(5u, block, channel, &sums);
        step(6u, block, channel, &sums);
        step(7u, block, channel, &sums);
        if next + SLICE >= end {
            break;
        }
        stage(0u, place, exists, image_0, image_1, gradient_0, gradient_1);
        workgroupBarrier();
    }

    let goal = target_of(part * params.groups + group, first_channel + channel);
    let own = first_output + block;
    store(goal, own, &sums);
}
