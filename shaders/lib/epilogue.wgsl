// What becomes of a product's sums before they are stored: the bias of their columns is added, and an activation is applied. The
// host puts an expression in place of the body of `apply`; without a bias it leaves out the binding and the addition. Parameter
// `bias_offset` is in elements. What is read beyond the last column goes into sums that are not stored.

alias Value = vec4<Number>;
alias Bits = vec4<u32>;
alias Signed = vec4<i32>;
alias Real = vec4<f32>;
alias Truth = vec4<bool>;

@group(0) @binding(3) var<storage, read_write> biases: array<Element>;

fn apply(x: Value) -> Value {
    return x;
}

fn finished(sum: Value, column: u32) -> Value {
    let at = params.bias_offset + column;
    return apply(sum + Value(vec4(biases[at], biases[at + 1u], biases[at + 2u], biases[at + 3u])));
}
