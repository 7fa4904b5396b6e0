//! Timers of a session.

use super::close::State;
use super::{Context, Session, UNCONFIRMED};
use crate::transport::recv_flow::RecvFlow;
use crate::transport::{CloseReason, Time};
use crate::wire::chunk::kind;
use crate::wire::vlu;

impl Session {
    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::Open => self.open_timers(cx),
            _ => self.on_close_timer(cx.now),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        match self.state {
            State::Open => Some(self.next_open_timer()),
            closing => closing.next_timeout(),
        }
    }

    fn open_timers(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        if self.unconfirmed_until().is_some_and(|until| until <= now) {
            return self.close_unconfirmed();
        }
        self.acks.on_timeout(now);
        self.on_retransmission_timer(now);
        self.sending.pacer.on_timer(now);
        self.flow_timers(now);
        self.path_mtu.on_timeout(now, self.rtt.timeout());
        self.pieces.expire(now);
        self.ping_if_unused(now);
        self.ping_if_silent(now);
        if self.keepalive.is_dead(now) {
            self.close_abruptly(cx, CloseReason::Dead);
        }
    }

    fn flow_timers(&mut self, now: Time) {
        for id in self.sending.on_flow_timers(now, self.rtt.timeout()) {
            let mut payload = Vec::new();
            vlu::encode(id, &mut payload);
            self.outbox.push(None, kind::BUFFER_PROBE, &payload);
        }
        while let Some(id) = self.receiving.pop_due(now) {
            let state = |f: &mut RecvFlow| (f.repetition_due(now), f.linger_until().is_some());
            match self.receiving.change(id, state) {
                Some((true, _)) => {
                    self.queue_ack(id);
                    self.acks.send_now();
                }
                Some((_, true)) => self.receiving.remove(id),
                _ => {}
            }
        }
    }

    /// When a session that its initiator does not use is dropped.
    fn unconfirmed_until(&self) -> Option<Time> {
        (!self.confirmed).then(|| self.keepalive.last_received() + UNCONFIRMED)
    }

    fn next_open_timer(&self) -> Time {
        let timers = [
            self.acks.next_timeout(),
            self.sending.next_timeout(),
            self.unconfirmed_until(),
            self.path_mtu.next_timeout(),
            self.receiving.next_timeout(),
        ];
        timers.into_iter().flatten().fold(self.keepalive.next_timeout(), Time::min)
    }
}
