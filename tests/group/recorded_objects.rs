//! Recorded players that fetch and serve objects: a group in the place of each announces, requests and
//! answers the same, in the same order. When a neighbor is unchoked is ours, and so is what becomes of
//! requests that are denied or not answered.

use crate::support::account::{Account, Act};
use crate::support::player::{Hints, Player, Step};
use crate::support::replay::Replay;
use bytes::Bytes;
use rtmfp::proto::group::FlowKind;
use std::collections::BTreeSet;

fn read(name: &'static str, letter: &str, end: f64) -> Player {
    Player::read(name, letter, Hints { end: Some(end), ..Hints::default() })
}

/// Everything of a player is ours, up to a time.
fn same(name: &'static str, letter: &str, end: f64) {
    Replay::run(&read(name, letter, end)).same();
}

#[test]
fn the_fetcher_and_the_holder_of_the_basic_recording() {
    for (letter, events) in [("A", "B"), ("B", "A")] {
        let hints = Hints { events: Some(events), ..Hints::default() };
        Replay::run(&Player::read("or-basic", letter, hints)).same();
    }
}

#[test]
fn players_that_had_sets_before_they_met() {
    same("or-initial-set", "A", 60.0);
    same("or-initial-set", "B", 60.0);
}

#[test]
fn three_players_that_ask_for_the_lowest_or_the_rarest_first() {
    for letter in ["A", "B", "C"] {
        same("or-3players-lowest", letter, 60.0);
        same("or-3players-rarest", letter, 60.0);
    }
}

#[test]
fn objects_of_every_type_and_denials() {
    same("or-types-deny", "A", 60.0);
    same("or-types-deny", "B", 60.0);
}

/// Nothing is asked again as long as nobody else has it: 320 s.
#[test]
fn holders_that_never_answer() {
    same("or-never-answer", "A", 400.0);
    same("or-never-answer", "B", 400.0);
    same("or-no-timeout", "A", 400.0);
}

/// Both until the holder's round of choking meets a request, which is ours. What was denied the player
/// asks for again at once, and we 0.5 s later.
#[test]
fn sets_that_change_while_objects_are_fetched() {
    same("or-removals-disconnect", "A", 21.71);
    let fetcher = read("or-removals-disconnect", "B", 35.7);
    let is_denied = |message: &Bytes| message[..] == [0x1a, 0x08];
    let replay = Replay::run(&fetcher);
    replay.same_relations().same_reports().same_objects(is_denied).same_ends(None);
    let result = "NetGroup.Replication.Fetch.Result";
    let (theirs, ours) = (fetcher.account.events_of(result), replay.account.events_of(result));
    assert_eq!(ours, theirs);
}

/// One request at a time is shown, of each of three requesters in turns, and all are answered in order.
#[test]
fn the_holder_with_three_requesters() {
    let steps = vec![(17.613, Step::FarLeft(2))];
    let hints = Hints { steps, ..Hints::default() };
    let holder = Player::read("or-serve-3-fetchers", "A", hints);
    let replay = Replay::run(&holder);
    replay.same_but_for_ends().same_ends(Some(2));
    let steps = vec![(18.477, Step::FarLeft(2))];
    let hints = Hints { steps, ..Hints::default() };
    let holder = Player::read("or-serve-never-answer", "A", hints);
    let replay = Replay::run(&holder);
    replay.same_but_for_ends().same_ends(Some(2));
}

/// The requests to a holder whose `15` flow or session ends fail, and go to the other at once.
#[test]
fn requests_to_a_holder_that_leaves_properly_go_to_another() {
    let steps = vec![(11.393, Step::FarFinished { from: 1, flow: 6 })];
    let hints = Hints { steps, ..Hints::default() };
    let fetcher = Player::read("or-holder-ends-15", "A", hints);
    Replay::run(&fetcher).same();
    let fetcher = read("or-holder-ends-session", "A", 60.0);
    Replay::run(&fetcher).same_but_for_ends();
}

/// If its `1C` ends first, or it rejects the fetcher's `15`, the player forgets the requests: no
/// event, and nobody else is asked. Ours go to the other holder.
#[test]
fn requests_to_a_holder_that_is_lost_in_another_way_are_stuck_with_the_player_alone() {
    let kind = FlowKind::Replication;
    for (name, step) in [
        ("or-holder-ends-1c", (11.389, Step::FarLeft(0))),
        ("or-holder-rejects", (11.43, Step::FarRejected { from: 0, kind })),
    ] {
        let at = step.0;
        Replay::run(&read(name, "A", at)).same();
        let hints = Hints { steps: vec![step], end: Some(17.0), ..Hints::default() };
        let fetcher = Player::read(name, "A", hints);
        let replay = Replay::run(&fetcher);
        let failed = "NetGroup.Replication.Fetch.Failed";
        assert!(fetcher.account.events_of(failed).is_empty());
        assert_eq!(replay.account.events_of(failed).len(), 4);
        let requests = |account: &Account| account.sent(1, kind).len();
        assert_eq!((requests(&fetcher.account), requests(&replay.account)), (2, 6), "{name}");
    }
}

#[test]
fn interest_that_comes_and_goes() {
    same("or-interest", "A", 20.4);
}

/// Three holders that unchoke at different times. Then one is lost by the end of `15`, another by that of `1C`,
/// and both come back to a player that has one neighbor of three left.
#[test]
fn requests_when_unchoked_after_waiting() {
    same("or-scripted-holders", "A", 19.19);
    let steps = vec![(50.669, Step::FarFinished { from: 2, flow: 9 }), (56.669, Step::FarLeft(0))];
    let flows = &[(7, 0), (8, 1), (9, 2), (12, 1), (13, 2)];
    let hints = Hints { steps, flows, ..Hints::default() };
    let fetcher = Player::read("or-scripted-holders", "A", hints);
    let replay = Replay::run(&fetcher);
    replay.same_relations().same_reports().same_ends(None);
    for code in ["NetGroup.Neighbor.Connect", "NetGroup.Neighbor.Disconnect"] {
        assert_eq!(replay.account.events_of(code), fetcher.account.events_of(code));
    }
}

/// A choke leaves the requests where they are, until another holder could take them.
#[test]
fn requests_to_a_holder_that_chokes() {
    same("or-choke-in-flight", "A", 16.7);
}

/// How many neighbors are unchoked after each change.
fn unchoked(account: &Account) -> Vec<(f64, BTreeSet<usize>)> {
    let mut now = BTreeSet::new();
    let mut after = Vec::new();
    for (at, to, act) in &account.acts {
        let Act::Sent(FlowKind::Replication, message) = act else { continue };
        let has_changed = match message[..] {
            [0x17] => now.insert(*to),
            [0x16] => now.remove(to),
            _ => false,
        };
        if has_changed {
            after.push((*at, now.clone()));
        }
    }
    after
}

/// Eight and more that are interested: four of them are served at a time, others every 10 s, never one that is
/// not interested. Which ones is random.
#[test]
fn at_most_four_are_unchoked_and_places_change_hands_every_ten_seconds() {
    for (name, interested) in
        [("or-choke-8-fetchers", 8), ("or-choke-latency", 8), ("or-choke-7-uploaders", 7)]
    {
        let holder = read(name, "A", 400.0);
        let replay = Replay::run_as_chosen(&holder, 1);
        replay.same_relations().same_events(&[
            "NetGroup.Replication.Request",
            "NetGroup.Replication.Fetch.SendNotify",
            "NetGroup.Replication.Fetch.Result",
        ]);
        let mut ever = [BTreeSet::new(), BTreeSet::new()];
        for (account, ever) in [&holder.account, &replay.account].into_iter().zip(&mut ever) {
            let changes = unchoked(account);
            // A change of several in one round is not at one instant.
            let settled = changes.iter().zip(changes.iter().skip(1));
            for ((at, served), (next, _)) in settled.filter(|((at, _), (next, _))| next - at > 1.0)
            {
                assert!(served.len() <= 4, "{name}: {served:?} from {at} to {next}");
            }
            let rounds: BTreeSet<_> = changes.iter().map(|(at, _)| (at / 10.0) as u64).collect();
            assert!(rounds.len() >= 2, "{name}: {rounds:?}");
            ever.extend(changes.into_iter().flat_map(|(_, served)| served));
        }
        assert_eq!(ever[0], ever[1], "{name}");
        assert!(ever[0].len() <= interested, "{name}");
    }
}

/// Two holders that unchoke upon each interest: every object is fetched once, from either, and its end is
/// announced to both.
#[test]
fn the_fetcher_between_two_holders() {
    let fetcher = read("or-choke-7-uploaders", "A", 400.0);
    let replay = Replay::run_as_chosen(&fetcher, 1);
    let fetched = |account: &Account| -> BTreeSet<String> {
        let events = account.events_of("NetGroup.Replication.Fetch.Result");
        events.into_iter().map(str::to_owned).collect()
    };
    assert!(fetched(&fetcher.account).len() > 100);
    assert_eq!(fetched(&replay.account), fetched(&fetcher.account));
    for to in 0..7 {
        let of = |account: &Account| {
            let mut sent = account.sent(to, FlowKind::Replication);
            sent.retain(|message| matches!(message[0], 0x10 | 0x11 | 0x14 | 0x15));
            sent
        };
        assert_eq!(of(&replay.account), of(&fetcher.account), "to {to}");
    }
}
