//! The rendezvous server's logic, without sockets.
//!
//! Clients connect by NetConnection, report their addresses, and join groups. The server introduces
//! peers to each other (RFC 7016 §3.5.1.4, §3.5.1.5) and introduces a new group member to others
//! (`protocol-notes/netgroup-membership.md`). It relays no traffic between peers, except
//! the short messages of `relay` and the live streams that clients publish at it.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the server: its settings, and what reaches which part |
//! | `event.rs` | what the owner hears |
//! | `stats.rs` | its counters |
//! | `application.rs` | the applications that clients connect to |
//! | `access.rs` | what a client may do, by its token |
//! | `barriers.rs` | flows of a client that wait for each other |
//! | `client.rs` | one client: its NetConnection and its `GC` flows |
//! | `groups.rs` | the members of groups |
//! | `introduce.rs` | introductions and their limits |
//! | `addresses.rs` | the addresses that a client reports, and their distribution |
//! | `newcomers.rs` | new members, until they have met a member |
//! | `follow_up.rs` | how long that takes at most |
//! | `history.rs` | the introductions of the last while |
//! | `survey.rs` | what can be read of clients, groups and introductions |
//! | `connectivity.rs` | what address translators in front of clients do |
//! | `relay.rs` | short messages from one client to another |
//! | `shared_objects.rs` | remote shared objects of clients |
//! | `streams.rs` | live streams that clients publish and play |
//! | [`hooks`] | questions to the owner |
//! | [`cluster`] | several servers that are one: what they ask each other |

mod access;
mod addresses;
mod application;
mod barriers;
mod client;
pub mod cluster;
mod connectivity;
mod event;
mod follow_up;
mod groups;
mod history;
pub mod hooks;
mod introduce;
mod newcomers;
mod relay;
mod shared_objects;
mod stats;
mod streams;
mod survey;

use crate::amf::Value;
use crate::crypto::{Fingerprint, Identity};
use crate::flash::connectivity::METHOD as CHECK_METHOD;
use crate::flash::group_channel::{GroupId, JoinKey};
use crate::flash::server::MAX_STREAMS;
use crate::flash::{Keepalive, Methods, ServerConnection, ServerConnectionConfig};
use crate::transport::{
    Config, Endpoint, Event, FlowId, FlowTable, Layer, Random, SessionId, Time, Worker,
};
pub use access::{CheckTokens, MAX_TOKEN, Names, OwnToken, Rights, TokenError};
use application::application;
use barriers::ClientBarriers;
use client::{Client, Owner};
use cluster::{Cluster, MemberId};
use connectivity::Checks;
pub use connectivity::{
    ConnectivityLimits, ProbeAnswer, ProbePurpose, ProbeRequest, ProbeSocket, Prober,
};
pub use event::{RefusalReason, RendezvousEvent};
use groups::Groups;
use history::History;
pub use history::{Introduction, MAX_REMEMBERED, Outcome};
use hooks::Lanes;
pub use hooks::{Decision, HookConfig, HookEvent, HookKind, Query, QueryId};
pub use introduce::IntroductionLimits;
use introduce::{Budgets, HostBudgets, Places};
use newcomers::Newcomers;
pub use relay::RelayLimits;
use relay::Relays;
use shared_objects::SharedObjects;
pub use shared_objects::{SharedObjectLimits, SharedObjectSnapshot};
pub use stats::RendezvousStats;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use streams::Streams;
pub use streams::{StreamInfo, StreamLimits};
pub use survey::{ApplicationInfo, ClientInfo, GroupInfo, Part};

/// Events that wait for the owner; beyond this, the oldest is dropped (they only inform).
const MAX_EVENTS: usize = 4096;
/// Bytes that wait for a client beyond [`Config::max_send_queue`]; with more it is closed.
const MAX_PARKED: u64 = 64 << 10;

/// Settings of a rendezvous server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RendezvousConfig {
    /// The transport.
    pub transport: Config,
    /// Keepalive periods that clients are advised of; `None` leaves the players' own (90 s, 20 s).
    /// The server's period is the longest: the fewer clients there are, the shorter it is, see
    /// [`pings_per_second`](Self::pings_per_second).
    pub keepalive: Option<Keepalive>,
    /// Clients are advised of a period in which all of them together send about as many pings in a
    /// second as this, between [`Keepalive::MIN`] and [`keepalive`](Self::keepalive). By
    /// its pings a client finds out that the server was restarted.
    pub pings_per_second: u32,
    /// A client that has not connected within this time after its session opened is closed.
    pub connect_within: Duration,
    /// A refused client's session is closed after this time, in which it reads the answer.
    pub linger_refused: Duration,
    /// Members that a new member is introduced to at once.
    pub introduce_members: usize,
    /// Groups that one client may join; further joins are refused. A group of its own costs less than
    /// 2 KiB besides its two flows, which count as
    /// [`max_session_memory`](Config::max_session_memory); each needs a
    /// [receiving flow](Config::max_flows).
    pub max_groups_per_client: usize,
    /// Limits of `relay`.
    pub relay: RelayLimits,
    /// The applications that clients may connect to, as the path of their URI without query; with one
    /// its instances (`app/instance`) are meant, too. `None` takes any.
    pub applications: Option<BTreeSet<String>>,
    /// Asks the owner what clients may do, and for the answers to calls; `None` asks nothing.
    pub hooks: Option<HookConfig>,
    /// Checks the token of each client that connects; `None` needs no tokens.
    pub tokens: Option<Arc<dyn CheckTokens>>,
    /// The token of peers in this process, which may do everything, and whose addresses are believed.
    /// `None` if there are none.
    pub own_token: Option<OwnToken>,
    /// Limits of live streams; `None` relays no streams.
    pub streams: Option<StreamLimits>,
    /// Limits of remote shared objects; `None` keeps none.
    pub shared_objects: Option<SharedObjectLimits>,
    /// Limits of connectivity checks; `None` makes none.
    pub connectivity: Option<ConnectivityLimits>,
    /// The sockets of the [`Prober`], which connectivity checks need: without any, none are made.
    pub probe_sockets: Vec<ProbeSocket>,
    /// The owner takes persistent objects when they have changed
    /// ([`Rendezvous::take_changed_objects`]), to keep them for the next run.
    pub takes_shared_objects: bool,
    /// Members of one group; further joins are refused.
    pub max_members_per_group: usize,
    /// Limits of introductions.
    pub introductions: IntroductionLimits,
    /// Addresses of this server itself: no client can have one of them.
    pub own_addresses: Vec<SocketAddr>,
}

impl Default for RendezvousConfig {
    fn default() -> Self {
        let period = Duration::from_secs(20);
        Self {
            transport: Config::server(),
            keepalive: Some(Keepalive { server: period, peer: period }),
            pings_per_second: 1000,
            connect_within: Duration::from_secs(30),
            linger_refused: Duration::from_secs(2),
            introduce_members: 12,
            max_groups_per_client: 256,
            relay: RelayLimits::default(),
            applications: None,
            tokens: None,
            own_token: None,
            hooks: None,
            streams: Some(StreamLimits::default()),
            shared_objects: Some(SharedObjectLimits::default()),
            connectivity: Some(ConnectivityLimits::default()),
            probe_sockets: Vec::new(),
            takes_shared_objects: false,
            max_members_per_group: 100_000,
            introductions: IntroductionLimits::default(),
            own_addresses: Vec::new(),
        }
    }
}

impl RendezvousConfig {
    /// Leaves of the pings the part of one of `count` workers.
    fn share_pings(&mut self, count: usize) {
        self.pings_per_second = (self.pings_per_second / count as u32).max(1);
    }

    /// The same of the questions to the owner.
    fn share_hooks(&mut self, count: usize) {
        if let Some(hooks) = &mut self.hooks {
            hooks.pending = (hooks.pending / count).max(1);
        }
    }

    /// True if clients may connect to this application.
    fn is_welcome(&self, app: &str) -> bool {
        let Some(applications) = &self.applications else { return true };
        let app = application(app);
        let instances = app.match_indices('/').map(|(at, _)| &app[..at]);
        instances.chain([app]).any(|app| applications.contains(app))
    }
}

/// A sans-IO rendezvous server; see the module's description.
pub struct Rendezvous {
    config: RendezvousConfig,
    endpoint: Endpoint,
    random: Random,
    clients: HashMap<SessionId, Client>,
    /// How many of them have connected.
    connected: usize,
    flows: FlowTable<Owner>,
    barriers: ClientBarriers,
    groups: Groups,
    budgets: Budgets,
    newcomers: Newcomers,
    history: History,
    relays: Relays,
    streams: Option<Streams>,
    shared_objects: Option<SharedObjects>,
    checks: Option<Checks>,
    hooks: Option<Lanes>,
    places: Places,
    /// Its place among other workers, if there are any.
    cluster: Option<Cluster>,
    /// Clients that have to do something by a time, or are closed.
    deadlines: BTreeSet<(Time, SessionId)>,
    events: VecDeque<RendezvousEvent>,
    stats: RendezvousStats,
    stopping: bool,
}

impl Rendezvous {
    /// A server without clients. `random` serves the transport, `choices` the choice of members.
    pub fn new(
        config: RendezvousConfig,
        identity: Identity,
        random: Random,
        choices: Random,
    ) -> Self {
        let endpoint = Endpoint::new(config.transport.clone(), identity.into(), random);
        let hosts = HostBudgets::new(config.introductions);
        Self::with_endpoint(config, endpoint, hosts, choices)
    }

    /// Several servers with one identity that share their ports: the workers of one process, at most
    /// [`MAX_WORKERS`](crate::transport::MAX_WORKERS) of them. `random` makes sources of randomness.
    ///
    /// Every worker's [commands](Self::poll_command) are to be carried to the
    /// [others](Self::handle_command), each of which is the
    /// [member](cluster::MemberId) of the cluster with its number here, and so are
    /// [datagrams](Self::poll_stray). The bounds of `config` hold for all of them together, except those
    /// of [streams](StreamLimits) and [shared objects](SharedObjectLimits). A single worker is what [`new`](Self::new) makes.
    pub fn crew(
        config: &RendezvousConfig,
        identity: Identity,
        workers: usize,
        mut random: impl FnMut() -> Random,
    ) -> Vec<Self> {
        let identity = Arc::new(identity);
        let crew = Worker::crew(workers, &config.transport, &mut *random());
        let hosts = HostBudgets::new(config.introductions);
        let count = crew.len();
        let worker = |worker: Worker| {
            let mut config = config.clone();
            config.share_pings(count);
            if let Some(streams) = &mut config.streams {
                streams.cache_in_all /= count;
            }
            config.share_hooks(count);
            let number = worker.number() as u16;
            let others = (0..count as u16).filter(|&other| other != number).map(MemberId::worker);
            let (transport, identity) = (config.transport.clone(), Arc::clone(&identity));
            let endpoint = Endpoint::new_worker(transport, identity, random(), worker);
            let mut worker = Self::with_endpoint(config, endpoint, hosts.clone(), random());
            worker.cluster =
                (count > 1).then(|| Cluster::new(MemberId::worker(number), others.collect()));
            worker
        };
        crew.into_iter().map(worker).collect()
    }

    fn with_endpoint(
        config: RendezvousConfig,
        endpoint: Endpoint,
        hosts: HostBudgets,
        choices: Random,
    ) -> Self {
        let (relay, streams) = (config.relay, config.streams.map(Streams::new));
        let checks = config.connectivity.map(Checks::new);
        let shared_objects = config.shared_objects;
        let keeps = config.takes_shared_objects;
        let hooks = config.hooks.clone().map(Lanes::new);
        let shared_objects = shared_objects.map(|limits| SharedObjects::new(limits, keeps));
        Self {
            budgets: Budgets::new(config.introductions, hosts),
            places: Places::default(),
            cluster: None,
            config,
            endpoint,
            random: choices,
            clients: HashMap::new(),
            connected: 0,
            flows: FlowTable::new(MAX_PARKED),
            barriers: ClientBarriers::default(),
            groups: Groups::default(),
            newcomers: Newcomers::default(),
            history: History::default(),
            relays: Relays::new(relay),
            streams,
            shared_objects,
            checks,
            hooks,
            deadlines: BTreeSet::new(),
            events: VecDeque::new(),
            stats: RendezvousStats::default(),
            stopping: false,
        }
    }

    /// Read-only access to the endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<RendezvousEvent> {
        self.events.pop_front()
    }

    /// Sessions of clients, those among them that have not connected yet.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// The members of a group, oldest first.
    pub fn members(&self, group: GroupId) -> Vec<Fingerprint> {
        let sessions = self.groups.members(group);
        sessions.filter_map(|id| self.endpoint.session(id)).map(|info| info.far()).collect()
    }

    /// From now on the server has these settings. Of [`RendezvousConfig::transport`] it takes over
    /// what [`Endpoint::set_limits`] does; [`RendezvousConfig::own_addresses`],
    /// [`RendezvousConfig::probe_sockets`], [`RendezvousConfig::own_token`], [`RendezvousConfig::hooks`],
    /// and the limits of streams and shared objects, stay. What clients have beyond new limits they keep.
    pub fn reconfigure(&mut self, mut config: RendezvousConfig) {
        config.share_pings(self.endpoint.worker().count());
        self.endpoint.set_limits(&config.transport);
        self.budgets.set_limits(config.introductions);
        self.relays.set_limits(config.relay);
        if let (Some(checks), Some(limits)) = (&mut self.checks, config.connectivity) {
            checks.set_limits(limits);
        }
        config.own_addresses = std::mem::take(&mut self.config.own_addresses);
        config.probe_sockets = std::mem::take(&mut self.config.probe_sockets);
        config.own_token = self.config.own_token.take();
        config.hooks = self.config.hooks.take();
        (config.streams, config.shared_objects) = (self.config.streams, self.config.shared_objects);
        self.config = config;
    }

    /// Closes every session, and from now on each new one. [`is_idle`](Self::is_idle) returns true when
    /// nothing more has to be sent.
    pub fn shut_down(&mut self, now: Time) {
        self.stopping = true;
        for session in self.endpoint.sessions().map(|(id, _)| id).collect::<Vec<_>>() {
            self.endpoint.close(now, session);
        }
        self.drain_endpoint(now);
    }

    /// True if no session is open, every far end knows of its close, and no query waits for an answer.
    pub fn is_idle(&self) -> bool {
        self.endpoint.is_settled() && self.hooks.as_ref().is_none_or(Lanes::is_empty)
    }

    fn drain_endpoint(&mut self, now: Time) {
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                self.dispatch(now, event);
            }
            let Some(input) = self.flows.poll_input() else { return };
            self.on_flow_input(now, input);
        }
    }

    fn dispatch(&mut self, now: Time, event: Event) {
        match event {
            Event::SessionOpened { session, .. } if self.stopping => {
                self.endpoint.close(now, session);
            }
            Event::IntroductionWanted(introduction) => self.introduce(now, &introduction),
            Event::SessionOpened { session, far, .. } => {
                self.report(RendezvousEvent::SessionOpened(session));
                let connection = ServerConnection::new(now, self.server_config());
                let deadline = now + self.config.connect_within;
                let Some(info) = self.endpoint.session(session) else { return };
                let address = info.path().remote;
                self.places.enter(address);
                self.clients
                    .insert(session, Client::new(far, address, connection, (now, deadline)));
                self.deadlines.insert((deadline, session));
                self.announce(now, session);
            }
            Event::SessionClosed { session, .. } => {
                self.flows.on_session_closed(session);
                self.forget(now, session);
            }
            Event::AddressChanged { session, address } => {
                if let Some(client) = self.clients.get_mut(&session) {
                    self.places.leave(std::mem::replace(&mut client.address, address));
                    self.places.enter(address);
                }
            }
            Event::FlowOpened { session, flow, metadata, association } => {
                self.on_flow_opened(now, session, flow, &metadata, association);
            }
            Event::Message { session, flow, message } => {
                self.on_message(now, session, flow, &message);
            }
            Event::MessageTooLong { session, flow, head } => {
                self.on_message_too_long(now, session, flow, &head);
            }
            Event::FlowFinished { session, flow } => self.on_flow_finished(now, session, flow),
            Event::FlowRejected { session, flow, exception } => {
                self.flows.on_flow_rejected(session, flow, exception);
            }
            Event::FlowDone { session, flow } => self.flows.on_flow_done(session, flow),
            Event::Writable { session, flow } => {
                self.flows.on_writable(&mut self.endpoint, now, session, flow);
                self.catch_up(now, session);
            }
            _ => {}
        }
    }

    fn server_config(&self) -> ServerConnectionConfig {
        ServerConnectionConfig {
            keepalive: self.advice(),
            properties: Value::Null,
            methods: match self.asks_for_calls() {
                true => Methods::All,
                false => Methods::named([relay::METHOD, CHECK_METHOD]),
            },
            max_streams: self.config.streams.map_or(MAX_STREAMS, |limits| limits.per_client),
            ..ServerConnectionConfig::default()
        }
    }

    /// The keepalive periods for one more client.
    fn advice(&self) -> Option<Keepalive> {
        let slowest = self.config.keepalive?;
        let pings_per_second = self.config.pings_per_second.max(1);
        let fair = Duration::from_secs(self.clients.len() as u64) / pings_per_second;
        let server = fair.max(Keepalive::MIN).min(slowest.server);
        Some(Keepalive { server, ..slowest })
    }

    fn forget(&mut self, now: Time, session: SessionId) {
        self.stop_streams_of(now, session);
        self.notify_gone(now, session);
        self.forget_objects_of(now, session);
        if let Some(checks) = &mut self.checks {
            checks.forget(session);
        }
        self.barriers.forget(session);
        let Some(client) = self.clients.remove(&session) else { return };
        self.places.leave(client.address);
        if let Some(deadline) = client.deadline {
            self.deadlines.remove(&(deadline, session));
        }
        for (&flow, membership) in &client.memberships {
            self.newcomers.forget((session, flow));
            if let Some(group) = membership.group {
                self.leave(session, client.peer, group);
            }
        }
        if client.announced {
            self.connected -= 1;
            self.report(RendezvousEvent::ClientGone { peer: client.peer });
        }
    }

    fn leave(&mut self, session: SessionId, peer: Fingerprint, group: GroupId) {
        if let Some(members) = self.groups.leave(group, session) {
            self.report_leave(group, members);
            let members = self.members_everywhere(group);
            self.report(RendezvousEvent::Left { peer, group, members });
        }
    }

    /// A client joins a group: it is introduced to members, who are spread over the whole group so that
    /// no part of it stays apart.
    fn join(&mut self, now: Time, session: SessionId, flow: FlowId, key: &JoinKey) {
        let group = key.group_id();
        let members = self.members_everywhere(group);
        let Some(client) = self.clients.get_mut(&session) else { return };
        let has_too_many = client.memberships.len() > self.config.max_groups_per_client;
        let full = has_too_many && !client.is_own || members >= self.config.max_members_per_group;
        let Some(membership) = client.memberships.get_mut(&flow) else { return };
        if full || membership.group.is_some() {
            if full {
                self.stats.joins_refused += 1;
                client.memberships.remove(&flow);
                let _ = self.endpoint.reject_flow(session, flow, 0);
            }
            return;
        }
        (membership.group, membership.joined) = (Some(group), now);
        let peer = client.peer;
        self.groups.join(group, session);
        let members = self.members_everywhere(group);
        self.report(RendezvousEvent::Joined { peer, group, members });
        self.welcome(now, session, flow, group);
    }

    fn report(&mut self, event: RendezvousEvent) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

impl Layer for Rendezvous {
    type Inner = Endpoint;

    fn inner(&self) -> &Endpoint {
        &self.endpoint
    }

    fn inner_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn after_call(&mut self, now: Time) {
        self.drain_endpoint(now);
    }

    fn poll_own_timeout(&self) -> Option<Time> {
        let deadline = self.deadlines.first().map(|&(at, _)| at);
        let newcomers = self.newcomers.next_timeout();
        let checks = self.checks.as_ref().and_then(Checks::next_timeout);
        let hooks = self.hooks.as_ref().and_then(Lanes::next_timeout);
        let elsewhere =
            [self.next_relay_timeout(), self.next_stream_timeout(), self.next_object_timeout()];
        [deadline, newcomers, checks, hooks].into_iter().chain(elsewhere).flatten().min()
    }

    fn handle_own_timeout(&mut self, now: Time) {
        self.client_timeouts(now);
        self.newcomer_timeouts(now);
        self.relay_timeouts(now);
        self.stream_timeouts(now);
        self.check_timeouts(now);
        self.hook_timeouts(now);
        self.object_timeouts(now);
    }
}

impl std::fmt::Debug for Rendezvous {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rendezvous")
            .field("clients", &self.clients.len())
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}
