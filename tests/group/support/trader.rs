//! A guest that trades objects of made-up content.

use bytes::Bytes;
use rtmfp::proto::group::{Group, GroupConfig, GroupEvent, GroupSpec, GroupSpecBuilder};
use rtmfp::proto::node::{GroupHandle, Guest};
use rtmfp::proto::sim::NodeId;
use rtmfp::proto::transport::Time;

use super::meeting::Meeting;

/// Answers every request at once and keeps what it has fetched.
#[derive(Default)]
pub struct Trader {
    object_size: usize,
    /// Indices that were asked for, in the order of the answers.
    pub answered: Vec<u64>,
    /// Indices that arrived, in that order.
    pub fetched: Vec<u64>,
    /// Fetches that failed.
    pub failed: usize,
}

impl Guest for Trader {
    fn handle_event(&mut self, now: Time, group: &mut Group, event: GroupEvent) {
        match event {
            GroupEvent::ReplicationRequest { index, request_id } => {
                self.answered.push(index);
                let value = object(index, self.object_size);
                assert!(group.replication_mut(now).write_requested(request_id, value));
            }
            GroupEvent::ReplicationFetchResult { index, object: value, .. } => {
                assert_eq!(value, object(index, value.len()).into());
                self.fetched.push(index);
            }
            GroupEvent::ReplicationFetchFailed { .. } => self.failed += 1,
            _ => {}
        }
    }
}

fn object(index: u64, size: usize) -> Bytes {
    let mut bytes = format!("object-{index}").into_bytes();
    bytes.resize(size.max(bytes.len()), index as u8);
    bytes.into()
}

/// A group for objects.
pub fn spec(name: &str) -> GroupSpec {
    let builder = GroupSpecBuilder::new(name).unwrap();
    builder.object_replication(true).server_channel(true).build().unwrap()
}

/// A member joins the group of this name.
pub fn join(meeting: &mut Meeting, member: NodeId, name: &str, object_size: usize) -> GroupHandle {
    meeting.network.act(member, |host, now| {
        let node = &mut host.member_mut().node;
        let config = GroupConfig::new(spec(name), node.peer_id());
        node.join_with_guest(now, config, Box::new(Trader { object_size, ..Trader::default() }))
    })
}

/// Calls a member's group.
pub fn call<R>(
    meeting: &mut Meeting,
    member: NodeId,
    group: GroupHandle,
    call: impl FnOnce(&mut Group, Time) -> R,
) -> R {
    let act = |host: &mut super::meeting::Host, now| {
        host.member_mut().node.with_group(now, group, call).expect("a group")
    };
    meeting.network.act(member, act)
}

/// What a member has traded.
pub fn trader(meeting: &Meeting, member: NodeId, group: GroupHandle) -> &Trader {
    meeting.network[member].member().node.guest(group).expect("a trader")
}
