// conv2d_rows: a convolution with 3 × 3 taps, or its input gradient, with a stride and a dilation of 1 and a padding of 1 on both sides
// of a row: output[o, window] = sum over k of weights[k, o] * image[k, window], where k is a channel and a tap, then the epilogue of
// lib/row_epilogue.wgsl.
//
// Parameters: lib/convolution.wgsl, where a column is a vec4: sizes of rows and `image_offset` are in vec4s, and a window is a vec4 of
// columns in two rows. Bindings: 0 output, contiguous, 1 image, contiguous from `image_offset` on, 2 weights as they are, from
// `weights_offset` on, 3 biases. Output and image are bound as vec4s.
//
// An invocation computes eight outputs of four adjacent columns in two rows. Of a channel these need three vec4s of the image in each of
// four rows, of which the outer ones contribute one element, so that an element is loaded once for all taps and outputs: 12 loads of the
// image and 18 of weights for 576 products. The weights of eight outputs and four channels are staged in workgroup memory; the next
// ones are loaded into registers during the computation. The image is read from the cache. Dispatch tiles * groups * ceil(outputs / 8)
// workgroups. There is a single pass over K.
//
// Bound: 576 of 728 instructions of a channel are products in NVIDIA's machine code; the accumulators, the rows and the addresses fill
// 128 registers, so that a multiprocessor of an H100 has 16 subgroups.
//
// Indices: lib/convolution.wgsl. Weights past the last output or channel are those of others, or past the binding, where WebGPU makes
// reads harmless; the sums of the former are not stored, and the latter are not used.
// Loops: channels + 2 * ceil(channels / 4) + 1, and lib/convolution.wgsl.

const OUTPUTS: u32 = 8u;
const WINDOWS: u32 = 128u;
const INVOCATIONS: u32 = WINDOWS;
const CHANNELS: u32 = 4u;
const TAPS: u32 = 9u;
const DILATION: u32 = 1u;
// The weights of a chunk of channels, and those that each invocation stages.
const STAGED: u32 = CHANNELS * TAPS * OUTPUTS;

alias Vec4 = vec4<Number>;

@group(0) @binding(0) var<storage, read_write> output: array<vec4<Output>>;
@group(0) @binding(1) var<storage, read_write> image: array<vec4<Element>>;
@group(0) @binding(2) var<storage, read_write> weights: array<Element>;

// Of each channel and tap two vec4s of outputs. The computation indexes taps by constants, so that the bounds check of the channel is
// done once.
var<workgroup> staged: array<array<Vec4, TAPS * 2u>, CHANNELS>;

// The four columns of a row under each of three taps.
struct Row {
    left: Vec4,
    middle: Vec4,
    right: Vec4,
}

// Loads a row of a channel that begins at `start`, with zero padding.
fn load_row(start: u32, row: u32, column: u32) -> Row {
    let found = load_padded(start, row, column);
    let own = found.own;
    return Row(Vec4(found.before, own.x, own.y, own.z), own, Vec4(own.y, own.z, own.w, found.after));
}

// One tap of a channel, of which `upper` and `lower` are under the taps of the two rows of windows.
fn step(channel: u32, tap: u32, upper: Vec4, lower: Vec4, sums: ptr<function, array<Vec4, 16>>) {
    let low = staged[channel][tap * 2u];
    let high = staged[channel][tap * 2u + 1u];
    (*sums)[0] += low.x * upper;
    (*sums)[1] += low.x * lower;
    (*sums)[2] += low.y * upper;
    (*sums)[3] += low.y * lower;
    (*sums)[4] += low.z * upper;
    (*sums)[5] += low.z * lower;
    (*sums)[6] += low.w * upper;
    (*sums)[7] += low.w * lower;
    (*sums)[8] += high.x * upper;
    (*sums)[9] += high.x * lower;
    (*sums)[10] += high.y * upper;
    (*sums)[11] += high.y * lower;
    (*sums)[12] += high.z * upper;
    (*sums)[13] += high.z * lower;
    (*sums)[14] += high.w * upper;
    (*sums)[15] += high.w * lower;
}

// Three taps in a row.
fn steps(channel: u32, tap: u32, upper: Row, lower: Row, sums: ptr<function, array<Vec4, 16>>) {
    step(channel, tap, upper.left, lower.left, sums);
    step(channel, tap + 1u, upper.middle, lower.middle, sums);
    step(channel, tap + 2u, upper.right, lower.right, sums);
}

// A weight of a chunk, by its number among those of eight outputs and four channels: adjacent ones are adjacent taps.
fn load_weight(number: u32, first: u32, channel: u32) -> Element {
    let output_of_tile = number / TAPS % OUTPUTS;
    let at = first + (channel + number / (TAPS * OUTPUTS)) * params.weights_rows + output_of_tile * params.weights_across;
    return weights[at + number % TAPS];
}

// Stages a weight. The taps of an input gradient go backwards.
fn stage_weight(number: u32, weight: Element) {
    var tap = number % TAPS;
    if params.tap_move.y != 1u {
        tap = TAPS - 1u - tap;
    }
    let output_of_tile = number / TAPS % OUTPUTS;
    staged[number / (TAPS * OUTPUTS)][tap * 2u + output_of_tile / 4u][output_of_tile % 4u] = Number(weight);
}

@compute @workgroup_size(INVOCATIONS)
fn conv2d_rows(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(workgroup.y * workgroups.x + workgroup.x, WINDOWS, OUTPUTS);
    if !tile.exists {
        return;
    }
    let number = tile.first_window + local;
    let window = split_window(min(number, params.count - 1u));
    let row = window.y * 2u;
    let plane = params.size.x * params.size.y;
    var start = params.image_offset + (window.x * params.groups + tile.group) * params.channels * plane;
    // The row of the first tap, or of the last one if they go backwards.
    var first_row = row + params.origin.x;
    if params.tap_move.x != 1u {
        first_row -= 2u;
    }
    let of_group = tile.group * params.outputs * params.channels * TAPS;
    let first_weight = params.weights_offset + of_group + tile.first_output * params.weights_across;

    var sums: array<Vec4, 16>;
    var weight_0 = load_weight(local, first_weight, 0u);
    var weight_1 = load_weight(local + INVOCATIONS, first_weight, 0u);
    var weight_2 = load_weight(min(local + 2u * INVOCATIONS, STAGED - 1u), first_weight, 0u);
    for (var first = 0u; first < params.channels; first += CHANNELS) {
        workgroupBarrier();
        stage_weight(local, weight_0);
        stage_weight(local + INVOCATIONS, weight_1);
        if local + 2u * INVOCATIONS < STAGED {
            stage_weight(local + 2u * INVOCATIONS, weight_2);
        }
        workgroupBarrier();
        if first + CHANNELS < params.channels {
            weight_0 = load_weight(local, first_weight, first + CHANNELS);
            weight_1 = load_weight(local + INVOCATIONS, first_weight, first + CHANNELS);
            weight_2 = load_weight(min(local + 2u * INVOCATIONS, STAGED - 1u), first_weight, first + CHANNELS);
        }
        let end = min(CHANNELS, params.channels - first);
        for (var channel = 0u; channel < end; channel += 1u) {
            let row_0 = load_row(start, first_row, window.z);
            let row_1 = load_row(start, first_row + 1u, window.z);
            let row_2 = load_row(start, first_row + 2u, window.z);
            let row_3 = load_row(start, first_row + 3u, window.z);
            steps(channel, 0u, row_0, row_1, &sums);
            steps(channel, 3u, row_1, row_2, &sums);
            steps(channel, 6u, row_2, row_3, &sums);
            start += plane;
        }
    }
    if number >= params.count {
        return;
    }

    let outputs_before = window.x * params.groups * params.outputs;
    let at = (outputs_before * params.written.x + row) * params.written.y + window.z;
    let has_second = row + 1u < params.written.x;
    let top = tile.first_output;
    store(at, top, 0u, tile.group, has_second, sums[0], sums[1]);
    store(at, top, 1u, tile.group, has_second, sums[2], sums[3]);
    store(at, top, 2u, tile.group, has_second, sums[4], sums[5]);
    store(at, top, 3u, tile.group, has_second, sums[6], sums[7]);
    store(at, top, 4u, tile.group, has_second, sums[8], sums[9]);
    store(at, top, 5u, tile.group, has_second, sums[10], sums[11]);
    store(at, top, 6u, tile.group, has_second, sums[12], sums[13]);
    store(at, top, 7u, tile.group, has_second, sums[14], sums[15]);
}
