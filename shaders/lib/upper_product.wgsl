// The upper half of the 64-bit product of two 32-bit integers, which WGSL does not provide. Needs the alias Bits.

fn upper_product(x: Bits, y: Bits) -> Bits {
    let x_low = x & Bits(0xffffu);
    let x_high = x >> Bits(16u);
    let y_low = y & Bits(0xffffu);
    let y_high = y >> Bits(16u);
    let middle = x_high * y_low + ((x_low * y_low) >> Bits(16u));
    let other = x_low * y_high + (middle & Bits(0xffffu));
    return x_high * y_high + (middle >> Bits(16u)) + (other >> Bits(16u));
}
