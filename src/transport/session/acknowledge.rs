//! Acknowledgements to the far end: when they leave, and of which flows (RFC 7016 §3.6.3.4).

use super::{Context, Session};
use crate::transport::Time;
use crate::wire::chunk::kind;
use std::collections::VecDeque;
use std::time::Duration;

/// Longest delay of an acknowledgement (§3.6.3.4.4).
const DELAYED_ACK: Duration = Duration::from_millis(200);
/// Packets with user data after which an acknowledgement is due.
const ACK_EVERY: u32 = 2;
/// An acknowledgement that is due because of these waits so long for a packet with user data to go
/// along with, if there is user data to be sent, and at most until so many packets have arrived.
const RIDE: Duration = Duration::from_millis(20);
const ACK_EVERY_RIDING: u32 = 8;

/// Receiving flows that have something to acknowledge.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// An acknowledgement leaves with the next packet.
    due: bool,
    /// When one is due at the latest.
    delayed: Option<Time>,
    /// Packets with user data since the last acknowledgement.
    data_packets: u32,
    /// Flows in the order in which they are acknowledged.
    flows: VecDeque<u64>,
}

impl Acks {
    /// The next packet carries the acknowledgements.
    pub(super) const fn send_now(&mut self) {
        self.due = true;
    }

    /// True if the next packet carries the acknowledgements, should there be any.
    pub(super) const fn are_due(&self) -> bool {
        self.due
    }

    /// True if a packet should leave for the acknowledgements alone.
    pub(super) fn want_packet(&self) -> bool {
        self.due && !self.flows.is_empty()
    }

    /// A fragment arrived: an acknowledgement is due within 200 ms.
    pub(super) fn on_fragment(&mut self, now: Time) {
        if !self.due && self.delayed.is_none() {
            self.delayed = Some(now + DELAYED_ACK);
        }
    }

    /// A packet with user data arrived. `may_ride`: user data waits to leave, so that an
    /// acknowledgement may be on its way with it soon.
    pub(super) fn on_data_packet(&mut self, now: Time, may_ride: bool) {
        self.data_packets += 1;
        let most = if may_ride { ACK_EVERY_RIDING } else { ACK_EVERY };
        self.due |= self.data_packets >= most;
        if self.data_packets >= ACK_EVERY && !self.due {
            let at = now + RIDE;
            self.delayed = Some(self.delayed.map_or(at, |due| due.min(at)));
        }
    }

    pub(super) fn on_timeout(&mut self, now: Time) {
        if self.delayed.is_some_and(|at| at <= now) {
            self.delayed = None;
            self.due = true;
        }
    }

    pub(super) const fn next_timeout(&self) -> Option<Time> {
        self.delayed
    }

    /// Every flow was acknowledged.
    const fn on_sent(&mut self) {
        self.due = false;
        self.delayed = None;
        self.data_packets = 0;
    }

    /// Drops every acknowledgement.
    pub(super) fn clear(&mut self) {
        self.due = false;
        self.delayed = None;
        self.flows = VecDeque::new();
    }
}

impl Session {
    /// True if a packet is to leave for acknowledgements alone.
    pub(crate) fn wants_ack_packet(&self) -> bool {
        self.acks.want_packet()
    }

    /// Queues an acknowledgement of a flow, unless one waits already.
    pub(super) fn queue_ack(&mut self, flow: u64) {
        let queued = self.receiving.change(flow, |f| std::mem::replace(&mut f.ack_queued, true));
        if queued == Some(false) {
            self.acks.flows.push_back(flow);
        }
    }

    /// Acknowledgements of every flow that is ready for one (§3.6.3.4.5, §3.6.3.4.6).
    pub(super) fn assemble_acks(
        &mut self,
        cx: &Context<'_>,
        start: usize,
        end: usize,
        out: &mut Vec<u8>,
    ) {
        let mut first = true;
        if let Some(count) = self.ecn.report().filter(|_| !self.acks.flows.is_empty()) {
            out.extend_from_slice(&[kind::ECN_REPORT, 0, 1, count]);
            self.ecn.on_report_sent();
        }
        while let Some(&flow) = self.acks.flows.front() {
            let space = end.saturating_sub(out.len());
            debug_assert!(out.len() > start);
            let fits = self.receiving.change(flow, |f| {
                let wanted = f.should_ack;
                let bitmaps = cx.config.bitmap_acks;
                let fits = !wanted || f.assemble_ack(space, first, bitmaps, cx.now, out);
                f.ack_queued &= !fits;
                first &= !(wanted && fits);
                fits
            });
            if fits == Some(false) {
                return;
            }
            self.acks.flows.pop_front();
        }
        self.acks.on_sent();
    }
}
