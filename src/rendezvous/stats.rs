//! The counters of a server.

use crate::transport::EndpointStats;

/// Counters of a server since it started, and of its current state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RendezvousStats {
    /// Clients that are connected now.
    pub clients: usize,
    /// Groups with members now.
    pub groups: usize,
    /// Clients that have ever connected.
    pub connected: u64,
    /// Introductions made.
    pub introductions: u64,
    /// Clients refused, as they named an application that is not served.
    pub applications_refused: u64,
    /// Clients refused because of their tokens.
    pub tokens_refused: u64,
    /// Clients refused by the owner, or because it did not answer.
    pub hook_refused: u64,
    /// Questions to the owner ([`RendezvousConfig::hooks`](super::RendezvousConfig::hooks)).
    pub hook_queries: u64,
    /// Questions that were not asked, as too many waited.
    pub hook_queries_dropped: u64,
    /// Questions that were not answered in time, or not asked.
    pub hook_queries_failed: u64,
    /// Streams that a client wanted to publish or play, and has no right to.
    pub rights_refused: u64,
    /// Joins refused, as the client was in too many groups or the group had too many members.
    pub joins_refused: u64,
    /// Calls of `relay` that were passed on.
    pub relayed: u64,
    /// Calls of `relay` that were refused.
    pub relays_refused: u64,
    /// Connectivity checks begun.
    pub checks: u64,
    /// Connectivity checks refused, as there were too many.
    pub checks_refused: u64,
    /// Streams that are published now.
    pub streams: usize,
    /// NetStreams that play one, or wait for it.
    pub players: usize,
    /// Streams that were ever published.
    pub streams_published: u64,
    /// Messages of streams that were not sent to somebody who plays, because too much waited.
    pub stream_messages_dropped: u64,
    /// Remote shared objects now.
    pub shared_objects: usize,
    /// Hellos for peers that are not connected.
    pub unknown_peers: u64,
    /// Hellos ignored because one address asked for too many.
    pub introductions_limited: u64,
    /// Hellos forwarded to the clients that they asked for.
    pub forwarded: u64,
    /// Hellos that were answered but not forwarded: too many from there or to that client, or the
    /// asker is no client and its hello is too short for what it would bring.
    pub forwards_limited: u64,
    /// Addresses that clients have reported and cannot have.
    pub addresses_refused: u64,
    /// Commands to other workers of the server that were lost because too many waited.
    pub commands_lost: u64,
    /// Refusals of the endpoint because of its limits.
    pub endpoint: EndpointStats,
}

impl RendezvousStats {
    /// The sums of both: the counters of two workers as one.
    pub fn plus(self, other: Self) -> Self {
        Self {
            clients: self.clients + other.clients,
            groups: self.groups + other.groups,
            connected: self.connected + other.connected,
            introductions: self.introductions + other.introductions,
            applications_refused: self.applications_refused + other.applications_refused,
            tokens_refused: self.tokens_refused + other.tokens_refused,
            rights_refused: self.rights_refused + other.rights_refused,
            hook_refused: self.hook_refused + other.hook_refused,
            hook_queries: self.hook_queries + other.hook_queries,
            hook_queries_dropped: self.hook_queries_dropped + other.hook_queries_dropped,
            hook_queries_failed: self.hook_queries_failed + other.hook_queries_failed,
            joins_refused: self.joins_refused + other.joins_refused,
            relayed: self.relayed + other.relayed,
            relays_refused: self.relays_refused + other.relays_refused,
            checks: self.checks + other.checks,
            checks_refused: self.checks_refused + other.checks_refused,
            streams: self.streams + other.streams,
            players: self.players + other.players,
            streams_published: self.streams_published + other.streams_published,
            stream_messages_dropped: self.stream_messages_dropped + other.stream_messages_dropped,
            shared_objects: self.shared_objects + other.shared_objects,
            unknown_peers: self.unknown_peers + other.unknown_peers,
            introductions_limited: self.introductions_limited + other.introductions_limited,
            forwarded: self.forwarded + other.forwarded,
            forwards_limited: self.forwards_limited + other.forwards_limited,
            addresses_refused: self.addresses_refused + other.addresses_refused,
            commands_lost: self.commands_lost + other.commands_lost,
            endpoint: self.endpoint.plus(other.endpoint),
        }
    }
}
