//! [`Session`]: the handle that a share or fetch has of its file on a connection.

use super::SessionError;
use super::destination::StoreConfig;
use super::member::{FileMember, StoreStart, StoreState};
use super::origin::{OriginLine, OriginStart};
use super::progress::{Progress, ProgressPublisher};
use super::readers::{ReaderToken, Readers};
use crate::crypto::Fingerprint;
use crate::group::{
    Group, GroupConfig, GroupSpec, PostingLimits, ReplicationLimits, ReplicationStrategy,
};
use crate::node::Search;
use crate::peer::{Connection, Hosted};
use crate::vod::replica::Completed;
use crate::vod::tree::HashTree;
use crate::vod::{ChunkStore, Descriptor, FileEvent, FileExchange};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot, watch};
use tracing::debug;

/// Events queued for a slow subscriber. Beyond this, the oldest is dropped, and the subscriber
/// receives the number dropped ([`RecvError::Lagged`](broadcast::error::RecvError)). The result of
/// a fetch is reported separately and is never dropped.
pub const FILE_EVENT_QUEUE: usize = 256;

/// The result of a fetch.
pub(super) type Outcome = Result<Completed, SessionError>;

/// The parameters of a session.
pub(in crate::vod) struct Start {
    pub(in crate::vod) connection: Connection,
    /// True if the connection was opened for this file and is closed with it.
    pub(in crate::vod) owns_connection: bool,
    pub(in crate::vod) spec: GroupSpec,
    pub(in crate::vod) exchange: FileExchange,
    /// The provider's file.
    pub(in crate::vod) store: Option<Box<dyn ChunkStore>>,
    /// The settings for a receiver's store.
    pub(in crate::vod) store_config: Option<StoreConfig>,
    /// The most neighbors, if not as many as usual.
    pub(in crate::vod) max_neighbors: Option<usize>,
    /// Where the file comes from.
    pub(in crate::vod) origin: Option<OriginStart>,
    /// Serve nobody.
    pub(in crate::vod) is_metered: bool,
    /// Pass on what members post. The groups of files have no posting, so there is nothing to pass on but
    /// what abuses them; a group of an application may have.
    pub(in crate::vod) passes_posts: bool,
}

impl Start {
    fn group_config(&self) -> GroupConfig {
        let mut config = GroupConfig::new(self.spec.clone(), self.connection.peer_id());
        config.max_neighbors = self.max_neighbors.unwrap_or(config.max_neighbors);
        if !self.passes_posts {
            config.posting = PostingLimits::none();
        }
        if self.is_metered {
            config.replication.max_unchoked = 0;
        }
        config
    }
}

/// A file that is exchanged on a connection; its group is left when this is dropped.
#[derive(Debug)]
pub(in crate::vod) struct Session {
    hosted: Hosted<FileMember>,
    owns_connection: bool,
    progress: watch::Receiver<Progress>,
    outcome: watch::Receiver<Option<Outcome>>,
    descriptor: watch::Receiver<Option<Arc<Descriptor>>>,
    events: broadcast::Sender<FileEvent>,
    /// Completes when everything is written and the files are closed.
    store_ended: oneshot::Receiver<()>,
}

impl Session {
    /// Joins the group of the file.
    pub(in crate::vod) async fn start(start: Start) -> Result<Self, SessionError> {
        let config = start.group_config();
        let Start { connection, owns_connection, exchange, store, store_config, origin, .. } =
            start;
        let (progress_sender, progress) = watch::channel(Progress::default());
        let (outcome_sender, outcome) = watch::channel(None);
        let (descriptor_sender, descriptor) = watch::channel(None);
        let (events, _) = broadcast::channel(FILE_EVENT_QUEUE);
        let (end, store_ended) = oneshot::channel();
        let (pool, replies) = (connection.pool(), connection.guest_sender());
        let member = FileMember {
            progress: ProgressPublisher::new(progress_sender, &exchange),
            exchange,
            store: StoreState::Waiting(Some(StoreStart { pool, replies, store, end })),
            store_config,
            readers: Readers::default(),
            selecting: None,
            examined: None,
            origin: origin.map(|origin| OriginLine::start(origin, connection.guest_sender())),
            outcome: outcome_sender,
            descriptor: descriptor_sender,
            events: events.clone(),
        };
        let hosted = connection.host(config, member).await?;
        Ok(Self { hosted, owns_connection, progress, outcome, descriptor, events, store_ended })
    }

    pub(in crate::vod) fn connection(&self) -> &Connection {
        self.hosted.connection()
    }

    pub(in crate::vod) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    pub(in crate::vod) fn events(&self) -> broadcast::Receiver<FileEvent> {
        self.events.subscribe()
    }

    /// Waits for the result of the fetch.
    pub(in crate::vod) async fn outcome(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(SessionError::Stopped)),
            Err(_) => Err(SessionError::Stopped),
        }
    }

    /// Waits until the descriptor has arrived.
    pub(in crate::vod) async fn descriptor(&self) -> Result<Arc<Descriptor>, SessionError> {
        let mut descriptor = self.descriptor.clone();
        let known = descriptor.wait_for(Option::is_some).await;
        known.ok().and_then(|known| known.clone()).ok_or(SessionError::Stopped)
    }

    /// Fetches the chunks of these bytes, too, and waits until everything that was selected is held.
    pub(in crate::vod) async fn select(&self, ranges: Vec<Range<u64>>) -> Result<(), SessionError> {
        let (answer, answered) = oneshot::channel();
        let select = move |member: &mut FileMember, group: &mut Group, now| {
            member.select(now, group, ranges, answer);
        };
        self.hosted.call(select).await?;
        tokio::select! {
            answered = answered => answered.map_err(|_| SessionError::Stopped),
            outcome = self.outcome() => outcome.map(drop),
        }
    }

    /// The hashes of the chunks that this many bytes reach into, of a file whose descriptor lists those of
    /// pages.
    pub(in crate::vod) async fn hashes(&self, length: u64) -> Result<HashTree, SessionError> {
        let (answer, answered) = oneshot::channel();
        let want = move |member: &mut FileMember, group: &mut Group, now| {
            member.want_hashes(now, group, length, answer);
        };
        self.hosted.call(want).await?;
        answered.await.map_err(|_| SessionError::Stopped)
    }

    pub(in crate::vod) async fn read(&self, index: u64) -> Result<Bytes, SessionError> {
        let (answer, answered) = oneshot::channel();
        self.hosted.call(move |member, _, _| member.read(index, answer)).await?;
        Ok(answered.await.map_err(|_| SessionError::Stopped)??)
    }

    /// Reads a chunk for a reader, whose place it is from now on.
    pub(in crate::vod) async fn read_in_order(
        &self,
        reader: ReaderToken,
        index: u64,
    ) -> Result<Bytes, SessionError> {
        let (answer, answered) = oneshot::channel();
        let read = move |member: &mut FileMember, group: &mut Group, now| {
            member.note_reader(now, group, &reader, index);
            member.read(index, answer);
        };
        self.hosted.call(read).await?;
        Ok(answered.await.map_err(|_| SessionError::Stopped)??)
    }

    /// The state of the search for members, and true if `peer` has been met.
    pub(in crate::vod) async fn search(&self, peer: Option<Fingerprint>) -> (Search, bool) {
        // Fails when the session has ended: then there is no search.
        self.hosted.search(peer).await.unwrap_or_default()
    }

    pub(in crate::vod) async fn set_strategy(&self, strategy: ReplicationStrategy) {
        let set = self.hosted.call(move |_, group, now| {
            group.replication_mut(now).set_strategy(strategy);
        });
        // Fails when the session has ended: then nothing is fetched.
        let _ = set.await;
    }

    /// Sets the rate at which the file is played.
    pub(in crate::vod) async fn set_play_rate(&self, bytes_per_second: Option<u64>) {
        let set = self.hosted.call(move |_, group, now| {
            group.replication_mut(now).set_play_rate(bytes_per_second);
        });
        // As above.
        let _ = set.await;
    }

    /// Sets the most neighbors.
    pub(in crate::vod) async fn set_max_neighbors(&self, max_neighbors: usize) {
        let set = self.hosted.call(move |_, group, now| {
            group.set_max_neighbors(now, max_neighbors);
        });
        // As above.
        let _ = set.await;
    }

    /// Offers what was received to others, or no longer.
    pub(in crate::vod) async fn set_offers(&self, offers: bool) {
        let set = self.hosted.call(move |member, group, now| {
            let usual = ReplicationLimits::default().max_unchoked;
            member.exchange.set_offers(now, group, offers);
            group.replication_mut(now).set_max_unchoked(if offers { usual } else { 0 });
        });
        // As above.
        let _ = set.await;
    }

    /// Leaves the group, and waits until everything that has arrived is written. If the connection
    /// is closed with the session, also waits until the far ends have confirmed, at most for
    /// `grace`.
    pub(in crate::vod) async fn stop(self, grace: Duration) {
        let Self { hosted, owns_connection, store_ended, .. } = self;
        hosted.leave().await;
        let close = async {
            if owns_connection && let Err(error) = hosted.connection().close(grace).await {
                debug!(%error, "the stop was not graceful");
            }
        };
        // The sender is dropped without sending.
        let (_, _) = tokio::join!(close, store_ended);
    }
}
