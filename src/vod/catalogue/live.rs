//! [`Publication`] and [`Catalogue`]: a catalogue on a connection.

use super::post::MAX_VALUE;
use super::{Entry, Listing, Post, Schedule};
use crate::amf::Encoded;
use crate::driver::{Clock, calendar_ms, os_random};
use crate::flash::Uri;
use crate::group::{
    GroupConfig, GroupEvent, GroupSpec, GroupSpecBuilder, IpMulticastAddress, PostingLimits,
};
use crate::peer::{Connection, NetGroup, NetGroupEvents, PeerConfig, RecvError, Seed};
use crate::vod::{CatalogueLink, LinkKey, PublicKey, ServerAddress, SessionError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::debug;

/// Settings of a publication.
#[derive(Debug, Clone, Default)]
pub struct PublicationConfig {
    /// The rendezvous servers for the link, to one of which the connection leads.
    pub servers: Vec<ServerAddress>,
    /// Application name on the server; may be empty.
    pub app: String,
    /// Members find each other on the local network as well.
    pub lan: bool,
    /// Name of the catalogue.
    pub name: String,
    /// From this the group and, without `signing_key`, the key are derived, so that the link is the same
    /// again; `None` makes new ones.
    pub seed: Option<Seed>,
    /// The key that signs the entries.
    pub signing_key: Option<LinkKey>,
}

/// A catalogue that is published until this is dropped.
#[derive(Debug)]
pub struct Publication {
    link: CatalogueLink,
    entries: watch::Sender<Vec<Entry>>,
    task: JoinHandle<()>,
}

impl Publication {
    /// Joins the group of the catalogue, which is empty at first.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub async fn start(
        connection: &Connection,
        config: PublicationConfig,
    ) -> Result<Self, SessionError> {
        let seed = config.seed.clone().unwrap_or_else(|| {
            let mut bytes = [0; 32];
            os_random().fill_bytes(&mut bytes);
            Seed::new(bytes)
        });
        let derived = || LinkKey::new(seed.derive("catalogue key"));
        let key = config.signing_key.clone().unwrap_or_else(derived);
        let spec = group_of(&seed, config.lan)?;
        let link = CatalogueLink {
            servers: config.servers,
            app: config.app,
            groupspec: spec.as_str().to_owned(),
            key: key.public(),
            name: Some(config.name).filter(|name| !name.is_empty()),
        };
        let group = join(connection, spec).await?;
        let (entries, changes) = watch::channel(Vec::new());
        let task = tokio::spawn(publish(group, key, changes));
        Ok(Self { link, entries, task })
    }

    /// The link for [`Catalogue`].
    pub fn link(&self) -> &CatalogueLink {
        &self.link
    }

    /// The entries are these from now on; see [`Schedule::set`].
    pub fn set(&self, entries: Vec<Entry>) {
        self.entries.send_replace(entries);
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The entries of a catalogue that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// The entries by name.
    pub entries: Vec<Entry>,
    /// These are as many as the publisher has.
    pub is_complete: bool,
}

/// A catalogue that is browsed until this is dropped.
#[derive(Debug)]
pub struct Catalogue {
    connection: Connection,
    listed: watch::Receiver<Arc<Listed>>,
    task: JoinHandle<()>,
}

impl Catalogue {
    /// Connects to a server of the link, or, with `lan` or without servers, finds members on the local
    /// network, and joins the group.
    ///
    /// # Errors
    ///
    /// No socket, no server, or an invalid groupspec.
    pub async fn open(
        link: &CatalogueLink,
        config: PeerConfig,
        lan: bool,
    ) -> Result<Self, SessionError> {
        let servers = link.servers.iter().map(|server| Uri::parse(&link.server_url(server)));
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        let connection = match lan || servers.is_empty() {
            true => Connection::connect_in_background(config, &servers).await?,
            false => Connection::connect_to_any(config, &servers).await?,
        };
        Self::open_on(&connection, link).await
    }

    /// Joins the group on an open connection.
    ///
    /// # Errors
    ///
    /// An invalid groupspec, or the connection is closed.
    pub async fn open_on(
        connection: &Connection,
        link: &CatalogueLink,
    ) -> Result<Self, SessionError> {
        let group = join(connection, link.groupspec.parse()?).await?;
        let (sender, listed) = watch::channel(Arc::default());
        let task = tokio::spawn(browse(group, link.key, sender));
        Ok(Self { connection: connection.clone(), listed, task })
    }

    /// The entries, whenever they change.
    pub fn listed(&self) -> watch::Receiver<Arc<Listed>> {
        self.listed.clone()
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Leaves the group and closes the connection, for which others are given `grace`.
    pub async fn close(self, grace: Duration) {
        self.task.abort();
        if let Err(error) = self.connection.close(grace).await {
            debug!(%error, "the stop was not graceful");
        }
    }
}

impl Drop for Catalogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn group_of(seed: &Seed, lan: bool) -> Result<GroupSpec, SessionError> {
    let mut builder =
        GroupSpecBuilder::new("catalogue")?.make_unique(seed.derive("catalogue group"));
    if lan {
        builder =
            builder.ip_multicast_member_updates(true).ip_multicast_address(IpMulticastAddress::LAN);
    }
    Ok(builder.posting(true).server_channel(true).build()?)
}

async fn join(connection: &Connection, spec: GroupSpec) -> Result<NetGroup, SessionError> {
    let mut config = GroupConfig::new(spec, connection.peer_id());
    config.posting = PostingLimits { max_value: MAX_VALUE, ..PostingLimits::default() };
    Ok(connection.join_with(config).await?)
}

/// The next event; `None` at the end of the group. Events that were dropped are made up for by the next
/// repetition.
async fn next(events: &mut NetGroupEvents) -> Option<GroupEvent> {
    loop {
        match events.recv().await {
            Ok(event) => return Some(event),
            Err(RecvError::Closed) => return None,
            Err(_) => {}
        }
    }
}

async fn publish(group: NetGroup, key: LinkKey, mut changes: watch::Receiver<Vec<Entry>>) {
    let (clock, mut schedule, mut events) = (Clock::start(), Schedule::default(), group.events());
    loop {
        tokio::select! {
            event = next(&mut events) => match event {
                Some(GroupEvent::NeighborConnect { .. }) => schedule.neighbor_connected(clock.now()),
                Some(_) => {}
                None => return,
            },
            changed = changes.changed() => match changed {
                Ok(()) => schedule.set(clock.now(), changes.borrow_and_update().clone()),
                Err(_) => return,
            },
            () = clock.sleep_until(schedule.poll_timeout()) => {
                for post in schedule.due(clock.now(), calendar_ms()) {
                    let Some(value) = post.signed(&key, group.spec().as_str()) else { continue };
                    if let Err(error) = group.post(&value).await {
                        debug!(%error, "a part of a catalogue was not posted");
                    }
                }
            }
        }
    }
}

async fn browse(group: NetGroup, key: PublicKey, listed: watch::Sender<Arc<Listed>>) {
    let (clock, mut listing, mut events) = (Clock::start(), Listing::default(), group.events());
    loop {
        tokio::select! {
            event = next(&mut events) => match event {
                Some(GroupEvent::PostingNotify { message, .. }) => {
                    if let Some(post) = read(&message, &key, &group) {
                        listing.take(clock.now(), post);
                    }
                }
                Some(_) => continue,
                None => return,
            },
            () = clock.sleep_until(listing.poll_timeout()) => {
                listing.expire(clock.now());
            }
        }
        let now = Listed { entries: listing.entries(), is_complete: listing.is_complete() };
        listed.send_if_modified(|before| {
            let has_changed = **before != now;
            *before = Arc::new(now);
            has_changed
        });
    }
}

fn read(message: &Encoded, key: &PublicKey, group: &NetGroup) -> Option<Post> {
    let value = message.decode().ok()?;
    Post::read(&value, key, group.spec().as_str())
        .inspect_err(|error| debug!(%error, "a post is ignored"))
        .ok()
}
