//! The queries that wait, client by client: the first of each is being asked.

use super::super::access::Rights;
use super::{Caller, HookConfig, HookEvent, Query, QueryId};
use crate::flash::{Message, Responder};
use crate::transport::endpoint::source;
use crate::transport::{SessionId, Time};
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// Messages, and bytes of them, that are kept of a client that publishes before it may; further ones
/// are dropped.
const MAX_EARLY_MEDIA: usize = 64;
const MAX_EARLY_MEDIA_BYTES: usize = 64 << 10;
/// The clients of one host may have this part of the queries that wait, at most.
const HOST_SHARE: usize = 8;

/// The queries of one client, before and after it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) struct LaneId(u64);

/// What is to be done with the answer.
#[derive(Debug)]
pub(super) enum Then {
    /// For a client that named this application, and has these rights.
    Connect {
        app: Arc<str>,
        rights: Option<Box<Rights>>,
    },
    Publish {
        stream: u32,
        name: Arc<str>,
        record: bool,
        /// What it publishes meanwhile.
        early: Vec<(Message, Bytes)>,
    },
    Play {
        stream: u32,
        name: Arc<str>,
        recorded: bool,
    },
    Call {
        responder: Option<Responder>,
    },
    /// It only informs.
    Nothing,
}

impl Then {
    const fn stream(&self) -> Option<u32> {
        match self {
            Self::Publish { stream, .. } | Self::Play { stream, .. } => Some(*stream),
            _ => None,
        }
    }
}

/// A query that has been answered, or has failed.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) lane: LaneId,
    pub(super) session: SessionId,
    pub(super) client: Caller,
    pub(super) then: Then,
    /// Nobody waits for the answer any more.
    pub(super) is_abandoned: bool,
}

#[derive(Debug)]
struct Entry {
    id: QueryId,
    session: SessionId,
    client: Caller,
    /// Until it is asked.
    event: Option<HookEvent>,
    then: Then,
    deadline: Time,
    is_abandoned: bool,
}

/// All of them.
#[derive(Debug)]
pub(in super::super) struct Lanes {
    pub(super) config: HookConfig,
    /// Those with queries.
    lanes: HashMap<LaneId, VecDeque<Entry>>,
    of_query: HashMap<QueryId, LaneId>,
    /// How many are of the clients of each host.
    of_host: HashMap<IpAddr, usize>,
    deadlines: BTreeSet<(Time, QueryId)>,
    outbox: VecDeque<Query>,
    next_lane: u64,
    next_query: u64,
    /// Messages that were dropped because their publishers had sent too many before they might.
    early_dropped: u64,
}

impl Lanes {
    pub(in super::super) fn new(config: HookConfig) -> Self {
        Self {
            config,
            lanes: HashMap::new(),
            of_query: HashMap::new(),
            of_host: HashMap::new(),
            deadlines: BTreeSet::new(),
            outbox: VecDeque::new(),
            next_lane: 0,
            next_query: 0,
            early_dropped: 0,
        }
    }

    pub(in super::super) fn new_lane(&mut self) -> LaneId {
        self.next_lane += 1;
        LaneId(self.next_lane)
    }

    /// True if nothing waits.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.of_query.is_empty()
    }

    pub(in super::super) fn next_timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    pub(super) fn poll_query(&mut self) -> Option<Query> {
        self.outbox.pop_front()
    }

    /// Adds a query; returns what was to be done if there is no space for it.
    pub(super) fn add(
        &mut self,
        now: Time,
        (lane, session): (LaneId, SessionId),
        client: Caller,
        (event, then): (HookEvent, Then),
    ) -> Result<(), Then> {
        let HookConfig { timeout, per_client, pending, .. } = self.config;
        let waiting = self.lanes.get(&lane).map_or(0, VecDeque::len);
        let host = source(client.address.ip());
        let of_host = self.of_host.get(&host).copied().unwrap_or_default();
        let has_space = match event.is_question() {
            true => {
                waiting < per_client
                    && of_host < (pending / HOST_SHARE).max(per_client)
                    && self.of_query.len() < pending
            }
            false => self.of_query.len() < pending + pending / 2,
        };
        if !has_space {
            return Err(then);
        }
        self.next_query += 1;
        let (id, deadline) = (QueryId(self.next_query), now + timeout);
        let (event, is_abandoned) = (Some(event), false);
        let entry = Entry { id, session, client, event, then, deadline, is_abandoned };
        self.lanes.entry(lane).or_default().push_back(entry);
        self.of_query.insert(id, lane);
        *self.of_host.entry(host).or_default() += 1;
        self.deadlines.insert((deadline, id));
        self.ask_next(lane);
        Ok(())
    }

    /// Asks the first query of a client, unless that is being done.
    fn ask_next(&mut self, lane: LaneId) {
        let Some(entry) = self.lanes.get_mut(&lane).and_then(|entries| entries.front_mut()) else {
            return;
        };
        if let Some(event) = entry.event.take() {
            self.outbox.push_back(Query { id: entry.id, client: entry.client.clone(), event });
        }
    }

    /// A query has been answered. None if it is not known, or not any more.
    pub(super) fn settle(&mut self, id: QueryId) -> Option<Settled> {
        let lane = self.of_query.remove(&id)?;
        let entries = self.lanes.get_mut(&lane)?;
        let at = entries.iter().position(|entry| entry.id == id)?;
        let Entry { session, client, then, deadline, is_abandoned, .. } = entries.remove(at)?;
        if entries.is_empty() {
            self.lanes.remove(&lane);
        }
        self.deadlines.remove(&(deadline, id));
        self.leave(source(client.address.ip()));
        self.ask_next(lane);
        Some(Settled { lane, session, client, then, is_abandoned })
    }

    /// A query of a client of this host waits no more.
    fn leave(&mut self, host: IpAddr) {
        if let Some(count) = self.of_host.get_mut(&host) {
            *count -= 1;
            if *count == 0 {
                self.of_host.remove(&host);
            }
        }
    }

    /// A message of a client in this NetStream: it comes back if the client does not wait for leave to
    /// publish.
    pub(super) fn keep_early(
        &mut self,
        lane: LaneId,
        at: u32,
        (message, encoded): (Message, Bytes),
    ) -> Option<(Message, Bytes)> {
        let waiting = self.lanes.get_mut(&lane).into_iter().flatten().find_map(|entry| {
            match &mut entry.then {
                Then::Publish { stream, early, .. } if *stream == at && !entry.is_abandoned => {
                    Some(early)
                }
                _ => None,
            }
        });
        let Some(early) = waiting else { return Some((message, encoded)) };
        let bytes: usize = early.iter().map(|(_, message)| message.len()).sum();
        if early.len() < MAX_EARLY_MEDIA && bytes + encoded.len() <= MAX_EARLY_MEDIA_BYTES {
            early.push((message, encoded));
        } else {
            self.early_dropped += 1;
        }
        None
    }

    /// Messages that were dropped because their publishers had sent too many before they might.
    pub(in super::super) fn early_dropped(&self) -> u64 {
        self.early_dropped
    }

    /// The next query whose deadline is over.
    pub(super) fn overdue(&self, now: Time) -> Option<QueryId> {
        self.deadlines.first().filter(|&&(at, _)| at <= now).map(|&(_, id)| id)
    }

    /// Nobody waits any more for the answer about this stream, or about anything if none is named.
    /// What has not been asked yet will not be.
    pub(super) fn abandon(&mut self, lane: LaneId, stream: Option<u32>) {
        let Some(entries) = self.lanes.get_mut(&lane) else { return };
        let mut not_asked = Vec::new();
        for entry in entries {
            let is_meant = match stream {
                Some(_) => entry.then.stream() == stream,
                None => !matches!(entry.then, Then::Nothing),
            };
            if !is_meant {
                continue;
            }
            entry.is_abandoned = true;
            if entry.event.is_some() {
                not_asked.push(entry.id);
            }
        }
        for id in not_asked {
            drop(self.settle(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Fingerprint;
    use std::time::Duration;

    fn client(lane: LaneId) -> Caller {
        let address = ([10, 0, 0, lane.0 as u8], 1).into();
        Caller { peer: Fingerprint([1; 32]), address, app: "a".into(), name: None }
    }

    fn add(lanes: &mut Lanes, now: Time, lane: LaneId, stream: u32) -> bool {
        let name: Arc<str> = stream.to_string().into();
        let then = Then::Publish { stream, name: name.clone(), record: false, early: Vec::new() };
        let query = (HookEvent::Publish { name }, then);
        lanes.add(now, (lane, SessionId(7)), client(lane), query).is_ok()
    }

    fn asked(lanes: &mut Lanes) -> Vec<(QueryId, String)> {
        let name = |query: Query| match query.event {
            HookEvent::Publish { name } => (query.id, name.to_string()),
            other => (query.id, other.kind().name().to_owned()),
        };
        std::iter::from_fn(|| lanes.poll_query()).map(name).collect()
    }

    #[test]
    fn queries_of_a_client_are_asked_one_after_the_other() {
        let mut lanes = Lanes::new(HookConfig::default());
        let (a, b) = (lanes.new_lane(), lanes.new_lane());
        for (lane, stream) in [(a, 1), (a, 2), (b, 3), (a, 4)] {
            assert!(add(&mut lanes, Time::ZERO, lane, stream));
        }
        let first = asked(&mut lanes);
        let names: Vec<_> = first.iter().map(|(_, name)| &**name).collect();
        assert_eq!(names, ["1", "3"]);
        assert_eq!(lanes.settle(first[0].0).unwrap().then.stream(), Some(1));
        assert!(lanes.settle(first[0].0).is_none(), "only once");
        let second = asked(&mut lanes);
        assert_eq!(second[0].1, "2");
        // The third is no longer wanted, and is not asked; the second is, and says so.
        lanes.abandon(a, Some(4));
        lanes.abandon(a, Some(2));
        assert!(lanes.settle(second[0].0).unwrap().is_abandoned);
        assert!(asked(&mut lanes).is_empty());
        assert!(!lanes.settle(first[1].0).unwrap().is_abandoned);
        assert!(lanes.is_empty() && lanes.lanes.is_empty() && lanes.deadlines.is_empty());
    }

    #[test]
    fn hostile_clients_of_one_host_leave_places_to_others() {
        let config = HookConfig { per_client: 2, pending: 32, ..HookConfig::default() };
        let mut lanes = Lanes::new(config);
        let mut add_from = |host: u8| {
            let (lane, query) = (lanes.new_lane(), HookEvent::Publish { name: "x".into() });
            let client = Caller { address: ([10, 0, 0, host], 1).into(), ..client(lane) };
            lanes.add(Time::ZERO, (lane, SessionId(7)), client, (query, Then::Nothing)).is_ok()
        };
        assert_eq!((0..20).filter(|_| add_from(1)).count(), 4, "an eighth of 32");
        assert!(add_from(2));
        let first = asked(&mut lanes)[0].0;
        assert!(lanes.settle(first).is_some());
        assert_eq!(lanes.of_host[&[10, 0, 0, 1].into()], 3);
        let others: Vec<_> = lanes.of_query.keys().copied().collect();
        assert!(others.into_iter().all(|id| lanes.settle(id).is_some()));
        assert!(lanes.is_empty() && lanes.of_host.is_empty());
    }

    #[test]
    fn hostile_crowds_of_queries_are_bounded() {
        let config = HookConfig { per_client: 3, pending: 4, ..HookConfig::default() };
        let mut lanes = Lanes::new(config);
        let (a, b) = (lanes.new_lane(), lanes.new_lane());
        let taken = |lanes: &mut Lanes, lane| {
            (0..10).filter(|&stream| add(lanes, Time::ZERO, lane, stream)).count()
        };
        assert_eq!(taken(&mut lanes, a), 3);
        assert_eq!(taken(&mut lanes, b), 1);
        let mut notify = || {
            let query = (HookEvent::Disconnect, Then::Nothing);
            lanes.add(Time::ZERO, (a, SessionId(7)), client(a), query).is_ok()
        };
        assert_eq!((0..10).filter(|_| notify()).count(), 2, "half as many");
        let over = Time::ZERO + Duration::from_secs(5);
        while let Some(id) = lanes.overdue(over) {
            assert!(lanes.settle(id).is_some());
        }
        assert!(lanes.is_empty() && lanes.lanes.is_empty() && lanes.next_timeout().is_none());
    }
}
