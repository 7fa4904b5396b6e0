//! The member of a group that publishes or plays.

use super::output::{Out, StreamEvent};
use crate::cli::key_log::KeyLogArgs;
use crate::cli::limits::{DownArgs, UpArgs};
use crate::cli::listen::{self, Listen};
use crate::cli::outcome::{TimedOut, WrongUsage};
use crate::cli::patience::{after, connecting};
use crate::cli::signals::Signals;
use crate::cli::{STOP_GRACE, format, screen, via};
use anyhow::{anyhow, bail};
use rtmfp::peer::{Connection, GroupConfig, GroupEvent, NetGroup, NetGroupEvents, PeerConfig};
use rtmfp::proto::group::IpMulticastAddress;
use rtmfp::{GroupSpec, Uri};
use std::time::Duration;

/// How the group is met.
#[derive(Debug, clap::Args)]
pub(super) struct MemberArgs {
    /// The rendezvous server at which the group meets: rtmfp://HOST[:PORT][/APP]
    #[arg(long, value_name = "URL", value_parser = via::parse, required_unless_present = "lan")]
    via: Option<Uri>,

    /// Find the members on the local network, without a server (rtmfp groupspec new … --lan)
    #[arg(long)]
    lan: bool,

    /// UDP address to send and receive from: PORT, ADDR, ADDR:PORT or NAME:PORT; may be given
    /// several times [default: all addresses, any free port]
    #[arg(long, value_name = "ADDR", value_parser = listen::member_address)]
    listen: Vec<Listen>,

    #[command(flatten)]
    up: UpArgs,

    #[command(flatten)]
    down: DownArgs,

    #[command(flatten)]
    key_log: KeyLogArgs,
}

/// A member of the group.
pub(super) struct Member {
    pub(super) group: NetGroup,
    pub(super) events: NetGroupEvents,
    connection: Connection,
}

impl MemberArgs {
    /// Refuses a group in which there can be no stream, or no member is found.
    pub(super) fn check(&self, spec: &GroupSpec) -> anyhow::Result<()> {
        let wrong = |text: &str| Err(WrongUsage(text.to_owned()).into());
        if !spec.multicast_enabled() {
            return wrong(
                "there are no streams in this group: its groupspec does not enable multicast \
                 (multicastEnabled; rtmfp groupspec new … --multicast)",
            );
        }
        if spec.peer_to_peer_disabled() {
            return wrong(
                "this groupspec forbids connections among members (peerToPeerDisabled): there is \
                 nobody to meet in its group",
            );
        }
        let is_on_lan = spec.ip_multicast_member_updates_enabled()
            && spec.ip_multicast_addresses().iter().any(IpMulticastAddress::is_valid);
        if self.lan && !is_on_lan {
            return wrong(
                "members of this group do not announce themselves on the local network: its \
                 groupspec lacks an IP multicast address or does not enable member updates (rtmfp \
                 groupspec new … --lan)",
            );
        }
        if !is_on_lan && !spec.server_channel_enabled() && spec.bootstrap_peers().is_empty() {
            return wrong(
                "members of this group cannot find each other through a server: its groupspec does \
                 not enable the server channel (serverChannelEnabled; rtmfp groupspec new … \
                 --server-channel)",
            );
        }
        Ok(())
    }

    /// Connects and joins.
    pub(super) async fn join(
        self,
        spec: GroupSpec,
        timeout: Option<Duration>,
        signals: &mut Signals,
        out: Out,
    ) -> anyhow::Result<Member> {
        let mut config = PeerConfig::default();
        config.key_log = self.key_log.open()?;
        config.limits = self.up.limits_with(self.down);
        if !self.listen.is_empty() {
            config.listen = listen::addresses(self.listen);
        }
        let via = via::or_serverless(self.via);
        match via.is_serverless() {
            true => screen::line("looking for members on the local network"),
            false => screen::line(&format!("connecting to {via}")),
        }
        let attempt = Connection::connect_with(config, via.as_str());
        let connection = tokio::select! {
            connection = connecting(via.as_str(), attempt) => connection.map_err(|error| {
                anyhow!("cannot connect to {via}: {}", format::printable(&error.to_string()))
            })?,
            () = after(timeout) => {
                let time = format::duration(timeout.unwrap_or_default());
                return Err(TimedOut(format!("gave up: no answer from {via} within {time}")).into());
            }
            () = signals.recv() => bail!("interrupted before there was a connection"),
        };
        let mut config = GroupConfig::new(spec, connection.peer_id());
        config.max_neighbors = self.up.max_neighbors().unwrap_or(config.max_neighbors);
        let group = connection.join_with(config).await?;
        out.emit(&StreamEvent::Joined {
            name: group.spec().name(),
            group_id: group.id().to_string(),
            peer_id: connection.peer_id().to_string(),
        })?;
        Ok(Member { events: group.events(), group, connection })
    }
}

impl Member {
    /// Prints an event of the group that a program may want to know.
    pub(super) fn report(event: &GroupEvent, out: Out) -> anyhow::Result<()> {
        match event {
            GroupEvent::NeighborConnect { peer_id, .. } => {
                out.emit(&StreamEvent::NeighborConnected { peer_id: peer_id.to_string() })
            }
            GroupEvent::NeighborDisconnect { peer_id, .. } => {
                out.emit(&StreamEvent::NeighborDisconnected { peer_id: peer_id.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Leaves the group. A second signal does not wait for the far ends.
    pub(super) async fn leave(self, signals: &mut Signals) {
        let close = async { self.connection.close(STOP_GRACE).await.unwrap_or_default() };
        signals.or_at_once(close).await;
    }
}
