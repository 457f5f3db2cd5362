//! Every kernel and number of parts, forced on every size, against the definition in float64.

use super::choice::{FEW, FEW_ROWS, MANY, OperandLayout, Tiling, forced};
use super::*;
use crate::ops::launch::lowered::with_loop_limit;
use crate::ops::launch::with_gpu;
use crate::pool::{Pool, PoolOptions};

const TILINGS: [Option<Tiling>; 4] = [None, Some(FEW), Some(FEW_ROWS), Some(MANY)];

/// Rows, K and columns: of matrices in vec4s and of others, with K around multiples of slices and parts, and with less than a slice
/// for each part.
const CASES: [[usize; 3]; 15] = [
    [5, 700, 3],
    [32, 264, 300],
    [1, 1000, 1],
    [1, 513, 70],
    [64, 512, 64],
    [65, 512, 67],
    [128, 96, 132],
    [129, 97, 130],
    [33, 95, 40],
    [36, 256, 200],
    [36, 255, 200],
    [36, 257, 200],
    [40, 3, 36],
    [3, 64, 5],
    [4, 33_000, 4],
];

fn pool() -> Option<Pool> {
    Pool::request_blocking(PoolOptions::default()).ok()
}

fn tile(tiling: Option<Tiling>) -> usize {
    tiling.map_or(0, |tiling| tiling.tile[0])
}

fn has_f16(pool: &Pool) -> Result<bool, TensorError> {
    Ok(with_gpu(&Tensor::zeros(pool, [1], DType::F32)?, crate::device::Gpu::has_f16))
}

/// A matrix in the middle of a larger one, transposed in memory or not, and its elements.
fn operand(
    pool: &Pool,
    [rows, columns]: [usize; 2],
    transposed: bool,
    seed: u64,
) -> Result<(Tensor, Vec<f64>), TensorError> {
    let [across, down] = if transposed { [rows, columns] } else { [columns, rows] };
    let whole = Tensor::randn(pool, [down + 2, across], seed)?.narrow(0, 1, down)?;
    let matrix = if transposed { whole.t()? } else { whole };
    let elements = matrix.contiguous()?.read_blocking::<f32>()?.into_iter().map(f64::from).collect();
    Ok((matrix, elements))
}

/// Whole numbers from `low` to `high`, of f32.
fn whole_numbers(
    pool: &Pool,
    shape: impl AsRef<[usize]>,
    low: f32,
    high: f32,
    seed: u64,
) -> Result<Tensor, TensorError> {
    Tensor::rand(pool, shape, seed)?.mul(high - low)?.add(low)?.round()
}

/// The product in float64, and the sum of the magnitudes.
fn definition(left: &[f64], right: &[f64], [rows, depth, columns]: [usize; 3]) -> (Vec<f64>, Vec<f64>) {
    let (mut sums, mut magnitudes) = (vec![0.0; rows * columns], vec![0.0; rows * columns]);
    for (row, k) in (0..rows).flat_map(|row| (0..depth).map(move |k| (row, k))) {
        let x = left[row * depth + k];
        // A loop of integers, because tests are compiled without optimization.
        let (mut from, mut to) = (k * columns, row * columns);
        while from < (k + 1) * columns {
            let product = x * right[from];
            sums[to] += product;
            magnitudes[to] += product.abs();
            (from, to) = (from + 1, to + 1);
        }
    }
    (sums, magnitudes)
}

#[test]
fn every_kernel_and_number_of_parts_gives_every_product() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    for sizes in CASES {
        let [rows, depth, columns] = sizes;
        for transposed in [[false, false], [false, true], [true, false], [true, true]] {
            let (left, x) = operand(&pool, [rows, depth], transposed[0], 1)?;
            let (right, y) = operand(&pool, [depth, columns], transposed[1], 2)?;
            let (wanted, magnitudes) = definition(&x, &y, sizes);
            for tiling in TILINGS {
                for parts in [1, 2, 3, 7, 200] {
                    let found = forced::with(tiling, parts, || left.matmul(&right))?.read_blocking::<f32>()?;
                    let unit = f64::from(f32::EPSILON) * depth as f64;
                    for (at, &found) in found.iter().enumerate() {
                        let error = (f64::from(found) - wanted[at]).abs();
                        let context = || format!("{sizes:?} {transposed:?} {} {parts} {at}", tile(tiling));
                        assert!(error <= unit * magnitudes[at], "{}: {found} {}", context(), wanted[at]);
                    }
                }
            }
        }
    }
    Ok(())
}

/// The documented order: within a part that of an undivided product, then that of the parts.
#[test]
fn the_sum_is_that_of_the_products_of_the_parts_in_their_order() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    let left = Tensor::randn(&pool, [70, 320], 1)?;
    let right = Tensor::randn(&pool, [320, 68], 2)?;
    for tiling in TILINGS {
        let found = forced::with(tiling, 9, || left.matmul(&right))?.read_blocking::<f32>()?;
        let mut wanted: Option<Vec<f32>> = None;
        // The lengths that in_parts.rs chooses for 9 parts: 5 of 64.
        for start in (0..320).step_by(64) {
            let of_part = || left.narrow(1, start, 64)?.matmul(&right.narrow(0, start, 64)?);
            let part = forced::with(tiling, 1, of_part)?.read_blocking::<f32>()?;
            wanted = Some(match wanted {
                Some(sums) => sums.into_iter().zip(part).map(|(sum, part)| sum + part).collect(),
                None => part,
            });
        }
        assert_eq!(Some(found), wanted, "{}", tile(tiling));
    }
    Ok(())
}

#[test]
fn batches_are_divided_one_after_the_other() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    let left = whole_numbers(&pool, [3, 40, 300], -8.0, 8.0, 1)?;
    let right = whole_numbers(&pool, [3, 300, 44], -8.0, 8.0, 2)?;
    let expanded = right.narrow(0, 1, 1)?.expand([3, 300, 44])?;
    let swapped = left.permute([0, 2, 1])?.contiguous()?.permute([0, 2, 1])?;
    let bias = Tensor::randn(&pool, [44], 3)?;
    for (left, right) in [(&left, &right), (&left, &expanded), (&swapped, &right), (&swapped, &expanded)] {
        let run = || left.matmul_then(right, Some(&bias), Some(Activation::Relu))?.read_blocking::<f32>();
        let wanted = forced::with(None, 1, run)?;
        for tiling in TILINGS {
            // Sums of whole numbers are exact in any order.
            assert_eq!(forced::with(tiling, 4, run)?, wanted, "{}", tile(tiling));
        }
    }
    Ok(())
}

/// The sums exceed 2,048, from where on f16 has no odd numbers: rounding the parts as well would give other results.
#[test]
fn products_of_f16_in_parts_are_rounded_once() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    if !has_f16(&pool)? {
        return Ok(());
    }
    for depth in [512, 517] {
        let left = whole_numbers(&pool, [36, depth], 1.0, 6.0, 1)?.to(DType::F16)?;
        let right = whole_numbers(&pool, [depth, 40], 1.0, 6.0, 2)?.to(DType::F16)?;
        let bias = whole_numbers(&pool, [40], 0.0, 9.0, 3)?.to(DType::F16)?;
        let number = |tensor: &Tensor| tensor.to(DType::F32);
        let whole = || number(&left)?.matmul_then(&number(&right)?, Some(&number(&bias)?), None);
        let wanted = forced::with(None, 1, whole)?.to(DType::F16)?.to(DType::F32)?.read_blocking::<f32>()?;
        for tiling in [None, Some(FEW)] {
            let found = forced::with(tiling, 5, || left.matmul_then(&right, Some(&bias), None))?;
            assert_eq!(found.dtype(), DType::F16);
            assert_eq!(found.to(DType::F32)?.read_blocking::<f32>()?, wanted, "{} {depth}", tile(tiling));
        }
    }
    Ok(())
}

#[test]
fn integers_in_parts_wrap() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    let left = whole_numbers(&pool, [9, 400], -2e9, 2e9, 1)?.to(DType::I32)?;
    let right = whole_numbers(&pool, [400, 7], -2e9, 2e9, 2)?.to(DType::I32)?;
    let run = || left.matmul(&right)?.read_blocking::<i32>();
    assert_eq!(forced::with(None, 6, run)?, forced::with(None, 1, run)?);
    Ok(())
}

#[test]
fn operands_of_one_storage_are_multiplied_in_parts() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    let x = whole_numbers(&pool, [68, 400], -8.0, 8.0, 1)?;
    let wanted = forced::with(None, 1, || x.matmul(&x.copied()?.t()?))?.read_blocking::<f32>()?;
    for tiling in TILINGS {
        let found = forced::with(tiling, 5, || x.matmul(&x.t()?))?.read_blocking::<f32>()?;
        assert_eq!(found, wanted, "{}", tile(tiling));
    }
    Ok(())
}

/// The bias is a view, so that its offset counts.
#[test]
fn bias_and_activation_are_applied_to_the_sum_of_the_parts() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    let left = whole_numbers(&pool, [35, 300], -3.0, 4.0, 1)?;
    let right = whole_numbers(&pool, [300, 37], -3.0, 4.0, 2)?.mul(0.015_625)?;
    let all = Tensor::randn(&pool, [45], 3)?;
    let bias = all.narrow(0, 5, 37)?;
    for bias in [None, Some(&bias)] {
        for activation in [None].into_iter().chain(Activation::ALL.map(Some)) {
            let run = || left.matmul_then(&right, bias, activation)?.read_blocking::<f32>();
            let wanted = forced::with(None, 1, run)?;
            for tiling in TILINGS {
                let found = forced::with(tiling, 3, run)?;
                for (found, wanted) in found.iter().zip(&wanted) {
                    assert!((found - wanted).abs() <= 1e-6 * wanted.abs(), "{activation:?}: {found} {wanted}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn nan_and_infinities_of_every_part_propagate() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    let (rows, depth, columns) = (40, 330, 36);
    for tiling in TILINGS {
        for k in [0, 95, 96, 200, 329] {
            let mut x = vec![1.0_f32; rows * depth];
            x[k] = f32::NAN;
            x[depth + k] = f32::INFINITY;
            x[2 * depth + k] = f32::NEG_INFINITY;
            // Infinities of different parts have no sum.
            x[3 * depth] = f32::INFINITY;
            x[3 * depth + depth - 1] = f32::NEG_INFINITY;
            let left = Tensor::from_slice(&pool, &x, [rows, depth])?;
            let right = Tensor::full(&pool, [depth, columns], 1.0_f32)?;
            let found = forced::with(tiling, 4, || left.matmul(&right))?.read_blocking::<f32>()?;
            for (at, &found) in found.iter().enumerate() {
                let is_right = match at / columns {
                    0 | 3 => found.is_nan(),
                    1 => found == f32::INFINITY,
                    2 => found == f32::NEG_INFINITY,
                    _ => found == depth as f32,
                };
                assert!(is_right, "{} {k}, element {at}: {found}", tile(tiling));
            }
        }
    }
    Ok(())
}

/// A sum of 200 parts has 50 iterations for four parts each, and the product of a part has fewer.
#[test]
fn the_sum_of_the_parts_states_its_loop_iterations() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    let (left, right) = (Tensor::randn(&pool, [64, 6400], 1)?, Tensor::randn(&pool, [6400, 64], 2)?);
    let run = |limit| with_loop_limit(limit, || forced::with(Some(FEW), 200, || left.matmul(&right)));
    assert!(matches!(run(54), Err(TensorError::TooManyIterations { iterations: 55, .. })));
    let whole = forced::with(Some(FEW), 1, || left.matmul(&right))?.read_blocking::<f32>()?;
    for (found, wanted) in run(55)?.read_blocking::<f32>()?.iter().zip(whole) {
        assert!((found - wanted).abs() <= 1e-3, "{found} {wanted}");
    }
    Ok(())
}

#[test]
fn a_product_without_memory_for_the_parts_is_not_divided() -> Result<(), TensorError> {
    let limit = 1 << 20;
    let options = PoolOptions { limit: Some(limit), ..PoolOptions::default() };
    let Ok(pool) = Pool::request_blocking(options) else { return Ok(()) };
    let (left, right) = (Tensor::randn(&pool, [64, 640], 1)?, Tensor::randn(&pool, [640, 64], 2)?);
    let run = |parts| forced::with(Some(FEW), parts, || left.matmul(&right))?.read_blocking::<f32>();
    let whole = run(1)?;
    assert_ne!(run(20)?, whole, "the order of the sum does not change the last bits");
    let filler: Vec<Tensor> = std::iter::from_fn(|| Tensor::zeros(&pool, [64, 64], DType::F32).ok()).collect();
    let mut filler = filler.into_iter();
    // Memory for the output, and for four of 20 parts.
    drop(filler.by_ref().take(5).collect::<Vec<_>>());
    assert_eq!(run(20)?, whole);
    drop(filler);
    Ok(())
}

/// All add up in the order of k.
#[test]
fn tiles_of_all_sizes_give_the_same_bits() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    for depth in [16, 48] {
        let sizes = Sizes { batches: 2, rows: 133, columns: 260, depth };
        let left = Tensor::randn(&pool, [sizes.batches, sizes.rows, sizes.depth], 1)?;
        let right = Tensor::randn(&pool, [sizes.batches, sizes.depth, sizes.columns], 2)?;
        let [large, small, few_rows] = [MANY, FEW, FEW_ROWS].map(|tiling| {
            let output = Tensor::empty(&pool, [sizes.batches, sizes.rows, sizes.columns], left.dtype())?;
            let (left, right) = (left.matrices(sizes.rows * sizes.depth), right.matrices(sizes.depth * sizes.columns));
            let product = Product {
                sizes,
                left,
                right,
                output: &output,
                first_batch: 0,
                accumulate: false,
                finish: Finish::NONE,
            };
            product.run_tiled(tiling, OperandLayout { in_vec4s: true, deep: [true, false] })?;
            output.read_blocking::<f32>()
        });
        let bits = |elements: Vec<f32>| -> Vec<u32> { elements.into_iter().map(f32::to_bits).collect() };
        let small = bits(small?);
        assert_eq!(bits(large?), small);
        assert_eq!(bits(few_rows?), small);
    }
    Ok(())
}
