// sgd: one step of gradient descent with momentum, in place, of each entry of a list:
// g = gradient + decay * x; v = momentum * v + g; x -= rate * (g + momentum * v with Nesterov's form, else v).
//
// Entries, bindings, dispatch: lib/list.wgsl; the tensors of an entry are x, v and the gradient.
//
// Indices: a place has 30 bits, and entries lie within their windows; see lib/list.wgsl.
// Loops: 15 over the entries, of which there are 14 at most, and 5 over the elements.

struct Params {
    entries: u32,
    rate: f32,
    momentum: f32,
    decay: f32,
    // 1 in Nesterov's form.
    nesterov: f32,
    words: array<vec4<u32>, 14>,
}

const ROW: u32 = 4u;

// A factor of 0 leaves a term out, as PyTorch does: 0 times infinity would be NaN.
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
