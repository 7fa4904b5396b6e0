//! One run: members come, settle, and are measured.

use super::graph::Graph;
use super::net::Net;
use super::{Figures, Groups};
use bytes::Bytes;
use rtmfp::amf::{self, Encoded, Value};
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::{
    GroupAddress, GroupConfig, GroupEvent, GroupSpec, GroupSpecBuilder, MembershipRules,
    ReceiveMode,
};
use rtmfp::proto::transport::Time;
use std::collections::HashMap;
use std::time::Duration;

/// Members to which the server refers a new one: half of them the newest, as this crate's server.
const INTRODUCED: usize = 12;
/// Share of the members that vanish, and come, in a minute.
const CHURN: f64 = 0.05;
/// Between two postings.
const POST_EVERY: Duration = Duration::from_secs(5);
/// Between two messages to the nearest member.
const NEAREST_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at the graph.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A member counts in the graph from this age on, and for a posting.
const SETTLED: Duration = Duration::from_secs(5);
/// A member that has just come: perhaps those beside it on the ring do not know it yet.
const NEWCOMER: Duration = Duration::from_secs(30);
/// After the last posting, and after the last message, the run goes on for so long. Who is there for
/// this long after a posting should have got it.
const REST: Duration = Duration::from_secs(60);

struct Posting {
    at: Time,
    /// Those that were there, and when each got it.
    due: HashMap<usize, Option<Time>>,
}

struct Run<'a> {
    args: &'a Groups,
    rules: MembershipRules,
    spec: GroupSpec,
    net: Net,
    postings: Vec<Posting>,
    /// The destinations of the messages, and the nearest member at the time of sending.
    messages: Vec<(GroupAddress, usize)>,
    figures: Figures,
}

pub(super) fn run(args: &Groups, rules: MembershipRules, seed: u64) -> Figures {
    let builder = GroupSpecBuilder::new("bench").expect("a short name");
    let builder = builder.posting(true).routing(true).server_channel(true);
    let figures = Figures {
        members: 0,
        connected: 1.0,
        diameter: 0,
        neighbors: Vec::new(),
        due: 0,
        reached: 0,
        post_ms: Vec::new(),
        sent: 0,
        at_nearest: 0,
        newcomers: 0,
        hops: Vec::new(),
        bytes_per_member_per_s: 0.0,
        steps: 0,
    };
    let mut run = Run {
        args,
        rules,
        spec: builder.build().expect("a name and flags"),
        net: Net::new(seed),
        postings: Vec::new(),
        messages: Vec::new(),
        figures,
    };
    run.arrive();
    run.settle();
    run.measure();
    run.finish()
}

impl Run<'_> {
    fn arrive(&mut self) {
        let all = self.args.members;
        for number in 0..all {
            self.join();
            let at = Duration::from_secs(self.args.arrive.into()).mul_f64(f64::from(number + 1));
            self.go_to(Time::ZERO + at.div_f64(all.into()));
        }
    }

    fn settle(&mut self) {
        let end = self.net.now + Duration::from_secs(self.args.settle.into());
        self.go_with_churn_to(end);
    }

    fn measure(&mut self) {
        let start = self.net.now;
        let (bytes, length) = (self.net.bytes, Duration::from_secs(self.args.measure.into()));
        let (mut post, mut nearest, mut look) = (start, start, start);
        let mut next_change = self.change_after(start);
        while self.net.now < start + length {
            let next = post.min(nearest).min(look).min(next_change);
            self.go_to(next);
            if next == post {
                self.post();
                post += POST_EVERY;
            } else if next == nearest {
                self.send_to_nearest();
                nearest += NEAREST_EVERY;
            } else if next == look {
                self.look();
                look += LOOK_EVERY;
            } else {
                self.change();
                next_change = self.change_after(self.net.now);
            }
        }
        let sent = (self.net.bytes - bytes) as f64;
        let members = self.net.present.len() as f64;
        self.figures.bytes_per_member_per_s = sent / members / length.as_secs_f64();
        let end = self.net.now + REST;
        self.go_with_churn_to(end);
    }

    fn finish(mut self) -> Figures {
        self.look();
        self.figures.diameter = self.graph().diameter();
        self.figures.members = self.net.present.len();
        let present = self.net.present.iter().filter_map(|&m| self.net.members[m].as_ref());
        self.figures.neighbors =
            present.map(|member| member.group.neighbors().len() as u64).collect();
        for posting in &self.postings {
            for (member, got) in &posting.due {
                match got {
                    Some(at) => {
                        self.figures.due += 1;
                        self.figures.reached += 1;
                        let took = at.since(posting.at).as_millis() as u64;
                        self.figures.post_ms.push(took);
                    }
                    None if self.net.present.contains(member) => self.figures.due += 1,
                    None => {}
                }
            }
        }
        self.figures.sent = self.messages.len() as u64;
        self.figures
    }

    fn join(&mut self) {
        let mut id = [0; 32];
        for chunk in id.chunks_mut(8) {
            chunk.copy_from_slice(&self.net.random.below(u64::MAX).to_be_bytes());
        }
        let mut config = GroupConfig::new(self.spec.clone(), Fingerprint(id));
        config.server = Some(([192, 0, 2, 1], 1935).into());
        config.receive_mode = ReceiveMode::Nearest;
        config.membership = self.rules;
        if super::is_observed(self.net.members.len() as u32, self.args.observed, self.args.members)
        {
            config.membership = MembershipRules::Observed;
        }
        if config.membership == MembershipRules::Observed {
            config.max_neighbors = usize::MAX;
            config.max_members = usize::MAX;
        }
        let others = self.introduced();
        let number = self.net.join(config);
        others.into_iter().for_each(|whom| self.net.introduce(number, whom));
    }

    /// Whom the server names to a newcomer: it has asked who is there.
    fn introduced(&mut self) -> Vec<usize> {
        let present = &self.net.present;
        let mut chosen: Vec<usize> =
            present.iter().rev().copied().take(INTRODUCED.div_ceil(2)).collect();
        let all: Vec<usize> = present.iter().copied().collect();
        let count = INTRODUCED.min(all.len());
        while chosen.len() < count {
            let drawn = all[self.net.random.below(all.len() as u64) as usize];
            if !chosen.contains(&drawn) {
                chosen.push(drawn);
            }
        }
        chosen
    }

    /// When the next member vanishes and another comes.
    fn change_after(&mut self, now: Time) -> Time {
        if !self.args.churn {
            return Time::from_micros(u64::MAX);
        }
        let mean = 60.0 / (CHURN * f64::from(self.args.members));
        let wait = -mean * (1.0 - self.net.random.unit()).ln();
        now + Duration::from_secs_f64(wait)
    }

    fn change(&mut self) {
        let gone = self.draw();
        self.net.vanish(gone);
        self.join();
    }

    fn draw(&mut self) -> usize {
        let place = self.net.random.below(self.net.present.len() as u64) as usize;
        self.net.present.iter().nth(place).copied().expect("there is always somebody")
    }

    fn go_with_churn_to(&mut self, end: Time) {
        loop {
            let next = self.change_after(self.net.now);
            if next >= end {
                break;
            }
            self.go_to(next);
            self.change();
        }
        self.go_to(end);
    }

    fn go_to(&mut self, end: Time) {
        loop {
            let goes_on = self.net.step(end);
            while let Some((member, event)) = self.net.events.pop_front() {
                self.on_event(member, event);
            }
            if !goes_on {
                break;
            }
            self.figures.steps += 1;
        }
    }

    fn graph(&self) -> Graph {
        let (net, now) = (&self.net, self.net.now);
        let is_settled = |number: usize| {
            net.members[number].as_ref().is_some_and(|m| now.since(m.since) >= SETTLED)
        };
        Graph::of(net, is_settled)
    }

    fn look(&mut self) {
        let connected = self.graph().connected();
        self.figures.connected = self.figures.connected.min(connected);
    }

    fn post(&mut self) {
        let from = self.draw();
        let number = self.postings.len();
        let mut text = format!("post {number} ");
        text.extend(std::iter::repeat_n('.', usize::from(self.args.value) - 3 - text.len()));
        let value = encode(&text);
        let now = self.net.now;
        let due = self.net.present.iter().copied().filter(|&member| {
            let since = self.net.members[member].as_ref().map(|m| m.since);
            member != from && since.is_some_and(|since| now.since(since) >= SETTLED)
        });
        let due = due.map(|member| (member, None)).collect();
        self.postings.push(Posting { at: now, due });
        let posted = self.net.with(from, |group, now| group.posting_mut(now).post(value.into()));
        debug_assert!(posted.is_some_and(|result| result.is_ok()), "posting is enabled");
    }

    fn send_to_nearest(&mut self) {
        let from = self.draw();
        let mut destination = [0; 32];
        for chunk in destination.chunks_mut(8) {
            chunk.copy_from_slice(&self.net.random.below(u64::MAX).to_be_bytes());
        }
        let destination = GroupAddress(destination);
        let present = self.net.present.iter().copied();
        let address = |m: usize| self.net.members[m].as_ref().map(|m| m.group.address());
        let nearest = present.min_by_key(|&m| address(m).map(|a| a.distance(&destination)));
        self.messages.push((destination, nearest.unwrap_or(from)));
        self.pass(from, self.messages.len() - 1, 0);
    }

    /// Sends a message one hop on.
    fn pass(&mut self, from: usize, number: usize, hops: u64) {
        let destination = self.messages[number].0;
        let message = encode(&format!("to {number} {hops}"));
        let sent = self
            .net
            .with(from, |group, _| group.routing_mut().send_to_nearest(&destination, message));
        debug_assert!(sent.is_none_or(|result| result.is_ok()), "routing is enabled");
    }

    fn on_event(&mut self, member: usize, event: GroupEvent) {
        match event {
            GroupEvent::PostingNotify { message, .. } => {
                if let Some(&[number]) = decode(&message, "post").as_deref()
                    && let Some(posting) = self.postings.get_mut(number as usize)
                    && let Some(got) = posting.due.get_mut(&member)
                {
                    got.get_or_insert(self.net.now);
                }
            }
            GroupEvent::SendToNotify { message, from_local, .. } => {
                let Some(&[number, hops]) = decode(&message, "to").as_deref() else { return };
                if !from_local {
                    return self.pass(member, number as usize, hops + 1);
                }
                let nearest = self.messages[number as usize].1;
                let since = self.net.members[nearest].as_ref().map(|nearest| nearest.since);
                let is_newcomer = since.is_some_and(|at| self.net.now.since(at) < NEWCOMER);
                self.figures.at_nearest += u64::from(nearest == member);
                self.figures.newcomers += u64::from(nearest != member && is_newcomer);
                self.figures.hops.push(hops);
            }
            _ => {}
        }
    }
}

fn encode(text: &str) -> Bytes {
    amf::to_bytes(&Value::String(text.into())).expect("a short text")
}

/// The numbers of a text that begins with `kind`.
fn decode(message: &Encoded, kind: &str) -> Option<Vec<u64>> {
    let Ok(Value::String(text)) = message.decode() else { return None };
    let numbers = text.strip_prefix(kind)?.split_whitespace();
    Some(numbers.filter_map(|number| number.parse().ok()).collect())
}
