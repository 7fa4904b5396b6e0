//! [`FileExchange`]: one file in one group, as a guest of a node.
//!
//! It connects a [`Replica`] to the group that the [`Node`](crate::node::Node) calls it with, and
//! searches for the provider. It uses neither sockets nor files: a command for the store is an
//! [`ExchangeOutput::Store`] and its result an input, so that the owner decides on which thread
//! files are read and written.

mod origin;

use self::origin::Origin;
use super::descriptor::{Descriptor, DescriptorForm};
use super::link::Integrity;
use super::origin::OriginRequest;
use super::replica::{Action, FileEvent, GroupCall, Replica, Stage, StoreAction, StoreReply};
use super::{ChunkStore, Layout, StoreError};
use crate::amf;
use crate::crypto::Fingerprint;
use crate::group::{Group, GroupError, GroupEvent, ReplicationStrategy};
use crate::node::{GroupHandle, Guest, MAX_MET, NodeEvent};
use crate::range::IndexSet;
use crate::transport::Time;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The provider is asked for again after this time, and then after twice the time each, if it is
/// not a neighbor.
const SEEK_FIRST: Duration = Duration::from_secs(15);
const SEEK_MOST: Duration = Duration::from_secs(120);

/// A request of a neighbor. Request IDs are reused; the serial number shows if an answer is still
/// expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    id: u32,
    serial: u64,
}

/// An output for the owner of a [`FileExchange`].
#[derive(Debug)]
pub enum ExchangeOutput {
    /// A command for the store; its result goes to [`FileExchange::store_replied`].
    Store(StoreAction<Request>),
    /// Something to read from the file's origin.
    Origin(OriginRequest),
    /// An event.
    Event(FileEvent),
}

/// The exchange of one file in one group; see the module documentation.
///
/// Every call may cause outputs: take them by [`poll_output`](Self::poll_output).
#[derive(Debug)]
pub struct FileExchange {
    replica: Replica<Fingerprint, Request>,
    strategy: ReplicationStrategy,
    /// Received chunks are offered to others.
    offers: bool,
    /// What is offered, or would be.
    offered: IndexSet,
    provider: Option<Fingerprint>,
    spares_provider: bool,
    /// When the provider is requested again, and the time to wait after that.
    seek_at: Option<Time>,
    seek_next: Duration,
    requests: HashMap<u32, u64>,
    serial: u64,
    has_connected: bool,
    /// Members that have been neighbors, at most [`MAX_MET`].
    met: BTreeSet<Fingerprint>,
    origin: Option<Origin>,
    outputs: VecDeque<ExchangeOutput>,
}

impl FileExchange {
    /// Offers a file. The owner reports the store's chunks by
    /// [`store_opened`](Self::store_opened).
    pub fn provider(descriptor: Descriptor, form: DescriptorForm) -> Self {
        Self::new(Replica::provider(descriptor, form), None)
    }

    /// Offers a file that is read from its origin meanwhile; if `offers_all`, also what was not read yet.
    #[cfg(feature = "origin")]
    pub(in crate::vod) fn origin_provider(descriptor: Descriptor, offers_all: bool) -> Self {
        Self::new(Replica::of_origin(descriptor, DescriptorForm::Object, offers_all), None)
    }

    /// Fetches a file. If the `provider` is known, the server is asked to introduce it; this also
    /// works with servers that keep no groups.
    pub fn receiver(integrity: Integrity, provider: Option<Fingerprint>) -> Self {
        Self::new(Replica::receiver(integrity, provider), provider)
    }

    fn new(replica: Replica<Fingerprint, Request>, provider: Option<Fingerprint>) -> Self {
        Self {
            replica,
            strategy: ReplicationStrategy::Swarm,
            offers: true,
            offered: IndexSet::unbounded(),
            provider,
            spares_provider: false,
            seek_at: None,
            seek_next: SEEK_FIRST,
            requests: HashMap::new(),
            serial: 0,
            has_connected: false,
            met: BTreeSet::new(),
            origin: None,
            outputs: VecDeque::new(),
        }
    }

    /// Fetches as [`receiver`](Self::receiver) does, with another order of chunks from the start.
    #[must_use]
    pub fn with_strategy(self, strategy: ReplicationStrategy) -> Self {
        Self { strategy, ..self }
    }

    /// Fetches as [`receiver`](Self::receiver) does, but asks the provider only for what nobody else
    /// has ([`spare_provider`](crate::group::ReplicationMut::spare_provider)), or as before.
    #[must_use]
    pub fn sparing_provider(self, spares: bool) -> Self {
        Self { spares_provider: spares, ..self }
    }

    /// Fetches as [`receiver`](Self::receiver) does, but offers nothing to others. The group should
    /// serve nobody then
    /// ([`max_unchoked`](crate::group::ReplicationLimits::max_unchoked) 0).
    #[must_use]
    pub fn without_offers(self) -> Self {
        Self { offers: false, ..self }
    }

    /// Fetches as [`receiver`](Self::receiver) does, but only what is [selected](Self::select) later.
    #[must_use]
    pub fn selective(self) -> Self {
        Self { replica: self.replica.selective(), ..self }
    }

    /// Fetches these chunks, too, with [`selective`](Self::selective).
    pub fn select(&mut self, now: Time, group: &mut Group, chunks: RangeInclusive<u64>) {
        self.replica.select(chunks);
        self.carry_out_actions(now, group);
    }

    /// From now on received chunks are offered to others, or no longer; see
    /// [`without_offers`](Self::without_offers).
    pub fn set_offers(&mut self, now: Time, group: &mut Group, offers: bool) {
        if std::mem::replace(&mut self.offers, offers) == offers {
            return;
        }
        for range in self.offered.ranges().collect::<Vec<_>>() {
            let mut replication = group.replication_mut(now);
            let outcome = match offers {
                true => replication.add_have(range),
                false => replication.remove_have(range),
            };
            note_refusal(outcome);
        }
    }

    /// The store knows these pages of hashes; to be called before [`store_opened`](Self::store_opened).
    pub fn pages_found(&mut self, pages: Vec<(u64, Bytes)>) {
        self.replica.pages_found(pages);
    }

    /// The chunks that the application reads, all of them; the next call replaces them. They are
    /// fetched before others
    /// ([`set_playheads`](crate::group::ReplicationMut::set_playheads)), and so is what verifies them.
    pub fn set_playheads(&mut self, now: Time, group: &mut Group, chunks: Vec<u64>) {
        self.replica.set_playheads(chunks);
        self.carry_out_actions(now, group);
    }

    /// Without a store: fetches the hashes of the chunks up to this one, of which the descriptor has only
    /// those of pages. [`Replica::hashes_to`] gives them.
    pub fn want_hashes(&mut self, now: Time, group: &mut Group, last: u64) {
        self.replica.want_hashes(last);
        self.carry_out_actions(now, group);
    }

    /// The store is ready and holds these chunks.
    pub fn store_opened(&mut self, now: Time, group: &mut Group, held: &IndexSet, layout: &Layout) {
        self.replica.store_opened(held, layout);
        self.carry_out_actions(now, group);
    }

    /// There is no store; the file is given up.
    pub fn store_unavailable(&mut self, now: Time, group: &mut Group, error: StoreError) {
        self.replica.store_unavailable(error);
        self.carry_out_actions(now, group);
    }

    /// The store has carried out a command.
    pub fn store_replied(&mut self, now: Time, group: &mut Group, reply: StoreReply<Request>) {
        self.replica.store_replied(reply);
        self.carry_out_actions(now, group);
    }

    /// Carries out the store's commands at once, on this thread.
    pub fn perform(
        &mut self,
        now: Time,
        group: &mut Group,
        action: StoreAction<Request>,
        store: &mut dyn ChunkStore,
    ) {
        self.store_replied(now, group, action.perform(store));
    }

    /// The next output.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<ExchangeOutput> {
        self.outputs.pop_front()
    }

    /// Read-only access to the file's state.
    pub fn replica(&self) -> &Replica<Fingerprint, Request> {
        &self.replica
    }

    /// Members that have been neighbors, each counted once, up to [`MAX_MET`].
    pub fn members_met(&self) -> usize {
        self.met.len()
    }

    /// Asks the server to introduce the provider, repeatedly while it is not a neighbor and the
    /// file is incomplete.
    fn seek_provider(&mut self, now: Time, group: &mut Group) {
        self.seek_at = None;
        let Some(provider) = self.provider else { return };
        let is_needed = !matches!(self.replica.stage(), Stage::Complete | Stage::Withdrawn);
        if is_needed && !group.neighbors().iter().any(|n| n.peer == provider) {
            group.on_introduced(now, provider, false);
            self.seek_at = Some(now + self.seek_next);
            self.seek_next = (self.seek_next * 2).min(SEEK_MOST);
        }
    }

    /// A neighbor is gone: it may be the provider.
    fn seek_again(&mut self, now: Time, peer: Fingerprint) {
        if self.provider == Some(peer) {
            self.seek_next = SEEK_FIRST;
            self.seek_at = Some(now + self.seek_next);
        }
    }

    fn emit(&mut self, event: FileEvent) {
        self.outputs.push_back(ExchangeOutput::Event(event));
    }

    fn carry_out_actions(&mut self, now: Time, group: &mut Group) {
        self.carry_out(now, group);
        self.read_origin(now, group);
    }

    fn carry_out(&mut self, now: Time, group: &mut Group) {
        while let Some(action) = self.replica.poll_action() {
            match action {
                Action::Group(action) => self.call_group(now, group, action),
                Action::Store(action) => self.outputs.push_back(ExchangeOutput::Store(action)),
                Action::Event(event) => self.emit(event),
            }
        }
        if let Some(playheads) = self.replica.changed_playheads() {
            group.replication_mut(now).set_playheads(&playheads);
        }
    }

    fn call_group(
        &mut self,
        now: Time,
        group: &mut Group,
        action: GroupCall<Fingerprint, Request>,
    ) {
        // Valid indices in an unbounded set: cannot be refused.
        let _ = match &action {
            GroupCall::AddHave(range) => self.offered.insert_range(range.clone()),
            GroupCall::RemoveHave(range) | GroupCall::AddWant(range) => {
                self.offered.remove_range(range.clone())
            }
            _ => Ok(false),
        };
        let outcome = match action {
            GroupCall::AddHave(_) if !self.offers => return,
            GroupCall::AddHave(range) => group.replication_mut(now).add_have(range),
            GroupCall::RemoveHave(range) => group.replication_mut(now).remove_have(range),
            GroupCall::AddWant(range) => group.replication_mut(now).add_want(range),
            GroupCall::RemoveWant(range) => group.replication_mut(now).remove_want(range),
            GroupCall::WriteRequested { request, object } => {
                return self.answer(now, group, request, amf::to_bytes(&object).ok());
            }
            GroupCall::Deny { request } => return self.answer(now, group, request, None),
            GroupCall::Distrust(peer) => return group.block(now, peer),
        };
        note_refusal(outcome);
    }

    /// Answers a request, unless its neighbor is gone and the ID now belongs to another request.
    fn answer(&mut self, now: Time, group: &mut Group, request: Request, object: Option<Bytes>) {
        if self.requests.get(&request.id) != Some(&request.serial) {
            return;
        }
        self.requests.remove(&request.id);
        match object {
            Some(object) => group.replication_mut(now).write_requested(request.id, object),
            None => group.replication_mut(now).deny_requested(request.id),
        };
    }
}

fn note_refusal(outcome: Result<(), GroupError>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "the group refused a call");
    }
}

impl Guest for FileExchange {
    fn start(&mut self, now: Time, group: &mut Group, _: GroupHandle) {
        let mut replication = group.replication_mut(now);
        replication.set_provider(self.provider);
        replication.spare_provider(self.spares_provider);
        replication.set_strategy(self.strategy);
        self.carry_out_actions(now, group);
    }

    fn handle_event(&mut self, now: Time, group: &mut Group, event: GroupEvent) {
        match event {
            GroupEvent::ReplicationRequest { index, request_id } => {
                self.serial += 1;
                self.requests.insert(request_id, self.serial);
                let request = Request { id: request_id, serial: self.serial };
                self.replica.object_requested(index, request);
            }
            GroupEvent::ReplicationFetchResult { index, object, peer_id } => {
                // An object that is not AMF is treated as a wrong object.
                let value = object.decode().unwrap_or(amf::Value::Undefined);
                self.replica.object_fetched(index, value, peer_id);
            }
            GroupEvent::ReplicationFetchFailed { index } => self.replica.fetch_failed(index),
            GroupEvent::NeighborConnect { peer_id, .. } => {
                if self.met.len() < MAX_MET {
                    self.met.insert(peer_id);
                }
                self.emit(FileEvent::NeighborConnect(peer_id));
            }
            GroupEvent::NeighborDisconnect { peer_id, .. } => {
                self.seek_again(now, peer_id);
                self.emit(FileEvent::NeighborDisconnect(peer_id));
            }
            _ => {}
        }
        self.carry_out_actions(now, group);
    }

    fn handle_connection(&mut self, now: Time, group: &mut Group, event: &NodeEvent) {
        match event {
            &NodeEvent::Connected { server } => {
                let again = std::mem::replace(&mut self.has_connected, true);
                self.seek_next = SEEK_FIRST;
                self.seek_provider(now, group);
                self.emit(FileEvent::Connected { server, again });
            }
            NodeEvent::ConnectFailed(error) => self.emit(FileEvent::ConnectFailed(error.clone())),
            NodeEvent::Disconnected => self.emit(FileEvent::Disconnected),
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time, group: &mut Group) {
        if self.seek_at.is_some_and(|at| at <= now) {
            self.seek_provider(now, group);
        }
        self.read_origin(now, group);
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.seek_at.into_iter().chain(self.origin_timeout()).min()
    }
}
