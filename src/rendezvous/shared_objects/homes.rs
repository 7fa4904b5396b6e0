//! Shared objects whose users are clients of several members of a cluster, and those that move from
//! one member to another.

use super::super::cluster::{ClientId, MemberId, Offer};
use super::removed::Removed;
use super::{Object, ObjectName, Outgoing, SharedObjects, Slot, cost};
use crate::flash::shared_object::{SharedObjectEvent, SharedObjectMessage};
use crate::transport::SessionId;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

impl ObjectName {
    /// The object that a message is about.
    pub(super) fn of(app: &Arc<str>, message: &SharedObjectMessage) -> Self {
        Self { app: app.clone(), name: message.name.clone(), persistent: message.persistent }
    }
}

impl SharedObjects {
    /// The number of objects that a client uses.
    pub(super) fn used_by(&self, client: ClientId) -> usize {
        self.used.get(&client).map_or(0, BTreeSet::len)
    }

    /// What the clients of a member use.
    pub(super) fn uses_of(&self, member: MemberId) -> BTreeSet<(ObjectName, ClientId)> {
        let [first, last] = [0, u32::MAX].map(|id| ClientId { member, session: SessionId(id) });
        let clients = self.used.range(first..=last);
        clients
            .flat_map(|(&client, names)| names.iter().map(move |name| (name.clone(), client)))
            .collect()
    }

    pub(super) fn names(&self) -> Vec<ObjectName> {
        self.all.keys().cloned().collect()
    }

    /// Another member keeps an object from now on: what there is of it, and who uses it.
    pub(super) fn hand_over(&mut self, name: &ObjectName) -> Option<(Offer, BTreeSet<ClientId>)> {
        let Object { version, slots, users, bytes, .. } = self.all.remove(name)?;
        self.bytes -= bytes;
        let users: BTreeSet<ClientId> = users.into_keys().collect();
        for client in &users {
            self.stop_using(*client, name);
        }
        if let Some(changed) = self.changed.as_mut().filter(|_| name.persistent) {
            // Its file goes: the new home has one.
            changed.insert(name.clone());
        }
        let slots = slots.into_iter().map(|(slot, it)| (slot, it.value)).collect();
        let ObjectName { app, name, persistent } = name.clone();
        Some((Offer { app, name, persistent, version, slots }, users))
    }

    /// Takes what another member knows of an object, if it is newer than what is known here. Returns
    /// what is to be sent to its users.
    pub(super) fn adopt(&mut self, offer: Offer) -> Outgoing {
        let Offer { app, name, persistent, version, slots } = offer;
        let full = ObjectName { app, name: name.clone(), persistent };
        let bytes = slots.iter().map(|(slot, value)| cost(slot, value)).sum::<usize>();
        let (old, is_new) = match self.all.get(&full) {
            Some(object) if object.version >= version => return Outgoing::new(),
            Some(object) => (object.bytes, false),
            None => (0, true),
        };
        let limits = self.limits;
        if slots.len() > limits.slots
            || bytes > limits.bytes
            || self.bytes - old + bytes > limits.bytes_in_all
            || is_new && (self.all.len() >= limits.objects || slots.is_empty())
        {
            return Outgoing::new();
        }
        self.bytes = self.bytes - old + bytes;
        let object = self.all.entry(full.clone()).or_default();
        (object.version, object.bytes) = (version, bytes);
        object.removed = Removed::default();
        let kept = |value| Slot { value, version, by: None, is_news: false };
        object.slots = slots.into_iter().map(|(slot, value)| (slot, kept(value))).collect();
        let mut events = vec![SharedObjectEvent::Clear];
        events.extend(object.changes());
        object.users.values_mut().for_each(|whole| *whole = version);
        let users: Vec<ClientId> = object.users.keys().copied().collect();
        if let Some(changed) = self.changed.as_mut().filter(|_| persistent) {
            changed.insert(full);
        }
        match users.is_empty() {
            true => Outgoing::new(),
            false => vec![(users, SharedObjectMessage::new(name, persistent, version, events))],
        }
    }

    /// A member is gone, with all its clients.
    pub(super) fn forget_member(&mut self, gone: MemberId) {
        self.elsewhere.links.retain(|(member, _), _| *member != gone);
        self.elsewhere.doubtful.remove(&gone);
        for (name, client) in self.uses_of(gone) {
            self.release(client, &name);
        }
    }

    /// Objects that nobody uses go, unless they are persistent.
    pub(super) fn remove_unused(&mut self) {
        let unused =
            |(name, object): &(&ObjectName, &Object)| !name.persistent && object.users.is_empty();
        let names = self.all.iter().filter(unused).map(|(name, _)| name.clone());
        for name in names.collect::<Vec<_>>() {
            if let Some(object) = self.all.remove(&name) {
                self.bytes -= object.bytes;
            }
        }
    }
}

impl Object {
    /// All slots.
    pub(super) fn changes(&self) -> impl Iterator<Item = SharedObjectEvent> {
        self.slots.iter().map(|(slot, it)| {
            let (slot, value): (Arc<str>, Bytes) = (slot.clone(), it.value.clone());
            SharedObjectEvent::Change { slot, value }
        })
    }
}
