//! [`NetGroupInfo`]: bytes exchanged with the neighbors, as totals and as rates.

use super::{FlowKind, Group};
use crate::transport::Time;
use std::fmt;
use std::time::Duration;

/// The time over which rates are averaged.
const WINDOW: Duration = Duration::from_secs(SLOTS as u64);
/// Parts of that time, of a second each.
const SLOTS: usize = 4;

/// What a group exchanges with its neighbors now: Flash's class of this name, in bytes a second,
/// averaged over the last 4 s. Message bytes are counted, without the headers of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NetGroupInfo {
    /// Keys of posted values, and requests for them, sent.
    pub posting_send_control_bytes_per_second: f64,
    /// The same, received.
    pub posting_receive_control_bytes_per_second: f64,
    /// Posted values sent.
    pub posting_send_data_bytes_per_second: f64,
    /// The same, received.
    pub posting_receive_data_bytes_per_second: f64,
    /// Directed messages sent.
    pub routing_send_bytes_per_second: f64,
    /// The same, received.
    pub routing_receive_bytes_per_second: f64,
    /// Objects and all about them, sent.
    pub object_replication_send_bytes_per_second: f64,
    /// The same, received.
    pub object_replication_receive_bytes_per_second: f64,
}

impl NetGroupInfo {
    /// The counters by name.
    fn fields(&self) -> [(&'static str, f64); 8] {
        [
            ("posting_send_control_bytes_per_second", self.posting_send_control_bytes_per_second),
            (
                "posting_receive_control_bytes_per_second",
                self.posting_receive_control_bytes_per_second,
            ),
            ("posting_send_data_bytes_per_second", self.posting_send_data_bytes_per_second),
            ("posting_receive_data_bytes_per_second", self.posting_receive_data_bytes_per_second),
            ("routing_send_bytes_per_second", self.routing_send_bytes_per_second),
            ("routing_receive_bytes_per_second", self.routing_receive_bytes_per_second),
            (
                "object_replication_send_bytes_per_second",
                self.object_replication_send_bytes_per_second,
            ),
            (
                "object_replication_receive_bytes_per_second",
                self.object_replication_receive_bytes_per_second,
            ),
        ]
    }
}

/// All of them, as Flash's `toString`.
impl fmt::Display for NetGroupInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, value)) in self.fields().into_iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{name}: {value:.0}")?;
        }
        Ok(())
    }
}

/// Message bytes exchanged with the neighbors since the group was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NetGroupBytes {
    /// Keys of posted values, and requests for them, sent.
    pub posting_send_control_bytes: u64,
    /// The same, received.
    pub posting_receive_control_bytes: u64,
    /// Posted values sent.
    pub posting_send_data_bytes: u64,
    /// The same, received.
    pub posting_receive_data_bytes: u64,
    /// Directed messages sent.
    pub routing_send_bytes: u64,
    /// The same, received.
    pub routing_receive_bytes: u64,
    /// Objects and all about them, sent.
    pub object_replication_send_bytes: u64,
    /// The same, received.
    pub object_replication_receive_bytes: u64,
}

impl Group {
    /// The rates at which the group exchanges bytes with its neighbors.
    pub fn info(&self, now: Time) -> NetGroupInfo {
        self.traffic.rates(now)
    }
}

/// The bytes on the flows of the capabilities.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    now: Time,
    posting_keys: Meters,
    posting_values: Meters,
    routing: Meters,
    replication: Meters,
}

#[derive(Debug, Default)]
struct Meters {
    sent: Meter,
    received: Meter,
}

/// A total, and the sum of the last seconds.
#[derive(Debug, Default)]
struct Meter {
    total: u64,
    slots: [u64; SLOTS],
    /// The second of the slot that is being filled.
    second: u64,
}

impl Traffic {
    /// What is counted from now on happens at this time.
    pub(super) fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// The time of the last input.
    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn sent(&mut self, kind: FlowKind, bytes: usize) {
        let now = self.now;
        if let Some(meters) = self.meters(kind) {
            meters.sent.add(now, bytes);
        }
    }

    pub(super) fn received(&mut self, kind: FlowKind, bytes: usize) {
        let now = self.now;
        if let Some(meters) = self.meters(kind) {
            meters.received.add(now, bytes);
        }
    }

    pub(super) fn totals(&self) -> NetGroupBytes {
        let (keys, values) = (&self.posting_keys, &self.posting_values);
        NetGroupBytes {
            posting_send_control_bytes: keys.sent.total,
            posting_receive_control_bytes: keys.received.total,
            posting_send_data_bytes: values.sent.total,
            posting_receive_data_bytes: values.received.total,
            routing_send_bytes: self.routing.sent.total,
            routing_receive_bytes: self.routing.received.total,
            object_replication_send_bytes: self.replication.sent.total,
            object_replication_receive_bytes: self.replication.received.total,
        }
    }

    pub(super) fn rates(&self, now: Time) -> NetGroupInfo {
        let (keys, values) = (&self.posting_keys, &self.posting_values);
        NetGroupInfo {
            posting_send_control_bytes_per_second: keys.sent.rate(now),
            posting_receive_control_bytes_per_second: keys.received.rate(now),
            posting_send_data_bytes_per_second: values.sent.rate(now),
            posting_receive_data_bytes_per_second: values.received.rate(now),
            routing_send_bytes_per_second: self.routing.sent.rate(now),
            routing_receive_bytes_per_second: self.routing.received.rate(now),
            object_replication_send_bytes_per_second: self.replication.sent.rate(now),
            object_replication_receive_bytes_per_second: self.replication.received.rate(now),
        }
    }

    fn meters(&mut self, kind: FlowKind) -> Option<&mut Meters> {
        match kind {
            FlowKind::PostingKeys => Some(&mut self.posting_keys),
            FlowKind::PostingValues => Some(&mut self.posting_values),
            FlowKind::Routing => Some(&mut self.routing),
            FlowKind::Replication => Some(&mut self.replication),
            FlowKind::Membership | FlowKind::MulticastControl | FlowKind::MulticastData => None,
        }
    }
}

impl Meter {
    fn add(&mut self, now: Time, bytes: usize) {
        let second = second(now);
        let passed = second.saturating_sub(self.second).min(SLOTS as u64);
        for earlier in 0..passed {
            self.slots[slot(second.saturating_sub(earlier))] = 0;
        }
        self.second = self.second.max(second);
        self.slots[slot(self.second)] += bytes as u64;
        self.total += bytes as u64;
    }

    /// Bytes a second over the last whole seconds and the present one.
    fn rate(&self, now: Time) -> f64 {
        let passed = second(now).saturating_sub(self.second);
        let slots = (passed..SLOTS as u64).map(|age| self.second.checked_sub(age - passed));
        let sum: u64 = slots.flatten().map(|second| self.slots[slot(second)]).sum();
        sum as f64 / WINDOW.as_secs_f64()
    }
}

fn second(time: Time) -> u64 {
    time.as_micros() / 1_000_000
}

fn slot(second: u64) -> usize {
    (second % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let mut meter = Meter::default();
        let at = Time::from_millis;
        meter.add(at(500), 400);
        meter.add(at(1_500), 800);
        assert_eq!((meter.rate(at(1_999)), meter.total), (300.0, 1200));
        assert_eq!(meter.rate(at(3_999)), 300.0);
        assert_eq!(meter.rate(at(4_000)), 200.0);
        assert_eq!(meter.rate(at(5_000)), 0.0);
        meter.add(at(5_500), 40);
        assert_eq!(meter.rate(at(5_500)), 10.0);
        meter.add(at(60_000), 4);
        assert_eq!((meter.rate(at(60_000)), meter.total), (1.0, 1244));
    }

    #[test]
    fn every_flow_of_a_capability_is_counted() {
        let mut traffic = Traffic::default();
        traffic.advance(Time::from_millis(10_000));
        traffic.sent(FlowKind::PostingKeys, 4);
        traffic.received(FlowKind::PostingValues, 8);
        traffic.received(FlowKind::Routing, 12);
        traffic.sent(FlowKind::Replication, 16);
        traffic.sent(FlowKind::Membership, 1000);
        let totals = traffic.totals();
        assert_eq!(totals.posting_send_control_bytes, 4);
        assert_eq!(totals.posting_receive_data_bytes, 8);
        assert_eq!(totals.routing_receive_bytes, 12);
        assert_eq!(totals.object_replication_send_bytes, 16);
        let rates = traffic.rates(Time::from_millis(10_000));
        assert_eq!(rates.posting_send_control_bytes_per_second, 1.0);
        assert_eq!(rates.object_replication_send_bytes_per_second, 4.0);
        assert_eq!(rates.posting_receive_control_bytes_per_second, 0.0);
        let text = rates.to_string();
        assert!(text.starts_with("posting_send_control_bytes_per_second: 1, "), "{text}");
    }
}
