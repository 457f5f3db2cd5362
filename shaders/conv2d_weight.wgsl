// conv2d_weight: parts[part, o, line] = sum over the windows of a part of gradient[window, o] * image[line's position
// in the window], where a line is a channel of the group of o and a kernel position. The gradient of conv2d with
// respect to its weight is the sum of all parts.
//
// Parameters: lib/image.wgsl; `count` windows of all images, `span` windows in a part.
// Bindings: 0 parts, contiguous, 1 image, contiguous from `input_offset` on, 2 gradient, (batch, outputs, windows),
// contiguous. A workgroup computes eight outputs of a group and four lines of a part. Its invocations stride over the
// windows, and their sums are added in a fixed order. Dispatch ceil(lines / 4) * groups * ceil(outputs / groups / 8) *
// parts workgroups.
//
// Indices: lib/image.wgsl; parts * span < count + span, and the host keeps spans at 2^18. Parts, outputs and lines index an
// element.
// Loops: (span / 64, rounded up) * 10 + 50; the host keeps spans at 2^18, below the limit of 65,535 iterations.

@group(0) @binding(0) var<storage, read_write> parts: array<Output>;
@group(0) @binding(1) var<storage, read_write> image: array<Element>;
@group(0) @binding(2) var<storage, read_write> gradient: array<Element>;

const BLOCK: u32 = 8u;
const TEAM: u32 = 64u;

// The sums of four lines, for each output and invocation.
var<workgroup> sums: array<vec4<Number>, 512>;

// Loads the element of a window that a line multiplies, or a zero of the padding. `within` is the line's channel and kernel position.
fn load_window(first_channel: u32, corner: vec2<u32>, within: vec3<u32>) -> Number {
    let under = corner + within.yz * params.dilation;
    var value = Number(0);
    if is_inside(under) {
        value = Number(image[params.input_offset + place(first_channel + within.x, under - params.padding, params.size)]);
    }
    return value;
}

@compute @workgroup_size(TEAM)
fn conv2d_weight(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let outputs_of_group = params.outputs / params.groups;
    let channels = params.channels / params.groups;
    let lines = channels * params.kernel.x * params.kernel.y;
    let line_blocks = (lines + 3u) / 4u;
    let blocks_of_group = (outputs_of_group + BLOCK - 1u) / BLOCK;
    let blocks = blocks_of_group * params.groups;
    let number = workgroup.y * workgroups.x + workgroup.x;
    let line = number % line_blocks * 4u;
    let number_of_block = number / line_blocks % blocks;
    let group = number_of_block / blocks_of_group;
    // Of the group.
    let block = (number_of_block - group * blocks_of_group) * BLOCK;
    let first_output = group * outputs_of_group;
    let part = number / line_blocks / blocks;

    // Past the last output or line the last one is computed again and not stored.
    var outputs: array<u32, 8>;
    var own: array<vec4<Number>, 8>;
    for (var o = 0u; o < BLOCK; o += 1u) {
        outputs[o] = first_output + min(block + o, outputs_of_group - 1u);
        own[o] = vec4<Number>();
    }
    var within: array<vec3<u32>, 4>;
    for (var l = 0u; l < 4u; l += 1u) {
        within[l] = split(min(line + l, lines - 1u), params.kernel);
    }
    let windows = params.out.x * params.out.y;
    let end = min((part + 1u) * params.span, params.count);
    for (var at = part * params.span + local; at < end; at += TEAM) {
        let window = split(at, params.out);
        let corner = window.yz * params.stride;
        let first_channel = window.x * params.channels + group * channels;
        let values = vec4(
            load_window(first_channel, corner, within[0]),
            load_window(first_channel, corner, within[1]),
            load_window(first_channel, corner, within[2]),
            load_window(first_channel, corner, within[3]),
        );
        let start = window.x * params.outputs * windows + (at - window.x * windows);
        for (var o = 0u; o < BLOCK; o += 1u) {
            own[o] += Number(gradient[start + outputs[o] * windows]) * values;
        }
    }
    for (var o = 0u; o < BLOCK; o += 1u) {
        sums[o * TEAM + local] = own[o];
    }
    workgroupBarrier();
    // Eight invocations per output add eight sums each; then the first of them adds the results.
    let first = local / 8u * TEAM + local % 8u * 8u;
    var total = sums[first];
    for (var other = 1u; other < 8u; other += 1u) {
        total += sums[first + other];
    }
    workgroupBarrier();
    sums[local] = total;
    workgroupBarrier();
    if local < BLOCK && block + local < outputs_of_group {
        total = sums[local * 8u];
        for (var other = 1u; other < 8u; other += 1u) {
            total += sums[local * 8u + other];
        }
        let start = (part * params.outputs + first_output + block + local) * lines + line;
        parts[start] = Output(total.x);
        if line + 1u < lines {
            parts[start + 1u] = Output(total.y);
        }
        if line + 2u < lines {
            parts[start + 2u] = Output(total.z);
        }
        if line + 3u < lines {
            parts[start + 3u] = Output(total.w);
        }
    }
}
