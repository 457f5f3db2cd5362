// conv2d_rows_tiled: a convolution, or its input gradient, with a stride of 1, a dilation of DILATION, KERNEL × KERNEL taps and a padding
// of KERNEL / 2 * DILATION on both sides of a row: output[o, window] = sum over k of weights[k, o] * image[k, window], where k is a
// channel and a tap, then the epilogue of lib/row_epilogue.wgsl.
//
// Parameters: lib/convolution.wgsl, where a column is a vec4: sizes of rows and `image_offset` are in vec4s, and a window is a vec4 of
// columns in two rows, DILATION apart. Bindings: 0 output, contiguous, 1 image, contiguous from `image_offset` on, 2 weights, packed by
// conv2d_pack.wgsl with CHANNELS channels in a unit, 3 biases. Output, image and weights are bound as vec4s.
//
// A workgroup of 256 invocations computes 64 outputs of 32 windows, an invocation eight outputs of a window: two vec4s of outputs, 32
// apart. A slice is CHANNELS channels. Workgroup memory has its weights of 64 outputs, and of the KERNEL + 1 rows of the image under each
// window a vec4 for each tap of a row: copies of the row moved by DILATION columns, so that every operand of a product is a component of
// the vec4 that was loaded. So an element of the image is loaded at most four times and not for each tap, and an invocation reads
// KERNEL * (3 * KERNEL + 1) vec4s of workgroup memory for 64 * KERNEL * KERNEL products, 30 for 576, where a tile of a product reads 36.
// The next slice is loaded into registers during the computation on the current one, also after the last one, since NVIDIA's compiler
// waits for loads in a branch. The host includes lib/rows_of_three.wgsl, with adjacent taps or taps that are two apart, or
// lib/rows_of_five.wgsl. There is a single pass over K. Dispatch tiles * groups * ceil(outputs / 64) workgroups.
//
// Bound: 1,152 of 1,323 instructions of a slice are products in NVIDIA's machine code with 3 × 3 taps, 1,600 of 1,810 with 5 × 5.
//
// Indices: lib/convolution.wgsl. Vec4s of weights past the last output are of the next row; those past the last channel, and elements
// outside the image, are others, or past the binding, where WebGPU makes reads harmless, and are replaced by zeros or not used.
// Loops: channels / CHANNELS + 2, and lib/convolution.wgsl.

const OUTPUTS: u32 = 64u;
const WINDOWS: u32 = 32u;
const INVOCATIONS: u32 = 256u;
const TAPS: u32 = KERNEL * KERNEL;
const ROWS: u32 = KERNEL + 1u;
// The vec4s of outputs of a tap, and the rows of weights and of the image in a slice.
const ACROSS: u32 = OUTPUTS / 4u;
const WEIGHTS: u32 = CHANNELS * TAPS;
const LINES: u32 = CHANNELS * ROWS;

alias Vec4 = vec4<Number>;

@group(0) @binding(0) var<storage, read_write> output: array<vec4<Output>>;
@group(0) @binding(1) var<storage, read_write> image: array<vec4<Element>>;
@group(0) @binding(2) var<storage, read_write> weights: array<vec4<Element>>;

var<workgroup> staged_weights: array<array<Vec4, ACROSS>, WEIGHTS>;
// Of each row of the image and each tap of a row: the columns of the windows under the tap.
var<workgroup> staged_image: array<array<Vec4, WINDOWS>, LINES * KERNEL>;

// What an invocation stages of each slice: a row of the image under a window, and one or two vec4s of weights, by their rows.
struct Place {
    window: u32,
    line: u32,
    across: u32,
    weight_0: u32,
    weight_1: u32,
}

// Where a row of weights is staged. The taps of an input gradient go backwards.
fn place_of(row: u32) -> u32 {
    let tap = row / CHANNELS;
    return select(TAPS - 1u - tap, tap, params.tap_move.y == DILATION) * CHANNELS + row % CHANNELS;
}

// Two rows of a window and eight outputs: one tap.
fn step(weight: u32, down: u32, upper: Vec4, lower: Vec4, sums: ptr<function, array<Vec4, 16>>) {
    let top = staged_weights[weight][down];
    let bottom = staged_weights[weight][down + ACROSS / 2u];
    (*sums)[0] += top.x * upper;
    (*sums)[1] += top.x * lower;
    (*sums)[2] += top.y * upper;
    (*sums)[3] += top.y * lower;
    (*sums)[4] += top.z * upper;
    (*sums)[5] += top.z * lower;
    (*sums)[6] += top.w * upper;
    (*sums)[7] += top.w * lower;
    (*sums)[8] += bottom.x * upper;
    (*sums)[9] += bottom.x * lower;
    (*sums)[10] += bottom.y * upper;
    (*sums)[11] += bottom.y * lower;
    (*sums)[12] += bottom.z * upper;
    (*sums)[13] += bottom.z * lower;
    (*sums)[14] += bottom.w * upper;
    (*sums)[15] += bottom.w * lower;
}

// Stores a slice in workgroup memory. `exist`: whether the elements before the vec4, the vec4, and those after it are in the image.
fn stage(
    place: Place,
    own: vec4<Element>,
    before: Side,
    after: Side,
    exist: vec3<bool>,
    weight_0: vec4<Element>,
    weight_1: vec4<Element>,
) {
    if place.line < LINES {
        stage_row(place.line * KERNEL, place.window, own, before, after, exist);
    }
    staged_weights[place.weight_0][place.across] = Vec4(weight_0);
    if place.weight_1 < WEIGHTS {
        staged_weights[place.weight_1][place.across] = Vec4(weight_1);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn conv2d_rows_tiled(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(workgroup.y * workgroups.x + workgroup.x, WINDOWS, OUTPUTS);
    if !tile.exists {
        return;
    }
    let plane = params.size.x * params.size.y;
    // The row of the image that this invocation stages. The first row of a window is that of its first tap, or of its last one if they
    // go backwards.
    let line = min(local / WINDOWS, LINES - 1u);
    let source = split_window(min(tile.first_window + local % WINDOWS, params.count - 1u));
    let backwards = select((KERNEL - 1u) * DILATION, 0u, params.tap_move.x == DILATION);
    let row = first_row_of(source.y) + params.origin.x - backwards + line % ROWS * DILATION;
    let image_of = (source.x * params.groups + tile.group) * params.channels + line / ROWS;
    var image_at = params.image_offset + image_of * plane + row * params.size.y + source.z;
    let exists = row < params.size.x;
    let exist = vec3(exists && source.z > 0u, exists, exists && source.z + 1u < params.size.y);
    // The weights that it stages.
    let other = local + INVOCATIONS;
    let other_row = min(other / ACROSS, WEIGHTS - 1u);
    let weights_of = weights_start(tile.group) * params.weights_across + tile.first_output / 4u + local % ACROSS;
    var weights_at = weights_of + local / ACROSS * params.weights_across;
    let weights_step = (other_row - local / ACROSS) * params.weights_across;
    let place = Place(
        local % WINDOWS,
        local / WINDOWS,
        local % ACROSS,
        place_of(local / ACROSS),
        select(WEIGHTS, place_of(other_row), other < WEIGHTS * ACROSS),
    );
    // The outputs and the window of its sums.
    let down = local / 128u * 4u + local % 32u / 8u;
    let along = local / 32u % 4u * 8u + local % 8u;

    var channel = line / ROWS;
    var sums: array<Vec4, 16>;
    var own = image[image_at];
    var before = side_before(image_at);
    var after = side_after(image_at);
    var weight_0 = weights[weights_at];
    var weight_1 = weights[weights_at + weights_step];
    for (var end = CHANNELS; ; end += CHANNELS) {
        stage(place, own, before, after, exist & vec3(channel < params.channels), weight_0, weight_1);
        channel += CHANNELS;
        workgroupBarrier();
        weights_at += WEIGHTS * params.weights_across;
        image_at += CHANNELS * plane;
        own = image[image_at];
        before = side_before(image_at);
        after = side_after(image_at);
        weight_0 = weights[weights_at];
        weight_1 = weights[weights_at + weights_step];
        multiply(down, along, &sums);
        if end >= params.channels {
            break;
        }
        workgroupBarrier();
    }

    let number = tile.first_window + along;
    let window = split_window(min(number, params.count - 1u));
    let outputs_before = window.x * params.groups * params.outputs;
    let first_row = first_row_of(window.y);
    let at = (outputs_before * params.written.x + first_row) * params.written.y + window.z;
    let has_second = first_row + DILATION < params.written.x;
    if number < params.count {
        let top = tile.first_output + down * 4u;
        let bottom = top + OUTPUTS / 2u;
        store(at, top, 0u, tile.group, has_second, sums[0], sums[1]);
        store(at, top, 1u, tile.group, has_second, sums[2], sums[3]);
        store(at, top, 2u, tile.group, has_second, sums[4], sums[5]);
        store(at, top, 3u, tile.group, has_second, sums[6], sums[7]);
        store(at, bottom, 0u, tile.group, has_second, sums[8], sums[9]);
        store(at, bottom, 1u, tile.group, has_second, sums[10], sums[11]);
        store(at, bottom, 2u, tile.group, has_second, sums[12], sums[13]);
        store(at, bottom, 3u, tile.group, has_second, sums[14], sums[15]);
    }
}
