//! Choices that a test makes for its thread, in place of those that depend on sizes or on the device.

use std::cell::Cell;
use std::thread::LocalKey;

/// Runs `act` while a thread-local choice has another value.
pub(crate) fn with_choice<T: Copy, R>(choice: &'static LocalKey<Cell<T>>, value: T, act: impl FnOnce() -> R) -> R {
    let before = choice.replace(value);
    let result = act();
    choice.set(before);
    result
}
