//! Log messages of the pool, which are never logged while the thread holds one of the pool's locks: a logger may call the pool.
//!
//! A thread that takes the growth lock, or the recorder for longer than one call, holds a [`Postponed`]. What it logs meanwhile is logged when
//! the last one is dropped, which is after the locks.

use crate::device::lock::check_no_lock_is_held;
use log::{Level, Record};
use std::cell::{Cell, RefCell};
use std::fmt;

thread_local! {
    static HOLDERS: Cell<usize> = const { Cell::new(0) };
    /// Whether there are messages: a launch takes the recorder, and should not look for them.
    static WAITS: Cell<bool> = const { Cell::new(false) };
    static WAITING: RefCell<Vec<(Level, &'static str, String)>> = const { RefCell::new(Vec::new()) };
}

/// Postpones the messages of this thread while it exists. It must be dropped after the locks that it is for.
#[derive(Debug)]
pub(super) struct Postponed(());

impl Postponed {
    pub(super) fn new() -> Self {
        HOLDERS.set(HOLDERS.get() + 1);
        Self(())
    }

    /// Drops the value, unless that would log messages. Returns whether there is none left. The caller may hold locks.
    pub(super) fn end_if_empty(later: &mut Option<Self>) -> bool {
        if HOLDERS.get() == 1 && WAITS.get() {
            return later.is_none();
        }
        if let Some(later) = later.take() {
            std::mem::forget(later);
            HOLDERS.set(HOLDERS.get() - 1);
        }
        true
    }
}

impl Drop for Postponed {
    fn drop(&mut self) {
        HOLDERS.set(HOLDERS.get() - 1);
        if HOLDERS.get() > 0 {
            return;
        }
        check_no_lock_is_held("a log message");
        if !WAITS.replace(false) {
            return;
        }
        // A logger that calls the pool may have messages of its own.
        for (level, module, text) in WAITING.try_with(RefCell::take).unwrap_or_default() {
            send(level, module, format_args!("{text}"));
        }
    }
}

/// Logs a message now, or when this thread has dropped its locks.
pub(super) fn write(level: Level, module: &'static str, message: fmt::Arguments<'_>) {
    let is_postponed = HOLDERS.get() > 0;
    if !is_postponed {
        check_no_lock_is_held("a log message");
    }
    if level > log::STATIC_MAX_LEVEL || level > log::max_level() {
        return;
    }
    if is_postponed {
        // At the end of a thread the list may be gone already, and the message is lost.
        let push = |waiting: &RefCell<Vec<_>>| waiting.borrow_mut().push((level, module, message.to_string()));
        WAITS.set(WAITING.try_with(push).is_ok());
    } else {
        send(level, module, message);
    }
}

fn send(level: Level, module: &'static str, message: fmt::Arguments<'_>) {
    let record = Record::builder().level(level).target(module).module_path_static(Some(module)).args(message).build();
    log::logger().log(&record);
}

/// Logs a message of the pool at a level, such as `Debug`.
macro_rules! note {
    ($level:ident, $($message:tt)+) => {
        $crate::pool::messages::write(::log::Level::$level, module_path!(), format_args!($($message)+))
    };
}

pub(super) use note;
