//! The client's end.

use super::*;
use crate::flash::{
    CallId, ClientConfig, ClientConnection, ClientEvent, FlashError, Methods, Uri, client, limits,
};

const SERVER: FlowId = FlowId(2);

fn connecting(config: ClientConfig) -> ClientConnection {
    let uri = Uri::parse("rtmfp://server.example/app?x=1").unwrap();
    let mut client = ClientConnection::connect(Time::ZERO, config, &uri, vec![]).unwrap();
    while client.poll_action().is_some() {}
    let control = client.control_flow();
    let decision = client.on_flow_opened(Time::ZERO, SERVER, b"TC\x04\0", control);
    assert_eq!(decision, FlowDecision::Accept);
    client
}

fn answer(name: &str, transaction: f64, info: Value) -> Bytes {
    message(ObjectEncoding::Amf0, &Command::new(name, transaction, vec![info]))
}

fn success(encoding: Option<f64>) -> Value {
    let code = ("code", Value::from("NetConnection.Connect.Success"));
    let encoding = encoding.map(|number| ("objectEncoding", Value::from(number)));
    Value::object([code].into_iter().chain(encoding))
}

fn connected(config: ClientConfig) -> ClientConnection {
    let mut client = connecting(config);
    client.on_message(Time::ZERO, SERVER, &answer("_result", 1.0, success(Some(3.0))));
    assert!(matches!(client.poll_event(), Some(ClientEvent::Connected { .. })));
    assert!(client.poll_action().is_some(), "setPeerInfo");
    assert!(client.poll_action().is_none());
    client
}

fn sent(client: &mut ClientConnection) -> Vec<String> {
    let actions = actions(|| client.poll_action());
    let text = |action: &FlowAction| match action {
        FlowAction::Send { message, .. } => text(message),
        other => format!("{other:?}"),
    };
    actions.iter().map(text).collect()
}

#[test]
fn a_serverless_uri_has_nothing_to_connect_to() {
    let uri = Uri::parse("rtmfp:").unwrap();
    let error = ClientConnection::connect(Time::ZERO, ClientConfig::default(), &uri, vec![]);
    assert_eq!(error.unwrap_err(), FlashError::Serverless);
}

#[test]
fn which_flows_are_accepted() {
    let mut client = connected(ClientConfig::default());
    let control = client.control_flow();
    let mut open = |flow, metadata: &[u8], association| {
        client.on_flow_opened(Time::ZERO, FlowId(flow), metadata, association)
            == FlowDecision::Accept
    };
    assert!(open(3, b"TC\x05\0", control), "another control flow");
    assert!(!open(4, b"TC\x04\0", None), "without association");
    assert!(!open(4, b"TC\x04\x05", control), "a stream");
    assert!(!open(4, b"TC\0\0", control), "without stream ID");
    assert!(!open(4, b"GC", control), "a group");
    let more = (10..200).filter(|&flow| open(flow, b"TC\x04\0", control)).count();
    assert_eq!(more + 2, client::MAX_FLOWS);
    assert_eq!(client.server_flow(), Some(SERVER));
}

#[test]
fn only_the_answer_to_connect_connects() {
    let mut client = connecting(ClientConfig::default());
    let ok = success(Some(3.0));
    client.on_message(Time::ZERO, SERVER, &answer("_result", 2.0, ok.clone()));
    client.on_message(Time::ZERO, FlowId(9), &answer("_result", 1.0, ok.clone()));
    client.on_message(Time::ZERO, SERVER, &call("someMethod", 1.0, vec![]));
    assert!(client.poll_event().is_none() && client.poll_action().is_none());
    client.on_message(Time::ZERO, SERVER, &answer("onStatus", 0.0, ok.clone()));
    assert!(matches!(client.poll_event(), Some(ClientEvent::Status(_))));
    assert!(!client.is_connected());
    client.on_message(Time::ZERO, SERVER, &answer("_result", 1.0, ok.clone()));
    assert!(client.is_connected());
    assert!(client.poll_event().is_some());
    client.on_message(Time::ZERO, SERVER, &answer("_result", 1.0, ok));
    assert!(client.poll_event().is_none(), "once");
}

#[test]
fn a_server_of_lesser_encoding_is_followed() {
    for server in [None, Some(0.0)] {
        let mut client = connecting(ClientConfig::default());
        client.on_message(Time::ZERO, SERVER, &answer("_result", 1.0, success(server)));
        let Some(ClientEvent::Connected { encoding, .. }) = client.poll_event() else { panic!() };
        assert_eq!(encoding, ObjectEncoding::Amf0);
        let Some(FlowAction::Send { message, .. }) = client.poll_action() else { panic!() };
        assert_eq!((message[0], &*text(&message)), (0x14, "setPeerInfo 0 null"));
    }
    let config = ClientConfig { encoding: ObjectEncoding::Amf0, ..ClientConfig::default() };
    let mut client = connecting(config);
    client.on_message(Time::ZERO, SERVER, &answer("_result", 1.0, success(Some(3.0))));
    let Some(ClientEvent::Connected { encoding, .. }) = client.poll_event() else { panic!() };
    assert_eq!(encoding, ObjectEncoding::Amf0);
}

#[test]
fn a_rejection_tells_why() {
    let mut client = connecting(ClientConfig::default());
    let info = Value::object([
        ("level", Value::from("error")),
        ("code", "NetConnection.Connect.Rejected".into()),
        ("description", "full".into()),
        ("application", 7.0.into()),
    ]);
    client.on_message(Time::ZERO, SERVER, &answer("_error", 1.0, info));
    let Some(ClientEvent::Failed(failure)) = client.poll_event() else { panic!() };
    assert_eq!(failure.code, "NetConnection.Connect.Rejected");
    assert_eq!((&*failure.description, failure.application), ("full", 7.0.into()));
    assert_eq!(client.poll_action(), Some(FlowAction::Close));
}

#[test]
fn an_answer_without_success_is_a_failure() {
    let no_code = Value::object([("level", "status")]);
    for (name, info) in [("_result", no_code), ("_result", Value::Null), ("_error", success(None))]
    {
        let mut client = connecting(ClientConfig::default());
        client.on_message(Time::ZERO, SERVER, &answer(name, 1.0, info));
        let Some(ClientEvent::Failed(failure)) = client.poll_event() else { panic!() };
        assert_eq!(failure.code, "NetConnection.Connect.Failed");
    }
}

#[test]
fn calls_and_their_answers() {
    let mut client = connected(ClientConfig::default());
    let first = client.call(Time::ZERO, "a", vec![1.0.into()]).unwrap();
    let second = client.call(Time::ZERO, "b", vec![]).unwrap();
    let third = client.call(Time::ZERO, "c", vec![]).unwrap();
    client.notify(Time::ZERO, "d", vec![]).unwrap();
    assert_eq!(sent(&mut client), ["a 2 null 1.0", "b 3 null", "c 4 null", "d 0 null"]);
    client.forget_call(third);
    for (name, transaction) in
        [("_error", 3.0), ("_result", 2.0), ("_result", 2.0), ("_result", 4.0)]
    {
        client.on_message(Time::ZERO, SERVER, &answer(name, transaction, transaction.into()));
    }
    let mut next = || match client.poll_event() {
        Some(ClientEvent::Answered { call, outcome }) => Some((call, outcome)),
        None => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(next(), Some((second, Err(3.0.into()))));
    assert_eq!(next(), Some((first, Ok(2.0.into()))));
    assert_eq!(next(), None, "neither twice nor dropped ones");
}

#[test]
fn hostile_transaction_numbers() {
    let mut client = connected(ClientConfig::default());
    let id: CallId = client.call(Time::ZERO, "a", vec![]).unwrap();
    for transaction in [0.0, -2.0, 2.5, f64::NAN, f64::INFINITY, 4294967298.0] {
        client.on_message(Time::ZERO, SERVER, &answer("_result", transaction, Value::Null));
        assert!(client.poll_event().is_none());
    }
    client.on_message(Time::ZERO, SERVER, &answer("_result", 2.0, Value::Null));
    assert!(matches!(client.poll_event(), Some(ClientEvent::Answered { call, .. }) if call == id));
}

#[test]
fn calls_are_bounded() {
    let mut client = connected(ClientConfig::default());
    for _ in 0..limits::MAX_CALLS {
        client.call(Time::ZERO, "a", vec![]).unwrap();
    }
    assert_eq!(client.call(Time::ZERO, "a", vec![]), Err(FlashError::TooManyCalls));
    client.on_message(Time::ZERO, SERVER, &answer("_result", 2.0, Value::Null));
    assert!(client.call(Time::ZERO, "a", vec![]).is_ok());
}

#[test]
fn the_server_calls() {
    let config = ClientConfig { methods: Methods::named(["known"]), ..ClientConfig::default() };
    let mut client = connected(config);
    let mut receive = |name, transaction| {
        client.on_message(Time::ZERO, SERVER, &super::call(name, transaction, vec!["x".into()]));
        client.poll_event()
    };
    let Some(ClientEvent::Call(with)) = receive("known", 5.0) else { panic!() };
    let Some(ClientEvent::Call(without)) = receive("known", 0.0) else { panic!() };
    assert!(receive("unknown", 0.0).is_none());
    assert!(receive("unknown", 6.0).is_none());
    assert!(without.responder.is_none());
    client.answer(Time::ZERO, with.responder.unwrap(), Ok("y".into())).unwrap();
    let sent = sent(&mut client);
    assert!(sent[0].starts_with("_error 6 null {"), "{sent:?}");
    assert!(sent[0].contains("NetConnection.Call.Failed"));
    assert_eq!(sent[1..], [r#"_result 5 null "y""#]);
}

#[test]
fn keepalive_advice_has_a_minimum() {
    let mut client = connected(ClientConfig::default());
    client.on_message(Time::ZERO, SERVER, &hex("04 00000000 0029 00000001 0003d090"));
    let Some(ClientEvent::Keepalive(advice)) = client.poll_event() else { panic!() };
    assert_eq!((advice.server.as_millis(), advice.peer.as_millis()), (5_000, 250_000));
}

#[test]
fn protocol_control_messages_are_ignored() {
    let mut client = connected(ClientConfig::default());
    for kind in [1, 2, 3, 5, 6, 0x63, 8, 9, 0x0f, 0x12] {
        client.on_message(
            Time::ZERO,
            SERVER,
            &Bytes::copy_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0, 1]),
        );
    }
    assert!(client.poll_event().is_none() && client.poll_action().is_none());
}

#[test]
fn changed_addresses_are_sent_again() {
    let mut client = connected(ClientConfig::default());
    let addresses = ["192.0.2.1:5".parse().unwrap()];
    client.set_addresses(Time::ZERO, &addresses);
    client.set_addresses(Time::ZERO, &addresses);
    assert_eq!(sent(&mut client), [r#"setPeerInfo 0 null "192.0.2.1:5""#]);
}

#[test]
fn the_ways_a_connection_ends() {
    let ends: [fn(&mut ClientConnection); 3] = [
        |client| client.on_flow_finished(SERVER),
        |client| client.on_flow_rejected(client.control_flow().unwrap(), 0),
        |client| client.on_session_closed(),
    ];
    for end in ends {
        let mut client = connecting(ClientConfig::default());
        end(&mut client);
        let Some(ClientEvent::Failed(failure)) = client.poll_event() else { panic!() };
        assert_eq!(failure.code, "NetConnection.Connect.Failed");
        assert!(!failure.description.is_empty());

        let mut client = connected(ClientConfig::default());
        end(&mut client);
        assert!(matches!(client.poll_event(), Some(ClientEvent::Closed)));
        client.on_session_closed();
        assert!(client.poll_event().is_none(), "reported once");
        assert_eq!(client.call(Time::ZERO, "a", vec![]), Err(FlashError::NotConnected));
    }
}
