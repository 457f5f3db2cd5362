// Stores of four adjacent outputs of a window of a convolution, of which those past the last output do not exist.
//
// Parameters and targets: lib/convolution.wgsl. Needs lib/epilogue.wgsl. The kernel declares `output`.
//
// Indices: lib/convolution.wgsl.
// Loops: none.

fn store_element(at: u32, exists: bool, sum: Number) {
    if exists {
        output[at] = Output(sum);
    }
}

fn store(goal: Target, group: u32, first: u32, sum: vec4<Number>) {
    if !goal.exists || first >= params.outputs {
        return;
    }
    let plane = params.written.x * params.written.y;
    let row = group * params.outputs + first;
    let at = goal.at + row * plane;
    var sums = sum;
    if params.accumulate == 1u {
        sums += vec4<Number>(vec4(output[at], output[at + plane], output[at + 2u * plane], output[at + 3u * plane]));
    }
    sums = finished(sums, row);
    store_element(at, true, sums.x);
    store_element(at + plane, first + 1u < params.outputs, sums.y);
    store_element(at + 2u * plane, first + 2u < params.outputs, sums.z);
    store_element(at + 3u * plane, first + 3u < params.outputs, sums.w);
}
