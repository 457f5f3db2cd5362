//! wgpu runs callbacks inside `submit` and `poll`, on the calling thread. A callback may call everything that the
//! program may call: the pool holds no lock meanwhile.

use crate::common::{Outcome, adapter, watchdog};
use crate::submission::during_a_submission;
use std::sync::{Arc, mpsc};
use std::time::Instant;
use wgpu_pool::{DType, Pool, PoolOptions, RepeatOptions, Tensor};

/// Registers a callback for completed work that drops a tensor, allocates, records, reads and trims. Then repeats `act`
/// until the callback has run.
fn callback_during(what: &str, pool: Pool, act: impl Fn(&Pool) + Send + 'static) {
    watchdog::guarded(what, move || {
        let (sender, receiver) = mpsc::channel();
        let dropped = Tensor::full(&pool, [1000], 1.0_f32).expect("there is room");
        let kept = Tensor::full(&pool, [1000], 2.0_f32).expect("there is room");
        pool.submit().expect("the device works");
        let inside = pool.clone();
        pool.memory().queue().on_submitted_work_done(move || {
            drop(dropped);
            let sum = kept.add(&kept).expect("a callback may record");
            let found = sum.read_blocking::<f32>().expect("a callback may read");
            let upload = Tensor::from_slice(&inside, &[5.0_f32; 10], [10]).expect("a callback may upload");
            inside.submit().expect("a callback may submit");
            inside.trim();
            inside.synchronize_blocking().expect("a callback may wait");
            let same = upload.read_blocking::<f32>().expect("a callback may read again");
            sender.send((found, same)).expect("the test waits");
        });
        let start = Instant::now();
        let (found, same) = loop {
            act(&pool);
            match receiver.try_recv() {
                Ok(found) => break found,
                Err(_) => assert!(start.elapsed() < watchdog::DEADLOCK, "the callback never came"),
            }
        };
        assert_eq!((found, same), (vec![4.0; 1000], vec![5.0; 10]));
        pool.check().expect("the invariants hold");
        pool.memory().check().expect("the device works");
    });
}

/// Records and submits a command, so that `submit` has work to do.
fn submit_something(pool: &Pool) {
    Tensor::full(pool, [10], 3.0_f32)
        .expect("there is room")
        .storage()
        .expect("one block")
        .clear()
        .expect("it can be recorded");
    pool.submit().expect("the device works");
}

#[test]
fn a_callback_inside_submit_may_use_the_pool() {
    let Some(pool) = adapter::fresh() else { return };
    callback_during("a callback inside submit", pool, submit_something);
}

/// The preparation of a step's arena submits, so callbacks run inside.
#[test]
fn a_callback_inside_a_step_may_ask_for_the_counts_of_the_step() {
    let Some(pool) = adapter::fresh() else { return };
    watchdog::guarded("a callback inside the preparation of a step", move || {
        let step = Arc::new(pool.repeat(RepeatOptions::default()));
        let body = || drop((pool.allocate(3 << 20), pool.allocate(2 << 20)));
        step.run(body).expect("no step is inside another");
        step.run(body).expect("no step is inside another");
        for round in 0..3 {
            // The arena is created again, and something is submitted before.
            pool.trim();
            submit_something(&pool);
            pool.synchronize_blocking().expect("the device works");
            let block = pool.allocate(1 << 10).expect("there is room");
            let (sender, receiver) = mpsc::channel();
            let inside = Arc::clone(&step);
            pool.memory().queue().on_submitted_work_done(move || {
                let refused = inside.run(|| ()).is_err();
                sender.send((inside.stats().runs, refused)).expect("the test waits");
            });
            block.clear().expect("it can be recorded");
            step.run(body).expect("no step is inside another");
            let found = receiver.recv_timeout(watchdog::DEADLOCK).expect("the step submitted");
            assert_eq!(found, (2 + round, true), "the run before was the last that has ended");
        }
        assert_eq!(step.stats().agreeing, 4);
    });
}

#[test]
fn a_callback_inside_the_applications_poll_may_use_the_pool() {
    let Some(pool) = adapter::fresh() else { return };
    callback_during("a callback inside poll", pool, |pool| {
        pool.memory().device().poll(wgpu::PollType::wait_indefinitely()).expect("the device works");
    });
}

#[test]
fn a_callback_inside_a_blocking_read_may_use_the_pool() {
    let Some(pool) = adapter::fresh() else { return };
    callback_during("a callback inside a read", pool, |pool| {
        let tensor = Tensor::full(pool, [10], 3.0_f32).expect("there is room");
        assert_eq!(tensor.read_blocking::<f32>().expect("it can be read"), [3.0; 10]);
    });
}

#[test]
fn a_callback_inside_an_awaited_read_may_use_the_pool() {
    let Some(pool) = adapter::fresh() else { return };
    callback_during("a callback inside an awaited read", pool, |pool| {
        let tensor = Tensor::full(pool, [10], 3.0_f32).expect("there is room");
        assert_eq!(pollster::block_on(tensor.read::<f32>()).expect("it can be read"), [3.0; 10]);
    });
}

#[test]
fn a_callback_inside_trim_and_synchronize_may_use_the_pool() {
    let Some(pool) = adapter::fresh() else { return };
    callback_during("a callback inside synchronize", pool, |pool| {
        pool.trim();
        pool.synchronize_blocking().expect("the device works");
    });
}

/// At the limit an allocation waits for the device, and thereby runs callbacks.
#[test]
fn a_callback_inside_an_allocation_at_the_limit_may_use_the_pool() {
    let Some(pool) = adapter::open(PoolOptions { limit: Some(24 << 20), ..crate::common::options() }) else { return };
    if !adapter::holds(&pool, 24 << 20) {
        return;
    }
    callback_during("a callback inside an allocation", pool, |pool| {
        let idle = pool.allocate(8 << 20).expect("it fits");
        idle.clear().expect("it can be recorded");
        drop(idle);
        // Waits for the idle segment to be freed; whether the request then fits depends on the callback.
        drop(pool.allocate(24 << 20));
    });
}

/// The submission thread is inside of a submission, in a callback that waits.
#[test]
fn a_trim_does_not_wait_for_a_callback_on_another_thread() -> Outcome {
    let (device, queue) = adapter::noop();
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    watchdog::guarded("a trim during a callback", move || {
        let small = pool.allocate(1024).expect("there is room");
        let large = pool.allocate(8 << 20).expect("there is room");
        let mut pending = 0;
        during_a_submission(&pool, &small, || {
            drop(large);
            let trimmed = pool.trim();
            assert_eq!((trimmed.segments, trimmed.freed), (1, 0));
            assert!(trimmed.pending >= 8 << 20);
            pending = trimmed.pending;
        });
        pool.synchronize_blocking().expect("the device works");
        assert_eq!(pool.trim().freed, pending);
    });
    Ok(())
}

#[test]
fn a_map_callback_of_the_applications_buffer_may_use_the_pool() {
    let Some(pool) = adapter::fresh() else { return };
    watchdog::guarded("a map callback", move || {
        let (sender, receiver) = mpsc::channel();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: None, size: 400, usage, mapped_at_creation: false };
        let buffer = pool.memory().device().create_buffer(&descriptor);
        let tensor = Tensor::full(&pool, [100], 6.0_f32).expect("there is room");
        let pinned = tensor.binding().expect("the device works");
        let mut encoder = pool.memory().device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let binding = pinned.binding();
        encoder.copy_buffer_to_buffer(binding.buffer, binding.offset, &buffer, 0, 400);
        pool.memory().queue().submit([encoder.finish()]);
        drop(pinned);
        let mapped = buffer.clone();
        buffer.map_async(wgpu::MapMode::Read, .., move |outcome| {
            outcome.expect("it can be mapped");
            let bytes = mapped.get_mapped_range(..).expect("it is mapped").to_vec();
            let twice = tensor.add(&tensor).expect("a callback may record");
            drop(tensor);
            sender.send((bytes, twice.read_blocking::<f32>())).expect("the test waits");
        });
        let start = Instant::now();
        let (bytes, twice) = loop {
            submit_something(&pool);
            match receiver.try_recv() {
                Ok(found) => break found,
                Err(_) => assert!(start.elapsed() < watchdog::DEADLOCK, "the callback never came"),
            }
        };
        assert_eq!(bytes, bytemuck::cast_slice::<f32, u8>(&[6.0; 100]));
        assert_eq!(twice.expect("it can be read"), [12.0; 100]);
    });
}

/// Callbacks on two threads at once, each of which reads data.
#[test]
fn callbacks_that_read_on_several_threads_do_not_wait_for_each_other() {
    let Some(pool) = adapter::fresh() else { return };
    watchdog::guarded("callbacks on several threads", move || {
        std::thread::scope(|scope| {
            for thread in 0..3_u32 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..20 {
                        let (sender, receiver) = mpsc::channel();
                        let tensor = Tensor::full(pool, [50], thread * 100 + round).expect("there is room");
                        pool.submit().expect("the device works");
                        pool.memory().queue().on_submitted_work_done(move || {
                            let found = tensor.add(1_u32).and_then(|tensor| tensor.read_blocking::<u32>());
                            sender.send(found).expect("the test waits");
                        });
                        let other = Tensor::zeros(pool, [10], DType::U32).expect("there is room");
                        let found = loop {
                            assert_eq!(other.read_blocking::<u32>().expect("it can be read"), [0; 10]);
                            if let Ok(found) = receiver.try_recv() {
                                break found;
                            }
                        };
                        assert_eq!(found.expect("it can be read"), [thread * 100 + round + 1; 50]);
                    }
                });
            }
        });
    });
}

#[test]
fn a_pool_can_be_dropped_inside_a_callback_without_a_deadlock() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let device = pool.memory().device().clone();
    watchdog::guarded("a pool dropped inside a callback", move || {
        let (sender, receiver) = mpsc::channel();
        let tensor = Tensor::full(&pool, [1000], 1.0_f32).expect("there is room");
        pool.submit().expect("the device works");
        let queue = pool.memory().queue().clone();
        queue.on_submitted_work_done(move || {
            drop(tensor);
            drop(pool);
            sender.send(()).expect("the test waits");
        });
        device.poll(wgpu::PollType::wait_indefinitely()).expect("the device works");
        receiver.recv_timeout(watchdog::DEADLOCK).expect("the callback came");
    });
    Ok(())
}
