//! The counters of a server.

use super::Rendezvous;
use super::shared_objects::SharedObjects;
use super::streams::Streams;
use crate::transport::EndpointStats;

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident: $kind:ty,)*) => {
        /// Counters of a server since it started, and of its current state.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct RendezvousStats {
            $($(#[$doc])* pub $name: $kind,)*
            /// Refusals of the endpoint because of its limits.
            pub endpoint: EndpointStats,
        }

        impl RendezvousStats {
            /// The sums of both: the counters of two workers as one.
            pub fn plus(self, other: Self) -> Self {
                Self {
                    $($name: self.$name + other.$name,)*
                    endpoint: self.endpoint.plus(other.endpoint),
                }
            }
        }
    };
}

stats! {
    /// Clients that are connected now.
    clients: usize,
    /// Groups with members now.
    groups: usize,
    /// Streams that are published now.
    streams: usize,
    /// NetStreams that play one, or wait for it.
    players: usize,
    /// Remote shared objects now.
    shared_objects: usize,
    /// Clients that have ever connected.
    connected: u64,
    /// Clients refused, as they named an application that is not served.
    applications_refused: u64,
    /// Clients refused because of their tokens.
    tokens_refused: u64,
    /// Clients refused by the owner, or because it did not answer.
    hook_refused: u64,
    /// Sessions closed, as their clients had not connected in time
    /// ([`RendezvousConfig::connect_within`](super::RendezvousConfig::connect_within)).
    connects_timed_out: u64,
    /// Clients closed, as too much waited for them
    /// ([`Config::max_send_queue`](crate::transport::Config::max_send_queue)).
    laggards_closed: u64,
    /// Messages of clients dropped because of their length
    /// ([`Config::max_message`](crate::transport::Config::max_message)).
    messages_too_long: u64,
    /// Questions to the owner ([`RendezvousConfig::hooks`](super::RendezvousConfig::hooks)).
    hook_queries: u64,
    /// Questions that were not asked, as too many waited.
    hook_queries_dropped: u64,
    /// Questions that were not answered in time, or not asked.
    hook_queries_failed: u64,
    /// Streams that a client wanted to publish or play, and has no right to.
    rights_refused: u64,
    /// Joins refused, as the client was in too many groups or the group had too many members.
    joins_refused: u64,
    /// Calls of `relay` that were passed on.
    relayed: u64,
    /// Calls of `relay` that were refused.
    relays_refused: u64,
    /// Those of them that were refused because of [`RelayLimits`](super::RelayLimits); counted where
    /// the peer is.
    relays_limited: u64,
    /// Connectivity checks begun.
    checks: u64,
    /// Connectivity checks refused, as there were too many.
    checks_refused: u64,
    /// Streams that were ever published.
    streams_published: u64,
    /// NetStreams that clients could not make, as they had too many.
    net_streams_refused: u64,
    /// Streams that clients could not publish or play, as there were too many of them, or too many
    /// who play.
    streams_refused: u64,
    /// How often frames of a stream were not kept for those who come late, up to its next key frame,
    /// as there was no space.
    caches_cut: u64,
    /// Messages of streams that were not sent to somebody who plays, because too much waited, or that
    /// were not kept while their publisher waited for leave.
    stream_messages_dropped: u64,
    /// Uses of shared objects that were refused because of a limit.
    objects_refused: u64,
    /// Changes of shared objects that were undone because of a limit.
    object_changes_undone: u64,
    /// Messages about shared objects that were not sent to a client because too much waited for it.
    object_messages_held_back: u64,
    /// Introductions made.
    introductions: u64,
    /// Hellos for peers that are not connected.
    unknown_peers: u64,
    /// Hellos ignored because one address asked for too many.
    introductions_limited: u64,
    /// Hellos forwarded to the clients that they asked for.
    forwarded: u64,
    /// Hellos that were answered but not forwarded: too many from there or to that client, or the
    /// asker is no client and its hello is too short for what it would bring.
    forwards_limited: u64,
    /// Addresses that clients have reported and cannot have.
    addresses_refused: u64,
    /// Commands to other workers of the server that were lost because too many waited.
    commands_lost: u64,
}

impl Rendezvous {
    /// Counters.
    pub fn stats(&self) -> RendezvousStats {
        let clients = self.connected;
        let (streams, players) = self.streams.as_ref().map_or((0, 0), Streams::count);
        let shared_objects = self.shared_objects.as_ref().map_or(0, SharedObjects::len);
        let groups = self.groups.len();
        let counters = self.counters();
        let mut stats =
            RendezvousStats { clients, groups, streams, players, shared_objects, ..counters };
        if let Some(cluster) = &self.cluster {
            stats.groups = self.groups.all().filter(|it| !cluster.counts_elsewhere(*it)).count();
            stats.unknown_peers += cluster.not_located();
        }
        stats
    }

    /// The counters of what has happened, without those of the current state, which take longer.
    pub fn counters(&self) -> RendezvousStats {
        let mut stats = RendezvousStats { endpoint: self.endpoint.stats(), ..self.stats };
        stats.laggards_closed = self.flows.given_up();
        if let Some(streams) = &self.streams {
            stats.caches_cut = streams.caches_cut();
            stats.stream_messages_dropped += streams.claims_dropped();
        }
        if let Some(hooks) = &self.hooks {
            stats.stream_messages_dropped += hooks.early_dropped();
        }
        if let Some(objects) = &self.shared_objects {
            (stats.objects_refused, stats.object_changes_undone) = objects.refused();
            stats.object_messages_held_back = objects.held_back();
        }
        if let Some(cluster) = &self.cluster {
            stats.commands_lost += cluster.lost;
        }
        stats
    }
}
