// The output of conv2d_tiled for any number of windows, in any number of phases: stored element by element.
//
// Indices: a place is below the number of elements.

@group(0) @binding(0) var<storage, read_write> output: array<Output>;

struct Targets {
    x: Target,
    y: Target,
    z: Target,
    w: Target,
}

fn targets_of(number: u32, phase: Phase, part: u32) -> Targets {
    return Targets(
        target_of(number, phase, part),
        target_of(number + 1u, phase, part),
        target_of(number + 2u, phase, part),
        target_of(number + 3u, phase, part),
    );
}

fn store_element(target_place: Target, offset: u32, sum: Number) {
    if target_place.exists {
        output[target_place.at + offset] = Output(sum);
    }
}

fn store_windows(targets: Targets, row: u32, sum: Vec4) {
    let offset = row * params.written.x * params.written.y;
    var sums = sum;
    if params.accumulate == 1u {
        sums += Vec4(vec4(
            output[targets.x.at + offset],
            output[targets.y.at + offset],
            output[targets.z.at + offset],
            output[targets.w.at + offset],
        ));
    }
    sums = finished(sums, row);
    store_element(targets.x, offset, sums.x);
    store_element(targets.y, offset, sums.y);
    store_element(targets.z, offset, sums.z);
    store_element(targets.w, offset, sums.w);
}
