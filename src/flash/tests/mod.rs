//! Behaviour of the module as a whole.

mod client;
mod flash_rules;
mod hostile;
mod pair;
mod replay;
mod server;

use bytes::Bytes;

use super::{
    Command, FlowDecision, Message, ObjectEncoding, ServerConnection, ServerConnectionConfig,
    ServerConnectionEvent, metadata::FlowMetadata,
};
use crate::amf::Value;
use crate::transport::{FlowAction, FlowId, FlowOptions, FlowToken, Time};

/// The flow on which Flash Player opens a connection.
const CONTROL: FlowId = FlowId(2);

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<_>>().into()
}

fn message(encoding: ObjectEncoding, command: &Command) -> Bytes {
    Message::new(0, command.encode(encoding).unwrap()).encode().into_bytes()
}

fn call(name: &str, transaction: f64, args: Vec<Value>) -> Bytes {
    message(ObjectEncoding::Amf3, &Command::new(name, transaction, args))
}

fn connect(object: Value) -> Bytes {
    let command = Command { object, ..Command::new("connect", 1.0, vec![]) };
    message(ObjectEncoding::Amf0, &command)
}

/// The contents of a message sent, as `name transaction object args…`.
fn text(message: &[u8]) -> String {
    let body = Message::parse(&Bytes::copy_from_slice(message)).unwrap().body;
    let super::Body::Command(_, values) = body else {
        return format!("{body:?}");
    };
    let command = Command::parse(&values).unwrap();
    let mut text = format!("{} {} {}", command.name, command.transaction, command.object);
    command.args.iter().for_each(|arg| text += &format!(" {arg}"));
    text
}

fn actions(poll: impl FnMut() -> Option<FlowAction>) -> Vec<FlowAction> {
    std::iter::from_fn(poll).collect()
}

/// The messages among the actions of a server, as text.
fn sent(server: &mut ServerConnection) -> Vec<String> {
    let actions = actions(|| server.poll_action());
    let messages = actions.iter().filter_map(|action| match action {
        FlowAction::Send { message, .. } => Some(text(message)),
        _ => None,
    });
    messages.collect()
}

fn quiet_config() -> ServerConnectionConfig {
    ServerConnectionConfig {
        keepalive: None,
        description: "ok".into(),
        ..ServerConnectionConfig::default()
    }
}

/// A server with its client's control flow open.
fn idle_server(config: ServerConnectionConfig) -> ServerConnection {
    let mut server = ServerConnection::new(Time::ZERO, config);
    let metadata = FlowMetadata::tc(0).encode();
    let decision = server.on_flow_opened(Time::ZERO, CONTROL, &metadata, None);
    assert_eq!(decision, FlowDecision::Accept);
    server
}

/// A server with an accepted client of this encoding, all actions taken, and its control flow.
fn accepted_server(config: ServerConnectionConfig, encoding: f64) -> (ServerConnection, FlowToken) {
    let mut server = idle_server(config);
    let object = Value::object([("app", "live".into()), ("objectEncoding", Value::from(encoding))]);
    server.on_message(Time::ZERO, CONTROL, &connect(object));
    assert!(matches!(server.poll_event(), Some(ServerConnectionEvent::ConnectRequested(_))));
    server.accept(Time::ZERO, NO_EXTRA).unwrap();
    while server.poll_action().is_some() {}
    let flow = server.control_flow().unwrap();
    (server, flow)
}

const NO_EXTRA: [(&str, Value); 0] = [];
