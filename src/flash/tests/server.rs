//! The server's end.

use super::*;
use crate::flash::{FlashError, Keepalive, Methods, Rejection, server};

fn open(
    server: &mut ServerConnection,
    flow: u64,
    stream: u32,
    association: Option<FlowToken>,
) -> bool {
    let metadata = FlowMetadata::tc(stream).encode();
    let decision = server.on_flow_opened(Time::ZERO, FlowId(flow), &metadata, association);
    decision == FlowDecision::Accept
}

#[test]
fn which_flows_are_accepted() {
    let mut server = ServerConnection::new(Time::ZERO, quiet_config());
    assert!(!open(&mut server, 2, 1, None), "a stream before the connection");
    for metadata in [&b""[..], b"TC", b"TC\0\0", b"GC", b"GR\x1c", b"other"] {
        let decision = server.on_flow_opened(Time::ZERO, CONTROL, metadata, None);
        assert_eq!(decision, FlowDecision::Reject(0), "{metadata:?}");
    }
    assert!(open(&mut server, 2, 0, None));
    assert!(!open(&mut server, 3, 0, None), "a second connection");

    let (mut server, control) = accepted_server(quiet_config(), 3.0);
    assert!(open(&mut server, 3, 0, Some(control)), "another control flow");
    assert!(!open(&mut server, 4, 0, None), "a second connection");
    assert!(!open(&mut server, 5, 1, Some(control)), "an unknown stream");
    server.on_message(Time::ZERO, FlowId(3), &call("createStream", 5.0, vec![]));
    assert_eq!(sent(&mut server), ["_result 5 null 1.0"]);
    assert!(open(&mut server, 6, 1, Some(control)));
    assert!(!open(&mut server, 7, 1, None), "a stream without association");
    server.on_message(Time::ZERO, CONTROL, &call("deleteStream", 0.0, vec![1.0.into()]));
    assert!(!open(&mut server, 8, 1, Some(control)), "a deleted stream");
}

#[test]
fn flows_and_streams_are_bounded() {
    let (mut server, control) = accepted_server(quiet_config(), 3.0);
    let opened = (3..200).filter(|&flow| open(&mut server, flow, 0, Some(control))).count();
    assert_eq!(opened + 1, server::MAX_FLOWS);
    server.on_flow_finished(FlowId(3));
    assert!(open(&mut server, 300, 0, Some(control)));

    for _ in 0..server::MAX_STREAMS {
        server.on_message(Time::ZERO, CONTROL, &call("createStream", 1.0, vec![]));
    }
    assert!(sent(&mut server).iter().all(|answer| answer.starts_with("_result")));
    server.on_message(Time::ZERO, CONTROL, &call("createStream", 9.0, vec![]));
    assert!(sent(&mut server)[0].starts_with("_error 9 null"));
}

#[test]
fn play_gets_an_answer() {
    let (mut server, control) = accepted_server(quiet_config(), 3.0);
    server.on_message(Time::ZERO, CONTROL, &call("createStream", 2.0, vec![]));
    assert!(open(&mut server, 3, 1, Some(control)));
    while server.poll_action().is_some() {}
    let play = call("play", 0.0, vec!["vid".into()]);
    server.on_message(Time::ZERO, FlowId(3), &play);
    let actions = actions(|| server.poll_action());
    let [
        FlowAction::Open { token, metadata, options: FlowOptions { association, .. } },
        FlowAction::Send { token: flow, message, .. },
    ] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!((&metadata[..], *association), (&b"TC\x04\x01"[..], Some(CONTROL)));
    assert_eq!(token, flow);
    assert!(text(message).contains(r#"code: "NetStream.Play.Failed""#));

    server.on_message(Time::ZERO, FlowId(3), &play);
    assert!(server.poll_action().is_some());
    assert_eq!(server.poll_action(), None, "no second return flow");
    server.on_message(Time::ZERO, FlowId(3), &call("closeStream", 0.0, vec![]));
    assert_eq!(server.poll_action(), Some(FlowAction::Finish { token: *token }));
    server.on_flow_finished(FlowId(3));
    assert_eq!(server.poll_action(), None);
}

#[test]
fn publish_is_refused_and_its_media_stopped() {
    let (mut server, control) = accepted_server(quiet_config(), 0.0);
    server.on_message(Time::ZERO, CONTROL, &call("createStream", 2.0, vec![]));
    assert!(open(&mut server, 3, 1, Some(control)));
    while server.poll_action().is_some() {}
    server.on_message(Time::ZERO, FlowId(3), &call("publish", 0.0, vec!["live1".into()]));
    let actions = actions(|| server.poll_action());
    let [FlowAction::Open { token, .. }, FlowAction::Send { message, .. }, reject] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(message[0], 0x14, "a client with object encoding 0");
    assert!(text(message).contains(r#"code: "NetStream.Publish.Denied""#));
    assert_eq!(*reject, FlowAction::Reject { flow: FlowId(3), code: 0 });
    // Flash Player rejects return flows when it closes a stream, until they are finished.
    server.on_flow_rejected(*token, 0);
    assert_eq!(server.poll_action(), Some(FlowAction::Finish { token: *token }));
    assert!(server.is_connected());
}

#[test]
fn answers_follow_the_object_encoding() {
    for (encoding, kind) in [(0.0, 0x14), (3.0, 0x11)] {
        let (mut server, _) = accepted_server(quiet_config(), encoding);
        server.on_message(Time::ZERO, CONTROL, &call("nothing", 7.0, vec![]));
        let Some(FlowAction::Send { message, .. }) = server.poll_action() else { panic!() };
        assert_eq!(message[0], kind);
        assert!(text(&message).starts_with("_error 7 null {"));
    }
}

#[test]
fn nothing_but_connect_comes_first() {
    let mut server = idle_server(quiet_config());
    for early in ["createStream", "setPeerInfo"] {
        server.on_message(Time::ZERO, CONTROL, &call(early, 2.0, vec!["1.2.3.4:5".into()]));
    }
    assert!(server.poll_event().is_none() && server.poll_action().is_none());
    assert_eq!(server.accept(Time::ZERO, NO_EXTRA), Err(FlashError::NothingToAnswer));
    let rejection = Rejection::new("");
    assert_eq!(server.reject(Time::ZERO, &rejection), Err(FlashError::NothingToAnswer));
    assert_eq!(server.notify(Time::ZERO, "x", vec![]), Err(FlashError::NotConnected));
}

/// librtmfp numbers it 0.
#[test]
fn the_answer_has_the_number_of_the_request() {
    for number in [0.0, 2.0] {
        let mut server = idle_server(quiet_config());
        server.on_message(Time::ZERO, CONTROL, &call("connect", number, vec![]));
        assert!(matches!(server.poll_event(), Some(ServerConnectionEvent::ConnectRequested(_))));
        server.accept(Time::ZERO, NO_EXTRA).unwrap();
        let answer = sent(&mut server).remove(0);
        assert!(answer.starts_with(&format!("_result {number} ")), "{answer}");
    }
}

#[test]
fn the_app_comes_from_the_url_if_need_be() {
    let mut server = idle_server(quiet_config());
    let object = Value::object([("tcUrl", "rtmfp://h/live/x?y#z")]);
    server.on_message(Time::ZERO, CONTROL, &connect(object));
    let Some(ServerConnectionEvent::ConnectRequested(request)) = server.poll_event() else {
        panic!()
    };
    assert_eq!((&*request.app, request.encoding), ("live/x?y", ObjectEncoding::Amf0));
}

#[test]
fn what_comes_before_the_decision_waits_for_it() {
    let mut server = idle_server(quiet_config());
    server.on_message(Time::ZERO, CONTROL, &connect(Value::object([("app", "a")])));
    server.on_message(Time::ZERO, CONTROL, &call("createStream", 2.0, vec![]));
    assert!(server.poll_action().is_none());
    server.accept(Time::ZERO, NO_EXTRA).unwrap();
    let sent = sent(&mut server);
    assert!(sent[0].starts_with("_result 1 null {"), "{sent:?}");
    assert_eq!(sent[1..], ["_result 2 null 1.0"]);
}

#[test]
fn hostile_flood_before_the_decision() {
    let mut server = idle_server(quiet_config());
    server.on_message(Time::ZERO, CONTROL, &connect(Value::object([("app", "a")])));
    for _ in 0..=server::MAX_EARLY {
        server.on_message(Time::ZERO, CONTROL, &call("x", 2.0, vec![]));
    }
    assert_eq!(server.poll_action(), Some(FlowAction::Close));
    assert!(matches!(server.poll_event(), Some(ServerConnectionEvent::ConnectRequested(_))));
    assert!(matches!(server.poll_event(), Some(ServerConnectionEvent::Closed)));
    assert_eq!(server.accept(Time::ZERO, NO_EXTRA), Err(FlashError::NothingToAnswer));
}

#[test]
fn hostile_megabytes_before_the_decision() {
    let mut server = idle_server(quiet_config());
    server.on_message(Time::ZERO, CONTROL, &connect(Value::object([("app", "a")])));
    let large = Bytes::from(vec![0x14; server::MAX_EARLY_BYTES / 2]);
    server.on_message(Time::ZERO, CONTROL, &large);
    server.on_message(Time::ZERO, CONTROL, &large);
    assert_eq!(server.poll_action(), None);
    server.on_message(Time::ZERO, CONTROL, &Bytes::from_static(b"x"));
    assert_eq!(server.poll_action(), Some(FlowAction::Close));
}

#[test]
fn a_second_connect_fails_and_changes_nothing() {
    let (mut server, _) = accepted_server(quiet_config(), 3.0);
    server.on_message(Time::ZERO, CONTROL, &connect(Value::object([("app", "other")])));
    assert!(sent(&mut server)[0].starts_with("_error 1 null"));
    assert!(server.poll_event().is_none() && server.is_connected());
}

#[test]
fn a_rejected_client_is_not_heard() {
    let mut server = idle_server(quiet_config());
    server.on_message(Time::ZERO, CONTROL, &connect(Value::object([("app", "a")])));
    assert!(server.poll_event().is_some());
    server.reject(Time::ZERO, &Rejection::new("no")).unwrap();
    while server.poll_action().is_some() {}
    server.on_message(Time::ZERO, CONTROL, &call("createStream", 2.0, vec![]));
    assert!(server.poll_action().is_none() && server.poll_event().is_none());
    server.close();
    server.close();
    assert_eq!(server.poll_action(), Some(FlowAction::Close));
    assert_eq!(server.poll_action(), None);
}

#[test]
fn the_ways_a_client_leaves() {
    let leave: [fn(&mut ServerConnection, FlowToken); 3] = [
        |server, _| server.on_flow_finished(CONTROL),
        |server, control| server.on_flow_rejected(control, 0),
        |server, _| server.on_session_closed(),
    ];
    for leave in leave {
        let (mut server, control) = accepted_server(quiet_config(), 3.0);
        leave(&mut server, control);
        assert!(matches!(server.poll_event(), Some(ServerConnectionEvent::Closed)));
        server.on_session_closed();
        assert!(server.poll_event().is_none(), "reported once");
        assert!(!server.is_connected());
    }
    let (mut server, control) = accepted_server(quiet_config(), 3.0);
    server.on_flow_rejected(control, 0);
    assert_eq!(server.poll_action(), Some(FlowAction::Finish { token: control }));
    assert_eq!(server.poll_action(), Some(FlowAction::Close));
    let (mut server, _) = accepted_server(quiet_config(), 3.0);
    server.on_session_closed();
    assert_eq!(server.poll_action(), None, "there is no session to close");
}

#[test]
fn a_relay_is_a_method_and_a_notification() {
    let config = ServerConnectionConfig { methods: Methods::named(["relay"]), ..quiet_config() };
    let (mut server, _) = accepted_server(config, 0.0);
    let args = vec!["peer".into(), "text".into(), 5.0.into()];
    server.on_message(Time::ZERO, CONTROL, &call("relay", 0.0, args));
    let Some(ServerConnectionEvent::Call(call)) = server.poll_event() else { panic!() };
    assert!(call.responder.is_none());
    let header = Value::object([("sender", "me")]);
    let relayed = [&[header], &call.args[1..]].concat();
    server.notify(Time::ZERO, "onRelay", relayed).unwrap();
    assert_eq!(sent(&mut server), [r#"onRelay 0 null {sender: "me"} "text" 5.0"#]);
}

#[test]
fn keepalive_advice_is_never_below_the_minimum() {
    let (mut server, _) = accepted_server(quiet_config(), 3.0);
    let period = std::time::Duration::from_secs;
    server.set_keepalive(Time::ZERO, Keepalive { server: period(1), peer: period(30) });
    let Some(FlowAction::Send { message, .. }) = server.poll_action() else { panic!() };
    assert_eq!(message[..], hex("04 00000000 0029 00001388 00007530"));
}
