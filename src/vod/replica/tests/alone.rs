//! A file whose link has hashes that nobody sends: it is read from a web server alone.

use super::pages::{CHUNKS, PAGES, data, large, page, tree};
use super::*;

/// What follows from the web server.
fn assumed(descriptor: &Descriptor) -> Descriptor {
    Descriptor { sha256: None, chunk_hashes: None, page_hashes: None, ..descriptor.clone() }
}

fn alone(descriptor: &Descriptor) -> Member {
    let mut member = Member::receiver(Integrity::Descriptor(descriptor.digest()));
    member.take_group_actions();
    member.replica.descriptor_assumed(assumed(descriptor));
    member.work();
    assert_eq!(member.take_group_actions(), [RemoveWant(0..=0)]);
    assert_eq!(member.replica.stage(), Stage::Chunks);
    member
}

fn from_origin(member: &mut Member, index: u64, data: Bytes) {
    member.replica.origin_chunk(index, data).unwrap();
    member.work();
}

#[test]
fn the_whole_file_gives_the_descriptor_of_the_link() {
    let mut member = alone(&descriptor());
    for index in [2, 1, 5, 4] {
        from_origin(&mut member, index, chunk(index));
    }
    assert!(member.take_group_actions().is_empty(), "nothing is exchanged");
    assert_eq!(member.answer(0), None);
    member.fetched(0, object_form(), PROVIDER);
    assert_eq!(member.replica.stage(), Stage::Chunks);
    from_origin(&mut member, 3, chunk(3));
    member.assert_complete();
    assert_eq!(member.events, ["proven"]);
    assert_eq!(member.take_group_actions(), [AddHave(0..=5)]);
    assert_eq!(member.answer(0), Some(object_form()));
    assert_eq!(member.answer(3), Some(bytes(&chunk(3))));
    assert_eq!(member.replica.stats().bytes_from_origin, 45);
}

#[test]
fn a_large_file_gives_its_pages() {
    let content: Vec<u8> = (1..=CHUNKS).flat_map(|index| data(index).to_vec()).collect();
    let large = Descriptor { sha256: Some(Digest256::of(&content)), ..large() };
    let mut member = alone(&large);
    (1..=CHUNKS).for_each(|index| from_origin(&mut member, index, data(index)));
    assert_eq!(member.completed, large.sha256, "{:?}", member.failed);
    assert_eq!(member.take_group_actions(), [AddHave(0..=CHUNKS + 3)]);
    assert_eq!(member.answer(PAGES[1]), Some(page(PAGES[1])));
    assert_eq!(member.replica.descriptor().unwrap().page_hashes.as_ref(), Some(tree().root()));
}

#[test]
fn another_file_is_noticed_at_the_end_and_dropped() {
    let mut member = alone(&descriptor());
    (1..=4).for_each(|index| from_origin(&mut member, index, chunk(index)));
    from_origin(&mut member, 5, Bytes::from_static(b"wrong"));
    let error = member.failed.take().unwrap().to_string();
    assert!(error.contains("not the file of the link"), "{error}");
    assert!(member.replica.held().is_empty() && member.store.held().is_empty());
    assert_eq!((member.completed, member.answer(1)), (None, None));
}

#[test]
fn it_is_only_for_links_that_have_a_hash_of_a_descriptor() {
    for integrity in [Integrity::None, by_file()] {
        let mut member = Member::receiver(integrity);
        member.replica.descriptor_assumed(assumed(&descriptor()));
        assert_eq!(member.replica.stage(), Stage::Descriptor);
    }
    let mut member = Member::with_descriptor(by_descriptor(), object_form());
    member.replica.descriptor_assumed(assumed(&descriptor()));
    member.fetched_chunks(&[1, 2, 3, 4, 5], 'a');
    member.assert_complete();
}
