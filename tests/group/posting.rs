//! Posted values reach every member once, by the rules of the observed player.

use crate::support::net::{Net, peer, server};
use crate::support::stand::Stand;
use crate::support::{for_seeds, millis, secs};
use bytes::Bytes;
use rtmfp::amf::{Object, Value};
use rtmfp::proto::group::FlowKind::{PostingKeys, PostingValues};
use rtmfp::proto::group::{
    GroupConfig, GroupError, GroupEvent, GroupSpec, GroupSpecBuilder, MessageId, PostingLimits,
};
use rtmfp::proto::transport::Time;
use std::collections::BTreeMap;

fn spec() -> GroupSpec {
    let builder = GroupSpecBuilder::new("t").unwrap();
    builder.posting(true).server_channel(true).build().unwrap()
}

fn config() -> GroupConfig {
    GroupConfig::new(spec(), peer(0))
}

/// The time in milliseconds.
fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn string(text: &str) -> Bytes {
    rtmfp::amf::to_bytes(&text.into()).unwrap()
}

fn request(value: &Bytes) -> Bytes {
    [&[0x3a][..], &MessageId::of(value).key().0].concat().into()
}

fn announcement<'a>(values: impl IntoIterator<Item = &'a Bytes>) -> Bytes {
    let keys = values.into_iter().flat_map(|value| MessageId::of(value).key().0);
    std::iter::once(0x30).chain(keys).collect()
}

/// Members that each know some who joined before; by default those are all.
fn net(members: usize, knows: impl Fn(usize, usize) -> bool) -> Net {
    let mut net = Net::new(0);
    for member in 0..members {
        let mut config = GroupConfig::new(spec(), peer(member));
        config.server = Some(server());
        net.add_configured(config);
        (0..member).filter(|other| knows(member, *other)).for_each(|o| net.introduce(member, o));
    }
    net.run_for(millis(500));
    net
}

fn post(net: &mut Net, member: usize, value: &Bytes) -> MessageId {
    let value = value.clone().into();
    net.with(member, |group, now| group.posting_mut(now).post(value)).unwrap()
}

/// How often a member has received each value.
fn received(net: &Net, member: usize) -> BTreeMap<Bytes, usize> {
    let mut counts = BTreeMap::new();
    for event in &net.nodes[member].events {
        if let GroupEvent::PostingNotify { message, message_id } = event {
            assert_eq!(*message_id, MessageId::of(message.as_bytes()));
            *counts.entry(message.as_bytes().clone()).or_insert(0) += 1;
        }
    }
    counts
}

fn values() -> Vec<Bytes> {
    let object = Object::new().with("user", "a member").with("text", "hello");
    let values = [
        Value::Null,
        Value::Boolean(true),
        Value::Number(1.5),
        "short".into(),
        "a string of more than sixteen bytes".into(),
        Value::String("s".repeat(70_000).into()),
        Value::from(object),
        Value::ByteArray(vec![7; 20_000].into()),
    ];
    values.iter().map(|value| rtmfp::amf::to_bytes(value).unwrap()).collect()
}

#[test]
fn every_type_reaches_every_member_once() {
    for members in [2, 3, 13, 60] {
        let mut net = net(members, |a, b| members <= 13 || a - b <= 3 || a % 7 == b % 7);
        let values = values();
        for (number, value) in values.iter().enumerate() {
            post(&mut net, number % members, value);
        }
        net.run_for(secs(12));
        for member in 0..members {
            let received = received(&net, member);
            for (number, value) in values.iter().enumerate() {
                let expected = (number % members != member).then_some(1);
                assert_eq!(received.get(value).copied(), expected, "{number} at {member}");
            }
        }
    }
}

#[test]
fn values_are_relayed_to_members_that_are_not_neighbors() {
    let mut net = net(5, |a, b| a - b == 1);
    assert_eq!(net.neighbors(0), [1].into());
    let (small, large) = (string("small"), string("larger than sixteen"));
    post(&mut net, 0, &small);
    post(&mut net, 4, &large);
    net.run_for(secs(4));
    assert_eq!(received(&net, 4), [(small, 1)].into());
    assert_eq!(received(&net, 0), [(large, 1)].into());
    assert_eq!(net.sent(1, 0, PostingValues).len(), 1, "the small one does not return");
}

/// Members come and go while values are posted, at random times and with random delays. Whoever
/// stays gets everything that is posted by those who stay, once.
#[test]
fn churn_and_delay() {
    for_seeds(200, |seed| {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let members = 4 + random(5) as usize;
        let mut net = net(members, |a, b| a - b == 1 || (a * b + seed as usize).is_multiple_of(3));
        net.latency = millis(1 + random(400));
        let mut posted = BTreeMap::new();
        for number in 0..8 {
            let from = random(members as u64) as usize;
            let value = string(&format!("{number}{}", "x".repeat(random(30) as usize)));
            post(&mut net, from, &value);
            posted.insert(value, from);
            net.run_for(millis(random(500)));
            if number == 3 {
                let guest = net.add(spec());
                (0..members).for_each(|member| net.introduce(guest, member));
                net.run_for(millis(random(1_000)));
                for member in net.neighbors(guest) {
                    net.close_session(guest, member);
                }
                net.nodes[guest].unreachable = true;
            }
        }
        net.run_for(secs(30));
        for member in 0..members {
            let received = received(&net, member);
            assert!(received.values().all(|count| *count == 1));
            let missing =
                posted.iter().filter(|(v, from)| **from != member && !received.contains_key(*v));
            assert_eq!(missing.count(), 0, "at {member}");
        }
    });
}

#[test]
fn values_of_up_to_sixteen_bytes_are_pushed() {
    let mut stand = Stand::new(config(), 1);
    let sixteen: Vec<_> = (0..3).map(|n| string(&format!("k{n}-0123456789"))).collect();
    assert!(sixteen.iter().all(|value| value.len() == 16));
    sixteen.iter().for_each(|value| _ = stand.post(value.clone()));
    stand.run_to(at(49));
    assert!(stand.take(PostingValues).is_empty());
    stand.run_to(at(150));
    let pushed: Vec<_> = sixteen.iter().map(|value| (0, value.clone())).collect();
    assert_eq!(stand.take(PostingValues), pushed);

    let mixed = [string("small"), string("of seventeen b"), string("small too")];
    assert_eq!(mixed[1].len(), 17);
    mixed.iter().for_each(|value| _ = stand.post(value.clone()));
    stand.run_to(at(500));
    assert_eq!(stand.take(PostingKeys), [(0, announcement(&mixed))]);
    assert!(stand.take(PostingValues).is_empty());
}

#[test]
fn one_neighbor_is_informed_at_a_time() {
    let mut stand = Stand::new(config(), 8);
    stand.run_to(at(1_000));
    stand.post(string("v"));
    stand.run_to(at(5_000));
    let sent: Vec<_> = stand.sent.iter().filter(|sent| sent.kind == PostingValues).collect();
    assert_eq!(sent.iter().map(|sent| sent.to).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7]);
    let times = std::iter::once(at(1_000)).chain(sent.iter().map(|sent| sent.at));
    let times: Vec<_> = times.collect();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1].since(pair[0]).as_millis()).collect();
    assert!(gaps.iter().all(|gap| (50..=150).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap != gaps[0]), "{gaps:?}");
}

#[test]
fn announced_values_are_requested_in_turn_until_one_arrives() {
    let mut stand = Stand::new(config(), 4);
    let value = string("larger than sixteen");
    for (neighbor, time) in [(0, 0), (1, 100), (2, 200)] {
        stand.run_to(at(time));
        stand.hear(neighbor, PostingKeys, announcement([&value]));
    }
    stand.run_to(at(349));
    assert!(stand.take(PostingKeys).is_empty());
    for (time, neighbor) in [(350, 0), (10_350, 1), (20_350, 2), (30_350, 0)] {
        stand.run_to(at(time - 1));
        assert!(stand.take(PostingKeys).is_empty());
        stand.run_to(at(time));
        assert_eq!(stand.take(PostingKeys), [(neighbor, request(&value))]);
    }
    stand.hear(1, PostingValues, value.clone());
    assert_eq!(stand.received(), std::slice::from_ref(&value));
    stand.run_to(at(60_000));
    assert_eq!(
        stand.take(PostingKeys),
        [(3, announcement([&value]))],
        "whoever announced it has it"
    );
    let stats = stand.group.stats().posting;
    assert_eq!((stats.requests_sent, stats.overdue, stats.wanted, stats.held), (4, 3, 0, 1));
}

#[test]
fn a_negative_answer_leads_to_the_next_announcer_at_once() {
    let mut stand = Stand::new(config(), 2);
    let value = string("larger than sixteen");
    (0..2).for_each(|neighbor| stand.hear(neighbor, PostingKeys, announcement([&value])));
    stand.run_to(at(400));
    let negative = |value: &Bytes| [&[0x3e][..], &request(value)[1..]].concat();
    stand.hear(0, PostingKeys, negative(&value));
    assert_eq!(stand.take(PostingKeys), [(0, request(&value)), (1, request(&value))]);
    stand.hear(1, PostingKeys, negative(&value));
    stand.run_to(at(30_000));
    assert!(stand.take(PostingKeys).is_empty(), "nobody has it");
    assert_eq!(stand.group.stats().posting.wanted, 0);
}

#[test]
fn what_a_lost_neighbor_owes_is_requested_elsewhere() {
    let mut stand = Stand::new(config(), 2);
    let value = string("larger than sixteen");
    (0..2).for_each(|neighbor| stand.hear(neighbor, PostingKeys, announcement([&value])));
    stand.run_to(at(400));
    stand.disconnect(0);
    assert_eq!(stand.take(PostingKeys), [(0, request(&value)), (1, request(&value))]);
    stand.disconnect(1);
    assert_eq!(stand.group.stats().posting.wanted, 0);
}

#[test]
fn requests_are_answered_by_value_or_negatively() {
    let mut stand = Stand::new(config(), 1);
    let value = string("a1");
    stand.post(value.clone());
    stand.run_to(at(1_000));
    assert_eq!(stand.take(PostingValues), [(0, value.clone())]);
    stand.hear(0, PostingKeys, request(&value));
    assert_eq!(stand.take(PostingValues), [(0, value.clone())]);
    let request = request(&value);
    let key = &request[1..];
    for body in [&b"w"[..], &key[..4], &[key, key].concat(), b"", &[9; 8]] {
        stand.hear(0, PostingKeys, [&[0x3a][..], body].concat());
        assert_eq!(stand.take(PostingKeys), [(0, Bytes::from([&[0x3e][..], body].concat()))]);
    }
    for ignored in [&[0x31_u8, 7][..], &[], &[0x30, 1, 2, 3], &[0x3e], &[0xff; 9]] {
        stand.hear(0, PostingKeys, ignored.to_vec());
    }
    stand.run_to(at(20_000));
    assert!(stand.take(PostingKeys).is_empty());
    assert_eq!(stand.group.stats().posting.malformed, 3);
}

#[test]
fn values_are_kept_and_recognized_for_300_seconds() {
    let mut stand = Stand::new(config(), 2);
    let value = string("v");
    stand.hear(0, PostingValues, value.clone());
    stand.run_to(at(200_000));
    assert_eq!(stand.take(PostingValues), [(1, value.clone())], "passed on, but not back");
    stand.hear(0, PostingValues, value.clone());
    stand.run_to(at(299_999));
    stand.hear(1, PostingKeys, request(&value));
    assert_eq!(stand.take(PostingValues), [(1, value.clone())]);
    assert_eq!(stand.group.stats().posting.duplicates, 1);
    stand.run_to(at(300_000));
    stand.hear(1, PostingKeys, request(&value));
    assert!(stand.take(PostingValues).is_empty());
    assert_eq!(stand.take(PostingKeys).len(), 1, "forgotten");
    stand.hear(0, PostingValues, value.clone());
    stand.run_to(at(310_000));
    assert_eq!(stand.received(), [value.clone(), value.clone()], "new again");
    assert_eq!(stand.take(PostingValues), [(1, value)]);
}

#[test]
fn posting_again() {
    let mut stand = Stand::new(config(), 2);
    let (own, theirs) = (string("own"), string("theirs"));
    let id = stand.post(own.clone());
    stand.hear(0, PostingValues, theirs.clone());
    stand.run_to(at(2_000));
    assert_eq!(stand.take(PostingValues).len(), 3);
    assert_eq!(stand.post(own.clone()), id);
    assert_eq!(stand.post(theirs.clone()), MessageId::of(&theirs));
    stand.run_to(at(4_000));
    let mut again = stand.take(PostingValues);
    again.sort();
    assert_eq!(again, [(0, own.clone()), (1, own)], "own values are sent again, others not");
    assert_eq!(stand.received(), [theirs]);
}

#[test]
fn a_new_neighbor_is_not_informed_of_earlier_values() {
    let mut stand = Stand::new(config(), 1);
    let values = [string("earlier"), string("a longer one, earlier")];
    values.iter().for_each(|value| _ = stand.post(value.clone()));
    stand.connect();
    stand.run_to(at(5_000));
    assert!(stand.sent.iter().all(|sent| sent.kind != PostingValues && sent.to == 0
        || sent.kind == rtmfp::proto::group::FlowKind::Membership));
    stand.hear(1, PostingKeys, request(&values[0]));
    assert_eq!(stand.take(PostingValues), [(1, values[0].clone())], "but may ask for them");
}

#[test]
fn who_may_post() {
    let refused = |spec: GroupSpec| {
        let mut stand = Stand::new(GroupConfig::new(spec, peer(0)), 1);
        let outcome = stand.group.posting_mut(stand.now).post(string("v").into());
        stand.hear(0, PostingValues, string("relayed"));
        assert_eq!(stand.received().len(), 1, "others are heard and passed on all the same");
        outcome.err()
    };
    let plain = GroupSpecBuilder::new("t").unwrap().server_channel(true);
    assert_eq!(refused(plain.build().unwrap()), Some(GroupError::PostingDisabled));
    let builder = || GroupSpecBuilder::new("t").unwrap().server_channel(true).posting(true);
    let with = builder().posting_password("pw", "").build().unwrap();
    assert_eq!(refused(with.clone()), None);
    let without = with.without_authorizations().parse().unwrap();
    assert_eq!(refused(without), Some(GroupError::PostingUnauthorized));

    let mut stand = Stand::new(config(), 0);
    let mut post = |bytes: Vec<u8>| stand.group.posting_mut(at(0)).post(Bytes::from(bytes).into());
    let max = PostingLimits::default().max_value;
    assert_eq!(post(vec![5; max + 1]), Err(GroupError::PostingTooLarge { bytes: max + 1, max }));
    assert_eq!(post(Vec::new()), Err(GroupError::PostingEmpty));
    stand.group.close(at(0));
    let closed = stand.group.posting_mut(at(0)).post(string("v").into());
    assert_eq!(closed, Err(GroupError::Closed));
}

/// In a file's group, say: nothing is requested, kept or passed on.
#[test]
fn a_member_may_take_no_part() {
    let mut config = config();
    config.posting = PostingLimits::none();
    let mut stand = Stand::new(config, 2);
    let value = string("v");
    stand.hear(0, PostingValues, value.clone());
    stand.hear(0, PostingKeys, announcement([&string("w")]));
    stand.hear(0, PostingKeys, request(&value));
    let outcome = stand.group.posting_mut(stand.now).post(value.into());
    assert_eq!(outcome, Err(GroupError::PostingDisabled));
    stand.run_to(at(20_000));
    assert!(stand.received().is_empty());
    assert!(stand.take(PostingKeys).is_empty() && stand.take(PostingValues).is_empty());
    assert_eq!(stand.group.neighbors().len(), 2, "and stays a neighbor");
}
