//! Who is a member of what.

use crate::flash::group_channel::GroupId;
use crate::transport::SessionId;
use rand_core::Rng;
use std::collections::{BTreeMap, HashMap};

/// The members of every group, in the order of their joining.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<GroupId, Members>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    by_order: BTreeMap<u64, SessionId>,
    orders: HashMap<SessionId, u64>,
}

impl Groups {
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn count(&self, group: GroupId) -> usize {
        self.groups.get(&group).map_or(0, |members| members.by_order.len())
    }

    pub(super) fn members(&self, group: GroupId) -> impl Iterator<Item = SessionId> {
        self.groups.get(&group).into_iter().flat_map(|m| m.by_order.values().copied())
    }

    /// Adds a member and returns how many there are.
    pub(super) fn join(&mut self, group: GroupId, session: SessionId) -> usize {
        let members = self.groups.entry(group).or_default();
        if !members.orders.contains_key(&session) {
            let order = members.next;
            members.next += 1;
            members.by_order.insert(order, session);
            members.orders.insert(session, order);
        }
        members.by_order.len()
    }

    /// Takes a member out and returns how many are left; `None` if it was no member.
    pub(super) fn leave(&mut self, group: GroupId, session: SessionId) -> Option<usize> {
        let members = self.groups.get_mut(&group)?;
        let order = members.orders.remove(&session)?;
        members.by_order.remove(&order);
        let left = members.by_order.len();
        if left == 0 {
            self.groups.remove(&group);
        }
        Some(left)
    }

    /// Up to `count` members other than `session`: half of them the newest, the others from all
    /// over the group.
    pub(super) fn choose(
        &self,
        group: GroupId,
        session: SessionId,
        count: usize,
        random: &mut dyn Rng,
    ) -> Vec<SessionId> {
        let Some(members) = self.groups.get(&group) else { return Vec::new() };
        let others = || members.by_order.values().copied().filter(|id| *id != session);
        if members.by_order.len() <= count {
            return others().collect();
        }
        let mut chosen: Vec<SessionId> = others().rev().take(count.div_ceil(2)).collect();
        // Orders have gaps where members left; a few misses do not matter.
        for _ in 0..4 * count {
            if chosen.len() >= count {
                break;
            }
            let at = random.next_u64() % members.next.max(1);
            let found = members.by_order.range(at..).next().map(|(_, &id)| id);
            if let Some(id) = found.filter(|id| *id != session && !chosen.contains(id)) {
                chosen.push(id);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    const GROUP: GroupId = GroupId([7; 32]);

    #[test]
    fn a_small_group_is_told_whole() {
        let mut groups = Groups::default();
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for id in 1..=5 {
            assert_eq!(groups.join(GROUP, SessionId(id)), id as usize);
        }
        assert_eq!(groups.join(GROUP, SessionId(5)), 5, "once only");
        let chosen = groups.choose(GROUP, SessionId(9), 12, &mut random);
        assert_eq!(chosen, [1, 2, 3, 4, 5].map(SessionId));
    }

    #[test]
    fn a_large_group_in_part_and_without_repetition() {
        let mut groups = Groups::default();
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for id in 1..=1000 {
            groups.join(GROUP, SessionId(id));
        }
        let mut chosen = groups.choose(GROUP, SessionId(1000), 12, &mut random);
        assert_eq!(chosen[..2], [SessionId(999), SessionId(998)]);
        chosen.sort();
        chosen.dedup();
        assert_eq!(chosen.len(), 12);
    }

    #[test]
    fn an_empty_group_is_forgotten() {
        let mut groups = Groups::default();
        groups.join(GROUP, SessionId(1));
        assert_eq!(groups.leave(GROUP, SessionId(2)), None);
        assert_eq!(groups.leave(GROUP, SessionId(1)), Some(0));
        assert_eq!(groups.len(), 0);
        assert_eq!(groups.leave(GROUP, SessionId(1)), None);
    }
}
