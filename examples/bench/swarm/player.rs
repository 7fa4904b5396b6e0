//! A receiver that fetches and serves as Flash Player does (`protocol-notes/object-replication.md`).

use super::host::Store;
use super::neighbors::{Input, Neighbors};
use super::outcome::Receiver;
use bytes::Bytes;
use rtmfp::amf::{self, Value};
use rtmfp::proto::group::message::{RangeList, ReplicationMessage};
use rtmfp::proto::range::IndexSet;
use rtmfp::proto::transport::{SessionId, Time};
use rtmfp::vod::ChunkStore;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Requests in flight to one neighbor.
const IN_FLIGHT: usize = 4;
/// Neighbors that are served.
const SERVED: usize = 4;
/// Places that change in each round if more neighbors wait.
const CHANGING: usize = 2;
const FIRST_ROUND: Duration = Duration::from_secs(1);
const ROUND: Duration = Duration::from_secs(10);

/// A receiver like Flash Player, with an application that verifies nothing.
pub(crate) struct Player {
    pub(super) neighbors: Neighbors,
    peers: BTreeMap<SessionId, Peer>,
    store: Store,
    chunks: u64,
    /// Object 0 as it came.
    descriptor: Option<Bytes>,
    want: IndexSet,
    /// What is wanted and has not been requested anywhere.
    open: IndexSet,
    started: Time,
    round_at: Time,
    rounds: usize,
    result: Receiver,
}

/// A neighbor.
struct Peer {
    have: IndexSet,
    interesting: bool,
    unchoked_us: bool,
    in_flight: BTreeSet<u64>,
    wants_ours: bool,
    is_served: bool,
}

impl Player {
    pub(super) fn new(now: Time, neighbors: Neighbors, store: Store) -> Self {
        let chunks = store.layout().chunks();
        let result =
            Receiver { held_at: vec![f64::INFINITY; chunks as usize], ..Receiver::default() };
        let mut player = Self {
            neighbors,
            peers: BTreeMap::new(),
            store,
            chunks,
            descriptor: None,
            want: IndexSet::unbounded(),
            open: IndexSet::unbounded(),
            started: now,
            round_at: now + FIRST_ROUND,
            rounds: 0,
            result,
        };
        player.want(now, 0..=0);
        player
    }

    pub(super) fn is_complete(&self) -> bool {
        self.result.complete.is_some()
    }

    pub(super) fn held(&self) -> u64 {
        self.store.held().len()
    }

    pub(super) fn result(&self) -> Receiver {
        let is_identical = self.is_complete() && !self.store.differs();
        Receiver { is_identical, ..self.result.clone() }
    }

    pub(super) fn poll_own_timeout(&self) -> Option<Time> {
        (!self.peers.is_empty()).then_some(self.round_at)
    }

    pub(super) fn handle_own_timeout(&mut self, now: Time) {
        if now >= self.round_at {
            self.round_at = now + ROUND;
            self.choke_round(now);
        }
    }

    pub(super) fn react(&mut self, now: Time) -> bool {
        let mut is_busy = false;
        while let Some(input) = self.neighbors.poll(now) {
            is_busy = true;
            match input {
                Input::Ready(session) => self.on_ready(now, session),
                Input::Message(session, message) => self.on_message(now, session, message),
                Input::Gone(session) => self.on_gone(now, session),
                Input::Other => {}
            }
        }
        is_busy
    }

    fn on_ready(&mut self, now: Time, session: SessionId) {
        let peer = Peer {
            have: IndexSet::new(),
            interesting: false,
            unchoked_us: false,
            in_flight: BTreeSet::new(),
            wants_ours: false,
            is_served: false,
        };
        self.peers.insert(session, peer);
        let mut have = self.store.held().clone();
        if self.descriptor.is_some() {
            insert(&mut have, 0..=0);
        }
        self.say(now, session, &ReplicationMessage::Have(RangeList::complete(&have)));
    }

    fn on_message(&mut self, now: Time, session: SessionId, message: ReplicationMessage) {
        use ReplicationMessage as M;
        let Some(peer) = self.peers.get_mut(&session) else { return };
        match message {
            M::Have(list) => {
                list.ranges.into_iter().for_each(|range| insert(&mut peer.have, range));
                self.refresh_interest(now, session);
                self.fill(now, session);
            }
            M::Unhave(list) => {
                list.ranges.into_iter().for_each(|range| remove(&mut peer.have, range));
                self.refresh_interest(now, session);
            }
            M::Interested => peer.wants_ours = true,
            M::NotInterested => peer.wants_ours = false,
            M::Choke => peer.unchoked_us = false,
            M::Unchoke => {
                peer.unchoked_us = true;
                self.fill(now, session);
            }
            M::Request(index) => self.on_request(now, session, index),
            M::Deny(index) => self.on_deny(now, session, index),
            M::Object { index, value } => {
                if peer.in_flight.remove(&index) && self.want.contains(index) {
                    self.on_object(now, index, &value);
                }
                self.fill(now, session);
            }
            _ => {}
        }
    }

    /// Requests the object again at once.
    fn on_deny(&mut self, now: Time, session: SessionId, index: u64) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        if peer.in_flight.remove(&index) && self.want.contains(index) {
            insert(&mut self.open, index..=index);
            self.fill_all(now);
        }
    }

    /// Its requests go to others.
    fn on_gone(&mut self, now: Time, session: SessionId) {
        let Some(peer) = self.peers.remove(&session) else { return };
        for index in peer.in_flight.into_iter().filter(|index| self.want.contains(*index)) {
            insert(&mut self.open, index..=index);
        }
        self.fill_all(now);
    }

    fn on_request(&mut self, now: Time, session: SessionId, index: u64) {
        let is_served = self.peers.get(&session).is_some_and(|peer| peer.is_served);
        let value = match index {
            0 => self.descriptor.clone(),
            _ => self.store.read_chunk(index).ok().and_then(|chunk| encoded(&chunk)),
        };
        let answer = match value.filter(|_| is_served) {
            Some(value) => ReplicationMessage::Object { index, value },
            None => ReplicationMessage::Deny(index),
        };
        self.say(now, session, &answer);
    }

    /// The application adds what it has got to the Have set.
    fn on_object(&mut self, now: Time, index: u64, value: &Bytes) {
        remove(&mut self.want, index..=index);
        if index == 0 {
            self.descriptor = Some(value.clone());
            self.announce(now, 0);
            self.want(now, 1..=self.chunks);
            return;
        }
        let chunk = amf::from_bytes(value.clone()).ok();
        let chunk = chunk.as_ref().and_then(Value::as_bytes);
        if self.store.write_chunk(index, chunk.map_or(&[], |bytes| &bytes[..])).is_err() {
            // Without the right length it is no chunk at all.
            self.want(now, index..=index);
            return;
        }
        let seconds = now.since(self.started).as_secs_f64();
        self.result.held_at[index as usize - 1] = seconds;
        if self.store.check_complete().is_ok() {
            self.result.complete = Some(seconds);
        }
        self.announce(now, index);
    }

    fn announce(&mut self, now: Time, index: u64) {
        let change = ReplicationMessage::Have(RangeList::change(index..=index));
        for session in self.sessions() {
            self.say(now, session, &change);
            self.refresh_interest(now, session);
        }
    }

    fn want(&mut self, now: Time, range: RangeInclusive<u64>) {
        if range.is_empty() {
            return;
        }
        insert(&mut self.want, range.clone());
        insert(&mut self.open, range);
        for session in self.sessions() {
            self.refresh_interest(now, session);
        }
        self.fill_all(now);
    }

    fn refresh_interest(&mut self, now: Time, session: SessionId) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        let interesting = self.want.first_common_at_or_after(&peer.have, 0).is_some();
        if std::mem::replace(&mut peer.interesting, interesting) == interesting {
            return;
        }
        let message = match interesting {
            true => ReplicationMessage::Interested,
            false => ReplicationMessage::NotInterested,
        };
        self.say(now, session, &message);
    }

    /// Requests the lowest wanted indices of a neighbor.
    fn fill(&mut self, now: Time, session: SessionId) {
        while let Some(peer) = self.peers.get_mut(&session)
            && peer.unchoked_us
            && peer.in_flight.len() < IN_FLIGHT
            && let Some(index) = self.open.first_common_at_or_after(&peer.have, 0)
        {
            peer.in_flight.insert(index);
            remove(&mut self.open, index..=index);
            self.say(now, session, &ReplicationMessage::Request(index));
        }
    }

    fn fill_all(&mut self, now: Time) {
        self.sessions().into_iter().for_each(|session| self.fill(now, session));
    }

    /// Serves four of those that are interested; some of the places change if more wait.
    fn choke_round(&mut self, now: Time) {
        self.rounds += 1;
        let interested = |served: bool| -> Vec<SessionId> {
            let peers = self.peers.iter();
            let those = peers.filter(|(_, peer)| peer.wants_ours && peer.is_served == served);
            those.map(|(session, _)| *session).collect()
        };
        let (served, waiting) = (interested(true), interested(false));
        let stay = SERVED.saturating_sub(CHANGING.min(waiting.len()));
        let mut chosen: BTreeSet<SessionId> = served.into_iter().take(stay).collect();
        let free = SERVED.saturating_sub(chosen.len());
        let turn = self.rounds % waiting.len().max(1);
        let in_turn = waiting.iter().cycle().skip(turn).take(waiting.len());
        chosen.extend(in_turn.take(free));
        for session in self.sessions() {
            let Some(peer) = self.peers.get_mut(&session) else { continue };
            let is_served = chosen.contains(&session);
            if std::mem::replace(&mut peer.is_served, is_served) != is_served {
                let message = match is_served {
                    true => ReplicationMessage::Unchoke,
                    false => ReplicationMessage::Choke,
                };
                self.say(now, session, &message);
            }
        }
    }

    fn sessions(&self) -> Vec<SessionId> {
        self.peers.keys().copied().collect()
    }

    fn say(&mut self, now: Time, session: SessionId, message: &ReplicationMessage) {
        self.neighbors.say(now, session, message);
    }
}

fn encoded(chunk: &Bytes) -> Option<Bytes> {
    amf::to_bytes(&Value::ByteArray(chunk.clone())).ok()
}

/// A set that has too many ranges stays as it is.
fn insert(set: &mut IndexSet, range: RangeInclusive<u64>) {
    let _ = set.insert_range(range);
}

fn remove(set: &mut IndexSet, range: RangeInclusive<u64>) {
    let _ = set.remove_range(range);
}
