// The form of an elementwise kernel for operands with arbitrary strides: each invocation processes one element. Needs
// lib/walk.wgsl.

alias Value = Number;
alias StoredInput = Element;
alias StoredOutput = Output;
alias Written = Output;
alias Bits = u32;
alias Signed = i32;
alias Real = f32;
alias Truth = bool;

fn places(index: u32) -> Places {
    let steps = walk(index);
    return Places(steps.output, steps.left, steps.right, 4u, 4u);
}

fn unpack(stored: StoredInput) -> Element {
    return stored;
}

fn broadcast_lane(value: Element, lane: u32) -> Element {
    return value;
}

fn store_value(index: u32, place: u32, value: Written) {
    output[place] = value;
}
