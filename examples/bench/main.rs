//! Measures the transport: [`Endpoint`](rtmfp::proto::transport::Endpoint)s under the
//! [`driver`](rtmfp::driver), in two processes on this machine, and the distribution of a file to many receivers.
//!
//! ```text
//! $ cargo run --release --example bench -- bulk --mode hmac-sseq
//! $ cargo run --release --example bench -- handshakes --group 14 --concurrency 64 --json
//! $ cargo run --release --example bench -- all
//! ```
//!
//! `benches/README.md` describes what each workload measures, and how to run the same on another
//! implementation.
//!
//! | file | subject |
//! | --- | --- |
//! | `flood` | the workloads `bulk` and `messages`: one flow at full rate |
//! | `pingpong`, `handshakes`, `idle`, `lossy` | the workloads with these names |
//! | `demo_path` | the workload `demo-path`: what `rtmfp demo` does |
//! | `swarm` | the workload with this name: a file's way to many members with uplinks as at home |
//! | `watch` | the workload with this name: viewers of a film, and local networks of them |
//! | `group` | the workload with this name: a group of thousands |
//! | `multicast` | the workload with this name: a stream to all members of a group |
//! | `link` | the link of `lossy`: loss, delay, rate |
//! | `endpoint_service` | an endpoint as a service of the driver, with an application in it |
//! | `crowd` | thousands of endpoints on a few sockets, each with one session |
//! | `peer` | the other process and the dialogue with it |
//! | `process` | resource usage of this process |
//! | `report` | medians of runs |
//! | `keylog` | the secrets of the sessions, on demand |
#![expect(clippy::disallowed_methods, reason = "a program that measures time on real sockets")]

mod crowd;
mod demo_path;
mod endpoint_service;
mod flood;
mod group;
mod handshakes;
mod idle;
mod keylog;
mod link;
mod lossy;
#[allow(dead_code, reason = "nobody moves here")]
#[path = "../common/many.rs"]
mod many;
mod multicast;
mod peer;
mod pingpong;
mod process;
mod real;
#[path = "../common/report.rs"]
mod report;
mod swarm;
mod watch;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use keylog::KeyLog;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures this library's transport between two processes on loopback.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Build with --release. The figures of one machine at one \
    time can be compared, others not."
)]
struct Arguments {
    #[command(subcommand)]
    workload: Workload,
    #[command(flatten)]
    common: Common,
}

/// Options of every workload.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// How often to measure; the median is reported [default: 5]
    #[arg(long, global = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// End with the medians as one line of JSON
    #[arg(long, global = true)]
    json: bool,
    /// Append the sessions' secrets to this file, so that a capture can be decrypted
    #[arg(long, global = true, value_name = "FILE")]
    keylog: Option<PathBuf>,
}

impl Common {
    fn runs(&self, default: u32) -> u32 {
        self.runs.unwrap_or(default)
    }
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// One reliable flow as fast as it goes: CPU time per GiB at both ends, throughput
    Bulk(flood::Bulk),
    /// Small messages on one reliable flow: messages per second
    Messages(flood::Messages),
    /// A message and its echo: latency
    Pingpong(pingpong::Pingpong),
    /// Sessions opened with fresh identities, many at once: rate, latency, the server's CPU time
    Handshakes(handshakes::Handshakes),
    /// Idle sessions with their keepalives: the server's memory and CPU time
    Idle(idle::Idle),
    /// A bulk transfer through an emulated link with loss and delay: throughput
    Lossy(lossy::Lossy),
    /// A file from one provider to many receivers: CPU time per GiB delivered, threads, sockets
    DemoPath(demo_path::DemoPath),
    /// A file from one provider to many receivers with uplinks as at home: how long it takes, and
    /// how long until it can be played
    Swarm(swarm::Swarm),
    /// Viewers of a film: start-up, stalls, jumps, and what crosses the lines of local networks
    Watch(watch::Watch),
    /// A group of thousands in virtual time: its graph, posts, messages to the nearest member
    Group(group::Groups),
    /// A stream to all members of a group, packet by packet in virtual time
    Multicast(multicast::Multicast),
    /// Every workload with its defaults, one table (takes some minutes)
    All,
    /// The other process; starts itself
    #[command(hide = true)]
    Peer(peer::Peer),
    /// A hostile member of `swarm --real`; starts itself
    #[command(hide = true)]
    Hostile(swarm::HostileProcess),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match &arguments.workload {
            Workload::Peer(peer) => return peer::serve(peer).await,
            Workload::Hostile(hostile) => return hostile.run().await,
            _ => {}
        }
        if cfg!(debug_assertions) {
            eprintln!("bench: built without optimization: the figures mean nothing (--release)");
        }
        let keylog = KeyLog::open(arguments.common.keylog.as_deref())?;
        measure(&arguments.workload, &arguments.common, &keylog).await
    })
}

async fn measure(workload: &Workload, common: &Common, keylog: &KeyLog) -> anyhow::Result<()> {
    match workload {
        Workload::All => return all(common, keylog).await,
        Workload::Watch(args) => return args.run(common).await,
        _ => {}
    }
    let report = one(workload, common, keylog).await?;
    report.print();
    if common.json {
        println!("{}", report.json());
    }
    Ok(())
}

async fn one(workload: &Workload, common: &Common, keylog: &KeyLog) -> anyhow::Result<Report> {
    match workload {
        Workload::Bulk(args) => args.run(common, keylog).await,
        Workload::Messages(args) => args.run(common, keylog).await,
        Workload::Pingpong(args) => args.run(common, keylog).await,
        Workload::Handshakes(args) => args.run(common, keylog).await,
        Workload::Idle(args) => args.run(common, keylog).await,
        Workload::Lossy(args) => args.run(common, keylog).await,
        Workload::DemoPath(args) => args.run(common, keylog).await,
        Workload::Swarm(args) => args.run(common),
        Workload::Group(args) => Ok(args.run(common)),
        Workload::Multicast(args) => args.run(common),
        Workload::All | Workload::Watch(_) | Workload::Peer(_) | Workload::Hostile(_) => {
            unreachable!("not a single workload")
        }
    }
}

/// Every workload with its defaults, in each of its variants.
async fn all(common: &Common, keylog: &KeyLog) -> anyhow::Result<()> {
    const WORKS: [&str; 12] = [
        "bulk --mode hmac-sseq",
        "bulk --mode checksum",
        "messages --size 100",
        "pingpong",
        "handshakes --group 2",
        "handshakes --group 14",
        "handshakes --group 16",
        "idle --sessions 10000",
        "lossy --loss 0.01",
        "lossy --loss 0",
        "demo-path --receivers 10",
        "demo-path --receivers 20",
    ];
    let mut reports: Vec<Report> = Vec::new();
    for line in WORKS {
        eprintln!("bench: {line}");
        let words = ["bench"].into_iter().chain(line.split(' '));
        let workload = Arguments::try_parse_from(words)?.workload;
        let report = one(&workload, common, keylog).await.with_context(|| line.to_owned())?;
        reports.push(report);
    }
    reports.iter().for_each(Report::print);
    if common.json {
        let all: Vec<_> = reports.iter().map(Report::json).collect();
        println!("{}", serde_json::json!({ "work": "all", "works": all }));
    }
    Ok(())
}
