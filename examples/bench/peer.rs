//! The other process: it accepts sessions, and reports its resource usage on request through its
//! standard input and output.
//!
//! The parent starts its own program again and holds the other end of the pipes. The peer prints
//! the address it listens on, then answers each line with one. It ends when its input ends, and so with its
//! parent, however that ends.

use crate::endpoint_service::{App, EndpointService, Mode, identity, negotiating};
use crate::process;
use anyhow::{Context, bail};
use clap::Args;
use rtmfp::proto::crypto::{DhGroup, Epd, KeyStyle};
use rtmfp::proto::transport::{
    Config, Endpoint, Event, FlowId, FlowOptions, MAX_WORKERS, MessageOptions, Rate, SessionId,
    Time,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Settings of the other process.
#[derive(Debug, Clone, Args)]
pub(crate) struct Peer {
    #[arg(long, value_enum, default_value = "hmac-sseq")]
    pub(crate) mode: Mode,
    /// Answer each message with the same message
    #[arg(long)]
    pub(crate) echo: bool,
    /// The settings of a rendezvous server instead of those of a peer
    #[arg(long)]
    pub(crate) server: bool,
    #[arg(long, default_value = "14", value_parser = parse_group)]
    pub(crate) group: DhGroup,
    /// Endpoints that share the port, each on a thread of its own
    #[arg(long, default_value = "1", value_parser = parse_workers)]
    pub(crate) workers: usize,
    /// Give the workers the time that all others leave
    #[arg(long)]
    pub(crate) workers_last: bool,
}

impl Peer {
    /// One endpoint, with the settings of a peer.
    pub(crate) fn new(mode: Mode, group: DhGroup) -> Self {
        Self { mode, echo: false, server: false, group, workers: 1, workers_last: false }
    }
}

/// A number of workers.
pub(crate) fn parse_workers(text: &str) -> Result<usize, String> {
    let workers = text.parse().ok().filter(|workers| (1..=MAX_WORKERS).contains(workers));
    workers.ok_or_else(|| format!("1 to {MAX_WORKERS}"))
}

/// The groups by their numbers.
pub(crate) fn parse_group(text: &str) -> Result<DhGroup, String> {
    let group = text.parse().ok().and_then(DhGroup::from_id);
    group.ok_or_else(|| "there are 2, 5, 14 and 16".to_owned())
}

/// The discriminator that every peer here accepts.
pub(crate) fn discriminator() -> Epd {
    Epd::for_uri("rtmfp://127.0.0.1/bench")
}

/// Accepts every session and every flow.
#[derive(Debug, Default)]
struct Responder {
    echo: bool,
    /// The flows back.
    back: HashMap<(SessionId, FlowId), FlowId>,
    sessions: u64,
    bytes: u64,
}

/// Resource usage and counters of the other process.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// CPU time in seconds.
    pub(crate) cpu: f64,
    /// That of each worker's thread, in which no Diffie-Hellman is done.
    workers: Vec<f64>,
    /// Resident memory in bytes; zero if it was not asked for.
    pub(crate) resident: u64,
    /// Sessions that were opened.
    pub(crate) sessions: u64,
    /// Sessions that are open.
    pub(crate) open: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl Sample {
    /// CPU seconds of the busiest worker since an earlier sample.
    pub(crate) fn busiest_since(&self, earlier: &Self) -> f64 {
        let each = self.workers.iter().zip(&earlier.workers).map(|(now, then)| now - then);
        each.fold(0.0, f64::max)
    }
}

impl App for Responder {
    type Note = ();

    fn on_event(&mut self, now: Time, endpoint: &mut Endpoint, event: Event) -> Option<()> {
        match event {
            Event::SessionOpened { .. } => self.sessions += 1,
            Event::FlowOpened { session, flow, .. } if self.echo => {
                let mut options = FlowOptions::default();
                options.association = Some(flow);
                let back = endpoint.open_flow(session, b"echo", options).ok()?;
                self.back.insert((session, flow), back);
            }
            Event::Message { session, flow, message } => {
                self.bytes += message.len() as u64;
                if let Some(&back) = self.back.get(&(session, flow)) {
                    // Full or closed: the other end will miss it.
                    let _ = endpoint.send(now, session, back, message, MessageOptions::RELIABLE);
                }
            }
            Event::FlowFinished { session, flow } => {
                if let Some(back) = self.back.remove(&(session, flow)) {
                    // It may be closed already.
                    let _ = endpoint.close_flow(session, back);
                }
            }
            _ => {}
        }
        None
    }
}

/// The other process.
pub(crate) async fn serve(options: &Peer) -> anyhow::Result<()> {
    let config = if options.server {
        // Everybody comes from one address here.
        // Thousands of clients share a few sockets, as none do in life.
        let keyings_per_address = Rate { burst: 1 << 16, per_second: 1 << 16 };
        let mut config = Config::server();
        config.max_sessions_per_ip = usize::MAX;
        config.max_unconfirmed_per_ip = 1 << 16;
        config.max_pending_keyings = 1 << 16;
        config.keyings_per_address = keyings_per_address;
        config
    } else {
        Config::default()
    };
    let config = negotiating(config, options.mode, options.group);
    let identity = identity(KeyStyle::Ephemeral, options.group);
    let app = || Responder { echo: options.echo, ..Responder::default() };
    let all = EndpointService::start_workers(&config, &identity, options.workers, app)?;
    if options.workers_last {
        for running in &all {
            running.call(|_, _, _| process::come_last()).await?;
        }
    }
    println!("{}", json!({ "address": all[0].address().to_string() }));

    let (lines, mut questions) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
        // At once, whatever the driver is doing.
        std::process::exit(0);
    });
    while let Some(line) = questions.recv().await {
        // Before the answer costs anything.
        let cpu = process::cpu_seconds();
        let resident = if line == "memory" { process::resident_bytes()? } else { 0 };
        let (mut sessions, mut open, mut bytes, mut workers) = (0, 0, 0, Vec::new());
        for running in &all {
            let answer = running.call(|endpoint, app, _| {
                let cpu = process::thread_cpu_seconds();
                (cpu, app.sessions, endpoint.sessions().count(), app.bytes)
            });
            let answer = answer.await?;
            workers.push(answer.0);
            sessions += answer.1;
            open += answer.2;
            bytes += answer.3;
        }
        let answer = json!({
            "cpu": cpu,
            "workers": workers,
            "resident": resident,
            "sessions": sessions,
            "open": open,
            "bytes": bytes,
        });
        println!("{answer}");
    }
    Ok(())
}

/// The other process, as its parent sees it. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct Remote {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Remote {
    pub(crate) fn start(options: &Peer) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("where is this program?")?;
        let mut command = Command::new(program);
        command.args(["peer", "--mode", options.mode.name()]);
        command.args(["--group", &(options.group as u16).to_string()]);
        command.args(["--workers", &options.workers.to_string()]);
        if options.workers_last {
            command.arg("--workers-last");
        }
        if options.echo {
            command.arg("--echo");
        }
        if options.server {
            command.arg("--server");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("can't start the other process")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = BufReader::new(output.context("the other process has no output")?);
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut remote = Self { child, input, output, address };
        let hello = remote.line()?;
        let address = hello["address"].as_str().and_then(|text| text.parse().ok());
        remote.address = address.context("the other process does not listen")?;
        Ok(remote)
    }

    /// Its progress so far.
    pub(crate) fn sample(&mut self) -> anyhow::Result<Sample> {
        self.question("cpu")
    }

    /// The same with its memory.
    pub(crate) fn sample_memory(&mut self) -> anyhow::Result<Sample> {
        self.question("memory")
    }

    fn question(&mut self, question: &str) -> anyhow::Result<Sample> {
        let input = self.input.as_mut().context("the other process has been stopped")?;
        writeln!(input, "{question}").context("the other process has ended")?;
        let answer = self.line()?;
        let count = |name: &str| answer[name].as_u64().unwrap_or_default();
        Ok(Sample {
            cpu: answer["cpu"].as_f64().unwrap_or(f64::NAN),
            workers: answer["workers"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|cpu| cpu.as_f64().unwrap_or(f64::NAN))
                .collect(),
            resident: count("resident"),
            sessions: count("sessions"),
            open: count("open"),
            bytes: count("bytes"),
        })
    }

    fn line(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the other process has ended unexpectedly");
        }
        serde_json::from_str(&line).context("the other process sent an unexpected line")
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It ends at the end of its input.
        drop(self.input.take());
        for _ in 0..200 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // It may have ended just now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
