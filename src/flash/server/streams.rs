//! The NetStreams of a client (RFC 7425 §5.3.5): what it asks for, and what it is sent.
//!
//! Whether there is such a stream is for the owner of the connection to say, who gets
//! [`StreamEvent`]s and answers by the methods in `net_streams.rs`. Everything that is
//! sent for one NetStream goes over one flow, associated with the client's control flow, as
//! Flash Player and other clients take it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::amf::Value;
use crate::flash::control::Control;
use crate::flash::metadata::MAX_STREAM_ID;
use crate::flash::stream::delivery;
use crate::flash::stream::gate::Gate;
use crate::flash::stream::subscriber::sample_access;
use crate::flash::{Body, Command, Message, UserControl};
use crate::transport::{FlowAction, FlowId, FlowInput, FlowToken, MessageOptions};

/// The most NetStreams that a client may have, unless the owner wants another number; then
/// `createStream` fails.
pub const MAX_STREAMS: usize = 16;

/// What a client does with a NetStream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// It wants to publish under this name: answer by
    /// [`begin_publishing`](super::ServerConnection::begin_publishing) or
    /// [`refuse_publish`](super::ServerConnection::refuse_publish).
    Publish {
        /// The name, without a query.
        name: Arc<str>,
        /// It asks for a recording, too.
        record: bool,
    },
    /// It wants to play a stream: answer by
    /// [`begin_playing`](super::ServerConnection::begin_playing) or
    /// [`refuse_play`](super::ServerConnection::refuse_play).
    Play {
        /// The name, without a query.
        name: Arc<str>,
        /// Only a recorded stream will do.
        recorded: bool,
    },
    /// Audio, video or data of what it publishes.
    Message {
        /// The message.
        message: Message,
        /// The same as it came, to be passed on.
        encoded: Bytes,
    },
    /// It plays or publishes no longer.
    Stopped,
}

/// The NetStreams by their IDs.
#[derive(Debug, Default)]
pub(super) struct Streams {
    last: u32,
    open: BTreeMap<u32, NetStream>,
}

/// One NetStream.
#[derive(Debug, Default)]
struct NetStream {
    /// Our flow, once something was sent.
    flow: Option<FlowToken>,
    role: Role,
}

#[derive(Debug, Default)]
enum Role {
    #[default]
    Idle,
    /// The owner has not answered yet.
    Asked {
        publishes: bool,
        part: Part,
    },
    Publishing {
        name: Arc<str>,
    },
    Playing {
        name: Arc<str>,
        gate: Gate,
        part: Part,
    },
}

/// How much of a live stream a client plays: `length` of `NetStream.play`.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    /// Milliseconds; everything without.
    length: Option<u32>,
    /// The timestamp of the first frame.
    begin: Option<u32>,
}

impl Part {
    /// The third argument of `play`, in milliseconds: negative ones mean everything, and 0 a single frame
    /// of a recording, of which there is none.
    fn of(length: Option<&Value>) -> Self {
        let length = length.and_then(Value::as_f64).filter(|length| *length >= 1.0);
        // What is longer than timestamps go is everything.
        let length = length.filter(|length| *length < f64::from(i32::MAX)).map(|it| it as u32);
        Self { length, begin: None }
    }

    /// True if a message is beyond it.
    fn is_over(&mut self, message: &Message) -> bool {
        let is_frame = matches!(message.body, Body::Audio(_) | Body::Video(_));
        let (Some(length), true) = (self.length, is_frame) else { return false };
        let begin = *self.begin.get_or_insert(message.timestamp);
        // Timestamps begin again after 49 days; one before the first is none.
        let elapsed = message.timestamp.wrapping_sub(begin);
        elapsed <= i32::MAX as u32 && elapsed >= length
    }
}

/// Where an answer goes: the connection's control, and the client's control flow.
pub(super) struct Out<'a> {
    pub(super) control: &'a mut Control,
    pub(super) client: Option<FlowId>,
}

impl Streams {
    pub(super) fn contains(&self, stream: u32) -> bool {
        self.open.contains_key(&stream)
    }

    /// A new NetStream's ID, unless there are `max`.
    pub(super) fn create(&mut self, max: usize) -> Option<u32> {
        if self.open.len() >= max || self.last >= MAX_STREAM_ID {
            return None;
        }
        self.last += 1;
        self.open.insert(self.last, NetStream::default());
        Some(self.last)
    }

    /// Deletes one. True if it played or published.
    pub(super) fn delete(&mut self, control: &mut Control, stream: u32) -> bool {
        let was_active = self.stop(control, stream);
        self.open.remove(&stream);
        was_active
    }

    /// Ends playing and publishing in a NetStream, until the next command. True if it did either.
    pub(super) fn stop(&mut self, control: &mut Control, stream: u32) -> bool {
        let Some(it) = self.open.get_mut(&stream) else { return false };
        if let Some(token) = it.flow.take() {
            control.push(FlowAction::Finish { token });
        }
        it.leave()
    }

    /// True if the client publishes in it, or has asked to: it need not wait for the answer.
    pub(super) fn is_publishing(&self, stream: u32) -> bool {
        let role = self.role(stream);
        matches!(role, Some(Role::Publishing { .. } | Role::Asked { publishes: true, .. }))
    }

    fn role(&self, stream: u32) -> Option<&Role> {
        self.open.get(&stream).map(|it| &it.role)
    }

    /// Our flow of a NetStream.
    pub(super) fn flow(&self, stream: u32) -> Option<FlowToken> {
        self.open.get(&stream)?.flow
    }

    /// A command on a flow of a NetStream. Emits what the owner has to decide or to know.
    pub(super) fn on_command(
        &mut self,
        out: &mut Out<'_>,
        stream: u32,
        command: Command,
        emit: &mut dyn FnMut(StreamEvent),
    ) {
        let Some(it) = self.open.get_mut(&stream) else { return };
        let mut args = command.args.into_iter();
        let first = args.next();
        match (&*command.name, first) {
            ("publish", Some(Value::String(name))) => {
                let kind = args.next();
                let record =
                    matches!(kind.as_ref().and_then(Value::as_str), Some(kind) if kind != "live");
                let event = StreamEvent::Publish { name: without_query(&name), record };
                it.ask(event, Part::default(), emit);
            }
            ("publish", _) => it.unpublish(out, stream, emit),
            ("play", Some(Value::String(name))) => {
                // Milliseconds; -2000 is live or else recorded, -1000 live only.
                let start = args.next().as_ref().and_then(Value::as_f64);
                let recorded = start.is_some_and(|start| start >= 0.0);
                let part = Part::of(args.next().as_ref());
                it.ask(StreamEvent::Play { name: without_query(&name), recorded }, part, emit);
            }
            ("play2", Some(options)) => {
                if let Some(Value::String(name)) = options.property("streamName") {
                    let event = StreamEvent::Play { name: without_query(name), recorded: false };
                    it.ask(event, Part::default(), emit);
                }
            }
            ("play", _) => it.stop_playing(out, stream, emit),
            ("closeStream", _) => {
                let was_active = self.stop(out.control, stream);
                if was_active {
                    emit(StreamEvent::Stopped);
                }
            }
            (name, Some(flag)) => it.on_choice(out, stream, name, &flag),
            _ => {}
        }
    }

    /// The owner takes what the client wants to publish.
    pub(super) fn begin_publishing(&mut self, out: &mut Out<'_>, stream: u32, name: &Arc<str>) {
        let Some(it) = self.open.get_mut(&stream) else { return };
        it.role = Role::Publishing { name: name.clone() };
        it.report(out, stream, "NetStream.Publish.Start", name, "is now published");
    }

    /// The owner has the stream that the client wants to play, or waits for it.
    pub(super) fn begin_playing(&mut self, out: &mut Out<'_>, stream: u32, name: &Arc<str>) {
        let Some(it) = self.open.get_mut(&stream) else { return };
        let part = match it.role {
            Role::Asked { part, .. } => part,
            _ => Part::default(),
        };
        it.role = Role::Playing { name: name.clone(), gate: Gate::new(), part };
        match sample_access() {
            Ok(values) => it.send(out, stream, Body::Data(out.control.encoding.format(), values)),
            Err(error) => tracing::debug!(%error, "a data message has no encoding"),
        }
        it.send(out, stream, Body::UserControl(UserControl::StreamBegin(stream)));
        let about = format!("Playing and resetting {name}.");
        it.status(out, stream, ["status", "NetStream.Play.Reset", &about], name);
        let about = format!("Started playing {name}.");
        it.status(out, stream, ["status", "NetStream.Play.Start", &about], name);
    }

    /// `onStatus` about a stream of this name: level, code, description.
    pub(super) fn status(&mut self, out: &mut Out<'_>, stream: u32, status: [&str; 3], name: &str) {
        if let Some(it) = self.open.get_mut(&stream) {
            it.status(out, stream, status, name);
        }
    }

    /// The owner refuses what the client has asked for.
    pub(super) fn refuse(&mut self, out: &mut Out<'_>, stream: u32, code: &str, why: &str) {
        let Some(it) = self.open.get_mut(&stream) else { return };
        it.role = Role::Idle;
        it.status(out, stream, ["error", code, why], "");
    }

    /// The stream that a client plays has begun or ended.
    pub(super) fn notify(&mut self, out: &mut Out<'_>, stream: u32, is_published: bool) {
        let Some(it) = self.open.get_mut(&stream) else { return };
        let Role::Playing { name, gate, .. } = &mut it.role else { return };
        gate.miss();
        let name = name.clone();
        match is_published {
            true => {
                it.report(out, stream, "NetStream.Play.PublishNotify", &name, "is now published");
            }
            false => {
                let code = "NetStream.Play.UnpublishNotify";
                it.report(out, stream, code, &name, "is now unpublished");
            }
        }
    }

    /// Sends a message to a client that plays, unless it is beyond what the client wants: then that is
    /// over. False if it is.
    pub(super) fn write(
        &mut self,
        out: &mut Out<'_>,
        stream: u32,
        message: &Message,
        encoded: &Bytes,
    ) -> bool {
        let Some(it) = self.open.get_mut(&stream) else { return true };
        let NetStream { flow: Some(token), role: Role::Playing { gate, part, .. } } = it else {
            return true;
        };
        if part.is_over(message) {
            it.stop_playing(out, stream, &mut |_| {});
            return false;
        }
        if gate.admits(&message.body) {
            let (token, options) = (*token, delivery::of(&message.body));
            out.control.push(FlowAction::Send { token, message: encoded.clone(), options });
        }
        true
    }

    /// A client that plays was not sent something: video goes on at the next key frame.
    pub(super) fn miss(&mut self, stream: u32) {
        if let Some(NetStream { role: Role::Playing { gate, .. }, .. }) = self.open.get_mut(&stream)
        {
            gate.miss();
        }
    }

    /// Something happened to one of our flows.
    pub(super) fn on_flow_input(&mut self, input: &FlowInput) {
        let (token, change): (_, fn(&mut Gate)) = match input {
            FlowInput::Blocked { token } => (token, |gate| gate.set_blocked(true)),
            FlowInput::Writable { token } => (token, |gate| gate.set_blocked(false)),
            FlowInput::Refused { token, .. } => (token, Gate::miss),
            _ => return,
        };
        let mut open = self.open.values_mut();
        if let Some(Role::Playing { gate, .. }) =
            open.find(|it| it.flow == Some(*token)).map(|it| &mut it.role)
        {
            change(gate);
        }
    }

    /// The client has rejected one of our flows. Returns the NetStream that it played by it.
    pub(super) fn on_flow_rejected(&mut self, token: FlowToken) -> Option<u32> {
        let (&stream, it) = self.open.iter_mut().find(|(_, it)| it.flow == Some(token))?;
        it.flow = None;
        let plays = matches!(it.role, Role::Playing { .. });
        (plays && it.leave()).then_some(stream)
    }
}

impl NetStream {
    /// True if it played or published.
    fn leave(&mut self) -> bool {
        !matches!(std::mem::take(&mut self.role), Role::Idle)
    }

    /// Something else from now on, which the owner decides about.
    fn ask(&mut self, event: StreamEvent, part: Part, emit: &mut dyn FnMut(StreamEvent)) {
        if self.leave() {
            emit(StreamEvent::Stopped);
        }
        self.role = Role::Asked { publishes: matches!(event, StreamEvent::Publish { .. }), part };
        emit(event);
    }

    /// `publish(false)`.
    fn unpublish(&mut self, out: &mut Out<'_>, stream: u32, emit: &mut dyn FnMut(StreamEvent)) {
        if let Role::Asked { publishes: true, .. } = self.role {
            self.role = Role::Idle;
            emit(StreamEvent::Stopped);
        }
        if let Role::Publishing { name } = &self.role {
            let name = name.clone();
            self.role = Role::Idle;
            let code = "NetStream.Unpublish.Success";
            self.report(out, stream, code, &name, "is now unpublished");
            emit(StreamEvent::Stopped);
        }
    }

    /// `play(false)`.
    fn stop_playing(&mut self, out: &mut Out<'_>, stream: u32, emit: &mut dyn FnMut(StreamEvent)) {
        if let Role::Playing { name, .. } = &self.role {
            let name = name.clone();
            self.role = Role::Idle;
            let about = format!("Stopped playing {name}.");
            self.status(out, stream, ["status", "NetStream.Play.Stop", &about], &name);
            emit(StreamEvent::Stopped);
        }
    }

    /// Commands of one who plays.
    fn on_choice(&mut self, out: &mut Out<'_>, stream: u32, command: &str, flag: &Value) {
        let Role::Playing { name, gate, .. } = &mut self.role else { return };
        let name = name.clone();
        match (command, flag.as_bool()) {
            ("pause" | "pauseRaw", Some(is_paused)) => {
                gate.on_command("pause", is_paused);
                let (code, what) = match is_paused {
                    true => ("NetStream.Pause.Notify", "Pausing"),
                    false => ("NetStream.Unpause.Notify", "Unpausing"),
                };
                self.status(out, stream, ["status", code, &format!("{what} {name}.")], &name);
            }
            (command, Some(flag)) => gate.on_command(command, flag),
            ("seek", None) => {
                let about = format!("{name} is live: there is no other place in it.");
                self.status(out, stream, ["error", "NetStream.Seek.Failed", &about], &name);
            }
            _ => {}
        }
    }

    fn report(&mut self, out: &mut Out<'_>, stream: u32, code: &str, name: &str, what: &str) {
        self.status(out, stream, ["status", code, &format!("{name} {what}.")], name);
    }

    fn status(
        &mut self,
        out: &mut Out<'_>,
        stream: u32,
        [level, code, about]: [&str; 3],
        name: &str,
    ) {
        let mut info = vec![("level", level), ("code", code), ("description", about)];
        if !name.is_empty() {
            info.push(("details", name));
        }
        let info = Value::object(info);
        match Command::new("onStatus", 0.0, vec![info]).encode(out.control.encoding) {
            Ok(body) => self.send(out, stream, body),
            Err(error) => tracing::debug!(%error, "a status has no encoding"),
        }
    }

    /// Sends for certain, on the flow of this NetStream.
    fn send(&mut self, out: &mut Out<'_>, stream: u32, body: Body) {
        let Some(client) = out.client else { return };
        let options = delivery::flow(Some(client));
        let flow = &mut self.flow;
        let token = *flow.get_or_insert_with(|| out.control.open_flow_with(stream, options));
        let message = Message::new(0, body).encode().into_bytes();
        out.control.push(FlowAction::Send { token, message, options: MessageOptions::RELIABLE });
    }
}

/// The name of a stream: what follows a question mark is for the server's application.
fn without_query(name: &Arc<str>) -> Arc<str> {
    match name.split_once('?') {
        Some((name, _)) => name.into(),
        None => name.clone(),
    }
}
