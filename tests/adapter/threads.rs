//! Many threads that share one device.

use crate::common::{Outcome, adapter, watchdog};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use wgpu_pool::{
    AccountingMemory, AllocateError, DType, Download, Gpu, HostMemory, Kernel, KernelError, OpenError, OptionsError,
    Pinned, Pool, Storage, Tensor, TensorError,
};

fn is_send_and_sync<T: Send + Sync + 'static>() {}

/// A compile-time test.
#[test]
fn handles_and_errors_can_be_sent_between_threads() {
    is_send_and_sync::<Pool>();
    is_send_and_sync::<Pool<HostMemory>>();
    is_send_and_sync::<Pool<AccountingMemory>>();
    is_send_and_sync::<Storage>();
    is_send_and_sync::<Storage<HostMemory>>();
    is_send_and_sync::<Tensor>();
    is_send_and_sync::<Kernel>();
    is_send_and_sync::<Pinned>();
    is_send_and_sync::<Gpu>();
    is_send_and_sync::<Download<Gpu>>();
    is_send_and_sync::<AllocateError>();
    is_send_and_sync::<KernelError>();
    is_send_and_sync::<OptionsError>();
    is_send_and_sync::<OpenError>();
    is_send_and_sync::<wgpu_pool::Error>();
    is_send_and_sync::<TensorError>();
}

fn is_send<T: Send>(future: T) -> T {
    future
}

#[test]
fn threads_that_record_at_once_each_get_their_own_results() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let seen = pool.clone();
    watchdog::guarded("threads that record", move || {
        let shared = Tensor::full(&pool, [500], 2_u32).expect("there is room");
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let (pool, shared) = (&pool, &shared);
                scope.spawn(move || {
                    for round in 0..10 {
                        let mut x = Tensor::full(pool, [500], thread).expect("there is room");
                        for _ in 0..30 {
                            x = x.add(shared).expect("it can be recorded");
                        }
                        let found = x.read_blocking::<u32>().expect("it can be read");
                        assert_eq!(found, [thread + 60; 500], "thread {thread}, round {round}");
                    }
                });
            }
        });
    });
    seen.check()?;
    assert_eq!(seen.stats().blocks.current, 0);
    Ok(())
}

#[test]
fn reads_are_awaited_on_one_thread_while_another_records() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    watchdog::guarded("awaited reads", move || {
        std::thread::scope(|scope| {
            let pool = &pool;
            for thread in 0..2_u32 {
                scope.spawn(move || {
                    for round in 0..30 {
                        let x = Tensor::full(pool, [100], thread * 1000 + round).expect("there is room");
                        let found = pollster::block_on(is_send(x.read::<u32>())).expect("it can be read");
                        assert_eq!(found, [thread * 1000 + round; 100]);
                    }
                });
            }
            scope.spawn(move || {
                let x = Tensor::zeros(pool, [1000], DType::U32).expect("there is room");
                let one = Tensor::full(pool, [1000], 1_u32).expect("there is room");
                for _ in 0..2000 {
                    x.add_(&one).expect("it can be recorded");
                }
                assert_eq!(x.read_blocking::<u32>().expect("it can be read"), [2000; 1000]);
            });
            scope.spawn(move || {
                for _ in 0..50 {
                    drop(Tensor::zeros(pool, [600_000], DType::F32).expect("there is room"));
                    pool.trim();
                }
            });
        });
    });
    Ok(())
}

/// Repeated waits while the device is busy: none may return early, or panic within wgpu.
#[test]
fn waits_on_several_threads_end_when_the_device_is_done() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    watchdog::guarded("waits on several threads", move || {
        let x = Tensor::full(&pool, [300, 300], 1.0_f32).expect("there is room");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..25 {
                        let product = x.matmul(&x).expect("it can be recorded");
                        if round % 3 == 0 {
                            pool.synchronize_blocking().expect("the device works");
                        }
                        assert_eq!(product.read_blocking::<f32>().expect("it can be read"), [300.0; 90_000]);
                    }
                });
            }
        });
    });
    Ok(())
}

/// Another thread's poll may run the callback of a read; the read completes nevertheless.
#[test]
fn reads_on_several_threads_all_complete() -> Outcome {
    let (device, queue) = adapter::noop();
    let embedded = Pool::from_device(device, queue, crate::common::options())?;
    for pool in [embedded].into_iter().chain(adapter::fresh()) {
        watchdog::guarded("reads on several threads", move || {
            std::thread::scope(|scope| {
                for thread in 0..4_u32 {
                    let pool = &pool;
                    scope.spawn(move || {
                        let x = Tensor::from_slice(pool, &[thread; 10], [10]).expect("there is room");
                        for round in 0..300 {
                            let found = x.read_blocking::<u32>();
                            assert_eq!(found, Ok(vec![thread; 10]), "thread {thread}, round {round}");
                        }
                    });
                }
            });
        });
    }
    Ok(())
}

/// Dropped before and after the first poll.
#[test]
fn dropping_a_pending_read_has_no_effect() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    watchdog::guarded("reads that are given up", move || {
        let x = Tensor::full(&pool, [1000], 1_u32).expect("there is room");
        for _ in 0..20 {
            drop(x.read::<u32>());
            let mut read = Box::pin(x.read::<u32>());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            drop(read.as_mut().poll(&mut context).map(|outcome| outcome.expect("it can be read")));
            drop(read);
            x.add_(&x).expect("it can be recorded");
        }
        assert_eq!(x.read_blocking::<u32>().expect("it can be read"), [1 << 20; 1000]);
    });
    Ok(())
}

/// A kernel that a software driver compiles for seconds. It doubles the elements.
fn long_kernel(number: usize) -> String {
    let steps: String = (0..200).map(|step| format!("y = select(y, sin(y) + {step}.0, y > {number}.5e9);\n")).collect();
    format!(
        "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
         @compute @workgroup_size(64)
         fn double(@builtin(global_invocation_id) id: vec3<u32>) {{
             var y = x[id.x];
             {steps}
             x[id.x] = 2.0 * y;
         }}"
    )
}

// On GL wgpu panics in a thread that waits for another for more than a second.
#[test]
fn threads_on_gl_wait_for_each_other_however_long_a_kernel_is_compiled() {
    let Some(pool) = adapter::fresh_gl() else {
        return;
    };
    watchdog::guarded("threads on GL", move || {
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let pool = &pool;
                scope.spawn(move || {
                    let kernel = pool.kernel(&long_kernel(1 + thread), "double").expect("it is correct");
                    let x = Tensor::full(pool, [1 << 10], 1.0_f32).expect("there is room");
                    kernel.dispatch(&[&x], &[], [1 << 4, 1, 1]).expect("it can be recorded");
                    pool.submit().expect("the device works");
                    drop(kernel);
                    drop(pool.allocate(100 << 20).expect("there is room"));
                    pool.trim();
                    assert_eq!(x.read_blocking::<f32>().expect("it can be read"), vec![2.0; 1 << 10]);
                });
            }
        });
        pool.check().expect("the invariants hold");
        pool.memory().check().expect("the device works");
    });
}

/// The callbacks of one thread use the pool while other threads create segments and submit.
#[test]
fn callbacks_on_gl_may_use_the_pool_while_other_threads_do() {
    let Some(pool) = adapter::fresh_gl() else {
        return;
    };
    watchdog::guarded("callbacks on GL", move || {
        // A panic on a thread of the pool is caught.
        let ended = Arc::new(AtomicU32::new(0));
        std::thread::scope(|scope| {
            for thread in 0..3_u32 {
                let (pool, ended) = (&pool, &ended);
                scope.spawn(move || {
                    for round in 0..20_u64 {
                        let (inside, ended) = (pool.clone(), Arc::clone(ended));
                        pool.memory().queue().on_submitted_work_done(move || {
                            let x = Tensor::full(&inside, [1000], 1.0_f32).expect("there is room");
                            let wgsl =
                                format!("@compute @workgroup_size(1) fn f() {{ let x = {round}u + {thread}u; }}");
                            inside.kernel(&wgsl, "f").expect("it is correct");
                            drop(inside.allocate((8 << 20) + (round << 10)).expect("there is room"));
                            assert_eq!(x.read_blocking::<f32>().expect("it can be read"), [1.0; 1000]);
                            assert_eq!(pollster::block_on(x.read::<f32>()).expect("it can be read"), [1.0; 1000]);
                            pollster::block_on(inside.synchronize()).expect("the device works");
                            inside.trim();
                            ended.fetch_add(1, Ordering::Relaxed);
                        });
                        let x = Tensor::full(pool, [5000], thread).expect("there is room");
                        drop(pool.allocate((9 << 20) + (round << 12)).expect("there is room"));
                        pool.compact().expect("the device works");
                        assert_eq!(x.read_blocking::<u32>().expect("it can be read"), [thread; 5000]);
                    }
                });
            }
        });
        pool.synchronize_blocking().expect("the device works");
        pool.check().expect("the invariants hold");
        let device = pool.memory().device();
        // Another thread may still be in the last one.
        while device.poll(wgpu::PollType::wait_indefinitely()).is_ok() && ended.load(Ordering::Relaxed) < 60 {
            std::thread::yield_now();
        }
    });
}
