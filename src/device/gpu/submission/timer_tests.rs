//! Tests of the timer with the system's threads and clock. `tests/threads_model.rs` has those of interleavings.

use super::threads::Threads;
use super::timer::{HOLD, Timer};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Longer than any of these tests waits for something that happens.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_call_is_made_after_its_delay_and_may_ask_for_the_next() {
    let (timer, threads) = (Arc::new(Timer::default()), Arc::new(Threads::default()));
    let (sender, receiver) = channel();
    let begun = Instant::now();
    let again = {
        let (timer, threads, sender) = (Arc::clone(&timer), Arc::clone(&threads), sender.clone());
        Box::new(move || {
            sender.send(1).expect("the test waits");
            let second = Box::new(move || sender.send(2).expect("the test waits"));
            assert!(timer.call_after(&threads, Duration::ZERO, second));
        })
    };
    assert!(timer.call_after(&threads, Duration::from_millis(20), again));
    assert_eq!(receiver.recv_timeout(SOON), Ok(1));
    assert!(begun.elapsed() >= Duration::from_millis(20));
    assert_eq!(receiver.recv_timeout(SOON), Ok(2));
    timer.close();
    threads.join();
}

#[test]
fn a_closed_timer_drops_its_call_and_takes_no_other() {
    let (timer, threads) = (Arc::new(Timer::default()), Arc::new(Threads::default()));
    let (sender, receiver) = channel::<()>();
    let act = Box::new(move || sender.send(()).expect("the test waits"));
    assert!(timer.call_after(&threads, SOON * 60, act));
    timer.close();
    threads.join();
    assert!(receiver.recv().is_err());
    assert!(!timer.call_after(&threads, Duration::ZERO, Box::new(|| panic!("never called"))));
}

#[test]
fn a_panic_in_a_call_ends_nothing() {
    let (timer, threads) = (Arc::new(Timer::default()), Arc::new(Threads::default()));
    let (sender, receiver) = channel();
    let (first, second) = (sender.clone(), sender);
    let act = Box::new(move || {
        first.send(1).expect("the test waits");
        panic!("on purpose");
    });
    assert!(timer.call_after(&threads, Duration::ZERO, act));
    assert_eq!(receiver.recv_timeout(SOON), Ok(1));
    assert!(timer.call_after(&threads, Duration::ZERO, Box::new(move || second.send(2).expect("the test waits"))));
    assert_eq!(receiver.recv_timeout(SOON), Ok(2));
    timer.close();
    threads.join();
}

#[test]
fn a_thread_that_ends_waits_for_the_call_and_delays_the_next() {
    let (timer, threads) = (Arc::new(Timer::default()), Arc::new(Threads::default()));
    let (entered, is_entered) = channel();
    let (leave, may_leave) = channel::<()>();
    let act = Box::new(move || {
        entered.send(()).expect("the test waits");
        may_leave.recv().expect("the test goes on");
    });
    assert!(timer.call_after(&threads, Duration::ZERO, act));
    is_entered.recv_timeout(SOON).expect("the call is made");
    let begun = Instant::now();
    let ending = std::thread::spawn({
        let timer = Arc::clone(&timer);
        move || {
            timer.hold();
            Instant::now()
        }
    });
    let released = Instant::now();
    leave.send(()).expect("the test waits");
    assert!(ending.join().expect("no panic") >= released);
    let (sender, receiver) = channel();
    assert!(timer.call_after(&threads, Duration::ZERO, Box::new(move || sender.send(()).expect("the test waits"))));
    receiver.recv_timeout(SOON).expect("the call is made");
    assert!(begun.elapsed() >= HOLD);
    timer.close();
    threads.join();
}
