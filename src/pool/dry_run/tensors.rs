//! The calls of tensors that a dry run registers.

use super::super::{Inner, Pool, Storage};
use super::Shadow;
use crate::device::Memory;
use crate::error::AllocateError;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// While it exists, a command that finds no room is no refusal of the dry run: the crate divides it.
#[must_use]
pub(crate) struct Dividing(Option<Arc<Shadow>>);

impl Dividing {
    fn set(&self, divides: bool) {
        if let Some(shadow) = &self.0 {
            shadow.divides.store(divides, Ordering::Relaxed);
        }
    }
}

impl Drop for Dividing {
    fn drop(&mut self) {
        self.set(false);
    }
}

impl<M: Memory> Inner<M> {
    #[track_caller]
    fn refuse(&self, error: &AllocateError) {
        if let Some(shadow) = self.shadow() {
            shadow.refuse(Some(Location::caller()), error);
        }
    }
}

impl<M: Memory> Pool<M> {
    /// Records in a dry run that a request was refused before it reached the pool.
    #[track_caller]
    pub(crate) fn refuse(&self, error: &AllocateError) {
        self.inner.refuse(error);
    }
}

impl<M: Memory> Storage<M> {
    /// Records in a dry run that a request for the storage's pool was refused before it reached the pool.
    #[track_caller]
    pub(crate) fn refuse(&self, error: &AllocateError) {
        self.inner().refuse(error);
    }

    /// Says that the caller divides a command that finds no room, until the result is dropped. No effect outside of a dry run.
    pub(crate) fn dividing(&self) -> Dividing {
        let dividing = Dividing(self.inner().shadow());
        dividing.set(true);
        dividing
    }
}
