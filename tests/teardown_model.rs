//! A model checker runs the gate that destroys devices apart from calls and from the ends of threads
//! (`src/device/teardown/gate.rs`), in thousands of random interleavings. A lost wake-up is a deadlock, which the checker reports.

// The same source file as in the crate, with the checker's locks and threads.
#[path = "../src/device/teardown/gate.rs"]
mod gate;

#[path = "model/sync.rs"]
mod sync;

use gate::{Gate, Times};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Arc;
use shuttle::thread::{spawn, yield_now};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;
use sync::{Instant, check};

const QUIET: Duration = Duration::from_millis(20);

/// What is in progress, by the program's own accounting.
#[derive(Default)]
struct Progress {
    /// The threads that are in a call.
    calls: BTreeSet<usize>,
    destroys: Option<usize>,
    /// When each destruction has ended.
    destroyed: Vec<Instant>,
    /// Numbers of drops of memories, and the threads.
    drops: BTreeSet<(u32, usize)>,
    last_drop: u32,
}

struct World {
    gate: Gate,
    progress: Mutex<Progress>,
}

impl World {
    fn new() -> Arc<Self> {
        let times = Times { quiet: QUIET, turn: Duration::from_millis(50), longest_wait: Duration::from_secs(1 << 40) };
        Arc::new(Self { gate: Gate::new(times), progress: Mutex::default() })
    }

    /// Never held across a step of the checker.
    fn progress<R>(&self, act: impl FnOnce(&mut Progress) -> R) -> R {
        act(&mut self.progress.lock().expect("no panic with the lock"))
    }

    fn call(&self, thread: usize, inside: impl FnOnce()) {
        self.gate.call(|| {
            self.progress(|progress| {
                assert_eq!(progress.destroys, None, "a call begins during a destruction");
                progress.calls.insert(thread);
            });
            yield_now();
            inside();
            self.progress(|progress| progress.calls.remove(&thread));
        });
    }

    fn destroy(&self, thread: usize) {
        self.gate.destroy(|| {
            self.progress(|progress| {
                assert_eq!(progress.destroys.replace(thread), None, "two devices are destroyed at once");
                assert!(progress.calls.iter().all(|&other| other == thread), "a device is destroyed during a call");
            });
            let last_end = self.gate.state().last_end;
            assert!(last_end.is_none_or(|end| Instant::now() >= end + QUIET), "a thread has just ended");
            sync::sleep(Duration::from_millis(1));
            assert_eq!(self.gate.state().last_end, last_end, "a thread ends during a destruction");
            self.progress(|progress| {
                progress.destroys = None;
                progress.destroyed.push(Instant::now());
            });
        });
    }

    /// Drops a memory, with its device in the end.
    fn drop_memory(&self, thread: usize) {
        let dropping = self.gate.drop_memory();
        let number = self.progress(|progress| {
            progress.last_drop += 1;
            progress.drops.insert((progress.last_drop, thread));
            progress.last_drop
        });
        yield_now();
        self.destroy(thread);
        self.progress(|progress| progress.drops.remove(&(number, thread)));
        drop(dropping);
    }

    fn end_thread(&self, thread: usize, is_of_pool: bool) {
        let (before, in_progress) =
            self.progress(|progress| (progress.drops.clone(), progress.destroys.map(|_| progress.destroyed.len())));
        self.gate.end_thread();
        if let Some(number) = in_progress {
            let destroyed = self.progress(|progress| progress.destroyed.get(number).copied());
            assert!(destroyed.is_some(), "a thread ends during a destruction");
            assert!(
                self.gate.state().last_end >= destroyed,
                "the end of a thread is noted as before a destruction for which it waited"
            );
        }
        let continues =
            |drop: &&(u32, usize)| drop.1 != thread && self.progress(|progress| progress.drops.contains(*drop));
        assert!(is_of_pool || !before.iter().any(|drop| continues(&drop)), "a thread ends during a drop");
    }

    fn act_at_random(&self, thread: usize, steps: usize) {
        for _ in 0..steps {
            match thread_rng().gen_range(0..5) {
                0 => self.call(thread, || ()),
                1 => self.call(thread, || self.gate.call(yield_now)),
                // Two threads that destroy devices in callbacks would wait for each other.
                2 if thread == 0 => self.call(thread, || self.destroy(thread)),
                3 => self.drop_memory(thread),
                _ => self.destroy(thread),
            }
        }
    }
}

fn random_program(threads: usize, steps: usize) {
    let world = World::new();
    let program: Vec<_> = (0..threads)
        .map(|thread| {
            let world = Arc::clone(&world);
            spawn(move || {
                let is_of_pool = thread_rng().gen_bool(0.2);
                if is_of_pool {
                    gate::mark_thread_of_pool();
                }
                world.act_at_random(thread, steps);
                world.end_thread(thread, is_of_pool);
            })
        })
        .collect();
    for thread in program {
        thread.join().expect("no panic");
    }
    assert_eq!(gate::calls_of_this_thread(), 0);
    let state = world.gate.state();
    assert_eq!((state.calls, state.destructions, state.closing, state.drops), (0, 0, 0, 0));
}

#[test]
fn devices_are_destroyed_apart_from_calls_and_ends_of_two_threads() {
    check(3000, || random_program(2, 4));
}

#[test]
fn devices_are_destroyed_apart_from_calls_and_ends_of_three_threads() {
    check(1500, || random_program(3, 3));
}

/// The thread that drops a memory waits for the pool's threads, which therefore wait for no drop.
#[test]
fn a_thread_of_a_pool_ends_while_the_pool_is_dropped() {
    check(1000, || {
        let world = World::new();
        let of_application = {
            let world = Arc::clone(&world);
            spawn(move || world.end_thread(1, false))
        };
        let dropping = world.gate.drop_memory();
        let other = Arc::clone(&world);
        let of_pool = spawn(move || {
            gate::mark_thread_of_pool();
            other.gate.end_thread();
        });
        of_pool.join().expect("no panic");
        drop(dropping);
        of_application.join().expect("no panic");
    });
}

/// A callback may wait for a call of another thread, which begins in a turn of the device that waits for the callback.
#[test]
fn a_call_that_waits_for_a_call_of_another_thread_ends() {
    check(1000, || {
        let world = World::new();
        let destroys = {
            let world = Arc::clone(&world);
            spawn(move || world.destroy(1))
        };
        let other = Arc::clone(&world);
        world.call(0, || spawn(move || other.gate.call(yield_now)).join().expect("no panic"));
        destroys.join().expect("no panic");
    });
}
