//! Streams of clients: what a client does, and what others are sent for it.

use super::super::client::{Client, Owner};
use super::super::cluster::{PublicationId, StreamName};
use super::super::{Rendezvous, RendezvousEvent};
use super::{Backlog, Place, Refusal, StreamInfo, Streams};
use crate::flash::server::StreamEvent;
use crate::flash::{Body, Format, Message, ObjectEncoding};
use crate::transport::{Endpoint, FlowTable, SessionId, Time};
use crate::wire::worth_keeping;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The answer of a server that relays no streams.
const NO_STREAMS: &str = "this server relays no streams";

impl Rendezvous {
    /// The streams that are published now, in no particular order.
    pub fn streams(&self) -> Vec<StreamInfo> {
        self.streams.iter().flat_map(|streams| streams.published()).collect()
    }

    /// A client does something with a NetStream.
    pub(in super::super) fn on_stream_event(
        &mut self,
        now: Time,
        session: SessionId,
        stream: u32,
        event: StreamEvent,
    ) {
        let at = (session, stream);
        match event {
            StreamEvent::Publish { name, record } => {
                if self.may_publish(now, at, &name, record) {
                    self.publish(now, at, &name, record);
                }
            }
            StreamEvent::Play { name, recorded } => {
                if self.may_play(now, at, &name, recorded) {
                    self.play(now, at, &name, recorded);
                }
            }
            StreamEvent::Message { message, encoded } => {
                if let Some((message, encoded)) = self.keep_early(at, message, encoded) {
                    self.pass_on(now, at, message, encoded);
                }
            }
            StreamEvent::Stopped => {
                self.forget_stream_query(at);
                self.stop_stream(now, at);
            }
        }
    }

    pub(in super::super) fn publish(
        &mut self,
        now: Time,
        at: Place,
        name: &Arc<str>,
        record: bool,
    ) {
        let Some(client) = self.clients.get_mut(&at.0) else { return };
        let Some(streams) = &mut self.streams else {
            client.connection.refuse_publish(at.1, "NetStream.Publish.Denied", NO_STREAMS, true);
            return self.notify_not_published(now, at.0, name);
        };
        let full = StreamName { app: client.app.clone(), name: name.clone() };
        match streams.may_publish(&full) {
            Ok(()) if self.claim(now, at, &full, record) => {}
            Ok(()) => self.begin_publication(now, at, full, record, None),
            Err(why) => self.refuse_publication(now, at, &full, why),
        }
    }

    /// A client publishes from now on. `id` is the name of the publication among members of the
    /// cluster.
    pub(in super::super) fn begin_publication(
        &mut self,
        now: Time,
        at: Place,
        stream: StreamName,
        record: bool,
        id: Option<PublicationId>,
    ) {
        let Some(streams) = &mut self.streams else { return };
        let Some(client) = self.clients.get_mut(&at.0) else { return };
        let waiting = match streams.publish(stream.clone(), at) {
            Ok(waiting) => waiting,
            Err(why) => return self.refuse_publication(now, at, &stream, why),
        };
        if let Some(id) = id {
            streams.name_publication(&stream, id);
        }
        client.connection.begin_publishing(at.1, &stream.name);
        if record {
            let status = ["error", "NetStream.Record.NoAccess", "nothing is recorded here"];
            client.connection.report(at.1, status);
        }
        let (peer, app, name) = (client.peer, kept(&stream.app), kept(&stream.name));
        self.stats.streams_published += 1;
        self.report(RendezvousEvent::StreamPublished { peer, app, name });
        self.carry_out(now, at.0);
        self.notify_players(now, &waiting, true);
    }

    pub(in super::super) fn refuse_publication(
        &mut self,
        now: Time,
        at: Place,
        stream: &StreamName,
        why: Refusal,
    ) {
        self.stats.streams_refused += u64::from(why == Refusal::TooMany);
        let Some(client) = self.clients.get_mut(&at.0) else { return };
        let (code, why) = match why {
            Refusal::InUse => {
                ("NetStream.Publish.BadName", format!("{} is already published", stream.name))
            }
            why => ("NetStream.Publish.Denied", words(why).to_owned()),
        };
        client.connection.refuse_publish(at.1, code, &why, false);
        self.carry_out(now, at.0);
        self.notify_not_published(now, at.0, &stream.name);
    }

    pub(in super::super) fn play(&mut self, now: Time, at: Place, name: &Arc<str>, recorded: bool) {
        let Some(client) = self.clients.get_mut(&at.0) else { return };
        let Some(streams) = &mut self.streams else {
            client.connection.refuse_play(at.1, "NetStream.Play.Failed", NO_STREAMS);
            return;
        };
        let full = StreamName { app: client.app.clone(), name: name.clone() };
        match streams.play(full.clone(), at, recorded) {
            Ok(backlog) => {
                client.connection.begin_playing(at.1, name);
                match backlog {
                    Some(backlog) => self.begin_at(now, &[at], &backlog),
                    None => self.want_stream(now, full),
                }
            }
            Err(Refusal::NotRecorded) => {
                if !self.seek_publication(now, at, &full) {
                    self.refuse_recording(now, at, name);
                }
            }
            Err(why) => {
                self.stats.streams_refused += u64::from(why == Refusal::TooMany);
                client.connection.refuse_play(at.1, "NetStream.Play.Failed", words(why));
            }
        }
    }

    /// What a client wants to play is not published, and it does not wait.
    pub(in super::super) fn refuse_recording(&mut self, now: Time, at: Place, name: &Arc<str>) {
        let Some(client) = self.clients.get_mut(&at.0) else { return };
        let why = format!("{name} is not recorded, and not published now");
        client.connection.refuse_play(at.1, "NetStream.Play.StreamNotFound", &why);
        self.carry_out(now, at.0);
    }

    /// A stream that these play is published, and there is this of it.
    pub(in super::super) fn begin_at(&mut self, now: Time, players: &[Place], backlog: &Backlog) {
        self.notify_players(now, players, true);
        let Some(queue) = self.streams.as_ref().map(|streams| streams.limits().queue) else {
            return;
        };
        let mut outcome = Delivered::default();
        for (message, encoded) in &backlog.messages {
            let Self { endpoint, flows, clients, .. } = self;
            let mut sender = Sender { endpoint, flows, clients, now, queue };
            sender.deliver_to(players, message, encoded, &mut outcome);
        }
        self.note_delivered(now, outcome);
        if backlog.is_cut {
            self.miss(players);
        }
    }

    /// Messages were sent to those who play.
    fn note_delivered(&mut self, now: Time, Delivered { dropped, satisfied }: Delivered) {
        self.stats.stream_messages_dropped += dropped;
        for at in satisfied {
            self.stop_stream(now, at);
        }
    }

    /// These have missed messages of what they play.
    pub(in super::super) fn miss(&mut self, players: &[Place]) {
        for (session, stream) in players {
            if let Some(client) = self.clients.get_mut(session) {
                client.connection.miss(*stream);
            }
        }
    }

    /// A message of one who publishes goes to all who play.
    pub(in super::super) fn pass_on(
        &mut self,
        now: Time,
        from: Place,
        message: Message,
        encoded: Bytes,
    ) {
        let (message, encoded) = match message.body.data_frame() {
            Some(body) => {
                let message = Message::new(message.timestamp, body);
                let encoded = message.encode().into_bytes();
                (message, encoded)
            }
            None => (message, encoded),
        };
        if self.hold_claimed(from, &message, &encoded) {
            return;
        }
        self.feed_others(from, &message, &encoded);
        self.deliver(now, &message, &encoded, |streams| streams.message(from, &message, &encoded));
    }

    /// Sends a message to those who play, whom `note` returns.
    pub(in super::super) fn deliver(
        &mut self,
        now: Time,
        message: &Message,
        encoded: &Bytes,
        note: impl FnOnce(&mut Streams) -> Option<&BTreeSet<Place>>,
    ) {
        let Self { endpoint, flows, clients, streams: Some(streams), .. } = self else { return };
        let queue = streams.limits().queue;
        let Some(players) = note(streams) else { return };
        let mut sender = Sender { endpoint, flows, clients, now, queue };
        let mut outcome = Delivered::default();
        sender.deliver_to(players, message, encoded, &mut outcome);
        self.note_delivered(now, outcome);
    }

    /// A client plays or publishes no longer in this place.
    pub(in super::super) fn stop_stream(&mut self, now: Time, at: Place) {
        self.forget_claims(now, |claimed| claimed == at);
        let Some(stopped) = self.streams.as_mut().and_then(|streams| streams.stop(at)) else {
            return;
        };
        if !stopped.was_published {
            return self.leave_publication(stopped.name, stopped.publication);
        }
        self.announce_end(stopped.name.clone(), stopped.publication);
        if let Some(peer) = self.clients.get(&at.0).map(|client| client.peer) {
            let (app, name) = (kept(&stopped.name.app), kept(&stopped.name.name));
            self.report(RendezvousEvent::StreamEnded { peer, app, name });
            self.notify_unpublished(now, at.0, &stopped.name.name);
        }
        self.notify_players(now, &stopped.players, false);
    }

    /// The session of a client has ended. The client is still known.
    pub(in super::super) fn stop_streams_of(&mut self, now: Time, session: SessionId) {
        self.forget_claims(now, |(of, _)| of == session);
        let places = self.streams.as_ref().map(|streams| streams.of_session(session));
        for at in places.into_iter().flatten() {
            self.stop_stream(now, at);
        }
    }

    pub(in super::super) fn notify_players(
        &mut self,
        now: Time,
        players: &[Place],
        is_published: bool,
    ) {
        for &(session, stream) in players {
            if let Some(client) = self.clients.get_mut(&session) {
                client.connection.notify_published(stream, is_published);
                self.carry_out(now, session);
            }
        }
    }
}

/// The parts of a server with which a message is sent, and the bytes that may wait for one client.
struct Sender<'a> {
    endpoint: &'a mut Endpoint,
    flows: &'a mut FlowTable<Owner>,
    clients: &'a mut HashMap<SessionId, Client>,
    now: Time,
    queue: u64,
}

/// What came of messages to those who play.
#[derive(Default)]
struct Delivered {
    /// Messages that were not sent to one, because too much waited.
    dropped: u64,
    /// Who has played as much as it wanted.
    satisfied: Vec<Place>,
}

impl Sender<'_> {
    /// Sends a message to those who play.
    fn deliver_to<'a>(
        &mut self,
        players: impl IntoIterator<Item = &'a Place>,
        message: &Message,
        encoded: &Bytes,
        outcome: &mut Delivered,
    ) {
        let mut plain = Plain::default();
        for &at in players {
            self.deliver(at, message, encoded, &mut plain, outcome);
        }
    }

    /// Sends a message to one who plays.
    fn deliver(
        &mut self,
        (session, stream): Place,
        message: &Message,
        encoded: &Bytes,
        plain: &mut Plain,
        outcome: &mut Delivered,
    ) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        let connection = &mut client.connection;
        let Some(token) = connection.stream_flow(stream) else { return };
        let (message, encoded) = match (connection.encoding(), &message.body) {
            (ObjectEncoding::Amf0, Body::Data(Format::Extended, _)) => match plain.of(message) {
                Some((message, encoded)) => (message, encoded),
                None => return,
            },
            _ => (message, encoded),
        };
        let queued = self.flows.queued(self.endpoint, session, Owner::Connection, token);
        if queued.saturating_add(encoded.len() as u64) > self.queue {
            connection.miss(stream);
            outcome.dropped += 1;
            return;
        }
        if !connection.write(stream, message, encoded) {
            outcome.satisfied.push((session, stream));
        }
        while let Some(action) = connection.poll_action() {
            self.flows.execute(self.endpoint, self.now, session, Owner::Connection, action);
        }
    }
}

/// A data message as clients with object encoding 0 read it, made when the first of them needs it.
#[derive(Default)]
struct Plain(Option<Option<(Message, Bytes)>>);

impl Plain {
    /// `None` if its values are malformed.
    fn of(&mut self, message: &Message) -> Option<(&Message, &Bytes)> {
        let made = self.0.get_or_insert_with(|| {
            let message = message.in_amf0()?;
            let encoded = message.encode().into_bytes();
            Some((message, encoded))
        });
        made.as_ref().map(|(message, encoded)| (message, encoded))
    }
}

/// A client's text for an event.
fn kept(text: &str) -> String {
    worth_keeping(text).to_owned()
}

fn words(why: Refusal) -> &'static str {
    match why {
        Refusal::InUse => "the name is in use",
        Refusal::TooMany => "there are too many",
        Refusal::NameTooLong => "the name is empty or too long",
        Refusal::NotRecorded => "it is not recorded",
    }
}
