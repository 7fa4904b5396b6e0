//! [`Place`]: the member in one group, and what it offers there.

use super::folder::{Listing, Offer};
use crate::cli::format;
use crate::cli::library::Entry;
use crate::cli::object_file::max_content;
use crate::cli::serve::Out;
use crate::cli::serve::events::Event;
use anyhow::{Context, ensure};
use rtmfp::amf::Value;
use rtmfp::peer::{Connection, GroupEvent, NetGroup, NetGroupEvents, RecvError};
use rtmfp::vod::{Digest256, Share, ShareConfig};
use rtmfp::wire::Shown;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tracing::{debug, warn};

/// One of the member's groups.
pub(super) struct Place {
    connection: Connection,
    group_id: String,
    presence: Presence,
    offers_files: bool,
    /// The settings of a file, with this group.
    share: ShareConfig,
    out: Out,
    /// The file that could not be offered, by its stamp.
    failed: Option<Digest256>,
}

/// How the member is in the group.
enum Presence {
    /// As one that has these objects, or none.
    Plain { group: NetGroup, events: NetGroupEvents, objects: BTreeMap<u64, PathBuf> },
    /// As a provider of a file.
    File { share: Box<Share>, stamp: Digest256 },
    /// Not now: between these two.
    Away,
}

/// What a member waits for.
enum Next {
    Event(GroupEvent),
    Listed,
    /// The file can no longer be offered.
    Failed(String),
    /// The group is closed.
    Over,
}

impl Presence {
    fn plain(group: NetGroup) -> Self {
        let events = group.events();
        Self::Plain { group, events, objects: BTreeMap::new() }
    }

    /// Cancel safe.
    async fn next(&mut self) -> Next {
        match self {
            Self::Plain { events, .. } => loop {
                match events.recv().await {
                    Ok(event) => return Next::Event(event),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Next::Over,
                }
            },
            Self::File { share, .. } => Next::Failed(share.failed().await.to_string()),
            Self::Away => Next::Over,
        }
    }
}

impl Place {
    pub(super) fn new(
        group: NetGroup,
        offers_files: bool,
        mut share: ShareConfig,
        out: Out,
    ) -> Self {
        share.spec = Some(group.spec().clone());
        Self {
            connection: group.connection().clone(),
            group_id: group.id().to_string(),
            presence: Presence::plain(group),
            offers_files,
            share,
            out,
            failed: None,
        }
    }

    /// Is a member until the connection is closed.
    pub(super) async fn run(mut self, mut listing: Option<watch::Receiver<Listing>>) {
        loop {
            let next = tokio::select! {
                next = self.presence.next() => next,
                is_there = listed(listing.as_mut()) => match is_there {
                    true => Next::Listed,
                    false => return,
                },
            };
            let done = match next {
                Next::Event(event) => self.on_event(event).await,
                Next::Listed => {
                    let now = listing.as_mut().map(|it| Listing::clone(&it.borrow_and_update()));
                    self.offer(now.unwrap_or_default()).await
                }
                Next::Failed(why) => {
                    let why = format::printable(&why);
                    warn!(group = self.group_id, why, "a file is no longer offered");
                    self.be_plain().await
                }
                Next::Over => return,
            };
            if let Err(error) = done {
                // The connection is closed.
                debug!(group = self.group_id, %error, "no longer a member");
                return;
            }
        }
    }

    /// Offers what the folder has now.
    async fn offer(&mut self, listing: Listing) -> anyhow::Result<()> {
        let name = self.share.spec.as_ref().map(|spec| spec.name()).unwrap_or_default();
        match Offer::of(&listing, &name) {
            Offer::File(name, entry) if self.offers_files => self.offer_file(&name, entry).await,
            Offer::File(name, _) => {
                let name = Shown::new(&name);
                warn!(group = self.group_id, %name, "not offered: streams go into this group");
                Ok(())
            }
            Offer::Objects(objects) => {
                self.be_plain().await?;
                self.offer_objects(objects).await
            }
            Offer::Nothing => {
                self.be_plain().await?;
                self.offer_objects(BTreeMap::new()).await
            }
            // Objects that are in their files still are offered.
            Offer::Pending => self.be_plain().await,
        }
    }

    async fn offer_objects(&mut self, new: BTreeMap<u64, PathBuf>) -> anyhow::Result<()> {
        let Presence::Plain { group, objects, .. } = &mut self.presence else { return Ok(()) };
        for &index in objects.keys().filter(|index| !new.contains_key(*index)) {
            group.remove_have_objects(index, index).await?;
        }
        let is_same = objects.keys().eq(new.keys());
        for &index in new.keys().filter(|index| !objects.contains_key(*index)) {
            group.add_have_objects(index, index).await?;
        }
        *objects = new;
        if !is_same {
            let (group_id, objects) = (self.group_id.clone(), objects.len() as u64);
            let count = format::count(objects, "object");
            let line = format!("offering {count} to group {}…\n", short(&group_id));
            let event = Event::Offered { group_id, objects, name: None, bytes: None };
            self.out.say(&event, || line);
        }
        Ok(())
    }

    /// Offers a file, unless it is offered already. While its hashes are taken, the member stays what it was.
    async fn offer_file(&mut self, name: &str, entry: Entry) -> anyhow::Result<()> {
        let stamp = entry.stamp;
        let is_known = match &self.presence {
            Presence::File { stamp: offered, .. } => *offered == stamp,
            _ => false,
        };
        if is_known || self.failed == Some(stamp) {
            return Ok(());
        }
        let (content, folder) = (entry.content, name.to_owned());
        let scan = move || content.scan(&folder, &mut |_| {});
        let source = match tokio::task::spawn_blocking(scan).await? {
            Ok(source) => source,
            Err(error) => {
                let error = format::printable(&error.to_string());
                warn!(group = self.group_id, error, "a file cannot be offered");
                self.failed = Some(stamp);
                return self.be_plain().await;
            }
        };
        self.leave().await;
        match Share::start_on(&self.connection, source, self.share.clone()).await {
            Ok(share) => {
                let descriptor = share.descriptor();
                let (name, bytes) = (descriptor.file_name(), descriptor.layout.size());
                let shown = format::printable(&name);
                let line = format!("offering {shown} to group {}…\n", short(&self.group_id));
                let objects = descriptor.layout.chunks() + 1;
                let group_id = self.group_id.clone();
                let event = Event::Offered { group_id, objects, name: Some(shown), bytes };
                self.out.say(&event, || line);
                let share = Box::new(share);
                (self.presence, self.failed) = (Presence::File { share, stamp }, None);
                Ok(())
            }
            Err(error) => {
                let error = format::printable(&error.to_string());
                warn!(group = self.group_id, error, "a file cannot be offered");
                self.failed = Some(stamp);
                self.be_plain().await
            }
        }
    }

    /// Is a member without a file.
    async fn be_plain(&mut self) -> anyhow::Result<()> {
        if matches!(self.presence, Presence::Plain { .. }) {
            return Ok(());
        }
        self.leave().await;
        let spec = self.share.spec.clone().context("a member has a group")?;
        self.presence = Presence::plain(self.connection.join(spec).await?);
        Ok(())
    }

    async fn leave(&mut self) {
        match std::mem::replace(&mut self.presence, Presence::Away) {
            Presence::Plain { group, .. } => group.close().await,
            Presence::File { share, .. } => share.stop(Duration::ZERO).await,
            Presence::Away => {}
        }
    }

    async fn on_event(&mut self, event: GroupEvent) -> anyhow::Result<()> {
        let Presence::Plain { group, objects, .. } = &self.presence else { return Ok(()) };
        match event {
            GroupEvent::ReplicationRequest { index, request_id } => {
                let answered = match read(objects.get(&index)).await {
                    Ok(object) => group.write_requested_object(request_id, &object).await,
                    Err(error) => {
                        let error = format::printable(&error.to_string());
                        debug!(group = self.group_id, index, error, "an object was denied");
                        group.deny_requested_object(request_id).await
                    }
                };
                answered?;
            }
            GroupEvent::NeighborConnect { peer_id, .. } => {
                debug!(group = self.group_id, peer = %peer_id, "a neighbor of the member");
            }
            _ => {}
        }
        Ok(())
    }
}

/// Waits for a new listing; false if there will be none.
async fn listed(listing: Option<&mut watch::Receiver<Listing>>) -> bool {
    match listing {
        Some(listing) => listing.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// The object in a file, which may have changed since it was listed.
async fn read(path: Option<&PathBuf>) -> anyhow::Result<Value> {
    let path: &Path = path.context("it is not offered")?;
    let mut content = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(max_content() + 1).read_to_end(&mut content).await?;
    ensure!(content.len() as u64 <= max_content(), "it has become too long");
    Ok(Value::ByteArray(content.into()))
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
