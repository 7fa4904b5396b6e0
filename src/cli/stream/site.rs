//! [`Site`]: the connection over which a stream is published or played, and its group.

use super::output::{Out, StreamEvent};
use super::place::Place;
use crate::cli::member::MemberArgs;
use crate::cli::outcome::WrongUsage;
use crate::cli::signals::Signals;
use crate::cli::situation::Situation;
use crate::cli::{STOP_GRACE, format, screen};
use anyhow::{bail, ensure};
use rtmfp::GroupSpec;
use rtmfp::peer::{Connection, GroupConfig, GroupEvent, NetGroup, NetGroupEvents, RecvError};
use std::future::pending;
use std::time::Duration;

/// A connection, and the group if the stream is in one.
pub(super) struct Site {
    pub(super) connection: Connection,
    pub(super) group: Option<NetGroup>,
    events: Option<NetGroupEvents>,
    /// Peers that play a stream which is published to them.
    pub(super) peers: usize,
}

/// Refuses a place in which there can be no stream, or nobody is found.
pub(super) fn check(args: &MemberArgs, place: &Place) -> anyhow::Result<()> {
    let Place::Group(spec) = place else {
        ensure!(
            !args.names_neighbors(),
            WrongUsage(
                "--neighbour names a member of a group; without a group there is none".into()
            )
        );
        ensure!(
            !args.via().is_serverless(),
            WrongUsage(
                "streams outside of groups need the server of --via, which introduces the peers or \
                 has the stream; on a local network alone, use a group (rtmfp groupspec new … \
                 --multicast --lan)"
                    .into()
            )
        );
        return Ok(());
    };
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

impl Site {
    /// Connects, and joins the group.
    pub(super) async fn open(
        args: &MemberArgs,
        place: &Place,
        timeout: Option<Duration>,
        signals: &mut Signals,
        out: Out,
    ) -> anyhow::Result<Self> {
        let config = args.config()?;
        if args.via().is_serverless() {
            screen::line("looking for members on the local network");
        }
        let connection = args.connect(config, timeout, signals).await?;
        let mut site = Self { connection, group: None, events: None, peers: 0 };
        match place {
            Place::Group(spec) => site.join(args, spec, out).await?,
            _ => {
                let peer_id = site.connection.peer_id().to_string();
                out.emit(&StreamEvent::Connected { peer_id })?;
            }
        }
        Ok(site)
    }

    async fn join(&mut self, args: &MemberArgs, spec: &GroupSpec, out: Out) -> anyhow::Result<()> {
        let peer_id = self.connection.peer_id();
        let mut config = GroupConfig::new(spec.clone(), peer_id);
        config.max_neighbors = args.up.max_neighbors().unwrap_or(config.max_neighbors);
        let group = self.connection.join_with(config).await?;
        out.emit(&StreamEvent::Joined {
            name: group.spec().name(),
            group_id: group.id().to_string(),
            peer_id: peer_id.to_string(),
        })?;
        args.add_neighbors(&group).await?;
        self.events = Some(group.events());
        self.group = Some(group);
        Ok(())
    }

    /// The next event of the group. Never returns without one. Cancel safe.
    pub(super) async fn event(&mut self) -> anyhow::Result<GroupEvent> {
        let Some(events) = &mut self.events else { return pending().await };
        loop {
            match events.recv().await {
                Ok(event) => return Ok(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => bail!("the group was closed"),
            }
        }
    }

    /// The number of neighbors or peers, in words; empty at a server.
    pub(super) fn others(&self, place: &Place) -> String {
        match (&self.group, place) {
            (Some(group), _) => format!(", {}", format::neighbors(group.neighbor_count())),
            (None, Place::Peers) => format!(", {}", format::count(self.peers as u64, "peer")),
            (None, _) => String::new(),
        }
    }

    /// Why nothing may come, in lines.
    pub(super) async fn situation(
        &self,
        place: &Place,
        is_connected: bool,
    ) -> anyhow::Result<Vec<String>> {
        let line = match (&self.group, place) {
            (Some(group), _) => {
                let search = group.search().await?;
                return Ok(Situation { search, provider: None }.lines());
            }
            (None, Place::Peer(_)) if !is_connected => {
                "the peer has not been reached: is it connected to the same server?"
            }
            (None, Place::Peer(_)) => {
                "a peer does not report that it publishes no stream of this name: is the name right, \
                 and does it publish already?"
            }
            (None, _) => "the server has not sent anything: is somebody publishing?",
        };
        Ok(vec![line.to_owned()])
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
