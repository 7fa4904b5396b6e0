//! Introductions to clients of other members.
//!
//! The member that received the hello answers it, and keeps to the bounds on what the asker may
//! cause; the member that has the client chooses its addresses, and keeps to the bounds on what the
//! client must bear.

use super::super::addresses::Asker;
use super::{Command, Located, MemberId, Rendezvous, To};
use crate::transport::{IntroductionRequest, SessionId, Time};

impl Rendezvous {
    /// Asks other members for the peer of a hello. False if there are none.
    pub(in super::super) fn look_up(&mut self, request: &IntroductionRequest) -> bool {
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| !cluster.others.is_empty())
        else {
            return false;
        };
        cluster.looked_up += 1;
        cluster.send(To::Peer(request.wanted), Command::LookUp(Box::new(request.clone())));
        true
    }

    /// Another member asks for a peer.
    pub(super) fn locate(&mut self, from: MemberId, request: IntroductionRequest) {
        let Some(session) = self.endpoint.session_with(request.wanted) else { return };
        // Which sort of asker it is the other member knows.
        let addresses = self.addresses_for(session, &request, Asker::Client);
        let Some(addresses) = addresses else { return };
        let Some(info) = self.endpoint.session(session) else { return };
        let certificate = info.certificate().as_bytes().len();
        let located = Located { request, session, addresses, certificate };
        self.tell(To::Member(from), Command::Located(Box::new(located)));
    }

    /// Another member has the peer that a hello asks for.
    pub(super) fn on_located(&mut self, now: Time, from: MemberId, located: Located) {
        let Located { request, session, addresses, certificate } = located;
        let asker = request.from.remote;
        if let Some(cluster) = &mut self.cluster {
            cluster.located += 1;
        }
        self.note_hello(now, asker, super::ClientId { member: from, session });
        let sent = self.endpoint.redirect(&request, &addresses);
        if self.may_forward(now, &request, sent, certificate) {
            let by_client = self.asker(asker) == Asker::Client;
            let request = Box::new(request.clone());
            let forward = Command::Forward { session, request, by_client };
            self.tell(To::Member(from), forward);
        } else {
            self.stats.forwards_limited += 1;
        }
        self.note_introduction(now, &request);
    }

    /// Another member has answered a hello for a client of this one.
    pub(super) fn forward_for(
        &mut self,
        now: Time,
        session: SessionId,
        request: &IntroductionRequest,
        by_client: bool,
    ) {
        let from = request.from.remote.ip();
        let asker = if by_client { Asker::Client } else { Asker::Stranger };
        let has_client = self.clients.contains_key(&session);
        if has_client && self.budgets.bear(now, asker, from, session) {
            self.endpoint.forward_hello(now, session, request);
            self.stats.forwarded += 1;
        } else {
            self.stats.forwards_limited += 1;
        }
    }
}
