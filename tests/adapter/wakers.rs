//! Tasks that await reads: a waker is code of the application, and may call the pool. It is cloned, called and dropped while no lock is held.

use crate::common::watchdog;
use crate::submission::{LARGE, MIB, pools};
use std::future::Future;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};
use wgpu_pool::{AllocateError, DType, DeviceError, Memory, Pool, Tensor, TensorError};

/// A task that uses the pool as soon as it is woken, on the thread that wakes it.
struct UsesPool {
    pool: Pool,
    woken: mpsc::Sender<()>,
}

impl Wake for UsesPool {
    fn wake(self: Arc<Self>) {
        drop(self.pool.allocate(4 * MIB));
        drop(self.pool.submit());
        self.pool.trim();
        self.woken.send(()).expect("the test listens");
    }
}

/// A task that awaits another read as soon as it is woken on the thread that polls.
struct Reads {
    x: Tensor,
    woken: mpsc::Sender<Option<Vec<u32>>>,
}

impl Wake for Reads {
    fn wake(self: Arc<Self>) {
        let is_poller = std::thread::current().name() == Some("wgpu-pool poller");
        let read = is_poller.then(|| pollster::block_on(self.x.read::<u32>()).expect("the device works"));
        self.woken.send(read).expect("the test listens");
    }
}

#[test]
fn a_read_can_be_awaited_on_the_thread_that_polls() {
    for pool in pools() {
        watchdog::guarded("a read on the thread that polls", move || {
            let x = Tensor::full(&pool, [1000], 7_u32).expect("there is room");
            // A device without a driver fills nothing.
            let filled = x.read_blocking::<u32>().expect("the device works");
            for _ in 0..1000 {
                let (woken, is_woken) = mpsc::channel();
                let waker = Waker::from(Arc::new(Reads { x: x.clone(), woken }));
                let mut read = Box::pin(x.read::<u32>());
                if read.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    continue;
                }
                if let Some(inside) = is_woken.recv().expect("the read ends") {
                    assert_eq!(inside, filled);
                    return;
                }
            }
            eprintln!("skipped: none of 1,000 reads ended on the thread that polls");
        });
    }
}

/// Keeps the poller thread, which must be polling, in a callback until told to go on.
fn hold_the_poller(queue: &wgpu::Queue, arrived: mpsc::Sender<()>, may_go_on: mpsc::Receiver<()>) {
    let again = queue.clone();
    queue.on_submitted_work_done(move || {
        if std::thread::current().name() == Some("wgpu-pool poller") {
            arrived.send(()).expect("the test listens");
            may_go_on.recv().expect("the test goes on");
        } else {
            hold_the_poller(&again, arrived, may_go_on);
        }
    });
}

/// Calls `act` while the poller thread is in a callback, so that no read ends.
fn while_nothing_polls(pool: &Pool, x: &Tensor, act: impl FnOnce()) {
    let ((arrived, arrival), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    hold_the_poller(pool.memory().queue(), arrived, may_go_on);
    let mut reads = Vec::new();
    let start = Instant::now();
    // The thread polls for each read until that has ended.
    while arrival.recv_timeout(Duration::from_millis(1)).is_err() {
        let mut read = Box::pin(x.read::<u32>());
        if read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            reads.push(read);
        }
        assert!(start.elapsed() < watchdog::DEADLOCK, "the thread polls while a read is pending");
    }
    act();
    go_on.send(()).expect("the callback waits");
}

/// All but GL, where a callback on the poller thread has the context, for which other threads wait.
fn pools_without_gl() -> Vec<Pool> {
    let is_gl = |pool: &Pool| pool.memory().adapter_info().backend == wgpu::Backend::Gl;
    pools().into_iter().filter(|pool| !is_gl(pool)).collect()
}

/// A call that fails because the device is lost holds locks, and a waker may call the pool.
#[test]
fn a_call_that_notices_a_loss_wakes_no_task_inside() {
    for pool in pools_without_gl() {
        watchdog::guarded("a loss while a read is pending", move || {
            let x = Tensor::from_slice(&pool, &[3_u32; 1000], [1000]).expect("there is room");
            let storage = pool.allocate(100).expect("there is room");
            let mut read = Box::pin(x.read::<u32>());
            let (sender, woken) = mpsc::channel();
            let waker = Waker::from(Arc::new(UsesPool { pool: pool.clone(), woken: sender }));
            while_nothing_polls(&pool, &x, || {
                assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "nothing polls");
                pool.memory().device().destroy();
                assert!(woken.try_recv().is_err(), "a call has to notice the loss");
                // Some of these fail with the recorder locked, others while they create a segment.
                while storage.write(0, &[1; 100]).is_ok() {}
                let refused = pool.allocate(LARGE);
                assert!(matches!(refused, Err(AllocateError::Device(DeviceError::Lost { .. }))), "{refused:?}");
            });
            woken.recv_timeout(watchdog::DEADLOCK).expect("the loss wakes the read");
            let read = pollster::block_on(read);
            assert!(matches!(read, Err(TensorError::Device(DeviceError::Lost { .. }))), "{read:?}");
        });
    }
}

/// wgpu calls the device-lost callback inside of the call that notices the loss, which may be made with locks held. A device-lost callback
/// tells the pool.
#[test]
fn a_loss_that_is_told_while_locks_are_held_wakes_the_read_later() {
    for pool in pools_without_gl() {
        watchdog::guarded("a loss that is told inside a call", move || {
            let x = Tensor::from_slice(&pool, &[3_u32; 1000], [1000]).expect("there is room");
            let mut read = Box::pin(x.read::<u32>());
            let (sender, woken) = mpsc::channel();
            let waker = Waker::from(Arc::new(UsesPool { pool: pool.clone(), woken: sender }));
            while_nothing_polls(&pool, &x, || {
                assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "nothing polls");
                let recording = pool.memory().commands();
                pool.memory().notify_lost("inside a call");
                drop(recording);
            });
            woken.recv_timeout(watchdog::DEADLOCK).expect("the loss wakes the read");
            let read = pollster::block_on(read);
            let lost = DeviceError::Lost { reason: "inside a call".into() };
            assert!(matches!(&read, Err(TensorError::Device(error)) if *error == lost), "{read:?}");
        });
    }
}

/// A task that owns a tensor.
struct OwnsTensor(#[expect(dead_code, reason = "it is dropped")] Tensor);

impl Wake for OwnsTensor {
    fn wake(self: Arc<Self>) {}
}

/// A read keeps the waker of the task that polled it last.
#[test]
fn a_waker_that_owns_tensors_is_dropped_without_locks() {
    for pool in pools_without_gl() {
        watchdog::guarded("a read that two tasks poll", move || {
            let x = Tensor::from_slice(&pool, &[3_u32; 1000], [1000]).expect("there is room");
            let owned = Tensor::zeros(&pool, [1000], DType::F32).expect("there is room");
            let mut read = Box::pin(x.read::<u32>());
            while_nothing_polls(&pool, &x, || {
                let waker = Waker::from(Arc::new(OwnsTensor(owned)));
                assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "nothing polls");
                drop(waker);
                let before = pool.stats().active.current;
                assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "nothing polls");
                assert!(pool.stats().active.current < before, "the read had the last reference");
            });
            assert_eq!(pollster::block_on(read).expect("it can be read"), [3; 1000]);
        });
    }
}
