//! A member of groups in the process of the server: `--member`, `--seed`, `--ingest`.
//!
//! It is a peer like others, connected to this server, to which it proves by a token that it belongs to it.
//! Whatever comes of it, the server goes on.
//!
//! | file | what |
//! | --- | --- |
//! | `plan` | the groups of the settings, and what the member does in each |
//! | `folder` | what the folder of `--seed` has for a group |
//! | `place` | the member in one group |
//! | `ingest` | a stream of a client, published in a group |

mod folder;
mod ingest;
mod place;
mod plan;

use super::Out;
use super::events::Event;
use crate::cli::public_address::PublicAddress;
use anyhow::Context;
use folder::Listing;
pub(super) use ingest::Passed;
use place::Place;
use plan::Plan;
use rtmfp::driver::{Announced, KeyLogFile, NetworkStats};
use rtmfp::peer::{Connection, Limits, PeerConfig};
use rtmfp::server::{OwnToken, SeedDescriptor, Server, Settings};
use rtmfp::vod::{DescriptorForm, ServerAddress, ShareConfig};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The member, as it is reported when the server listens.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Introduced {
    peer_id: String,
    /// The identities of its groups, which nobody can join by them.
    groups: Vec<String>,
}

impl Introduced {
    /// `of 2 groups as 6a4973f6…`.
    pub(super) fn words(&self) -> String {
        let groups = crate::cli::format::count(self.groups.len() as u64, "group");
        format!("of {groups} as {}…", self.peer_id.chars().take(8).collect::<String>())
    }
}

/// The member, which leaves its groups when this is dropped or [closed](Self::close).
pub(super) struct Member {
    connection: Connection,
    /// Those over which the streams come that go into groups.
    players: Vec<Connection>,
    groups: Vec<String>,
    /// What it does in its groups.
    work: JoinSet<()>,
}

/// What a member is made of, besides its plan.
pub(super) struct Parts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) public: Option<&'a PublicAddress>,
    pub(super) token: &'a OwnToken,
    pub(super) key_log: Option<KeyLogFile>,
}

/// Finds out whether the settings make sense, before anything runs.
pub(super) fn check(settings: &Settings) -> anyhow::Result<()> {
    Plan::of(settings).map(drop)
}

impl Member {
    /// Connects to the server and joins the groups; `None` if there are none.
    pub(super) async fn start(
        server: &Server,
        parts: Parts<'_>,
        out: Out,
    ) -> anyhow::Result<Option<Self>> {
        let plan = Plan::of(parts.settings)?;
        if plan.groups.is_empty() {
            return Ok(None);
        }
        let address = own_address(server).context("the server listens at no address")?;
        let config = peer_config(&parts).await;
        let connection = connect(config.clone(), address, "").await?;
        let mut member = Self {
            connection,
            players: Vec::new(),
            groups: plan.groups.iter().map(|planned| planned.spec.group_id().to_string()).collect(),
            work: JoinSet::new(),
        };
        let listing = member.watch_folder(&plan).await?;
        let share = share_config(parts.settings, address)?;
        // Another port, and nobody is introduced to it.
        let mut player = config.with_listen(vec![SocketAddr::new(address.ip(), 0)]);
        player.announced.clear();
        for planned in plan.groups {
            let group = member.connection.join(planned.spec.clone()).await?;
            for ingest in planned.ingest {
                let connection = connect(player.clone(), address, &ingest.app).await?;
                member.players.push(connection.clone());
                member.work.spawn(ingest::run(connection, group.clone(), ingest, out));
            }
            let listing = listing.clone().filter(|_| planned.spec.object_replication_enabled());
            let place = Place::new(group, planned.offers_files, share.clone(), out);
            member.work.spawn(place.run(listing));
        }
        Ok(Some(member))
    }

    /// Begins to read the folder of `--seed`, if there is one.
    async fn watch_folder(
        &mut self,
        plan: &Plan,
    ) -> anyhow::Result<Option<watch::Receiver<Listing>>> {
        let Some(directory) = plan.seed.clone() else { return Ok(None) };
        let shown = directory.display().to_string();
        let first = crate::cli::library::list(directory.clone()).await;
        let first = first.with_context(|| format!("cannot offer what is in {shown}"))?;
        let (sender, listing) = watch::channel(Listing::default());
        self.work.spawn(folder::follow(directory, first, sender));
        Ok(Some(listing))
    }

    pub(super) fn introduced(&self) -> Introduced {
        let peer_id = self.connection.peer_id().to_string();
        Introduced { peer_id, groups: self.groups.clone() }
    }

    /// Leaves its groups, and reports what it has sent.
    pub(super) async fn close(mut self, grace: Duration, out: Out) {
        self.work.abort_all();
        let mut closing = JoinSet::new();
        for player in self.players.drain(..) {
            closing.spawn(async move { player.close(grace).await });
        }
        // Who does not confirm notices that it is gone.
        let _ = self.connection.close(grace).await;
        closing.join_all().await;
        // Without the streams that came from this server.
        let NetworkStats { bytes_sent, bytes_received, .. } = self.connection.network_stats();
        out.say(&Event::MemberLeft { bytes_sent, bytes_received }, || {
            let sent = crate::cli::format::bytes(bytes_sent);
            format!("the member has left its groups, {sent} sent\n")
        });
    }
}

/// The address at which the process reaches its own server.
fn own_address(server: &Server) -> Option<SocketAddr> {
    let mut address = *server.local_addresses().first()?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Some(address)
}

/// The member listens where the server does, at a port of its own.
async fn peer_config(parts: &Parts<'_>) -> PeerConfig {
    let Parts { settings, public, token, key_log } = parts;
    let mut listen: Vec<SocketAddr> = Vec::new();
    for server in &settings.server.listen {
        let address = SocketAddr::new(server.ip(), settings.member.port);
        if !listen.contains(&address) {
            listen.push(address);
        }
    }
    let mut config = PeerConfig::default().with_listen(listen);
    config.node.connect_arguments = vec![token.argument()];
    config.limits = Limits::default().with_up(settings.member.up_limit);
    config.key_log = key_log.clone();
    if let Some(public) = public {
        // The port is that of the server.
        let announced = public.announced().await;
        config.announced = announced.into_iter().map(|it| Announced { port: None, ..it }).collect();
    }
    config
}

async fn connect(config: PeerConfig, to: SocketAddr, app: &str) -> anyhow::Result<Connection> {
    let uri = format!("rtmfp://{to}/{app}");
    let connected = Connection::connect_with(config, &uri).await;
    connected.context("the member of groups cannot connect to its own server")
}

/// The settings of files that are offered, but for the group. Nobody sees the link.
fn share_config(settings: &Settings, server: SocketAddr) -> anyhow::Result<ShareConfig> {
    let server = ServerAddress::new(&server.ip().to_string(), server.port())?;
    let mut config = ShareConfig::new(server);
    config.form = match settings.member.descriptor {
        SeedDescriptor::Number => DescriptorForm::Number,
        _ => DescriptorForm::Object,
    };
    Ok(config)
}
