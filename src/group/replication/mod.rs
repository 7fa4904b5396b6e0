//! Object replication: the Have and Want sets of one group, and the exchange with its neighbors
//! (`protocol-notes/object-replication.md`).
//!
//! The protocol resembles BitTorrent's peer protocol: have, interested, choke, request, piece. The
//! messages and their times are Flash Player's; the number of requests in flight and the choice of
//! neighbors to ask and to serve are our own policy, within what the player accepts.
//!
//! | file | subject |
//! | --- | --- |
//! | `mod` | the two sets, incoming messages |
//! | `access` | the calls of the application |
//! | `announce` | announcements of the Have set |
//! | [`message`] | the messages of the flow `GR 15` |
//! | `fetch` | requests of this node, answers, overdue answers |
//! | `serve` | requests of neighbors, and which neighbors are served |
//! | `neighbor` | the state of one neighbor |
//! | `window` | the number of requests in flight |
//! | `throttle` | requests by permission, for a limit of the download rate |
//! | `late` | late answers: another neighbor is asked as well |
//! | `playhead` | the objects that the application reads next |
//! | `deadline` | when it plays them |
//! | `rarity` | the order of requests: rarest first |
//! | `swarm`, `spread` | the order of requests: so that many fetchers help each other |
//! | `local` | neighbors in this host's own networks: one of them brings in what all need |
//! | `runs` | the sets that requests are searched in |

mod access;
mod announce;
mod deadline;
mod fetch;
mod late;
mod local;
pub(super) mod message;
mod neighbor;
mod playhead;
mod rarity;
mod runs;
mod serve;
mod spread;
mod swarm;
mod throttle;
mod window;

pub use access::ReplicationMut;

use super::feature::{Feature, Output};
use super::{FlowKind, GroupConfig, GroupEvent, ReplicationLimits};
use crate::crypto::Fingerprint;
use crate::range::{IndexSet, RangeError};
use crate::transport::{Bandwidth, SessionId, Time};
use announce::Interval;
use bytes::Bytes;
use message::{RangeList, ReplicationMessage};
use neighbor::{Neighbor, Serving};
use playhead::Playheads;
use rarity::Rarity;
use serve::MAX_PENDING_BYTES;
use spread::Spread;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;
use throttle::Throttle;

/// The order in which wanted objects are requested. Others do not see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ReplicationStrategy {
    /// The lowest wanted index first, for playing while loading. Flash's default.
    #[default]
    LowestFirst,
    /// The index that the fewest neighbors have first; if several, the lowest.
    RarestFirst,
    /// Nearly in order, and so that many fetchers finish early together: they bring in different
    /// objects from the [provider](ReplicationMut::set_provider) and exchange them. Flash has no
    /// equivalent.
    Swarm,
}

/// Counters of object replication since the group was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReplicationStats {
    /// Objects delivered to the application.
    pub objects_received: u64,
    /// Objects sent to neighbors.
    pub objects_sent: u64,
    /// Encoded bytes of received objects, duplicates included.
    pub bytes_received: u64,
    /// Of these, bytes from neighbors in a network of this host.
    pub bytes_received_locally: u64,
    /// Encoded bytes of sent objects.
    pub bytes_sent: u64,
    /// Of these, bytes to neighbors in a network of this host.
    pub bytes_sent_locally: u64,
    /// Requests sent.
    pub requests_sent: u64,
    /// Our requests that were denied.
    pub denials_received: u64,
    /// Requests of neighbors that were denied, by this node or by the application.
    pub denials_sent: u64,
    /// Our requests that were abandoned as overdue.
    pub overdue: u64,
    /// Objects that arrived twice because the first holder was slow.
    pub duplicates: u64,
    /// Answers without a request.
    pub unrequested: u64,
    /// Objects above the size limit.
    pub too_large: u64,
    /// Ranges of neighbors' Have sets that were ignored because the set had too many ranges.
    pub ignored_haves: u64,
    /// Messages that could not be parsed or have an unknown type.
    pub malformed: u64,
}

/// The state of object replication with one neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NeighborTrade {
    /// True if it is in a network of this host.
    pub is_local: bool,
    /// The number of indices in its Have set.
    pub have: u64,
    /// True if it has something that this node wants.
    pub interesting: bool,
    /// True if it answers our requests.
    pub unchoked_us: bool,
    /// Our unanswered requests to it.
    pub in_flight: usize,
    /// The limit of `in_flight`.
    pub window: usize,
    /// The smoothed time from request to answer.
    pub response_time: Option<Duration>,
    /// True if it wants something that this node has.
    pub wants_ours: bool,
    /// True if this node answers its requests.
    pub served: bool,
    /// Encoded bytes of objects received from it.
    pub bytes_received: u64,
    /// Encoded bytes of objects sent to it.
    pub bytes_sent: u64,
}

struct Shown {
    session: SessionId,
    index: u64,
}

/// Object replication of one group: its sets, its counters, and the exchange with neighbors.
///
/// [`ReplicationMut`] has the calls that change it.
pub struct Replication {
    near: Fingerprint,
    enabled: bool,
    limits: ReplicationLimits,
    /// What this node's uplink carries, if it is known.
    uplink: Option<Bandwidth>,
    strategy: ReplicationStrategy,
    have: IndexSet,
    want: IndexSet,
    /// Indices that may be requested: wanted, and in flight nowhere or abandoned there.
    open: IndexSet,
    /// The number of times that `open` grew.
    open_epoch: u64,
    rarity: Rarity,
    spread: Spread,
    provider: Option<Fingerprint>,
    /// The provider is not asked for what others have.
    spares_provider: bool,
    playheads: Playheads,
    neighbors: BTreeMap<SessionId, Neighbor>,
    /// By request ID. `None`: the neighbor is gone, and the application has not answered yet.
    requests: BTreeMap<u32, Option<Shown>>,
    free_ids: Vec<u32>,
    output: VecDeque<Output>,
    round_at: Option<Time>,
    check_at: Option<Time>,
    /// When the next announcement is due, or earlier.
    announce_at: Option<Time>,
    /// The interval in which this node gets objects.
    interval: Interval,
    /// The size of the largest recent object, in bytes; 0 before the first.
    object_size: usize,
    throttle: Throttle,
    /// Bytes of objects that the delivered requests of one neighbor ask for.
    pending_bytes: usize,
    stats: ReplicationStats,
}

impl Replication {
    pub(super) fn new(config: &GroupConfig) -> Self {
        Self {
            near: config.near,
            enabled: config.spec.object_replication_enabled(),
            limits: config.replication.clone(),
            uplink: None,
            strategy: ReplicationStrategy::default(),
            have: IndexSet::unbounded(),
            want: IndexSet::unbounded(),
            open: IndexSet::unbounded(),
            open_epoch: 0,
            rarity: Rarity::default(),
            spread: Spread::default(),
            provider: None,
            spares_provider: false,
            playheads: Playheads::default(),
            neighbors: BTreeMap::new(),
            requests: BTreeMap::new(),
            free_ids: Vec::new(),
            output: VecDeque::new(),
            round_at: None,
            check_at: None,
            announce_at: None,
            interval: Interval::default(),
            object_size: 0,
            throttle: Throttle::default(),
            pending_bytes: MAX_PENDING_BYTES,
            stats: ReplicationStats::default(),
        }
    }

    pub(super) fn set_strategy(&mut self, now: Time, strategy: ReplicationStrategy) {
        self.strategy = strategy;
        self.open_epoch += 1;
        self.fill(now);
    }

    /// True if this node has or wants anything.
    pub(super) fn is_used(&self) -> bool {
        !self.have.is_empty() || !self.want.is_empty()
    }

    /// True if objects were exchanged with this neighbor, or can be.
    pub(super) fn is_trading(&self, session: SessionId) -> bool {
        self.neighbors.get(&session).is_some_and(|n| {
            n.interested
                || n.wants_ours
                || n.received > 0
                || n.sent > 0
                || self.provider == Some(n.peer)
        })
    }

    /// The provider, if one was named.
    pub(super) fn provider(&self) -> Option<Fingerprint> {
        self.provider
    }

    pub(super) fn set_provider(&mut self, provider: Option<Fingerprint>) {
        self.provider = provider;
        self.spread.invalidate();
    }

    pub(super) fn spare_provider(&mut self, spares: bool) {
        self.spares_provider = spares;
    }

    /// The order in which wanted objects are requested.
    pub fn strategy(&self) -> ReplicationStrategy {
        self.strategy
    }

    /// The Have set: the objects that this node offers.
    pub fn have(&self) -> &IndexSet {
        &self.have
    }

    /// The Want set: the objects that this node wants and has not received.
    pub fn want(&self) -> &IndexSet {
        &self.want
    }

    /// True if a neighbor has announced this object.
    pub fn is_offered(&self, index: u64) -> bool {
        self.neighbors.values().any(|n| n.their_have.contains(index))
    }

    /// The indices at which the application reads.
    pub fn playheads(&self) -> &[u64] {
        self.playheads.at()
    }

    /// Counters.
    pub fn stats(&self) -> ReplicationStats {
        self.stats
    }

    /// The exchange with the neighbor in a session; all zero if there is none.
    pub fn trade(&self, session: SessionId) -> NeighborTrade {
        let Some(n) = self.neighbors.get(&session) else { return NeighborTrade::default() };
        NeighborTrade {
            is_local: n.is_local,
            have: n.their_have.len(),
            interesting: n.interested,
            unchoked_us: n.unchoked_us,
            in_flight: n.in_flight.len(),
            window: self.window(n),
            response_time: n.window.response_time(),
            wants_ours: n.wants_ours,
            served: n.serving != Serving::Choked,
            bytes_received: n.received,
            bytes_sent: n.sent,
        }
    }

    /// Adds to the Have set and removes from the Want set. The call is announced even if nothing is
    /// new.
    pub(super) fn add_have(
        &mut self,
        now: Time,
        range: RangeInclusive<u64>,
    ) -> Result<(), RangeError> {
        if range.is_empty() {
            return Ok(());
        }
        self.have.insert_range(range.clone())?;
        self.want.remove_range(range.clone())?;
        self.open.remove_range(range.clone())?;
        self.rarity.touch();
        self.interval.on_object(now);
        for session in self.sessions() {
            self.ensure_open(session);
            self.withdraw_interest(session);
            self.announce(now, session, &range);
        }
        Ok(())
    }

    /// Removes from the Have set.
    pub(super) fn remove_have(&mut self, range: RangeInclusive<u64>) -> Result<(), RangeError> {
        if range.is_empty() {
            return Ok(());
        }
        self.have.remove_range(range.clone())?;
        self.announce_loss(&range);
        Ok(())
    }

    /// Adds to the Want set and removes from the Have set. Only the removal is announced, as
    /// called.
    pub(super) fn add_want(
        &mut self,
        now: Time,
        range: RangeInclusive<u64>,
    ) -> Result<(), RangeError> {
        if range.is_empty() {
            return Ok(());
        }
        self.want.insert_range(range.clone())?;
        self.have.remove_range(range.clone())?;
        self.open.insert_range(range.clone())?;
        for n in self.neighbors.values() {
            for (&index, _) in n.in_flight.range(range.clone()).filter(|(_, r)| !r.abandoned) {
                self.open.remove(index)?;
            }
        }
        self.open_epoch += 1;
        self.rarity.touch();
        self.spread.invalidate();
        self.announce_loss(&range);
        for session in self.sessions() {
            self.ensure_open(session);
            self.refresh_interest(session);
        }
        self.fill(now);
        Ok(())
    }

    /// Removes from the Want set. Objects in flight are still delivered.
    pub(super) fn remove_want(&mut self, range: RangeInclusive<u64>) -> Result<(), RangeError> {
        self.want.remove_range(range.clone())?;
        self.open.remove_range(range)?;
        self.rarity.touch();
        self.withdraw_interests();
        Ok(())
    }

    fn on_have(&mut self, now: Time, session: SessionId, list: &RangeList) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        for range in &list.ranges {
            match n.their_have.insert_range(range.clone()) {
                Ok(true) => n.grew = now,
                Ok(false) => {}
                Err(_) => self.stats.ignored_haves += 1,
            }
        }
        if !std::mem::replace(&mut n.spoke, true) {
            n.grew = now;
            n.first_announced = n.their_have.len();
        }
        // Mostly an index that is held or requested already, so there is nothing to look for.
        let has_news = list.ranges.iter().any(|range| self.open.has_some_of(range));
        if has_news {
            n.nothing_as_of = None;
        }
        // Interest begins only with an index that is new in the set.
        if n.interested || list.ranges.iter().any(|range| self.want.has_some_of(range)) {
            self.refresh_interest(session);
        }
        self.rarity.touch();
        let has_spread = self.note_spread(session, list);
        if has_news || has_spread {
            self.fill_from(now, session);
        }
    }

    /// Releases requested indices among them to other neighbors; an answer is still accepted.
    fn on_unhave(&mut self, now: Time, session: SessionId, list: &RangeList) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        let mut freed = Vec::new();
        for range in &list.ranges {
            if n.their_have.remove_range(range.clone()).is_err() {
                // Splitting a range would exceed the limit. The neighbor will deny what it lacks.
                self.stats.ignored_haves += 1;
            }
            for (&index, request) in n.in_flight.range_mut(range.clone()) {
                if !std::mem::replace(&mut request.abandoned, true) {
                    freed.push(index);
                }
            }
        }
        freed.into_iter().for_each(|index| self.reopen(index));
        self.hurry_announcements(now, session, list);
        self.rarity.touch();
        self.spread.invalidate();
        self.withdraw_interest(session);
        self.fill(now);
    }

    fn announce_loss(&mut self, range: &RangeInclusive<u64>) {
        self.unannounce(range);
        let message = ReplicationMessage::Unhave(RangeList::change(range.clone()));
        for session in self.sessions() {
            if self.neighbors.get(&session).is_some_and(|n| n.flow_open) {
                self.send(session, &message);
            }
        }
    }

    /// Withdraws interest from the neighbors that have nothing wanted any more.
    fn withdraw_interests(&mut self) {
        for session in self.sessions() {
            self.withdraw_interest(session);
        }
    }

    /// For a set that has shrunk: interest cannot begin, so nothing is searched where there is none.
    fn withdraw_interest(&mut self, session: SessionId) {
        if self.neighbors.get(&session).is_some_and(|n| n.interested) {
            self.refresh_interest(session);
        }
    }

    /// Announces interest, or its end, if it has changed.
    fn refresh_interest(&mut self, session: SessionId) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        let interested = n.has_some_of(&self.want);
        if interested == n.interested {
            return;
        }
        n.interested = interested;
        let message = match interested {
            true => ReplicationMessage::Interested,
            false => ReplicationMessage::NotInterested,
        };
        self.send(session, &message);
    }

    /// Opens our flow to a neighbor, with the complete Have set as its first message.
    fn ensure_open(&mut self, session: SessionId) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        if !std::mem::replace(&mut n.flow_open, true) {
            let complete = ReplicationMessage::Have(RangeList::complete(&self.have));
            self.output.push_back(Output::OpenFlow(session, FlowKind::Replication));
            self.output(session, &complete);
        }
    }

    fn send(&mut self, session: SessionId, message: &ReplicationMessage) {
        self.ensure_open(session);
        self.flush_announcements(session);
        self.output(session, message);
    }

    fn output(&mut self, session: SessionId, message: &ReplicationMessage) {
        let (bytes, order) = (message.to_bytes(), message.order());
        let output = Output::SendInOrder(session, FlowKind::Replication, bytes, order);
        self.output.push_back(output);
    }

    fn event(&mut self, event: GroupEvent) {
        self.output.push_back(Output::Event(event));
    }

    fn sessions(&self) -> Vec<SessionId> {
        self.neighbors.keys().copied().collect()
    }
}

impl Feature for Replication {
    fn carries(&self, kind: FlowKind) -> bool {
        self.enabled && kind == FlowKind::Replication
    }

    /// The complete Have set is sent at once if this node has or wants anything.
    fn on_neighbor_connected(&mut self, now: Time, session: SessionId, peer: Fingerprint) {
        let neighbor = Neighbor::new(now, peer, self.limits.max_in_flight);
        self.neighbors.insert(session, neighbor);
        if self.is_used() {
            self.ensure_open(session);
        }
    }

    /// The neighbor's requests are dropped; this node's fail and are sent to others.
    fn on_neighbor_gone(&mut self, now: Time, session: SessionId) {
        let Some(neighbor) = self.neighbors.remove(&session) else { return };
        self.rarity.touch();
        self.spread.invalidate();
        self.release(&neighbor);
        for request in self.requests.values_mut() {
            request.take_if(|pending| pending.session == session);
        }
        self.rebalance(now);
        self.fill(now);
    }

    fn on_message(&mut self, now: Time, session: SessionId, _kind: FlowKind, message: Bytes) {
        use ReplicationMessage as M;
        match ReplicationMessage::parse(message) {
            Ok(M::Have(list)) => self.on_have(now, session, &list),
            Ok(M::Unhave(list)) => self.on_unhave(now, session, &list),
            Ok(M::Interested) => self.on_interested(now, session, true),
            Ok(M::NotInterested) => self.on_interested(now, session, false),
            Ok(M::Choke) => self.on_choke(now, session, false),
            Ok(M::Unchoke) => self.on_choke(now, session, true),
            Ok(M::Object { index, value }) => self.on_object(now, session, index, value),
            Ok(M::Deny(index)) => self.on_deny(now, session, index),
            Ok(M::Request(index)) => self.on_request(session, index),
            Ok(M::Other(_)) | Err(_) => self.stats.malformed += 1,
        }
    }

    fn on_flow_blocked(&mut self, _: Time, session: SessionId, _: FlowKind, is_blocked: bool) {
        self.on_blocked(session, is_blocked);
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.round_at.is_some_and(|at| now >= at) {
            self.choke_round(now);
        }
        if self.check_at.is_some_and(|at| now >= at) {
            self.check(now);
        }
        if self.announce_at.is_some_and(|at| now >= at) {
            self.announce_due(now);
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        [self.round_at, self.check_at, self.announce_at].into_iter().flatten().min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }
}
