//! Live streams that clients publish and play through the server.
//!
//! A stream has a name in an application. Clients play it before it is published, too, and from one
//! publication to the next. Its messages go to all who play, in the bytes in which they came.
//!
//! This table knows NetStreams by [`Place`]s only: what came of a client goes in, and out comes to
//! which places something is to be sent.
//!
//! A stream may come from another member of the cluster, once for all who play it here.
//!
//! | file | what |
//! | --- | --- |
//! | `cache.rs` | what is kept for those who come late |
//! | `serve.rs` | what a client does, and what others are sent for it |
//! | `claims.rs` | one publisher of a name, at whatever member |
//! | `across.rs` | what members ask each other when publisher and players are apart |
//! | `elsewhere.rs` | the part of the table that is about other members |
//! | `feed.rs` | how much is on the way from one member to another, and what is missing |

mod across;
mod cache;
mod claims;
mod elsewhere;
mod feed;
mod serve;

use super::cluster::{PublicationId, StreamName};
use crate::flash::Message;
use crate::transport::{SessionId, Time};
use bytes::Bytes;
use cache::Cache;
use claims::PendingStreams;
pub(super) use feed::Taken;
use feed::{Intake, Outlets};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The longest name of a stream that is taken, in bytes.
const MAX_NAME: usize = 512;

/// Limits of live streams. Of a server with several workers each keeps to them, and to its part of
/// [`cache_in_all`](Self::cache_in_all).
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
    /// Clients that play it; those of other members of a cluster as they were two seconds ago.
    pub players: usize,
    /// Messages that were published since it began.
    pub messages: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// A NetStream of a client.
pub(super) type Place = (SessionId, u32);

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
    /// The publication that is over, or that nobody here plays any more, if other members know it.
    pub(super) publication: Option<PublicationId>,
}

/// All streams.
#[derive(Debug)]
pub(super) struct Streams {
    limits: StreamLimits,
    all: HashMap<StreamName, Stream>,
    /// What each NetStream plays or publishes.
    places: BTreeMap<Place, StreamName>,
    kept: Kept,
    /// Clients that wait for other members.
    pending: PendingStreams,
}

/// What all streams keep for those who come late.
#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    /// How often a stream had no space for it.
    cuts: u64,
}

#[derive(Debug, Default)]
struct Stream {
    source: Source,
    /// When other members were last asked for it.
    asked: Option<Time>,
    players: BTreeSet<Place>,
    cache: Cache,
    messages: u64,
    bytes: u64,
}

/// Who publishes a stream.
#[derive(Debug, Default)]
enum Source {
    #[default]
    Nobody,
    /// A client of this member.
    Here(Place, Outlets),
    /// A client of another member.
    Elsewhere(Intake),
}

impl Stream {
    fn is_published(&self) -> bool {
        !matches!(self.source, Source::Nobody)
    }

    fn is_published_at(&self, at: Place) -> bool {
        matches!(self.source, Source::Here(publisher, _) if publisher == at)
    }

    /// Notes a message, and returns who plays.
    fn note(
        &mut self,
        message: &Message,
        encoded: &Bytes,
        limits: &StreamLimits,
        kept: &mut Kept,
    ) -> &BTreeSet<Place> {
        self.messages += 1;
        self.bytes += encoded.len() as u64;
        let others = kept.bytes - self.cache.bytes();
        let space = limits.cache.min(limits.cache_in_all.saturating_sub(others));
        kept.cuts += u64::from(self.cache.note(message, encoded, space));
        kept.bytes = others + self.cache.bytes();
        &self.players
    }
}

impl Streams {
    pub(super) fn new(limits: StreamLimits) -> Self {
        let (all, places) = (HashMap::new(), BTreeMap::new());
        Self { limits, all, places, kept: Kept::default(), pending: PendingStreams::default() }
    }

    pub(super) fn limits(&self) -> StreamLimits {
        self.limits
    }

    /// Why somebody could not publish, so far as is known here.
    pub(super) fn may_publish(&self, name: &StreamName) -> Result<(), Refusal> {
        match self.all.get(name) {
            Some(Stream { source: Source::Here(..), .. }) => Err(Refusal::InUse),
            Some(_) => Ok(()),
            None => self.may_add(name),
        }
    }

    /// Somebody wants to publish: returns who waits for the stream. It must not play or publish in
    /// this place.
    pub(super) fn publish(&mut self, name: StreamName, at: Place) -> Result<Vec<Place>, Refusal> {
        let stream = self.stream(&name)?;
        if stream.is_published() {
            return Err(Refusal::InUse);
        }
        stream.source = Source::Here(at, Outlets::default());
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
        if recorded && !self.all.get(&name).is_some_and(Stream::is_published) {
            return Err(Refusal::NotRecorded);
        }
        let players = self.limits.players;
        let stream = self.stream(&name)?;
        if stream.players.len() >= players {
            return Err(Refusal::TooMany);
        }
        stream.players.insert(at);
        let backlog = stream.is_published().then(|| stream.cache.backlog());
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
        if !stream.is_published_at(from) {
            return None;
        }
        Some(stream.note(message, encoded, &self.limits, &mut self.kept))
    }

    /// Nobody plays or publishes in this place any more.
    pub(super) fn stop(&mut self, at: Place) -> Option<Stopped> {
        let name = self.places.remove(&at)?;
        let stream = self.all.get_mut(&name)?;
        let was_published = stream.is_published_at(at);
        let (mut players, mut publication) = (Vec::new(), None);
        if was_published {
            publication = stream.publication();
            stream.clear(&mut self.kept.bytes);
            players.extend(&stream.players);
        } else {
            stream.players.remove(&at);
            if stream.players.is_empty() {
                publication = stream.forsake(&mut self.kept.bytes);
            }
        }
        if !stream.is_published() && stream.players.is_empty() {
            self.all.remove(&name);
        }
        Some(Stopped { name, was_published, players, publication })
    }

    /// The places of a session.
    pub(super) fn of_session(&self, session: SessionId) -> Vec<Place> {
        let range = (session, 0)..=(session, u32::MAX);
        self.places.range(range).map(|(&place, _)| place).collect()
    }

    /// The streams that clients of this member publish.
    pub(super) fn published(&self) -> impl Iterator<Item = StreamInfo> {
        self.all.iter().filter_map(|(name, stream)| {
            let Source::Here(_, outlets) = &stream.source else { return None };
            Some(StreamInfo {
                app: name.app.clone(),
                name: name.name.clone(),
                players: stream.players.len() + outlets.players(),
                messages: stream.messages,
                bytes: stream.bytes,
            })
        })
    }

    /// The number of those who publish, and of those who play or wait.
    pub(super) fn count(&self) -> (usize, usize) {
        let is_here = |stream: &&Stream| matches!(stream.source, Source::Here(..));
        let published = self.all.values().filter(is_here).count();
        (published, self.places.len() - published)
    }

    /// How often frames of a stream were not kept, as there was no space.
    pub(super) fn caches_cut(&self) -> u64 {
        self.kept.cuts
    }

    /// Messages that were dropped while their publishers waited for other members.
    pub(super) fn claims_dropped(&self) -> u64 {
        self.pending.dropped
    }

    fn may_add(&self, name: &StreamName) -> Result<(), Refusal> {
        if name.name.len() > MAX_NAME || name.name.is_empty() {
            return Err(Refusal::NameTooLong);
        }
        if self.all.len() >= self.limits.streams {
            return Err(Refusal::TooMany);
        }
        Ok(())
    }

    /// The stream of a name, which is there from now on.
    fn stream(&mut self, name: &StreamName) -> Result<&mut Stream, Refusal> {
        if !self.all.contains_key(name) {
            self.may_add(name)?;
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
        assert!(streams.all.is_empty() && streams.places.is_empty() && streams.kept.bytes == 0);
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
                assert!(streams.kept.bytes <= 400, "{:?}", streams.kept);
            }
        }
        assert!(streams.kept.bytes > 200);
        assert_eq!(streams.caches_cut(), 8, "once for each key frame");
    }
}
