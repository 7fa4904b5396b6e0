//! Pages of hashes made of what came from a web server.

use super::pages::{CHUNKS, PAGES, data, page, receiver};
use super::*;

fn from_origin(member: &mut Member, chunks: std::ops::RangeInclusive<u64>) {
    for index in chunks {
        member.replica.origin_chunk(index, data(index)).unwrap();
        member.work();
    }
}

#[test]
fn a_page_follows_from_its_chunks() {
    let mut member = receiver();
    member.take_group_actions();
    assert_eq!(member.replica.first_missing(1), Some(1));
    from_origin(&mut member, 1..=1023);
    assert_eq!(member.replica.first_missing(1), Some(1024));
    assert!(member.replica.held().is_empty() && member.take_group_actions().is_empty());
    from_origin(&mut member, 1024..=1024);
    let expected = [AddHave(PAGES[0]..=PAGES[0]), AddHave(1..=1024)];
    assert_eq!(member.take_group_actions(), expected);
    assert_eq!(member.answer(PAGES[0]), Some(page(PAGES[0])));
    from_origin(&mut member, 1025..=CHUNKS);
    assert_eq!(member.completed, Some(Digest256::of(b"stated")), "{:?}", member.failed);
    assert_eq!(member.replica.stats().chunks_resumed, 0);
}

#[test]
fn a_wrong_chunk_spoils_its_page_only() {
    let mut member = receiver();
    from_origin(&mut member, 1..=1024);
    from_origin(&mut member, 1026..=2048);
    member.replica.origin_chunk(1025, data(1)).unwrap();
    member.work();
    assert_eq!(member.replica.take_origin_fault(), Some(crate::vod::OriginError::WrongHash));
    assert_eq!(member.replica.held().len(), 1024);
    member.take_group_actions();
    // The page of a peer tells which it was.
    member.fetched(PAGES[1], page(PAGES[1]), 'a');
    assert_eq!(member.replica.held().len(), 2047);
    assert_eq!(member.take_group_actions().last(), Some(&AddWant(1025..=1025)));
}

#[test]
fn a_page_that_comes_meanwhile_verifies_what_is_there() {
    let mut member = receiver();
    from_origin(&mut member, 1..=10);
    member.fetched(PAGES[0], page(PAGES[0]), 'a');
    assert_eq!(member.replica.held().len(), 10);
    assert_eq!(member.take_group_actions().last(), Some(&AddWant(11..=1024)));
    let wrong = member.replica.origin_chunk(11, data(12));
    assert_eq!(wrong, Err(crate::vod::OriginError::WrongHash));
}

#[test]
fn what_was_held_before_counts() {
    let mut member = receiver();
    member.fetched(PAGES[1], page(PAGES[1]), 'a');
    for index in 1025..=2048 {
        member.fetched(index, bytes(&data(index)), 'a');
    }
    from_origin(&mut member, 1..=1024);
    from_origin(&mut member, 2049..=CHUNKS);
    assert_eq!(member.completed, Some(Digest256::of(b"stated")), "{:?}", member.failed);
}
