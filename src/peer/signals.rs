//! [`Signals`]: reports of the handles of groups to the machine, sent without waiting.

use crate::group::NetStreamId;
use crate::node::{GroupHandle, StreamHandle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A report of a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// The last handle of the group was dropped.
    Abandoned(GroupHandle),
    /// The application has received most of the queued events.
    CaughtUp(GroupHandle),
    /// A published stream was dropped.
    Unpublished(GroupHandle, NetStreamId),
    /// A played stream was dropped.
    Stopped(GroupHandle, NetStreamId),
    /// A stream outside of groups was dropped.
    Closed(StreamHandle),
}

/// Reports that the machine has not read yet.
#[derive(Debug, Default)]
pub(super) struct Signals {
    waiting: Mutex<Vec<Signal>>,
    /// True if there are any: this is read after each call of the machine.
    any: AtomicBool,
}

impl Signals {
    pub(super) fn push(&self, signal: Signal) {
        self.lock().push(signal);
        self.any.store(true, Ordering::Release);
    }

    pub(super) fn take(&self) -> Vec<Signal> {
        match self.any.swap(false, Ordering::Acquire) {
            true => std::mem::take(&mut *self.lock()),
            false => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Signal>> {
        // Nothing panics under the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
