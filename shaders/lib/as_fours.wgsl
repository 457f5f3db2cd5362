// How kernels that move four neighbours at once find them in storage: as vectors of four. lib/as_pairs.wgsl takes its place where
// that pays.

alias Stored = vec4<Element>;
alias Kept = vec4<Output>;

fn opened(stored: Stored) -> vec4<Element> {
    return stored;
}

fn opened_output(kept: Kept) -> vec4<Output> {
    return kept;
}

fn closed(four: vec4<Output>) -> Kept {
    return four;
}
