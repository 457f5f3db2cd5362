// conv2d_weight_tiled: parts[part, o, line] = sum over the windows of a part of gradient[o, window] * image[c, window * stride -
// padding + tap * dilation]: the gradient of conv2d with respect to its weight, in parts, as an implicit matrix product whose K
// dimension is that of the windows of all images. The gradient is the sum of all parts, in a fixed order.
//
// Parameters and bindings: lib/weight_gradient.wgsl. The order of the elements of a part is that of lib/parts_in_order.wgsl or of
// lib/parts_in_units.wgsl.
//
// A workgroup of OUTPUTS / 8 × LINES / 8 invocations computes a tile of OUTPUTS × LINES of a part, of which lib/block.wgsl multiplies
// the slices. Lines are channels and taps in units of lib/channels.wgsl. The host sets OUTPUTS, LINES and SLICE to 128, 128, 16, to
// 64, 64, 16, or to 32, 64, 8. With few channels, in the last two tiles, lib/lines.wgsl replaces lib/channels.wgsl. The slices of
// both operands take at most 16.5 KiB of workgroup memory; their rows are a vec4 longer, so that invocations that stage adjacent
// windows use different banks. The next slice is loaded into registers during the computation on the current one. All packs of an
// invocation are of one window. Windows past the end of the part count as zeros, lines and outputs past the last one are not
// stored. Dispatch parts * groups * ceil(outputs / OUTPUTS) * ceil(lines / LINES) workgroups, where lines are ceil(channels / 8) * 8
// * taps, or channels * taps rounded up to 8.
//
// Indices: lib/weight_gradient.wgsl. Gradients of outputs past the last one are others, or past the binding, where WebGPU makes
// reads harmless.
// Loops: span / SLICE + 2, and lib/lines.wgsl.

const OUTPUTS: u32 = 64u;
const LINES: u32 = 128u;
const SLICE: u32 = 16u;
const PACK: u32 = 8u;
const INVOCATIONS: u32 = OUTPUTS * LINES / 64u;
// Of lib/block.wgsl.
const LEFT_HALF: u32 = OUTPUTS / 8u;
const RIGHT_HALF: u32 = LINES / 8u;
const ACROSS: u32 = RIGHT_HALF / 8u;
// Packs that an invocation stages of each operand: one or two.
const IMAGE_PACKS: u32 = SLICE * 8u / OUTPUTS;
const GRADIENT_PACKS: u32 = SLICE * 8u / LINES;

alias Vec4 = vec4<Number>;

@group(0) @binding(1) var<storage, read_write> image: array<Element>;
@group(0) @binding(2) var<storage, read_write> gradient: array<Element>;

var<workgroup> left_slice: array<array<Vec4, LEFT_HALF * 2u + 1u>, SLICE>;
var<workgroup> right_slice: array<array<Vec4, RIGHT_HALF * 2u + 1u>, SLICE>;

// Eight adjacent outputs of a window as they were loaded, and whether the window exists.
struct Slopes {
    low: vec4<Element>,
    high: vec4<Element>,
    exist: bool,
}

fn load_image(window: Window, exists: bool, group: u32, unit: Unit) -> Pack {
    return load_pack(Source(params.origin + window.at * params.stride, image_of(window, group)), unit, exists);
}

fn load_gradient(window: Window, exists: bool, row: u32) -> Slopes {
    let plane = params.windows.x * params.windows.y;
    let line = window.image * params.groups * params.outputs + row;
    let at = params.gradient_offset + line * plane + window.at.x * params.windows.y + window.at.y;
    let next = at + 4u * plane;
    return Slopes(
        vec4(gradient[at], gradient[at + plane], gradient[at + 2u * plane], gradient[at + 3u * plane]),
        vec4(gradient[next], gradient[next + plane], gradient[next + 2u * plane], gradient[next + 3u * plane]),
        exists,
    );
}

fn stage_image(k: u32, number: u32, loaded: Pack) {
    let pack = padded(loaded);
    right_slice[k][number * 2u] = Vec4(pack.low);
    right_slice[k][number * 2u + 1u] = Vec4(pack.high);
}

fn stage_gradient(k: u32, number: u32, loaded: Slopes) {
    left_slice[k][number * 2u] = select(vec4<Number>(), Vec4(loaded.low), loaded.exist);
    left_slice[k][number * 2u + 1u] = select(vec4<Number>(), Vec4(loaded.high), loaded.exist);
}

@compute @workgroup_size(INVOCATIONS)
fn conv2d_weight_tiled(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let across = (units_of(params.kernel) * PACK + LINES - 1u) / LINES;
    let down = (params.outputs + OUTPUTS - 1u) / OUTPUTS;
    let tile = workgroup.y * workgroups.x + workgroup.x;
    let part = tile / across / down / params.groups;
    if part >= params.parts {
        return;
    }
    let group = tile / across / down % params.groups;
    let first_output = tile / across % down * OUTPUTS;
    let first_line = tile % across * LINES;
    let start = part * params.span;
    let end = min(start + params.span, params.count);
    prepare_units(local);

    // The window of the invocation in a slice, and the units of its packs.
    let k = local % SLICE;
    let pack_0 = local / SLICE;
    let pack_1 = (local + INVOCATIONS) / SLICE;
    let unit_0 = unit_at(first_line / PACK + pack_0, params.kernel);
    let unit_1 = unit_at(first_line / PACK + pack_1, params.kernel);
    let row_0 = group * params.outputs + first_output + pack_0 * 8u;
    let row_1 = group * params.outputs + first_output + pack_1 * 8u;
    let block = block_of(local);

    var number = start + k;
    var window = window_at(number);
    var image_0 = load_image(window, number < end, group, unit_0);
    var image_1: Pack;
    if IMAGE_PACKS == 2u {
        image_1 = load_image(window, number < end, group, unit_1);
    }
    var gradient_0 = load_gradient(window, number < end, row_0);
    var gradient_1: Slopes;
    if GRADIENT_PACKS == 2u {
        gradient_1 = load_gradient(window, number < end, row_1);
    }
    var sums: array<Vec4, 16>;
    for (var slice = start + SLICE; ; slice += SLICE) {
        stage_image(k, pack_0, image_0);
        if IMAGE_PACKS == 2u {
            stage_image(k, pack_1, image_1);
        }
        stage_gradient(k, pack_0, gradient_0);
        if GRADIENT_PACKS == 2u {
            stage_gradient(k, pack_1, gradient_1);
        }
        workgroupBarrier();
        if slice < end {
            number += SLICE;
            window = next_window(window);
            image_0 = load_image(window, number < end, group, unit_0);
            if IMAGE_PACKS == 2u {
                image_1 = load_image(window, number < end, group, unit_1);
            }
            gradient_0 = load_gradient(window, number < end, row_0);
            if GRADIENT_PACKS == 2u {
                gradient_1 = load_gradient(window, number < end, row_1);
            }
        }
        first_steps(block.down, block.along, &sums);
        other_steps(block.down, block.along, true, &sums);
        if slice >= end {
            break;
        }
        workgroupBarrier();
    }

    let first = first_line / 4u + block.along;
    let goal = target_of(part * params.groups + group, first, first + RIGHT_HALF);
    let top = first_output + block.down * 4u;
    let bottom = top + OUTPUTS / 2u;
    store(goal, top, sums[0], sums[1]);
    store(goal, top + 1u, sums[2], sums[3]);
    store(goal, top + 2u, sums[4], sums[5]);
    store(goal, top + 3u, sums[6], sums[7]);
    store(goal, bottom, sums[8], sums[9]);
    store(goal, bottom + 1u, sums[10], sums[11]);
    store(goal, bottom + 2u, sums[12], sums[13]);
    store(goal, bottom + 3u, sums[14], sums[15]);
}
