// x / y, also for a divisor above 2^126. WGSL guarantees 2.5 ULP up to 2^126. Above that, drivers multiply by a reciprocal, which
// is subnormal and may be flushed to 0. Both operands are scaled by 1/4, which does not change the quotient. Needs the aliases
// Real and Bits.

fn divided(x: Real, y: Real) -> Real {
    let is_large = (bitcast<Bits>(y) & Bits(0x7fffffffu)) > Bits(0x7e000000u);
    let scale = select(Real(1.0), Real(0.25), is_large);
    return (x * scale) / (y * scale);
}
