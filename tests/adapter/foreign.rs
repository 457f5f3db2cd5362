//! A pool on a device that the application created: wgpu's default limits, no features, and the application's own
//! commands.

use crate::common::{Outcome, adapter};
use std::sync::Arc;
use wgpu_pool::{DType, DeviceError, Gpu, Memory, Pool, Tensor, TensorError};

#[test]
fn the_alignment_of_a_device_with_default_limits_is_respected() -> Outcome {
    let Some(pool) = adapter::foreign_pool() else { return Ok(()) };
    assert_eq!(pool.memory().limits().alignment, 256);
    assert_eq!(pool.snapshot().granule, 256);
    let tensors: Result<Vec<_>, _> = (1..50).map(|size| Tensor::full(&pool, [size], 1.0_f32)).collect();
    for (size, tensor) in (1..).zip(tensors?) {
        assert_eq!(tensor.add(&tensor)?.read_blocking::<f32>()?, vec![2.0; size]);
    }
    Ok(())
}

/// The parameter ring buffer has 256 slots in groups of 32. The test uses more dispatches per batch, and batches that
/// end within a group.
#[test]
fn scalars_reach_their_dispatches_in_any_number() -> Outcome {
    let Some(pool) = adapter::foreign_pool() else { return Ok(()) };
    let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
        struct Scalars { at: u32, value: u32 }
        @group(1) @binding(0) var<uniform> params: Scalars;
        @compute @workgroup_size(1) fn put() { x[params.at] = x[params.at] * 3u + params.value; }";
    let put = pool.kernel(wgsl, "put")?;
    for batch in [1, 31, 32, 33, 100, 255, 256, 257, 700] {
        let x = Tensor::zeros(&pool, [batch], DType::U32)?;
        for round in 1..=2_u32 {
            for at in 0..u32::try_from(batch)? {
                put.dispatch(&[&x], &[at.into(), (at * 10 + round).into()], [1, 1, 1])?;
            }
            if batch % 2 == 0 {
                pool.submit()?;
            }
        }
        let wanted: Vec<u32> = (0..u32::try_from(batch)?).map(|at| (at * 10 + 1) * 3 + at * 10 + 2).collect();
        assert_eq!(x.read_blocking::<u32>()?, wanted, "{batch} dispatches");
    }
    Ok(())
}

/// Copies and uploads between the dispatches of a batch end the compute pass; the next dispatch sets all bindings
/// again.
#[test]
fn dispatches_between_copies_have_all_their_bindings() -> Outcome {
    let Some(pool) = adapter::foreign_pool() else { return Ok(()) };
    let x = Tensor::full(&pool, [64], 1_u32)?;
    for step in 0..50_u32 {
        let y = Tensor::from_slice(&pool, &[step; 64], [64])?;
        x.add_(&y)?;
        let copy = Tensor::empty(&pool, [64], DType::U32)?;
        x.storage()?.copy_to(copy.storage()?)?;
        x.copy_(&copy.add(1_u32)?)?;
    }
    assert_eq!(x.read_blocking::<u32>()?, [1 + 50 * 49 / 2 + 50; 64]);
    Ok(())
}

/// Doubles the elements of a binding with the application's own commands.
fn double(gpu: &Gpu, tensor: &Tensor) -> Outcome {
    let device = gpu.device();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(
            "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
             @compute @workgroup_size(64) fn double(@builtin(global_invocation_id) id: vec3<u32>) {
                 if id.x < arrayLength(&x) { x[id.x] *= 2u; }
             }"
            .into(),
        ),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("double"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let pinned = tensor.binding()?;
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(pinned.binding()) }],
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        let elements = u32::try_from(tensor.elements())?;
        pass.dispatch_workgroups(elements.div_ceil(64), 1, 1);
    }
    gpu.queue().submit([encoder.finish()]);
    Ok(())
}

#[test]
fn the_applications_commands_execute_after_previously_recorded_commands() -> Outcome {
    for pool in [adapter::fresh(), adapter::foreign_pool()].into_iter().flatten() {
        let x = Tensor::full(&pool, [100], 3_u32)?;
        let neighbour = Tensor::full(&pool, [100], 5_u32)?;
        x.add_(&x)?;
        double(pool.memory(), &x)?;
        x.add_(&neighbour)?;
        assert_eq!(x.read_blocking::<u32>()?, [17; 100]);
        assert_eq!(neighbour.read_blocking::<u32>()?, [5; 100]);
        assert_eq!(pool.stats().pinned.current, 0);
    }
    Ok(())
}

// Case 44, as far as it is about reuse.
#[test]
fn a_pinned_block_is_reused_only_after_its_guard_is_dropped() -> Outcome {
    let (device, queue) = adapter::noop();
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let tensor = Tensor::zeros(&pool, [1000], DType::F32)?;
    let pinned = tensor.binding()?;
    let again = tensor.binding()?;
    let (buffer, offset, size) = {
        let binding = pinned.binding();
        assert_eq!((binding.buffer, binding.offset), (pinned.buffer(), pinned.offset()));
        (binding.buffer.clone(), binding.offset, binding.size)
    };
    assert_eq!(size.map(u64::from), Some(4000));
    drop(tensor);
    let stats = pool.stats();
    assert_eq!((stats.blocks.current, stats.active_blocks.current), (0, 1));
    assert_eq!(stats.pinned.current, stats.active.current);
    assert_eq!(pool.trim().segments, 0);
    let other = Tensor::zeros(&pool, [1000], DType::F32)?;
    let place = other.binding()?;
    assert!(*place.binding().buffer != buffer || place.binding().offset != offset);
    drop((place, other, pinned));
    assert_eq!(pool.stats().active_blocks.current, 1);
    drop(again);
    assert_eq!(pool.stats().active_blocks.current, 0);
    assert_eq!(pool.trim().segments, 1);
    pool.check()?;
    Ok(())
}

#[test]
fn a_tensor_without_elements_has_no_binding() -> Outcome {
    let (device, queue) = adapter::noop();
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let nothing = Tensor::zeros(&pool, [0], DType::F32)?.binding();
    assert!(matches!(nothing, Err(TensorError::Device(DeviceError::ZeroBytes))), "{nothing:?}");
    Ok(())
}

/// The pool neither replaces nor calls the application's error handler.
#[test]
fn errors_of_the_pool_do_not_reach_the_applications_handler() -> Outcome {
    let Some((device, queue)) = adapter::foreign() else { return Ok(()) };
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&seen);
    device.on_uncaptured_error(std::sync::Arc::new(move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }));
    let pool = Pool::from_device(device.clone(), queue, crate::common::options())?;
    pool.allocate(1 << 60).expect_err("no device holds that");
    pool.kernel("@compute @workgroup_size(70000) fn main() {}", "main").expect_err("no device runs that");
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 0);
    // An error in the application's own calls still does.
    let bad =
        wgpu::BufferDescriptor { label: None, size: 6, usage: wgpu::BufferUsages::empty(), mapped_at_creation: true };
    drop(device.create_buffer(&bad));
    assert!(seen.load(std::sync::atomic::Ordering::Relaxed) > 0);
    Ok(())
}

/// After recording, uploads and reads, with work still pending: when the last handle of the pool is dropped, only the
/// application's handles keep the device alive.
#[test]
fn a_dropped_pool_holds_no_reference_to_the_device() -> Outcome {
    for (name, opened) in [("noop", Some(adapter::noop())), ("adapter", adapter::foreign())] {
        let Some((device, queue)) = opened else { continue };
        // The device keeps its handler alive.
        let handler: Arc<dyn wgpu::UncapturedErrorHandler> = Arc::new(|error: wgpu::Error| panic!("{error}"));
        device.on_uncaptured_error(Arc::clone(&handler));
        let pool = Pool::from_device(device, queue, crate::common::options())?;
        let x = Tensor::from_slice(&pool, &[1.0_f32; 1000], [1000])?;
        let y = x.add(&x)?;
        assert_eq!(y.read_blocking::<f32>()?.len(), 1000);
        assert_eq!(pollster::block_on(x.read::<f32>())?, [1.0; 1000]);
        for _ in 0..3 {
            x.storage()?.write(0, &[7; 4000])?;
            pool.synchronize_blocking()?;
        }
        drop(pool.download(100)?);
        drop(x.read::<f32>());
        // Submitted but not completed, and recorded but not submitted.
        x.storage()?.write(0, &[8; 4000])?;
        pool.submit()?;
        x.storage()?.write(0, &[9; 4000])?;
        drop((x, y, pool));
        assert_eq!(Arc::strong_count(&handler), 1, "the device on {name} lives on");
    }
    Ok(())
}
