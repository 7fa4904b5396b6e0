//! Recorded players that send directed messages: a group in the place of each one sends the same
//! messages to the same neighbors, reports the same events, and prints the same coverage.

use crate::support::account::Act;
use crate::support::player::{Hints, Player};
use crate::support::replay::Replay;
use rtmfp::proto::group::FlowKind;

/// The order of messages to several neighbors is compared too, in which sendToAllNeighbors has an
/// order of its own.
fn replay(name: &'static str, letter: &str) {
    let player = Player::read(name, letter, Hints::default());
    let replay = Replay::run(&player);
    replay.same();
    let sent = |acts: &[(f64, usize, Act)]| -> Vec<(usize, Act)> {
        let is_routing = |act: &Act| matches!(act, Act::Sent(FlowKind::Routing, _));
        let routing = acts.iter().filter(|(_, _, act)| is_routing(act));
        routing.map(|(_, to, act)| (*to, act.clone())).collect()
    };
    let (ours, theirs) = (sent(&replay.account.acts), sent(&player.account.acts));
    assert!(theirs.len() >= 2 && player.account.counts.len() >= 2, "something to compare");
    assert_eq!(ours, theirs, "{name}, player {letter}");
}

#[test]
fn two_players() {
    replay("route-2players", "A");
    replay("route-2players", "B");
}

#[test]
fn three_players() {
    replay("route-3players", "A");
    replay("route-3players", "B");
    replay("route-3players", "C");
}
