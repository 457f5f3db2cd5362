// Replaces lib/as_vec4.wgsl where accessing four adjacent elements as two 64-bit integers is faster. Needs lib/pairs.wgsl.
// Element and Output have 32 bits.

alias StoredInput = vec2<u64>;
alias StoredOutput = vec2<u64>;

fn unpack(stored: StoredInput) -> vec4<Element> {
    return bitcast<vec4<Element>>(words(stored));
}

fn unpack_output(stored: StoredOutput) -> vec4<Output> {
    return bitcast<vec4<Output>>(words(stored));
}

fn pack(values: vec4<Output>) -> StoredOutput {
    return pairs(bitcast<vec4<u32>>(values));
}
