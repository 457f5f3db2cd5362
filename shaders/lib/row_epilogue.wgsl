// The epilogue of a product whose rows have a bias each, as outputs of a convolution have; lib/epilogue.wgsl is that of columns.
// Without a bias the host removes the binding and the addition. Needs lib/activation.wgsl. `bias_offset` is in elements.

@group(0) @binding(3) var<storage, read_write> biases: array<Element>;

fn finished(sum: Value, row: u32) -> Value {
    return apply(sum + Value(Number(biases[params.bias_offset + row])));
}
