//! Messages that were sent to the nearest neighbor, until it has shown that it is there: nobody else
//! repeats what a vanished neighbor was sent, and that it has vanished is known only a minute later.

use crate::group::membership::PeerSession;
use crate::group::{Group, GroupAddress};
use crate::transport::{SessionId, Time};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// A message is looked at this long after it was sent, and then again until it is clear what became of it.
const LOOK: Duration = Duration::from_secs(2);

/// A neighbor that has answered nothing for this long gets no messages for others.
const SILENCE: Duration = Duration::from_secs(2);

/// Messages that are kept, and their bytes. The oldest make place.
const MAX_KEPT: usize = 256;
const MAX_KEPT_BYTES: usize = 1 << 20;

/// The messages of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Underway {
    messages: VecDeque<Message>,
    bytes: usize,
}

#[derive(Debug)]
struct Message {
    /// `None` until the next timeout: the time of sending is not known before.
    sent: Option<Time>,
    /// When it is looked at.
    at: Time,
    session: SessionId,
    destination: GroupAddress,
    message: Bytes,
}

impl Underway {
    pub(super) fn add(
        &mut self,
        last_input: Time,
        session: SessionId,
        destination: GroupAddress,
        message: Bytes,
    ) {
        if message.len() > MAX_KEPT_BYTES {
            return;
        }
        while self.messages.len() >= MAX_KEPT || self.bytes + message.len() > MAX_KEPT_BYTES {
            self.pop();
        }
        self.bytes += message.len();
        let (sent, at) = (None, last_input);
        self.messages.push_back(Message { sent, at, session, destination, message });
    }

    fn look_again(&mut self, now: Time, message: Message) {
        let (sent, at) = (message.sent.or(Some(now)), now + LOOK);
        self.bytes += message.message.len();
        self.messages.push_back(Message { sent, at, ..message });
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.message.len();
        Some(message)
    }

    fn pop_due(&mut self, now: Time) -> Option<Message> {
        self.poll_timeout().filter(|at| *at <= now)?;
        self.pop()
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.messages.front().map(|message| message.at)
    }
}

/// True if the far end of a session seems to have vanished: it had not answered for so long when that
/// was last known. What was on its way then counts for no longer, as its answer is not reported.
pub(super) fn is_silent(session: &PeerSession) -> bool {
    session.unanswered.is_some_and(|since| session.unanswered_at.since(since) >= SILENCE)
}

impl Group {
    /// Sends what went to neighbors that have answered nothing since to the nearest of the others.
    pub(in crate::proto::group) fn redirect(&mut self, now: Time) {
        while let Some(message) = self.routing.underway.pop_due(now) {
            let Some(session) = self.membership.session(message.session) else { continue };
            if is_silent(session) {
                self.routing.stats.messages_redirected += 1;
                let Message { destination, message, .. } = message;
                // Without a route, or with a full flow, it is lost as it would have been.
                let _ = self.routing_mut().send_nearest(now, &destination, message);
            } else if message
                .sent
                .is_none_or(|sent| session.unanswered.is_some_and(|since| since <= sent + SILENCE))
            {
                self.routing.underway.look_again(now, message);
            }
        }
    }
}
