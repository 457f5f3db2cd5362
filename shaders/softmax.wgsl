// softmax: output[r, c] = exp(input[r, c] - top[r]) / total[r], where top is the row's maximum and total the sum of the
// exponentials. Another operation (log softmax) computes input[r, c] - top[r] - log(total[r]).
//
// Shapes, bindings: lib/row.wgsl. The number of columns is a multiple of 4, at most 4,096, and offsets are in vec4s. The row is
// read once: each invocation keeps up to four vec4s of it in registers. Dispatch one workgroup per row.
//
// Indices: rows * columns is the number of elements, which the host checks to be below 2^32 - 2^24.
// Loops: 32 of two sums over the workgroup.

@group(0) @binding(0) var<storage, read_write> output: array<StoredInput>;
@group(0) @binding(1) var<storage, read_write> input: array<StoredInput>;

// `shifted` is the element minus the maximum.
fn apply(shifted: vec4<f32>, total: f32) -> vec4<f32> {
    return exponential(shifted) / total;
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
        x_0 = vec4<f32>(unpack(input[place]));
    }
    var x_1 = vec4<f32>(LOWEST);
    if local + WORKGROUP < wide {
        x_1 = vec4<f32>(unpack(input[place + WORKGROUP]));
    }
    var x_2 = vec4<f32>(LOWEST);
    if local + 2u * WORKGROUP < wide {
        x_2 = vec4<f32>(unpack(input[place + 2u * WORKGROUP]));
    }
    var x_3 = vec4<f32>(LOWEST);
    if local + 3u * WORKGROUP < wide {
        x_3 = vec4<f32>(unpack(input[place + 3u * WORKGROUP]));
    }
    let largest = max(max(x_0, x_1), max(x_2, x_3));
    let top = max_of_all(max(max(largest.x, largest.y), max(largest.z, largest.w)), local);
    x_0 -= top;
    x_1 -= top;
    x_2 -= top;
    x_3 -= top;
    var sum = vec4<f32>();
    if local < wide {
        sum += exponential(x_0);
    }
    if local + WORKGROUP < wide {
        sum += exponential(x_1);
    }
    if local + 2u * WORKGROUP < wide {
        sum += exponential(x_2);
    }
    if local + 3u * WORKGROUP < wide {
        sum += exponential(x_3);
    }
    let total = sum_of_all(components(sum), local);
    if local < wide {
        output[row * wide + local] = pack(vec4<Element>(apply(x_0, total)));
    }
    if local + WORKGROUP < wide {
        output[row * wide + local + WORKGROUP] = pack(vec4<Element>(apply(x_1, total)));
    }
    if local + 2u * WORKGROUP < wide {
        output[row * wide + local + 2u * WORKGROUP] = pack(vec4<Element>(apply(x_2, total)));
    }
    if local + 3u * WORKGROUP < wide {
        output[row * wide + local + 3u * WORKGROUP] = pack(vec4<Element>(apply(x_3, total)));
    }
}
