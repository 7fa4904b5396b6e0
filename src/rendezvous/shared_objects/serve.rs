//! Shared objects of clients: what a client sends, and what others are sent for it.

use super::super::Rendezvous;
use super::behind::answers_in;
use super::{ObjectName, SharedObjectSnapshot, SharedObjects};
use crate::flash::ObjectEncoding;
use crate::flash::shared_object::SharedObjectMessage;
use crate::transport::{SessionId, Time};
use bytes::Bytes;

impl Rendezvous {
    /// Takes a persistent object of an earlier run, before clients connect. False if there is no space
    /// for it, or one of its name.
    pub fn restore_shared_object(&mut self, kept: SharedObjectSnapshot) -> bool {
        self.shared_objects.as_mut().is_some_and(|objects| objects.restore(kept))
    }

    /// True if this member of a cluster keeps an object, which is to be
    /// [restored](Self::restore_shared_object) here.
    pub fn keeps_shared_object(&self, kept: &SharedObjectSnapshot) -> bool {
        let (app, name) = (kept.app.clone(), kept.name.clone());
        self.home_elsewhere(&ObjectName { app, name, persistent: true }).is_none()
    }

    /// True if [`take_changed_objects`](Self::take_changed_objects) returns something.
    pub fn has_changed_objects(&self) -> bool {
        self.shared_objects.as_ref().is_some_and(SharedObjects::has_changed)
    }

    /// The persistent objects that have changed since the last call, without slots those that are
    /// gone. None unless [`RendezvousConfig::takes_shared_objects`](super::super::RendezvousConfig) is
    /// set.
    pub fn take_changed_objects(&mut self) -> Vec<SharedObjectSnapshot> {
        self.shared_objects.as_mut().map(SharedObjects::take_changed).unwrap_or_default()
    }

    /// A client sends a message about a shared object.
    pub(in super::super) fn on_shared_object(
        &mut self,
        now: Time,
        session: SessionId,
        message: &SharedObjectMessage,
    ) {
        let Some(client) = self.clients.get(&session) else { return };
        let app = client.app.clone();
        let from = self.own(session);
        // Here and below: what a client releases may be what it waited for.
        if self.shared_objects.is_some()
            && let name = ObjectName::of(&app, message)
            && let Some(home) = self.home_elsewhere(&name)
        {
            self.pass_to_home(now, (home, session), name, message);
            return self.catch_up(now, session);
        }
        match &mut self.shared_objects {
            Some(objects) => {
                let outgoing = objects.on_message(from, &app, message);
                self.distribute(now, from, &app, outgoing);
                self.catch_up(now, session);
            }
            None if message.asks_for_use() => {
                self.send_shared_objects(now, &[session], &message.refusal());
            }
            None => {}
        }
    }

    /// A client is gone.
    pub(in super::super) fn forget_objects_of(&mut self, now: Time, session: SessionId) {
        let client = self.own(session);
        if let Some(objects) = &mut self.shared_objects {
            objects.forget(client);
            objects.behind.forget(session);
        }
        self.release_elsewhere(now, session);
    }

    /// Sends clients of this member a message about an object; to those who are
    /// [behind](super::behind), the answers in it.
    pub(in super::super) fn send_shared_objects(
        &mut self,
        now: Time,
        to: &[SessionId],
        message: &SharedObjectMessage,
    ) {
        let (mut whole, mut part) = (Encoded::default(), Encoded::default());
        let mut answers = None;
        for &session in to {
            let is_held_back = self.holds_back(session, message);
            let Some(client) = self.clients.get_mut(&session) else { continue };
            let encoding = client.connection.encoding();
            let bytes = if is_held_back {
                let answers = answers.get_or_insert_with(|| answers_in(message));
                if answers.events.is_empty() {
                    continue;
                }
                part.of(encoding, answers)
            } else {
                whole.of(encoding, message)
            };
            client.connection.send_shared_object(bytes);
            self.carry_out(now, session);
        }
    }
}

/// A message for clients with either object encoding, made when the first of them needs it.
#[derive(Default)]
struct Encoded([Option<Bytes>; 2]);

impl Encoded {
    fn of(&mut self, encoding: ObjectEncoding, message: &SharedObjectMessage) -> Bytes {
        let place = usize::from(encoding == ObjectEncoding::Amf3);
        self.0[place].get_or_insert_with(|| message.encode_for(encoding)).clone()
    }
}
