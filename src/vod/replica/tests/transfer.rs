//! What travels, and in which order.

use super::*;
use proptest::prelude::*;

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
