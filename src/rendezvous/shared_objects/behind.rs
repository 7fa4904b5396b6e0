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

/// The objects in which clients of this member have missed something.
#[derive(Debug, Default)]
pub(super) struct Behind {
    objects: BTreeMap<SessionId, BTreeSet<ObjectName>>,
    /// Messages that were held back.
    pub(super) held_back: u64,
}

impl Behind {
    /// True if a client has missed something of an object, and has not been sent its slots since.
    pub(super) fn has(&self, session: SessionId, name: &ObjectName) -> bool {
        self.objects.get(&session).is_some_and(|names| names.contains(name))
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        self.objects.remove(&session);
    }

    fn add(&mut self, session: SessionId, name: ObjectName) {
        self.objects.entry(session).or_default().insert(name);
    }

    fn take_first(&mut self, session: SessionId) -> Option<ObjectName> {
        let names = self.objects.get_mut(&session)?;
        let first = names.pop_first();
        if names.is_empty() {
            self.objects.remove(&session);
        }
        first
    }
}

impl Rendezvous {
    /// True if a client is to be sent no more of a message than the answers in it.
    pub(super) fn holds_back(&mut self, session: SessionId, message: &SharedObjectMessage) -> bool {
        let queued = self.queued_in_control(session);
        let Some(client) = self.clients.get(&session) else { return false };
        let Some(objects) = &mut self.shared_objects else { return false };
        let SharedObjects { behind, limits, elsewhere, .. } = objects;
        // Below this mark nothing would report that the rest was taken.
        let is_full = queued > limits.queue.max(LOW_WATER);
        let is_whole = message.events.contains(&SharedObjectEvent::Clear);
        let is_behind = behind.objects.contains_key(&session);
        if !is_full && !is_whole && !is_behind || message.events.iter().all(is_answer) {
            return false;
        }
        let name = ObjectName::of(&client.app, message);
        let is_held_back = is_full || behind.has(session, &name);
        let followed = elsewhere.used.get_mut(&name);
        if let Some(user) = followed.and_then(|it| it.users.get_mut(&session)) {
            // It gets all messages with the slots, or none.
            if is_whole {
                user.gets = (!is_held_back).then_some(message.version);
            } else if user.gets == Some(message.version) {
                return false;
            }
        }
        if is_held_back {
            behind.held_back += 1;
            if message.events.iter().any(is_state) {
                behind.add(session, name);
            }
        }
        is_held_back
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
            } else if let Some(object) = objects.all.get(&name).filter(|it| it.users.contains(&own))
            {
                let events =
                    [SharedObjectEvent::Clear].into_iter().chain(object.changes()).collect();
                let ObjectName { name, persistent, .. } = name;
                let message = SharedObjectMessage::new(name, persistent, object.version, events);
                self.send_shared_objects(now, &[session], &message);
            }
        }
    }

    fn next_behind(&mut self, session: SessionId) -> Option<ObjectName> {
        let objects = self.shared_objects.as_ref()?;
        let is_behind = objects.behind.objects.contains_key(&session);
        if !is_behind || self.queued_in_control(session) > LOW_WATER {
            return None;
        }
        self.shared_objects.as_mut()?.behind.take_first(session)
    }
}

/// The answers in a message.
pub(super) fn answers_in(message: &SharedObjectMessage) -> SharedObjectMessage {
    let events = message.events.iter().filter(|event| is_answer(event)).cloned().collect();
    SharedObjectMessage::new(message.name.clone(), message.persistent, message.version, events)
}

/// True for what a client waits for, having asked for it.
const fn is_answer(event: &SharedObjectEvent) -> bool {
    use SharedObjectEvent::{Status, Success, UseSuccess};
    matches!(event, UseSuccess | Success { .. } | Status { .. })
}

/// True for what all slots make good.
const fn is_state(event: &SharedObjectEvent) -> bool {
    use SharedObjectEvent::{Change, Clear, Remove};
    matches!(event, Clear | Change { .. } | Remove { .. })
}
