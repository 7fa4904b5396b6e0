//! One session for a certificate, wherever it is (RFC 7425 §4.3.7).

use super::{Command, MemberId, Opened, Rendezvous, To};
use crate::transport::{SessionId, Time};

impl Rendezvous {
    /// A client has opened a session: an older one with another member is closed there.
    pub(in super::super) fn announce(&mut self, now: Time, session: SessionId) {
        let Some(info) = self.endpoint.session(session) else { return };
        let (peer, ip) = (info.far(), info.path().remote.ip());
        let proven = info.certificate().static_groups().next().is_some();
        let opened = Opened { peer, at: now, ip, proven };
        self.tell(To::Peer(peer), Command::Opened(opened));
    }

    /// A peer has opened a session with another member. Of two that were opened at the same time the
    /// one with the higher member stays, so that not both are closed.
    pub(super) fn on_opened_elsewhere(&mut self, now: Time, from: MemberId, opened: &Opened) {
        let Some(session) = self.endpoint.session_with(opened.peer) else { return };
        let Some(info) = self.endpoint.session(session) else { return };
        let same_ip = info.path().remote.ip() == opened.ip;
        let member = self.own(session).member;
        let Some(client) = self.clients.get(&session) else { return };
        let is_newer = (opened.at, from) > (client.opened, member);
        if is_newer && (opened.proven || same_ip) {
            self.endpoint.give_way(now, session);
        }
    }
}
