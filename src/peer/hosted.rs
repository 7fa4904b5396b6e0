//! [`Hosted`]: the handle of a guest on a connection.

use super::machine::{Command, PeerMachine};
use super::signals::Signal;
use super::{Connection, NetGroupError};
use crate::crypto::Fingerprint;
use crate::driver::{Stopped, WeakHandle};
use crate::group::{Group, GroupConfig};
use crate::node::{GroupHandle, Guest, Search};
use crate::transport::Time;
use std::fmt;
use std::marker::PhantomData;

/// A [`Guest`] that acts in a group of a [`Connection`]; the group is left when this is dropped.
///
/// The guest runs in the connection's task and must not block there.
pub struct Hosted<G> {
    connection: Connection,
    group: GroupHandle,
    guest: PhantomData<fn(&mut G)>,
}

impl<G: Guest> Hosted<G> {
    pub(super) fn new(connection: Connection, group: GroupHandle) -> Self {
        Self { connection, group, guest: PhantomData }
    }

    /// The connection of the guest.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Calls the guest with its group, in the connection's task.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`] if the group was left or the connection closed.
    pub async fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut G, &mut Group, Time) -> R + Send + 'static,
    ) -> Result<R, NetGroupError> {
        let group = self.group;
        let command = move |peer: &mut PeerMachine, now: Time| peer.with_guest(now, group, call);
        self.connection.with_machine(command).await?.ok_or(NetGroupError::Closed)
    }

    /// The state of the search for members, and true if `peer` has been a neighbor.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn search(&self, peer: Option<Fingerprint>) -> Result<(Search, bool), NetGroupError> {
        let group = self.group;
        let command = move |machine: &mut PeerMachine, now: Time| {
            let node = machine.node();
            let has_met = peer.is_some_and(|peer| node.has_met(group, &peer));
            Some((node.search(now, group)?, has_met))
        };
        self.connection.with_machine(command).await?.ok_or(NetGroupError::Closed)
    }

    /// Leaves the group and drops the guest.
    pub async fn leave(&self) {
        let group = self.group;
        // A closed connection has already left its groups.
        let _ = self.connection.with_machine(move |peer, now| peer.leave(now, group)).await;
    }
}

impl<G> Drop for Hosted<G> {
    fn drop(&mut self) {
        self.connection.signal(Signal::Abandoned(self.group));
    }
}

impl<G> fmt::Debug for Hosted<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted")
            .field("connection", &self.connection)
            .field("group", &self.group)
            .finish()
    }
}

/// Calls a guest from threads that block. It keeps neither the guest nor the connection alive.
#[derive(Debug, Clone)]
pub struct GuestSender(WeakHandle<Command>);

impl GuestSender {
    /// A sender without a connection.
    #[cfg(test)]
    pub(crate) fn closed() -> Self {
        Self(WeakHandle::stopped())
    }

    /// Calls the guest of a group in the connection's task, without waiting for the result. Blocks
    /// while the connection is busy; if the guest is gone, nothing is called.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the connection is closed.
    ///
    /// # Panics
    ///
    /// If called in an async context.
    pub fn blocking_call<G: Guest>(
        &self,
        group: GroupHandle,
        call: impl FnOnce(&mut G, &mut Group, Time) + Send + 'static,
    ) -> Result<(), Stopped> {
        self.0.blocking_send(Box::new(move |peer, now| {
            let _ = peer.with_guest(now, group, call);
        }))
    }

    /// As [`blocking_call`](Self::blocking_call), in an async context.
    ///
    /// # Errors
    ///
    /// As [`blocking_call`](Self::blocking_call).
    pub async fn call<G: Guest>(
        &self,
        group: GroupHandle,
        call: impl FnOnce(&mut G, &mut Group, Time) + Send + 'static,
    ) -> Result<(), Stopped> {
        let call: Command = Box::new(move |peer, now| {
            let _ = peer.with_guest(now, group, call);
        });
        self.0.send(call).await
    }
}

impl Connection {
    /// Joins a group with a guest; `near` and `server` of the config are filled in.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`] if the connection was closed.
    pub async fn host<G: Guest>(
        &self,
        config: GroupConfig,
        guest: G,
    ) -> Result<Hosted<G>, NetGroupError> {
        let connection = self.clone();
        let host = move |peer: &mut PeerMachine, now: Time| {
            // If the caller is gone, the group is left again.
            Hosted::new(connection, peer.host(now, config, Box::new(guest)))
        };
        Ok(self.with_machine(host).await?)
    }

    /// A sender to guests of this connection, for other threads.
    pub fn guest_sender(&self) -> GuestSender {
        GuestSender(self.handle.downgrade())
    }
}
