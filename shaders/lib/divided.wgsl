// x / y, also for a divisor beyond 2^126. WGSL promises 2.5 ULP up to there; drivers multiply by the reciprocal, which is subnormal beyond,
// and so may become 0. A quarter of both has the same quotient. Needs the aliases Real and Bits.

fn divided(x: Real, y: Real) -> Real {
    let is_large = (bitcast<Bits>(y) & Bits(0x7fffffffu)) > Bits(0x7e000000u);
    let scale = select(Real(1.0), Real(0.25), is_large);
    return (x * scale) / (y * scale);
}
