//! The client's end of a NetConnection (RFC 7425 §5.3).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;

use super::action::EventQueue;
use super::control::Control;
use super::{
    Body, Call, CallId, Command, FlashError, FlowDecision, FlowMetadata, Keepalive, Message,
    Methods, ObjectEncoding, Responder, Uri, UserControl, peer_info,
};
use crate::amf::{Member, Object, Value};
use crate::transport::{FlowAction, FlowId, FlowToken, Time};

/// The most flows that a server may have open to a client; more are rejected.
pub const MAX_FLOWS: usize = 64;

/// The name of this library in `flashVer`, in the form that Flash Player uses
/// (`WIN 10,3,183,48`): a platform and four numbers.
pub const FLASH_VERSION: &str = concat!(
    "RTMFP ",
    env!("CARGO_PKG_VERSION_MAJOR"),
    ",",
    env!("CARGO_PKG_VERSION_MINOR"),
    ",",
    env!("CARGO_PKG_VERSION_PATCH"),
    ",0"
);

const CONNECT_TRANSACTION: f64 = 1.0;
const FIRST_CALL: u32 = 2;

/// Configuration of a client: its description of itself, and the methods that the server may call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The object encoding to ask for. If the server answers with AMF0, that is used.
    pub encoding: ObjectEncoding,
    /// `flashVer` of the command object, [`FLASH_VERSION`] by default. Some servers choose features
    /// by it.
    pub flash_version: String,
    /// `swfUrl` of the command object; undefined if none.
    pub swf_url: Option<String>,
    /// `pageUrl` of the command object; undefined if none.
    pub page_url: Option<String>,
    /// More members of the command object.
    pub properties: Vec<Member>,
    /// The methods that the server may call.
    pub methods: Methods,
}

/// Events of a client's connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The connection is up: `NetConnection.Connect.Success`.
    Connected {
        /// The information object of the server.
        info: Value,
        /// The properties of the server, mostly null.
        properties: Value,
        /// The encoding that both use from now on.
        encoding: ObjectEncoding,
    },
    /// The connection could not be made. The session is being closed.
    Failed(ConnectFailure),
    /// The server answered a call: a result or an error.
    Answered {
        /// The call.
        call: CallId,
        /// The result, or the information object of the error.
        outcome: Result<Value, Value>,
    },
    /// The server calls one of [`ClientConfig::methods`].
    Call(Call),
    /// The server reports a status (`onStatus`): the information object.
    Status(Value),
    /// The server advises keepalive periods. They are not below [`Keepalive::MIN`].
    Keepalive(Keepalive),
    /// An established connection ended: `NetConnection.Connect.Closed`. Calls that wait for their
    /// answers will not get them.
    Closed,
}

/// The reason why a connection could not be made.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectFailure {
    /// Such as `NetConnection.Connect.Rejected`, or `NetConnection.Connect.Failed` if the server
    /// gave no reason.
    pub code: String,
    /// The reason in words, possibly empty.
    pub description: String,
    /// Further information of the server's application; undefined if there is none.
    pub application: Value,
    /// The whole information object; undefined if there was none.
    pub info: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Connected,
    Closed,
}

/// The client's end of a NetConnection over one session.
///
/// It begins when the session is open. After every call: carry out what
/// [`poll_action`](Self::poll_action) returns until it returns nothing, then take
/// [`poll_event`](Self::poll_event). Time limits are the owner's: Flash Player waits for the answer
/// to `connect` for ever.
#[derive(Debug)]
pub struct ClientConnection {
    config: ClientConfig,
    control: Control,
    events: EventQueue<ClientEvent>,
    state: State,
    /// Flows of the server that were accepted, and the first of them.
    flows: BTreeSet<FlowId>,
    canonical: Option<FlowId>,
    addresses: Vec<SocketAddr>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            encoding: ObjectEncoding::Amf3,
            flash_version: FLASH_VERSION.into(),
            swf_url: None,
            page_url: None,
            properties: Vec::new(),
            methods: Methods::None,
        }
    }
}

impl ClientConnection {
    /// Opens the control flow and sends `connect` with `args` after the command object.
    ///
    /// # Errors
    ///
    /// [`FlashError::Serverless`] for the URI `rtmfp:`, or what [`Command::encode`] finds wrong with
    /// the arguments.
    pub fn connect(
        now: Time,
        config: ClientConfig,
        uri: &Uri,
        args: Vec<Value>,
    ) -> Result<Self, FlashError> {
        if uri.is_serverless() {
            return Err(FlashError::Serverless);
        }
        let object = command_object(&config, uri);
        let command = Command { object, ..Command::new("connect", CONNECT_TRANSACTION, args) };
        let body = command.encode_connect()?;
        let mut control = Control::new(now, FIRST_CALL);
        control.encoding = config.encoding;
        control.open_control_flow(None);
        control.send(now, body);
        Ok(Self {
            config,
            control,
            events: EventQueue::new(),
            state: State::Connecting,
            flows: BTreeSet::new(),
            canonical: None,
            addresses: Vec::new(),
        })
    }

    /// True if the connection is up.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// The client's control flow.
    pub fn control_flow(&self) -> Option<FlowToken> {
        self.control.flow()
    }

    /// The server's control flow, with which further flows to the server are associated
    /// (RFC 7425 §5.3.2).
    pub fn server_flow(&self) -> Option<FlowId> {
        self.canonical
    }

    /// The object encoding in force.
    pub fn encoding(&self) -> ObjectEncoding {
        self.control.encoding
    }

    /// The addresses at which peers may reach this client. They are sent as soon as the connection
    /// is up, and again whenever they change.
    pub fn set_addresses(&mut self, now: Time, addresses: &[SocketAddr]) {
        if self.addresses == addresses {
            return;
        }
        self.addresses = addresses.to_vec();
        if self.is_connected() {
            self.send_peer_info(now);
        }
    }

    /// Calls a method of the server; the answer comes as [`ClientEvent::Answered`].
    ///
    /// # Errors
    ///
    /// [`FlashError::NotConnected`], [`FlashError::TooManyCalls`], or what [`Command::encode`]
    /// finds.
    pub fn call(&mut self, now: Time, name: &str, args: Vec<Value>) -> Result<CallId, FlashError> {
        self.check_connected()?;
        self.control.call(now, name, args)
    }

    /// Calls a method of the server without asking for an answer.
    ///
    /// # Errors
    ///
    /// [`FlashError::NotConnected`], or what [`Command::encode`] finds.
    pub fn notify(&mut self, now: Time, name: &str, args: Vec<Value>) -> Result<(), FlashError> {
        self.check_connected()?;
        self.control.notify(now, name, args)
    }

    /// Answers a call of the server with a result, or with the information object of an error.
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

    /// Sets the methods that the server may call.
    pub fn set_methods(&mut self, methods: Methods) {
        self.config.methods = methods;
    }

    /// Stops waiting for the answer to a call. A late answer is ignored.
    pub fn forget_call(&mut self, call: CallId) {
        self.control.forget(call);
    }

    /// Closes the connection and its session. No event follows.
    pub fn close(&mut self) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.control.push(FlowAction::Close);
        }
    }

    /// The server opened a flow, associated with one of ours or with none.
    ///
    /// Group flows (`GC`) are not for this connection: the owner decides on them.
    pub fn on_flow_opened(
        &mut self,
        _now: Time,
        flow: FlowId,
        metadata: &[u8],
        association: Option<FlowToken>,
    ) -> FlowDecision {
        let ours = association.is_some() && association == self.control.flow();
        match FlowMetadata::parse(metadata) {
            Some(FlowMetadata::Tc { stream: 0, .. })
                if ours && self.state != State::Closed && self.flows.len() < MAX_FLOWS =>
            {
                self.flows.insert(flow);
                self.canonical.get_or_insert(flow);
                FlowDecision::Accept
            }
            _ => FlowDecision::REJECT,
        }
    }

    /// A flow delivered a message. Malformed and unknown messages are ignored.
    pub fn on_message(&mut self, now: Time, flow: FlowId, message: &Bytes) {
        if self.state == State::Closed || !self.flows.contains(&flow) {
            return;
        }
        if let Err(error) = self.handle_message(now, message) {
            tracing::debug!(%flow, %error, "message from the server ignored");
        }
    }

    /// A message on a flow was longer than the transport takes, and begins with `head`. A call that
    /// waits for an answer gets `NetConnection.Call.Failed`; the flow goes on.
    pub fn on_message_too_long(&mut self, now: Time, flow: FlowId, head: &Bytes) {
        if self.is_connected() && self.flows.contains(&flow) {
            self.control.fail_long_call(now, head);
        }
    }

    /// The server finished a flow. If it is its control flow, that is an orderly close
    /// (RFC 7425 §5.3.6).
    pub fn on_flow_finished(&mut self, flow: FlowId) {
        self.flows.remove(&flow);
        if self.canonical == Some(flow) {
            self.end("the server finished its control flow");
        }
    }

    /// The server rejected one of our flows. If it is the control flow, the connection is over
    /// (RFC 7425 §5.3.6).
    pub fn on_flow_rejected(&mut self, token: FlowToken, _code: u64) {
        if self.state == State::Closed {
            return;
        }
        self.control.push(FlowAction::Finish { token });
        if self.control.flow() == Some(token) {
            self.end("the server rejected the control flow");
        }
    }

    /// The session ended.
    pub fn on_session_closed(&mut self) {
        self.finish("the session was closed");
    }

    /// The next action for the session.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<FlowAction> {
        self.control.poll_action()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop()
    }

    /// Number of events dropped because nobody took them.
    pub fn dropped_events(&self) -> u64 {
        self.events.dropped()
    }

    fn check_connected(&self) -> Result<(), FlashError> {
        if self.is_connected() { Ok(()) } else { Err(FlashError::NotConnected) }
    }

    fn handle_message(&mut self, now: Time, message: &Bytes) -> Result<(), FlashError> {
        match Message::parse(message)?.body {
            Body::Command(_, values) => self.handle_command(now, Command::parse(&values)?),
            Body::UserControl(UserControl::PingRequest(value)) => {
                self.control.answer_ping(now, value);
            }
            Body::UserControl(UserControl::SetKeepalive(advice)) => {
                self.events.push(ClientEvent::Keepalive(advice.at_least_min()));
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_command(&mut self, now: Time, command: Command) {
        let answer = matches!(&*command.name, "_result" | "_error");
        match (self.state, &*command.name) {
            (State::Connecting, _) if answer && command.transaction == CONNECT_TRANSACTION => {
                self.handle_connect_answer(now, command);
            }
            _ if answer => {
                if let Some((call, outcome)) = self.control.take_answer(&command) {
                    self.events.push(ClientEvent::Answered { call, outcome });
                }
            }
            (_, "onStatus") => {
                let info = command.args.into_iter().next().unwrap_or_default();
                self.events.push(ClientEvent::Status(info));
            }
            (State::Connected, _) => {
                if let Some(call) = self.control.take_call(now, command, &self.config.methods) {
                    self.events.push(ClientEvent::Call(call));
                }
            }
            _ => {}
        }
    }

    fn handle_connect_answer(&mut self, now: Time, answer: Command) {
        let info = answer.args.into_iter().next().unwrap_or_default();
        let success = info.property("code").and_then(Value::as_str) == Some(SUCCESS);
        if &*answer.name != "_result" || !success {
            return self.fail(ConnectFailure::from_info(info));
        }
        // Flash Player gives up if the server's encoding is another one. We can use either.
        if ObjectEncoding::from_value(info.property("objectEncoding")) == ObjectEncoding::Amf0 {
            self.control.encoding = ObjectEncoding::Amf0;
        }
        self.state = State::Connected;
        self.events.push(ClientEvent::Connected {
            info,
            properties: answer.object,
            encoding: self.control.encoding,
        });
        self.send_peer_info(now);
    }

    fn send_peer_info(&mut self, now: Time) {
        let args = peer_info::encode(&self.addresses);
        if let Err(error) = self.control.notify(now, peer_info::COMMAND, args) {
            tracing::debug!(%error, "addresses have no encoding");
        }
    }

    fn fail(&mut self, failure: ConnectFailure) {
        self.state = State::Closed;
        self.events.push(ClientEvent::Failed(failure));
        self.control.push(FlowAction::Close);
    }

    /// Ends the connection and its session.
    fn end(&mut self, why: &str) {
        if self.state != State::Closed {
            self.finish(why);
            self.control.push(FlowAction::Close);
        }
    }

    /// Ends the connection; the session is gone or will be.
    fn finish(&mut self, why: &str) {
        let event = match self.state {
            State::Connecting => ClientEvent::Failed(ConnectFailure::without_answer(why)),
            State::Connected => ClientEvent::Closed,
            State::Closed => return,
        };
        self.state = State::Closed;
        self.events.push(event);
    }
}

const SUCCESS: &str = "NetConnection.Connect.Success";
const FAILED: &str = "NetConnection.Connect.Failed";

impl ConnectFailure {
    fn from_info(info: Value) -> Self {
        let text = |name| info.property(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            code: text("code").filter(|code| code != SUCCESS).unwrap_or_else(|| FAILED.into()),
            description: text("description").unwrap_or_default(),
            application: info.property("application").cloned().unwrap_or_default(),
            info,
        }
    }

    fn without_answer(why: &str) -> Self {
        Self { description: why.into(), ..Self::from_info(Value::Undefined) }
    }
}

/// The command object of `connect`, with the members and the order of Flash Player's.
fn command_object(config: &ClientConfig, uri: &Uri) -> Value {
    let text = |url: &Option<String>| url.as_deref().map_or(Value::Undefined, Value::from);
    let object = Object::new()
        .with("app", uri.app())
        .with("flashVer", config.flash_version.as_str())
        .with("swfUrl", text(&config.swf_url))
        .with("tcUrl", uri.as_str())
        .with("fpad", false)
        .with("capabilities", 235.0)
        .with("audioCodecs", 3191.0)
        .with("videoCodecs", 252.0)
        .with("videoFunction", 1.0)
        .with("pageUrl", text(&config.page_url))
        .with("objectEncoding", config.encoding.number());
    let more = config.properties.iter().cloned();
    more.fold(object, |object, (name, value)| object.with(name, value)).into()
}
