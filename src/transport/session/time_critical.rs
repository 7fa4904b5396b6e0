//! Time critical data, to which bulk data gives way (RFC 7016 §3.5.2.1).

use super::{Context, Session};
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// A time critical notification counts for this long (§3.5.2.1).
const LIFETIME: Duration = Duration::from_millis(800);

/// Time critical data in any session of the endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TimeCritical {
    /// When it was last sent.
    sent: Option<Time>,
    /// When a packet with it last arrived, and in which session.
    received: Option<(Time, SessionId)>,
}

/// Time critical data in one session.
#[derive(Debug, Default)]
pub(super) struct SessionTimeCritical {
    /// When it was last sent.
    sent: Option<Time>,
    /// When the far end last reported that it receives such data from others.
    reverse: Option<Time>,
}

impl SessionTimeCritical {
    /// True if the session itself has sent some just now.
    pub(super) fn was_sent(&self, now: Time) -> bool {
        recent(now, self.sent)
    }
}

impl Session {
    /// A packet arrived whose header has these flags.
    pub(super) fn note_time_critical(&mut self, cx: &mut Context<'_>, data: bool, reverse: bool) {
        if data {
            cx.time_critical.received = Some((cx.now, self.id));
        }
        if reverse {
            self.time_critical.reverse = Some(cx.now);
        }
    }

    /// A packet with time critical data is sent.
    pub(super) const fn note_time_critical_sent(&mut self, cx: &mut Context<'_>) {
        self.time_critical.sent = Some(cx.now);
        cx.time_critical.sent = Some(cx.now);
    }

    /// True if another session receives such data, which this one's far end should give way to.
    pub(super) fn receives_elsewhere(&self, cx: &Context<'_>) -> bool {
        let elsewhere = cx.time_critical.received.filter(|(_, session)| *session != self.id);
        recent(cx.now, elsewhere.map(|(at, _)| at))
    }

    /// FASTGROW_ALLOWED of Appendix A.2.
    pub(super) fn may_grow_fast(&self, cx: &Context<'_>) -> bool {
        !recent(cx.now, self.time_critical.reverse) && !recent(cx.now, cx.time_critical.sent)
    }
}

/// True if `at` lies within the last 800 ms.
fn recent(now: Time, at: Option<Time>) -> bool {
    at.is_some_and(|at| now.since(at) < LIFETIME)
}
