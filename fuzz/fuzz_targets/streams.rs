//! The ends of a stream outside of groups, with a far end that sends what it likes while the
//! application writes, flows fill up and are refused; and flows that wait for each other. Ends use no
//! flow that they have finished, and barriers lose nothing, repeat nothing and keep each flow's order.
//!
//! The input is a list of steps: a byte for what happens, a byte for the flow or kind, and an argument
//! with its length before it.
#![no_main]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rtmfp::amf::Value;
use rtmfp::proto::flash::stream::{ClientStream, Late, NetStreamEvent, Request, Subscriber};
use rtmfp::proto::flash::{
    Barriers, Body, FlowDecision, FlowDelivery, Format, Message, ObjectEncoding, UserControl,
};
use rtmfp::proto::transport::{FlowAction, FlowId, FlowInput, FlowToken};
use rtmfp::wire::vlu;

const ASKING: FlowToken = FlowToken(0);
const ANSWERING: FlowToken = FlowToken(1);
/// Flows of the far end that a player takes.
const MAX_FLOWS: usize = 8;
const FLOWS: u8 = 16;

fuzz_target!(|input: &[u8]| {
    let Some((&first, mut rest)) = input.split_first() else { return };
    let mut harness = Harness::new(first % 2 == 0);
    while let Some((&[step, number], after)) = rest.split_first_chunk() {
        let Ok((argument, after)) = vlu::parse_prefixed("step", after) else { break };
        rest = after;
        harness.step(step, number, Bytes::copy_from_slice(argument));
    }
    harness.barriers.open_all();
    harness.take_due();
    assert!(harness.barriers.is_idle());
    assert!(harness.expected.values().all(VecDeque::is_empty), "something was lost");
});

struct Harness {
    client: ClientStream,
    flows: BTreeSet<FlowId>,
    late: Late,
    subscriber: Subscriber,
    /// Our flows that are open.
    open: BTreeSet<FlowToken>,
    barriers: Barriers,
    /// What each flow has delivered to the barriers and is yet to come out.
    expected: BTreeMap<FlowId, VecDeque<FlowDelivery>>,
}

impl Harness {
    fn new(plays: bool) -> Self {
        let name = vec![Value::from("media")];
        let request = if plays { Request::Play(name) } else { Request::Publish(name) };
        let encoding = ObjectEncoding::Amf3;
        let client = ClientStream::open(request, 2, ASKING, None, encoding).expect("a short name");
        let late = Late::default();
        let subscriber = Subscriber::start("media", 2, FlowId(2), ANSWERING, &late);
        let (flows, open, expected) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let barriers = Barriers::default();
        let mut harness = Self { client, flows, late, subscriber, open, barriers, expected };
        harness.drain();
        assert_eq!(harness.open.len(), 2);
        harness
    }

    fn step(&mut self, step: u8, number: u8, argument: Bytes) {
        let flow = FlowId((number % FLOWS).into());
        match step % 16 {
            0 => self.client.on_message(&argument),
            1 => {
                if self.client.on_flow_opened(flow, &argument) == FlowDecision::Accept {
                    self.flows.insert(flow);
                }
            }
            2 => {
                if self.client.on_flow_opened(flow, b"TC\x04\x02") == FlowDecision::Accept {
                    self.flows.insert(flow);
                }
            }
            3 => {
                self.client.on_flow_finished(flow);
                self.flows.remove(&flow);
            }
            4 => self.client.on_flow_input(&flow_input(ASKING, number)),
            5 => self.client.write(&message(number, argument)),
            6 => {
                let name = String::from_utf8_lossy(&argument);
                let _ = self.client.command(&name, vec![Value::from(number > 127)]);
            }
            7 if argument.is_empty() => {
                self.client.close();
                assert!(self.client.is_over() && self.client.poll_event().is_none());
            }
            8 => drop(self.subscriber.on_message(&argument)),
            9 => {
                let message = message(number, argument);
                self.late.note(&message);
                self.subscriber.write(&message, &message.encode().into_bytes());
            }
            10 if self.open.contains(&ANSWERING) => {
                self.subscriber.on_flow_input(&flow_input(ANSWERING, number));
            }
            11 => {
                let again = Subscriber::start("media", 2, FlowId(2), FlowToken(9), &self.late);
                drop(again);
            }
            12 => self.deliver(flow, FlowDelivery::Message(argument)),
            13 => {
                let id = argument.first().copied().unwrap_or(0).into();
                let event = UserControl::FlowSync { id, count: (number >> 4).into() };
                let sync = Message::new(0, Body::UserControl(event)).encode().into_bytes();
                self.deliver(flow, FlowDelivery::Message(sync));
            }
            14 => self.deliver(flow, FlowDelivery::Finished),
            15 => {
                self.barriers.on_flow_rejected(flow);
                self.expected.remove(&flow);
                self.take_due();
            }
            _ => {}
        }
        self.drain();
    }

    fn deliver(&mut self, flow: FlowId, delivery: FlowDelivery) {
        let is_barrier = matches!(&delivery, FlowDelivery::Message(message)
            if Barriers::sync_of(message).is_some());
        if !is_barrier {
            self.expected.entry(flow).or_default().push_back(delivery.clone());
        }
        self.barriers.on_delivery(flow, delivery);
        self.take_due();
    }

    fn take_due(&mut self) {
        while let Some((flow, delivery)) = self.barriers.poll() {
            let expected = self.expected.get_mut(&flow).and_then(VecDeque::pop_front);
            assert_eq!(expected, Some(delivery));
        }
    }

    fn drain(&mut self) {
        let mut actions = Vec::new();
        actions.extend(std::iter::from_fn(|| self.client.poll_action()));
        actions.extend(std::iter::from_fn(|| self.subscriber.poll_action()));
        for action in actions {
            match action {
                FlowAction::Open { token, .. } => assert!(self.open.insert(token)),
                FlowAction::Send { token, message, .. } => {
                    assert!(token == ANSWERING || self.open.contains(&token), "a finished flow");
                    assert!(Message::parse(&message).is_ok());
                }
                FlowAction::Finish { token } => {
                    assert!(self.open.remove(&token), "finished twice");
                }
                FlowAction::Reject { flow, .. } => {
                    assert!(self.flows.remove(&flow), "a flow that is not open");
                }
                _ => {}
            }
        }
        assert!(self.flows.len() <= MAX_FLOWS);
        let mut last = None;
        while let Some(event) = self.client.poll_event() {
            assert!(!matches!(last, Some(NetStreamEvent::Failed(_))), "an event after the end");
            last = Some(event);
        }
    }
}

fn message(kind: u8, payload: Bytes) -> Message {
    let body = match kind % 4 {
        0 => Body::Audio(payload),
        1 => Body::Video(payload),
        2 => Body::Data(Format::Extended, payload),
        _ => Body::Data(Format::Plain, payload),
    };
    Message::new(kind.into(), body)
}

fn flow_input(token: FlowToken, number: u8) -> FlowInput {
    match number % 8 {
        0 | 1 => FlowInput::Blocked { token },
        2 | 3 => FlowInput::Writable { token },
        4 | 5 => FlowInput::Refused { token, message: Bytes::new() },
        6 => FlowInput::Done { token },
        _ => FlowInput::Rejected { token, code: 0 },
    }
}
