//! Members that flood, withhold and lie: memory stays bounded, and the posts of others arrive.

use crate::support::net::peer;
use crate::support::stand::Stand;
use bytes::Bytes;
use rtmfp::proto::group::FlowKind::{PostingKeys, PostingValues};
use rtmfp::proto::group::{GroupConfig, GroupSpecBuilder, MessageId, PostingLimits};
use rtmfp::proto::transport::Time;

fn stand(neighbors: usize, change: impl FnOnce(&mut PostingLimits)) -> Stand {
    let spec = GroupSpecBuilder::new("t").unwrap().posting(true).server_channel(true);
    let mut config = GroupConfig::new(spec.build().unwrap(), peer(0));
    change(&mut config.posting);
    Stand::new(config, neighbors)
}

fn value(number: u32) -> Bytes {
    [&[0][..], &f64::from(number).to_be_bytes()].concat().into()
}

fn keys(kind: u8, values: impl IntoIterator<Item = Bytes>) -> Bytes {
    let keys = values.into_iter().flat_map(|value| MessageId::of(&value).key().0);
    std::iter::once(kind).chain(keys).collect()
}

#[test]
fn a_flood_displaces_itself() {
    let mut stand = stand(3, |limits| limits.max_values = 100);
    let honest = Bytes::from_static(b"\x02\0\x06honest");
    stand.hear(0, PostingValues, honest.clone());
    let own = stand.post(Bytes::from_static(b"\x02\0\x03own"));
    (0..5_000).for_each(|number| stand.hear(1, PostingValues, value(number)));
    let stats = stand.group.stats().posting;
    assert_eq!((stats.held, stats.received), (100, 5_001));
    stand.run_to(Time::from_millis(2_000));
    let sent = stand.take(PostingValues);
    for to in [1, 2] {
        assert!(sent.contains(&(to, honest.clone())), "passed on in spite of the flood");
    }
    assert!(sent.iter().any(|(to, v)| *to == 0 && MessageId::of(v) == own));
    assert!(sent.len() <= 3 * 100);
    stand.hear(2, PostingKeys, keys(0x3a, [honest.clone()]));
    assert_eq!(stand.take(PostingValues), [(2, honest)], "and still held");
    // What had to go is recognized, so that it does not circulate.
    stand.hear(2, PostingValues, value(0));
    assert_eq!(stand.group.stats().posting.duplicates, 1);
}

#[test]
fn bytes_and_sizes_are_bounded() {
    let mut stand = stand(1, |limits| (limits.max_bytes, limits.max_value) = (10_000, 4_000));
    for number in 0..50_u8 {
        stand.hear(0, PostingValues, vec![number; 3_000]);
        assert!(stand.group.stats().posting.held_bytes <= 10_000);
    }
    stand.hear(0, PostingValues, vec![99; 4_001]);
    stand.hear(0, PostingValues, Bytes::new());
    let stats = stand.group.stats().posting;
    assert_eq!((stats.received, stats.too_large, stats.malformed), (50, 1, 1));
}

#[test]
fn remembered_values_are_bounded() {
    let mut stand = stand(1, |limits| limits.max_remembered = 1_000);
    (0..1_001).for_each(|number| stand.hear(0, PostingValues, value(number)));
    stand.hear(0, PostingValues, value(1));
    assert_eq!(stand.group.stats().posting.duplicates, 1);
    stand.hear(0, PostingValues, value(0));
    assert_eq!(stand.group.stats().posting.duplicates, 1, "the oldest is forgotten");
}

#[test]
fn announcements_without_values_are_bounded_and_end() {
    let mut stand = stand(2, |limits| limits.max_keys = 50);
    stand.hear(0, PostingKeys, keys(0x30, (0..500).map(value)));
    let stats = stand.group.stats().posting;
    assert_eq!((stats.wanted, stats.ignored_keys), (50, 450));
    stand.hear(1, PostingKeys, keys(0x30, [value(1_000)]));
    stand.run_to(Time::from_millis(350));
    let asked = stand.take(PostingKeys);
    assert!(
        asked.contains(&(1, keys(0x3a, [value(1_000)]))),
        "others are not kept from announcing"
    );
    stand.run_to(Time::from_millis(301_000));
    assert_eq!(stand.group.stats().posting.wanted, 0, "who had it has forgotten it");
    stand.hear(0, PostingKeys, keys(0x30, (0..10).map(value)));
    assert_eq!(stand.group.stats().posting.wanted, 10, "and may announce again");
}

/// It announces everything first and answers nothing: it is asked once in 20 s, then others are.
#[test]
fn who_withholds_values_is_asked_last() {
    let mut stand = stand(2, |_| {});
    let (mut late, posts) = (0, 40);
    for number in 0..posts {
        let start = u64::from(number) * 1_000;
        stand.run_to(Time::from_millis(start));
        (0..2).for_each(|from| stand.hear(from, PostingKeys, keys(0x30, [value(number)])));
        stand.run_to(Time::from_millis(start + 400));
        for (to, request) in stand.take(PostingKeys) {
            if to == 1 && request[0] == 0x3a {
                let wanted = (0..=number).map(value).find(|v| request == keys(0x3a, [v.clone()]));
                stand.hear(1, PostingValues, wanted.unwrap());
            }
        }
        late += u32::from(stand.received().len() as u32 != number + 1);
        stand.run_to(Time::from_millis(start + 999));
    }
    assert!(stand.received().len() as u32 >= posts - 1);
    assert!(late < 30, "{late}");
}

#[test]
fn requests_while_the_flow_is_full_wait() {
    let mut stand = stand(1, |limits| limits.max_owed = 10);
    (0..20).for_each(|number| _ = stand.post(value(number)));
    stand.run_to(Time::from_millis(1_000));
    assert_eq!(stand.take(PostingValues).len(), 20);
    stand.block(0, PostingValues, true);
    for _ in 0..3 {
        (0..20).for_each(|number| stand.hear(0, PostingKeys, keys(0x3a, [value(number)])));
    }
    stand.post(value(100));
    stand.run_to(Time::from_millis(5_000));
    assert!(stand.take(PostingValues).is_empty());
    stand.block(0, PostingValues, false);
    stand.run_to(Time::from_millis(6_000));
    let sent: Vec<_> = stand.take(PostingValues).into_iter().map(|(_, value)| value).collect();
    let expected: Vec<_> = (0..10).chain([100]).map(value).collect();
    assert_eq!(sent, expected);
    assert_eq!(stand.group.stats().posting.dropped_requests, 30);
}

/// A value that answers nothing is a value all the same, and the request goes on.
#[test]
fn a_wrong_answer_does_not_end_the_search() {
    let mut stand = stand(2, |_| {});
    (0..2).for_each(|from| stand.hear(from, PostingKeys, keys(0x30, [value(1)])));
    stand.run_to(Time::from_millis(400));
    stand.hear(0, PostingValues, value(2));
    stand.run_to(Time::from_millis(11_000));
    let requests = stand.take(PostingKeys);
    assert_eq!(requests, [(0, keys(0x3a, [value(1)])), (1, keys(0x3a, [value(1)]))]);
    stand.hear(1, PostingValues, value(1));
    assert_eq!(stand.received(), [value(2), value(1)]);
}
