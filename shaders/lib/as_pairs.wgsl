// What takes the place of lib/as_fours.wgsl where four neighbours are moved as two numbers of 64 bits. Needs lib/pairs.wgsl. Element
// and Output have 32 bits.

alias Stored = vec2<u64>;
alias Kept = vec2<u64>;

fn opened(stored: Stored) -> vec4<Element> {
    return bitcast<vec4<Element>>(words(stored));
}

fn opened_output(kept: Kept) -> vec4<Output> {
    return bitcast<vec4<Output>>(words(kept));
}

fn closed(four: vec4<Output>) -> Kept {
    return pairs(bitcast<vec4<u32>>(four));
}
