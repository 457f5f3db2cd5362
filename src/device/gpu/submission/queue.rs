//! The core of the submission queue: numbered items, handed over in order by one thread at a time. It uses neither wgpu
//! nor clocks, so that a model checker can run it (`tests/submission_model.rs`).
//!
//! The parent module documents the states of an item and the guarantee.

use super::sync::{Condvar, Mutex, MutexGuard, ThreadId, lock, this_thread, wait};
use std::collections::VecDeque;
use std::time::Duration;

/// Executes the queue's items. The queue holds no lock during a call.
pub(crate) trait Driver {
    /// A batch of recorded commands.
    type Batch;
    /// An encoded batch.
    type Encoded;
    /// A resource to destroy.
    type Resource;

    /// Encodes a batch. Must not run application callbacks. Several threads may encode different batches at the same
    /// time.
    fn encode(&self, batch: Self::Batch) -> Self::Encoded;

    /// Submits a batch. May run application callbacks, but only after the batch has reached the device's queue. The
    /// callbacks may call the queue again, and may panic.
    fn submit(&self, batch: Self::Encoded);

    /// Destroys a resource. Must not run application callbacks.
    fn destroy(&self, resource: Self::Resource);

    /// Whether [`Driver::destroy`] may wait for the device.
    fn destruction_may_wait(&self, resource: &Self::Resource) -> bool;
}

/// The state of an item in the queue. An item that was taken for submission or destruction has no slot.
enum Slot<D: Driver> {
    Recorded(D::Batch),
    Encoding(ThreadId),
    Encoded(D::Encoded),
    Destruction(D::Resource),
    /// A batch whose encoding ended in a panic: it counts as an item and does nothing.
    Void,
}

/// The thread that has taken the front item out of the queue and is handing it over.
#[derive(Clone, Copy)]
struct Owner {
    thread: ThreadId,
    /// Whether callbacks may run inside and call the queue again.
    submits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    /// The submission thread has not been started.
    Absent,
    Running,
    /// The system could not create the thread: calling threads hand items over.
    Refused,
    Closing,
}

struct State<D: Driver> {
    /// The items in the queue; the last has the number `newest`.
    slots: VecDeque<Slot<D>>,
    /// The number of the newest item. Numbers start at 1.
    newest: u64,
    /// Every item up to this number has been handed over.
    handed_over: u64,
    /// The submission thread must hand over every item up to this number.
    requested: u64,
    owner: Option<Owner>,
    service: Service,
    /// The number of threads waiting on `changed`.
    waiting: usize,
    /// Whether the submission thread is waiting on `called`.
    parked: bool,
    /// Whether the submission thread must call `tick`.
    watched: bool,
}

impl<D: Driver> State<D> {
    fn number_of_front(&self) -> u64 {
        self.newest + 1 - self.slots.len() as u64
    }

    /// Returns whether another thread has taken, or is encoding, the next item.
    fn is_front_taken_by_another(&self, this: ThreadId) -> bool {
        match (&self.owner, self.slots.front()) {
            (Some(owner), _) => owner.thread != this,
            (None, Some(Slot::Encoding(thread))) => *thread != this,
            (None, _) => false,
        }
    }

    /// Returns whether the submission thread has an item to hand over.
    fn has_request(&self) -> bool {
        self.service == Service::Running && self.handed_over < self.requested && !self.slots.is_empty()
    }
}

/// The reason why [`Queue::hand_over`] returned.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// No item is left to hand over.
    Done,
    /// Another thread has taken, or is encoding, the front item.
    TakenByAnother,
    /// This thread itself has the front item, further up its call stack, where the item has not been handed over yet.
    Reentered,
}

/// The queue.
pub(crate) struct Queue<D: Driver> {
    state: Mutex<State<D>>,
    /// Notified when a thread that waits for another thread's item must check the state again.
    changed: Condvar,
    /// Notified when the submission thread has an item to hand over.
    called: Condvar,
}

impl<D: Driver> Queue<D> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                slots: VecDeque::new(),
                newest: 0,
                handed_over: 0,
                requested: 0,
                owner: None,
                service: Service::Absent,
                waiting: 0,
                parked: false,
                watched: false,
            }),
            changed: Condvar::new(),
            called: Condvar::new(),
        }
    }

    /// Appends a batch and returns its number. Does not wait. The order of the calls is the order of the queue.
    pub(crate) fn push_batch(&self, batch: D::Batch) -> u64 {
        self.push(Slot::Recorded(batch))
    }

    /// Appends a destruction and returns its number. Does not wait.
    pub(crate) fn push_destruction(&self, resource: D::Resource) -> u64 {
        self.push(Slot::Destruction(resource))
    }

    fn push(&self, slot: Slot<D>) -> u64 {
        let mut state = lock(&self.state);
        state.slots.push_back(slot);
        state.newest += 1;
        state.newest
    }

    /// The number of the newest item; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        lock(&self.state).newest
    }

    /// Hands over every item up to `target`. Waits for other threads that have taken items, and encodes batches while
    /// waiting. When this returns, every item up to `target` has been handed over, unless the caller is itself inside
    /// [`Driver::encode`] or [`Driver::destroy`].
    pub(crate) fn flush(&self, driver: &D, target: u64) {
        loop {
            if self.hand_over(driver, |state| state.handed_over < target) != Stop::TakenByAnother {
                return;
            }
            if self.help(driver, 0) {
                continue;
            }
            let mut state = lock(&self.state);
            if state.handed_over < target && state.is_front_taken_by_another(this_thread()) {
                state.waiting += 1;
                state = wait(&self.changed, &self.state, state, None);
                state.waiting -= 1;
            }
        }
    }

    /// Carries out the destructions at the front of the queue that need not wait for another thread or for the device.
    pub(crate) fn destroy_front(&self, driver: &D) {
        let does_not_wait = |state: &State<D>| match state.slots.front() {
            Some(Slot::Destruction(resource)) => !driver.destruction_may_wait(resource),
            _ => false,
        };
        self.hand_over(driver, does_not_wait);
    }

    /// Notes that the calling thread is in a callback, if it has taken an item: a callback inside [`Driver::submit`] runs
    /// after the batch has reached the device's queue, so that no thread needs to wait for the callback.
    #[allow(
        dead_code,
        reason = "the allocator alone has no use for it in a browser; the model tests compile this file too"
    )]
    pub(crate) fn note_callback(&self, driver: &D) {
        self.hand_over(driver, |_| false);
    }

    /// Leaves every item up to `target` to the submission thread. Returns whether there is a submission thread. Does
    /// not wait.
    pub(crate) fn request(&self, target: u64) -> bool {
        let mut state = lock(&self.state);
        state.requested = state.requested.max(target);
        self.notify(&state);
        state.service == Service::Running
    }

    /// Makes the submission thread call its tick soon. Returns whether there is a submission thread.
    pub(crate) fn watch(&self) -> bool {
        let mut state = lock(&self.state);
        state.watched = true;
        if state.parked {
            self.called.notify_one();
        }
        state.service == Service::Running
    }

    /// Encodes the newest recorded batch if more than `spare` batches are recorded and not encoded. Returns whether a
    /// batch was encoded.
    pub(crate) fn help(&self, driver: &D, spare: usize) -> bool {
        let this = this_thread();
        let mut state = lock(&self.state);
        let front = state.number_of_front();
        let recorded = (front..).zip(&mut state.slots).filter(|(_, slot)| matches!(slot, Slot::Recorded(_)));
        let Some((number, slot)) = recorded.skip(spare).last() else { return false };
        let Slot::Recorded(batch) = std::mem::replace(slot, Slot::Encoding(this)) else { return false };
        drop(state);
        self.encode(driver, number, batch);
        true
    }

    /// Hands over items from the front while `should_continue` returns true.
    fn hand_over(&self, driver: &D, should_continue: impl Fn(&State<D>) -> bool) -> Stop {
        let this = this_thread();
        loop {
            let mut state = lock(&self.state);
            let front = state.number_of_front();
            // Called from a callback inside the submission of the item that this thread has taken. That item has
            // reached the device's queue.
            if state.owner.is_some_and(|owner| owner.thread == this && owner.submits) {
                self.mark_handed_over(&mut state, front - 1);
            }
            if !should_continue(&state) {
                return Stop::Done;
            }
            match state.owner {
                Some(owner) if owner.thread != this => return Stop::TakenByAnother,
                Some(_) => return Stop::Reentered,
                None => {}
            }
            match state.slots.front_mut() {
                None => return Stop::Done,
                Some(Slot::Encoding(thread)) if *thread == this => return Stop::Reentered,
                Some(Slot::Encoding(_)) => return Stop::TakenByAnother,
                Some(slot @ Slot::Recorded(_)) => {
                    if let Slot::Recorded(batch) = std::mem::replace(slot, Slot::Encoding(this)) {
                        drop(state);
                        self.encode(driver, front, batch);
                    }
                    continue;
                }
                Some(Slot::Encoded(_) | Slot::Destruction(_) | Slot::Void) => {}
            }
            let Some(slot) = state.slots.pop_front() else { return Stop::Done };
            state.owner = Some(Owner { thread: this, submits: matches!(slot, Slot::Encoded(_)) });
            drop(state);
            let _taken = Taken { queue: self, number: front };
            match slot {
                Slot::Encoded(batch) => driver.submit(batch),
                Slot::Destruction(resource) => driver.destroy(resource),
                Slot::Void | Slot::Recorded(_) | Slot::Encoding(_) => {}
            }
        }
    }

    /// Notes that every item up to `number` has been handed over, and that this thread has taken no item.
    fn mark_handed_over(&self, state: &mut State<D>, number: u64) {
        state.handed_over = state.handed_over.max(number);
        let this = this_thread();
        state.owner.take_if(|owner| owner.thread == this);
        self.notify(state);
    }

    /// Wakes the threads that may be able to continue.
    fn notify(&self, state: &State<D>) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
        if state.parked && state.has_request() {
            self.called.notify_one();
        }
    }

    fn encode(&self, driver: &D, number: u64, batch: D::Batch) {
        let mut place = EncodingSlot { queue: self, number, encoded: Slot::Void };
        place.encoded = Slot::Encoded(driver.encode(batch));
    }

    /// Returns whether the caller must start the submission thread. If that fails, the caller calls [`Queue::refuse`].
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "there is no submission thread"))]
    pub(crate) fn start(&self) -> bool {
        let mut state = lock(&self.state);
        let is_first = state.service == Service::Absent;
        if is_first {
            state.service = Service::Running;
        }
        is_first
    }

    /// Notes that there is no submission thread and that none will be started.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "there is no submission thread"))]
    pub(crate) fn refuse(&self) {
        lock(&self.state).service = Service::Refused;
    }

    /// The main loop of the submission thread: hands over requested items until the queue is closed. Calls `tick`
    /// first, after each [`Queue::watch`], and after the delay that the last call of `tick` returned.
    ///
    /// Unwinds if an application callback panics. The taken item then counts as handed over, and the thread may call
    /// `serve` again.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "there is no submission thread"))]
    pub(crate) fn serve(&self, driver: &D, mut tick: impl FnMut() -> Option<Duration>) {
        let this = this_thread();
        loop {
            let pause = tick();
            self.hand_over(driver, State::has_request);
            let mut state = lock(&self.state);
            if state.service == Service::Closing {
                break;
            }
            let has_work = state.has_request() && !state.is_front_taken_by_another(this);
            if !has_work && !std::mem::take(&mut state.watched) {
                state.parked = true;
                state = wait(&self.called, &self.state, state, pause);
                state.parked = false;
                state.watched = false;
            }
        }
    }

    /// Stops the submission thread, and drops the items that no thread has taken. Does not wait for the thread.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "there is no submission thread"))]
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.service = Service::Closing;
        state.newest = state.number_of_front() - 1;
        let slots = std::mem::take(&mut state.slots);
        self.called.notify_one();
        drop(state);
        // Dropped without the lock, because dropping commands calls wgpu.
        drop(slots);
    }

    /// The number up to which every item has been handed over.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "no thread is waited for there"))]
    pub(crate) fn handed_over(&self) -> u64 {
        lock(&self.state).handed_over
    }

    /// The number up to which the submission thread must hand over items.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the crate's own tests; the model tests compile this file too")]
    pub(crate) fn requested(&self) -> u64 {
        lock(&self.state).requested
    }

    /// The number of batches waiting to be encoded, and of encoded batches waiting to be submitted.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the crate's own tests; the model tests compile this file too")]
    pub(crate) fn waiting(&self) -> [usize; 2] {
        let state = lock(&self.state);
        let count = |is: fn(&Slot<D>) -> bool| state.slots.iter().filter(|slot| is(slot)).count();
        [count(|slot| matches!(slot, Slot::Recorded(_))), count(|slot| matches!(slot, Slot::Encoded(_)))]
    }

    fn state(&self) -> MutexGuard<'_, State<D>> {
        lock(&self.state)
    }
}

/// Stores an encoded batch in its slot, or marks the slot void if encoding panicked.
struct EncodingSlot<'a, D: Driver> {
    queue: &'a Queue<D>,
    number: u64,
    encoded: Slot<D>,
}

impl<D: Driver> Drop for EncodingSlot<'_, D> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        let index = self.number.checked_sub(state.number_of_front()).and_then(|index| usize::try_from(index).ok());
        // A closed queue has no slots.
        if let Some(slot) = index.and_then(|index| state.slots.get_mut(index)) {
            *slot = std::mem::replace(&mut self.encoded, Slot::Void);
        }
        self.queue.notify(&state);
    }
}

/// An item that a thread has taken out of the queue. Dropping this, also during a panic, marks the item as handed over.
struct Taken<'a, D: Driver> {
    queue: &'a Queue<D>,
    number: u64,
}

impl<D: Driver> Drop for Taken<'_, D> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        self.queue.mark_handed_over(&mut state, self.number);
    }
}

impl<D: Driver> std::fmt::Debug for Queue<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let State { newest, handed_over, requested, service, .. } = &*lock(&self.state);
        f.debug_struct("Queue")
            .field("newest", newest)
            .field("handed_over", handed_over)
            .field("requested", requested)
            .field("service", service)
            .finish_non_exhaustive()
    }
}
