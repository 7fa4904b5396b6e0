//! Recorded players that use a group in every way at once.

use crate::support::player::{Hints, Player};
use crate::support::replay::Replay;

/// The events of streams are compared in `recorded_streams`.
const STREAMS: [&str; 3] = [
    "NetGroup.MulticastStream.PublishNotify",
    "NetGroup.MulticastStream.UnpublishNotify",
    "NetStream.MulticastStream.Reset",
];

/// Objects, posts, directed messages, modes and a stream, until one of them closes its connection.
#[test]
fn two_players_in_a_group_with_everything() {
    for letter in ["A", "B"] {
        let hints = Hints { end: Some(26.3), ..Hints::default() };
        let player = Player::read("full-session", letter, hints);
        let replay = Replay::run(&player);
        replay.same_relations().same_reports().same_objects(|_| false).same_routing();
        replay.same_ends(None).same_counts().same_events(&STREAMS);
        assert_eq!(replay.different_posts(0.8), None);
        assert!(replay.posts_of_player() >= 5);
    }
}
