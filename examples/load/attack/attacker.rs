//! The process that attacks. It opens what it needs and prints `ready`, attacks from the first line of its
//! input to the end of it, and prints what it has sent.

use super::line::Line;
use super::{AttackArgs, Kind, Setting, processors};
use crate::target::Target;
use anyhow::{Context, ensure};
use rtmfp::proto::crypto::Fingerprint;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Attacks until the input ends.
pub(super) fn attack(
    kind: Kind,
    setting: &Setting,
    (server, rate): (SocketAddr, Option<u32>),
) -> anyhow::Result<()> {
    processors::give_way();
    let mut line = Line::open(server)?;
    let mut attack = kind.prepare(setting, &mut line)?;
    println!("{}", json!({ "ready": attack.sessions() }));
    let mut wanted = String::new();
    ensure!(std::io::stdin().read_line(&mut wanted)? > 0, "the attack is not wanted");
    static WANTED: AtomicBool = AtomicBool::new(true);
    std::thread::spawn(move || {
        std::io::stdin().lines().for_each(drop);
        WANTED.store(false, Ordering::Relaxed);
    });
    let (before, begun) = (line.sent, Instant::now());
    while WANTED.load(Ordering::Relaxed) {
        attack.burst(&mut line)?;
        let sent = (line.sent.datagrams - before.datagrams) as f64;
        let due = rate.map(|rate| Duration::from_secs_f64(sent / f64::from(rate)));
        std::thread::sleep(due.unwrap_or_default().saturating_sub(begun.elapsed()));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let datagrams = line.sent.datagrams - before.datagrams;
    let bytes = line.sent.bytes - before.bytes;
    println!("{}", json!({ "datagrams": datagrams, "bytes": bytes, "seconds": seconds }));
    Ok(())
}

/// The attacker as its parent sees it.
pub(super) struct Attacker {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What an attacker has sent.
pub(super) struct Done {
    pub(super) datagrams: f64,
    pub(super) seconds: f64,
}

impl Attacker {
    pub(super) fn start(
        args: &AttackArgs,
        target: &Target,
        peers: &[Fingerprint],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["attack", &args.kind.name(), "--attacker", "--url"]);
        command.arg(target.uri.to_string());
        if let Some(rate) = args.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if let Some(sessions) = args.sessions {
            command.args(["--sessions", &sessions.to_string()]);
        }
        if args.one_by_one {
            command.arg("--one-by-one");
        }
        for peer in peers {
            command.args(["--peer", &peer.to_string()]);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take();
        let output = process.stdout.take().context("the attacker has no output")?;
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    fn line(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "the attacker has ended");
        Ok(serde_json::from_str(&line)?)
    }

    /// Waits until it has opened what it needs. Returns how many sessions these are.
    pub(super) fn wait_until_ready(&mut self) -> anyhow::Result<u64> {
        self.line()?["ready"].as_u64().context("the attacker is not ready")
    }

    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("the attacker has no input")?;
        Ok(input.write_all(b"begin\n")?)
    }

    pub(super) fn stop(mut self) -> anyhow::Result<Done> {
        self.input = None;
        let line = self.line()?;
        ensure!(self.process.wait()?.success(), "the attacker has failed");
        let number = |name: &str| line[name].as_f64().context("the attacker's report");
        Ok(Done { datagrams: number("datagrams")?, seconds: number("seconds")? })
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
