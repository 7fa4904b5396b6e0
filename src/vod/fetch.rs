//! [`Fetch`]: get a shared file, and share it on.

use super::session::{
    Completed, News, Place, Progress, Session, SessionError, Start, open_sockets,
};
use super::share::new_node;
use super::store::Overwrite;
use super::{Descriptor, FilePeer, ShareLink, Target};
use crate::crypto::Fingerprint;
use crate::driver::{Clock, KeyLogFile, Stats};
use crate::group::{GroupSpec, ReplicationStrategy};
use crate::node::Search;
use bytes::Bytes;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// Where a fetched file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To this file; until it is complete it is called `NAME.part`.
    File(PathBuf),
    /// Into this directory, under the name that the provider gave it, made harmless.
    Directory(PathBuf),
    /// Nowhere: only the [descriptor](Fetch::descriptor) is fetched.
    Nowhere,
    /// Into memory, from where [`Fetch::read_chunk`] gets it.
    Memory,
}

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
    /// Connects to a server of the link and joins the group.
    ///
    /// # Errors
    ///
    /// No socket, no server, or a group that is not meant for files. What concerns the file itself
    /// is told by [`completed`](Self::completed).
    pub async fn start(config: FetchConfig) -> Result<Self, SessionError> {
        let link = config.link;
        let spec = GroupSpec::parse(&link.groupspec)?;
        if !spec.object_replication_enabled() {
            return Err(SessionError::NotForFiles);
        }
        let place = place_of(config.destination, config.overwrite, &link);
        let clock = Clock::start();
        let provider = link.provider.map(|id| Fingerprint(id.0));
        let node = new_node(config.key_log.is_some(), None);
        let mut peer = FilePeer::receiver(clock.now(), node, spec, link.integrity, provider);
        peer.set_strategy(clock.now(), config.strategy);
        let servers = link.servers().map(|s| (s.clone(), link.server_url(s))).collect();
        let sockets = open_sockets(&config.listen)?;
        let key_log = config.key_log;
        let start = Start { peer, sockets, clock, key_log, store: None, place, servers };
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

    /// Waits until the group has said what the file is like.
    ///
    /// # Errors
    ///
    /// [`SessionError::Stopped`].
    pub async fn descriptor(&self) -> Result<Arc<Descriptor>, SessionError> {
        self.session.descriptor().await
    }

    /// A chunk that is held, as told by [`Progress::ready_chunks`]; chunks are counted from 1.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotHeld`](super::StoreError), or what the disk says.
    pub async fn read_chunk(&self, index: u64) -> Result<Bytes, SessionError> {
        self.session.read(index).await
    }

    /// How the search for members of the group stands: whom it has met, who could not be reached
    /// and why. The flag tells whether the link's provider has been met.
    pub async fn search(&self) -> (Search, bool) {
        self.session.search(self.provider).await
    }

    /// In which order to fetch from now on.
    pub async fn set_strategy(&self, strategy: ReplicationStrategy) {
        self.session.set_strategy(strategy).await;
    }

    /// Where the fetch stands, kept up to date.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.session.progress()
    }

    /// What happens from now on.
    pub fn news(&self) -> broadcast::Receiver<News> {
        self.session.news()
    }

    /// What went over the sockets.
    pub fn stats(&self) -> Stats {
        self.session.stats()
    }

    /// The addresses of the sockets.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.session.local_addresses()
    }

    /// Leaves the group and waits until that is done, at most for `grace`, and what was received is
    /// on disk.
    pub async fn stop(self, grace: Duration) {
        self.session.stop(grace).await;
    }
}

fn place_of(destination: Destination, overwrite: Overwrite, link: &ShareLink) -> Option<Place> {
    let (path, is_directory) = match destination {
        Destination::File(path) => (path, false),
        Destination::Directory(path) => (path, true),
        Destination::Memory => return Some(Place::Memory),
        Destination::Nowhere => return None,
    };
    let target = Target { overwrite, ..Target::new(path, link.identity()) };
    Some(Place::File { target, is_directory, name: link.name.clone() })
}
