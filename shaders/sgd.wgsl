// sgd: one in-place step of stochastic gradient descent with momentum for each entry of a list: g = gradient + decay * x; v =
// momentum * v + g; x -= rate * (v, or g + momentum * v with Nesterov momentum).
//
// Entries, bindings, dispatch: lib/list.wgsl. The tensors of an entry are the parameter x, the velocity v and the gradient.
//
// Indices: a position has 30 bits, and entries lie within their bindings; see lib/list.wgsl.
// Loops: 15 over at most 14 entries, and 5 over the elements.

struct Params {
    entries: u32,
    rate: f32,
    momentum: f32,
    decay: f32,
    // 1 for Nesterov momentum.
    nesterov: f32,
    words: array<vec4<u32>, 14>,
}

const ROW: u32 = 4u;

// A factor of 0 omits the term, as in PyTorch: 0 times infinity would be NaN.
fn scaled(factor: f32, value: f32) -> f32 {
    return select(factor * value, 0.0, factor == 0.0);
}

@compute @workgroup_size(WORKGROUP)
fn sgd(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let chunk = chunk_of(workgroup.y * workgroups.x + workgroup.x);
    let x = word(chunk.row);
    let velocity = word(chunk.row + 1u);
    let gradient = word(chunk.row + 2u);
    for (var index = chunk.start + local; index < chunk.end; index += WORKGROUP) {
        let was = load(x + index);
        let slope = load(gradient + index) + scaled(params.decay, was);
        let moving = scaled(params.momentum, load(velocity + index)) + slope;
        store(velocity + index, moving);
        let ahead = slope + scaled(params.momentum, moving);
        store(x + index, was - params.rate * select(moving, ahead, params.nesterov == 1.0));
    }
}
