//! [`Share`]: offers a file to a group.

use super::origin::group_of_file;
#[cfg(feature = "origin")]
use super::origin::{HttpOrigin, OriginError, OriginRole};
#[cfg(feature = "origin")]
use super::session::{Destination, OriginStart, StoreConfig};
use super::session::{Progress, Session, SessionError, Start};
#[cfg(feature = "origin")]
use super::store::{Overwrite, StoreError};
use super::{
    Descriptor, DescriptorForm, Digest256, FileEvent, FileExchange, Integrity, LinkKey,
    OriginVersion, ServerAddress, ShareLink, SourceFile,
};
use crate::driver::{Announced, KeyLogFile, NetworkStats, os_random};
use crate::flash::Uri;
use crate::group::{GroupSpec, GroupSpecBuilder, GroupSpecError};
use crate::peer::{Connection, Limits, PeerConfig, Seed};
use std::net::SocketAddr;
#[cfg(feature = "origin")]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// Settings of a share.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShareConfig {
    /// The rendezvous servers, the first of which is connected to; at most
    /// [`MAX_SERVERS`](super::link::MAX_SERVERS). The link contains all of them, as other members
    /// may reach the server at another address. None are needed with [`lan`](Self::lan).
    pub servers: Vec<ServerAddress>,
    /// Application name on the server; may be empty.
    pub app: String,
    /// The application to which this provider itself connects, if that is another text: with a token of its
    /// own in the query, which is not for the link.
    pub own_app: Option<String>,
    /// Lets members find each other on the local network, by IP multicast. The servers, if any, are
    /// connected to in the background: while none answers, the file is shared there alone.
    pub lan: bool,
    /// Name of a group that is shared by everyone who knows it. `None` makes a separate group for
    /// this share, which cannot be found without the link.
    pub group: Option<String>,
    /// The group by its groupspec, which enables object replication, in place of one of that name: one that
    /// an application has made, or the group of an earlier share.
    pub spec: Option<GroupSpec>,
    /// The form of object 0, which determines the Flash applications that can read it.
    pub form: DescriptorForm,
    /// Addresses to bind sockets to; if empty, all addresses of this host, on ports that the
    /// operating system chooses.
    pub listen: Vec<SocketAddr>,
    /// The seed from which peer ID and group are derived, so that the same file has the same link
    /// again; `None` makes new ones. No two processes may use the same seed at the same time.
    pub seed: Option<Seed>,
    /// Addresses that a router forwards to these sockets, for other members.
    pub announced: Vec<Announced>,
    /// The key log for the secrets of the sessions, for decoding captures: whoever reads this file
    /// can read and forge the traffic of the sessions. `None`, the default, writes no secrets.
    pub key_log: Option<KeyLogFile>,
    /// How fast the connection sends and receives;
    /// [`connection().set_limits`](Connection::set_limits) changes it while the file is shared.
    pub limits: Limits,
    /// The most neighbors in the group, [`MIN_NEIGHBORS`](crate::peer::MIN_NEIGHBORS) or more;
    /// `None` for the default of [`GroupConfig`](crate::peer::GroupConfig).
    pub max_neighbors: Option<usize>,
    /// The key that signs the link.
    pub signing_key: Option<LinkKey>,
    /// The link asks whoever fetches to ask this provider only for what nobody else has: little more
    /// than one copy is uploaded, and everybody is complete somewhat later.
    pub save_upload: bool,
    /// The file is the content of this URL: whoever fetches may read there what the swarm lacks, and
    /// every provider of it makes the same link, which names no provider.
    pub origin: Option<OriginVersion>,
}

impl ShareConfig {
    /// A share through this server, with its own group and the object form.
    pub fn new(server: ServerAddress) -> Self {
        Self { servers: vec![server], lan: false, ..Self::on_lan() }
    }

    /// A share on the local network alone, without a server.
    pub fn on_lan() -> Self {
        Self {
            servers: Vec::new(),
            app: String::new(),
            own_app: None,
            lan: true,
            group: None,
            spec: None,
            form: DescriptorForm::Object,
            listen: Vec::new(),
            seed: None,
            announced: Vec::new(),
            key_log: None,
            limits: Limits::default(),
            max_neighbors: None,
            signing_key: None,
            save_upload: false,
            origin: None,
        }
    }
}

/// A file that is shared until this is dropped or [stopped](Share::stop).
#[derive(Debug)]
pub struct Share {
    session: Session,
    link: ShareLink,
    descriptor: Arc<Descriptor>,
}

impl Share {
    /// Connects to a server, joins the group and offers the file. Returns when the link can be
    /// used; with [`lan`](ShareConfig::lan) at once. The connection is closed with the share.
    ///
    /// # Errors
    ///
    /// No socket, no server, or an invalid group name.
    pub async fn start(source: SourceFile, config: ShareConfig) -> Result<Self, SessionError> {
        let offer = Offer::new(&source, &config)?;
        let (lan, link) = (config.lan, own_link(&offer.link, &config));
        let connection = connect(peer_of(config), &link, lan).await?;
        offer.start(connection, true, source).await
    }

    /// Offers a file that a web server has, and reads it meanwhile, once, into a file of this directory,
    /// which is made. Nothing is hashed before: [`OriginVersion::descriptor`]. The settings for a group's
    /// name, the form, and the provider's upload are not used.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); and the directory cannot be made.
    #[cfg(feature = "origin")]
    pub async fn start_from(
        source: HttpOrigin,
        version: OriginVersion,
        directory: &Path,
        config: ShareConfig,
    ) -> Result<Self, SessionError> {
        if config.servers.is_empty() && !config.lan {
            return Err(SessionError::NoServer);
        }
        let mut link = version.link(config.servers.clone(), config.lan)?;
        link.app = config.app.clone();
        link.signature = config.signing_key.as_ref().and_then(|key| key.sign(&link));
        let descriptor = version.descriptor().map_err(|_| OriginError::TooLarge)?;
        let (lan, max_neighbors) = (config.lan, config.max_neighbors);
        let spec = version.group(lan, false)?;
        let made = std::fs::create_dir_all(directory);
        made.map_err(StoreError::io("make", directory))?;
        let store_config = StoreConfig {
            destination: Destination::File(directory.join(version.cache_name(false))),
            overwrite: Overwrite::Never,
            identity: link.identity(),
            name: None,
        };
        let connection = connect(peer_of(config.clone()), &own_link(&link, &config), lan).await?;
        let exchange = FileExchange::origin_provider(descriptor.clone(), version.has_ranges)
            .with_origin(OriginRole::Provider, connection.peer_id(), os_random().next_u64())
            .with_origin_ready(version.has_ranges);
        let start = Start {
            connection,
            owns_connection: true,
            spec,
            exchange,
            store: None,
            store_config: Some(store_config),
            max_neighbors,
            origin: Some(OriginStart {
                source: Arc::new(source),
                version: Some(version),
                link: link.clone(),
            }),
            is_metered: false,
            passes_posts: false,
        };
        let session = Session::start(start).await?;
        Ok(Self { session, link, descriptor: Arc::new(descriptor) })
    }

    /// Offers the file on an open connection, which other groups and files may share. The config's
    /// servers and application only go into the link; its settings for sockets, identity and limits
    /// are not used.
    ///
    /// # Errors
    ///
    /// An invalid group name, or the connection is closed.
    pub async fn start_on(
        connection: &Connection,
        source: SourceFile,
        config: ShareConfig,
    ) -> Result<Self, SessionError> {
        Offer::new(&source, &config)?.start(connection.clone(), false, source).await
    }

    /// The link for [`Fetch`](super::Fetch).
    pub fn link(&self) -> &ShareLink {
        &self.link
    }

    /// The descriptor that the group receives.
    pub fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    /// The state of the share, continuously updated.
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

    /// Sets the most neighbors in the group. If there are more now, the least useful are left.
    pub async fn set_max_neighbors(&self, max_neighbors: usize) {
        self.session.set_max_neighbors(max_neighbors).await;
    }

    /// Waits until the file can no longer be shared: it was changed, or the disk has failed.
    pub async fn failed(&self) -> SessionError {
        match self.session.outcome().await {
            Err(error) => error,
            // A share does not complete.
            Ok(_) => SessionError::Stopped,
        }
    }

    /// Leaves the group, and waits until it is left, at most for `grace`.
    pub async fn stop(self, grace: Duration) {
        self.session.stop(grace).await;
    }
}

/// A file with its group and its link, which does not name the provider yet.
struct Offer {
    link: ShareLink,
    spec: GroupSpec,
    descriptor: Descriptor,
    form: DescriptorForm,
    max_neighbors: Option<usize>,
    passes_posts: bool,
}

impl Offer {
    fn new(source: &SourceFile, config: &ShareConfig) -> Result<Self, SessionError> {
        let mut descriptor = source.descriptor();
        if let Some(origin) = &config.origin {
            descriptor.name = Some(origin.name());
            descriptor.validators = origin.validators();
        }
        let spec = group_of(config, &descriptor)?;
        if descriptor.files.is_some() && config.form == DescriptorForm::Number {
            return Err(SessionError::FilesInNumberForm);
        }
        if config.servers.is_empty() && !config.lan {
            return Err(SessionError::NoServer);
        }
        let mut link = ShareLink::new(config.servers.clone(), spec.as_str())?;
        link.app = config.app.clone();
        link.spares_provider = config.save_upload;
        link.name = descriptor.name.clone();
        // A list has at most 16,384 files.
        link.files = descriptor.files.as_ref().map(|files| files.files().len() as u32);
        link.integrity = integrity_of(&descriptor, config.form);
        link.origin = config.origin.as_ref().map(|origin| origin.url.clone());
        link.signature = config.signing_key.as_ref().and_then(|key| key.sign(&link));
        let (form, max_neighbors) = (config.form, config.max_neighbors);
        let passes_posts = config.spec.is_some();
        Ok(Self { link, spec, descriptor, form, max_neighbors, passes_posts })
    }

    async fn start(
        self,
        connection: Connection,
        owns_connection: bool,
        source: SourceFile,
    ) -> Result<Share, SessionError> {
        let Self { mut link, spec, descriptor, form, max_neighbors, passes_posts } = self;
        if link.origin.is_none() {
            link.provider = Some(Digest256(connection.peer_id().0));
        }
        let start = Start {
            connection,
            owns_connection,
            spec,
            exchange: FileExchange::provider(descriptor.clone(), form),
            store: Some(Box::new(source)),
            store_config: None,
            max_neighbors,
            origin: None,
            is_metered: false,
            passes_posts,
        };
        let session = Session::start(start).await?;
        Ok(Share { session, link, descriptor: Arc::new(descriptor) })
    }
}

/// The link by which the provider itself connects.
fn own_link(link: &ShareLink, config: &ShareConfig) -> ShareLink {
    let app = config.own_app.clone().unwrap_or_else(|| link.app.clone());
    ShareLink { app, ..link.clone() }
}

/// The connection of a share.
fn peer_of(config: ShareConfig) -> PeerConfig {
    PeerConfig {
        seed: config.seed,
        announced: config.announced,
        key_log: config.key_log,
        limits: config.limits,
        ..peer_config(config.listen)
    }
}

/// A connection for one file, which listens on these addresses, or on all if empty.
pub(super) fn peer_config(listen: Vec<SocketAddr>) -> PeerConfig {
    let defaults = PeerConfig::default();
    let listen = if listen.is_empty() { defaults.listen.clone() } else { listen };
    PeerConfig { listen, ..defaults }
}

/// Connects to the first server of a link that can be reached; in the background, if members are also
/// found without.
pub(super) async fn connect(
    config: PeerConfig,
    link: &ShareLink,
    lan: bool,
) -> Result<Connection, SessionError> {
    let servers = link.servers.iter().map(|server| Uri::parse(&link.server_url(server)));
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    Ok(match lan {
        true => Connection::connect_in_background(config, &servers).await?,
        false => Connection::connect_to_any(config, &servers).await?,
    })
}

fn group_of(config: &ShareConfig, descriptor: &Descriptor) -> Result<GroupSpec, GroupSpecError> {
    if let Some(spec) = &config.spec {
        return Ok(spec.clone());
    }
    let builder = match (&config.group, &config.origin) {
        (_, Some(origin)) => return origin.group(config.lan, true),
        (Some(name), None) => GroupSpecBuilder::new(name)?,
        (None, None) => {
            let mut tag = [0; 32];
            match &config.seed {
                Some(seed) => tag = seed.derive("group"),
                None => os_random().fill_bytes(&mut tag),
            }
            GroupSpecBuilder::new(&descriptor.file_name())?.make_unique(tag)
        }
    };
    group_of_file(builder, config.lan)
}

fn integrity_of(descriptor: &Descriptor, form: DescriptorForm) -> Integrity {
    let layout = &descriptor.layout;
    match (form, descriptor.sha256, layout.size(), layout.chunk_size()) {
        (DescriptorForm::Number, Some(sha256), Some(size), Some(chunk_size)) => {
            Integrity::File { sha256, size, chunk_size }
        }
        (DescriptorForm::Number, ..) => Integrity::None,
        (DescriptorForm::Object, ..) => Integrity::Descriptor(descriptor.digest()),
    }
}
