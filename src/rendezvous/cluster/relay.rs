//! `relay` to clients of other members.

use super::{Command, MemberId, Relay, Rendezvous, To};
use crate::amf::Value;
use crate::crypto::Fingerprint;
use crate::flash::{Body, Command as FlashCommand, ObjectEncoding, Responder};
use crate::transport::{SessionId, Time};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A call that no member has taken after this time has failed: nobody has the peer.
const WAIT: Duration = Duration::from_secs(1);
/// Calls that wait; further ones fail.
const MAX_WAITING: usize = 8192;

/// Calls of clients of this member that wait for another member.
#[derive(Debug, Default)]
pub(super) struct PendingRelays {
    next: u64,
    waiting: BTreeMap<u64, (SessionId, Option<Responder>)>,
    /// When each is given up, in this order.
    deadlines: VecDeque<(Time, u64)>,
}

impl Rendezvous {
    /// Passes a call on to whoever has the peer. Gives the responder back with the reason if that is
    /// not possible.
    pub(in super::super) fn relay_elsewhere(
        &mut self,
        now: Time,
        (session, from): (SessionId, Fingerprint),
        to: Fingerprint,
        args: Vec<Value>,
        responder: Option<Responder>,
    ) -> Result<(), (Option<Responder>, &'static str)> {
        let limit = self.config.relay.message;
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| !cluster.others.is_empty())
        else {
            return Err((responder, "no such peer"));
        };
        let relays = &mut cluster.relays;
        if relays.waiting.len() >= MAX_WAITING {
            self.stats.relays_limited += 1;
            return Err((responder, "too many calls"));
        }
        // What the queues hold is bounded here; the client's member looks again.
        let encoded = FlashCommand::new("", 0.0, args.clone()).encode(ObjectEncoding::Amf3);
        if let Ok(Body::Command(_, values)) = encoded
            && values.len() > limit
        {
            self.stats.relays_limited += 1;
            return Err((responder, "the call is too long"));
        }
        let number = relays.next;
        relays.next += 1;
        relays.waiting.insert(number, (session, responder));
        relays.deadlines.push_back((now + WAIT, number));
        let relay = Relay { number, from, to, args };
        cluster.send(To::Peer(to), Command::Relay(Box::new(relay)));
        Ok(())
    }

    /// A call of a client of another member, perhaps for a client of this one.
    pub(super) fn on_relay(&mut self, now: Time, from: MemberId, relay: Relay) {
        let Some(far) = self.relay_target(relay.to) else { return };
        let outcome = self.deliver_relay(now, far, relay.from, relay.args);
        let outcome = outcome.map_err(str::to_owned);
        self.serve(now, far);
        self.tell(To::Member(from), Command::Relayed { number: relay.number, outcome });
    }

    pub(super) fn on_relayed(&mut self, now: Time, number: u64, outcome: Result<(), String>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some((session, responder)) = cluster.relays.waiting.remove(&number) else { return };
        self.answer_relay(now, session, responder, outcome.as_ref().copied().map_err(|why| &**why));
        self.serve(now, session);
    }

    /// When the next call is given up.
    pub(in super::super) fn next_relay_timeout(&self) -> Option<Time> {
        self.cluster.as_ref()?.relays.deadlines.front().map(|&(at, _)| at)
    }

    /// Calls that nobody has taken fail.
    pub(in super::super) fn relay_timeouts(&mut self, now: Time) {
        while let Some(cluster) = &mut self.cluster
            && let Some(&(at, number)) = cluster.relays.deadlines.front()
            && at <= now
        {
            cluster.relays.deadlines.pop_front();
            self.on_relayed(now, number, Err("no such peer".to_owned()));
        }
    }
}
