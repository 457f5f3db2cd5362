//! A model checker runs the core of the submission queue (`src/device/gpu/submission/queue.rs`): two or three
//! application threads and the submission thread, in thousands of random interleavings. A lost wake-up is a deadlock,
//! which the checker reports.
//!
//! The device is modeled as a list of submitted items. Submissions run callbacks that call the queue again, close it,
//! or panic.

// The same source file as in the crate, with the checker's locks and threads.
#[path = "../src/device/gpu/submission/queue.rs"]
mod queue;

#[path = "model/sync.rs"]
mod sync;

use queue::{Driver, Queue};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Arc, Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, Weak};
use std::time::Duration;
use sync::{check, lock};

/// What happens when an item is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Nothing,
    /// Encoding panics.
    EncodingPanics,
    /// A callback of the submission panics.
    CallbackPanics,
    /// A callback flushes the queue.
    CallbackFlushes,
    /// A callback appends a batch and leaves it to the submission thread.
    CallbackAppends,
    /// A callback appends a batch, flushes, and then panics.
    CallbackAppendsAndPanics,
    /// A callback closes the queue.
    CallbackCloses,
}

/// The payload of intentional panics.
struct OnPurpose;

/// A batch or a resource.
struct Item {
    number: u64,
    event: Event,
    /// The items that are alive.
    alive: std::sync::Arc<AtomicUsize>,
}

impl Drop for Item {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The items that the device received.
#[derive(Default)]
struct Got {
    numbers: Vec<u64>,
    /// Whether a thread is in the part of a submission that requires mutual exclusion.
    is_busy: bool,
}

#[derive(Default)]
struct Device {
    got: Mutex<Got>,
    arrived: Condvar,
    world: std::sync::OnceLock<Weak<World>>,
}

struct World {
    queue: Queue<Device>,
    device: Device,
    /// The next item's number, as in the recorder, and the open batch, if there is one.
    recorder: Mutex<(u64, bool)>,
    alive: std::sync::Arc<AtomicUsize>,
    is_closed: AtomicBool,
}

impl Device {
    fn hand_over(&self, number: u64) {
        {
            let mut got = lock(&self.got);
            assert!(!got.is_busy, "two threads submit at once");
            got.is_busy = true;
        }
        shuttle::thread::yield_now();
        let mut got = lock(&self.got);
        got.is_busy = false;
        let last = got.numbers.last().copied().unwrap_or(0);
        assert!(number > last, "item {number} is handed over after item {last}");
        got.numbers.push(number);
        self.arrived.notify_all();
    }

    fn world(&self) -> Arc<World> {
        self.world.get().and_then(Weak::upgrade).expect("the world outlives its threads")
    }
}

impl Driver for Device {
    type Batch = Item;
    type Encoded = Item;
    type Resource = Item;

    fn encode(&self, batch: Item) -> Item {
        shuttle::thread::yield_now();
        if batch.event == Event::EncodingPanics {
            // Counts as submitted, although nothing reaches the device.
            resume_unwind(Box::new(OnPurpose));
        }
        batch
    }

    fn submit(&self, batch: Item) {
        self.hand_over(batch.number);
        let world = self.world();
        match batch.event {
            Event::Nothing | Event::EncodingPanics => {}
            Event::CallbackPanics => resume_unwind(Box::new(OnPurpose)),
            Event::CallbackFlushes => world.flush(),
            Event::CallbackAppends => world.request(world.append(Event::Nothing)),
            Event::CallbackAppendsAndPanics => {
                world.append(Event::Nothing);
                world.flush();
                resume_unwind(Box::new(OnPurpose));
            }
            Event::CallbackCloses => world.close(),
        }
    }

    fn destroy(&self, resource: Item) {
        self.hand_over(resource.number);
    }

    fn destruction_may_wait(&self, resource: &Item) -> bool {
        resource.event != Event::Nothing
    }
}

impl World {
    fn new() -> Arc<Self> {
        let world = Arc::new(Self {
            queue: Queue::new(),
            device: Device::default(),
            recorder: Mutex::new((1, false)),
            alive: std::sync::Arc::default(),
            is_closed: AtomicBool::new(false),
        });
        assert!(world.device.world.set(Arc::downgrade(&world)).is_ok());
        world
    }

    fn item(&self, number: u64, event: Event) -> Item {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Item { number, event, alive: std::sync::Arc::clone(&self.alive) }
    }

    /// Appends a batch under the recorder's lock, as the recorder does.
    fn append(&self, event: Event) -> u64 {
        let mut recorder = lock(&self.recorder);
        let number = self.queue.push_batch(self.item(recorder.0, event));
        recorder.0 += 1;
        number
    }

    fn append_destruction(&self, event: Event) -> u64 {
        let mut recorder = lock(&self.recorder);
        let number = self.queue.push_destruction(self.item(recorder.0, event));
        recorder.0 += 1;
        number
    }

    /// Flushes, and checks the guarantee.
    fn flush(&self) {
        let target = self.queue.newest();
        self.queue.flush(&self.device, target);
        self.assert_handed_over(target);
    }

    fn request(&self, target: u64) {
        if !self.queue.request(target) {
            self.queue.flush(&self.device, target);
        }
    }

    /// Asserts that the device has received the item, or a later one if encoding the item panicked. If the queue was
    /// closed meanwhile, the rest is dropped.
    fn assert_handed_over(&self, number: u64) {
        let handed_over = self.queue.handed_over();
        let is_closed = self.is_closed.load(Ordering::Relaxed);
        assert!(handed_over >= number || is_closed, "item {number} of {handed_over} is not handed over");
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.queue.close();
    }

    /// Starts the submission thread.
    fn serve(self: &Arc<Self>) -> shuttle::thread::JoinHandle<()> {
        assert!(self.queue.start());
        let world = Arc::clone(self);
        shuttle::thread::spawn(move || {
            let tick = || world.tick();
            while forgiving(|| world.queue.serve(&world.device, tick)).is_err() {}
        })
    }

    /// Ends the open batch. Returns whether there was one, so that the queue calls again.
    fn tick(&self) -> Option<Duration> {
        let mut recorder = lock(&self.recorder);
        if !std::mem::take(&mut recorder.1) {
            return None;
        }
        let number = self.queue.push_batch(self.item(recorder.0, Event::Nothing));
        recorder.0 += 1;
        drop(recorder);
        self.queue.request(number);
        Some(Duration::from_micros(500))
    }

    /// Waits for the device to receive an item, without calling the queue.
    fn await_arrival(&self, number: u64) {
        let mut got = lock(&self.device.got);
        while got.numbers.last().is_none_or(|&last| last < number) {
            // The checker runs its threads on one system thread, so a panic in one may poison a lock of another.
            got = self.device.arrived.wait(got).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Catches intentional panics.
fn forgiving<T>(act: impl FnOnce() -> T) -> Result<T, ()> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| match panic.downcast::<OnPurpose>() {
        Ok(_) => (),
        Err(other) => panic_any(other),
    })
}

const EVENTS: [Event; 6] = [
    Event::Nothing,
    Event::EncodingPanics,
    Event::CallbackPanics,
    Event::CallbackFlushes,
    Event::CallbackAppends,
    Event::CallbackAppendsAndPanics,
];

/// The actions of an application thread.
fn act_at_random(world: &World, steps: usize) {
    for _ in 0..steps {
        let event = EVENTS[thread_rng().gen_range(0..EVENTS.len())];
        let act = || match thread_rng().gen_range(0..7) {
            0 => world.request(world.append(event)),
            1 => drop(world.append(event)),
            2 => {
                world.append_destruction(event);
                world.queue.destroy_front(&world.device);
                world.request(world.queue.newest());
            }
            3 => drop(world.queue.help(&world.device, 1)),
            4 => {
                lock(&world.recorder).1 = true;
                world.queue.watch();
            }
            _ => {
                world.append(event);
                world.flush();
            }
        };
        let _ = forgiving(act);
    }
}

fn random_program(threads: usize, steps: usize, is_served: bool) {
    let world = World::new();
    let service = is_served.then(|| world.serve());
    if !is_served {
        assert!(world.queue.start());
        // As if the system could not start a thread.
        world.queue.refuse();
    }
    let program: Vec<_> = (0..threads)
        .map(|_| {
            let world = Arc::clone(&world);
            shuttle::thread::spawn(move || act_at_random(&world, steps))
        })
        .collect();
    for thread in program {
        thread.join().expect("panics on purpose are caught");
    }
    // The rest is submitted without a further call, if the submission thread was woken.
    let last = world.append(Event::Nothing);
    if is_served {
        assert!(world.queue.request(last));
        world.await_arrival(last);
    } else {
        while world.queue.handed_over() < last {
            let _ = forgiving(|| world.flush());
        }
    }
    world.close();
    if let Some(service) = service {
        service.join().expect("panics on purpose are caught");
    }
    // A batch that a callback appends after the queue was closed is dropped with the queue.
    world.close();
    assert_eq!(world.alive.load(Ordering::Relaxed), 0, "items outlive the queue");
}

#[test]
fn items_arrive_in_order_for_every_interleaving_of_two_threads() {
    check(3000, || random_program(2, 4, true));
}

#[test]
fn items_arrive_in_order_for_every_interleaving_of_three_threads() {
    check(1500, || random_program(3, 3, true));
}

#[test]
fn without_a_submission_thread_the_calling_threads_submit() {
    check(1500, || random_program(3, 3, false));
}

#[test]
fn an_open_batch_is_submitted_without_a_further_call() {
    let program = || {
        let world = World::new();
        let service = world.serve();
        for _ in 0..2 {
            let number = {
                let mut recorder = lock(&world.recorder);
                recorder.1 = true;
                world.queue.watch();
                recorder.0
            };
            world.await_arrival(number);
        }
        world.close();
        service.join().expect("nothing panics");
    };
    check(2000, program);
}

/// The last handle of a pool is dropped at any time, possibly in a callback.
#[test]
fn a_queue_can_be_closed_at_any_time_and_drops_its_items() {
    let program = || {
        let world = World::new();
        let service = world.serve();
        let other = {
            let world = Arc::clone(&world);
            shuttle::thread::spawn(move || {
                for event in [Event::Nothing, Event::EncodingPanics, Event::CallbackCloses, Event::Nothing] {
                    let number = world.append(event);
                    world.queue.request(number);
                    let _ = forgiving(|| world.queue.help(&world.device, 0));
                }
            })
        };
        for _ in 0..2 {
            world.queue.request(world.append(Event::CallbackPanics));
        }
        world.close();
        other.join().expect("panics on purpose are caught");
        service.join().expect("panics on purpose are caught");
        // A batch that is appended after the queue was closed is dropped with the queue.
        world.close();
        assert_eq!(world.alive.load(Ordering::Relaxed), 0, "items outlive the queue");
    };
    check(2000, program);
}
