//! Tests of the queue on wgpu's no-op device: which thread hands over which item, and when. `tests/submission_model`
//! checks the interleavings of the core.

use super::wait::MAX_IN_FLIGHT;
use super::{Fault, MAX_RECORDED};
use crate::device::{Commands, DeviceStatus, Gpu, GpuSegment, Location, Memory, Submit, teardown};
use crate::error::DeviceError;
use crate::heap::{Heap, HeapOptions, SubPool};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

pub(super) type Tested = Result<(), Box<dyn std::error::Error>>;

/// A timeout far above the duration of any step here.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Program {
    pub(super) gpu: Gpu,
    place: Location<GpuSegment>,
}

impl Program {
    pub(super) fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::from_device(device, queue);
        let mut heap = Heap::new(HeapOptions { granule: 256, small_limit: 1 << 20 })?;
        let id = heap.add_segment(SubPool::Small, 256)?;
        let place = Location { id, segment: gpu.create_segment(256)?, offset: 0, size: 256 };
        Ok(Self { gpu, place })
    }

    /// Creates a program whose batches never become old.
    pub(super) fn without_age_limit() -> Result<Self, Box<dyn std::error::Error>> {
        let program = Self::new()?;
        program.gpu.submission.recorder().set_due_age(Duration::MAX);
        Ok(program)
    }

    pub(super) fn clear(&self) -> Result<(), DeviceError> {
        self.gpu.commands().clear(&self.place)
    }

    /// Records a batch and leaves it to the submission thread.
    fn batch(&self) -> Result<(), DeviceError> {
        self.clear()?;
        self.gpu.submit(Submit::Soon)
    }

    /// Calls `act` in a callback on the submission thread, during a submission.
    fn on_submission_thread(&self, act: impl FnOnce() + Send + 'static) -> Tested {
        let (arrived, arrival) = mpsc::channel();
        self.gpu.queue.on_submitted_work_done(move || {
            arrived.send(std::thread::current().name().map(str::to_owned)).expect("the receiver exists");
            act();
        });
        self.batch()?;
        assert_eq!(arrival.recv_timeout(TIMEOUT)?.as_deref(), Some("wgpu-pool submission"));
        Ok(())
    }

    /// Blocks the submission thread in a callback, during a submission, until a message is sent to the returned
    /// channel.
    pub(super) fn blocked_submission_thread(&self) -> Result<mpsc::Sender<()>, Box<dyn std::error::Error>> {
        let (unblock, unblocked) = mpsc::channel();
        self.on_submission_thread(move || unblocked.recv().expect("the test unblocks the thread"))?;
        Ok(unblock)
    }

    /// The number of batches waiting to be encoded, and of encoded batches.
    fn waiting(&self) -> [usize; 2] {
        self.gpu.submission.queue.waiting()
    }

    fn finished(&self) -> u64 {
        self.gpu.submission.fence().finished()
    }
}

/// Yields until `condition` holds.
pub(super) fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < TIMEOUT, "the condition did not become true within {TIMEOUT:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_program_far_ahead_of_the_submission_thread_encodes_batches_and_does_not_wait() -> Tested {
    let program = Program::without_age_limit()?;
    let unblock = program.blocked_submission_thread()?;
    for _ in 0..MAX_RECORDED + 5 {
        program.batch()?;
    }
    assert_eq!(program.waiting(), [MAX_RECORDED, 5]);
    unblock.send(())?;
    program.gpu.wait_blocking()?;
    assert_eq!(program.waiting(), [0, 0]);
    assert_eq!(program.finished(), MAX_RECORDED as u64 + 6);
    Ok(())
}

/// Checks that a loop of `submit` calls waits while the device finishes nothing.
fn assert_throttled(when: Submit) -> Tested {
    let program = Program::without_age_limit()?;
    let unblock = program.blocked_submission_thread()?;
    std::thread::scope(|scope| -> Tested {
        let submissions = scope.spawn(|| {
            (0..1000).try_for_each(|_| {
                program.clear()?;
                program.gpu.submit(when)
            })
        });
        // The blocked thread has already submitted its batch, so `submit` itself does not block on it.
        std::thread::sleep(Duration::from_millis(100));
        let recorded = program.gpu.submission.recorder().newest_batch();
        assert!(recorded <= MAX_IN_FLIGHT + 1, "{recorded} batches are recorded");
        unblock.send(())?;
        Ok(submissions.join().expect("the loop does not panic")?)
    })?;
    program.gpu.wait_blocking()?;
    assert_eq!(program.finished(), 1001);
    Ok(())
}

#[test]
fn a_program_that_leaves_batches_to_the_submission_thread_is_throttled() -> Tested {
    assert_throttled(Submit::Soon)
}

#[test]
fn a_program_that_submits_each_batch_is_throttled() -> Tested {
    assert_throttled(Submit::Now)
}

#[test]
fn an_old_batch_is_submitted_without_a_further_call() -> Tested {
    let program = Program::new()?;
    for round in 1..4 {
        program.clear()?;
        // The condition reads state only and hands no item over.
        until(|| program.gpu.submission.recorder().newest_batch() == round && program.waiting() == [0, 0]);
        // Long enough for the submission thread to stop checking.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn submitting_without_waiting_leaves_items_to_a_busy_submission_thread_which_finishes_them() -> Tested {
    let program = Program::without_age_limit()?;
    let unblock = program.blocked_submission_thread()?;
    let segment = program.gpu.create_segment(1 << 20)?;
    program.clear()?;
    program.gpu.commands().destroy(program.place.id, segment, 1 << 20);
    program.gpu.submit(Submit::WithoutWaiting)?;
    assert_eq!(program.waiting(), [1, 0]);
    assert_eq!(program.gpu.submission.reclaim().pending, 1 << 20);
    unblock.send(())?;
    // Only calls that read state. The no-op device finishes immediately and runs its callbacks when polled.
    until(|| {
        let _ = program.gpu.device.poll(wgpu::PollType::Poll);
        program.gpu.submission.reclaim().freed == 1 << 20
    });
    Ok(())
}

#[test]
fn a_destruction_at_the_front_of_the_queue_is_carried_out_at_once() -> Tested {
    let program = Program::without_age_limit()?;
    let segment = program.gpu.create_segment(1 << 20)?;
    program.gpu.commands().destroy(program.place.id, segment, 1 << 20);
    program.gpu.submit(Submit::WithoutWaiting)?;
    assert_eq!(program.gpu.reclaim().freed, 1 << 20);
    Ok(())
}

#[test]
fn a_thread_that_waits_for_the_submission_thread_encodes_batches() -> Tested {
    let program = Program::without_age_limit()?;
    // The thread is blocked before its batch counts as handed over.
    let unblock = program.blocked_submission_thread()?;
    for _ in 0..3 {
        program.batch()?;
    }
    assert_eq!(program.waiting(), [3, 0]);
    std::thread::scope(|scope| -> Tested {
        let waiting = scope.spawn(|| program.gpu.wait_blocking());
        until(|| program.waiting() == [0, 3] || program.waiting() == [0, 0]);
        unblock.send(())?;
        Ok(waiting.join().expect("waiting does not panic")?)
    })?;
    assert_eq!(program.finished(), 4);
    Ok(())
}

#[test]
fn a_panicking_callback_does_not_end_the_submission_thread() -> Tested {
    let program = Program::without_age_limit()?;
    for round in 1..4 {
        program.on_submission_thread(|| panic!("an intended panic in an application callback"))?;
        until(|| program.waiting() == [0, 0]);
        program.gpu.wait_blocking()?;
        assert_eq!(program.finished(), round);
    }
    assert_eq!(program.gpu.check(), Ok(()));
    Ok(())
}

/// wgpu drops the callbacks after a panicking callback without calling them.
#[test]
fn a_panicking_callback_on_the_callers_thread_unwinds_to_the_caller_and_leaves_the_queue_intact() -> Tested {
    let program = Program::without_age_limit()?;
    program.clear()?;
    program.gpu.submit(Submit::Now)?;
    program.gpu.queue.on_submitted_work_done(|| panic!("an intended panic in an application callback"));
    program.clear()?;
    let submit = std::panic::AssertUnwindSafe(|| program.gpu.submit(Submit::Now));
    let panic = std::panic::catch_unwind(submit).expect_err("the panic is the program's");
    assert_eq!(super::batch::message_of(&*panic), "an intended panic in an application callback");
    program.clear()?;
    program.gpu.wait_blocking()?;
    assert_eq!((program.finished(), program.gpu.check()), (3, Ok(())));
    Ok(())
}

#[test]
fn an_invalid_batch_is_a_fault_that_can_be_cleared() -> Tested {
    let program = Program::without_age_limit()?;
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    program.gpu.device.on_uncaptured_error(Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    for number in 1..3 {
        let destroyed = program.gpu.create_segment(256)?;
        destroyed.buffer().destroy();
        let place = Location { segment: destroyed, ..program.place.clone() };
        program.gpu.commands().clear(&place)?;
        let error = program.gpu.submit(Submit::Now).expect_err("the batch names a destroyed buffer");
        assert!(matches!(&error, DeviceError::Validation { message } if message.contains("destroyed")), "{error}");
        assert_eq!(program.clear(), Err(error.clone()));
        let fault = Fault { number, error };
        assert_eq!(program.gpu.fault(), Some(fault.clone()));
        assert_eq!(program.gpu.clear_fault(), Some(fault));
        program.clear()?;
        program.gpu.wait_blocking()?;
    }
    assert_eq!(seen.load(Ordering::Relaxed), 0, "the pool's error reached the application's handler");
    Ok(())
}

#[test]
fn dropping_the_memory_ends_the_submission_thread() -> Tested {
    let program = Program::new()?;
    for _ in 0..5 {
        program.batch()?;
    }
    let submission = Arc::downgrade(&program.gpu.submission);
    drop(program);
    assert!(submission.upgrade().is_none());
    Ok(())
}

#[test]
fn every_call_on_a_destroyed_device_returns_lost_without_a_notification() -> Tested {
    let lost = |error: &DeviceError| matches!(error, DeviceError::Lost { .. });
    type Call = fn(&Program) -> Result<(), DeviceError>;
    let calls: [Call; 5] = [
        |program| program.clear().and_then(|()| program.gpu.submit(Submit::Now)),
        |program| program.clear().and_then(|()| program.gpu.wait_blocking()),
        |program| program.gpu.create_segment(256).map(drop),
        |program| program.gpu.readback(256).and_then(|readback| program.gpu.collect_blocking(readback)).map(drop),
        |program| {
            let mut commands = program.gpu.commands();
            (0..4).try_for_each(|_| commands.write(&program.place, &[0; 256]))?;
            drop(commands);
            program.gpu.submit(Submit::Now)
        },
    ];
    for (number, call) in calls.iter().enumerate() {
        let program = Program::without_age_limit()?;
        program.gpu.device.destroy();
        let error = call(&program).expect_err("the device is destroyed");
        assert!(lost(&error), "call {number}: {error}");
        assert!(program.clear().is_err_and(|error| lost(&error)));
    }
    Ok(())
}

#[test]
fn submissions_and_polls_are_calls_that_the_destruction_of_a_device_waits_for() -> Tested {
    let program = teardown::assumed(Program::new)?;
    let (sender, receiver) = mpsc::channel();
    program.on_submission_thread({
        let sender = sender.clone();
        move || sender.send(teardown::calls_of_this_thread()).expect("the test waits")
    })?;
    assert_eq!(receiver.recv_timeout(TIMEOUT)?, 1);
    program.gpu.submit(Submit::Now)?;
    program.gpu.queue.on_submitted_work_done(move || sender.send(teardown::calls_of_this_thread()).unwrap_or(()));
    program.gpu.checked.poll();
    assert_eq!(receiver.recv_timeout(TIMEOUT)?, 1);
    assert_eq!(teardown::calls_of_this_thread(), 0);
    Ok(())
}

#[test]
fn the_device_is_destroyed_apart_from_calls_whichever_of_its_objects_is_dropped_last() -> Tested {
    /// Dropped with the device; tells whether the crate was destroying one.
    struct Witness(mpsc::Sender<bool>);

    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.send(teardown::is_destroying()).unwrap_or(());
        }
    }

    let ends: [fn(Program); 2] = [
        |Program { gpu, place }| {
            drop(gpu);
            drop(place);
        },
        |Program { gpu, place }| {
            drop(place);
            drop(gpu);
        },
    ];
    for end in ends {
        let program = teardown::assumed(Program::new)?;
        let (sender, receiver) = mpsc::channel();
        let witness = Witness(sender);
        program.gpu.device.set_device_lost_callback(move |_, _| _ = &witness);
        program.batch()?;
        program.gpu.wait_blocking()?;
        assert!(receiver.try_recv().is_err(), "the device still exists");
        end(program);
        assert_eq!(receiver.try_recv(), Ok(true));
    }
    Ok(())
}
