//! Arbitrary operations on a pair of endpoints, chosen by a seed or by a fuzzer: whatever is done,
//! reliable messages arrive once and in order, and nothing is left at the end.

use super::{Pair, millis, secs};
use rtmfp::proto::sim::{Link, SeededRandom};
use rtmfp::proto::transport::{Event, FlowId, FlowOptions, MessageOptions, Priority, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// Where decisions come from.
pub trait Choices {
    /// A number below `bound`; 0 if that is 0.
    fn below(&mut self, bound: u64) -> u64;

    /// True in about `percent` of a hundred cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// No further decision is left to take: operations end.
    fn is_over(&self) -> bool;
}

/// Decisions of a seed, for a number of operations.
pub struct Seeded {
    random: SeededRandom,
    decisions: u32,
}

impl Seeded {
    pub fn new(seed: u64, decisions: u32) -> Self {
        Self { random: SeededRandom::new(seed), decisions }
    }
}

impl Choices for Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.decisions = self.decisions.saturating_sub(1);
        self.random.below(bound)
    }

    fn is_over(&self) -> bool {
        self.decisions == 0
    }
}

/// A pair on a bad link does what `choices` say, comes to rest, and closes.
pub fn run(mut pair: Pair, choices: &mut impl Choices) {
    let (session, far) = pair.open();
    let mut ends = [End::new(pair.a, session), End::new(pair.b, far)];
    let mut port = 100;
    while !choices.is_over() {
        let at = choices.below(2) as usize;
        step(&mut pair, choices, &mut ends[at], &mut port);
        ends[at].take_events(&mut pair);
    }
    let node = if choices.below(2) == 0 { pair.a } else { pair.b };
    settle(&mut pair, ends);
    pair.close_and_check(node, pair.session(node));
}

/// What one end has sent on a flow, by message number: whether it must arrive.
#[derive(Default)]
struct Sent {
    messages: Vec<bool>,
    closed: bool,
    rejected: bool,
}

struct End {
    node: rtmfp::proto::sim::NodeId,
    session: SessionId,
    flows: BTreeMap<FlowId, Sent>,
    /// Flows of the far end that are paused.
    paused: BTreeSet<FlowId>,
    incoming: BTreeSet<FlowId>,
    received: BTreeMap<FlowId, Vec<u32>>,
    finished: BTreeSet<FlowId>,
    /// Flows of the far end that this end has rejected.
    rejections: BTreeSet<FlowId>,
    done: BTreeSet<FlowId>,
}

impl End {
    fn new(node: rtmfp::proto::sim::NodeId, session: SessionId) -> Self {
        Self {
            node,
            session,
            flows: BTreeMap::new(),
            paused: BTreeSet::new(),
            incoming: BTreeSet::new(),
            received: BTreeMap::new(),
            finished: BTreeSet::new(),
            rejections: BTreeSet::new(),
            done: BTreeSet::new(),
        }
    }

    fn take_events(&mut self, pair: &mut Pair) {
        for event in pair.events(self.node) {
            match event {
                Event::FlowOpened { flow, .. } => assert!(self.incoming.insert(flow), "twice"),
                Event::Message { flow, message, .. } => {
                    assert!(self.incoming.contains(&flow), "before its flow");
                    assert!(!self.finished.contains(&flow), "after its flow");
                    let (number, rest) = message.split_first_chunk::<4>().expect("a number");
                    let number = u32::from_be_bytes(*number);
                    assert!(rest.iter().all(|&byte| byte == number as u8), "mixed up");
                    self.received.entry(flow).or_default().push(number);
                }
                Event::FlowFinished { flow, .. } => assert!(self.finished.insert(flow), "twice"),
                Event::FlowRejected { flow, .. } => {
                    let sent = self.flows.get_mut(&flow).expect("a flow of this end");
                    assert!(!std::mem::replace(&mut sent.rejected, true), "reported twice");
                }
                Event::FlowDone { flow, .. } => assert!(self.done.insert(flow), "twice"),
                Event::Gap { flow, .. } => {
                    assert!(!self.finished.contains(&flow), "after its flow")
                }
                Event::Writable { .. } | Event::AddressChanged { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn pick<T: Copy>(choices: &mut impl Choices, from: impl Iterator<Item = T>) -> Option<T> {
    let all: Vec<T> = from.collect();
    all.get(choices.below(all.len() as u64) as usize).copied()
}

fn step(pair: &mut Pair, choices: &mut impl Choices, end: &mut End, port: &mut u16) {
    let (node, session) = (end.node, end.session);
    match choices.below(20) {
        0 | 1 if end.flows.len() < 12 => {
            let priority =
                [Priority::Bulk, Priority::Routine, Priority::Immediate][choices.below(3) as usize];
            let time_critical = choices.chance(20);
            let options =
                FlowOptions::default().with_priority(priority).with_time_critical(time_critical);
            let flow = pair.open_flow_with(node, session, b"flow", options);
            end.flows.insert(flow, Sent::default());
        }
        2..=9 => {
            let open = end.flows.iter().filter(|(_, s)| !s.closed && !s.rejected).map(|f| *f.0);
            let Some(flow) = pick(choices, open) else { return };
            let kind = match choices.below(6) {
                0 => MessageOptions::ONCE,
                1 => MessageOptions::RELIABLE.with_start_within(millis(100)),
                2 => MessageOptions::RELIABLE.with_finish_within(millis(400)),
                _ => MessageOptions::RELIABLE,
            };
            let sent = end.flows.get_mut(&flow).unwrap();
            let number = sent.messages.len() as u32;
            let mut message = number.to_be_bytes().to_vec();
            message.resize(4 + choices.below(5000) as usize, number as u8);
            // The far end may have rejected the flow without the event having been polled.
            let result =
                pair.network.act(node, |e, now| e.0.send(now, session, flow, message.into(), kind));
            if result.is_ok() {
                sent.messages.push(kind == MessageOptions::RELIABLE);
            }
        }
        10 => {
            let open = end.flows.iter().filter(|(_, s)| !s.closed && !s.rejected).map(|f| *f.0);
            if let Some(flow) = pick(choices, open).filter(|_| choices.chance(40)) {
                end.flows.get_mut(&flow).unwrap().closed = true;
                let _ = pair.network.act(node, |e, _| e.0.close_flow(session, flow));
            }
        }
        11 | 12 => {
            let Some(flow) = pick(choices, end.incoming.iter().copied()) else { return };
            let pause = !end.paused.remove(&flow) && end.paused.insert(flow);
            let _ = pair.network.act(node, |e, now| e.0.pause_flow(now, session, flow, pause));
        }
        13 if choices.chance(15) => {
            let Some(flow) = pick(choices, end.incoming.iter().copied()) else { return };
            end.take_events(pair);
            let rejected = pair.network.act(node, |e, _| e.0.reject_flow(session, flow, 5));
            if rejected.is_ok() {
                end.finished.insert(flow);
                end.rejections.insert(flow);
            }
        }
        // Only one end: if both moved at once, neither could find the other.
        14 if choices.chance(10) && node == pair.a => {
            *port += 1;
            pair.network.relocate(node, &format!("10.0.7.7:{port}"));
        }
        15 => pair.network.run_for(millis(choices.below(2000))),
        _ => pair.network.run_for(millis(choices.below(60))),
    }
}

/// Resumes and finishes everything, and compares.
fn settle(pair: &mut Pair, mut ends: [End; 2]) {
    pair.network.set_default_link(Link::bad());
    for _ in 0..3 {
        for end in &mut ends {
            end.take_events(pair);
            let (node, session) = (end.node, end.session);
            for flow in std::mem::take(&mut end.paused) {
                let _ = pair.network.act(node, |e, now| e.0.pause_flow(now, session, flow, false));
            }
            for (&flow, sent) in &mut end.flows {
                if !sent.closed && !sent.rejected {
                    sent.closed = true;
                    let _ = pair.network.act(node, |e, _| e.0.close_flow(session, flow));
                }
            }
        }
        pair.network.run_for(secs(120));
    }
    for end in &mut ends {
        end.take_events(pair);
        let session = pair.network[end.node].0.session(end.session).expect("still open");
        assert_eq!(session.flow_counts(), (0, 0), "flows are left");
        assert_eq!(session.outstanding(), 0);
    }
    for (near, far) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
        for (flow, sent) in &near.flows {
            assert!(near.done.contains(flow), "{flow} is not done");
            let received = far.received.get(flow).map_or(&[][..], |r| &r[..]);
            assert!(received.windows(2).all(|w| w[0] < w[1]), "{flow}: {received:?}");
            assert!(received.iter().all(|&i| (i as usize) < sent.messages.len()));
            if !far.rejections.contains(flow) {
                let must = (0..).zip(&sent.messages).filter(|(_, must)| **must).map(|(i, _)| i);
                let missing: Vec<u32> = must.filter(|i| !received.contains(i)).collect();
                assert!(missing.is_empty(), "{flow}: {missing:?}");
            }
        }
    }
}
