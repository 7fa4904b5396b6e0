//! The member of a group that publishes or plays.

use super::output::{Out, StreamEvent};
use crate::cli::member::MemberArgs;
use crate::cli::outcome::WrongUsage;
use crate::cli::signals::Signals;
use crate::cli::{STOP_GRACE, screen};
use anyhow::ensure;
use rtmfp::GroupSpec;
use rtmfp::peer::{Connection, GroupConfig, GroupEvent, NetGroup, NetGroupEvents};
use std::time::Duration;

/// A member of the group.
pub(super) struct Member {
    pub(super) group: NetGroup,
    pub(super) events: NetGroupEvents,
    connection: Connection,
}

/// Refuses a group in which there can be no stream, or no member is found.
pub(super) fn check(args: &MemberArgs, spec: &GroupSpec) -> anyhow::Result<()> {
    ensure!(
        spec.multicast_enabled(),
        WrongUsage(
            "there are no streams in this group: its groupspec does not enable multicast \
             (multicastEnabled; rtmfp groupspec new … --multicast)"
                .into()
        )
    );
    args.check(spec)
}

impl Member {
    /// Connects and joins.
    pub(super) async fn join(
        args: &MemberArgs,
        spec: GroupSpec,
        timeout: Option<Duration>,
        signals: &mut Signals,
        out: Out,
    ) -> anyhow::Result<Self> {
        let config = args.config()?;
        if args.via().is_serverless() {
            screen::line("looking for members on the local network");
        }
        let connection = args.connect(config, timeout, signals).await?;
        let mut config = GroupConfig::new(spec, connection.peer_id());
        config.max_neighbors = args.up.max_neighbors().unwrap_or(config.max_neighbors);
        let group = connection.join_with(config).await?;
        out.emit(&StreamEvent::Joined {
            name: group.spec().name(),
            group_id: group.id().to_string(),
            peer_id: connection.peer_id().to_string(),
        })?;
        Ok(Self { events: group.events(), group, connection })
    }

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
