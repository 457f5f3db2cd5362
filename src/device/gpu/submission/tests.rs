//! The queue on wgpu's device without a driver: who hands over what, and when. `tests/submission_model` checks the core's interleavings.

use super::wait::MOST_IN_FLIGHT;
use super::{Fault, MOST_RECORDED};
use crate::device::{Commands, Gpu, GpuSegment, Location, Memory};
use crate::error::DeviceError;
use crate::heap::{Heap, HeapOptions, SubPool};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

type Tested = Result<(), Box<dyn std::error::Error>>;

/// Far above what anything here takes.
const SOON: Duration = Duration::from_secs(60);

struct Program {
    gpu: Gpu,
    place: Location<GpuSegment>,
}

impl Program {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::from_device(device, queue);
        let mut heap = Heap::new(HeapOptions { granule: 256, small_limit: 1 << 20 })?;
        let id = heap.add_segment(SubPool::Small, 256)?;
        let place = Location { id, segment: gpu.create_segment(256)?, offset: 0, size: 256 };
        Ok(Self { gpu, place })
    }

    /// The same, with batches that never grow old.
    fn patient() -> Result<Self, Box<dyn std::error::Error>> {
        let program = Self::new()?;
        program.gpu.submission.recorder().set_due_age(Duration::MAX);
        Ok(program)
    }

    fn clear(&self) -> Result<(), DeviceError> {
        self.gpu.commands().clear(&self.place)
    }

    /// A batch that is left to the submission thread.
    fn batch(&self) -> Result<(), DeviceError> {
        self.clear()?;
        self.gpu.submit_soon()
    }

    /// Calls `act` in a callback on the submission thread, in the middle of a submission.
    fn on_submission_thread(&self, act: impl FnOnce() + Send + 'static) -> Tested {
        let (arrived, arrival) = mpsc::channel();
        self.gpu.queue.on_submitted_work_done(move || {
            arrived.send(std::thread::current().name().map(str::to_owned)).expect("the test listens");
            act();
        });
        self.batch()?;
        assert_eq!(arrival.recv_timeout(SOON)?.as_deref(), Some("wgpu-pool submission"));
        Ok(())
    }

    /// Has the submission thread wait in a callback, in the middle of a submission, until it is told to go on.
    fn held_thread(&self) -> Result<mpsc::Sender<()>, Box<dyn std::error::Error>> {
        let (go_on, may_go_on) = mpsc::channel();
        self.on_submission_thread(move || may_go_on.recv().expect("the test goes on"))?;
        Ok(go_on)
    }

    /// Batches that wait to be encoded, and those that are encoded.
    fn waiting(&self) -> [usize; 2] {
        self.gpu.submission.queue.waiting()
    }

    fn finished(&self) -> u64 {
        self.gpu.submission.fence().finished()
    }
}

/// Yields until something is so.
fn until(is_so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < SOON, "it never came");
        std::thread::yield_now();
    }
}

#[test]
fn a_program_far_ahead_of_the_submission_thread_encodes_and_does_not_wait() -> Tested {
    let program = Program::patient()?;
    let go_on = program.held_thread()?;
    for _ in 0..MOST_RECORDED + 5 {
        program.batch()?;
    }
    assert_eq!(program.waiting(), [MOST_RECORDED, 5]);
    go_on.send(())?;
    program.gpu.wait()?;
    assert_eq!(program.waiting(), [0, 0]);
    assert_eq!(program.finished(), MOST_RECORDED as u64 + 6);
    Ok(())
}

/// Holds a loop of one of the two calls back while nothing is finished.
fn assert_held_back(submit: fn(&Gpu) -> Result<(), DeviceError>) -> Tested {
    let program = Program::patient()?;
    let go_on = program.held_thread()?;
    std::thread::scope(|scope| -> Tested {
        let endless = scope.spawn(|| {
            (0..1000).try_for_each(|_| {
                program.clear()?;
                submit(&program.gpu)
            })
        });
        // The thread that is held has handed over its batch, so that `submit` goes on by itself.
        std::thread::sleep(Duration::from_millis(100));
        let recorded = program.gpu.submission.recorder().newest_batch();
        assert!(recorded <= MOST_IN_FLIGHT + 1, "{recorded} batches are recorded");
        go_on.send(())?;
        Ok(endless.join().expect("it doesn't panic")?)
    })?;
    program.gpu.wait()?;
    assert_eq!(program.finished(), 1001);
    Ok(())
}

#[test]
fn a_program_whose_batches_are_left_to_the_submission_thread_is_held_back() -> Tested {
    assert_held_back(Memory::submit_soon)
}

#[test]
fn a_program_that_submits_each_batch_is_held_back() -> Tested {
    assert_held_back(Memory::submit)
}

#[test]
fn a_batch_is_submitted_when_it_is_old_without_a_further_call() -> Tested {
    let program = Program::new()?;
    for round in 1..4 {
        program.clear()?;
        // This looks, and hands nothing over.
        until(|| program.gpu.submission.recorder().newest_batch() == round && program.waiting() == [0, 0]);
        // Long enough for the submission thread to stop looking.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn submitting_without_waiting_leaves_to_the_submission_thread_what_it_is_at_and_that_one_goes_on() -> Tested {
    let program = Program::patient()?;
    let go_on = program.held_thread()?;
    let segment = program.gpu.create_segment(1 << 20)?;
    program.clear()?;
    program.gpu.commands().destroy(program.place.id, segment, 1 << 20);
    program.gpu.try_submit()?;
    assert_eq!(program.waiting(), [1, 0]);
    assert_eq!(program.gpu.submission.reclaim().pending, 1 << 20);
    go_on.send(())?;
    // No call but one that looks. The device without a driver finishes at once, and tells when it is polled.
    until(|| {
        let _ = program.gpu.device.poll(wgpu::PollType::Poll);
        program.gpu.submission.reclaim().freed == 1 << 20
    });
    Ok(())
}

#[test]
fn a_destruction_with_nothing_before_it_is_done_at_once() -> Tested {
    let program = Program::patient()?;
    let segment = program.gpu.create_segment(1 << 20)?;
    program.gpu.commands().destroy(program.place.id, segment, 1 << 20);
    program.gpu.try_submit()?;
    assert_eq!(program.gpu.reclaim().freed, 1 << 20);
    Ok(())
}

#[test]
fn a_thread_that_waits_for_the_submission_thread_encodes_meanwhile() -> Tested {
    let program = Program::patient()?;
    // Held inside the encoding of its batch, as far as the queue knows: the batch is not handed over.
    let go_on = program.held_thread()?;
    for _ in 0..3 {
        program.batch()?;
    }
    assert_eq!(program.waiting(), [3, 0]);
    std::thread::scope(|scope| -> Tested {
        let waiting = scope.spawn(|| program.gpu.wait());
        until(|| program.waiting() == [0, 3] || program.waiting() == [0, 0]);
        go_on.send(())?;
        Ok(waiting.join().expect("waiting doesn't panic")?)
    })?;
    assert_eq!(program.finished(), 4);
    Ok(())
}

#[test]
fn a_callback_that_panics_on_the_submission_thread_ends_nothing() -> Tested {
    let program = Program::patient()?;
    for round in 1..4 {
        program.on_submission_thread(|| panic!("a callback of the application, on purpose"))?;
        until(|| program.waiting() == [0, 0]);
        program.gpu.wait()?;
        assert_eq!(program.finished(), round);
    }
    assert_eq!(program.gpu.check(), Ok(()));
    Ok(())
}

/// wgpu drops the callbacks behind one that panics without calling them.
#[test]
fn a_callback_that_panics_on_the_programs_thread_reaches_the_program_and_harms_nothing() -> Tested {
    let program = Program::patient()?;
    program.clear()?;
    program.gpu.submit()?;
    program.gpu.queue.on_submitted_work_done(|| panic!("a callback of the application, on purpose"));
    program.clear()?;
    let submit = std::panic::AssertUnwindSafe(|| program.gpu.submit());
    let panic = std::panic::catch_unwind(submit).expect_err("the panic is the program's");
    assert_eq!(super::batch::message_of(&*panic), "a callback of the application, on purpose");
    program.clear()?;
    program.gpu.wait()?;
    assert_eq!((program.finished(), program.gpu.check()), (3, Ok(())));
    Ok(())
}

#[test]
fn an_invalid_batch_is_a_fault_that_can_be_cleared() -> Tested {
    let program = Program::patient()?;
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
        let error = program.gpu.submit().expect_err("the batch names a destroyed buffer");
        assert!(matches!(&error, DeviceError::Validation { message } if message.contains("destroyed")), "{error}");
        assert_eq!(program.clear(), Err(error.clone()));
        let fault = Fault { number, error };
        assert_eq!(program.gpu.fault(), Some(fault.clone()));
        assert_eq!(program.gpu.clear_fault(), Some(fault));
        program.clear()?;
        program.gpu.wait()?;
    }
    assert_eq!(seen.load(Ordering::Relaxed), 0, "the application's handler was told of the pool's error");
    Ok(())
}

#[test]
fn the_submission_thread_ends_with_the_memory() -> Tested {
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
fn a_device_that_is_destroyed_is_lost_for_every_call_though_nobody_says_so() -> Tested {
    let lost = |error: &DeviceError| matches!(error, DeviceError::Lost { .. });
    type Call = fn(&Program) -> Result<(), DeviceError>;
    let calls: [Call; 5] = [
        |program| program.clear().and_then(|()| program.gpu.submit()),
        |program| program.clear().and_then(|()| program.gpu.wait()),
        |program| program.gpu.create_segment(256).map(drop),
        |program| program.gpu.readback(256).and_then(|readback| program.gpu.collect_blocking(readback)).map(drop),
        |program| {
            let mut commands = program.gpu.commands();
            (0..4).try_for_each(|_| commands.write(&program.place, &[0; 256]))?;
            drop(commands);
            program.gpu.submit()
        },
    ];
    for (number, call) in calls.iter().enumerate() {
        let program = Program::patient()?;
        program.gpu.device.destroy();
        let error = call(&program).expect_err("the device is gone");
        assert!(lost(&error), "call {number}: {error}");
        assert!(program.clear().is_err_and(|error| lost(&error)));
    }
    Ok(())
}
