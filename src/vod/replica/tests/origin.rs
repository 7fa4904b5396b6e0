//! What comes from a web server, and what members send compared with it.

use super::*;
use GroupCall::{Deny, WriteRequested};

/// Without hashes, as the descriptor of a URL is.
fn weak() -> Descriptor {
    Descriptor::of_layout(Layout::of_size(45, CHUNK).unwrap())
}

fn provider(offers_all: bool) -> Member {
    let store = Box::new(MemoryStore::new(Layout::empty()));
    Member::new(Replica::of_origin(weak(), DescriptorForm::Object, offers_all), store)
}

/// Compares the samples that are due with the right content.
fn compare(member: &mut Member) -> usize {
    let mut count = 0;
    while let Some((offset, sample)) = member.replica.next_sample() {
        let from = offset as usize;
        let found = content()[from..from + sample.piece.len()].to_vec();
        member.replica.sample_read(sample, Some(&found));
        member.work();
        count += 1;
    }
    count
}

#[test]
fn a_provider_of_a_url_offers_everything_and_answers_when_it_has_come() {
    let mut member = provider(true);
    assert_eq!(member.take_group_actions(), [AddHave(0..=5)]);
    for (index, request) in [(3, 1), (3, 2), (4, 3)] {
        member.replica.object_requested(index, request);
    }
    assert_eq!(member.replica.asked(), [3, 4]);
    member.replica.object_requested(6, 4);
    member.replica.origin_chunk(3, chunk(3)).unwrap();
    member.work();
    let answer = |request| WriteRequested { request, object: bytes(&chunk(3)) };
    let expected = [Deny { request: 4 }, answer(1), answer(2), AddHave(3..=3)];
    assert_eq!(member.take_group_actions(), expected);
    // While the web server is gone, only what is there is offered.
    member.replica.origin_lost();
    member.work();
    let expected = [Deny { request: 3 }, RemoveHave(1..=2), RemoveHave(4..=5)];
    assert_eq!(member.take_group_actions(), expected);
    member.replica.origin_found();
    member.work();
    assert_eq!(member.take_group_actions(), [AddHave(1..=2), AddHave(4..=5)]);
    for index in [1, 2, 4, 5] {
        member.replica.origin_chunk(index, chunk(index)).unwrap();
        member.work();
    }
    assert_eq!(member.replica.stage(), Stage::Complete);
    assert!(member.completed.is_none() && member.failed.is_none());
}

#[test]
fn without_ranges_only_what_is_there_is_offered() {
    let mut member = provider(false);
    assert_eq!(member.take_group_actions(), [AddHave(0..=0)]);
    member.replica.object_requested(1, 7);
    member.work();
    assert_eq!(member.take_group_actions(), [Deny { request: 7 }]);
}

#[test]
fn a_changed_origin_ends_a_provider_and_not_a_receiver() {
    let error = Arc::new(crate::vod::OriginError::RangeIgnored);
    let mut member = provider(true);
    member.replica.origin_chunk(1, chunk(1)).unwrap();
    member.work();
    member.replica.origin_changed(Arc::clone(&error));
    member.work();
    assert_eq!(member.replica.stage(), Stage::Withdrawn);
    assert!(matches!(*member.failed.unwrap(), ReplicaError::Origin(_)));

    let link = Integrity::Descriptor(weak().digest());
    let mut member = Member::with_descriptor(link, weak().to_value(DescriptorForm::Object));
    member.replica.origin_changed(error);
    member.fetched_chunks(&[1, 2, 3, 4, 5], PROVIDER);
    member.assert_complete();
}

#[test]
fn a_sender_whose_sample_differs_is_dropped_with_everything_it_sent() {
    let link = Integrity::Descriptor(weak().digest());
    let mut member = Member::with_descriptor(link, weak().to_value(DescriptorForm::Object));
    member.replica.compare_with_origin(7);
    member.fetched_chunks(&[1, 2], 'a');
    for index in [3, 4] {
        member.fetched(index, bytes(b"falsified!"), 'x');
    }
    member.take_group_actions();
    assert_eq!(compare(&mut member), 2, "the first of each sender");
    let expected = [RemoveHave(3..=4), Distrust('x'), AddWant(3..=5)];
    assert_eq!(member.take_group_actions(), expected);
    assert_eq!(member.events, ["3 from x: the chunk is not what the web server has there"]);
    // What it still sends is refused.
    member.fetched(3, bytes(b"falsified!"), 'x');
    assert_eq!(member.take_group_actions(), [AddWant(3..=3)]);
    member.replica.origin_chunk(3, chunk(3)).unwrap();
    member.work();
    member.fetched_chunks(&[4, 5], 'b');
    assert_eq!(member.completed, None, "a sample is due");
    compare(&mut member);
    member.assert_complete();
}

#[test]
fn with_hashes_nothing_is_compared_and_a_wrong_chunk_of_the_server_is_noticed() {
    let mut member = Member::with_descriptor(by_descriptor(), object_form());
    member.replica.compare_with_origin(7);
    member.fetched_chunks(&[1, 2, 3, 4], 'a');
    assert!(member.replica.next_sample().is_none());
    let wrong = member.replica.origin_chunk(5, chunk(1).slice(..5));
    assert_eq!(wrong, Err(crate::vod::OriginError::WrongHash));
    member.replica.origin_chunk(5, chunk(5)).unwrap();
    member.work();
    member.assert_complete();
}

#[test]
fn the_descriptor_of_the_link_needs_no_peer() {
    let mut member = Member::receiver(Integrity::Descriptor(weak().digest()));
    member.replica.descriptor_derived(descriptor());
    assert_eq!(member.replica.stage(), Stage::Descriptor, "another one");
    member.replica.descriptor_derived(weak());
    member.work();
    assert_eq!(member.replica.stage(), Stage::Chunks);
}
