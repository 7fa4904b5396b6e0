//! The server's end.

use super::*;
use crate::flash::server::StreamEvent;
use crate::flash::{Body, FlashError, Keepalive, Methods, Rejection, server};
use crate::transport::FlowInput;

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

/// A server with the stream 1 of its client, on flow 3.
fn server_with_stream(encoding: f64) -> ServerConnection {
    let (mut server, control) = accepted_server(quiet_config(), encoding);
    server.on_message(Time::ZERO, CONTROL, &call("createStream", 2.0, vec![]));
    assert!(open(&mut server, 3, 1, Some(control)));
    while server.poll_action().is_some() {}
    server
}

fn stream_event(server: &mut ServerConnection) -> Option<StreamEvent> {
    match server.poll_event()? {
        ServerConnectionEvent::Stream { stream: 1, event } => Some(event),
        other => panic!("{other:?}"),
    }
}

fn on_stream(server: &mut ServerConnection, name: &str, args: Vec<Value>) {
    server.on_message(Time::ZERO, FlowId(3), &call(name, 0.0, args));
}

/// The codes of what is reported.
fn codes(server: &mut ServerConnection) -> String {
    let sent = sent(server).into_iter();
    let codes = sent.filter_map(|text| {
        let after = text.split_once(r#"code: ""#)?.1;
        Some(after.split_once('"').unwrap().0.to_owned() + " ")
    });
    codes.collect()
}

fn play(name: &str) -> StreamEvent {
    StreamEvent::Play { name: name.into(), recorded: false }
}

#[test]
fn play_gets_an_answer() {
    let mut server = server_with_stream(3.0);
    on_stream(&mut server, "play", vec!["vid?token".into()]);
    assert_eq!(stream_event(&mut server), Some(play("vid")));
    server.refuse_play(1, "NetStream.Play.Failed", "no");
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

    on_stream(&mut server, "play", vec!["vid".into()]);
    assert_eq!(stream_event(&mut server), Some(play("vid")));
    server.begin_playing(1, &"vid".into());
    assert!(
        matches!(server.poll_action(), Some(FlowAction::Send { token: again, .. }) if again == *token)
    );
    assert_eq!(codes(&mut server), "NetStream.Play.Reset NetStream.Play.Start ");
    on_stream(&mut server, "closeStream", vec![]);
    assert_eq!(stream_event(&mut server), Some(StreamEvent::Stopped));
    assert_eq!(server.poll_action(), Some(FlowAction::Finish { token: *token }));
    server.on_flow_finished(FlowId(3));
    assert_eq!((server.poll_action(), stream_event(&mut server)), (None, None));
}

#[test]
fn publish_is_refused_and_its_media_stopped() {
    let mut server = server_with_stream(0.0);
    on_stream(&mut server, "publish", vec!["live1".into()]);
    let asked = StreamEvent::Publish { name: "live1".into(), record: false };
    assert_eq!(stream_event(&mut server), Some(asked));
    server.refuse_publish(1, "NetStream.Publish.Denied", "no", true);
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
fn what_is_published_reaches_the_owner_as_it_came() {
    let mut server = server_with_stream(3.0);
    let frame = Message::new(40, Body::Video(Bytes::from_static(b"\x17\x01K")));
    let encoded = frame.encode().into_bytes();
    server.on_message(Time::ZERO, FlowId(3), &encoded);
    assert_eq!(stream_event(&mut server), None, "nothing is published");
    on_stream(&mut server, "publish", vec!["a".into(), "record".into()]);
    let asked = StreamEvent::Publish { name: "a".into(), record: true };
    assert_eq!(stream_event(&mut server), Some(asked));
    server.begin_publishing(1, &"a".into());
    assert_eq!(codes(&mut server), "NetStream.Publish.Start ");
    server.on_message(Time::ZERO, FlowId(3), &encoded);
    let came = StreamEvent::Message { message: frame, encoded: encoded.clone() };
    assert_eq!(stream_event(&mut server), Some(came));
    on_stream(&mut server, "publish", vec![false.into()]);
    assert_eq!(codes(&mut server), "NetStream.Unpublish.Success ");
    assert_eq!(stream_event(&mut server), Some(StreamEvent::Stopped));
    server.on_message(Time::ZERO, FlowId(3), &encoded);
    assert_eq!(stream_event(&mut server), None);
}

#[test]
fn who_plays_chooses_what_it_gets() {
    let mut server = server_with_stream(3.0);
    on_stream(&mut server, "play", vec!["a".into(), Value::from(-1000.0)]);
    assert_eq!(stream_event(&mut server), Some(play("a")));
    server.begin_playing(1, &"a".into());
    server.notify_published(1, true);
    let expected = "NetStream.Play.Reset NetStream.Play.Start NetStream.Play.PublishNotify ";
    assert_eq!(codes(&mut server), expected);
    let media = [
        Body::Video(Bytes::from_static(b"\x17\x01K")),
        Body::Audio(Bytes::from_static(b"\xaf\x01S")),
    ];
    let write = |server: &mut ServerConnection| {
        for body in media.clone() {
            let message = Message::new(0, body);
            server.write(1, &message, &message.encode().into_bytes());
        }
        let sent = actions(|| server.poll_action()).into_iter();
        let last = sent.map(|action| match action {
            FlowAction::Send { message, options, .. } if !options.is_reliable() => {
                char::from(message[message.len() - 1])
            }
            other => panic!("{other:?}"),
        });
        last.collect::<String>()
    };
    assert_eq!(write(&mut server), "KS");
    on_stream(&mut server, "pause", vec![true.into(), Value::from(80.0)]);
    assert_eq!(
        (codes(&mut server), write(&mut server)),
        ("NetStream.Pause.Notify ".into(), "".into())
    );
    on_stream(&mut server, "pause", vec![false.into(), Value::from(80.0)]);
    assert_eq!(
        (codes(&mut server), write(&mut server)),
        ("NetStream.Unpause.Notify ".into(), "KS".into())
    );
    on_stream(&mut server, "receiveAudio", vec![false.into()]);
    assert_eq!(write(&mut server), "K");
    on_stream(&mut server, "receiveVideo", vec![false.into()]);
    assert_eq!(write(&mut server), "");
    on_stream(&mut server, "seek", vec![Value::from(5000.0)]);
    assert_eq!(codes(&mut server), "NetStream.Seek.Failed ");
    // It plays something else.
    on_stream(&mut server, "play", vec!["b".into(), Value::from(0.0)]);
    assert_eq!(stream_event(&mut server), Some(StreamEvent::Stopped));
    let asked = StreamEvent::Play { name: "b".into(), recorded: true };
    assert_eq!(stream_event(&mut server), Some(asked));
    server.begin_playing(1, &"b".into());
    server.notify_published(1, false);
    assert!(codes(&mut server).ends_with("NetStream.Play.UnpublishNotify "));
    on_stream(&mut server, "play", vec![false.into()]);
    assert_eq!(codes(&mut server), "NetStream.Play.Stop ");
    assert_eq!(stream_event(&mut server), Some(StreamEvent::Stopped));
    assert_eq!(write(&mut server), "");
}

#[test]
fn whatever_ends_a_stream_is_reported_once() {
    let ends: [fn(&mut ServerConnection); 4] = [
        |server| on_stream(server, "closeStream", vec![]),
        |server| {
            server.on_message(Time::ZERO, CONTROL, &call("deleteStream", 0.0, vec![1.0.into()]))
        },
        |server| server.on_flow_finished(FlowId(3)),
        |server| {
            let token = server.stream_flow(1).unwrap();
            server.on_flow_input(&FlowInput::Rejected { token, code: 0 });
        },
    ];
    for end in ends {
        let mut server = server_with_stream(3.0);
        on_stream(&mut server, "play", vec!["a".into()]);
        assert_eq!(stream_event(&mut server), Some(play("a")));
        server.begin_playing(1, &"a".into());
        end(&mut server);
        assert_eq!(stream_event(&mut server), Some(StreamEvent::Stopped));
        server.on_flow_finished(FlowId(3));
        assert_eq!((stream_event(&mut server), server.stream_flow(1)), (None, None));
    }
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

/// librtmfp numbers its calls 0.
#[test]
fn a_stream_is_made_for_a_call_without_a_number() {
    let (mut server, _) = accepted_server(quiet_config(), 0.0);
    server.on_message(Time::ZERO, CONTROL, &call("createStream", 0.0, vec![]));
    assert_eq!(sent(&mut server), ["_result 0 null 1.0"]);
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
