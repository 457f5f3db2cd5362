// conv2d_weight_sum: gradient[o, c, tap] = sum over parts of parts[part, o, line], where line = (c / 8 * taps + tap) * 8 + c % 8 is the
// place of an element in the order of lib/parts_in_units.wgsl.
//
// Bindings: 0 gradient, (groups * outputs, channels, taps), contiguous, 1 parts, (parts, groups * outputs, across), contiguous. LANES
// invocations sum an element: the host sets 1 or, for many parts, 8; each takes every LANES-th four parts, whose loads do not depend
// on each other, and the first one adds up the sums of all. Invocations of adjacent elements read 32 bytes apart, but all elements of
// the same cache lines. Dispatch `count` * LANES invocations.
//
// Indices: the host checks that the numbers of elements of both bindings, with four more parts, are below 2^32 - 2^24.
// Loops: ceil(parts / 4 / LANES) + 1, and LANES + 1.

struct Params {
    // Elements of the gradient.
    count: u32,
    parts: u32,
    // Elements of an output's row in a part, and of a part.
    across: u32,
    part: u32,
    // Elements of an output's row in the gradient.
    lines: u32,
    taps: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

@group(0) @binding(0) var<storage, read_write> gradient: array<Output>;
@group(0) @binding(1) var<storage, read_write> parts: array<Element>;

const WORKGROUP: u32 = 256u;
const LANES: u32 = 8u;
const ELEMENTS: u32 = WORKGROUP / LANES;

var<workgroup> sums: array<Number, WORKGROUP>;

fn loaded(place: u32, part: u32) -> Number {
    return select(Number(), Number(parts[place + part * params.part]), part < params.parts);
}

@compute @workgroup_size(WORKGROUP)
fn conv2d_weight_sum(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let lane = local / ELEMENTS;
    let at = (workgroup.y * workgroups.x + workgroup.x) * ELEMENTS + local % ELEMENTS;
    let output = at / params.lines;
    let element = at - output * params.lines;
    let channel = element / params.taps;
    let tap = element - channel * params.taps;
    let line = (channel / 8u * params.taps + tap) * 8u + channel % 8u;
    let place = output * params.across + line;
    var sum = Number();
    for (var part = 4u * lane; part < params.parts; part += 4u * LANES) {
        let low = loaded(place, part) + loaded(place, part + 1u);
        let high = loaded(place, part + 2u) + loaded(place, part + 3u);
        sum += low + high;
    }
    if LANES > 1u {
        sums[local] = sum;
        workgroupBarrier();
        sum = Number();
        for (var other = 0u; other < LANES; other += 1u) {
            sum += sums[other * ELEMENTS + local % ELEMENTS];
        }
    }
    if lane == 0u && at < params.count {
        gradient[at] = Output(sum);
    }
}
