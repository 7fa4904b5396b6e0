//! What members send is verified, and who sent what is wrong is blamed.

use super::*;

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
