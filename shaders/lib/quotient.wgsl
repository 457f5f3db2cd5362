// x / y for a mean: exact where the result can be, so that the mean of equal numbers is that number. WGSL lets a quotient be wrong by
// 2.5 ULP, and drivers multiply by a rounded reciprocal. Needs the aliases Real and Bits.

fn quotient(x: Real, y: Real) -> Real {
    let found = x / y;
    // What is missing, x - found * y, by halves of 12 bits, whose products are exact.
    let found_high = bitcast<Real>(bitcast<Bits>(found) & Bits(0xfffff000u));
    let found_low = found - found_high;
    let y_high = bitcast<Real>(bitcast<Bits>(y) & Bits(0xfffff000u));
    let y_low = y - y_high;
    let missing = ((x - found_high * y_high) - found_high * y_low) - found_low * y_high - found_low * y_low;
    // Not where the products would overflow or be subnormal: beyond 2^100 and below 2^-60.
    let magnitude = bitcast<Bits>(x) & Bits(0x7fffffffu);
    let size = bitcast<Bits>(found) & Bits(0x7fffffffu);
    let is_moderate = (magnitude < Bits(0x71800000u)) & (size > Bits(0x21800000u));
    return select(found, found + missing / y, is_moderate);
}
