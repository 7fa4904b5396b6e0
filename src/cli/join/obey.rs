//! What commands do.

use super::Member;
use super::commands::{self, Command, Destination};
use super::output::{MemberEvent, Peer, Stats};
use crate::cli::console::{Asked, Form};
use crate::cli::member::no_neighbor;
use crate::cli::screen;
use rtmfp::Fingerprint;
use rtmfp::amf::Value;
use rtmfp::peer::{NetGroup, NetGroupError};
use rtmfp::proto::range::IndexSet;

impl Member {
    pub(super) async fn obey(&mut self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Post(value) => self.post(&value).await,
            Command::Send(destination, value) => self.send(destination, &value).await,
            Command::Mode(mode) => {
                self.group.set_receive_mode(mode).await?;
                self.out.reply(&MemberEvent::mode(mode))
            }
            Command::Have(index, value) => self.have(index, &value).await,
            Command::Want(ranges) => self.want(&ranges).await,
            Command::Unhave(ranges) => {
                let group = self.group.clone();
                let remove = async |start, end| group.remove_have_objects(start, end).await;
                let changed = each(&ranges, remove).await;
                self.objects.withdraw(&ranges);
                self.sets(changed)
            }
            Command::Unwant(ranges) => {
                let group = self.group.clone();
                let remove = async |start, end| group.remove_want_objects(start, end).await;
                let changed = each(&ranges, remove).await;
                self.objects.unwant(&ranges)?;
                self.sets(changed)
            }
            Command::Objects => self.sets(Ok(())),
            Command::Connect(peer_id) => {
                let is_possible = self.group.add_neighbor(peer_id).await?;
                self.named(is_possible, &peer_id, MemberEvent::connecting(&peer_id))
            }
            Command::Hint(peer_id) => {
                let is_possible = self.group.add_member_hint(peer_id).await?;
                self.named(is_possible, &peer_id, MemberEvent::noted(&peer_id))
            }
            Command::Peers => {
                let peers = self.group.neighbors().await?.into_iter().map(|neighbor| Peer {
                    peer_id: neighbor.peer_id.to_string(),
                    address: neighbor.address.to_string(),
                    far_address: neighbor.far_address,
                    round_trip: neighbor.round_trip.map(|time| time.as_secs_f64()),
                });
                self.out.reply(&MemberEvent::Peers { peers: peers.collect() })
            }
            Command::Streams => {
                let streams = self.group.streams().await?;
                self.out.reply(&MemberEvent::Streams { streams })
            }
            Command::Stats => {
                let stats = Stats::of(&self.group).await?;
                self.out.reply(&MemberEvent::Stats(Box::new(stats)))
            }
            Command::Help if self.out.form() == Form::Json => {
                self.out.reply(&MemberEvent::Commands { commands: commands::COMMANDS })
            }
            Command::Help => {
                let is_posting = self.group.spec().posting_enabled();
                commands::help(is_posting).iter().for_each(|line| screen::line(line));
                self.change(Form::Slash.understand("/help")).await
            }
            Command::Quit => {
                self.has_quit = true;
                Ok(())
            }
        }
    }

    /// Posts a value, or prints why that is not possible.
    async fn post(&self, value: &Value) -> anyhow::Result<()> {
        match self.group.post(value).await {
            Ok(id) => self.out.reply(&MemberEvent::Posted { message_id: id.to_string() }),
            Err(error) => self.refused(error),
        }
    }

    /// Sends a directed message, or prints why that is not possible.
    async fn send(&self, destination: Destination, value: &Value) -> anyhow::Result<()> {
        let sent = match destination {
            Destination::Nearest(address) => self.group.send_to_nearest(value, address).await,
            Destination::Next(mode) => self.group.send_to_neighbor(value, mode).await,
            Destination::All => self.group.send_to_all_neighbors(value).await,
        };
        match sent {
            Ok(result) => self.out.reply(&MemberEvent::Directed { result: result.as_str() }),
            Err(error) => self.refused(error),
        }
    }

    /// Offers a value as an object.
    async fn have(&mut self, index: u64, value: &Value) -> anyhow::Result<()> {
        if !self.group.spec().object_replication_enabled() {
            // The set stays empty; the group has the words for it.
            return self.sets(self.group.add_have_objects(index, index).await);
        }
        if let Err(error) = self.objects.offer(index, value) {
            return self.wrong(format!("{error:#}"));
        }
        let changed = match self.offers {
            true => self.group.add_have_objects(index, index).await,
            false => self.group.remove_want_objects(index, index).await,
        };
        if !self.offers {
            screen::line("metered: it is offered to others after /metered off");
        }
        self.sets(changed)
    }

    /// Fetches objects.
    async fn want(&mut self, ranges: &IndexSet) -> anyhow::Result<()> {
        let group = self.group.clone();
        let changed = each(ranges, async |start, end| group.add_want_objects(start, end).await);
        match changed.await {
            Ok(()) => {
                self.objects.want(ranges)?;
                self.sets(Ok(()))
            }
            Err(error) => {
                // Those before the one that failed are not wanted either.
                for range in ranges.ranges() {
                    let _ = self.group.remove_want_objects(*range.start(), *range.end()).await;
                }
                self.sets(Err(error))
            }
        }
    }

    /// Prints both sets, or why one did not change.
    fn sets(&self, changed: Result<(), NetGroupError>) -> anyhow::Result<()> {
        match changed {
            Ok(()) => self.out.reply(&MemberEvent::objects(&self.objects)),
            Err(error) => self.refused(error),
        }
    }

    fn named(
        &self,
        is_possible: bool,
        peer_id: &Fingerprint,
        event: MemberEvent,
    ) -> anyhow::Result<()> {
        match is_possible {
            true => self.out.reply(&event),
            false => self.wrong(no_neighbor(peer_id)),
        }
    }

    /// Prints why the group has refused a call.
    fn refused(&self, error: NetGroupError) -> anyhow::Result<()> {
        match error {
            NetGroupError::Closed => Err(NetGroupError::Closed.into()),
            error => self.wrong(error.to_string()),
        }
    }

    fn wrong(&self, reason: String) -> anyhow::Result<()> {
        self.out.answer(&Asked::Wrong(reason), &self.in_force)
    }
}

impl Stats {
    async fn of(group: &NetGroup) -> Result<Self, NetGroupError> {
        let (stats, coverage) = (group.stats().await?, group.local_coverage().await?);
        Ok(Self {
            neighbors: stats.neighbors,
            members: group.estimated_member_count().await?,
            mode: group.receive_mode().await?.as_str(),
            coverage_from: coverage.0.to_string(),
            coverage_to: coverage.1.to_string(),
            posted: stats.posting.posted,
            received: stats.posting.received,
            messages_sent: stats.routing.messages_sent,
            messages_received: stats.routing.messages_received,
            objects_sent: stats.replication.objects_sent,
            objects_received: stats.replication.objects_received,
            streams: stats.multicast.streams,
            bytes: stats.bytes,
            rates: group.info().await?,
        })
    }
}

/// Calls the group with each range.
async fn each(
    ranges: &IndexSet,
    call: impl AsyncFn(u64, u64) -> Result<(), NetGroupError>,
) -> Result<(), NetGroupError> {
    for range in ranges.ranges() {
        call(*range.start(), *range.end()).await?;
    }
    Ok(())
}
