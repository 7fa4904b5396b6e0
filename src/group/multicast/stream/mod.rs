//! One stream of a group, as every member takes part in it, whether or not it plays it.
//!
//! | file | subject |
//! | --- | --- |
//! | `mod` | the state, the flows to and from each neighbor, the clock |
//! | `receive` | fragments that arrive, their order, and what is given up |
//! | `subscribe` | the classes of fragments that others are asked to push |
//! | `ask` | the single fragments that others are asked for |
//! | `serve` | what others ask of this member, and maps for them |
//! | `ending` | the end of the stream, and ends that are none |

mod ask;
mod ending;
mod receive;
mod serve;
mod subscribe;

use super::held::Held;
use super::info::{Info, NetStreamMulticastInfo};
use super::link::{Link, Near};
use super::message::{Description, MulticastControl, StreamSettings};
use super::order::Order;
use super::parameters::MulticastParameters;
use super::wants::Wants;
use crate::group::feature::{Lane, Output};
use crate::group::{FlowKind, MulticastLimits};
use crate::random::SplitMix64;
use crate::transport::{FlowId, SessionId, Time};
use bytes::Bytes;
use ending::Ending;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use subscribe::Subscriptions;

/// Bounds of what a publisher may choose: whatever it says is brought within them.
const WINDOW: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(60)];
const UPDATE_PERIOD: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(10)];
const FETCH_PERIOD: [Duration; 2] = [Duration::ZERO, Duration::from_secs(30)];

/// What a member may choose at most, so that times do not overflow. The bytes held have bounds of their
/// own.
const RELAY_MARGIN: Duration = Duration::from_secs(3600);

/// A stream of which nothing comes for this long is forgotten: what Flash writes into option 4.
const LIFETIME: Duration = Duration::from_secs(300);

/// What a call of a stream may use.
pub(super) struct Turn<'a> {
    pub(super) now: Time,
    pub(super) rng: &'a mut SplitMix64,
    pub(super) output: &'a mut VecDeque<Output>,
    pub(super) counts: &'a mut Counts,
}

/// Messages that were not accepted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) malformed: u64,
    pub(super) unrequested: u64,
    pub(super) implausible: u64,
    pub(super) forged_ends: u64,
}

/// Something that has happened in a stream.
#[derive(Debug)]
pub(super) enum News {
    /// A whole message in order, with type and timestamp.
    Message(Bytes),
    /// Delivery goes on elsewhere.
    Reset,
    /// The end was reached.
    Ended,
    /// The end was none.
    Reopened,
}

#[derive(Debug)]
pub(super) struct Stream {
    number: u32,
    description: Description,
    settings: StreamSettings,
    limits: MulticastLimits,
    links: BTreeMap<SessionId, Link>,
    held: Held,
    wants: Wants,
    order: Order,
    info: Info,
    /// It is published here; what others send of it is ignored.
    is_ours: bool,
    /// Its messages are put together.
    is_wanted: bool,
    /// A fragment is known, and the stream described to everybody.
    is_known: bool,
    /// The newest fragment that the neighbors have by their maps; of two that differ in the middle,
    /// the lower. See [`is_plausible`](Self::is_plausible).
    reference: Option<u64>,
    map_at: Option<Time>,
    /// The neighbor that a map was sent to last.
    map_turn: SessionId,
    /// When a map was last sent, or a fragment requested here.
    served_at: Time,
    subscriptions: Subscriptions,
    ending: Ending,
    /// When delivery last went on, and the reference then.
    progress: (Time, Option<u64>),
    /// When the last delivered fragment arrived.
    arrival: Time,
    /// What was given up at once when delivery began or went over a gap: if the start of it was
    /// forged, the stream is there.
    leap: (u64, u64),
    last_news: Time,
    news: VecDeque<News>,
}

impl Stream {
    /// A stream that is published here, or was described by a neighbor.
    pub(super) fn new(
        number: u32,
        description: Description,
        limits: &MulticastLimits,
        is_ours: bool,
        turn: &mut Turn<'_>,
    ) -> Self {
        let settings = bounded(description.settings());
        Self {
            number,
            description,
            settings,
            limits: limits.clone(),
            links: BTreeMap::new(),
            held: Held::default(),
            wants: Wants::default(),
            order: Order::new(limits.max_message),
            info: Info::default(),
            is_ours,
            is_wanted: false,
            is_known: false,
            reference: None,
            map_at: None,
            map_turn: SessionId(0),
            served_at: turn.now,
            subscriptions: Subscriptions::new(turn.now, limits.subscription, turn.rng),
            ending: Ending::No,
            progress: (turn.now, None),
            arrival: turn.now,
            leap: (0, 0),
            last_news: turn.now,
            news: VecDeque::new(),
        }
    }

    pub(super) fn description(&self) -> &Description {
        &self.description
    }

    pub(super) fn parameters(&self) -> MulticastParameters {
        MulticastParameters {
            settings: self.settings,
            push_neighbor_limit: self.limits.push_neighbor_limit,
            relay_margin_duration: self.limits.relay_margin,
        }
    }

    pub(super) fn set_parameters(&mut self, parameters: MulticastParameters) {
        self.settings = bounded(parameters.settings);
        self.limits.push_neighbor_limit = parameters.push_neighbor_limit;
        self.limits.relay_margin = parameters.relay_margin_duration.min(RELAY_MARGIN);
    }

    pub(super) fn is_ours(&self) -> bool {
        self.is_ours
    }

    pub(super) fn set_wanted(&mut self, is_wanted: bool) {
        self.is_wanted = is_wanted;
    }

    /// True if no fragment of it is held or was ever delivered.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.order.next().is_none()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Gives up the oldest fragment, to make place for other streams.
    pub(super) fn evict(&mut self) {
        self.held.evict();
    }

    pub(super) fn last_news(&self) -> Time {
        self.last_news
    }

    pub(super) fn info(&self, now: Time) -> NetStreamMulticastInfo {
        self.info.at(now)
    }

    pub(super) fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// A neighbor has connected. It gets the description if there is something to get.
    pub(super) fn add_neighbor(&mut self, turn: &mut Turn<'_>, session: SessionId) {
        self.links.entry(session).or_default();
        if self.is_known {
            self.describe(turn, session);
        }
    }

    /// A neighbor is gone, and its flows and ours with it.
    pub(super) fn remove_neighbor(&mut self, now: Time, session: SessionId) {
        if self.links.remove(&session).is_some() {
            self.forget_pusher(session);
            self.wants.forget(now, session);
            self.refer();
        }
    }

    /// A neighbor describes the stream: it is answered by the same description. False if it has
    /// described it already on another flow.
    pub(super) fn on_description(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        flow: FlowId,
    ) -> bool {
        let Some(link) = self.links.get_mut(&session) else { return false };
        if link.far_control.is_some_and(|known| known != flow) {
            return false;
        }
        link.far_control = Some(flow);
        if link.control == Near::Rejected {
            link.control = Near::Closed;
        }
        self.describe(turn, session);
        true
    }

    /// A neighbor opens a data flow. False if it has one.
    pub(super) fn on_data_flow(&mut self, session: SessionId, flow: FlowId) -> bool {
        let link = self.links.get_mut(&session).filter(|link| link.far_data.is_none());
        link.map(|link| link.far_data = Some(flow)).is_some()
    }

    /// A neighbor has finished one of its flows.
    pub(super) fn on_far_finished(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        flow: FlowId,
    ) {
        let lane = self.data_lane();
        let Some(link) = self.links.get_mut(&session) else { return };
        if link.far_data == Some(flow) {
            link.far_data = None;
        }
        if link.far_control != Some(flow) {
            return;
        }
        (link.far_control, link.map, link.mask, link.asked) = (None, None, 0, 0);
        if matches!(link.data, Near::Open | Near::Blocked) {
            link.data = Near::Closed;
            turn.output.push_back(Output::FinishLane(session, lane));
        }
        self.forget_pusher(session);
        self.wants.forget(turn.now, session);
        self.refer();
    }

    /// A neighbor has rejected one of this end's flows.
    pub(super) fn on_near_rejected(&mut self, now: Time, session: SessionId, kind: FlowKind) {
        let Some(link) = self.links.get_mut(&session) else { return };
        match kind {
            FlowKind::MulticastData => link.data = Near::Rejected,
            _ => {
                link.control = Near::Rejected;
                self.wants.forget(now, session);
            }
        }
    }

    /// One of this end's flows is full, or writable again.
    pub(super) fn on_near_blocked(
        &mut self,
        now: Time,
        session: SessionId,
        kind: FlowKind,
        is_blocked: bool,
    ) {
        let Some(link) = self.links.get_mut(&session) else { return };
        let near = match kind {
            FlowKind::MulticastData => &mut link.data,
            _ => &mut link.control,
        };
        match (*near, is_blocked) {
            (Near::Open, true) => *near = Near::Blocked,
            (Near::Blocked, false) => *near = Near::Open,
            _ => return,
        }
        self.schedule_map(now);
    }

    /// Handles whatever is due.
    pub(super) fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        self.held.expire(turn.now, self.hold_time(), self.delivered());
        if self.map_at.is_some_and(|at| at <= turn.now) {
            self.send_maps(turn);
        }
        if !self.is_ours {
            self.pull(turn);
            self.subscribe(turn);
            self.skip_gaps(turn);
            self.settle_end(turn.now);
            // A gap that was given up held back what is behind it.
            self.held.expire(turn.now, self.hold_time(), self.delivered());
        }
    }

    /// When something is next due.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let expires = self.held.expires(self.hold_time(), self.delivered());
        let over = Some(self.over_at());
        let received = match self.is_ours {
            true => [None; 4],
            false => [
                self.wants.poll_timeout(),
                self.next_subscription(),
                self.gap_at(),
                self.doubt_until(),
            ],
        };
        received.into_iter().chain([self.map_at, expires, over]).flatten().min()
    }

    /// The number of neighbors that take part.
    pub(super) fn neighbors(&self) -> usize {
        self.links.values().filter(|link| link.far_control.is_some()).count()
    }

    /// True if its end was reached or published.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.ending, Ending::Over { .. })
    }

    /// True if the stream is of no use any more.
    pub(super) fn is_over(&self, now: Time) -> bool {
        now >= self.over_at()
    }

    /// When the stream is forgotten: after its end when nobody can want anything of it any more.
    fn over_at(&self) -> Time {
        match self.ending {
            // An end beyond a gap may have been none.
            Ending::Over { number, .. } if self.leap.1 == number && !self.is_ours => {
                self.last_news + LIFETIME
            }
            Ending::Over { at, .. } => at + self.hold_time(),
            _ if self.is_ours => Time::from_micros(u64::MAX),
            _ => self.last_news + LIFETIME,
        }
    }

    /// Finishes this end's flows and rejects those of the neighbors.
    pub(super) fn close(&mut self, output: &mut VecDeque<Output>) {
        let lanes = [self.data_lane(), self.control_lane()];
        for (&session, link) in &self.links {
            for (near, lane) in [link.data, link.control].into_iter().zip(lanes) {
                if matches!(near, Near::Open | Near::Blocked) {
                    output.push_back(Output::FinishLane(session, lane));
                }
            }
            let far = link.far_data.into_iter().chain(link.far_control);
            output.extend(far.map(|flow| Output::Reject(session, flow)));
        }
    }

    /// The flows of neighbors that belong to the stream.
    pub(super) fn far_flows(&self) -> impl Iterator<Item = (SessionId, FlowId)> + '_ {
        self.links.iter().flat_map(|(&session, link)| {
            let flows = link.far_data.into_iter().chain(link.far_control);
            flows.map(move |flow| (session, flow))
        })
    }

    /// How long fragments are held.
    fn hold_time(&self) -> Duration {
        self.settings.window_duration + self.limits.relay_margin
    }

    /// The fragments below this number wait for nothing before them.
    fn delivered(&self) -> u64 {
        let is_open = !self.has_ended();
        self.order.next().filter(|_| is_open).unwrap_or(u64::MAX)
    }

    fn control_lane(&self) -> Lane {
        Lane { kind: FlowKind::MulticastControl, stream: self.number }
    }

    fn data_lane(&self) -> Lane {
        Lane { kind: FlowKind::MulticastData, stream: self.number }
    }

    /// A first fragment is known: the stream is described to everybody.
    fn become_known(&mut self, turn: &mut Turn<'_>) {
        if std::mem::replace(&mut self.is_known, true) {
            return;
        }
        let sessions: Vec<_> = self.links.keys().copied().collect();
        sessions.into_iter().for_each(|session| self.describe(turn, session));
    }

    /// Opens this end's control flow with the description.
    fn describe(&mut self, turn: &mut Turn<'_>, session: SessionId) {
        let lane = self.control_lane();
        let Some(link) = self.links.get_mut(&session) else { return };
        if link.control != Near::Closed {
            return;
        }
        (link.control, link.announced) = (Near::Open, 0);
        turn.output.push_back(Output::OpenLane { session, lane, to: None });
        let description = MulticastControl::Description(self.description.clone());
        self.send_control(turn, session, &description);
        self.schedule_map(turn.now);
    }

    fn send_control(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        message: &MulticastControl,
    ) {
        let message = message.to_bytes();
        self.info.sent_control(turn.now, message.len());
        turn.output.push_back(Output::SendOn(session, self.control_lane(), message));
    }
}

fn bounded(settings: StreamSettings) -> StreamSettings {
    let within = |time: Duration, [least, most]: [Duration; 2]| time.clamp(least, most);
    StreamSettings {
        window_duration: within(settings.window_duration, WINDOW),
        availability_update_period: within(settings.availability_update_period, UPDATE_PERIOD),
        fetch_period: within(settings.fetch_period, FETCH_PERIOD),
        ..settings
    }
}
