//! One thread at a time on GL.
//!
//! A GL context belongs to one thread at a time. wgpu makes a thread wait for it, but panics after a second ("Could not
//! lock adapter context"), and a submission or a compilation on a software driver takes longer. Therefore, on GL, every
//! call of the crate that may use the context first acquires the [`ContextLock`], and waits as long as necessary. On
//! other backends the lock does nothing.
//!
//! # Lock order
//! The context lock comes before every other lock. wgpu runs application callbacks inside `submit` and `poll`, with the
//! context locked, and a callback may call the pool: a thread that held a lock of the pool while it waits for the
//! context would block that callback. The lock is reentrant, so that such a callback may use the context. A callback
//! must not wait for another thread that uses the pool (`docs/threads.md`).

use super::lock::{Held, check_order, rank};
use super::teardown::KeptDevice;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// Access to a GL context by one thread at a time. Does nothing on other backends.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContextLock(Option<Arc<Context>>);

#[derive(Debug, Default)]
struct Context {
    user: Mutex<Option<User>>,
    released: Condvar,
}

/// The thread that uses the context, and how many guards it has.
#[derive(Clone, Copy, Debug)]
struct User {
    thread: ThreadId,
    guards: u32,
}

/// Keeps other threads out of a memory until dropped, where the memory can be used by one thread at a time.
#[derive(Debug, Default)]
#[must_use]
pub struct ContextGuard<'a> {
    context: Option<&'a Context>,
    /// Also on other backends, so that every test checks the order.
    _held: Option<Held<rank::Context>>,
    /// A guard stays on its thread.
    _of_this_thread: PhantomData<MutexGuard<'a, ()>>,
}

impl ContextLock {
    pub(crate) fn new(is_gl: bool) -> Self {
        Self(is_gl.then(Arc::default))
    }

    /// Waits until no other thread uses the context. The caller must hold no lock that a callback may need, unless it
    /// acquired this one first.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn lock(&self) -> ContextGuard<'_> {
        check_order::<rank::Context>();
        let context = self.0.as_deref();
        if let Some(context) = context {
            context.acquire(1);
        }
        ContextGuard { context, _held: Some(Held::new()), _of_this_thread: PhantomData }
    }

    /// Whether the calling thread has the context. Outside the crate's calls it has it only in a callback inside `submit`
    /// or `poll`.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn is_held(&self) -> bool {
        let thread = std::thread::current().id();
        self.0.as_ref().is_some_and(|context| context.user().is_some_and(|user| user.thread == thread))
    }

    /// Calls `act`, which waits for another thread that uses the context. If the calling thread has the context, that is,
    /// in a callback inside `submit` or `poll`, other threads may use it meanwhile.
    #[cfg(any(feature = "tensor", not(target_arch = "wasm32")))]
    pub(crate) fn released<R>(&self, act: impl FnOnce() -> R) -> R {
        /// Acquires what was released, also after a panic.
        struct Again<'a>(&'a Context, u32);

        impl Drop for Again<'_> {
            fn drop(&mut self) {
                self.0.acquire(self.1);
            }
        }

        super::lock::check_no_lock_is_held("a wait for another thread");
        let released = self.0.as_deref().and_then(|context| Some(Again(context, context.release_all()?)));
        let result = act();
        drop(released);
        result
    }
}

impl Context {
    fn user(&self) -> MutexGuard<'_, Option<User>> {
        self.user.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds guards of this thread, as soon as no other thread has any.
    fn acquire(&self, guards: u32) {
        let thread = std::thread::current().id();
        let is_taken = |user: &mut Option<User>| user.is_some_and(|user| user.thread != thread);
        let waited = self.released.wait_while(self.user(), is_taken);
        let mut user = waited.unwrap_or_else(PoisonError::into_inner);
        let guards = guards + user.map_or(0, |user| user.guards);
        *user = Some(User { thread, guards });
    }

    /// Removes a guard of this thread.
    fn release(&self) {
        let mut user = self.user();
        match &mut *user {
            Some(User { guards, .. }) if *guards > 1 => *guards -= 1,
            _ => *user = None,
        }
        if user.is_none() {
            self.released.notify_one();
        }
    }

    /// Removes all guards of this thread. Returns their number, or `None` if there are none.
    #[cfg(any(feature = "tensor", not(target_arch = "wasm32")))]
    fn release_all(&self) -> Option<u32> {
        let thread = std::thread::current().id();
        let own = self.user().take_if(|user| user.thread == thread)?;
        self.released.notify_one();
        Some(own.guards)
    }
}

impl Drop for ContextGuard<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.context {
            context.release();
        }
    }
}

/// A wgpu object whose last reference is dropped with the context locked: the driver then deletes it. Keeps the device until
/// then.
#[derive(Debug)]
pub(crate) struct InContext<T> {
    /// `None` only while this is dropped.
    object: Option<T>,
    context: ContextLock,
    _kept: KeptDevice,
}

impl<T> InContext<T> {
    pub(crate) fn new(object: T, context: &ContextLock, kept: &KeptDevice) -> Self {
        Self { object: Some(object), context: context.clone(), _kept: kept.clone() }
    }
}

impl<T> Deref for InContext<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.object.as_ref().expect("the object is taken when this is dropped")
    }
}

impl<T> Drop for InContext<T> {
    fn drop(&mut self) {
        let _context = self.context.lock();
        drop(self.object.take());
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn a_thread_may_lock_again_while_others_wait() {
        let lock = ContextLock::new(true);
        let (sender, receiver) = channel();
        let outer = lock.lock();
        let inner = lock.lock();
        let other = {
            let lock = lock.clone();
            std::thread::spawn(move || {
                drop(InContext::new((), &lock, &KeptDevice::default()));
                sender.send(()).expect("the test waits");
            })
        };
        drop(inner);
        assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err());
        drop(outer);
        assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok(()));
        other.join().expect("no panic");
    }

    #[test]
    fn a_thread_that_waits_for_another_lets_it_use_the_context() {
        let lock = ContextLock::new(true);
        let _outer = lock.lock();
        let _inner = lock.lock();
        let use_it = |lock: &ContextLock| {
            let lock = lock.clone();
            std::thread::spawn(move || drop(lock.lock())).join().expect("no panic");
        };
        lock.released(|| use_it(&lock));
        let panicked =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lock.released(|| panic!("on purpose"))));
        assert!(panicked.is_err());
        // Both guards are still needed.
        assert_eq!(lock.0.as_ref().and_then(|context| *context.user()).map(|user| user.guards), Some(2));
        lock.released(|| lock.released(|| use_it(&lock)));
    }

    #[test]
    fn on_other_backends_no_thread_waits() {
        let lock = ContextLock::new(false);
        let _held = lock.lock();
        let other = lock.clone();
        std::thread::spawn(move || drop(other.lock())).join().expect("no panic");
    }
}
