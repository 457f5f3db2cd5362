// Storage access of kernels that process four adjacent elements at once: as vec4. lib/as_pairs.wgsl replaces this file where
// 64-bit accesses are faster.

alias StoredInput = vec4<Element>;
alias StoredOutput = vec4<Output>;

fn unpack(stored: StoredInput) -> vec4<Element> {
    return stored;
}

fn unpack_output(stored: StoredOutput) -> vec4<Output> {
    return stored;
}

fn pack(values: vec4<Output>) -> StoredOutput {
    return values;
}
