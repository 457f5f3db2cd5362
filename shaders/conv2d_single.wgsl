// conv2d_single: a convolution or its input gradient with one output in a group, as a depthwise one has: output[o, window] =
// sum over the channels of the group and the taps of image[c, position] * weights[k, o], then the epilogue of
// lib/row_epilogue.wgsl.
//
// Parameters: lib/convolution.wgsl; `tiles` invocations of a phase. Bindings: 0 output, contiguous, 1 image, contiguous from
// `image_offset` on, 2 weights, packed by conv2d_pack.wgsl with PACK channels in a unit, 3 biases.
//
// Each invocation computes eight windows of one output, in adjacent rows of one column, so that they share the weight, the check
// of the column and, in the cache, rows of the image. Adjacent invocations compute adjacent columns. A plane is the output of one
// image; its rows are rounded up to eights. Dispatch phases * tiles invocations, where tiles = batch * groups * outputs *
// ceil(windows.x / 8) * windows.y. There is a single pass over K.
//
// Indices: lib/convolution.wgsl. The index of an invocation is below the number of invocations + 2^24. Windows past the last row
// may be at any position; they are not stored.
// Loops: channels * (kernel.x * (kernel.y + 2) + 2) + 1, and lib/convolution.wgsl.

const PACK: u32 = 1u;
const WORKGROUP: u32 = 256u;
const FOUR: vec4<u32> = vec4(0u, 1u, 2u, 3u);

alias Vec4 = vec4<Number>;

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(0) @binding(1) var<storage, read_write> image: array<Element>;
@group(0) @binding(2) var<storage, read_write> weights: array<Element>;

// Loads an element of each of four rows, which begin at `starts`, with zero padding.
fn load_rows(starts: vec4<u32>, inside: vec4<bool>, column: u32) -> Vec4 {
    let places = starts + column;
    let found = Vec4(vec4(image[places.x], image[places.y], image[places.z], image[places.w]));
    return select(vec4<Number>(), found, inside & vec4(column < params.size.y));
}

// Stores four rows of a column, `next` elements apart.
fn store_rows(at: u32, next: u32, exist: vec4<bool>, sums: Vec4) {
    if exist.x {
        output[at] = Output(sums.x);
    }
    if exist.y {
        output[at + next] = Output(sums.y);
    }
    if exist.z {
        output[at + 2u * next] = Output(sums.z);
    }
    if exist.w {
        output[at + 3u * next] = Output(sums.w);
    }
}

@compute @workgroup_size(WORKGROUP)
fn conv2d_single(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    let number_of_phase = step / params.tiles;
    let phases = min(params.phases, params.written);
    if number_of_phase >= phases.x * phases.y {
        return;
    }
    let phase = phase_of(number_of_phase);
    let own = step - number_of_phase * params.tiles;
    let line = own / params.windows.y;
    let rows = (params.windows.x + 7u) / 8u;
    let plane = line / rows;
    let row = (line - plane * rows) * 8u;
    let column = own - line * params.windows.y;
    // The output among those of all groups, and of its own.
    let outputs = params.groups * params.outputs;
    let image_of_batch = plane / outputs;
    let output_of_all = plane - image_of_batch * outputs;
    let group = output_of_all / params.outputs;
    let output_of_group = output_of_all - group * params.outputs;

    let across = 4u * params.weights_across;
    let weights_at = weights_start(group) * across + output_of_group;
    let plane_size = params.size.x * params.size.y;
    var channel_at = params.image_offset + (image_of_batch * params.groups + group) * params.channels * plane_size;
    let first_rows = FOUR * params.stride.x + (phase.corner.x + row * params.stride.x);
    let first_column = phase.corner.y + column * params.stride.y;

    var low = vec4<Number>();
    var high = vec4<Number>();
    for (var channel = 0u; channel < params.channels; channel += 1u) {
        for (var y = 0u; y < phase.taps.x; y += 1u) {
            let rows_low = first_rows + y * params.tap_move.x;
            let rows_high = rows_low + 4u * params.stride.x;
            let inside_low = rows_low < vec4(params.size.x);
            let inside_high = rows_high < vec4(params.size.x);
            let starts_low = rows_low * params.size.y + channel_at;
            let starts_high = rows_high * params.size.y + channel_at;
            let tap = phase.tap + vec2(y * params.tap_step.x, 0u);
            var weight_at = weights_at + ((channel * params.kernel.x + tap.x) * params.kernel.y + tap.y) * across;
            var at = first_column;
            for (var x = 0u; x < phase.taps.y; x += 1u) {
                let weight = Number(weights[weight_at]);
                low += weight * load_rows(starts_low, inside_low, at);
                high += weight * load_rows(starts_high, inside_high, at);
                weight_at += params.tap_step.y * across;
                at += params.tap_move.y;
            }
        }
        channel_at += plane_size;
    }

    let place = phase.first + vec2(row, column) * params.phases;
    if place.y >= params.written.y {
        return;
    }
    let at = (plane * params.written.x + place.x) * params.written.y + place.y;
    let next = params.phases.x * params.written.y;
    let places = FOUR * params.phases.x + place.x;
    store_rows(at, next, places < vec4(params.written.x), finished(low, output_of_all));
    let more = places + 4u * params.phases.x;
    store_rows(at + 4u * next, next, more < vec4(params.written.x), finished(high, output_of_all));
}
