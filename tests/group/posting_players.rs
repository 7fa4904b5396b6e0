//! Recorded players that post: a group in the place of a player sends what the player sent, to the
//! same neighbors, at nearly the same time.

use crate::support::net::peer;
use crate::support::recording::{DIR, lines, message};
use crate::support::stand::Stand;
use bytes::Bytes;
use rtmfp::proto::group::message::PostingMessage;
use rtmfp::proto::group::{FlowKind, GroupConfig, MessageId, PostKey};
use rtmfp::proto::transport::Time;
use serde_json::Value;
use std::collections::BTreeMap;

/// The player informs one neighbor in 50 to 150 ms, and there are up to five.
const TOLERANCE: f64 = 0.8;

fn kind(line: &Value) -> Option<FlowKind> {
    match line["meta"].as_str()? {
        "475218" => Some(FlowKind::PostingKeys),
        "475219" => Some(FlowKind::PostingValues),
        _ => None,
    }
}

fn time(line: &Value) -> f64 {
    line["t"].as_f64().unwrap()
}

/// Whoever has the keys in another order says the same: the player's follows no rule.
fn normal(kind: FlowKind, message: Bytes) -> (FlowKind, Vec<u8>, Vec<PostKey>) {
    if kind == FlowKind::PostingKeys
        && let Ok(PostingMessage::Announce(list)) = PostingMessage::parse(message.clone())
    {
        let mut keys: Vec<_> = list.keys().collect();
        keys.sort();
        return (kind, vec![0x30], keys);
    }
    (kind, message.to_vec(), Vec::new())
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

/// What the player sent, and what a group in its place sends.
struct Replay {
    stand: Stand,
    recorded: Vec<(f64, usize, FlowKind, Bytes)>,
    /// The neighbors, by the number of the observer's membership flow or of one of its other flows.
    members: BTreeMap<u64, usize>,
}

impl Replay {
    fn run(name: &str, player: &str, (from, to): (&str, &str), end: f64) -> Self {
        let lines = lines(name);
        let spec = lines.iter().find_map(|line| {
            let event = line["event"].as_str().filter(|_| line["player"] == player)?;
            Some(event.strip_prefix("GROUPSPEC ")?.parse().unwrap())
        });
        let config = GroupConfig::new(spec.unwrap(), peer(0));
        let mut replay =
            Self { stand: Stand::new(config, 0), recorded: Vec::new(), members: BTreeMap::new() };
        let past: Vec<_> = lines.iter().filter(|line| time(line) <= end).cloned().collect();
        replay.meet(&past, from, to);
        let mut flows = BTreeMap::new();
        let values: BTreeMap<MessageId, Bytes> = lines
            .iter()
            .filter(|line| kind(line) == Some(FlowKind::PostingValues))
            .filter_map(message)
            .map(|value| (MessageId::of(&value), value))
            .collect();
        for line in lines.iter().filter(|line| time(line) <= end) {
            replay.stand.run_to(Time::from_micros((time(line) * 1e6) as u64));
            if line["ev"] == "hello-proof" && line["dir"] == from && time(line) > 30.0 {
                replay.stand.connect();
            }
            if line["ev"] == "flow" && line["dir"] == from && line["assocflow"].is_u64() {
                let of = replay.members[&line["assocflow"].as_u64().unwrap()];
                flows.insert(line["flow"].as_u64(), of);
            }
            let step = line["event"].as_str().filter(|_| line["player"] == player);
            if let Some(id) = step.and_then(|event| event.split(" -> ").nth(1)) {
                replay.post(step.unwrap(), id, &values);
            }
            let (Some(kind), Some(message)) = (kind(line), message(line)) else { continue };
            if line["dir"] == from {
                let to = flows[&line["flow"].as_u64()];
                replay.recorded.push((time(line), to, kind, message));
            } else if line["dir"] == to {
                let member = replay.members[&line["flow"].as_u64().unwrap()];
                replay.stand.hear(member, kind, message);
            }
        }
        replay.stand.run_to(Time::from_micros(((end + 0.5) * 1e6) as u64));
        replay
    }

    /// Makes a neighbor of each of the observer's identities.
    fn meet(&mut self, lines: &[Value], from: &str, to: &str) {
        let mut identities: Vec<_> = lines
            .iter()
            .filter(|line| line["ev"] == "flow" && line["dir"] == from)
            .filter_map(|line| line["assocflow"].as_u64())
            .collect();
        identities.sort();
        identities.dedup();
        for (number, identity) in identities.iter().enumerate() {
            self.members.insert(*identity, number);
        }
        for kind in ["475218", "475219"] {
            let opened = lines
                .iter()
                .filter(|line| line["ev"] == "flow" && line["dir"] == to && line["meta"] == kind);
            for (number, line) in opened.enumerate() {
                self.members.insert(line["flow"].as_u64().unwrap(), number);
            }
        }
        let later = lines
            .iter()
            .filter(|line| line["ev"] == "hello-proof" && line["dir"] == from && time(line) > 30.0);
        (later.count()..identities.len()).for_each(|_| self.stand.connect());
    }

    /// A logged post() of one or several values, of which the ID of the last was logged.
    fn post(&mut self, step: &str, id: &str, values: &BTreeMap<MessageId, Bytes>) {
        let Ok(id) = id.parse::<MessageId>() else { return };
        let mut words = step.split(' ').nth(1).unwrap().split(':').skip(1);
        let (call, count) = (words.next().unwrap(), words.next());
        if call == "posts" || call == "postk" {
            let count: usize = count.unwrap().parse().unwrap();
            if count > 1 {
                return;
            }
        }
        if let Some(value) = values.get(&id) {
            self.stand.post(value.clone());
        }
    }

    /// Compares what was sent. The keys of values that are not in the log are left out.
    fn compare(
        mut self,
        name: &str,
        least: usize,
        known: impl Fn(&(FlowKind, Vec<u8>, Vec<PostKey>)) -> bool,
    ) {
        let mut ours: Vec<_> = self
            .stand
            .sent
            .drain(..)
            .filter(|sent| sent.kind != FlowKind::Membership)
            .map(|sent| (sent.at.as_secs_f64(), sent.to, normal(sent.kind, sent.message)))
            .collect();
        let mut compared = 0;
        for (at, to, kind, message) in self.recorded {
            let recorded = normal(kind, message);
            if !known(&recorded) {
                continue;
            }
            let place = ours.iter().position(|(when, whom, what)| {
                *whom == to && *what == recorded && (when - at).abs() < TOLERANCE
            });
            let place = place.unwrap_or_else(|| panic!("{name}: at {at} to {to}: {recorded:02x?}"));
            ours.remove(place);
            compared += 1;
        }
        assert!(ours.is_empty(), "{name}: the player did not send {ours:02x?}");
        assert!(compared > least, "{name}: {compared}");
    }
}

/// Relays, requests, retries of 10 s, negative answers, posting again, a late neighbor. Until the
/// player chooses between two silent announcers otherwise than we do.
#[test]
fn the_player_among_four_scripted_neighbors() {
    // The values of these keys were posted by the player, and nobody asked for them.
    let unknown = ["06db8ef0077d4dc4", "29aa6ca7d7b88b10", "486e4f2fe9a6136f"];
    let replay = Replay::run("post-scripted", "A", ("A>O", "O>A"), 78.5);
    replay.compare("post-scripted", 30, |(_, _, keys)| {
        !keys.iter().any(|key| unknown.contains(&key.to_string().as_str()))
    });
}

/// Retention, duplicates and negative answers over 400 s.
#[test]
fn the_player_of_the_retention_trace() {
    let replay = Replay::run("post-retention", "A", ("A>O", "O>A"), 420.0);
    assert_eq!(replay.stand.received().len(), 9);
    replay.compare("post-retention", 20, |_| true);
}

/// Every AMF type, pushed or announced and requested.
#[test]
fn the_player_that_posts_every_type() {
    Replay::run("post-amf-types", "A", ("A>O", "O>A"), 21.0)
        .compare("post-amf-types", 10, |_| true);
}

/// A negative answer, upon which the next announcer is asked. Until the observer ends a flow.
#[test]
fn the_player_that_is_answered_negatively() {
    // The values of these keys were posted by the player, and nobody asked for them.
    let unknown = ["9122acd8f4f6535e", "851f7dd9e3ebbdba", "79f9c6dc3e9e6783"];
    let replay = Replay::run("post-negative-answer", "A", ("A>O", "O>A"), 25.0);
    replay.compare("post-negative-answer", 5, |(_, _, keys)| {
        !keys.iter().any(|key| unknown.contains(&key.to_string().as_str()))
    });
}
