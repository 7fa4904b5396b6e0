//! [`ClientStream`]: the end that asks for a stream.

use super::{NetStreamError, NetStreamEvent, delivery};
use crate::amf::Value;
use crate::flash::{
    Body, Command, ConfigurationPart, FlashError, FlowDecision, FlowMetadata, Message,
    ObjectEncoding,
};
use crate::transport::{FlowAction, FlowId, FlowInput, FlowToken, MessageOptions};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// The most flows that the far end may have open for one stream; more are rejected.
const MAX_FLOWS: usize = 8;

/// The beginning of the data message `|RtmpSampleAccess`.
const SAMPLE_ACCESS: &[u8] = b"\x02\0\x11|RtmpSampleAccess";

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// To play a stream, with the arguments of `NetStream.play`: the name comes first; start and
    /// length, if given, are in milliseconds here.
    Play(Vec<Value>),
    /// To publish a stream: the name and the kind, `live`.
    Publish(Vec<Value>),
}

/// A stream that is played from a peer or a server, or published to a server.
///
/// After every call, carry out what [`poll_action`](Self::poll_action) returns, then take
/// [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct ClientStream {
    token: FlowToken,
    encoding: ObjectEncoding,
    is_publisher: bool,
    flows: BTreeSet<FlowId>,
    is_blocked: bool,
    /// Video is skipped up to the next key frame.
    lacks_key_frame: bool,
    is_over: bool,
    actions: VecDeque<FlowAction>,
    events: VecDeque<NetStreamEvent>,
}

impl ClientStream {
    /// Opens a flow named `token` for the stream ID `stream`, associated with a flow of the server
    /// or with none, and asks.
    ///
    /// # Errors
    ///
    /// What [`Command::encode`] finds wrong with the arguments.
    pub fn open(
        request: Request,
        stream: u32,
        token: FlowToken,
        association: Option<FlowId>,
        encoding: ObjectEncoding,
    ) -> Result<Self, FlashError> {
        let is_publisher = matches!(request, Request::Publish(_));
        let command = match request {
            Request::Play(args) => Command::new("play", 0.0, args),
            Request::Publish(args) => Command::new("publish", 0.0, args),
        };
        let body = command.encode(encoding)?;
        let mut opened = Self {
            token,
            encoding,
            is_publisher,
            flows: BTreeSet::new(),
            is_blocked: false,
            lacks_key_frame: false,
            is_over: false,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        };
        let metadata = FlowMetadata::tc(stream).encode();
        let options = delivery::flow(association);
        opened.actions.push_back(FlowAction::Open { token, metadata, options });
        opened.push(&Message::new(0, body), MessageOptions::RELIABLE);
        opened.events.push_back(NetStreamEvent::Connected);
        Ok(opened)
    }

    /// Sends a message: what is published, or, of one who plays, data for the publisher. Audio and
    /// video that would wait for long are dropped.
    pub fn write(&mut self, message: &Message) {
        let body = &message.body;
        if matches!(body, Body::Video(_)) && ConfigurationPart::of(body).is_none() {
            self.lacks_key_frame |= self.is_blocked;
            self.lacks_key_frame &= self.is_blocked || !body.is_key_frame();
            if self.lacks_key_frame {
                return;
            }
        }
        self.push(message, delivery::of(body));
    }

    /// Sends a command of a NetStream: `pause`, `seek`, `receiveAudio`, `receiveVideo`.
    ///
    /// # Errors
    ///
    /// What [`Command::encode`] finds wrong with the arguments.
    pub fn command(&mut self, name: &str, args: Vec<Value>) -> Result<(), FlashError> {
        let body = Command::new(name, 0.0, args).encode(self.encoding)?;
        self.push(&Message::new(0, body), MessageOptions::RELIABLE);
        Ok(())
    }

    /// Ends the stream, as Flash Player does: `closeStream`, the end of the flow, and a rejection of
    /// each flow of the far end. No event follows.
    pub fn close(&mut self) {
        if self.is_over {
            return;
        }
        // `closeStream` has no arguments, so that there is an encoding.
        let _ = self.command("closeStream", Vec::new());
        self.end();
        self.events.clear();
    }

    /// The far end opened a flow that is associated with this stream's.
    pub fn on_flow_opened(&mut self, flow: FlowId, metadata: &[u8]) -> FlowDecision {
        match FlowMetadata::parse(metadata) {
            Some(FlowMetadata::Tc { .. }) if !self.is_over && self.flows.len() < MAX_FLOWS => {
                self.flows.insert(flow);
                FlowDecision::Accept
            }
            _ => FlowDecision::REJECT,
        }
    }

    /// A flow of the far end delivered a message. Malformed messages are ignored.
    pub fn on_message(&mut self, message: &Bytes) {
        if self.is_over {
            return;
        }
        match Message::parse(message) {
            Ok(message) => self.handle(message),
            Err(error) => tracing::debug!(%error, "message of a stream ignored"),
        }
    }

    fn handle(&mut self, message: Message) {
        match &message.body {
            Body::Command(_, values) => match Command::parse(values) {
                Ok(command) if matches!(&*command.name, "onStatus" | "_error") => {
                    self.status(command.args.into_iter().next().unwrap_or_default());
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "command of a stream ignored"),
            },
            // Permissions of a player, which no application gets.
            Body::Data(_, values) if values.starts_with(SAMPLE_ACCESS) => {}
            Body::Audio(_) | Body::Video(_) | Body::Data(..) => {
                self.events.push_back(NetStreamEvent::Message(message));
            }
            _ => {}
        }
    }

    fn status(&mut self, info: Value) {
        let text = |name| info.property(name).and_then(Value::as_str);
        let (code, is_error) = (text("code").unwrap_or_default(), text("level") == Some("error"));
        let event = match code {
            "NetStream.Play.Reset" => NetStreamEvent::Reset,
            "NetStream.Play.UnpublishNotify" => NetStreamEvent::Ended,
            "NetStream.Play.Failed" | "NetStream.Play.StreamNotFound" if is_error => {
                return self.fail(NetStreamError::refused(&info));
            }
            _ if is_error && self.is_publisher => {
                return self.fail(NetStreamError::refused(&info));
            }
            _ => NetStreamEvent::Status(info),
        };
        self.events.push_back(event);
    }

    /// The far end finished a flow.
    pub fn on_flow_finished(&mut self, flow: FlowId) {
        self.flows.remove(&flow);
    }

    /// Something happened to this stream's flow.
    pub fn on_flow_input(&mut self, input: &FlowInput) {
        match input {
            FlowInput::Blocked { .. } => self.is_blocked = true,
            FlowInput::Writable { .. } => self.is_blocked = false,
            FlowInput::Refused { .. } => self.lacks_key_frame = true,
            FlowInput::Rejected { .. } => self.fail(NetStreamError::Rejected),
            _ => {}
        }
    }

    /// The session is closed.
    pub fn on_session_closed(&mut self) {
        if !self.is_over {
            self.is_over = true;
            self.events.push_back(NetStreamEvent::Failed(NetStreamError::Closed));
        }
    }

    /// The next action for the session.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<FlowAction> {
        self.actions.pop_front()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<NetStreamEvent> {
        self.events.pop_front()
    }

    /// True after the end; no event follows those that wait.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    fn fail(&mut self, error: NetStreamError) {
        if !self.is_over {
            self.end();
            self.events.push_back(NetStreamEvent::Failed(error));
        }
    }

    fn end(&mut self) {
        self.is_over = true;
        self.actions.push_back(FlowAction::Finish { token: self.token });
        for flow in std::mem::take(&mut self.flows) {
            self.actions.push_back(FlowAction::Reject { flow, code: 0 });
        }
    }

    fn push(&mut self, message: &Message, options: MessageOptions) {
        if !self.is_over {
            let message = message.encode().into_bytes();
            self.actions.push_back(FlowAction::Send { token: self.token, message, options });
        }
    }
}
