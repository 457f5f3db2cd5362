//! Tests of the ends of threads on wgpu's no-op device.

use super::tests::{Program, TIMEOUT, Tested, until};
use crate::device::DeviceResources;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

// A thread that ends on Windows waits for nothing.
#[cfg(not(windows))]
#[test]
fn dropping_the_memory_waits_until_an_ending_thread_has_dropped_the_submission_queue() -> Tested {
    let program = Program::new()?;
    let submission = Arc::clone(&program.gpu.submission);
    let (end, may_end) = mpsc::channel();
    let recorder = std::thread::scope(|scope| -> Result<_, Box<dyn std::error::Error>> {
        let (recorded, has_recorded) = mpsc::channel();
        let program = &program;
        scope.spawn(move || {
            recorded.send(program.clear()).expect("the test waits");
            may_end.recv_timeout(TIMEOUT).expect("the test ends the thread");
        });
        has_recorded.recv_timeout(TIMEOUT)??;
        // The end of the thread needs the recorder.
        let recorder = submission.recorder();
        let handles = Arc::strong_count(&submission);
        end.send(())?;
        until(|| Arc::strong_count(&submission) > handles);
        Ok(recorder)
    })?;
    let (dropped, is_dropped) = mpsc::channel();
    std::thread::spawn(move || {
        drop(program);
        dropped.send(()).expect("the test waits");
    });
    assert!(is_dropped.recv_timeout(Duration::from_millis(50)).is_err(), "the ending thread still has the queue");
    drop(recorder);
    is_dropped.recv_timeout(TIMEOUT)?;
    assert_eq!(Arc::strong_count(&submission), 1);
    Ok(())
}

// A process that exits while its last batch is being submitted crashes in NVIDIA's driver.
#[test]
fn an_ending_thread_waits_for_its_last_batch_although_another_thread_closes_it_meanwhile() -> Tested {
    let program = Program::without_age_limit()?;
    let submission = &program.gpu.submission;
    program.clear()?;
    std::thread::scope(|scope| -> Tested {
        let (ended, has_ended) = mpsc::channel();
        scope.spawn(move || {
            submission.wait_for_handover(Instant::now() + TIMEOUT);
            ended.send(submission.queue.handed_over()).expect("the test waits");
        });
        until(|| submission.queue.requested() == 1);
        let mut recorder = submission.recorder();
        // The thread now looks whether the batch is still open, and waits for the recorder.
        std::thread::sleep(Duration::from_millis(5));
        recorder.close(submission);
        drop(recorder);
        std::thread::sleep(Duration::from_millis(5));
        // Wakes the submission thread.
        submission.queue.request(1);
        assert_eq!(has_ended.recv_timeout(TIMEOUT)?, 1, "the batch has not been submitted");
        Ok(())
    })
}

#[test]
fn an_ending_thread_waits_for_the_call_of_the_timer_thread_that_drops_the_memory() -> Tested {
    let gpu = Arc::new(Program::new()?.gpu);
    let (called, is_called) = mpsc::channel();
    let (proceed, may_proceed) = mpsc::channel();
    let (dropped, is_dropped) = mpsc::channel();
    let last = Arc::clone(&gpu);
    let is_scheduled = gpu.call_after(Duration::ZERO, move || {
        called.send(()).expect("the test waits");
        may_proceed.recv_timeout(TIMEOUT).expect("the test has the call proceed");
        until(|| Arc::strong_count(&last) == 1);
        drop(last);
        dropped.send(()).expect("the test waits");
    });
    assert!(is_scheduled);
    is_called.recv_timeout(TIMEOUT)?;
    let start = Instant::now();
    let thread = std::thread::spawn(move || {
        gpu.submission.note_thread();
        drop(gpu);
        proceed.send(()).expect("the call waits");
    });
    thread.join().expect("does not panic");
    assert!(is_dropped.try_recv().is_ok(), "the thread ended during the call");
    assert!(start.elapsed() < super::threads::JOIN_TIMEOUT, "the call and the thread waited for each other");
    Ok(())
}

// A thread that ends on Windows waits for nothing.
#[cfg(not(windows))]
#[test]
fn an_ending_thread_waits_for_a_call_that_the_timer_thread_begins_during_another_wait() -> Tested {
    let program = Arc::new(Program::without_age_limit()?);
    let unblock = program.blocked_submission_thread()?;
    let (ended, has_ended) = mpsc::channel();
    let ending = Arc::clone(&program);
    std::thread::spawn(move || {
        let thread = std::thread::spawn(move || ending.clear());
        ended.send(thread.join().expect("no panic")).expect("the test waits");
    });
    // The open batch is that of the thread, which now waits for the submission thread.
    until(|| program.gpu.submission.queue.requested() == 2);
    let (called, is_called) = mpsc::channel();
    let (proceed, may_proceed) = mpsc::channel();
    let is_scheduled = program.gpu.call_after(Duration::ZERO, move || {
        called.send(()).expect("the test waits");
        may_proceed.recv_timeout(TIMEOUT).expect("the test has the call proceed");
    });
    assert!(is_scheduled);
    is_called.recv_timeout(TIMEOUT)?;
    program.gpu.submission.request_without_waiting();
    unblock.send(())?;
    assert!(has_ended.recv_timeout(Duration::from_millis(100)).is_err(), "the thread ended during the call");
    proceed.send(())?;
    has_ended.recv_timeout(TIMEOUT)??;
    Ok(())
}
