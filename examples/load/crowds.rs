//! The crowds of a run as one: each has a driver of its own, and 64 sockets at most.

use crate::crowd::{Command, Crowd, Role};
use crate::tally::Tally;
use crate::target::Target;
use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use rtmfp::driver::{self, Clock, Handle, MAX_SOCKETS, Sockets};
use rtmfp::proto::crypto::{DhGroup, Identity};
use rtmfp::proto::transport::Time;
use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// The longest time without any progress.
const STUCK: Duration = Duration::from_secs(60);

/// Options of the clients.
#[derive(Debug, Clone, Args)]
pub(crate) struct CrowdArgs {
    /// Diffie-Hellman group: 2 (as Flash Player), 14 or 16
    #[arg(long, global = true, default_value = "2", value_parser = parse_group)]
    group: DhGroup,
    /// Clients that connect at a time; one for each 64 sockets at least
    #[arg(long, global = true, default_value = "64", value_parser = clap::value_parser!(u32).range(1..=4096))]
    concurrency: u32,
    /// Sockets, and so addresses, of all clients: as many as there are clients, if the server is to see each at
    /// an address of its own
    #[arg(long, global = true, default_value = "128", value_parser = clap::value_parser!(u16).range(1..=16_384))]
    sockets: u16,
}

impl CrowdArgs {
    /// For some tens of clients, each at an address of its own, none of which waits for others.
    pub(crate) fn for_few(&self) -> Self {
        Self { concurrency: 4096, sockets: MAX_SOCKETS as u16, ..self.clone() }
    }
}

fn parse_group(text: &str) -> Result<DhGroup, String> {
    let number = text.parse().map_err(|_| "a number".to_owned())?;
    DhGroup::from_id(number).ok_or_else(|| "2, 5, 14 or 16".to_owned())
}

/// All crowds.
pub(crate) struct Crowds {
    all: Vec<Handle<Command>>,
    group: DhGroup,
}

impl Crowds {
    pub(crate) fn start(target: &Target, args: &CrowdArgs) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let sockets = usize::from(args.sockets);
        let count = sockets.div_ceil(MAX_SOCKETS).max(processors.min(sockets));
        let concurrency = (args.concurrency as usize).div_ceil(count);
        let mut all = Vec::new();
        for number in 0..count {
            // As clients are dealt out, so that as many sockets as clients are one for each.
            let share = (sockets + count - 1 - number) / count;
            let sockets = Sockets::bind(&target.clients_at(number, share))?;
            let crowd = Crowd::new(target.uri.clone(), target.address, args.group, concurrency);
            let crowd = crowd.on(sockets.local_addresses());
            let (handle, mut events) = driver::spawn(crowd, sockets, clock);
            tokio::spawn(async move { while events.recv().await.is_some() {} });
            all.push(handle);
        }
        Ok(Self { all, group: args.group })
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Asks one crowd.
    pub(crate) async fn ask<R: Send + 'static>(
        &self,
        number: usize,
        question: impl FnOnce(&mut Crowd, Time) -> R + Send + 'static,
    ) -> anyhow::Result<R> {
        let (answer, result) = oneshot::channel();
        let command: Command = Box::new(move |crowd, now| drop(answer.send(question(crowd, now))));
        self.all[number].send(command).await.map_err(|_| anyhow!("the driver has stopped"))?;
        result.await.context("the driver has stopped")
    }

    /// What has happened in all crowds since the last call.
    pub(crate) async fn tally(&self) -> anyhow::Result<Tally> {
        let mut sum = Tally::default();
        for number in 0..self.all.len() {
            sum.add(self.ask(number, |crowd, _| crowd.take_tally()).await?);
        }
        Ok(sum)
    }

    pub(crate) async fn retries(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for number in 0..self.all.len() {
            sum += self.ask(number, |crowd, _| crowd.retries()).await?;
        }
        Ok(sum)
    }

    /// Makes identities, on all processors.
    pub(crate) fn identities(&self, count: usize) -> Vec<Identity> {
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        let group = self.group;
        thread::scope(|scope| {
            let make = |count| (0..count).map(|_| Crowd::identity(group)).collect::<Vec<_>>();
            let share = |worker| (count + worker) / workers;
            let threads: Vec<_> =
                (0..workers).map(|worker| scope.spawn(move || make(share(worker)))).collect();
            threads.into_iter().flat_map(|it| it.join().unwrap_or_default()).collect()
        })
    }

    /// Has clients with these roles connect, in turn on all crowds, and waits until all have or have not.
    pub(crate) async fn connect(
        &self,
        clients: Vec<(Identity, Role)>,
    ) -> anyhow::Result<(Tally, Duration)> {
        let total = clients.len();
        let mut parts: Vec<Vec<_>> = (0..self.all.len()).map(|_| Vec::new()).collect();
        for (number, client) in clients.into_iter().enumerate() {
            parts[number % self.all.len()].push(client);
        }
        let begun = Instant::now();
        for (number, part) in parts.into_iter().enumerate() {
            self.ask(number, move |crowd, now| crowd.connect(now, part)).await?;
        }
        let done = |tally: &Tally| tally.connected.len() + tally.failed() as usize >= total;
        self.until("clients connect", total, done, |tally| tally.connected.len())
            .await
            .map(|tally| (tally, begun.elapsed()))
    }

    /// Has so many clients connect, with the roles that their numbers have, and all of them have to.
    pub(crate) async fn connect_all(
        &self,
        count: usize,
        role: impl Fn(usize) -> Role,
    ) -> anyhow::Result<()> {
        let identities = self.identities(count).into_iter().enumerate();
        let clients = identities.map(|(number, identity)| (identity, role(number))).collect();
        let (connected, _) = self.connect(clients).await?;
        ensure!(connected.failed() == 0, "clients could not connect: {:?}", connected.failures);
        Ok(())
    }

    /// Waits until what has happened is enough.
    pub(crate) async fn until(
        &self,
        what: &str,
        total: usize,
        enough: impl Fn(&Tally) -> bool,
        progress: impl Fn(&Tally) -> usize,
    ) -> anyhow::Result<Tally> {
        let mut all = Tally::default();
        let (mut moved, mut reported) = (Instant::now(), Instant::now());
        loop {
            let (before, failed) = (progress(&all), all.failed());
            all.add(self.tally().await?);
            if enough(&all) {
                return Ok(all);
            }
            if progress(&all) != before || all.failed() != failed {
                moved = Instant::now();
            } else if moved.elapsed() > STUCK {
                bail!(
                    "{what}: {before} of {total}, and none for {} s; {:?}",
                    STUCK.as_secs(),
                    all.failures
                );
            }
            if reported.elapsed() > Duration::from_secs(5) {
                reported = Instant::now();
                eprintln!("rtmfp-load: {what}: {} of {total}", progress(&all));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends all clients in order.
    pub(crate) async fn stop(self) {
        for handle in self.all {
            // Those whose close is not answered are of no interest.
            let _ = handle.shutdown(Duration::from_secs(2)).await;
        }
    }
}
