// conv2d_weight_few: parts[part, o, c, tap] = sum over the windows of a part of gradient[o, window] * image[c, window * stride -
// padding + tap * dilation]: the gradient of conv2d with respect to its weight, in parts, with so few outputs or lines that they
// would not fill the tiles of conv2d_weight_tiled.wgsl. The gradient is the sum of all parts, in a fixed order.
//
// Parameters and bindings: lib/weight_gradient.wgsl.
//
// A workgroup computes eight outputs of UNITS units of eight lines, of a part; lines are those of lib/channels.wgsl or of
// lib/lines.wgsl. An invocation adds up a block of 8 × 8 over every 32nd window of the part, directly from the image and the gradient:
// 16 loads for 64 products, adjacent invocations from adjacent elements. Nothing is staged in workgroup memory, and the UNITS rows of
// invocations read the same gradients, from the cache. Then the sums of the 32 invocations of a unit are added up in a fixed order, 16
// sums at a time. The host sets UNITS to 3, of which 3 × 3 taps of eight channels are a multiple, or to 4 with lib/lines.wgsl. Outputs
// and lines past the last one are not stored. Dispatch parts * groups * ceil(outputs / 8) * ceil(units / UNITS) workgroups.
//
// Bound: with 8 × 8 products for 16 loads, about 40 % of the instructions are products.
//
// Indices: lib/weight_gradient.wgsl. Gradients of outputs past the last one are others, or past the binding, where WebGPU makes reads
// harmless.
// Loops: span / 32 + 1, four times 33, and lib/lines.wgsl.

const UNITS: u32 = 3u;
const PACK: u32 = 8u;
const SLICE: u32 = 32u;
const OUTPUTS: u32 = 8u;
const INVOCATIONS: u32 = UNITS * SLICE;
// Sums that are added up at a time, and the distance of those of two invocations in lib/lane_sums.wgsl.
const AT_ONCE: u32 = 16u;
const DISTANCE: u32 = 17u;

alias Vec4 = vec4<Number>;

@group(0) @binding(0) var<storage, read_write> parts: array<Output>;
@group(0) @binding(1) var<storage, read_write> image: array<Element>;
@group(0) @binding(2) var<storage, read_write> gradient: array<Element>;

// Four adjacent outputs of a window.
fn load_gradient(at: u32, plane: u32) -> Vec4 {
    return Vec4(vec4(gradient[at], gradient[at + plane], gradient[at + 2u * plane], gradient[at + 3u * plane]));
}

// Adds four outputs times eight lines.
fn step(slope: Vec4, low: Vec4, high: Vec4, sums: ptr<function, array<Vec4, 8>>) {
    (*sums)[0] += slope.x * low;
    (*sums)[1] += slope.x * high;
    (*sums)[2] += slope.y * low;
    (*sums)[3] += slope.y * high;
    (*sums)[4] += slope.z * low;
    (*sums)[5] += slope.z * high;
    (*sums)[6] += slope.w * low;
    (*sums)[7] += slope.w * high;
}

fn stage(at: u32, sum: Vec4) {
    sums_of_all[at] = sum.x;
    sums_of_all[at + 1u] = sum.y;
    sums_of_all[at + 2u] = sum.z;
    sums_of_all[at + 3u] = sum.w;
}

// The destination of a workgroup's sums: the element of output 0 of all groups, the first output of the group, and the line of the invocation.
struct Target {
    at: u32,
    first_output: u32,
    group: u32,
    line: Lines,
}

// Adds up two outputs of the invocations of a unit, and stores them. The first 16 invocations of each unit have a sum each.
fn store(goal: Target, local: u32, first: u32, low_0: Vec4, high_0: Vec4, low_1: Vec4, high_1: Vec4) {
    let own = local * DISTANCE;
    workgroupBarrier();
    stage(own, low_0);
    stage(own + 4u, high_0);
    stage(own + 8u, low_1);
    stage(own + 12u, high_1);
    workgroupBarrier();
    let lane = local % SLICE;
    let output = goal.first_output + first + lane / 8u;
    if lane < AT_ONCE && output < params.outputs && goal.line.count > 0u {
        let sum = sum_of_lanes(local, lane);
        let row = goal.group * params.outputs + output;
        parts[goal.at + row * params.channels * params.kernel.x * params.kernel.y + goal.line.first] = Output(sum);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn conv2d_weight_few(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let across = (units_of(params.kernel) + UNITS - 1u) / UNITS;
    let down = (params.outputs + OUTPUTS - 1u) / OUTPUTS;
    let tile = workgroup.y * workgroups.x + workgroup.x;
    let part = tile / across / down / params.groups;
    if part >= params.parts {
        return;
    }
    let group = tile / across / down % params.groups;
    let first_output = tile / across % down * OUTPUTS;
    let start = part * params.span;
    let end = min(start + params.span, params.count);
    prepare_units(local);

    let number_of_unit = tile % across * UNITS + local / SLICE;
    let unit = unit_at(number_of_unit, params.kernel);
    let row = group * params.outputs + first_output;
    let plane = params.windows.x * params.windows.y;
    var upper: array<Vec4, 8>;
    var lower: array<Vec4, 8>;
    var window = window_at(start + local % SLICE);
    for (var number = start + local % SLICE; number < end; number += SLICE) {
        let line = window.image * params.groups * params.outputs + row;
        let at = params.gradient_offset + line * plane + window.at.x * params.windows.y + window.at.y;
        let source = Source(params.origin + window.at * params.stride, image_of(window, group));
        let slope_0 = load_gradient(at, plane);
        let slope_1 = load_gradient(at + 4u * plane, plane);
        let pack = padded(load_pack(source, unit, true));
        step(slope_0, Vec4(pack.low), Vec4(pack.high), &upper);
        step(slope_1, Vec4(pack.low), Vec4(pack.high), &lower);
        window = next_window(window);
    }

    let lines_of_output = params.channels * params.kernel.x * params.kernel.y;
    let own_line = lines_from(number_of_unit * PACK + local % 8u);
    let goal = Target(part * params.groups * params.outputs * lines_of_output, first_output, group, own_line);
    store(goal, local, 0u, upper[0], upper[1], upper[2], upper[3]);
    store(goal, local, 2u, upper[4], upper[5], upper[6], upper[7]);
    store(goal, local, 4u, lower[0], lower[1], lower[2], lower[3]);
    store(goal, local, 6u, lower[4], lower[5], lower[6], lower[7]);
}
