//! Messages of Adobe Flash Player 10.3 (WIN 10,3,183,48), recorded on loopback, as they were on the
//! wire: what we read in them, and that we write the same.

use super::*;
use crate::amf::EcmaArray;
use crate::flash::{
    Body, ClientConfig, ClientConnection, ClientEvent, Format, Methods, Uri, UserControl,
};

const FLASH_CONNECT: &str = "
    1400000000020007636f6e6e656374003ff00000000000000300036170700200086170702f696e73740008666c6173
    6856657202000f57494e2031302c332c3138332c3438000673776655726c060005746355726c02001f72746d66703a
    2f2f3132372e302e302e313a323530302f6170702f696e73740004667061640100000c6361706162696c6974696573
    00406d600000000000000b617564696f436f646563730040a8ee0000000000000b766964656f436f6465637300406f
    800000000000000d766964656f46756e6374696f6e003ff000000000000000077061676555726c06000e6f626a6563
    74456e636f64696e67004008000000000000000009020004617267310040000000000000000300016100\
    3ff0000000000000000162020001780001630800000002000130003ff00000000000000001310040000000000000000
    0000900016405000009";

const SERVER_RESULT: &str = "
    14000000000200075f726573756c74003ff000000000000005030004636f646502001d4e6574436f6e6e656374696f
    6e2e436f6e6e6563742e5375636365737300056c6576656c020006737461747573000b6465736372697074696f6e02
    00026f6b000e6f626a656374456e636f64696e67004008000000000000000009";

const FLASH_ECHO: &str = "
    1100000019000200046563686f004000000000000000050200026869004045000000000000110a0b01036104010362
    06037803630905010401040203640101110907010401060774776f05400c000000000000110c0b0001020304050101
    06110801426d1a94a2000000110a01080c0700010201";

const SERVER_ECHO: &str = "
    14000000000200075f726573756c74004000000000000000050200026869004045000000000000110a0b0103610401
    036206037803630905010401040203640101110907010401060774776f05400c000000000000110c0b000102030405
    01010611 0801426d1a94a2000000110a01080c0700010201";

const FLASH_ERR: &str = "1100000019000200036572720040080000000000000502000178";
const FLASH_ECHO3: &str = "110000001a000200056563686f3300401000000000000005";
const FLASH_NORESP: &str = "110000001a000200066e6f726573700000000000000000000500401c000000000000";

const SET_PEER_INFO: &str = "
    1100000030 00 02000b736574506565 72496e666f 000000000000000000 05
    02000d302e302e302e303a3538333739 02000f31302e37372e302e313a3538333739";

fn flash_args() -> Vec<Value> {
    let array =
        EcmaArray { length: 2, members: vec![("0".into(), 1.0.into()), ("1".into(), 2.0.into())] };
    let object = Value::object([
        ("a", Value::from(1.0)),
        ("b", "x".into()),
        ("c", array.into()),
        ("d", Value::Null),
    ]);
    vec!["arg1".into(), 2.0.into(), object]
}

#[test]
fn connect_of_flash_player() {
    let mut server = idle_server(quiet_config());
    server.on_message(Time::ZERO, CONTROL, &hex(FLASH_CONNECT));
    let Some(ServerConnectionEvent::ConnectRequested(request)) = server.poll_event() else {
        panic!("no request");
    };
    assert_eq!(&*request.app, "app/inst");
    assert_eq!(request.tc_url.as_deref(), Some("rtmfp://127.0.0.1:2500/app/inst"));
    assert_eq!(request.flash_version.as_deref(), Some("WIN 10,3,183,48"));
    assert_eq!((request.swf_url, request.page_url), (None, None));
    assert_eq!(request.encoding, ObjectEncoding::Amf3);
    assert_eq!(request.object.members().len(), 11);
    assert_eq!(request.args, flash_args());
}

#[test]
fn the_answer_that_flash_player_took() {
    let mut server = idle_server(quiet_config());
    server.on_message(Time::ZERO, CONTROL, &hex(FLASH_CONNECT));
    server.accept(Time::ZERO, NO_EXTRA).unwrap();
    let actions = actions(|| server.poll_action());
    let [
        FlowAction::Open { token, metadata, options: FlowOptions { association, .. } },
        FlowAction::Send { token: flow, message, .. },
    ] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!((&metadata[..], *association), (&b"TC\x04\0"[..], Some(CONTROL)));
    assert_eq!((token, &message[..]), (flow, &hex(SERVER_RESULT)[..]));
}

#[test]
fn our_connect_has_the_form_of_flash_players() {
    let config =
        ClientConfig { flash_version: "WIN 10,3,183,48".into(), ..ClientConfig::default() };
    let uri = Uri::parse("rtmfp://127.0.0.1:2500/app/inst").unwrap();
    let mut client = ClientConnection::connect(Time::ZERO, config, &uri, flash_args()).unwrap();
    let actions = actions(|| client.poll_action());
    let [
        FlowAction::Open { metadata, options: FlowOptions { association: None, .. }, .. },
        FlowAction::Send { message, .. },
    ] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(metadata[..], *b"TC\x04\0");
    assert_eq!(message[..], hex(FLASH_CONNECT));
}

#[test]
fn our_client_takes_the_answer_that_flash_player_took() {
    let uri = Uri::parse("rtmfp://127.0.0.1:2500/app/inst").unwrap();
    let mut client =
        ClientConnection::connect(Time::ZERO, ClientConfig::default(), &uri, vec![]).unwrap();
    while client.poll_action().is_some() {}
    client.set_addresses(Time::ZERO, &["10.77.0.1:58379".parse().unwrap()]);
    let control = client.control_flow();
    let decision = client.on_flow_opened(Time::ZERO, FlowId(2), b"TC\x04\0", control);
    assert_eq!(decision, FlowDecision::Accept);
    client.on_message(Time::from_millis(0x30), FlowId(2), &hex(SERVER_RESULT));
    let Some(ClientEvent::Connected { info, properties, encoding }) = client.poll_event() else {
        panic!("not connected");
    };
    assert_eq!(info.property("description"), Some(&"ok".into()));
    assert_eq!((properties, encoding), (Value::Null, ObjectEncoding::Amf3));
    let actions = actions(|| client.poll_action());
    let [FlowAction::Send { message, .. }] = &actions[..] else { panic!("{actions:?}") };
    let without_any_address = SET_PEER_INFO.replace("02000d302e302e302e303a3538333739", "");
    assert_eq!(message[..], hex(&without_any_address));
}

#[test]
fn the_first_minute_of_a_session() {
    let config =
        ServerConnectionConfig { methods: Methods::named(["echo", "noresp"]), ..quiet_config() };
    let mut server = idle_server(config);
    let receive = |server: &mut ServerConnection, text| {
        server.on_message(Time::from_millis(1), CONTROL, &hex(text));
    };
    receive(&mut server, FLASH_CONNECT);
    assert!(matches!(server.poll_event(), Some(ServerConnectionEvent::ConnectRequested(_))));
    server.accept(Time::ZERO, NO_EXTRA).unwrap();
    assert_eq!(sent(&mut server).len(), 1);

    receive(&mut server, SET_PEER_INFO);
    let Some(ServerConnectionEvent::PeerInfo(addresses)) = server.poll_event() else { panic!() };
    assert_eq!(addresses, ["10.77.0.1:58379".parse().unwrap()]);

    receive(&mut server, FLASH_ECHO);
    let Some(ServerConnectionEvent::Call(mut echo)) = server.poll_event() else { panic!() };
    assert_eq!((&*echo.name, echo.args.len()), ("echo", 10));
    assert_eq!(echo.args[..2], ["hi".into(), 42.0.into()]);
    let first = Ok(echo.args.swap_remove(0));
    server.answer(Time::ZERO, echo.responder.unwrap(), first).unwrap();
    assert_eq!(sent(&mut server), [r#"_result 2 null "hi""#]);

    receive(&mut server, FLASH_ERR);
    receive(&mut server, FLASH_ECHO3);
    let answers = sent(&mut server);
    assert_eq!(answers.len(), 2);
    assert!(answers[0].starts_with("_error 3 null {"), "{answers:?}");
    assert!(answers[0].contains(r#"code: "NetConnection.Call.Failed""#), "{answers:?}");
    assert!(answers[1].starts_with("_error 4 null {"), "{answers:?}");

    receive(&mut server, FLASH_NORESP);
    let Some(ServerConnectionEvent::Call(call)) = server.poll_event() else { panic!() };
    assert_eq!((&*call.name, call.args), ("noresp", vec![7.0.into()]));
    assert!(call.responder.is_none());
    assert!(server.poll_event().is_none() && server.poll_action().is_none());
}

#[test]
fn commands_are_written_as_flash_player_writes_them() {
    let flash = [FLASH_ECHO, FLASH_ERR, FLASH_ECHO3, FLASH_NORESP, SET_PEER_INFO];
    for wire in flash.map(hex) {
        let message = Message::parse(&wire).unwrap();
        let Body::Command(Format::Extended, values) = &message.body else { panic!() };
        let command = Command::parse(values).unwrap();
        let body = command.encode(ObjectEncoding::Amf3).unwrap();
        assert_eq!(Message::new(message.timestamp, body).encode().into_bytes(), wire);
    }
}

#[test]
fn amf3_values_in_a_plain_command() {
    let values = |text| match Message::parse(&hex(text)).unwrap().body {
        Body::Command(_, values) => Command::parse(&values).unwrap(),
        other => panic!("{other:?}"),
    };
    let (call, answer) = (values(FLASH_ECHO), values(SERVER_ECHO));
    assert_eq!((&*answer.name, answer.transaction), ("_result", 2.0));
    assert_eq!(answer.args, call.args);
}

#[test]
fn ping_response_and_keepalive_bytes() {
    let (mut server, _) = accepted_server(quiet_config(), 3.0);
    server.on_message(Time::ZERO, CONTROL, &hex("04 00000000 0006 01020304"));
    let pong = actions(|| server.poll_action());
    let [FlowAction::Send { message, .. }] = &pong[..] else { panic!("{pong:?}") };
    assert_eq!(message[..], hex("04 00000000 0007 01020304"));

    let mut server = idle_server(ServerConnectionConfig::default());
    server.on_message(Time::ZERO, CONTROL, &hex(FLASH_CONNECT));
    server.accept(Time::ZERO, NO_EXTRA).unwrap();
    let last = actions(|| server.poll_action()).pop();
    let Some(FlowAction::Send { message, .. }) = last else { panic!("{last:?}") };
    assert_eq!(message[..], hex("04 00000000 0029 00004e20 00004e20"));
    let parsed = Message::parse(&message).unwrap();
    assert!(matches!(parsed.body, Body::UserControl(UserControl::SetKeepalive(_))));
}
