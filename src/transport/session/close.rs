//! The end of a session (RFC 7016 §3.5.5).

use super::{Context, Session};
use crate::transport::{CloseReason, Event, Time};
use crate::wire::chunk::kind;
use std::time::Duration;

/// Period of repeated close requests (§3.5.5).
const CLOSE_REPEAT: Duration = Duration::from_secs(5);
/// Time for which close requests are repeated.
const NEAR_CLOSE: Duration = Duration::from_secs(90);
/// Time for which a closed session still answers close requests.
const FAR_CLOSE_LINGER: Duration = Duration::from_secs(19);

/// State of the session: open, or a step of its close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// This end closed the session and repeats its request until the far end confirms it.
    NearClose {
        since: Time,
        repeat: Time,
    },
    /// The far end closed the session; repetitions of its request are still answered.
    FarCloseLinger {
        until: Time,
    },
    Closed,
}

impl State {
    /// When [`Session::on_close_timer`] has something to do.
    pub(super) fn next_timeout(self) -> Option<Time> {
        match self {
            Self::NearClose { since, repeat } => Some(repeat.min(since + NEAR_CLOSE)),
            Self::FarCloseLinger { until } => Some(until),
            Self::Open | Self::Closed => None,
        }
    }
}

impl Session {
    /// Starts an orderly close (§3.5.5), which is reported to the owner at once.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>) {
        if self.state != State::Open {
            return;
        }
        self.end_flows();
        self.outbox.clear();
        self.state = State::NearClose { since: cx.now, repeat: cx.now + CLOSE_REPEAT };
        self.outbox.push(None, kind::CLOSE_REQUEST, &[]);
        self.report_closed(cx, CloseReason::Near);
    }

    /// Closes at once with a single acknowledgement, as the observed player does.
    pub(crate) fn close_abruptly(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        let was_open = self.state == State::Open;
        self.end_flows();
        self.state = State::Closed;
        self.outbox.clear();
        self.outbox.push(None, kind::CLOSE_ACK, &[]);
        if was_open {
            self.report_closed(cx, reason);
        }
    }

    /// Closes without a packet, as nobody has used the session.
    pub(super) fn close_unconfirmed(&mut self) {
        self.end_flows();
        self.outbox.clear();
        self.state = State::Closed;
    }

    pub(super) fn on_close_request(&mut self, cx: &mut Context<'_>) {
        // One answer is enough for any number of requests.
        self.drop_all_but(kind::CLOSE_REQUEST);
        self.outbox.push(None, kind::CLOSE_ACK, &[]);
        if self.state == State::Open {
            self.end_flows();
            self.state = State::FarCloseLinger { until: cx.now + FAR_CLOSE_LINGER };
            self.report_closed(cx, CloseReason::Far);
        }
    }

    /// The observed player also closes with this chunk, without a request.
    pub(super) fn on_close_ack(&mut self, cx: &mut Context<'_>) {
        let was_open = self.state == State::Open;
        self.end_flows();
        self.drop_all_but(kind::CLOSE_ACK);
        self.state = State::Closed;
        if was_open {
            self.report_closed(cx, CloseReason::Far);
        }
    }

    /// Drops what waits to be sent, as it is of no use now and must not keep an answer out, but for
    /// this chunk of the close. If both ends close at once, a request and the answer to our own can
    /// arrive together: the far end still waits for its answer.
    fn drop_all_but(&mut self, kind: u8) {
        self.outbox.keep_only(kind);
    }

    /// Does what is due in a session that is not open.
    pub(super) fn on_close_timer(&mut self, now: Time) {
        match self.state {
            State::NearClose { since, .. } if now.since(since) >= NEAR_CLOSE => {
                self.state = State::Closed;
                self.outbox.clear();
            }
            State::NearClose { since, repeat } if repeat <= now => {
                self.outbox.push(None, kind::CLOSE_REQUEST, &[]);
                self.state = State::NearClose { since, repeat: now + CLOSE_REPEAT };
            }
            State::FarCloseLinger { until } if until <= now => self.state = State::Closed,
            _ => {}
        }
    }

    /// True when nothing of the session is needed.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Closed && self.outbox.is_empty()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// True while the far end has not confirmed that this end closed the session, or waits for its
    /// own confirmation.
    pub(crate) fn is_closing(&self) -> bool {
        match self.state {
            State::NearClose { .. } => true,
            State::FarCloseLinger { .. } | State::Closed => !self.outbox.is_empty(),
            State::Open => false,
        }
    }

    fn report_closed(&self, cx: &mut Context<'_>, reason: CloseReason) {
        if !self.confirmed {
            return; // The session was never reported to its owner.
        }
        tracing::debug!(session = %self.id, peer = %self.far.fingerprint(), ?reason, "session closed");
        cx.events.push_back(Event::SessionClosed { session: self.id, reason });
    }

    fn end_flows(&mut self) {
        self.sending.end();
        self.receiving.clear();
        self.pieces.clear();
        self.acks.clear();
        self.keepalive.clear();
    }
}
