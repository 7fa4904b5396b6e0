//! [`Fetch`]: fetches a shared file and shares it on.

use super::origin::{OriginLimit, OriginRole, OriginVersion};
use super::session::{
    Destination, OriginStart, Progress, ReaderToken, Session, SessionError, Start, StoreConfig,
};
use super::share::{connect, peer_config};
use super::store::Overwrite;
use super::tree::HashTree;
use super::{Completed, Descriptor, FileEvent, FileExchange, ShareLink};
use crate::crypto::Fingerprint;
use crate::driver::{KeyLogFile, NetworkStats, os_random};
use crate::group::{GroupSpec, ReplicationStrategy};
use crate::node::Search;
use crate::peer::{Connection, Limits, PeerConfig};
use bytes::Bytes;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// Neighbors of a metered fetch, unless its config has another number: enough to find the fast ones,
/// and each costs some hundred bytes a minute.
pub const METERED_NEIGHBORS: usize = 8;

/// Settings of a fetch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchConfig {
    /// The share link.
    pub link: ShareLink,
    /// The link's servers need not answer: they are connected to in the background, while members
    /// are looked for on the local network, which the groupspec must allow. So it is in any case if
    /// the link names no server.
    pub lan: bool,
    /// The destination of the file.
    pub destination: Destination,
    /// The treatment of a different file of that name.
    pub overwrite: Overwrite,
    /// The order in which chunks are fetched. The default, [`ReplicationStrategy::Swarm`], is nearly
    /// in order, so that the file can be read while it is fetched, and shares the work with others.
    pub strategy: ReplicationStrategy,
    /// Addresses to bind sockets to; if empty, all addresses of this host, on ports that the
    /// operating system chooses.
    pub listen: Vec<SocketAddr>,
    /// The key log for the secrets of the sessions, for decoding captures: whoever reads this file
    /// can read and forge the traffic of the sessions. `None`, the default, writes no secrets.
    pub key_log: Option<KeyLogFile>,
    /// How fast the connection sends and receives;
    /// [`connection().set_limits`](Connection::set_limits) changes it during the fetch.
    pub limits: Limits,
    /// The most neighbors in the group, [`MIN_NEIGHBORS`](crate::peer::MIN_NEIGHBORS) or more;
    /// `None` for the default of [`GroupConfig`](crate::peer::GroupConfig), and for
    /// [`METERED_NEIGHBORS`] of a metered fetch.
    pub max_neighbors: Option<usize>,
    /// Every byte costs: received chunks are neither announced nor sent to anybody, fewer members
    /// are connected to, and the server is pinged every 20 s instead of every 5 s. What is sent then
    /// are requests, acknowledgements and the messages by which members stay connected.
    ///
    /// The fetch does not end by itself: drop or [stop](Fetch::stop) it when it is
    /// [completed](Fetch::completed).
    pub metered: bool,
    /// How much is read from the link's origin, a web server, where the swarm lacks something. It needs
    /// the feature `origin`; then the link's servers need not answer either.
    pub origin: OriginLimit,
    /// What the link's origin has, if it was asked for the link: it is not asked again. A version that the
    /// link does not mean is ignored.
    pub origin_version: Option<OriginVersion>,
    /// Nothing is fetched but what [`fetch_ranges`](Fetch::fetch_ranges) names. The fetch is never complete:
    /// what it has fetched is in its destination like that of an unfinished fetch, each file of several in
    /// its place.
    pub selective: bool,
}

impl FetchConfig {
    /// A fetch that overwrites nothing.
    pub fn new(link: ShareLink, destination: Destination) -> Self {
        Self {
            link,
            lan: false,
            destination,
            overwrite: Overwrite::Never,
            strategy: ReplicationStrategy::Swarm,
            listen: Vec::new(),
            key_log: None,
            limits: Limits::default(),
            max_neighbors: None,
            metered: false,
            origin: OriginLimit::OneCopy,
            origin_version: None,
            selective: false,
        }
    }

    /// True if the link names an origin, and it may be read.
    pub fn reads_origin(&self) -> bool {
        cfg!(feature = "origin") && self.link.origin.is_some() && self.origin != OriginLimit::Off
    }
}

/// A file that is being fetched. It is shared on until this is dropped or [stopped](Fetch::stop).
///
/// The fetched chunks remain on disk; fetching to the same destination again resumes.
#[derive(Debug)]
pub struct Fetch {
    session: Session,
    provider: Option<Fingerprint>,
}

impl Fetch {
    /// Connects to a server of the link and joins the group. The connection is closed with the fetch.
    ///
    /// # Errors
    ///
    /// No socket, no server, or a group without object replication or, where it is needed, the local
    /// network. Errors of the file itself are
    /// reported by [`completed`](Self::completed).
    pub async fn start(config: FetchConfig) -> Result<Self, SessionError> {
        let spec = group_of(&config.link)?;
        let lan = config.lan || config.link.servers.is_empty();
        if lan && !spec.meets_on_lan() {
            return Err(SessionError::NotOnLan);
        }
        let mut peer = PeerConfig {
            key_log: config.key_log.clone(),
            limits: config.limits,
            ..peer_config(config.listen.clone())
        };
        if config.metered {
            peer = peer.for_metered_link();
        }
        // Whoever can read from the origin does not need the server.
        let in_background = lan || config.reads_origin();
        let connection = connect(peer, &config.link, in_background).await?;
        Self::join(connection, true, spec, config).await
    }

    /// Fetches on an open connection to a server of the link, which other groups and files may
    /// share. The config's settings for sockets and limits are not used, and the server is pinged as
    /// the connection does.
    ///
    /// # Errors
    ///
    /// A group without object replication, or the connection is closed.
    pub async fn start_on(
        connection: &Connection,
        config: FetchConfig,
    ) -> Result<Self, SessionError> {
        let spec = group_of(&config.link)?;
        Self::join(connection.clone(), false, spec, config).await
    }

    async fn join(
        connection: Connection,
        owns_connection: bool,
        spec: GroupSpec,
        config: FetchConfig,
    ) -> Result<Self, SessionError> {
        let origin = origin_of(&config)?;
        let FetchConfig { link, destination, overwrite, strategy, metered, selective, .. } = config;
        let provider = link.provider.map(|id| Fingerprint(id.0));
        let identity = link.identity();
        let store_config =
            StoreConfig { destination, overwrite, identity, name: link.name.clone() };
        let mut exchange = FileExchange::receiver(link.integrity, provider)
            .with_strategy(strategy)
            .sparing_provider(link.spares_provider);
        if selective {
            exchange = exchange.selective();
        }
        if let Some(origin) = &origin {
            let role = OriginRole::Member(config.origin);
            let secret = os_random().next_u64();
            exchange = exchange
                .with_origin(role, connection.peer_id(), secret)
                .with_patience(link.files.is_some() && origin.version.is_none());
        }
        let start = Start {
            connection,
            owns_connection,
            spec,
            exchange: if metered { exchange.without_offers() } else { exchange },
            store: None,
            store_config: Some(store_config)
                .filter(|config| config.destination != Destination::Nowhere),
            origin,
            max_neighbors: config.max_neighbors.or(metered.then_some(METERED_NEIGHBORS)),
            is_metered: metered,
            passes_posts: false,
        };
        Ok(Self { session: Session::start(start).await?, provider })
    }

    /// Waits until the file is complete, verified, and has its name. It is shared on afterwards.
    ///
    /// # Errors
    ///
    /// The reason why it cannot be completed. The fetched chunks remain on disk.
    pub async fn completed(&self) -> Result<Completed, SessionError> {
        self.session.outcome().await
    }

    /// Waits until the descriptor has arrived.
    ///
    /// # Errors
    ///
    /// [`SessionError::Stopped`].
    pub async fn descriptor(&self) -> Result<Arc<Descriptor>, SessionError> {
        self.session.descriptor().await
    }

    /// Of a [selective](FetchConfig::selective) fetch: fetches the chunks of these bytes, too, and waits until
    /// everything that was named is held. [`Descriptor::file_range`] has the bytes of a file.
    ///
    /// # Errors
    ///
    /// The reason why they cannot be fetched.
    pub async fn fetch_ranges(&self, ranges: Vec<Range<u64>>) -> Result<(), SessionError> {
        self.session.select(ranges).await
    }

    /// Of a fetch to [`Destination::Nowhere`]: the hashes of the chunks that the first `length` bytes reach
    /// into, once members have sent them; for [`check_file_by`](super::store::check_file_by). `None` if the
    /// descriptor has them.
    ///
    /// # Errors
    ///
    /// [`SessionError::Stopped`].
    pub async fn hashes(&self, length: u64) -> Result<Option<HashTree>, SessionError> {
        match self.descriptor().await?.page_hashes {
            Some(_) => Ok(Some(self.session.hashes(length).await?)),
            None => Ok(None),
        }
    }

    /// Reads a chunk that is held, see [`Progress::ready_chunks`]; chunks are counted from 1.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotHeld`](super::StoreError), or an I/O error.
    pub async fn read_chunk(&self, index: u64) -> Result<Bytes, SessionError> {
        self.session.read(index).await
    }

    /// Reads a chunk for a reader, whose place it is from now on.
    pub(super) async fn read_in_order(
        &self,
        reader: ReaderToken,
        index: u64,
    ) -> Result<Bytes, SessionError> {
        self.session.read_in_order(reader, index).await
    }

    /// The member that the link names as the provider.
    pub const fn provider(&self) -> Option<Fingerprint> {
        self.provider
    }

    /// The state of the search for members: which were met, which could not be reached and why. The
    /// flag is true if the link's provider has been met.
    pub async fn search(&self) -> (Search, bool) {
        self.session.search(self.provider).await
    }

    /// Sets the order in which the remaining chunks are fetched.
    pub async fn set_strategy(&self, strategy: ReplicationStrategy) {
        self.session.set_strategy(strategy).await;
    }

    /// The bytes that are played in a second, if that is known: it determines how much is fetched
    /// before everything else where a [reader](Self::reader) has jumped to.
    pub async fn set_play_rate(&self, bytes_per_second: Option<u64>) {
        self.session.set_play_rate(bytes_per_second).await;
    }

    /// Sets the most neighbors in the group. If there are more now, the least useful are left.
    pub async fn set_max_neighbors(&self, max_neighbors: usize) {
        self.session.set_max_neighbors(max_neighbors).await;
    }

    /// Offers received chunks to others, or no longer, as a [metered](FetchConfig::metered) fetch
    /// does not. The number of neighbors and the server's pings remain as they are.
    pub async fn set_offers(&self, offers: bool) {
        self.session.set_offers(offers).await;
    }

    /// The state of the fetch, continuously updated.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.session.progress()
    }

    /// The events from now on.
    pub fn events(&self) -> broadcast::Receiver<FileEvent> {
        self.session.events()
    }

    /// The connection, which other files may share.
    pub fn connection(&self) -> &Connection {
        self.session.connection()
    }

    /// Counters of the connection's sockets.
    pub fn stats(&self) -> NetworkStats {
        self.connection().network_stats()
    }

    /// The addresses of the connection's sockets.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.connection().local_addresses()
    }

    /// Leaves the group, and waits until every received chunk is on disk and the group is left, for
    /// the latter at most for `grace`.
    pub async fn stop(self, grace: Duration) {
        self.session.stop(grace).await;
    }
}

/// The origin that the link names, if it may be read.
fn origin_of(config: &FetchConfig) -> Result<Option<OriginStart>, SessionError> {
    #[cfg(feature = "origin")]
    if config.reads_origin()
        && config.destination != Destination::Nowhere
        && let Some(url) = &config.link.origin
    {
        let source = Arc::new(super::HttpOrigin::new(url)?);
        let link = config.link.clone();
        let version = config.origin_version.clone().filter(|version| version.is_meant_by(&link));
        return Ok(Some(OriginStart { source, version, link }));
    }
    let _ = config;
    Ok(None)
}

/// The link's group, which must allow replication.
fn group_of(link: &ShareLink) -> Result<GroupSpec, SessionError> {
    let spec = GroupSpec::parse(&link.groupspec)?;
    match spec.object_replication_enabled() {
        true => Ok(spec),
        false => Err(SessionError::NotForFiles),
    }
}
