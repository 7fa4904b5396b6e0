//! Flow synchronization (RFC 7425 §5.2): flows of a client that wait for each other, so that the end of a
//! stream, say, does not overtake its last frame on another flow.

use super::Rendezvous;
use crate::flash::{Barriers, FlowDelivery};
use crate::transport::{FlowId, SessionId, Time};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Bytes that wait of one client, and of all; beyond, what waits of that client is handled, no longer
/// in order.
const MAX_WAITING_OF_CLIENT: usize = 1 << 20;
const MAX_WAITING: usize = 16 << 20;
/// The first byte of an RTMP message that may be a synchronization.
const USER_CONTROL: u8 = 4;

/// The barriers at which flows of clients wait. Clients whose flows never carried one are not here.
#[derive(Debug, Default)]
pub(super) struct ClientBarriers {
    of: BTreeMap<SessionId, Barriers>,
    /// Bytes that wait in all.
    waiting: usize,
}

impl ClientBarriers {
    /// Notes a delivery. Gives it back if it does not wait for others.
    fn add(
        &mut self,
        session: SessionId,
        flow: FlowId,
        delivery: FlowDelivery,
    ) -> Option<FlowDelivery> {
        let is_barrier = matches!(&delivery, FlowDelivery::Message(message) if is_barrier(message));
        if !is_barrier && !self.of.contains_key(&session) {
            return Some(delivery);
        }
        self.change(session, |barriers| barriers.on_delivery(flow, delivery));
        let waiting = self.of.get(&session).map_or(0, Barriers::waiting_bytes);
        if waiting > MAX_WAITING_OF_CLIENT || self.waiting > MAX_WAITING {
            tracing::debug!(%session, "too much waits for other flows, and is handled");
            self.change(session, Barriers::open_all);
        }
        None
    }

    fn change(&mut self, session: SessionId, change: impl FnOnce(&mut Barriers)) {
        let barriers = self.of.entry(session).or_default();
        let before = barriers.waiting_bytes();
        change(barriers);
        self.waiting = self.waiting + barriers.waiting_bytes() - before;
    }

    /// What is to be handled next of a client.
    fn poll(&mut self, session: SessionId) -> Option<(FlowId, FlowDelivery)> {
        let barriers = self.of.get_mut(&session)?;
        let due = barriers.poll();
        if barriers.is_idle() {
            self.of.remove(&session);
        }
        due
    }

    /// A flow was rejected: nothing more comes from it.
    pub(super) fn on_flow_rejected(&mut self, session: SessionId, flow: FlowId) {
        if self.of.contains_key(&session) {
            self.change(session, |barriers| barriers.on_flow_rejected(flow));
        }
    }

    /// A client is gone.
    pub(super) fn forget(&mut self, session: SessionId) {
        if let Some(barriers) = self.of.remove(&session) {
            self.waiting -= barriers.waiting_bytes();
        }
    }
}

/// True if a message is a synchronization.
fn is_barrier(message: &Bytes) -> bool {
    message.first() == Some(&USER_CONTROL) && Barriers::sync_of(message).is_some()
}

impl Rendezvous {
    /// A flow of a client's connection delivered something. It is handled at once, unless the flow waits
    /// for others.
    pub(super) fn deliver_in_order(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        delivery: FlowDelivery,
    ) {
        match self.barriers.add(session, flow, delivery) {
            Some(delivery) => self.handle_delivery(now, session, flow, delivery),
            None => {
                while let Some((flow, delivery)) = self.barriers.poll(session) {
                    self.handle_delivery(now, session, flow, delivery);
                }
            }
        }
    }

    fn handle_delivery(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        delivery: FlowDelivery,
    ) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        match delivery {
            FlowDelivery::Message(message) => client.connection.on_message(now, flow, &message),
            FlowDelivery::Finished => client.connection.on_flow_finished(flow),
        }
        self.serve(now, session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::{Body, Message, UserControl};

    const SESSION: SessionId = SessionId(7);

    fn sync(count: u32) -> FlowDelivery {
        let body = Body::UserControl(UserControl::FlowSync { id: 1, count });
        FlowDelivery::Message(Message::new(0, body).encode().into_bytes())
    }

    fn audio(len: usize) -> FlowDelivery {
        FlowDelivery::Message(
            Message::new(0, Body::Audio(vec![0xaf; len].into())).encode().into_bytes(),
        )
    }

    #[test]
    fn only_synchronizations_make_flows_wait() {
        let mut barriers = ClientBarriers::default();
        let ping = Message::new(0, Body::UserControl(UserControl::PingRequest(4)));
        let ping = FlowDelivery::Message(ping.encode().into_bytes());
        for delivery in [audio(9), ping, FlowDelivery::Finished] {
            assert_eq!(barriers.add(SESSION, FlowId(3), delivery.clone()), Some(delivery));
        }
        assert_eq!(barriers.add(SESSION, FlowId(3), sync(2)), None);
        assert_eq!(barriers.add(SESSION, FlowId(3), audio(9)), None);
        assert_eq!(barriers.poll(SESSION), None);
        assert_eq!(barriers.add(SESSION, FlowId(4), sync(2)), None);
        assert_eq!(barriers.poll(SESSION), Some((FlowId(3), audio(9))));
        assert_eq!(barriers.poll(SESSION), None);
        assert!(barriers.of.is_empty() && barriers.waiting == 0);
    }

    /// Many clients whose flows wait for flows that never come.
    #[test]
    fn hostile_clients_hold_a_bounded_number_of_bytes() {
        let mut barriers = ClientBarriers::default();
        let mut handled = 0;
        for round in 0..30 {
            for client in 0..40 {
                let session = SessionId(client);
                if round == 0 {
                    barriers.add(session, FlowId(3), sync(9));
                }
                let passed = barriers.add(session, FlowId(3), audio(50_000)).is_some();
                handled += usize::from(passed);
                while barriers.poll(session).is_some() {
                    handled += 1;
                }
                assert!(barriers.waiting <= MAX_WAITING + 51_000);
            }
        }
        assert!(handled > 800, "{handled}");
        for client in 0..40 {
            barriers.forget(SessionId(client));
        }
        assert!(barriers.of.is_empty() && barriers.waiting == 0);
    }

    #[test]
    fn a_rejected_flow_waits_no_longer() {
        let mut barriers = ClientBarriers::default();
        barriers.add(SESSION, FlowId(3), sync(2));
        barriers.add(SESSION, FlowId(3), audio(9));
        barriers.on_flow_rejected(SESSION, FlowId(3));
        assert_eq!((barriers.poll(SESSION), barriers.waiting), (None, 0));
        assert!(barriers.of.is_empty());
    }
}
