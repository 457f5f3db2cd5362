//! Kernels compiled ahead, the pipeline cache, and the times of the first use.

use crate::common::{Outcome, adapter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgpu_pool::{
    Conv2d, CrossEntropy, DType, DeviceError, Pool, Sgd, SgdParameter, Tensor, TensorError, WarmUpError, fuse,
};

/// A step of each kind of operation: created tensors, products, images, rows, fused expressions, losses, the optimizer.
fn step(pool: &Pool) -> Result<Vec<Tensor>, TensorError> {
    let image = Tensor::randn(pool, [2, 3, 17, 13], 1)?;
    let weight = Tensor::randn(pool, [4, 3, 3, 3], 2)?;
    let features = image.conv2d(&weight, None, Conv2d { padding: 1.into(), ..Conv2d::default() })?.relu()?;
    let rows = features.reshape([2, 4 * 17 * 13])?.contiguous()?;
    let layer = Tensor::randn(pool, [5, 4 * 17 * 13], 3)?;
    let scores = rows.matmul(&layer.t()?)?.softmax(1)?;
    let fused = fuse(|[x]| (x * 2.0_f32 + 1.0_f32).sqrt()).run([&scores])?;
    let classes = Tensor::from_slice(pool, &[1_u32, 4], [2])?;
    let loss = fused.cross_entropy(&classes, CrossEntropy::default())?;
    let parameter = Tensor::zeros(pool, [5, 4 * 17 * 13], DType::F32)?;
    let gradient = layer.mul(0.5_f32)?;
    let velocity = Tensor::zeros(pool, [5, 4 * 17 * 13], DType::F32)?;
    Sgd::default().step(&[SgdParameter { value: &parameter, gradient: &gradient, velocity: &velocity }])?;
    Ok(vec![scores, fused, loss.reshape([1])?, parameter, features.transpose(1, 3)?.contiguous()?])
}

fn values(tensors: &[Tensor]) -> Result<Vec<Vec<f32>>, TensorError> {
    tensors.iter().map(Tensor::read_blocking::<f32>).collect()
}

fn compiled(pool: &Pool) -> u64 {
    pool.caches().iter().filter(|cache| cache.name.starts_with("pipelines")).map(|cache| cache.made).sum()
}

#[test]
fn a_step_after_a_warm_up_compiles_nothing_and_has_the_same_results() -> Outcome {
    let (Some(pool), Some(other)) = (adapter::fresh(), adapter::fresh()) else { return Ok(()) };
    let (dry, warm_up) = pool.warm_up(|| step(&pool))?;
    drop(dry?);
    assert!(warm_up.kernels > 10, "{}", warm_up.kernels);
    assert_eq!(warm_up.kernels, compiled(&pool));
    assert!(warm_up.dry_run.requested_peak().bytes > 0);
    assert_eq!(pool.stats().requested.peak, 0, "nothing was allocated");
    let times = pool.memory().startup();
    let found = values(&step(&pool)?)?;
    assert_eq!(compiled(&pool), warm_up.kernels);
    let later = pool.memory().startup();
    assert_eq!((times.kernels, times.shaders, times.pipelines), (later.kernels, later.shaders, later.pipelines));
    assert_eq!(found, values(&step(&other)?)?, "bit by bit");
    assert_eq!(pool.warm_up(|| step(&pool).map(drop))?.1.kernels, 0, "there is nothing left");
    Ok(())
}

#[test]
fn a_warm_up_in_a_dry_run_is_refused_and_calls_nothing() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let mut calls = 0;
    let (inner, _) = pool.dry_run(|| pool.warm_up(|| calls += 1).map(drop))?;
    assert_eq!(inner, Err(WarmUpError::Nested));
    let (inner, _) = pool.warm_up(|| pool.warm_up(|| calls += 1).map(drop))?;
    assert_eq!((inner, calls), (Err(WarmUpError::Nested), 0));
    // The outer warm-up is complete, and the next one works.
    let (dry, warm_up) = pool.warm_up(|| Tensor::ones(&pool, [3], DType::F32)?.exp().map(drop))?;
    dry?;
    assert!(warm_up.kernels > 0);
    Ok(())
}

#[test]
fn after_a_panic_in_a_warm_up_kernels_are_compiled_when_they_are_used() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        pool.warm_up(|| {
            step(&pool).expect("a dry run");
            panic!("in the closure");
        })
        .map(drop)
    }));
    assert!(attempt.is_err());
    let found = values(&step(&pool)?)?;
    assert!(found.iter().flatten().all(|value| value.is_finite()));
    Ok(())
}

/// The other thread finds kernels that are in the cache and not compiled.
#[test]
fn another_thread_runs_the_same_kernels_during_a_warm_up() -> Outcome {
    let (Some(pool), Some(other)) = (adapter::fresh(), adapter::fresh()) else { return Ok(()) };
    let wanted = values(&step(&other)?)?;
    let mut found = None;
    let (dry, _) = pool.warm_up(|| {
        step(&pool)?;
        std::thread::scope(|scope| {
            let run = || -> Result<_, TensorError> { values(&step(&pool)?) };
            found = Some(scope.spawn(run).join().expect("no panic"));
        });
        step(&pool).map(drop)
    })?;
    dry?;
    assert_eq!(found.ok_or("the closure ran")??, wanted);
    assert_eq!(values(&step(&pool)?)?, wanted);
    Ok(())
}

#[test]
fn a_warm_up_on_a_lost_device_returns_the_loss_and_the_operation_too() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    pool.memory().notify_lost("test");
    let lost = DeviceError::Lost { reason: "test".into() };
    let ones = || Tensor::ones(&pool, [3], DType::F32)?.exp().map(drop);
    let (dry, warm_up) = pool.warm_up(ones)?;
    assert_eq!((dry, warm_up.kernels), (Err(TensorError::Device(lost.clone())), 0));
    assert_eq!(ones(), Err(TensorError::Allocate(wgpu_pool::AllocateError::Device(lost))));
    Ok(())
}

#[test]
fn a_device_that_is_lost_during_a_warm_up_fails_it() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let warm_up = pool.warm_up(|| -> Result<(), TensorError> {
        Tensor::ones(&pool, [3], DType::F32)?.exp()?;
        pool.memory().notify_lost("test");
        Ok(())
    });
    assert_eq!(warm_up.map(drop), Err(WarmUpError::Compile(DeviceError::Lost { reason: "test".into() })));
    Ok(())
}

#[test]
fn the_times_of_the_first_use_grow_with_the_kernels_and_end_with_the_first_read() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let opened = pool.memory().startup();
    assert_eq!((opened.kernels, opened.first_result), (0, None));
    let sum = Tensor::ones(&pool, [3], DType::F32)?.exp()?;
    let recorded = pool.memory().startup();
    // The clock of a browser may be coarse.
    let is_exact = !cfg!(target_arch = "wasm32");
    assert!(recorded.kernels > 0 && (!is_exact || recorded.shaders > opened.shaders));
    assert!(!is_exact || recorded.pipelines > opened.pipelines);
    assert_eq!(recorded.first_result, None);
    sum.read_blocking::<f32>()?;
    let first = pool.memory().startup().first_result.ok_or("a result was read")?;
    assert!(first >= recorded.adapter + recorded.device, "{first:?} {recorded:?}");
    sum.read_blocking::<f32>()?;
    assert_eq!(pool.memory().startup().first_result, Some(first));
    Ok(())
}

#[expect(unsafe_code, reason = "wgpu does not check the data of a pipeline cache; this is its own, or none")]
fn pipeline_cache(pool: &Pool, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data, fallback: true };
    unsafe { pool.memory().device().create_pipeline_cache(&descriptor) }
}

#[test]
fn a_pipeline_cache_keeps_kernels_for_another_device() -> Outcome {
    let (Some(pool), Some(second)) = (adapter::fresh(), adapter::fresh()) else { return Ok(()) };
    if !pool.memory().device().features().contains(wgpu::Features::PIPELINE_CACHE) {
        eprintln!("skipped: the device has no pipeline cache");
        return Ok(());
    }
    let cache = pipeline_cache(&pool, None);
    pool.memory().set_pipeline_cache(Some(cache.clone()))?;
    let wanted = values(&step(&pool)?)?;
    let data = cache.get_data().ok_or("a cache of Vulkan has data")?;
    assert!(!data.is_empty());
    second.memory().set_pipeline_cache(Some(pipeline_cache(&second, Some(&data))))?;
    second.warm_up(|| step(&second).map(drop))?.0?;
    assert_eq!(values(&step(&second)?)?, wanted);
    // A device that has no such cache refuses it each time, and works without.
    let third = adapter::fresh().ok_or("it opened before")?;
    for _ in 0..2 {
        let Err(DeviceError::Validation { message }) = third.memory().set_pipeline_cache(Some(cache.clone())) else {
            panic!("a cache of another device was accepted")
        };
        assert!(message.contains("must be of the pool's device"), "{message}");
        assert_eq!(values(&step(&third)?)?, wanted);
    }
    second.clear_caches();
    second.memory().set_pipeline_cache(None)?;
    assert_eq!(values(&step(&second)?)?, wanted);
    Ok(())
}

/// Both devices are of one instance, where wgpu reports the error instead of a panic.
#[test]
fn a_pipeline_cache_of_another_device_of_the_instance_is_refused() -> Outcome {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let opened = pollster::block_on(async {
        let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await.ok()?;
        let required_features = adapter.features() & wgpu::Features::PIPELINE_CACHE;
        let descriptor = wgpu::DeviceDescriptor { required_features, ..Default::default() };
        let devices =
            [adapter.request_device(&descriptor).await.ok()?, adapter.request_device(&descriptor).await.ok()?];
        (!required_features.is_empty()).then_some(devices)
    });
    let Some(devices) = opened else { return Ok(()) };
    let [one, other] = devices
        .map(|(device, queue)| Pool::from_device(device, queue, crate::common::options()).expect("usual options"));
    let refused = one.memory().set_pipeline_cache(Some(pipeline_cache(&other, None)));
    assert!(matches!(refused, Err(DeviceError::Validation { .. })), "{refused:?}");
    one.memory().set_pipeline_cache(Some(pipeline_cache(&one, None)))?;
    assert_eq!(Tensor::ones(&one, [3], DType::F32)?.read_blocking::<f32>()?, [1.0; 3]);
    Ok(())
}

#[test]
fn a_device_without_the_feature_refuses_a_pipeline_cache_by_name() -> Outcome {
    let Some((device, queue)) = adapter::foreign() else { return Ok(()) };
    let plain = Pool::from_device(device, queue, crate::common::options())?;
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    if !pool.memory().device().features().contains(wgpu::Features::PIPELINE_CACHE) {
        return Ok(());
    }
    let refused = plain.memory().set_pipeline_cache(Some(pipeline_cache(&pool, None)));
    assert_eq!(refused, Err(DeviceError::Unsupported { feature: "PIPELINE_CACHE" }));
    plain.memory().set_pipeline_cache(None)?;
    assert_eq!(Tensor::ones(&plain, [3], DType::F32)?.read_blocking::<f32>()?, [1.0; 3]);
    Ok(())
}
