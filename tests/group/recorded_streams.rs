//! Recorded players of streams: a group in the place of a player asks what the player asked, when it
//! did, and has what it had.

use crate::support::recording::{lines, message};
use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::{Hello, MembershipMessage, MulticastControl};
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, Group, GroupAction, GroupConfig, GroupEvent, GroupSpec,
    SubscriptionRules,
};
use rtmfp::proto::transport::{FlowAction, FlowId, FlowToken, SessionId, Time};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

fn time(line: &Value) -> Time {
    Time::from_micros((line["t"].as_f64().unwrap() * 1e6) as u64)
}

/// A message of the player or of the group in its place: when, in which session, what.
type Sent = (Time, SessionId, MulticastControl);

/// A group in the place of a player.
struct Stand {
    group: Group,
    now: Time,
    tokens: HashMap<(SessionId, FlowKind), FlowToken>,
    sessions: HashMap<FlowToken, (SessionId, FlowKind)>,
    sent: Vec<Sent>,
    events: Vec<(Time, GroupEvent)>,
}

impl Stand {
    fn new(neighbors: u32, start: Time, seed: u64) -> Self {
        let spec = GroupSpec::parse("G:0101010c020e7400").unwrap();
        let mut config = GroupConfig::new(spec, Fingerprint([1; 32]));
        config.multicast.subscription = SubscriptionRules::Observed;
        let mut stand = Self {
            group: Group::new(config, start, seed),
            now: start,
            tokens: HashMap::new(),
            sessions: HashMap::new(),
            sent: Vec::new(),
            events: Vec::new(),
        };
        (1..=neighbors).for_each(|number| stand.meet(SessionId(number)));
        stand
    }

    fn meet(&mut self, session: SessionId) {
        let far = Fingerprint([session.0 as u8 + 1; 32]);
        let address = "127.0.0.1:20000".parse().unwrap();
        let (near_nonce, far_nonce) = ([1; 32], [2; 32]);
        self.group.on_introduced(self.now, far, true);
        self.group.on_session_opened(self.now, session, far, true, near_nonce, far_nonce, address);
        self.drain();
        let config = self.group.config();
        let hello = MembershipMessage::Hello(Hello::new(&config.spec, &near_nonce, config.near));
        let flow = FlowId(u64::from(session.0));
        let verdict = self.group.on_hello(self.now, session, flow, &hello.to_bytes());
        assert_eq!(verdict, FlowVerdict::Accept);
        self.group.on_message(self.now, session, flow, Bytes::from_static(&[0x02]));
        self.drain();
    }

    fn open(&mut self, session: SessionId, flow: FlowId, kind: FlowKind, to: FlowKind) {
        let token = self.tokens[&(session, to)];
        let verdict = self.group.on_flow_opened(self.now, session, flow, kind, token);
        assert_eq!(verdict, FlowVerdict::Accept);
        self.drain();
    }

    fn advance(&mut self, to: Time) {
        while let Some(at) = self.group.poll_timeout().filter(|at| *at < to) {
            self.now = self.now.max(at);
            self.group.handle_timeout(self.now);
            self.drain();
        }
        self.now = to;
    }

    fn drain(&mut self) {
        while let Some(action) = self.group.poll_action() {
            let GroupAction::Flow { session, action } = action else { continue };
            match action {
                FlowAction::Open { token, metadata, .. } => {
                    let kind = FlowKind::from_metadata(&metadata).expect("a group's flow");
                    self.tokens.insert((session, kind), token);
                    self.sessions.insert(token, (session, kind));
                }
                FlowAction::Send { token, message, .. } => {
                    let (session, kind) = self.sessions[&token];
                    if kind == FlowKind::MulticastControl {
                        let parsed = MulticastControl::parse(&message).unwrap();
                        self.sent.push((self.now, session, parsed));
                    }
                }
                _ => {}
            }
        }
        let events = std::iter::from_fn(|| self.group.poll_event());
        self.events.extend(events.map(|event| (self.now, event)));
    }
}

/// A recording, and the place in it.
struct Recording {
    name: &'static str,
    /// Messages to the player, and from it.
    to: &'static str,
    from: &'static str,
    /// The sessions of the flows in the recording.
    sessions: &'static [(u64, u32)],
    neighbors: u32,
    stream: &'static str,
}

impl Recording {
    /// The session of a flow.
    fn session(&self, line: &Value) -> SessionId {
        let flow = line["flow"].as_u64().unwrap();
        let known = self.sessions.iter().find(|(known, _)| *known == flow);
        SessionId(known.map_or(1, |(_, session)| *session))
    }

    /// What the player sent on its control flows.
    fn sent(&self) -> Vec<Sent> {
        let lines = lines(self.name);
        let control = lines.iter().filter(|l| l["dir"] == self.from && l["meta"] == "475211");
        let sent = control.filter_map(|line| {
            let parsed = MulticastControl::parse(&message(line)?).unwrap();
            Some((time(line), self.session(line), parsed))
        });
        sent.collect()
    }

    /// Replays what came to the player, to a group with this seed.
    fn replay(&self, seed: u64) -> Stand {
        let lines = lines(self.name);
        let incoming: Vec<_> = lines
            .iter()
            .filter(|l| l["dir"] == self.to && (l["meta"] == "475211" || l["meta"] == "475212"))
            .collect();
        let mut stand = Stand::new(self.neighbors, time(incoming[0]), seed);
        stand.group.multicast_mut(stand.now).play(self.stream).unwrap();
        let mut open = std::collections::HashSet::new();
        for line in incoming {
            stand.advance(time(line));
            let (session, number) = (self.session(line), line["flow"].as_u64().unwrap());
            let flow = FlowId(1000 + number);
            let Some(message) = message(line) else { continue };
            if open.insert(number) {
                match line["meta"] == "475211" {
                    true => {
                        stand.open(session, flow, FlowKind::MulticastControl, FlowKind::Membership)
                    }
                    false => stand.open(
                        session,
                        flow,
                        FlowKind::MulticastData,
                        FlowKind::MulticastControl,
                    ),
                }
            }
            stand.group.on_message(stand.now, session, flow, message);
            stand.drain();
        }
        let end = time(lines.iter().rev().find(|l| l["t"].is_number()).unwrap());
        stand.advance(end.max(stand.now) + Duration::from_millis(100));
        stand
    }

    /// What a group sends that makes the player's random choices: the class and the neighbor that its
    /// subscriptions begin with.
    fn replay_alike(&self) -> Stand {
        let of = |sent: &[Sent]| masks(sent).first().cloned();
        let theirs = of(&self.sent());
        let stands = (0..200).map(|seed| self.replay(seed));
        let alike = stands.into_iter().find(|stand| of(&stand.sent) == theirs);
        alike.expect("a seed with the same beginning")
    }
}

fn masks(sent: &[Sent]) -> Vec<(SessionId, u8)> {
    let masks = sent.iter().filter_map(|(_, session, message)| match message {
        MulticastControl::Push(mask) => Some((*session, *mask)),
        _ => None,
    });
    masks.collect()
}

fn pulls(sent: &[Sent]) -> Vec<(Time, SessionId, u64)> {
    let pulls = sent.iter().filter_map(|(at, session, message)| match message {
        MulticastControl::Pull(number) => Some((*at, *session, *number)),
        _ => None,
    });
    pulls.collect()
}

/// The last map to each neighbor.
fn maps(sent: &[Sent]) -> HashMap<SessionId, MulticastControl> {
    let maps = sent.iter().filter(|(_, _, m)| matches!(m, MulticastControl::Map(_)));
    maps.map(|(_, session, map)| (*session, map.clone())).collect()
}

/// Compares a group with the player in whose place it is, and returns it.
fn compare(recording: &Recording) -> Stand {
    let (theirs, stand) = (recording.sent(), recording.replay_alike());
    let ours = &stand.sent;
    let name = recording.name;
    let first = |sent: &[Sent]| sent[0].2.clone();
    assert_eq!(first(ours), first(&theirs), "{name}: the description");
    assert_eq!(masks(ours), masks(&theirs), "{name}: the subscriptions");
    let (our_pulls, their_pulls) = (pulls(ours), pulls(&theirs));
    let what = |pulls: &[(Time, SessionId, u64)]| -> Vec<(SessionId, u64)> {
        pulls.iter().map(|(_, session, number)| (*session, *number)).collect()
    };
    assert_eq!(what(&our_pulls), what(&their_pulls), "{name}: the requests");
    for (ours, theirs) in our_pulls.iter().zip(&their_pulls) {
        let apart = ours.0.since(theirs.0).max(theirs.0.since(ours.0));
        assert!(apart.as_millis() < 60, "{name}: {} requested {apart:?} apart", ours.2);
    }
    assert_eq!(maps(ours), maps(&theirs), "{name}: the last maps");
    stand
}

fn codes(stand: &Stand) -> Vec<(&'static str, u64)> {
    let codes = stand.events.iter().map(|(at, event)| (event.code(), at.as_millis()));
    codes.filter(|(code, _)| code.contains("Multicast")).collect()
}

#[test]
fn the_player_of_a_stream_whose_publisher_ends_it() {
    let recording = Recording {
        name: "mc-publish-password",
        to: "A>B",
        from: "B>A",
        sessions: &[],
        neighbors: 1,
        stream: "s",
    };
    let stand = compare(&recording);
    let codes = codes(&stand);
    let expected = [
        ("NetGroup.MulticastStream.PublishNotify", 5069),
        ("NetStream.MulticastStream.Reset", 7703),
        ("NetGroup.MulticastStream.UnpublishNotify", 13_486),
    ];
    for ((ours, at), (theirs, then)) in codes.iter().zip(expected) {
        assert_eq!(*ours, theirs);
        assert!(at.abs_diff(then) < 60, "{theirs} at {at}, the player's at {then}");
    }
    assert_eq!(codes.len(), 3);
    let messages = stand.events.iter().filter(|(_, e)| e.code().is_empty());
    assert_eq!(messages.count(), 22, "20 calls and the two commands of the end");
}

#[test]
fn the_player_of_a_stream_that_offers_only_its_newest_fragment() {
    let recording = Recording {
        name: "mc-forged-source",
        to: "O>A",
        from: "A>O",
        sessions: &[],
        neighbors: 1,
        stream: "s",
    };
    let stand = compare(&recording);
    let reset = codes(&stand)[1];
    assert_eq!(reset.0, "NetStream.MulticastStream.Reset");
    assert!(reset.1.abs_diff(22_125) < 60, "after the whole window: {}", reset.1);
}

#[test]
fn the_player_between_a_source_and_a_subscriber() {
    let recording = Recording {
        name: "mc-scripted-source",
        to: "O>A",
        from: "A>O",
        sessions: &[(6, 1), (7, 1), (8, 2), (1_000_004, 1), (1_000_005, 2)],
        neighbors: 2,
        stream: "s",
    };
    let stand = compare(&recording);
    let codes = codes(&stand);
    assert_eq!(codes[2].0, "NetGroup.MulticastStream.UnpublishNotify");
    assert!(codes[2].1.abs_diff(27_885) < 60, "a window after the end: {}", codes[2].1);
}
