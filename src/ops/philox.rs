//! Seeded random numbers on the CPU, bitwise equal to those of `shaders/random.wgsl`.
//!
//! Philox4x32-10 (Salmon, Moraes, Dror and Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011) has no state to
//! carry from one number to the next: it scrambles a counter under a key. So element `i` of a tensor needs no other
//! element, and its number depends on the seed, the stream and `i` alone: not on the shape, the workgroup size, nor
//! the device.
//!
//! | bits | from |
//! | --- | --- |
//! | counter, four words | `i / 4` (low, high), stream (low, high) |
//! | key, two words | seed (low, high) |
//! | index of the word among the four results | `i % 4` |
//!
//! A uniform number is the top 24 bits of its word. Normal numbers are computed by the method of Box and Muller (1958): two
//! words give two numbers. In both cases four elements share one call.
//!
//! **Why integers.** The same seed must give the same tensor on every backend. Floating point does not guarantee this: the
//! accuracy of a logarithm, the fusion of a product and a sum, and the flushing of subnormals depend on the driver.
//! Therefore shader and CPU use integer arithmetic up to the bit pattern of the result. The shader has only 32-bit words and
//! computes square roots digit by digit; this file uses 64-bit arithmetic with the same results.
//!
//! **Accuracy.** A normal number is within 0.56 units in the last place of the formula's exact value for its two words, at
//! every magnitude: half a unit is the rounding, the rest is the error of the two polynomials below, which holds for every
//! word. It is never zero, and never larger than √(66 ln 2) ≈ 6.764.

/// Returns the four words of Philox with ten rounds for `counter` and `key`.
///
/// A bijection for each key: distinct counters never give the same four words.
///
/// # Examples
///
/// ```
/// use wgpu_pool::ops::philox::philox4x32_10;
///
/// assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
/// ```
#[must_use]
pub fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let first = u64::from(counter[0]) * 0xd251_1f53;
        let second = u64::from(counter[2]) * 0xcd9e_8d57;
        counter = [high(second) ^ counter[1] ^ key[0], low(second), high(first) ^ counter[3] ^ key[1], low(first)];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

/// Returns the uniform number of element `index`: a multiple of 2⁻²⁴ in `[0, 1)`, each equally likely.
///
/// # Examples
///
/// ```
/// use wgpu_pool::ops::philox::uniform;
///
/// assert!((0.0..1.0).contains(&uniform(7, 0, 3)));
/// ```
#[must_use]
pub fn uniform(seed: u64, stream: u64, index: u64) -> f32 {
    uniform_of(words_of(seed, stream, index)[lane_of(index)])
}

/// Returns the standard normal number of element `index`: mean 0, variance 1.
///
/// # Examples
///
/// ```
/// use wgpu_pool::ops::philox::normal;
///
/// let mean = (0..10_000).map(|index| f64::from(normal(7, 0, index))).sum::<f64>() / 1e4;
/// assert!(mean.abs() < 0.05);
/// ```
#[must_use]
pub fn normal(seed: u64, stream: u64, index: u64) -> f32 {
    let words = words_of(seed, stream, index);
    let lane = lane_of(index);
    let pair = lane / 2 * 2;
    box_muller(words[pair], words[pair + 1])[lane % 2]
}

/// Returns the four words of the group of element `index`.
fn words_of(seed: u64, stream: u64, index: u64) -> [u32; 4] {
    let group = index / 4;
    philox4x32_10([low(group), high(group), low(stream), high(stream)], [low(seed), high(seed)])
}

/// Returns the index of the word of element `index` in its group.
fn lane_of(index: u64) -> usize {
    usize::from(index.to_le_bytes()[0] % 4)
}

/// The top 24 bits of `word`, times 2⁻²⁴: both exact in `f32`.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit the significand of f32")]
fn uniform_of(word: u32) -> f32 {
    (word >> 8) as f32 * (f32::EPSILON / 2.0)
}

/// Two normals from two words: r cos 2πv and r sin 2πv, with r² = −2 ln u, u and v the words plus a half, times 2⁻³².
///
/// Because of the half, u is never 0 or 1 and v is never on an axis, where a logarithm or a result would be 0 or infinite.
fn box_muller(radius_word: u32, angle_word: u32) -> [f32; 2] {
    let radius = Radius::of(radius_word);
    // The top two bits are the quadrant, the others the position in the quadrant in units of 2⁻³², never 0.
    let quadrant = angle_word >> 30;
    let angle = (angle_word << 2) | 2;
    let rising = leg(radius, angle);
    let falling = leg(radius, angle.wrapping_neg());
    match quadrant {
        0 => [falling, rising],
        1 => [-rising, falling],
        2 => [-falling, -rising],
        _ => [rising, -falling],
    }
}

/// A radius: `mantissa` · 2^(`exponent` − 32), the top bit of `mantissa` set.
#[derive(Clone, Copy, Debug)]
struct Radius {
    mantissa: u32,
    exponent: i32,
}

impl Radius {
    /// The square root of −2 ln u, for u = (`word` + ½) · 2⁻³².
    fn of(word: u32) -> Self {
        // u = (1 − t) · 2^−halvings with 0 ≤ t < ½, so −ln u = halvings · ln 2 − ln(1 − t).
        let doubled = u64::from(word) << 1;
        let halvings = doubled.leading_zeros() - 31;
        // In units of 2⁻³³, so that t < ½ fits in 32 bits.
        let t = low((1 << 33) - ((doubled | 1) << halvings));
        // Near u = 1 the logarithm is −ln(1 − t) alone: t is scaled up first, so that a small radius keeps all its
        // bits.
        let scale = if halvings == 0 { t.leading_zeros() } else { 0 };
        let fraction = multiply_high(t << scale, polynomial(!t, &LOGARITHM));
        // −ln u in units of 2^−(32 + scale); its top 32 bits are kept, and −2 ln u = top · 2^(exponent − 32).
        let sum = u64::from(halvings) * LN_2 + u64::from(fraction);
        let leading = sum.leading_zeros();
        let top = high(sum << leading);
        let exponent = 33 - leading.cast_signed() - scale.cast_signed();
        // The square root halves the exponent, so the exponent has to be even.
        let odd = exponent & 1;
        Self { mantissa: low((u64::from(top >> odd) << 32).isqrt()), exponent: (exponent + odd) / 2 }
    }
}

/// ln 2 in units of 2⁻³².
const LN_2: u64 = 2_977_044_472;

/// −ln(1 − t) / t over 0 ≤ t ≤ ½, in units of 2⁻³¹: a polynomial in x = 1 − 2t, its signs alternating.
///
/// Minimax in relative error, by Remez exchange in 50 digits: 2^−30.7. Then rounded, and the first raised by 2 to
/// centre what the truncated products lose: over all 2³² words the radius is then within 2^−29.3 of its size.
const LOGARITHM: [u32; 11] = [
    2_977_044_472,
    1_317_922_410,
    829_543_497,
    601_809_215,
    469_190_123,
    374_715_303,
    286_401_840,
    189_156_011,
    94_907_148,
    30_637_212,
    4_636_722,
];

/// sin(πa/2) / a over 0 ≤ a ≤ 1, in units of 2⁻³¹: a polynomial in x = a², its signs alternating.
///
/// Minimax in relative error, by Remez exchange in 50 digits: 2^−35.4. Then rounded: within 2^−29.4 over all 2³⁰ angles.
const SINE: [u32; 6] = [3_373_259_426, 1_387_197_332, 171_138_558, 10_053_769, 344_128, 7_363];

/// c₀ − x (c₁ − x (c₂ − …)), `x` in units of 2⁻³² and the rest in that of the coefficients. Nothing in it becomes
/// negative.
fn polynomial(x: u32, coefficients: &[u32]) -> u32 {
    coefficients.iter().rev().fold(0, |inner, coefficient| coefficient - multiply_high(x, inner))
}

/// `radius` times the sine of `angle`, which is in units of 2⁻³² of a right angle and not 0, rounded to the nearest
/// `f32`.
fn leg(radius: Radius, angle: u32) -> f32 {
    let square = multiply_high(angle, angle);
    let scale = angle.leading_zeros();
    let sine = multiply_high(angle << scale, polynomial(square, &SINE));
    let product = u64::from(radius.mantissa) * u64::from(sine);
    let leading = product.leading_zeros();
    let mantissa = high(product << leading);
    // 24 bits, a half rounded up. Adding, not joining, lets the top bit, and a carry out of it, go to the exponent.
    let rounded = ((mantissa >> 7) + 1) >> 1;
    let exponent = 126 + radius.exponent - scale.cast_signed() - leading.cast_signed();
    f32::from_bits((exponent.cast_unsigned() << 23) + rounded)
}

/// The upper word of `left` · `right`.
fn multiply_high(left: u32, right: u32) -> u32 {
    high(u64::from(left) * u64::from(right))
}

/// The upper word of `value`.
fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// The lower word of `value`.
#[expect(clippy::cast_possible_truncation, reason = "the lower word is what is asked for")]
fn low(value: u64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2, TAU};

    /// Numbers drawn for each statistic: enough to see a bias of 0.4 % of a standard deviation.
    const DRAWS: u32 = 1_000_000;

    fn draw(number: fn(u64, u64, u64) -> f32, seed: u64, stream: u64) -> Vec<f64> {
        (0..DRAWS.into()).map(|index| number(seed, stream, index).into()).collect()
    }

    fn mean_of(numbers: impl Iterator<Item = f64>) -> f64 {
        numbers.sum::<f64>() / f64::from(DRAWS)
    }

    /// A sum of `DRAWS` independent terms of deviation 1 over √`DRAWS` is beyond 4 once in 16,000 tries.
    fn assert_is_noise(what: &str, mean: f64, deviation: f64) {
        let bound = 4.0 * deviation / f64::from(DRAWS).sqrt();
        assert!(mean.abs() < bound, "{what} is off by {mean:e}, more than {bound:e}");
    }

    /// The largest gap between the numbers' distribution and `cumulative` is beyond 1.95 / √n once in 1,000 tries.
    fn assert_is_distributed(mut numbers: Vec<f64>, cumulative: impl Fn(f64) -> f64) {
        numbers.sort_unstable_by(f64::total_cmp);
        let step = 1.0 / f64::from(DRAWS);
        let gap = (0..DRAWS)
            .zip(numbers)
            .map(|(rank, number)| {
                let (expected, below) = (cumulative(number), f64::from(rank) * step);
                (expected - below).abs().max((expected - below - step).abs())
            })
            .fold(0.0, f64::max);
        assert!(gap < 1.95 * step.sqrt(), "largest gap {gap:e}");
    }

    /// The normal distribution's cumulative function, by Marsaglia's series (2004).
    fn normal_cumulative(x: f64) -> f64 {
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while sum + term != sum {
            odd += 2.0;
            term *= x * x / odd;
            sum += term;
        }
        0.5 + sum * (-0.5 * x * x).exp() / TAU.sqrt()
    }

    /// The formula in f64, its angle first brought into one quarter, where f64 loses nothing.
    fn formula(radius_word: u32, angle_word: u32) -> [f64; 2] {
        const WORD: f64 = 1.0 / 4_294_967_296.0;
        let radius = (-2.0 * ((f64::from(radius_word) + 0.5) * WORD).ln()).sqrt();
        let way = f64::from((angle_word << 2) | 2) * WORD;
        let (sine, cosine) = (libm::sin(way * FRAC_PI_2), libm::sin((1.0 - way) * FRAC_PI_2));
        let (x, y) = match angle_word >> 30 {
            0 => (cosine, sine),
            1 => (-sine, cosine),
            2 => (-cosine, -sine),
            _ => (sine, -cosine),
        };
        [radius * x, radius * y]
    }

    /// The ends and both sides of each octave and eighth: where the arithmetic changes its scale or its case.
    fn edge_words() -> Vec<u32> {
        let octaves = (0..32).map(|bit| 1_u32 << bit);
        let eighths = (0..8_u32).map(|eighth| eighth << 29);
        octaves
            .chain(eighths)
            .flat_map(|edge| [edge, edge.wrapping_neg()])
            .flat_map(|edge| [edge.wrapping_sub(1), edge, edge.wrapping_add(1)])
            .collect()
    }

    fn assert_near_the_formula(radius_word: u32, angle_word: u32) {
        let exact = formula(radius_word, angle_word);
        for (number, exact) in box_muller(radius_word, angle_word).into_iter().zip(exact) {
            let units = (f64::from(number) - exact).abs() / (2_f64.powi(-23) * exact.abs().log2().floor().exp2());
            assert!(units < 0.56, "words {radius_word:#x} and {angle_word:#x}: {units} units from {exact:e}");
        }
    }

    #[test]
    fn philox_gives_the_published_known_answers() {
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        for (counter, key, words) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ] {
            assert_eq!(philox4x32_10(counter, key), words);
        }
    }

    #[test]
    fn seed_stream_and_index_fill_key_and_counter_low_word_first() {
        let (group, counter) = (0x2_9999_aaaa, [0x9999_aaaa, 2, 0x7777_8888, 0x5555_6666]);
        let words = words_of(0x1111_2222_3333_4444, 0x5555_6666_7777_8888, 4 * group + 3);
        assert_eq!(words, philox4x32_10(counter, [0x3333_4444, 0x1111_2222]));
        assert_eq!(lane_of(4 * group + 3), 3);
    }

    #[test]
    fn uniform_numbers_are_multiples_of_two_to_the_minus_24_below_one() {
        for (word, number) in [(0, 0.0), (0xff, 0.0), (0x100, 1.0 / 16_777_216.0), (1 << 31, 0.5)] {
            assert_eq!(uniform_of(word).to_bits(), f32::to_bits(number));
        }
        assert_eq!(uniform_of(u32::MAX).to_bits(), 1_f32.next_down().to_bits());
    }

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        // Computed independently with 40 digits, and rounded once.
        for (seed, stream, index, uniforms, normals) in [
            (42, 0, 0, [0x3f1c_eaf0, 0x3eef_ea92, 0x3d95_fa80], [0xbf78_5e5c, 0x3e46_ace8, 0xbf9e_28d2]),
            (
                u64::MAX,
                1 << 40,
                1 << 40,
                [0x3f19_076f, 0x3d24_bf70, 0x3f42_c7c7],
                [0x3f7b_72ed, 0x3e81_de7d, 0xbf3d_2be9],
            ),
        ] {
            let bits =
                |draw: fn(u64, u64, u64) -> f32| [0, 1, 2].map(|step| draw(seed, stream, index + step).to_bits());
            assert_eq!((bits(uniform), bits(normal)), (uniforms, normals));
        }
        let digest = (0..100_000).fold(0, |digest: u32, index| digest.rotate_left(5) ^ normal(1, 2, index).to_bits());
        assert_eq!(digest, 0x08e0_76f0);
    }

    #[test]
    fn normal_numbers_are_within_0_56_units_of_the_formula_at_every_edge() {
        for radius_word in edge_words() {
            edge_words().into_iter().for_each(|angle_word| assert_near_the_formula(radius_word, angle_word));
        }
    }

    #[test]
    fn normal_numbers_are_within_0_56_units_of_the_formula_at_every_magnitude() {
        for index in 0..200_000 {
            let [radius_word, angle_word, shift, flip] = words_of(5, 0, 4 * index);
            let small = radius_word >> (shift % 32);
            assert_near_the_formula(if flip & 1 == 0 { small } else { !small }, angle_word);
        }
    }

    #[test]
    fn the_largest_normal_number_is_the_root_of_66_ln_2() {
        let largest = edge_words().into_iter().flat_map(|word| box_muller(0, word)).fold(0.0, f32::max);
        assert_eq!(largest.to_bits(), 6.763_705_7_f32.to_bits());
    }

    #[test]
    fn uniform_numbers_are_uniform() {
        let numbers = draw(uniform, 1, 2);
        let deviations = || numbers.iter().map(|x| x - 0.5);
        assert_is_noise("mean", mean_of(deviations()), (1.0 / 12_f64).sqrt());
        assert_is_noise("variance", mean_of(deviations().map(|x| x * x - 1.0 / 12.0)), (1.0 / 180_f64).sqrt());
        assert_is_distributed(numbers, |x| x);
    }

    #[test]
    fn normal_numbers_are_normal() {
        let numbers = draw(normal, 1, 2);
        // The moments of a normal are 0, 1, 0, 3 and the variances of their powers 1, 2, 15, 96.
        for (power, moment, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96_f64)] {
            let mean = mean_of(numbers.iter().map(|x| x.powi(power) - moment));
            assert_is_noise(&format!("moment {power}"), mean, variance.sqrt());
        }
        for edge in [-4.0, -3.0, 3.0, 4.0_f64] {
            let share = normal_cumulative(-edge.abs());
            let beyond = mean_of(numbers.iter().map(|x| f64::from(u8::from(x * edge.signum() > edge.abs())) - share));
            assert_is_noise(&format!("share beyond {edge}"), beyond, share.sqrt());
        }
        assert_is_distributed(numbers, normal_cumulative);
    }

    #[test]
    fn neighbours_streams_and_seeds_are_unrelated() {
        let numbers = draw(normal, 3, 4);
        let squares = |x: f64| (x * x - 1.0) * FRAC_1_SQRT_2;
        let mut others: Vec<(String, Vec<f64>)> = (1..=4)
            .map(|lag| (format!("lag {lag}"), numbers.iter().copied().cycle().skip(lag).take(numbers.len()).collect()))
            .collect();
        others.push(("the next stream".into(), draw(normal, 3, 5)));
        others.push(("the next seed".into(), draw(normal, 4, 4)));
        for (name, other) in others {
            let pairs = || numbers.iter().zip(&other);
            assert_is_noise(&name, mean_of(pairs().map(|(x, y)| x * y)), 1.0);
            assert_is_noise(&format!("{name}, squares"), mean_of(pairs().map(|(x, y)| squares(*x) * squares(*y))), 1.0);
        }
    }
}
