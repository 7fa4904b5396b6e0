//! Comparison of a recorded player and a group in its place.

use super::account::{Account, Act};
use super::replay::Replay;
use bytes::Bytes;
use rtmfp::proto::group::{FlowKind, MessageId, PostKey};
use std::collections::BTreeSet;

/// Messages about choking, whose times are ours.
fn is_choking(message: &Bytes) -> bool {
    matches!(message[..], [0x16 | 0x17])
}

/// A message of posting, but for what is any: the order of the keys in an announcement, and the keys of
/// values that are not known, because nobody asked for them.
#[derive(Debug, PartialEq)]
struct Post {
    kind: FlowKind,
    message: Bytes,
    keys: Vec<PostKey>,
    unknown: usize,
}

impl Post {
    fn of(act: &Act, values: &[Bytes]) -> Option<Self> {
        let Act::Sent(kind, message) = act else { return None };
        if !matches!(kind, FlowKind::PostingKeys | FlowKind::PostingValues) {
            return None;
        }
        let post = Self { kind: *kind, message: message.clone(), keys: Vec::new(), unknown: 0 };
        if *kind == FlowKind::PostingValues || message.first() != Some(&0x30) {
            return Some(post);
        }
        let known: BTreeSet<_> = values.iter().map(|value| MessageId::of(value).key()).collect();
        let (mut keys, unknown): (Vec<_>, Vec<_>) =
            act.posted().into_iter().partition(|key| known.contains(key));
        keys.sort();
        Some(Self { message: Bytes::new(), keys, unknown: unknown.len(), ..post })
    }
}

/// What a group and the player in whose place it is have in common.
impl Replay<'_> {
    fn members(&self) -> std::ops::Range<usize> {
        0..self.player.members.len()
    }

    /// Hellos, modes and first reports.
    pub fn same_relations(&self) -> &Self {
        for to in self.members() {
            let (ours, theirs) = (self.account.relations(to), self.player.account.relations(to));
            assert_eq!(ours, theirs, "{}: to {to}", self.player.name);
        }
        self
    }

    /// Reports at ticks.
    pub fn same_reports(&self) -> &Self {
        assert_eq!(self.account.reports, self.player.account.reports, "{}", self.player.name);
        self
    }

    /// Messages of object replication, but for some.
    pub fn same_objects(&self, but: impl Fn(&Bytes) -> bool) -> &Self {
        for to in self.members() {
            let sent = |account: &Account| {
                let mut sent = account.sent(to, FlowKind::Replication);
                sent.retain(|message| !is_choking(message) && !but(message));
                sent
            };
            let (ours, theirs) = (sent(&self.account), sent(&self.player.account));
            assert_eq!(ours, theirs, "{}: to {to}", self.player.name);
        }
        self
    }

    /// Directed messages, and the results of all calls.
    pub fn same_routing(&self) -> &Self {
        for to in self.members() {
            let sent = |account: &Account| account.sent(to, FlowKind::Routing);
            assert_eq!(sent(&self.account), sent(&self.player.account), "{}", self.player.name);
        }
        assert_eq!(self.account.results, self.player.account.results, "{}", self.player.name);
        self
    }

    /// What differs in posts, requests for them and answers: they go to the same neighbors at nearly the
    /// same time, as each neighbor is informed in its turn, and the turns are random.
    pub fn different_posts(&self, tolerance: f64) -> Option<String> {
        let (theirs, mut ours) = (self.posts(&self.player.account), self.posts(&self.account));
        for (at, to, post) in &theirs {
            let place = ours.iter().position(|(when, whom, what)| {
                whom == to && what == post && (when - at).abs() < tolerance
            });
            match place {
                Some(place) => drop(ours.remove(place)),
                None => return Some(format!("the player alone, at {at} to {to}: {post:02x?}")),
            }
        }
        (!ours.is_empty()).then(|| format!("not the player: {ours:02x?}"))
    }

    pub fn posts_of_player(&self) -> usize {
        self.posts(&self.player.account).len()
    }

    fn posts(&self, account: &Account) -> Vec<(f64, usize, Post)> {
        let posts = account
            .acts
            .iter()
            .filter_map(|(at, to, act)| Some((*at, *to, Post::of(act, &self.player.values)?)));
        posts.collect()
    }

    /// Flows finished and rejected, but for those to one neighbor.
    pub fn same_ends(&self, but: Option<usize>) -> &Self {
        for to in self.members().filter(|to| Some(*to) != but) {
            let (ours, theirs) = (self.account.ended(to), self.player.account.ended(to));
            assert_eq!(ours, theirs, "{}: to {to}", self.player.name);
        }
        self
    }

    /// What is printed of neighbors, estimate and coverage.
    pub fn same_counts(&self) -> &Self {
        assert_eq!(self.account.counts, self.player.account.counts, "{}", self.player.name);
        self
    }

    /// The events of each kind, but for some kinds.
    pub fn same_events(&self, but: &[&str]) -> &Self {
        let codes: BTreeSet<_> =
            self.account.codes().union(&self.player.account.codes()).copied().collect();
        for code in codes.into_iter().filter(|code| !but.contains(code)) {
            let (ours, theirs) =
                (self.account.events_of(code), self.player.account.events_of(code));
            let name = self.player.name;
            match code.starts_with("NetGroup.Neighbor") {
                // Of several in a millisecond the order is any.
                true => {
                    let sorted = |mut events: Vec<_>| {
                        events.sort();
                        events.into_iter().map(str::to_owned).collect::<Vec<_>>()
                    };
                    assert_eq!(sorted(ours), sorted(theirs), "{name}");
                }
                false => assert_eq!(ours, theirs, "{name}"),
            }
        }
        self
    }

    /// Everything but posts and streams.
    pub fn same(&self) -> &Self {
        self.same_but_for_ends().same_ends(None)
    }

    pub fn same_but_for_ends(&self) -> &Self {
        self.same_relations().same_reports().same_objects(|_| false).same_routing();
        self.same_counts().same_events(&[])
    }
}
