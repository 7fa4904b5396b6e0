//! The server's end of a NetConnection (RFC 7425 §5.3), for one client.

mod net_streams;
mod request;
mod streams;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::action::EventQueue;
use super::control::Control;
use super::shared_object::SharedObjectMessage;
use super::{
    Body, Call, CallId, Command, FlashError, FlowDecision, FlowMetadata, Keepalive, Message,
    Methods, ObjectEncoding, Responder, UserControl, peer_info,
};
use crate::amf::Value;
use crate::transport::{FlowAction, FlowId, FlowToken, Time};

pub use request::{ConnectRequest, Rejection};
pub use streams::{MAX_STREAMS, StreamEvent};
use streams::{Out, Streams};

/// The most flows that a client may have open to its server; more are rejected.
pub const MAX_FLOWS: usize = 64;

/// The most messages that wait while a connect request is undecided; with more the connection is
/// closed.
pub const MAX_EARLY: usize = 32;

/// The most bytes in those messages; with more the connection is closed.
pub const MAX_EARLY_BYTES: usize = 64 * 1024;

const FIRST_CALL: u32 = 1;

/// Configuration of a server's answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConnectionConfig {
    /// The keepalive periods to advise after `connect`, none for Flash Player's own (90 s to the
    /// server, 20 s to peers). Most NATs forget a silent session after 30 s.
    pub keepalive: Option<Keepalive>,
    /// `description` of the answer to `connect`.
    pub description: String,
    /// The properties in the answer to `connect`: an object or null.
    pub properties: Value,
    /// The methods that the client may call. `connect`, `setPeerInfo`, `createStream` and
    /// `deleteStream` are answered here and never reach the owner.
    pub methods: Methods,
    /// The most NetStreams that the client may have; then `createStream` fails.
    pub max_streams: usize,
}

/// Events of a client's connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerConnectionEvent {
    /// The client asks to connect: answer with [`ServerConnection::accept`] or
    /// [`ServerConnection::reject`].
    ConnectRequested(ConnectRequest),
    /// The client's addresses, at most [`peer_info::MAX_ADDRESSES`]. They replace earlier ones.
    PeerInfo(Vec<SocketAddr>),
    /// The client calls one of [`ServerConnectionConfig::methods`].
    Call(Call),
    /// The client answered a call: a result or an error.
    Answered {
        /// The call.
        call: CallId,
        /// The result, or the information object of the error.
        outcome: Result<Value, Value>,
    },
    /// The client does something with one of its NetStreams.
    Stream {
        /// The ID of the NetStream, which is unique in the connection.
        stream: u32,
        /// What it does.
        event: StreamEvent,
    },
    /// The client wanted more NetStreams than [`ServerConnectionConfig::max_streams`]; its call has
    /// failed.
    TooManyStreams,
    /// The client sends a message about a remote shared object.
    SharedObject(SharedObjectMessage),
    /// The connection ended, whether it had been accepted or not.
    Closed,
}

#[derive(Debug)]
enum State {
    /// Waiting for `connect`.
    Idle,
    /// Waiting for the owner's decision; messages of the client are kept meanwhile.
    Requested {
        encoding: ObjectEncoding,
        /// The number of the request: 1 from Flash Player, 0 from librtmfp.
        transaction: f64,
        early: Vec<(FlowId, Bytes)>,
    },
    Accepted,
    /// `_error` has been sent; the owner closes.
    Rejected,
    Closed,
}

/// The server's end of a NetConnection over one session.
///
/// It begins with the session or with its first `TC` flow. After every call: carry out what
/// [`poll_action`](Self::poll_action) returns until it returns nothing, then take
/// [`poll_event`](Self::poll_event). Time limits are the owner's.
#[derive(Debug)]
pub struct ServerConnection {
    config: ServerConnectionConfig,
    control: Control,
    events: EventQueue<ServerConnectionEvent>,
    state: State,
    /// The client's control flow.
    canonical: Option<FlowId>,
    /// The client's accepted flows and the streams that they belong to.
    flows: BTreeMap<FlowId, u32>,
    streams: Streams,
}

impl Default for ServerConnectionConfig {
    fn default() -> Self {
        let period = Duration::from_secs(20);
        Self {
            keepalive: Some(Keepalive { server: period, peer: period }),
            description: "connected".into(),
            properties: Value::Null,
            methods: Methods::None,
            max_streams: MAX_STREAMS,
        }
    }
}

impl ServerConnection {
    /// A connection on which nothing has happened.
    pub fn new(now: Time, config: ServerConnectionConfig) -> Self {
        Self {
            config,
            control: Control::new(now, FIRST_CALL),
            events: EventQueue::new(),
            state: State::Idle,
            canonical: None,
            flows: BTreeMap::new(),
            streams: Streams::default(),
        }
    }

    /// True if `connect` has been accepted and the connection is up.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Accepted)
    }

    /// The server's control flow, with which the client associates further flows.
    pub fn control_flow(&self) -> Option<FlowToken> {
        self.control.flow()
    }

    /// The client's control flow, with which the server associates further flows.
    pub fn client_flow(&self) -> Option<FlowId> {
        self.canonical
    }

    /// Accepts the connect request; `extra` members go into the information object after those that
    /// Flash Player needs, which it cannot replace.
    ///
    /// # Errors
    ///
    /// [`FlashError::NothingToAnswer`], or what [`Command::encode`] finds wrong with the members;
    /// then the request still waits.
    pub fn accept<N: AsRef<str>>(
        &mut self,
        now: Time,
        extra: impl IntoIterator<Item = (N, Value)>,
    ) -> Result<(), FlashError> {
        let State::Requested { encoding, transaction, .. } = &self.state else {
            return Err(FlashError::NothingToAnswer);
        };
        let answer = request::acceptance(&self.config, *encoding, *transaction, extra);
        let answer = answer.encode_connect()?;
        self.control.encoding = *encoding;
        self.control.open_control_flow(self.canonical);
        self.control.send(now, answer);
        if let Some(keepalive) = self.config.keepalive {
            self.set_keepalive(now, keepalive);
        }
        let before = std::mem::replace(&mut self.state, State::Accepted);
        if let State::Requested { early, .. } = before {
            early.iter().for_each(|(flow, message)| self.on_message(now, *flow, message));
        }
        Ok(())
    }

    /// Rejects the connect request. Flash Player then leaves the session open: call
    /// [`close`](Self::close) when the client has had time to take the answer.
    ///
    /// # Errors
    ///
    /// [`FlashError::NothingToAnswer`], or what [`Command::encode`] finds; then the request still
    /// waits.
    pub fn reject(&mut self, now: Time, rejection: &Rejection) -> Result<(), FlashError> {
        let State::Requested { transaction, .. } = self.state else {
            return Err(FlashError::NothingToAnswer);
        };
        let answer = request::refusal(rejection, transaction).encode_connect()?;
        self.control.open_control_flow(self.canonical);
        self.control.send(now, answer);
        self.state = State::Rejected;
        Ok(())
    }

    /// Advises the client of keepalive periods, at least [`Keepalive::MIN`] (RFC 7425 §5.3.4).
    pub fn set_keepalive(&mut self, now: Time, keepalive: Keepalive) {
        let advice = UserControl::SetKeepalive(keepalive.at_least_min());
        self.control.send(now, Body::UserControl(advice));
    }

    /// Calls a method of the client; the answer comes as [`ServerConnectionEvent::Answered`].
    ///
    /// # Errors
    ///
    /// [`FlashError::NotConnected`], [`FlashError::TooManyCalls`], or what [`Command::encode`]
    /// finds.
    pub fn call(&mut self, now: Time, name: &str, args: Vec<Value>) -> Result<CallId, FlashError> {
        self.check_connected()?;
        self.control.call(now, name, args)
    }

    /// Calls a method of the client (`onStatus`, say) without asking for an answer.
    ///
    /// # Errors
    ///
    /// [`FlashError::NotConnected`], or what [`Command::encode`] finds.
    pub fn notify(&mut self, now: Time, name: &str, args: Vec<Value>) -> Result<(), FlashError> {
        self.check_connected()?;
        self.control.notify(now, name, args)
    }

    /// The same, unless the values are longer than `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`FlashError::NotConnected`], [`FlashError::CommandTooLong`], or what [`Command::encode`]
    /// finds.
    pub fn notify_within(
        &mut self,
        now: Time,
        limit: usize,
        name: &str,
        args: Vec<Value>,
    ) -> Result<(), FlashError> {
        self.check_connected()?;
        self.control.notify_within(now, limit, name, args)
    }

    /// Answers a call of the client with a result, or with the information object of an error.
    ///
    /// # Errors
    ///
    /// [`FlashError::NotConnected`], or what [`Command::encode`] finds.
    pub fn answer(
        &mut self,
        now: Time,
        responder: Responder,
        outcome: Result<Value, Value>,
    ) -> Result<(), FlashError> {
        self.check_connected()?;
        self.control.answer(now, responder, outcome)
    }

    /// The same; an outcome that has no encoding for this client becomes
    /// `NetConnection.Call.Failed`.
    ///
    /// # Errors
    ///
    /// What was wrong with it.
    pub fn answer_or_fail(
        &mut self,
        now: Time,
        responder: Responder,
        outcome: Result<Value, Value>,
    ) -> Result<(), FlashError> {
        let again = Responder(responder.0);
        self.answer(now, responder, outcome).inspect_err(|_| {
            let info = super::call::info("error", "NetConnection.Call.Failed", "no encoding");
            // Plain values have one.
            let _ = self.answer(now, again, Err(info));
        })
    }

    /// Stops waiting for the answer to a call. A late answer is ignored.
    pub fn forget_call(&mut self, call: CallId) {
        self.control.forget(call);
    }

    /// Closes the connection and its session. No event follows.
    pub fn close(&mut self) {
        if !matches!(self.state, State::Closed) {
            self.state = State::Closed;
            self.control.push(FlowAction::Close);
        }
    }

    /// The client opened a flow, associated with one of ours or with none.
    ///
    /// Accepted are the control flow, more control flows once the connection is up, and flows of
    /// streams that `createStream` made. Group flows (`GC`) are not for this connection: the owner
    /// decides on them.
    pub fn on_flow_opened(
        &mut self,
        _now: Time,
        flow: FlowId,
        metadata: &[u8],
        association: Option<FlowToken>,
    ) -> FlowDecision {
        let Some(FlowMetadata::Tc { stream, .. }) = FlowMetadata::parse(metadata) else {
            return FlowDecision::REJECT;
        };
        let ours = association.is_some() && association == self.control.flow();
        let wanted = match self.state {
            State::Idle => stream == 0 && association.is_none() && self.canonical.is_none(),
            State::Accepted => ours && (stream == 0 || self.streams.contains(stream)),
            _ => false,
        };
        if !wanted || self.flows.len() >= MAX_FLOWS {
            return FlowDecision::REJECT;
        }
        self.flows.insert(flow, stream);
        self.canonical.get_or_insert(flow);
        FlowDecision::Accept
    }

    /// A flow delivered a message. Malformed and unknown messages are ignored.
    pub fn on_message(&mut self, now: Time, flow: FlowId, message: &Bytes) {
        let Some(&stream) = self.flows.get(&flow) else {
            return;
        };
        match &mut self.state {
            State::Idle | State::Accepted => {
                if let Err(error) = self.handle_message(now, stream, message) {
                    tracing::debug!(%flow, %error, "message from a client ignored");
                    if matches!(error, FlashError::CommandTooLong(_)) && self.is_connected() {
                        self.control.fail_long_call(now, message);
                    }
                }
            }
            State::Requested { early, .. } if has_space(early, message) => {
                early.push((flow, message.clone()));
            }
            State::Requested { .. } => self.end(),
            State::Rejected | State::Closed => {}
        }
    }

    /// A message on a flow was longer than the transport takes, and begins with `head`. A call that
    /// waits for an answer gets `NetConnection.Call.Failed`; the flow goes on. Returns the name of
    /// the method, if it was a call.
    pub fn on_message_too_long(
        &mut self,
        now: Time,
        flow: FlowId,
        head: &Bytes,
    ) -> Option<Arc<str>> {
        let calls = self.is_connected() && self.flows.contains_key(&flow);
        if calls { self.control.fail_long_call(now, head) } else { None }
    }

    /// The client finished a flow. If it is its control flow, that is an orderly close
    /// (RFC 7425 §5.3.6).
    pub fn on_flow_finished(&mut self, flow: FlowId) {
        let stream = self.flows.remove(&flow);
        if self.canonical == Some(flow) {
            self.end();
        } else if let Some(stream) = stream.filter(|id| !self.flows.values().any(|of| of == id))
            && self.streams.stop(&mut self.control, stream)
        {
            self.emit(stream, StreamEvent::Stopped);
        }
    }

    /// The client rejected one of our flows: it is finished, because Flash Player repeats the
    /// exception until then. If it is the control flow, the connection is over (RFC 7425 §5.3.6).
    pub fn on_flow_rejected(&mut self, token: FlowToken, _code: u64) {
        if matches!(self.state, State::Closed) {
            return;
        }
        if let Some(stream) = self.streams.on_flow_rejected(token) {
            self.emit(stream, StreamEvent::Stopped);
        }
        self.control.push(FlowAction::Finish { token });
        if self.control.flow() == Some(token) {
            self.end();
        }
    }

    /// The session ended.
    pub fn on_session_closed(&mut self) {
        self.finish();
    }

    /// The next action for the session.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<FlowAction> {
        self.control.poll_action()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<ServerConnectionEvent> {
        self.events.pop()
    }

    /// Number of events dropped because nobody took them.
    pub fn dropped_events(&self) -> u64 {
        self.events.dropped()
    }

    fn check_connected(&self) -> Result<(), FlashError> {
        if self.is_connected() { Ok(()) } else { Err(FlashError::NotConnected) }
    }

    fn handle_message(
        &mut self,
        now: Time,
        stream: u32,
        message: &Bytes,
    ) -> Result<(), FlashError> {
        let parsed = Message::parse(message)?;
        match parsed.body {
            Body::Audio(_) | Body::Video(_) | Body::Data(..)
                if self.streams.is_publishing(stream) =>
            {
                let encoded = message.clone();
                self.emit(stream, StreamEvent::Message { message: parsed, encoded });
            }
            Body::Command(_, values) => {
                let command = Command::parse(&values)?;
                match (&self.state, stream) {
                    (State::Idle, _) => self.handle_connect(command),
                    (_, 0) => self.handle_command(now, command),
                    _ => self.handle_stream_command(stream, command),
                }
            }
            Body::UserControl(UserControl::PingRequest(value)) => {
                self.control.answer_ping(now, value);
            }
            body @ Body::Other { .. } if self.is_connected() => {
                if let Some(message) = SharedObjectMessage::parse(&body) {
                    self.events.push(ServerConnectionEvent::SharedObject(message));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Before `connect` there is nothing else.
    fn handle_connect(&mut self, command: Command) {
        if &*command.name != "connect" {
            return;
        }
        let transaction = command.transaction;
        let request = ConnectRequest::new(command);
        self.state =
            State::Requested { encoding: request.encoding, transaction, early: Vec::new() };
        self.events.push(ServerConnectionEvent::ConnectRequested(request));
    }

    fn handle_command(&mut self, now: Time, command: Command) {
        match &*command.name {
            "_result" | "_error" => {
                if let Some((call, outcome)) = self.control.take_answer(&command) {
                    self.events.push(ServerConnectionEvent::Answered { call, outcome });
                }
            }
            peer_info::COMMAND => {
                self.events.push(ServerConnectionEvent::PeerInfo(peer_info::parse(&command.args)));
                self.confirm(now, &command, Value::Undefined);
            }
            "createStream" => match self.streams.create(self.config.max_streams) {
                // librtmfp numbers this call 0, and waits for the answer nevertheless.
                Some(stream) => self.result(now, &command, Value::Number(stream.into())),
                None => {
                    self.events.push(ServerConnectionEvent::TooManyStreams);
                    self.control.fail_call(now, &command, "too many streams");
                }
            },
            "deleteStream" => {
                if let Some(stream) = command.args.first().and_then(Value::as_u32)
                    && self.streams.delete(&mut self.control, stream)
                {
                    self.emit(stream, StreamEvent::Stopped);
                }
                self.confirm(now, &command, Value::Undefined);
            }
            "connect" => self.control.fail_call(now, &command, "already connected"),
            _ => {
                if let Some(call) = self.control.take_call(now, command, &self.config.methods) {
                    self.events.push(ServerConnectionEvent::Call(call));
                }
            }
        }
    }

    fn handle_stream_command(&mut self, stream: u32, command: Command) {
        let mut out = Out { control: &mut self.control, client: self.canonical };
        let events = &mut self.events;
        let mut emit = |event| events.push(ServerConnectionEvent::Stream { stream, event });
        self.streams.on_command(&mut out, stream, command, &mut emit);
    }

    fn emit(&mut self, stream: u32, event: StreamEvent) {
        self.events.push(ServerConnectionEvent::Stream { stream, event });
    }

    /// Answers a call that was carried out here, if an answer is wanted.
    fn confirm(&mut self, now: Time, command: &Command, result: Value) {
        if command.wants_answer() {
            self.result(now, command, result);
        }
    }

    fn result(&mut self, now: Time, command: &Command, result: Value) {
        let answer = self.control.answer(now, Responder(command.transaction), Ok(result));
        debug_assert_eq!(answer, Ok(()), "plain values have an encoding");
    }

    /// Ends the connection and its session.
    fn end(&mut self) {
        if !matches!(self.state, State::Closed) {
            self.finish();
            self.control.push(FlowAction::Close);
        }
    }

    /// Ends the connection; the session is gone or will be.
    fn finish(&mut self) {
        if !matches!(self.state, State::Closed) {
            self.state = State::Closed;
            self.events.push(ServerConnectionEvent::Closed);
        }
    }
}

/// True if one more message may wait for the decision.
fn has_space(early: &[(FlowId, Bytes)], message: &Bytes) -> bool {
    let waiting: usize = early.iter().map(|(_, message)| message.len()).sum();
    early.len() < MAX_EARLY && waiting + message.len() <= MAX_EARLY_BYTES
}
