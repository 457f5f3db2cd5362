//! A model checker runs the pool's own threads, the timer and the poller (`src/device/gpu/submission`: `threads.rs`, `timer.rs` and
//! `poller.rs`), in thousands of random interleavings. A lost wake-up is a deadlock, which the checker reports. The system sometimes has
//! no thread.

// The same source files as in the crate, with the checker's locks, threads and clock.
#[path = "../src/device/gpu/submission/poller.rs"]
mod poller;
#[path = "../src/device/gpu/submission/threads.rs"]
mod threads;
#[path = "../src/device/gpu/submission/timer.rs"]
mod timer;

#[path = "model/sync.rs"]
mod sync;

/// What these files use of the crate.
mod batch {
    pub(crate) fn message_of(_panic: &(dyn std::any::Any + Send)) -> &str {
        "on purpose"
    }
}

mod device {
    pub(crate) mod teardown {
        pub(crate) fn note_thread_of_pool() {}
    }
}

use poller::Poller;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Arc;
use shuttle::thread::{JoinHandle, spawn, yield_now};
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use sync::{Condvar, Instant, check, lock, refuse_some_threads, was_refused_a_thread};
use threads::Threads;
use timer::{HOLD, Timer};

/// The program's own accounting.
struct Account<T>(Mutex<T>);

impl<T> Account<T> {
    /// `act` takes no step of the checker.
    fn update<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn flip(probability: f64) -> bool {
    thread_rng().gen_bool(probability)
}

fn spawn_all(count: usize, act: impl Fn(usize) + Send + Sync + 'static) -> Vec<JoinHandle<()>> {
    let act = Arc::new(act);
    (0..count)
        .map(|thread| {
            let act = Arc::clone(&act);
            spawn(move || act(thread))
        })
        .collect()
}

fn join_all(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("panics on purpose are caught");
    }
}

/// Wakes threads that wait for something in an account.
struct Signal {
    lock: sync::Mutex<()>,
    changed: Condvar,
}

impl Signal {
    fn new() -> Self {
        Self { lock: sync::Mutex::new(()), changed: Condvar::new() }
    }

    fn notify(&self) {
        drop(lock(&self.lock));
        self.changed.notify_all();
    }

    fn wait_while(&self, blocks: impl Fn() -> bool) {
        let mut guard = lock(&self.lock);
        while blocks() {
            guard = sync::wait(&self.changed, &self.lock, guard, None);
        }
    }
}

#[derive(Debug, Default)]
struct Calls {
    /// Calls that exist: pending, or being made.
    alive: usize,
    is_calling: bool,
    /// The numbers of the newest call that the timer was asked for, and of the newest that it has made.
    asked: u32,
    made: u32,
    /// When the newest call has ended.
    ended: Option<Instant>,
    /// No call begins before this time.
    held_until: Option<Instant>,
    has_joined: bool,
    /// What has gone wrong on the timer thread, which catches panics.
    fault: Option<&'static str>,
}

impl Calls {
    fn note(&mut self, is_right: bool, fault: &'static str) {
        if !is_right {
            self.fault = Some(fault);
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.fault, None);
        }
    }
}

struct Timed {
    timer: Arc<Timer>,
    threads: Arc<Threads>,
    calls: Account<Calls>,
    /// Gives calls an order.
    asking: sync::Mutex<()>,
    made: Signal,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Nothing,
    Panics,
    AsksAgain,
    ClosesAndJoins,
}

/// A call of the timer. May ask for another call when it is dropped, like the last handle of a tensor.
struct Call {
    timed: Arc<Timed>,
    asks_when_dropped: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.timed.calls.update(|calls| calls.alive -= 1);
        if self.asks_when_dropped {
            self.timed.timer.call_after(&self.timed.threads, Duration::ZERO, Box::new(|| ()));
        }
    }
}

impl Timed {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            timer: Arc::default(),
            threads: Arc::default(),
            calls: Account(Mutex::default()),
            asking: sync::Mutex::new(()),
            made: Signal::new(),
        })
    }

    /// Returns the number of the call if the timer accepts it.
    fn ask(self: &Arc<Self>, act: Act, asks_when_dropped: bool) -> Option<u32> {
        let _asking = lock(&self.asking);
        let number = self.calls.update(|calls| {
            calls.alive += 1;
            calls.asked += 1;
            calls.asked
        });
        let call = Call { timed: Arc::clone(self), asks_when_dropped };
        let delay = Duration::from_millis(thread_rng().gen_range(0..3));
        let is_accepted = self.timer.call_after(&self.threads, delay, Box::new(move || call.timed.make(number, act)));
        is_accepted.then_some(number)
    }

    fn make(self: &Arc<Self>, number: u32, act: Act) {
        let now = Instant::now();
        self.calls.update(|calls| {
            let is_held = calls.held_until.is_some_and(|held| now < held);
            calls.note(!calls.has_joined, "a call is made after the end of the threads");
            calls.note(!calls.is_calling, "two calls are made at once");
            calls.note(!is_held, "a call is made while the timer is held");
            calls.note(number > calls.made, "a call is made after a later one");
            calls.is_calling = true;
            calls.made = number;
        });
        // Longer than a hold, or shorter.
        let step = if flip(0.3) { HOLD / 2 } else { Duration::from_millis(1) };
        for _ in 0..4 {
            sync::sleep(step);
        }
        match act {
            Act::Nothing | Act::Panics => {}
            Act::AsksAgain => drop(self.ask(Act::Nothing, false)),
            Act::ClosesAndJoins => {
                self.timer.close();
                self.threads.join();
            }
        }
        self.calls.update(|calls| {
            calls.is_calling = false;
            calls.ended = Some(Instant::now());
        });
        self.made.notify();
        if act == Act::Panics {
            resume_unwind(Box::new("on purpose"));
        }
    }

    /// Waits until this call or a later one has been made, without calling the timer.
    fn await_call(&self, number: u32) {
        self.made.wait_while(|| self.calls.update(|calls| calls.made < number));
    }

    fn hold(&self) {
        let until = Instant::now() + HOLD;
        let was_calling = self.calls.update(|calls| calls.is_calling);
        self.timer.hold();
        self.calls.update(|calls| {
            assert!(!calls.is_calling || Instant::now() >= until, "a call is being made while the timer is held");
            // Held from the end of the call for which it waited.
            let waited = calls.ended.filter(|_| was_calling && !calls.is_calling).map(|ended| ended + HOLD);
            calls.held_until = calls.held_until.max(Some(until)).max(waited);
        });
    }

    fn close_and_join(&self) {
        self.timer.close();
        self.threads.join();
        self.calls.update(|calls| calls.has_joined = true);
    }
}

#[test]
fn a_call_that_the_timer_accepts_is_made_unless_a_later_one_replaces_it() {
    check(1500, || {
        refuse_some_threads(true);
        let timed = Timed::new();
        let all = Arc::clone(&timed);
        join_all(spawn_all(2, move |_| {
            for act in [Act::Panics, Act::AsksAgain, Act::Nothing] {
                if let Some(number) = all.ask(act, false) {
                    all.await_call(number);
                }
            }
        }));
        timed.close_and_join();
        assert_eq!(timed.calls.update(|calls| calls.alive), 0, "a call outlives the timer");
    });
}

#[test]
fn no_call_is_made_while_the_timer_is_held() {
    check(1500, || {
        refuse_some_threads(false);
        let timed = Timed::new();
        let all = Arc::clone(&timed);
        join_all(spawn_all(3, move |thread| {
            for _ in 0..3 {
                if thread == 0 {
                    all.hold();
                } else {
                    all.ask(if flip(0.3) { Act::Panics } else { Act::AsksAgain }, false);
                }
            }
        }));
        timed.close_and_join();
        assert_eq!(timed.calls.update(|calls| calls.alive), 0, "a call outlives the timer");
    });
}

#[test]
fn a_timer_can_be_closed_at_any_time_and_drops_its_call() {
    check(1500, || {
        refuse_some_threads(true);
        let timed = Timed::new();
        let all = Arc::clone(&timed);
        let others = spawn_all(2, move |_| {
            for _ in 0..3 {
                let act =
                    [Act::Nothing, Act::Panics, Act::AsksAgain, Act::ClosesAndJoins][thread_rng().gen_range(0..4)];
                all.ask(act, flip(0.3));
            }
        });
        timed.close_and_join();
        join_all(others);
        // A thread that a late call has started.
        timed.threads.join();
        assert_eq!(timed.calls.update(|calls| calls.alive), 0, "a call outlives the timer");
    });
}

#[derive(Default)]
struct Reads {
    /// The numbers of the reads whose callbacks have not run, and what keeps the poller polling for them.
    pending: Vec<(usize, poller::Polled)>,
    is_lost: bool,
    /// The number of threads that poll.
    polling: usize,
}

struct Polled {
    /// Whether a panic may be the end of the device.
    can_be_lost: bool,
    poller: Poller,
    threads: Arc<Threads>,
    reads: Account<Reads>,
    finished: Signal,
}

impl poller::Device for Polled {
    fn poll(&self) {
        self.reads.update(|reads| reads.polling += 1);
        yield_now();
        let panics = flip(0.2);
        let finished = self.reads.update(|reads| {
            let is_finished = !reads.pending.is_empty() && flip(0.5);
            is_finished.then(|| reads.pending.swap_remove(0))
        });
        drop(finished);
        self.finished.notify();
        yield_now();
        self.reads.update(|reads| reads.polling -= 1);
        if panics {
            resume_unwind(Box::new("on purpose"));
        }
    }

    fn is_lost(&self) -> bool {
        self.reads.update(|reads| reads.is_lost)
    }

    /// A thread that holds locks calls this, too, so it wakes no task.
    fn check_for_loss(&self) {
        if self.can_be_lost && flip(0.3) {
            self.reads.update(|reads| reads.is_lost = true);
        }
    }

    fn wake_if_lost(&self) {
        // A lost device ends all reads.
        let ended = self.reads.update(|reads| reads.is_lost.then(|| std::mem::take(&mut reads.pending)));
        if ended.is_some() {
            drop(ended);
            self.finished.notify();
        }
    }
}

impl Polled {
    fn new(can_be_lost: bool) -> Self {
        Self {
            can_be_lost,
            poller: Poller::default(),
            threads: Arc::default(),
            reads: Account(Mutex::default()),
            finished: Signal::new(),
        }
    }

    /// Begins a read. Returns false if a loss of the device has ended it.
    fn begin(self: &Arc<Self>, number: usize) -> bool {
        let polled = self.poller.watch(self, &self.threads);
        let refused = self.reads.update(|reads| {
            if reads.is_lost {
                return Some(polled);
            }
            reads.pending.push((number, polled));
            None
        });
        refused.is_none()
    }

    /// Reads, and waits until the poller thread has run the callback.
    fn read(self: &Arc<Self>, number: usize) {
        assert!(!self.poller.is_this_thread());
        if !self.begin(number) {
            return;
        }
        if was_refused_a_thread() {
            // The application polls the device, and its next submission wakes reads that a loss has ended.
            while self.is_pending(number) {
                let polled = std::panic::AssertUnwindSafe(|| poller::Device::poll(&**self));
                drop(std::panic::catch_unwind(polled));
                poller::Device::wake_if_lost(&**self);
            }
            return;
        }
        self.finished.wait_while(|| self.is_pending(number));
    }

    fn close_and_join(&self) {
        self.poller.close();
        self.threads.join();
    }

    fn is_pending(&self, number: usize) -> bool {
        self.reads.update(|reads| reads.pending.iter().any(|&(pending, _)| pending == number))
    }
}

#[test]
fn every_read_is_polled_until_it_ends() {
    check(1500, || {
        refuse_some_threads(true);
        let polled = Arc::new(Polled::new(flip(0.5)));
        let all = Arc::clone(&polled);
        join_all(spawn_all(4, move |thread| {
            if thread == 3 {
                // A call that fails while its thread holds locks.
                poller::Device::check_for_loss(&*all);
                return;
            }
            for read in 0..2 {
                all.read(thread * 2 + read);
            }
        }));
        // Not a deadlock, whether there are reads or none.
        polled.poller.settle(Duration::MAX);
        polled.close_and_join();
    });
}

#[test]
fn a_thread_that_ends_leaves_no_poll_for_its_reads() {
    check(1500, || {
        refuse_some_threads(false);
        let polled = Arc::new(Polled::new(flip(0.3)));
        let all = Arc::clone(&polled);
        join_all(spawn_all(3, move |thread| {
            for read in 0..2 {
                let number = thread * 2 + read;
                all.begin(number);
                all.poller.settle(Duration::MAX);
                assert!(!all.is_pending(number) || all.reads.update(|reads| reads.is_lost), "the read has not ended");
            }
            if thread == 0 {
                poller::Device::check_for_loss(&*all);
            }
        }));
        // No thread begins another read.
        polled.poller.settle(Duration::MAX);
        polled.reads.update(|reads| assert_eq!(reads.polling, 0, "the device is polled after the last read"));
        polled.close_and_join();
    });
}

#[test]
fn closing_the_poller_ends_it_while_a_read_is_pending() {
    check(500, || {
        refuse_some_threads(false);
        let polled = Arc::new(Polled::new(false));
        let reads = spawn_all(2, {
            let polled = Arc::clone(&polled);
            move |thread| {
                let _polled = polled.poller.watch(&polled, &polled.threads);
                if thread == 0 {
                    // Both reads are pending until the other thread closes the poller.
                    polled.poller.settle(Duration::MAX);
                }
                polled.close_and_join();
                assert!(polled.poller.is_closed());
            }
        });
        join_all(reads);
    });
}

#[test]
fn a_lost_device_is_not_polled_although_its_reads_are_kept() {
    check(500, || {
        refuse_some_threads(false);
        let polled = Arc::new(Polled::new(false));
        let kept = [(); 2].map(|()| polled.poller.watch(&polled, &polled.threads));
        yield_now();
        polled.reads.update(|reads| reads.is_lost = true);
        polled.poller.settle(Duration::MAX);
        polled.reads.update(|reads| assert_eq!(reads.polling, 0, "a lost device is polled"));
        polled.close_and_join();
        drop(kept);
    });
}

#[derive(Default)]
struct Uses {
    using: usize,
    has_joined: bool,
}

#[test]
fn a_drop_waits_for_all_threads_that_use_the_device_and_no_other_begins() {
    check(1500, || {
        refuse_some_threads(true);
        let threads = Arc::new(Threads::new(flip(0.5)));
        let uses = Arc::new(Account(Mutex::new(Uses::default())));
        let use_device = {
            let uses = Arc::clone(&uses);
            move || {
                uses.update(|uses| {
                    assert!(!uses.has_joined, "a thread uses a device that has been dropped");
                    uses.using += 1;
                });
                yield_now();
                uses.update(|uses| uses.using -= 1);
            }
        };
        for _ in 0..2 {
            drop(threads.spawn("of the pool", use_device.clone()));
        }
        let all = Arc::clone(&threads);
        let of_application = spawn_all(2, move |_| {
            for _ in 0..2 {
                if let Some(_running) = all.enter() {
                    use_device();
                }
            }
        });
        threads.join();
        uses.update(|uses| {
            assert_eq!(uses.using, 0, "a thread uses the device at the end of the drop");
            uses.has_joined = true;
        });
        join_all(of_application);
    });
}
