// adamw: one step of AdamW, in place: x -= rate * decay * x; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²;
// x -= rate / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + epsilon).
//
// Shapes: all `count` elements, contiguous. Bindings: 0 x, 1 m, 2 v, 3 gradient. Dispatch one invocation an element.

alias Element = f32;

struct Params {
    count: u32,
    x_offset: u32,
    first_offset: u32,
    second_offset: u32,
    gradient_offset: u32,
    // rate / (1 - b1^t)
    rate: f32,
    // 1 - rate * decay
    kept: f32,
    beta1: f32,
    beta2: f32,
    // 1 / sqrt(1 - b2^t)
    second_scale: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<storage, read_write> x: array<Element>;
@group(0) @binding(1) var<storage, read_write> first: array<Element>;
@group(0) @binding(2) var<storage, read_write> second: array<Element>;
@group(0) @binding(3) var<storage, read_write> gradient: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

override WORKGROUP: u32 = 256u;

@compute @workgroup_size(WORKGROUP)
fn adamw(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if index < params.count {
        let slope = f32(gradient[params.gradient_offset + index]);
        let m = params.beta1 * f32(first[params.first_offset + index]) + (1.0 - params.beta1) * slope;
        let v = params.beta2 * f32(second[params.second_offset + index]) + (1.0 - params.beta2) * slope * slope;
        first[params.first_offset + index] = Element(m);
        second[params.second_offset + index] = Element(v);
        let length = sqrt(v) * params.second_scale + params.epsilon;
        let was = f32(x[params.x_offset + index]);
        x[params.x_offset + index] = Element(params.kept * was - params.rate * m / length);
    }
}
