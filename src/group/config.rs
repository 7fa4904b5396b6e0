//! [`GroupConfig`].

use super::GroupSpec;
use crate::crypto::Fingerprint;
use std::net::SocketAddr;
use std::time::Duration;

/// Neighbors that a member should be allowed to have at least: a group is a ring on which each member
/// needs the three next above and the three next below.
pub const MIN_NEIGHBORS: usize = 6;

/// Settings of one group. [`GroupConfig::new`] fills in the defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GroupConfig {
    /// The groupspec.
    pub spec: GroupSpec,
    /// This endpoint's fingerprint.
    pub near: Fingerprint,
    /// The server that can introduce this member; sent to others in reports. `None` without a
    /// server.
    pub server: Option<SocketAddr>,
    /// The directed messages to receive.
    pub receive_mode: ReceiveMode,
    /// The most neighbors at a time; further hellos are rejected and no further member is connected
    /// to. With less than [`MIN_NEIGHBORS`] a member of a large group may be found by nobody.
    pub max_neighbors: usize,
    /// The most members remembered; further ones that others report are ignored.
    pub max_members: usize,
    /// How strictly members are chosen and reported as Flash Player does.
    pub membership: MembershipRules,
    /// Limits of object replication.
    pub replication: ReplicationLimits,
    /// Limits of directed routing.
    pub routing: RoutingLimits,
    /// Limits of streams.
    pub multicast: MulticastLimits,
    /// Limits of posting.
    pub posting: PostingLimits,
}

impl GroupConfig {
    /// Settings with the defaults: 64 neighbors, 1024 members, mode EXACT, no server.
    pub fn new(spec: GroupSpec, near: Fingerprint) -> Self {
        Self {
            spec,
            near,
            server: None,
            receive_mode: ReceiveMode::Exact,
            max_neighbors: 64,
            max_members: 1024,
            membership: MembershipRules::default(),
            replication: ReplicationLimits::default(),
            routing: RoutingLimits::default(),
            multicast: MulticastLimits::default(),
            posting: PostingLimits::default(),
        }
    }
}

/// How strictly members are chosen and reported as Flash Player does. Others cannot tell which of the
/// two a member has; the player's has no defense against members that lie or vanish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MembershipRules {
    /// The player's, and what this crate adds (`protocol-notes/netgroup-membership.md`, **ours**): a
    /// member that cannot be reached takes no place of others, and only what was seen first hand is
    /// reported.
    #[default]
    Hardened,
    /// In lists and reports what Flash Player was observed to do, for comparisons and tests: a member
    /// stays among the known ones until its age is 300 s, even if it cannot be reached, and what
    /// others report is passed on. Members next on the ring are not connected to before a tick.
    /// Other attempts, trimming and sessions follow the rules of this crate.
    Observed,
}

/// The addresses for which a member receives directed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReceiveMode {
    /// Only its own address.
    #[default]
    Exact,
    /// Every address to which it is the nearest of the members in this mode.
    Nearest,
}

impl ReceiveMode {
    /// Flash's text for it: `exact` or `nearest`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Nearest => "nearest",
        }
    }
}

/// How soon a member asks its neighbors to push the fragments of a stream. What it asks is the same:
/// others cannot tell which of the two a member has, but by the times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SubscriptionRules {
    /// As soon as fragments are known, every 0.1 s for a class of fragments that nobody pushes, of a
    /// neighbor that has them already.
    #[default]
    Prompt,
    /// As Flash Player was observed to do, for comparisons and tests: every 2 s for the next class, of
    /// the next neighbor, whether or not the class is pushed.
    Observed,
}

/// Limits of streams.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MulticastLimits {
    /// Flash's `multicastPushNeighborLimit`: the neighbors that each fragment is sent to in advance;
    /// further subscribers have to request it. With 0 fragments are sent only on request.
    pub push_neighbor_limit: usize,
    /// Flash's `multicastRelayMarginDuration`: how much longer than the stream's window fragments are
    /// held for others.
    pub relay_margin: Duration,
    /// How soon neighbors are asked to push.
    pub subscription: SubscriptionRules,
    /// Streams at a time, published here or by others. A stream without fragments makes place for
    /// another; else the description of a further one is rejected.
    pub max_streams: usize,
    /// Bytes that the held fragments of one stream take; beyond it the oldest are dropped.
    pub max_stream_bytes: usize,
    /// Bytes that all held fragments take; beyond it the stream that holds most loses its oldest.
    pub max_total_bytes: usize,
    /// The longest message that is put together; a longer one is relayed, but not delivered.
    pub max_message: usize,
}

impl Default for MulticastLimits {
    fn default() -> Self {
        Self {
            push_neighbor_limit: 4,
            relay_margin: Duration::from_secs(2),
            subscription: SubscriptionRules::default(),
            max_streams: 64,
            max_stream_bytes: 32 << 20,
            max_total_bytes: 64 << 20,
            max_message: 8 << 20,
        }
    }
}

/// Limits of object replication.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReplicationLimits {
    /// The largest object that is accepted, in encoded bytes; a larger one counts as a failed
    /// fetch.
    pub max_object: usize,
    /// Requests in flight at one neighbor.
    pub max_in_flight: usize,
    /// Neighbors served at a time; if there are more, they take turns. The player serves 4. With 0
    /// nobody is served: this member only fetches.
    pub max_unchoked: usize,
    /// Requests of one neighbor delivered to the application at a time; further ones are queued.
    /// Fewer are delivered if objects are large, and none while our flow to the neighbor is full.
    pub max_pending: usize,
    /// Requests of one neighbor queued; further ones are denied.
    pub max_queued: usize,
}

impl Default for ReplicationLimits {
    fn default() -> Self {
        Self {
            max_object: 4 << 20,
            max_in_flight: 64,
            max_unchoked: 32,
            max_pending: 32,
            max_queued: 256,
        }
    }
}

/// Limits of directed routing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RoutingLimits {
    /// The largest message that is sent or received, in encoded bytes. A larger one is not sent, which
    /// is an error; a larger one of a neighbor is dropped and counted.
    pub max_message: usize,
    /// The most bytes that wait for a neighbor whose flow is full. What would exceed them is not sent,
    /// which is an error.
    pub max_queued: usize,
}

impl Default for RoutingLimits {
    /// 1 MiB and 4 MiB.
    fn default() -> Self {
        Self { max_message: 1 << 20, max_queued: 4 << 20 }
    }
}

/// Limits of posting. They bound the memory of one group to about 24 MB at the defaults, however
/// many values its members post.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PostingLimits {
    /// The largest value that is posted and accepted, in encoded bytes; a larger one is dropped, and
    /// not passed on.
    pub max_value: usize,
    /// Values held for others, for 300 s each. At the bound, the oldest one is dropped of the
    /// neighbor that has brought most of them, and no further neighbor is informed of it. With 0 this
    /// member takes no part: it neither posts nor receives, nor passes anything on.
    pub max_values: usize,
    /// The same in encoded bytes.
    pub max_bytes: usize,
    /// Values recognized when they arrive again, within 300 s. At the bound the oldest is forgotten;
    /// if it arrives again, it is delivered and passed on again.
    pub max_remembered: usize,
    /// Values that one neighbor has announced and this member has not received; further ones are
    /// ignored. Each is one request at most.
    pub max_keys: usize,
    /// Requests of one neighbor that wait while our flow to it is full; further ones are dropped. The
    /// neighbor repeats them.
    pub max_owed: usize,
}

impl Default for PostingLimits {
    fn default() -> Self {
        Self {
            max_value: 1 << 20,
            max_values: 4096,
            max_bytes: 16 << 20,
            max_remembered: 1 << 16,
            max_keys: 1024,
            max_owed: 256,
        }
    }
}

impl PostingLimits {
    /// For a member that takes no part in posting.
    pub fn none() -> Self {
        Self { max_values: 0, ..Self::default() }
    }
}
