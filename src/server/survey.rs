//! What can be read of a server's clients and groups.

use super::Server;
use super::service::{Command, Look};
use crate::crypto::Fingerprint;
use crate::driver::Stopped;
use crate::flash::group_channel::GroupId;
use crate::rendezvous::{
    ApplicationInfo, ClientInfo, GroupInfo, Introduction, MAX_REMEMBERED, Outcome, Part, Rendezvous,
};
use crate::transport::Time;
use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing<T> {
    /// In the order of their keys.
    pub entries: Vec<T>,
    /// There are others after them.
    pub has_more: bool,
}

/// An introduction, with the peer that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Introduced {
    /// What the server knows of it.
    pub introduction: Introduction,
    /// The client that has the address that asked, if there is one now.
    pub asker: Option<Fingerprint>,
}

/// A connection between two members of a group, as far as a server knows: one was introduced to the
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberLink {
    /// The member that asked.
    pub from: Fingerprint,
    /// The member that was asked for.
    pub to: Fingerprint,
    /// What has become of it.
    pub outcome: Outcome,
}

/// Members of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupState {
    /// The number of all members.
    pub count: usize,
    /// A part of them, in the order of their peer IDs.
    pub members: Listing<ClientInfo>,
    /// Connections between these, as far as they are remembered, the newest first.
    pub links: Vec<MemberLink>,
}

/// What a server bears now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLoad {
    /// Sessions that are open: those of clients, and those that have not connected yet.
    pub sessions: u64,
    /// Bytes that flows of clients hold, with everything that waits in them, as far as limits bound
    /// them ([`Config::max_memory`](crate::proto::transport::Config::max_memory)).
    pub memory: u64,
}

impl ServerLoad {
    fn of_all(workers: Vec<Self>) -> Self {
        let sessions = workers.iter().map(|load| load.sessions).sum();
        let memory = workers.iter().map(|load| load.memory).sum();
        Self { sessions, memory }
    }
}

impl Server {
    /// What it bears now.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the server has stopped.
    pub async fn load(&self) -> Result<ServerLoad, Stopped> {
        self.look(|_, rendezvous| {
            let endpoint = rendezvous.endpoint();
            let sessions = endpoint.sessions().count() as u64;
            ServerLoad { sessions, memory: endpoint.memory() }
        })
        .await
        .map(ServerLoad::of_all)
    }

    /// Sessions in the order of their peer IDs.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the server has stopped.
    pub async fn clients(&self, part: Part<Fingerprint>) -> Result<Listing<ClientInfo>, Stopped> {
        let (limit, wider) = (part.limit, wider(part));
        let found = self.look(move |now, it| it.clients(now, &wider)).await?;
        Ok(Listing::of(by_key(found, |it| it.peer, |_, _| {}), limit))
    }

    /// Applications that clients are connected to, in the order of their names.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the server has stopped.
    pub async fn applications(
        &self,
        part: Part<Arc<str>>,
    ) -> Result<Listing<ApplicationInfo>, Stopped> {
        let (limit, wider) = (part.limit, wider(part));
        let found = self.look(move |_, it| it.applications(&wider)).await?;
        let sum = |it: &mut ApplicationInfo, other: ApplicationInfo| it.clients += other.clients;
        Ok(Listing::of(by_key(found, |it| Arc::clone(&it.name), sum), limit))
    }

    /// Groups in the order of their IDs.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the server has stopped.
    pub async fn groups(&self, part: Part<GroupId>) -> Result<Listing<GroupInfo>, Stopped> {
        let (limit, wider) = (part.limit, wider(part));
        let found = self.look(move |_, it| it.groups(&wider)).await?;
        let sum = |it: &mut GroupInfo, other: GroupInfo| it.members += other.members;
        Ok(Listing::of(by_key(found, |it| it.group, sum), limit))
    }

    /// Members of a group; `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the server has stopped.
    pub async fn group(
        &self,
        group: GroupId,
        part: Part<Fingerprint>,
    ) -> Result<Option<GroupState>, Stopped> {
        let (limit, wider) = (part.limit, wider(part));
        let found = self.look(move |now, it| it.group_members(now, group, &wider)).await?;
        let (counts, members): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let count = counts.iter().sum();
        if count == 0 {
            return Ok(None);
        }
        let members = Listing::of(by_key(members, |it| it.peer, |_, _| {}), limit);
        let at: HashMap<SocketAddr, Fingerprint> =
            members.entries.iter().map(|it| (it.address, it.peer)).collect();
        let introductions = self.newest(MAX_REMEMBERED).await?;
        let links = introductions.iter().filter_map(|it| {
            let (from, to) = (*at.get(&it.from)?, it.wanted);
            let is_member = members.entries.binary_search_by_key(&to, |it| it.peer).is_ok();
            (is_member && from != to).then_some(MemberLink { from, to, outcome: it.outcome })
        });
        let links = links.collect();
        Ok(Some(GroupState { count, members, links }))
    }

    /// The introductions of the last while, the newest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the server has stopped.
    pub async fn introductions(&self, limit: usize) -> Result<Vec<Introduced>, Stopped> {
        let introductions = self.newest(limit).await?;
        let addresses: HashSet<SocketAddr> = introductions.iter().map(|it| it.from).collect();
        let askers: HashMap<SocketAddr, Fingerprint> =
            self.look(move |_, it| it.peers_at(&addresses)).await?.into_iter().flatten().collect();
        let introduced = introductions.into_iter().map(|introduction| Introduced {
            asker: askers.get(&introduction.from).copied(),
            introduction,
        });
        Ok(introduced.collect())
    }

    /// The newest introductions of all workers.
    async fn newest(&self, limit: usize) -> Result<Vec<Introduction>, Stopped> {
        let newest =
            move |now: Time, it: &Rendezvous| it.introductions(now).take(limit).collect::<Vec<_>>();
        let mut all: Vec<_> = self.look(newest).await?.into_iter().flatten().collect();
        all.sort_by_key(|it| it.age);
        all.truncate(limit);
        Ok(all)
    }

    /// What `look` finds at each worker.
    async fn look<T: Send + 'static>(
        &self,
        look: impl Fn(Time, &Rendezvous) -> T + Send + Sync + 'static,
    ) -> Result<Vec<T>, Stopped> {
        let look = Arc::new(look);
        let mut answers = Vec::new();
        for worker in self.workers.each() {
            let (answer, found) = oneshot::channel();
            let look = Arc::clone(&look);
            let look = Box::new(move |now, rendezvous: &Rendezvous| {
                // The caller may have been dropped.
                drop(answer.send(look(now, rendezvous)));
            });
            worker.send(Command::Look(Look(look))).await?;
            answers.push(found);
        }
        let mut all = Vec::new();
        for answer in answers {
            all.push(answer.await.map_err(|_| Stopped)?);
        }
        Ok(all)
    }
}

/// With one entry more, which tells whether there are others.
fn wider<K>(part: Part<K>) -> Part<K> {
    Part { limit: part.limit.saturating_add(1), ..part }
}

/// What all workers have found, in the order of its keys. What several have is put together by `add`.
fn by_key<T, K: Ord>(found: Vec<Vec<T>>, key: impl Fn(&T) -> K, add: impl Fn(&mut T, T)) -> Vec<T> {
    let mut all = BTreeMap::new();
    for entry in found.into_iter().flatten() {
        match all.entry(key(&entry)) {
            Entry::Vacant(place) => {
                place.insert(entry);
            }
            Entry::Occupied(mut known) => add(known.get_mut(), entry),
        }
    }
    all.into_values().collect()
}

impl<T> Listing<T> {
    fn of(mut entries: Vec<T>, limit: usize) -> Self {
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        Self { entries, has_more }
    }
}
