//! Subscriptions: the classes of fragments that this member asks neighbors to push.
//!
//! Each class should come from one neighbor, the one that has it first. A neighbor does not say that
//! it has no place for another subscriber; that shows only when fragments of the class are named in
//! maps, but do not come.

use super::{Stream, Turn};
use crate::group::SubscriptionRules;
use crate::group::multicast::link::{Link, Near};
use crate::group::multicast::message::MulticastControl;
use crate::random::SplitMix64;
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// Subscriptions grow by a class each time; observed 1.95 to 2.03 s.
const INTERVAL: Duration = Duration::from_millis(1950);
const JITTER_MS: u64 = 80;

/// Of the classes that nobody pushes, one is asked for each time.
const STEP: Duration = Duration::from_millis(100);
const STEP_JITTER_MS: u64 = 50;

/// What a map names so soon after a class was asked for may be older than the subscription.
const SETTLING: Duration = Duration::from_millis(200);

/// A neighbor that was asked for a class has no place for this member, if a map names a fragment and
/// it has not come after this time.
const UNANSWERED: Duration = Duration::from_millis(400);

/// A class that was pushed is pushed no more, or too slowly, if a map names a fragment and it has not
/// come after this time.
const SILENT: Duration = Duration::from_secs(1);

/// A neighbor that is silent for so long, while another one pushes, has no place for this member.
const MAX_SILENCE: Duration = Duration::from_secs(4);

/// Neighbors that are asked for one class at a time. The one that is silent for the longest is dropped.
const MAX_ASKED: usize = 3;

/// Overdue fragments that are looked at each time. Further ones wait, so that invented ones cost little.
const MAX_LOOKS: usize = 256;

/// Fragments in a row that a neighbor pushed after another one did, until it is not asked for
/// the class any more.
const MAX_LATE: u8 = 3;

/// The clock by which this member asks neighbors to push.
#[derive(Debug)]
pub(super) struct Subscriptions {
    at: Time,
    /// Nothing was new when it was last looked at.
    is_idle: bool,
    /// The class that is next.
    class: u8,
    /// The neighbor that was asked last; a random one before the first.
    turn: Option<SessionId>,
    has_news: bool,
    /// When a class that is pushed is asked of one more neighbor.
    probe_at: Time,
    classes: [Class; 8],
}

/// What this member knows of a class.
#[derive(Debug, Clone, Copy, Default)]
struct Class {
    /// The newest fragment that was pushed here, and not there yet.
    newest: u64,
    /// When that was.
    pushed_at: Time,
    /// Who pushed it.
    pushed_by: Option<SessionId>,
    /// When a neighbor was last asked for the class, because nobody pushed it.
    asked_at: Option<Time>,
}

impl Class {
    /// True if a fragment that is wanted since `known` ought to have been pushed.
    fn is_overdue(&self, now: Time, number: u64, known: Time) -> bool {
        let Some(asked_at) = self.asked_at else { return number > self.newest };
        let patience = if self.pushed_at > asked_at { SILENT } else { UNANSWERED };
        number > self.newest && known >= asked_at + SETTLING && now >= known + patience
    }
}

impl Subscriptions {
    pub(super) fn new(now: Time, rules: SubscriptionRules, rng: &mut SplitMix64) -> Self {
        let class = rng.below(8) as u8;
        let at = now + interval(rng);
        let is_idle = rules == SubscriptionRules::Prompt;
        let classes = [Class::default(); 8];
        Self { at, is_idle, class, turn: None, has_news: false, probe_at: at, classes }
    }

    /// Something was announced or arrived.
    pub(super) fn note_news(&mut self, now: Time) {
        self.has_news = true;
        if std::mem::take(&mut self.is_idle) {
            self.at = now + STEP;
        }
    }
}

fn interval(rng: &mut SplitMix64) -> Duration {
    INTERVAL + Duration::from_millis(rng.below(JITTER_MS))
}

fn step(rng: &mut SplitMix64) -> Duration {
    STEP + Duration::from_millis(rng.below(STEP_JITTER_MS))
}

fn class_of(number: u64) -> u8 {
    (number % 8) as u8
}

impl Stream {
    pub(super) fn next_subscription(&self) -> Option<Time> {
        Some(self.subscriptions.at)
    }

    /// Asks a neighbor to push one class more, if it is time to.
    pub(super) fn subscribe(&mut self, turn: &mut Turn<'_>) {
        if self.subscriptions.at > turn.now {
            return;
        }
        match self.limits.subscription {
            SubscriptionRules::Observed => {
                self.subscriptions.at = turn.now + interval(turn.rng);
                if std::mem::take(&mut self.subscriptions.has_news) {
                    self.ask_one_more(turn);
                }
            }
            SubscriptionRules::Prompt => self.subscribe_promptly(turn),
        }
    }

    /// Asks another neighbor for a class that nobody pushes. If every class is pushed, then every two
    /// seconds one more neighbor for one of them: it may be faster.
    fn subscribe_promptly(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::take(&mut self.subscriptions.has_news) {
            (self.subscriptions.at, self.subscriptions.is_idle) = (turn.now + INTERVAL, true);
            return;
        }
        self.subscriptions.at = turn.now + step(turn.rng);
        let missing = self.missing(turn.now);
        let first = self.subscriptions.class;
        let places = (0..8).map(|place| (first + place) % 8);
        let next = places.filter_map(|class| Some((class, missing[usize::from(class)]?))).next();
        if let Some((class, number)) = next {
            self.subscriptions.class = (class + 1) % 8;
            self.ask_for(turn, class, number);
        } else if turn.now >= self.subscriptions.probe_at {
            self.subscriptions.probe_at = turn.now + interval(turn.rng);
            self.drop_silent(turn, first);
            self.ask_one_more(turn);
        }
    }

    /// The newest fragment of each class that ought to have been pushed, and that a neighbor has who can
    /// be asked for the class.
    fn missing(&self, now: Time) -> [Option<u64>; 8] {
        let mut missing = [None; 8];
        let mut looks = MAX_LOOKS;
        for (number, known) in self.wants.newest_first() {
            let class = class_of(number);
            let Some(entry) = missing.get_mut(usize::from(class)).filter(|entry| entry.is_none())
            else {
                continue;
            };
            let state = &self.subscriptions.classes[usize::from(class)];
            if looks > 0 && state.is_overdue(now, number, known) {
                looks -= 1;
                *entry = self.askable(class, number).next().map(|_| number);
            }
        }
        missing
    }

    /// The neighbors that have a fragment and are not asked for its class.
    fn askable(&self, class: u8, number: u64) -> impl Iterator<Item = (SessionId, &Link)> + '_ {
        let is_free = move |link: &Link| {
            link.control == Near::Open && link.asked & (1 << class) == 0 && link.has(number)
        };
        let links = self.links.iter().filter(move |(_, link)| is_free(link));
        links.map(|(session, link)| (*session, link))
    }

    /// Asks a random one of the neighbors that have a fragment for its class: they get it earlier than
    /// this member. Those that were asked in vain take their turn after the others.
    fn ask_for(&mut self, turn: &mut Turn<'_>, class: u8, number: u64) {
        let bit = 1u8 << class;
        self.subscriptions.classes[usize::from(class)].asked_at = Some(turn.now);
        let untried = self.askable(class, number).filter(|(_, link)| link.tried & bit == 0);
        let mut choice: Vec<SessionId> = untried.map(|(session, _)| session).collect();
        if choice.is_empty() {
            choice = self.askable(class, number).map(|(session, _)| session).collect();
            self.links.values_mut().for_each(|link| link.tried &= !bit);
        }
        let place = turn.rng.below(choice.len() as u64) as usize;
        let Some(&session) = choice.get(place) else { return };
        if let Some(link) = self.links.get_mut(&session) {
            link.tried |= bit;
        }
        self.make_place(turn, class);
        self.change_subscription(turn, session, bit, true);
    }

    /// Of the neighbors that are asked for a class, lets go of the one that has been silent for the
    /// longest, if they are many.
    fn make_place(&mut self, turn: &mut Turn<'_>, class: u8) {
        let asked = self.links.iter().filter(|(_, link)| link.asked & (1 << class) != 0);
        let pushed_at = |link: &Link| link.pushed_at[usize::from(class)];
        let mut asked: Vec<_> = asked.map(|(session, link)| (pushed_at(link), *session)).collect();
        asked.sort_unstable();
        for (_, session) in asked.iter().take((asked.len() + 1).saturating_sub(MAX_ASKED)) {
            self.change_subscription(turn, *session, 1 << class, false);
        }
    }

    /// Lets go of the neighbors that are asked for a class and do not push it, though others do.
    fn drop_silent(&mut self, turn: &mut Turn<'_>, class: u8) {
        let place = usize::from(class);
        let pushed_at = self.subscriptions.classes[place].pushed_at;
        let is_silent = |link: &Link| {
            link.asked & (1 << class) != 0 && link.pushed_at[place] + MAX_SILENCE < pushed_at
        };
        let silent = self.links.iter().filter(|(_, link)| is_silent(link));
        for session in silent.map(|(session, _)| *session).collect::<Vec<_>>() {
            self.change_subscription(turn, session, 1 << class, false);
        }
    }

    /// Asks for one more class from one more neighbor. The first class is random, then they take turns,
    /// as the neighbors do, without those that were asked for the class already.
    fn ask_one_more(&mut self, turn: &mut Turn<'_>) {
        let class = 1u8 << self.subscriptions.class;
        self.subscriptions.class = (self.subscriptions.class + 1) % 8;
        let is_open = |(_, link): &(&SessionId, &Link)| link.control == Near::Open;
        let open: Vec<_> = self.links.iter().filter(is_open).collect();
        let after = self.subscriptions.turn.unwrap_or_else(|| {
            let place = turn.rng.below(open.len() as u64) as usize;
            open.get(place).map_or(SessionId(0), |(session, _)| **session)
        });
        let free = open.iter().filter(|(_, link)| link.asked & class == 0);
        let free: Vec<SessionId> = free.map(|(session, _)| **session).collect();
        let next = free.iter().find(|session| **session > after).or(free.first());
        if let Some(&session) = next {
            self.subscriptions.turn = Some(session);
            self.change_subscription(turn, session, class, true);
        }
    }

    /// The newest fragment of the class of this one that was pushed here first.
    pub(super) fn newest_pushed(&self, number: u64) -> u64 {
        self.subscriptions.classes[usize::from(class_of(number))].newest
    }

    /// A neighbor pushes no more: its classes are asked of others as soon as something is missing.
    pub(super) fn forget_pusher(&mut self, session: SessionId) {
        let classes = self.subscriptions.classes.iter_mut();
        let of_session = classes.filter(|class| class.pushed_by == Some(session));
        of_session.for_each(|class| (class.pushed_by, class.asked_at) = (None, None));
    }

    /// A neighbor has pushed a fragment that was not here.
    pub(super) fn on_first_push(&mut self, now: Time, session: SessionId, number: u64) {
        let place = usize::from(class_of(number));
        let class = &mut self.subscriptions.classes[place];
        class.newest = class.newest.max(number);
        (class.pushed_at, class.pushed_by) = (now, Some(session));
        if let Some(link) = self.links.get_mut(&session) {
            (link.pushed_at[place], link.late[place]) = (now, 0);
            link.tried &= !(1 << place);
        }
    }

    /// A neighbor has pushed what was here already. If it goes on so, it is not asked for the class any
    /// more.
    pub(super) fn on_late_push(&mut self, turn: &mut Turn<'_>, session: SessionId, number: u64) {
        let place = usize::from(class_of(number));
        let max_late = match self.limits.subscription {
            SubscriptionRules::Observed => 1,
            SubscriptionRules::Prompt => MAX_LATE,
        };
        let is_only = !self.is_pushed_by_another(place, session);
        let Some(link) = self.links.get_mut(&session) else { return };
        link.pushed_at[place] = turn.now;
        link.late[place] = link.late[place].saturating_add(1);
        if link.late[place] >= max_late && link.asked & (1 << place) != 0 {
            if is_only && self.limits.subscription == SubscriptionRules::Prompt {
                return;
            }
            link.late[place] = 0;
            self.change_subscription(turn, session, 1 << place, false);
        }
    }

    /// True if another neighbor, which is asked for the class, pushed the latest of it.
    fn is_pushed_by_another(&self, place: usize, session: SessionId) -> bool {
        let by = self.subscriptions.classes[place].pushed_by.filter(|by| *by != session);
        let link = by.and_then(|by| self.links.get(&by));
        link.is_some_and(|link| link.asked & (1 << place) != 0)
    }

    fn change_subscription(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        class: u8,
        is_wanted: bool,
    ) {
        let Some(link) = self.links.get_mut(&session) else { return };
        match is_wanted {
            true => link.asked |= class,
            false => link.asked &= !class,
        }
        if is_wanted {
            let place = class.trailing_zeros() as usize;
            (link.pushed_at[place], link.late[place]) = (turn.now, 0);
        }
        link.ever_asked |= link.asked;
        let mask = link.asked;
        self.send_control(turn, session, &MulticastControl::Push(mask));
    }
}
