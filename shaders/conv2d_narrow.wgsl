// conv2d_narrow: a convolution or its input gradient with few outputs: output[o, window] = sum over k of weights[k, o] *
// image[k, window], where k is a channel and a tap, plus the previous output if `accumulate` is 1, then the epilogue of
// lib/epilogue.wgsl.
//
// Parameters: lib/convolution.wgsl. Bindings: 0 output, contiguous, 1 image, contiguous from `image_offset` on, 2 weights, packed
// by conv2d_pack.wgsl with PACK channels in a unit, 3 biases.
//
// Each invocation computes eight outputs of eight windows, a workgroup apart, so that adjacent invocations read and write adjacent
// elements. All invocations read the same weights. Nothing is staged in workgroup memory: an element of the image is used by
// one invocation only. Dispatch phases * tiles * groups * ceil(outputs / 8) workgroups.
//
// Indices: lib/convolution.wgsl. Weights and biases past the last output are those of others, or past the binding, where WebGPU
// makes reads harmless; their sums are not stored.
// Loops: units + 1, and lib/convolution.wgsl.

const OUTPUTS: u32 = 8u;
const WINDOWS: u32 = 512u;
const PACK: u32 = 4u;
const INVOCATIONS: u32 = WINDOWS / 8u;

alias Vec4 = vec4<Number>;

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(0) @binding(1) var<storage, read_write> image: array<Element>;
@group(0) @binding(2) var<storage, read_write> weights: array<vec4<Element>>;

// Loads four channels of a unit of a window, with zero padding.
fn load_padded(source: Source, unit: Unit) -> Vec4 {
    let exist = vec4(0u, 1u, 2u, 3u) < vec4(existing(source, unit));
    return select(vec4<Number>(), Vec4(load_channels(source, unit, 0u)), exist);
}

// One channel: its elements of eight windows, and its weights of eight outputs.
fn step(at: u32, low: Vec4, high: Vec4, sums: ptr<function, array<Vec4, 16>>) {
    let left = Vec4(weights[at]);
    let right = Vec4(weights[at + 1u]);
    (*sums)[0] += low.x * left;
    (*sums)[1] += low.x * right;
    (*sums)[2] += low.y * left;
    (*sums)[3] += low.y * right;
    (*sums)[4] += low.z * left;
    (*sums)[5] += low.z * right;
    (*sums)[6] += low.w * left;
    (*sums)[7] += low.w * right;
    (*sums)[8] += high.x * left;
    (*sums)[9] += high.x * right;
    (*sums)[10] += high.y * left;
    (*sums)[11] += high.y * right;
    (*sums)[12] += high.z * left;
    (*sums)[13] += high.z * right;
    (*sums)[14] += high.w * left;
    (*sums)[15] += high.w * right;
}

fn store_window(number: u32, tile: Tile, phase: Phase, low: Vec4, high: Vec4) {
    let target_place = target_of(number, phase, tile.part);
    store(target_place, tile.group, tile.first_output, low);
    store(target_place, tile.group, tile.first_output + 4u, high);
}

@compute @workgroup_size(INVOCATIONS)
fn conv2d_narrow(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(workgroup.y * workgroups.x + workgroup.x, WINDOWS, OUTPUTS);
    if !tile.exists {
        return;
    }
    let phase = phase_of(tile.phase);
    let end = end_of_units(tile.part, phase.taps);
    let window = tile.first_window + local;
    let source_0 = source_of(window, tile.group, phase);
    let source_1 = source_of(window + INVOCATIONS, tile.group, phase);
    let source_2 = source_of(window + 2u * INVOCATIONS, tile.group, phase);
    let source_3 = source_of(window + 3u * INVOCATIONS, tile.group, phase);
    let source_4 = source_of(window + 4u * INVOCATIONS, tile.group, phase);
    let source_5 = source_of(window + 5u * INVOCATIONS, tile.group, phase);
    let source_6 = source_of(window + 6u * INVOCATIONS, tile.group, phase);
    let source_7 = source_of(window + 7u * INVOCATIONS, tile.group, phase);
    let weights_at = weights_start(tile.group) * params.weights_across + tile.first_output / 4u;

    var sums: array<Vec4, 16>;
    var unit = unit_at(first_of_units(tile.part), phase.taps);
    for (var number = first_of_units(tile.part); number < end; number += 1u) {
        let x0 = load_padded(source_0, unit);
        let x1 = load_padded(source_1, unit);
        let x2 = load_padded(source_2, unit);
        let x3 = load_padded(source_3, unit);
        let x4 = load_padded(source_4, unit);
        let x5 = load_padded(source_5, unit);
        let x6 = load_padded(source_6, unit);
        let x7 = load_padded(source_7, unit);
        let at = weights_at + weights_row(unit, phase) * params.weights_across;
        step(at, Vec4(x0.x, x1.x, x2.x, x3.x), Vec4(x4.x, x5.x, x6.x, x7.x), &sums);
        step(at + params.weights_across, Vec4(x0.y, x1.y, x2.y, x3.y), Vec4(x4.y, x5.y, x6.y, x7.y), &sums);
        step(at + 2u * params.weights_across, Vec4(x0.z, x1.z, x2.z, x3.z), Vec4(x4.z, x5.z, x6.z, x7.z), &sums);
        step(at + 3u * params.weights_across, Vec4(x0.w, x1.w, x2.w, x3.w), Vec4(x4.w, x5.w, x6.w, x7.w), &sums);
        unit = next_unit(unit, phase.taps);
    }
    store_window(window, tile, phase, sums[0], sums[1]);
    store_window(window + INVOCATIONS, tile, phase, sums[2], sums[3]);
    store_window(window + 2u * INVOCATIONS, tile, phase, sums[4], sums[5]);
    store_window(window + 3u * INVOCATIONS, tile, phase, sums[6], sums[7]);
    store_window(window + 4u * INVOCATIONS, tile, phase, sums[8], sums[9]);
    store_window(window + 5u * INVOCATIONS, tile, phase, sums[10], sums[11]);
    store_window(window + 6u * INVOCATIONS, tile, phase, sums[12], sums[13]);
    store_window(window + 7u * INVOCATIONS, tile, phase, sums[14], sums[15]);
}
