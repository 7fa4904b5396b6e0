//! Whatever the far end sends: no panic, no message that kills Flash Player, nothing without bound.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::flash::{ClientConfig, ClientConnection, Methods, Uri, action, message::HEADER_LEN};

const NAMES: [&str; 13] = [
    "connect",
    "_result",
    "_error",
    "onStatus",
    "setPeerInfo",
    "createStream",
    "deleteStream",
    "play",
    "publish",
    "closeStream",
    "relay",
    "",
    "close",
];

#[derive(Debug, Clone)]
enum Input {
    Open(u64, Vec<u8>, Option<u32>),
    Message(u64, Vec<u8>),
    Finished(u64),
    Rejected(u32),
    Decide(bool),
    Close,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Undefined),
        Just(Value::Null),
        any::<f64>().prop_map(Value::from),
        (0..4u32).prop_map(|number| Value::from(f64::from(number))),
        Just(Value::from("1.2.3.4:5")),
        Just(Value::object([("code", "NetConnection.Connect.Success")])),
        Just(Value::object([("app", "x"), ("objectEncoding", "3")])),
    ]
}

/// Commands, whole and with a byte changed or cut off; User Control events; noise.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let transaction = prop_oneof![Just(0.0), Just(1.0), Just(2.0), any::<f64>()];
    let damage = proptest::option::weighted(0.2, (any::<proptest::sample::Index>(), any::<u8>()));
    let parts = (0..NAMES.len(), transaction, value(), vec(value(), 0..4), any::<bool>(), damage);
    let command = parts.prop_map(|(name, transaction, object, args, amf3, damage)| {
        let command = Command { object, ..Command::new(NAMES[name], transaction, args) };
        let encoding = if amf3 { ObjectEncoding::Amf3 } else { ObjectEncoding::Amf0 };
        let mut bytes = message(encoding, &command).to_vec();
        match damage {
            Some((at, 0)) => bytes.truncate(at.index(bytes.len())),
            Some((at, other)) => {
                let at = at.index(bytes.len());
                bytes[at] = other;
            }
            None => {}
        }
        bytes
    });
    let control = vec(any::<u8>(), 0..12).prop_map(|tail| {
        [&[4, 0, 0, 0, 0, 0][..], &tail].concat() // events of type 0..255
    });
    prop_oneof![8 => command, 1 => control, 1 => vec(any::<u8>(), 0..20)]
}

fn any_input() -> impl Strategy<Value = Input> {
    let metadata = prop_oneof![
        4 => Just(b"TC\x04\0".to_vec()),
        4 => Just(b"TC\x04\x01".to_vec()),
        1 => Just(b"GC".to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    prop_oneof![
        4 => (1..6u64, metadata, proptest::option::of(0..3u32))
            .prop_map(|(flow, metadata, of)| Input::Open(flow, metadata, of)),
        20 => (1..6u64, any_message()).prop_map(|(flow, message)| Input::Message(flow, message)),
        1 => (1..6u64).prop_map(Input::Finished),
        1 => (0..3u32).prop_map(Input::Rejected),
        3 => any::<bool>().prop_map(Input::Decide),
        1 => Just(Input::Close),
    ]
}

/// The rules for all actions of one connection.
#[derive(Default)]
struct Checker {
    opened: Vec<FlowToken>,
    closed: bool,
}

impl Checker {
    fn check(&mut self, action: &FlowAction) {
        assert!(!self.closed, "nothing follows the end of the session: {action:?}");
        match action {
            FlowAction::Open { token, .. } => {
                assert!(!self.opened.contains(token), "a token is used once");
                self.opened.push(*token);
            }
            FlowAction::Send { token: flow, message, .. } => {
                assert!(self.opened.contains(flow), "a flow is opened before it is used");
                assert!(message.len() >= HEADER_LEN);
            }
            FlowAction::Finish { .. } | FlowAction::Reject { .. } => {}
            FlowAction::Close => self.closed = true,
        }
    }
}

/// Feeds inputs to a connection, taking its actions after each.
macro_rules! feed {
    ($connection:ident, $checker:ident, $inputs:ident, $decide:expr) => {
        for input in $inputs {
            match input {
                Input::Open(flow, metadata, of) => {
                    let of = of.map(FlowToken);
                    let _ = $connection.on_flow_opened(Time::ZERO, FlowId(flow), &metadata, of);
                }
                Input::Message(flow, message) => {
                    $connection.on_message(Time::ZERO, FlowId(flow), &message.into());
                }
                Input::Finished(flow) => $connection.on_flow_finished(FlowId(flow)),
                Input::Rejected(token) => $connection.on_flow_rejected(FlowToken(token), 0),
                Input::Decide(yes) => $decide(&mut $connection, yes),
                Input::Close => $connection.close(),
            }
            let actions = actions(|| $connection.poll_action());
            assert!(actions.len() < 100, "few actions for one input");
            actions.iter().for_each(|action| $checker.check(action));
        }
        let events = std::iter::from_fn(|| $connection.poll_event()).count();
        assert!(events <= action::MAX_EVENTS);
    };
}

proptest! {
    #[test]
    fn server_survives_anything(inputs in vec(any_input(), 0..60)) {
        let config = ServerConnectionConfig { methods: Methods::All, ..ServerConnectionConfig::default() };
        let mut server = ServerConnection::new(Time::ZERO, config);
        let metadata = FlowMetadata::tc(0).encode();
        let _ = server.on_flow_opened(Time::ZERO, FlowId(1), &metadata, None);
        let mut checker = Checker::default();
        let decide = |server: &mut ServerConnection, yes| {
            let _ = match yes {
                true => server.accept(Time::ZERO, NO_EXTRA),
                false => server.reject(Time::ZERO, &crate::flash::Rejection::new("no")),
            };
        };
        feed!(server, checker, inputs, decide);
    }

    #[test]
    fn client_survives_anything(inputs in vec(any_input(), 0..60)) {
        let uri = Uri::parse("rtmfp://h/a").unwrap();
        let config = ClientConfig { methods: Methods::All, ..ClientConfig::default() };
        let mut client = ClientConnection::connect(Time::ZERO, config, &uri, vec![]).unwrap();
        let control = client.control_flow();
        let _ = client.on_flow_opened(Time::ZERO, FlowId(1), b"TC\x04\0", control);
        let mut checker = Checker::default();
        let decide = |client: &mut ClientConnection, yes| {
            if yes {
                let _ = client.call(Time::ZERO, "x", vec![]);
            }
        };
        feed!(client, checker, inputs, decide);
    }
}

#[test]
fn messages_shorter_than_a_header() {
    let (mut server, _) = accepted_server(quiet_config(), 3.0);
    for len in 0..=HEADER_LEN {
        for kind in [0x04, 0x11, 0x14, 0x0f, 0x08] {
            let message = Bytes::copy_from_slice(&[kind, 0, 0, 0, 0][..len]);
            server.on_message(Time::ZERO, CONTROL, &message);
        }
    }
    assert!(server.poll_action().is_none() && server.poll_event().is_none());
}

#[test]
fn truncated_commands_change_nothing() {
    let whole = connect(Value::object([("app", "x")]));
    for cut in (0..whole.len()).filter(|&cut| cut != whole.len() - 1) {
        let mut server = idle_server(quiet_config());
        server.on_message(Time::ZERO, CONTROL, &whole.slice(..cut));
        let without_object = cut == 24; // the command object may be missing
        assert_eq!(server.poll_event().is_some(), without_object, "{cut}");
    }
}

#[test]
fn events_that_nobody_takes_are_bounded() {
    let config = ServerConnectionConfig { methods: Methods::All, ..quiet_config() };
    let (mut server, _) = accepted_server(config, 3.0);
    for _ in 0..1000 {
        server.on_message(Time::ZERO, CONTROL, &call("x", 0.0, vec![]));
    }
    let events = std::iter::from_fn(|| server.poll_event()).count();
    assert_eq!(events, action::MAX_EVENTS);
    assert_eq!(server.dropped_events(), 1000 - events as u64);
}
