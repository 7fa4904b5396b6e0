//! [`Replica`]: one file in one group, for its provider and its receivers alike.
//!
//! A state machine without sockets, files or clock. Its inputs are the events of the group and the
//! replies of the store; its outputs are [`Action`]s, to be taken with [`Replica::poll_action`]
//! after every call until there are none left.
//!
//! ```text
//! provider                                 receiver
//!   addHaveObjects(0, N)                     addWantObjects(0, 0)
//!                                            object 0: check it against the link, addHaveObjects(0, 0)
//!                                            open the store, addWantObjects(1, N)
//!   request i: read chunk i, write it        object i: check hash and length, write it, addHaveObjects(i, i)
//!                                            all there: give the file its name
//! ```
//!
//! A receiver provides each chunk from the moment it holds it, and remains a provider when it is
//! complete.
//!
//! If the link vouches for the descriptor and the descriptor lists the hashes of all chunks, the file
//! is verified when its chunks are. In all other cases it is hashed from its beginning as chunks
//! arrive, so that hashing does not delay the end of a large file, and the hash is compared at the
//! end.
//!
//! The hashes of a large file's chunks are in pages, which are objects too ([`HashTree`](super::tree)). A
//! chunk is wanted when its page is there.
//!
//! A bad object is refused, wanted again and counted for its sender; after [`MAX_BAD_OBJECTS`] of
//! them [`GroupCall::Distrust`] drops the sender. Without chunk hashes (the Number form, and
//! Flash applications) a wrong file is detected only at the end; then everything is fetched again,
//! at most [`MAX_ATTEMPTS`] times in all, and if all chunks came from one sender, it is dropped.

mod accept;
mod action;
mod alone;
mod backlog;
mod drafts;
mod event;
mod fault;
mod from_origin;
mod pages;
mod samples;
mod selection;
mod senders;
mod whole;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;

pub use action::{Action, GroupCall, StoreAction, StoreReply};
pub use backlog::MAX_BACKLOG;
pub use event::{Completed, FileEvent};
pub use fault::{Fault, ReplicaError};
pub use samples::{ONE_OF, PIECE, Sample};
pub use senders::{MAX_BAD_OBJECTS, MAX_SENDERS, SenderStats};

use self::accept::checked_descriptor;
use self::backlog::Backlog;
use self::drafts::Drafts;
use self::from_origin::Offers;
use self::pages::Pages;
use self::samples::Samples;
use self::senders::Senders;
use self::whole::{Step, WholeHash};
use super::descriptor::{Descriptor, DescriptorForm};
use super::hash::{Digest256, chunk_hash};
use super::layout::{Layout, LayoutError, Placement};
use super::link::Integrity;
use super::store::{Finished, StoreError};
use crate::amf::Value;
use crate::range::IndexSet;

/// The number of times that a whole file without chunk hashes is fetched before a wrong result is
/// final.
pub const MAX_ATTEMPTS: u32 = 3;

/// Chunks whose length differs from the first one, while no length is stated, after which the
/// disagreement of the members is final.
pub const MAX_DIFFERING_LENGTHS: u64 = 64;

/// The stage of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for object 0.
    Descriptor,
    /// The descriptor is known; waiting for the store.
    Opening,
    /// Waiting for chunks.
    Chunks,
    /// All chunks are there; the rest of the file is being verified and named.
    Finishing,
    /// Complete: all chunks are held and verified.
    Complete,
    /// Fetching has failed; the chunks held are served.
    Failed,
    /// The file is gone; nothing is served.
    Withdrawn,
}

/// Counters of a replica; all start at zero and only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaStats {
    /// Bytes of good chunks received from the provider that the link names.
    pub bytes_from_provider: u64,
    /// Bytes of good chunks received from all others.
    pub bytes_from_peers: u64,
    /// Bytes of chunks read from the origin.
    pub bytes_from_origin: u64,
    /// Chunks resumed from an earlier run.
    pub chunks_resumed: u64,
    /// Bytes of chunks written to requesters.
    pub bytes_served: u64,
    /// Objects written to requesters, including the descriptor.
    pub objects_served: u64,
    /// Requests denied.
    pub denied: u64,
    /// Good objects that were already held.
    pub duplicates: u64,
    /// Objects refused.
    pub refused: u64,
    /// Objects that were not requested: unknown indices, or in the wrong stage.
    pub unexpected: u64,
    /// Fetches that a peer denied or that failed.
    pub fetch_failures: u64,
}

/// One file in one group. `P` names a peer, `R` a request of the group.
#[derive(Debug)]
pub struct Replica<P, R> {
    stage: Stage,
    integrity: Integrity,
    provider: Option<P>,
    descriptor: Option<Arc<Descriptor>>,
    /// Object 0 in the form in which it is served.
    object0: Option<Value>,
    layout: Layout,
    held: IndexSet,
    /// The hashes of the chunks, as far as they are known.
    pages: Pages,
    storing: Backlog,
    /// The last chunk, if it arrived before its offset was known.
    unplaced: Option<(Bytes, P)>,
    differing_lengths: u64,
    attempts: u32,
    whole: WholeHash,
    senders: Senders<P>,
    samples: Samples<P>,
    drafts: Drafts,
    /// The chunks that are to be fetched; `None` for all.
    selection: Option<IndexSet>,
    /// Everything is read from the origin, and nothing is exchanged with peers.
    is_alone: bool,
    /// Of a provider that reads the file while it shares it.
    offers: Option<Offers<R>>,
    stats: ReplicaStats,
    actions: VecDeque<Action<P, R>>,
}

impl<P: Ord + Clone, R> Replica<P, R> {
    /// The replica of the provider. The store holds all chunks of the descriptor.
    pub fn provider(descriptor: Descriptor, form: DescriptorForm) -> Self {
        let mut replica = Self::new(Stage::Complete, Integrity::None, None);
        replica.layout = descriptor.layout;
        replica.object0 = Some(descriptor.to_value(form));
        replica.add_held(descriptor.layout.indices());
        replica.pages = Pages::provided(&descriptor);
        let last = replica.pages.last_object(descriptor.chunks());
        replica.group(GroupCall::AddHave(0..=last));
        replica.descriptor = Some(Arc::new(descriptor));
        replica
    }

    /// The replica of a receiver, with the link's data for verifying the file, and the provider,
    /// which is used only for statistics.
    pub fn receiver(integrity: Integrity, provider: Option<P>) -> Self {
        let mut replica = Self::new(Stage::Descriptor, integrity, provider);
        replica.group(GroupCall::AddWant(0..=0));
        replica
    }

    fn new(stage: Stage, integrity: Integrity, provider: Option<P>) -> Self {
        Self {
            stage,
            integrity,
            provider,
            descriptor: None,
            object0: None,
            layout: Layout::empty(),
            held: IndexSet::unbounded(),
            pages: Pages::default(),
            storing: Backlog::new(MAX_BACKLOG),
            unplaced: None,
            differing_lengths: 0,
            attempts: 1,
            whole: WholeHash::running(),
            senders: Senders::new(),
            samples: Samples::new(),
            drafts: Drafts::new(),
            selection: None,
            is_alone: false,
            offers: None,
            stats: ReplicaStats::default(),
            actions: VecDeque::new(),
        }
    }

    /// The next action, in the order in which they must be carried out. Drain after every other
    /// call: queued chunks take memory.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action<P, R>> {
        self.actions.pop_front()
    }

    /// The stage.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The descriptor, once known.
    pub fn descriptor(&self) -> Option<&Arc<Descriptor>> {
        self.descriptor.as_ref()
    }

    /// The chunks held.
    pub fn held(&self) -> &IndexSet {
        &self.held
    }

    /// The known part of the file's layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The counters.
    pub fn stats(&self) -> &ReplicaStats {
        &self.stats
    }

    /// The peers that have sent objects, at most [`MAX_SENDERS`].
    pub fn senders(&self) -> impl Iterator<Item = (&P, &SenderStats)> {
        self.senders.iter()
    }

    /// The group has fetched an object (`NetGroup.Replication.Fetch.Result`).
    pub fn object_fetched(&mut self, index: u64, object: Value, from: P) {
        match self.stage {
            Stage::Descriptor if index == 0 => self.descriptor_fetched(&object, from),
            Stage::Chunks if self.layout.is_chunk(index) => self.chunk_fetched(index, object, from),
            Stage::Chunks if self.pages.is_page(index) => self.page_fetched(index, object, from),
            Stage::Opening if self.pages.is_examined(index) => {
                self.page_fetched(index, object, from);
            }
            _ if self.is_known(index) => self.stats.duplicates += 1,
            _ => self.stats.unexpected += 1,
        }
    }

    /// A fetch was denied or has failed (`NetGroup.Replication.Fetch.Failed`). The object remains
    /// wanted; the group tries other neighbors by itself.
    pub fn fetch_failed(&mut self, _index: u64) {
        self.stats.fetch_failures += 1;
    }

    /// A peer requests an object (`NetGroup.Replication.Request`).
    pub fn object_requested(&mut self, index: u64, request: R) {
        let object0 = self.object0.as_ref().filter(|_| self.stage != Stage::Withdrawn);
        match object0 {
            Some(object) if index == 0 => {
                let object = object.clone();
                self.write(request, object);
            }
            Some(_) if let Some(page) = self.pages.page(index) => {
                let page = Value::ByteArray(page.clone());
                self.write(request, page);
            }
            Some(_) if self.held.contains(index) || self.pages.is_served(index) => {
                self.store(StoreAction::Read { index, request });
            }
            Some(_) => {
                if let Err(request) = self.wait_for_origin(index, request) {
                    self.deny(request);
                }
            }
            None => self.deny(request),
        }
    }

    /// The store for the descriptor is open: `held` are its chunks of an earlier run, `layout`
    /// includes what it has learned of the file.
    pub fn store_opened(&mut self, held: &IndexSet, layout: &Layout) {
        if self.stage != Stage::Opening {
            return;
        }
        self.layout = *layout;
        self.stage = Stage::Chunks;
        self.begin_offers();
        let indices = layout.indices();
        for range in held.ranges() {
            let range = *range.start().max(indices.start())..=*range.end().min(indices.end());
            if !range.is_empty() {
                self.add_held(range.clone());
                self.group(GroupCall::AddHave(range));
            }
        }
        self.stats.chunks_resumed = self.held.len();
        self.want_missing();
        self.verify_on();
    }

    /// The store knows these pages of hashes; to be called before [`store_opened`](Self::store_opened).
    pub fn pages_found(&mut self, pages: Vec<(u64, Bytes)>) {
        if self.stage == Stage::Opening {
            // An upper page has a higher index, and verifies the lower ones.
            for (index, page) in pages.into_iter().rev() {
                if self.pages.add(index, page).is_ok() {
                    self.pages.set_ready(index);
                    self.group(GroupCall::AddHave(index..=index));
                }
            }
        }
    }

    /// The store could not be opened; the fetch is over.
    pub fn store_unavailable(&mut self, error: StoreError) {
        self.fail(error.into());
    }

    /// The store has carried out a command.
    pub fn store_replied(&mut self, reply: StoreReply<R>) {
        match reply {
            StoreReply::Wrote { index, result } => self.chunk_wrote(index, result),
            StoreReply::Read { index, request, result } => self.chunk_read(index, request, result),
            StoreReply::Verify { index, result } => self.chunk_to_verify(index, result),
            StoreReply::Paged { index, result } => self.page_stored(index, result),
            StoreReply::Drafted { index, result } => self.drafted(index, result),
            StoreReply::PageMade { index, page } => self.page_made(index, page),
            StoreReply::Forgot(Ok(())) => self.want_missing(),
            StoreReply::Finished(Ok(finished)) => {
                self.stage = Stage::Complete;
                let sha256 = self.whole.value();
                let Finished { path, kept } = finished;
                self.emit(FileEvent::Complete(Completed { sha256, path, kept }));
            }
            // A damaged chunk was found meanwhile and is being fetched again.
            StoreReply::Finished(Err(StoreError::Incomplete { .. }))
                if self.stage == Stage::Chunks => {}
            StoreReply::Forgot(Err(error)) | StoreReply::Finished(Err(error)) => {
                self.fail(error.into());
            }
        }
    }

    fn descriptor_fetched(&mut self, object: &Value, from: P) {
        let (descriptor, served) = match checked_descriptor(object, &self.integrity) {
            Ok(accepted) => accepted,
            Err(fault) => return self.refuse(0, from, fault),
        };
        self.pages = Pages::of(&descriptor);
        if let (Integrity::Descriptor(_), Some(sha256)) = (&self.integrity, descriptor.sha256)
            && self.pages.verifies_chunks()
        {
            self.whole = WholeHash::Stated(sha256);
        }
        self.adopt(descriptor, served);
    }

    /// The descriptor is known: the store can be opened.
    fn adopt(&mut self, descriptor: Descriptor, served: Value) {
        let descriptor = Arc::new(descriptor);
        self.layout = descriptor.layout;
        self.object0 = Some(served);
        self.descriptor = Some(Arc::clone(&descriptor));
        self.stage = Stage::Opening;
        // Whoever announces everything at first is a source to others.
        if !self.reads_origin() {
            self.group(GroupCall::AddHave(0..=0));
        }
        self.emit(FileEvent::DescriptorKnown(descriptor));
    }

    fn chunk_fetched(&mut self, index: u64, object: Value, from: P) {
        if self.is_known(index) {
            self.stats.duplicates += 1;
            return;
        }
        let Value::ByteArray(data) = object else {
            return self.refuse(index, from, Fault::NotBytes);
        };
        let is_verified = match self.pages.hash(index) {
            Some(hash) if hash == chunk_hash(&data) => true,
            Some(_) => return self.refuse(index, from, Fault::WrongHash),
            // It was not wanted yet.
            None if self.pages.verifies_chunks() => return self.stats.unexpected += 1,
            None if self.senders.is_distrusted(&from) => {
                return self.refuse(index, from, Fault::DistrustedSender);
            }
            None => false,
        };
        self.place(index, data, from, is_verified);
        // Another chunk may have determined the offset of the last one.
        if self.stage == Stage::Chunks
            && self.layout.chunk_size().is_some()
            && let Some((data, from)) = self.unplaced.take()
        {
            self.place(self.layout.chunks(), data, from, is_verified);
        }
    }

    /// Checks the length of a chunk and writes it at its offset.
    fn place(&mut self, index: u64, data: Bytes, from: P, is_verified: bool) {
        let is_guess = self.layout.chunk_size_is_learned();
        let error = match self.layout.admit(index, data.len() as u64) {
            Ok(Placement::Unknown) => return self.unplaced = Some((data, from)),
            Ok(Placement::At(_)) => return self.accept(index, data, &from),
            Err(error) => error,
        };
        if is_verified {
            return self.fail(ReplicaError::Contradiction(error));
        }
        if is_guess {
            return self.length_differs(index, from, error);
        }
        self.refuse(index, from, error.into());
    }

    fn accept(&mut self, index: u64, data: Bytes, from: &P) {
        let bytes = data.len() as u64;
        if self.provider.as_ref() == Some(from) {
            self.stats.bytes_from_provider += bytes;
        } else {
            self.stats.bytes_from_peers += bytes;
        }
        self.senders.note_good(from, bytes);
        if !self.pages.verifies_chunks() {
            self.samples.note(index, &data, from);
        }
        self.keep(index, data);
    }

    /// Writes a chunk that was accepted.
    fn keep(&mut self, index: u64, data: Bytes) {
        let bytes = data.len() as u64;
        if self.storing.push(index, bytes) {
            self.group(GroupCall::RemoveWant(self.layout.indices()));
        }
        self.whole.offer(index, &data);
        self.store(StoreAction::Write { index, data });
    }

    /// Refuses a chunk without blaming its sender: the length was learned from a chunk that may be
    /// wrong itself.
    fn length_differs(&mut self, index: u64, from: P, error: LayoutError) {
        self.differing_lengths += 1;
        if self.differing_lengths > MAX_DIFFERING_LENGTHS {
            return self.fail(ReplicaError::DifferingLengths);
        }
        self.stats.refused += 1;
        self.emit(FileEvent::BadObject { from, index, fault: error.into() });
        self.want(index..=index);
    }

    fn refuse(&mut self, index: u64, from: P, fault: Fault) {
        self.stats.refused += 1;
        let ends_trust = self.senders.note_bad(&from);
        self.emit(FileEvent::BadObject { from: from.clone(), index, fault });
        if ends_trust {
            self.group(GroupCall::Distrust(from));
        }
        self.want(index..=index);
    }

    fn chunk_wrote(&mut self, index: u64, result: Result<(), StoreError>) {
        let Some(has_space_again) = self.storing.take(index) else { return };
        if self.stage == Stage::Withdrawn {
            return;
        }
        if let Err(error) = result {
            return self.fail(error.into());
        }
        self.add_held(index..=index);
        self.group(GroupCall::AddHave(index..=index));
        self.want_pages_ahead();
        self.answer_asked(index);
        if has_space_again {
            self.want_missing();
        }
        self.verify_on();
    }

    fn chunk_read(&mut self, index: u64, request: R, result: Result<Bytes, StoreError>) {
        match result {
            Ok(data) => {
                self.stats.bytes_served += data.len() as u64;
                self.write(request, Value::ByteArray(data));
            }
            Err(error) => {
                self.deny(request);
                self.chunk_lost(index, error);
            }
        }
    }

    fn chunk_to_verify(&mut self, index: u64, result: Result<Bytes, StoreError>) {
        if !self.whole.was_read(index) {
            return;
        }
        match result {
            Ok(data) => {
                self.whole.offer(index, &data);
                self.verify_on();
            }
            Err(error) => self.chunk_lost(index, error),
        }
    }

    /// Handles a held chunk that cannot be read.
    fn chunk_lost(&mut self, index: u64, error: StoreError) {
        match error {
            StoreError::NotHeld { .. } => {}
            StoreError::Damaged { .. } if self.held.contains(index) => {
                // The set is unbounded: this cannot fail.
                let _ = self.held.remove(index);
                self.whole.lost(index);
                self.group(GroupCall::RemoveHave(index..=index));
                if matches!(self.stage, Stage::Chunks | Stage::Finishing) {
                    self.stage = Stage::Chunks;
                    self.want(index..=index);
                }
            }
            StoreError::Damaged { .. } => {}
            error => self.withdraw(error.into()),
        }
    }

    /// Continues the hash of the file from its beginning, and ends the fetch at the file's end.
    fn verify_on(&mut self) {
        if self.stage != Stage::Chunks || self.selection.is_some() {
            return;
        }
        match self.whole.step(&self.held) {
            Step::Read(index) => return self.store(StoreAction::Verify { index }),
            Step::Wait => return,
            Step::Nothing => {}
        }
        if self.held.len() < self.layout.chunks() || self.samples.are_pending() {
            return;
        }
        let actual = self.whole.value();
        if self.is_alone {
            return self.prove(actual);
        }
        match self.descriptor.as_ref().and_then(|it| it.sha256) {
            Some(expected) if expected != actual => self.wrong_file(expected, actual),
            // Its file remains in the cache, under the name that it has there.
            _ if self.reads_origin() => {
                self.stage = Stage::Complete;
                self.emit(FileEvent::OriginRead { sha256: actual });
            }
            _ => {
                self.stage = Stage::Finishing;
                self.store(StoreAction::Finish);
            }
        }
    }

    fn wrong_file(&mut self, expected: Digest256, actual: Digest256) {
        let Some(descriptor) = self.descriptor.clone() else { return };
        if self.reads_origin() {
            self.store(StoreAction::ForgetAll);
            return self.withdraw(ReplicaError::WrongFile { expected, actual });
        }
        self.group(GroupCall::RemoveHave(self.layout.indices()));
        self.held.clear();
        if let Some(single) = self.senders.end_bad_period() {
            self.group(GroupCall::Distrust(single));
        }
        self.store(StoreAction::ForgetAll);
        if self.pages.verifies_chunks() || self.attempts >= MAX_ATTEMPTS {
            return self.fail(ReplicaError::WrongFile { expected, actual });
        }
        self.attempts += 1;
        self.layout = descriptor.layout;
        self.whole = WholeHash::running();
        self.emit(FileEvent::FileRejected { actual });
    }

    /// Wants every chunk that is neither held nor being stored.
    fn want_missing(&mut self) {
        if self.stage != Stage::Chunks || self.storing.is_full() {
            return;
        }
        self.want_pages();
        for range in self.selected_in(self.layout.indices()) {
            self.want_missing_in(range);
        }
    }

    /// Wants every chunk of a range that can be verified, and is neither held nor being stored.
    fn want_missing_in(&mut self, range: RangeInclusive<u64>) {
        let (mut from, last) = range.into_inner();
        while let Some(start) = self.held.first_missing_at_or_after(from).filter(|&i| i <= last) {
            from = start + 1;
            if self.storing.contains(start) {
                continue;
            }
            let known = [self.held.first_at_or_after(start), self.storing.first_at_or_after(start)];
            let end = known.into_iter().flatten().min().map_or(last, |known| last.min(known - 1));
            for range in self.pages.ready_within(start..=end) {
                self.want(range);
            }
            from = end + 1;
        }
    }

    /// Ends fetching; the chunks held are served.
    fn fail(&mut self, error: ReplicaError) {
        if matches!(self.stage, Stage::Failed | Stage::Withdrawn) {
            return;
        }
        self.stage = Stage::Failed;
        self.unplaced = None;
        let last = self.pages.last_object(self.layout.chunks());
        self.group(GroupCall::RemoveWant(0..=last));
        self.emit(FileEvent::Failed(Arc::new(error)));
    }

    /// Withdraws the file, which can no longer be relied on; nothing is served.
    fn withdraw(&mut self, error: ReplicaError) {
        if self.stage == Stage::Withdrawn {
            return;
        }
        let last = self.pages.last_object(self.layout.chunks());
        self.group(GroupCall::RemoveHave(0..=last));
        self.fail(error);
        self.held.clear();
        self.stage = Stage::Withdrawn;
    }

    /// Wants objects from peers, unless everything comes from an origin.
    fn want(&mut self, range: RangeInclusive<u64>) {
        if !self.reads_origin() {
            self.group(GroupCall::AddWant(range));
        }
    }

    /// True if the object is held or being stored.
    fn is_known(&self, index: u64) -> bool {
        let is_unplaced = self.unplaced.is_some() && index == self.layout.chunks();
        let is_descriptor = index == 0 && self.descriptor.is_some();
        let is_chunk = self.held.contains(index) || self.storing.contains(index);
        is_descriptor || is_unplaced || is_chunk || self.pages.is_served(index)
    }

    fn add_held(&mut self, range: RangeInclusive<u64>) {
        // The set is unbounded and the layout's indices are valid: this cannot fail.
        let _ = self.held.insert_range(range);
    }

    fn write(&mut self, request: R, object: Value) {
        self.stats.objects_served += 1;
        self.group(GroupCall::WriteRequested { request, object });
    }

    fn deny(&mut self, request: R) {
        self.stats.denied += 1;
        self.group(GroupCall::Deny { request });
    }

    fn group(&mut self, action: GroupCall<P, R>) {
        use GroupCall::{AddHave, AddWant, RemoveHave};
        if self.is_alone && matches!(action, AddHave(_) | AddWant(_) | RemoveHave(_)) {
            return;
        }
        self.actions.push_back(Action::Group(action));
    }

    fn store(&mut self, action: StoreAction<R>) {
        self.actions.push_back(Action::Store(action));
    }

    fn emit(&mut self, event: FileEvent<P>) {
        self.actions.push_back(Action::Event(event));
    }
}
