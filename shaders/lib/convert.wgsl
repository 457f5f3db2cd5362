// Saturating conversions to integers. WGSL does not specify the result of out-of-range values, and drivers differ. NaN becomes 0.
// Needs lib/number.wgsl.

fn to_signed(x: Real) -> Signed {
    let inside = Signed(clamp(x, Real(-2147483648.0), Real(2147483520.0)));
    // 2^31 and above.
    let found = select(inside, Signed(0x7fffffff), order_of(x) >= Signed(0x4f000000));
    return select(found, Signed(0), is_nan(x));
}

fn to_unsigned(x: Real) -> Bits {
    let inside = Bits(clamp(x, Real(0.0), Real(4294967040.0)));
    // 2^32 and above.
    let found = select(inside, Bits(0xffffffffu), order_of(x) >= Signed(0x4f800000));
    return select(found, Bits(0u), is_nan(x));
}
