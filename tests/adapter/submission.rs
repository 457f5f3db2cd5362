//! The submission queue, as seen by an application: what is released without a further call, and the effects of
//! callbacks, errors and panics of the application.

use crate::common::{Outcome, adapter, watchdog};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use wgpu_pool::{DType, DeviceResources, DeviceStatus, MemoryPressure, Pool, Storage, Tensor};

pub(super) const MIB: u64 = 1 << 20;
/// The largest block of these tests.
pub(super) const LARGE: u64 = 64 * MIB;

fn noop() -> Pool {
    let (device, queue) = adapter::noop();
    Pool::from_device(device, queue, crate::common::options()).expect("the options suit every device")
}

/// Every kind of device: without a driver, opened by the pool, created by the application, and on GL.
pub(super) fn pools() -> Vec<Pool> {
    let gl = adapter::fresh_gl();
    let pools = [noop()].into_iter().chain(adapter::fresh()).chain(adapter::foreign_pool()).chain(gl);
    pools.filter(|pool| adapter::holds(pool, LARGE)).collect()
}

/// Polls the device, as an application does, until a condition holds.
fn until(pool: &Pool, what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < watchdog::DEADLOCK, "{what}: it never came");
        pool.memory().device().poll(wgpu::PollType::Poll).expect("a poll does not wait");
        std::thread::yield_now();
    }
}

/// The bytes of segments that the driver holds or that are not yet destroyed.
fn held(pool: &Pool) -> u64 {
    pool.memory().reclaim().pending
}

/// Calls `act` while the submission thread is inside of a submission, in a callback that waits until `act` has returned.
pub(super) fn during_a_submission(pool: &Pool, used: &Storage, act: impl FnOnce()) {
    let ((arrived, arrival), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    pool.memory().queue().on_submitted_work_done(move || {
        arrived.send(()).expect("the test listens");
        may_go_on.recv().expect("the test goes on");
    });
    // Enough for the pool to submit on its own, which happens on the submission thread.
    for _ in 0..16 {
        used.clear().expect("it can be recorded");
    }
    arrival.recv_timeout(watchdog::DEADLOCK).expect("the batch is submitted");
    act();
    go_on.send(()).expect("the callback waits");
}

// Case 58.
#[test]
fn a_trim_while_the_submission_thread_is_busy_completes_without_a_further_call() {
    let pool = noop();
    watchdog::guarded("a trim during a submission", move || {
        let (small, large) = (pool.allocate(1024).expect("it fits"), pool.allocate(8 * MIB).expect("it fits"));
        during_a_submission(&pool, &small, || {
            drop(large);
            let trimmed = pool.trim();
            assert_eq!((trimmed.segments, trimmed.freed), (1, 0));
        });
        until(&pool, "the segment is destroyed", || held(&pool) == 0);
    });
}

/// Compaction, alone and as the response to a memory warning, packs a block into a new segment and releases the old one.
#[test]
fn compaction_does_not_wait_for_a_thread_that_submits() {
    let compact: fn(&Pool) -> usize = |pool| pool.compact().expect("the device works").moves;
    let respond: fn(&Pool) -> usize = |pool| {
        let relief = pool.pressure(MemoryPressure::Critical).expect("the device works");
        relief.compacted.moves
    };
    for act in [compact, respond] {
        let pool = noop();
        watchdog::guarded("a compaction during a submission", move || {
            drop(pool.allocate(LARGE).expect("it fits"));
            let block = pool.allocate(8 * MIB).expect("it fits");
            assert_eq!(pool.stats().reserved.current, LARGE, "the block is in the large segment");
            during_a_submission(&pool, &block, || {
                assert_eq!(act(&pool), 1);
                assert!(pool.stats().reserved.current < LARGE, "the emptied segment is released");
            });
            until(&pool, "the segment is destroyed", || held(&pool) == 0);
        });
    }
}

/// The program records, drops and trims, and makes no further call.
#[test]
fn dropped_and_trimmed_memory_is_released_without_a_further_call() {
    for pool in pools() {
        watchdog::guarded("work, then a trim", move || {
            for _ in 0..5 {
                let large = Tensor::full(&pool, [4 << 20], 1.0_f32).expect("there is room");
                let tiny = Tensor::full(&pool, [256], 1.0_f32).expect("there is room");
                for _ in 0..300 {
                    tiny.add(1.0_f32).expect("it can be recorded");
                }
                drop((large, tiny));
                assert!(pool.trim().segments > 0);
                until(&pool, "the segments are destroyed", || held(&pool) == 0);
            }
        });
    }
}

// Case 59.
/// An error in a callback that runs inside the pool's submission or poll.
#[test]
fn an_error_of_the_applications_callback_reaches_only_the_applications_handler() {
    let acts: [fn(&Pool); 4] = [
        |pool| {
            pool.allocate(1024).and_then(|storage| Ok(storage.clear()?)).expect("it can be recorded");
            pool.submit().expect("the error is not the pool's");
        },
        |pool| pool.synchronize_blocking().expect("the error is not the pool's"),
        |pool| {
            let x = Tensor::zeros(pool, [10], DType::F32).expect("there is room");
            assert_eq!(x.read_blocking::<f32>().expect("the error is not the pool's"), [0.0; 10]);
        },
        |pool| {
            // Submitted by the submission thread.
            let x = Tensor::zeros(pool, [10], DType::F32).expect("there is room");
            for _ in 0..200 {
                x.storage().expect("one block").clear().expect("the error is not the pool's");
            }
        },
    ];
    for pool in pools() {
        watchdog::guarded("an error in a callback", move || {
            for act in acts {
                let device = pool.memory().device().clone();
                let seen = Arc::new(AtomicUsize::new(0));
                let count = Arc::clone(&seen);
                device.on_uncaptured_error(Arc::new(move |_| {
                    count.fetch_add(1, Ordering::Relaxed);
                }));
                let done = Arc::new(AtomicUsize::new(0));
                let note = Arc::clone(&done);
                pool.memory().queue().on_submitted_work_done(move || {
                    // Maps a size that is not a multiple of four, which is an error.
                    let usage = wgpu::BufferUsages::COPY_DST;
                    let bad = wgpu::BufferDescriptor { label: Some("bad"), size: 6, usage, mapped_at_creation: true };
                    drop(device.create_buffer(&bad));
                    note.fetch_add(1, Ordering::Release);
                });
                act(&pool);
                until(&pool, "the callback", || done.load(Ordering::Acquire) == 1);
                assert_eq!(seen.load(Ordering::Relaxed), 1, "the application's handler was not told");
                assert_eq!((pool.memory().check(), pool.fault()), (Ok(()), None));
                pool.allocate(LARGE).expect("the pool works");
            }
        });
    }
}

// Case 59.
/// wgpu drops the callbacks after one that panics, including those of reads.
#[test]
fn a_panic_in_a_callback_on_the_poller_thread_ends_no_read() {
    for pool in pools() {
        watchdog::guarded("a panic on the poller thread", move || {
            let x = Tensor::from_slice(&pool, &[3_u32; 1000], [1000]).expect("there is room");
            let await_read = |x: &Tensor| pollster::block_on(x.read::<u32>()).expect("it can be read");
            for _ in 0..3 {
                let mut first = Box::pin(x.read::<u32>());
                let is_pending = first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
                // The callback runs on the poller thread, unless the read has already completed and no thread polls.
                let called = Arc::new(AtomicUsize::new(0));
                let note = Arc::clone(&called);
                pool.memory().queue().on_submitted_work_done(move || {
                    note.fetch_add(1, Ordering::Release);
                    panic!("a callback of the application, on purpose");
                });
                std::thread::sleep(Duration::from_millis(20));
                if is_pending {
                    assert_eq!(pollster::block_on(first).expect("it can be read"), [3; 1000]);
                } else {
                    drop(first);
                }
                // The panic may occur on this thread only.
                while called.load(Ordering::Acquire) == 0 {
                    let device = pool.memory().device();
                    let poll = std::panic::AssertUnwindSafe(|| device.poll(wgpu::PollType::Poll));
                    drop(std::panic::catch_unwind(poll));
                }
                assert_eq!(await_read(&x), [3; 1000]);
                assert_eq!(x.read_blocking::<u32>().expect("it can be read"), [3; 1000]);
            }
        });
    }
}

/// The products of 512 × 512 matrices that keep the slowest device busy, and those that no device computes within [`LEAST_WAIT`].
const LEAST_WORK: usize = 8;
const MOST_WORK: usize = 1 << 16;
/// The shortest wait in `poll` against which a trim is compared.
const LEAST_WAIT: Duration = Duration::from_millis(25);

/// Destroying a wgpu buffer waits for every thread inside `poll`, and so would a trim that destroys buffers.
#[test]
fn a_trim_does_not_wait_for_a_thread_that_polls() {
    let Some(pool) = adapter::fresh().filter(|pool| adapter::holds(pool, 16 * MIB)) else { return };
    watchdog::guarded("a trim during a poll", move || {
        let a = Tensor::randn(&pool, [512, 512], 1).expect("there is room");
        a.matmul(&a).expect("it can be recorded");
        pool.synchronize_blocking().expect("the device works");
        let (mut rounds, mut work) = (0, LEAST_WORK);
        while work <= MOST_WORK {
            drop(pool.allocate(16 * MIB).expect("it fits"));
            let recording = Instant::now();
            for _ in 0..work {
                a.matmul(&a).expect("it can be recorded");
            }
            pool.submit().expect("the device works");
            let recorded = recording.elapsed();
            let device = pool.memory().device().clone();
            let polling = std::thread::spawn(move || {
                let start = Instant::now();
                device.poll(wgpu::PollType::wait_indefinitely()).expect("the device works");
                [start, Instant::now()]
            });
            std::thread::sleep(Duration::from_millis(5));
            let begun = Instant::now();
            pool.trim();
            let trimmed = Instant::now();
            let [start, polled] = polling.join().expect("polling does not panic");
            // A short wait proves nothing. The next round gives a fast device more to do.
            if polled - start <= LEAST_WAIT {
                if recorded > 40 * LEAST_WAIT {
                    eprintln!(
                        "no verdict: the device computes {work} products while they are submitted, within {recorded:?}"
                    );
                    return;
                }
                work *= 2;
                continue;
            }
            if polled > trimmed && polled - trimmed > trimmed - begun {
                return;
            }
            // A busy machine delays the trims of some rounds.
            rounds += 1;
            assert!(rounds < 50, "each of {rounds} trims took about as long as the other thread's wait");
        }
        eprintln!("no verdict: the device computes {MOST_WORK} products within {LEAST_WAIT:?}");
    });
}

#[test]
fn a_loop_that_submits_each_step_without_reading_uses_bounded_memory() {
    for pool in pools() {
        watchdog::guarded("an infinite loop", move || {
            let x = Tensor::zeros(&pool, [256 << 10], DType::F32).expect("there is room");
            let bytes = vec![1_u8; 1 << 20];
            for _ in 0..150 {
                x.storage().expect("one block").write(0, &bytes).expect("it can be recorded");
                pool.submit().expect("the device works");
                // 32 batches of 1 MiB, and the buffers that are kept for reuse.
                let own = pool.memory().driver_holdings().map_or(0, |holdings| holdings.own);
                assert!(own <= 48 * MIB, "{own} bytes of staging");
            }
        });
    }
}

#[test]
fn a_fault_is_reported_cleared_and_distinguished_from_the_next() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let broken = |pool: &Pool| -> Outcome {
        let storage = pool.allocate(1024)?;
        let pinned = storage.pin()?;
        // The application destroys a buffer of the pool.
        pinned.binding().buffer.destroy();
        drop(pinned);
        assert!(storage.clear().and_then(|()| pool.submit()).is_err());
        Ok(())
    };
    assert_eq!(pool.fault(), None);
    broken(&pool)?;
    let first = pool.fault().expect("a batch failed");
    assert_eq!(pool.submit(), Err(first.error.clone()));
    assert!(pool.allocate(1).is_err());
    assert_eq!(pool.clear_fault(), Some(first.clone()));
    assert_eq!((pool.fault(), pool.submit()), (None, Ok(())));
    // Trimming releases the segment of the destroyed buffer.
    pool.trim();
    assert_eq!(Tensor::full(&pool, [10], 2.0_f32)?.read_blocking::<f32>()?, [2.0; 10]);
    broken(&pool)?;
    assert!(pool.fault().is_some_and(|second| second.number > first.number));
    Ok(())
}

#[test]
fn staging_and_readback_memory_that_commands_use_is_reported() -> Outcome {
    for pool in pools() {
        let found = |name: &str| pool.caches().into_iter().find(|cache| cache.name == name).expect("it is listed");
        let in_use = |name: &str| found(name).in_use.expect("it is counted");
        let shown = || pool.report().to_string().matches("\n    in use by commands ").count();
        // The buffers return when their callbacks run, in a browser while the stack is suspended. Browsers have no clock.
        let until_idle = || {
            let is_idle = (0..10_000).any(|_| {
                pool.synchronize_blocking().expect("the device works");
                in_use("staging buffers") == 0
            });
            assert!(is_idle, "{}", pool.report());
        };
        let storage = pool.allocate(MIB)?;
        until_idle();
        assert_eq!((in_use("readback buffers"), shown()), (0, 0));

        let download = pool.download(2 * MIB)?;
        // The device may finish with a write before the report is taken.
        let is_shown = (0..100).any(|_| {
            storage.write(0, &[1; 40_000]).expect("it can be recorded");
            shown() == 2
        });
        assert!(is_shown, "{}", pool.report());
        assert_eq!(in_use("readback buffers"), 2 * MIB);
        drop(download);
        assert_eq!(in_use("readback buffers"), 0);

        // What the device has finished with is idle, and is then freed.
        until_idle();
        let idle = found("staging buffers").bytes.expect("it is known");
        assert!((40_000..=8 * MIB).contains(&idle), "{idle} bytes are kept");
        pool.clear_caches();
        assert_eq!((found("staging buffers").bytes, in_use("staging buffers")), (Some(0), 0));
    }
    Ok(())
}
