//! [`Share`]: offer a file to a group.

use super::seed::Seed;
use super::session::{News, Progress, Session, SessionError, Start, open_sockets};
use super::{
    ChunkStore, Descriptor, DescriptorForm, Digest256, FilePeer, Integrity, ServerAddress,
    ShareLink, SourceFile,
};
use crate::crypto::{Identity, IdentityConfig};
use crate::driver::{Announced, Clock, KeyLogFile, Stats, os_random};
use crate::group::{GroupSpec, GroupSpecBuilder, GroupSpecError};
use crate::node::{Node, NodeConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// How to share a file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShareConfig {
    /// The rendezvous servers, the first of which is to be connected to; at most
    /// [`MAX_SERVERS`](super::link::MAX_SERVERS). All of them stand in the link, as others may
    /// reach the server under another address.
    pub servers: Vec<ServerAddress>,
    /// Application name on the server; may be empty.
    pub app: String,
    /// Name of the group that everybody uses who knows it. `None` makes a group of its own for
    /// this share, which nobody finds without the link.
    pub group: Option<String>,
    /// The form of object 0: one that Flash applications of the one or the other kind read.
    pub form: DescriptorForm,
    /// Addresses to bind sockets to; if there are none, all of this host's on ports that the
    /// operating system chooses.
    pub listen: Vec<SocketAddr>,
    /// What peer ID and group follow from, so that the same file has the same link again; `None`
    /// makes new ones. No two processes may have the same seed at the same time.
    pub seed: Option<Seed>,
    /// Addresses that a router forwards to these sockets, for other members.
    pub announced: Vec<Announced>,
    /// Where the secrets of its sessions go, for those who decode captures: whoever reads this file
    /// can read and forge what the sessions carry. `None`, the default, keeps no secrets.
    pub key_log: Option<KeyLogFile>,
}

impl ShareConfig {
    /// A share by way of this server, with a group of its own and the object form.
    pub fn new(server: ServerAddress) -> Self {
        Self {
            servers: vec![server],
            app: String::new(),
            group: None,
            form: DescriptorForm::Object,
            listen: Vec::new(),
            seed: None,
            announced: Vec::new(),
            key_log: None,
        }
    }
}

/// A file that is being shared, until this is dropped or [stopped](Share::stop).
#[derive(Debug)]
pub struct Share {
    session: Session,
    link: ShareLink,
    descriptor: Arc<Descriptor>,
}

impl Share {
    /// Connects to a server, joins the group and offers the file there. Returns when the link can be
    /// used.
    ///
    /// # Errors
    ///
    /// No socket, no server, or a group name that cannot be used.
    pub async fn start(source: SourceFile, config: ShareConfig) -> Result<Self, SessionError> {
        let descriptor = source.descriptor();
        let spec = group_of(config.group.as_deref(), &descriptor, config.seed.as_ref())?;
        let (first, also) = config.servers.split_first().ok_or(SessionError::NoServer)?;
        let mut link = ShareLink::new(first.clone(), spec.as_str())?;
        link.also = also.to_vec();
        link.app = config.app;
        link.name = descriptor.name.clone();
        link.integrity = integrity_of(&descriptor, config.form);

        let clock = Clock::start();
        let node = new_node(config.key_log.is_some(), config.seed.as_ref());
        link.provider = Some(Digest256(node.peer_id().0));
        let peer = FilePeer::provider(clock.now(), node, spec, descriptor.clone(), config.form);
        let servers = link.servers().map(|s| (s.clone(), link.server_url(s))).collect();
        let mut sockets = open_sockets(&config.listen)?;
        sockets.announce(config.announced);
        let key_log = config.key_log;
        let store: Box<dyn ChunkStore> = Box::new(source);
        let start =
            Start { peer, sockets, clock, key_log, store: Some(store), place: None, servers };
        let session = Session::start(start).await?;
        Ok(Self { session, link, descriptor: Arc::new(descriptor) })
    }

    /// The link for [`Fetch`](super::Fetch).
    pub fn link(&self) -> &ShareLink {
        &self.link
    }

    /// What the group learns of the file.
    pub fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    /// Where the share stands, kept up to date.
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

    /// Waits until the file cannot be shared any more: it was changed, or the disk has failed.
    pub async fn failed(&self) -> SessionError {
        match self.session.outcome().await {
            Err(error) => error,
            // A share does not complete.
            Ok(_) => SessionError::Stopped,
        }
    }

    /// Leaves the group and waits until that is done, at most for `grace`.
    pub async fn stop(self, grace: Duration) {
        self.session.stop(grace).await;
    }
}

/// A node with a new identity, or that of a seed, which is found by its peer ID and by no URI.
pub(super) fn new_node(keep_secrets: bool, seed: Option<&Seed>) -> Node {
    let mut random = os_random();
    let config = IdentityConfig::like_a_player();
    let identity = match seed {
        Some(seed) => Identity::generate(&config, &mut seed.random("identity")),
        None => Identity::generate(&config, &mut *random),
    };
    let mut settings = NodeConfig::default();
    settings.transport.keep_secrets = keep_secrets;
    Node::new(settings, identity, random, os_random())
}

fn group_of(
    name: Option<&str>,
    descriptor: &Descriptor,
    seed: Option<&Seed>,
) -> Result<GroupSpec, GroupSpecError> {
    let builder = match name {
        Some(name) => GroupSpecBuilder::new(name)?,
        None => {
            let mut tag = [0; 32];
            match seed {
                Some(seed) => tag = seed.derive("group"),
                None => os_random().fill_bytes(&mut tag),
            }
            GroupSpecBuilder::new(&descriptor.file_name())?.make_unique(tag)
        }
    };
    builder.object_replication(true).server_channel(true).build()
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
