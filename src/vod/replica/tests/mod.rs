//! Tests of the replica: its actions after each input, and whole transfers against a store.
//!
//! | file | subject |
//! | --- | --- |
//! | `transfer` | what travels, and in which order |
//! | `alone` | what a web server alone gives |
//! | `drafts` | pages made of what comes from a web server |
//! | `integrity` | verification |
//! | `origin` | what comes from a web server, and comparison with it |
//! | `pages` | large files, whose hashes are objects too |
//! | `selection` | some chunks of all |
//! | `storage` | the store: resuming, and failures |

mod alone;
mod drafts;
mod integrity;
mod origin;
mod pages;
mod selection;
mod storage;
mod transfer;

use super::super::chunker::Chunker;
use super::super::hash::{ChunkHashes, chunk_hash};
use super::super::store::{
    ChunkStore, FileDestination, Finished, MemoryStore, PartialFile, SourceFile,
};
use super::*;

const CHUNK: u32 = 10;
const PROVIDER: char = 'p';

fn content() -> Vec<u8> {
    (0..45).collect()
}

fn chunk(index: u64) -> Bytes {
    let mut chunker = Chunker::new(CHUNK);
    let mut chunks = chunker.push(&content());
    chunks.extend(chunker.finish());
    chunks.into_iter().find(|(i, _)| *i == index).unwrap().1
}

fn bytes(data: &[u8]) -> Value {
    Value::ByteArray(data.to_vec().into())
}

fn descriptor() -> Descriptor {
    Descriptor {
        sha256: Some(Digest256::of(&content())),
        chunk_hashes: Some(ChunkHashes::from_hashes((1..=5).map(|i| chunk_hash(&chunk(i))))),
        name: Some("film.mp4".into()),
        ..Descriptor::of_layout(Layout::of_size(45, CHUNK).unwrap())
    }
}

fn by_descriptor() -> Integrity {
    Integrity::Descriptor(descriptor().digest())
}

fn by_file() -> Integrity {
    Integrity::File { sha256: Digest256::of(&content()), size: 45, chunk_size: CHUNK }
}

fn object_form() -> Value {
    descriptor().to_value(DescriptorForm::Object)
}

fn number_form() -> Value {
    descriptor().to_value(DescriptorForm::Number)
}

/// A replica with its store, its group actions and its events.
struct Member {
    replica: Replica<char, u32>,
    store: Box<dyn ChunkStore>,
    group: Vec<GroupCall<char, u32>>,
    events: Vec<String>,
    completed: Option<Digest256>,
    /// Chunks that were read to verify the whole file.
    verified: usize,
    failed: Option<Arc<ReplicaError>>,
}

impl Member {
    fn receiver(integrity: Integrity) -> Self {
        let store = Box::new(MemoryStore::new(Layout::empty()));
        Self::new(Replica::receiver(integrity, Some(PROVIDER)), store)
    }

    /// A receiver that has got this object 0.
    fn with_descriptor(integrity: Integrity, object: Value) -> Self {
        let mut member = Self::receiver(integrity);
        member.fetched(0, object, PROVIDER);
        assert_eq!(member.replica.stage(), Stage::Chunks);
        member.take_group_actions();
        member
    }

    fn provider(form: DescriptorForm) -> Self {
        let mut store = MemoryStore::new(descriptor().layout);
        (1..=5).for_each(|i| store.write_chunk(i, &chunk(i)).unwrap());
        Self::new(Replica::provider(descriptor(), form), Box::new(store))
    }

    fn new(replica: Replica<char, u32>, store: Box<dyn ChunkStore>) -> Self {
        let (group, events) = (Vec::new(), Vec::new());
        let (completed, failed) = (None, None);
        let mut member = Self { replica, store, group, events, completed, verified: 0, failed };
        member.work();
        member
    }

    /// Carries out actions until there are none.
    fn work(&mut self) {
        while let Some(action) = self.replica.poll_action() {
            match action {
                Action::Group(action) => self.group.push(action),
                Action::Store(action) => {
                    self.verified += usize::from(matches!(action, StoreAction::Verify { .. }));
                    self.replica.store_replied(action.perform(self.store.as_mut()));
                }
                Action::Event(event) => self.on_event(event),
            }
        }
    }

    fn on_event(&mut self, event: FileEvent<char>) {
        match event {
            FileEvent::DescriptorKnown(descriptor) => {
                let store = MemoryStore::new(descriptor.layout);
                self.replica.store_opened(store.held(), store.layout());
                self.store = Box::new(store);
            }
            FileEvent::BadObject { from, index, fault } => {
                self.events.push(format!("{index} from {from}: {fault}"));
            }
            FileEvent::OriginProven(_) => self.events.push("proven".into()),
            FileEvent::FileRejected { .. } => self.events.push("file rejected".into()),
            FileEvent::Complete(completed) => self.completed = Some(completed.sha256),
            FileEvent::Failed(error) => self.failed = Some(error),
            _ => {}
        }
    }

    fn fetched(&mut self, index: u64, object: Value, from: char) {
        self.replica.object_fetched(index, object, from);
        self.work();
    }

    fn fetched_chunks(&mut self, indices: &[u64], from: char) {
        indices.iter().for_each(|&i| self.fetched(i, bytes(&chunk(i)), from));
    }

    fn answer(&mut self, index: u64) -> Option<Value> {
        self.replica.object_requested(index, 77);
        self.work();
        match self.group.pop() {
            Some(GroupCall::WriteRequested { request: 77, object }) => Some(object),
            Some(GroupCall::Deny { request: 77 }) => None,
            other => panic!("{other:?}"),
        }
    }

    fn take_group_actions(&mut self) -> Vec<GroupCall<char, u32>> {
        std::mem::take(&mut self.group)
    }

    fn file(&mut self) -> Vec<u8> {
        self.store.layout().indices().flat_map(|i| self.store.read_chunk(i).unwrap()).collect()
    }

    fn assert_complete(&mut self) {
        assert_eq!(self.completed, Some(Digest256::of(&content())), "{:?}", self.events);
        assert_eq!(self.replica.stage(), Stage::Complete);
        assert_eq!(self.file(), content());
        assert!(self.replica.storing.is_empty() && self.replica.unplaced.is_none());
    }
}

use GroupCall::{AddHave, AddWant, Distrust, RemoveHave, RemoveWant};
