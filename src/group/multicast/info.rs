//! Counters of one stream: Flash's `NetStreamMulticastInfo`, in snake case.

use crate::transport::Time;
use std::fmt;
use std::time::Duration;

/// The time over which rates are averaged.
const PERIOD: Duration = Duration::from_secs(3);

/// The exchange of one stream with the neighbors since it began. Rates are averages of the last few
/// seconds, in bytes a second. What Flash counts of servers and of IP multicast is 0: neither is a
/// source of fragments here.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NetStreamMulticastInfo {
    /// Fragments sent.
    pub send_data_bytes_per_second: f64,
    /// Descriptions, maps and requests sent.
    pub send_control_bytes_per_second: f64,
    /// Fragments received, those that came twice included.
    pub receive_data_bytes_per_second: f64,
    /// Descriptions, maps and requests received.
    pub receive_control_bytes_per_second: f64,
    /// Control messages to a server.
    pub send_control_bytes_per_second_to_server: f64,
    /// Fragments from a server.
    pub receive_data_bytes_per_second_from_server: f64,
    /// Fragments by IP multicast.
    pub receive_data_bytes_per_second_from_ip_multicast: f64,
    /// Bytes sent in advance, because a neighbor subscribed.
    pub bytes_pushed_to_peers: u64,
    /// Fragments sent in advance.
    pub fragments_pushed_to_peers: u64,
    /// Bytes received in advance.
    pub bytes_pushed_from_peers: u64,
    /// Fragments received in advance.
    pub fragments_pushed_from_peers: u64,
    /// Bytes sent because a neighbor asked for that fragment.
    pub bytes_requested_by_peers: u64,
    /// Fragments sent because a neighbor asked for them.
    pub fragments_requested_by_peers: u64,
    /// Bytes received because this member asked for that fragment.
    pub bytes_requested_from_peers: u64,
    /// Fragments received because this member asked for them.
    pub fragments_requested_from_peers: u64,
    /// Bytes from a server.
    pub bytes_received_from_server: u64,
    /// Fragments from a server.
    pub fragments_received_from_server: u64,
    /// Bytes by IP multicast.
    pub bytes_received_from_ip_multicast: u64,
    /// Fragments by IP multicast.
    pub fragments_received_from_ip_multicast: u64,
    /// Fragments received that were here already. Not Flash's.
    pub duplicate_fragments: u64,
    /// Fragments that were given up. Not Flash's.
    pub lost_fragments: u64,
}

impl NetStreamMulticastInfo {
    /// The counters by name.
    fn fields(&self) -> [(&'static str, f64); 21] {
        [
            ("send_data_bytes_per_second", self.send_data_bytes_per_second),
            ("send_control_bytes_per_second", self.send_control_bytes_per_second),
            ("receive_data_bytes_per_second", self.receive_data_bytes_per_second),
            ("receive_control_bytes_per_second", self.receive_control_bytes_per_second),
            (
                "send_control_bytes_per_second_to_server",
                self.send_control_bytes_per_second_to_server,
            ),
            (
                "receive_data_bytes_per_second_from_server",
                self.receive_data_bytes_per_second_from_server,
            ),
            (
                "receive_data_bytes_per_second_from_ip_multicast",
                self.receive_data_bytes_per_second_from_ip_multicast,
            ),
            ("bytes_pushed_to_peers", self.bytes_pushed_to_peers as f64),
            ("fragments_pushed_to_peers", self.fragments_pushed_to_peers as f64),
            ("bytes_pushed_from_peers", self.bytes_pushed_from_peers as f64),
            ("fragments_pushed_from_peers", self.fragments_pushed_from_peers as f64),
            ("bytes_requested_by_peers", self.bytes_requested_by_peers as f64),
            ("fragments_requested_by_peers", self.fragments_requested_by_peers as f64),
            ("bytes_requested_from_peers", self.bytes_requested_from_peers as f64),
            ("fragments_requested_from_peers", self.fragments_requested_from_peers as f64),
            ("bytes_received_from_server", self.bytes_received_from_server as f64),
            ("fragments_received_from_server", self.fragments_received_from_server as f64),
            ("bytes_received_from_ip_multicast", self.bytes_received_from_ip_multicast as f64),
            (
                "fragments_received_from_ip_multicast",
                self.fragments_received_from_ip_multicast as f64,
            ),
            ("duplicate_fragments", self.duplicate_fragments as f64),
            ("lost_fragments", self.lost_fragments as f64),
        ]
    }
}

/// All of them, as Flash's `toString`.
impl fmt::Display for NetStreamMulticastInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, value)) in self.fields().into_iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{name}: {value:.0}")?;
        }
        Ok(())
    }
}

/// A rate that forgets.
#[derive(Debug, Default)]
struct Rate {
    per_second: f64,
    as_of: Time,
}

impl Rate {
    fn at(&self, now: Time) -> f64 {
        let age = now.since(self.as_of).as_secs_f64() / PERIOD.as_secs_f64();
        self.per_second * (-age).exp()
    }

    fn add(&mut self, now: Time, bytes: usize) {
        self.per_second = self.at(now) + bytes as f64 / PERIOD.as_secs_f64();
        self.as_of = now;
    }
}

#[derive(Debug, Default)]
pub(super) struct Info {
    totals: NetStreamMulticastInfo,
    sent_data: Rate,
    sent_control: Rate,
    received_data: Rate,
    received_control: Rate,
}

impl Info {
    pub(super) fn at(&self, now: Time) -> NetStreamMulticastInfo {
        NetStreamMulticastInfo {
            send_data_bytes_per_second: self.sent_data.at(now),
            send_control_bytes_per_second: self.sent_control.at(now),
            receive_data_bytes_per_second: self.received_data.at(now),
            receive_control_bytes_per_second: self.received_control.at(now),
            ..self.totals
        }
    }

    pub(super) fn sent_control(&mut self, now: Time, bytes: usize) {
        self.sent_control.add(now, bytes);
    }

    pub(super) fn received_control(&mut self, now: Time, bytes: usize) {
        self.received_control.add(now, bytes);
    }

    pub(super) fn sent(&mut self, now: Time, bytes: usize, is_pushed: bool) {
        self.sent_data.add(now, bytes);
        let totals = &mut self.totals;
        let (fragments, sum) = match is_pushed {
            true => (&mut totals.fragments_pushed_to_peers, &mut totals.bytes_pushed_to_peers),
            false => {
                (&mut totals.fragments_requested_by_peers, &mut totals.bytes_requested_by_peers)
            }
        };
        *fragments += 1;
        *sum += bytes as u64;
    }

    pub(super) fn received(&mut self, now: Time, bytes: usize, is_pushed: bool) {
        self.received_data.add(now, bytes);
        let totals = &mut self.totals;
        let (fragments, sum) = match is_pushed {
            true => (&mut totals.fragments_pushed_from_peers, &mut totals.bytes_pushed_from_peers),
            false => {
                (&mut totals.fragments_requested_from_peers, &mut totals.bytes_requested_from_peers)
            }
        };
        *fragments += 1;
        *sum += bytes as u64;
    }

    pub(super) fn duplicate(&mut self) {
        self.totals.duplicate_fragments += 1;
    }

    pub(super) fn lost(&mut self, fragments: u64) {
        self.totals.lost_fragments = self.totals.lost_fragments.saturating_add(fragments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_what_flows_and_fade() {
        let mut info = Info::default();
        let mut now = Time::ZERO;
        for _ in 0..200 {
            now += Duration::from_millis(100);
            info.sent(now, 1000, true);
        }
        let rate = info.at(now).send_data_bytes_per_second;
        assert!((9000.0..11_000.0).contains(&rate), "{rate}");
        assert_eq!(info.at(now).fragments_pushed_to_peers, 200);
        let text = info.at(now).to_string();
        assert!(text.contains(", bytes_pushed_to_peers: 200000, fragments_pushed_to_peers: 200, "));
        let later = info.at(now + Duration::from_secs(30)).send_data_bytes_per_second;
        assert!(later < 1.0, "{later}");
    }
}
