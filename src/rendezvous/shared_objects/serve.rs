//! Shared objects of clients: what a client sends, and what others are sent for it.

use super::super::Rendezvous;
use super::Outgoing;
use crate::flash::ObjectEncoding;
use crate::flash::shared_object::SharedObjectMessage;
use crate::transport::{SessionId, Time};
use bytes::Bytes;

impl Rendezvous {
    /// A client sends a message about a shared object.
    pub(in super::super) fn on_shared_object(
        &mut self,
        now: Time,
        session: SessionId,
        message: &SharedObjectMessage,
    ) {
        let Some(client) = self.clients.get(&session) else { return };
        let app = client.app.clone();
        let outgoing = match &mut self.shared_objects {
            Some(objects) => objects.on_message(session, &app, message),
            None if message.asks_for_use() => vec![(vec![session], message.refusal())],
            None => return,
        };
        self.send_shared_objects(now, outgoing);
    }

    fn send_shared_objects(&mut self, now: Time, outgoing: Outgoing) {
        for (to, message) in outgoing {
            let mut encoded: [Option<Bytes>; 2] = [None, None];
            for session in to {
                let Some(client) = self.clients.get_mut(&session) else { continue };
                let encoding = client.connection.encoding();
                let place = usize::from(encoding == ObjectEncoding::Amf3);
                let bytes = encoded[place].get_or_insert_with(|| message.encode_for(encoding));
                client.connection.send_shared_object(bytes.clone());
                self.carry_out(now, session);
            }
        }
    }
}
