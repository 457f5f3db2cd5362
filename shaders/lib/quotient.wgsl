// x / y for a mean: exact where the result is representable, so that the mean of equal numbers is that number. WGSL permits an
// error of 2.5 ULP, and drivers multiply by a rounded reciprocal. Needs the aliases Real and Bits.

fn quotient(x: Real, y: Real) -> Real {
    let found = x / y;
    // The upper 12 bits of the quotient, and the remainder divided in turn. Each product of 12-bit factors is exact, also where a
    // driver contracts it with the following subtraction. The masks prevent the driver from contracting the division with the
    // following operations.
    let high = bitcast<Real>(bitcast<Bits>(found) & Bits(0xfffff000u));
    let y_high = bitcast<Real>(bitcast<Bits>(y) & Bits(0xfffff000u));
    let y_low = y - y_high;
    let rest = (x - high * y_high) - high * y_low;
    // Not applied where the products would overflow or be subnormal: above 2^100 and below 2^-60.
    let magnitude = bitcast<Bits>(x) & Bits(0x7fffffffu);
    let size = bitcast<Bits>(found) & Bits(0x7fffffffu);
    let is_moderate = (magnitude < Bits(0x71800000u)) & (size > Bits(0x21800000u));
    return select(found, high + rest / y, is_moderate);
}
