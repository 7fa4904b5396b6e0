//! The answers of `/api/v1`, as `openapi.json` describes them. Times are in seconds, IDs hexadecimal.

use crate::group::GroupAddress;
use crate::server::{
    ApplicationInfo, ClientInfo, ClusterStats, GroupInfo, GroupState, Introduced, MemberLink,
    Outcome, Server, ServerLoad, ServerStats,
};
use serde::Serialize;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A part of a list.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    entries: Vec<T>,
    /// The `after` of the next part.
    next: Option<String>,
}

impl<T> List<T> {
    pub(super) fn of(entries: Vec<T>, next: Option<String>) -> Self {
        Self { entries, next }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    uptime: f64,
    addresses: Vec<SocketAddr>,
    urls: Vec<String>,
    fingerprint: String,
    clients: usize,
    sessions: u64,
    connected: u64,
    groups: usize,
    streams: usize,
    players: usize,
    introductions: Introductions,
    forwards: Forwards,
    relays: Relays,
    traffic: Traffic,
    memory_held: u64,
    cluster: Option<Cluster>,
}

#[derive(Debug, Serialize)]
struct Introductions {
    made: u64,
    unknown: u64,
    limited: u64,
}

#[derive(Debug, Serialize)]
struct Forwards {
    forwarded: u64,
    limited: u64,
}

#[derive(Debug, Serialize)]
struct Relays {
    relayed: u64,
    refused: u64,
}

#[derive(Debug, Serialize)]
struct Cluster {
    servers: usize,
    connected: bool,
    commands: Commands,
}

#[derive(Debug, Serialize)]
struct Commands {
    sent: u64,
    received: u64,
    lost: u64,
}

impl From<ClusterStats> for Cluster {
    fn from(stats: ClusterStats) -> Self {
        let ClusterStats { connected, servers, sent, received, lost } = stats;
        Self { servers, connected, commands: Commands { sent, received, lost } }
    }
}

#[derive(Debug, Serialize)]
struct Traffic {
    datagrams_in: u64,
    datagrams_out: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Status {
    pub(super) fn of(server: &Server, stats: &ServerStats, load: ServerLoad) -> Self {
        let (of_clients, network) = (&stats.rendezvous, &stats.network);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime: seconds(stats.uptime),
            addresses: server.local_addresses().to_vec(),
            urls: server.client_uris(),
            fingerprint: server.fingerprint().to_string(),
            clients: of_clients.clients,
            sessions: load.sessions,
            connected: of_clients.connected,
            groups: of_clients.groups,
            streams: of_clients.streams,
            players: of_clients.players,
            introductions: Introductions {
                made: of_clients.introductions,
                unknown: of_clients.unknown_peers,
                limited: of_clients.introductions_limited,
            },
            forwards: Forwards {
                forwarded: of_clients.forwarded,
                limited: of_clients.forwards_limited,
            },
            relays: Relays { relayed: of_clients.relayed, refused: of_clients.relays_refused },
            traffic: Traffic {
                datagrams_in: network.datagrams_received,
                datagrams_out: network.datagrams_sent,
                bytes_in: network.bytes_received,
                bytes_out: network.bytes_sent,
            },
            memory_held: load.memory,
            cluster: stats.cluster.map(Cluster::from),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Session {
    peer_id: String,
    address: SocketAddr,
    application: Option<String>,
    idle: f64,
    round_trip: Option<f64>,
    bytes_in: u64,
    bytes_out: u64,
    groups: usize,
}

impl From<ClientInfo> for Session {
    fn from(client: ClientInfo) -> Self {
        Self {
            peer_id: client.peer.to_string(),
            address: client.address,
            application: client.app.map(|app| app.to_string()),
            idle: seconds(client.idle),
            round_trip: client.round_trip.map(seconds),
            bytes_in: client.bytes_received,
            bytes_out: client.bytes_sent,
            groups: client.groups,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Application {
    name: String,
    clients: usize,
    streams: usize,
}

impl Application {
    pub(super) fn of(info: ApplicationInfo, streams: &HashMap<Arc<str>, usize>) -> Self {
        let streams = streams.get(&info.name).copied().unwrap_or_default();
        Self { name: info.name.to_string(), clients: info.clients, streams }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Group {
    id: String,
    members: usize,
}

impl From<GroupInfo> for Group {
    fn from(info: GroupInfo) -> Self {
        Self { id: info.group.to_string(), members: info.members }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Members {
    id: String,
    count: usize,
    members: Vec<Member>,
    links: Vec<Link>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Member {
    peer_id: String,
    group_address: String,
    /// Its place on the ring, from 0 to 1.
    position: f64,
    address: SocketAddr,
    idle: f64,
}

#[derive(Debug, Serialize)]
struct Link {
    from: String,
    to: String,
    outcome: &'static str,
}

impl Members {
    pub(super) fn of(id: String, state: GroupState) -> Self {
        let GroupState { count, members, links, .. } = state;
        let last = members.entries.last().filter(|_| members.has_more);
        let next = last.map(|client| client.peer.to_string());
        let members = members.entries.iter().map(Member::of).collect();
        Self { id, count, members, links: links.iter().map(Link::of).collect(), next }
    }
}

impl Member {
    fn of(client: &ClientInfo) -> Self {
        let address = GroupAddress::of(&client.peer);
        let first = u32::from_be_bytes(*address.0.first_chunk().unwrap_or(&[0; 4]));
        Self {
            peer_id: client.peer.to_string(),
            group_address: address.to_string(),
            position: f64::from(first) / 2_f64.powi(32),
            address: client.address,
            idle: seconds(client.idle),
        }
    }
}

impl Link {
    fn of(link: &MemberLink) -> Self {
        let outcome = outcome(link.outcome);
        Self { from: link.from.to_string(), to: link.to.to_string(), outcome }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Introduction {
    age: f64,
    from: SocketAddr,
    asker: Option<String>,
    peer_id: String,
    hellos: u32,
    outcome: &'static str,
}

impl From<Introduced> for Introduction {
    fn from(introduced: Introduced) -> Self {
        let it = introduced.introduction;
        Self {
            age: seconds(it.age),
            from: it.from,
            asker: introduced.asker.map(|peer| peer.to_string()),
            peer_id: it.wanted.to_string(),
            hellos: it.hellos,
            outcome: outcome(it.outcome),
        }
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pending => "pending",
        Outcome::Succeeded => "succeeded",
        Outcome::NoAnswer => "no_answer",
        Outcome::UnknownPeer => "unknown_peer",
        Outcome::Limited => "limited",
    }
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}
