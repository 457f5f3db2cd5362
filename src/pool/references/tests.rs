//! Tests of the counting protocol under a model checker: the interleavings of up to three threads, and every value that
//! the memory model permits a load to return.
//!
//! The pool is modelled as the slot of one block: a lock, the heap's state of the slot, and the list of counts for
//! reuse. A handle performs exactly the operations of [`Storage`](super::super::Storage) and
//! [`WeakStorage`](super::super::WeakStorage) on the count, the lock and the list.

use super::{References, STRONG, WEAK, Word};
use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Debug)]
pub(in crate::pool) struct Checked(loom::sync::atomic::AtomicU64);

impl Default for Checked {
    fn default() -> Self {
        Self(loom::sync::atomic::AtomicU64::new(0))
    }
}

impl Word for Checked {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    fn add(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_add(value, order)
    }

    fn subtract(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_sub(value, order)
    }

    fn exchange_weak(&self, current: u64, new: u64) -> Result<u64, u64> {
        self.0.compare_exchange_weak(current, new, Ordering::AcqRel, Ordering::Acquire)
    }

    fn acquire_fence() {
        loom::sync::atomic::fence(Ordering::Acquire);
    }
}

type Count = Arc<References<Checked>>;

/// The data behind the lock.
#[derive(Default)]
struct State {
    /// The number of the block that uses the slot, or used it last.
    owner: u32,
    allocated: bool,
    pins: u32,
    recycled: Vec<Count>,
}

/// A pool with room for one block.
#[derive(Default)]
struct Model {
    state: Mutex<State>,
    /// The block's bytes: loom reports an access that is not ordered before a later block's accesses.
    bytes: UnsafeCell<()>,
}

struct Strong {
    model: Arc<Model>,
    count: Count,
    owner: u32,
}

struct Weak {
    model: Arc<Model>,
    count: Count,
    owner: u32,
}

struct Pin {
    model: Arc<Model>,
    owner: u32,
}

impl Model {
    /// Allocates the next block, if the slot is free.
    fn allocate(self: &Arc<Self>) -> Option<Strong> {
        let mut state = self.state.lock().expect("no thread panics");
        if state.allocated || state.pins > 0 {
            return None;
        }
        state.allocated = true;
        state.owner += 1;
        let owner = state.owner;
        let count = state.recycled.pop().unwrap_or_default();
        drop(state);
        count.begin();
        self.bytes.with_mut(|_| ());
        Some(Strong { model: Arc::clone(self), count, owner })
    }

    fn is_allocated(&self, owner: u32) -> bool {
        let state = self.state.lock().expect("no thread panics");
        state.allocated && state.owner == owner
    }
}

impl Strong {
    /// Accesses the bytes: the first access of a later block must be ordered after this.
    fn touch(&self) {
        self.model.bytes.with(|_| ());
    }

    /// Accesses the bytes of the block, which must be allocated.
    fn access(&self) {
        assert!(self.model.is_allocated(self.owner), "a handle to a block that was freed");
        self.touch();
    }

    fn downgrade(&self) -> Weak {
        self.count.add_weak();
        Weak { model: Arc::clone(&self.model), count: Arc::clone(&self.count), owner: self.owner }
    }

    fn pin(&self) -> Pin {
        self.model.state.lock().expect("no thread panics").pins += 1;
        Pin { model: Arc::clone(&self.model), owner: self.owner }
    }
}

impl Clone for Strong {
    fn clone(&self) -> Self {
        self.count.clone_strong();
        Self { model: Arc::clone(&self.model), count: Arc::clone(&self.count), owner: self.owner }
    }
}

impl Drop for Strong {
    fn drop(&mut self) {
        if !self.count.drop_strong() {
            return;
        }
        let mut state = self.model.state.lock().expect("no thread panics");
        assert!(state.allocated && state.owner == self.owner, "a block is freed once, by its own handle");
        state.allocated = false;
        if self.count.is_unused() {
            state.recycled.push(Arc::clone(&self.count));
        }
    }
}

impl Weak {
    fn upgrade(&self) -> Option<Strong> {
        let upgraded = self.count.upgrade();
        upgraded.then(|| Strong { model: Arc::clone(&self.model), count: Arc::clone(&self.count), owner: self.owner })
    }
}

impl Clone for Weak {
    fn clone(&self) -> Self {
        self.count.add_weak();
        Self { model: Arc::clone(&self.model), count: Arc::clone(&self.count), owner: self.owner }
    }
}

impl Drop for Weak {
    fn drop(&mut self) {
        self.count.drop_weak();
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.model.state.lock().expect("no thread panics");
        assert_eq!(state.owner, self.owner, "a pinned place keeps its owner");
        state.pins -= 1;
    }
}

/// The preemption bound. loom's authors report that 2 to 3 preemptions find every defect in practice; without a bound a
/// few more steps take minutes.
const PREEMPTIONS: usize = 3;

/// Explores the executions of a program on a new model, and checks the final state.
fn explore(program: impl Fn(&Arc<Model>) + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(move || {
        #[expect(clippy::arc_with_non_send_sync, reason = "the model checker runs all threads on one")]
        let model = Arc::new(Model::default());
        program(&model);
        let state = model.state.lock().expect("no thread panics");
        assert!(!state.allocated && state.pins == 0, "every block was freed");
        for count in &state.recycled {
            assert_eq!(Arc::strong_count(count), 1, "a recycled count belongs to the pool alone");
        }
    });
}

#[test]
fn the_last_of_three_handles_on_three_threads_frees_the_block_once() {
    explore(|model| {
        let first = model.allocate().expect("the place is free");
        let (second, third) = (first.clone(), first.clone());
        let threads = [second, third].map(|handle| {
            thread::spawn(move || {
                handle.touch();
                drop(handle);
            })
        });
        first.touch();
        drop(first);
        threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        // All accesses to the bytes must be ordered before those of the next block.
        drop(model.allocate().expect("the place is free again"));
    });
}

#[test]
fn an_upgrade_racing_with_the_last_drop_returns_the_allocated_block_or_none() {
    explore(|model| {
        let only = model.allocate().expect("the place is free");
        let weak = only.downgrade();
        let racer = thread::spawn(move || {
            if let Some(again) = weak.upgrade() {
                again.access();
            }
            drop(weak);
        });
        only.access();
        drop(only);
        // A new block may use the slot and the count immediately.
        if let Some(next) = model.allocate() {
            next.access();
        }
        racer.join().expect("it does not panic");
    });
}

#[test]
fn a_weak_handle_of_a_freed_pinned_block_never_upgrades_to_the_next_block() {
    explore(|model| {
        let old = model.allocate().expect("the place is free");
        let (weak, pin) = (old.downgrade(), old.pin());
        let freer = thread::spawn(move || drop(old));
        let inner = Arc::clone(model);
        let user = thread::spawn(move || {
            drop(pin);
            if let Some(next) = inner.allocate() {
                let twin = next.clone();
                twin.access();
                drop(next);
                twin.access();
            }
        });
        if let Some(again) = weak.upgrade() {
            again.access();
        }
        freer.join().expect("it does not panic");
        user.join().expect("it does not panic");
        assert!(weak.upgrade().is_none(), "the block is gone");
    });
}

#[test]
fn a_count_is_not_reused_while_a_weak_handle_of_an_earlier_block_exists() {
    explore(|model| {
        let old = model.allocate().expect("the place is free");
        let weak = old.downgrade();
        let dropper = thread::spawn(move || drop(weak));
        drop(old);
        let next = model.allocate().expect("the place is free again");
        let weak = next.downgrade();
        dropper.join().expect("it does not panic");
        let again = weak.upgrade().expect("the block lives");
        again.access();
        drop((next, again, weak));
    });
}

#[test]
fn a_clone_of_a_weak_handle_is_counted_while_the_block_is_freed() {
    explore(|model| {
        let old = model.allocate().expect("the place is free");
        let weak = old.downgrade();
        let clone = weak.clone();
        let first = thread::spawn(move || {
            if let Some(again) = clone.upgrade() {
                again.touch();
            }
        });
        let second = thread::spawn(move || {
            if let Some(again) = weak.upgrade() {
                again.touch();
            }
        });
        drop(old);
        first.join().expect("it does not panic");
        second.join().expect("it does not panic");
        drop(model.allocate().expect("the place is free again"));
    });
}

#[test]
fn a_count_refuses_more_handles_than_it_can_represent() {
    let panics = |act: fn(&References)| {
        let count: References = References::default();
        count.begin();
        count.0.store(super::MAX_HANDLES * (STRONG + WEAK), Ordering::Relaxed);
        let refused = std::panic::catch_unwind(|| act(&count)).is_err();
        (refused, count.0.load(Ordering::Relaxed) == super::MAX_HANDLES * (STRONG + WEAK))
    };
    assert_eq!(panics(References::clone_strong), (true, true));
    assert_eq!(panics(References::add_weak), (true, true));
    let count: References = References::default();
    count.0.store(super::MAX_HANDLES, Ordering::Relaxed);
    assert!(!count.upgrade());
}
