//! Answers to one message about an object. A short message can ask for the same again and again, and gets it
//! once.

use super::Object;
use crate::flash::shared_object::SharedObjectEvent;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The answers to one message so far.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// The object, with all its slots.
    has_all: bool,
    /// Slots that could not be changed, with the versions of their values.
    slots: BTreeSet<(Arc<str>, u32)>,
}

impl Answered {
    /// Answers a client that uses an object with all its slots, unless it has got them.
    pub(super) fn all_of(&mut self, object: &Object, answers: &mut Vec<SharedObjectEvent>) {
        answers.push(SharedObjectEvent::UseSuccess);
        // One that was gone meanwhile has nothing.
        if !self.has_all || object.slots.is_empty() {
            answers.push(SharedObjectEvent::Clear);
            answers.extend(object.changes());
        }
        self.has_all = true;
    }

    /// False for a value that is among the answers already.
    pub(super) fn is_new(&mut self, object: &Object, answer: &SharedObjectEvent) -> bool {
        let SharedObjectEvent::Change { slot, .. } = answer else { return true };
        let version = object.slots.get(slot).map_or(object.version, |it| it.version);
        self.slots.insert((slot.clone(), version))
    }
}
