use super::*;
use crate::amf::Value;
use crate::flash::{
    Body, Command, ConfigurationPart, FlowDecision, Format, Message, ObjectEncoding,
};
use crate::transport::{FlowAction, FlowId, FlowInput, FlowToken};
use bytes::Bytes;

const ASKING: FlowToken = FlowToken(0);
const ANSWERING: FlowToken = FlowToken(7);
const THEIRS: FlowId = FlowId(4);

fn sent(poll: impl FnMut() -> Option<FlowAction>) -> Vec<Bytes> {
    let actions = std::iter::from_fn(poll);
    let messages = actions.filter_map(|action| match action {
        FlowAction::Send { message, .. } => Some(message),
        _ => None,
    });
    messages.collect()
}

fn client(request: Request) -> ClientStream {
    let mut client =
        ClientStream::open(request, 2, ASKING, None, ObjectEncoding::Amf3).expect("short");
    assert_eq!(client.poll_event(), Some(NetStreamEvent::Connected));
    while client.poll_action().is_some() {}
    assert_eq!(client.on_flow_opened(THEIRS, b"TC\x04\x02"), FlowDecision::Accept);
    client
}

fn player() -> ClientStream {
    client(Request::Play(vec![Value::from("media")]))
}

fn video(at: u32, bytes: &'static [u8]) -> Message {
    Message::new(at, Body::Video(Bytes::from_static(bytes)))
}

const HEADER: &[u8] = b"\x17\0\0\0\0H";
const KEY: &[u8] = b"\x17\x01\0\0\0K";
const INTER: &[u8] = b"\x27\x01\0\0\0I";

/// The last byte of each message.
fn last(messages: &[Bytes]) -> String {
    messages.iter().map(|message| char::from(*message.last().unwrap())).collect()
}

#[test]
fn play_is_asked_for_as_the_player_does() {
    let request = Request::Play(vec![Value::from("media")]);
    let mut client = ClientStream::open(request, 2, ASKING, None, ObjectEncoding::Amf3).unwrap();
    let Some(FlowAction::Open { token, metadata, options }) = client.poll_action() else {
        panic!("a flow is opened first")
    };
    assert_eq!((token, &metadata[..], options.association), (ASKING, &b"TC\x04\x02"[..], None));
    let play = b"\x11\0\0\0\0\0\x02\0\x04play\0\0\0\0\0\0\0\0\0\x05\x02\0\x05media";
    assert_eq!(sent(|| client.poll_action()), [&play[..]]);
    let parsed = PlayRequest::parse(&Bytes::from_static(play)).unwrap();
    assert_eq!(&*parsed.name, "media");
}

#[test]
fn hostile_first_messages_are_no_request() {
    let messages: [&[u8]; 5] = [
        b"",
        b"\x14\0\0\0\0",
        b"\x14\0\0\0\0\x02\0\x04play\0\0\0\0\0\0\0\0\0\x05",
        b"\x14\0\0\0\0\x02\0\x04play\0\0\0\0\0\0\0\0\0\x05\x05",
        b"\x11\0\0\0\0\0\x02\0\x04stop\0\0\0\0\0\0\0\0\0\x05\x02\0\x01a",
    ];
    for message in messages {
        assert_eq!(PlayRequest::parse(&Bytes::from_static(message)), None, "{message:02x?}");
    }
}

#[test]
fn a_subscriber_is_answered_as_by_the_player() {
    let mut subscriber = Subscriber::start("media", 2, THEIRS, ANSWERING, &Late::default());
    let Some(FlowAction::Open { metadata, options, .. }) = subscriber.poll_action() else {
        panic!("a flow is opened first")
    };
    assert_eq!((&metadata[..], options.association), (&b"TC\x04\x02"[..], Some(THEIRS)));
    let messages = sent(|| subscriber.poll_action());
    assert_eq!(messages[0], &b"\x0f\0\0\0\0\0\x02\0\x11|RtmpSampleAccess\x01\0\x01\0"[..]);
    assert_eq!(messages[1], &b"\x04\0\0\0\0\0\0\0\0\0\x02"[..]);
    let code = |message: &Bytes| {
        let Body::Command(Format::Extended, values) = Message::parse(message).unwrap().body else {
            panic!("an extended command")
        };
        let command = Command::parse(&values).unwrap();
        let text = |name| command.args[0].property(name).and_then(Value::as_str).unwrap();
        assert_eq!((&*command.name, text("level")), ("onStatus", "status"));
        (text("code").to_owned(), text("description").to_owned())
    };
    let on_status = |code: &str, text: &str| (code.to_owned(), text.to_owned());
    let reset = on_status("NetStream.Play.Reset", "Playing and resetting media");
    assert_eq!(code(&messages[2]), reset);
    assert_eq!(code(&messages[3]), on_status("NetStream.Play.Start", "Started playing media"));
    assert_eq!(messages.len(), 4);
    subscriber.end(9, "media");
    let messages = sent(|| subscriber.poll_action());
    let end = on_status("NetStream.Play.UnpublishNotify", "media is now unpublished.");
    assert_eq!(code(&messages[0]), end);
}

#[test]
fn both_ends_understand_each_other() {
    let (mut subscriber, mut player) =
        (Subscriber::start("media", 2, THEIRS, ANSWERING, &Late::default()), player());
    let values = Bytes::from_static(b"\x02\0\x05hello\x02\0\x01x");
    let data = Message::new(40, Body::Data(Format::Extended, values));
    subscriber.write(&data, &data.encode().into_bytes());
    subscriber.end(80, "media");
    for message in sent(|| subscriber.poll_action()) {
        player.on_message(&message);
    }
    let events: Vec<_> = std::iter::from_fn(|| player.poll_event()).collect();
    let is_start = |event: &NetStreamEvent| {
        matches!(event, NetStreamEvent::Status(info)
            if info.property("code").and_then(Value::as_str) == Some("NetStream.Play.Start"))
    };
    assert_eq!(events[0], NetStreamEvent::Reset);
    assert!(is_start(&events[1]), "{events:?}");
    assert_eq!(events[2..], [NetStreamEvent::Message(data.clone()), NetStreamEvent::Ended]);
    player.write(&data);
    let [message] = &sent(|| player.poll_action())[..] else { panic!("one message") };
    assert_eq!(subscriber.on_message(message), Some(FromSubscriber::Message(data)));
    player.close();
    let [close] = &sent(|| player.poll_action())[..] else { panic!("closeStream") };
    assert_eq!(subscriber.on_message(close), Some(FromSubscriber::Close));
}

#[test]
fn a_late_subscriber_begins_with_configuration_and_a_key_frame() {
    let mut late = Late::default();
    for message in [video(0, HEADER), video(0, KEY), video(40, INTER)] {
        late.note(&message);
    }
    let mut subscriber = Subscriber::start("media", 2, THEIRS, ANSWERING, &late);
    assert_eq!(last(&sent(|| subscriber.poll_action())[4..]), "H");
    for message in [video(80, INTER), video(120, KEY), video(160, INTER)] {
        subscriber.write(&message, &message.encode().into_bytes());
    }
    assert_eq!(last(&sent(|| subscriber.poll_action())), "KI");
}

#[test]
fn video_that_cannot_leave_is_dropped_up_to_a_key_frame() {
    let mut subscriber = Subscriber::start("media", 2, THEIRS, ANSWERING, &Late::default());
    let mut player = player();
    let write = |subscriber: &mut Subscriber, message: Message| {
        subscriber.write(&message, &message.encode().into_bytes());
        last(&sent(|| subscriber.poll_action()))
    };
    sent(|| subscriber.poll_action());
    assert_eq!(write(&mut subscriber, video(0, KEY)), "K");
    assert!(!subscriber.on_flow_input(&FlowInput::Blocked { token: ANSWERING }));
    assert_eq!(write(&mut subscriber, video(40, INTER)), "");
    assert!(!subscriber.on_flow_input(&FlowInput::Writable { token: ANSWERING }));
    assert_eq!(write(&mut subscriber, video(80, INTER)), "", "it lacks the frame before");
    assert_eq!(write(&mut subscriber, video(120, HEADER)), "H");
    assert_eq!(write(&mut subscriber, video(120, KEY)), "K");
    assert_eq!(write(&mut subscriber, video(160, INTER)), "I");
    // The end of one who publishes to a server does the same.
    let published = |player: &mut ClientStream, message: Message| {
        player.write(&message);
        last(&sent(|| player.poll_action()))
    };
    player.on_flow_input(&FlowInput::Blocked { token: ASKING });
    assert_eq!(published(&mut player, video(0, INTER)), "");
    player.on_flow_input(&FlowInput::Writable { token: ASKING });
    assert_eq!(published(&mut player, video(40, INTER)), "");
    assert_eq!(published(&mut player, video(80, KEY)), "K");
    assert_eq!(published(&mut player, video(120, INTER)), "I");
}

#[test]
fn a_subscriber_chooses_what_it_gets() {
    let mut subscriber = Subscriber::start("media", 2, THEIRS, ANSWERING, &Late::default());
    sent(|| subscriber.poll_action());
    let command = |name: &str, flag: bool| {
        let command = Command::new(name, 0.0, vec![Value::from(flag)]);
        Message::new(0, command.encode(ObjectEncoding::Amf0).unwrap()).encode().into_bytes()
    };
    let sound = Message::new(0, Body::Audio(Bytes::from_static(b"\xaf\x01S")));
    let write = |subscriber: &mut Subscriber| {
        for message in [&video(0, KEY), &sound] {
            subscriber.write(message, &message.encode().into_bytes());
        }
        last(&sent(|| subscriber.poll_action()))
    };
    assert_eq!(write(&mut subscriber), "KS");
    let cases =
        [("receiveAudio", false, "K"), ("receiveVideo", false, ""), ("receiveAudio", true, "S")];
    for (name, flag, expected) in cases {
        assert_eq!(subscriber.on_message(&command(name, flag)), None);
        assert_eq!(write(&mut subscriber), expected, "{name} {flag}");
    }
    assert_eq!(subscriber.on_message(&command("receiveVideo", true)), None);
    assert_eq!(subscriber.on_message(&command("pause", true)), None);
    assert_eq!(write(&mut subscriber), "");
    assert_eq!(subscriber.on_message(&command("pause", false)), None);
    assert_eq!(write(&mut subscriber), "KS");
    assert!(subscriber.on_flow_input(&FlowInput::Rejected { token: ANSWERING, code: 0 }));
}

#[test]
fn a_server_that_refuses_ends_a_publication() {
    let mut publisher = client(Request::Publish(vec![Value::from("live1"), Value::from("live")]));
    let status = |level: &str, code: &str| {
        let info = Value::object([("level", level), ("code", code), ("description", "taken")]);
        let command = Command::new("onStatus", 0.0, vec![info]);
        Message::new(0, command.encode(ObjectEncoding::Amf0).unwrap()).encode().into_bytes()
    };
    publisher.on_message(&status("status", "NetStream.Publish.Start"));
    assert!(matches!(publisher.poll_event(), Some(NetStreamEvent::Status(_))));
    publisher.on_message(&status("error", "NetStream.Publish.BadName"));
    let refused = NetStreamError::Refused("taken (NetStream.Publish.BadName)".into());
    assert_eq!(publisher.poll_event(), Some(NetStreamEvent::Failed(refused)));
    assert!(publisher.is_over());
    let actions: Vec<_> = std::iter::from_fn(|| publisher.poll_action()).collect();
    let expected =
        [FlowAction::Finish { token: ASKING }, FlowAction::Reject { flow: THEIRS, code: 0 }];
    assert_eq!(actions, expected);
    publisher.write(&video(0, KEY));
    publisher.close();
    assert_eq!(publisher.poll_action(), None);
}

#[test]
fn hostile_far_ends_hold_a_bounded_number_of_flows() {
    let mut player = player();
    let opened = (10..30)
        .filter(|&flow| player.on_flow_opened(FlowId(flow), b"TC\x04\x02") == FlowDecision::Accept);
    assert_eq!(opened.count(), 7);
    assert_eq!(player.on_flow_opened(FlowId(40), b"GR\x1c"), FlowDecision::REJECT);
    player.on_flow_finished(THEIRS);
    assert_eq!(player.on_flow_opened(FlowId(41), b"TC\x04\x02"), FlowDecision::Accept);
    for message in [&b""[..], b"\x11", b"\x11\0\0\0\0\0\x0a", b"\x0f\0\0\0\0", b"\x63\0\0\0\0x"] {
        player.on_message(&Bytes::copy_from_slice(message));
    }
    assert_eq!(player.poll_event(), None);
    player.on_session_closed();
    player.on_session_closed();
    let closed = NetStreamEvent::Failed(NetStreamError::Closed);
    assert_eq!((player.poll_event(), player.poll_event()), (Some(closed), None));
}

#[test]
fn late_messages_are_the_latest_of_each_part() {
    let mut late = Late::default();
    let metadata = |end: &'static [u8]| Body::Data(Format::Plain, Bytes::from_static(end));
    late.note(&Message::new(0, metadata(b"\x02\0\x0aonMetaData1")));
    late.note(&Message::new(50, metadata(b"\x02\0\x0aonMetaData2")));
    late.note(&video(60, HEADER));
    late.note(&video(70, INTER));
    let messages: Vec<_> = late.messages().collect();
    let parts: Vec<_> = messages.iter().map(|it| ConfigurationPart::of(&it.body)).collect();
    assert_eq!(parts, [Some(ConfigurationPart::Metadata), Some(ConfigurationPart::Video)]);
    assert_eq!(messages[0], Message::new(70, metadata(b"\x02\0\x0aonMetaData2")));
}

#[test]
fn hostile_refusals_are_shortened() {
    let long = Value::object([("code", "c".repeat(5000).as_str()), ("description", "d")]);
    let NetStreamError::Refused(text) = NetStreamError::refused(&long) else { unreachable!() };
    assert!(text.len() < 1000, "{} bytes", text.len());
}
