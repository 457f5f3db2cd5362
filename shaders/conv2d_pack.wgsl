// conv2d_pack: packed[group, row, o] = weight[group, o, c, tap], where row = (chunk * taps + tap) * pack + c % pack and chunk =
// c / pack: the rows in the order in which the kernels of lib/convolution.wgsl read them. Rows of channels past the last one and
// outputs past the last one are 0.
//
// Bindings: 0 packed, (groups, ceil(channels / pack) * taps * pack, across), contiguous, 1 weight, with the strides of the
// parameters. Each invocation computes an element. Dispatch `count` invocations.
//
// Indices: the host checks that `count` is below 2^32 - 2^24, so the index of an invocation is below 2^32; an element of the weight
// is below the size of its storage.
// Loops: none.

struct Params {
    count: u32,
    rows: u32,
    // The elements of a row.
    across: u32,
    pack: u32,
    channels: u32,
    outputs: u32,
    kernel: vec2<u32>,
    weight_offset: u32,
    group_stride: u32,
    output_stride: u32,
    channel_stride: u32,
    tap_stride: vec2<u32>,
}

@group(1) @binding(0) var<uniform> params: Params;

@group(0) @binding(0) var<storage, read_write> packed: array<Element>;
@group(0) @binding(1) var<storage, read_write> weight: array<Element>;

const WORKGROUP: u32 = 256u;

@compute @workgroup_size(WORKGROUP)
fn conv2d_pack(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let at = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if at >= params.count {
        return;
    }
    let line = at / params.across;
    let own = at - line * params.across;
    let group = line / params.rows;
    let row = line - group * params.rows;
    let unit = row / params.pack;
    let taps = params.kernel.x * params.kernel.y;
    let chunk = unit / taps;
    let tap = unit - chunk * taps;
    let channel = chunk * params.pack + row - unit * params.pack;
    var found = Element();
    if own < params.outputs && channel < params.channels {
        let place = vec2(tap / params.kernel.y, tap % params.kernel.y) * params.tap_stride;
        let line_of_weight = group * params.group_stride + own * params.output_stride + channel * params.channel_stride;
        found = weight[params.weight_offset + line_of_weight + place.x + place.y];
    }
    packed[at] = found;
}
