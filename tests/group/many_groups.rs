//! What one group does costs the same however many others its node has joined.

use crate::support::meeting::Meeting;
use crate::support::{millis, trader};
use rtmfp::proto::group::GroupSpecBuilder;
use rtmfp::proto::node::GroupHandle;
use rtmfp::proto::sim::{Link, NodeId};

const GROUPS: usize = 1000;
const OBJECTS: u64 = 64;

struct World {
    meeting: Meeting,
    provider: (NodeId, GroupHandle),
    fetcher: (NodeId, GroupHandle),
    next: u64,
}

impl World {
    /// How often groups were asked for actions at either node while some objects were traded.
    fn trade(&mut self) -> u64 {
        let (first, last) = (self.next, self.next + OBJECTS - 1);
        self.next += OBJECTS;
        let before = self.turns();
        let (fetcher, group) = self.fetcher;
        trader::call(&mut self.meeting, fetcher, group, |group, now| {
            group.replication_mut(now).add_want(first..=last).unwrap();
        });
        self.meeting.network.run_for(millis(2000));
        let fetched = &trader::trader(&self.meeting, fetcher, group).fetched;
        assert_eq!(fetched.len() as u64, last + 1);
        self.turns() - before
    }

    fn turns(&self) -> u64 {
        let turns = |id: NodeId| self.meeting.network[id].member().node.group_turns();
        turns(self.provider.0) + turns(self.fetcher.0)
    }
}

#[test]
fn a_datagram_of_one_group_costs_the_same_with_a_thousand() {
    let mut meeting = Meeting::new(7, Link::lan());
    let (provider, fetcher) = (meeting.add_member(), meeting.add_member());
    let groups = [provider, fetcher].map(|id| trader::join(&mut meeting, id, "objects", 1000));
    trader::call(&mut meeting, provider, groups[0], |group, now| {
        group.replication_mut(now).add_have(0..=1000).unwrap();
    });
    let [provider, fetcher] = [(provider, groups[0]), (fetcher, groups[1])];
    meeting.network.run_for(millis(10_000));
    let mut world = World { meeting, provider, fetcher, next: 0 };
    world.trade();
    let with_one = world.trade();

    // Groups of which nobody else is a member. Their timers rest for the next 15 s.
    for id in [provider.0, fetcher.0] {
        world.meeting.network.act(id, |host, now| {
            for number in 0..GROUPS {
                let name = format!("lonely-{number}");
                let spec = GroupSpecBuilder::new(&name).unwrap().build().unwrap();
                host.member_mut().node.join(now, spec);
            }
        });
    }
    world.meeting.network.run_for(millis(1000));
    let with_many = world.trade();
    // How objects fall into datagrams varies, and the group's own timer may fall into either.
    assert!(with_many < 2 * with_one, "{with_many} turns, {with_one} without other groups");
    assert!(with_one >= 2 * OBJECTS, "{with_one} turns for {OBJECTS} objects");
}
