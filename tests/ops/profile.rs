//! Execution times of kernels.

use crate::common::{Outcome, adapter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgpu_pool::{DeviceError, Pool, Tensor, TensorError, fuse};

/// A pool whose adapter has timestamps.
fn timed() -> Option<Pool> {
    let pool = adapter::fresh()?;
    match pool.profile_blocking(|| ()) {
        Ok(_) => Some(pool),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

#[test]
fn every_dispatch_has_its_kernels_name_and_its_time_in_program_order() -> Outcome {
    let Some(pool) = timed() else { return Ok(()) };
    let x = Tensor::rand(&pool, [1 << 20], 1)?;
    let (result, profile) = pool.profile_blocking(|| -> Result<f32, TensorError> {
        let y = x.add(1.0_f32)?;
        let z = fuse(|[x, y]| x * y).run([&x, &y])?;
        let loss = z.sum(..)?.read_blocking::<f32>()?[0];
        z.fill_(0.0_f32)?;
        Ok(loss)
    })?;
    let values = x.read_blocking::<f32>()?;
    let wanted: f64 = values.iter().map(|&x| f64::from(x) * (f64::from(x) + 1.0)).sum();
    assert!((f64::from(result?) - wanted).abs() < 1e-4 * wanted);
    let names: Vec<&str> = profile.dispatches.iter().map(|dispatch| &*dispatch.kernel).collect();
    assert_eq!((names[..2].to_vec(), names.last()), (vec!["add", "fused"], Some(&"fill")));
    assert!(names[2..names.len() - 1].iter().all(|name| name.starts_with("reduce")), "{names:?}");
    assert!(profile.dispatches.iter().all(|dispatch| dispatch.end >= dispatch.start));
    assert!(profile.dispatches.windows(2).all(|pair| pair[0].start <= pair[1].start), "{profile:?}");
    assert!(profile.kernels().iter().any(|&(_, _, time)| time > 0), "{profile:?}");
    let table = profile.to_string();
    assert_eq!(table.lines().count(), 1 + profile.kernels().len());
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    // Outside of a profile nothing is timed.
    x.neg()?;
    assert_eq!(pool.profile_blocking(|| ())?.1.dispatches, []);
    Ok(())
}

#[test]
fn more_dispatches_than_there_are_timestamps_are_counted_and_a_panic_ends_the_profile() -> Outcome {
    let Some(pool) = timed() else { return Ok(()) };
    let x = Tensor::full(&pool, [16], 0.0_f32)?;
    let one = Tensor::full(&pool, [16], 1.0_f32)?;
    let (result, profile) = pool.profile_blocking(|| (0..2100).try_for_each(|_| x.add_scaled_(&one, 1.0_f32)))?;
    result?;
    assert_eq!((profile.dispatches.len(), profile.untimed), (2048, 52));
    assert_eq!(x.read_blocking::<f32>()?, [2100.0; 16]);
    assert!(profile.to_string().ends_with("and 52 dispatches without timestamps\n"));
    let panicked = catch_unwind(AssertUnwindSafe(|| pool.profile_blocking(|| panic!("on purpose"))));
    assert!(panicked.is_err());
    x.add_scaled_(&one, 1.0_f32)?;
    assert_eq!(pool.profile_blocking(|| ())?.1.dispatches, []);
    Ok(())
}

#[test]
fn an_adapter_without_timestamps_says_so() -> Outcome {
    let (device, queue) = adapter::noop();
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let error = pool.profile_blocking(|| ()).err();
    assert_eq!(error, Some(DeviceError::Unsupported { feature: "TIMESTAMP_QUERY" }));
    Ok(())
}

#[cfg(feature = "serde")]
#[test]
fn the_trace_has_an_event_for_each_dispatch() -> Outcome {
    let Some(pool) = timed() else { return Ok(()) };
    let x = Tensor::full(&pool, [1000], 2.0_f32)?;
    let (_, profile) = pool.profile_blocking(|| x.square().map(drop))?;
    let trace: serde_json::Value = serde_json::from_str(&profile.to_chrome_trace())?;
    let events = trace["traceEvents"].as_array().ok_or("events")?;
    assert_eq!((events.len(), events[0]["name"].as_str(), events[0]["ph"].as_str()), (1, Some("square"), Some("X")));
    Ok(())
}
