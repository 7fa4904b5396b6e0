//! Remote shared objects: values by name that the clients of an application share.
//!
//! A client that uses an object gets all its slots, and from then on what others change. The table
//! knows clients by their IDs only: messages of clients go in, and out comes what is to be sent to whom.
//! `shared_objects/serve.rs` sends it. In a cluster one member keeps an object for the clients of all
//! (`shared_objects/across.rs`).

mod across;
mod answered;
mod behind;
mod homes;
mod object;
mod rehome;
mod removed;
mod serve;

use super::cluster::ClientId;
use crate::flash::shared_object::{MAX_NAME, SharedObjectEvent, SharedObjectMessage};
use across::ObjectsElsewhere;
use answered::Answered;
use behind::Behind;
use bytes::Bytes;
use object::{Object, Slot, cost};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Limits of remote shared objects. Of a server with several workers each keeps to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedObjectLimits {
    /// Objects in all; the use of further ones is refused.
    pub objects: usize,
    /// Objects that one client uses; further ones are refused.
    pub per_client: usize,
    /// Clients that use one object; further ones are refused.
    pub users: usize,
    /// Slots of one object; changes that would make another are undone at the client.
    pub slots: usize,
    /// Bytes in the names and values of one object, with what they cost; likewise.
    pub bytes: usize,
    /// The same for all objects.
    pub bytes_in_all: usize,
    /// Bytes that may wait for a client beside the slots of an object, 128 KiB at least. With more it is sent
    /// nothing that others do; later it gets all slots anew, and calls are lost.
    pub queue: u64,
}

impl Default for SharedObjectLimits {
    fn default() -> Self {
        Self {
            objects: 4096,
            per_client: 64,
            users: 10_000,
            slots: 1024,
            bytes: 1 << 20,
            bytes_in_all: 64 << 20,
            queue: 512 << 10,
        }
    }
}

/// A persistent object, to be kept from one run of a server to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedObjectSnapshot {
    /// The application.
    pub app: Arc<str>,
    /// Its name there.
    pub name: Arc<str>,
    /// Its version.
    pub version: u32,
    /// The slots and their values in AMF; none if the object is gone.
    pub slots: Vec<(Arc<str>, Bytes)>,
}

/// An object: its application, its name, and whether it outlives those who use it. Objects that
/// differ in this alone are different ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ObjectName {
    pub(super) app: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) persistent: bool,
}

/// Messages, and the clients that they are for.
pub(super) type Outgoing = Vec<(Vec<ClientId>, SharedObjectMessage)>;

/// All objects.
#[derive(Debug)]
pub(super) struct SharedObjects {
    limits: SharedObjectLimits,
    all: HashMap<ObjectName, Object>,
    /// The objects that each client uses.
    used: BTreeMap<ClientId, BTreeSet<ObjectName>>,
    /// Bytes in all objects.
    bytes: usize,
    /// Persistent objects that have changed since they were taken, if anybody takes them; objects that
    /// are gone only if they were taken before.
    changed: Option<BTreeSet<ObjectName>>,
    /// What clients of this member use that others keep.
    elsewhere: ObjectsElsewhere,
    /// What its clients have missed.
    behind: Behind,
    /// Uses that were refused, and changes that were undone, because of a limit.
    refused: u64,
    undone: u64,
}

impl SharedObjects {
    /// No objects. With `keeps`, somebody takes those that are persistent and have changed.
    pub(super) fn new(limits: SharedObjectLimits, keeps: bool) -> Self {
        let changed = keeps.then(BTreeSet::new);
        let (all, used) = (HashMap::new(), BTreeMap::new());
        let (elsewhere, behind) = (ObjectsElsewhere::default(), Behind::default());
        Self { limits, all, used, bytes: 0, changed, elsewhere, behind, refused: 0, undone: 0 }
    }

    /// An object of an earlier run. False if there is no space for it, or one of its name.
    pub(super) fn restore(&mut self, kept: SharedObjectSnapshot) -> bool {
        let SharedObjectSnapshot { app, name, version, slots } = kept;
        let bytes = slots.iter().map(|(slot, value)| cost(slot, value)).sum::<usize>();
        let limits = self.limits;
        let fits = bytes <= limits.bytes && slots.len() <= limits.slots;
        let name = ObjectName { app, name, persistent: true };
        let is_full = self.bytes + bytes > limits.bytes_in_all || self.all.len() >= limits.objects;
        if !fits || is_full || self.all.contains_key(&name) {
            return false;
        }
        let slot = |value| Slot { value, version, by: None, is_news: false };
        let slots = slots.into_iter().map(|(name, value)| (name, slot(value))).collect();
        let object = Object { version, slots, bytes, is_kept: true, ..Object::default() };
        self.bytes += bytes;
        self.all.insert(name, object);
        true
    }

    /// True if [`take_changed`](Self::take_changed) returns something.
    pub(super) fn has_changed(&self) -> bool {
        self.changed.as_ref().is_some_and(|names| !names.is_empty())
    }

    /// The persistent objects that have changed since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<SharedObjectSnapshot> {
        let names = self.changed.as_mut().map(std::mem::take).unwrap_or_default();
        let snapshots = names.into_iter().map(|name| {
            let mut object = self.all.get_mut(&name);
            if let Some(object) = &mut object {
                object.is_kept = true;
            }
            let slots = object.iter().flat_map(|it| &it.slots);
            SharedObjectSnapshot {
                slots: slots.map(|(slot, it)| (slot.clone(), it.value.clone())).collect(),
                version: object.as_ref().map_or(0, |it| it.version),
                app: name.app,
                name: name.name,
            }
        });
        snapshots.collect()
    }

    /// Uses that were refused, and changes that were undone, because of a limit.
    pub(super) fn refused(&self) -> (u64, u64) {
        (self.refused, self.undone)
    }

    /// Messages that were held back from clients for which too much waited.
    pub(super) fn held_back(&self) -> u64 {
        self.behind.held_back
    }

    /// The number of objects.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// A client of an application has sent a message.
    pub(super) fn on_message(
        &mut self,
        from: ClientId,
        app: &Arc<str>,
        message: &SharedObjectMessage,
    ) -> Outgoing {
        let (name, persistent) = (message.name.clone(), message.persistent);
        let full = ObjectName { app: app.clone(), name: name.clone(), persistent };
        let (mut answers, mut news) = (Vec::new(), Vec::new());
        let mut answered = Answered::default();
        let mut out = Outgoing::new();
        for event in &message.events {
            match event {
                SharedObjectEvent::Use => match self.begin_use(from, &full) {
                    Some(object) => {
                        object.set_whole(from);
                        answered.all_of(object, &mut answers);
                    }
                    None => {
                        self.refused += 1;
                        return vec![(vec![from], message.refusal())];
                    }
                },
                SharedObjectEvent::Release => self.release(from, &full),
                event => {
                    let (limits, space) = (self.limits, self.limits.bytes_in_all - self.bytes);
                    let Some(object) = self.all.get_mut(&full) else { continue };
                    if !object.users.contains_key(&from) {
                        continue;
                    }
                    let before = object.bytes;
                    let room = limits.bytes.min(before + space);
                    let version = object.version;
                    let change = object.apply(from, message.version, event, limits.slots, room);
                    self.bytes = self.bytes - before + object.bytes;
                    self.undone += u64::from(change.is_beyond);
                    if let Some(changed) = self.changed.as_mut().filter(|_| persistent)
                        && object.version != version
                    {
                        changed.insert(full.clone());
                    }
                    answers
                        .extend(change.answer.into_iter().filter(|it| answered.is_new(object, it)));
                    news.extend(change.news);
                }
            }
        }
        let Some(object) = self.all.get(&full) else { return out };
        let message =
            |events| SharedObjectMessage::new(name.clone(), persistent, object.version, events);
        if !answers.is_empty() {
            out.push((vec![from], message(answers)));
        }
        if !news.is_empty() {
            let others = object.users.keys().copied().filter(|&it| it != from).collect();
            out.push((others, message(news)));
        }
        out
    }

    /// All slots for a client that has used an object for some time.
    fn whole(&mut self, client: ClientId, name: &ObjectName) -> Option<SharedObjectMessage> {
        let object = self.all.get_mut(name).filter(|it| it.users.contains_key(&client))?;
        object.set_whole(client);
        let events = [SharedObjectEvent::Clear].into_iter().chain(object.changes()).collect();
        let ObjectName { name, persistent, .. } = name.clone();
        Some(SharedObjectMessage::new(name, persistent, object.version, events))
    }

    /// Lets a client use an object, if it may.
    fn begin_use(&mut self, from: ClientId, name: &ObjectName) -> Option<&mut Object> {
        let is_new = !self.all.contains_key(name);
        if name.app.len() > MAX_NAME || is_new && self.all.len() >= self.limits.objects {
            return None;
        }
        let used = self.used.get(&from);
        let uses = used.is_some_and(|names| names.contains(name));
        if !uses && used.map_or(0, BTreeSet::len) >= self.limits.per_client {
            return None;
        }
        let users = self.all.get(name).map_or(0, |object| object.users.len());
        if !uses && users >= self.limits.users {
            return None;
        }
        let object = self.all.entry(name.clone()).or_default();
        // One of this name was taken, and its end was not.
        let has_changed = || self.changed.as_ref().is_some_and(|names| names.contains(name));
        object.is_kept |= is_new && has_changed();
        self.used.entry(from).or_default().insert(name.clone());
        Some(object)
    }

    fn stop_using(&mut self, from: ClientId, name: &ObjectName) {
        if let Some(used) = self.used.get_mut(&from) {
            used.remove(name);
            if used.is_empty() {
                self.used.remove(&from);
            }
        }
    }

    fn release(&mut self, from: ClientId, name: &ObjectName) {
        self.stop_using(from, name);
        let Some(object) = self.all.get_mut(name) else { return };
        object.users.remove(&from);
        if object.users.is_empty() && (!name.persistent || object.slots.is_empty()) {
            self.bytes -= object.bytes;
            if let Some(changed) = self.changed.as_mut().filter(|_| !object.is_kept) {
                changed.remove(name);
            }
            self.all.remove(name);
        }
    }

    /// A client is gone.
    pub(super) fn forget(&mut self, client: ClientId) {
        for name in self.used.get(&client).cloned().unwrap_or_default() {
            self.release(client, &name);
        }
        self.used.remove(&client);
    }
}

#[cfg(test)]
mod tests {
    use super::super::cluster::MemberId;
    use super::object::SLOT_OVERHEAD;
    use super::*;
    use crate::transport::SessionId;

    const A: ClientId = client(1);
    const B: ClientId = client(2);

    const fn client(session: u32) -> ClientId {
        ClientId { member: MemberId::worker(0), session: SessionId(session) }
    }

    fn objects(limits: SharedObjectLimits) -> SharedObjects {
        SharedObjects::new(limits, true)
    }

    fn say(
        objects: &mut SharedObjects,
        from: ClientId,
        version: u32,
        events: Vec<SharedObjectEvent>,
    ) -> Outgoing {
        let message = SharedObjectMessage::new("chat".into(), false, version, events);
        objects.on_message(from, &"app".into(), &message)
    }

    fn set(slot: &str, value: &'static [u8]) -> SharedObjectEvent {
        SharedObjectEvent::RequestChange { slot: slot.into(), value: Bytes::from_static(value) }
    }

    fn change(slot: &str, value: &'static [u8]) -> SharedObjectEvent {
        SharedObjectEvent::Change { slot: slot.into(), value: Bytes::from_static(value) }
    }

    fn success(slot: &str) -> SharedObjectEvent {
        SharedObjectEvent::Success { slot: slot.into() }
    }

    /// Who gets which events of which version.
    fn got(outgoing: Outgoing) -> Vec<(Vec<ClientId>, u32, Vec<SharedObjectEvent>)> {
        outgoing.into_iter().map(|(to, it)| (to, it.version, it.events)).collect()
    }

    #[test]
    fn changes_go_to_all_who_use_it() {
        let mut objects = objects(SharedObjectLimits::default());
        let begun = vec![SharedObjectEvent::UseSuccess, SharedObjectEvent::Clear];
        let first = say(&mut objects, A, 0, vec![SharedObjectEvent::Use]);
        assert_eq!(got(first), [(vec![A], 0, begun.clone())]);
        let changed = say(&mut objects, A, 0, vec![set("x", b"\x05"), set("y", b"\x06")]);
        assert_eq!(
            got(changed),
            [
                (vec![A], 2, vec![success("x"), success("y")]),
                (vec![], 2, vec![change("x", b"\x05"), change("y", b"\x06")]),
            ]
        );
        let late = say(&mut objects, B, 0, vec![SharedObjectEvent::Use]);
        let all = [begun, vec![change("x", b"\x05"), change("y", b"\x06")]].concat();
        assert_eq!(got(late), [(vec![B], 2, all)]);
        let remove = SharedObjectEvent::RequestRemove { slot: "x".into() };
        let removed = SharedObjectEvent::Remove { slot: "x".into() };
        let gone = say(&mut objects, B, 2, vec![remove]);
        let both = [(vec![B], 3, vec![removed.clone(), success("x")]), (vec![A], 3, vec![removed])];
        assert_eq!(got(gone), both);
        let nothing = SharedObjectEvent::RequestRemove { slot: "x".into() };
        assert_eq!(got(say(&mut objects, B, 3, vec![nothing])), [(vec![B], 3, vec![success("x")])]);
        let call = SharedObjectEvent::Send(Bytes::from_static(b"\x02\0\x02hi"));
        let called = say(&mut objects, A, 3, vec![call.clone()]);
        assert_eq!(got(called), [(vec![A], 3, vec![call.clone()]), (vec![B], 3, vec![call])]);
    }

    #[test]
    fn who_is_second_has_its_answer_in_the_news() {
        let mut objects = objects(SharedObjectLimits::default());
        for user in [A, B] {
            say(&mut objects, user, 0, vec![SharedObjectEvent::Use]);
        }
        say(&mut objects, A, 0, vec![set("x", b"\x05")]);
        let second = say(&mut objects, B, 0, vec![set("x", b"\x06")]);
        assert_eq!(got(second), []);
        let own = say(&mut objects, A, 0, vec![set("x", b"\x06")]);
        assert_eq!(got(own)[0].2, [success("x")], "who has set it knows it");
        let informed = say(&mut objects, B, 2, vec![set("x", b"\x05")]);
        assert_eq!(got(informed)[0].2, [success("x")]);
        // Nor does it bring back what was removed meanwhile.
        let remove = SharedObjectEvent::RequestRemove { slot: "x".into() };
        say(&mut objects, A, 3, vec![remove.clone()]);
        assert_eq!(got(say(&mut objects, B, 3, vec![set("x", b"\x05")])), []);
        let again = say(&mut objects, B, 4, vec![set("x", b"\x05")]);
        assert_eq!(got(again)[0].2, [success("x")]);
        say(&mut objects, B, 5, vec![remove]);
        assert_eq!(got(say(&mut objects, B, 5, vec![set("x", b"\x05")])), [], "its own removal");
    }

    #[test]
    fn hostile_removals_are_bounded() {
        let limits = SharedObjectLimits { bytes: 4000, ..SharedObjectLimits::default() };
        let mut objects = objects(limits);
        say(&mut objects, A, 0, vec![SharedObjectEvent::Use]);
        for n in 0..1000 {
            let slot = format!("{n:0200}");
            let remove = SharedObjectEvent::RequestRemove { slot: slot.as_str().into() };
            let done = say(&mut objects, A, 0, vec![set(&slot, b"\x05"), remove]);
            assert_eq!(got(done)[0].2[0], success(&slot), "known removals make room");
            let removed = &objects.all.values().next().unwrap().removed;
            assert_eq!((objects.bytes, removed.size() < 4000), (removed.size(), true));
        }
        let large: &[u8] = &[5; 3700];
        assert_eq!(got(say(&mut objects, A, 0, vec![set("x", large)]))[0].2, [success("x")]);
        objects.forget(A);
        assert_eq!((objects.len(), objects.bytes), (0, 0));
    }

    #[test]
    fn an_object_goes_with_its_last_user_unless_it_is_persistent() {
        let mut objects = objects(SharedObjectLimits::default());
        let persistent = |events| SharedObjectMessage::new("kept".into(), true, 0, events);
        say(&mut objects, A, 0, vec![SharedObjectEvent::Use, set("x", b"\x05")]);
        let kept = persistent(vec![SharedObjectEvent::Use, set("x", b"\x05")]);
        objects.on_message(A, &"app".into(), &kept);
        say(&mut objects, B, 0, vec![set("y", b"\x05")]);
        assert_eq!((objects.len(), objects.bytes), (2, 2 * (2 + SLOT_OVERHEAD)));
        objects.forget(A);
        assert_eq!((objects.len(), objects.bytes), (1, 2 + SLOT_OVERHEAD));
        assert!(objects.used.is_empty());
        let again = objects.on_message(B, &"app".into(), &persistent(vec![SharedObjectEvent::Use]));
        assert_eq!(got(again)[0].2[2..], [change("x", b"\x05")]);
        let other =
            objects.on_message(B, &"other".into(), &persistent(vec![SharedObjectEvent::Use]));
        assert_eq!(got(other)[0].2.len(), 2, "another application");
    }

    #[test]
    fn what_is_persistent_and_changed_is_taken_once_and_restored() {
        let mut objects = objects(SharedObjectLimits::default());
        say(&mut objects, A, 0, vec![SharedObjectEvent::Use, set("x", b"\x05")]);
        assert!(!objects.has_changed(), "not persistent");
        let events = vec![SharedObjectEvent::Use, set("x", b"\x05")];
        let kept = SharedObjectMessage::new("kept".into(), true, 0, events);
        objects.on_message(A, &"app".into(), &kept);
        let taken = objects.take_changed();
        let slots = vec![("x".into(), Bytes::from_static(b"\x05"))];
        let expected =
            SharedObjectSnapshot { app: "app".into(), name: "kept".into(), version: 1, slots };
        assert_eq!((&taken[..], objects.has_changed()), (&[expected.clone()][..], false));
        let mut later = SharedObjects::new(SharedObjectLimits::default(), true);
        assert!(later.restore(expected.clone()) && !later.restore(expected.clone()));
        assert_eq!((later.len(), later.bytes, later.has_changed()), (1, 2 + SLOT_OVERHEAD, false));
        let remove = SharedObjectEvent::RequestRemove { slot: "x".into() };
        let events = vec![SharedObjectEvent::Use, remove, SharedObjectEvent::Release];
        later.on_message(B, &"app".into(), &SharedObjectMessage { events, ..kept });
        assert_eq!((later.len(), later.bytes), (0, 0));
        assert_eq!(later.take_changed()[0].slots, []);
        let limits = SharedObjectLimits { bytes: 10, ..SharedObjectLimits::default() };
        assert!(!SharedObjects::new(limits, true).restore(expected));
    }

    #[test]
    fn hostile_names_of_objects_that_are_gone_are_not_kept() {
        let mut objects = objects(SharedObjectLimits::default());
        let app: Arc<str> = "app".into();
        let say = |objects: &mut SharedObjects, name: &str, events| {
            let message = SharedObjectMessage::new(name.into(), true, 0, events);
            objects.on_message(A, &app, &message)
        };
        let remove = || SharedObjectEvent::RequestRemove { slot: "x".into() };
        let begin = || vec![SharedObjectEvent::Use, set("x", b"\x05")];
        let end = || vec![remove(), SharedObjectEvent::Release];
        for number in 0..100 {
            let name = number.to_string();
            say(&mut objects, &name, begin());
            say(&mut objects, &name, end());
        }
        assert!(!objects.has_changed(), "nobody has ever taken them");
        // The end of one that was taken is to be taken, too, even if it comes and goes again.
        say(&mut objects, "a", begin());
        assert_eq!(objects.take_changed()[0].slots.len(), 1);
        say(&mut objects, "a", end());
        say(&mut objects, "a", begin());
        say(&mut objects, "a", end());
        let taken = objects.take_changed();
        assert_eq!((taken.len(), &*taken[0].name, taken[0].slots.len()), (1, "a", 0));
        say(&mut objects, "a", begin());
        say(&mut objects, "a", end());
        assert!(!objects.has_changed());
        let long: Arc<str> = "a".repeat(MAX_NAME + 1).into();
        let hello = SharedObjectMessage::new("a".into(), true, 0, vec![SharedObjectEvent::Use]);
        assert_eq!(objects.on_message(A, &long, &hello), [(vec![A], hello.refusal())]);
    }

    #[test]
    fn who_was_sent_all_slots_learns_anew_what_it_has_set() {
        let mut objects = objects(SharedObjectLimits::default());
        for user in [A, B] {
            say(&mut objects, user, 0, vec![SharedObjectEvent::Use]);
        }
        let name = objects.all.keys().next().cloned().unwrap();
        assert_eq!(objects.whole(A, &name).unwrap().version, 1);
        // It was sent before the client has read all slots, and so was the second.
        let new = vec![change("x", b"\x05")];
        let crossed = got(say(&mut objects, A, 0, vec![set("x", b"\x05")]));
        assert_eq!(crossed, [(vec![A], 2, new.clone()), (vec![B], 2, new)]);
        let second = got(say(&mut objects, A, 1, vec![set("x", b"\x06")]));
        assert_eq!(second[0].2, [change("x", b"\x06")], "the first is on the way to it");
        assert_eq!(got(say(&mut objects, B, 2, vec![set("x", b"\x05")])), []);
        assert_eq!(got(say(&mut objects, A, 3, vec![set("x", b"\x05")]))[0].2, [success("x")]);
    }

    #[test]
    fn hostile_repetitions_are_answered_once() {
        let mut objects =
            objects(SharedObjectLimits { bytes: 1500, ..SharedObjectLimits::default() });
        for user in [A, B] {
            say(&mut objects, user, 0, vec![SharedObjectEvent::Use]);
        }
        say(&mut objects, A, 0, vec![set("x", &[5; 1000])]);
        let long = || set("x", &[6; 2000]);
        let copies = |outgoing: Outgoing| {
            let events = got(outgoing).swap_remove(0).2;
            events.into_iter().filter(|it| *it == change("x", &[5; 1000])).count()
        };
        assert_eq!(copies(say(&mut objects, B, 0, vec![SharedObjectEvent::Use; 100])), 1);
        let anew = vec![[SharedObjectEvent::Release, SharedObjectEvent::Use]; 100].concat();
        assert_eq!(copies(say(&mut objects, B, 0, anew)), 1);
        assert_eq!(copies(say(&mut objects, B, 999, vec![long(); 100])), 1);
        // Another value is an answer again, and so is an object that is empty by now.
        let remove = SharedObjectEvent::RequestRemove { slot: "x".into() };
        let removed = SharedObjectEvent::Remove { slot: "x".into() };
        let both = vec![long(), remove, long()];
        let answers = [change("x", &[5; 1000]), removed.clone(), success("x"), removed];
        assert_eq!(got(say(&mut objects, B, 999, both))[0].2, answers);
        say(&mut objects, B, 999, vec![set("x", b"\x06")]);
        objects.forget(A);
        let begun = [SharedObjectEvent::UseSuccess, SharedObjectEvent::Clear];
        let anew = vec![SharedObjectEvent::Use, SharedObjectEvent::Release, SharedObjectEvent::Use];
        let answers = [&begun[..], &[change("x", b"\x06")], &begun].concat();
        assert_eq!(got(say(&mut objects, B, 9, anew))[0].2, answers);
    }

    #[test]
    fn hostile_objects_are_bounded() {
        let limits = SharedObjectLimits {
            objects: 3,
            per_client: 2,
            users: 1,
            slots: 2,
            bytes: 300,
            bytes_in_all: 400,
            ..SharedObjectLimits::default()
        };
        let mut objects = objects(limits);
        let app: Arc<str> = "app".into();
        let mut hello = |from: u32, name: &str| {
            let message =
                SharedObjectMessage::new(name.into(), false, 0, vec![SharedObjectEvent::Use]);
            let outgoing = objects.on_message(client(from), &app, &message);
            matches!(outgoing[0].1.events[0], SharedObjectEvent::UseSuccess)
        };
        assert!(hello(1, "a") && hello(1, "b") && !hello(1, "c"), "of one client");
        assert!(!hello(2, "a"), "users of one object");
        assert!(hello(2, "c") && !hello(3, "d"), "objects");
        let mut tell = |from: u32, name: &str, slot: &str, len: usize| {
            let value = Bytes::from(vec![5; len]);
            let change = SharedObjectEvent::RequestChange { slot: slot.into(), value };
            let message = SharedObjectMessage::new(name.into(), false, 99, vec![change]);
            let outgoing = objects.on_message(client(from), &app, &message);
            assert!(objects.bytes <= 400);
            matches!(outgoing[0].1.events[0], SharedObjectEvent::Success { .. })
        };
        assert!(tell(1, "a", "x", 9) && tell(1, "a", "y", 9) && !tell(1, "a", "z", 9), "slots");
        assert!(!tell(1, "a", "x", 200), "bytes of one object");
        assert!(tell(1, "b", "x", 100) && !tell(2, "c", "x", 100), "bytes in all");
        assert_eq!(objects.refused(), (3, 3));
    }
}
