//! What the store holds, and what it does when it fails.

use super::*;

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

    fn forget(&mut self, chunks: RangeInclusive<u64>) -> Result<(), StoreError> {
        self.store.forget(chunks)
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
