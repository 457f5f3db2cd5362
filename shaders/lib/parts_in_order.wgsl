// The parts of a weight gradient as conv2d_weight_tiled stores them in the order of the gradient: no sum of other parts has to change
// it, but adjacent lines are taps of other channels, each 4 * taps bytes from the next, so that each element is stored on its own.
//
// Bindings: lib/weight_gradient.wgsl. Indices: an element is below the number of elements of all parts. Loops: none.

@group(0) @binding(0) var<storage, read_write> parts: array<Output>;

// Two times four adjacent lines in a part: the elements of output 0 of the first one, and how many of them exist.
struct Target {
    start: u32,
    first: Lines,
    second: Lines,
}

fn target_of(group_of_part: u32, first: u32, second: u32) -> Target {
    return Target(group_of_part * params.outputs, lines_from(first * 4u), lines_from(second * 4u));
}

fn store_lines(lines_of_target: Lines, row: u32, sum: Vec4) {
    let at = row * params.channels * params.kernel.x * params.kernel.y + lines_of_target.first;
    let distance = line_distance();
    if lines_of_target.count > 0u {
        parts[at] = Output(sum.x);
    }
    if lines_of_target.count > 1u {
        parts[at + distance] = Output(sum.y);
    }
    if lines_of_target.count > 2u {
        parts[at + 2u * distance] = Output(sum.z);
    }
    if lines_of_target.count > 3u {
        parts[at + 3u * distance] = Output(sum.w);
    }
}

fn store(goal: Target, output_of_group: u32, sum_0: Vec4, sum_1: Vec4) {
    if output_of_group < params.outputs {
        store_lines(goal.first, goal.start + output_of_group, sum_0);
        store_lines(goal.second, goal.start + output_of_group, sum_1);
    }
}
