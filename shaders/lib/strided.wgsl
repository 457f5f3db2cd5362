// The form of an elementwise kernel over operands of any strides: an invocation has one element. Needs lib/walk.wgsl.

alias Value = Number;
alias Stored = Element;
alias Kept = Output;
alias Written = Output;
alias Bits = u32;
alias Signed = i32;
alias Real = f32;
alias Truth = bool;

fn places(index: u32) -> Places {
    let steps = walk(index);
    return Places(steps.output, steps.left, steps.right, 4u, 4u);
}

fn opened(stored: Stored) -> Element {
    return stored;
}

fn spread(value: Element, lane: u32) -> Element {
    return value;
}

fn put(index: u32, place: u32, value: Written) {
    output[place] = value;
}
