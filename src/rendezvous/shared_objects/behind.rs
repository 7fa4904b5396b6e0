//! Clients that take what others do with an object more slowly than it comes.
//!
//! Once much waits for a client, it is sent answers and nothing else about objects. When it has taken
//! what waits, it gets all slots of each object in which it has missed something, one object after the
//! other. Calls for all users that it has missed are lost.

use super::super::Rendezvous;
use super::super::cluster::Lane;
use super::{ObjectName, SharedObjects};
use crate::flash::shared_object::{SharedObjectEvent, SharedObjectMessage};
use crate::transport::{LOW_WATER, SessionId, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes above which somebody is certain to be waiting for [`Event::Writable`](crate::transport::Event),
/// also if headers of fragments are counted later.
const CERTAIN: u64 = 2 * LOW_WATER;

/// The objects in which clients of this member have missed something.
#[derive(Debug, Default)]
pub(super) struct Behind {
    objects: BTreeMap<SessionId, BTreeSet<ObjectName>>,
    /// What may wait for clients that are still sent the slots of an object.
    raised: BTreeMap<SessionId, u64>,
    /// Messages that were held back.
    pub(super) held_back: u64,
}

/// What a client is sent of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// Everything.
    Free,
    /// Everything, which is slots that the client lacks.
    Slots,
    /// The answers in it.
    Answers,
}

impl Behind {
    /// Clients that have missed something.
    pub(super) fn sessions(&self) -> Vec<SessionId> {
        self.objects.keys().copied().collect()
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        self.objects.remove(&session);
        self.raised.remove(&session);
    }

    fn has(&self, session: SessionId, name: &ObjectName) -> bool {
        self.objects.get(&session).is_some_and(|names| names.contains(name))
    }

    fn remove(&mut self, session: SessionId, name: &ObjectName) {
        if let Some(names) = self.objects.get_mut(&session) {
            names.remove(name);
            if names.is_empty() {
                self.objects.remove(&session);
            }
        }
    }
}

impl SharedObjects {
    /// What may wait for a client that is sent no slots.
    fn mark(&self, most: u64) -> u64 {
        self.limits.queue.min(most).max(CERTAIN)
    }

    /// True if a client of this member uses an object, wherever it is kept.
    fn is_used(&self, own: super::ClientId, name: &ObjectName) -> bool {
        let names = self.elsewhere.of_client.get(&own.session);
        self.all.get(name).is_some_and(|object| object.users.contains_key(&own))
            || names.is_some_and(|names| names.contains(name))
    }
}

impl Rendezvous {
    /// What a client is sent of a message with news of an object, of `weight` bytes.
    pub(super) fn passage(
        &mut self,
        session: SessionId,
        message: &SharedObjectMessage,
        weight: u64,
    ) -> Passage {
        let queued = self.queued_in_control(session);
        let most = self.most_waiting();
        let own = self.own(session);
        let Some(client) = self.clients.get(&session) else { return Passage::Free };
        let Some(objects) = &mut self.shared_objects else { return Passage::Free };
        let usual = objects.mark(most);
        let mark = objects.behind.raised.get(&session).copied().unwrap_or(usual);
        let is_too_long = queued > CERTAIN && queued + weight > most;
        let is_full = queued > mark || is_too_long;
        let is_whole = message.events.contains(&SharedObjectEvent::Clear);
        let has_missed = objects.behind.objects.contains_key(&session);
        let SharedObjects { behind, elsewhere, .. } = objects;
        if !is_full && !is_whole && !has_missed && elsewhere.used.is_empty() {
            return Passage::Free;
        }
        let name = ObjectName::of(&client.app, message);
        let is_held_back = is_full || behind.has(session, &name);
        let followed = elsewhere.used.get_mut(&name);
        if let Some(user) = followed.and_then(|it| it.users.get_mut(&session)) {
            // Slots in several messages pass as one.
            let is_rest = user.gets == Some(message.version)
                && message.events.iter().all(|it| matches!(it, SharedObjectEvent::Change { .. }));
            if is_rest && !is_too_long {
                return Passage::Slots;
            }
            user.gets = (is_whole && !is_held_back).then_some(message.version);
        }
        if !is_held_back {
            return if is_whole { Passage::Slots } else { Passage::Free };
        }
        behind.held_back += 1;
        if message.events.iter().any(is_state) && objects.is_used(own, &name) {
            objects.behind.objects.entry(session).or_default().insert(name);
        }
        Passage::Answers
    }

    /// A client was sent slots: beside them may wait what may usually, until it has taken nearly everything.
    pub(super) fn raise_mark(&mut self, session: SessionId) {
        let queued = self.queued_in_control(session);
        let most = self.most_waiting();
        if let Some(objects) = self.shared_objects.as_mut().filter(|_| queued > CERTAIN) {
            let usual = objects.mark(most);
            objects.behind.raised.insert(session, (queued + usual).min(most).max(usual));
        }
    }

    /// What may wait for a client at most: with a message more and its answers it might be closed.
    const fn most_waiting(&self) -> u64 {
        self.config.transport.max_send_queue / 8 * 7
    }

    /// A client may have released an object: it is not sent what it has missed of it.
    pub(super) fn forget_released(&mut self, session: SessionId, name: &ObjectName) {
        let own = self.own(session);
        if let Some(objects) = self.shared_objects.as_mut().filter(|it| !it.is_used(own, name)) {
            objects.behind.remove(session, name);
        }
    }

    /// Sends a client the slots of the objects in which it is behind, as long as it has taken nearly
    /// everything else. To be called at
    /// [`Event::Writable`](crate::transport::Event::Writable), and after a client has got slots that another
    /// member was asked for.
    pub(in super::super) fn catch_up(&mut self, now: Time, session: SessionId) {
        while let Some(name) = self.next_behind(session) {
            let own = self.own(session);
            let home = self.home_elsewhere(&name);
            let Some(objects) = &mut self.shared_objects else { return };
            if let Some(home) = home {
                let followed = objects.elsewhere.used.get_mut(&name);
                if let Some(user) = followed.and_then(|it| it.users.get_mut(&session)) {
                    user.again += 1;
                    let request = name.request(session, SharedObjectEvent::Use);
                    return self.send_parcel(now, home, Lane::Requests, request);
                }
            } else if let Some(message) = objects.whole(own, &name) {
                self.send_shared_objects(now, &[session], &message);
            }
        }
    }

    fn next_behind(&mut self, session: SessionId) -> Option<ObjectName> {
        let Behind { objects, raised, .. } = &self.shared_objects.as_ref()?.behind;
        let is_known = objects.contains_key(&session) || raised.contains_key(&session);
        if !is_known || self.queued_in_control(session) > LOW_WATER {
            return None;
        }
        let behind = &mut self.shared_objects.as_mut()?.behind;
        behind.raised.remove(&session);
        let first = behind.objects.get(&session)?.first()?.clone();
        behind.remove(session, &first);
        Some(first)
    }
}

/// The answers in a message.
pub(super) fn answers_in(message: &SharedObjectMessage) -> SharedObjectMessage {
    let events = message.events.iter().filter(|event| is_answer(event)).cloned().collect();
    SharedObjectMessage::new(message.name.clone(), message.persistent, message.version, events)
}

/// True for what a client waits for, having asked for it.
pub(super) const fn is_answer(event: &SharedObjectEvent) -> bool {
    use SharedObjectEvent::{Status, Success, UseSuccess};
    matches!(event, UseSuccess | Success { .. } | Status { .. })
}

/// True for what all slots make good.
const fn is_state(event: &SharedObjectEvent) -> bool {
    use SharedObjectEvent::{Change, Clear, Remove};
    matches!(event, Clear | Change { .. } | Remove { .. })
}
