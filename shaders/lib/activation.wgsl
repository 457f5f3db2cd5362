// The activation of an epilogue, on vec4s. The host replaces the body of `apply` by an expression, which may call functions of
// shaders/lib.

alias Value = vec4<Number>;
alias Bits = vec4<u32>;
alias Signed = vec4<i32>;
alias Real = vec4<f32>;
alias Truth = vec4<bool>;

fn apply(x: Value) -> Value {
    return x;
}
