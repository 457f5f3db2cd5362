// adamw: one in-place step of AdamW (decoupled weight decay) for each entry of a list: x -= rate * decay * x; m = b1 m + (1 - b1)
// g; v = b2 v + (1 - b2) g²; x -= rate / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + epsilon).
//
// Entries, bindings, dispatch: lib/list.wgsl. The tensors of an entry are the parameter x, the moments m and v, and the gradient
// g.
//
// Indices: a position has 30 bits, and entries lie within their bindings; see lib/list.wgsl.
// Loops: 15 over at most 14 entries, and 5 over the elements.

struct Params {
    entries: u32,
    // rate / (1 - b1^t)
    rate: f32,
    // 1 - rate * decay
    kept: f32,
    beta1: f32,
    beta2: f32,
    // 1 / sqrt(1 - b2^t)
    second_scale: f32,
    epsilon: f32,
    words: array<vec4<u32>, 14>,
}

const ROW: u32 = 5u;

@compute @workgroup_size(WORKGROUP)
fn adamw(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let chunk = chunk_of(workgroup.y * workgroups.x + workgroup.x);
    let x = word(chunk.row);
    let first = word(chunk.row + 1u);
    let second = word(chunk.row + 2u);
    let gradient = word(chunk.row + 3u);
    for (var index = chunk.start + local; index < chunk.end; index += WORKGROUP) {
        let slope = load(gradient + index);
        let m = params.beta1 * load(first + index) + (1.0 - params.beta1) * slope;
        let v = params.beta2 * load(second + index) + (1.0 - params.beta2) * slope * slope;
        store(first + index, m);
        store(second + index, v);
        let length = sqrt(v) * params.second_scale + params.epsilon;
        store(x + index, params.kept * load(x + index) - params.rate * m / length);
    }
}
