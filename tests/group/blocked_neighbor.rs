//! A neighbor or a client that takes nothing for a while, while more is for it than a queue holds:
//! nothing is lost, and nobody is disconnected.

use crate::support::meeting::Meeting;
use crate::support::{millis, trader};
use rtmfp::proto::flash::ObjectEncoding;
use rtmfp::proto::node::GroupHandle;
use rtmfp::proto::rendezvous::RendezvousConfig;
use rtmfp::proto::sim::{Link, NodeId};

const OBJECT: usize = 16 << 10;
const OBJECTS: u64 = 400;
const QUEUE: u64 = 64 << 10;

/// A provider with short queues and a fetcher, who are neighbors in the group "objects".
struct World {
    meeting: Meeting,
    provider: (NodeId, GroupHandle),
    fetcher: (NodeId, GroupHandle),
}

impl World {
    fn new() -> Self {
        let mut meeting = Meeting::new(11, path());
        let provider = meeting.add_member_configured(|config| config.max_send_queue = QUEUE);
        let fetcher = meeting.add_member();
        let ids = [provider, fetcher];
        let groups = ids.map(|id| trader::join(&mut meeting, id, "objects", OBJECT));
        let mut world =
            Self { meeting, provider: (provider, groups[0]), fetcher: (fetcher, groups[1]) };
        world.meeting.network.run_for(millis(10_000));
        assert_eq!(world.neighbors(), (1, 1));
        let (id, group) = world.provider;
        trader::call(&mut world.meeting, id, group, |group, now| {
            group.replication_mut(now).add_have(0..=OBJECTS - 1).unwrap();
        });
        let (id, group) = world.fetcher;
        trader::call(&mut world.meeting, id, group, |group, now| {
            group.replication_mut(now).add_want(0..=OBJECTS - 1).unwrap();
        });
        world
    }

    fn neighbors(&self) -> (usize, usize) {
        let count = |(id, group): (NodeId, GroupHandle)| {
            self.meeting.network[id].member().node.group(group).unwrap().neighbors().len()
        };
        (count(self.provider), count(self.fetcher))
    }

    fn sessions(&self) -> usize {
        self.meeting.network[self.provider.0].member().node.endpoint().sessions().count()
    }

    fn answered(&self) -> &[u64] {
        &trader::trader(&self.meeting, self.provider.0, self.provider.1).answered
    }

    /// Everything arrives, once, in the order in which it was sent.
    fn finish(&mut self) {
        self.meeting.network.run_for(millis(20_000));
        assert_eq!((self.neighbors(), self.sessions()), ((1, 1), 2), "nobody was disconnected");
        let fetcher = trader::trader(&self.meeting, self.fetcher.0, self.fetcher.1);
        assert_eq!((fetcher.fetched.len() as u64, fetcher.failed), (OBJECTS, 0));
        assert_eq!(fetcher.fetched, self.answered(), "nothing was lost, repeated or overtaken");
    }
}

fn path() -> Link {
    Link::lan().with_delay(millis(20))
}

#[test]
fn objects_wait_while_the_path_is_dead() {
    let mut world = World::new();
    world.meeting.network.run_for(millis(150));
    let (from, to) = (world.provider.0, world.fetcher.0);
    world.meeting.network.set_link(from, to, Link::cut());
    world.meeting.network.run_for(millis(1000));
    let at_first = world.answered().len();
    world.meeting.network.run_for(millis(8000));
    let answered = world.answered().len();
    assert_eq!(answered, at_first, "a blocked neighbor's requests wait");
    assert!(answered < OBJECTS as usize, "{answered}");
    world.meeting.network.set_link(from, to, path());
    world.finish();
}

#[test]
fn short_queues_do_not_slow_a_trade_down() {
    let mut world = World::new();
    world.finish();
}

#[test]
fn answers_of_a_server_wait_for_a_client() {
    let mut config = RendezvousConfig::default();
    config.transport.max_send_queue = 4 << 10;
    let mut meeting = Meeting::with_config(5, path(), config);
    let client = meeting.add_client(ObjectEncoding::Amf3, false);
    meeting.network.run_for(millis(3000));
    let server = meeting.server;
    meeting.network.set_link(server, client, Link::cut());
    let calls: Vec<_> = (0..60)
        .map(|_| {
            let call = |host: &mut crate::support::meeting::Host, now| {
                host.lazy_mut().call(now, "unknown", Vec::new())
            };
            meeting.network.act(client, call)
        })
        .collect();
    meeting.network.run_for(millis(8000));
    let answered = |meeting: &Meeting| {
        let lazy = meeting.network[client].lazy();
        calls.iter().filter(|&&call| lazy.outcome(call).is_some()).count()
    };
    assert_eq!(answered(&meeting), 0);
    meeting.network.set_link(server, client, path());
    meeting.network.run_for(millis(20_000));
    assert_eq!(answered(&meeting), calls.len());
    assert!(!meeting.network[client].lazy().closed);
    let answers = meeting.network[client].lazy().events.iter().filter_map(|event| match event {
        rtmfp::proto::flash::ClientEvent::Answered { call, .. } => Some(*call),
        _ => None,
    });
    assert_eq!(answers.collect::<Vec<_>>(), calls, "in order");
}
