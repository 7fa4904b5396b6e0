//! Recorded players of streams: a group in the place of a player subscribes, requests, holds and sends what
//! the player did, when it did.

use crate::support::account::{Account, Act};
use crate::support::player::{Hints, Player};
use crate::support::replay::{Replay, as_observed};
use bytes::Bytes;
use rtmfp::proto::group::FlowKind;
use rtmfp::proto::group::message::{MulticastControl, MulticastData};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Where a subscription begins is random, so some of these do as the player did.
const SEEDS: u64 = 4000;

/// How far the times of subscriptions are apart, which are at random intervals, at the end of a recording.
const DRIFT: f64 = 0.5;

/// How far the times of the same thing are apart: a player wakes up every 30 ms.
const APART: f64 = 0.06;

fn control(account: &Account) -> Vec<(f64, usize, MulticastControl)> {
    let control = account.acts.iter().filter_map(|(at, to, act)| match act {
        Act::Sent(FlowKind::MulticastControl, message) => {
            Some((*at, *to, MulticastControl::parse(message).unwrap()))
        }
        _ => None,
    });
    control.collect()
}

fn masks(account: &Account, end: f64) -> Vec<(f64, usize, u8)> {
    let masks = control(account).into_iter().filter_map(|(at, to, message)| match message {
        MulticastControl::Push(mask) if at <= end => Some((at, to, mask)),
        _ => None,
    });
    masks.collect()
}

/// Masks are the same, and at nearly the same times: they follow one another after about 2 s.
fn are_alike(ours: &[(f64, usize, u8)], theirs: &[(f64, usize, u8)]) -> bool {
    let mut pairs = ours.iter().zip(theirs);
    let is_same =
        |((at, to, mask), (then, also, theirs)): (&(f64, usize, u8), &(f64, usize, u8))| {
            (to, mask) == (also, theirs) && (at - then).abs() < DRIFT
        };
    ours.len() == theirs.len() && pairs.all(is_same)
}

fn pulls(account: &Account) -> Vec<(f64, usize, u64)> {
    let pulls = control(account).into_iter().filter_map(|(at, to, message)| match message {
        MulticastControl::Pull(number) => Some((at, to, number)),
        _ => None,
    });
    pulls.collect()
}

/// The last map to each neighbor.
fn maps(account: &Account) -> BTreeMap<usize, MulticastControl> {
    let control = control(account).into_iter();
    let maps = control.filter(|(_, _, message)| matches!(message, MulticastControl::Map(_)));
    maps.map(|(_, to, map)| (to, map)).collect()
}

fn descriptions(account: &Account) -> BTreeSet<(usize, Bytes)> {
    let control = control(account).into_iter();
    let described = control.filter_map(|(_, to, message)| match message {
        MulticastControl::Description(description) => Some((to, description.as_bytes().clone())),
        _ => None,
    });
    described.collect()
}

/// Names of events about streams, with their times.
fn events(account: &Account) -> Vec<(f64, &str)> {
    let events = account.events.iter().map(|(at, event)| (*at, event.as_str()));
    events.filter(|(_, event)| event.contains("MulticastStream")).collect()
}

/// A group that begins its subscriptions as the player did: that choice is random, all others follow.
fn alike(player: &Player) -> Replay<'_> {
    // What is asked for after the end of the stream serves nothing.
    let ended = events(&player.account).into_iter().find(|(_, event)| event.contains("Unpublish"));
    let end = ended.map_or(player.end, |(at, _)| at);
    let theirs = masks(&player.account, end);
    let replays = (0..SEEDS).map(|seed| Replay::run_as_chosen(player, seed));
    let mut alike = replays.filter(|replay| are_alike(&masks(&replay.account, end), &theirs));
    alike.next().unwrap_or_else(|| panic!("{}: no group subscribes as {theirs:?}", player.name))
}

/// Compares a subscriber with the group in its place, and the times of all but some requests.
fn compare(player: &Player, later: usize) -> Replay<'_> {
    let replay = alike(player);
    let (ours, theirs, name) = (&replay.account, &player.account, player.name);
    assert_eq!(descriptions(ours), descriptions(theirs), "{name}: the description");
    let first = pulls(theirs).first().map_or(0, |(_, _, number)| *number);
    // The player leaves out the beginning of a stream, and we do not.
    let times = |account: &Account| -> BTreeMap<u64, f64> {
        let pulls = pulls(account).into_iter().filter(|(_, _, number)| *number >= first);
        pulls.map(|(at, _, number)| (number, at)).collect()
    };
    let (our_pulls, their_pulls) = (times(ours), times(theirs));
    let numbers = |times: &BTreeMap<u64, f64>| times.keys().copied().collect::<Vec<_>>();
    assert_eq!(numbers(&our_pulls), numbers(&their_pulls), "{name}: the requests");
    let is_apart = |number: &&u64| (our_pulls[number] - their_pulls[number]).abs() > APART;
    let apart = our_pulls.keys().filter(is_apart).count();
    assert!(apart <= later, "{name}: {apart} requests at another time");
    replay
}

/// A subscriber and the group in its place hold the same fragments at the end.
fn compare_maps(replay: &Replay<'_>) {
    let (ours, theirs) = (&replay.account, &replay.player.account);
    assert_eq!(maps(ours), maps(theirs), "{}", replay.player.name);
}

/// The events of both, at nearly the same times.
fn compare_events(replay: &Replay<'_>, but: &str) {
    let name = replay.player.name;
    let of = |account: &Account| -> Vec<(f64, String)> {
        let events = events(account).into_iter().filter(|(_, event)| !event.starts_with(but));
        events.map(|(at, event)| (at, event.to_owned())).collect()
    };
    let (ours, theirs) = (of(&replay.account), of(&replay.player.account));
    for ((ours, event), (theirs, their_event)) in ours.iter().zip(&theirs) {
        assert_eq!(event, their_event, "{name}");
        // We doubt an end for 0.5 s if another neighbor has not named it.
        let doubt = if event.contains("UnpublishNotify") { 0.5 } else { 0.0 };
        let later = ours - theirs;
        let is_soon = -APART < later && later < APART + doubt;
        assert!(is_soon, "{name}: {event} at {ours}, the player's {theirs}");
    }
    assert_eq!(ours.len(), theirs.len(), "{name}");
}

fn read(name: &'static str, letter: &str, hints: Hints) -> Player {
    Player::read(name, letter, hints)
}

#[test]
fn the_player_of_a_stream_whose_publisher_ends_it() {
    let player = read("mc-publish-password", "B", Hints::default());
    let replay = compare(&player, 0);
    compare_events(&replay, "-");
    compare_maps(&replay);
}

/// Who lacks the password publishes nothing, and nobody learns of it.
#[test]
fn the_player_that_may_not_publish() {
    for letter in ["A", "B"] {
        let player = read("mc-publish-unauthorized", letter, Hints::default());
        let replay = Replay::run(&player);
        replay.same_relations().same_reports().same_events(&[]);
        assert!(control(&player.account).is_empty() && control(&replay.account).is_empty());
    }
}

#[test]
fn the_player_of_a_stream_that_offers_only_its_newest_fragment() {
    let player = read("mc-forged-source", "A", Hints::default());
    let replay = compare(&player, 0);
    compare_events(&replay, "-");
    compare_maps(&replay);
}

#[test]
fn the_player_between_a_source_and_a_subscriber() {
    let flows = &[(6, 0), (7, 0), (8, 1)];
    let player = read("mc-scripted-source", "A", Hints { flows, ..Hints::default() });
    let replay = compare(&player, 0);
    compare_events(&replay, "-");
    compare_maps(&replay);
}

/// In a group in which everything else goes on too. Its last maps are from when the first fragments are forgotten.
#[test]
fn the_player_of_a_stream_beside_everything_else() {
    let hints = Hints { end: Some(26.3), ..Hints::default() };
    let player = read("full-session", "B", hints);
    compare_events(&compare(&player, 0), "-");
}

/// Messages of 900 to 200,000 bytes. The player asks for two fragments half a second later than we do.
#[test]
fn the_player_of_messages_of_every_size() {
    let player = read("mc-fragment-sizes", "B", Hints::default());
    let replay = compare(&player, 2);
    compare_events(&replay, "-");
    compare_maps(&replay);
}

/// Maps to all neighbors every 0.5 s, requests after 1.25 s. We begin at the first fragment, and the player later.
#[test]
fn players_of_a_stream_with_other_settings() {
    for letter in ["B", "C"] {
        let player = read("mc-parameters", letter, Hints::default());
        let replay = compare(&player, 0);
        compare_events(&replay, "NetStream.MulticastStream.Reset");
        compare_maps(&replay);
    }
}

/// One that plays from the beginning, and one that relays before it plays.
#[test]
fn players_of_a_stream_among_three() {
    let lines: fn(&Value) -> bool = |line| line["t"].as_f64().unwrap() > 0.0;
    for letter in ["B", "C"] {
        let player = read("mc-3players", letter, Hints { lines: Some(lines), ..Hints::default() });
        let replay = compare(&player, 0);
        compare_events(&replay, "-");
        compare_maps(&replay);
    }
}

/// A fragment, but for the time of the two commands of the end: the player takes it from its clock, and we from
/// the last message.
fn without_time(message: &Bytes) -> Bytes {
    match MulticastData::parse(message) {
        Ok(MulticastData::Fragment(it)) if it.begins() && it.payload()[0] == 0x11 => {
            it.payload().iter().copied().skip(5).collect()
        }
        _ => message.clone(),
    }
}

/// A publisher describes its stream, and sends the same fragments to the same neighbors: those of
/// the classes that these have asked for, and those that they have requested.
#[test]
fn players_that_publish() {
    for name in ["mc-publish-password", "mc-fragment-sizes", "mc-parameters", "mc-3players"] {
        let lines: fn(&Value) -> bool = |line| line["t"].as_f64().unwrap() > 0.0;
        let player = read(name, "A", Hints { lines: Some(lines), ..Hints::default() });
        let mut config = as_observed(&player);
        if name == "mc-parameters" {
            config.multicast.push_neighbor_limit = 2;
            config.multicast.relay_margin = Duration::from_secs(3);
        }
        let replay = Replay::run_with(&player, config, 1);
        let described = |account: &Account| -> BTreeSet<(usize, Bytes)> {
            // The key, 32 bytes behind the name, is random.
            let without_key = |bytes: Bytes| -> Bytes {
                let name = usize::from(bytes[0]) + 1;
                bytes.iter().take(name + 2).chain(bytes.iter().skip(name + 34)).copied().collect()
            };
            let all = descriptions(account).into_iter();
            all.map(|(to, bytes)| (to, without_key(bytes))).collect()
        };
        let (ours, theirs) = (&replay.account, &player.account);
        assert_eq!(described(ours), described(theirs), "{name}");
        for to in 0..player.members.len() {
            let of = |account: &Account| -> BTreeSet<Bytes> {
                account.sent(to, FlowKind::MulticastData).iter().map(without_time).collect()
            };
            assert!(of(theirs).len() > 20, "{name}");
            assert_eq!(of(ours), of(theirs), "{name}: to {to}");
        }
    }
}
