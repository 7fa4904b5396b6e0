//! The machines of a run.

use rtmfp::proto::flash::{Body, Message, Uri};
use rtmfp::proto::group::{GroupEvent, NetStreamId};
use rtmfp::proto::node::{GroupHandle, Node, NodeEvent};
use rtmfp::proto::rendezvous::Rendezvous;
use rtmfp::proto::sim::Actor;
use rtmfp::proto::transport::{Layer, Machine, Time};
use std::net::SocketAddr;

/// A machine of the network.
pub(super) enum Host {
    Server(Box<Rendezvous>),
    Member(Box<Member>),
}

/// A node in the group.
pub(super) struct Member {
    pub(super) node: Node,
    pub(super) group: GroupHandle,
    pub(super) stream: Option<NetStreamId>,
    pub(super) server: (Uri, SocketAddr),
    /// The messages that it has played: their numbers, and after how many microseconds.
    pub(super) played: Vec<(u32, u64)>,
}

/// A message of the stream, which names its number and its time.
pub(super) fn message(number: u32, now: Time, size: usize) -> Message {
    let mut payload = number.to_be_bytes().to_vec();
    payload.extend(now.as_micros().to_be_bytes());
    payload.resize(size.max(payload.len()), number as u8);
    Message::new((now.as_micros() / 1000) as u32, Body::Video(payload.into()))
}

impl Member {
    pub(super) fn connect(&mut self, now: Time) {
        self.node.connect(now, &self.server.0, &[self.server.1]);
    }

    fn on_message(&mut self, now: Time, message: &Message) {
        let Body::Video(payload) = &message.body else { return };
        let Some((number, rest)) = payload.split_first_chunk::<4>() else { return };
        let Some((sent, _)) = rest.split_first_chunk::<8>() else { return };
        let took = now.as_micros().saturating_sub(u64::from_be_bytes(*sent));
        self.played.push((u32::from_be_bytes(*number), took));
    }

    fn react(&mut self, now: Time) -> bool {
        let mut is_busy = false;
        while let Some(event) = self.node.poll_event() {
            is_busy = true;
            match event {
                NodeEvent::ConnectFailed(_) => self.connect(now),
                NodeEvent::Group(_, GroupEvent::MulticastStreamMessage { message, .. }) => {
                    self.on_message(now, &message);
                }
                _ => {}
            }
        }
        is_busy
    }
}

impl Host {
    /// # Panics
    /// If it is the server.
    pub(super) fn member(&self) -> &Member {
        match self {
            Self::Member(member) => member,
            Self::Server(_) => unreachable!("the server is no member"),
        }
    }

    /// # Panics
    /// If it is the server.
    pub(super) fn member_mut(&mut self) -> &mut Member {
        match self {
            Self::Member(member) => member,
            Self::Server(_) => unreachable!("the server is no member"),
        }
    }
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server) => &**server,
            Self::Member(member) => &member.node,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server) => &mut **server,
            Self::Member(member) => &mut member.node,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, now: Time) -> bool {
        match self {
            Self::Server(server) => {
                while server.poll_event().is_some() {}
                false
            }
            Self::Member(member) => member.react(now),
        }
    }
}
