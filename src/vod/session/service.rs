//! [`FileService`]: a [`FilePeer`] as a driver's service.

use super::progress::{PROGRESS_INTERVAL, Progress};
use crate::crypto::Fingerprint;
use crate::driver::{KeyLogFile, Service};
use crate::flash::Uri;
use crate::group::ReplicationStrategy;
use crate::node::{NodeEvent, Search};
use crate::range::IndexSet;
use crate::transport::{Layer, Time};
use crate::vod::replica::{Stage, StoreReply};
use crate::vod::{FileEvent, FilePeer, Layout, Request, StoreError};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// What a [`FileService`] can be told while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileCommand {
    /// Connect to this server, and again whenever the connection is lost.
    Connect {
        /// The server as it is named.
        uri: Uri,
        /// Its addresses.
        addresses: Vec<SocketAddr>,
    },
    /// The server for the next attempt to connect.
    SetServer {
        /// The server as it is named.
        uri: Uri,
        /// Its addresses.
        addresses: Vec<SocketAddr>,
    },
    /// The addresses at which others may reach this host.
    SetAddresses(Vec<SocketAddr>),
    /// In which order to fetch.
    SetStrategy(ReplicationStrategy),
    /// The store is open.
    StoreOpened {
        /// The chunks that it holds.
        held: IndexSet,
        /// What it knows of the file.
        layout: Layout,
    },
    /// There is no store.
    StoreUnavailable(StoreError),
    /// How the search for members stands, and whether this member has been met.
    Search(Option<Fingerprint>, oneshot::Sender<(Search, bool)>),
    /// The store did what a [`FileEvent::Store`] asked for.
    StoreReplied(StoreReply<Request>),
}

/// A [`FilePeer`] under a driver, which tells its [`Progress`] besides.
#[derive(Debug)]
pub struct FileService {
    peer: FilePeer,
    key_log: Option<KeyLogFile>,
    progress: Arc<watch::Sender<Progress>>,
    /// When the progress may be told again.
    publish_after: Time,
    /// Something may have changed since.
    is_stale: bool,
    published_stage: Stage,
    published_connected: bool,
}

impl FileService {
    /// A service for `peer`. `progress` is updated at most every [`PROGRESS_INTERVAL`], but at once
    /// with a new [`Stage`], with the connection to the server, and when the group is left.
    pub fn new(peer: FilePeer, progress: Arc<watch::Sender<Progress>>) -> Self {
        let published_stage = peer.replica().stage();
        let (key_log, publish_after) = (None, Time::ZERO);
        Self {
            peer,
            key_log,
            progress,
            publish_after,
            is_stale: true,
            published_stage,
            published_connected: false,
        }
    }

    /// The same with a file for secrets, if `peer` keeps them.
    #[must_use]
    pub fn with_key_log(mut self, key_log: Option<KeyLogFile>) -> Self {
        self.key_log = key_log;
        self
    }

    /// Notes that something may have changed, and tells the progress if its time has come, or at
    /// once if something has begun or ended: whoever learns of it sees the picture that belongs to
    /// it.
    fn touch(&mut self, now: Time) {
        self.is_stale = true;
        let changed = self.peer.replica().stage() != self.published_stage
            || self.peer.node().is_connected() != self.published_connected;
        if changed || now >= self.publish_after {
            self.publish(now);
        }
    }

    fn publish(&mut self, now: Time) {
        self.publish_after = now + PROGRESS_INTERVAL;
        self.is_stale = false;
        let peer = &self.peer;
        let replica = peer.replica();
        self.published_stage = replica.stage();
        self.published_connected = peer.node().is_connected();
        self.progress.send_if_modified(|progress| {
            let before = progress.clone();
            progress.stage = replica.stage();
            progress.connected = self.published_connected;
            // After the group was left its last numbers stay.
            if let Some(stats) = peer.group().map(|group| group.stats()) {
                progress.neighbors = stats.neighbors;
                progress.members = stats.members;
                progress.met = peer.members_met();
                progress.bytes_uploaded = stats.replication.bytes_sent;
            }
            progress.resumed_chunks = replica.stats().chunks_resumed;
            progress.bytes_from_provider = replica.stats().bytes_from_provider;
            progress.bytes_from_peers = replica.stats().bytes_from_peers;
            progress.refused = replica.stats().refused;
            progress.set_held(replica.held(), replica.layout());
            *progress != before
        });
    }
}

impl Layer for FileService {
    type Inner = FilePeer;

    fn inner(&self) -> &FilePeer {
        &self.peer
    }

    fn inner_mut(&mut self) -> &mut FilePeer {
        &mut self.peer
    }

    fn after_call(&mut self, now: Time) {
        self.touch(now);
    }

    fn poll_own_timeout(&self) -> Option<Time> {
        self.is_stale.then_some(self.publish_after)
    }
}

impl Service for FileService {
    type Command = FileCommand;
    type Event = FileEvent;

    fn handle_command(&mut self, now: Time, command: FileCommand) {
        match command {
            FileCommand::Connect { uri, addresses } => self.peer.connect(now, uri, addresses),
            FileCommand::SetServer { uri, addresses } => self.peer.set_server(uri, addresses),
            FileCommand::SetAddresses(addresses) => self.peer.set_addresses(now, addresses),
            FileCommand::SetStrategy(strategy) => self.peer.set_strategy(now, strategy),
            FileCommand::StoreOpened { held, layout } => {
                self.peer.store_opened(now, &held, &layout);
            }
            FileCommand::StoreUnavailable(error) => self.peer.store_unavailable(now, error),
            FileCommand::Search(peer, answer) => {
                let has_met = peer.is_some_and(|peer| self.peer.has_met(&peer));
                // Who asked may have gone.
                let _ = answer.send((self.peer.search(now), has_met));
            }
            FileCommand::StoreReplied(reply) => self.peer.store_replied(now, reply),
        }
        self.touch(now);
    }

    fn poll_event(&mut self) -> Option<FileEvent> {
        let event = self.peer.poll_event();
        if let (Some(FileEvent::Node(NodeEvent::SessionOpened(session))), Some(key_log)) =
            (&event, &self.key_log)
        {
            key_log.add(self.peer.node().endpoint(), *session);
        }
        event
    }

    fn handle_addresses(&mut self, now: Time, addresses: Vec<SocketAddr>) {
        self.peer.set_addresses(now, addresses);
        self.touch(now);
    }

    fn begin_shutdown(&mut self, now: Time) {
        self.publish(now);
        self.peer.shut_down(now);
    }

    fn is_idle(&self) -> bool {
        self.peer.node().is_idle()
    }
}
