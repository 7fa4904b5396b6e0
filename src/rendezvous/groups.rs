//! The members of groups.

use crate::flash::group_channel::GroupId;
use crate::transport::SessionId;
use rand_core::Rng;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Members that are examined for one choice among the newest, and as many again all over the group;
/// of a larger group the others are skipped this time.
const MAX_LOOKS: usize = 128;

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

    /// Every group with members.
    pub(super) fn all(&self) -> impl Iterator<Item = GroupId> {
        self.groups.keys().copied()
    }

    pub(super) fn count(&self, group: GroupId) -> usize {
        self.groups.get(&group).map_or(0, |members| members.by_order.len())
    }

    /// Every group with the number of its members.
    pub(super) fn counts(&self) -> impl Iterator<Item = (GroupId, usize)> {
        self.groups.iter().map(|(&group, members)| (group, members.by_order.len()))
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

    /// Up to `count` members that `fit`: half of them the newest, the others from all over the
    /// group. In a group of more than [`MAX_LOOKS`] members some that fit may be skipped.
    pub(super) fn choose(
        &self,
        group: GroupId,
        count: usize,
        random: &mut dyn Rng,
        fit: impl Fn(SessionId) -> bool,
    ) -> Vec<SessionId> {
        let Some(members) = self.groups.get(&group) else { return Vec::new() };
        let newest = members.by_order.values().rev().copied().take(MAX_LOOKS);
        let mut chosen: Vec<SessionId> = newest.filter(|id| fit(*id)).collect();
        let half = count.div_ceil(2).min(chosen.len());
        let others = chosen.split_off(half);
        let mut others = match members.by_order.len() > MAX_LOOKS {
            true => members.sample(random, |id| fit(id) && !chosen.contains(&id), others),
            false => others,
        };
        while chosen.len() < count && !others.is_empty() {
            let drawn = random.next_u64() % others.len() as u64;
            chosen.push(others.swap_remove(drawn as usize));
        }
        chosen
    }
}

impl Members {
    /// Members from all over the group that `fit`; if there are few, the `newest` among them.
    fn sample(
        &self,
        random: &mut dyn Rng,
        fit: impl Fn(SessionId) -> bool,
        newest: Vec<SessionId>,
    ) -> Vec<SessionId> {
        // Orders have gaps where members left; a few misses do not matter.
        let drawn = (0..MAX_LOOKS).filter_map(|_| {
            let at = random.next_u64() % self.next.max(1);
            self.by_order.range(at..).next().map(|(_, &id)| id)
        });
        let found: HashSet<SessionId> = drawn.filter(|id| fit(*id)).collect();
        let mut found: Vec<SessionId> = found.into_iter().collect();
        found.sort_unstable(); // in an order that a seed repeats
        if found.len() < MAX_LOOKS / 8 {
            let others = newest.into_iter().filter(|id| found.binary_search(id).is_err());
            let others: Vec<SessionId> = others.collect();
            found.extend(others);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    const GROUP: GroupId = GroupId([7; 32]);

    #[test]
    fn a_small_group_is_chosen_whole() {
        let mut groups = Groups::default();
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for id in 1..=5 {
            assert_eq!(groups.join(GROUP, SessionId(id)), id as usize);
        }
        assert_eq!(groups.join(GROUP, SessionId(5)), 5, "once only");
        let mut chosen = groups.choose(GROUP, 12, &mut random, |_| true);
        chosen.sort();
        assert_eq!(chosen, [1, 2, 3, 4, 5].map(SessionId));
        assert_eq!(groups.choose(GROUP, 12, &mut random, |id| id.0 == 3), [SessionId(3)]);
    }

    #[test]
    fn a_large_group_in_part_and_without_repetition() {
        let mut groups = Groups::default();
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for id in 1..=1000 {
            groups.join(GROUP, SessionId(id));
        }
        let mut chosen = groups.choose(GROUP, 12, &mut random, |id| id != SessionId(1000));
        assert_eq!(chosen[..2], [SessionId(999), SessionId(998)]);
        chosen.sort();
        chosen.dedup();
        assert_eq!(chosen.len(), 12);
        assert!(chosen[0].0 < 500, "from all over the group: {chosen:?}");
    }

    #[test]
    fn those_that_fit_are_found_among_many_that_do_not() {
        let mut groups = Groups::default();
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for id in 1..=1000 {
            groups.join(GROUP, SessionId(id));
        }
        let chosen = groups.choose(GROUP, 12, &mut random, |id| id.0 % 3 == 0 && id.0 <= 700);
        assert_eq!(chosen.len(), 12);
        assert!(chosen.iter().all(|id| id.0 % 3 == 0 && id.0 <= 700), "{chosen:?}");
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
