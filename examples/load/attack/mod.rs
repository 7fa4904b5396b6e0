//! Attacks on a server of one's own, while honest clients use it.
//!
//! An attack is a process of its own, which does nothing else and sends as fast as it can. The workload
//! compares what honest clients get before and meanwhile, and what the server uses.
//!
//! | file | subject |
//! | --- | --- |
//! | `attacker` | the process that attacks |
//! | `line`, `packets`, `puppet` | its socket, packets, and sessions |
//! | `hellos`, `keyings`, `replay`, `ids`, `joins`, `amf`, `readers`, `flows`, `objects`, `hook` | the attacks |
//! | `owner` | the hook of the server that `hook` attacks |
//! | `honest` | the clients beside |
//! | `gauge` | what the server uses meanwhile |
//! | `processors` | who runs where |

mod amf;
mod attacker;
mod flows;
mod gauge;
mod hellos;
mod honest;
mod hook;
mod ids;
mod joins;
mod keyings;
mod line;
mod objects;
mod owner;
mod packets;
pub(crate) mod processors;
mod puppet;
mod readers;
mod replay;

use crate::Common;
use crate::crowds::Crowds;
use crate::report::Report;
use crate::target::Target;
use anyhow::{Context, ensure};
use attacker::Attacker;
use clap::{Args, ValueEnum};
use gauge::{Change, Gauge};
use honest::{Honest, Served};
use line::Line;
use owner::Owner;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::flash::Uri;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The longest time until nothing of an attack is left: what a server waits for a client, and some.
const GONE: Duration = Duration::from_secs(70);

/// The workload `attack`.
#[derive(Debug, Args)]
pub(crate) struct AttackArgs {
    /// What the attacker does
    #[arg(value_enum)]
    kind: Kind,
    /// Seconds without the attack, and seconds with it
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600))]
    window: u64,
    /// Sessions of the attacker, for attacks that need some [default: what the attack is worth]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: Option<u32>,
    /// Datagrams of the attacker in a second, at most [default: as many as one processor sends]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    rate: Option<u32>,
    /// Send each hello by itself, from a source of its own, and not 32 at once from one [default: at once]
    #[arg(long)]
    one_by_one: bool,
    /// Let the server have processor 0, and clients and attacker another one (Linux)
    #[arg(long)]
    pub(crate) pin: bool,
    /// Do not wait until the server has noticed that the attacker is gone
    #[arg(long)]
    no_rest: bool,
    /// Be the attacker: started by the workload itself
    #[arg(long, hide = true, requires = "url")]
    attacker: bool,
    /// Clients that the attacker knows
    #[arg(long, hide = true)]
    peer: Vec<Fingerprint>,
}

/// An attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Hellos with forged sources: for the server, its clients, and unknown peers
    Hellos,
    /// Keyings with valid cookies of many hosts, for each of which the server computes keys
    Keyings,
    /// Recorded packets of sessions, and keyings, from other addresses
    Replay,
    /// Forged packets for session IDs that are guessed or known
    Ids,
    /// Clients that join 256 groups each, and go on with others
    Joins,
    /// Calls with values that are as long, deep and many as can be
    Amf,
    /// Clients that play streams and acknowledge nothing, or have no space
    Readers,
    /// Flows with gaps, without end, refused; packets of which pieces are missing
    Flows,
    /// Clients that all use the same shared objects, change them, and take little of what they are told
    Objects,
    /// Clients that have the server ask its hook, which is slow, without end
    Hook,
}

/// What an attack has to know.
#[derive(Debug)]
struct Setting {
    uri: Uri,
    /// Clients of the server.
    peers: Vec<Fingerprint>,
    /// How many sessions to open, if it is not what the attack is worth.
    sessions: Option<usize>,
    /// Send each hello by itself.
    one_by_one: bool,
}

/// An attack that is ready to begin.
trait Attack {
    /// Sends some datagrams.
    fn burst(&mut self, line: &mut Line) -> anyhow::Result<()>;

    /// Sessions that it has opened.
    fn sessions(&self) -> usize {
        0
    }
}

impl Kind {
    fn prepare(self, setting: &Setting, line: &mut Line) -> anyhow::Result<Box<dyn Attack>> {
        Ok(match self {
            Self::Hellos => Box::new(hellos::Hellos::new(setting)),
            Self::Keyings => Box::new(keyings::Keyings::new(setting)),
            Self::Replay => Box::new(replay::Replay::prepare(setting, line)?),
            Self::Ids => Box::new(ids::Ids::prepare(setting, line)?),
            Self::Joins => Box::new(joins::Joins::prepare(setting, line)?),
            Self::Amf => Box::new(amf::Amf::prepare(setting, line)?),
            Self::Readers => Box::new(readers::Readers::prepare(setting, line)?),
            Self::Flows => Box::new(flows::Flows::prepare(setting, line)?),
            Self::Objects => Box::new(objects::Objects::prepare(setting, line)?),
            Self::Hook => Box::new(hook::Hook::prepare(setting, line)?),
        })
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// True if an attack can only hit this host or its own network.
fn is_own(address: SocketAddr) -> bool {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(_) => false,
    }
}

/// What there is of one window of time.
struct Window {
    served: Served,
    change: Change,
}

impl AttackArgs {
    pub(crate) async fn run(&self, common: &Common) -> anyhow::Result<Report> {
        if self.attacker {
            let target = Target::open(&common.target)?;
            ensure!(is_own(target.address), "only servers at private addresses are attacked");
            let setting = Setting {
                uri: target.uri.clone(),
                peers: self.peer.clone(),
                sessions: self.sessions.map(|sessions| sessions as usize),
                one_by_one: self.one_by_one,
            };
            attacker::attack(self.kind, &setting, (target.address, self.rate))?;
            std::process::exit(0);
        }
        let name = self.kind.name();
        let mut report = Report::new("attack", format!("attack: {name} for {} s", self.window));
        for _ in 0..common.runs.unwrap_or(3) {
            self.once(common, &mut report).await?;
        }
        Ok(report)
    }

    async fn once(&self, common: &Common, report: &mut Report) -> anyhow::Result<()> {
        let owner = match self.kind {
            Kind::Hook => Some(Owner::start().await.context("the hook")?),
            _ => None,
        };
        let settings = owner.as_ref().map(Owner::settings).unwrap_or_default();
        let target = processors::server(self.pin, || Target::open_with(&common.target, &settings))?;
        ensure!(
            is_own(target.address),
            "{} is not an address of this host or a private network of IPv4: only a server of one's own \
             is attacked",
            target.address
        );
        let crowds = Crowds::start(&target, &common.clients.for_few())?;
        let mut honest = Honest::connect(&crowds).await?;
        let rest = Gauge::start(&target).await?;
        let before = self.window(&target, &crowds, &mut honest).await?;
        let mut attacker = Attacker::start(self, &target, honest.peers())?;
        let sessions = tokio::task::block_in_place(|| attacker.wait_until_ready())?;
        attacker.begin()?;
        let during = self.window(&target, &crowds, &mut honest).await?;
        let done = tokio::task::block_in_place(|| attacker.stop())?;
        report.explain("sessions of the attacker", sessions as f64);
        self.explain(report, &done, &before, &during);
        if let Some(owner) = &owner {
            report.explain("questions to the hook", owner.asked() as f64);
        }
        if !self.no_rest {
            let seconds = wait_until_gone(&target, rest.sessions()).await?;
            report.add("gone_s", "seconds until its sessions were gone", seconds);
            let after = Gauge::start(&target).await?;
            report.add("rss_after_mb", "server's memory after it, MB", after.resident() / 1e6);
            report.add("held_after_mb", "held by flows after it, MB", after.held() / 1e6);
        }
        crowds.stop().await;
        Ok(())
    }

    /// Lets honest clients use the server for a while.
    async fn window(
        &self,
        target: &Target,
        crowds: &Crowds,
        honest: &mut Honest,
    ) -> anyhow::Result<Window> {
        let gauge = Gauge::start(target).await?;
        let window = Duration::from_secs(self.window);
        let (served, peaks) = tokio::join!(honest.run(crowds, window), gauge.watch(target, window));
        Ok(Window { served: served?, change: peaks? })
    }

    fn explain(
        &self,
        report: &mut Report,
        done: &attacker::Done,
        before: &Window,
        during: &Window,
    ) {
        let (was, is) = (&before.change, &during.change);
        let seconds = is.seconds;
        report.add("sent_per_s", "attack datagrams sent per second", done.datagrams / done.seconds);
        // What the same time without the attack has brought is that of the honest clients.
        let share = seconds / was.seconds;
        let more = |name: &str| is.of(name) - was.of(name) * share;
        let received = more("rtmfp_datagrams_total{direction=\"in\"}").max(1.0);
        report.add("received_per_s", "of these received by the server", received / seconds);
        let lost = 1.0 - (received / seconds) / (done.datagrams / done.seconds);
        report.add("lost_share", "share for which its socket had no space", lost.max(0.0));
        report.add("cpu_percent", "server's CPU, % of one processor", is.cpu / seconds * 100.0);
        let quiet = was.cpu / was.seconds * 100.0;
        report.add("cpu_percent_before", "the same before the attack, %", quiet);
        let micros = (is.cpu - was.cpu * share) / received * 1e6;
        report.add("cpu_us", "server's CPU µs per attack datagram received", micros);
        let bytes_in = more("rtmfp_bytes_total{direction=\"in\"}").max(1.0);
        let amplification = more("rtmfp_bytes_total{direction=\"out\"}").max(0.0) / bytes_in;
        report.add("amplification", "bytes sent for each byte of the attack", amplification);
        report.add("rss_before_mb", "server's memory before it, MB", was.resident.0 / 1e6);
        report.add("rss_peak_mb", "greatest meanwhile, MB", is.resident.1 / 1e6);
        report.add("held_peak_mb", "held by flows at most, MB", is.held / 1e6);
        before.served.report(report, "_before", "before");
        during.served.report(report, "", "meanwhile");
        for (name, difference) in is.refusals() {
            report.explain(&name, difference);
        }
    }
}

/// Waits until the server has only the sessions of honest clients.
async fn wait_until_gone(target: &Target, sessions: f64) -> anyhow::Result<f64> {
    let begun = Instant::now();
    loop {
        let now = Gauge::start(target).await.context("the server after the attack")?;
        if now.sessions() <= sessions || begun.elapsed() > GONE {
            ensure!(now.sessions() <= sessions, "{} sessions after {GONE:?}", now.sessions());
            return Ok(begun.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
