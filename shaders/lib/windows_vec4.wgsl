// The output of conv2d_tiled where the windows of an image are a multiple of four and adjacent in the output: stored as vec4s.
//
// Indices: a place is below a quarter of the number of elements.

@group(0) @binding(0) var<storage, read_write> output: array<vec4<Output>>;

alias Targets = Target;

fn targets_of(number: u32, phase: Phase, part: u32) -> Targets {
    return target_of(number, phase, part);
}

fn store_windows(targets: Targets, row: u32, sum: Vec4) {
    if targets.exists {
        let at = (targets.at + row * params.written.x * params.written.y) / 4u;
        var sums = sum;
        if params.accumulate == 1u {
            sums += Vec4(output[at]);
        }
        output[at] = vec4<Output>(finished(sums, row));
    }
}
