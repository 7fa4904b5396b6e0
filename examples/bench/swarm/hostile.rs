//! Members that speak the protocol of groups and are of no use, or worse.

use super::neighbors::{Input, Neighbors, OWN_ADDRESS};
use clap::ValueEnum;
use rtmfp::amf::{self, Value};
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::{
    MAX_LIST_RANGES, RangeList, Record, ReplicationMessage, Report,
};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::proto::transport::{SessionId, Time};
use rtmfp::vod::CHUNK_SIZE;
use rtmfp::wire::{Address, Origin};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// How often they do something without being asked.
const TICK: Duration = Duration::from_secs(1);
/// How often they send a report, as members do.
const TICKS_PER_REPORT: u32 = 10;
/// An object beyond the limit of 4 MiB.
const HUGE: usize = 5 << 20;
/// A set of a million ranges comes in so many messages.
const RANGE_MESSAGES: u64 = 16;
/// Members that do not exist, in one forged report.
const FORGED_RECORDS: u64 = 50;

/// What a hostile member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Claims to have everything and never answers a request
    Silent,
    /// Has nothing and never does anything
    Idle,
    /// One of the former and one of the latter
    Both,
    /// Claims to have everything and denies every request
    Denying,
    /// Sends other bytes than were asked for
    Wrong,
    /// Sends objects above the limit
    Huge,
    /// Answers requests for a second, chokes for a second, and denies what was asked for meanwhile
    Flapping,
    /// Claims a million ranges of one object each
    Ranges,
    /// Sends objects that nobody has asked for
    Unasked,
    /// Sends a forged descriptor
    Object0,
    /// Reports members that do not exist
    Reports,
}

/// So many members of a kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hostiles {
    kind: Kind,
    count: u32,
}

impl FromStr for Hostiles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, count) = text.split_once(':').unwrap_or((text, "1"));
        let kind = Kind::from_str(kind, true).map_err(|_| {
            let all = Kind::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let all: Vec<_> = all.map(|kind| kind.get_name().to_owned()).collect();
            format!("there are {}", all.join(", "))
        })?;
        let count = count.parse().ok().filter(|count| (1..=200).contains(count));
        Ok(Self { kind, count: count.ok_or("1 to 200 members are possible")? })
    }
}

impl Hostiles {
    /// The kind of each of the members.
    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> {
        let each: &[Kind] = match self.kind {
            Kind::Both => &[Kind::Silent, Kind::Idle],
            _ => std::slice::from_ref(&self.kind),
        };
        std::iter::repeat_n(each, self.count as usize)
            .flatten()
            .copied()
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// A member that follows no rules but those of the transport.
pub(crate) struct Hostile {
    pub(super) neighbors: Neighbors,
    kind: Kind,
    chunks: u64,
    random: SeededRandom,
    /// What each neighbor has asked for and not been denied.
    requests: BTreeMap<SessionId, Vec<u64>>,
    tick_at: Time,
    ticks: u32,
}

impl Hostile {
    pub(super) fn new(
        now: Time,
        neighbors: Neighbors,
        kind: Kind,
        chunks: u64,
        random: SeededRandom,
    ) -> Self {
        let tick_at = now + TICK;
        Self { neighbors, kind, chunks, random, requests: BTreeMap::new(), tick_at, ticks: 0 }
    }

    pub(super) fn poll_own_timeout(&self) -> Option<Time> {
        (!self.requests.is_empty()).then_some(self.tick_at)
    }

    pub(super) fn handle_own_timeout(&mut self, now: Time) {
        if now < self.tick_at {
            return;
        }
        self.tick_at = now + TICK;
        self.ticks = self.ticks.wrapping_add(1);
        for session in self.requests.keys().copied().collect::<Vec<_>>() {
            self.tick(now, session);
        }
    }

    pub(super) fn react(&mut self, now: Time) -> bool {
        let mut is_busy = false;
        while let Some(input) = self.neighbors.poll(now) {
            is_busy = true;
            match input {
                Input::Ready(session) => self.claim(now, session),
                Input::Message(session, ReplicationMessage::Request(index)) => {
                    self.on_request(now, session, index);
                }
                Input::Gone(session) => {
                    self.requests.remove(&session);
                }
                Input::Message(..) | Input::Other => {}
            }
        }
        is_busy
    }

    /// Claims what its kind claims.
    fn claim(&mut self, now: Time, session: SessionId) {
        self.requests.insert(session, Vec::new());
        let have = match self.kind {
            Kind::Idle | Kind::Ranges | Kind::Unasked | Kind::Reports => RangeList::default(),
            _ => RangeList::change(0..=self.chunks),
        };
        self.say(now, session, &ReplicationMessage::Have(have));
        if self.kind == Kind::Ranges {
            for part in 0..RANGE_MESSAGES {
                let start = self.chunks + 2 + part * 2 * MAX_LIST_RANGES as u64;
                let indices = (0..MAX_LIST_RANGES as u64).map(|range| start + 2 * range);
                let ranges = indices.map(|index| index..=index).collect();
                let list = RangeList { ranges, trailing_zero: false };
                self.say(now, session, &ReplicationMessage::Have(list));
            }
        }
        if self.kind != Kind::Idle {
            self.say(now, session, &ReplicationMessage::Unchoke);
        }
    }

    fn on_request(&mut self, now: Time, session: SessionId, index: u64) {
        let answer = match self.kind {
            Kind::Denying => ReplicationMessage::Deny(index),
            Kind::Wrong if index > 0 => self.object(index, CHUNK_SIZE as usize),
            Kind::Huge => self.object(index, HUGE),
            Kind::Object0 if index == 0 => {
                let value = amf::to_bytes(&Value::Number(1e9)).unwrap_or_default();
                ReplicationMessage::Object { index, value }
            }
            Kind::Flapping => {
                return self.requests.entry(session).or_default().push(index);
            }
            _ => return,
        };
        self.say(now, session, &answer);
    }

    /// What it does each second without being asked.
    fn tick(&mut self, now: Time, session: SessionId) {
        match self.kind {
            Kind::Flapping if self.ticks.is_multiple_of(2) => {
                self.say(now, session, &ReplicationMessage::Unchoke);
            }
            Kind::Flapping => {
                self.say(now, session, &ReplicationMessage::Choke);
                let requests = self.requests.get_mut(&session).map(std::mem::take);
                for index in requests.unwrap_or_default() {
                    self.say(now, session, &ReplicationMessage::Deny(index));
                }
            }
            Kind::Unasked => {
                let index = 1 + self.random.below(self.chunks);
                let object = self.object(index, CHUNK_SIZE as usize);
                self.say(now, session, &object);
            }
            _ => {}
        }
        if self.kind == Kind::Reports || self.ticks.is_multiple_of(TICKS_PER_REPORT) {
            self.report(now, session);
        }
    }

    fn report(&mut self, now: Time, session: SessionId) {
        let own = Address::new(SocketAddr::from(OWN_ADDRESS), Origin::Local);
        let mut report = Report::new(false, own, &[own]);
        if self.kind == Kind::Reports {
            let records = (0..FORGED_RECORDS).map(|_| {
                let random = self.random.below(u64::MAX).to_be_bytes();
                let mut peer = [0; 32];
                peer[..8].copy_from_slice(&random);
                let host = [10, 9, random[0], random[1]];
                let address = Address::new(SocketAddr::from((host, 1000)), Origin::Reflexive);
                Record::new(&Fingerprint(peer), 1, &[address])
            });
            report.records = records.collect();
        }
        self.neighbors.report(now, session, report);
    }

    /// An object with bytes of its own.
    fn object(&mut self, index: u64, size: usize) -> ReplicationMessage {
        let byte = self.random.below(256) as u8;
        let value = amf::to_bytes(&Value::ByteArray(vec![byte; size].into()));
        ReplicationMessage::Object { index, value: value.unwrap_or_default() }
    }

    fn say(&mut self, now: Time, session: SessionId, message: &ReplicationMessage) {
        self.neighbors.say(now, session, message);
    }
}
