//! The choice of neighbors, the member estimate and the coverage. Pure functions, as observed from
//! Flash Player (`protocol-notes/netgroup-membership.md`, topology).

use crate::group::GroupAddress;
use std::collections::BTreeSet;
use std::time::Duration;

/// The most other members with which a group is a full mesh.
pub(super) const FULL_MESH: usize = 13;

/// Members wanted next above and next below on the ring, each.
const ADJACENT: usize = 3;

/// Members wanted for their low round-trip time.
const NEARBY: usize = 6;

/// A member as known to the choosing node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its group address.
    pub(super) address: GroupAddress,
    /// Its round-trip time as measured by the choosing node, if there is a session.
    pub(super) rtt: Option<Duration>,
}

/// The members that the member at `x` should have as neighbors: positions in the slice `members`.
///
/// In a small group ([`FULL_MESH`]), all of them. Otherwise the three next above and below, the
/// nearest to `x + 2^(256-k)` for k = 1, 2, 3, …, of the others the six with the lowest round-trip time
/// (if equal, those nearest to the opposite side of the ring), and one at random (`random` is any
/// number). `members` should not contain `x` itself nor, in a list for another member, the choosing
/// node.
pub(super) fn wanted(x: &GroupAddress, members: &[Candidate], random: u64) -> BTreeSet<usize> {
    if members.len() <= FULL_MESH {
        return (0..members.len()).collect();
    }
    let address = |i: usize| members.get(i).map_or(*x, |m| m.address);
    let mut around: Vec<_> = (0..members.len()).map(|i| (x.clockwise_to(&address(i)), i)).collect();
    around.sort_unstable();
    let order: Vec<usize> = around.iter().map(|&(_, i)| i).collect();

    let above = order.iter().take(ADJACENT);
    let below = order.iter().rev().take(ADJACENT);
    let mut chosen: BTreeSet<usize> = above.chain(below).copied().collect();

    for exponent in (0..256).rev() {
        let finger = x.plus_power_of_two(exponent);
        let ahead = x.clockwise_to(&finger);
        // The nearest is the next one above or the next one below it, around the ring.
        let next = around.partition_point(|(distance, _)| *distance < ahead);
        let last = order.len() - 1;
        let beside = [next.checked_sub(1).unwrap_or(last), if next > last { 0 } else { next }];
        let beside = beside.into_iter().filter_map(|place| order.get(place).copied());
        chosen.extend(
            beside.min_by_key(|&i| (address(i).distance(&finger), x.clockwise_to(&address(i)))),
        );
        // A finger closer than the next member above can only name that member or the one below.
        if around.first().is_some_and(|(distance, _)| ahead <= *distance) {
            break;
        }
    }

    let opposite = x.plus_power_of_two(255);
    let others = order.iter().filter(|i| !chosen.contains(i));
    let mut measured: Vec<_> = others.filter_map(|&i| Some((members.get(i)?.rtt?, i))).collect();
    measured.sort_by_cached_key(|&(rtt, i)| (rtt, address(i).distance(&opposite)));
    chosen.extend(measured.iter().take(NEARBY).map(|&(_, i)| i));

    let left: Vec<_> = order.iter().filter(|i| !chosen.contains(i)).copied().collect();
    let drawn = random.checked_rem(left.len() as u64).and_then(|i| left.get(i as usize));
    chosen.extend(drawn);
    chosen
}

/// The members next above and below `x`: positions in the slice. `x` should not be among them.
pub(super) fn adjacent(x: &GroupAddress, members: &[GroupAddress]) -> BTreeSet<usize> {
    let mut around: Vec<_> =
        members.iter().enumerate().map(|(i, address)| (x.clockwise_to(address), i)).collect();
    let mut chosen = BTreeSet::new();
    if around.len() <= 2 * ADJACENT {
        return (0..around.len()).collect();
    }
    around.select_nth_unstable(ADJACENT);
    chosen.extend(around.iter().take(ADJACENT).map(|(_, i)| *i));
    let place = around.len() - ADJACENT;
    around.select_nth_unstable(place);
    chosen.extend(around.iter().skip(place).map(|(_, i)| *i));
    chosen
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

    fn ring(count: u8) -> Vec<Candidate> {
        (0..count)
            .map(|i| Candidate { address: GroupAddress([i.wrapping_mul(4) + 1; 32]), rtt: None })
            .collect()
    }

    #[test]
    fn small_groups_are_a_full_mesh() {
        let own = GroupAddress([0; 32]);
        assert_eq!(wanted(&own, &ring(13), 5).len(), 13);
        assert!(wanted(&own, &[], 5).is_empty());
    }

    #[test]
    fn the_adjacent_members_are_the_next_on_both_sides() {
        let addresses: Vec<_> = ring(60).iter().rev().map(|member| member.address).collect();
        let own = GroupAddress([0; 32]);
        let chosen: Vec<_> = adjacent(&own, &addresses).into_iter().collect();
        assert_eq!(chosen, [0, 1, 2, 57, 58, 59]);
        assert_eq!(adjacent(&own, &addresses[..4]).len(), 4);
        let within = GroupAddress([102; 32]);
        let chosen: Vec<_> = adjacent(&within, &addresses).into_iter().collect();
        assert_eq!(chosen, [31, 32, 33, 34, 35, 36], "125, 121, … 101, 97, …");
    }

    #[test]
    fn large_groups_follow_the_four_rules() {
        let own = GroupAddress([0; 32]);
        let mut members = ring(60);
        let chosen = wanted(&own, &members, 0);
        for i in [0, 1, 2, 57, 58, 59, 32, 16, 8, 4] {
            assert!(chosen.contains(&i), "{i} in {chosen:?}");
        }
        assert!(chosen.len() <= 13, "{chosen:?}");
        for i in [20, 21, 22, 41, 42, 43, 44] {
            members[i].rtt = Some(Duration::from_millis(i as u64));
        }
        let chosen = wanted(&own, &members, 7);
        assert!([20, 21, 22, 41, 42, 43].iter().all(|i| chosen.contains(i)));
        assert!((16..=19).contains(&chosen.len()));
    }
}
