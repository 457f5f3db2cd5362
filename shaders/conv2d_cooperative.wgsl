// conv2d_cooperative: as conv2d_tiled, for f16 with cooperative matrices: subgroups multiply fragments of 16 × 16 with f32
// accumulators, by lib/fragments.wgsl.
//
// Parameters and bindings: as conv2d_tiled. There is a single pass over K, so the previous output is not added.
//
// A workgroup of four subgroups of 32 computes a tile of OUTPUTS × WINDOWS; each subgroup computes a quarter of it. A slice has
// four units: each invocation gathers these of one window, and loads eight outputs of one channel of each. Weights lie in workgroup
// memory as in storage, by k; windows lie along k. Lines are padded by two vec4s, so that eight consecutive lines are in
// different banks; see matmul_cooperative.wgsl. The next slices are loaded into registers during the computation on the current
// ones. A tile past the last output or window computes sums that are not stored. Dispatch parts * phases * tiles * groups *
// ceil(outputs / OUTPUTS) workgroups.
//
// Indices: lib/convolution.wgsl. Vec4s of weights past the last output are of the next row, or past the binding, where WebGPU
// makes reads harmless.
// Loops: units / 4 + 2, and lib/convolution.wgsl.

enable wgpu_cooperative_matrix;

const OUTPUTS: u32 = 128u;
const WINDOWS: u32 = 128u;
const SLICE: u32 = 32u;
const PACK: u32 = 8u;
const INVOCATIONS: u32 = 128u;
const OUTPUT_EIGHTS: u32 = OUTPUTS / 8u;
const K_EIGHTS: u32 = SLICE / 8u;

alias Vec4 = vec4<Number>;

@group(0) @binding(1) var<storage, read_write> image: array<Element>;
@group(0) @binding(2) var<storage, read_write> weights: array<vec4<Element>>;

var<workgroup> left_slice: array<array<array<vec4<Element>, 2>, OUTPUT_EIGHTS + 1u>, SLICE>;
var<workgroup> right_slice: array<array<array<vec4<Element>, 2>, K_EIGHTS + 1u>, WINDOWS>;

fn left_piece(row: u32, k: u32) -> Left {
    return coopLoad<Left>(&left_slice[k][row / 8u][0], 2u * (OUTPUT_EIGHTS + 1u));
}

fn right_piece(k: u32, column: u32) -> Right {
    return coopLoad<Right>(&right_slice[column][k / 8u][0], 2u * (K_EIGHTS + 1u));
}

// The weights of eight outputs as they were loaded, and whether they exist.
struct Weights {
    low: vec4<Element>,
    high: vec4<Element>,
    exist: bool,
}

fn load_weights(unit: Unit, exists: bool, phase: Phase, at: u32) -> Weights {
    let place = at + weights_row(unit, phase) * params.weights_across;
    return Weights(weights[place], weights[place + 1u], exists);
}

fn stage_image(window: u32, unit: u32, loaded: Pack) {
    let pack = padded(loaded);
    right_slice[window][unit][0] = pack.low;
    right_slice[window][unit][1] = pack.high;
}

fn stage_weights(k: u32, eight: u32, loaded: Weights) {
    left_slice[k][eight][0] = select(vec4<Element>(), loaded.low, loaded.exist);
    left_slice[k][eight][1] = select(vec4<Element>(), loaded.high, loaded.exist);
}

// Stores a fragment: an invocation stores two vec4s of one output.
fn store_piece(first: Targets, second: Targets, group: u32, top: u32, subgroup: u32, lane: u32, sum: Sum) {
    let piece = subgroup * PIECE * PIECE;
    workgroupBarrier();
    coopStoreT(sum, &finished_pieces[piece], PIECE);
    workgroupBarrier();
    let output_of_group = top + lane / 2u;
    let place = piece + lane * 8u;
    if output_of_group < params.outputs {
        let row = group * params.outputs + output_of_group;
        store_windows(first, row, vec4_at(place));
        store_windows(second, row, vec4_at(place + 4u));
    }
}

@compute @workgroup_size(INVOCATIONS)
fn conv2d_cooperative(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let tile = tile_of(workgroup.y * workgroups.x + workgroup.x, WINDOWS, OUTPUTS);
    if !tile.exists {
        return;
    }
    let phase = phase_of(tile.phase);
    let end = end_of_units(tile.part, phase.taps);
    let source = source_of(tile.first_window + local, tile.group, phase);
    // The channel of a unit and the outputs of the weights of an invocation.
    let k = local / OUTPUT_EIGHTS;
    let eight = local % OUTPUT_EIGHTS;
    let weights_at = (weights_start(tile.group) + k) * params.weights_across + tile.first_output / 4u + eight * 2u;
    let own_row = subgroup / 2u * (OUTPUTS / 2u);
    let own_column = subgroup % 2u * (WINDOWS / 2u);

    var sums: array<Sum, 16>;
    var number = first_of_units(tile.part);
    var unit_0 = unit_at(number, phase.taps);
    var unit_1 = next_unit(unit_0, phase.taps);
    var unit_2 = next_unit(unit_1, phase.taps);
    var unit_3 = next_unit(unit_2, phase.taps);
    var image_0 = load_pack(source, unit_0, number < end);
    var image_1 = load_pack(source, unit_1, number + 1u < end);
    var image_2 = load_pack(source, unit_2, number + 2u < end);
    var image_3 = load_pack(source, unit_3, number + 3u < end);
    var weights_0 = load_weights(unit_0, number < end, phase, weights_at);
    var weights_1 = load_weights(unit_1, number + 1u < end, phase, weights_at);
    var weights_2 = load_weights(unit_2, number + 2u < end, phase, weights_at);
    var weights_3 = load_weights(unit_3, number + 3u < end, phase, weights_at);
    loop {
        stage_image(local, 0u, image_0);
        stage_image(local, 1u, image_1);
        stage_image(local, 2u, image_2);
        stage_image(local, 3u, image_3);
        stage_weights(k, eight, weights_0);
        stage_weights(k + PACK, eight, weights_1);
        stage_weights(k + 2u * PACK, eight, weights_2);
        stage_weights(k + 3u * PACK, eight, weights_3);
        workgroupBarrier();
        number += K_EIGHTS;
        if number < end {
            unit_0 = next_unit(unit_3, phase.taps);
            unit_1 = next_unit(unit_0, phase.taps);
            unit_2 = next_unit(unit_1, phase.taps);
            unit_3 = next_unit(unit_2, phase.taps);
            image_0 = load_pack(source, unit_0, true);
            image_1 = load_pack(source, unit_1, number + 1u < end);
            image_2 = load_pack(source, unit_2, number + 2u < end);
            image_3 = load_pack(source, unit_3, number + 3u < end);
            weights_0 = load_weights(unit_0, true, phase, weights_at);
            weights_1 = load_weights(unit_1, number + 1u < end, phase, weights_at);
            weights_2 = load_weights(unit_2, number + 2u < end, phase, weights_at);
            weights_3 = load_weights(unit_3, number + 3u < end, phase, weights_at);
        }
        step(own_row, own_column, 0u, &sums);
        step(own_row, own_column, PIECE, &sums);
        if number >= end {
            break;
        }
        workgroupBarrier();
    }

    let top = tile.first_output + own_row;
    let start = tile.first_window + own_column + lane % 2u * 8u;
    let first_0 = targets_of(start, phase, tile.part);
    let second_0 = targets_of(start + 4u, phase, tile.part);
    let first_1 = targets_of(start + PIECE, phase, tile.part);
    let second_1 = targets_of(start + PIECE + 4u, phase, tile.part);
    let first_2 = targets_of(start + 2u * PIECE, phase, tile.part);
    let second_2 = targets_of(start + 2u * PIECE + 4u, phase, tile.part);
    let first_3 = targets_of(start + 3u * PIECE, phase, tile.part);
    let second_3 = targets_of(start + 3u * PIECE + 4u, phase, tile.part);
    store_piece(first_0, second_0, tile.group, top, subgroup, lane, sums[0]);
    store_piece(first_1, second_1, tile.group, top, subgroup, lane, sums[1]);
    store_piece(first_2, second_2, tile.group, top, subgroup, lane, sums[2]);
    store_piece(first_3, second_3, tile.group, top, subgroup, lane, sums[3]);
    store_piece(first_0, second_0, tile.group, top + PIECE, subgroup, lane, sums[4]);
    store_piece(first_1, second_1, tile.group, top + PIECE, subgroup, lane, sums[5]);
    store_piece(first_2, second_2, tile.group, top + PIECE, subgroup, lane, sums[6]);
    store_piece(first_3, second_3, tile.group, top + PIECE, subgroup, lane, sums[7]);
    store_piece(first_0, second_0, tile.group, top + 2u * PIECE, subgroup, lane, sums[8]);
    store_piece(first_1, second_1, tile.group, top + 2u * PIECE, subgroup, lane, sums[9]);
    store_piece(first_2, second_2, tile.group, top + 2u * PIECE, subgroup, lane, sums[10]);
    store_piece(first_3, second_3, tile.group, top + 2u * PIECE, subgroup, lane, sums[11]);
    store_piece(first_0, second_0, tile.group, top + 3u * PIECE, subgroup, lane, sums[12]);
    store_piece(first_1, second_1, tile.group, top + 3u * PIECE, subgroup, lane, sums[13]);
    store_piece(first_2, second_2, tile.group, top + 3u * PIECE, subgroup, lane, sums[14]);
    store_piece(first_3, second_3, tile.group, top + 3u * PIECE, subgroup, lane, sums[15]);
}
