// normalize: output[r, c] = (input[r, c] - mean[r]) / sqrt(variance[r] + epsilon) * weight[c] + bias[c], with the mean and the
// variance of the row (layer norm). If CENTERED is false, the mean is 0 and the variance is the mean of squares (RMS norm).
//
// The mean is computed from the differences to the row's first element, so that it is exact for a row of equal numbers, whose
// deviations are then 0. The rounding error of the mean, `shift`, is computed from the deviations and subtracted from them.
//
// Shapes, bindings: lib/row.wgsl, with weight and bias. The number of columns is a multiple of 4, at most 4,096, and offsets are
// in vec4s. The row is read once: each invocation keeps up to four vec4s of it in registers. Dispatch one workgroup per row.
//
// Indices: rows * columns is the number of elements, which the host checks to be below 2^32 - 2^24.
// Loops: 32 of two sums over the workgroup.

@group(0) @binding(0) var<storage, read_write> output: array<StoredInput>;
@group(0) @binding(1) var<storage, read_write> input: array<StoredInput>;
@group(0) @binding(2) var<storage, read_write> weight: array<StoredInput>;
@group(0) @binding(3) var<storage, read_write> bias: array<StoredInput>;

const CENTERED: bool = true;

fn finished(x: vec4<f32>, column: u32) -> vec4<f32> {
    return x * vec4<f32>(unpack(weight[params.weight_offset + column])) + vec4<f32>(unpack(bias[params.bias_offset + column]));
}

@compute @workgroup_size(WORKGROUP)
fn normalize(
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
    var x_0 = vec4<f32>(0.0);
    if local < wide {
        x_0 = vec4<f32>(unpack(input[place]));
    }
    var x_1 = vec4<f32>(0.0);
    if local + WORKGROUP < wide {
        x_1 = vec4<f32>(unpack(input[place + WORKGROUP]));
    }
    var x_2 = vec4<f32>(0.0);
    if local + 2u * WORKGROUP < wide {
        x_2 = vec4<f32>(unpack(input[place + 2u * WORKGROUP]));
    }
    var x_3 = vec4<f32>(0.0);
    if local + 3u * WORKGROUP < wide {
        x_3 = vec4<f32>(unpack(input[place + 3u * WORKGROUP]));
    }
    let count = f32(params.columns);
    var mean = 0.0;
    if CENTERED {
        let pivot = f32(unpack(input[params.input_offset + row * wide]).x);
        var sum = vec4<f32>();
        if local < wide {
            sum += x_0 - pivot;
        }
        if local + WORKGROUP < wide {
            sum += x_1 - pivot;
        }
        if local + 2u * WORKGROUP < wide {
            sum += x_2 - pivot;
        }
        if local + 3u * WORKGROUP < wide {
            sum += x_3 - pivot;
        }
        mean = pivot + sum_of_all(components(sum), local) / count;
    }
    var rest = vec4<f32>();
    var squares = vec4<f32>();
    x_0 -= mean;
    if local < wide {
        rest += x_0;
        squares += x_0 * x_0;
    }
    x_1 -= mean;
    if local + WORKGROUP < wide {
        rest += x_1;
        squares += x_1 * x_1;
    }
    x_2 -= mean;
    if local + 2u * WORKGROUP < wide {
        rest += x_2;
        squares += x_2 * x_2;
    }
    x_3 -= mean;
    if local + 3u * WORKGROUP < wide {
        rest += x_3;
        squares += x_3 * x_3;
    }
    var variance = 0.0;
    if CENTERED {
        let sums = sums_of_all(components(rest), components(squares), local);
        let shift = sums.x / count;
        variance = (sums.y - sums.x * shift) / count;
        x_0 -= shift;
        x_1 -= shift;
        x_2 -= shift;
        x_3 -= shift;
    } else {
        variance = sum_of_all(components(squares), local) / count;
    }
    let factor = 1.0 / sqrt(variance + params.epsilon);
    if local < wide {
        output[row * wide + local] = pack(vec4<Element>(finished(x_0 * factor, local)));
    }
    if local + WORKGROUP < wide {
        output[row * wide + local + WORKGROUP] = pack(vec4<Element>(finished(x_1 * factor, local + WORKGROUP)));
    }
    if local + 2u * WORKGROUP < wide {
        output[row * wide + local + 2u * WORKGROUP] = pack(vec4<Element>(finished(x_2 * factor, local + 2u * WORKGROUP)));
    }
    if local + 3u * WORKGROUP < wide {
        output[row * wide + local + 3u * WORKGROUP] = pack(vec4<Element>(finished(x_3 * factor, local + 3u * WORKGROUP)));
    }
}
