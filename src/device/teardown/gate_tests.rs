//! The gate with the system's threads and clock.

use super::gate::{Gate, Times, calls_of_this_thread};
use super::{GATE, note_thread, note_thread_of_pool};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(600);

const fn gate(quiet: Duration, turn: Duration, longest_wait: Duration) -> Gate {
    Gate::new(Times { quiet, turn, longest_wait })
}

/// Longer than a thread needs to begin to wait.
const WHILE: Duration = Duration::from_millis(50);

#[test]
fn a_device_is_destroyed_some_time_after_the_end_of_a_thread() {
    let quiet = Duration::from_millis(40);
    let gate = gate(quiet, LONG, LONG);
    gate.destroy(|| ());
    gate.end_thread();
    let ended = gate.state().last_end.expect("a thread has ended");
    assert!(gate.destroy(|| ended.elapsed()) >= quiet);
}

#[test]
fn during_a_destruction_no_thread_ends_no_call_begins_and_no_other_device_is_destroyed() {
    let gate = &gate(Duration::ZERO, LONG, LONG);
    let (started, start) = channel();
    let (finish, finished) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            gate.destroy(|| {
                started.send(()).expect("the test waits");
                finished.recv().expect("the test sends");
            });
        });
        start.recv().expect("the destruction starts");
        let end = scope.spawn(|| gate.end_thread());
        let call = scope.spawn(|| gate.call(|| ()));
        let other = scope.spawn(|| gate.destroy(|| ()));
        thread::sleep(WHILE);
        assert!(!end.is_finished() && !call.is_finished() && !other.is_finished());
        finish.send(()).expect("the destruction waits");
    });
    let state = gate.state();
    assert!(state.last_end.is_some());
    assert_eq!((state.destructions, state.closing, state.calls), (0, 0, 0));
}

#[test]
fn a_device_is_destroyed_after_the_calls_of_other_threads_and_before_new_ones() {
    let gate = &gate(Duration::ZERO, LONG, LONG);
    let order = &Mutex::new(Vec::new());
    let note = |what| order.lock().expect("no panic").push(what);
    thread::scope(|scope| {
        gate.call(|| {
            let destruction = scope.spawn(move || gate.destroy(|| note("destroyed")));
            while gate.state().closing == 0 {
                thread::yield_now();
            }
            let new = scope.spawn(move || gate.call(|| note("new call")));
            thread::sleep(WHILE);
            assert!(!destruction.is_finished() && !new.is_finished());
            // A callback inside the call.
            gate.call(|| note("inner call"));
        });
    });
    assert_eq!(*order.lock().expect("no panic"), ["inner call", "destroyed", "new call"]);
}

/// A callback may wait for another thread's call, which would wait for the device that waits for the callback.
#[test]
fn a_call_that_waits_for_a_call_of_another_thread_ends_while_a_device_waits_for_it() {
    let gate = &gate(Duration::ZERO, Duration::from_millis(10), LONG);
    thread::scope(|scope| {
        gate.call(|| {
            scope.spawn(|| gate.destroy(|| ()));
            while gate.state().closing == 0 {
                thread::yield_now();
            }
            for _ in 0..3 {
                let begun = Instant::now();
                scope.spawn(|| gate.call(|| ())).join().expect("no panic");
                assert!(begun.elapsed() < LONG / 2, "the call waited for the device");
            }
        });
    });
    let state = gate.state();
    assert_eq!((state.destructions, state.closing, state.calls), (0, 0, 0));
}

#[test]
fn a_callback_inside_a_call_may_destroy_a_device() {
    let gate = gate(Duration::ZERO, LONG, LONG);
    gate.call(|| gate.call(|| gate.destroy(|| ())));
    drop(gate.enter(false));
    gate.destroy(|| ());
}

#[test]
fn a_thread_of_the_application_ends_after_the_drop_of_a_memory_on_another_thread() {
    let gate = &gate(Duration::ZERO, LONG, LONG);
    thread::scope(|scope| {
        let dropping = gate.drop_memory();
        // Neither waits: the thread that drops a memory waits for the pool's threads.
        gate.end_thread();
        let of_pool = scope.spawn(|| {
            note_thread_of_pool();
            gate.end_thread();
        });
        of_pool.join().expect("no panic");
        let end = scope.spawn(|| {
            // Its own drop is not awaited either.
            let _own = gate.drop_memory();
            gate.end_thread();
        });
        thread::sleep(WHILE);
        assert!(!end.is_finished());
        drop(dropping);
        end.join().expect("no panic");
    });
    assert_eq!(gate.state().drops, 0);
}

#[test]
fn no_wait_lasts_longer_than_the_longest() {
    let gate = &gate(LONG, LONG, Duration::from_millis(20));
    let _dropping = gate.drop_memory();
    thread::scope(|scope| scope.spawn(|| gate.end_thread()).join()).expect("no panic");
    let _opening = gate.enter(false);
    // Without a timeout these would last for ever.
    gate.destroy(|| {
        gate.end_thread();
        gate.call(|| ());
        gate.destroy(|| ());
        // The outer one is still in progress.
        assert_eq!(gate.state().destructions, 1);
    });
}

#[test]
fn a_panic_does_not_block_later_calls() {
    let gate = gate(Duration::ZERO, LONG, LONG);
    let panics = |act: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err();
    assert!(panics(&|| gate.destroy(|| panic!("on purpose"))));
    assert!(panics(&|| gate.call(|| panic!("on purpose"))));
    gate.destroy(|| ());
    gate.call(|| ());
    assert_eq!(calls_of_this_thread(), 0);
}

/// On Windows the end of a thread must not wait, so none is registered.
#[test]
fn the_end_of_a_registered_thread_is_noted_except_on_windows() {
    let before = Instant::now();
    let dropping = cfg!(windows).then(|| GATE.drop_memory());
    thread::spawn(note_thread).join().expect("no panic");
    drop(dropping);
    assert_eq!(GATE.state().last_end.is_some_and(|end| end >= before), !cfg!(windows));
}
