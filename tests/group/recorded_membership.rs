//! Recorded players as neighbors of others: a group in the place of each says hello, reports, drops and
//! finds again the same members.

use crate::support::account::Account;
use crate::support::player::{Hints, Player, Step};
use crate::support::replay::Replay;
use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::{FlowKind, GroupAddress};
use serde_json::Value;
use std::collections::BTreeSet;

fn read(name: &'static str) -> Player {
    Player::read(name, "A", Hints::default())
}

#[test]
fn the_player_with_a_bootstrap_peer() {
    Replay::run(&read("bootstrap-peer")).same();
}

/// Neighbors that finish their flows, and one whose session is lost. The reports after them have the
/// option of a player that lacks most of its neighbors.
#[test]
fn players_that_lose_neighbors_and_find_them_again() {
    let steps = vec![(8.672, Step::FarLeft(0))];
    let alone = Player::read("member-reconnect-1", "A", Hints { steps, ..Hints::default() });
    Replay::run(&alone).same();
    let steps = vec![(8.722, Step::FarLeft(0)), (8.722, Step::FarLeft(1))];
    let of_three = Player::read("member-reconnect-3", "A", Hints { steps, ..Hints::default() });
    Replay::run(&of_three).same();
}

/// A player leaves the group and joins it again as another member; the one that stays finds both, and has no
/// neighbor when it does.
#[test]
fn players_of_which_one_leaves_and_joins_again() {
    let leaving = Hints { end: Some(9.839), ..Hints::default() };
    let replay_of = |letter, hints| Player::read("member-leave-rejoin", letter, hints);
    Replay::run(&replay_of("A", leaving)).same();
    let staying = replay_of("B", Hints { end: Some(19.83), ..Hints::default() });
    let replay = Replay::run(&staying);
    replay.same_but_for_ends();
}

/// Each kind of flow is rejected by another neighbor. The rejections of `11` and `12`, of a stream that the player
/// publishes, do not end the neighbor; upon that of `12` the player ends the stream at that neighbor, which we
/// do when it is forgotten.
#[test]
fn the_player_whose_neighbors_reject_its_flows() {
    let player = Player::read("flow-reject-each", "A", Hints::default());
    let replay = Replay::run(&player);
    replay.same_but_for_ends().same_ends(Some(0));
    let ended = player.account.ended(0);
    assert_eq!(ended, ["finished MulticastControl", "rejected MulticastControl"]);
}

/// The end of `15`, `18` or `19` ends the neighbor, that of `1D` or `11` does not. To the neighbor that
/// has finished `11` the player finishes its own, which we do when the stream is forgotten.
#[test]
fn the_player_whose_neighbors_finish_their_flows() {
    let flows = &[(9, 0), (10, 1), (11, 2), (12, 3), (13, 4)];
    let player = Player::read("flow-finish-each", "A", Hints { flows, ..Hints::default() });
    let replay = Replay::run(&player);
    replay.same_but_for_ends().same_ends(Some(3));
    assert_eq!(player.account.ended(3), ["finished MulticastControl"]);
}

/// `11` in a group without streams, and a second `15`. A `15` that returns to no flow is rejected before it
/// comes to a group.
#[test]
fn the_player_that_rejects_flows() {
    let flows = &[(10, 1), (11, 1), (12, 1), (13, 1), (14, 1), (15, 1), (16, 1)];
    let player = Player::read("flow-rejections", "A", Hints { flows, ..Hints::default() });
    let replay = Replay::run(&player);
    replay.same_but_for_ends().same_ends(Some(0));
    let mut theirs = player.account.ended(0);
    assert_eq!(theirs.pop().as_deref(), Some("rejected Replication"));
    assert_eq!(replay.account.ended(0), theirs);
}

/// A second group over the same session has a membership flow of its own, to which its other flows
/// return; the end of the first leaves it alone.
#[test]
fn the_player_in_two_groups_over_one_session() {
    let lines: fn(&Value) -> bool = |line| !is_of_second_group(line);
    let first = Hints { lines: Some(lines), end: Some(9.9), ..Hints::default() };
    Replay::run(&Player::read("member-two-groups", "A", first)).same();

    let steps = vec![
        (2.9, Step::Introduced(0)),
        (5.919, Step::Call("g2:have:7:7".to_owned())),
        (6.9686, Step::Call("g2:post:lit:ingroup2".to_owned())),
    ];
    let lines: fn(&Value) -> bool = |line| {
        let is_event = line["event"].as_str().is_some_and(|event| !event.starts_with("GROUPSPEC"));
        let is_kept = line["dir"].is_null() || line["dir"] == "A>server";
        !is_event && (is_kept || is_of_second_group(line))
    };
    let hints = Hints { lines: Some(lines), steps, ..Hints::default() };
    let mut second = Player::read("member-two-groups", "A", hints);
    second.spec = "G:01020103010c030e673200".parse().unwrap();
    second.joined = 2.888;
    let id = "e99878150c79e79e3fd7f37958bc17bb12fd1e8d666f137d6ae12adc51694fd6";
    second.account.results.push(id.to_owned());
    let replay = Replay::run(&second);
    replay.same_relations().same_reports().same_objects(|_| false).same_ends(None);
    for player in [&second.account, &replay.account] {
        let posts = player.sent(0, FlowKind::PostingValues);
        assert_eq!(posts, [&b"\x02\0\x08ingroup2"[..]]);
    }
}

/// A line about flows of the second group in the recording of two.
fn is_of_second_group(line: &Value) -> bool {
    line["flow"].as_u64().is_some_and(|flow| flow == 6 || flow >= 1_000_006)
}

/// Neighbors that send a hello alone, late or with a wrong proof, one message after it, no reports, `0C`;
/// one that rejects the player's `15` each time, and one that leaves three times.
#[test]
fn the_player_among_neighbors_that_behave_in_odd_ways() {
    let rejected = [3.705, 18.585, 28.321, 33.619, 53.661, 68.341, 73.958, 83.609];
    let left = [28.68, 58.602, 93.33];
    let reject = |at| (at, Step::FarRejected { from: 8, kind: FlowKind::Replication });
    let leave = left.map(|at| (at, Step::FarLeft(7)));
    let steps = rejected.into_iter().map(reject).chain(leave).collect();
    // At 93.67 s we give up the neighbor that has sent nothing but its hello.
    let hints = Hints { wrong: &[5], steps, end: Some(93.5), ..Hints::default() };
    Replay::run(&Player::read("member-variants", "A", hints)).same();
}

/// Every type of message that a server could send: the player connects at once upon `0B`, at a tick upon
/// `1B`.
#[test]
fn the_player_whose_server_sends_messages_of_every_type() {
    Replay::run(&read("server-messages")).same();
}

/// Reports of fresh and old members, a second hello, unknown types.
#[test]
fn the_player_that_finds_a_member_by_a_report() {
    Replay::run(&read("member-reports")).same();
}

/// The members that the ring determines in the list of the one at `x`: the three next above and below, and
/// those nearest to `x` + 1/2, 1/4, 1/8 … of the ring.
fn determined(x: GroupAddress, members: &[Fingerprint]) -> BTreeSet<Fingerprint> {
    let address = |peer: &Fingerprint| GroupAddress::of(peer);
    let mut around: Vec<_> = members.iter().copied().filter(|peer| address(peer) != x).collect();
    around.sort_by_key(|peer| x.clockwise_to(&address(peer)));
    let fingers = (0..256).map(|exponent| x.plus_power_of_two(exponent));
    let nearest = |to: GroupAddress| around.iter().min_by_key(|peer| address(peer).distance(&to));
    let beside = around.iter().take(3).chain(around.iter().rev().take(3));
    beside.chain(fingers.filter_map(nearest)).copied().collect()
}

/// Whom a player wants for its neighbors, by all of its reports up to the first `0C`, with whom
/// a group in its place names in answer to the same neighbors. Beside those that the ring determines
/// they are six of the lowest round-trip time, all of 0 to 1 ms but in one recording, and a random one.
#[test]
fn the_lists_of_players_in_large_groups() {
    let mut alike = 0;
    for name in ["member-24", "member-24-close-on-0c", "member-32-latency", "member-60"] {
        let player = Player::read(name, "A", Hints { end: Some(96.0), ..Hints::default() });
        let members: Vec<_> = player.members.iter().map(|(peer, _)| *peer).collect();
        // Until the player in the largest group ends neighbors itself.
        let hints = Hints { end: Some(65.0), ..Hints::default() };
        let player = if members.len() > 32 { Player::read(name, "A", hints) } else { player };
        let replay = Replay::run(&player);
        replay.same_events(&[]).same_counts();
        assert!(player.account.reports.len() >= 4, "{name}");
        for (theirs, ours) in player.account.reports.iter().zip(&replay.account.reports) {
            let ((to, own, theirs), (also, also_own, ours)) = (theirs, ours);
            // Half of the members of one are behind a relay that delays, and see other addresses.
            assert!(to == also && (own == also_own || name == "member-32-latency"), "{name}");
            let determined = determined(GroupAddress::of(&members[*to]), &members);
            assert!(determined.is_subset(theirs) && determined.is_subset(ours), "{name} {to}");
            assert!(theirs.len().abs_diff(ours.len()) <= 1 && ours.len() >= 14, "{name} {to}");
            let apart = theirs.difference(ours).count().max(ours.difference(theirs).count());
            alike += usize::from(apart <= 1);
        }
    }
    assert!(alike >= 9, "{alike} lists are equal but for the random member");
}

/// The player sends `0C` to the members that its own list leaves out, 95 to 100 s after joining.
#[test]
fn the_player_that_does_not_need_eight_of_24_members() {
    let player = Player::read("member-24", "A", Hints::default());
    let replay = Replay::run(&player);
    replay.same_events(&[]).same_counts();
    let refused = |account: &Account| -> BTreeSet<usize> {
        let is_refused = |to: &usize| {
            account.sent(*to, FlowKind::Membership).contains(&Bytes::from_static(&[0x0c]))
        };
        (0..24).filter(is_refused).collect()
    };
    let (theirs, ours) = (refused(&player.account), refused(&replay.account));
    assert!(theirs.len().abs_diff(ours.len()) <= 1);
    assert!(theirs.difference(&ours).count() <= 1, "{theirs:?} {ours:?}");
}
