// softmax: output[r, c] = exp(input[r, c] - top[r]) / total[r], with top the largest of the row and total the sum of the
// exponentials; or, as another operation, input[r, c] - top[r] - log(total[r]).
//
// Shapes, bindings: lib/row.wgsl; columns are a multiple of 4, at most 4,096, and offsets are in fours. The row is read once:
// each invocation holds up to four fours of it. Dispatch a workgroup a row.
//
// Indices: rows * columns is the number of elements, which the host checks to be below 2^32 - 2^24.
// Loops: 32 of two sums over the workgroup.

@group(0) @binding(0) var<storage, read_write> output: array<Stored>;
@group(0) @binding(1) var<storage, read_write> input: array<Stored>;

// `shifted` is the element less the top.
fn apply(shifted: vec4<f32>, total: f32) -> vec4<f32> {
    return exp(shifted) / total;
}

@compute @workgroup_size(WORKGROUP)
fn softmax(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = workgroup.y * workgroups.x + workgroup.x;
    if row >= params.rows {
        return;
    }
    let wide = params.columns / 4u;
    let place = params.input_offset + row * wide + local;
    var x_0 = vec4<f32>(LOWEST);
    if local < wide {
        x_0 = vec4<f32>(opened(input[place]));
    }
    var x_1 = vec4<f32>(LOWEST);
    if local + WORKGROUP < wide {
        x_1 = vec4<f32>(opened(input[place + WORKGROUP]));
    }
    var x_2 = vec4<f32>(LOWEST);
    if local + 2u * WORKGROUP < wide {
        x_2 = vec4<f32>(opened(input[place + 2u * WORKGROUP]));
    }
    var x_3 = vec4<f32>(LOWEST);
    if local + 3u * WORKGROUP < wide {
        x_3 = vec4<f32>(opened(input[place + 3u * WORKGROUP]));
    }
    let largest = max(max(x_0, x_1), max(x_2, x_3));
    let top = max_of_all(max(max(largest.x, largest.y), max(largest.z, largest.w)), local);
    x_0 -= top;
    x_1 -= top;
    x_2 -= top;
    x_3 -= top;
    var sum = vec4<f32>();
    if local < wide {
        sum += exp(x_0);
    }
    if local + WORKGROUP < wide {
        sum += exp(x_1);
    }
    if local + 2u * WORKGROUP < wide {
        sum += exp(x_2);
    }
    if local + 3u * WORKGROUP < wide {
        sum += exp(x_3);
    }
    let total = sum_of_all(components(sum), local);
    if local < wide {
        output[row * wide + local] = closed(vec4<Element>(apply(x_0, total)));
    }
    if local + WORKGROUP < wide {
        output[row * wide + local + WORKGROUP] = closed(vec4<Element>(apply(x_1, total)));
    }
    if local + 2u * WORKGROUP < wide {
        output[row * wide + local + 2u * WORKGROUP] = closed(vec4<Element>(apply(x_2, total)));
    }
    if local + 3u * WORKGROUP < wide {
        output[row * wide + local + 3u * WORKGROUP] = closed(vec4<Element>(apply(x_3, total)));
    }
}
