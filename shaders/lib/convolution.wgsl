// Common part of the kernels for convolutions and for their input gradients. Both are
//   output[n, o, place] = sum over channels c and taps t of image[n, c, position] * weight[o, c, t]
// over the taps whose position exists and is inside the image:
//   convolution:           position = place * stride - padding + t * dilation
//   input gradient: position * stride = place + padding - t * dilation
//
// The places of an output are divided into phases by their remainder: place = first + window * phases. A convolution has one
// phase; the input gradient has as many as the stride on each axis. In each phase the taps that have a position are an
// arithmetic progression, number i is tap + i * tap_step, and
//   position = corner + window * stride + i * tap_move
// with a stride of 1 in the gradient. So the zeros between the elements of a strided gradient are never multiplied or stored.
//
// The K dimension consists of units: see lib/channels.wgsl. In it `corner` is the position of the first tap of a phase.
//
// Vectors are (height, width). Offsets are in elements. Images are (batch, groups, channels, height, width), contiguous.
//
// If IN_PARTS is true (the host sets it), the K dimension is divided into parts, each with an output of its own: its windows are those
// of further images of the output. The host keeps the number of windows of all parts below 2^22. Otherwise there is one part.
//
// Indices: lib/channels.wgsl. Places past the end of the output, of the last windows of some phases, are not stored; positions of
// their taps may be anything below 2^32. Numbers of elements are below 2^32 - 2^24.
// Loops: `phase_of` has at most 2 * (min(kernel, tap_step) + 1) iterations.

struct Params {
    // Of the image that is read, and of the output.
    size: vec2<u32>,
    written: vec2<u32>,
    // The windows of a phase on each axis; some of the last ones may be past the end of the output.
    windows: vec2<u32>,
    kernel: vec2<u32>,
    dilation: vec2<u32>,
    phases: vec2<u32>,
    stride: vec2<u32>,
    tap_step: vec2<u32>,
    tap_move: vec2<u32>,
    // The padding, negated (modulo 2^32) in a convolution.
    origin: vec2<u32>,
    // Of a group.
    channels: u32,
    outputs: u32,
    groups: u32,
    // The windows of a phase in all images.
    count: u32,
    image_offset: u32,
    bias_offset: u32,
    // The vec4s of a row of the packed weights; of weights that are not packed the elements from one output to the next.
    weights_across: u32,
    // The range of the K dimension that this dispatch adds up, in units, and the units of a part of it.
    first_unit: u32,
    end_unit: u32,
    span: u32,
    // Tiles of windows.
    tiles: u32,
    // 1 if the output contains the sums of earlier dispatches.
    accumulate: u32,
    // The rows of a group in the packed weights. Computed here, they cost 6 % of the rate with 64 channels on an H100. Of weights that
    // are not packed the elements from one channel to the next.
    weights_rows: u32,
    // Of weights that are not packed.
    weights_offset: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

const IN_PARTS: bool = false;

// The results of a workgroup: a tile of windows of one phase and a tile of outputs of one group, summed over one part of the K
// dimension.
struct Tile {
    part: u32,
    phase: u32,
    group: u32,
    first_window: u32,
    first_output: u32,
    exists: bool,
}

// Tiles that share windows are adjacent, so that the image is read from the cache.
fn tile_of(number: u32, windows: u32, outputs: u32) -> Tile {
    let across = (params.outputs + outputs - 1u) / outputs;
    let line = number / across;
    let plane = line / params.groups;
    let layer = plane / params.tiles;
    let phases = min(params.phases, params.written);
    var part = 0u;
    if IN_PARTS {
        part = layer / (phases.x * phases.y);
    }
    let phase = layer - part * phases.x * phases.y;
    return Tile(
        part,
        phase,
        line - plane * params.groups,
        (plane - layer * params.tiles) * windows,
        (number - line * across) * outputs,
        phase < phases.x * phases.y && first_of_units(part) < params.end_unit,
    );
}

struct Phase {
    // The first place of the output.
    first: vec2<u32>,
    // The first tap, and the number of taps.
    tap: vec2<u32>,
    taps: vec2<u32>,
    // The position of the first tap of the first window.
    corner: vec2<u32>,
}

fn phase_of(number: u32) -> Phase {
    var phase = Phase(vec2(0u), vec2(0u), params.kernel, params.origin);
    // With one phase, the divisions would take longer than a short sum.
    if any(params.phases != vec2(1u)) {
        let across = min(params.phases.y, params.written.y);
        phase.first = vec2(number / across, number % across);
        let at = phase.first + params.origin;
        let remainder = at % params.phases;
        phase.tap = vec2(first_tap(remainder.x, 0u), first_tap(remainder.y, 1u));
        phase.taps = (params.kernel - phase.tap + params.tap_step - 1u) / params.tap_step;
        phase.corner = at / params.phases - phase.tap * params.dilation / params.phases;
    }
    return phase;
}

// Returns the first tap of a phase, or the size of the kernel if there is none. They repeat after tap_step.
fn first_tap(remainder: u32, axis: u32) -> u32 {
    let end = min(params.kernel[axis], params.tap_step[axis]);
    var first = params.kernel[axis];
    for (var tap = end; tap > 0u; tap -= 1u) {
        if (tap - 1u) * params.dilation[axis] % params.phases[axis] == remainder {
            first = tap - 1u;
        }
    }
    return first;
}

// Returns the first unit of a part.
fn first_of_units(part: u32) -> u32 {
    if IN_PARTS {
        return params.first_unit + part * params.span;
    }
    return params.first_unit;
}

// Returns the end of the units of a part.
fn end_of_units(part: u32, taps: vec2<u32>) -> u32 {
    let end = min(params.end_unit, units_of(taps));
    if IN_PARTS {
        return min(end, first_of_units(part + 1u));
    }
    return end;
}

// Returns the first row of a group in the packed weights.
fn weights_start(group: u32) -> u32 {
    return group * params.weights_rows;
}

// Returns the row of a unit's first line in the packed weights.
fn weights_row(unit: Unit, phase: Phase) -> u32 {
    return row_of(unit, phase.tap + unit.tap * params.tap_step);
}

// Splits the number of a window of a phase into image, row and column.
fn split_window(number: u32) -> vec3<u32> {
    let line = number / params.windows.y;
    let image = line / params.windows.x;
    return vec3(image, line - image * params.windows.x, number - line * params.windows.y);
}

// A window past the last one is replaced by the last one; its sums are not stored.
fn source_of(number: u32, group: u32, phase: Phase) -> Source {
    let window = split_window(min(number, params.count - 1u));
    let plane = (window.x * params.groups + group) * params.channels;
    let start = params.image_offset + plane * params.size.x * params.size.y;
    return Source(phase.corner + window.yz * params.stride, start);
}

// The destination of a window's sums: the element of output 0 of all groups. Each part has an output of its own.
struct Target {
    at: u32,
    exists: bool,
}

fn target_of(number: u32, phase: Phase, part: u32) -> Target {
    var place_number = min(number, params.count - 1u);
    if IN_PARTS {
        place_number += part * params.count;
    }
    let window = split_window(place_number);
    let place = phase.first + window.yz * params.phases;
    let plane = window.x * params.groups * params.outputs;
    let at = (plane * params.written.x + place.x) * params.written.y + place.y;
    return Target(at, number < params.count && all(place < params.written));
}
