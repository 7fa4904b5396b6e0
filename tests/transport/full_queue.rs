//! A far end that does not take what it is sent: reliable messages wait in order in the flow table,
//! whoever sends finds out, and there is a bound.

use crate::support::{Pair, millis, quick};
use bytes::Bytes;
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{
    Event, FlowAction, FlowId, FlowInput, FlowOptions, FlowTable, FlowToken, MessageOptions,
    SessionId,
};

const QUEUE: u64 = 64 << 10;
const MAX_PARKED: u64 = 512 << 10;
const MESSAGE: usize = 4 << 10;
const ONE: FlowToken = FlowToken(7);
const OTHER: FlowToken = FlowToken(3);

/// A sender `a` with a flow table and short queues, and a receiver `b`.
struct World {
    pair: Pair,
    table: FlowTable<&'static str>,
    session: SessionId,
    far: SessionId,
    /// What the owner of the flows got.
    inputs: Vec<FlowInput>,
}

impl World {
    fn new() -> Self {
        let mut small = quick();
        small.max_send_queue = QUEUE;
        let mut receiver = quick();
        receiver.receive_buffer = 16 << 10;
        let mut pair = Pair::with_configs(4, Link::lan(), small, receiver);
        let (session, far) = pair.open();
        Self { pair, table: FlowTable::new(MAX_PARKED), session, far, inputs: Vec::new() }
    }

    fn act(&mut self, action: FlowAction) {
        let (table, session) = (&mut self.table, self.session);
        self.pair.network.act(self.pair.a, |e, now| {
            table.execute(&mut e.0, now, session, "owner", action);
        });
        self.process();
    }

    fn open(&mut self, token: FlowToken) {
        let (metadata, options) = (Bytes::from_static(b"data"), FlowOptions::default());
        self.act(FlowAction::Open { token, metadata, options });
    }

    fn send(&mut self, token: FlowToken, number: u32, options: MessageOptions) {
        let message = message(number);
        self.act(FlowAction::Send { token, message, options });
    }

    fn send_reliably(&mut self, token: FlowToken, numbers: std::ops::Range<u32>) {
        numbers.for_each(|number| self.send(token, number, MessageOptions::RELIABLE));
    }

    /// Hands the endpoint's events to the table, and the table's inputs to the owner.
    fn process(&mut self) {
        let (table, inputs) = (&mut self.table, &mut self.inputs);
        self.pair.network.act(self.pair.a, |e, now| {
            while let Some(event) = e.0.poll_event() {
                match event {
                    Event::Writable { session, flow } => {
                        table.on_writable(&mut e.0, now, session, flow);
                    }
                    Event::FlowDone { session, flow } => table.on_flow_done(session, flow),
                    Event::FlowRejected { session, flow, exception } => {
                        table.on_flow_rejected(session, flow, exception);
                    }
                    Event::SessionClosed { session, .. } => table.on_session_closed(session),
                    _ => {}
                }
            }
            inputs.extend(std::iter::from_fn(|| table.poll_input()).map(|addressed| {
                assert_eq!(addressed.owner, "owner");
                addressed.input
            }));
        });
    }

    fn run(&mut self) {
        for _ in 0..400 {
            self.pair.network.run_for(millis(10));
            self.process();
        }
    }

    /// Lets `b` stop or go on taking what arrives on a flow.
    fn pause(&mut self, flow: FlowId, paused: bool) {
        let far = self.far;
        self.pair.network.act(self.pair.b, |e, now| {
            e.0.pause_flow(now, far, flow, paused).unwrap();
        });
    }

    /// The first message of a flow, which `b` takes, and no further one.
    fn open_and_pause(&mut self, token: FlowToken) -> FlowId {
        self.open(token);
        self.send_reliably(token, 0..1);
        self.run();
        let opened = self.pair.events(self.pair.b).into_iter().find_map(|event| match event {
            Event::FlowOpened { flow, .. } => Some(flow),
            _ => None,
        });
        let flow = opened.expect("a flow");
        self.pause(flow, true);
        flow
    }

    /// The numbers of the messages that `b` got on a flow since the last look, and whether the
    /// flow has ended.
    fn received(&mut self, wanted: FlowId) -> (Vec<u32>, bool) {
        let (mut numbers, mut finished) = (Vec::new(), false);
        for event in self.pair.events(self.pair.b) {
            match event {
                Event::Message { flow, message, .. } if flow == wanted => {
                    numbers.push(u32::from_be_bytes(message[..4].try_into().unwrap()));
                }
                Event::FlowFinished { flow, .. } => finished |= flow == wanted,
                _ => {}
            }
        }
        (numbers, finished)
    }
}

fn message(number: u32) -> Bytes {
    let mut message = number.to_be_bytes().to_vec();
    message.resize(MESSAGE, 0);
    message.into()
}

#[test]
fn reliable_messages_and_the_end_of_their_flow_wait_in_order() {
    let mut world = World::new();
    let flow = world.open_and_pause(ONE);
    world.send_reliably(ONE, 1..100);
    assert_eq!(world.inputs, [FlowInput::Blocked { token: ONE }]);
    assert!(world.table.parked(world.session) > 300 << 10);
    world.act(FlowAction::Finish { token: ONE });
    world.send_reliably(ONE, 100..101);
    world.run();
    assert_eq!(world.inputs.len(), 1, "nothing moves");

    world.pause(flow, false);
    world.run();
    assert_eq!(world.received(flow), ((1..100).collect(), true));
    assert_eq!(world.inputs[1..], [FlowInput::Done { token: ONE }]);
    assert_eq!(world.table.parked(world.session), 0);
}

#[test]
fn the_owner_is_blocked_until_nothing_is_parked() {
    let mut world = World::new();
    let flow = world.open_and_pause(ONE);
    world.send_reliably(ONE, 1..60);
    let queued = |world: &World| {
        let endpoint = &world.pair.network[world.pair.a].0;
        world.table.queued(endpoint, world.session, "owner", ONE)
    };
    assert!(queued(&world) >= 59 * MESSAGE as u64, "parked messages count");
    world.pause(flow, false);
    world.run();
    let expected = [FlowInput::Blocked { token: ONE }, FlowInput::Writable { token: ONE }];
    assert_eq!(world.inputs, expected);
    assert_eq!(world.received(flow).0, (1..60).collect::<Vec<_>>());
    world.send_reliably(ONE, 60..61);
    world.run();
    assert_eq!((world.received(flow).0, queued(&world)), (vec![60], 0));
    assert_eq!(world.inputs, expected);
}

#[test]
fn a_blocked_flow_does_not_hold_up_another_of_its_owner() {
    let mut world = World::new();
    let flow = world.open_and_pause(ONE);
    world.send_reliably(ONE, 1..60);
    world.open(OTHER);
    world.send_reliably(OTHER, 500..510);
    world.run();
    let events = world.pair.events(world.pair.b);
    let other = events.iter().filter(|e| matches!(e, Event::Message { flow: f, .. } if *f != flow));
    assert_eq!(other.count(), 10);
    assert_eq!(world.inputs, [FlowInput::Blocked { token: ONE }]);
    world.act(FlowAction::Finish { token: OTHER });
    world.run();
    assert_eq!(world.inputs[1..], [FlowInput::Done { token: OTHER }]);
    world.pause(flow, false);
    world.run();
    assert_eq!(world.received(flow).0, (1..60).collect::<Vec<_>>());
}

#[test]
fn a_message_that_may_be_given_up_is_refused() {
    let mut world = World::new();
    let flow = world.open_and_pause(ONE);
    let before = (1..100).take_while(|&number| {
        world.send(ONE, number, MessageOptions::ONCE);
        world.inputs.is_empty()
    });
    let refused = before.count() as u32 + 1;
    let inputs = [
        FlowInput::Blocked { token: ONE },
        FlowInput::Refused { token: ONE, message: message(refused) },
    ];
    assert_eq!(world.inputs, inputs);
    assert_eq!(world.table.parked(world.session), 0);
    world.pause(flow, false);
    world.run();
    assert_eq!(world.inputs[2..], [FlowInput::Writable { token: ONE }]);
    assert_eq!(world.received(flow).0, (1..refused).collect::<Vec<_>>());
}

#[test]
fn a_rejected_flow_takes_its_parked_messages_along() {
    let mut world = World::new();
    let flow = world.open_and_pause(ONE);
    world.send_reliably(ONE, 1..60);
    let far = world.far;
    world.pair.network.act(world.pair.b, |e, _| e.0.reject_flow(far, flow, 5).unwrap());
    world.run();
    assert_eq!(world.inputs[1..], [FlowInput::Rejected { token: ONE, code: 5 }]);
    assert_eq!(world.table.parked(world.session), 0);
    // The name is free again.
    world.open(ONE);
    world.send_reliably(ONE, 900..901);
    world.run();
    assert_eq!(world.pair.messages(world.pair.b), [message(900)]);
}

#[test]
fn with_too_much_parked_the_session_is_closed() {
    let mut world = World::new();
    world.open_and_pause(ONE);
    world.open(OTHER);
    let most = (MAX_PARKED + QUEUE) / MESSAGE as u64;
    world.send_reliably(ONE, 1..most as u32 / 2);
    assert!(world.pair.network[world.pair.a].0.session(world.session).is_some());
    world.send_reliably(ONE, 1..most as u32);
    assert!(world.table.is_empty(), "nothing is kept of it");
    assert_eq!(world.table.given_up(), 1);
    world.run();
    let events = world.pair.events(world.pair.b);
    assert!(events.iter().any(|event| matches!(event, Event::SessionClosed { .. })));
    world.send_reliably(OTHER, 0..1);
    assert!(world.table.poll_input().is_none());
}
