//! Shared objects of clients: what a client sends, and what others are sent for it.

use super::super::Rendezvous;
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
        if self.shared_objects.is_some()
            && let name = ObjectName::of(&app, message)
            && let Some(home) = self.home_elsewhere(&name)
        {
            return self.pass_to_home(now, (home, session), name, message);
        }
        match &mut self.shared_objects {
            Some(objects) => {
                let outgoing = objects.on_message(from, &app, message);
                self.distribute(now, from, &app, outgoing);
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
        }
        self.release_elsewhere(now, session);
    }

    /// Sends clients of this member a message about an object.
    pub(in super::super) fn send_shared_objects(
        &mut self,
        now: Time,
        to: &[SessionId],
        message: &SharedObjectMessage,
    ) {
        let mut encoded: [Option<Bytes>; 2] = [None, None];
        for &session in to {
            let Some(client) = self.clients.get_mut(&session) else { continue };
            let encoding = client.connection.encoding();
            let place = usize::from(encoding == ObjectEncoding::Amf3);
            let bytes = encoded[place].get_or_insert_with(|| message.encode_for(encoding));
            client.connection.send_shared_object(bytes.clone());
            self.carry_out(now, session);
        }
    }
}
