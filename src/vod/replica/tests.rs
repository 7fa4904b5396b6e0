//! Tests of the replica: its actions after each input, and whole transfers against a store.

use proptest::prelude::*;

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

#[test]
fn a_provider_has_descriptor_and_chunks() {
    let mut provider = Member::provider(DescriptorForm::Object);
    assert_eq!(provider.take_group_actions(), [AddHave(0..=5)]);
    assert_eq!(provider.answer(0), Some(object_form()));
    assert_eq!(provider.answer(5), Some(bytes(&chunk(5))));
    assert_eq!(provider.answer(6), None);
    let stats = *provider.replica.stats();
    assert_eq!((stats.objects_served, stats.bytes_served, stats.denied), (2, 5, 1));
    let mut provider = Member::provider(DescriptorForm::Number);
    assert_eq!(provider.answer(0), Some(Value::Number(6.0)));
}

#[test]
fn a_receiver_wants_the_descriptor_then_all_chunks_at_once() {
    for (integrity, object) in [
        (by_descriptor(), object_form()),
        (by_file(), number_form()),
        (Integrity::None, object_form()),
        (Integrity::None, number_form()),
    ] {
        let mut member = Member::receiver(integrity);
        assert_eq!(member.take_group_actions(), [AddWant(0..=0)]);
        member.fetched(0, object, PROVIDER);
        assert_eq!(member.take_group_actions(), [AddHave(0..=0), AddWant(1..=5)]);
        member.fetched_chunks(&[1, 2, 3, 4], PROVIDER);
        assert_eq!(member.completed, None);
        member.fetched_chunks(&[5], 'q');
        let haves: Vec<_> = (1..=5).map(|i| AddHave(i..=i)).collect();
        assert_eq!(member.take_group_actions(), haves);
        member.assert_complete();
        let stats = member.replica.stats();
        assert_eq!((stats.bytes_from_provider, stats.bytes_from_peers), (40, 5));
    }
}

#[test]
fn what_is_held_is_provided_at_once() {
    let mut member = Member::with_descriptor(by_descriptor(), object_form());
    assert_eq!(member.answer(0), Some(object_form()));
    assert_eq!(member.answer(3), None);
    member.fetched_chunks(&[3], PROVIDER);
    assert_eq!(member.take_group_actions(), [AddHave(3..=3)]);
    assert_eq!(member.answer(3), Some(bytes(&chunk(3))));
}

#[test]
fn a_request_before_the_descriptor_is_denied() {
    let mut member = Member::receiver(by_descriptor());
    member.take_group_actions();
    assert_eq!(member.answer(0), None);
    assert_eq!(member.answer(1), None);
}

#[test]
fn an_empty_file_is_complete_with_its_descriptor() {
    let empty = Descriptor {
        sha256: Some(Digest256::of(b"")),
        ..Descriptor::of_layout(Layout::of_size(0, CHUNK).unwrap())
    };
    for form in [DescriptorForm::Object, DescriptorForm::Number] {
        let mut member = Member::receiver(Integrity::None);
        member.take_group_actions();
        member.fetched(0, empty.to_value(form), PROVIDER);
        assert_eq!(member.take_group_actions(), [AddHave(0..=0)]);
        assert_eq!(member.completed, Some(Digest256::of(b"")));
    }
    assert_eq!(
        Member::new(
            Replica::provider(empty, DescriptorForm::Object),
            Box::new(MemoryStore::new(Layout::empty()))
        )
        .take_group_actions(),
        [AddHave(0..=0)]
    );
}

#[test]
fn a_chunk_length_nobody_stated_is_learned_even_if_the_last_chunk_comes_first() {
    let mut member = Member::with_descriptor(Integrity::None, Value::Number(6.0));
    member.fetched_chunks(&[5], 'q');
    assert_eq!(member.take_group_actions(), [], "its place is not known, so it cannot be provided");
    member.fetched_chunks(&[5], 'q');
    assert_eq!(member.replica.stats().duplicates, 1);
    member.fetched_chunks(&[2], 'q');
    assert_eq!(member.take_group_actions(), [AddHave(2..=2), AddHave(5..=5)]);
    member.fetched_chunks(&[4, 3, 1], 'q');
    member.assert_complete();
}

#[test]
fn a_wrong_chunk_is_refused_wanted_again_and_its_sender_dropped_in_the_end() {
    let mut member = Member::with_descriptor(by_descriptor(), object_form());
    for _ in 0..2 {
        member.fetched(2, bytes(b"0123456789"), 'x');
        assert_eq!(member.take_group_actions(), [AddWant(2..=2)]);
    }
    member.fetched(3, Value::from("no bytes"), 'x');
    assert_eq!(member.take_group_actions(), [Distrust('x'), AddWant(3..=3)]);
    member.fetched(3, bytes(&chunk(4)), 'x');
    assert_eq!(member.take_group_actions(), [AddWant(3..=3)], "dropped once");
    assert_eq!(member.events[0], "2 from x: the chunk has the wrong hash");
    assert_eq!(member.replica.stats().refused, 4);
    assert!(member.replica.held().is_empty());
    // A chunk that matches its hash is accepted from any sender.
    member.fetched_chunks(&[1, 2, 3], 'x');
    member.fetched_chunks(&[4, 5], PROVIDER);
    member.assert_complete();
    let senders: Vec<_> =
        member.replica.senders().map(|(p, s)| (*p, s.bytes, s.bad_objects)).collect();
    assert_eq!(senders, [('p', 15, 0), ('x', 30, 4)]);
}

#[test]
fn a_forged_descriptor_is_refused() {
    let mut forged = descriptor();
    forged.chunk_hashes = Some(ChunkHashes::from_hashes([[0; 16]; 5]));
    let mut member = Member::receiver(by_descriptor());
    member.take_group_actions();
    for object in [forged.to_value(DescriptorForm::Object), number_form(), Value::Null] {
        member.fetched(0, object, 'x');
    }
    assert_eq!(
        member.take_group_actions(),
        [AddWant(0..=0), AddWant(0..=0), Distrust('x'), AddWant(0..=0)]
    );
    member.fetched(0, object_form(), 'y');
    assert_eq!(member.replica.stage(), Stage::Chunks);
    assert_eq!(member.replica.descriptor().unwrap().file_name(), "film.mp4");
}

#[test]
fn extra_members_of_a_verified_descriptor_are_not_passed_on() {
    let mut members = object_form().members().to_vec();
    members.push(("spam".into(), "x".into()));
    let mut member = Member::with_descriptor(by_descriptor(), Value::object(members.clone()));
    assert_eq!(member.answer(0), Some(object_form()));
    // A Flash application's descriptor cannot be verified, so it is served as it arrived.
    let mut member = Member::with_descriptor(Integrity::None, Value::object(members.clone()));
    assert_eq!(member.answer(0), Some(Value::object(members)));
}

#[test]
fn hashes_that_the_link_does_not_vouch_for_are_ignored() {
    let mut forged = descriptor();
    forged.chunk_hashes = Some(ChunkHashes::from_hashes([[0; 16]; 5]));
    forged.name = Some("other".into());
    let mut member = Member::with_descriptor(by_file(), forged.to_value(DescriptorForm::Object));
    assert_eq!(member.answer(0), Some(number_form()));
    assert_eq!(member.replica.descriptor().unwrap().name, None);
    member.fetched_chunks(&[1, 2, 3, 4, 5], 'q');
    member.assert_complete();

    let mut member = Member::receiver(by_file());
    member.fetched(0, Value::Number(7.0), 'x');
    assert_eq!(member.replica.stage(), Stage::Descriptor);
    assert_eq!(member.replica.stats().refused, 1);
}

#[test]
fn a_wrong_file_without_chunk_hashes_is_fetched_anew() {
    let mut member = Member::with_descriptor(by_file(), number_form());
    member.fetched(2, bytes(b"0123456789"), 'x');
    member.fetched_chunks(&[1, 3, 4, 5], 'x');
    assert_eq!(member.events, ["file rejected"]);
    let actions = member.take_group_actions();
    assert_eq!(actions[5..], [RemoveHave(1..=5), Distrust('x'), AddWant(1..=5)]);
    assert!(member.replica.held().is_empty());
    // Objects of the single sender of all chunks are ignored.
    member.fetched_chunks(&[1], 'x');
    assert_eq!(member.take_group_actions(), [AddWant(1..=1)]);
    member.fetched_chunks(&[2, 1, 3, 5, 4], 'y');
    member.assert_complete();
}

#[test]
fn a_file_that_remains_wrong_is_given_up() {
    let mut member = Member::with_descriptor(by_file(), number_form());
    for attempt in 1..=MAX_ATTEMPTS {
        assert!(member.failed.is_none(), "attempt {attempt}");
        member.fetched(2, bytes(b"0123456789"), 'x');
        member.fetched_chunks(&[1, 3, 4, 5], 'y');
    }
    assert!(matches!(member.failed.as_deref(), Some(ReplicaError::WrongFile { .. })));
    assert_eq!(member.take_group_actions().last(), Some(&RemoveWant(0..=5)));
    assert_eq!(member.completed, None);
    assert_eq!(member.answer(1), None);
}

#[test]
fn chunks_that_the_link_vouches_for_are_not_read_again_to_verify_the_file() {
    let last_first = [5, 4, 3, 2, 1];
    let mut member = Member::with_descriptor(by_descriptor(), object_form());
    member.fetched(3, bytes(b"wrong"), 'x');
    assert_eq!(member.events.len(), 1, "a wrong chunk is found");
    member.fetched_chunks(&last_first, PROVIDER);
    member.assert_complete();
    assert_eq!(member.verified, 0);

    for (integrity, object) in [(by_file(), number_form()), (Integrity::None, object_form())] {
        let mut member = Member::with_descriptor(integrity, object);
        member.fetched_chunks(&last_first, PROVIDER);
        member.assert_complete();
        assert_eq!(member.verified, 4, "the first was hashed as it came");
    }
}

#[test]
fn a_descriptor_that_contradicts_itself_is_the_providers_fault() {
    let mut wrong = descriptor();
    wrong.sha256 = Some(Digest256::of(b"another file"));
    let object = wrong.to_value(DescriptorForm::Object);
    let mut member = Member::with_descriptor(Integrity::None, object.clone());
    member.fetched_chunks(&[1, 2, 3, 4, 5], PROVIDER);
    assert!(matches!(member.failed.as_deref(), Some(ReplicaError::WrongFile { .. })));
    // Each chunk is what the provider's link vouches for, and so is the hash that is shown.
    let mut member = Member::with_descriptor(Integrity::Descriptor(wrong.digest()), object);
    member.fetched_chunks(&[1, 2, 3, 4, 5], PROVIDER);
    assert_eq!(member.file(), content());
    assert_eq!(member.completed, wrong.sha256);

    let mut wrong = descriptor();
    wrong.layout = Layout::of_size(44, CHUNK).unwrap();
    let integrity = Integrity::Descriptor(wrong.digest());
    let mut member = Member::with_descriptor(integrity, wrong.to_value(DescriptorForm::Object));
    member.fetched_chunks(&[1, 2, 3, 4, 5], PROVIDER);
    assert!(matches!(member.failed.as_deref(), Some(ReplicaError::Contradiction(_))));
    assert_eq!(member.answer(1), Some(bytes(&chunk(1))), "what is held is good");
}

#[test]
fn wrong_lengths_are_refused_where_the_length_is_stated() {
    let mut member = Member::with_descriptor(by_file(), number_form());
    for (index, length) in [(1, 9), (1, 11), (5, 6), (5, 0)] {
        member.fetched(index, bytes(&vec![0; length]), 'x');
    }
    assert_eq!(member.replica.stats().refused, 4);
    assert!(member.take_group_actions().contains(&Distrust('x')));
}

#[test]
fn differing_lengths_blame_no_sender_and_end_the_fetch() {
    let mut member = Member::with_descriptor(Integrity::None, Value::Number(6.0));
    member.fetched(1, bytes(b"a liar's"), 'x');
    for _ in 0..MAX_DIFFERING_LENGTHS {
        member.fetched_chunks(&[2], 'y');
        assert!(member.failed.is_none());
    }
    assert!(!member.take_group_actions().contains(&Distrust('y')));
    member.fetched_chunks(&[2], 'y');
    assert!(matches!(member.failed.as_deref(), Some(ReplicaError::DifferingLengths)));
}

#[test]
fn objects_out_of_place_do_nothing() {
    let mut member = Member::receiver(by_descriptor());
    member.fetched(1, bytes(&chunk(1)), 'x');
    member.fetched(u64::MAX, bytes(b""), 'x');
    member.fetched(0, object_form(), 'x');
    member.take_group_actions();
    member.fetched(0, object_form(), 'x');
    member.fetched(6, bytes(b"x"), 'x');
    member.fetched_chunks(&[1, 1], 'x');
    member.replica.fetch_failed(2);
    assert_eq!(member.take_group_actions(), [AddHave(1..=1)]);
    let stats = member.replica.stats();
    assert_eq!((stats.unexpected, stats.duplicates, stats.fetch_failures), (3, 2, 1));
    assert_eq!(stats.bytes_from_peers, 10);
}

#[test]
fn a_resumed_download_wants_what_is_missing() {
    let mut replica: Replica<char, u32> = Replica::receiver(by_descriptor(), None);
    replica.object_fetched(0, object_form(), PROVIDER);
    let mut store = MemoryStore::new(descriptor().layout);
    for index in [1, 2, 4] {
        store.write_chunk(index, &chunk(index)).unwrap();
    }
    replica.store_opened(store.held(), store.layout());
    assert_eq!(replica.stats().chunks_resumed, 3);
    let mut member = Member::new(replica, Box::new(store.clone()));
    // The event made the harness open an empty store: put the resumed one back.
    member.store = Box::new(store);
    assert_eq!(
        member.take_group_actions(),
        [
            AddWant(0..=0),
            AddHave(0..=0),
            AddHave(1..=2),
            AddHave(4..=4),
            AddWant(3..=3),
            AddWant(5..=5)
        ]
    );
    assert_eq!(member.answer(4), Some(bytes(&chunk(4))));
}

/// A store with something wrong.
struct Faulty {
    store: MemoryStore,
    damaged: Option<u64>,
    is_full: bool,
}

impl ChunkStore for Faulty {
    fn layout(&self) -> &Layout {
        self.store.layout()
    }

    fn held(&self) -> &IndexSet {
        self.store.held()
    }

    fn read_chunk(&mut self, index: u64) -> Result<Bytes, StoreError> {
        if self.damaged.take_if(|damaged| *damaged == index).is_some() {
            return Err(StoreError::Damaged { path: "film.mp4.part".into(), index });
        }
        self.store.read_chunk(index)
    }

    fn write_chunk(&mut self, index: u64, data: &[u8]) -> Result<(), StoreError> {
        if self.is_full {
            return Err(StoreError::DiskFull { path: "film.mp4.part".into() });
        }
        self.store.write_chunk(index, data)
    }

    fn forget_all(&mut self) -> Result<(), StoreError> {
        self.store.forget_all()
    }

    fn finish(&mut self) -> Result<Finished, StoreError> {
        self.store.finish()
    }
}

fn faulty(damaged: Option<u64>, is_full: bool) -> Member {
    let mut member = Member::with_descriptor(by_descriptor(), object_form());
    member.store =
        Box::new(Faulty { store: MemoryStore::new(descriptor().layout), damaged, is_full });
    member
}

#[test]
fn a_full_disk_ends_the_fetch_with_its_error() {
    let mut member = faulty(None, true);
    member.fetched_chunks(&[1], PROVIDER);
    assert!(matches!(
        member.failed.as_deref(),
        Some(ReplicaError::Store(StoreError::DiskFull { .. }))
    ));
    assert_eq!(member.take_group_actions(), [RemoveWant(0..=5)]);
    member.fetched_chunks(&[2], PROVIDER);
    assert_eq!(member.take_group_actions(), []);
}

#[test]
fn a_chunk_damaged_on_disk_is_fetched_again() {
    let mut member = faulty(Some(1), false);
    member.fetched_chunks(&[1, 2, 3], PROVIDER);
    member.take_group_actions();
    member.replica.object_requested(1, 9);
    member.work();
    assert_eq!(
        member.take_group_actions(),
        [GroupCall::Deny { request: 9 }, RemoveHave(1..=1), AddWant(1..=1)]
    );
    member.fetched_chunks(&[4, 5], PROVIDER);
    assert_eq!(member.completed, None);
    member.fetched_chunks(&[1], PROVIDER);
    member.assert_complete();
}

#[test]
fn a_shared_file_that_changes_is_withdrawn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film.mp4");
    std::fs::write(&path, content()).unwrap();
    let source = SourceFile::scan(&path, CHUNK, |_| {}).unwrap();
    let replica = Replica::provider(source.descriptor(), DescriptorForm::Object);
    let mut member = Member::new(replica, Box::new(source));
    assert_eq!(member.answer(2), Some(bytes(&chunk(2))));
    std::fs::write(&path, vec![9; 45]).unwrap();
    member.take_group_actions();
    member.replica.object_requested(2, 9);
    member.work();
    let actions = member.take_group_actions();
    assert_eq!(actions[..2], [GroupCall::Deny { request: 9 }, RemoveHave(0..=5)]);
    assert!(matches!(
        member.failed.as_deref(),
        Some(ReplicaError::Store(StoreError::FileChanged { .. }))
    ));
    assert_eq!(member.replica.stage(), Stage::Withdrawn);
    assert_eq!(member.answer(0), None);
    assert_eq!(member.answer(3), None);
}

#[test]
fn a_store_that_does_not_open_ends_the_fetch() {
    let mut replica: Replica<char, u32> = Replica::receiver(by_descriptor(), None);
    replica.object_fetched(0, object_form(), PROVIDER);
    replica.store_unavailable(StoreError::DestinationExists { path: "film.mp4".into() });
    assert_eq!(replica.stage(), Stage::Failed);
    replica.store_opened(&IndexSet::new(), &Layout::empty());
    assert_eq!(replica.stage(), Stage::Failed);
}

#[test]
fn a_file_travels_through_a_relay() {
    let mut provider = Member::provider(DescriptorForm::Object);
    let mut relay = Member::receiver(by_descriptor());
    let mut last = Member::receiver(by_descriptor());
    for index in [0, 5, 3, 1, 2, 4] {
        relay.fetched(index, provider.answer(index).unwrap(), PROVIDER);
        last.fetched(index, relay.answer(index).unwrap(), 'r');
    }
    relay.assert_complete();
    last.assert_complete();
    assert_eq!(last.replica.stats().bytes_from_peers, 45);
    assert_eq!(last.replica.stats().bytes_from_provider, 0);
}

/// A whole transfer, interrupted in the middle and resumed from the disk.
#[test]
fn an_interrupted_download_is_finished_by_a_second_run() {
    for (integrity, object) in [(by_descriptor(), object_form()), (by_file(), number_form())] {
        let dir = tempfile::tempdir().unwrap();
        let destination =
            || FileDestination::new(dir.path().join("film.mp4"), Digest256::of(b"this one"));
        let run = |indices: &[u64]| {
            let mut replica: Replica<char, u32> = Replica::receiver(integrity, None);
            replica.object_fetched(0, object.clone(), PROVIDER);
            let descriptor = Arc::clone(replica.descriptor().unwrap());
            let store = PartialFile::open(destination(), &descriptor, |_| {}).unwrap();
            replica.store_opened(store.held(), store.layout());
            let (group, events) = (Vec::new(), Vec::new());
            let store = Box::new(store);
            let mut member = Member {
                replica,
                store,
                group,
                events,
                completed: None,
                verified: 0,
                failed: None,
            };
            // The event of the descriptor was handled above.
            member
                .replica
                .actions
                .retain(|action| !matches!(action, Action::Event(FileEvent::DescriptorKnown(_))));
            member.work();
            member.fetched_chunks(indices, PROVIDER);
            member
        };
        let first = run(&[5, 2, 1]);
        assert_eq!(first.completed, None);
        drop(first);
        let mut second = run(&[]);
        assert_eq!(second.replica.stats().chunks_resumed, 3);
        assert_eq!(second.take_group_actions().last(), Some(&AddWant(3..=4)));
        second.fetched_chunks(&[4, 3], PROVIDER);
        second.assert_complete();
        assert_eq!(std::fs::read(dir.path().join("film.mp4")).unwrap(), content());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

proptest! {
    /// Any order with junk in between: with hashes, the result is exactly the file.
    #[test]
    fn no_junk_gets_into_the_file(
        order in Just((1..=5u64).collect::<Vec<_>>()).prop_shuffle(),
        junk in proptest::collection::vec((0..8u64, proptest::collection::vec(any::<u8>(), 0..12)), 0..30),
    ) {
        let mut member = Member::with_descriptor(by_descriptor(), object_form());
        let mut junk = junk.into_iter();
        for index in order {
            for (index, data) in junk.by_ref().take(6) {
                member.fetched(index, bytes(&data), 'x');
            }
            member.fetched_chunks(&[index], 'q');
        }
        member.assert_complete();
    }

    /// Without hashes, a wrong file is never reported as complete.
    #[test]
    fn without_chunk_hashes_a_wrong_file_is_never_complete(
        pieces in proptest::collection::vec((1..=5u64, any::<bool>(), any::<bool>()), 0..60),
    ) {
        let mut member = Member::with_descriptor(by_file(), number_form());
        for (index, genuine, one) in pieces {
            let mut data = chunk(index).to_vec();
            data[0] ^= u8::from(!genuine);
            member.fetched(index, bytes(&data), if one { 'x' } else { 'y' });
        }
        match member.completed {
            Some(_) => member.assert_complete(),
            None => prop_assert!(member.replica.stage() != Stage::Complete),
        }
    }
}

#[test]
fn a_slow_store_stops_the_fetching_until_half_is_stored() {
    let mut member = Member::with_descriptor(by_descriptor(), object_form());
    // Space for two chunks of ten bytes; the third is too much.
    member.replica.storing = Backlog::new(25);
    for index in [1, 2, 4] {
        member.replica.object_fetched(index, bytes(&chunk(index)), PROVIDER);
    }
    let mut writes = VecDeque::new();
    let mut removed = Vec::new();
    while let Some(action) = member.replica.poll_action() {
        match action {
            Action::Store(action) => writes.push_back(action),
            Action::Group(action) => removed.push(action),
            Action::Event(_) => {}
        }
    }
    assert_eq!(removed, [GroupCall::RemoveWant(1..=5)]);

    // One stored: still more than half of the space is taken.
    let mut store_one = |member: &mut Member| {
        let reply = writes.pop_front().unwrap().perform(member.store.as_mut());
        member.replica.store_replied(reply);
        member.work();
        member.take_group_actions()
    };
    assert_eq!(store_one(&mut member), [GroupCall::AddHave(1..=1)]);
    // Two stored: what is missing is wanted again, except for chunk 4, which is on its way.
    assert_eq!(
        store_one(&mut member),
        [GroupCall::AddHave(2..=2), GroupCall::AddWant(3..=3), GroupCall::AddWant(5..=5)]
    );
    store_one(&mut member);
    member.fetched_chunks(&[3, 5], PROVIDER);
    assert_eq!(member.completed, Some(Digest256::of(&content())));
}
