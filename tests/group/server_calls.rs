//! What a rendezvous server makes of calls: one that is too long, one for another client, and remote
//! shared objects.

use crate::support::meeting::Meeting;
use crate::support::{for_seeds, millis, secs};
use rtmfp::amf::Value;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::flash::ObjectEncoding;
use rtmfp::proto::rendezvous::{RendezvousConfig, RendezvousEvent};
use rtmfp::proto::sim::{Link, NodeId};
use rtmfp::proto::transport::Rate;

/// An AMF0 command message with one long string.
fn long_call(transaction: f64, len: u32) -> Vec<u8> {
    let mut message = vec![0x14, 0, 0, 0, 0, 0x02, 0, 3];
    message.extend(b"big");
    message.push(0x00);
    message.extend(transaction.to_be_bytes());
    message.extend([0x05, 0x0c]);
    message.extend(len.to_be_bytes());
    message.resize(message.len() + len as usize, b'x');
    message
}

fn failed(outcome: Option<&Result<Value, Value>>) -> bool {
    let Some(Err(info)) = outcome else { return false };
    info.property("code").and_then(Value::as_str) == Some("NetConnection.Call.Failed")
}

#[test]
fn a_call_that_is_too_long_fails_and_the_connection_goes_on() {
    for_seeds(4, |seed| {
        let link = if seed % 2 == 0 { Link::lan() } else { Link::bad() };
        let mut meeting = Meeting::new(seed, link);
        let member = meeting.add_member();
        meeting.network.run_for(secs(20));
        let client = meeting.add_client(ObjectEncoding::Amf3, true);
        meeting.network.run_for(secs(20));
        meeting.network.act(client, |host, now| {
            for transaction in [7.0, 0.0, 8.0] {
                host.lazy_mut().send_raw(now, long_call(transaction, 1_200_000));
            }
        });
        // The answers belong to calls that this end knows of, so that the second is made here.
        let echo = meeting.network.act(client, |host, now| {
            host.lazy_mut().call(now, "big", vec![Value::from("x".repeat(200_000).as_str())])
        });
        meeting.network.run_for(secs(600));
        assert!(failed(meeting.network[client].lazy().outcome(echo)));
        // Connection, group and the others are as before.
        let call = meeting
            .network
            .act(client, |host, now| host.lazy_mut().call(now, "nothing", Vec::new()));
        meeting.network.run_for(secs(20));
        let lazy = meeting.network[client].lazy();
        assert!(failed(lazy.outcome(call)) && !lazy.closed);
        let server = meeting.network[meeting.server].server();
        assert_eq!((server.stats().clients, server.stats().groups), (2, 1));
        assert_eq!(meeting.network[member].member().disconnected, 0);
    });
}

/// It is reported once for each client, with a name that is cut.
#[test]
fn a_call_that_is_too_long_is_reported_once() {
    let mut meeting = Meeting::new(1, Link::lan());
    let client = meeting.add_client(ObjectEncoding::Amf3, false);
    meeting.network.run_for(secs(1));
    meeting.watch_server();
    for _ in 0..3 {
        meeting.network.act(client, |host, now| {
            let mut message = vec![0x14, 0, 0, 0, 0, 0x02, 1, 0];
            message.extend([b'm'; 256]);
            message.push(0x00);
            message.extend(1.0f64.to_be_bytes());
            message.resize(1_200_000, 0x05);
            host.lazy_mut().send_raw(now, message);
        });
        meeting.network.run_for(secs(2));
    }
    let peer = meeting.network[client].lazy().endpoint.fingerprint();
    let events = meeting.server_events();
    let reported: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            RendezvousEvent::MessageTooLong { peer, method, limit } => {
                Some((*peer, method.clone().unwrap(), *limit))
            }
            _ => None,
        })
        .collect();
    assert_eq!(reported, [(peer, "m".repeat(64), 1 << 20)]);
    assert_eq!(meeting.network[meeting.server].server().stats().messages_too_long, 3);
}

#[test]
fn a_remote_shared_object_is_refused_where_none_are_kept() {
    let mut config = RendezvousConfig::default();
    config.shared_objects = None;
    let mut meeting = Meeting::with_config(1, Link::lan(), config);
    let client = meeting.add_client(ObjectEncoding::Amf3, false);
    meeting.network.run_for(secs(1));
    let connect = b"\x10\0\0\0\0\0\0\x04chat\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0";
    meeting.network.act(client, |host, now| {
        host.lazy_mut().raw.clear();
        host.lazy_mut().send_raw(now, connect.to_vec());
    });
    meeting.network.run_for(secs(1));
    let raw = &meeting.network[client].lazy().raw;
    assert_eq!(raw.len(), 1);
    assert_eq!(raw[0][0], 0x10);
    assert!(raw[0].ends_with(b"\0\x21SharedObject.ObjectCreationFailed\0\x05error"));
    assert!(!meeting.network[client].lazy().closed);
}

/// Two clients with these encodings.
fn two(seed: u64, encodings: [ObjectEncoding; 2]) -> (Meeting, NodeId, NodeId) {
    two_with(seed, encodings, RendezvousConfig::default())
}

fn two_with(
    seed: u64,
    encodings: [ObjectEncoding; 2],
    config: RendezvousConfig,
) -> (Meeting, NodeId, NodeId) {
    let mut meeting = Meeting::with_config(seed, Link::lan().with_delay(millis(10)), config);
    let [a, b] = encodings.map(|encoding| meeting.add_client(encoding, false));
    meeting.network.run_for(secs(1));
    (meeting, a, b)
}

fn id(meeting: &Meeting, node: NodeId) -> Fingerprint {
    meeting.network[node].lazy().endpoint.fingerprint()
}

#[test]
fn a_call_for_another_client_is_relayed() {
    use ObjectEncoding::{Amf0, Amf3};
    for encodings in [[Amf0, Amf0], [Amf0, Amf3], [Amf3, Amf0], [Amf3, Amf3]] {
        let (mut meeting, a, b) = two(1, encodings);
        let (from, to) = (id(&meeting, a).to_string(), id(&meeting, b).to_string());
        let details = Value::object([("name", Value::from("Ann")), ("age", Value::from(42.0))]);
        let args = vec![Value::from("invite"), details.clone(), Value::Null, Value::from(1.5)];
        let sent = [vec![Value::from(to.to_uppercase().as_str())], args.clone()].concat();
        meeting.network.act(a, |host, now| host.lazy_mut().notify(now, "relay", sent.clone()));
        let call = meeting.network.act(a, |host, now| host.lazy_mut().call(now, "relay", sent));
        meeting.network.run_for(secs(1));
        let expected = [vec![Value::from(from.as_str())], args].concat();
        let expected = ("onRelay".to_owned(), expected);
        let b = meeting.network[b].lazy();
        assert_eq!(b.called(), [expected.clone(), expected], "{encodings:?}");
        let a = meeting.network[a].lazy();
        assert!(matches!(a.outcome(call), Some(Ok(_))) && a.called().is_empty());
    }
}

#[test]
fn hostile_relays_are_refused() {
    let (mut meeting, a, b) = two(2, [ObjectEncoding::Amf3; 2]);
    let to = Value::from(id(&meeting, b).to_string().as_str());
    let stranger = Value::from("00".repeat(32).as_str());
    let long = Value::from("x".repeat(9000).as_str());
    let refused: Vec<Vec<Value>> = vec![
        vec![],
        vec![Value::Null],
        vec![Value::from("nobody")],
        vec![stranger],
        vec![to.clone(), long],
    ];
    for args in refused {
        let named = format!("{args:.80?}");
        let call =
            meeting.network.act(a, |host, now| host.lazy_mut().call(now, "relay", args.clone()));
        meeting.network.act(a, |host, now| host.lazy_mut().notify(now, "relay", args));
        meeting.network.run_for(secs(1));
        assert!(failed(meeting.network[a].lazy().outcome(call)), "{named}");
    }
    assert!(meeting.network[b].lazy().called().is_empty());
    // Only calls with a responder were answered.
    let answers = meeting.network[a].lazy().events.len();
    let stats = meeting.network[meeting.server].server().stats();
    assert_eq!((stats.relays_refused, stats.relays_limited), (10, 2), "one call is too long");
    let call = meeting.network.act(a, |host, now| host.lazy_mut().call(now, "relay", vec![to]));
    meeting.network.run_for(secs(1));
    assert!(matches!(meeting.network[a].lazy().outcome(call), Some(Ok(_))));
    assert_eq!(meeting.network[a].lazy().events.len(), answers + 1);
}

#[test]
fn hostile_flood_of_relays_is_bounded() {
    let (mut meeting, a, b) = two(3, [ObjectEncoding::Amf3; 2]);
    let to = Value::from(id(&meeting, b).to_string().as_str());
    for _ in 0..10 {
        meeting.network.act(a, |host, now| {
            for _ in 0..100 {
                host.lazy_mut().notify(now, "relay", vec![to.clone(), Value::from("hi")]);
            }
        });
        meeting.network.run_for(secs(1));
    }
    let called = meeting.network[b].lazy().called().len();
    assert!((100..=150).contains(&called), "{called}");
}

/// The far client is gone, and nobody knows it yet.
#[test]
fn hostile_relays_to_who_does_not_take_them_are_bounded() {
    let (mut meeting, a, b) = two(4, [ObjectEncoding::Amf3; 2]);
    let to = id(&meeting, b);
    let to_value = Value::from(to.to_string().as_str());
    let text = Value::from("x".repeat(8000).as_str());
    meeting.network.remove(b);
    for _ in 0..40 {
        meeting.network.act(a, |host, now| {
            host.lazy_mut().notify(now, "relay", vec![to_value.clone(), text.clone()]);
        });
        meeting.network.run_for(millis(200));
    }
    let server = meeting.network[meeting.server].server();
    assert!(
        server.stats().relayed <= 8
            && server.stats().relays_refused >= 32
            && server.stats().relays_limited == server.stats().relays_refused,
        "{:?}",
        server.stats()
    );
}

/// Many callers, one receiver.
#[test]
fn hostile_crowd_of_callers_is_bounded() {
    let mut config = RendezvousConfig::default();
    config.relay.to_client = Rate { burst: 10, per_second: 1 };
    let (mut meeting, a, b) = two_with(5, [ObjectEncoding::Amf3; 2], config);
    let others = [a, meeting.add_client(ObjectEncoding::Amf0, false)];
    meeting.network.run_for(secs(1));
    let to = Value::from(id(&meeting, b).to_string().as_str());
    for caller in others {
        meeting.network.act(caller, |host, now| {
            for _ in 0..20 {
                host.lazy_mut().notify(now, "relay", vec![to.clone()]);
            }
        });
    }
    meeting.network.run_for(secs(1));
    let called = meeting.network[b].lazy().called().len();
    assert!((10..=11).contains(&called), "{called}");
}

#[cfg(feature = "tokio")]
mod over_sockets {
    use super::{Value, failed, long_call};
    use crate::support::caller::Caller;
    use crate::support::meeting::Lazy;
    use rtmfp::proto::flash::ClientEvent;
    use rtmfp::server::{Server, ServerConfig};
    use std::time::Duration;

    /// Nothing here takes this long unless it hangs.
    const GRACE: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_call_that_is_too_long_leaves_the_connection_as_it_is() {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let config = ServerConfig::default().with_listen(listen);
        let server = Server::start(config).await.unwrap();
        let at = server.local_addresses()[0];
        let (client, mut events) = Caller::connect(at).await;
        let calls = Box::new(|lazy: &mut Lazy, now| {
            lazy.send_raw(now, long_call(0.0, 1_200_000));
            lazy.call(now, "big", vec![Value::from("x".repeat(200_000).as_str())]);
            lazy.call(now, "nothing", Vec::new());
        });
        client.send(calls).await.unwrap();
        for _ in 0..2 {
            let outcome = loop {
                match events.recv().await.unwrap() {
                    ClientEvent::Answered { outcome, .. } => break outcome,
                    ClientEvent::Closed => panic!("closed"),
                    _ => {}
                }
            };
            assert!(failed(Some(&outcome)), "{outcome:?}");
        }
        let stats = server.stop(GRACE).await.unwrap();
        assert_eq!(stats.rendezvous.clients, 1);
        client.shutdown(GRACE).await.unwrap();
    }
}
