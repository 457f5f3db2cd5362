//! Dropping the plans of loops: as a cache, which the program may empty at any time.

use super::snapshot::{Loop, LoopView, PlanUse};
use super::{Progress, SharedProgress};
use crate::device::Memory;
use crate::pool::Inner;
use std::sync::Arc;

impl<M: Memory> Inner<M> {
    /// Drops the plans of all loops. Those of a loop in a run are dropped when the run ends.
    pub(in crate::pool) fn forget_plans(&self) {
        let loops: Vec<_> = {
            let mut state = self.state();
            let each = state.steps.loops.iter_mut().map(|(number, one)| {
                one.forgets = true;
                (number, one.progress.clone())
            });
            each.collect()
        };
        for (number, progress) in loops {
            let Some(shared) = progress.upgrade() else { continue };
            if let Some(progress) = &mut *shared.lock() {
                self.forget_on_request(number, &shared, progress);
            }
        }
    }

    /// Drops the plans of a loop if [`Inner::forget_plans`] was called since the last time. `progress` is that of `shared`, which is locked.
    pub(super) fn forget_on_request(&self, number: usize, shared: &Arc<SharedProgress>, progress: &mut Progress) {
        // The number may be that of another loop by now.
        let is_own = |one: &&mut Loop| std::ptr::eq(one.progress.as_ptr(), Arc::as_ptr(shared));
        let requested = {
            let mut state = self.state();
            state.steps.loops.get_mut(number).filter(is_own).is_some_and(|one| std::mem::take(&mut one.forgets))
        };
        if !requested {
            return;
        }
        progress.forget(self, number);
        if let Some(one) = self.state().steps.loops.get_mut(number) {
            let LoopView { runs, agreeing, deviating, usage, .. } = one.view;
            let usage = PlanUse { plans: 0, bytes: 0, ..usage };
            one.view = LoopView { runs, agreeing, deviating, usage, ..LoopView::default() };
        }
    }
}

impl Progress {
    /// Drops all plans, and gives the arena to the pool. The next run is observed, as the first one was.
    fn forget<M: Memory>(&mut self, inner: &Inner<M>, number: usize) {
        inner.give_up(number, &mut self.arena);
        *self = Self::new(self.options.clone());
    }
}
