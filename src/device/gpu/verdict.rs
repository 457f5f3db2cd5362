//! Verdicts: whether the device has accepted an object.
//!
//! A native backend reports the errors of a call at once, and [`checked`](super::checked) returns them. A browser
//! reports them later, from another process. Until then a refused buffer or pipeline behaves like any other object; a
//! command buffer that uses it is discarded as a whole. Therefore each object carries its verdict:
//! - the recorder never puts commands that depend on a pending verdict into one batch with other commands, so that a
//!   refusal discards only commands that could not execute;
//! - a refusal is latched as a [`Fault`](super::Fault), unless the caller of [`Verdicts::defer`] returns it; the failure
//!   of commands that depend on the object is not another fault;
//! - reads and [`Pool::synchronize`](crate::Pool::synchronize) wait for the pending verdicts before they return.
//!
//! On native backends every object has the verdict [`Verdict::ACCEPTED`], which allocates nothing.

use crate::device::lock::{Lock, wake_unlocked};
use crate::error::DeviceError;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

/// Whether the device has accepted an object. A clone has the same verdict.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict(Option<Arc<Case>>);

#[derive(Debug)]
struct Case {
    /// Numbers start at 1 and are never reused.
    number: u64,
    outcome: OnceLock<Result<(), DeviceError>>,
    /// Whether the refusal is returned to a caller and not latched.
    is_deferred: bool,
}

impl Verdict {
    /// The verdict of an object that was checked when it was created.
    pub(super) const ACCEPTED: Self = Self(None);

    /// Returns the number of a verdict that is still pending.
    pub(super) fn pending(&self) -> Option<u64> {
        self.0.as_ref().filter(|case| case.outcome.get().is_none()).map(|case| case.number)
    }

    /// Returns the reason why the object was refused, if it was.
    pub(super) fn refusal(&self) -> Option<&DeviceError> {
        self.0.as_ref()?.outcome.get()?.as_ref().err()
    }

    /// Whether the object was checked when it was created.
    pub(super) const fn is_immediate(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the verdict's number, unless it was immediate.
    pub(super) fn number(&self) -> Option<u64> {
        self.0.as_ref().map(|case| case.number)
    }
}

/// The pending verdicts of a device.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    state: Lock<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    pending: BTreeSet<u64>,
    wakers: Vec<Waker>,
    /// The verdicts that were opened since the innermost call of `defer` began.
    deferred: Option<Vec<Verdict>>,
}

impl Verdicts {
    /// Opens a verdict: returns the verdict, and the right to give it.
    #[cfg_attr(not(any(target_arch = "wasm32", test)), expect(dead_code, reason = "native verdicts are immediate"))]
    pub(super) fn open(self: &Arc<Self>) -> (Verdict, Ruling) {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        state.pending.insert(number);
        let is_deferred = state.deferred.is_some();
        let case = Arc::new(Case { number, outcome: OnceLock::new(), is_deferred });
        let verdict = Verdict(Some(Arc::clone(&case)));
        if let Some(deferred) = &mut state.deferred {
            deferred.push(verdict.clone());
        }
        drop(state);
        (verdict, Ruling { verdicts: Arc::clone(self), case })
    }

    /// Calls `act`, and returns the verdicts of the objects that `act` created. Their refusals are not latched: the
    /// caller returns them.
    pub(super) fn defer<R>(&self, act: impl FnOnce() -> R) -> (R, Vec<Verdict>) {
        let outer = self.state.lock().deferred.replace(Vec::new());
        let result = act();
        let inner = std::mem::replace(&mut self.state.lock().deferred, outer);
        (result, inner.unwrap_or_default())
    }

    /// Waits until all verdicts that are pending now have been given.
    pub(super) fn given(self: &Arc<Self>) -> Given {
        Given { verdicts: Arc::clone(self), last: self.state.lock().last }
    }
}

/// The right to give one verdict. A ruling that is dropped accepts the object.
#[derive(Debug)]
pub(super) struct Ruling {
    verdicts: Arc<Verdicts>,
    case: Arc<Case>,
}

impl Ruling {
    /// Gives the verdict, and calls `latch` with the error if no caller returns it.
    #[cfg_attr(not(any(target_arch = "wasm32", test)), expect(dead_code, reason = "native verdicts are immediate"))]
    pub(super) fn give(self, outcome: Result<(), DeviceError>, latch: impl FnOnce(DeviceError)) {
        let error = outcome.as_ref().err().filter(|_| !self.case.is_deferred).cloned();
        self.case.outcome.get_or_init(|| outcome);
        if let Some(error) = error {
            latch(error);
        }
    }
}

impl Drop for Ruling {
    fn drop(&mut self) {
        self.case.outcome.get_or_init(|| Ok(()));
        let mut state = self.verdicts.state.lock();
        state.pending.remove(&self.case.number);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wake_unlocked(wakers);
    }
}

/// Ready when all verdicts up to a number have been given.
#[derive(Debug)]
pub(super) struct Given {
    verdicts: Arc<Verdicts>,
    last: u64,
}

impl Future for Given {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Cloned and dropped without the lock: a waker may own tensors.
        let waker = context.waker().clone();
        let mut state = self.verdicts.state.lock();
        if state.pending.range(..=self.last).next().is_none() {
            return Poll::Ready(());
        }
        // However often a task is polled, it is woken once.
        if !state.wakers.iter().any(|known| known.will_wake(&waker)) {
            state.wakers.push(waker);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> DeviceError {
        DeviceError::Refused { bytes: 7 }
    }

    /// Refuses the object, and returns the error that was latched.
    fn latched_by(ruling: Ruling) -> Option<DeviceError> {
        let mut latched = None;
        ruling.give(Err(refused()), |error| latched = Some(error));
        latched
    }

    #[test]
    fn a_verdict_is_pending_until_it_is_given() {
        let verdicts = Arc::new(Verdicts::default());
        let (verdict, ruling) = verdicts.open();
        assert_eq!((verdict.pending(), verdict.refusal()), (Some(1), None));
        assert_eq!(latched_by(ruling), Some(refused()));
        assert_eq!((verdict.pending(), verdict.refusal()), (None, Some(&refused())));
        let (verdict, ruling) = verdicts.open();
        assert_eq!(verdict.pending(), Some(2));
        drop(ruling);
        assert_eq!((verdict.pending(), verdict.refusal()), (None, None));
        assert_eq!((Verdict::ACCEPTED.pending(), Verdict::ACCEPTED.refusal()), (None, None));
    }

    #[test]
    fn a_deferred_refusal_is_returned_and_not_latched() {
        let verdicts = Arc::new(Verdicts::default());
        let (latched, outer) = verdicts.open();
        let (((inner, first), (nested, second)), deferred) =
            verdicts.defer(|| (verdicts.open(), verdicts.defer(|| verdicts.open()).0));
        assert_eq!(deferred.iter().map(Verdict::pending).collect::<Vec<_>>(), [inner.pending()]);
        assert_eq!((latched_by(first), latched_by(second)), (None, None));
        assert_eq!(nested.refusal(), Some(&refused()));
        let (_, after) = verdicts.open();
        assert_eq!((latched_by(outer), latched_by(after)), (Some(refused()), Some(refused())));
        assert_eq!(latched.refusal(), Some(&refused()));
    }

    #[test]
    fn waiting_ends_with_the_verdicts_that_were_pending_when_it_began() {
        let verdicts = Arc::new(Verdicts::default());
        let mut context = Context::from_waker(Waker::noop());
        let mut is_ready = |given: &mut Given| Pin::new(given).poll(&mut context).is_ready();
        assert!(is_ready(&mut verdicts.given()));
        let ((_, first), (_, second)) = (verdicts.open(), verdicts.open());
        let mut given = verdicts.given();
        let (_, later) = verdicts.open();
        drop(second);
        assert!(!is_ready(&mut given));
        assert!(!is_ready(&mut given));
        assert_eq!(verdicts.state.lock().wakers.len(), 1, "one for the task");
        drop(first);
        assert!(is_ready(&mut given));
        drop(later);
    }
}
