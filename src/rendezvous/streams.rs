//! Live streams that clients publish and play through the server.
//!
//! A stream has a name in an application. Clients play it before it is published, too, and from one
//! publication to the next. Its messages go to all who play, in the bytes in which they came.
//!
//! This table knows NetStreams by [`Place`]s only: what came of a client goes in, and out comes to
//! which places something is to be sent. `streams/serve.rs` does so.

mod cache;
mod serve;

use crate::flash::Message;
use crate::transport::SessionId;
use bytes::Bytes;
use cache::Cache;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The longest name of a stream that is taken, in bytes.
const MAX_NAME: usize = 512;

/// Limits of live streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamLimits {
    /// NetStreams of one client, each of which plays or publishes; beyond, `createStream` fails.
    pub per_client: usize,
    /// Streams in all, those included that somebody waits for; beyond, publishing and playing is
    /// refused.
    pub streams: usize,
    /// Clients that play one stream; further ones are refused.
    pub players: usize,
    /// Bytes kept of one stream for those who come late: everything since the last key frame. If
    /// that is more, only the key frame is kept, and a newcomer's video goes on at the next one.
    pub cache: usize,
    /// The same for all streams together.
    pub cache_in_all: usize,
    /// Bytes that wait for one who plays. Beyond, messages are dropped, and video up to the next key
    /// frame.
    pub queue: u64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            per_client: 16,
            streams: 4096,
            players: 10_000,
            cache: 1 << 20,
            cache_in_all: 64 << 20,
            queue: 1 << 20,
        }
    }
}

/// A stream that is published now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// The application.
    pub app: Arc<str>,
    /// Its name there.
    pub name: Arc<str>,
    /// Clients that play it.
    pub players: usize,
    /// Messages that were published since it began.
    pub messages: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// A NetStream of a client.
pub(super) type Place = (SessionId, u32);

/// A stream's name and its application.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct StreamName {
    pub(super) app: Arc<str>,
    pub(super) name: Arc<str>,
}

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    InUse,
    TooMany,
    NameTooLong,
    NotRecorded,
}

/// What somebody who plays is sent first.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) messages: Vec<(Message, Bytes)>,
    /// Frames are missing behind it: video goes on at the next key frame.
    pub(super) is_cut: bool,
}

/// Somebody has stopped playing or publishing.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) name: StreamName,
    pub(super) was_published: bool,
    /// Who plays the stream that is no longer published.
    pub(super) players: Vec<Place>,
}

/// All streams.
#[derive(Debug)]
pub(super) struct Streams {
    limits: StreamLimits,
    all: HashMap<StreamName, Stream>,
    /// What each NetStream plays or publishes.
    places: BTreeMap<Place, StreamName>,
    /// Bytes that are kept for those who come late.
    cached: usize,
}

#[derive(Debug, Default)]
struct Stream {
    publisher: Option<Place>,
    players: BTreeSet<Place>,
    cache: Cache,
    messages: u64,
    bytes: u64,
}

impl Streams {
    pub(super) fn new(limits: StreamLimits) -> Self {
        Self { limits, all: HashMap::new(), places: BTreeMap::new(), cached: 0 }
    }

    pub(super) fn limits(&self) -> StreamLimits {
        self.limits
    }

    /// Somebody wants to publish: returns who waits for the stream. It must not play or publish in
    /// this place.
    pub(super) fn publish(&mut self, name: StreamName, at: Place) -> Result<Vec<Place>, Refusal> {
        let stream = self.stream(&name)?;
        if stream.publisher.is_some() {
            return Err(Refusal::InUse);
        }
        stream.publisher = Some(at);
        (stream.messages, stream.bytes) = (0, 0);
        let waiting = stream.players.iter().copied().collect();
        self.places.insert(at, name);
        Ok(waiting)
    }

    /// Somebody wants to play: returns what there is of the stream, if it is published. It must not
    /// play or publish in this place.
    pub(super) fn play(
        &mut self,
        name: StreamName,
        at: Place,
        recorded: bool,
    ) -> Result<Option<Backlog>, Refusal> {
        if recorded && self.all.get(&name).is_none_or(|stream| stream.publisher.is_none()) {
            return Err(Refusal::NotRecorded);
        }
        let players = self.limits.players;
        let stream = self.stream(&name)?;
        if stream.players.len() >= players {
            return Err(Refusal::TooMany);
        }
        stream.players.insert(at);
        let backlog = stream.publisher.is_some().then(|| stream.cache.backlog());
        self.places.insert(at, name);
        Ok(backlog)
    }

    /// A message of one who publishes: returns who plays.
    pub(super) fn message(
        &mut self,
        from: Place,
        message: &Message,
        encoded: &Bytes,
    ) -> Option<&BTreeSet<Place>> {
        let stream = self.all.get_mut(self.places.get(&from)?)?;
        if stream.publisher != Some(from) {
            return None;
        }
        stream.messages += 1;
        stream.bytes += encoded.len() as u64;
        let before = stream.cache.bytes();
        let others = self.cached - before;
        let space = self.limits.cache.min(self.limits.cache_in_all.saturating_sub(others));
        stream.cache.note(message, encoded, space);
        self.cached = others + stream.cache.bytes();
        Some(&stream.players)
    }

    /// Nobody plays or publishes in this place any more.
    pub(super) fn stop(&mut self, at: Place) -> Option<Stopped> {
        let name = self.places.remove(&at)?;
        let stream = self.all.get_mut(&name)?;
        let was_published = stream.publisher == Some(at);
        let mut players = Vec::new();
        if was_published {
            stream.publisher = None;
            self.cached -= stream.cache.bytes();
            stream.cache = Cache::default();
            players.extend(&stream.players);
        } else {
            stream.players.remove(&at);
        }
        if stream.publisher.is_none() && stream.players.is_empty() {
            self.all.remove(&name);
        }
        Some(Stopped { name, was_published, players })
    }

    /// The places of a session.
    pub(super) fn of_session(&self, session: SessionId) -> Vec<Place> {
        let range = (session, 0)..=(session, u32::MAX);
        self.places.range(range).map(|(&place, _)| place).collect()
    }

    /// The streams that are published.
    pub(super) fn published(&self) -> impl Iterator<Item = StreamInfo> {
        let published = self.all.iter().filter(|(_, stream)| stream.publisher.is_some());
        published.map(|(name, stream)| StreamInfo {
            app: name.app.clone(),
            name: name.name.clone(),
            players: stream.players.len(),
            messages: stream.messages,
            bytes: stream.bytes,
        })
    }

    /// The number of those who publish, and of those who play or wait.
    pub(super) fn count(&self) -> (usize, usize) {
        let published = self.all.values().filter(|stream| stream.publisher.is_some()).count();
        (published, self.places.len() - published)
    }

    /// The stream of a name, which is there from now on.
    fn stream(&mut self, name: &StreamName) -> Result<&mut Stream, Refusal> {
        if name.name.len() > MAX_NAME || name.name.is_empty() {
            return Err(Refusal::NameTooLong);
        }
        if !self.all.contains_key(name) && self.all.len() >= self.limits.streams {
            return Err(Refusal::TooMany);
        }
        Ok(self.all.entry(name.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::Body;

    fn name(name: &str) -> StreamName {
        StreamName { app: "live".into(), name: name.into() }
    }

    fn place(session: u32, stream: u32) -> Place {
        (SessionId(session), stream)
    }

    fn frame(at: u32, bytes: &'static [u8]) -> (Message, Bytes) {
        let message = Message::new(at, Body::Video(Bytes::from_static(bytes)));
        let encoded = message.encode().into_bytes();
        (message, encoded)
    }

    #[test]
    fn who_waits_is_notified_and_who_plays_gets_the_messages() {
        let mut streams = Streams::new(StreamLimits::default());
        let (publisher, player) = (place(1, 1), place(2, 1));
        assert!(streams.play(name("a"), player, false).unwrap().is_none());
        assert_eq!(streams.publish(name("a"), publisher), Ok(vec![player]));
        assert_eq!(streams.publish(name("a"), place(3, 1)), Err(Refusal::InUse));
        let (message, encoded) = frame(0, b"\x17\x01\0\0\0K");
        let to = streams.message(publisher, &message, &encoded).unwrap();
        assert_eq!(to.iter().collect::<Vec<_>>(), [&player]);
        assert!(
            streams.message(player, &message, &encoded).is_none(),
            "who plays publishes nothing"
        );
        let late = streams.play(name("a"), place(4, 1), true).unwrap().unwrap();
        assert_eq!(late.messages, [(message, encoded)]);
        assert_eq!(streams.count(), (1, 2));
        let stopped = streams.stop(publisher).unwrap();
        assert!(stopped.was_published && stopped.players.len() == 2);
        assert_eq!(streams.of_session(player.0), [player]);
        assert!(streams.stop(player).is_some() && streams.stop(player).is_none());
        assert!(streams.stop(place(4, 1)).is_some());
        assert!(streams.all.is_empty() && streams.places.is_empty() && streams.cached == 0);
    }

    #[test]
    fn hostile_crowds_are_bounded() {
        let limits = StreamLimits { streams: 2, players: 2, ..StreamLimits::default() };
        let mut streams = Streams::new(limits);
        for n in 1..=2 {
            assert!(streams.play(name("a"), place(n, 1), false).is_ok());
        }
        assert_eq!(streams.play(name("a"), place(3, 1), false).unwrap_err(), Refusal::TooMany);
        assert!(streams.publish(name("b"), place(4, 1)).is_ok());
        assert_eq!(streams.publish(name("c"), place(5, 1)), Err(Refusal::TooMany));
        assert_eq!(streams.play(name("c"), place(5, 2), false).unwrap_err(), Refusal::TooMany);
        assert_eq!(streams.play(name("c"), place(5, 2), true).unwrap_err(), Refusal::NotRecorded);
        assert!(streams.publish(name("a"), place(4, 2)).is_ok(), "a name that is known");
        for bad in ["", &"x".repeat(MAX_NAME + 1)] {
            assert_eq!(streams.publish(name(bad), place(6, 1)), Err(Refusal::NameTooLong));
        }
        assert_eq!(streams.places.len(), 4);
    }

    #[test]
    fn hostile_streams_share_the_cache() {
        let limits = StreamLimits { cache: 300, cache_in_all: 400, ..StreamLimits::default() };
        let mut streams = Streams::new(limits);
        for n in 1..=8 {
            streams.publish(name(&n.to_string()), place(n, 1)).unwrap();
            for at in 0..9 {
                let (message, encoded) =
                    frame(at, if at == 0 { b"\x17\x01k" } else { b"\x27\x01i" });
                streams.message(place(n, 1), &message, &encoded);
                assert!(streams.cached <= 400, "{}", streams.cached);
            }
        }
        assert!(streams.cached > 200);
    }
}
