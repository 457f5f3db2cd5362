// conv2d: output[n, o, window] = apply(bias[o] + sum over c and the kernel positions of image[n, c, window + position] * weight[o, c,
// position]), where c are the channels of the group of o and `apply` is the activation of lib/activation.wgsl.
//
// Parameters: lib/image.wgsl; `channels` of the image, `outputs` of the result, `span` groups of four windows in a row of the
// result.
// Bindings: 0 output, contiguous, 1 image, contiguous from `input_offset` on, 2 weights, contiguous: a row for each
// channel and kernel position of a group, channels outermost, and a last row with the bias. A row has one element for
// each output of each group, each group padded to a multiple of eight. Each invocation computes four adjacent windows
// of eight outputs of a group. Dispatch batch * groups * ceil(outputs / groups / 8) * rows * span invocations.
//
// Indices: lib/image.wgsl; the host also checks that (4 span + 4) * stride.y + the extent of the window, including the
// padding, is below 2^32. Positions of outputs past the last one may wrap; they are not stored. So may the lines of the padding,
// which are not read.
// Loops: channels of a group * (kernel.x * (kernel.y + 2) + 2) + 15; above the limit the host uses a kernel
// of lib/convolution.wgsl.

@group(0) @binding(0) var<storage, read_write> output: array<Element>;
@group(0) @binding(1) var<storage, read_write> image: array<Element>;
@group(0) @binding(2) var<storage, read_write> weights: array<vec4<Element>>;

const BLOCK: u32 = 8u;

alias Sums = array<vec4<Number>, 8>;

// Loads an element of a line of the image, or a zero of the padding.
fn load_window(line: u32, column: u32) -> Number {
    var value = Number(0);
    if column >= params.padding.y && column < params.padding.y + params.size.y {
        value = Number(image[line + column - params.padding.y]);
    }
    return value;
}

// Loads the image elements of four adjacent windows at one kernel position, with zero padding.
fn load_windows(line: u32, first: u32) -> vec4<Number> {
    let stride = params.stride.y;
    if first >= params.padding.y && first + 3u * stride < params.padding.y + params.size.y {
        let at = line + first - params.padding.y;
        return vec4<Number>(vec4(image[at], image[at + stride], image[at + 2u * stride], image[at + 3u * stride]));
    }
    return vec4(
        load_window(line, first),
        load_window(line, first + stride),
        load_window(line, first + 2u * stride),
        load_window(line, first + 3u * stride),
    );
}

// Stores four adjacent windows of an output.
fn store(plane: u32, row: u32, column: u32, values: vec4<Number>) {
    let start = place(plane, vec2(row, column), params.out);
    output[start] = Element(values.x);
    if column + 1u < params.out.y {
        output[start + 1u] = Element(values.y);
    }
    if column + 2u < params.out.y {
        output[start + 2u] = Element(values.z);
    }
    if column + 3u < params.out.y {
        output[start + 3u] = Element(values.w);
    }
}

@compute @workgroup_size(WORKGROUP)
fn conv2d(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = step_of(workgroup, workgroups, local);
    if step >= params.count {
        return;
    }
    let own = split(step, vec2(params.out.x, params.span));
    let outputs = params.outputs / params.groups;
    let channels = params.channels / params.groups;
    let blocks_of_group = (outputs + BLOCK - 1u) / BLOCK;
    let blocks = blocks_of_group * params.groups;
    let batch = own.x / blocks;
    let number = own.x - batch * blocks;
    let group = number / blocks_of_group;
    // Of the group.
    let block = (number - group * blocks_of_group) * BLOCK;
    let row = own.y;
    let column = own.z * 4u;

    let row_of_weights = blocks * 2u;
    var weight = number * 2u;
    let last = weight + channels * params.kernel.x * params.kernel.y * row_of_weights;
    var sums: Sums;
    for (var o = 0u; o < 4u; o += 1u) {
        sums[o] = vec4<Number>(Number(weights[last][o]));
        sums[o + 4u] = vec4<Number>(Number(weights[last + 1u][o]));
    }
    for (var channel = 0u; channel < channels; channel += 1u) {
        let plane = batch * params.channels + group * channels + channel;
        for (var y = 0u; y < params.kernel.x; y += 1u) {
            let at = row * params.stride.x + y * params.dilation.x;
            // The zeros of the padding are multiplied, too: infinite weights and NaN give NaN there.
            let is_image = at >= params.padding.x && at < params.padding.x + params.size.x;
            let line = params.input_offset + place(plane, vec2(at - params.padding.x, 0u), params.size);
            for (var x = 0u; x < params.kernel.y; x += 1u) {
                var values = vec4<Number>();
                if is_image {
                    values = load_windows(line, column * params.stride.y + x * params.dilation.y);
                }
                let low = vec4<Number>(weights[weight]);
                let high = vec4<Number>(weights[weight + 1u]);
                sums[0] += low.x * values;
                sums[1] += low.y * values;
                sums[2] += low.z * values;
                sums[3] += low.w * values;
                sums[4] += high.x * values;
                sums[5] += high.y * values;
                sums[6] += high.z * values;
                sums[7] += high.w * values;
                weight += row_of_weights;
            }
        }
    }
    for (var o = 0u; o < BLOCK; o += 1u) {
        if block + o < outputs {
            store(batch * params.outputs + group * outputs + block + o, row, column, apply(sums[o]));
        }
    }
}
