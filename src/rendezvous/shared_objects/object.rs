//! One shared object: its slots, who uses it, and what comes of what they ask for.

use super::super::cluster::ClientId;
use super::removed::Removed;
use crate::flash::shared_object::SharedObjectEvent;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a slot costs beside its name and value.
pub(super) const SLOT_OVERHEAD: usize = 64;

/// A shared object.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) version: u32,
    pub(super) slots: BTreeMap<Arc<str>, Slot>,
    pub(super) removed: Removed,
    /// Who uses it, and the version at which the client was last sent all slots when it used the object
    /// already; 0 if it never was.
    pub(super) users: BTreeMap<ClientId, u32>,
    pub(super) bytes: usize,
    /// It was taken: who took it has to learn of its end.
    pub(super) is_kept: bool,
}

/// A value of an object.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) value: Bytes,
    /// The version of the object since which it has this value.
    pub(super) version: u32,
    /// The client that has set it, if that is known.
    pub(super) by: Option<ClientId>,
    /// This client is sent the value as news, too.
    pub(super) is_news: bool,
}

/// What follows from an event: for who sent it, and for the others.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) answer: Vec<SharedObjectEvent>,
    pub(super) news: Option<SharedObjectEvent>,
    /// It was undone because of a limit.
    pub(super) is_beyond: bool,
}

impl Object {
    /// Carries out an event of a client that uses the object and knows this version of it. The object
    /// keeps to a number of slots and of bytes.
    pub(super) fn apply(
        &mut self,
        from: ClientId,
        known: u32,
        event: &SharedObjectEvent,
        max_slots: usize,
        max_bytes: usize,
    ) -> Change {
        match event {
            SharedObjectEvent::RequestChange { slot, value } => {
                let (old, is_new) = match self.slots.get(slot) {
                    Some(it) => (cost(slot, &it.value), false),
                    None => (0, true),
                };
                if self.is_overtaken(from, known, slot) {
                    return Change::default();
                }
                // Without what is known of removals, which makes room.
                let bytes = self.bytes - self.removed.size() - old + cost(slot, value);
                if bytes > max_bytes || is_new && self.slots.len() >= max_slots {
                    return Change { is_beyond: true, ..self.undo(slot) };
                }
                self.removed.forget(slot);
                if bytes + self.removed.size() > max_bytes {
                    self.removed = Removed::default();
                }
                self.bytes = bytes + self.removed.size();
                self.version = self.version.wrapping_add(1);
                // A copy: a slice would keep the whole message.
                let value = Bytes::copy_from_slice(value);
                // All slots were sent since, or a value of this one: the client no longer waits for
                // success, and gets the value as news.
                let was_news =
                    self.slots.get(slot).is_some_and(|it| it.is_news && it.version > known);
                let is_news = was_news || self.users.get(&from).is_some_and(|whole| *whole > known);
                let (version, by) = (self.version, Some(from));
                let kept = Slot { value: value.clone(), version, by, is_news };
                self.slots.insert(slot.clone(), kept);
                let news = SharedObjectEvent::Change { slot: slot.clone(), value };
                let answer = match is_news {
                    true => news.clone(),
                    false => SharedObjectEvent::Success { slot: slot.clone() },
                };
                Change { answer: vec![answer], news: Some(news), ..Change::default() }
            }
            SharedObjectEvent::RequestRemove { slot } => {
                let old = self.slots.remove(slot);
                if let Some(old) = &old {
                    self.version = self.version.wrapping_add(1);
                    self.bytes -= cost(slot, &old.value) + self.removed.size();
                    self.removed.add(slot.clone(), self.version);
                    self.bytes += self.removed.size();
                }
                // Without success, a client that has deleted the slot itself would wait for ever. Where there
                // is no slot, its removal would take one that the client has set meanwhile.
                let news = old.map(|_| SharedObjectEvent::Remove { slot: slot.clone() });
                let success = SharedObjectEvent::Success { slot: slot.clone() };
                let answer = news.iter().cloned().chain([success]).collect();
                Change { answer, news, ..Change::default() }
            }
            SharedObjectEvent::Send(_) => {
                let (answer, news) = (vec![event.clone()], Some(event.clone()));
                Change { answer, news, ..Change::default() }
            }
            _ => Change::default(),
        }
    }

    /// A client gets all slots. If it has used the object for some time, that is a version of its own, so
    /// that it can be seen what the client has asked for before.
    pub(super) fn set_whole(&mut self, client: ClientId) {
        match self.users.get_mut(&client) {
            Some(whole) => {
                self.version = self.version.wrapping_add(1);
                *whole = self.version;
            }
            None => drop(self.users.insert(client, 0)),
        }
    }

    /// True for a change by a client that did not know that somebody else had changed the slot, or
    /// that it is removed. The client needs no answer: what it did not know comes after it has asked,
    /// and makes it report "reject" or "delete". An answer would reject what it asks for next.
    fn is_overtaken(&self, from: ClientId, known: u32, slot: &str) -> bool {
        match self.slots.get(slot) {
            Some(it) => it.version > known && it.by != Some(from),
            None => self.removed.find(slot).is_some_and(|version| version > known),
        }
    }

    /// Tells a client what a slot is, which it could not change.
    fn undo(&self, slot: &Arc<str>) -> Change {
        let slot = slot.clone();
        let answer = match self.slots.get(&slot) {
            Some(it) => SharedObjectEvent::Change { slot, value: it.value.clone() },
            None => SharedObjectEvent::Remove { slot },
        };
        Change { answer: vec![answer], ..Change::default() }
    }
}

/// Bytes that a slot counts as.
pub(super) fn cost(slot: &str, value: &Bytes) -> usize {
    slot.len() + value.len() + SLOT_OVERHEAD
}
