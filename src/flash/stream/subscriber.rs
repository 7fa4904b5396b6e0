//! [`Subscriber`]: the end of a publisher, for one who plays.

use super::gate::Gate;
use super::{Late, delivery};
use crate::amf::{AmfError, Encoding, Value, Writer};
use crate::flash::{
    Body, Command, FlashError, FlowMetadata, Format, Message, ObjectEncoding, UserControl,
};
use crate::transport::{FlowAction, FlowId, FlowInput, FlowToken, MessageOptions};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// The command `play`, the first message of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayRequest {
    /// The name of the stream.
    pub name: Arc<str>,
}

impl PlayRequest {
    /// Parses the first message of a flow; `None` if it is something else.
    pub fn parse(message: &Bytes) -> Option<Self> {
        let Body::Command(_, values) = Message::parse(message).ok()?.body else { return None };
        let command = Command::parse(&values).ok()?;
        match (&*command.name, command.args.into_iter().next()) {
            ("play", Some(Value::String(name))) => Some(Self { name }),
            _ => None,
        }
    }
}

/// What a subscriber's flow carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromSubscriber {
    /// `NetStream.send` of the subscriber.
    Message(Message),
    /// It plays no longer.
    Close,
}

/// One who plays a stream, seen from its publisher.
///
/// After every call, carry out what [`poll_action`](Self::poll_action) returns.
#[derive(Debug)]
pub struct Subscriber {
    token: FlowToken,
    actions: VecDeque<FlowAction>,
    gate: Gate,
}

impl Subscriber {
    /// Answers `play` of the stream `name`, which came on `flow` with the stream ID `stream`, on a flow
    /// named `token`, as Flash Player does, and sends what a late subscriber needs.
    pub fn start(name: &str, stream: u32, flow: FlowId, token: FlowToken, late: &Late) -> Self {
        let mut subscriber = Self { token, actions: VecDeque::new(), gate: Gate::new() };
        let metadata = FlowMetadata::tc(stream).encode();
        let options = delivery::flow(Some(flow));
        subscriber.actions.push_back(FlowAction::Open { token, metadata, options });
        for body in beginning(name, stream).into_iter().flatten() {
            subscriber.send(&Message::new(0, body));
        }
        for message in late.messages() {
            subscriber.send(&message);
        }
        subscriber
    }

    /// Sends a message of the stream; `encoded` is the same, for all subscribers once. Audio and
    /// video that the subscriber does not want, or that would wait for long, are dropped.
    pub fn write(&mut self, message: &Message, encoded: &Bytes) {
        if self.gate.admits(&message.body) {
            let options = delivery::of(&message.body);
            self.push(encoded.clone(), options);
        }
    }

    /// A message on the flow on which the subscriber asked for the stream.
    pub fn on_message(&mut self, message: &Bytes) -> Option<FromSubscriber> {
        let message = Message::parse(message).ok()?;
        let Body::Command(_, values) = &message.body else {
            return matches!(message.body, Body::Data(..))
                .then_some(FromSubscriber::Message(message));
        };
        let command = Command::parse(values).ok()?;
        let flag = command.args.first().and_then(Value::as_bool);
        match (&*command.name, flag) {
            ("closeStream" | "deleteStream", _) => return Some(FromSubscriber::Close),
            (name, Some(flag)) => self.gate.on_command(name, flag),
            _ => {}
        }
        None
    }

    /// Something happened to the flow on which it is answered. True if it plays no longer.
    pub fn on_flow_input(&mut self, input: &FlowInput) -> bool {
        match input {
            FlowInput::Blocked { .. } => self.gate.set_blocked(true),
            FlowInput::Writable { .. } => self.gate.set_blocked(false),
            FlowInput::Refused { .. } => self.gate.miss(),
            FlowInput::Rejected { .. } => {
                self.actions.push_back(FlowAction::Finish { token: self.token });
                return true;
            }
            _ => {}
        }
        false
    }

    /// The publisher ends the stream `name`: Flash's `NetStream.Play.UnpublishNotify`, then the end
    /// of the flow.
    pub fn end(&mut self, timestamp: u32, name: &str) {
        let description = format!("{name} is now unpublished.");
        if let Ok(body) = status("NetStream.Play.UnpublishNotify", &description) {
            self.send(&Message::new(timestamp, body));
        }
        self.stop();
    }

    /// Ends the flow; the subscriber has left.
    pub fn stop(&mut self) {
        self.actions.push_back(FlowAction::Finish { token: self.token });
    }

    /// The flow on which it is answered.
    pub fn token(&self) -> FlowToken {
        self.token
    }

    /// The next action for the session.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<FlowAction> {
        self.actions.pop_front()
    }

    fn send(&mut self, message: &Message) {
        self.push(message.encode().into_bytes(), MessageOptions::RELIABLE);
    }

    fn push(&mut self, message: Bytes, options: MessageOptions) {
        self.actions.push_back(FlowAction::Send { token: self.token, message, options });
    }
}

/// What Flash Player sends first.
fn beginning(name: &str, stream: u32) -> Result<[Body; 4], FlashError> {
    Ok([
        Body::Data(Format::Extended, sample_access()?),
        Body::UserControl(UserControl::StreamBegin(stream)),
        status("NetStream.Play.Reset", &format!("Playing and resetting {name}"))?,
        status("NetStream.Play.Start", &format!("Started playing {name}"))?,
    ])
}

/// The values of the data message by which a player learns that it gets no samples.
pub(in super::super) fn sample_access() -> Result<Bytes, AmfError> {
    let mut access = Writer::new(Encoding::Amf0);
    for value in [Value::from("|RtmpSampleAccess"), Value::from(false), Value::from(false)] {
        access.write(&value)?;
    }
    Ok(access.into_bytes())
}

/// `onStatus` with AMF0 values in an extended message.
fn status(code: &str, description: &str) -> Result<Body, FlashError> {
    let info = Value::object([("level", "status"), ("code", code), ("description", description)]);
    match Command::new("onStatus", 0.0, vec![info]).encode(ObjectEncoding::Amf0)? {
        Body::Command(_, values) => Ok(Body::Command(Format::Extended, values)),
        other => Ok(other),
    }
}
