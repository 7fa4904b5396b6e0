//! [`Fetch`]: get a shared file, and share it on.

use super::session::{Destination, Progress, Session, SessionError, Start, StoreConfig};
use super::share::{connect, peer_config};
use super::store::Overwrite;
use super::{Completed, Descriptor, FileEvent, FileExchange, ShareLink};
use crate::crypto::Fingerprint;
use crate::driver::{KeyLogFile, Stats};
use crate::group::{GroupSpec, ReplicationStrategy};
use crate::node::Search;
use crate::peer::{Connection, PeerConfig};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// How to fetch a file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchConfig {
    /// The link.
    pub link: ShareLink,
    /// Where the file goes.
    pub destination: Destination,
    /// What to do when a different file of that name exists.
    pub overwrite: Overwrite,
    /// In which order chunks are fetched. The default spares the provider most;
    /// [`ReplicationStrategy::LowestFirst`] is for reading along.
    pub strategy: ReplicationStrategy,
    /// Addresses to bind sockets to; if there are none, all of this host's on ports that the
    /// operating system chooses.
    pub listen: Vec<SocketAddr>,
    /// Where the secrets of its sessions go, for those who decode captures: whoever reads this file
    /// can read and forge what the sessions carry. `None`, the default, keeps no secrets.
    pub key_log: Option<KeyLogFile>,
}

impl FetchConfig {
    /// A fetch that overwrites nothing and spares the provider.
    pub fn new(link: ShareLink, destination: Destination) -> Self {
        Self {
            link,
            destination,
            overwrite: Overwrite::Never,
            strategy: ReplicationStrategy::RarestFirstSpread,
            listen: Vec::new(),
            key_log: None,
        }
    }
}

/// A file on its way in, which is shared on until this is dropped or [stopped](Fetch::stop).
///
/// What has been fetched is kept on disk; fetching to the same place again goes on from there.
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
    /// No socket, no server, or a group that is not meant for files. What concerns the file itself
    /// is reported by [`completed`](Self::completed).
    pub async fn start(config: FetchConfig) -> Result<Self, SessionError> {
        let spec = group_of(&config.link)?;
        let peer =
            PeerConfig { key_log: config.key_log.clone(), ..peer_config(config.listen.clone()) };
        let connection = connect(peer, &config.link).await?;
        Self::join(connection, true, spec, config).await
    }

    /// Fetches on a connection that is open already, to a server of the link, beside whatever else is
    /// on it. What concerns sockets in the config is not used.
    ///
    /// # Errors
    ///
    /// A group that is not meant for files, or the connection is closed.
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
        let FetchConfig { link, destination, overwrite, strategy, .. } = config;
        let provider = link.provider.map(|id| Fingerprint(id.0));
        let identity = link.identity();
        let store_config =
            StoreConfig { destination, overwrite, identity, name: link.name.clone() };
        let start = Start {
            connection,
            owns_connection,
            spec,
            exchange: FileExchange::receiver(link.integrity, provider).with_strategy(strategy),
            store: None,
            store_config: Some(store_config)
                .filter(|config| config.destination != Destination::Nowhere),
        };
        Ok(Self { session: Session::start(start).await?, provider })
    }

    /// Waits until the file is complete, verified, and has its name. Sharing goes on afterwards.
    ///
    /// # Errors
    ///
    /// Why it will not be. What has been fetched is kept.
    pub async fn completed(&self) -> Result<Completed, SessionError> {
        self.session.outcome().await
    }

    /// Waits until the group has described the file.
    ///
    /// # Errors
    ///
    /// [`SessionError::Stopped`].
    pub async fn descriptor(&self) -> Result<Arc<Descriptor>, SessionError> {
        self.session.descriptor().await
    }

    /// A chunk that is held, see [`Progress::ready_chunks`]; chunks are counted from 1.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotHeld`](super::StoreError), or an error of the disk.
    pub async fn read_chunk(&self, index: u64) -> Result<Bytes, SessionError> {
        self.session.read(index).await
    }

    /// The search for members of the group: who was met, who could not be reached and why. The flag
    /// is set if the link's provider has been met.
    pub async fn search(&self) -> (Search, bool) {
        self.session.search(self.provider).await
    }

    /// In which order to fetch from now on.
    pub async fn set_strategy(&self, strategy: ReplicationStrategy) {
        self.session.set_strategy(strategy).await;
    }

    /// The state of the fetch, kept up to date.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.session.progress()
    }

    /// Events from now on.
    pub fn events(&self) -> broadcast::Receiver<FileEvent> {
        self.session.events()
    }

    /// The connection, which other files may share.
    pub fn connection(&self) -> &Connection {
        self.session.connection()
    }

    /// Counters of the connection's sockets.
    pub fn stats(&self) -> Stats {
        self.connection().network_stats()
    }

    /// The addresses of the connection's sockets.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.connection().local_addresses()
    }

    /// Leaves the group and waits until that is done, at most for `grace`, and what was received is
    /// on disk.
    pub async fn stop(self, grace: Duration) {
        self.session.stop(grace).await;
    }
}

/// The link's group, which must allow replication.
fn group_of(link: &ShareLink) -> Result<GroupSpec, SessionError> {
    let spec = GroupSpec::parse(&link.groupspec)?;
    match spec.object_replication_enabled() {
        true => Ok(spec),
        false => Err(SessionError::NotForFiles),
    }
}
