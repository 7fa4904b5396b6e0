//! [`Wants`]: objects that are not requested while the application is slow.
//!
//! A group fetches what it wants as fast as the network allows. To pause that, the indices are
//! removed from the group's Want set and put back later. Meanwhile, calls of the application apply
//! to the set aside.

use crate::group::{Group, GroupError};
use crate::range::{IndexSet, RangeError};
use crate::transport::Time;
use std::ops::RangeInclusive;

/// The application's Want set, while it is removed from the group.
#[derive(Debug, Default)]
pub(super) struct Wants {
    held: Option<IndexSet>,
}

impl Wants {
    /// Stops fetching; objects in flight still arrive.
    pub(super) fn hold(&mut self, now: Time, group: &mut Group) -> Result<(), GroupError> {
        if self.held.is_none() {
            let wanted = group.replication().want().clone();
            wanted.ranges().try_for_each(|range| group.replication_mut(now).remove_want(range))?;
            self.held = Some(wanted);
        }
        Ok(())
    }

    /// Resumes fetching.
    pub(super) fn release(&mut self, now: Time, group: &mut Group) -> Result<(), GroupError> {
        let held = self.held.take().unwrap_or_default();
        held.ranges().try_for_each(|range| group.replication_mut(now).add_want(range))
    }

    /// Puts back an object that could not be queued.
    pub(super) fn put_back(
        &mut self,
        now: Time,
        group: &mut Group,
        index: u64,
    ) -> Result<(), GroupError> {
        self.hold(now, group)?;
        if let Some(held) = &mut self.held {
            held.insert(index)?;
        }
        Ok(())
    }

    /// Removes an object that was delivered to the application; it may have been in flight when
    /// fetching stopped.
    pub(super) fn delivered(&mut self, index: u64) {
        // Removing a single index from an unbounded set cannot fail.
        let _ = self.forget(index..=index);
    }

    pub(super) fn add_want(
        &mut self,
        now: Time,
        group: &mut Group,
        range: RangeInclusive<u64>,
    ) -> Result<(), GroupError> {
        match &mut self.held {
            Some(held) => {
                held.insert_range(range.clone())?;
                // A wanted object is not in the Have set.
                group.replication_mut(now).remove_have(range)
            }
            None => group.replication_mut(now).add_want(range),
        }
    }

    pub(super) fn remove_want(
        &mut self,
        now: Time,
        group: &mut Group,
        range: RangeInclusive<u64>,
    ) -> Result<(), GroupError> {
        group.replication_mut(now).remove_want(range.clone())?;
        Ok(self.forget(range)?)
    }

    pub(super) fn add_have(
        &mut self,
        now: Time,
        group: &mut Group,
        range: RangeInclusive<u64>,
    ) -> Result<(), GroupError> {
        group.replication_mut(now).add_have(range.clone())?;
        Ok(self.forget(range)?)
    }

    fn forget(&mut self, range: RangeInclusive<u64>) -> Result<(), RangeError> {
        self.held.as_mut().map_or(Ok(()), |held| held.remove_range(range).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Fingerprint;
    use crate::group::{GroupConfig, GroupSpecBuilder};

    fn group() -> Group {
        let spec = GroupSpecBuilder::new("wants").unwrap().object_replication(true).build();
        Group::new(GroupConfig::new(spec.unwrap(), Fingerprint([7; 32])), Time::ZERO, 1)
    }

    fn wanted(group: &Group) -> Vec<RangeInclusive<u64>> {
        group.replication().want().ranges().collect()
    }

    #[test]
    fn what_is_held_comes_back_as_the_application_left_it() {
        let (now, mut group, mut wants) = (Time::ZERO, group(), Wants::default());
        wants.add_want(now, &mut group, 0..=99).unwrap();
        wants.hold(now, &mut group).unwrap();
        assert!(group.replication().want().is_empty());

        wants.delivered(70);
        wants.put_back(now, &mut group, 200).unwrap();
        wants.add_want(now, &mut group, 300..=309).unwrap();
        wants.remove_want(now, &mut group, 50..=59).unwrap();
        wants.add_have(now, &mut group, 0..=9).unwrap();
        assert!(group.replication().want().is_empty(), "nothing is fetched");

        wants.release(now, &mut group).unwrap();
        assert_eq!(wanted(&group), [10..=49, 60..=69, 71..=99, 200..=200, 300..=309]);
        wants.release(now, &mut group).unwrap();
        assert_eq!(wanted(&group).len(), 5, "harmless");
    }

    #[test]
    fn the_group_checks_calls_while_wants_are_held() {
        let (now, mut group, mut wants) = (Time::ZERO, group(), Wants::default());
        wants.hold(now, &mut group).unwrap();
        let beyond = (1 << 53) + 1;
        assert!(wants.add_want(now, &mut group, 0..=beyond).is_err());
        group.close(now);
        assert_eq!(wants.add_want(now, &mut group, 0..=1), Err(GroupError::Closed));
    }
}
