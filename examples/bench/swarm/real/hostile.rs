//! A member of no use as a process of its own.

use super::super::hostile::{Hostile, Kind};
use super::super::neighbors::Neighbors;
use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use rtmfp::driver::{self, Clock, Service, Sockets, os_random};
use rtmfp::proto::crypto::{Fingerprint, Identity, IdentityConfig};
use rtmfp::proto::group::GroupSpec;
use rtmfp::proto::sim::SeededRandom;
use rtmfp::proto::transport::{Config, Endpoint, Layer, Time};
use rtmfp::vod::ShareLink;
use std::net::SocketAddr;

/// The arguments of such a process.
#[derive(Debug, Args)]
pub(crate) struct HostileProcess {
    #[arg(long)]
    kind: Kind,
    /// The file
    #[arg(long)]
    link: ShareLink,
    #[arg(long)]
    chunks: u64,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    seed: u64,
}

impl HostileProcess {
    pub(in super::super) fn new(
        kind: Kind,
        (link, chunks): (&ShareLink, u64),
        listen: SocketAddr,
        seed: u64,
    ) -> Self {
        Self { kind, link: link.clone(), chunks, listen, seed }
    }

    /// The command line that becomes the same again.
    pub(super) fn arguments(&self) -> Vec<String> {
        let kind = self.kind.to_possible_value().map(|kind| kind.get_name().to_owned());
        let words = [
            ("--kind", kind.unwrap_or_default()),
            ("--link", self.link.to_string()),
            ("--chunks", self.chunks.to_string()),
            ("--listen", self.listen.to_string()),
            ("--seed", self.seed.to_string()),
        ];
        let words = words.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        std::iter::once("hostile".to_owned()).chain(words).collect()
    }

    /// Takes part until it is killed. It joins by the provider, to which the server introduces it,
    /// and finds the others by the reports of members.
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let spec: GroupSpec = self.link.groupspec.parse()?;
        let provider = self.link.provider.context("a link without a provider")?;
        let server = self
            .link
            .servers
            .first()
            .context("a link without a server")?
            .to_string()
            .parse()
            .context("a server without an address")?;
        let sockets = Sockets::bind(&[self.listen])?;
        let identity = Identity::generate(&IdentityConfig::like_a_player(), &mut *os_random());
        let endpoint = Endpoint::new(Config::default(), identity.into(), os_random());
        let mut neighbors = Neighbors::new(endpoint, spec);
        neighbors.follow_reports();
        let clock = Clock::start();
        let random = SeededRandom::new(self.seed);
        let mut hostile = Hostile::new(clock.now(), neighbors, self.kind, self.chunks, random);
        hostile.neighbors.approach(clock.now(), Fingerprint(provider.0), server);
        let (handle, mut events) = driver::spawn(HostileService(hostile), sockets, clock);
        println!("{}", serde_json::json!({ "event": "started" }));
        ensure!(events.recv().await.is_some(), "the driver has stopped");
        drop(handle);
        Ok(())
    }
}

/// The machine under the driver.
struct HostileService(Hostile);

impl Layer for HostileService {
    type Inner = Endpoint;

    fn inner(&self) -> &Endpoint {
        &self.0.neighbors.endpoint
    }

    fn inner_mut(&mut self) -> &mut Endpoint {
        &mut self.0.neighbors.endpoint
    }

    fn after_call(&mut self, now: Time) {
        self.0.react(now);
    }

    fn poll_own_timeout(&self) -> Option<Time> {
        self.0.poll_own_timeout()
    }

    fn handle_own_timeout(&mut self, now: Time) {
        self.0.handle_own_timeout(now);
    }
}

impl Service for HostileService {
    type Command = ();
    type Event = ();

    fn handle_command(&mut self, _: Time, (): ()) {}

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn begin_shutdown(&mut self, _: Time) {}

    fn is_idle(&self) -> bool {
        true
    }
}
