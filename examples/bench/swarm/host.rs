//! The machines of a simulated run.

use super::hostile::Hostile;
use super::neighbors::Neighbors;
use super::outcome::Receiver;
use super::player::Player;
pub(crate) use super::viewer::{Seen, Viewer};
use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::flash::Uri;
use rtmfp::proto::group::{GroupConfig, ReplicationStats};
use rtmfp::proto::node::{GroupHandle, Node, NodeEvent};
use rtmfp::proto::range::IndexSet;
use rtmfp::proto::rendezvous::Rendezvous;
use rtmfp::proto::sim::Actor;
use rtmfp::proto::transport::{Layer, Machine, Time};
use rtmfp::vod::guest::ExchangeOutput;
use rtmfp::vod::replica::StoreAction;
use rtmfp::vod::store::Finished;
use rtmfp::vod::{CHUNK_SIZE, ChunkStore, FileEvent, FileExchange, Layout, StoreError};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A machine of the network.
pub(crate) enum Host {
    Server(Box<Rendezvous>),
    Member(Box<Member>),
    Player(Box<Player>),
    Hostile(Box<Hostile>),
}

/// A node with the exchange of the file as a guest.
pub(crate) struct Member {
    node: Node,
    group: GroupHandle,
    store: Store,
    viewer: Option<Viewer>,
    /// The playhead that the group knows of.
    playhead: Option<u64>,
    server: (Uri, SocketAddr),
    started: Time,
    result: Receiver,
    /// Its file was refused.
    failed: Option<String>,
}

/// Which chunks a member holds of the file that everybody gets. The bytes are compared instead of
/// kept.
pub(crate) struct Store {
    file: Arc<[u8]>,
    layout: Layout,
    held: IndexSet,
    differs: bool,
}

impl Store {
    /// The store of a receiver, or of the provider.
    pub(crate) fn new(file: Arc<[u8]>, layout: Layout, is_complete: bool) -> Self {
        let mut held = IndexSet::unbounded();
        if is_complete && layout.chunks() > 0 {
            let all = held.insert_range(1..=layout.chunks());
            debug_assert!(all.is_ok(), "the set is unbounded");
        }
        Self { file, layout, held, differs: false }
    }

    /// Something other than the file was written.
    pub(super) fn differs(&self) -> bool {
        self.differs
    }

    fn original(&self, index: u64) -> &[u8] {
        let start = (index as usize - 1) * CHUNK_SIZE as usize;
        let end = self.file.len().min(start + CHUNK_SIZE as usize);
        &self.file[start..end]
    }
}

impl ChunkStore for Store {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn held(&self) -> &IndexSet {
        &self.held
    }

    fn read_chunk(&mut self, index: u64) -> Result<Bytes, StoreError> {
        if !self.held.contains(index) {
            return Err(StoreError::NotHeld { index });
        }
        Ok(Bytes::copy_from_slice(self.original(index)))
    }

    fn write_chunk(&mut self, index: u64, data: &[u8]) -> Result<(), StoreError> {
        self.layout.admit(index, data.len() as u64)?;
        self.differs |= self.original(index) != data;
        // Unbounded, so that this cannot fail.
        let _ = self.held.insert(index);
        Ok(())
    }

    fn forget(&mut self, chunks: RangeInclusive<u64>) -> Result<(), StoreError> {
        let _ = self.held.remove_range(chunks);
        Ok(())
    }

    fn forget_all(&mut self) -> Result<(), StoreError> {
        self.held = IndexSet::unbounded();
        self.differs = false;
        Ok(())
    }

    fn finish(&mut self) -> Result<Finished, StoreError> {
        self.check_complete().map(|()| Finished::default())
    }
}

impl Member {
    pub(crate) fn new(
        now: Time,
        mut node: Node,
        config: GroupConfig,
        exchange: FileExchange,
        store: Store,
        server: (Uri, SocketAddr),
    ) -> Self {
        let group = node.join_with_guest(now, config, Box::new(exchange));
        let held_at = vec![f64::INFINITY; store.layout.chunks() as usize];
        let result = Receiver { held_at, ..Receiver::default() };
        let (viewer, playhead) = (None, None);
        Self { node, group, store, viewer, playhead, server, started: now, result, failed: None }
    }

    /// It plays the film from now on, so many bytes a second.
    pub(crate) fn watch(&mut self, now: Time, rate: f64) {
        let layout = &self.store.layout;
        let each = layout.size().unwrap_or_default() as f64 / layout.chunks().max(1) as f64 / rate;
        self.viewer = Some(Viewer::new(now, layout.chunks(), each));
        self.node.with_guest(now, self.group, |_: &mut FileExchange, group, now| {
            group.replication_mut(now).set_play_rate(Some(rate as u64));
        });
        self.look(now);
    }

    /// It jumps to a chunk.
    pub(crate) fn jump(&mut self, now: Time, chunk: u64) {
        if let Some(viewer) = &mut self.viewer {
            viewer.jump(now, chunk);
        }
        self.look(now);
    }

    /// What it has seen.
    pub(crate) fn viewer(&self) -> Option<&Viewer> {
        self.viewer.as_ref()
    }

    /// The chunks that it holds.
    pub(crate) fn chunks(&self) -> &IndexSet {
        &self.store.held
    }

    /// The viewer plays on, and the group is informed where.
    fn look(&mut self, now: Time) {
        let Some(viewer) = &mut self.viewer else { return };
        viewer.update(now, &self.store.held);
        let playhead = viewer.playhead();
        if std::mem::replace(&mut self.playhead, playhead) != playhead {
            let playheads: Vec<u64> = playhead.into_iter().collect();
            self.node.with_guest(now, self.group, |_: &mut FileExchange, group, now| {
                group.replication_mut(now).set_playheads(&playheads);
            });
        }
    }

    /// Counters of its exchange of objects.
    pub(crate) fn trade(&self) -> ReplicationStats {
        self.node.group(self.group).map(|group| group.stats().replication).unwrap_or_default()
    }

    pub(crate) fn connect(&mut self, now: Time, address: SocketAddr) {
        self.node.set_addresses(now, vec![address]);
        self.node.connect(now, &self.server.0, &[self.server.1]);
    }

    fn is_complete(&self) -> bool {
        self.result.complete.is_some()
    }

    /// Bytes of objects that it has sent.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.trade().bytes_sent
    }

    fn result(&self) -> Receiver {
        let is_identical = self.is_complete() && !self.store.differs;
        Receiver { is_identical, ..self.result.clone() }
    }

    fn react(&mut self, now: Time) -> bool {
        let mut is_busy = false;
        while let Some(event) = self.node.poll_event() {
            is_busy = true;
            if let NodeEvent::ConnectFailed(_) = event {
                self.node.connect(now, &self.server.0, &[self.server.1]);
            }
        }
        let poll = |exchange: &mut FileExchange, _: &mut _, _| exchange.poll_output();
        while let Some(output) = self.node.with_guest(now, self.group, poll).flatten() {
            is_busy = true;
            self.on_output(now, output);
        }
        if is_busy {
            self.look(now);
        }
        is_busy
    }

    fn on_output(&mut self, now: Time, output: ExchangeOutput) {
        let Self { node, group, store, .. } = self;
        let seconds = now.since(self.started).as_secs_f64();
        match output {
            ExchangeOutput::Store(action) => {
                if let StoreAction::Write { index, .. } = &action
                    && let Some(at) = self.result.held_at.get_mut(*index as usize - 1)
                {
                    *at = seconds.min(*at);
                }
                node.with_guest(now, *group, |exchange: &mut FileExchange, group, now| {
                    exchange.perform(now, group, action, store);
                });
            }
            ExchangeOutput::Event(FileEvent::DescriptorKnown(_)) => {
                node.with_guest(now, *group, |exchange: &mut FileExchange, group, now| {
                    exchange.store_opened(now, group, &store.held, &store.layout);
                });
            }
            ExchangeOutput::Event(FileEvent::Complete(_)) => {
                self.result.complete.get_or_insert(seconds);
            }
            ExchangeOutput::Event(FileEvent::Failed(error)) => {
                self.failed = Some(error.to_string());
            }
            ExchangeOutput::Event(_) | ExchangeOutput::Origin(_) => {}
        }
    }
}

impl Host {
    /// The member that this machine is.
    pub(crate) fn member(&self) -> Option<&Member> {
        match self {
            Self::Member(member) => Some(member),
            _ => None,
        }
    }

    /// The neighbors of a machine that is not of this crate.
    pub(super) fn neighbors(&self) -> Option<&Neighbors> {
        match self {
            Self::Player(player) => Some(&player.neighbors),
            Self::Hostile(hostile) => Some(&hostile.neighbors),
            Self::Server(_) | Self::Member(_) => None,
        }
    }

    pub(super) fn neighbors_mut(&mut self) -> Option<&mut Neighbors> {
        match self {
            Self::Player(player) => Some(&mut player.neighbors),
            Self::Hostile(hostile) => Some(&mut hostile.neighbors),
            Self::Server(_) | Self::Member(_) => None,
        }
    }

    /// The peer ID of a machine that is no server.
    pub(crate) fn peer_id(&self) -> Option<Fingerprint> {
        let neighbors = self.neighbors().map(|neighbors| neighbors.endpoint.fingerprint());
        neighbors.or_else(|| Some(self.member()?.node.peer_id()))
    }

    /// True if it is a receiver with all chunks.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Member(member) => member.is_complete(),
            Self::Player(player) => player.is_complete(),
            Self::Server(_) | Self::Hostile(_) => false,
        }
    }

    /// The number of chunks that it holds.
    pub(super) fn held(&self) -> u64 {
        match self {
            Self::Member(member) => member.store.held.len(),
            Self::Player(player) => player.held(),
            Self::Server(_) | Self::Hostile(_) => 0,
        }
    }

    /// Why it has given up.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.member()?.failed.as_deref()
    }

    /// What happened at a receiver.
    pub(crate) fn result(&self) -> Receiver {
        match self {
            Self::Member(member) => member.result(),
            Self::Player(player) => player.result(),
            Self::Server(_) | Self::Hostile(_) => Receiver::default(),
        }
    }

    pub(crate) fn member_mut(&mut self) -> Option<&mut Member> {
        match self {
            Self::Member(member) => Some(member),
            _ => None,
        }
    }
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server) => &**server,
            Self::Member(member) => &member.node,
            Self::Player(player) => &player.neighbors.endpoint,
            Self::Hostile(hostile) => &hostile.neighbors.endpoint,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server) => &mut **server,
            Self::Member(member) => &mut member.node,
            Self::Player(player) => &mut player.neighbors.endpoint,
            Self::Hostile(hostile) => &mut hostile.neighbors.endpoint,
        }
    }

    fn poll_own_timeout(&self) -> Option<Time> {
        match self {
            Self::Player(player) => player.poll_own_timeout(),
            Self::Hostile(hostile) => hostile.poll_own_timeout(),
            Self::Member(member) => member.viewer.as_ref()?.poll_timeout(),
            Self::Server(_) => None,
        }
    }

    fn handle_own_timeout(&mut self, now: Time) {
        match self {
            Self::Player(player) => player.handle_own_timeout(now),
            Self::Hostile(hostile) => hostile.handle_own_timeout(now),
            Self::Member(member) => member.look(now),
            Self::Server(_) => {}
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
            Self::Player(player) => player.react(now),
            Self::Hostile(hostile) => hostile.react(now),
        }
    }
}
