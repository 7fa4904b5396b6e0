//! One publisher of a stream, at whatever member.
//!
//! Who wants to publish waits until every other member has answered, for [`WAIT`] at most; what it
//! sends meanwhile is kept. The member that has a publisher of the name objects, and so does one
//! where somebody has asked before. If a command is lost or a member lags, two may publish for a
//! while: as soon as one member learns of it, the later publication ends.

use super::super::Rendezvous;
use super::super::cluster::{Command, MemberId, PublicationId, StreamName, To};
use super::{Place, Refusal, Streams};
use crate::flash::Message;
use crate::transport::Time;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// Answers of other members are awaited for so long.
pub(super) const WAIT: Duration = Duration::from_millis(50);
/// Streams that are claimed at the same time; further ones are refused.
const MAX_CLAIMS: usize = 4096;
/// Bytes of messages that are kept for all claims together; then they are dropped.
const MAX_HELD: usize = 8 << 20;
/// What a message that is kept costs beside its bytes.
const OVERHEAD: usize = 128;

/// What clients of this member wait for.
#[derive(Debug, Default)]
pub(super) struct PendingStreams {
    /// The number of the next publication.
    next: u64,
    claims: HashMap<StreamName, Claim>,
    /// The streams that are claimed by where it is done.
    claimed_at: HashMap<Place, StreamName>,
    /// When each is given up, in this order.
    deadlines: VecDeque<(Time, StreamName, PublicationId)>,
    /// Bytes of messages in all claims.
    held: usize,
    /// Messages that were dropped because claims held too much.
    pub(super) dropped: u64,
    /// Clients that play a stream only if it is published, in the order of their deadlines.
    pub(super) plays: VecDeque<(Time, Place, StreamName)>,
    /// When it is repeated what is published and what is played.
    pub(super) refresh_at: Option<Time>,
}

/// A client wants to publish.
#[derive(Debug)]
struct Claim {
    id: PublicationId,
    at: Place,
    record: bool,
    /// Who has answered, and how many clients wait there.
    answers: BTreeMap<MemberId, usize>,
    held: Vec<(Message, Bytes)>,
    bytes: usize,
    /// Messages were dropped.
    is_cut: bool,
}

impl PendingStreams {
    pub(super) fn claim_of(&self, name: &StreamName) -> Option<PublicationId> {
        self.claims.get(name).map(|claim| claim.id)
    }

    fn remove(&mut self, name: &StreamName) -> Option<Claim> {
        let claim = self.claims.remove(name)?;
        self.claimed_at.remove(&claim.at);
        self.held -= claim.bytes;
        Some(claim)
    }

    fn add(&mut self, name: StreamName, claim: Claim) {
        self.claimed_at.insert(claim.at, name.clone());
        self.claims.insert(name, claim);
    }

    /// Keeps a message for a claim. False if there is none.
    fn hold(&mut self, from: Place, message: &Message, encoded: &Bytes) -> bool {
        let name = self.claimed_at.get(&from);
        let Some(claim) = name.and_then(|name| self.claims.get_mut(name)) else { return false };
        let cost = encoded.len() + OVERHEAD;
        if claim.is_cut || self.held + cost > MAX_HELD {
            claim.is_cut = true;
            self.dropped += 1;
        } else {
            claim.held.push((message.clone(), encoded.clone()));
            claim.bytes += cost;
            self.held += cost;
        }
        true
    }

    pub(super) fn next_claim_timeout(&self) -> Option<Time> {
        self.deadlines.front().map(|&(at, ..)| at)
    }
}

impl Rendezvous {
    /// Asks other members if a client may publish a stream. False if there is nobody to ask.
    pub(in super::super) fn claim(
        &mut self,
        now: Time,
        at: Place,
        name: &StreamName,
        record: bool,
    ) -> bool {
        let (Some(streams), Some(cluster)) = (&mut self.streams, &mut self.cluster) else {
            return false;
        };
        let pending = &mut streams.pending;
        let refusal = match pending.claims.len() {
            _ if pending.claims.contains_key(name) => Some(Refusal::InUse),
            MAX_CLAIMS.. => Some(Refusal::TooMany),
            _ => None,
        };
        if let Some(why) = refusal {
            self.refuse_publication(now, at, name, why);
            return true;
        }
        let id = PublicationId { member: cluster.member, number: pending.next };
        pending.next += 1;
        let (answers, held) = (BTreeMap::new(), Vec::new());
        let claim = Claim { id, at, record, answers, held, bytes: 0, is_cut: false };
        pending.add(name.clone(), claim);
        if cluster.others.is_empty() {
            self.establish(now, name);
            return true;
        }
        pending.deadlines.push_back((now + WAIT, name.clone(), id));
        cluster.send(To::Others, Command::Claim { stream: name.clone(), publication: id });
        true
    }

    /// Keeps a message of a client that does not publish yet. False if it has not asked to.
    pub(in super::super) fn hold_claimed(
        &mut self,
        from: Place,
        message: &Message,
        encoded: &Bytes,
    ) -> bool {
        let pending = self.streams.as_mut().map(|streams| &mut streams.pending);
        pending.is_some_and(|pending| pending.hold(from, message, encoded))
    }

    /// Clients at these places want to publish, or to play what is published, no longer.
    pub(in super::super) fn forget_claims(&mut self, now: Time, is_gone: impl Fn(Place) -> bool) {
        let Some(pending) = self.streams.as_mut().map(|streams| &mut streams.pending) else {
            return;
        };
        let claims = pending.claims.iter().filter(|(_, claim)| is_gone(claim.at));
        let names = claims.map(|(name, _)| name.clone()).collect::<Vec<_>>();
        pending.plays.retain(|&(_, at, _)| !is_gone(at));
        let claims = names.into_iter().filter_map(|name| {
            let claim = pending.remove(&name)?;
            Some((claim.id, (claim.at.0, name.name)))
        });
        for (session, name) in claims.collect::<BTreeMap<_, _>>().into_values() {
            self.notify_not_published(now, session, &name);
        }
    }

    /// A client of another member wants to publish.
    pub(in super::super) fn on_claim(
        &mut self,
        now: Time,
        from: MemberId,
        stream: StreamName,
        publication: PublicationId,
    ) {
        let Some(streams) = &self.streams else { return };
        let own = streams.pending.claim_of(&stream);
        let is_taken =
            streams.publication(&stream).is_some() || own.is_some_and(|own| own < publication);
        let players = streams.players(&stream).len();
        if own.is_some() && !is_taken {
            self.refuse_claim(now, &stream);
        }
        let answer = Command::Claimed { stream, publication, is_taken, players };
        self.tell(To::Member(from), answer);
    }

    pub(in super::super) fn on_claimed(
        &mut self,
        now: Time,
        from: MemberId,
        stream: &StreamName,
        publication: PublicationId,
        (is_taken, players): (bool, usize),
    ) {
        let (Some(streams), Some(cluster)) = (&mut self.streams, &self.cluster) else { return };
        let claim = streams.pending.claims.get_mut(stream);
        let Some(claim) = claim.filter(|claim| claim.id == publication) else { return };
        if is_taken {
            return self.refuse_claim(now, stream);
        }
        claim.answers.insert(from, players);
        if claim.answers.len() >= cluster.others.len() {
            self.establish(now, stream);
        }
    }

    pub(super) fn refuse_claim(&mut self, now: Time, stream: &StreamName) {
        let claim = self.streams.as_mut().and_then(|streams| streams.pending.remove(stream));
        if let Some(claim) = claim {
            self.refuse_publication(now, claim.at, stream, Refusal::InUse);
        }
    }

    /// Nobody objects: the stream is published.
    fn establish(&mut self, now: Time, stream: &StreamName) {
        let claim = self.streams.as_mut().and_then(|streams| streams.pending.remove(stream));
        let Some(Claim { id, at, record, answers, held, is_cut, .. }) = claim else { return };
        if let Some(old) = self.streams.as_ref().and_then(|streams| streams.intake(stream)) {
            self.end_of_publication(now, stream, old);
        }
        self.begin_publication(now, at, stream.clone(), record, Some(id));
        if self.streams.as_ref().and_then(|streams| streams.publication(stream)) != Some(id) {
            return;
        }
        for (member, players) in answers {
            if players > 0 {
                self.on_subscribe(now, member, stream.clone(), None, players);
            }
        }
        self.tell(To::Others, Command::Published(vec![(stream.clone(), id)]));
        self.begin_refreshing(now);
        for (message, encoded) in held {
            self.pass_on(now, at, message, encoded);
        }
        if is_cut && let Some(streams) = &mut self.streams {
            streams.cut(stream);
            let players = streams.players(stream);
            self.miss(&players);
        }
    }

    /// Claims that others have not answered succeed.
    pub(super) fn claim_timeouts(&mut self, now: Time) {
        while let Some(Streams { pending, .. }) = &mut self.streams
            && let Some(&(at, ..)) = pending.deadlines.front()
            && at <= now
            && let Some((_, name, id)) = pending.deadlines.pop_front()
        {
            if pending.claim_of(&name) == Some(id) {
                self.establish(now, &name);
            }
        }
    }

    /// A member that has answered no claim is gone.
    pub(super) fn recount_claims(&mut self, now: Time, gone: MemberId) {
        let (Some(streams), Some(cluster)) = (&mut self.streams, &self.cluster) else { return };
        let others = cluster.others.len();
        let mut complete = BTreeSet::new();
        for (name, claim) in &mut streams.pending.claims {
            claim.answers.remove(&gone);
            if claim.answers.len() >= others {
                complete.insert(name.clone());
            }
        }
        for name in complete {
            self.establish(now, &name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::Body;
    use crate::transport::SessionId;

    #[test]
    fn hostile_claims_hold_a_bounded_number_of_bytes() {
        let mut pending = PendingStreams::default();
        let id = PublicationId { member: MemberId::worker(0), number: 0 };
        let name = |n: u32| StreamName { app: "live".into(), name: n.to_string().into() };
        let body = Body::Audio(Bytes::from(vec![0xaf; 100_000]));
        let message = Message::new(0, body);
        let encoded = message.encode().into_bytes();
        for n in 0..3 {
            let at = (SessionId(n), 1);
            let (answers, held) = (BTreeMap::new(), Vec::new());
            let claim = Claim { id, at, record: false, answers, held, bytes: 0, is_cut: false };
            pending.add(name(n), claim);
            for _ in 0..50 {
                assert!(pending.hold(at, &message, &encoded));
                assert!(pending.held <= MAX_HELD);
            }
        }
        assert!(!pending.hold((SessionId(9), 1), &message, &encoded), "it has not asked");
        let dropped = 3 * 50 - MAX_HELD / (encoded.len() + OVERHEAD);
        assert_eq!(pending.dropped, dropped as u64);
        let cut = |pending: &PendingStreams, n| pending.claims[&name(n)].is_cut;
        assert_eq!([0, 1, 2].map(|n| cut(&pending, n)), [false, true, true]);
        for n in 0..3 {
            assert!(pending.remove(&name(n)).is_some());
        }
        assert!(pending.held == 0 && pending.claimed_at.is_empty());
    }
}
