//! A server whose owner decides: what clients get, in which order, and what happens when the owner is
//! slow or a client is gone.

use crate::support::house::House;
use crate::support::{millis, secs};
use bytes::Bytes;
use rtmfp::amf::Value;
use rtmfp::proto::flash::{Body, Message};
use rtmfp::proto::rendezvous::{
    Decision, HookConfig, HookEvent, HookKind, Query, RendezvousConfig, hooks::MAX_QUERY,
};

fn asking(hooks: HookConfig) -> RendezvousConfig {
    let mut config = RendezvousConfig::default();
    config.hooks = Some(hooks);
    config
}

/// A house whose owner is asked only this, and may think for a minute.
fn house(kinds: &[HookKind]) -> House {
    let mut hooks = HookConfig::default();
    hooks.timeout = secs(60);
    hooks.events = kinds.iter().copied().collect();
    House::new(1, asking(hooks))
}

fn failed(answer: Option<Result<Value, Value>>) -> String {
    let Some(Err(info)) = answer else { panic!("{answer:?}") };
    assert_eq!(info.property("code").and_then(Value::as_str), Some("NetConnection.Call.Failed"));
    info.property("description").and_then(Value::as_str).unwrap().to_owned()
}

fn method(query: &Query) -> &str {
    let HookEvent::Call { method, .. } = &query.event else { panic!("{query:?}") };
    method
}

#[test]
fn the_owner_lets_clients_in() {
    let mut house = House::new(1, asking(HookConfig::default()));
    let args = vec![Value::from("Ann"), Value::from(7.0)];
    // Longer than the owner may take.
    let client = house.client("chat/room?x=1", args.clone());
    let query = house.query();
    let HookEvent::Connect(facts) = &query.event else { panic!("{query:?}") };
    assert_eq!((&*facts.app, &*query.client.app), ("chat/room?x=1", "chat/room"));
    assert_eq!(facts.tc_url.as_deref(), Some("rtmfp://10.0.0.1/chat/room?x=1"));
    assert_eq!(facts.args, args);
    assert!(facts.flash_version.is_some());
    let answer = house.refusal(client).unwrap();
    assert!(answer.contains("could not find out"), "it took six seconds: {answer}");
    assert_eq!(house.server().stats().hook_queries_failed, 1);
    house.decide(query.id, Decision::Allow);
    assert_eq!(house.server().stats().clients, 0, "it is too late");
}

#[test]
fn the_owner_turns_clients_away() {
    let mut house = house(&[HookKind::Connect]);
    for (decision, expected) in [
        (Decision::Allow, ""),
        (Decision::Unknown, ""),
        (Decision::deny("not today"), "not today (NetConnection.Connect.Rejected)"),
        (
            Decision::Failed,
            "the server could not find out whether this is allowed \
                            (NetConnection.Connect.Rejected)",
        ),
        (
            Decision::redirect("rtmfp://10.0.0.2/chat"),
            "connect to another server (NetConnection.Connect.Rejected)",
        ),
    ] {
        let client = house.client("chat", vec![]);
        let query = house.query();
        assert_eq!(house.refusal(client), None);
        house.decide(query.id, decision);
        assert_eq!(house.refusal(client).unwrap(), expected);
    }
    let stats = house.server().stats();
    assert_eq!((stats.clients, stats.hook_refused, stats.hook_queries_failed), (2, 3, 1));
}

#[test]
fn an_owner_that_cannot_be_reached_may_let_everybody_in() {
    let mut hooks = HookConfig::default();
    hooks.allow_on_failure = true;
    hooks.timeout = millis(500);
    let mut house = House::new(1, asking(hooks));
    let client = house.client("chat", vec![]);
    assert_eq!(house.refusal(client).as_deref(), Some(""));
    let stream = house.publish(client, "cam");
    house.network.run_for(secs(2));
    assert_eq!(house.status(client, stream).unwrap(), "Publish.Start");
    // A call has no answer nevertheless.
    let call = house.call(client, "greet", vec![]);
    house.network.run_for(secs(2));
    assert_eq!(failed(house.answer(client, call)), "the server has no answer");
    assert_eq!(house.server().stats().hook_queries_failed, 3);
}

#[test]
fn calls_are_answered_in_their_order() {
    let mut house = house(&[HookKind::Call]);
    let client = house.client("chat", vec![]);
    let calls: Vec<_> =
        (0..3).map(|n| house.call(client, "greet", vec![Value::from(f64::from(n))])).collect();
    house.notify(client, "log", vec![Value::from("hello")]);
    let deny = house.call(client, "deny", vec![]);
    let unknown = house.call(client, "unknown", vec![]);
    house.network.run_for(secs(1));
    for (n, call) in calls.iter().enumerate() {
        let query = house.query();
        let HookEvent::Call { method, args, wants_answer: true } = &query.event else {
            panic!("{query:?}")
        };
        assert_eq!((&**method, args[0].as_u32()), ("greet", Some(n as u32)));
        assert_eq!(house.answer(client, *call), None);
        let answer = Value::from(format!("hello {n}").as_str());
        house.decide(query.id, Decision::Answer(answer.clone()));
        assert_eq!(house.answer(client, *call), Some(Ok(answer)));
    }
    let query = house.query();
    assert!(matches!(query.event, HookEvent::Call { wants_answer: false, .. }), "{query:?}");
    house.decide(query.id, Decision::Allow);
    let query = house.query();
    assert_eq!(method(&query), "deny");
    house.decide(query.id, Decision::deny("no"));
    assert_eq!(failed(house.answer(client, deny)), "no");
    let query = house.query();
    house.decide(query.id, Decision::Unknown);
    assert_eq!(failed(house.answer(client, unknown)), "method not found");
    // What the server does itself is not asked.
    house.call(client, "relay", vec![]);
    house.network.run_for(secs(1));
    assert!(house.queries().is_empty());
}

#[test]
fn streams_wait_for_the_owner_and_lose_nothing() {
    let mut house = house(&[HookKind::Publish, HookKind::Play, HookKind::Unpublish]);
    let (a, b) = (house.client("tv", vec![]), house.client("tv", vec![]));
    let played = house.play(b, "cam");
    house.network.run_for(secs(1));
    let query = house.query();
    assert_eq!(query.event, HookEvent::Play { name: "cam".into() });
    house.decide(query.id, Decision::Allow);
    let published = house.publish(a, "cam");
    house.network.run_for(secs(1));
    // A client that does not wait for the answer.
    for n in 0..10 {
        let frame = Message::new(n, Body::Audio(Bytes::from_static(b"\xaf\x01sound")));
        house.write(a, published, &frame);
    }
    house.network.run_for(secs(1));
    assert_eq!((house.status(a, published), house.received(b, played)), (None, 0));
    let query = house.query();
    house.decide(query.id, Decision::Allow);
    assert_eq!(house.status(a, published).unwrap(), "Publish.Start");
    assert_eq!(house.received(b, played), 10);
    house.close(a, published);
    let query = house.query();
    assert_eq!(query.event, HookEvent::Unpublish { name: "cam".into() });
    house.decide(query.id, Decision::Allow);

    let denied = house.publish(a, "other");
    house.network.run_for(secs(1));
    let query = house.query();
    house.decide(query.id, Decision::deny("not this one"));
    assert!(house.status(a, denied).unwrap().contains("not this one"));
    let denied = house.play(b, "other");
    house.network.run_for(secs(1));
    let query = house.query();
    house.decide(query.id, Decision::deny("nor this one"));
    assert!(house.status(b, denied).unwrap().contains("nor this one"));
    let stats = house.server().stats();
    assert_eq!((stats.streams, stats.rights_refused), (0, 2));
    assert!(house.queries().is_empty());
}

/// What the owner allows to a client that does not want it any more ends at once.
#[test]
fn what_is_allowed_to_who_is_gone_is_taken_back() {
    let mut house = house(&HookKind::ALL);
    let client = house.client("tv", vec![]);
    let connect = house.query();
    house.decide(connect.id, Decision::Allow);
    assert_eq!(house.refusal(client).as_deref(), Some(""));
    let stream = house.publish(client, "cam");
    house.network.run_for(secs(1));
    let publish = house.query();
    house.call(client, "never asked", vec![]);
    house.close(client, stream);
    assert!(house.queries().is_empty(), "one at a time");
    house.disconnect(client);
    house.decide(publish.id, Decision::Allow);
    let gone = house.query();
    assert_eq!(gone.event, HookEvent::Disconnect);
    house.decide(gone.id, Decision::Allow);
    let unpublished = house.query();
    assert_eq!(unpublished.event, HookEvent::Unpublish { name: "cam".into() });
    house.decide(unpublished.id, Decision::Allow);

    // It leaves while it is being decided about.
    let client = house.client("tv", vec![]);
    let connect = house.query();
    house.disconnect(client);
    house.decide(connect.id, Decision::Allow);
    let gone = house.query();
    assert_eq!((&gone.event, gone.client.peer), (&HookEvent::Disconnect, connect.client.peer));
    house.decide(gone.id, Decision::Allow);
    let client = house.client("tv", vec![]);
    let connect = house.query();
    house.disconnect(client);
    house.decide(connect.id, Decision::deny("no"));
    assert!(house.queries().is_empty());
    assert_eq!(house.server().stats().clients, 0);
}

/// A client that asks too much is refused, and others are not.
#[test]
fn hostile_callers_are_bounded() {
    let mut house = house(&[HookKind::Call]);
    let (a, b) = (house.client("chat", vec![]), house.client("chat", vec![]));
    let long = Value::from("x".repeat(MAX_QUERY).as_str());
    let call = house.call(a, "long", vec![long]);
    house.network.run_for(secs(2));
    assert_eq!(failed(house.answer(a, call)), "the call is too long");
    let calls: Vec<_> = (0..40).map(|_| house.call(a, "greet", vec![])).collect();
    house.network.run_for(secs(2));
    assert_eq!(house.queries().len(), 1);
    let answered = calls.iter().filter(|&&call| house.answer(a, call).is_some()).count();
    assert_eq!((answered, house.server().stats().hook_queries_dropped), (24, 24));
    let call = house.call(b, "greet", vec![]);
    house.network.run_for(secs(1));
    let query = house.query();
    house.decide(query.id, Decision::Answer(Value::Null));
    assert_eq!(house.answer(b, call), Some(Ok(Value::Null)));
}

/// Of a publisher that does not wait a little is kept.
#[test]
fn hostile_publishers_that_do_not_wait_are_bounded() {
    let mut house = house(&[HookKind::Publish]);
    let (a, b) = (house.client("tv", vec![]), house.client("tv", vec![]));
    let played = house.play(b, "cam");
    let published = house.publish(a, "cam");
    house.network.run_for(secs(1));
    let frame = |bytes: usize| Message::new(0, Body::Audio(vec![0xaf; bytes].into()));
    for _ in 0..200 {
        house.write(a, published, &frame(9));
    }
    house.network.run_for(secs(1));
    let query = house.query();
    house.decide(query.id, Decision::Allow);
    assert_eq!(house.received(b, played), 64);
    house.close(a, published);
    let published = house.publish(a, "cam");
    house.network.run_for(secs(1));
    for _ in 0..20 {
        house.write(a, published, &frame(10_000));
    }
    house.network.run_for(secs(1));
    let query = house.query();
    house.decide(query.id, Decision::Allow);
    assert_eq!(house.received(b, played), 64 + 6, "64 KiB");
}
