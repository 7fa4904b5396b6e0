//! Recorded players that post: a group in the place of a player sends what the player sent, to the
//! same neighbors, at nearly the same time.

use crate::support::player::{Hints, Player};
use crate::support::recording::{DIR, lines, message};
use crate::support::replay::{Replay, as_observed};
use rtmfp::proto::group::message::PostingMessage;
use rtmfp::proto::group::{FlowKind, MessageId};
use serde_json::Value;

/// The player informs one neighbor in 50 to 150 ms, and there are up to five.
const TOLERANCE: f64 = 0.8;

const SEEDS: u64 = 30;

fn kind(line: &Value) -> Option<FlowKind> {
    match line["meta"].as_str()? {
        "475218" => Some(FlowKind::PostingKeys),
        "475219" => Some(FlowKind::PostingValues),
        _ => None,
    }
}

#[test]
fn every_message_is_written_as_it_was_read() {
    let (mut keys, mut values, mut types) = (0, 0, [0; 3]);
    for entry in std::fs::read_dir(DIR).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".jsonl") else { continue };
        for line in lines(name) {
            let (Some(kind), Some(message)) = (kind(&line), message(&line)) else { continue };
            if kind == FlowKind::PostingKeys {
                let parsed = PostingMessage::parse(message.clone()).unwrap();
                assert_eq!(parsed.to_bytes(), message, "{line}");
                keys += 1;
                let known = [0x30, 0x3a, 0x3e].iter().position(|kind| message[0] == *kind);
                known.into_iter().for_each(|kind| types[kind] += 1);
            } else {
                values += 1;
            }
        }
    }
    assert!(
        keys > 250 && values > 300 && types.iter().all(|n| *n > 5),
        "{keys} {values} {types:?}"
    );
}

/// The values of the player are written by this crate to the same bytes, and the ID that post()
/// returned is theirs.
#[test]
fn every_value_and_id_is_the_players() {
    let (mut ids, mut values) = (Vec::new(), 0);
    for line in lines("post-amf-types") {
        if let Some(id) = line["event"].as_str().and_then(|event| event.split(" -> ").nth(1)) {
            ids.push(id.parse::<MessageId>().unwrap());
        }
        if kind(&line) == Some(FlowKind::PostingValues) {
            let Some(bytes) = message(&line) else { continue };
            let value = rtmfp::amf::from_bytes(bytes.clone()).unwrap();
            assert_eq!(rtmfp::amf::to_bytes(&value).unwrap(), bytes, "{value}");
            assert_eq!(ids.last(), Some(&MessageId::of(&bytes)), "{value}");
            values += 1;
        }
    }
    assert_eq!(values, 16);
}

/// A group in the place of a player, until a time. In whose turn a value arrives that a neighbor relays as
/// well decides whether that neighbor is informed of it, so one of several seeds does as the player did.
fn replay(name: &'static str, letter: &str, end: f64, least: usize) {
    let hints = Hints { end: Some(end), ..Hints::default() };
    let player = Player::read(name, letter, hints);
    let mut different = Vec::new();
    for seed in 0..SEEDS {
        let replay = Replay::run_with(&player, as_observed(&player), seed);
        let notified = "NetGroup.Posting.Notify";
        replay.same_relations().same_events(&[notified]);
        // The player delivers an empty message as well.
        let empty = format!("{notified} {}", MessageId::of(&[]));
        let mut theirs = player.account.events_of(notified);
        theirs.retain(|event| *event != empty);
        assert_eq!(replay.account.events_of(notified), theirs, "{name}");
        assert!(replay.posts_of_player() >= least, "{name}: {}", replay.posts_of_player());
        match replay.different_posts(TOLERANCE) {
            None => return,
            Some(post) => different.push(post),
        }
    }
    panic!("{name}, player {letter}: {}", different[0]);
}

/// Relays, requests, retries of 10 s, negative answers, posting again, a late neighbor. Until the
/// player chooses between two silent announcers otherwise than we do.
#[test]
fn the_player_among_four_scripted_neighbors() {
    replay("post-scripted", "A", 78.5, 30);
}

/// Retention, duplicates and negative answers over 400 s.
#[test]
fn the_player_of_the_retention_trace() {
    replay("post-retention", "A", 420.0, 20);
}

/// Every AMF type, pushed or announced and requested.
#[test]
fn the_player_that_posts_every_type() {
    replay("post-amf-types", "A", 40.0, 17);
}

/// Values of 17 bytes are announced, of 16 pushed. A negative answer, upon which the next announcer is asked. Until
/// the observer ends a flow.
#[test]
fn the_player_that_is_answered_negatively() {
    replay("post-negative-answer", "A", 25.0, 5);
}

/// Up to 16 values of up to 16 bytes are pushed, of 20 and more announced.
#[test]
fn the_player_at_the_limit_of_what_is_pushed() {
    replay("post-push-limit", "A", 60.0, 20);
}

#[test]
fn two_players_with_a_hundred_posts() {
    replay("post-basic", "A", 60.0, 20);
    replay("post-basic", "B", 60.0, 20);
}

/// Up to 300,005 bytes, and the same value again.
#[test]
fn players_with_posts_of_every_size() {
    replay("post-sizes", "A", 60.0, 13);
    replay("post-sizes", "B", 60.0, 5);
}

/// A player without the posting password relays, and sends nothing of its own.
#[test]
fn players_without_the_password() {
    replay("post-no-authorization", "A", 60.0, 1);
    replay("post-no-authorization", "B", 60.0, 0);
}

/// Until one asks another of two announcers than we do, and until one is gone.
#[test]
fn three_players_with_a_password() {
    for (letter, end) in [("A", 22.2), ("B", 15.5), ("C", 22.2)] {
        replay("post-3players-password", letter, end, 5);
    }
}
