//! The calls with which the application sends directed messages, and the choice of the receiver.

use super::Routing;
use super::detour::is_silent;
use crate::group::{Group, GroupAddress, GroupError, ReceiveMode};
use crate::transport::{SessionId, Time};
use bytes::Bytes;
use std::ops::Deref;

/// The neighbor that receives a message of [`RoutingMut::send_to_neighbor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendMode {
    /// The one with the next higher group address, around the ring.
    NextIncreasing,
    /// The one with the next lower group address, around the ring.
    NextDecreasing,
}

/// The result of sending a directed message. What Flash calls `error` is a [`GroupError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use = "a message without a route is not delivered later"]
pub enum SendResult {
    /// Sent to a neighbor, or delivered to this node itself. That says nothing about its arrival.
    Sent,
    /// No member is known that should receive it. It is not kept.
    NoRoute,
}

impl SendResult {
    /// Flash's text for it: `sent` or `no route`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::NoRoute => "no route",
        }
    }
}

/// The member that should receive a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiver {
    Local,
    Neighbor(SessionId),
}

/// Mutable access to the directed routing of one group. Drain the group's actions and events
/// afterwards, as after every input.
///
/// Messages are encoded AMF values ([`amf::to_bytes`](crate::amf::to_bytes)).
pub struct RoutingMut<'a> {
    pub(super) group: &'a mut Group,
}

impl Group {
    /// Mutable access to directed routing.
    pub fn routing_mut(&mut self) -> RoutingMut<'_> {
        RoutingMut { group: self }
    }

    /// Directed routing: its counters.
    pub fn routing(&self) -> &Routing {
        &self.routing
    }
}

impl RoutingMut<'_> {
    /// Sends a message to the member nearest to `address`, one hop: to a neighbor, or to this node
    /// itself, by an event [`SendToNotify`](crate::group::GroupEvent::SendToNotify).
    ///
    /// The member whose own address it is receives it in any mode. Otherwise the nearest on the
    /// ring, in either direction, of the members in mode NEAREST: neighbors, and this node. If a
    /// neighbor answers nothing for 2 s after that, the message goes to the nearest of the others;
    /// in the rare case that it was only slow, both get it.
    ///
    /// # Errors
    ///
    /// As all calls that send: routing not enabled in the groupspec, the group closed,
    /// [`MessageSize`](GroupError::MessageSize) for an empty message or one above
    /// [`max_message`](crate::group::RoutingLimits::max_message), and
    /// [`QueueFull`](GroupError::QueueFull) if the flow to the neighbor is blocked and more than
    /// [`max_queued`](crate::group::RoutingLimits::max_queued) bytes would wait for it.
    pub fn send_to_nearest(
        &mut self,
        address: &GroupAddress,
        message: Bytes,
    ) -> Result<SendResult, GroupError> {
        self.check(&message)?;
        let now = self.group.now();
        self.send_nearest(now, address, message)
    }

    pub(super) fn send_nearest(
        &mut self,
        now: Time,
        address: &GroupAddress,
        message: Bytes,
    ) -> Result<SendResult, GroupError> {
        match self.nearest(address) {
            Some(Receiver::Local) => self.group.routing.deliver_locally(message),
            Some(Receiver::Neighbor(session)) => {
                self.send(session, message.clone())?;
                if !self.is_at(session, address) {
                    self.group.routing.underway.add(now, session, *address, message);
                }
            }
            None => return Ok(SendResult::NoRoute),
        }
        self.group.drain_features();
        Ok(SendResult::Sent)
    }

    /// Sends a message to the next neighbor on the ring, whatever its mode.
    ///
    /// # Errors
    ///
    /// As [`send_to_nearest`](Self::send_to_nearest).
    pub fn send_to_neighbor(
        &mut self,
        mode: SendMode,
        message: Bytes,
    ) -> Result<SendResult, GroupError> {
        self.check(&message)?;
        let mut around = self.around().into_iter();
        let next = match mode {
            SendMode::NextIncreasing => around.next(),
            SendMode::NextDecreasing => around.next_back(),
        };
        let Some(session) = next else { return Ok(SendResult::NoRoute) };
        self.send(session, message)?;
        Ok(SendResult::Sent)
    }

    /// Sends a message to every neighbor, whatever its mode.
    ///
    /// # Errors
    ///
    /// As [`send_to_nearest`](Self::send_to_nearest); [`QueueFull`](GroupError::QueueFull) only if
    /// no neighbor has space for it.
    pub fn send_to_all_neighbors(&mut self, message: Bytes) -> Result<SendResult, GroupError> {
        self.check(&message)?;
        let mut result = Ok(SendResult::NoRoute);
        for session in self.around() {
            match self.send(session, message.clone()) {
                Ok(()) => result = Ok(SendResult::Sent),
                Err(error) if result == Ok(SendResult::NoRoute) => result = Err(error),
                Err(_) => {}
            }
        }
        result
    }

    fn send(&mut self, session: SessionId, message: Bytes) -> Result<(), GroupError> {
        let sent = self.group.routing.send(session, message);
        self.group.drain_features();
        sent
    }

    fn check(&self, message: &Bytes) -> Result<(), GroupError> {
        let (bytes, max) = (message.len(), self.limits.max_message);
        match (self.group.closed, self.enabled) {
            (true, _) => Err(GroupError::Closed),
            (false, false) => Err(GroupError::RoutingDisabled),
            (false, true) if bytes == 0 || bytes > max => {
                Err(GroupError::MessageSize { bytes, max })
            }
            (false, true) => Ok(()),
        }
    }

    /// True if the address is that of the peer of a session: nobody else should get what is for it.
    fn is_at(&self, session: SessionId, address: &GroupAddress) -> bool {
        self.group.membership.session(session).is_some_and(|it| it.address == *address)
    }

    /// The member that should receive a message to `address`. A neighbor that has answered nothing for
    /// some seconds gets only what is for itself.
    fn nearest(&self, address: &GroupAddress) -> Option<Receiver> {
        let group = &self.group;
        let own = group.address();
        let local = (own, Some(group.config().receive_mode), Receiver::Local);
        let neighbors = group.membership.neighbors();
        let neighbors = neighbors.filter(|(_, s, _)| s.address == *address || !is_silent(s));
        let neighbors = neighbors.map(|(id, s, n)| (s.address, n.mode, Receiver::Neighbor(id)));
        let candidates = neighbors.chain([local]).filter(|(candidate, mode, _)| {
            candidate == address || *mode == Some(ReceiveMode::Nearest)
        });
        // Of two that are equally far, all members choose the same one.
        let nearest =
            candidates.min_by_key(|(candidate, ..)| (candidate.distance(address), *candidate));
        nearest.map(|(_, _, receiver)| receiver)
    }

    /// The neighbors in increasing order of their addresses, from this node on: the order in which
    /// the player sends to all.
    fn around(&self) -> Vec<SessionId> {
        let own = self.group.address();
        let neighbors = self.group.membership.neighbors();
        let mut around: Vec<_> =
            neighbors.map(|(id, s, _)| (own.clockwise_to(&s.address), id)).collect();
        around.sort();
        around.into_iter().map(|(_, id)| id).collect()
    }
}

impl Deref for RoutingMut<'_> {
    type Target = Routing;

    fn deref(&self) -> &Routing {
        &self.group.routing
    }
}
