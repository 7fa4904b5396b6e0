//! Barriers across the flows of a stream or connection: Flow Synchronization (RFC 7425 §5.2).

use super::{Body, Message, UserControl};
use crate::transport::FlowId;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// Bytes that may wait at barriers, each message with its overhead. Beyond, all barriers are
/// opened: what waited is delivered, no longer in order.
const MAX_WAITING_BYTES: usize = 2 << 20;
/// Bytes that a message takes in a queue, beyond its own.
const OVERHEAD: usize = 64;

/// What a flow delivers, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowDelivery {
    /// A message.
    Message(Bytes),
    /// The end of the flow.
    Finished,
}

/// The barriers of flows that are associated with each other, and what waits at them.
///
/// A flow that carried a synchronization message waits until as many flows as it states have
/// carried one of the same ID. Pass in all that the flows deliver, and take out what is due.
#[derive(Debug, Default)]
pub struct Barriers {
    /// Flows that wait at a barrier.
    flows: BTreeMap<FlowId, Flow>,
    /// Bytes that wait in `flows`.
    waiting_bytes: usize,
    due: VecDeque<(FlowId, FlowDelivery)>,
}

#[derive(Debug, Default)]
struct Flow {
    /// The ID of the barrier where it waits.
    barrier: Option<u32>,
    waiting: VecDeque<FlowDelivery>,
}

impl Barriers {
    /// The barrier that a message sets: its ID and the number of flows that meet there.
    pub fn sync_of(message: &Bytes) -> Option<(u32, u32)> {
        match Message::parse(message).ok()?.body {
            Body::UserControl(UserControl::FlowSync { id, count }) => Some((id, count)),
            _ => None,
        }
    }

    /// Forgets a flow that was rejected, and what waits in it.
    pub fn on_flow_rejected(&mut self, flow: FlowId) {
        if let Some(it) = self.flows.remove(&flow) {
            self.waiting_bytes -= it.waiting.iter().map(held).sum::<usize>();
        }
    }

    /// Opens all barriers: no further message can reach them.
    pub fn open_all(&mut self) {
        while !self.flows.is_empty() {
            self.open_each_once();
        }
    }

    /// Bytes that wait, with what each message costs.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// True if no flow waits and nothing is due.
    pub fn is_idle(&self) -> bool {
        self.flows.is_empty() && self.due.is_empty()
    }

    /// A flow delivered something.
    pub fn on_delivery(&mut self, flow: FlowId, delivery: FlowDelivery) {
        self.waiting_bytes += held(&delivery);
        self.flows.entry(flow).or_default().waiting.push_back(delivery);
        self.advance(flow);
        while self.waiting_bytes > MAX_WAITING_BYTES {
            tracing::debug!(%flow, "too much waits for other flows, and is delivered");
            self.open_each_once();
        }
    }

    /// What is to be handled next.
    #[must_use]
    pub fn poll(&mut self) -> Option<(FlowId, FlowDelivery)> {
        self.due.pop_front()
    }

    /// Opens the barriers where flows wait, whoever lacks there; each goes on to its next one.
    fn open_each_once(&mut self) {
        let all = self.flows.keys().copied().collect::<Vec<_>>();
        self.flows.values_mut().for_each(|it| it.barrier = None);
        all.into_iter().for_each(|it| self.advance(it));
    }

    /// Moves what a flow has to its next barrier, and other flows with it if that opens.
    fn advance(&mut self, flow: FlowId) {
        let mut free = vec![flow];
        while let Some(flow) = free.pop() {
            // A flow that has nothing left was removed.
            let Some(it) = self.flows.get_mut(&flow) else { continue };
            while it.barrier.is_none()
                && let Some(delivery) = it.waiting.pop_front()
            {
                self.waiting_bytes -= held(&delivery);
                let sync = match &delivery {
                    FlowDelivery::Message(message) => Self::sync_of(message),
                    FlowDelivery::Finished => None,
                };
                match sync {
                    Some((id, count)) => {
                        it.barrier = Some(id);
                        free.extend(self.open_if_reached(id, count));
                        break;
                    }
                    None => self.due.push_back((flow, delivery)),
                }
            }
            self.flows.retain(|_, it| it.barrier.is_some() || !it.waiting.is_empty());
        }
    }

    /// Opens a barrier if `count` flows are there: those flows.
    fn open_if_reached(&mut self, barrier: u32, count: u32) -> Vec<FlowId> {
        let there = self.flows.iter_mut().filter(|(_, it)| it.barrier == Some(barrier));
        let mut there = there.collect::<Vec<_>>();
        if there.len() < count as usize {
            return Vec::new();
        }
        there.iter_mut().for_each(|(_, it)| it.barrier = None);
        there.into_iter().map(|(&flow, _)| flow).collect()
    }
}

/// Bytes that something takes while it waits.
fn held(delivery: &FlowDelivery) -> usize {
    OVERHEAD
        + match delivery {
            FlowDelivery::Message(message) => message.len(),
            FlowDelivery::Finished => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIO: FlowId = FlowId(3);
    const VIDEO: FlowId = FlowId(4);
    const DATA: FlowId = FlowId(5);

    fn message(text: &'static str) -> FlowDelivery {
        FlowDelivery::Message(Bytes::from_static(text.as_bytes()))
    }

    fn sync(id: u32, count: u32) -> FlowDelivery {
        let event = Body::UserControl(UserControl::FlowSync { id, count });
        FlowDelivery::Message(Message::new(0, event).encode().into_bytes())
    }

    fn due(barriers: &mut Barriers) -> Vec<String> {
        let all = std::iter::from_fn(|| barriers.poll());
        let text = |delivery| match delivery {
            FlowDelivery::Message(message) => String::from_utf8_lossy(&message).into_owned(),
            FlowDelivery::Finished => "finished".to_owned(),
        };
        all.map(|(flow, delivery)| format!("{} {}", flow.0, text(delivery))).collect()
    }

    /// RFC 7425 §5.2, figure 2.
    #[test]
    fn the_figure_of_the_rfc() {
        let mut barriers = Barriers::default();
        let (first, second) = (AUDIO, VIDEO);
        let mut deliver = |flow, delivery| {
            barriers.on_delivery(flow, delivery);
            due(&mut barriers)
        };
        assert_eq!(deliver(first, message("M1")), ["3 M1"]);
        assert_eq!(deliver(second, message("M3")), ["4 M3"]);
        assert!(deliver(second, sync(8, 2)).is_empty());
        assert!(deliver(second, message("M5")).is_empty());
        assert!(deliver(second, sync(13, 2)).is_empty());
        assert!(deliver(second, message("M6")).is_empty());
        assert_eq!(deliver(first, message("M2")), ["3 M2"]);
        assert_eq!(deliver(first, message("M4")), ["3 M4"]);
        assert_eq!(deliver(first, sync(8, 2)), ["4 M5"]);
        assert_eq!(deliver(first, sync(13, 2)), ["4 M6"]);
        assert_eq!(deliver(first, message("M7")), ["3 M7"]);
        assert!(barriers.is_idle());
    }

    #[test]
    fn the_end_of_a_flow_waits_as_well() {
        let mut barriers = Barriers::default();
        barriers.on_delivery(DATA, sync(1, 3));
        barriers.on_delivery(DATA, message("end"));
        barriers.on_delivery(DATA, FlowDelivery::Finished);
        barriers.on_delivery(AUDIO, sync(1, 3));
        assert!(due(&mut barriers).is_empty());
        barriers.on_delivery(VIDEO, message("last"));
        barriers.on_delivery(VIDEO, sync(1, 3));
        assert_eq!(due(&mut barriers), ["4 last", "5 end", "5 finished"]);
        assert!(barriers.is_idle());
    }

    #[test]
    fn what_waits_is_delivered_when_nothing_more_can_come() {
        let mut barriers = Barriers::default();
        barriers.on_delivery(AUDIO, sync(1, 2));
        barriers.on_delivery(AUDIO, message("a"));
        barriers.on_delivery(AUDIO, sync(2, 2));
        barriers.on_delivery(AUDIO, message("b"));
        barriers.on_delivery(DATA, sync(2, 3));
        barriers.on_delivery(DATA, message("never"));
        barriers.on_flow_rejected(DATA);
        barriers.open_all();
        assert_eq!(due(&mut barriers), ["3 a", "3 b"]);
        assert!(barriers.is_idle() && barriers.waiting_bytes == 0);
    }

    #[test]
    fn a_barrier_for_one_flow_or_none_holds_nothing() {
        let mut barriers = Barriers::default();
        for count in [0, 1] {
            barriers.on_delivery(DATA, sync(7, count));
            assert!(barriers.is_idle());
        }
    }

    #[test]
    fn hostile_barriers_hold_a_bounded_number_of_bytes() {
        let mut barriers = Barriers::default();
        barriers.on_delivery(DATA, sync(1, u32::MAX));
        let big = FlowDelivery::Message(Bytes::from(vec![8; 100_000]));
        let mut sent = 0;
        while due(&mut barriers).is_empty() {
            barriers.on_delivery(DATA, sync(sent, 2));
            barriers.on_delivery(DATA, big.clone());
            sent += 1;
            assert!(barriers.waiting_bytes <= MAX_WAITING_BYTES);
        }
        assert_eq!(sent, 21, "20 are less than 2 MiB");
    }
}
