//! [`FileMember`]: a [`FileExchange`] in the connection's task, with its store and the channels to
//! its handle.

use super::SessionError;
use super::destination::StoreConfig;
use super::handle::Outcome;
use super::origin::OriginLine;
use super::progress::ProgressPublisher;
use super::readers::{ReaderToken, Readers};
use super::recent::Recent;
use super::worker::{StoreCommand, Worker};
use crate::driver::{Pool, Strand};
use crate::group::{Group, GroupEvent};
use crate::node::{GroupHandle, Guest, NodeEvent};
use crate::peer::GuestSender;
use crate::range::IndexSet;
use crate::transport::Time;
use crate::vod::guest::ExchangeOutput;
use crate::vod::origin::{OriginError, OriginVersion};
use crate::vod::replica::StoreReply;
use crate::vod::tree::HashTree;
use crate::vod::{ChunkStore, Descriptor, FileEvent, FileExchange, Layout, Request, StoreError};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{broadcast, oneshot, watch};
use tracing::{info, warn};

/// A file that is exchanged on a connection.
pub(in crate::vod) struct FileMember {
    pub(super) exchange: FileExchange,
    pub(super) store: StoreState,
    /// The settings for the store, until it is opened; `None` for a provider and for a fetch
    /// without chunks.
    pub(super) store_config: Option<StoreConfig>,
    pub(super) progress: ProgressPublisher,
    pub(super) readers: Readers,
    pub(super) origin: Option<OriginLine>,
    /// Who waits for what was selected.
    pub(super) selecting: Option<oneshot::Sender<()>>,
    /// The last chunk whose hash is wanted, and who wants it.
    pub(super) examined: Option<(u64, oneshot::Sender<HashTree>)>,
    pub(super) outcome: watch::Sender<Option<Outcome>>,
    pub(super) descriptor: watch::Sender<Option<Arc<Descriptor>>>,
    pub(super) events: broadcast::Sender<FileEvent>,
}

/// The state of the file's store.
pub(super) enum StoreState {
    /// The group is being joined.
    Waiting(Option<StoreStart>),
    Running(Strand<StoreCommand>),
}

/// The parameters of the store.
pub(super) struct StoreStart {
    pub(super) pool: Pool,
    pub(super) replies: GuestSender,
    /// The provider's file.
    pub(super) store: Option<Box<dyn ChunkStore>>,
    pub(super) end: oneshot::Sender<()>,
}

impl FileMember {
    pub(super) fn store_replied(
        &mut self,
        now: Time,
        group: &mut Group,
        reply: StoreReply<Request>,
    ) {
        self.exchange.store_replied(now, group, reply);
        self.after_call(now, group);
    }

    pub(super) fn store_opened(
        &mut self,
        now: Time,
        group: &mut Group,
        pages: Vec<(u64, Bytes)>,
        held: &IndexSet,
        layout: &Layout,
    ) {
        self.exchange.pages_found(pages);
        self.exchange.store_opened(now, group, held, layout);
        self.after_call(now, group);
    }

    pub(super) fn store_unavailable(&mut self, now: Time, group: &mut Group, error: StoreError) {
        self.exchange.store_unavailable(now, group, error);
        self.after_call(now, group);
    }

    pub(super) fn origin_probed(
        &mut self,
        now: Time,
        group: &mut Group,
        id: u64,
        result: Result<OriginVersion, OriginError>,
    ) {
        self.exchange.origin_probed(now, group, id, result);
        self.after_call(now, group);
    }

    pub(super) fn origin_chunk(
        &mut self,
        now: Time,
        group: &mut Group,
        id: u64,
        index: u64,
        data: Bytes,
    ) {
        self.exchange.origin_chunk(now, group, id, index, data);
        self.after_call(now, group);
    }

    pub(super) fn origin_ended(
        &mut self,
        now: Time,
        group: &mut Group,
        id: u64,
        result: Result<(), OriginError>,
    ) {
        self.exchange.origin_ended(now, group, id, result);
        self.after_call(now, group);
    }

    pub(super) fn origin_piece(
        &mut self,
        now: Time,
        group: &mut Group,
        id: u64,
        result: Result<Bytes, OriginError>,
    ) {
        self.exchange.origin_piece(now, group, id, result);
        self.after_call(now, group);
    }

    /// Reads a chunk for the application.
    pub(super) fn read(&mut self, index: u64, answer: oneshot::Sender<Result<Bytes, StoreError>>) {
        self.give_to_store(StoreCommand::Read(index, answer));
    }

    /// Fetches the chunks of these bytes, too.
    pub(super) fn select(
        &mut self,
        now: Time,
        group: &mut Group,
        ranges: Vec<Range<u64>>,
        answer: oneshot::Sender<()>,
    ) {
        let layout = self.exchange.replica().layout();
        let length = u64::from(layout.chunk_size().unwrap_or(1));
        let ranges = ranges.into_iter().filter(|range| !range.is_empty());
        for Range { start, end } in ranges {
            let chunks = start / length + 1..=end.div_ceil(length);
            self.exchange.select(now, group, chunks);
        }
        self.selecting = Some(answer);
        self.after_call(now, group);
    }

    /// Fetches the hashes of the chunks that this many bytes reach into.
    pub(super) fn want_hashes(
        &mut self,
        now: Time,
        group: &mut Group,
        length: u64,
        answer: oneshot::Sender<HashTree>,
    ) {
        let chunk_size = self.exchange.replica().layout().chunk_size().unwrap_or(1);
        let last = length.div_ceil(u64::from(chunk_size));
        self.examined = Some((last, answer));
        self.exchange.want_hashes(now, group, last);
        self.after_call(now, group);
    }

    /// A reader is at this chunk.
    pub(super) fn note_reader(
        &mut self,
        now: Time,
        group: &mut Group,
        reader: &ReaderToken,
        index: u64,
    ) {
        self.readers.note(reader, index);
        self.set_playheads(now, group);
    }

    fn set_playheads(&mut self, now: Time, group: &mut Group) {
        if let Some(playheads) = self.readers.changed() {
            self.exchange.set_playheads(now, group, playheads);
        }
    }

    fn give_to_store(&mut self, work: StoreCommand) {
        if let StoreState::Running(strand) = &self.store {
            strand.push(work);
        }
    }

    /// Drains the outputs of the exchange, and publishes the progress if that is due.
    fn after_call(&mut self, now: Time, group: &mut Group) {
        self.set_playheads(now, group);
        if self.exchange.replica().has_selection()
            && let Some(answer) = self.selecting.take()
        {
            self.progress.publish(now, &self.exchange, group);
            // The caller may be gone.
            let _ = answer.send(());
        }
        let last = self.examined.as_ref().map(|(last, _)| *last);
        if let Some(tree) = last.and_then(|last| self.exchange.replica().hashes_to(last))
            && let Some((_, answer)) = self.examined.take()
        {
            // The caller may be gone.
            let _ = answer.send(tree.clone());
        }
        // The progress is published before the event, so that whoever receives the event sees it.
        self.progress.update(now, &self.exchange, group);
        while let Some(output) = self.exchange.poll_output() {
            match output {
                ExchangeOutput::Store(action) => self.give_to_store(StoreCommand::Perform(action)),
                ExchangeOutput::Origin(request) => {
                    if let Some(origin) = &self.origin {
                        origin.request(request);
                    }
                }
                ExchangeOutput::Event(event) => self.handle_output_event(event),
            }
        }
    }

    fn handle_output_event(&mut self, event: FileEvent) {
        match &event {
            FileEvent::Connected { server, .. } => info!(%server, "connected"),
            FileEvent::Disconnected => {
                warn!("the connection to the server was lost; trying to connect again");
            }
            FileEvent::DescriptorKnown(descriptor) => {
                if let Some(config) = self.store_config.take() {
                    self.give_to_store(StoreCommand::Open(config, Arc::clone(descriptor)));
                }
                if self.origin.as_ref().is_some_and(|origin| origin.learn(descriptor)) {
                    self.exchange.origin_known();
                }
                self.descriptor.send_replace(Some(Arc::clone(descriptor)));
            }
            FileEvent::BadObject { from, index, fault } => {
                warn!(%from, index, %fault, "a member sent a bad object");
            }
            FileEvent::OriginProven(descriptor) => {
                self.descriptor.send_replace(Some(Arc::clone(descriptor)));
            }
            FileEvent::OriginFailed(error) => warn!(%error, "the origin failed; trying again"),
            FileEvent::OriginGone(error) => warn!(%error, "the origin is not used any more"),
            FileEvent::FileRejected { actual } => {
                warn!(%actual, "the file is not the one that was shared; fetching it again");
            }
            _ => {}
        }
        let outcome = match &event {
            FileEvent::Complete(completed) => Some(Ok(completed.clone())),
            FileEvent::Failed(error) => Some(Err(SessionError::Replica(Arc::clone(error)))),
            _ => None,
        };
        // There may be no subscriber.
        let _ = self.events.send(event);
        if outcome.is_some() {
            self.outcome.send_replace(outcome);
        }
    }
}

impl Guest for FileMember {
    fn start(&mut self, now: Time, group: &mut Group, handle: GroupHandle) {
        if let StoreState::Waiting(start) = &mut self.store
            && let Some(StoreStart { pool, replies, store, end }) = start.take()
        {
            let progress = self.progress.sender();
            let worker = Worker {
                store,
                recent: Recent::default(),
                progress,
                replies,
                group: handle,
                _end: end,
            };
            self.store = StoreState::Running(worker.start(pool));
        }
        if let Some(origin) = &mut self.origin {
            origin.joined(handle);
        }
        self.exchange.start(now, group, handle);
        self.after_call(now, group);
    }

    fn handle_event(&mut self, now: Time, group: &mut Group, event: GroupEvent) {
        self.exchange.handle_event(now, group, event);
        self.after_call(now, group);
    }

    fn handle_connection(&mut self, now: Time, group: &mut Group, event: &NodeEvent) {
        self.progress.set_connected(matches!(event, NodeEvent::Connected { .. }));
        self.exchange.handle_connection(now, group, event);
        self.after_call(now, group);
    }

    fn handle_group_change(&mut self, now: Time, group: &mut Group) {
        self.progress.update(now, &self.exchange, group);
    }

    fn handle_timeout(&mut self, now: Time, group: &mut Group) {
        self.exchange.handle_timeout(now, group);
        self.after_call(now, group);
    }

    fn poll_timeout(&self) -> Option<Time> {
        let exchange = self.exchange.poll_timeout();
        exchange.into_iter().chain(self.progress.poll_timeout()).min()
    }

    /// Publishes the final counters before the group is left.
    fn handle_leave(&mut self, now: Time, group: &mut Group) {
        self.progress.publish(now, &self.exchange, group);
    }
}

impl Drop for FileMember {
    fn drop(&mut self) {
        self.outcome.send_if_modified(|outcome| {
            let is_open = outcome.is_none();
            outcome.get_or_insert(Err(SessionError::Stopped));
            is_open
        });
    }
}
