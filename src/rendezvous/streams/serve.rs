//! Streams of clients: what a client does, and what others are sent for it.

use super::super::client::{Client, Owner};
use super::super::{Rendezvous, RendezvousEvent};
use super::{Place, Refusal, StreamInfo, StreamName};
use crate::flash::server::StreamEvent;
use crate::flash::{Body, Format, Message, ObjectEncoding};
use crate::transport::{Endpoint, FlowTable, SessionId, Time};
use crate::wire::worth_keeping;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// The answer of a server that relays no streams.
const NO_STREAMS: &str = "this server relays no streams";
/// The answer to a client whose token does not name the stream.
const NO_RIGHT: &str = "the token does not allow it";

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
            StreamEvent::Publish { name, record } => self.publish(now, at, &name, record),
            StreamEvent::Play { name, recorded } => self.play(now, at, &name, recorded),
            StreamEvent::Message { message, encoded } => {
                self.pass_on(now, at, message, encoded);
            }
            StreamEvent::Stopped => self.stop_stream(now, at),
        }
    }

    fn publish(&mut self, now: Time, at: Place, name: &Arc<str>, record: bool) {
        let Some(client) = self.clients.get_mut(&at.0) else { return };
        if client.rights.as_ref().is_some_and(|rights| !rights.publish.contain(name)) {
            self.stats.rights_refused += 1;
            client.connection.refuse_publish(at.1, "NetStream.Publish.Denied", NO_RIGHT, false);
            return;
        }
        let Some(streams) = &mut self.streams else {
            client.connection.refuse_publish(at.1, "NetStream.Publish.Denied", NO_STREAMS, true);
            return;
        };
        let full = StreamName { app: client.app.clone(), name: name.clone() };
        match streams.publish(full.clone(), at) {
            Ok(waiting) => {
                client.connection.begin_publishing(at.1, name);
                if record {
                    let status = ["error", "NetStream.Record.NoAccess", "nothing is recorded here"];
                    client.connection.report(at.1, status);
                }
                let (peer, app) = (client.peer, kept(&full.app));
                self.stats.streams_published += 1;
                let name = kept(name);
                self.report(RendezvousEvent::StreamPublished { peer, app, name });
                self.notify_players(now, &waiting, true);
            }
            Err(Refusal::InUse) => {
                let why = format!("{name} is already published");
                client.connection.refuse_publish(at.1, "NetStream.Publish.BadName", &why, false);
            }
            Err(why) => {
                let why = words(why);
                client.connection.refuse_publish(at.1, "NetStream.Publish.Denied", why, false);
            }
        }
    }

    fn play(&mut self, now: Time, at: Place, name: &Arc<str>, recorded: bool) {
        let Some(client) = self.clients.get_mut(&at.0) else { return };
        if client.rights.as_ref().is_some_and(|rights| !rights.play.contain(name)) {
            self.stats.rights_refused += 1;
            client.connection.refuse_play(at.1, "NetStream.Play.Failed", NO_RIGHT);
            return;
        }
        let Some(streams) = &mut self.streams else {
            client.connection.refuse_play(at.1, "NetStream.Play.Failed", NO_STREAMS);
            return;
        };
        let full = StreamName { app: client.app.clone(), name: name.clone() };
        let queue = streams.limits().queue;
        match streams.play(full, at, recorded) {
            Ok(backlog) => {
                client.connection.begin_playing(at.1, name);
                let Some(backlog) = backlog else { return };
                client.connection.notify_published(at.1, true);
                self.carry_out(now, at.0);
                let mut plain = Plain::default();
                for (message, encoded) in &backlog.messages {
                    plain.reset();
                    let Self { endpoint, flows, clients, .. } = self;
                    let mut sender = Sender { endpoint, flows, clients, now, queue };
                    let delivered = sender.deliver(at, message, encoded, &mut plain);
                    self.stats.stream_messages_dropped += u64::from(!delivered);
                }
                if backlog.is_cut
                    && let Some(client) = self.clients.get_mut(&at.0)
                {
                    client.connection.miss(at.1);
                }
            }
            Err(Refusal::NotRecorded) => {
                let why = format!("{name} is not recorded, and not published now");
                client.connection.refuse_play(at.1, "NetStream.Play.StreamNotFound", &why);
            }
            Err(why) => {
                client.connection.refuse_play(at.1, "NetStream.Play.Failed", words(why));
            }
        }
    }

    /// A message of one who publishes goes to all who play.
    fn pass_on(&mut self, now: Time, from: Place, message: Message, encoded: Bytes) {
        let (message, encoded) = match message.body.data_frame() {
            Some(body) => {
                let message = Message::new(message.timestamp, body);
                let encoded = message.encode().into_bytes();
                (message, encoded)
            }
            None => (message, encoded),
        };
        let Self { endpoint, flows, clients, streams: Some(streams), .. } = self else { return };
        let queue = streams.limits().queue;
        let Some(players) = streams.message(from, &message, &encoded) else { return };
        let (mut plain, mut dropped) = (Plain::default(), 0);
        let mut sender = Sender { endpoint, flows, clients, now, queue };
        for &at in players {
            dropped += u64::from(!sender.deliver(at, &message, &encoded, &mut plain));
        }
        self.stats.stream_messages_dropped += dropped;
    }

    /// A client plays or publishes no longer in this place.
    fn stop_stream(&mut self, now: Time, at: Place) {
        let Some(stopped) = self.streams.as_mut().and_then(|streams| streams.stop(at)) else {
            return;
        };
        if !stopped.was_published {
            return;
        }
        if let Some(peer) = self.clients.get(&at.0).map(|client| client.peer) {
            let (app, name) = (kept(&stopped.name.app), kept(&stopped.name.name));
            self.report(RendezvousEvent::StreamEnded { peer, app, name });
        }
        self.notify_players(now, &stopped.players, false);
    }

    /// The session of a client has ended. The client is still known.
    pub(in super::super) fn stop_streams_of(&mut self, now: Time, session: SessionId) {
        let places = self.streams.as_ref().map(|streams| streams.of_session(session));
        for at in places.into_iter().flatten() {
            self.stop_stream(now, at);
        }
    }

    fn notify_players(&mut self, now: Time, players: &[Place], is_published: bool) {
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

impl Sender<'_> {
    /// Sends a message to one who plays. False if it is dropped, because too much waits already.
    fn deliver(
        &mut self,
        (session, stream): Place,
        message: &Message,
        encoded: &Bytes,
        plain: &mut Plain,
    ) -> bool {
        let Some(client) = self.clients.get_mut(&session) else { return true };
        let connection = &mut client.connection;
        let Some(token) = connection.stream_flow(stream) else { return true };
        let (message, encoded) = match (connection.encoding(), &message.body) {
            (ObjectEncoding::Amf0, Body::Data(Format::Extended, _)) => match plain.of(message) {
                Some((message, encoded)) => (message, encoded),
                None => return true,
            },
            _ => (message, encoded),
        };
        let queued = self.flows.queued(self.endpoint, session, Owner::Connection, token);
        if queued.saturating_add(encoded.len() as u64) > self.queue {
            connection.miss(stream);
            return false;
        }
        connection.write(stream, message, encoded);
        while let Some(action) = connection.poll_action() {
            self.flows.execute(self.endpoint, self.now, session, Owner::Connection, action);
        }
        true
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

    fn reset(&mut self) {
        self.0 = None;
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
