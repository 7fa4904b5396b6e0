//! Streams whose publisher and players are clients of different members.
//!
//! A member with players gets the stream once, from the member that has the publisher: first what
//! those need who come late, and then every message. It keeps them for its own late comers as if the
//! publisher were its client.
//!
//! Commands may be lost. So what is published is announced again every [`REFRESH`], and
//! so is who wants it. A part of a stream that is missing costs video up to the next key frame.

use super::super::Rendezvous;
use super::super::cluster::{Command, Feed, MemberId, PublicationId, StreamName, To};
use super::claims::WAIT;
use super::{Backlog, Place, Streams, Taken};
use crate::flash::Message;
use crate::transport::Time;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// How often it is repeated what is published and what is played.
const REFRESH: Duration = Duration::from_secs(2);
/// Streams in one command.
const BATCH: usize = 64;
/// A member is not asked again for a stream within this time.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Clients that wait to learn if a stream is published; further ones are refused.
const MAX_PLAYS: usize = 4096;

impl Rendezvous {
    /// Clients of this member wait for a stream that nobody publishes, so far as is known.
    pub(in super::super) fn want_stream(&mut self, now: Time, stream: StreamName) {
        let (Some(streams), Some(cluster)) = (&mut self.streams, &mut self.cluster) else { return };
        if streams.may_ask(now, &stream, ASK_AGAIN) {
            let players = streams.players(&stream).len();
            cluster.send(To::Others, Command::Subscribe { stream, receiving: None, players });
        }
    }

    /// A client plays a stream only if it is published: asks other members, if there are any.
    pub(in super::super) fn seek_publication(
        &mut self,
        now: Time,
        at: Place,
        stream: &StreamName,
    ) -> bool {
        let (Some(streams), Some(cluster)) = (&mut self.streams, &self.cluster) else {
            return false;
        };
        if cluster.others.is_empty() || streams.pending.plays.len() >= MAX_PLAYS {
            return false;
        }
        streams.pending.plays.push_back((now + WAIT, at, stream.clone()));
        let stream = stream.clone();
        self.tell(To::Others, Command::Subscribe { stream, receiving: None, players: 1 });
        true
    }

    /// Clients of other members get a message of one who publishes.
    pub(in super::super) fn feed_others(&mut self, from: Place, message: &Message, bytes: &Bytes) {
        let (Some(streams), Some(cluster)) = (&mut self.streams, &mut self.cluster) else { return };
        let (feeds, left_out) = streams.feed(from, message, bytes);
        self.stats.stream_messages_dropped += left_out;
        for (member, feed) in feeds {
            cluster.send(To::Member(member), Command::Feed(Box::new(feed)));
        }
    }

    /// A client of this member publishes no longer.
    pub(in super::super) fn announce_end(&mut self, stream: StreamName, id: Option<PublicationId>) {
        if let Some(publication) = id {
            self.tell(To::Others, Command::Unpublished { stream, publication });
        }
    }

    /// No client of this member plays a stream any more.
    pub(in super::super) fn leave_publication(
        &mut self,
        stream: StreamName,
        id: Option<PublicationId>,
    ) {
        if let Some(publication) = id {
            let to = To::Member(publication.member);
            self.tell(to, Command::Unsubscribe { stream, publication });
        }
    }

    /// Other members publish streams.
    pub(in super::super) fn on_published(
        &mut self,
        now: Time,
        from: MemberId,
        list: Vec<(StreamName, PublicationId)>,
    ) {
        for (stream, id) in list {
            let Some(streams) = &self.streams else { return };
            let claimed = streams.pending.claim_of(&stream).is_some();
            if let Some(own) = streams.publication(&stream) {
                if own < id {
                    self.tell(To::Member(from), Command::Published(vec![(stream, own)]));
                } else {
                    self.yield_publication(now, from, &stream);
                }
                continue;
            }
            if claimed {
                self.refuse_claim(now, &stream);
            }
            let Some(streams) = &mut self.streams else { return };
            match streams.intake(&stream) {
                Some(known) if known == id => streams.hear(now, &stream),
                Some(known) if known.member == from => {
                    self.end_of_publication(now, &stream, known);
                    self.ask_for(now, from, stream);
                }
                Some(_) => {}
                None if streams.is_awaited(&stream) => self.ask_for(now, from, stream),
                None => {}
            }
        }
    }

    /// A client of this member was the second to publish a stream.
    fn yield_publication(&mut self, now: Time, to: MemberId, stream: &StreamName) {
        let at = self.streams.as_ref().and_then(|streams| streams.publisher(stream));
        let Some(at) = at else { return };
        if let Some(client) = self.clients.get_mut(&at.0) {
            let why = format!("{} is already published", stream.name);
            client.connection.refuse_publish(at.1, "NetStream.Publish.BadName", &why, true);
            self.carry_out(now, at.0);
        }
        self.stop_stream(now, at);
        if self.streams.as_ref().is_some_and(|streams| streams.is_awaited(stream)) {
            self.ask_for(now, to, stream.clone());
        }
    }

    /// Asks a member for a stream, unless that was done just now.
    fn ask_for(&mut self, now: Time, member: MemberId, stream: StreamName) {
        let (Some(streams), Some(cluster)) = (&mut self.streams, &mut self.cluster) else { return };
        if streams.may_ask(now, &stream, ASK_AGAIN) {
            let players = streams.players(&stream).len();
            let want = Command::Subscribe { stream, receiving: None, players };
            cluster.send(To::Member(member), want);
        }
    }

    /// Clients of another member play a stream.
    pub(in super::super) fn on_subscribe(
        &mut self,
        now: Time,
        from: MemberId,
        stream: StreamName,
        receiving: Option<(PublicationId, u64)>,
        players: usize,
    ) {
        let (Some(streams), Some(cluster)) = (&mut self.streams, &mut self.cluster) else { return };
        if let Some(feed) = streams.subscribe(now, from, &stream, receiving, players) {
            for part in feed.parts() {
                cluster.send(To::Member(from), Command::Feed(Box::new(part)));
            }
            return;
        }
        if let Some((publication, _)) = receiving
            && publication.member == cluster.member
            && streams.publication(&stream) != Some(publication)
        {
            cluster.send(To::Member(from), Command::Unpublished { stream, publication });
        }
    }

    pub(in super::super) fn on_unsubscribe(
        &mut self,
        from: MemberId,
        stream: &StreamName,
        publication: PublicationId,
    ) {
        if let Some(streams) = &mut self.streams
            && streams.publication(stream) == Some(publication)
        {
            streams.unsubscribe(from, stream);
        }
    }

    /// Messages of a stream have come from another member.
    pub(in super::super) fn on_feed(&mut self, now: Time, from: MemberId, feed: &Feed) {
        let Some(streams) = &mut self.streams else { return };
        if streams.publisher(&feed.stream).is_some() {
            return;
        }
        match streams.take(now, feed) {
            None if feed.is_start => return self.begin_feed(now, feed),
            None if streams.is_awaited(&feed.stream) => {
                return self.ask_for(now, from, feed.stream.clone());
            }
            // Another publication comes here, or nobody plays it.
            None => {
                if streams.intake(&feed.stream).is_none() {
                    let (stream, publication) = (feed.stream.clone(), feed.publication);
                    self.tell(To::Member(from), Command::Unsubscribe { stream, publication });
                }
                return;
            }
            Some(Taken::Late) => return,
            // It is for those who come late: others go on at the next key frame.
            Some(Taken::Again) => {
                self.fill(feed);
                let players = self.streams.as_ref().map(|it| it.players(&feed.stream));
                return self.miss(&players.unwrap_or_default());
            }
            Some(Taken::AfterGap) => self.interrupt(&feed.stream),
            Some(Taken::Next) => {}
        }
        for encoded in &feed.messages {
            let Ok(message) = Message::parse(encoded) else { continue };
            self.deliver(now, &message, encoded, |streams| {
                streams.note_elsewhere(&feed.stream, &message, encoded)
            });
        }
        if feed.is_cut {
            self.interrupt(&feed.stream);
        }
        let receipt = self.streams.as_mut().and_then(|streams| streams.receipt(&feed.stream));
        if let Some(bytes) = receipt {
            let (stream, publication) = (feed.stream.clone(), feed.publication);
            self.tell(To::Member(from), Command::Received { stream, publication, bytes });
        }
    }

    /// Something is missing of a stream: video goes on at a key frame.
    fn interrupt(&mut self, stream: &StreamName) {
        let Some(streams) = &mut self.streams else { return };
        streams.cut(stream);
        let players = streams.players(stream);
        self.miss(&players);
    }

    /// Keeps what another member has kept of a stream for those who come late, and returns it.
    fn fill(&mut self, feed: &Feed) -> Option<Backlog> {
        let streams = self.streams.as_mut()?;
        for encoded in &feed.messages {
            if let Ok(message) = Message::parse(encoded) {
                streams.note_elsewhere(&feed.stream, &message, encoded);
            }
        }
        if feed.is_cut {
            streams.cut(&feed.stream);
        }
        streams.backlog(&feed.stream)
    }

    /// A publication begins to come from another member.
    fn begin_feed(&mut self, now: Time, feed: &Feed) {
        let Some(streams) = &mut self.streams else { return };
        let waiting = std::mem::take(&mut streams.pending.plays).into_iter();
        let (plays, others): (VecDeque<_>, _) =
            waiting.partition(|(.., name)| *name == feed.stream);
        streams.pending.plays = others;
        if let Some(old) = streams.intake(&feed.stream) {
            self.end_of_publication(now, &feed.stream, old);
        }
        let Some(streams) = &mut self.streams else { return };
        let is_wanted = streams.is_awaited(&feed.stream) || !plays.is_empty();
        if is_wanted && streams.begin_elsewhere(now, feed) {
            let players = streams.players(&feed.stream);
            if let Some(backlog) = self.fill(feed) {
                self.begin_at(now, &players, &backlog);
            }
            self.begin_refreshing(now);
        }
        for (_, at, name) in plays {
            self.play(now, at, &name.name, true);
            self.carry_out(now, at.0);
        }
        let unplayed = self.streams.as_ref().is_some_and(|it| it.players(&feed.stream).is_empty());
        if unplayed {
            self.end_of_publication(now, &feed.stream, feed.publication);
            self.leave_publication(feed.stream.clone(), Some(feed.publication));
        }
    }

    /// A publication comes from another member no longer.
    pub(in super::super) fn end_of_publication(
        &mut self,
        now: Time,
        name: &StreamName,
        id: PublicationId,
    ) {
        let Some(streams) = &mut self.streams else { return };
        if streams.intake(name) == Some(id) {
            let players = streams.end_elsewhere(name);
            self.notify_players(now, &players, false);
        }
    }

    /// A member of the cluster is gone: what came from it has ended.
    pub(in super::super) fn forget_streams_of(&mut self, now: Time, member: MemberId) {
        let ended = self.streams.as_mut().map(|streams| streams.forget_member(member));
        for name in ended.into_iter().flatten() {
            let players = self.streams.as_mut().map(|streams| streams.end_elsewhere(&name));
            self.notify_players(now, &players.unwrap_or_default(), false);
        }
        self.recount_claims(now, member);
    }

    /// When something is to be done for streams next.
    pub(in super::super) fn next_stream_timeout(&self) -> Option<Time> {
        let pending = &self.streams.as_ref()?.pending;
        let play = pending.plays.front().map(|&(at, ..)| at);
        [pending.next_claim_timeout(), play, pending.refresh_at].into_iter().flatten().min()
    }

    pub(in super::super) fn stream_timeouts(&mut self, now: Time) {
        self.claim_timeouts(now);
        while let Some(Streams { pending, .. }) = &mut self.streams
            && let Some(&(at, ..)) = pending.plays.front()
            && at <= now
            && let Some((_, at, name)) = pending.plays.pop_front()
        {
            self.refuse_recording(now, at, &name.name);
        }
        if let Some(Streams { pending, .. }) = &mut self.streams
            && pending.refresh_at.is_some_and(|at| at <= now)
        {
            pending.refresh_at = None;
            self.refresh_streams(now);
        }
    }

    pub(super) fn begin_refreshing(&mut self, now: Time) {
        if let Some(Streams { pending, .. }) = &mut self.streams {
            pending.refresh_at.get_or_insert(now + REFRESH);
        }
    }

    /// Repeats what is published and what is played.
    fn refresh_streams(&mut self, now: Time) {
        let (Some(streams), Some(cluster)) = (&mut self.streams, &mut self.cluster) else { return };
        let received = streams.refresh(now);
        let published = streams.publications();
        let has_more = !received.is_empty() || !published.is_empty();
        for batch in published.chunks(BATCH) {
            cluster.send(To::Others, Command::Published(batch.to_vec()));
        }
        for it in received {
            if it.is_gone {
                self.end_of_publication(now, &it.name, it.id);
            } else {
                let (stream, players) = (it.name, it.players);
                let receiving = Some((it.id, it.bytes));
                let want = Command::Subscribe { stream, receiving, players };
                self.tell(To::Member(it.id.member), want);
            }
        }
        if has_more {
            self.begin_refreshing(now);
        }
    }
}
