//! The commands for one file's store, carried out on the connection's [`Pool`].
//!
//! Commands for a file are carried out one at a time and in order, so that a chunk is never read
//! before it was written. What the group has in flight bounds the queue: chunks to write by the
//! replica's [backlog](crate::vod::replica::MAX_BACKLOG), requests by the limit of each neighbor.
//! If the store is slow, answers are late, and nothing more is fetched.

use super::destination::StoreConfig;
use super::member::FileMember;
use super::progress::{PROGRESS_INTERVAL, Progress};
use super::recent::Recent;
use crate::driver::{Pool, Strand};
use crate::group::Group;
use crate::node::GroupHandle;
use crate::peer::GuestSender;
use crate::transport::Time;
use crate::vod::replica::{StoreAction, StoreReply};
use crate::vod::{ChunkStore, Descriptor, MemoryStore, PartialFile, Request, StoreError};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// A command for the store of a file.
pub(super) enum StoreCommand {
    /// Open a store for the file of this descriptor.
    Open(StoreConfig, Arc<Descriptor>),
    /// A command of the replica.
    Perform(StoreAction<Request>),
    /// Read a chunk for the application.
    Read(u64, oneshot::Sender<Result<Bytes, StoreError>>),
}

/// The state of a store's strand.
pub(super) struct Worker {
    pub(super) store: Option<Box<dyn ChunkStore>>,
    pub(super) recent: Recent,
    pub(super) progress: Arc<watch::Sender<Progress>>,
    pub(super) replies: GuestSender,
    pub(super) group: GroupHandle,
    /// Dropped with the worker, when all commands are done and the files are closed.
    pub(super) _end: oneshot::Sender<()>,
}

impl Worker {
    /// Puts the worker on a strand of the pool.
    pub(super) fn start(mut self, pool: Pool) -> Strand<StoreCommand> {
        Strand::new(pool, move |work| self.handle(work))
    }

    fn handle(&mut self, work: StoreCommand) {
        match work {
            StoreCommand::Open(config, descriptor) => self.open(config, &descriptor),
            StoreCommand::Perform(action) => {
                // The replica sends no command before the store is open.
                let Some(store) = &mut self.store else { return };
                let reply = perform(action, &mut **store, &mut self.recent);
                self.reply(|member, now, group| member.store_replied(now, group, reply));
            }
            StoreCommand::Read(index, answer) => {
                let missing = Err(StoreError::NotHeld { index });
                let read = self.store.as_mut().map_or(missing, |store| store.read_chunk(index));
                // The caller may be gone.
                let _ = answer.send(read);
            }
        }
    }

    fn open(&mut self, config: StoreConfig, descriptor: &Descriptor) {
        match open(config, descriptor, &self.progress) {
            Ok(store) => {
                let (held, layout, pages) = (store.held().clone(), *store.layout(), store.pages());
                self.store = Some(store);
                self.reply(move |member, now, group| {
                    member.store_opened(now, group, pages, &held, &layout);
                });
            }
            Err(error) => {
                self.reply(|member, now, group| member.store_unavailable(now, group, error));
            }
        }
    }

    /// Calls the member in the connection's task.
    fn reply(&self, call: impl FnOnce(&mut FileMember, Time, &mut Group) + Send + 'static) {
        let call = |member: &mut FileMember, group: &mut Group, now| call(member, now, group);
        // The connection may be closed: then the reply is not needed.
        let _ = self.replies.blocking_call(self.group, call);
    }
}

/// Carries out a command for the store. What was just written is not read from it.
fn perform(
    action: StoreAction<Request>,
    store: &mut dyn ChunkStore,
    recent: &mut Recent,
) -> StoreReply<Request> {
    match action {
        StoreAction::Read { index, request } if store.held().contains(index) => {
            let result = recent.get(index).map_or_else(|| store.read_chunk(index), Ok);
            StoreReply::Read { index, request, result }
        }
        StoreAction::Write { index, ref data } => {
            let data = data.clone();
            let reply = action.perform(store);
            if matches!(reply, StoreReply::Wrote { result: Ok(()), .. }) {
                recent.insert(index, data);
            }
            reply
        }
        StoreAction::Forget(_) | StoreAction::ForgetAll => {
            recent.clear();
            action.perform(store)
        }
        action => action.perform(store),
    }
}

fn open(
    config: StoreConfig,
    descriptor: &Descriptor,
    progress: &watch::Sender<Progress>,
) -> Result<Box<dyn ChunkStore>, StoreError> {
    let Some(destination) = config.file_destination(descriptor) else {
        return Ok(Box::new(MemoryStore::new(descriptor.layout)));
    };
    let mut checked = Throttle::default();
    let store = PartialFile::open(destination, descriptor, |bytes| {
        if checked.is_due(bytes) {
            progress.send_modify(|progress| progress.checked_bytes = bytes);
        }
    })?;
    Ok(Box::new(store))
}

/// Lets through one of many small steps.
#[derive(Default)]
struct Throttle {
    next: u64,
}

impl Throttle {
    /// Bytes that a disk reads in about one [`PROGRESS_INTERVAL`].
    const STEP: u64 = 100 * 1024 * PROGRESS_INTERVAL.as_millis() as u64;

    fn is_due(&mut self, bytes: u64) -> bool {
        let is_due = bytes >= self.next;
        if is_due {
            self.next = bytes.saturating_add(Self::STEP);
        }
        is_due
    }
}
