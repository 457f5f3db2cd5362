// conv2d_small: a convolution or its input gradient with few windows, or few outputs: output[o, window] = sum over k of weights[k, o] *
// image[k, window], where k is a channel and a tap, then the epilogue of lib/epilogue.wgsl.
//
// Parameters: lib/convolution.wgsl. Bindings: 0 output, contiguous, 1 image, contiguous from `image_offset` on, 2 weights as they are,
// from `weights_offset` on: no other kernel packs them, whose launch would take longer than a short sum. 3 biases.
//
// A workgroup computes eight outputs of 32 windows, and divides the K dimension among its eight rows of 32 invocations: each adds up
// every eighth line (a channel and a tap) of a window, so that few windows have many invocations with short loops. Lines are processed
// in chunks of 256, for each of which every invocation prepares one line in workgroup memory: its position, and its weights of the
// eight outputs. Then the sums of the rows are added in a tree. Dispatch phases * tiles * groups * ceil(outputs / 8) workgroups. There is
// a single pass over K.
//
// Bound: a line takes eight products, one load of the image, and three of workgroup memory: a third of the instructions are products.
// Two or four windows of an invocation take longer where this kernel is used.
//
// Indices: lib/convolution.wgsl. Weights and biases past the last output are those of others, or past the binding, where WebGPU makes
// reads harmless; their sums are not stored.
// Loops: lines / 256 + lines / 32 + lines / 256 + 6, and lib/convolution.wgsl.

const OUTPUTS: u32 = 8u;
const LANES: u32 = 32u;
const ROWS: u32 = 8u;
const WINDOWS: u32 = LANES;
const CHUNK: u32 = 256u;
const INVOCATIONS: u32 = CHUNK;
const PACK: u32 = 1u;
// Lines of an invocation at a time, whose loads do not wait for each other.
const AT_ONCE: u32 = 4u;

alias Vec4 = vec4<Number>;

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(0) @binding(1) var<storage, read_write> image: array<Element>;
@group(0) @binding(2) var<storage, read_write> weights: array<Element>;

// Of each line of a chunk: the position of its tap relative to the first tap, the element relative to that of the first line, and
// whether the line exists.
var<workgroup> lines: array<vec4<u32>, CHUNK>;
// The weights of the lines of a chunk, eight outputs each, and in the end sums of half of the rows of invocations.
var<workgroup> staged: array<Vec4, CHUNK * 2u>;

// Prepares a line of a chunk. One past the last line counts as zeros.
fn stage_line(at: u32, number: u32, phase: Phase, tile: Tile) {
    let taps = phase.taps.x * phase.taps.y;
    let channel = number / max(taps, 1u);
    let tap_number = number - channel * taps;
    let row = tap_number / max(phase.taps.y, 1u);
    let tap = vec2(row, tap_number - row * phase.taps.y);
    let moved = tap * params.tap_move;
    if channel >= params.channels || taps == 0u {
        lines[at] = vec4(0u);
        staged[at * 2u] = vec4<Number>();
        staged[at * 2u + 1u] = vec4<Number>();
        return;
    }
    lines[at] = vec4(moved, (channel * params.size.x + moved.x) * params.size.y + moved.y, 1u);
    let place = phase.tap + tap * params.tap_step;
    let all_taps = params.kernel.x * params.kernel.y;
    let group_start = params.weights_offset + tile.group * params.outputs * params.channels * all_taps;
    let next = params.weights_across;
    let first = group_start + channel * params.weights_rows + place.x * params.kernel.y + place.y + tile.first_output * next;
    staged[at * 2u] = Vec4(vec4(weights[first], weights[first + next], weights[first + 2u * next], weights[first + 3u * next]));
    let other = first + 4u * next;
    staged[at * 2u + 1u] =
        Vec4(vec4(weights[other], weights[other + next], weights[other + 2u * next], weights[other + 3u * next]));
}

// Loads a line of a window, with zero padding.
fn load_line(source: Source, at: u32) -> Number {
    let line = lines[at];
    let found = Number(image[source.start + source.corner.x * params.size.y + source.corner.y + line.z]);
    return select(Number(), found, all(source.corner + line.xy < params.size) && line.w == 1u);
}

@compute @workgroup_size(INVOCATIONS)
fn conv2d_small(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(workgroup.y * workgroups.x + workgroup.x, WINDOWS, OUTPUTS);
    if !tile.exists {
        return;
    }
    let phase = phase_of(tile.phase);
    let lane = local % LANES;
    let row = local / LANES;
    let window = tile.first_window + lane;
    let source = source_of(window, tile.group, phase);
    let count = units_of(phase.taps);

    var low = vec4<Number>();
    var high = vec4<Number>();
    for (var first = 0u; first < count; first += CHUNK) {
        workgroupBarrier();
        stage_line(local, first + local, phase, tile);
        workgroupBarrier();
        let end = min(CHUNK, count - first);
        for (var at = row; at < end; at += AT_ONCE * ROWS) {
            let second = at + ROWS;
            let third = second + ROWS;
            let fourth = third + ROWS;
            let x = Vec4(
                load_line(source, at),
                load_line(source, second),
                load_line(source, third),
                load_line(source, fourth),
            );
            low = low
                + x.x * staged[at * 2u]
                + x.y * staged[second * 2u]
                + x.z * staged[third * 2u]
                + x.w * staged[fourth * 2u];
            high = high
                + x.x * staged[at * 2u + 1u]
                + x.y * staged[second * 2u + 1u]
                + x.z * staged[third * 2u + 1u]
                + x.w * staged[fourth * 2u + 1u];
        }
    }
    for (var rows = ROWS / 2u; rows > 0u; rows /= 2u) {
        workgroupBarrier();
        let at = (row % rows * LANES + lane) * 2u;
        if row >= rows && row < 2u * rows {
            staged[at] = low;
            staged[at + 1u] = high;
        }
        workgroupBarrier();
        if row < rows {
            low += staged[at];
            high += staged[at + 1u];
        }
    }
    if row == 0u {
        let goal = target_of(window, phase, tile.part);
        store(goal, tile.group, tile.first_output, low);
        store(goal, tile.group, tile.first_output + 4u, high);
    }
}
