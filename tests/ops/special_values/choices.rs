//! Comparisons, choices by a condition, and the fuser's `!`, `&` and `|`: exact, for subnormal numbers and NaN as well.

use super::table::COMPARISONS;
use super::{values, views};
use crate::common::{Outcome, adapter};
use wgpu_pool::{Tensor, fuse};

fn ones(results: impl Iterator<Item = bool>) -> Vec<u32> {
    results.map(u32::from).collect()
}

#[test]
fn comparisons_of_all_pairs_of_special_values_are_those_of_rust() -> Outcome {
    let all = values();
    for pool in adapter::all_shared() {
        let column = Tensor::from_slice(pool, &all, [all.len(), 1])?;
        let row_of_all = Tensor::from_slice(pool, &all, [all.len()])?;
        for row in &COMPARISONS {
            let wanted = ones(all.iter().flat_map(|&x| all.iter().map(move |&y| (row.model)(x, y))));
            assert_eq!((row.run)(&column, &row_of_all)?.read_blocking::<u32>()?, wanted, "{}", row.name);
            let fused = fuse(|[x, y]| (row.fused)(x * 1_f32, y)).run([&column, &row_of_all])?;
            // The product may flush; NaN stays.
            let is_subnormal = |place: usize| all[place / all.len()].is_subnormal();
            for (place, (found, wanted)) in fused.read_blocking::<u32>()?.iter().zip(&wanted).enumerate() {
                assert!(found == wanted || is_subnormal(place), "fused {} at {place}", row.name);
            }
            for &scalar in &all {
                let wanted = ones(all.iter().map(|&x| (row.model)(x, scalar)));
                let found = (row.with_scalar)(&row_of_all, scalar)?.read_blocking::<u32>()?;
                assert_eq!(found, wanted, "{} {scalar:e}", row.name);
            }
        }
    }
    Ok(())
}

#[test]
fn elements_between_bounds_are_those_of_the_model_and_nan_stays() -> Outcome {
    let all = values();
    let larger = |x: f32, y: f32| if x.is_nan() || y.is_nan() { f32::NAN } else { x.max(y) };
    let smaller = |x: f32, y: f32| if x.is_nan() || y.is_nan() { f32::NAN } else { x.min(y) };
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    for pool in adapter::all_shared() {
        for (low, high) in [(-1.0, 1.5), (nan, 1.0), (0.0, nan), (2.0, 1.0), (-infinity, infinity), (infinity, 3.0)] {
            let wanted: Vec<f32> = all.iter().map(|&x| smaller(larger(x, low), high)).collect();
            let is_right = |found: &[f32]| {
                found.iter().zip(&wanted).zip(&all).all(|((found, wanted), x)| {
                    found == wanted || (found.is_nan() && wanted.is_nan()) || (x.is_subnormal() && *found == 0.0)
                })
            };
            for (kind, view) in views(pool, &all, 1.0)? {
                let bounds = [low, high].map(|bound| Tensor::full(pool, [], bound));
                let [low_tensor, high_tensor] = bounds;
                let (low_tensor, high_tensor) = (low_tensor?, high_tensor?);
                assert!(is_right(&view.clamp(low, high)?.read_blocking::<f32>()?), "{kind} {low} {high}");
                let found = view.clamp(&low_tensor, &high_tensor)?.read_blocking::<f32>()?;
                assert!(is_right(&found), "{kind} {low} {high} as tensors");
                let changed = view.copied()?;
                changed.clamp_(low, high)?;
                assert!(is_right(&changed.read_blocking::<f32>()?), "{kind} {low} {high} in place");
                let changed = view.copied()?;
                changed.clamp_(&low_tensor, high)?;
                assert!(is_right(&changed.read_blocking::<f32>()?), "{kind} {low} {high} in place, as a tensor");
            }
        }
    }
    Ok(())
}

#[test]
fn conditions_are_true_for_everything_but_zeros() -> Outcome {
    let all = values();
    let results: Vec<bool> = all.iter().map(|&x| x != 0.0).collect();
    for pool in adapter::all_shared() {
        let (this, other) = (Tensor::full(pool, [], 1_u32)?, Tensor::full(pool, [], 0_u32)?);
        for (kind, view) in views(pool, &all, 1.0)? {
            let wanted = ones(results.iter().copied());
            assert_eq!(view.where_cond(&this, &other)?.read_blocking::<u32>()?, wanted, "where_cond, {kind}");
            let selected = fuse(|[x]| x.select(1_u32, 0_u32)).run([&view])?;
            assert_eq!(selected.read_blocking::<u32>()?, wanted, "select, {kind}");
            let negated = fuse(|[x]| !x).run([&view])?;
            assert_eq!(negated.read_blocking::<u32>()?, ones(results.iter().map(|truth| !truth)), "!, {kind}");
        }
        let column = Tensor::from_slice(pool, &all, [all.len(), 1])?;
        let row = Tensor::from_slice(pool, &all, [all.len()])?;
        let pairs = || results.iter().flat_map(|&x| results.iter().map(move |&y| (x, y)));
        let both = fuse(|[x, y]| x & y).run([&column, &row])?;
        assert_eq!(both.read_blocking::<u32>()?, ones(pairs().map(|(x, y)| x & y)), "&");
        let either = fuse(|[x, y]| x | y).run([&column, &row])?;
        assert_eq!(either.read_blocking::<u32>()?, ones(pairs().map(|(x, y)| x | y)), "|");
        // What is chosen keeps its bits.
        let chosen = row.where_cond(&row, &row.neg()?)?.read_blocking::<f32>()?;
        for (&found, &wanted) in chosen.iter().zip(&all) {
            assert!(found == wanted || found.is_nan() == wanted.is_nan() && (wanted.is_nan() || found == 0.0));
        }
    }
    Ok(())
}
