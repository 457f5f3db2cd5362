// conv2d_pack: packed[group, row, o] = weight[group, o, c, tap], where row = (chunk * taps + tap) * pack + c % pack and chunk =
// c / pack: the rows in the order in which the kernels of lib/convolution.wgsl read them. Rows of channels past the last one and
// outputs past the last one are 0.
//
// Bindings: 0 packed, (groups, rows, across), contiguous, 1 weight, with the strides of the parameters. `rows` is at least
// ceil(channels / pack) * taps * pack.
//
// Line c * taps + tap of a group has the elements of a channel and a tap, one for each output. Each invocation copies one output's
// elements of four adjacent lines, and `side` adjacent invocations copy those of adjacent outputs. So the invocations of a workgroup
// write adjacent elements of each row, and read all elements of the weight that share a cache line. Dispatch
// ceil(across / side) * ceil(lines / 4 / (WORKGROUP / side)) workgroups.
//
// Indices: the host checks that lines * across, the number of elements of `packed`, is below 2^32 - 2^24. `across` is a multiple of four,
// so that lines have numbers below 2^30, and those of invocations past the last line are below 2^31. An element of the weight is below
// the size of its storage.
// Loops: none.

struct Params {
    // The lines of all groups, and of a group.
    lines: u32,
    rows: u32,
    // The elements of a row.
    across: u32,
    // Adjacent outputs of a workgroup: a power of two that is at most 32.
    side: u32,
    pack: u32,
    channels: u32,
    kernel: vec2<u32>,
    outputs: u32,
    weight_offset: u32,
    group_stride: u32,
    output_stride: u32,
    channel_stride: u32,
    // ceil(across / side)
    blocks: u32,
    tap_stride: vec2<u32>,
}

@group(1) @binding(0) var<uniform> params: Params;

@group(0) @binding(0) var<storage, read_write> packed: array<Element>;
@group(0) @binding(1) var<storage, read_write> weight: array<Element>;

const WORKGROUP: u32 = 256u;

struct Line {
    group: u32,
    // Its number in the group.
    number: u32,
    // The channel, as chunk * pack + lane.
    chunk: u32,
    lane: u32,
    tap: vec2<u32>,
}

fn line_at(number: u32) -> Line {
    let group = number / params.rows;
    let own = number - group * params.rows;
    let row_of_taps = own / params.kernel.y;
    let channel = row_of_taps / params.kernel.x;
    let chunk = channel / params.pack;
    let tap = vec2(row_of_taps - channel * params.kernel.x, own - row_of_taps * params.kernel.y);
    return Line(group, own, chunk, channel - chunk * params.pack, tap);
}

// The same as `line_at` of the next number, without its divisions.
fn next_line(line: Line) -> Line {
    var next = line;
    next.number += 1u;
    next.tap.y += 1u;
    if next.tap.y == params.kernel.y {
        next.tap = vec2(next.tap.x + 1u, 0u);
        if next.tap.x == params.kernel.x {
            next.tap.x = 0u;
            next.lane += 1u;
            if next.lane == params.pack {
                next.lane = 0u;
                next.chunk += 1u;
            }
        }
    }
    if next.number == params.rows {
        next = Line(line.group + 1u, 0u, 0u, 0u, vec2(0u));
    }
    return next;
}

fn loaded(line: Line, output: u32) -> Element {
    let channel = line.chunk * params.pack + line.lane;
    var element = Element();
    if output < params.outputs && channel < params.channels && line.group * params.rows < params.lines {
        let place = line.tap * params.tap_stride;
        let start = params.weight_offset + line.group * params.group_stride + output * params.output_stride;
        element = weight[start + channel * params.channel_stride + place.x + place.y];
    }
    return element;
}

fn store(line: Line, output: u32, element: Element) {
    let row = ((line.chunk * params.kernel.x + line.tap.x) * params.kernel.y + line.tap.y) * params.pack + line.lane;
    let first = line.group * params.rows;
    if output < params.across && first < params.lines {
        packed[(first + row) * params.across + output] = element;
    }
}

@compute @workgroup_size(WORKGROUP)
fn conv2d_pack(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup.y * workgroups.x + workgroup.x;
    let lines = number / params.blocks;
    let four = lines * (WORKGROUP / params.side) + local / params.side;
    let output = (number - lines * params.blocks) * params.side + local % params.side;
    let line_0 = line_at(4u * four);
    let line_1 = next_line(line_0);
    let line_2 = next_line(line_1);
    let line_3 = next_line(line_2);
    // All loads come before the first store: for the compiler, a store may change what is loaded after it.
    let element_0 = loaded(line_0, output);
    let element_1 = loaded(line_1, output);
    let element_2 = loaded(line_2, output);
    let element_3 = loaded(line_3, output);
    store(line_0, output, element_0);
    store(line_1, output, element_1);
    store(line_2, output, element_2);
    store(line_3, output, element_3);
}
