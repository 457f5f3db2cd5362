//! The locks of the crate, and the order in which a thread takes them.
//!
//! Each lock has a [`Rank`], and a thread that holds a lock takes only locks of later ranks: then no two threads can wait for each other. With
//! debug assertions every acquisition is checked against the locks that the thread holds, so that every test checks the order, on every
//! backend, without the two threads that a deadlock takes. A violation panics with both ranks. Without debug assertions a rank costs nothing.
//!
//! Code of others — a callback of the application, a logger, a waker, wgpu where it runs callbacks — may call the pool or wait for a thread
//! that does. [`check_no_lock_is_held`] stands before each such call, and at the start of a function that makes one under rare conditions,
//! so that every call of the function is checked.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
#[cfg(not(target_arch = "wasm32"))]
use std::sync::TryLockError;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// The places of locks in the order, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(debug_assertions), allow(dead_code, reason = "the order is checked with debug assertions"))]
pub(crate) enum Place {
    /// The GL context, on GL only: one thread at a time uses the context. This lock is reentrant, and the only one that is held during calls
    /// of wgpu that run callbacks of the application.
    Context,
    /// The growth lock of a pool: one thread at a time creates segments.
    Growth,
    /// A kernel that a warm-up has looked up: held while the kernel is compiled.
    Compilation,
    /// The recorder of a device: the open batch and its caches. Held while blocks are resolved to locations and commands are recorded.
    Recorder,
    /// The plans of a loop of repeated steps: held for a moment between runs, which take the plans out.
    Plans,
    /// The heap of a pool: arithmetic on blocks. For moves, also commands and buffers, with the recorder.
    Heap,
    /// The timer and the poller of reads: their holders start threads.
    Service,
    /// Leaf locks, whose holders take no other lock: the state of the submission queue, idle staging buffers, bind-group layouts, compiled
    /// programs, the latched fault, destroyed segments, the wakers of reads, the list of threads, the statistics of repeated steps, and the
    /// log of a dry run.
    Leaf,
}

#[cfg(debug_assertions)]
const ALL: [Place; 8] = {
    use Place::{Compilation, Context, Growth, Heap, Leaf, Plans, Recorder, Service};
    [Context, Growth, Compilation, Recorder, Plans, Heap, Service, Leaf]
};

/// The place of a lock in the order, as a type.
pub(crate) trait Rank {
    #[cfg_attr(not(debug_assertions), allow(dead_code, reason = "the order is checked with debug assertions"))]
    const PLACE: Place;
}

/// The ranks of locks.
pub(crate) mod rank {
    use super::{Place, Rank};

    macro_rules! ranks {
        ($($rank:ident)+) => {$(
            #[derive(Debug)]
            #[allow(dead_code, reason = "some features have no lock of a rank")]
            pub(crate) enum $rank {}

            impl Rank for $rank {
                const PLACE: Place = Place::$rank;
            }
        )+};
    }

    ranks!(Context Growth Compilation Recorder Plans Heap Service Leaf);
}

/// The locks that each thread holds. Every operation of the crate comes here several times, in builds without optimization: hence the mask.
#[cfg(debug_assertions)]
mod held {
    use super::{ALL, Place};
    use std::cell::Cell;
    use std::panic::Location;

    struct Held {
        /// A bit for each place of which the thread holds a lock.
        mask: Cell<u8>,
        counts: [Cell<u32>; ALL.len()],
        /// Where the thread took the last lock of each place.
        taken_at: [Cell<Option<&'static Location<'static>>>; ALL.len()],
    }

    thread_local! {
        static HELD: Held = const {
            Held {
                mask: Cell::new(0),
                counts: [const { Cell::new(0) }; ALL.len()],
                taken_at: [const { Cell::new(None) }; ALL.len()],
            }
        };
    }

    pub(super) fn add(place: Place, taken_at: &'static Location<'static>) {
        HELD.with(|held| {
            let place = place as usize;
            held.mask.set(held.mask.get() | 1 << place);
            held.counts[place].set(held.counts[place].get() + 1);
            held.taken_at[place].set(Some(taken_at));
        });
    }

    pub(super) fn remove(place: Place) {
        HELD.with(|held| {
            let place = place as usize;
            let left = held.counts[place].get() - 1;
            held.counts[place].set(left);
            if left == 0 {
                held.mask.set(held.mask.get() & !(1 << place));
            }
        });
    }

    pub(super) fn holds(place: Place) -> bool {
        HELD.with(|held| held.mask.get() & 1 << place as usize != 0)
    }

    /// Returns the innermost place of which the thread holds a lock and where it took the lock, unless the thread panics: the check would
    /// end the process.
    pub(super) fn innermost() -> Option<(Place, &'static Location<'static>)> {
        HELD.with(|held| {
            let mask = held.mask.get();
            if mask == 0 || std::thread::panicking() {
                return None;
            }
            let place = mask.ilog2() as usize;
            Some((ALL[place], held.taken_at[place].get()?))
        })
    }
}

/// A lock that the thread holds, for the check of the order.
#[derive(Debug)]
pub(super) struct Held<R: Rank>(PhantomData<fn() -> R>);

impl<R: Rank> Held<R> {
    #[cfg_attr(debug_assertions, track_caller)]
    pub(super) fn new() -> Self {
        #[cfg(debug_assertions)]
        held::add(R::PLACE, std::panic::Location::caller());
        Self(PhantomData)
    }
}

#[cfg(debug_assertions)]
impl<R: Rank> Drop for Held<R> {
    fn drop(&mut self) {
        held::remove(R::PLACE);
    }
}

/// Checks that the thread may wait for a lock of this rank. A thread that has the GL context may take it again at any time.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub(super) fn check_order<R: Rank>() {
    #[cfg(debug_assertions)]
    if let Some((innermost, taken_at)) = held::innermost() {
        let wanted = R::PLACE;
        let has_context = || wanted == Place::Context && held::holds(Place::Context);
        assert!(
            (innermost as u8) < wanted as u8 || has_context(),
            "lock order: a thread that holds a lock of rank {innermost:?}, taken at {taken_at}, waits for one of rank {wanted:?}"
        );
    }
}

/// Checks that the thread holds no lock but that of the GL context, before `what`: a call of code that may call the pool, or a wait.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn check_no_lock_is_held(what: &str) {
    #[cfg(debug_assertions)]
    if let Some((innermost, taken_at)) = held::innermost() {
        assert!(
            innermost == Place::Context,
            "lock order: {what} while the thread holds a lock of rank {innermost:?}, taken at {taken_at}"
        );
    }
    #[cfg(not(debug_assertions))]
    let _ = what;
}

/// Checks that the thread holds no lock, before `what`: a call in which wgpu runs the callbacks of the application. In browsers the event
/// loop runs them.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub(super) fn check_callbacks_may_run(what: &str) {
    if !cfg!(target_arch = "wasm32") {
        check_no_lock_is_held(what);
    }
}

/// A value that one thread at a time uses, with a rank. Ignores poisoning: every critical section of the crate leaves its value
/// consistent, even when its thread panics.
pub(crate) struct Lock<T, R: Rank = rank::Leaf> {
    value: Mutex<T>,
    rank: PhantomData<fn() -> R>,
}

/// The right to use the value of a [`Lock`], until dropped.
pub(crate) struct Guard<'a, T, R: Rank = rank::Leaf> {
    guard: MutexGuard<'a, T>,
    held: Held<R>,
}

impl<T, R: Rank> Lock<T, R> {
    pub(crate) const fn new(value: T) -> Self {
        Self { value: Mutex::new(value), rank: PhantomData }
    }

    /// Waits for the thread that uses the value.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn lock(&self) -> Guard<'_, T, R> {
        check_order::<R>();
        let guard = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        Guard { guard, held: Held::new() }
    }

    /// Returns `None` if another thread uses the value. Does not wait, so that the thread may hold any lock.
    #[cfg(not(target_arch = "wasm32"))]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T, R>> {
        let guard = match self.value.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Guard { guard, held: Held::new() })
    }

    #[cfg(any(all(feature = "tensor", not(target_arch = "wasm32")), test))]
    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default, R: Rank> Default for Lock<T, R> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug, R: Rank> fmt::Debug for Lock<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<'a, T, R: Rank> Guard<'a, T, R> {
    /// Waits until the condition variable is notified, or until `longest` is over. May return early. Other threads may use the value
    /// meanwhile. A wait without an end needs a thread that holds no other lock.
    #[cfg_attr(debug_assertions, track_caller)]
    pub(super) fn wait(self, condvar: &Condvar, longest: Option<Duration>) -> Self {
        let Self { guard, held } = self;
        drop(held);
        let guard = match longest {
            None => {
                check_no_lock_is_held("a wait");
                condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
            }
            Some(longest) => condvar.wait_timeout(guard, longest).unwrap_or_else(PoisonError::into_inner).0,
        };
        Self { guard, held: Held::new() }
    }

    /// Waits while `blocks` returns true, at most `longest`. Other threads may use the value meanwhile.
    #[cfg_attr(debug_assertions, track_caller)]
    pub(super) fn wait_while(self, condvar: &Condvar, longest: Duration, blocks: impl FnMut(&mut T) -> bool) -> Self {
        let Self { guard, held } = self;
        drop(held);
        let guard = condvar.wait_timeout_while(guard, longest, blocks).unwrap_or_else(PoisonError::into_inner).0;
        Self { guard, held: Held::new() }
    }
}

impl<T, R: Rank> Deref for Guard<'_, T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T, R: Rank> DerefMut for Guard<'_, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: fmt::Debug, R: Rank> fmt::Debug for Guard<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.guard.fmt(f)
    }
}

/// Wakes tasks. A waker may poll its task at once, and the task may call the pool.
#[cfg_attr(debug_assertions, track_caller)]
pub(super) fn wake_unlocked(wakers: impl IntoIterator<Item = Waker>) {
    check_no_lock_is_held("a waker");
    wakers.into_iter().for_each(Waker::wake);
}

/// Logs a message at a level, such as `warn`: a logger may call the pool.
macro_rules! log_unlocked {
    ($level:ident, $($message:tt)+) => {{
        $crate::device::lock::check_no_lock_is_held("a log message");
        ::log::$level!($($message)+)
    }};
}

pub(super) use log_unlocked;

#[cfg(all(test, debug_assertions, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn refuses(act: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(act)).is_err()
    }

    #[test]
    fn locks_are_taken_from_the_outermost_to_the_innermost() {
        assert!(ALL.is_sorted() && ALL.len() == Place::Leaf as usize + 1, "places are their own indices in {ALL:?}");
        let (recorder, heap, leaf) = (Lock::<_, rank::Recorder>::new(1), Lock::<_, rank::Heap>::new(2), Lock::new(3));
        let other: Lock<i32> = Lock::new(4);
        let leaf: Lock<i32> = leaf;
        let sum = *recorder.lock() + *heap.lock() + *leaf.lock();
        assert_eq!(sum, 6);
        assert!(refuses(|| {
            let _heap = heap.lock();
            drop(recorder.lock());
        }));
        assert!(refuses(|| {
            let _leaf = leaf.lock();
            drop(other.lock());
        }));
        assert!(refuses(|| {
            let _leaf = leaf.lock();
            check_no_lock_is_held("a callback");
        }));
        // The refused threads have dropped what they held.
        check_no_lock_is_held("a callback");
    }

    #[test]
    fn a_thread_that_does_not_wait_may_take_any_lock() {
        let (recorder, heap) = (Lock::<_, rank::Recorder>::new(1), Lock::<_, rank::Heap>::new(2));
        let held = heap.lock();
        let guard = recorder.try_lock();
        assert!(guard.is_some());
        assert!(recorder.try_lock().is_none(), "it is taken");
        drop((held, guard));
        check_no_lock_is_held("a callback");
    }

    #[test]
    fn a_panic_leaves_a_lock_that_works() {
        let lock: Lock<i32> = Lock::new(1);
        assert!(refuses(|| {
            let mut value = lock.lock();
            *value = 2;
            panic!("on purpose");
        }));
        assert_eq!(*lock.lock(), 2);
        assert_eq!(lock.try_lock().map(|value| *value), Some(2));
        assert_eq!(lock.into_inner(), 2);
    }
}
