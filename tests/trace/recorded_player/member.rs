//! The player as a group's member: what it waits for, and the rules that a neighbor keeps.

use super::capture::{Fragment, Options};
use super::flows::begins;
use super::rules::Judge;
use super::session::{ANSWER, Verdict};
use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::{Hello, MembershipMessage, Proof, ReplicationMessage, Report};
use rtmfp::proto::group::{FlowKind, GroupSpec};
use rtmfp::proto::range::IndexSet;
use rtmfp::proto::transport::Time;
use rtmfp::wire::Origin;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Older records are ignored by the player.
const MAX_AGE: u64 = 300;

/// What a member knows of a neighbor.
#[derive(Debug)]
pub struct Member {
    pub spec: Option<GroupSpec>,
    pub near: Fingerprint,
    pub far: Fingerprint,
    pub address: SocketAddr,
    pub far_nonce: [u8; 32],
    pub near_nonce: [u8; 32],
    /// The player's membership flow, and that of the neighbor: relations may follow each other.
    near_flow: Option<u64>,
    far_flow: Option<u64>,
    hello_said: bool,
    hello: bool,
    accepted: bool,
    mode: bool,
    reports: u64,
    reported: bool,
    asked: Option<Time>,
    /// The player's last report, as an answer.
    answer: Option<Vec<u8>>,
    pub trade: Trade,
}

/// Object replication with a neighbor.
#[derive(Debug, Default)]
pub struct Trade {
    /// The Have set that the player announced.
    near_have: IndexSet,
    far_have: Option<IndexSet>,
    far_interested: bool,
    /// The neighbor may request.
    near_unchokes: bool,
    /// The player may request.
    far_unchokes: bool,
    near_requests: BTreeSet<u64>,
    far_requests: BTreeSet<u64>,
    pub objects: Vec<(u64, Bytes)>,
    pub denied: Vec<u64>,
    pub deltas: usize,
}

impl Member {
    pub fn new(
        spec: Option<GroupSpec>,
        [near, far]: [Fingerprint; 2],
        address: SocketAddr,
        near_nonce: [u8; 32],
        far_nonce: [u8; 32],
    ) -> Self {
        Self {
            spec,
            near,
            far,
            address,
            far_nonce,
            near_nonce,
            near_flow: None,
            far_flow: None,
            hello_said: false,
            hello: false,
            accepted: false,
            mode: false,
            reports: 0,
            reported: false,
            asked: None,
            answer: None,
            trade: Trade::default(),
        }
    }

    /// True if a fragment makes sense now.
    pub fn verdict(&self, fragment: &Fragment, metadata: &[u8]) -> Verdict {
        let Some(message) = begins(fragment) else { return Verdict::Say };
        match FlowKind::from_metadata(metadata) {
            Some(FlowKind::Membership) => self.membership_verdict(message),
            Some(FlowKind::Replication) => self.trade.verdict(message),
            _ => Verdict::Say,
        }
    }

    fn membership_verdict(&self, message: &[u8]) -> Verdict {
        match MembershipMessage::parse(&Bytes::copy_from_slice(message)) {
            Ok(MembershipMessage::Hello(_)) => Verdict::Say,
            Ok(MembershipMessage::Report(report)) if !report.asks() && self.reported => {
                Verdict::LeaveOut("reports that answered questions; they answer ours instead")
            }
            Ok(MembershipMessage::Report(_)) => Verdict::say_if(self.accepted || self.mode),
            _ => Verdict::say_if(self.hello),
        }
    }

    /// The message as it goes out: the hello with the proof for this session.
    pub fn rewrite(
        &mut self,
        now: Time,
        flow: u64,
        metadata: &[u8],
        message: Vec<u8>,
        judge: &mut Judge,
    ) -> Vec<u8> {
        if FlowKind::from_metadata(metadata) != Some(FlowKind::Membership) {
            return message;
        }
        match MembershipMessage::parse(&Bytes::copy_from_slice(&message)) {
            Ok(MembershipMessage::Hello(recorded)) => {
                self.hello_said = true;
                self.near_flow = Some(flow);
                judge.replayed("hello");
                let spec = self.spec.as_ref().expect("a member of a group");
                assert_eq!(recorded.group_id, spec.group_id());
                let hello = Hello::new(spec, &self.far_nonce, self.far);
                let bytes = MembershipMessage::Hello(hello).to_bytes();
                assert_eq!(bytes.len(), message.len());
                bytes.to_vec()
            }
            Ok(MembershipMessage::Report(report)) => {
                judge.replayed("report");
                self.reported = true;
                if report.asks() {
                    self.asked = Some(now);
                }
                let mut answer = report;
                answer.options.0.retain(|option| option.kind != 0);
                self.answer = Some(MembershipMessage::Report(answer).to_bytes().to_vec());
                message
            }
            _ => message,
        }
    }

    /// The player has finished a flow.
    pub fn finished(&mut self, flow: u64) {
        if self.near_flow == Some(flow) {
            (self.near_flow, self.hello_said, self.reported, self.asked) = Default::default();
            self.trade.begin_again();
        }
    }

    /// The player has sent something for the first time.
    pub fn sent(&mut self, metadata: &[u8], message: &[u8], judge: &mut Judge) {
        match FlowKind::from_metadata(metadata) {
            Some(FlowKind::Replication) => self.trade.sent(message, judge),
            Some(FlowKind::Membership) => {}
            Some(FlowKind::PostingKeys | FlowKind::PostingValues) => judge.replayed("posting"),
            Some(FlowKind::Routing) => judge.replayed("routing"),
            Some(_) => judge.replayed("multicast"),
            None => judge.replayed("stream messages"),
        }
    }

    pub fn flow_opened(&mut self, now: Time, flow: u64, options: &Options, judge: &mut Judge) {
        let kind = FlowKind::from_metadata(&options.metadata);
        let association = match kind {
            Some(FlowKind::Membership) => {
                self.far_flow = Some(flow);
                (self.hello, self.accepted, self.mode, self.reports) = Default::default();
                None
            }
            // Those of the player's streams, of which nothing is known here.
            Some(FlowKind::MulticastData) => options.association,
            Some(_) => self.near_flow,
            None => {
                let seen = || format!("{options:02x?}");
                judge.rule(
                    now,
                    "no flows of kinds that the player does not know or need",
                    false,
                    seen,
                );
                return;
            }
        };
        let kinds: &[u64] = if association.is_some() { &[0x00, 0x0a] } else { &[0x00] };
        judge.rule(
            now,
            "GR 1C is associated with nothing, others with the player's; no other options",
            options.association == association && options.kinds == kinds,
            || format!("{options:02x?}"),
        );
    }

    /// A whole message of the neighbor. The player sends the returned message at once.
    pub fn message(
        &mut self,
        now: Time,
        flow: u64,
        options: &Options,
        message: &[u8],
        judge: &mut Judge,
    ) -> Option<(u64, Vec<u8>)> {
        match FlowKind::from_metadata(&options.metadata) {
            Some(FlowKind::Membership) if self.far_flow != Some(flow) => None,
            Some(FlowKind::Membership) => self.membership(now, message, judge),
            Some(FlowKind::Replication) => {
                judge.rule(now, "trade begins after the relation is up", self.accepted, || {
                    format!("{message:02x?}")
                });
                self.trade.message(now, message, judge);
                None
            }
            _ => None,
        }
    }

    fn membership(&mut self, now: Time, bytes: &[u8], judge: &mut Judge) -> Option<(u64, Vec<u8>)> {
        let Ok(message) = MembershipMessage::parse(&Bytes::copy_from_slice(bytes)) else {
            judge.rule(now, "membership messages can be read", false, || format!("{bytes:02x?}"));
            return None;
        };
        if !std::mem::replace(&mut self.hello, true) {
            self.judge_hello(now, bytes, &message, judge);
            return None;
        }
        match message {
            MembershipMessage::Accepted => {
                judge.rule(
                    now,
                    "02 comes once, after the player's hello and before the mode",
                    self.hello_said && !self.accepted && !self.mode,
                    || format!("{self:?}"),
                );
                self.accepted = true;
            }
            MembershipMessage::Mode(_) => {
                judge.rule(now, "0E or 0F comes after 02", self.accepted, || format!("{self:?}"));
                self.mode = true;
            }
            MembershipMessage::Report(report) => return self.report(now, &report, judge),
            other => judge.rule(
                now,
                "no other membership messages",
                matches!(other, MembershipMessage::Unneeded),
                || format!("{other:?}"),
            ),
        }
        None
    }

    fn judge_hello(&self, now: Time, bytes: &[u8], message: &MembershipMessage, judge: &mut Judge) {
        let good = match (message, &self.spec) {
            (MembershipMessage::Hello(hello), Some(spec)) => {
                hello.group_id == spec.group_id()
                    && hello.receiver == self.near
                    && hello.proof == Proof::new(spec, &self.near_nonce)
                    && hello.unknown.is_empty()
            }
            _ => false,
        };
        judge.rule(
            now,
            "a hello of 137 bytes with the right proof comes first",
            good && bytes.len() == 137,
            || format!("{message:?}"),
        );
    }

    fn report(&mut self, now: Time, report: &Report, judge: &mut Judge) -> Option<(u64, Vec<u8>)> {
        judge.rule(now, "reports come after 02 and the mode", self.accepted && self.mode, || {
            format!("{self:?}")
        });
        let receiver = report.receiver_address();
        judge.rule(
            now,
            "a report has the player's address as seen",
            receiver.is_some_and(|a| a.socket == self.address && a.origin == Origin::Reflexive),
            || format!("{receiver:?}"),
        );
        let kinds: Vec<u64> = report.options.0.iter().map(|option| option.kind).collect();
        let expected: &[u64] = if report.asks() { &[0x00, 0x0d, 0x0a] } else { &[0x0d, 0x0a] };
        judge.rule(
            now,
            "a report has the player's options in the player's order",
            kinds == expected,
            || format!("{kinds:02x?}"),
        );
        let records = &report.records;
        judge.rule(
            now,
            "records name members by fingerprint, younger than 300 s, never the sender",
            records
                .iter()
                .all(|r| r.age < MAX_AGE && r.peer().is_some_and(|peer| peer != self.far)),
            || format!("{records:?}"),
        );
        judge.rule(
            now,
            "a report lists its receiver",
            records.iter().any(|r| r.peer() == Some(self.near)),
            || format!("{records:?}"),
        );
        self.reports += 1;
        if report.asks() {
            return self.near_flow.zip(self.answer.clone());
        }
        match self.asked.take() {
            Some(asked) => judge.rule(
                now,
                "a report that asks is answered at once",
                now.since(asked) <= ANSWER,
                || format!("after {:?}", now.since(asked)),
            ),
            None => judge.rule(
                now,
                "a report that nobody asked for is the first one",
                self.reports == 1,
                || format!("number {}", self.reports),
            ),
        }
        None
    }

    pub fn finish(&self, now: Time, judge: &mut Judge) {
        if self.hello_said {
            judge.rule(
                now,
                "the neighbor's relation comes up and is reported",
                self.reports > 0,
                || format!("{self:?}"),
            );
            judge.rule(
                now,
                "no report that asks is left without answer",
                self.asked.is_none(),
                || format!("{:?}", self.asked),
            );
            let open = &self.trade.near_requests;
            judge.rule(now, "every request of the player is answered", open.is_empty(), || {
                format!("{open:?}")
            });
        }
    }
}

impl Trade {
    /// The relation is over; what was traded is kept.
    fn begin_again(&mut self) {
        let Self { objects, denied, deltas, .. } = std::mem::take(self);
        *self = Self { objects, denied, deltas, ..Self::default() };
    }

    fn verdict(&self, message: &[u8]) -> Verdict {
        match ReplicationMessage::parse(Bytes::copy_from_slice(message)) {
            Ok(ReplicationMessage::Interested) => {
                Verdict::say_if(self.far_have.as_ref().is_some_and(|have| !have.is_empty()))
            }
            Ok(ReplicationMessage::NotInterested) => Verdict::say_if(self.near_requests.is_empty()),
            Ok(ReplicationMessage::Unchoke) => Verdict::say_if(self.far_interested),
            Ok(ReplicationMessage::Request(_)) => Verdict::say_if(self.far_unchokes),
            Ok(ReplicationMessage::Object { index, .. } | ReplicationMessage::Deny(index)) => {
                Verdict::say_if(self.far_requests.contains(&index))
            }
            _ => Verdict::Say,
        }
    }

    fn sent(&mut self, message: &[u8], judge: &mut Judge) {
        judge.replayed("object replication");
        match ReplicationMessage::parse(Bytes::copy_from_slice(message)) {
            Ok(ReplicationMessage::Have(list)) => {
                for range in list.ranges {
                    self.near_have.insert_range(range).unwrap();
                }
            }
            Ok(ReplicationMessage::Unhave(list)) => {
                for range in list.ranges {
                    self.near_have.remove_range(range).unwrap();
                }
            }
            Ok(ReplicationMessage::Choke) => self.near_unchokes = false,
            Ok(ReplicationMessage::Unchoke) => self.near_unchokes = true,
            Ok(ReplicationMessage::Request(index)) => drop(self.near_requests.insert(index)),
            Ok(ReplicationMessage::Object { index, .. } | ReplicationMessage::Deny(index)) => {
                self.far_requests.remove(&index);
            }
            _ => {}
        }
    }

    fn message(&mut self, now: Time, bytes: &[u8], judge: &mut Judge) {
        use ReplicationMessage as M;
        let seen = || format!("{bytes:02x?}");
        let Ok(message) = M::parse(Bytes::copy_from_slice(bytes)) else {
            return judge.rule(now, "trade messages can be read", false, seen);
        };
        if self.far_have.is_none() {
            let complete = match &message {
                M::Have(list) => {
                    let single = list.ranges.last().is_some_and(|r| r.start() == r.end());
                    list.trailing_zero == single
                }
                _ => false,
            };
            judge.rule(now, "the complete set comes first, with its last zero", complete, seen);
        }
        match message {
            M::Have(list) => {
                let first = self.far_have.is_none();
                let have = self.far_have.get_or_insert_with(IndexSet::new);
                if !first {
                    self.deltas += 1;
                    judge.rule(
                        now,
                        "a change is one range without a last zero",
                        list.ranges.len() == 1 && !list.trailing_zero,
                        seen,
                    );
                }
                for range in list.ranges {
                    have.insert_range(range).unwrap();
                }
            }
            M::Unhave(list) => {
                let have = self.far_have.get_or_insert_with(IndexSet::new);
                judge.rule(
                    now,
                    "a removal is one range without a last zero",
                    list.ranges.len() == 1 && !list.trailing_zero,
                    seen,
                );
                for range in list.ranges {
                    have.remove_range(range).unwrap();
                }
            }
            M::Interested | M::NotInterested => {
                let interested = message == M::Interested;
                judge.rule(
                    now,
                    "interest is announced when it changes",
                    interested != self.far_interested,
                    seen,
                );
                judge.rule(
                    now,
                    "interest needs something that the player has",
                    !interested || !self.near_have.is_empty(),
                    seen,
                );
                self.far_interested = interested;
            }
            M::Choke | M::Unchoke => {
                let unchokes = message == M::Unchoke;
                judge.rule(
                    now,
                    "choking is announced when it changes",
                    unchokes != self.far_unchokes,
                    seen,
                );
                self.far_unchokes = unchokes;
            }
            M::Request(index) => {
                judge.rule(
                    now,
                    "requests are made while unchoked, for what the player has, once",
                    {
                        self.near_unchokes
                            && self.near_have.contains(index)
                            && self.far_requests.insert(index)
                    },
                    seen,
                );
            }
            M::Object { index, value } => {
                judge.rule(
                    now,
                    "objects and refusals answer requests",
                    self.near_requests.remove(&index),
                    seen,
                );
                let held = self.far_have.as_ref().is_some_and(|have| have.contains(index));
                judge.rule(now, "an object is one that was announced", held, seen);
                self.objects.push((index, value));
            }
            M::Deny(index) => {
                judge.rule(
                    now,
                    "objects and refusals answer requests",
                    self.near_requests.remove(&index),
                    seen,
                );
                self.denied.push(index);
            }
            _ => judge.rule(now, "trade messages have types 10, 11 and 14 to 1A", false, seen),
        }
    }
}
