//! Delivery rate and round trip of the packet that an acknowledgement was about
//! (draft-ietf-ccwg-bbr §4.1, "Delivery Rate Samples").

use crate::transport::Time;
use crate::transport::congestion::{AckReport, SentPacket};
use std::collections::VecDeque;
use std::time::Duration;

/// A packet in flight and what had been delivered when it left.
#[derive(Debug, Clone, Copy)]
struct Record {
    tsn: u64,
    sent: Time,
    delivered: u64,
    delivered_at: Time,
    first_sent: Time,
    lost: u64,
    in_flight: u64,
    app_limited: bool,
}

/// Sample of an acknowledgement, as seen from the newest packet that it acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Bytes per second; `None` if unknown.
    pub(super) rate: Option<u64>,
    /// From sending the packet to its acknowledgement, the receiver's delay included.
    pub(super) rtt: Duration,
    /// Bytes delivered between.
    pub(super) delivered: u64,
    /// Bytes lost between.
    pub(super) lost: u64,
    /// Bytes that were in flight when the packet had left, it included.
    pub(super) in_flight: u64,
    /// Bytes that had been delivered when the packet left.
    pub(super) prior_delivered: u64,
    /// The owner had not enough to send.
    pub(super) app_limited: bool,
    /// The delivered bytes had taken longer to leave than to be acknowledged: the path may be
    /// faster than the rate.
    pub(super) send_limited: bool,
}

/// Counts what is delivered and lost.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    /// All bytes acknowledged.
    pub(super) delivered: u64,
    delivered_at: Time,
    /// When the packet left that begins the sending side of the next sample.
    first_sent: Time,
    /// All bytes lost.
    pub(super) lost: u64,
    /// Packets that leave before so much is delivered do not fill the path; 0: they do.
    app_limited_until: u64,
    packets: VecDeque<Record>,
}

impl Sampler {
    pub(super) fn on_sent(&mut self, packet: &SentPacket) {
        if packet.outstanding_before == 0 {
            self.first_sent = packet.now;
            self.delivered_at = packet.now;
        }
        self.packets.push_back(Record {
            tsn: packet.tsn,
            sent: packet.now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            lost: self.lost,
            in_flight: packet.outstanding_before.saturating_add(packet.bytes),
            app_limited: self.app_limited_until > 0,
        });
    }

    pub(super) fn on_app_limited(&mut self, outstanding: u64) {
        self.app_limited_until = self.delivered.saturating_add(outstanding).max(1);
    }

    /// `None` if nothing was acknowledged for the first time.
    pub(super) fn on_packet(&mut self, report: &AckReport, min_rtt: Duration) -> Option<Sample> {
        self.lost = self.lost.saturating_add(report.lost_bytes);
        let sample = report.newest_acked.and_then(|tsn| {
            self.delivered = self.delivered.saturating_add(report.acked_bytes);
            self.delivered_at = report.now;
            let at = self.packets.partition_point(|record| record.tsn < tsn);
            let record = *self.packets.get(at)?;
            Some(self.sample(report.now, &record, min_rtt))
        });
        if self.delivered > self.app_limited_until {
            self.app_limited_until = 0;
        }
        while self.packets.front().is_some_and(|record| record.tsn < report.first_tsn) {
            self.packets.pop_front();
        }
        sample
    }

    fn sample(&mut self, now: Time, record: &Record, min_rtt: Duration) -> Sample {
        let sending = record.sent - record.first_sent;
        let acknowledging = now - record.delivered_at;
        self.first_sent = record.sent;
        let interval = sending.max(acknowledging);
        let delivered = self.delivered.saturating_sub(record.delivered);
        let reliable = interval >= min_rtt && !interval.is_zero();
        let rate = reliable.then(|| (delivered as f64 / interval.as_secs_f64()) as u64);
        Sample {
            rate,
            rtt: now - record.sent,
            delivered,
            lost: self.lost.saturating_sub(record.lost),
            in_flight: record.in_flight,
            prior_delivered: record.delivered,
            app_limited: record.app_limited,
            send_limited: sending > acknowledging,
        }
    }

    /// Nothing is in flight; `lost` bytes were.
    pub(super) fn on_timeout(&mut self, lost: u64) {
        self.lost = self.lost.saturating_add(lost);
        self.packets = VecDeque::new();
    }

    /// When something was last acknowledged.
    pub(super) fn delivered_at(&self) -> Time {
        self.delivered_at
    }
}
