//! The thread on which files are read and written.
//!
//! One thread for each session does all work in the order in which it came, so that a chunk is
//! never read before it was written. It ends, with everything written, when its [`StoreThread`] is
//! dropped.

use super::progress::{PROGRESS_INTERVAL, Progress};
use super::service::FileCommand;
use crate::vod::file_name::safe_file_name;
use crate::vod::replica::StoreAction;
use crate::vod::{ChunkStore, Descriptor, MemoryStore, PartialFile, Request, StoreError, Target};
use bytes::Bytes;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use tokio::sync::{mpsc as async_mpsc, oneshot, watch};

/// Where a fetched file goes.
#[derive(Debug, Clone)]
pub(in crate::vod) enum Place {
    /// To a file; the path is a directory's if the descriptor is to give the name.
    File {
        /// Path of the file, or of the directory.
        target: Target,
        /// `path` names the directory.
        is_directory: bool,
        /// The name that the link gives, for a descriptor without one.
        name: Option<String>,
    },
    /// Into memory.
    Memory,
}

/// What the thread can be asked for.
pub(super) enum Work {
    /// Open a store for a file of which this is known now.
    Open(Place, Arc<Descriptor>),
    /// What the replica asks for.
    Perform(StoreAction<Request>),
    /// Read a chunk for the application.
    Read(u64, oneshot::Sender<Result<Bytes, StoreError>>),
}

/// The way to the thread.
pub(super) struct StoreThread {
    work: mpsc::Sender<Work>,
    ended: oneshot::Receiver<()>,
}

impl StoreThread {
    /// Starts the thread. Its answers come out of the receiver, for the service.
    pub(super) fn start(
        store: Option<Box<dyn ChunkStore>>,
        progress: Arc<watch::Sender<Progress>>,
    ) -> io::Result<(Self, async_mpsc::UnboundedReceiver<FileCommand>)> {
        let (work, inbox) = mpsc::channel();
        // As many answers as there were questions: what the group has in flight bounds both.
        let (outbox, replies) = async_mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let mut worker = Worker { store, progress, outbox };
        thread::Builder::new().name("rtmfp-store".into()).spawn(move || {
            for work in inbox {
                worker.work(work);
            }
            drop(worker);
            // Nobody may be waiting.
            let _ = end.send(());
        })?;
        Ok((Self { work, ended }, replies))
    }

    /// Asks for something. Fails silently if the thread has panicked.
    pub(super) fn ask(&self, work: Work) {
        let _ = self.work.send(work);
    }

    /// Waits until all that was asked for is done and the files are closed.
    pub(super) async fn finish(self) {
        drop(self.work);
        // The thread dropped its end if it panicked; it is over all the same.
        let _ = self.ended.await;
    }
}

impl fmt::Debug for StoreThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreThread").finish_non_exhaustive()
    }
}

struct Worker {
    store: Option<Box<dyn ChunkStore>>,
    progress: Arc<watch::Sender<Progress>>,
    outbox: async_mpsc::UnboundedSender<FileCommand>,
}

impl Worker {
    fn work(&mut self, work: Work) {
        match work {
            Work::Open(place, descriptor) => self.open(place, &descriptor),
            Work::Perform(action) => {
                // The replica asks for nothing before it was told that the store is open.
                let Some(store) = &mut self.store else { return };
                let reply = action.perform(&mut **store);
                self.reply(FileCommand::StoreReplied(reply));
            }
            Work::Read(index, answer) => {
                let missing = Err(StoreError::NotHeld { index });
                let read = self.store.as_mut().map_or(missing, |store| store.read_chunk(index));
                let _ = answer.send(read);
            }
        }
    }

    fn open(&mut self, place: Place, descriptor: &Descriptor) {
        match open(place, descriptor, &self.progress) {
            Ok(store) => {
                let (held, layout) = (store.held().clone(), *store.layout());
                self.store = Some(store);
                self.reply(FileCommand::StoreOpened { held, layout });
            }
            Err(error) => self.reply(FileCommand::StoreUnavailable(error)),
        }
    }

    fn reply(&self, command: FileCommand) {
        // Nobody listens when the session is over.
        let _ = self.outbox.send(command);
    }
}

fn open(
    place: Place,
    descriptor: &Descriptor,
    progress: &watch::Sender<Progress>,
) -> Result<Box<dyn ChunkStore>, StoreError> {
    let Place::File { mut target, is_directory, name } = place else {
        return Ok(Box::new(MemoryStore::new(descriptor.layout)));
    };
    if is_directory {
        let name = descriptor.name.as_deref().or(name.as_deref()).unwrap_or_default();
        target.path = PathBuf::from_iter([target.path, safe_file_name(name).into()]);
    }
    let mut checked = Throttle::default();
    let store = PartialFile::open(target, descriptor, |bytes| {
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
