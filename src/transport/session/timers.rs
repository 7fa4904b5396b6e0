//! A point in time was reached.

use super::{
    CLOSE_REPEAT, Context, FIRST_PING, MOBILITY_PING, NEAR_CLOSE, Pinging, Session, State,
    UNCONFIRMED,
};
use crate::transport::recv_flow::RecvFlow;
use crate::transport::{CloseReason, Time};
use crate::wire::chunk::kind;
use crate::wire::vlu;

impl Session {
    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::Open => self.open_timers(cx),
            State::NearClose { since, repeat } => self.near_close_timer(cx, since, repeat),
            State::FarCloseLinger { until } if until <= cx.now => self.state = State::Closed,
            State::FarCloseLinger { .. } | State::Closed => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        match self.state {
            State::Open => self.next_open_timer(),
            State::NearClose { since, repeat } => Some(repeat.min(since + NEAR_CLOSE)),
            State::FarCloseLinger { until } => Some(until),
            State::Closed => None,
        }
    }

    fn open_timers(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        if !self.confirmed && now.since(self.last_received) >= UNCONFIRMED {
            self.end_flows();
            self.outbox.clear();
            self.state = State::Closed;
            return;
        }
        if self.delayed_ack.is_some_and(|at| at <= now) {
            self.delayed_ack = None;
            self.ack_now = true;
        }
        if self.timeout.is_some_and(|at| at <= now) {
            self.on_retransmission_timeout(now);
        }
        self.pacer.on_timer(now);
        self.flow_timers(now);
        self.path_mtu.on_timeout(now, self.rtt.timeout());
        self.pieces.expire(now);
        self.ping_if_unused(now);
        self.ping_if_silent(now);
        if self.unanswered_since().is_some_and(|since| now.since(since) >= self.dead_after) {
            self.close_abruptly(cx, CloseReason::Dead);
        }
    }

    fn flow_timers(&mut self, now: Time) {
        let mut probes = Vec::new();
        let timeout = self.rtt.timeout();
        for (&id, flow) in &mut self.send_flows {
            flow.expire(now);
            let (before, after) = flow.charge();
            self.send_memory = self.send_memory + after - before;
            if flow.probe_due(now, timeout) {
                probes.push(id);
            }
        }
        for id in probes {
            let mut payload = Vec::new();
            vlu::encode(id, &mut payload);
            self.push_control(None, kind::BUFFER_PROBE, &payload);
        }
        while let Some(id) = self.recv_flows.pop_due(now) {
            let state = |f: &mut RecvFlow| (f.repetition_due(now), f.linger_until().is_some());
            match self.recv_flows.change(id, state) {
                Some((true, _)) => {
                    self.queue_ack(id);
                    self.ack_now = true;
                }
                Some((_, true)) => self.recv_flows.remove(id),
                _ => {}
            }
        }
    }

    /// Keepalive (§3.5.4.1): an empty ping after silence, repeated until there is a sign of life.
    fn ping_if_silent(&mut self, now: Time) {
        match self.pinging {
            None if now.since(self.last_received) >= self.keepalive => self.ping(now),
            Some(pinging) if pinging.again <= now => {
                self.rtt.back_off();
                self.push_control(None, kind::PING, &[]);
                self.pinging = Some(Pinging { again: now + self.rtt.timeout(), ..pinging });
                self.seek(now);
            }
            _ => {}
        }
    }

    /// Pings the other addresses where the far end may be.
    pub(super) fn seek(&mut self, now: Time) {
        for (path, message) in self.mobility.seek(now, self.path) {
            if self.credit() >= MOBILITY_PING {
                self.spend_credit(MOBILITY_PING);
                self.push_control(Some(path), kind::PING, &message);
            }
        }
    }

    /// The responder waits for a packet that shows that its keying has arrived: a ping, unless the
    /// owner of the session has something to send. At least one server (MonaServer 1.x) closes a
    /// session whose first packet is anything but a request to connect.
    pub(crate) fn ping_unless_used(&mut self, now: Time) {
        self.first_ping = Some(now + FIRST_PING);
    }

    fn ping_if_unused(&mut self, now: Time) {
        if self.first_ping.is_some_and(|at| at <= now) {
            self.first_ping = None;
            if self.stats.datagrams_sent == 0 && self.outbox.is_empty() {
                self.ping(now);
            }
        }
    }

    /// Sends an empty ping that is repeated until there is a sign of life.
    pub(crate) fn ping(&mut self, now: Time) {
        self.push_control(None, kind::PING, &[]);
        self.pinging = Some(Pinging { first: now, again: now + self.rtt.timeout() });
    }

    fn near_close_timer(&mut self, cx: &mut Context<'_>, since: Time, repeat: Time) {
        if cx.now.since(since) >= NEAR_CLOSE {
            self.state = State::Closed;
            self.outbox.clear();
        } else if repeat <= cx.now {
            self.push_control(None, kind::CLOSE_REQUEST, &[]);
            self.state = State::NearClose { since, repeat: cx.now + CLOSE_REPEAT };
        }
    }

    fn next_open_timer(&self) -> Option<Time> {
        let ping = match self.pinging {
            Some(pinging) => pinging.again.min(pinging.first + self.dead_after),
            None => self.last_received + self.keepalive,
        };
        let flows = self.send_flows.values().filter_map(|flow| flow.next_timeout());
        let unconfirmed = (!self.confirmed).then(|| self.last_received + UNCONFIRMED);
        let path_mtu = self.path_mtu.next_timeout();
        let dead = self.unanswered_since.map(|since| since + self.dead_after);
        flows
            .chain(
                [
                    self.delayed_ack,
                    self.timeout,
                    self.pacer.due(),
                    dead,
                    unconfirmed,
                    path_mtu,
                    self.recv_flows.next_timeout(),
                    Some(ping),
                    self.first_ping,
                ]
                .into_iter()
                .flatten(),
            )
            .min()
    }
}
