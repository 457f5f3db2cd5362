//! Caches: the number of compiled and of cached kernels, and results that do not depend on the contents of the caches.

use crate::common::{Outcome, adapter};
use wgpu_pool::{CacheUse, DType, Expression, Pool, Tensor, fuse};

/// Kernels that a pool has compiled so far.
fn compiled(pool: &Pool) -> u64 {
    pool.caches().iter().filter(|cache| cache.name.starts_with("pipelines")).map(|cache| cache.made).sum()
}

fn cache(pool: &Pool, name: &str) -> CacheUse {
    let found = pool.caches().into_iter().find(|cache| cache.name == name);
    found.unwrap_or_else(|| panic!("no cache is called {name}"))
}

/// Every cache is bounded, and none holds more than its bound.
#[track_caller]
fn assert_bounded(pool: &Pool) {
    for cache in pool.caches() {
        assert!(cache.most_entries.is_some() || cache.most_bytes.is_some(), "{cache:?} has no bound");
        assert!(cache.most_entries.is_none_or(|most| cache.entries <= most), "{cache:?}");
        assert!(cache.most_bytes.is_none_or(|most| cache.bytes.is_some_and(|bytes| bytes <= most)), "{cache:?}");
    }
}

/// A polynomial in x with these coefficients, the constant one first.
fn polynomial<'a>(x: Expression<'a>, coefficients: &[f32]) -> Expression<'a> {
    coefficients.iter().rev().fold(x * 0.0_f32, |sum, &coefficient| sum * x + coefficient)
}

// Case 65.
#[test]
fn changing_constants_however_many_compiles_nothing() -> Outcome {
    // In immediates, in the parameter buffer, and bound.
    for count in [1, 8, 9, 24, 57, 58, 61, 62, 63, 64, 65, 300_u16] {
        let Some(pool) = adapter::fresh() else { return Ok(()) };
        let x = Tensor::full(&pool, [7], 1.0_f32)?;
        let mut known = None;
        // All equal, all different, and equal in other places.
        for divisor in [u16::MAX, 1, 2, 3] {
            let coefficients: Vec<f32> = (0..count).map(|number| f32::from(number / divisor + 1)).collect();
            let kernel = fuse(|[x]| polynomial(x, &coefficients));
            assert_eq!(kernel.run([&x])?.read_blocking::<f32>()?, [coefficients.iter().sum::<f32>(); 7], "{count}");
            assert_eq!(compiled(&pool), *known.get_or_insert(compiled(&pool)), "{count} constants over {divisor}");
        }
        // The scalars of operations are constants, too.
        x.mul_(1.0_f32)?;
        let known = compiled(&pool);
        for factor in [2.0_f32, 0.5, f32::INFINITY, 0.0] {
            x.mul_(factor)?;
        }
        assert_eq!(compiled(&pool), known);
    }
    Ok(())
}

#[test]
fn bound_constants_go_with_every_form_and_as_many_inputs_as_there_may_be() -> Outcome {
    for pool in adapter::all_shared() {
        let coefficients: Vec<f32> = (0..70_u8).map(f32::from).collect();
        let whole = Tensor::full(pool, [6, 8], 1.0_f32)?;
        let repeated = Tensor::full(pool, [6, 1], 2.0_f32)?;
        let odd = Tensor::full(pool, [8, 6], 3.0_f32)?.t()?;
        let others: Vec<Tensor> = (0..3).map(|_| Tensor::full(pool, [1], 4.0_f32)).collect::<Result<_, _>>()?;
        let kernel = fuse(|[a, b, c, d, e, f]| polynomial(a, &coefficients) + b * c + d * e * f);
        let found = kernel.run([&whole, &repeated, &odd, &others[0], &others[1], &others[2]])?;
        assert_eq!(found.read_blocking::<f32>()?, [2415.0 + 6.0 + 64.0; 48]);
        let rows = fuse(|[a, b]| polynomial(a, &coefficients) + b).run([&whole, &repeated])?;
        assert_eq!(rows.read_blocking::<f32>()?, [2417.0; 48]);
    }
    Ok(())
}

/// Returns a different expression for each number below 2^13.
fn numbered(number: u32, x: &Tensor) -> Result<Tensor, wgpu_pool::TensorError> {
    let kernel = fuse(|[x]| (0..13).fold(x, |sum, bit| if number >> bit & 1 == 0 { sum + x } else { sum * x }));
    kernel.run([x])
}

#[test]
fn thousands_of_expressions_keep_the_caches_and_the_hosts_memory_bounded() -> Outcome {
    let (device, queue) = adapter::noop();
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let x = Tensor::empty(&pool, [5], DType::F32)?;
    let most = u32::try_from(cache(&pool, "pipelines of expressions").most_entries.ok_or("it has a bound")?)?;
    let run = |numbers: std::ops::Range<u32>| -> Outcome {
        for number in numbers {
            numbered(number, &x)?;
            // On this thread, whose allocations are counted.
            pool.submit()?;
            assert_bounded(&pool);
        }
        pool.synchronize_blocking()?;
        Ok(())
    };
    run(0..most)?;
    assert_eq!(cache(&pool, "pipelines of expressions").entries, u64::from(most));
    // As many again: half of them goes twice, and the cache is as full as it was.
    let mut outcome = Ok(());
    let grown = allocation_counter::measure(|| outcome = run(most..2 * most)).bytes_current;
    outcome?;
    let full = cache(&pool, "pipelines of expressions");
    assert_eq!((full.entries, full.made), (u64::from(most), u64::from(2 * most)));
    assert!(grown < 1 << 20, "{grown} bytes more for {most} expressions");
    numbered(2 * most - 1, &x)?;
    assert_eq!(compiled(&pool), u64::from(2 * most), "the latest are kept");
    numbered(0, &x)?;
    assert_eq!(compiled(&pool), u64::from(2 * most) + 1, "the first were evicted");
    Ok(())
}

#[test]
fn shapes_and_the_programs_own_kernels_leave_nothing_behind() -> Outcome {
    let (device, queue) = adapter::noop();
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let use_shape = |size: usize| -> Outcome {
        let x = Tensor::full(&pool, [size, 3], 1.0_f32)?;
        x.t()?.add(&x.t()?)?.sum([0])?;
        assert_bounded(&pool);
        Ok(())
    };
    (1..40).try_for_each(use_shape)?;
    let known = compiled(&pool);
    (40..3000).try_for_each(use_shape)?;
    assert!(compiled(&pool) < known + 10, "a shape is not compiled for");
    let before = pool.caches();
    for number in 0..300 {
        let source = format!(
            "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
            @compute @workgroup_size(1) fn put() {{ x[0] = {number}u; }}"
        );
        let kernel = pool.kernel(&source, "put")?;
        kernel.dispatch(&[&Tensor::empty(&pool, [1], DType::U32)?], &[], [1, 1, 1])?;
    }
    assert_bounded(&pool);
    let names = |caches: &[CacheUse]| -> Vec<(String, u64)> {
        let kernels = caches.iter().filter(|cache| cache.name.starts_with("pipelines"));
        kernels.map(|cache| (cache.name.to_string(), cache.entries)).collect()
    };
    assert_eq!(names(&pool.caches()), names(&before), "a kernel of the program's own is its own to keep");
    Ok(())
}

#[test]
fn recorded_commands_outlive_the_caches_that_they_were_made_from() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let x = Tensor::from_slice(&pool, &[1.0_f32, 2.0, 3.0], [3])?;
    let mut wanted = [1.0_f32, 2.0, 3.0];
    for number in 0..20_u8 {
        // A bind group, a kernel of the crate's own and one of an expression, all in the open batch when the caches go.
        x.copy_(&x.add(1.0_f32)?)?;
        x.mul_(0.5_f32)?;
        wanted = wanted.map(|element| (element + 1.0) * 0.5);
        if number % 3 == 0 {
            pool.clear_caches();
            assert_eq!(cache(&pool, "pipelines").entries + cache(&pool, "bind groups").entries, 0);
        }
    }
    assert_eq!(x.read_blocking::<f32>()?, wanted);
    let report = pool.report().to_string();
    assert!(report.contains("\ncaches ") && report.contains("  pipelines"), "{report}");
    Ok(())
}
