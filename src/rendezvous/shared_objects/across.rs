//! Remote shared objects whose users are clients of different members.
//!
//! Each object has a home, a member that is chosen among all by the name of the object. It keeps
//! the object and decides about changes as a lone server does, for clients of all members. The others
//! pass on to it what their clients ask for, and to their clients what it answers, over
//! [`Link`]s on which nothing is lost.
//!
//! Where a link has lost something nevertheless, because too much waited, the clients
//! begin to use their objects anew, without noticing more than that the slots are set. So they do
//! when an object gets another home (`rehome.rs`). Members of other servers keep a copy of
//! what their clients use, from which the new home takes over if the old one is gone.

use super::super::Rendezvous;
use super::super::cluster::{ClientId, Command, Confirmed, Lane, Link, MemberId, Parcel, To};
use super::rehome::Copy;
use super::{ObjectName, Outgoing, SharedObjects};
use crate::flash::shared_object::{SharedObjectEvent, SharedObjectMessage, UNDEFINED};
use crate::transport::{SessionId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of events in one parcel, if it has several.
const MAX_PART: usize = 256 << 10;
/// The longest event that goes to another server, in bytes. A longer value is undefined there.
const MAX_EVENT: usize = 900_000;

/// Objects that clients of this member use, with homes elsewhere, and links to members.
#[derive(Debug, Default)]
pub(super) struct ObjectsElsewhere {
    pub(super) used: BTreeMap<ObjectName, Followed>,
    pub(super) of_client: BTreeMap<SessionId, BTreeSet<ObjectName>>,
    pub(super) links: BTreeMap<(MemberId, Lane), Link>,
    /// Users of objects here, of members that have lost what they sent.
    pub(super) doubtful: BTreeMap<MemberId, BTreeSet<(ObjectName, ClientId)>>,
}

/// An object with its home elsewhere.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) home: MemberId,
    pub(super) users: BTreeMap<SessionId, User>,
    /// What is known of it, for the next home.
    pub(super) copy: Option<Copy>,
}

/// A client that uses it.
#[derive(Debug, Default)]
pub(super) struct User {
    /// How often it begins to use the object anew, without an answer so far.
    pub(super) again: u32,
    /// What it was sent or has asked for may be lost.
    pub(super) has_lost: bool,
    /// It has changed something since, which the slots on the way to it may lack.
    has_changed: bool,
    /// It gets all slots of this version, perhaps in several messages.
    pub(super) gets: Option<u32>,
}

impl ObjectsElsewhere {
    fn link(&mut self, now: Time, to: MemberId, lane: Lane) -> &mut Link {
        self.links.entry((to, lane)).or_insert_with(|| Link::new(now))
    }

    /// A client uses an object no longer.
    pub(super) fn leave(&mut self, session: SessionId, name: &ObjectName) {
        if let Some(names) = self.of_client.get_mut(&session) {
            names.remove(name);
            if names.is_empty() {
                self.of_client.remove(&session);
            }
        }
        if let Some(followed) = self.used.get_mut(name) {
            followed.users.remove(&session);
            if followed.users.is_empty() {
                self.used.remove(name);
            }
        }
    }
}

impl ObjectName {
    pub(super) fn message(&self, event: SharedObjectEvent) -> SharedObjectMessage {
        SharedObjectMessage::new(self.name.clone(), self.persistent, 0, vec![event])
    }

    /// What a client asks of the home.
    pub(super) fn request(&self, session: SessionId, event: SharedObjectEvent) -> Parcel {
        Parcel::Request { app: self.app.clone(), session, message: self.message(event) }
    }
}

impl Rendezvous {
    /// The other member that keeps an object, if it is not kept here.
    pub(super) fn home_elsewhere(&self, name: &ObjectName) -> Option<MemberId> {
        let (objects, cluster) = (self.shared_objects.as_ref()?, self.cluster.as_ref()?);
        let home = match objects.elsewhere.used.get(name) {
            Some(followed) => followed.home,
            None => name.home(&cluster.others, cluster.member),
        };
        (home != cluster.member).then_some(home)
    }

    /// A client sends a message about an object that another member keeps.
    pub(super) fn pass_to_home(
        &mut self,
        now: Time,
        (home, session): (MemberId, SessionId),
        name: ObjectName,
        message: &SharedObjectMessage,
    ) {
        let own = self.own(session);
        let is_far = home.server != own.member.server;
        let Some(objects) = &mut self.shared_objects else { return };
        let mut events = Vec::new();
        for event in &message.events {
            let used = objects.used_by(own);
            let elsewhere = &mut objects.elsewhere;
            let names = elsewhere.of_client.get(&session);
            let uses = names.is_some_and(|names| names.contains(&name));
            match event {
                SharedObjectEvent::Use if !uses => {
                    if names.map_or(0, BTreeSet::len) + used >= objects.limits.per_client {
                        objects.refused += 1;
                        return self.send_shared_objects(now, &[session], &message.refusal());
                    }
                    elsewhere.of_client.entry(session).or_default().insert(name.clone());
                    let copy = is_far.then(Copy::default);
                    let new = || Followed { home, users: BTreeMap::new(), copy };
                    elsewhere
                        .used
                        .entry(name.clone())
                        .or_insert_with(new)
                        .users
                        .entry(session)
                        .or_default();
                }
                SharedObjectEvent::Use => {}
                _ if !uses => continue,
                SharedObjectEvent::Release => elsewhere.leave(session, &name),
                // No carrier takes it. The client gets the slots as they are.
                event if is_far && event.weight() > MAX_EVENT => {
                    if let Some(followed) = elsewhere.used.get_mut(&name) {
                        followed.users.entry(session).and_modify(|user| user.again += 1);
                    }
                    events.push(SharedObjectEvent::Use);
                    continue;
                }
                _ => {}
            }
            events.push(event.clone());
        }
        let is_change = |event: &SharedObjectEvent| {
            use SharedObjectEvent::{RequestChange, RequestRemove};
            matches!(event, RequestChange { .. } | RequestRemove { .. })
        };
        let followed = objects.elsewhere.used.get_mut(&name);
        if let Some(user) = followed.and_then(|followed| followed.users.get_mut(&session)) {
            user.has_changed |= user.has_lost && events.iter().any(is_change);
        }
        if !events.is_empty() {
            let message = SharedObjectMessage { events, ..message.clone() };
            let parcel = Parcel::Request { app: name.app, session, message };
            self.send_parcel(now, home, Lane::Requests, parcel);
        }
    }

    /// A client is gone: its objects are released at their homes.
    pub(super) fn release_elsewhere(&mut self, now: Time, session: SessionId) {
        let names = self.shared_objects.as_ref().map(|it| it.elsewhere.of_client.get(&session));
        for name in names.flatten().cloned().unwrap_or_default() {
            let message = name.message(SharedObjectEvent::Release);
            if let Some(home) = self.home_elsewhere(&name) {
                self.pass_to_home(now, (home, session), name, &message);
            }
        }
    }

    /// Sends what follows from a message of `from` about an object here, to clients of all members.
    pub(super) fn distribute(
        &mut self,
        now: Time,
        from: ClientId,
        app: &Arc<str>,
        outgoing: Outgoing,
    ) {
        let own = self.own(from.session).member;
        for (to, message) in outgoing {
            let mut members: BTreeMap<MemberId, Vec<SessionId>> = BTreeMap::new();
            // Also a member whose client has changed something is to learn of it.
            members.entry(from.member).or_default();
            for client in to {
                members.entry(client.member).or_default().push(client.session);
            }
            for (member, sessions) in members {
                let is_far = member.server != own.server;
                if member == own {
                    self.send_shared_objects(now, &sessions, &message);
                } else if !sessions.is_empty() || is_far {
                    for message in parts(&message, is_far) {
                        let (app, sessions) = (app.clone(), sessions.clone());
                        let parcel = Parcel::Deliver { app, sessions, message };
                        self.send_parcel(now, member, Lane::Deliveries, parcel);
                    }
                }
            }
        }
    }

    pub(super) fn send_parcel(&mut self, now: Time, to: MemberId, lane: Lane, parcel: Parcel) {
        let is_known = self.cluster.as_ref().is_some_and(|cluster| cluster.others.contains(&to));
        if let Some(objects) = self.shared_objects.as_mut().filter(|_| is_known) {
            objects.elsewhere.link(now, to, lane).push(now, parcel);
            self.poll_link(now, to, lane);
        }
    }

    fn poll_link(&mut self, now: Time, to: MemberId, lane: Lane) {
        let Some(objects) = &mut self.shared_objects else { return };
        let Some(cluster) = &mut self.cluster else { return };
        while let Some(batch) = objects.elsewhere.link(now, to, lane).poll(now) {
            let (epoch, first, parcels) = (batch.epoch, batch.first, batch.parcels);
            cluster.send(To::Member(to), Command::Parcels { lane, epoch, first, parcels });
        }
    }

    /// Parcels of another member have come.
    pub(in super::super) fn on_parcels(
        &mut self,
        now: Time,
        from: MemberId,
        lane: Lane,
        (epoch, first, parcels): (u64, u64, Vec<Parcel>),
    ) {
        let Some(objects) = &mut self.shared_objects else { return };
        if objects.elsewhere.link(now, from, lane).on_batch(epoch) {
            match lane {
                Lane::Requests => objects.doubt(from),
                Lane::Deliveries => self.use_again(now, from),
            }
        }
        for (number, parcel) in (first..).zip(parcels) {
            let Some(SharedObjects { elsewhere, .. }) = &mut self.shared_objects else { return };
            // Each request has an answer, which waits if there is no space.
            if lane == Lane::Requests && elsewhere.link(now, from, Lane::Deliveries).is_full() {
                break;
            }
            if elsewhere.link(now, from, lane).take(epoch, number) {
                self.on_parcel(now, from, parcel);
            }
        }
        let Some(SharedObjects { elsewhere, .. }) = &mut self.shared_objects else { return };
        let (epoch, next) = elsewhere.link(now, from, lane).receipt();
        self.tell(To::Member(from), Command::Receipt { lane, epoch, next });
    }

    fn on_parcel(&mut self, now: Time, from: MemberId, parcel: Parcel) {
        let Some(objects) = &mut self.shared_objects else { return };
        match parcel {
            Parcel::Request { app, session, message } => {
                let client = ClientId { member: from, session };
                if let Some(doubtful) = objects.elsewhere.doubtful.get_mut(&from) {
                    doubtful.remove(&(ObjectName::of(&app, &message), client));
                }
                let outgoing = objects.on_message(client, &app, &message);
                self.distribute(now, client, &app, outgoing);
            }
            Parcel::Deliver { app, sessions, message } => {
                self.on_delivery(now, from, &app, &sessions, message);
            }
            Parcel::Offer(offer) => self.on_offer(now, from, offer),
            Parcel::Complete => objects.end_doubt(from),
        }
    }

    /// The home of an object sends something for clients of this member.
    fn on_delivery(
        &mut self,
        now: Time,
        from: MemberId,
        app: &Arc<str>,
        sessions: &[SessionId],
        mut message: SharedObjectMessage,
    ) {
        let Some(SharedObjects { elsewhere, .. }) = &mut self.shared_objects else { return };
        let name = ObjectName::of(app, &message);
        let Some(followed) = elsewhere.used.get_mut(&name).filter(|it| it.home == from) else {
            return;
        };
        if let Some(copy) = &mut followed.copy {
            copy.note(&message);
        }
        let (mut users, mut again) = (sessions.to_vec(), None);
        users.retain(|session| followed.users.contains_key(session));
        if let [user] = users[..]
            && let Some(at) = message.events.iter().position(is_use_success)
            && let Some(it) = followed.users.get_mut(&user).filter(|it| it.again > 0)
        {
            // The client knows that it uses the object.
            it.again -= 1;
            message.events.remove(at);
            if it.again == 0 && std::mem::take(&mut it.has_lost) && it.has_changed {
                (it.again, it.has_changed) = (1, false);
                again = Some(name.request(user, SharedObjectEvent::Use));
            }
        }
        if matches!(message.events[..], [SharedObjectEvent::Status { .. }]) {
            users.iter().for_each(|&user| elsewhere.leave(user, &name));
        }
        self.send_shared_objects(now, &users, &message);
        users.iter().for_each(|&user| self.forget_released(user, &name));
        if let Some(request) = again {
            self.send_parcel(now, from, Lane::Requests, request);
        }
        for &session in sessions {
            self.catch_up(now, session);
        }
    }

    /// A member has received parcels.
    pub(in super::super) fn on_receipt(
        &mut self,
        now: Time,
        from: MemberId,
        lane: Lane,
        (epoch, next): (u64, u64),
    ) {
        let Some(SharedObjects { elsewhere, .. }) = &mut self.shared_objects else { return };
        let Some(link) = elsewhere.links.get_mut(&(from, lane)) else { return };
        if link.on_receipt(now, epoch, next) == Confirmed::Anew && lane == Lane::Requests {
            self.use_again(now, from);
        }
        self.poll_link(now, from, lane);
    }

    /// When parcels are to be sent again.
    pub(in super::super) fn next_object_timeout(&self) -> Option<Time> {
        let links = self.shared_objects.as_ref()?.elsewhere.links.values();
        links.filter_map(Link::next_timeout).min()
    }

    pub(in super::super) fn object_timeouts(&mut self, now: Time) {
        let Some(SharedObjects { elsewhere, .. }) = &self.shared_objects else { return };
        let is_due = |link: &Link| link.next_timeout().is_some_and(|at| at <= now);
        let due = elsewhere.links.iter().filter(|(_, link)| is_due(link));
        for (to, lane) in due.map(|(&key, _)| key).collect::<Vec<_>>() {
            self.poll_link(now, to, lane);
        }
    }
}

fn is_use_success(event: &SharedObjectEvent) -> bool {
    *event == SharedObjectEvent::UseSuccess
}

/// A message in several, each with no more than [`MAX_PART`] bytes unless it is one event.
fn parts(message: &SharedObjectMessage, is_far: bool) -> Vec<SharedObjectMessage> {
    let mut parts = Vec::new();
    let (mut events, mut len) = (Vec::new(), 0);
    for event in &message.events {
        let shortened;
        let event = match event {
            event if !is_far || event.weight() <= MAX_EVENT => event,
            SharedObjectEvent::Change { slot, .. } => {
                shortened = SharedObjectEvent::Change { slot: slot.clone(), value: UNDEFINED };
                &shortened
            }
            _ => continue,
        };
        if len + event.weight() > MAX_PART && !events.is_empty() {
            let events = std::mem::take(&mut events);
            parts.push(SharedObjectMessage { events, ..message.clone() });
            len = 0;
        }
        len += event.weight() + 64;
        events.push(event.clone());
    }
    if !events.is_empty() {
        parts.push(SharedObjectMessage { events, ..message.clone() });
    }
    parts
}
