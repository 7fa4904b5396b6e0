//! State and channels between the task and its handles.

use super::Sockets;
use super::error::ShutdownError;
use super::stats::Counters;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Commands that may wait for the machine; more make [`Handle::send`](super::Handle::send) wait.
pub const COMMAND_QUEUE: usize = 256;
/// Events that may wait for the application; more stay in the machine.
pub const EVENT_QUEUE: usize = 1024;
/// The grace period of the stop that dropping the last [`Handle`](super::Handle) causes: enough to
/// say goodbye to every session.
pub const DROP_GRACE: Duration = Duration::from_secs(1);

/// State that the task and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) counters: Counters,
    /// Set when the task ends by itself.
    pub(super) outcome: OnceLock<Result<(), ShutdownError>>,
    local_addresses: Vec<SocketAddr>,
    peer_addresses: Mutex<Vec<SocketAddr>>,
}

impl Shared {
    pub(super) fn new(sockets: &Sockets) -> Self {
        Self {
            counters: Counters::default(),
            outcome: OnceLock::new(),
            local_addresses: sockets.local_addresses(),
            peer_addresses: Mutex::new(sockets.peer_addresses()),
        }
    }

    /// The addresses of the sockets.
    pub(super) fn local_addresses(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// Addresses at which other hosts may reach the sockets; replaced whole, so that a panic leaves no
    /// half of
    /// it.
    pub(super) fn peer_addresses(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.peer_addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message to the task.
#[derive(Debug)]
pub(super) enum Request<C> {
    Command(C),
    Shutdown { grace: Duration },
}
