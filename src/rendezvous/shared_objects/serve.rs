//! Shared objects of clients: what a client sends, and what others are sent for it.

use super::super::Rendezvous;
use super::behind::{Passage, answers_in};
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
        let name = ObjectName::of(&app, message);
        let home = self.home_elsewhere(&name);
        let Some(objects) = &mut self.shared_objects else {
            if message.asks_for_use() {
                self.send_shared_objects(now, &[session], &message.refusal());
            }
            return;
        };
        if let Some(home) = home {
            self.pass_to_home(now, (home, session), name.clone(), message);
        } else {
            let outgoing = objects.on_message(from, &app, message);
            self.distribute(now, from, &app, outgoing);
        }
        self.forget_released(session, &name);
        self.catch_up(now, session);
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
        let answers = answers_in(message);
        let has_news = answers.events.len() < message.events.len();
        let weight = message.events.iter().map(|event| 16 + event.weight() as u64).sum();
        for &session in to {
            let passage = match has_news {
                true => self.passage(session, message, weight),
                false => Passage::Free,
            };
            let Some(client) = self.clients.get_mut(&session) else { continue };
            let encoding = client.connection.encoding();
            let bytes = match passage {
                Passage::Answers if answers.events.is_empty() => continue,
                Passage::Answers => part.of(encoding, &answers),
                Passage::Free | Passage::Slots => whole.of(encoding, message),
            };
            client.connection.send_shared_object(bytes);
            self.carry_out(now, session);
            if passage == Passage::Slots {
                self.raise_mark(session);
            }
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
