// conv2d_tiled: a convolution or its input gradient as an implicit matrix product: output[o, window] = sum over k of
// weights[k, o] * image[k, window], where k is a channel and a tap, plus the previous output if `accumulate` is 1, then the
// epilogue of lib/row_epilogue.wgsl. The matrix of the image is never stored: each tile of it is gathered from the image.
//
// Parameters: lib/convolution.wgsl. Bindings: 0 output, contiguous (lib/windows_vec4.wgsl or lib/windows_scalar.wgsl), 1 image,
// contiguous from `image_offset` on, 2 weights, packed by conv2d_pack.wgsl with PACK channels in a unit, 3 biases.
//
// A workgroup of OUTPUTS / 8 × WINDOWS / 8 invocations computes a tile of OUTPUTS × WINDOWS, of which lib/block.wgsl multiplies
// the slices. The host sets OUTPUTS, WINDOWS and SLICE to 128, 128, 16, to 64, 64, 8, or to 32, 256, 8. With few channels, in the
// last two tiles, lib/lines.wgsl replaces lib/channels.wgsl. The slices of both operands take at most 16 KiB of workgroup memory;
// the next slice is loaded into registers during the computation on the current one. Each invocation gathers one or two packs:
// the PACK channels of a unit of one window, whose position is checked once. The last slice of 16 may have one unit: its second
// half is not multiplied. A tile past the last output or window computes sums that are not stored. Dispatch parts * phases *
// tiles * groups * ceil(outputs / OUTPUTS) workgroups.
//
// Indices: lib/convolution.wgsl. Vec4s of weights past the last output are of the next row, and those past the last unit of another
// group, or past the binding, where WebGPU makes reads harmless.
// Loops: units / (SLICE / 8) + 2, and lib/convolution.wgsl and lib/lines.wgsl.

const OUTPUTS: u32 = 128u;
const WINDOWS: u32 = 128u;
const SLICE: u32 = 16u;
const PACK: u32 = 8u;
const INVOCATIONS: u32 = OUTPUTS * WINDOWS / 64u;
// Of lib/block.wgsl.
const LEFT_HALF: u32 = OUTPUTS / 8u;
const RIGHT_HALF: u32 = WINDOWS / 8u;
const ACROSS: u32 = RIGHT_HALF / 8u;
// The loads of each invocation into workgroup memory: packs of the image, and vec4s of the weights.
const PACKS: u32 = SLICE * WINDOWS / PACK / INVOCATIONS;
const VECTORS: u32 = SLICE * OUTPUTS / 4u;
const UNITS: u32 = SLICE / PACK;

alias Vec4 = vec4<Number>;

@group(0) @binding(1) var<storage, read_write> image: array<Element>;
@group(0) @binding(2) var<storage, read_write> weights: array<vec4<Element>>;

var<workgroup> left_slice: array<array<Vec4, LEFT_HALF * 2u>, SLICE>;
var<workgroup> right_slice: array<array<Vec4, RIGHT_HALF * 2u>, SLICE>;

// The units of a slice.
struct Units {
    first: Unit,
    second: Unit,
}

fn units_from(first: Unit, taps: vec2<u32>) -> Units {
    return Units(first, next_unit(first, taps));
}

// In parts, one branch surrounds all loads of a pack: without it short sums take 1.1 times as long on an H100, and with it long ones
// 1.03 times.
fn load_unit(units: Units, is_second: bool, source: Source) -> Pack {
    var unit = units.first;
    if UNITS == 2u {
        unit.chunk = select(unit.chunk, units.second.chunk, is_second);
        unit.tap = select(unit.tap, units.second.tap, is_second);
    }
    var pack: Pack;
    if !IN_PARTS || existing(source, unit) > 0u {
        pack = load_pack(source, unit, true);
    }
    return pack;
}

fn stage_pack(loaded: Pack, k: u32, window: u32) {
    let pack = padded(loaded);
    let low = Vec4(pack.low);
    let high = Vec4(pack.high);
    right_slice[k][window / 4u][window % 4u] = low.x;
    right_slice[k + 1u][window / 4u][window % 4u] = low.y;
    right_slice[k + 2u][window / 4u][window % 4u] = low.z;
    right_slice[k + 3u][window / 4u][window % 4u] = low.w;
    right_slice[k + 4u][window / 4u][window % 4u] = high.x;
    right_slice[k + 5u][window / 4u][window % 4u] = high.y;
    right_slice[k + 6u][window / 4u][window % 4u] = high.z;
    right_slice[k + 7u][window / 4u][window % 4u] = high.w;
}

// Loads four outputs of the channel k of a slice.
fn load_weights(units: Units, k: u32, phase: Phase, at: u32) -> vec4<Element> {
    var unit = units.first;
    if UNITS == 2u {
        unit.chunk = select(unit.chunk, units.second.chunk, k >= PACK);
        unit.tap = select(unit.tap, units.second.tap, k >= PACK);
    }
    return weights[at + (weights_row(unit, phase) + k % PACK) * params.weights_across];
}

fn store(first: Targets, second: Targets, group: u32, output_of_group: u32, sum_0: Vec4, sum_1: Vec4) {
    if output_of_group < params.outputs {
        let row = group * params.outputs + output_of_group;
        store_windows(first, row, sum_0);
        store_windows(second, row, sum_1);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn conv2d_tiled(
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
    prepare_units(local);

    // The window and the unit of each pack.
    let window_0 = local % WINDOWS;
    let window_1 = (local + INVOCATIONS) % WINDOWS;
    let unit_0 = local / WINDOWS;
    let unit_1 = (local + INVOCATIONS) / WINDOWS;
    let source_0 = source_of(tile.first_window + window_0, tile.group, phase);
    var source_1 = source_0;
    if PACKS == 2u {
        source_1 = source_of(tile.first_window + window_1, tile.group, phase);
    }
    // The channel and the outputs of each vec4 of weights.
    let across = OUTPUTS / 4u;
    let k_0 = local / across;
    let k_1 = (local + INVOCATIONS) / across;
    let weights_at =
        weights_start(tile.group) * params.weights_across + tile.first_output / 4u + local % across;
    let block = block_of(local);

    var sums: array<Vec4, 16>;
    var number = first_of_units(tile.part);
    var units = units_from(unit_at(number, phase.taps), phase.taps);
    var pack_0 = load_unit(units, unit_0 == 1u, source_0);
    var pack_1: Pack;
    if PACKS == 2u {
        pack_1 = load_unit(units, unit_1 == 1u, source_1);
    }
    var weights_0 = load_weights(units, k_0, phase, weights_at);
    var weights_1: vec4<Element>;
    if VECTORS > INVOCATIONS {
        weights_1 = load_weights(units, k_1, phase, weights_at);
    }
    // A phase of an input gradient can have no taps.
    if number < end {
        loop {
            stage_pack(pack_0, unit_0 * PACK, window_0);
            if PACKS == 2u {
                stage_pack(pack_1, unit_1 * PACK, window_1);
            }
            if local < VECTORS {
                left_slice[k_0][local % across] = Vec4(weights_0);
            }
            if VECTORS > INVOCATIONS {
                left_slice[k_1][local % across] = Vec4(weights_1);
            }
            workgroupBarrier();
            let has_second = number + 1u < end;
            number += UNITS;
            if number < end {
                var next = next_unit(units.first, phase.taps);
                if UNITS == 2u {
                    next = next_unit(next, phase.taps);
                }
                units = units_from(next, phase.taps);
                pack_0 = load_unit(units, unit_0 == 1u, source_0);
                if PACKS == 2u {
                    pack_1 = load_unit(units, unit_1 == 1u, source_1);
                }
                weights_0 = load_weights(units, k_0, phase, weights_at);
                if VECTORS > INVOCATIONS {
                    weights_1 = load_weights(units, k_1, phase, weights_at);
                }
            }
            first_steps(block.down, block.along, &sums);
            other_steps(block.down, block.along, has_second, &sums);
            if number >= end {
                break;
            }
            workgroupBarrier();
        }
    }

    let first = targets_of(tile.first_window + block.along * 4u, phase, tile.part);
    let second = targets_of(tile.first_window + (block.along + RIGHT_HALF) * 4u, phase, tile.part);
    let top = tile.first_output + block.down * 4u;
    let bottom = top + OUTPUTS / 2u;
    store(first, second, tile.group, top, sums[0], sums[1]);
    store(first, second, tile.group, top + 1u, sums[2], sums[3]);
    store(first, second, tile.group, top + 2u, sums[4], sums[5]);
    store(first, second, tile.group, top + 3u, sums[6], sums[7]);
    store(first, second, tile.group, bottom, sums[8], sums[9]);
    store(first, second, tile.group, bottom + 1u, sums[10], sums[11]);
    store(first, second, tile.group, bottom + 2u, sums[12], sums[13]);
    store(first, second, tile.group, bottom + 3u, sums[14], sums[15]);
}
