//! Acknowledgements of what this end has sent, losses, and the congestion controller's reports
//! (RFC 7016 §3.6.2.4 to §3.6.2.6).

use super::sending::Sending;
use super::{Context, Session};
use crate::transport::congestion::AckReport;
use crate::transport::send_flow::Acked;
use crate::transport::{Event, FlowId, Time};
use crate::wire::chunk::AckRange;

impl Session {
    /// An acknowledgement of one flow arrived, in the packet of `report`.
    pub(super) fn on_ack(
        &mut self,
        cx: &mut Context<'_>,
        report: &mut AckReport,
        flow: u64,
        (blocks, cumulative): (u64, u64),
        ranges: impl Iterator<Item = AckRange>,
    ) {
        report.any_acks = true;
        let large = self.large_fragment();
        let Sending { flows, transmissions, outstanding, .. } = &mut self.sending;
        let path_mtu = &mut self.path_mtu;
        let Some(sending) = flows.get_mut(&flow) else { return };
        let (mut bytes, mut newest) = (0, report.newest_acked);
        sending.on_ack(cx.now, blocks, cumulative, ranges, |acked: Acked| {
            bytes += acked.size;
            path_mtu.on_acknowledged(cx.now, acked.size, large);
            newest = newest.max(Some(acked.tsn));
            transmissions.on_acked(acked.tsn);
        });
        *outstanding -= bytes;
        report.acked_bytes += bytes;
        report.newest_acked = newest;
        if sending.take_writable() {
            cx.events.push_back(Event::Writable { session: self.id, flow: FlowId(flow) });
        }
        self.sending.charge(flow);
        if self.sending.remove_if_done(flow) {
            cx.events.push_back(Event::FlowDone { session: self.id, flow: FlowId(flow) });
        }
    }

    /// The far end rejected a sending flow.
    pub(super) fn on_exception(&mut self, cx: &mut Context<'_>, flow: u64, exception: u64) {
        let Some(sending) = self.sending.flows.get_mut(&flow) else { return };
        let was_open = sending.is_open();
        if sending.on_rejected() && was_open {
            self.sending.charge(flow);
            let (session, flow) = (self.id, FlowId(flow));
            cx.events.push_back(Event::FlowRejected { session, flow, exception });
        }
    }

    /// Every chunk of a packet was processed. `congested`: it reported congestion marks.
    pub(super) fn after_acks(&mut self, cx: &Context<'_>, mut report: AckReport, congested: bool) {
        if report.any_acks {
            self.detect_losses(&mut report);
            self.restart_timers(cx.now, report.acked_bytes);
            self.ecn.on_acknowledgement();
        }
        let sent = &self.sending.transmissions;
        report.ecn_congestion = congested && self.ecn.should_react(sent.max_acked(), sent.next());
        let report = AckReport {
            now: cx.now,
            outstanding: self.sending.outstanding,
            first_tsn: sent.first(),
            next_tsn: sent.next(),
            waited: self.forward_delay.waited(),
            fast_grow: self.may_grow_fast(cx),
            time_critical_sent: self.time_critical.was_sent(cx.now),
            ..report
        };
        self.sending.congestion.on_packet(&report);
    }

    fn restart_timers(&mut self, now: Time, acked: u64) {
        let sending = &mut self.sending;
        if std::mem::take(&mut sending.burst) > 0 {
            sending.released = 0;
        }
        sending.released += acked;
        sending.delivered += acked;
        // Also with nothing in flight: then the congestion window is too old at that time.
        sending.timeout = sending.timeout.map(|_| now + self.rtt.timeout());
        self.keepalive.on_acknowledged(now, sending.outstanding > 0);
    }

    /// Negative acknowledgement by transmission order (§3.6.2.5).
    fn detect_losses(&mut self, report: &mut AckReport) {
        let large = self.large_fragment();
        let Sending { flows, transmissions, outstanding, .. } = &mut self.sending;
        let (stats, path_mtu) = (&mut self.stats, &mut self.path_mtu);
        let next = transmissions.next();
        let any_naks = transmissions.detect_losses(|tsn, transmission| {
            report.any_loss = true;
            report.newest_lost = Some(tsn);
            stats.fragments_lost += 1;
            if let Some(flow) = flows.get_mut(&transmission.flow) {
                let bytes = flow.on_lost(transmission.sequence);
                *outstanding -= bytes;
                report.lost_bytes += bytes;
                path_mtu.on_lost((tsn, next), bytes, large);
            }
        });
        report.any_naks |= any_naks;
    }

    /// The retransmission timer (§3.6.2.6): everything in flight counts as lost.
    pub(super) fn on_retransmission_timer(&mut self, now: Time) {
        if self.sending.timeout.is_none_or(|at| at > now) {
            return;
        }
        let large = self.large_fragment();
        let Sending { flows, transmissions, outstanding, .. } = &mut self.sending;
        let before = *outstanding;
        // The newest was sent after whatever was found lost earlier.
        let (newest, next) = (transmissions.next() - 1, transmissions.next());
        for transmission in transmissions.drain() {
            if let Some(flow) = flows.get_mut(&transmission.flow) {
                let size = flow.on_lost(transmission.sequence);
                *outstanding -= size;
                self.path_mtu.on_lost((newest, next), size, large);
            }
        }
        let lost = before - *outstanding;
        self.ecn.on_timeout();
        self.sending.burst = 0;
        self.sending.timeout = None;
        if lost > 0 {
            self.stats.timeouts += 1;
            self.rtt.back_off();
            self.seek(now);
        }
        self.sending.congestion.on_timeout(lost);
    }
}
