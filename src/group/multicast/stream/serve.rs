//! What others ask of this member, and maps for them.

use super::ending::Ending;
use super::{Stream, Turn};
use crate::group::feature::Output;
use crate::group::multicast::held::Piece;
use crate::group::multicast::link::{Link, Near};
use crate::group::multicast::message::{Map, MulticastControl, MulticastData};
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// A fragment that was requested and has not come is requested again after 1 s, the player's time. Here
/// with what the way there and back may take.
const ASKING_AGAIN: Duration = Duration::from_secs(2);

impl Stream {
    /// Publishes the next fragment, or the end.
    pub(in crate::proto::group::multicast) fn publish(
        &mut self,
        turn: &mut Turn<'_>,
        number: u64,
        data: MulticastData,
    ) {
        let is_end = matches!(data, MulticastData::End(_));
        let piece = Piece::new(data, turn.now, turn.now, None);
        self.held.insert(number, piece, self.limits.max_stream_bytes);
        self.become_known(turn);
        self.push(turn, number, None);
        self.schedule_map(turn.now);
        if is_end {
            self.ending = Ending::Over { at: turn.now, number, from: None };
        }
    }

    /// A stream that is published here ends without a fragment.
    pub(in crate::proto::group::multicast) fn give_up(&mut self, now: Time) {
        self.ending = Ending::Over { at: now, number: 0, from: None };
    }

    /// The number of neighbors that take part and lack, by their maps, a held fragment after the first
    /// that they have. 0 also when all know what is here and none has asked for anything since it would
    /// have: not every member sends a map when it has received the last of a stream.
    pub(in crate::proto::group::multicast) fn lacking(&self, now: Time) -> usize {
        if self.held.is_empty() || self.is_settled(now) {
            return 0;
        }
        let takes_part = |link: &&Link| link.far_control.is_some();
        let lacks = |link: &&Link| {
            let oldest = link.map.as_ref().map_or(0, Map::oldest);
            self.held.numbers(oldest).any(|number| !link.has(number))
        };
        self.links.values().filter(takes_part).filter(lacks).count()
    }

    /// True if every neighbor was sent a map of all that is here, and for longer than it waits before it
    /// asks for a fragment of a map, and asks again, none has asked.
    fn is_settled(&self, now: Time) -> bool {
        let is_open = |link: &Link| link.control != Near::Blocked && link.data != Near::Blocked;
        let knows_all = |link: &Link| is_open(link) && !self.is_map_due(link);
        self.links.values().all(knows_all)
            && now.since(self.served_at) >= self.settings.fetch_period + ASKING_AGAIN
    }

    /// A control message of a neighbor other than a description.
    pub(in crate::proto::group::multicast) fn on_control(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        message: MulticastControl,
        size: usize,
    ) {
        self.info.received_control(turn.now, size);
        match message {
            MulticastControl::Map(map) => self.on_map(turn, session, map),
            MulticastControl::Push(mask) => self.on_push(turn.now, session, mask),
            MulticastControl::Pull(number) => self.on_pull(turn, session, number),
            MulticastControl::End(number) => {
                self.on_piece(turn, session, MulticastData::End(number), size);
            }
            MulticastControl::Description(_) | MulticastControl::Other(_) => {}
        }
    }

    /// A neighbor wants other classes of fragments pushed.
    fn on_push(&mut self, now: Time, session: SessionId, mask: u8) {
        let Some(link) = self.links.get_mut(&session) else { return };
        let new = mask & !link.mask;
        let places = link.subscribed.iter_mut().enumerate();
        places.filter(|(class, _)| new & (1 << class) != 0).for_each(|(_, since)| *since = now);
        link.mask = mask;
    }

    /// A neighbor asks for a fragment. It gets it if it is here, unless our flow to it is full.
    fn on_pull(&mut self, turn: &mut Turn<'_>, session: SessionId, number: u64) {
        self.served_at = turn.now;
        if let Some(piece) = self.held.piece(number) {
            let message = piece.data.to_bytes();
            self.send_data(turn, session, message, false);
        }
    }

    /// Pushes a fragment that was published here or has come from a neighbor: to the oldest subscribers
    /// to its class, without those that have it, up to the push limit.
    pub(super) fn push(&mut self, turn: &mut Turn<'_>, number: u64, from: Option<SessionId>) {
        let class = 1u8 << (number % 8);
        let is_due = |session: SessionId, link: &Link| {
            link.mask & class != 0
                && Some(session) != from
                && link.takes_data()
                && !link.has(number)
        };
        let due = self.links.iter().filter(|(session, link)| is_due(**session, link));
        let since = |link: &Link| link.subscribed[(number % 8) as usize];
        let mut due: Vec<_> = due.map(|(session, link)| (since(link), *session)).collect();
        due.sort_unstable();
        due.truncate(self.limits.push_neighbor_limit);
        if due.is_empty() {
            return;
        }
        let Some(message) = self.held.piece(number).map(|piece| piece.data.to_bytes()) else {
            return;
        };
        for (_, session) in due {
            self.send_data(turn, session, message.clone(), true);
        }
    }

    fn send_data(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        message: bytes::Bytes,
        is_pushed: bool,
    ) {
        let lane = self.data_lane();
        let Some(link) = self.links.get_mut(&session).filter(|link| link.takes_data()) else {
            return;
        };
        if link.data == Near::Closed {
            link.data = Near::Open;
            let to = link.far_control;
            turn.output.push_back(Output::OpenLane { session, lane, to });
        }
        self.info.sent(turn.now, message.len(), is_pushed);
        turn.output.push_back(Output::SendOn(session, lane, message));
    }

    /// Lets a map be sent one update period from now, unless one is due already.
    pub(super) fn schedule_map(&mut self, now: Time) {
        if self.map_at.is_none() && self.links.values().any(|link| self.is_map_due(link)) {
            self.map_at = Some(now + self.settings.availability_update_period);
        }
    }

    /// Sends a map to the next neighbor that lacks what is new, or to all of them.
    pub(super) fn send_maps(&mut self, turn: &mut Turn<'_>) {
        self.map_at = None;
        self.served_at = turn.now;
        let due = self.links.iter().filter(|(_, link)| self.is_map_due(link));
        let mut due: Vec<SessionId> = due.map(|(session, _)| *session).collect();
        if !self.settings.availability_send_to_all {
            let next = due.iter().find(|session| **session > self.map_turn).or(due.first());
            due = next.copied().into_iter().collect();
        }
        let Some(map) = self.held.map().map(MulticastControl::Map) else { return };
        let version = self.held.version();
        for session in due {
            if let Some(link) = self.links.get_mut(&session) {
                link.announced = version;
            }
            self.map_turn = session;
            self.send_control(turn, session, &map);
        }
        self.schedule_map(turn.now);
    }

    fn is_map_due(&self, link: &Link) -> bool {
        link.control == Near::Open && link.announced != self.held.version()
    }
}
