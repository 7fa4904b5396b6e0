//! [`Guest`]: an application without sockets that acts in one group of a node.

use super::{GroupHandle, Joined, Node, NodeEvent};
use crate::group::{Group, GroupConfig, GroupEvent};
use crate::transport::Time;
use std::any::Any;

/// An application that a [`Node`] hosts on one of its groups: the exchange of a file, the relay of a
/// stream, a chat.
///
/// A guest is sans-IO like the node. It owns no endpoint, socket or clock and never reconnects: it
/// calls its group, and the node carries out the group's actions after each call of the guest. The
/// owner of the node reaches the guest by [`Node::with_guest`]. The guest is dropped when its group
/// is left.
pub trait Guest: Any + Send {
    /// The group was joined; `handle` is its handle. This is always the first call.
    fn start(&mut self, now: Time, group: &mut Group, handle: GroupHandle) {
        let _ = (now, group, handle);
    }

    /// The group emitted an event.
    fn handle_event(&mut self, now: Time, group: &mut Group, event: GroupEvent);

    /// The state of the NetConnection has changed: `event` is [`NodeEvent::Connected`],
    /// [`NodeEvent::ConnectFailed`] or [`NodeEvent::Disconnected`]. A guest that joins while the
    /// connection is up gets the first of them after [`start`](Self::start).
    fn handle_connection(&mut self, now: Time, group: &mut Group, event: &NodeEvent) {
        let _ = (now, group, event);
    }

    /// The group has handled an input, and its events were delivered. Meant for a guest that
    /// displays the group's counters.
    fn handle_group_change(&mut self, now: Time, group: &mut Group) {
        let _ = (now, group);
    }

    /// The group is about to be left. This is always the last call.
    fn handle_leave(&mut self, now: Time, group: &mut Group) {
        let _ = (now, group);
    }

    /// [`poll_timeout`](Self::poll_timeout) is due.
    fn handle_timeout(&mut self, now: Time, group: &mut Group) {
        let _ = (now, group);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called. Polled after every other
    /// call.
    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

impl Node {
    /// Joins a group as [`join_with`](Self::join_with) does, with a guest, which receives the
    /// group's events instead of [`NodeEvent::Group`].
    pub fn join_with_guest(
        &mut self,
        now: Time,
        config: GroupConfig,
        guest: Box<dyn Guest>,
    ) -> GroupHandle {
        let handle = self.add_group(now, config, Some(guest));
        if let Some((guest, group)) = self.touch_guest(handle) {
            guest.start(now, group, handle);
        }
        self.join_at_server(now, handle);
        if let Some(server) = self.server_address.filter(|_| self.is_connected())
            && let Some((guest, group)) = self.touch_guest(handle)
        {
            guest.handle_connection(now, group, &NodeEvent::Connected { server });
        }
        self.process(now);
        handle
    }

    /// The guest of a group; `None` if the group was left or has no guest of this type.
    pub fn guest<G: Guest>(&self, handle: GroupHandle) -> Option<&G> {
        let guest: &dyn Any = &**self.groups.get(&handle)?.guest.as_ref()?;
        guest.downcast_ref()
    }

    /// Calls the guest of a group and carries out the actions that result. `None` if the group was
    /// left or has no guest of this type.
    pub fn with_guest<G: Guest, R>(
        &mut self,
        now: Time,
        handle: GroupHandle,
        call: impl FnOnce(&mut G, &mut Group, Time) -> R,
    ) -> Option<R> {
        let (guest, group) = self.touch_guest(handle)?;
        let guest: &mut dyn Any = guest;
        let result = call(guest.downcast_mut()?, group, now);
        self.process(now);
        Some(result)
    }

    /// Emits a change of the NetConnection, to every guest as well.
    pub(super) fn emit_connection_event(&mut self, now: Time, event: NodeEvent) {
        for (&handle, joined) in &mut self.groups {
            if let Some((guest, group)) = joined.guest_mut() {
                guest.handle_connection(now, group, &event);
                self.touched.insert(handle);
            }
        }
        self.events.push_back(event);
    }

    /// The guest of a group and the group, to be called; the group's actions and events are drained
    /// afterwards.
    pub(super) fn touch_guest(
        &mut self,
        handle: GroupHandle,
    ) -> Option<(&mut dyn Guest, &mut Group)> {
        let joined = self.groups.get_mut(&handle)?;
        self.touched.insert(handle);
        joined.guest_mut()
    }
}

impl Joined {
    /// The guest and its group.
    pub(super) fn guest_mut(&mut self) -> Option<(&mut dyn Guest, &mut Group)> {
        Some((&mut **self.guest.as_mut()?, &mut self.group))
    }

    /// When the group or its guest is to be called.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let guest = self.guest.as_ref().and_then(|guest| guest.poll_timeout());
        [self.group.poll_timeout(), guest].into_iter().flatten().min()
    }
}
