// The parts of a weight gradient as conv2d_weight_tiled stores them in the order of the units: each output of a part has ceil(channels
// / 8) * 8 * taps lines, which are stored as vec4s. conv2d_weight_sum.wgsl changes the order when it adds up the parts. Stored in the
// order of the gradient, each element would be in another sector of 32 bytes.
//
// Bindings: lib/weight_gradient.wgsl. Indices: as lib/parts_in_order.wgsl. Loops: none.

@group(0) @binding(0) var<storage, read_write> parts: array<vec4<Output>>;

// The rows of a part's outputs, two vec4s of lines, and the vec4s of a row.
struct Target {
    start: u32,
    first: u32,
    second: u32,
    width: u32,
}

fn target_of(group_of_part: u32, first: u32, second: u32) -> Target {
    return Target(group_of_part * params.outputs, first, second, units_of(params.kernel) * PACK / 4u);
}

fn store(goal: Target, output_of_group: u32, sum_0: Vec4, sum_1: Vec4) {
    let row = (goal.start + output_of_group) * goal.width;
    if output_of_group < params.outputs && goal.first < goal.width {
        parts[row + goal.first] = vec4<Output>(sum_0);
    }
    if output_of_group < params.outputs && goal.second < goal.width {
        parts[row + goal.second] = vec4<Output>(sum_1);
    }
}
