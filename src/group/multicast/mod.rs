//! Multicast: streams in a group (`protocol-notes/netgroup-multicast.md`).
//!
//! A publisher cuts messages into numbered fragments. Every member of the group takes part in every
//! stream, whether it plays it or not: members tell each other what they have by maps, subscribe to
//! classes of fragments at their neighbors, request what was not pushed in time, and pass on what
//! others subscribe to or request.
//!
//! | file | subject |
//! | --- | --- |
//! | `mod` | the streams of the group, their flows, what the application gets |
//! | `access` | the calls of the application |
//! | [`message`] | the messages of the flows `GR 11` and `GR 12` |
//! | `stream/` | one stream: receiving, asking, serving, the end |
//! | `link` | one neighbor in one stream |
//! | `held` | the fragments that are held |
//! | `wants` | the fragments that are known and not held |
//! | `order` | messages out of fragments, in order |
//! | `parameters` | what one member does about a stream |
//! | `publication` | messages into fragments, repeated configuration, the end |
//! | `plays` | streams that are played, by name |
//! | `info` | counters of one stream |
//!
//! # Bounds
//!
//! A member holds fragments for whoever asks, so all that others can make it hold is bounded:
//!
//! | bound | when it is reached |
//! | --- | --- |
//! | [`max_streams`](MulticastLimits::max_streams) | a stream without fragments makes place, else the description is rejected |
//! | streams that one neighbor was the first to describe: 16 | its further descriptions are rejected |
//! | [`max_stream_bytes`](MulticastLimits::max_stream_bytes) of fragments of a stream | the oldest are dropped |
//! | [`max_total_bytes`](MulticastLimits::max_total_bytes) of fragments | the stream that holds most loses its oldest |
//! | [`max_message`](MulticastLimits::max_message) | the message is not delivered; its fragments are relayed |
//! | a description of 1 KiB, a fragment of 16 KiB | it is not accepted |
//! | a map of 32,768 fragments | older ones count as not available |
//! | 32,768 wanted fragments of a stream, 8,192 by the maps of one neighbor | further ones come only if pushed |
//! | 8,192 fragments ahead of half of the neighbors | what is named or sent beyond is ignored |

mod access;
mod held;
mod info;
mod link;
pub(super) mod message;
mod order;
mod parameters;
mod plays;
mod publication;
mod stream;
mod wants;

pub use access::{MulticastMut, PublishOptions};
pub use info::NetStreamMulticastInfo;
pub use parameters::MulticastParameters;

use super::feature::{Feature, Lane, Output};
use super::{FlowKind, GroupConfig, GroupEvent, MulticastLimits, NetStreamId};
use crate::crypto::Fingerprint;
use crate::flash::Message;
use crate::random::SplitMix64;
use crate::transport::{FlowId, SessionId, Time};
use bytes::Bytes;
use message::{Description, MulticastControl, MulticastData, StreamKey};
use plays::Plays;
use publication::Publication;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use stream::{Counts, News, Stream, Turn};

/// Streams that one neighbor was the first to describe. Its further descriptions are rejected.
const MAX_STREAMS_OF_NEIGHBOR: usize = 16;

/// A stream without fragments keeps its place for at least this long.
const GRACE: Duration = Duration::from_secs(10);

/// Players of one member. Further ones are refused.
const MAX_PLAYS: usize = 256;

/// Streams that have ended and are remembered, so that old descriptions do not bring them back. The
/// oldest is forgotten.
const MAX_ENDED: usize = 256;

/// A stream in the group.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StreamState {
    /// Its name.
    pub name: String,
    /// True if it is published here.
    pub is_ours: bool,
    /// The neighbors that take part in it.
    pub neighbors: usize,
    /// Its counters.
    pub info: NetStreamMulticastInfo,
}

/// Counters of multicast since the group was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MulticastStats {
    /// Streams now.
    pub streams: usize,
    /// Bytes that held fragments take.
    pub held_bytes: usize,
    /// Descriptions that were rejected, as there were too many streams.
    pub refused_streams: u64,
    /// Messages that could not be parsed or have an unknown type.
    pub malformed: u64,
    /// Fragments that were neither requested nor subscribed to.
    pub unrequested: u64,
    /// Fragments too long, or with a number far beyond those of most neighbors.
    pub implausible: u64,
    /// Ends of streams that went on.
    pub forged_ends: u64,
}

/// Multicast of one group: its streams, and the exchange with neighbors.
///
/// [`MulticastMut`] has the calls that change it.
pub struct Multicast {
    enabled: bool,
    may_publish: bool,
    limits: MulticastLimits,
    rng: SplitMix64,
    neighbors: BTreeMap<SessionId, Fingerprint>,
    streams: BTreeMap<u32, Stream>,
    by_key: BTreeMap<StreamKey, u32>,
    /// The neighbor that was the first to describe a stream.
    described_by: BTreeMap<u32, SessionId>,
    far_flows: BTreeMap<(SessionId, FlowId), u32>,
    publications: BTreeMap<NetStreamId, (u32, Publication)>,
    /// Publications that have ended, until they are forgotten.
    leaving: Vec<(NetStreamId, u32)>,
    plays: Plays,
    ended: VecDeque<StreamKey>,
    next_number: u32,
    output: VecDeque<Output>,
    counts: Counts,
    refused_streams: u64,
}

impl Multicast {
    pub(super) fn new(config: &GroupConfig, rng: SplitMix64) -> Self {
        Self {
            enabled: config.spec.multicast_enabled(),
            may_publish: config.spec.may_publish(),
            limits: config.multicast.clone(),
            rng,
            neighbors: BTreeMap::new(),
            streams: BTreeMap::new(),
            by_key: BTreeMap::new(),
            described_by: BTreeMap::new(),
            far_flows: BTreeMap::new(),
            publications: BTreeMap::new(),
            leaving: Vec::new(),
            plays: Plays::default(),
            ended: VecDeque::new(),
            next_number: 1,
            output: VecDeque::new(),
            counts: Counts::default(),
            refused_streams: 0,
        }
    }

    /// The streams that are published in the group now, by name and key.
    pub fn streams(&self) -> impl Iterator<Item = (&str, StreamKey)> {
        let descriptions = self.streams.values().map(Stream::description);
        descriptions.map(|description| (description.name(), description.key()))
    }

    /// Counters.
    pub fn stats(&self) -> MulticastStats {
        MulticastStats {
            streams: self.streams.len(),
            held_bytes: self.held_bytes(),
            refused_streams: self.refused_streams,
            malformed: self.counts.malformed,
            unrequested: self.counts.unrequested,
            implausible: self.counts.implausible,
            forged_ends: self.counts.forged_ends,
        }
    }

    /// Counters of a stream that is published or played here; `None` while it plays nothing.
    pub fn info(&self, now: Time, id: NetStreamId) -> Option<NetStreamMulticastInfo> {
        let published = self.publications.get(&id).map(|(number, _)| *number);
        let number = published.or_else(|| self.plays.get(id)?.stream)?;
        self.streams.get(&number).map(|stream| stream.info(now))
    }

    /// The streams that go on, as far as known: those of others, and those published here.
    pub fn states(&self, now: Time) -> Vec<StreamState> {
        let going_on = self.streams.values().filter(|stream| !stream.has_ended());
        let state = |stream: &Stream| StreamState {
            name: stream.description().name().to_owned(),
            is_ours: stream.is_ours(),
            neighbors: stream.neighbors(),
            info: stream.info(now),
        };
        going_on.map(state).collect()
    }

    /// Counters of any stream.
    pub fn info_of(&self, now: Time, key: StreamKey) -> Option<NetStreamMulticastInfo> {
        let stream = self.by_key.get(&key).and_then(|number| self.streams.get(number));
        stream.map(|stream| stream.info(now))
    }

    fn held_bytes(&self) -> usize {
        self.streams.values().map(Stream::held_bytes).sum()
    }

    fn number(&mut self) -> u32 {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        number
    }

    /// Calls a stream and carries out what follows.
    fn with<T>(
        &mut self,
        now: Time,
        number: u32,
        call: impl FnOnce(&mut Stream, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let stream = self.streams.get_mut(&number)?;
        let (rng, output, counts) = (&mut self.rng, &mut self.output, &mut self.counts);
        let result = call(stream, &mut Turn { now, rng, output, counts });
        self.settle(number);
        Some(result)
    }

    /// Delivers what has happened in a stream.
    fn settle(&mut self, number: u32) {
        while let Some(stream) = self.streams.get_mut(&number)
            && let Some(news) = stream.poll_news()
        {
            let name = stream.description().name().to_owned();
            match news {
                News::Message(message) => self.on_stream_message(number, &name, &message),
                News::Reset => {
                    for id in self.plays.of(number) {
                        self.event(GroupEvent::MulticastStreamReset { id, name: name.clone() });
                    }
                }
                News::Ended => {
                    self.end_plays(number, &name);
                    self.event(GroupEvent::MulticastStreamUnpublishNotify { name });
                }
                News::Reopened => self.event(GroupEvent::MulticastStreamPublishNotify { name }),
            }
        }
    }

    fn on_stream_message(&mut self, number: u32, name: &str, message: &Bytes) {
        let Ok(message) = Message::parse(message) else {
            self.counts.malformed += 1;
            return;
        };
        let streams = &self.streams;
        for due in self.plays.due(number, name, |other| streams.contains_key(&other)) {
            let (id, name) = (due.id, name.to_owned());
            if due.is_first {
                self.event(GroupEvent::MulticastStreamReset { id, name });
            }
            self.event(GroupEvent::MulticastStreamMessage { id, message: message.clone() });
        }
    }

    /// Reports the end of a stream to its players.
    fn end_plays(&mut self, number: u32, name: &str) {
        for id in self.plays.of(number) {
            self.event(GroupEvent::MulticastStreamEnd { id, name: name.to_owned() });
        }
        self.plays.end(number);
    }

    fn event(&mut self, event: GroupEvent) {
        self.output.push_back(Output::Event(event));
    }

    /// Makes a stream, and introduces it to every neighbor.
    fn add_stream(&mut self, now: Time, description: Description, is_ours: bool) -> u32 {
        let (number, key) = (self.number(), description.key());
        let is_wanted = self.plays.has(description.name());
        let neighbors: Vec<_> = self.neighbors.keys().copied().collect();
        let (rng, output, counts) = (&mut self.rng, &mut self.output, &mut self.counts);
        let turn = &mut Turn { now, rng, output, counts };
        let mut stream = Stream::new(number, description, &self.limits, is_ours, turn);
        stream.set_wanted(is_wanted);
        neighbors.into_iter().for_each(|session| stream.add_neighbor(turn, session));
        self.streams.insert(number, stream);
        self.by_key.insert(key, number);
        number
    }

    fn remove_stream(&mut self, number: u32) {
        let Some(mut stream) = self.streams.remove(&number) else { return };
        for flow in stream.far_flows() {
            self.far_flows.remove(&flow);
        }
        stream.close(&mut self.output);
        self.plays.end(number);
        self.described_by.remove(&number);
        self.leaving.retain(|(_, of)| *of != number);
        let key = stream.description().key();
        self.by_key.remove(&key);
        if self.ended.len() >= MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(key);
    }

    /// The stream that a neighbor describes, made if it is not known. `None` if it is refused.
    fn described(
        &mut self,
        now: Time,
        session: SessionId,
        description: Description,
    ) -> Option<u32> {
        if let Some(number) = self.by_key.get(&description.key()) {
            return Some(*number);
        }
        if self.ended.contains(&description.key()) {
            return None;
        }
        let of_neighbor = self.described_by.values().filter(|by| **by == session).count();
        let has_place = of_neighbor < MAX_STREAMS_OF_NEIGHBOR
            && (self.streams.len() < self.limits.max_streams || self.make_place(now));
        if !has_place {
            self.refused_streams += 1;
            return None;
        }
        let name = description.name().to_owned();
        let number = self.add_stream(now, description, false);
        self.described_by.insert(number, session);
        self.event(GroupEvent::MulticastStreamPublishNotify { name });
        Some(number)
    }

    /// Gives up the stream that has been without any fragment for the longest.
    fn make_place(&mut self, now: Time) -> bool {
        let is_idle = |stream: &Stream| {
            !stream.is_ours() && stream.is_empty() && now.since(stream.last_news()) >= GRACE
        };
        let idle = self.streams.iter().filter(|(_, stream)| is_idle(stream));
        let oldest = idle.min_by_key(|(_, stream)| stream.last_news()).map(|(number, _)| *number);
        if let Some(number) = oldest {
            self.remove_stream(number);
        }
        oldest.is_some()
    }

    fn on_control(&mut self, now: Time, session: SessionId, flow: FlowId, message: &Bytes) {
        let number = self.far_flows.get(&(session, flow)).copied();
        let parsed = match (MulticastControl::parse(message), number) {
            (Ok(MulticastControl::Description(description)), None) => {
                return self.on_description(now, session, flow, description);
            }
            (Ok(MulticastControl::Other(_)) | Err(_), _) | (_, None) => {
                self.counts.malformed += 1;
                return;
            }
            (Ok(parsed), Some(number)) => (number, parsed),
        };
        let (number, size) = (parsed.0, message.len());
        self.with(now, number, |stream, turn| {
            stream.on_control(turn, session, parsed.1, size);
        });
        self.bound_bytes();
    }

    /// The first message on a control flow.
    fn on_description(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        description: Description,
    ) {
        let number = self.described(now, session, description);
        let accepted = number.filter(|number| {
            let described =
                self.with(now, *number, |stream, turn| stream.on_description(turn, session, flow));
            described == Some(true)
        });
        match accepted {
            Some(number) => drop(self.far_flows.insert((session, flow), number)),
            None => self.output.push_back(Output::Reject(session, flow)),
        }
    }

    fn on_data(&mut self, now: Time, session: SessionId, flow: FlowId, message: &Bytes) {
        let Some(&number) = self.far_flows.get(&(session, flow)) else { return };
        match MulticastData::parse(message) {
            Ok(MulticastData::Other(_)) | Err(_) => self.counts.malformed += 1,
            Ok(data) => {
                let size = message.len();
                self.with(now, number, |stream, turn| stream.on_piece(turn, session, data, size));
                self.bound_bytes();
            }
        }
    }

    /// Holds no more than is allowed over all streams.
    fn bound_bytes(&mut self) {
        while self.held_bytes() > self.limits.max_total_bytes {
            let Some(most) = self.streams.values_mut().max_by_key(|stream| stream.held_bytes())
            else {
                return;
            };
            most.evict();
        }
    }
}

impl Feature for Multicast {
    fn carries(&self, kind: FlowKind) -> bool {
        self.enabled && kind.is_of_stream()
    }

    fn on_neighbor_connected(&mut self, now: Time, session: SessionId, peer: Fingerprint) {
        self.neighbors.insert(session, peer);
        for number in self.streams.keys().copied().collect::<Vec<_>>() {
            self.with(now, number, |stream, turn| stream.add_neighbor(turn, session));
        }
    }

    fn on_neighbor_gone(&mut self, now: Time, session: SessionId) {
        self.neighbors.remove(&session);
        self.far_flows.retain(|(of, _), _| *of != session);
        self.streams.values_mut().for_each(|stream| stream.remove_neighbor(now, session));
    }

    /// Every flow of multicast is one of several.
    fn on_message(&mut self, _: Time, _: SessionId, _: FlowKind, _: Bytes) {}

    fn on_flow_blocked(&mut self, _: Time, _: SessionId, _: FlowKind, _: bool) {}

    fn on_flow_opened(
        &mut self,
        session: SessionId,
        flow: FlowId,
        kind: FlowKind,
        lane: Lane,
    ) -> bool {
        match (kind, lane.kind) {
            // Its description says which stream it is about.
            (FlowKind::MulticastControl, FlowKind::Membership) => true,
            (FlowKind::MulticastData, FlowKind::MulticastControl) => {
                let stream = self.streams.get_mut(&lane.stream);
                let accepts = stream.is_some_and(|stream| stream.on_data_flow(session, flow));
                if accepts {
                    self.far_flows.insert((session, flow), lane.stream);
                }
                accepts
            }
            _ => false,
        }
    }

    fn on_message_of(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        kind: FlowKind,
        message: Bytes,
    ) {
        match kind {
            FlowKind::MulticastControl => self.on_control(now, session, flow, &message),
            _ => self.on_data(now, session, flow, &message),
        }
    }

    fn on_flow_finished(&mut self, now: Time, session: SessionId, flow: FlowId) {
        if let Some(number) = self.far_flows.remove(&(session, flow)) {
            self.with(now, number, |stream, turn| stream.on_far_finished(turn, session, flow));
        }
    }

    fn on_lane_rejected(&mut self, now: Time, session: SessionId, lane: Lane) {
        self.with(now, lane.stream, |stream, _| stream.on_near_rejected(now, session, lane.kind));
    }

    fn on_lane_blocked(&mut self, now: Time, session: SessionId, lane: Lane, is_blocked: bool) {
        self.with(now, lane.stream, |stream, _| {
            stream.on_near_blocked(now, session, lane.kind, is_blocked);
        });
    }

    fn handle_timeout(&mut self, now: Time) {
        let due =
            self.streams.iter().filter(|(_, it)| it.poll_timeout().is_some_and(|at| at <= now));
        for number in due.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.with(now, number, Stream::handle_timeout);
            let Some(stream) = self.streams.get(&number) else { continue };
            if !stream.is_over(now) {
                continue;
            }
            if !stream.has_ended() {
                let name = stream.description().name().to_owned();
                self.end_plays(number, &name);
                self.event(GroupEvent::MulticastStreamUnpublishNotify { name });
            }
            self.remove_stream(number);
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.streams.values().filter_map(Stream::poll_timeout).min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }
}
