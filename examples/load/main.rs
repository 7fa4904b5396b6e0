//! `rtmfp-load`: clients by the thousand for an RTMFP server, and what the server needs for them.
//!
//! ```text
//! $ cargo build --release
//! $ cargo run --release --example rtmfp-load -- connect
//! $ cargo run --release --example rtmfp-load -- play --players 200 --kbit 1000
//! $ cargo run --release --example rtmfp-load -- idle --clients 50000
//! $ cargo run --release --example rtmfp-load -- connect --url rtmfp://192.0.2.7/live --server-pid 1234
//! ```
//!
//! Without `--url` it starts the `rtmfp serve` that was built beside it, on loopback and with limits that
//! let a few addresses be many clients. With it, any server that speaks RTMFP is measured; its processor
//! time and memory are reported if `--server-pid` names its process on this machine.
//!
//! The clients are the library's own [`Node`](rtmfp::proto::node::Node)s, each with an identity of its own, on
//! a few sockets. They share the machine with the server, so that rates are those of both together, while
//! the server's CPU time is its own.
//!
//! | file | subject |
//! | --- | --- |
//! | `target` | the server: its address, its process |
//! | `crowd` | clients on the sockets of one driver |
//! | `media` | a stream without meaning: its messages, and what is seen of them |
//! | `tally` | what has happened to the clients of a crowd |
//! | `crowds` | the crowds of a run as one |
//! | `connect`, `introduce`, `idle`, `play`, `churn` | the workloads |
//! | `attack` | attacks, and honest clients beside |
#![expect(clippy::disallowed_methods, reason = "a program that measures time on real sockets")]

mod attack;
mod churn;
mod connect;
mod crowd;
mod crowds;
mod idle;
mod introduce;
#[allow(dead_code, reason = "nobody waits for all of them here")]
#[path = "../common/many.rs"]
mod many;
mod media;
mod play;
#[allow(dead_code, reason = "all is figures here")]
#[path = "../common/report.rs"]
mod report;
mod tally;
mod target;

use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;

/// Clients by the thousand for an RTMFP server, and what the server needs for them.
#[derive(Debug, Parser)]
#[command(
    name = "rtmfp-load",
    after_help = "Build with --release. The figures of one machine at one time can be compared, others not."
)]
struct Arguments {
    #[command(subcommand)]
    workload: Workload,
    #[command(flatten)]
    common: Common,
}

/// Options of every workload.
#[derive(Debug, Clone, Args)]
struct Common {
    #[command(flatten)]
    target: target::TargetArgs,
    #[command(flatten)]
    clients: crowds::CrowdArgs,
    /// How often to measure; the median is reported [default: 3, for churn 1]
    #[arg(long, global = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// End with the medians as one line of JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// Clients connect and leave: connects per second, latency, the server's CPU time for each
    Connect(connect::Connect),
    /// Clients are introduced to each other: introductions per second, latency, the server's CPU time
    Introduce(introduce::Introduce),
    /// Clients that do nothing: memory for each, CPU time of their keepalives
    Idle(idle::Idle),
    /// Clients play live streams: what arrives and when, the server's CPU time
    Play(play::Play),
    /// Clients connect, join groups, publish, play, move, leave or crash; then nothing must be left
    Churn(churn::Churn),
    /// One attack on a server of one's own, beside honest clients: what these still get, and what the
    /// server uses
    Attack(attack::AttackArgs),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rtmfp-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("rtmfp-load: built without optimization: the figures mean nothing (--release)");
    }
    if matches!(&arguments.workload, Workload::Attack(args) if args.pin) {
        attack::processors::clients()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let common = &arguments.common;
    let report = runtime.block_on(async {
        match &arguments.workload {
            Workload::Connect(args) => args.run(common).await,
            Workload::Introduce(args) => args.run(common).await,
            Workload::Idle(args) => args.run(common).await,
            Workload::Play(args) => args.run(common).await,
            Workload::Churn(args) => args.run(common).await,
            Workload::Attack(args) => args.run(common).await,
        }
    })?;
    report.print();
    if common.json {
        println!("{}", report.json());
    }
    Ok(())
}
