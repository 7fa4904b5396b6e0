//! The options of a member of a group, and its connection.

use super::key_log::KeyLogArgs;
use super::limits::{DownArgs, UpArgs};
use super::listen::{self, Listen};
use super::outcome::{TimedOut, WrongUsage};
use super::patience::{after, connecting};
use super::signals::Signals;
use super::{format, screen, via};
use anyhow::{anyhow, bail};
use rtmfp::peer::{ConnectError, Connection, NetGroup, NetGroupError, PeerConfig};
use rtmfp::proto::node::NetConnectionError::Unreachable;
use rtmfp::{Fingerprint, GroupSpec, Uri};
use std::fmt::Display;
use std::time::Duration;

/// How a group is met, and what its member may take of the link.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("ways").required(true).multiple(true)))]
pub(super) struct MemberArgs {
    /// The rendezvous server at which the group meets: rtmfp://HOST[:PORT][/APP]; may be given several
    /// times: the next one is used where one does not answer
    #[arg(long, value_name = "URL", value_parser = via::parse, group = "ways")]
    via: Vec<Uri>,

    /// Find the members on the local network, without a server
    ///
    /// The groupspec must allow that (ipMulticastMemberUpdatesEnabled, and an IP multicast address):
    /// rtmfp groupspec new … --lan makes one. If it does, members on the local network are found with
    /// --via as well.
    #[arg(long, group = "ways")]
    lan: bool,

    /// Connect to this member at once (addNeighbor), by its peer ID; may be given several times
    ///
    /// It is introduced by the server, which need not keep groups, and the groupspec need not enable the
    /// server channel.
    #[arg(long = "neighbour", visible_alias = "neighbor", value_name = "PEER_ID")]
    neighbor: Vec<Fingerprint>,

    /// UDP address to send and receive from: PORT, ADDR, ADDR:PORT or NAME:PORT; may be given several
    /// times [default: all addresses, any free port]
    #[arg(long, value_name = "ADDR", value_parser = listen::member_address)]
    listen: Vec<Listen>,

    #[command(flatten)]
    pub(super) up: UpArgs,

    #[command(flatten)]
    pub(super) down: DownArgs,

    #[command(flatten)]
    key_log: KeyLogArgs,
}

impl MemberArgs {
    /// Refuses a group in which no member is found, before anybody is asked.
    pub(super) fn check(&self, spec: &GroupSpec) -> anyhow::Result<()> {
        let wrong = |text: &str| Err(WrongUsage(text.to_owned()).into());
        if spec.peer_to_peer_disabled() {
            return wrong(
                "this groupspec forbids connections among members (peerToPeerDisabled): there is \
                 nobody to meet in its group",
            );
        }
        let is_on_lan = spec.meets_on_lan();
        if self.lan && !is_on_lan {
            return wrong(
                "members of this group do not announce themselves on the local network: its \
                 groupspec lacks an IP multicast address or does not enable member updates (rtmfp \
                 groupspec new … --lan)",
            );
        }
        let is_named = !spec.bootstrap_peers().is_empty() || !self.neighbor.is_empty();
        if !is_on_lan && !spec.server_channel_enabled() && !is_named {
            return wrong(
                "members of this group cannot find each other through a server: its groupspec does \
                 not enable the server channel (serverChannelEnabled; rtmfp groupspec new … \
                 --server-channel); name a member by --neighbour PEER_ID to meet it nevertheless",
            );
        }
        Ok(())
    }

    /// The settings of the connection. Opens the key log.
    pub(super) fn config(&self) -> anyhow::Result<PeerConfig> {
        let mut config = PeerConfig::default();
        config.key_log = self.key_log.open()?;
        config.limits = self.up.limits_with(self.down);
        if !self.listen.is_empty() {
            config.listen = listen::addresses(self.listen.clone());
        }
        Ok(config)
    }

    /// True if members of a group are named.
    pub(super) fn names_neighbors(&self) -> bool {
        !self.neighbor.is_empty()
    }

    /// Connects to the members that are named.
    pub(super) async fn add_neighbors(&self, group: &NetGroup) -> Result<(), NetGroupError> {
        for &peer_id in &self.neighbor {
            if !group.add_neighbor(peer_id).await? {
                screen::line(&no_neighbor(&peer_id));
            }
        }
        Ok(())
    }

    /// The first server, or none.
    pub(super) fn via(&self) -> Uri {
        self.via.first().cloned().unwrap_or_else(Uri::serverless)
    }

    /// Connects to the server, if there is one, and waits for it at most for `timeout`.
    pub(super) async fn connect(
        &self,
        config: PeerConfig,
        timeout: Option<Duration>,
        signals: &mut Signals,
    ) -> anyhow::Result<Connection> {
        let via = self.via();
        if !via.is_serverless() {
            screen::line(&format!("connecting to {via}"));
        }
        tokio::select! {
            connection = connecting(via.as_str(), connect(config, &self.via)) => connection,
            () = after(timeout) => Err(late(&via, timeout)),
            () = signals.recv() => bail!("interrupted before there was a connection"),
        }
    }
}

/// Why a peer cannot become a neighbor.
pub(super) fn no_neighbor(peer_id: &Fingerprint) -> String {
    format!("{peer_id} cannot be a neighbour: it is this member itself, or all places are taken")
}

async fn connect(config: PeerConfig, servers: &[Uri]) -> anyhow::Result<Connection> {
    let via = match servers {
        [] => &Uri::serverless(),
        [via] => via,
        several => return Ok(Connection::connect_to_any(config, several).await?),
    };
    Connection::connect_with(config, via.as_str()).await.map_err(|error| match &error {
        ConnectError::Server(Unreachable(_)) => no_connection(via, &error),
        _ => anyhow!("cannot connect to {via}: {}", format::printable(&error.to_string())),
    })
}

/// The error of an attempt that nobody has answered.
pub(super) fn no_connection(via: &Uri, why: impl Display) -> anyhow::Error {
    anyhow!("cannot connect to {via}: {why}; is it running, and does a firewall let UDP through?")
}

/// No answer in the time given by `--timeout`.
fn late(via: &Uri, timeout: Option<Duration>) -> anyhow::Error {
    let time = format::duration(timeout.unwrap_or_default());
    TimedOut(format!("gave up: no answer from {via} within {time}")).into()
}
