// conv2d_weight_rows: parts[part, o, c, tap] = sum over the windows of a part of gradient[o, window] * image[c, window * stride -
// padding + tap * dilation] for 3 × 3 taps, where windows have the columns of the image: a stride and a dilation of 1 along the rows,
// and a padding of 1 on both sides. The gradient of conv2d with respect to its weight is the sum of all parts, in a fixed order.
//
// Parameters: lib/weight_gradient.wgsl, where a column is a vec4: sizes of rows, `count`, `span` and offsets are in vec4s. Bindings:
// lib/weight_gradient.wgsl, both operands as vec4s.
//
// An invocation adds up eight outputs and the nine taps of one channel, over every 32nd vec4 of windows of the part. Four adjacent
// windows need three vec4s of the image in each of three rows, of which the outer ones contribute one element, so that an element is
// loaded once for all taps of its row: 17 loads for 288 products, adjacent invocations from adjacent vec4s. Nothing is staged in
// workgroup memory. Then the sums of the 32 invocations of a channel and eight outputs are added up in a fixed order, 18 sums at a time.
// A workgroup has four pairs of a channel and eight outputs, all channels of eight outputs first. Outputs past the last one are not
// stored. Dispatch parts * groups * ceil(ceil(outputs / 8) * channels / 4) workgroups.
//
// Bound: 288 of 466 instructions are products in NVIDIA's machine code, and the loads need as many cycles of the cache.
//
// Indices: lib/weight_gradient.wgsl. Gradients of outputs past the last one are others, or past the binding, where WebGPU makes reads
// harmless.
// Loops: span / 32 + 1, and four times 33.

const SLICE: u32 = 32u;
const OUTPUTS: u32 = 8u;
const PAIRS: u32 = 4u;
const INVOCATIONS: u32 = SLICE * PAIRS;
const TAPS: u32 = 9u;
// Sums that are added up at a time, and the distance of those of two invocations in lib/lane_sums.wgsl.
const AT_ONCE: u32 = 18u;
const DISTANCE: u32 = 19u;

alias Vec4 = vec4<Number>;

@group(0) @binding(0) var<storage, read_write> parts: array<Output>;
@group(0) @binding(1) var<storage, read_write> image: array<vec4<Element>>;
@group(0) @binding(2) var<storage, read_write> gradient: array<vec4<Element>>;

// Loads a row of a channel that begins at `start`, with zero padding.
fn load_row(start: u32, row: u32, column: u32) -> Row {
    let found = load_padded(start, row, column);
    return row_from(Vec4(found.before, found.own.xyz), vec2(found.own.w, found.after));
}

fn stage(at: u32, sum: Vec3) {
    sums_of_all[at] = sum.x;
    sums_of_all[at + 1u] = sum.y;
    sums_of_all[at + 2u] = sum.z;
}

// The destination of the sums of an invocation's channel and eight outputs: the element of output 0 of the group, and the first output.
struct Target {
    at: u32,
    first_output: u32,
    exists: bool,
}

// Adds up two outputs of the invocations of a channel, and stores them. The first 18 invocations have a sum each.
fn store(goal: Target, local: u32, first: u32, s0: Vec3, s1: Vec3, s2: Vec3, s3: Vec3, s4: Vec3, s5: Vec3) {
    let own = local * DISTANCE;
    workgroupBarrier();
    stage(own, s0);
    stage(own + 3u, s1);
    stage(own + 6u, s2);
    stage(own + 9u, s3);
    stage(own + 12u, s4);
    stage(own + 15u, s5);
    workgroupBarrier();
    let lane = local % SLICE;
    let output = goal.first_output + first + lane / TAPS;
    if lane < AT_ONCE && goal.exists && output < params.outputs {
        let sum = sum_of_lanes(local, lane);
        parts[goal.at + output * params.channels * TAPS + lane % TAPS] = Output(sum);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn conv2d_weight_rows(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pairs = (params.outputs + OUTPUTS - 1u) / OUTPUTS * params.channels;
    let across = (pairs + PAIRS - 1u) / PAIRS;
    let tile = workgroup.y * workgroups.x + workgroup.x;
    let line = tile / across;
    let part = line / params.groups;
    if part >= params.parts {
        return;
    }
    let group = line - part * params.groups;
    let pair = (tile - line * across) * PAIRS + local / SLICE;
    let block = pair / params.channels;
    let channel = pair - block * params.channels;
    let first_output = block * OUTPUTS;
    let start = part * params.span;
    // Invocations without a pair add up nothing.
    let end = select(start, min(start + params.span, params.count), pair < pairs);

    let plane = params.windows.x * params.windows.y;
    let of_channel = channel * params.size.x * params.size.y;
    let output = group * params.outputs + first_output;
    // Of each output three rows of taps.
    var sums: array<Vec3, 24>;
    var window = window_at(start + local % SLICE);
    for (var number = start + local % SLICE; number < end; number += SLICE) {
        let first = image_of(window, group) + of_channel;
        let row = window.at.x * params.stride.x + params.origin.x;
        let row_0 = load_row(first, row, window.at.y);
        let row_1 = load_row(first, row + params.tap_move.x, window.at.y);
        let row_2 = load_row(first, row + 2u * params.tap_move.x, window.at.y);
        let outputs_before = window.image * params.groups * params.outputs + output;
        let at = params.gradient_offset + outputs_before * plane + window.at.x * params.windows.y + window.at.y;
        let slope_0 = Vec4(gradient[at]);
        sums[0] = added(sums[0], slope_0, row_0);
        sums[1] = added(sums[1], slope_0, row_1);
        sums[2] = added(sums[2], slope_0, row_2);
        let slope_1 = Vec4(gradient[at + plane]);
        sums[3] = added(sums[3], slope_1, row_0);
        sums[4] = added(sums[4], slope_1, row_1);
        sums[5] = added(sums[5], slope_1, row_2);
        let slope_2 = Vec4(gradient[at + 2u * plane]);
        sums[6] = added(sums[6], slope_2, row_0);
        sums[7] = added(sums[7], slope_2, row_1);
        sums[8] = added(sums[8], slope_2, row_2);
        let slope_3 = Vec4(gradient[at + 3u * plane]);
        sums[9] = added(sums[9], slope_3, row_0);
        sums[10] = added(sums[10], slope_3, row_1);
        sums[11] = added(sums[11], slope_3, row_2);
        let slope_4 = Vec4(gradient[at + 4u * plane]);
        sums[12] = added(sums[12], slope_4, row_0);
        sums[13] = added(sums[13], slope_4, row_1);
        sums[14] = added(sums[14], slope_4, row_2);
        let slope_5 = Vec4(gradient[at + 5u * plane]);
        sums[15] = added(sums[15], slope_5, row_0);
        sums[16] = added(sums[16], slope_5, row_1);
        sums[17] = added(sums[17], slope_5, row_2);
        let slope_6 = Vec4(gradient[at + 6u * plane]);
        sums[18] = added(sums[18], slope_6, row_0);
        sums[19] = added(sums[19], slope_6, row_1);
        sums[20] = added(sums[20], slope_6, row_2);
        let slope_7 = Vec4(gradient[at + 7u * plane]);
        sums[21] = added(sums[21], slope_7, row_0);
        sums[22] = added(sums[22], slope_7, row_1);
        sums[23] = added(sums[23], slope_7, row_2);
        window = next_window(window);
    }

    let row_of_parts = (part * params.groups + group) * params.outputs;
    let goal = Target((row_of_parts * params.channels + channel) * TAPS, first_output, pair < pairs);
    store(goal, local, 0u, sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]);
    store(goal, local, 2u, sums[6], sums[7], sums[8], sums[9], sums[10], sums[11]);
    store(goal, local, 4u, sums[12], sums[13], sums[14], sums[15], sums[16], sums[17]);
    store(goal, local, 6u, sums[18], sums[19], sums[20], sums[21], sums[22], sums[23]);
}
