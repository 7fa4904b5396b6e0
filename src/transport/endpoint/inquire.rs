//! Questions about a path: hellos that are sent to see where the answer comes from, and the search
//! for the largest datagram that passes.

use super::Endpoint;
use crate::crypto::Epd;
use crate::transport::{Event, Path, SessionId, Time};
use crate::wire::chunk::{ForwardedHello, InitiatorHello, kind};
use crate::wire::{Address, Chunk, Origin};
use std::net::SocketAddr;

/// Bytes of an answer to a forwarded hello beyond those of the hello.
const ANSWER: usize = 200;

impl Endpoint {
    /// Sends one hello and opens nothing: the answer is an [`Event::HelloAnswered`] with the tag.
    /// Whether `path` may be sent anything is the caller's concern.
    pub fn send_hello(&mut self, now: Time, path: Path, epd: &Epd, tag: &[u8; 16]) {
        self.now = now;
        self.send_startup(
            path,
            0,
            &Chunk::InitiatorHello(InitiatorHello { epd: epd.as_bytes(), tag }),
        );
    }

    /// Introduces the peer of `session` to `reply` as if somebody there had asked for it
    /// (RFC 7016 §3.5.1.5): it answers there, with `tag`. Padding brings it what an endpoint of this
    /// crate spends on the answer.
    pub fn introduce_to(
        &mut self,
        now: Time,
        session: SessionId,
        reply: SocketAddr,
        tag: &[u8; 16],
    ) {
        let Some(entry) = self.table.get_mut(session) else { return };
        let epd = Epd::for_fingerprint(entry.far.fingerprint());
        let reply_address = Address::new(reply, Origin::Reflexive);
        let hello = ForwardedHello { epd: epd.as_bytes(), reply_address, tag };
        let mut payload = Vec::with_capacity(hello.encoded_len());
        hello.encode(&mut payload);
        entry.push_control(None, kind::FORWARDED_HELLO, &payload);
        entry.push_control(None, kind::PADDING_00, &[0; ANSWER]);
        self.settle(now, session);
    }

    /// An answer to a hello that no attempt and no watched session has sent.
    pub(super) fn report_answer(&mut self, path: Path, tag: &[u8]) {
        if let Ok(tag) = tag.try_into()
            && self.config.report_answers
        {
            self.events.push_back(Event::HelloAnswered { path, tag });
        }
    }

    /// Begins at once to search for the largest datagram that the path of a session passes, which
    /// only a session that sends much does by itself. Without regard to whether the far end puts
    /// packet fragments together, so that it is for sessions that transfer little afterwards.
    /// [`SessionRef::is_searching_path`](super::SessionRef::is_searching_path) is false when it has
    /// ended, and [`SessionRef::max_datagram`](super::SessionRef::max_datagram) what was found.
    pub fn search_path(&mut self, now: Time, session: SessionId) {
        if let Some(entry) = self.table.get_mut(session) {
            entry.search_path(now);
            self.settle(now, session);
        }
    }
}
