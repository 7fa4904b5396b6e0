//! Streams that come from other members of the cluster, and those that go there.

use super::super::cluster::{Feed, MemberId, PublicationId, StreamName};
use super::feed::Intake;
use super::{Backlog, Cache, Place, Source, Stream, Streams, Taken};
use crate::flash::Message;
use crate::transport::Time;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;

/// Bytes of messages in one command, if it has several.
const MAX_PART: usize = 256 << 10;

/// A stream that a member gets from another.
#[derive(Debug)]
pub(in super::super) struct Received {
    pub(in super::super) name: StreamName,
    pub(in super::super) id: PublicationId,
    /// Bytes that have arrived.
    pub(in super::super) bytes: u64,
    /// Clients that play it here.
    pub(in super::super) players: usize,
    /// Nothing has come for long.
    pub(in super::super) is_gone: bool,
}

impl Stream {
    /// The publication of a client of this member.
    pub(super) fn publication(&self) -> Option<PublicationId> {
        match &self.source {
            Source::Here(_, outlets) => outlets.id,
            _ => None,
        }
    }

    /// Nobody publishes it any more.
    pub(super) fn clear(&mut self, cached: &mut usize) {
        self.source = Source::Nobody;
        self.forget_frames(cached);
    }

    /// Nobody plays it any more. Returns the publication that comes from another member in vain.
    pub(super) fn forsake(&mut self, cached: &mut usize) -> Option<PublicationId> {
        let Source::Elsewhere(intake) = &self.source else { return None };
        let id = intake.id;
        self.clear(cached);
        Some(id)
    }

    fn forget_frames(&mut self, cached: &mut usize) {
        *cached -= self.cache.bytes();
        self.cache = Cache::default();
    }
}

impl Streams {
    /// Bytes of a stream that may be on the way to another member: what is kept for late comers, and
    /// then as much as may wait for a player.
    fn window(&self) -> u64 {
        self.limits.queue.saturating_add(self.limits.cache as u64)
    }

    /// The publication by a client of this member.
    pub(in super::super) fn publication(&self, name: &StreamName) -> Option<PublicationId> {
        self.all.get(name)?.publication()
    }

    /// The client of this member that publishes a stream.
    pub(in super::super) fn publisher(&self, name: &StreamName) -> Option<Place> {
        match self.all.get(name)?.source {
            Source::Here(at, _) => Some(at),
            _ => None,
        }
    }

    /// What clients of this member publish.
    pub(in super::super) fn publications(&self) -> Vec<(StreamName, PublicationId)> {
        let all = self.all.iter();
        all.filter_map(|(name, stream)| Some((name.clone(), stream.publication()?))).collect()
    }

    /// Gives what is published here a name among members.
    pub(in super::super) fn name_publication(&mut self, name: &StreamName, id: PublicationId) {
        if let Some(Stream { source: Source::Here(_, outlets), .. }) = self.all.get_mut(name) {
            outlets.id = Some(id);
        }
    }

    /// The publication that comes from another member.
    pub(in super::super) fn intake(&self, name: &StreamName) -> Option<PublicationId> {
        match &self.all.get(name)?.source {
            Source::Elsewhere(intake) => Some(intake.id),
            _ => None,
        }
    }

    /// Clients of this member that play a stream or wait for it.
    pub(in super::super) fn players(&self, name: &StreamName) -> Vec<Place> {
        self.all.get(name).into_iter().flat_map(|stream| stream.players.iter().copied()).collect()
    }

    /// True if clients wait for a stream that nobody publishes, so far as is known.
    pub(in super::super) fn is_awaited(&self, name: &StreamName) -> bool {
        self.all.get(name).is_some_and(|it| !it.is_published() && !it.players.is_empty())
    }

    /// True if other members may be asked for a stream, as this was not done for a while.
    pub(in super::super) fn may_ask(
        &mut self,
        now: Time,
        name: &StreamName,
        pause: Duration,
    ) -> bool {
        let Some(stream) = self.all.get_mut(name) else { return false };
        let may_ask = stream.asked.is_none_or(|at| at + pause <= now);
        if may_ask {
            stream.asked = Some(now);
        }
        may_ask
    }

    /// Another member wants a stream, of which it may have received bytes already. Returns what
    /// it is to get first, unless it gets the stream.
    pub(in super::super) fn subscribe(
        &mut self,
        now: Time,
        from: MemberId,
        name: &StreamName,
        receiving: Option<(PublicationId, u64)>,
        players: usize,
    ) -> Option<Feed> {
        let stream = self.all.get_mut(name)?;
        let Source::Here(_, outlets) = &mut stream.source else { return None };
        let publication = outlets.id?;
        if let Some((of, received)) = receiving
            && of == publication
            && outlets.renew(now, from, received, players)
        {
            return None;
        }
        let Backlog { messages, is_cut } = stream.cache.backlog();
        let lacks_key_frame = is_cut || !messages.iter().any(|(it, _)| it.body.is_key_frame());
        let messages: Vec<Bytes> = messages.into_iter().map(|(_, encoded)| encoded).collect();
        let len = len_of(&messages);
        let offset = outlets.begin(now, from, players, (len, lacks_key_frame));
        let stream = name.clone();
        Some(Feed { stream, publication, offset, is_start: true, is_cut, messages })
    }

    /// A member wants this publication no longer, or is gone.
    pub(in super::super) fn unsubscribe(&mut self, from: MemberId, name: &StreamName) {
        if let Some(Stream { source: Source::Here(_, outlets), .. }) = self.all.get_mut(name) {
            outlets.remove(from);
        }
    }

    /// A member has received so much of a publication.
    pub(in super::super) fn note_received(
        &mut self,
        from: MemberId,
        name: &StreamName,
        id: PublicationId,
        bytes: u64,
    ) {
        if let Some(Stream { source: Source::Here(_, outlets), .. }) = self.all.get_mut(name)
            && outlets.id == Some(id)
        {
            outlets.note_received(from, bytes);
        }
    }

    /// A message of one who publishes: returns what other members get, and the number of those
    /// that do not because they lag.
    pub(in super::super) fn feed(
        &mut self,
        from: Place,
        message: &Message,
        encoded: &Bytes,
    ) -> (Vec<(MemberId, Feed)>, u64) {
        let window = self.window();
        let Some(name) = self.places.get(&from) else { return Default::default() };
        let Some(Stream { source: Source::Here(at, outlets), .. }) = self.all.get_mut(name) else {
            return Default::default();
        };
        let Some(publication) = outlets.id.filter(|_| *at == from) else {
            return Default::default();
        };
        let (to, left_out) = outlets.send(&message.body, encoded.len() as u64, window);
        let feed = |(member, offset)| {
            let (stream, messages) = (name.clone(), vec![encoded.clone()]);
            (member, Feed { stream, publication, offset, is_start: false, is_cut: false, messages })
        };
        (to.into_iter().map(feed).collect(), left_out)
    }

    /// A publication begins to come from another member, behind what
    /// [`note_elsewhere`](Self::note_elsewhere) gets first.
    pub(in super::super) fn begin_elsewhere(&mut self, now: Time, feed: &Feed) -> bool {
        if self.stream(&feed.stream).is_err() {
            return false;
        }
        let Self { all, kept, .. } = self;
        let Some(stream) = all.get_mut(&feed.stream) else { return false };
        stream.forget_frames(&mut kept.bytes);
        let received = feed.offset.saturating_add(len_of(&feed.messages));
        stream.source = Source::Elsewhere(Intake::new(now, feed.publication, received));
        (stream.messages, stream.bytes) = (0, 0);
        true
    }

    /// A message from another member: returns who plays.
    pub(in super::super) fn note_elsewhere(
        &mut self,
        name: &StreamName,
        message: &Message,
        encoded: &Bytes,
    ) -> Option<&BTreeSet<Place>> {
        let stream = self.all.get_mut(name)?;
        Some(stream.note(message, encoded, &self.limits, &mut self.kept))
    }

    /// What there is of a stream for one who comes late.
    pub(in super::super) fn backlog(&self, name: &StreamName) -> Option<Backlog> {
        self.all.get(name).map(|stream| stream.cache.backlog())
    }

    /// Messages of a publication have come from another member. `None` if it does not come here.
    pub(in super::super) fn take(&mut self, now: Time, feed: &Feed) -> Option<Taken> {
        let stream = self.all.get_mut(&feed.stream)?;
        let Source::Elsewhere(intake) = &mut stream.source else { return None };
        if intake.id != feed.publication {
            return None;
        }
        if feed.is_start {
            self.begin_elsewhere(now, feed);
            return Some(Taken::Again);
        }
        Some(intake.take(now, feed.offset, len_of(&feed.messages)))
    }

    /// Messages of a stream are missing: who comes late gets no more frames before the next key
    /// frame.
    pub(in super::super) fn cut(&mut self, name: &StreamName) {
        if let Some(stream) = self.all.get_mut(name) {
            stream.cache.interrupt();
        }
    }

    /// The bytes that have arrived of a stream, if its sender is to know.
    pub(in super::super) fn receipt(&mut self, name: &StreamName) -> Option<u64> {
        let window = self.window();
        match &mut self.all.get_mut(name)?.source {
            Source::Elsewhere(intake) => intake.receipt(window),
            _ => None,
        }
    }

    /// The member that a stream comes from is there.
    pub(in super::super) fn hear(&mut self, now: Time, name: &StreamName) {
        if let Some(Stream { source: Source::Elsewhere(intake), .. }) = self.all.get_mut(name) {
            intake.hear(now);
        }
    }

    /// A publication comes from another member no longer: returns who plays.
    pub(in super::super) fn end_elsewhere(&mut self, name: &StreamName) -> Vec<Place> {
        let Some(stream) = self.all.get_mut(name) else { return Vec::new() };
        if !matches!(stream.source, Source::Elsewhere(_)) {
            return Vec::new();
        }
        stream.clear(&mut self.kept.bytes);
        let players = stream.players.iter().copied().collect::<Vec<_>>();
        if players.is_empty() {
            self.all.remove(name);
        }
        players
    }

    /// All that comes from other members, and what was received of it. Forgets members that want
    /// nothing any more.
    pub(in super::super) fn refresh(&mut self, now: Time) -> Vec<Received> {
        let mut received = Vec::new();
        for (name, stream) in &mut self.all {
            match &mut stream.source {
                Source::Nobody => {}
                Source::Here(_, outlets) => outlets.expire(now),
                Source::Elsewhere(intake) => received.push(Received {
                    name: name.clone(),
                    id: intake.id,
                    bytes: intake.report(),
                    players: stream.players.len(),
                    is_gone: intake.is_gone(now),
                }),
            }
        }
        received
    }

    /// A member is gone: it gets nothing any more. Returns the streams that came from it.
    pub(in super::super) fn forget_member(&mut self, member: MemberId) -> Vec<StreamName> {
        let mut ended = Vec::new();
        for (name, stream) in &mut self.all {
            match &mut stream.source {
                Source::Nobody => {}
                Source::Here(_, outlets) => outlets.remove(member),
                Source::Elsewhere(intake) if intake.id.member == member => ended.push(name.clone()),
                Source::Elsewhere(_) => {}
            }
        }
        ended
    }
}

fn len_of(messages: &[Bytes]) -> u64 {
    messages.iter().map(|message| message.len() as u64).sum()
}

impl Feed {
    /// The same in several, each with no more than [`MAX_PART`] bytes unless it is one message.
    pub(in super::super) fn parts(self) -> Vec<Self> {
        let Self { stream, publication, mut offset, mut is_start, is_cut, messages } = self;
        let mut parts = Vec::new();
        let mut rest = messages.into_iter().peekable();
        loop {
            let mut len = 0;
            let mut part = Vec::new();
            while let Some(message) =
                rest.next_if(|it| part.is_empty() || len + it.len() <= MAX_PART)
            {
                len += message.len();
                part.push(message);
            }
            let is_cut = is_cut && rest.peek().is_none();
            let (stream, is_last) = (stream.clone(), rest.peek().is_none());
            parts.push(Self { stream, publication, offset, is_start, is_cut, messages: part });
            if is_last {
                return parts;
            }
            (offset, is_start) = (offset + len as u64, false);
        }
    }
}
