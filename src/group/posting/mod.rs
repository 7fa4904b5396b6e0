//! Posting: values that reach every member of a group, passed on from neighbor to neighbor
//! (`protocol-notes/netgroup-posting.md`).
//!
//! Small values are pushed, large ones announced by their keys and sent on request. The messages and
//! their times are Flash Player's. What is held for others is bounded, and a neighbor that floods
//! displaces its own values first.
//!
//! | file | subject |
//! | --- | --- |
//! | `mod` | posting, incoming messages |
//! | `access` | the calls of the application |
//! | [`message`] | the messages of the flow `GR 18` |
//! | `store` | the values held, and the keys of those seen |
//! | `wanted` | announced values that this node lacks: whom to ask, and when |
//! | `serve` | requests of neighbors |
//! | `turns` | the neighbors, which are informed one at a time |

mod access;
pub(super) mod message;
mod serve;
mod store;
mod turns;
mod wanted;

pub use access::PostingMut;

use super::feature::{Feature, Output};
use super::{FlowKind, GroupConfig, GroupEvent, MessageId, PostKey, PostingLimits};
use crate::crypto::Fingerprint;
use crate::random::SplitMix64;
use crate::transport::{SessionId, Time};
use bytes::Bytes;
use message::{KeyList, PostingMessage};
use std::collections::VecDeque;
use std::time::Duration;
use store::Store;
use turns::{Neighbor, Turns};
use wanted::{Due, Wanted};

/// The time for which a value is held and recognized, from its first receipt on.
const RETENTION: Duration = Duration::from_secs(300);
/// The time from the first announcement of a value to the first request.
const ASK_AFTER: Duration = Duration::from_millis(350);
/// The time from a request without answer to the next one.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// The time for which a neighbor that did not answer a request is asked for other values only if
/// nobody else has announced them. Ours.
const SPARED_FOR: Duration = Duration::from_secs(20);
/// Bytes up to which a value is pushed.
const MAX_PUSHED: usize = 16;

/// Counters of posting since the group was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PostingStats {
    /// Values posted by the application.
    pub posted: u64,
    /// Values delivered to the application.
    pub received: u64,
    /// Values that arrived again.
    pub duplicates: u64,
    /// Values sent to neighbors, pushed or on request.
    pub sent: u64,
    /// Keys announced to neighbors.
    pub announced: u64,
    /// Requests sent.
    pub requests_sent: u64,
    /// Requests that were answered by another neighbor or not at all.
    pub overdue: u64,
    /// Negative answers received.
    pub negatives_received: u64,
    /// Negative answers sent.
    pub negatives_sent: u64,
    /// Values above the size limit, which were dropped.
    pub too_large: u64,
    /// Announced keys that were ignored because the neighbor had announced too many.
    pub ignored_keys: u64,
    /// Requests of neighbors that were dropped because their flow was full.
    pub dropped_requests: u64,
    /// Messages that could not be parsed, have an unknown type, or are empty.
    pub malformed: u64,
    /// Values held now.
    pub held: usize,
    /// Encoded bytes of the values held now.
    pub held_bytes: usize,
    /// Announced values that this node waits for now.
    pub wanted: usize,
}

/// Posting in one group.
///
/// [`PostingMut`] has the call that posts.
#[derive(Debug)]
pub struct Posting {
    is_enabled: bool,
    is_authorized: bool,
    limits: PostingLimits,
    store: Store,
    wanted: Wanted,
    turns: Turns,
    /// When to go on answering requests.
    owed_at: Option<Time>,
    output: VecDeque<Output>,
    stats: PostingStats,
}

impl Posting {
    pub(super) fn new(config: &GroupConfig, rng: SplitMix64) -> Self {
        Self {
            is_enabled: config.spec.posting_enabled() && config.posting.max_values > 0,
            is_authorized: config.spec.may_post(),
            limits: config.posting.clone(),
            store: Store::new(config.posting.clone()),
            wanted: Wanted::default(),
            turns: Turns::new(rng),
            owed_at: None,
            output: VecDeque::new(),
            stats: PostingStats::default(),
        }
    }

    /// Counters.
    pub fn stats(&self) -> PostingStats {
        PostingStats {
            held: self.store.len(),
            held_bytes: self.store.bytes(),
            wanted: self.wanted.len(),
            ..self.stats
        }
    }

    /// Posts a value. One that was received from others is not posted again, one of this node's own
    /// is.
    fn post(&mut self, now: Time, value: Bytes) -> MessageId {
        self.expire(now);
        let id = MessageId::of(&value);
        let key = id.key();
        self.stats.posted += 1;
        if self.store.has_seen(key) && !self.store.is_own(key) {
            return id;
        }
        self.end_search(key);
        self.keep(now, key, value, None);
        self.tell(now, key, &[]);
        id
    }

    /// A value arrives, requested or not.
    fn on_value(&mut self, now: Time, session: SessionId, value: Bytes) {
        let Some(neighbor) = self.turns.get(session) else { return };
        let source = Some(neighbor.peer);
        if value.is_empty() {
            // No value. The player delivers it, but dies of an empty message in other places.
            self.stats.malformed += 1;
            return;
        }
        let id = MessageId::of(&value);
        let key = id.key();
        let announcers = self.end_search(key);
        if self.store.has_seen(key) {
            self.stats.duplicates += 1;
            self.knows(session, key);
            return;
        }
        if value.len() > self.limits.max_value {
            self.stats.too_large += 1;
            let dropped = self.store.remember(now, key, false);
            self.turns.withdraw(&dropped);
            return;
        }
        self.stats.received += 1;
        self.keep(now, key, value.clone(), source);
        let message = value.into();
        self.output.push_back(Output::Event(GroupEvent::PostingNotify { message, message_id: id }));
        self.tell(now, key, &[&announcers[..], &[session]].concat());
    }

    fn on_announced(&mut self, now: Time, session: SessionId, list: &KeyList) {
        let mut keys = list.keys();
        while let Some(key) = keys.next() {
            if self.store.has_seen(key) {
                self.knows(session, key);
                continue;
            }
            if self.wanted.is_announced_by(key, session) {
                continue;
            }
            let Some(neighbor) = self.turns.get_mut(session) else { return };
            if neighbor.announced >= self.limits.max_keys {
                self.stats.ignored_keys += 1 + keys.len() as u64;
                return;
            }
            neighbor.announced += 1;
            self.wanted.announced(now, key, session);
        }
    }

    fn on_negative(&mut self, now: Time, session: SessionId, list: &KeyList) {
        let Some(key) = list.single().filter(|key| self.wanted.is_announced_by(*key, session))
        else {
            return;
        };
        self.stats.negatives_received += 1;
        let next = self.wanted.withdrawn(now, key, session);
        if let Some(neighbor) = self.turns.get_mut(session) {
            neighbor.announced -= 1;
            neighbor.asked -= usize::from(next.is_some());
        }
        if let Some(Some(next)) = next {
            self.ask(next, key);
        }
    }

    /// Requests what is due.
    fn ask_due(&mut self, now: Time) {
        while let Some((key, due)) = self.wanted.next_due(now) {
            let next = match due {
                None => {
                    self.end_search(key);
                    continue;
                }
                Some(Due::First(announcers)) => self.turns.choose(now, &announcers),
                Some(Due::Again(last, next)) => {
                    self.stats.overdue += 1;
                    if let Some(neighbor) = self.turns.get_mut(last) {
                        neighbor.asked -= 1;
                        neighbor.spared_until = now + SPARED_FOR;
                    }
                    next
                }
            };
            self.wanted.asked(now, key, next);
            self.ask(next, key);
        }
    }

    fn ask(&mut self, session: SessionId, key: PostKey) {
        let Some(neighbor) = self.turns.get_mut(session) else { return };
        neighbor.asked += 1;
        if !neighbor.keys_blocked {
            self.stats.requests_sent += 1;
            self.send_keys(session, &PostingMessage::Request(key.into()));
        }
    }

    /// Ends the search for a value, and returns the neighbors that have announced it.
    fn end_search(&mut self, key: PostKey) -> Vec<SessionId> {
        let ended = self.wanted.end(key).unwrap_or_default();
        for announcer in &ended.announcers {
            if let Some(neighbor) = self.turns.get_mut(*announcer) {
                neighbor.announced -= 1;
            }
        }
        if let Some(neighbor) = ended.asked.and_then(|asked| self.turns.get_mut(asked)) {
            neighbor.asked -= 1;
        }
        ended.announcers
    }

    fn keep(&mut self, now: Time, key: PostKey, value: Bytes, source: store::Source) {
        let dropped = self.store.insert(now, key, value, source);
        self.turns.withdraw(&dropped);
    }

    fn expire(&mut self, now: Time) {
        let dropped = self.store.expire(now);
        self.turns.withdraw(&dropped);
    }

    /// Lets every neighbor know of a value in its turn, except those that have it.
    fn tell(&mut self, now: Time, key: PostKey, except: &[SessionId]) {
        if let Some(number) = self.store.number(key) {
            self.turns.tell(now, number, key, except);
        }
    }

    /// A neighbor has this value, so that it need not be informed.
    fn knows(&mut self, session: SessionId, key: PostKey) {
        if let Some(number) = self.store.number(key) {
            self.turns.knows(session, number);
        }
    }

    fn send_value(&mut self, session: SessionId, value: Bytes) {
        self.stats.sent += 1;
        self.send(session, FlowKind::PostingValues, value);
    }

    fn send_keys(&mut self, session: SessionId, message: &PostingMessage) {
        self.send(session, FlowKind::PostingKeys, message.to_bytes());
    }

    /// Sends a message on one of our flows, which is opened by its first message.
    fn send(&mut self, session: SessionId, kind: FlowKind, message: Bytes) {
        let Some(neighbor) = self.turns.get_mut(session) else { return };
        if neighbor.open(kind) {
            self.output.push_back(Output::OpenFlow(session, kind));
        }
        self.output.push_back(Output::Send(session, kind, message));
    }
}

impl Feature for Posting {
    /// Also in a group without posting, as the player does.
    fn carries(&self, kind: FlowKind) -> bool {
        matches!(kind, FlowKind::PostingKeys | FlowKind::PostingValues)
    }

    /// A new neighbor is not informed of earlier values.
    fn on_neighbor_connected(&mut self, now: Time, session: SessionId, peer: Fingerprint) {
        self.turns.insert(session, Neighbor::new(now, peer));
    }

    /// The values that were requested from the neighbor are requested from others.
    fn on_neighbor_gone(&mut self, now: Time, session: SessionId) {
        self.turns.remove(session);
        for key in self.wanted.announced_by(session) {
            if let Some(Some(next)) = self.wanted.withdrawn(now, key, session) {
                self.ask(next, key);
            }
        }
    }

    fn on_message(&mut self, now: Time, session: SessionId, kind: FlowKind, message: Bytes) {
        self.expire(now);
        if self.limits.max_values == 0 {
            return;
        }
        if kind == FlowKind::PostingValues {
            return self.on_value(now, session, message);
        }
        match PostingMessage::parse(message) {
            Ok(PostingMessage::Announce(list)) => self.on_announced(now, session, &list),
            Ok(PostingMessage::Request(list)) => self.on_request(session, list),
            Ok(PostingMessage::Negative(list)) => self.on_negative(now, session, &list),
            Ok(PostingMessage::Other(_)) | Err(_) => self.stats.malformed += 1,
        }
    }

    fn on_flow_blocked(&mut self, now: Time, session: SessionId, kind: FlowKind, is_blocked: bool) {
        let Some(neighbor) = self.turns.get_mut(session) else { return };
        if kind == FlowKind::PostingKeys {
            neighbor.keys_blocked = is_blocked;
        } else {
            neighbor.values_blocked = is_blocked;
        }
        if !neighbor.values_blocked && !neighbor.owed.is_empty() {
            self.resume(now);
        }
        self.turns.wind(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.expire(now);
        self.ask_due(now);
        if self.owed_at.is_some_and(|at| at <= now) {
            self.serve_owed(now);
        }
        if let Some((session, keys)) = self.turns.next(now) {
            self.inform(session, &keys);
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        let clocks = [self.turns.poll_timeout(), self.wanted.poll_timeout()];
        let times = clocks.into_iter().chain([self.store.next_expiry(), self.owed_at]);
        times.flatten().min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }
}

impl Posting {
    /// A neighbor's turn: small values are pushed if there are no others, all are announced
    /// otherwise.
    fn inform(&mut self, session: SessionId, keys: &[PostKey]) {
        let held = keys.iter().filter_map(|key| self.store.value(*key));
        let values: Vec<_> = held.cloned().collect();
        if values.iter().all(|value| value.len() <= MAX_PUSHED) {
            values.into_iter().for_each(|value| self.send_value(session, value));
        } else {
            self.stats.announced += keys.len() as u64;
            let list = keys.iter().copied().collect();
            self.send_keys(session, &PostingMessage::Announce(list));
        }
    }
}
