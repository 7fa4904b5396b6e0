//! Large files: the hashes are in pages, which are objects too.

use super::*;
use crate::vod::tree::{HashTree, TreeShape};

/// Three pages of hashes.
pub(super) const CHUNKS: u64 = 2500;
pub(super) const PAGES: [u64; 3] = [CHUNKS + 1, CHUNKS + 2, CHUNKS + 3];

pub(super) fn data(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_be_bytes())
}

pub(super) fn tree() -> HashTree {
    let hashes = (1..=CHUNKS).map(|index| chunk_hash(&data(index)));
    HashTree::over(&ChunkHashes::from_hashes(hashes)).unwrap()
}

pub(super) fn large() -> Descriptor {
    let layout = Layout::of_size(8 * CHUNKS, 8).unwrap();
    Descriptor {
        sha256: Some(Digest256::of(b"stated")),
        page_hashes: Some(tree().root().clone()),
        ..Descriptor::of_layout(layout)
    }
}

pub(super) fn page(index: u64) -> Value {
    Value::ByteArray(tree().page(index).unwrap().clone())
}

pub(super) fn receiver() -> Member {
    let integrity = Integrity::Descriptor(large().digest());
    let mut member = Member::receiver(integrity);
    member.fetched(0, large().to_value(DescriptorForm::Object), PROVIDER);
    assert_eq!(member.replica.stage(), Stage::Chunks);
    member
}

fn wanted(member: &mut Member) -> Vec<std::ops::RangeInclusive<u64>> {
    let actions = member.take_group_actions();
    actions
        .into_iter()
        .filter_map(|it| if let AddWant(range) = it { Some(range) } else { None })
        .collect()
}

#[test]
fn chunks_are_wanted_when_their_page_is_there() {
    let mut member = receiver();
    let pages = PAGES.map(|page| page..=page);
    assert_eq!(wanted(&mut member)[1..], pages, "after object 0");
    assert_eq!(member.replica.changed_playheads(), Some(vec![PAGES[0]]));
    member.fetched(PAGES[1], page(PAGES[1]), 'a');
    let actions = member.take_group_actions();
    assert_eq!(actions, [AddHave(PAGES[1]..=PAGES[1]), AddWant(1025..=2048)]);
    assert_eq!(member.answer(PAGES[1]), Some(page(PAGES[1])), "served on");
    assert_eq!(member.answer(PAGES[0]), None);
    // A chunk that nobody has asked for is not held against its sender.
    member.fetched(1, bytes(&data(1)), 'b');
    assert_eq!(member.replica.stats().unexpected, 1);
    assert!(member.events.is_empty());
    member.fetched(1025, bytes(&data(1025)), 'b');
    assert!(member.replica.held().contains(1025));
    member.fetched(PAGES[1], page(PAGES[1]), 'b');
    assert_eq!(member.replica.stats().duplicates, 1);
}

#[test]
fn a_whole_file_comes_by_pages_and_chunks() {
    let mut member = receiver();
    PAGES.into_iter().for_each(|index| member.fetched(index, page(index), 'a'));
    (1..=CHUNKS).for_each(|index| member.fetched(index, bytes(&data(index)), 'a'));
    assert_eq!(member.completed, Some(Digest256::of(b"stated")), "{:?}", member.failed);
    assert_eq!(member.verified, 0, "no second reading");
    assert_eq!(member.answer(PAGES[2]), Some(page(PAGES[2])));
}

#[test]
fn a_poisoned_page_is_refused_and_its_sender_dropped() {
    let mut member = receiver();
    member.take_group_actions();
    let poison = [page(PAGES[1]), bytes(b"x"), Value::Null];
    for (count, poison) in poison.into_iter().enumerate() {
        member.fetched(PAGES[0], poison, 'x');
        let mut expected = vec![AddWant(PAGES[0]..=PAGES[0])];
        if count + 1 == MAX_BAD_OBJECTS as usize {
            expected.insert(0, Distrust('x'));
        }
        assert_eq!(member.take_group_actions(), expected);
    }
    assert_eq!(member.events.len(), 3);
    member.fetched(PAGES[0], page(PAGES[0]), 'a');
    assert_eq!(wanted(&mut member), [1..=1024]);
    // Chunks are verified by it.
    member.fetched(7, bytes(&data(8)), 'x');
    assert!(member.events.last().unwrap().contains("7 from x: the chunk has the wrong hash"));
}

#[test]
fn the_page_of_a_playhead_comes_first() {
    let mut member = receiver();
    member.fetched(PAGES[0], page(PAGES[0]), 'a');
    assert_eq!(member.replica.changed_playheads(), Some(vec![PAGES[1]]));
    member.replica.set_playheads(vec![2400]);
    assert_eq!(member.replica.changed_playheads(), Some(vec![PAGES[2], PAGES[1]]));
    assert_eq!(member.replica.changed_playheads(), None);
    member.fetched(PAGES[2], page(PAGES[2]), 'a');
    assert_eq!(member.replica.changed_playheads(), Some(vec![PAGES[1], 2400]));
    member.fetched(PAGES[1], page(PAGES[1]), 'a');
    assert_eq!(member.replica.changed_playheads(), Some(vec![2400]));
}

#[test]
fn of_a_huge_file_few_pages_are_wanted_at_a_time() {
    let chunks = 1u64 << 30;
    let shape = TreeShape::of(chunks).unwrap();
    let root = ChunkHashes::from_bytes(vec![1; 16 * shape.root_hashes() as usize].into()).unwrap();
    let layout = Layout::of_size(chunks << 16, 1 << 16).unwrap();
    let huge = Descriptor { page_hashes: Some(root), ..Descriptor::of_layout(layout) };
    let mut member = Member::receiver(Integrity::Descriptor(huge.digest()));
    member.fetched(0, huge.to_value(DescriptorForm::Object), PROVIDER);
    let upper = shape.page_above(chunks + 1).unwrap();
    // The page that verifies the first ones, and nothing else.
    assert_eq!(wanted(&mut member), [0..=0, upper..=upper]);
    member.replica.set_playheads(vec![chunks]);
    member.work();
    assert_eq!(wanted(&mut member), [*shape.indices().end()..=*shape.indices().end()]);
}

#[test]
fn a_provider_serves_pages_from_its_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("film");
    let content: Vec<u8> = (1..=CHUNKS).flat_map(|index| data(index).to_vec()).collect();
    std::fs::write(&path, content).unwrap();
    let source = SourceFile::scan(&path, 8, |_| {}).unwrap();
    let descriptor = source.descriptor();
    assert_eq!((&descriptor.chunk_hashes, &descriptor.page_hashes), (&None, &large().page_hashes));
    let replica = Replica::provider(descriptor, DescriptorForm::Object);
    let mut member = Member::new(replica, Box::new(source));
    assert_eq!(member.take_group_actions(), [AddHave(0..=PAGES[2])]);
    assert_eq!(member.answer(PAGES[0]), Some(page(PAGES[0])));
    assert_eq!(member.answer(CHUNKS), Some(bytes(&data(CHUNKS))));
    assert_eq!(member.answer(PAGES[2] + 1), None);
}

#[test]
fn hashes_come_without_a_store() {
    let mut replica: Replica<char, u32> =
        Replica::receiver(Integrity::Descriptor(large().digest()), None);
    let actions = |replica: &mut Replica<char, u32>| {
        let mut actions = Vec::new();
        while let Some(action) = replica.poll_action() {
            match action {
                Action::Group(action) => actions.push(action),
                Action::Store(action) => panic!("{action:?}"),
                Action::Event(_) => {}
            }
        }
        actions
    };
    replica.want_hashes(1100);
    replica.object_fetched(0, large().to_value(DescriptorForm::Object), 'a');
    actions(&mut replica);
    // A file that is shorter needs fewer pages.
    replica.want_hashes(1100);
    assert_eq!(actions(&mut replica), [AddWant(PAGES[0]..=PAGES[0]), AddWant(PAGES[1]..=PAGES[1])]);
    replica.object_fetched(PAGES[1], page(PAGES[1]), 'a');
    replica.object_fetched(PAGES[0], page(PAGES[1]), 'b');
    assert!(replica.hashes_to(1100).is_none());
    replica.object_fetched(PAGES[0], page(PAGES[0]), 'a');
    let tree = replica.hashes_to(1100).unwrap();
    assert_eq!(tree.hash(1100), Some(chunk_hash(&data(1100))));
    assert!(tree.hash(CHUNKS).is_none() && replica.hashes_to(CHUNKS).is_none());
    assert_eq!(replica.stats().refused, 1);
    replica.want_hashes(u64::MAX);
    assert!(replica.poll_action().is_some());
}
