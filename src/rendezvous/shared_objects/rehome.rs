//! Where a shared object is kept, and what happens when it gets another home or something was lost.

use super::super::Rendezvous;
use super::super::cluster::{ClientId, Lane, MemberId, Offer, Parcel};
use super::across::{Followed, User};
use super::{ObjectName, SharedObjects};
use crate::flash::shared_object::{SharedObjectEvent, SharedObjectMessage};
use crate::transport::{SessionId, Time};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of an object that another server keeps.
#[derive(Debug, Default)]
pub(super) struct Copy {
    version: u32,
    slots: BTreeMap<Arc<str>, Bytes>,
}

impl Copy {
    /// Notes what the home has sent.
    pub(super) fn note(&mut self, message: &SharedObjectMessage) {
        self.version = message.version;
        for event in &message.events {
            match event {
                SharedObjectEvent::Clear => self.slots.clear(),
                SharedObjectEvent::Change { slot, value } => {
                    // A slice would keep the whole message.
                    self.slots.insert(slot.clone(), Bytes::copy_from_slice(value));
                }
                SharedObjectEvent::Remove { slot } => drop(self.slots.remove(slot)),
                _ => {}
            }
        }
    }

    fn offer(&self, name: &ObjectName) -> Offer {
        let slots = self.slots.iter().map(|(slot, value)| (slot.clone(), value.clone()));
        Offer {
            app: name.app.clone(),
            name: name.name.clone(),
            persistent: name.persistent,
            version: self.version,
            slots: slots.collect(),
        }
    }
}

impl ObjectName {
    /// The member that keeps the object: the one with the highest of numbers that are made of both
    /// names, so that few objects move when members come and go.
    pub(super) fn home(&self, others: &BTreeSet<MemberId>, own: MemberId) -> MemberId {
        let members = others.iter().copied().chain([own]);
        members.max_by_key(|&member| (self.number(member), member)).unwrap_or(own)
    }

    /// FNV-1a with a final mix, which is the same everywhere.
    fn number(&self, member: MemberId) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        add(&member.server.to_be_bytes());
        add(&member.worker.to_be_bytes());
        add(self.app.as_bytes());
        add(&[0xff, u8::from(self.persistent)]);
        add(self.name.as_bytes());
        hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^ hash >> 32
    }
}

impl SharedObjects {
    /// A member has lost what it sent: which of its clients still use an object is not known.
    pub(super) fn doubt(&mut self, member: MemberId) {
        let uses = self.uses_of(member);
        self.elsewhere.doubtful.insert(member, uses);
    }

    /// A member has named all that its clients use.
    pub(super) fn end_doubt(&mut self, member: MemberId) {
        for (name, client) in self.elsewhere.doubtful.remove(&member).unwrap_or_default() {
            self.release(client, &name);
        }
        self.remove_unused();
    }
}

impl Rendezvous {
    /// Another member knows an object that is to be kept here.
    pub(super) fn on_offer(&mut self, now: Time, from: MemberId, offer: Offer) {
        let Some(objects) = &mut self.shared_objects else { return };
        let app = offer.app.clone();
        let outgoing = objects.adopt(offer);
        self.distribute(now, ClientId { member: from, session: SessionId(0) }, &app, outgoing);
    }

    /// Clients begin anew to use what a member keeps.
    pub(super) fn use_again(&mut self, now: Time, home: MemberId) {
        let Some(SharedObjects { elsewhere, .. }) = &mut self.shared_objects else { return };
        let mut parcels = Vec::new();
        for (name, followed) in elsewhere.used.iter_mut().filter(|(_, it)| it.home == home) {
            let copy = followed.copy.as_ref().filter(|copy| !copy.slots.is_empty());
            parcels.extend(copy.map(|copy| Parcel::Offer(copy.offer(name))));
            for (&session, user) in &mut followed.users {
                (user.again, user.has_lost) = (1, true);
                parcels.push(name.request(session, SharedObjectEvent::Use));
            }
        }
        parcels.push(Parcel::Complete);
        for parcel in parcels {
            self.send_parcel(now, home, Lane::Requests, parcel);
        }
    }

    /// Members have come, or one is gone: objects move to where they are kept from now on.
    pub(in super::super) fn rehome_objects(&mut self, now: Time, gone: Option<MemberId>) {
        let (Some(objects), Some(cluster)) = (&mut self.shared_objects, &self.cluster) else {
            return;
        };
        if let Some(gone) = gone {
            objects.forget_member(gone);
        }
        let (others, own) = (&cluster.others, cluster.member);
        let (mut parcels, mut homes) = (Vec::new(), BTreeSet::new());
        for name in objects.names() {
            let home = name.home(others, own);
            if home == own {
                continue;
            }
            let Some((offer, users)) = objects.hand_over(&name) else { continue };
            if name.persistent {
                parcels.push((home, Parcel::Offer(offer.clone())));
            }
            let users = users.into_iter().filter(|client| client.member == own);
            let users: BTreeMap<SessionId, User> =
                users.map(|it| (it.session, User::default())).collect();
            if users.is_empty() {
                continue;
            }
            for &session in users.keys() {
                objects.elsewhere.of_client.entry(session).or_default().insert(name.clone());
            }
            let known =
                || Copy { version: offer.version, slots: offer.slots.into_iter().collect() };
            let copy = (home.server != own.server).then(known);
            objects.elsewhere.used.insert(name, Followed { home, users, copy });
            homes.insert(home);
        }
        let mut returned = Vec::new();
        for (name, followed) in &mut objects.elsewhere.used {
            let home = name.home(others, own);
            if home == followed.home {
                continue;
            }
            let old = std::mem::replace(&mut followed.home, home);
            for &session in followed.users.keys() {
                parcels.push((old, name.request(session, SharedObjectEvent::Release)));
            }
            if home == own {
                returned.push(name.clone());
            } else {
                homes.insert(home);
            }
        }
        for (to, parcel) in parcels {
            self.send_parcel(now, to, Lane::Requests, parcel);
        }
        for home in homes {
            self.use_again(now, home);
        }
        for name in returned {
            self.return_home(now, &name);
        }
        // What they waited for may come from here now.
        let Some(objects) = &self.shared_objects else { return };
        for session in objects.behind.sessions() {
            self.catch_up(now, session);
        }
    }

    /// An object that clients of this member use is kept here from now on.
    fn return_home(&mut self, now: Time, name: &ObjectName) {
        let Some(objects) = &mut self.shared_objects else { return };
        let Some(followed) = objects.elsewhere.used.remove(name) else { return };
        if let Some(copy) = followed.copy {
            // Nobody uses it yet.
            drop(objects.adopt(copy.offer(name)));
        }
        for session in followed.users.into_keys() {
            let client = self.own(session);
            let Some(objects) = &mut self.shared_objects else { return };
            objects.elsewhere.leave(session, name);
            let message = name.message(SharedObjectEvent::Use);
            let refused = objects.on_message(client, &name.app, &message);
            // The client has used the object for some time.
            let outgoing = match objects.whole(client, name) {
                Some(message) => vec![(vec![client], message)],
                None => refused,
            };
            self.distribute(now, client, &name.app, outgoing);
        }
    }
}
