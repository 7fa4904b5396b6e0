//! Streams in a group: publishing, relaying, playing, the end, hostile members.

use crate::support::net::{Net, Node};
use crate::support::{for_seeds, millis, secs};
use bytes::Bytes;
use rtmfp::proto::flash::{Body, Format, Message};
use rtmfp::proto::group::message::{
    Description, Map, MulticastControl, MulticastData, StreamKey, StreamSettings,
};
use rtmfp::proto::group::{
    FlowKind, GroupConfig, GroupError, GroupEvent, GroupSpec, GroupSpecBuilder, NetStreamId,
    PublishOptions,
};
use std::time::Duration;

fn spec() -> GroupSpec {
    GroupSpecBuilder::new("t").unwrap().multicast(true).server_channel(true).build().unwrap()
}

/// A group of members that know the next and some others, as a server introduces them.
fn group(members: usize) -> Net {
    let mut net = Net::new(0);
    for member in 0..members {
        net.add(spec());
        (member.saturating_sub(12)..member).for_each(|whom| net.introduce(member, whom));
    }
    net.run_for(secs(2));
    net
}

fn message(number: u32, size: usize) -> Message {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(size.max(4), number as u8);
    Message::new(number * 40, Body::Video(payload.into()))
}

/// Publishes a message every 40 ms.
fn publish(
    net: &mut Net,
    node: usize,
    id: NetStreamId,
    numbers: std::ops::Range<u32>,
    size: usize,
) {
    for number in numbers {
        let message = message(number, size);
        net.with(node, |group, now| group.multicast_mut(now).send(id, &message)).unwrap();
        net.run_for(millis(40));
    }
}

fn begin(net: &mut Net, node: usize, name: &str) -> NetStreamId {
    let options = PublishOptions::default();
    net.with(node, |group, now| group.multicast_mut(now).publish(name, options)).unwrap()
}

fn end(net: &mut Net, node: usize, id: NetStreamId) {
    net.with(node, |group, now| group.multicast_mut(now).unpublish(id)).unwrap();
}

fn play(net: &mut Net, node: usize, name: &str) -> NetStreamId {
    net.with(node, |group, now| group.multicast_mut(now).play(name)).unwrap()
}

/// The video messages that a node has got.
fn video(node: &Node) -> Vec<Message> {
    let messages = node.events.iter().filter_map(|event| match event {
        GroupEvent::MulticastStreamMessage { message, .. } => Some(message.clone()),
        _ => None,
    });
    messages.filter(|message| matches!(message.body, Body::Video(_))).collect()
}

fn numbers(node: &Node) -> Vec<u32> {
    video(node).iter().map(|message| message.timestamp / 40).collect()
}

fn codes(node: &Node) -> Vec<&'static str> {
    let codes = node.events.iter().map(GroupEvent::code).filter(|code| !code.is_empty());
    codes.filter(|code| code.contains("Multicast")).collect()
}

const PUBLISHED: &str = "NetGroup.MulticastStream.PublishNotify";
const UNPUBLISHED: &str = "NetGroup.MulticastStream.UnpublishNotify";
const RESET: &str = "NetStream.MulticastStream.Reset";

#[test]
fn everything_arrives_in_order_and_the_end_too() {
    for members in [2, 3, 13] {
        let mut net = group(members);
        (1..members).for_each(|node| _ = play(&mut net, node, "live"));
        let id = begin(&mut net, 0, "live");
        publish(&mut net, 0, id, 1..200, 3000);
        end(&mut net, 0, id);
        net.run_for(secs(12));
        for node in &net.nodes[1..] {
            let got = video(node);
            let first = got[0].timestamp / 40;
            assert!(first <= 60, "{members} members: begins at {first}");
            let expected: Vec<_> = (first..200).map(|number| message(number, 3000)).collect();
            assert_eq!(got, expected, "{members} members");
            assert_eq!(codes(node), [PUBLISHED, RESET, UNPUBLISHED], "{members} members");
        }
        assert!(codes(&net.nodes[0]).is_empty());
        net.run_for(secs(20));
        assert!(net.nodes.iter().all(|node| node.group.stats().multicast.streams == 0));
    }
}

/// Not every member sends a map when it has the last of a stream: after some seconds in which it has
/// asked for nothing it counts as one that has it.
#[test]
fn a_publisher_knows_when_all_have_the_end() {
    let mut net = group(3);
    let id = begin(&mut net, 0, "live");
    publish(&mut net, 0, id, 1..100, 300);
    end(&mut net, 0, id);
    let lacking = |net: &mut Net| net.with(0, |group, now| group.multicast_mut(now).lacking(id));
    assert_eq!(lacking(&mut net), 2);
    net.run_for(millis(1500));
    assert_eq!(lacking(&mut net), 0, "by their maps");
    let outdated = MulticastControl::Map(Map::new(80, vec![0xff; 10]));
    hostile(&mut net, 1, 0, &outdated);
    assert_eq!(lacking(&mut net), 1);
    net.run_for(secs(2));
    assert_eq!(lacking(&mut net), 1, "it may still ask");
    hostile(&mut net, 1, 0, &MulticastControl::Pull(81));
    net.run_for(secs(3));
    assert_eq!(lacking(&mut net), 1, "it has asked");
    net.run_for(secs(2));
    assert_eq!(lacking(&mut net), 0);
}

#[test]
fn a_stream_of_one_message_arrives_whether_it_is_pushed_or_requested() {
    let mut net = group(13);
    for number in 1..=6 {
        (1..13).for_each(|node| _ = play(&mut net, node, "live"));
        let id = begin(&mut net, 0, "live");
        publish(&mut net, 0, id, number..number + 1, 100);
        net.run_for(secs(6));
        for node in &net.nodes[1..] {
            assert_eq!(numbers(node).last(), Some(&number));
        }
        end(&mut net, 0, id);
        net.run_for(secs(12));
    }
}

#[test]
fn fifty_members_relay_for_each_other() {
    let mut net = group(50);
    (1..50).for_each(|node| _ = play(&mut net, node, "live"));
    let id = begin(&mut net, 0, "live");
    let publish = |net: &mut Net, numbers: std::ops::Range<u32>| {
        for number in numbers {
            let message = message(number, 200);
            net.with(0, |group, now| group.multicast_mut(now).send(id, &message)).unwrap();
            net.run_for(millis(150));
        }
    };
    publish(&mut net, 1..360);
    let before = net.with(0, |group, now| group.multicast().info(now, id)).unwrap();
    publish(&mut net, 360..460);
    let after = net.with(0, |group, now| group.multicast().info(now, id)).unwrap();
    let pushed = after.fragments_pushed_to_peers - before.fragments_pushed_to_peers;
    let requested = after.fragments_requested_by_peers - before.fragments_requested_by_peers;
    println!("pushed {pushed} requested {requested} of 100");
    assert!(pushed <= 4 * 100, "at most the push limit");
    assert!(pushed + requested <= 5 * 100, "{requested} requested");
    end(&mut net, 0, id);
    net.run_for(secs(15));
    for (number, node) in net.nodes.iter().enumerate().skip(1) {
        let got = numbers(node);
        let first = got[0];
        assert!(first < 120, "{number} begins at {first}");
        assert_eq!(got, (first..460).collect::<Vec<_>>(), "{number}");
        assert_eq!(codes(node).last(), Some(&UNPUBLISHED), "{number}");
    }
}

#[test]
fn nearly_everything_is_pushed_some_seconds_after_the_beginning() {
    let mut net = group(30);
    let id = begin(&mut net, 0, "live");
    publish(&mut net, 0, id, 1..250, 3000);
    let totals = |net: &mut Net| {
        let infos = (1..30)
            .map(|node| net.with(node, |group, now| group.multicast().states(now).remove(0).info));
        infos.fold([0; 3], |[pushed, requested, twice], info| {
            let pushed = pushed + info.fragments_pushed_from_peers;
            let requested = requested + info.fragments_requested_from_peers;
            [pushed, requested, twice + info.duplicate_fragments]
        })
    };
    let source = |net: &mut Net| {
        let info = net.with(0, |group, now| group.multicast().info(now, id)).unwrap();
        info.fragments_pushed_to_peers + info.fragments_requested_by_peers
    };
    let (before, sent) = (totals(&mut net), source(&mut net));
    publish(&mut net, 0, id, 250..375, 3000);
    let (after, sent) = (totals(&mut net), source(&mut net) - sent);
    let [pushed, requested, twice] = [0, 1, 2].map(|field| after[field] - before[field]);
    println!("pushed {pushed} requested {requested} twice {twice} sent by the source {sent}");
    assert!(requested * 100 < pushed, "{requested} requested, {pushed} pushed");
    assert!(twice * 30 < pushed, "{twice} twice, {pushed} pushed");
    assert!(sent <= 125 * 3 * 41 / 10, "{sent}");
}

#[test]
fn classes_of_a_neighbor_that_leaves_are_asked_of_others_at_once() {
    let mut net = group(6);
    play(&mut net, 5, "live");
    let id = begin(&mut net, 0, "live");
    publish(&mut net, 0, id, 1..125, 1000);
    let info =
        |net: &mut Net| net.with(5, |group, now| group.multicast().states(now).remove(0).info);
    let to_last = |net: &Net, from: usize| net.sent(from, 5, FlowKind::MulticastData).len();
    let most = (1..5).max_by_key(|from| to_last(&net, *from)).unwrap();
    assert!(to_last(&net, most) > 10, "it pushes something");
    let before = info(&mut net);
    net.with(most, |group, now| group.close(now));
    publish(&mut net, 0, id, 125..225, 1000);
    net.run_for(secs(4));
    let after = info(&mut net);
    let pushed = after.fragments_pushed_from_peers - before.fragments_pushed_from_peers;
    let requested = after.fragments_requested_from_peers - before.fragments_requested_from_peers;
    println!("pushed {pushed} requested {requested}");
    assert!(pushed >= 80 && requested <= 20, "{pushed} pushed, {requested} requested");
    assert_eq!(numbers(&net.nodes[5]).last(), Some(&224));
}

/// The neighbor that pushes leaves out a fragment of each class, and goes on.
#[test]
fn what_was_passed_by_is_requested_before_the_fetch_period_is_over() {
    let mut net = group(2);
    play(&mut net, 1, "live");
    let id = begin(&mut net, 0, "live");
    publish(&mut net, 0, id, 1..200, 300);
    let push = |net: &mut Net, mask| {
        net.inject(0, 1, FlowKind::MulticastControl, &MulticastControl::Push(mask).to_bytes());
    };
    push(&mut net, 0);
    publish(&mut net, 0, id, 200..208, 300);
    push(&mut net, 0xff);
    net.nodes[1].events.clear();
    publish(&mut net, 0, id, 208..238, 300);
    let got = numbers(&net.nodes[1]);
    assert_eq!(got.first(), Some(&200), "it was not pushed");
    assert!(got.contains(&230), "after 1.2 s: {got:?}");
}

#[test]
fn a_member_that_does_not_play_takes_part() {
    let mut net = group(3);
    play(&mut net, 2, "live");
    let id = begin(&mut net, 0, "live");
    publish(&mut net, 0, id, 1..400, 500);
    let relayed = net.sent(1, 2, FlowKind::MulticastData).len();
    assert!(relayed > 50, "{relayed}");
    assert!(numbers(&net.nodes[1]).is_empty());
    assert_eq!(codes(&net.nodes[1]), [PUBLISHED]);
    assert!(net.sent(1, 0, FlowKind::MulticastData).is_empty(), "never back");
}

#[test]
fn who_joins_late_gets_the_configuration_and_begins_near_the_present() {
    let mut net = group(2);
    let id = begin(&mut net, 0, "live");
    let header = Message::new(0, Body::Video(Bytes::from_static(b"\x17\0\0\0\0header")));
    let values = Bytes::from_static(b"\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09");
    let metadata = Message::new(0, Body::Data(Format::Extended, values));
    for message in [&metadata, &header] {
        net.with(0, |group, now| group.multicast_mut(now).send(id, message)).unwrap();
    }
    let frames = |net: &mut Net, from: u32, to: u32| {
        for number in from..to {
            let first = if number.is_multiple_of(50) { 0x17 } else { 0x27 };
            let body = Body::Video(vec![first, 1, 0, 0, 0, number as u8].into());
            let frame = Message::new(number * 40, body);
            net.with(0, |group, now| group.multicast_mut(now).send(id, &frame)).unwrap();
            net.run_for(millis(40));
        }
    };
    frames(&mut net, 1, 500);
    let late = net.add(spec());
    net.introduce(late, 0);
    net.introduce(late, 1);
    play(&mut net, late, "live");
    frames(&mut net, 500, 800);
    let got: Vec<_> = net.nodes[late]
        .events
        .iter()
        .filter_map(|event| match event {
            GroupEvent::MulticastStreamMessage { message, .. } => Some(message.clone()),
            _ => None,
        })
        .collect();
    let first = got[0].timestamp / 40;
    assert!((490..560).contains(&first), "{first}");
    let key =
        got.iter().position(|m| m.body == Body::Video(Bytes::from_static(b"\x17\0\0\0\0header")));
    let key = key.expect("the header again");
    assert!(matches!(got[key + 1].body, Body::Video(ref data) if data[..2] == [0x17, 1]));
    assert_eq!(got[key - 1].body, metadata.body);
}

#[test]
fn members_come_and_go() {
    for_seeds(6, |seed| {
        let mut net = group(10);
        (1..10).for_each(|node| _ = play(&mut net, node, "live"));
        let id = begin(&mut net, 0, "live");
        let mut next = 1;
        for round in 0..6 {
            publish(&mut net, 0, id, next..next + 60, 800);
            next += 60;
            let leaving = 1 + (seed as usize + round * 3) % 5;
            net.with(leaving, |group, now| group.close(now));
            let new = net.add(spec());
            (0..new).filter(|whom| whom % 2 == round % 2).for_each(|whom| net.introduce(new, whom));
            play(&mut net, new, "live");
        }
        publish(&mut net, 0, id, next..next + 400, 800);
        end(&mut net, 0, id);
        net.run_for(secs(15));
        for (number, node) in net.nodes.iter().enumerate().skip(1) {
            if node.group.is_closed() {
                continue;
            }
            let got = numbers(node);
            let first = got[0];
            assert_eq!(got, (first..next + 400).collect::<Vec<_>>(), "member {number}");
            assert_eq!(codes(node).last(), Some(&UNPUBLISHED), "member {number}");
        }
    });
}

#[test]
fn two_publishers_of_one_name() {
    let mut net = group(4);
    play(&mut net, 3, "live");
    let (a, b) = (begin(&mut net, 0, "live"), begin(&mut net, 1, "live"));
    for number in 1..200 {
        for (node, id, offset) in [(0, a, 0), (1, b, 10_000)] {
            let message = message(number + offset, 100);
            net.with(node, |group, now| group.multicast_mut(now).send(id, &message)).unwrap();
        }
        net.run_for(millis(40));
    }
    let first = numbers(&net.nodes[3]);
    assert!(first.windows(2).all(|pair| pair[0] + 1 == pair[1]), "one stream: {first:?}");
    let (playing, other) =
        if first[0] < 10_000 { ((0, a), (1, b, 10_200)) } else { ((1, b), (0, a, 200)) };
    end(&mut net, playing.0, playing.1);
    publish(&mut net, other.0, other.1, other.2..other.2 + 200, 100);
    net.run_for(secs(8));
    let then = numbers(&net.nodes[3]);
    assert!(then.len() > first.len() + 100, "the other one follows");
    assert_eq!(codes(&net.nodes[3]).iter().filter(|code| **code == RESET).count(), 2);
    assert_eq!(codes(&net.nodes[3]).iter().filter(|code| **code == PUBLISHED).count(), 2);
}

/// Flash's properties `multicast…`, set at one end: they hold for one stream, and others do not follow
/// them.
#[test]
fn parameters_of_one_member() {
    let mut net = group(2);
    let id = begin(&mut net, 0, "live");
    let played = play(&mut net, 1, "live");
    let parameters = |net: &mut Net, node, id| {
        net.with(node, |group, now| group.multicast_mut(now).parameters(id))
    };
    let mut of_publisher = parameters(&mut net, 0, id).unwrap();
    assert_eq!(of_publisher.settings, StreamSettings::default());
    assert_eq!(of_publisher.push_neighbor_limit, 4);
    assert_eq!(of_publisher.relay_margin_duration, secs(2));
    let set = |net: &mut Net, node, id, parameters| {
        net.with(node, |group, now| group.multicast_mut(now).set_parameters(id, parameters))
    };
    assert_eq!(set(&mut net, 1, played, of_publisher), Err(GroupError::NoSuchStream), "not yet");

    of_publisher.push_neighbor_limit = 0;
    set(&mut net, 0, id, of_publisher).unwrap();
    publish(&mut net, 0, id, 1..100, 100);
    let info = net.with(0, |group, now| group.multicast_mut(now).info(now, id)).unwrap();
    assert_eq!(info.fragments_pushed_to_peers, 0, "only on request");
    assert!(info.fragments_requested_by_peers > 20, "{info:?}");

    let mut of_player = parameters(&mut net, 1, played).unwrap();
    assert_eq!((of_player.settings, of_player.push_neighbor_limit), (of_publisher.settings, 4));
    of_player.settings.window_duration = Duration::MAX;
    of_player.settings.fetch_period = millis(200);
    of_player.relay_margin_duration = Duration::MAX;
    set(&mut net, 1, played, of_player).unwrap();
    let in_force = parameters(&mut net, 1, played).unwrap();
    assert_eq!(in_force.settings.window_duration, secs(60), "the most");
    let before = numbers(&net.nodes[1]).pop().unwrap();
    publish(&mut net, 0, id, 100..200, 100);
    let after = numbers(&net.nodes[1]).pop().unwrap();
    assert!(before < 50 && after > 185, "{before}, {after}: what is missing is asked for earlier");

    end(&mut net, 0, id);
    net.run_for(secs(20));
    let id = begin(&mut net, 0, "live");
    publish(&mut net, 0, id, 1..100, 100);
    let next = parameters(&mut net, 1, played).unwrap();
    assert_eq!(next.settings, StreamSettings::default(), "another stream");
}

#[test]
fn publishing_needs_multicast_and_the_password() {
    let publish = |spec: GroupSpec| {
        let mut net = Net::new(0);
        let node = net.add(spec);
        let options = PublishOptions::default();
        net.with(node, |group, now| group.multicast_mut(now).publish("s", options))
    };
    let builder = || GroupSpecBuilder::new("t").unwrap().server_channel(true);
    let without = builder().object_replication(true).build().unwrap();
    assert_eq!(publish(without), Err(GroupError::MulticastDisabled));
    let locked = builder().multicast(true).publish_password("secret", "salt");
    let spec = locked.build().unwrap();
    let without = GroupSpec::parse(&spec.without_authorizations()).unwrap();
    assert!(publish(spec).is_ok());
    assert_eq!(publish(without), Err(GroupError::PublishNotAuthorized));
}

#[test]
fn a_neighbor_that_rejects_a_stream_remains_one() {
    let mut net = Net::new(0);
    net.add(spec());
    let builder = GroupSpecBuilder::new("t").unwrap();
    net.add(builder.multicast(true).server_channel(true).build().unwrap());
    net.introduce(1, 0);
    net.run_for(secs(1));
    let id = begin(&mut net, 0, "live");
    publish(&mut net, 0, id, 1..5, 100);
    let session = net.session(0, 1);
    net.reject(0, session, FlowKind::MulticastControl);
    publish(&mut net, 0, id, 5..50, 100);
    assert_eq!(net.neighbors(0), [1].into());
}

/// What a hostile member says on the flows of a stream to its neighbor `victim`.
fn hostile(net: &mut Net, from: usize, victim: usize, message: &MulticastControl) {
    net.inject(victim, from, FlowKind::MulticastControl, &message.to_bytes());
}

#[test]
fn hostile_members_do_not_stop_a_stream() {
    let mut net = group(4);
    play(&mut net, 2, "live");
    let id = begin(&mut net, 0, "live");
    publish(&mut net, 0, id, 1..150, 300);
    for round in 0..40u64 {
        for number in [u64::MAX, 1 << 40, 5000 + round, 160 + round] {
            hostile(&mut net, 3, 2, &MulticastControl::End(number));
            let map = Map::new(number, vec![0xff; 100_000]);
            hostile(&mut net, 3, 2, &MulticastControl::Map(map));
        }
        hostile(&mut net, 3, 2, &MulticastControl::Push(0xff));
        for number in [0, 7, 1 << 30] {
            hostile(&mut net, 3, 2, &MulticastControl::Pull(number));
        }
        publish(&mut net, 0, id, 150 + round as u32 * 10..160 + round as u32 * 10, 300);
    }
    publish(&mut net, 0, id, 550..700, 300);
    end(&mut net, 0, id);
    net.run_for(secs(20));
    let got = numbers(&net.nodes[2]);
    let first = got[0];
    assert_eq!(got, (first..700).collect::<Vec<_>>());
    assert_eq!(codes(&net.nodes[2]).last(), Some(&UNPUBLISHED));
}

#[test]
fn hostile_streams_of_one_neighbor_are_few() {
    let mut net = group(3);
    let id = begin(&mut net, 1, "live");
    publish(&mut net, 1, id, 1..3, 100);
    for number in 0..1000u32 {
        let mut key = [7; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let description = Description::new("live", StreamKey(key), StreamSettings::default());
        net.open_stream(2, 0, &MulticastControl::Description(description).to_bytes());
    }
    let stats = net.nodes[0].group.stats().multicast;
    assert!(stats.streams <= 17 && stats.refused_streams > 900, "{stats:?}");
    play(&mut net, 0, "live");
    publish(&mut net, 1, id, 3..200, 100);
    assert!(numbers(&net.nodes[0]).len() > 100);
}

#[test]
fn what_is_held_is_bounded_by_bytes() {
    let mut net = Net::new(0);
    net.add(spec());
    let mut config = GroupConfig::new(spec(), crate::support::net::peer(1));
    config.multicast.max_stream_bytes = 200_000;
    config.multicast.max_total_bytes = 250_000;
    net.add_configured(config);
    net.introduce(1, 0);
    net.run_for(secs(1));
    let ids: Vec<_> = ["a", "b"].map(|name| begin(&mut net, 0, name)).into();
    for round in 0..200 {
        for &id in &ids {
            let message = message(round, 4000);
            net.with(0, |group, now| group.multicast_mut(now).send(id, &message)).unwrap();
        }
        net.run_for(Duration::from_millis(20));
        let held = net.nodes[1].group.stats().multicast.held_bytes;
        assert!(held <= 250_000, "{held}");
    }
    assert!(net.nodes[1].group.stats().multicast.held_bytes > 150_000);
    assert!(net.nodes[0].group.stats().multicast.held_bytes > 250_000);
}

#[test]
fn fragments_that_nobody_asked_for_are_not_taken() {
    let mut net = group(2);
    let id = begin(&mut net, 0, "live");
    publish(&mut net, 0, id, 1..3, 100);
    net.run_for(secs(4));
    let unrequested = net.nodes[1].group.stats().multicast.unrequested;
    for number in 100..200u64 {
        let bytes = [&[0x20, number as u8 & 0x7f][..], b"\x09\0\0\0\0forged"].concat();
        assert!(MulticastData::parse(&bytes.clone().into()).is_ok());
        net.inject(1, 0, FlowKind::MulticastData, &bytes);
    }
    let stats = net.nodes[1].group.stats().multicast;
    assert!(stats.unrequested > unrequested + 50, "{stats:?}");
}
