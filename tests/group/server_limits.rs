//! What a server counts where it refuses something because of a limit.

use crate::support::house::House;
use crate::support::studio::{INTER, KEY, Studio, video};
use crate::support::{millis, secs};
use bytes::Bytes;
use rtmfp::proto::flash::{Body, Message};
use rtmfp::proto::node::StreamHandle;
use rtmfp::proto::rendezvous::{
    HookConfig, HookKind, RendezvousConfig, RendezvousStats, StreamLimits,
};
use rtmfp::proto::sim::{Link, NodeId};

fn studio(change: impl FnOnce(&mut StreamLimits)) -> Studio {
    let mut limits = StreamLimits::default();
    change(&mut limits);
    Studio::new(1, 1, Link::lan(), Some(limits))
}

fn publish(studio: &mut Studio, at: NodeId, name: &str) -> StreamHandle {
    let stream = studio.publish(at, name);
    studio.network.run_for(secs(1));
    stream
}

fn stats(studio: &Studio) -> RendezvousStats {
    studio.crew().stats()
}

#[test]
fn net_streams_of_a_client() {
    let mut studio = studio(|limits| limits.per_client = 1);
    let client = studio.client("x");
    let first = publish(&mut studio, client, "a");
    assert!(studio.story(client, first).ends_with("Publish.Start "));
    assert_eq!(stats(&studio).net_streams_refused, 0);
    let second = publish(&mut studio, client, "b");
    assert!(!studio.story(client, second).contains("Publish.Start"));
    assert_eq!((stats(&studio).net_streams_refused, stats(&studio).streams_refused), (1, 0));
}

#[test]
fn streams_and_those_who_play_them() {
    let mut studio = studio(|limits| (limits.streams, limits.players) = (1, 1));
    let [a, b, c] = [(); 3].map(|()| studio.client("x"));
    publish(&mut studio, a, "a");
    let refused = publish(&mut studio, b, "b");
    assert!(studio.failure(b, refused).contains("too many"));
    assert_eq!(stats(&studio).streams_refused, 1);
    let played = [studio.play(b, "a"), studio.play(c, "a")];
    studio.network.run_for(secs(1));
    let failures = [studio.failure(b, played[0]), studio.failure(c, played[1])];
    assert_eq!(failures.iter().filter(|why| why.contains("too many")).count(), 1, "{failures:?}");
    assert_eq!(stats(&studio).streams_refused, 2);
    // A name that is taken is no limit.
    let taken = publish(&mut studio, c, "a");
    assert!(studio.failure(c, taken).contains("BadName"));
    assert_eq!(stats(&studio).streams_refused, 2);
}

#[test]
fn frames_for_who_comes_late() {
    let mut studio = studio(|limits| limits.cache = 2500);
    let client = studio.client("x");
    let stream = publish(&mut studio, client, "a");
    for n in 0..9 {
        let head = if n % 3 == 0 { KEY } else { INTER };
        studio.write(client, stream, &video(n, head, 1000));
        studio.network.run_for(millis(40));
    }
    assert_eq!(stats(&studio).caches_cut, 3, "once between two key frames");
}

#[test]
fn messages_before_the_owner_has_decided() {
    let mut hooks = HookConfig::default();
    hooks.events = [HookKind::Publish].into();
    let mut config = RendezvousConfig::default();
    config.hooks = Some(hooks);
    let mut house = House::new(1, config);
    let client = house.client("x", vec![]);
    let stream = house.publish(client, "a");
    house.network.run_for(secs(1));
    for n in 0..100 {
        house.write(
            client,
            stream,
            &Message::new(n, Body::Audio(Bytes::from_static(b"\xaf\x01a"))),
        );
    }
    house.network.run_for(secs(1));
    assert_eq!(house.server().stats().stream_messages_dropped, 100 - 64);
}

/// The owner does not answer, and the client does not leave.
#[test]
fn clients_that_are_not_connected_in_time() {
    let mut hooks = HookConfig::default();
    (hooks.events, hooks.timeout) = ([HookKind::Connect].into(), secs(60));
    let mut config = RendezvousConfig::default();
    (config.hooks, config.connect_within) = (Some(hooks), secs(10));
    // A client that is refused has time to read that, and counts for nothing.
    config.applications = Some(["chat".to_owned()].into());
    let mut house = House::new(1, config);
    let refused = house.client("tv", vec![]);
    assert!(house.refusal(refused).unwrap().contains("no application"));
    house.network.run_for(secs(10));
    assert_eq!(house.server().stats().connects_timed_out, 0);
    house.client("chat", vec![]);
    assert_eq!(house.server().stats().connects_timed_out, 0);
    house.network.run_for(secs(6));
    assert_eq!(house.server().stats().connects_timed_out, 1);
}
