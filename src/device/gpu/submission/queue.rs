//! The core of the submission queue: numbered items, handed over in order by one thread at a time. It knows neither wgpu nor clocks,
//! so that a model checker can run it (`tests/submission_model`).
//!
//! The parent module describes the states of an item and what is guaranteed.

use super::sync::{Condvar, Mutex, MutexGuard, ThreadId, lock, this_thread, wait};
use std::collections::VecDeque;
use std::time::Duration;

/// What the queue hands its items to. No lock of the queue is held during a call.
pub(crate) trait Driver {
    /// A batch of recorded commands.
    type Batch;
    /// A batch that is encoded.
    type Encoded;
    /// Something to destroy.
    type Resource;

    /// Encodes a batch. Must not run callbacks of the application. Several threads may encode different batches at once.
    fn encode(&self, batch: Self::Batch) -> Self::Encoded;

    /// Submits a batch. May run callbacks of the application, but only after the batch has reached the device's queue; these may call
    /// the queue again, and may panic.
    fn submit(&self, batch: Self::Encoded);

    /// Destroys a resource. Must not run callbacks of the application.
    fn destroy(&self, resource: Self::Resource);

    /// Whether [`Driver::destroy`] may wait for the device.
    fn destruction_may_wait(&self, resource: &Self::Resource) -> bool;
}

/// Where an item is on its way. An item that is being submitted or destroyed, or was, has no slot any more.
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
    /// Whether callbacks may run inside, and call the queue again.
    submits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    /// The submission thread has not been started.
    Absent,
    Running,
    /// The system refused a thread: callers hand over by themselves.
    Refused,
    Closing,
}

struct State<D: Driver> {
    /// The items that nobody has taken out yet; the last has the number `newest`.
    slots: VecDeque<Slot<D>>,
    /// The number of the newest item. Numbers start at 1.
    newest: u64,
    /// Every item up to this number has been handed over.
    handed_over: u64,
    /// The submission thread is to hand over every item up to this number.
    requested: u64,
    owner: Option<Owner>,
    service: Service,
    /// Threads that wait for `changed`.
    waiting: usize,
    /// Whether the submission thread waits for `called`.
    parked: bool,
    /// Whether the submission thread is to call its tick.
    watched: bool,
}

impl<D: Driver> State<D> {
    fn number_of_front(&self) -> u64 {
        self.newest + 1 - self.slots.len() as u64
    }

    /// Whether another thread has the item that is to be handed over next.
    fn is_elsewhere(&self, this: ThreadId) -> bool {
        match (&self.owner, self.slots.front()) {
            (Some(owner), _) => owner.thread != this,
            (None, Some(Slot::Encoding(thread))) => *thread != this,
            (None, _) => false,
        }
    }

    /// Whether the submission thread has something to hand over.
    fn is_wanted(&self) -> bool {
        self.service == Service::Running && self.handed_over < self.requested && !self.slots.is_empty()
    }
}

/// Why [`Queue::hand_over`] returned.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// Nothing is left to do.
    Done,
    /// Another thread has the front item.
    Elsewhere,
    /// This thread itself has the front item, further up its call stack, where the item has not been handed over yet.
    Reentered,
}

/// The queue.
pub(crate) struct Queue<D: Driver> {
    state: Mutex<State<D>>,
    /// Notified whenever a thread that waits for another one's item should look again.
    changed: Condvar,
    /// Notified when the submission thread has something to do.
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

    /// Appends a batch and returns its number. Does not wait. The order of calls is the order of the queue.
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

    /// Hands over every item up to `target`. Waits for other threads that have one of them in hand, and encodes for them meanwhile. When
    /// this returns, every item up to `target` has been handed over, unless the caller is itself inside [`Driver::encode`] or
    /// [`Driver::destroy`].
    pub(crate) fn flush(&self, driver: &D, target: u64) {
        loop {
            if self.hand_over(driver, |state| state.handed_over < target) != Left::Elsewhere {
                return;
            }
            if self.help(driver, 0) {
                continue;
            }
            let mut state = lock(&self.state);
            if state.handed_over < target && state.is_elsewhere(this_thread()) {
                state.waiting += 1;
                state = wait(&self.changed, &self.state, state, None);
                state.waiting -= 1;
            }
        }
    }

    /// Destroys what is at the front of the queue, as far as that waits for nothing: neither for another thread nor for the device.
    pub(crate) fn destroy_front(&self, driver: &D) {
        let waits_for_nothing = |state: &State<D>| match state.slots.front() {
            Some(Slot::Destruction(resource)) => !driver.destruction_may_wait(resource),
            _ => false,
        };
        self.hand_over(driver, waits_for_nothing);
    }

    /// Leaves every item up to `target` to the submission thread. Says whether there is one. Does not wait.
    pub(crate) fn request(&self, target: u64) -> bool {
        let mut state = lock(&self.state);
        state.requested = state.requested.max(target);
        self.notify(&state);
        state.service == Service::Running
    }

    /// Has the submission thread call its tick soon. Says whether there is one.
    pub(crate) fn watch(&self) -> bool {
        let mut state = lock(&self.state);
        state.watched = true;
        if state.parked {
            self.called.notify_one();
        }
        state.service == Service::Running
    }

    /// Encodes the newest batch that is not encoded if there are more than `spare` of them. Says whether it did.
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

    /// Hands over items from the front for as long as there is a reason to.
    fn hand_over(&self, driver: &D, goes_on: impl Fn(&State<D>) -> bool) -> Left {
        let this = this_thread();
        loop {
            let mut state = lock(&self.state);
            let front = state.number_of_front();
            // A callback inside the submission of the item in hand, which is with the device's queue since then.
            if state.owner.is_some_and(|owner| owner.thread == this && owner.submits) {
                self.leave(&mut state, front - 1);
            }
            if !goes_on(&state) {
                return Left::Done;
            }
            match state.owner {
                Some(owner) if owner.thread != this => return Left::Elsewhere,
                Some(_) => return Left::Reentered,
                None => {}
            }
            match state.slots.front_mut() {
                None => return Left::Done,
                Some(Slot::Encoding(thread)) if *thread == this => return Left::Reentered,
                Some(Slot::Encoding(_)) => return Left::Elsewhere,
                Some(slot @ Slot::Recorded(_)) => {
                    if let Slot::Recorded(batch) = std::mem::replace(slot, Slot::Encoding(this)) {
                        drop(state);
                        self.encode(driver, front, batch);
                    }
                    continue;
                }
                Some(Slot::Encoded(_) | Slot::Destruction(_) | Slot::Void) => {}
            }
            let Some(slot) = state.slots.pop_front() else { return Left::Done };
            state.owner = Some(Owner { thread: this, submits: matches!(slot, Slot::Encoded(_)) });
            drop(state);
            let _in_hand = InHand { queue: self, number: front };
            match slot {
                Slot::Encoded(batch) => driver.submit(batch),
                Slot::Destruction(resource) => driver.destroy(resource),
                Slot::Void | Slot::Recorded(_) | Slot::Encoding(_) => {}
            }
        }
    }

    /// Notes that every item up to `number` has been handed over, and that this thread has none in hand.
    fn leave(&self, state: &mut State<D>, number: u64) {
        state.handed_over = state.handed_over.max(number);
        let this = this_thread();
        state.owner.take_if(|owner| owner.thread == this);
        self.notify(state);
    }

    /// Has the threads that may go on look again.
    fn notify(&self, state: &State<D>) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
        if state.parked && state.is_wanted() {
            self.called.notify_one();
        }
    }

    fn encode(&self, driver: &D, number: u64, batch: D::Batch) {
        let mut place = Place { queue: self, number, encoded: Slot::Void };
        place.encoded = Slot::Encoded(driver.encode(batch));
    }

    /// Whether the submission thread has to be started; the caller does that, or calls [`Queue::refuse`].
    pub(crate) fn start(&self) -> bool {
        let mut state = lock(&self.state);
        let is_first = state.service == Service::Absent;
        if is_first {
            state.service = Service::Running;
        }
        is_first
    }

    /// Notes that there is no submission thread and will be none.
    pub(crate) fn refuse(&self) {
        lock(&self.state).service = Service::Refused;
    }

    /// The submission thread: hands over what is requested, until the queue is closed. `tick` is called first, when
    /// [`Queue::watch`] was called, and whenever the time is over that it asked for.
    ///
    /// Unwinds if a callback of the application panics; what was in hand is then handed over, and the thread may call this again.
    pub(crate) fn serve(&self, driver: &D, mut tick: impl FnMut() -> Option<Duration>) {
        let this = this_thread();
        loop {
            let pause = tick();
            self.hand_over(driver, State::is_wanted);
            let mut state = lock(&self.state);
            if state.service == Service::Closing {
                break;
            }
            let has_work = state.is_wanted() && !state.is_elsewhere(this);
            if !has_work && !std::mem::take(&mut state.watched) {
                state.parked = true;
                state = wait(&self.called, &self.state, state, pause);
                state.parked = false;
                state.watched = false;
            }
        }
    }

    /// Ends the service of the submission thread, and drops the items that nobody has taken out yet. Does not wait for the thread.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.service = Service::Closing;
        state.newest = state.number_of_front() - 1;
        let slots = std::mem::take(&mut state.slots);
        self.called.notify_one();
        drop(state);
        // Dropped outside of the lock, since dropping commands calls wgpu.
        drop(slots);
    }

    /// Every item up to this number has been handed over.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "no thread is waited for there"))]
    pub(crate) fn handed_over(&self) -> u64 {
        lock(&self.state).handed_over
    }

    /// How many batches wait to be encoded, and how many are encoded and wait to be submitted.
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

/// Puts an encoded batch back into its place, or marks the place void if encoding ended in a panic.
struct Place<'a, D: Driver> {
    queue: &'a Queue<D>,
    number: u64,
    encoded: Slot<D>,
}

impl<D: Driver> Drop for Place<'_, D> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        let index = self.number.checked_sub(state.number_of_front()).and_then(|index| usize::try_from(index).ok());
        // After the queue was closed there is no place any more.
        if let Some(slot) = index.and_then(|index| state.slots.get_mut(index)) {
            *slot = std::mem::replace(&mut self.encoded, Slot::Void);
        }
        self.queue.notify(&state);
    }
}

/// An item that a thread has taken out of the queue: handed over when this is dropped, also by a panic.
struct InHand<'a, D: Driver> {
    queue: &'a Queue<D>,
    number: u64,
}

impl<D: Driver> Drop for InHand<'_, D> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        self.queue.leave(&mut state, self.number);
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
