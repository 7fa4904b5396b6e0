//! The choice of neighbors, the member estimate and the coverage. Pure functions, as observed from
//! Flash Player (`protocol-notes/netgroup-membership.md`, topology).

use crate::group::GroupAddress;
use std::collections::BTreeMap;
use std::time::Duration;

/// The most other members with which a group is a full mesh.
pub(super) const FULL_MESH: usize = 13;

/// Members wanted next above and next below on the ring, each.
const ADJACENT: usize = 3;

/// Members wanted for their low round-trip time.
const NEARBY: usize = 6;

/// Members by their addresses, of which some count as candidates.
pub(super) struct Candidates<'a, M, F> {
    ring: &'a BTreeMap<GroupAddress, M>,
    is_candidate: F,
}

/// What is chosen beside the places on the ring.
pub(super) struct Others<'a, M> {
    /// The round-trip times that the choosing node has measured, the lowest first.
    pub(super) rtts: &'a [(Duration, GroupAddress)],
    /// Any number, by which a member is drawn.
    pub(super) random: u64,
    /// True for those that may be chosen for these reasons.
    pub(super) may_choose: &'a dyn Fn(&M) -> bool,
}

impl<'a, M, F: Fn(&GroupAddress, &M) -> bool> Candidates<'a, M, F> {
    pub(super) const fn new(ring: &'a BTreeMap<GroupAddress, M>, is_candidate: F) -> Self {
        Self { ring, is_candidate }
    }

    /// From an address on in the increasing direction, once around the ring.
    fn up(&self, from: &GroupAddress) -> impl Iterator<Item = (&'a GroupAddress, &'a M)> {
        let around = self.ring.range(from..).chain(self.ring.range(..from));
        around.filter(|(address, member)| (self.is_candidate)(address, member))
    }

    /// From below an address on in the decreasing direction, once around the ring.
    fn down(&self, from: &GroupAddress) -> impl Iterator<Item = (&'a GroupAddress, &'a M)> {
        let around = self.ring.range(..from).rev().chain(self.ring.range(from..).rev());
        around.filter(|(address, member)| (self.is_candidate)(address, member))
    }

    fn get(&self, address: &GroupAddress) -> Option<(&'a GroupAddress, &'a M)> {
        let (address, member) = self.ring.get_key_value(address)?;
        (self.is_candidate)(address, member).then_some((address, member))
    }
}

impl<M> Others<'_, M> {
    /// The candidates with the lowest round-trip times, beside those that were chosen already.
    fn nearby<'a, F: Fn(&GroupAddress, &M) -> bool>(
        &self,
        x: &GroupAddress,
        candidates: &Candidates<'a, M, F>,
        chosen: &Chosen<'a, M>,
    ) -> Vec<(&'a GroupAddress, &'a M)> {
        let mut nearby = Vec::with_capacity(NEARBY);
        let mut longest = Duration::ZERO;
        for (rtt, at) in self.rtts {
            if nearby.len() >= NEARBY && *rtt > longest {
                break;
            }
            let member = candidates.get(at).filter(|(_, member)| (self.may_choose)(member));
            if let Some(member) = member.filter(|_| !chosen.contains(at)) {
                longest = *rtt;
                nearby.push((*rtt, member));
            }
        }
        let opposite = x.plus_power_of_two(255);
        nearby.sort_by_cached_key(|(rtt, (at, _))| (*rtt, at.distance(&opposite)));
        nearby.into_iter().take(NEARBY).map(|(_, member)| member).collect()
    }
}

/// The members that the member at `x` should have as neighbors.
///
/// In a small group ([`FULL_MESH`]), all of them. Otherwise the three next above and below, the
/// nearest to `x + 2^(256-k)` for k = 1, 2, 3, …, of the others the six with the lowest round-trip
/// times (if equal, those nearest to the opposite side of the ring), and one at random: the next one
/// above a point on the ring, so that it remains when others come and go. The candidates should not
/// contain `x` itself nor, in a list for another member, the choosing node.
///
/// The cost grows with the logarithm of the number of members, if most are candidates.
pub(super) fn wanted<'a, M, F: Fn(&GroupAddress, &M) -> bool>(
    x: &GroupAddress,
    candidates: &Candidates<'a, M, F>,
    others: &Others<'_, M>,
) -> Vec<&'a M> {
    let few: Vec<_> = candidates.up(x).take(FULL_MESH + 1).collect();
    let Some((nearest_above, _)) = few.first().filter(|_| few.len() > FULL_MESH) else {
        return few.into_iter().map(|(_, member)| member).collect();
    };
    let mut chosen = Chosen(Vec::with_capacity(32));
    few.iter().take(ADJACENT).for_each(|&member| chosen.add(member));
    candidates.down(x).take(ADJACENT).for_each(|member| chosen.add(member));

    let to_nearest = x.clockwise_to(nearest_above);
    for exponent in (0..256).rev() {
        let finger = x.plus_power_of_two(exponent);
        // The nearest is the next one above or the next one below it, around the ring.
        let beside = [candidates.down(&finger).next(), candidates.up(&finger).next()];
        let rank = |(at, _): &(&GroupAddress, &M)| (at.distance(&finger), x.clockwise_to(at));
        beside.into_iter().flatten().min_by_key(rank).into_iter().for_each(|it| chosen.add(it));
        // A finger closer than the next member above can only name that member or the one below.
        if x.clockwise_to(&finger) <= to_nearest {
            break;
        }
    }

    others.nearby(x, candidates, &chosen).into_iter().for_each(|member| chosen.add(member));
    let is_left =
        |(at, member): &(&GroupAddress, &'a M)| !chosen.contains(at) && (others.may_choose)(member);
    let left = candidates.up(&x.ahead_by(others.random)).find(is_left);
    left.into_iter().for_each(|member| chosen.add(member));
    chosen.0.into_iter().map(|(_, member)| member).collect()
}

/// What was chosen, without repetitions; it is little.
struct Chosen<'a, M>(Vec<(&'a GroupAddress, &'a M)>);

impl<'a, M> Chosen<'a, M> {
    fn contains(&self, address: &GroupAddress) -> bool {
        self.0.iter().any(|(at, _)| *at == address)
    }

    fn add(&mut self, member: (&'a GroupAddress, &'a M)) {
        if !self.contains(member.0) {
            self.0.push(member);
        }
    }
}

/// The candidates next above and below `x`, which should not be among them.
pub(super) fn adjacent<'a, M, F: Fn(&GroupAddress, &M) -> bool>(
    x: &GroupAddress,
    candidates: &Candidates<'a, M, F>,
) -> Vec<&'a M> {
    let mut chosen = Chosen(Vec::with_capacity(2 * ADJACENT));
    candidates.up(x).take(ADJACENT).for_each(|member| chosen.add(member));
    candidates.down(x).take(ADJACENT).for_each(|member| chosen.add(member));
    chosen.0.into_iter().map(|(_, member)| member).collect()
}

/// The estimated number of members, this node included, by the density of the connected `neighbors`
/// around `own`. Exactly Flash's `estimatedMemberCount`.
pub(super) fn estimated_member_count(own: &GroupAddress, neighbors: &[GroupAddress]) -> f64 {
    let mut order = neighbors.to_vec();
    order.sort_by_key(|n| own.clockwise_to(n));
    match order.as_slice() {
        [_, above, .., below, _] => {
            let distance = below.clockwise_to(above).as_f64();
            2f64.powi(256) / (distance / 4.0) + 1.0
        }
        few => few.len() as f64 + 1.0,
    }
}

/// The part of the ring, in increasing direction, for which a node in receive mode NEAREST is
/// responsible: Flash's `localCoverageFrom` and `localCoverageTo`.
///
/// `nearest` are the neighbors in that mode. In mode EXACT both limits are the own address.
pub(super) fn local_coverage(
    own: &GroupAddress,
    nearest: &[GroupAddress],
) -> (GroupAddress, GroupAddress) {
    let below = own.next_decreasing(nearest.iter().copied());
    let above = own.next_increasing(nearest.iter().copied());
    match (below, above) {
        (Some(below), Some(above)) => (below.midpoint_to_rounded_up(own), own.midpoint_to(&above)),
        _ => {
            let from = own.plus_power_of_two(255);
            let whole = (1..=255).map(|i| 255 - i).fold(*own, |to, i| to.plus_power_of_two(i));
            (from, whole)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn addresses(texts: &[&str]) -> Vec<GroupAddress> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    /// Printed by Flash Player 10.3 together with its neighbors.
    #[test]
    fn estimates_of_the_player() {
        let own =
            "bafc641cf783a848dc5cd2265dd37071956883eca8fe0295f9b0a0ef54e3eef6".parse().unwrap();
        let seven = addresses(&[
            "c4adc7b489fdea8c898c327531f937aa762c4efbf79e60869d69f486494d5e78",
            "881637964c10516d4c4bfe489a99a90896fdb80b5a0e61c99b181beddf842b14",
            "381f623554625b92ab06c5aebc067b2fc27a81abaf322f7a573809fbfd9690c0",
            "fead7865612cb05381fbefca71935f822adbb077fca92998f61d4f1adba92283",
            "dfb0886068ffc7d14a40ab65f1a7770545aa48bede8d2d02d245be999611b67f",
            "fdf38e3037b8b84dffcc0440d9b3c6aee66bd5cf9ac573729f7ba42784c1e098",
            "4c17afe085952ad40c8968a3419dba82080632fbe18e28cb02be71e0e97bc8c8",
        ]);
        assert!((estimated_member_count(&own, &seven) - 7.93780787333318).abs() < 1e-13);

        let own =
            "5007c8dd4613cf273c8c547f158d74f927cf9f52d7fc070b893116c60926f8e1".parse().unwrap();
        let four = addresses(&[
            "084824bbf13776cb2f585e6f4c26e738f82fb96c672275d149780618f2620024",
            "93b6e7a0b0f42b72aeae254ce73a2f14f8b8776a3c7cc46b23ce1fe6b7580b24",
            "cbf4865a2d30012d5245ba406c34d8c394706b1e7f3b9d312c972c62d673bac5",
            "51de0cb56a6119a962f8899654b547e9134dcc47ccd777048871f64d8d96688a",
        ]);
        assert!((estimated_member_count(&own, &four) - 6.12616942678176).abs() < 1e-13);
        assert_eq!(estimated_member_count(&own, &four[..3]), 4.0);
        assert_eq!(estimated_member_count(&own, &[]), 1.0);
    }

    /// Printed by Flash Player 10.3 with two neighbors in the same mode.
    #[test]
    fn coverage_of_the_player() {
        let own =
            "a776bfe772e1d6ff40a3ab540257e2c95f6b988f63a72a1f40a75df483b7ffa1".parse().unwrap();
        let two = addresses(&[
            "4ddc37ecd4a0bfe6ba7122c0d5fa1810c49d7eaaa8d600e6204ad5fac652eab7",
            "9f0164b4d24dc7fee789131c397c42e97d648c0304adf7d0d36d7b090df3e89e",
        ]);
        let limits = addresses(&[
            "a33c124e2297cf7f14165f381dea12d96e681249342a90f80a0a6c7ec8d5f420",
            "faa97bea23c14b72fd8a670a6c28fd6d12048b9d063e9582b07919f7a505752c",
        ]);
        assert_eq!(local_coverage(&own, &two), (limits[0], limits[1]));

        let own =
            "63c3ad3aee03bec4faea637a76115fed72a94698177b2d905a90247287f09178".parse().unwrap();
        let limits = addresses(&[
            "e3c3ad3aee03bec4faea637a76115fed72a94698177b2d905a90247287f09178",
            "e3c3ad3aee03bec4faea637a76115fed72a94698177b2d905a90247287f09177",
        ]);
        assert_eq!(local_coverage(&own, &[]), (limits[0], limits[1]));
    }

    /// `count` members with the addresses 1, 5, 9, … and their places.
    fn ring(count: u8) -> BTreeMap<GroupAddress, usize> {
        let address = |i: u8| GroupAddress([i.wrapping_mul(4) + 1; 32]);
        (0..count).map(|i| (address(i), usize::from(i))).collect()
    }

    fn others(rtts: &[(Duration, GroupAddress)], random: u64) -> Others<'_, usize> {
        Others { rtts, random, may_choose: &|_| true }
    }

    fn chosen(
        x: &GroupAddress,
        ring: &BTreeMap<GroupAddress, usize>,
        rtts: &[(Duration, GroupAddress)],
        random: u64,
    ) -> Vec<usize> {
        let all = Candidates::new(ring, |_, _| true);
        let mut chosen: Vec<_> =
            wanted(x, &all, &others(rtts, random)).into_iter().copied().collect();
        chosen.sort_unstable();
        chosen
    }

    #[test]
    fn small_groups_are_a_full_mesh() {
        let own = GroupAddress([0; 32]);
        assert_eq!(chosen(&own, &ring(13), &[], 5).len(), 13);
        assert!(chosen(&own, &ring(0), &[], 5).is_empty());
    }

    #[test]
    fn the_adjacent_members_are_the_next_on_both_sides() {
        let near = |x: u8, count: u8| {
            let ring = ring(count);
            let all = Candidates::new(&ring, |_, _| true);
            let mut near: Vec<_> =
                adjacent(&GroupAddress([x; 32]), &all).into_iter().copied().collect();
            near.sort_unstable();
            near
        };
        assert_eq!(near(0, 60), [0, 1, 2, 57, 58, 59]);
        assert_eq!(near(0, 4).len(), 4);
        assert_eq!(near(102, 60), [23, 24, 25, 26, 27, 28], "93, 97, 101, 105, …");
    }

    #[test]
    fn large_groups_follow_the_four_rules() {
        let own = GroupAddress([0; 32]);
        let members = ring(60);
        let few = chosen(&own, &members, &[], 0);
        for i in [0, 1, 2, 57, 58, 59, 32, 16, 8, 4] {
            assert!(few.contains(&i), "{i} in {few:?}");
        }
        assert!(few.len() <= 13, "{few:?}");
        let rtt = |i: u8| (Duration::from_millis(i.into()), GroupAddress([i * 4 + 1; 32]));
        let rtts = [20, 21, 22, 41, 42, 43, 44].map(rtt);
        let more = chosen(&own, &members, &rtts, 7);
        assert!([20, 21, 22, 41, 42, 43].iter().all(|i| more.contains(i)));
        assert!((16..=19).contains(&more.len()));
    }

    #[test]
    fn the_random_member_remains_while_others_come_and_go() {
        let own = GroupAddress([0; 32]);
        let random = u64::MAX / 60 * 36;
        let mut members = ring(60);
        let before = chosen(&own, &members, &[], random);
        let without = chosen(&own, &members, &[], 0);
        let drawn: Vec<_> = before.iter().filter(|i| !without.contains(i)).collect();
        assert_eq!(drawn, [&38], "the first one above 0x99");
        members.retain(|_, i| before.contains(i) || *i % 2 == 0);
        assert_eq!(chosen(&own, &members, &[], random), before);
    }

    #[test]
    fn some_are_chosen_for_their_places_only() {
        let own = GroupAddress([0; 32]);
        let ring = ring(60);
        let all = Candidates::new(&ring, |_, _| true);
        let rtts = [20, 21, 59].map(|i| (Duration::ZERO, GroupAddress([i * 4 + 1; 32])));
        let random = u64::MAX / 60 * 36;
        let others = Others { rtts: &rtts, random, may_choose: &|i| ![20, 38, 59].contains(i) };
        let chosen: BTreeSet<_> = wanted(&own, &all, &others).into_iter().copied().collect();
        assert!([21, 39, 59].iter().all(|i| chosen.contains(i)), "{chosen:?}");
        assert!(!chosen.contains(&20) && !chosen.contains(&38), "{chosen:?}");
    }

    #[test]
    fn only_candidates_are_chosen() {
        let own = GroupAddress([0; 32]);
        let ring = ring(60);
        let even = Candidates::new(&ring, |_, i| *i % 2 == 0);
        let rtts = [(Duration::ZERO, GroupAddress([5; 32]))];
        let chosen = wanted(&own, &even, &others(&rtts, 9));
        assert!(chosen.len() > 9 && chosen.iter().all(|i| **i % 2 == 0), "{chosen:?}");
    }
}
