// sgd: one step of gradient descent with momentum, in place:
// g = gradient + decay * x; v = momentum * v + g; x -= rate * (g + momentum * v with Nesterov's form, else v).
//
// Shapes: all `count` elements, contiguous. Bindings: 0 x, 1 v, 2 gradient. Dispatch one invocation an element.

alias Element = f32;

struct Params {
    count: u32,
    x_offset: u32,
    velocity_offset: u32,
    gradient_offset: u32,
    rate: f32,
    momentum: f32,
    decay: f32,
    // 1 in Nesterov's form.
    nesterov: f32,
}

@group(0) @binding(0) var<storage, read_write> x: array<Element>;
@group(0) @binding(1) var<storage, read_write> velocity: array<Element>;
@group(0) @binding(2) var<storage, read_write> gradient: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

override WORKGROUP: u32 = 256u;

@compute @workgroup_size(WORKGROUP)
fn sgd(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if index < params.count {
        let was = f32(x[params.x_offset + index]);
        let slope = f32(gradient[params.gradient_offset + index]) + params.decay * was;
        let moving = params.momentum * f32(velocity[params.velocity_offset + index]) + slope;
        velocity[params.velocity_offset + index] = Element(moving);
        let ahead = slope + params.momentum * moving;
        x[params.x_offset + index] = Element(was - params.rate * mix(moving, ahead, params.nesterov));
    }
}
