//! Handle and event queue of a running driver.

use super::clock::instant_now;
use super::error::{ShutdownError, Stopped};
use super::jobs::Jobs;
use super::shared::{COMMAND_QUEUE, EVENT_QUEUE, Request, Shared};
use super::stats::NetworkStats;
use super::task::Task;
use super::{Clock, JobThreads, Service, Sockets};
use crate::crypto;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Starts a task that gives `service` sockets, time and threads.
///
/// `clock` is the one from which `service` has its times so far. The task ends after
/// [`Handle::shutdown`], or [`DROP_GRACE`](super::DROP_GRACE) after the last [`Handle`] is dropped.
///
/// # Panics
///
/// Outside a tokio runtime with IO and time.
pub fn spawn<S: Service>(
    service: S,
    sockets: Sockets,
    clock: Clock,
) -> (Handle<S::Command>, Events<S::Event>) {
    let (task, handle, events) = make(service, sockets, clock, JobThreads::default());
    tokio::spawn(task.run());
    (handle, events)
}

/// A driver that does not run yet.
pub(super) fn make<S: Service>(
    service: S,
    sockets: Sockets,
    clock: Clock,
    threads: JobThreads,
) -> (Task<S>, Handle<S::Command>, Events<S::Event>) {
    let begun = instant_now();
    crypto::measure_hashing(|| instant_now() - begun);
    let (commands, inbox) = mpsc::channel(COMMAND_QUEUE);
    let (outbox, events) = mpsc::channel(EVENT_QUEUE);
    let shared = Arc::new(Shared::new(&sockets));
    let jobs = Jobs::new(threads);
    let task = Task::new(service, (sockets, clock, jobs), inbox, outbox, Arc::clone(&shared));
    (task, Handle { requests: commands, shared }, Events(events))
}

/// Sends commands to the machine. Clones are cheap and mean the same machine.
#[derive(Debug)]
pub struct Handle<C> {
    requests: mpsc::Sender<Request<C>>,
    shared: Arc<Shared>,
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self { requests: self.requests.clone(), shared: Arc::clone(&self.shared) }
    }
}

/// As a [`Handle`], but does not keep the driver running, and is for threads that may block.
pub struct WeakHandle<C>(mpsc::WeakSender<Request<C>>);

impl<C> fmt::Debug for WeakHandle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakHandle").finish_non_exhaustive()
    }
}

impl<C> Clone for WeakHandle<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Send> WeakHandle<C> {
    /// Sends a command; blocks while [`COMMAND_QUEUE`] of them wait already.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the driver has ended or no longer has a handle.
    ///
    /// # Panics
    ///
    /// In an async context.
    pub fn blocking_send(&self, command: C) -> Result<(), Stopped> {
        let requests = self.0.upgrade().ok_or(Stopped)?;
        requests.blocking_send(Request::Command(command)).map_err(|_| Stopped)
    }

    /// As [`blocking_send`](Self::blocking_send), in an async context.
    ///
    /// # Errors
    ///
    /// As [`blocking_send`](Self::blocking_send).
    pub async fn send(&self, command: C) -> Result<(), Stopped> {
        let requests = self.0.upgrade().ok_or(Stopped)?;
        requests.send(Request::Command(command)).await.map_err(|_| Stopped)
    }

    /// Sends a command if the queue has space for it now, else returns it; also when the driver has
    /// ended or has no handle any more.
    ///
    /// # Errors
    ///
    /// The command.
    pub fn try_send(&self, command: C) -> Result<(), C> {
        let Some(requests) = self.0.upgrade() else { return Err(command) };
        match requests.try_reserve() {
            Ok(place) => {
                place.send(Request::Command(command));
                Ok(())
            }
            Err(_) => Err(command),
        }
    }

    /// Begins a [stop](Handle::shutdown) and does not wait for its end.
    pub async fn stop(&self, grace: Duration) {
        if let Some(requests) = self.0.upgrade() {
            // Fails if the task has ended.
            let _ = requests.send(Request::Shutdown { grace }).await;
        }
    }

    /// The handle of a driver that has ended.
    #[cfg(test)]
    pub(crate) fn stopped() -> Self {
        Self(mpsc::channel(1).0.downgrade())
    }
}

impl<C: Send> Handle<C> {
    /// A handle that does not keep the driver running.
    pub fn downgrade(&self) -> WeakHandle<C> {
        WeakHandle(self.requests.downgrade())
    }

    /// Sends a command; waits while [`COMMAND_QUEUE`] of them wait already.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the driver has ended.
    pub async fn send(&self, command: C) -> Result<(), Stopped> {
        self.requests.send(Request::Command(command)).await.map_err(|_| Stopped)
    }

    /// Sends a command if the queue has space for it now, else returns it; also when the driver has
    /// ended.
    ///
    /// # Errors
    ///
    /// The command.
    pub fn try_send(&self, command: C) -> Result<(), C> {
        match self.requests.try_reserve() {
            Ok(place) => {
                place.send(Request::Command(command));
                Ok(())
            }
            Err(_) => Err(command),
        }
    }

    /// Stops: commands sent before are carried out, the machine [stops](Service::begin_shutdown),
    /// and is dropped when it is [idle](Service::is_idle) and its last event is in the queue, or
    /// after `grace`. Of several calls the shortest grace counts. Returns when the sockets are
    /// closed.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] if something had to be dropped.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), ShutdownError> {
        // Fails if the task has ended, and then there is nothing to ask for.
        let _ = self.requests.send(Request::Shutdown { grace }).await;
        self.closed().await
    }

    /// Waits until the driver has ended, for whatever reason.
    ///
    /// # Errors
    ///
    /// As [`shutdown`](Self::shutdown).
    pub async fn closed(&self) -> Result<(), ShutdownError> {
        self.requests.closed().await;
        self.shared.outcome.get().copied().unwrap_or(Err(ShutdownError::Aborted))
    }

    /// The addresses of the sockets; see [`Sockets::local_addresses`].
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.shared.local_addresses()
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Addresses at which other hosts may reach this one now; see [`Sockets::peer_addresses`].
    pub fn peer_addresses(&self) -> Vec<SocketAddr> {
        self.shared.peer_addresses().clone()
    }

    /// Counters.
    pub fn stats(&self) -> NetworkStats {
        self.shared.counters.snapshot()
    }
}

/// The machine's events, in order and without gaps.
///
/// Keep reading: when [`EVENT_QUEUE`] of them wait, the machine keeps the others. When this is
/// dropped, events are read from the machine and discarded.
#[derive(Debug)]
pub struct Events<E>(mpsc::Receiver<E>);

impl<E> Events<E> {
    /// The next event; `None` when the driver has ended and all were read. May be cancelled.
    pub async fn recv(&mut self) -> Option<E> {
        self.0.recv().await
    }

    /// The next event, if one waits.
    pub fn try_recv(&mut self) -> Option<E> {
        self.0.try_recv().ok()
    }

    /// As [`recv`](Self::recv), for hand-written futures and streams.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<E>> {
        self.0.poll_recv(cx)
    }
}
