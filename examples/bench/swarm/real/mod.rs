//! A run of real programs in network namespaces of their own.
//!
//! | file | subject |
//! | --- | --- |
//! | `program` | the programs that take part: `rtmfp`, or libtorrent for comparison |
//! | `copy` | a receiver's copy, as it arrives |
//! | `hostile` | a member of no use |

mod copy;
mod hostile;
mod program;

use super::Swarm;
use super::hostile::Hostiles;
use super::outcome::Outcome;
use super::simulated::noise;
use crate::real::namespaces::{Namespaces, Shape};
use crate::real::process::Process;
use crate::real::{bytes_uploaded, watch_signals};
use anyhow::{Context, bail};
use copy::Copy;
use program::{Offer, Program};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::vod::{CHUNK_SIZE, Digest256};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) use hostile::HostileProcess;
pub(super) use program::Reference;

/// How often the programs' output is read.
const TICK: Duration = Duration::from_millis(20);
/// How often the files are looked at, and progress is reported.
const LOOK: Duration = Duration::from_millis(250);
const PROGRESS: Duration = Duration::from_secs(5);
/// A run ends after so many times the least possible time, and this much.
const PATIENCE: (f64, f64) = (10.0, 300.0);
/// The members that are no receivers are there before the first receiver by so much.
const HEAD_START: Duration = Duration::from_secs(2);

/// One run; the seed determines the file.
pub(super) fn run(args: &Swarm, seed: u64) -> anyhow::Result<Outcome> {
    let interrupted = watch_signals();
    let program = Program::find(args)?;
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let file = noise(args.size, &mut SeededRandom::new(seed));
    let original = directory.path().join("film.mp4");
    std::fs::write(&original, &file)?;
    let sha256 = Digest256::of(&file);
    drop(file);
    let mut namespaces = Namespaces::new()?;
    let mut world = World::start(args, &program, &mut namespaces, &original, interrupted)?;
    world.run_to_the_end()?;
    world.outcome(sha256)
}

struct World<'a> {
    args: &'a Swarm,
    program: &'a Program,
    namespaces: &'a Namespaces,
    directory: &'a Path,
    offer: Offer,
    /// The numbers of the receivers' namespaces.
    numbers: Vec<u32>,
    /// Those that are no receivers; the provider is the last.
    others: Vec<Process>,
    receivers: Vec<(Process, Copy)>,
    wire_bytes_before: u64,
    interrupted: Arc<AtomicBool>,
}

impl<'a> World<'a> {
    /// The namespaces, and the programs that are there before the receivers.
    fn start(
        args: &'a Swarm,
        program: &'a Program,
        namespaces: &'a mut Namespaces,
        original: &'a Path,
        interrupted: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let directory = original.parent().context("a file in a directory")?;
        let free = Shape { up: None, down: None };
        let shape = |up| match args.unlimited {
            true => free,
            false => Shape { up: Some(up), down: Some(args.links.down) },
        };
        let server = namespaces.add(free, &args.links)?;
        // The provider needs no downlink but for acknowledgements.
        let provider = Shape { down: None, ..shape(args.links.provider_up) };
        let provider = namespaces.add(provider, &args.links)?;
        let receivers =
            (0..args.n).map(|n| namespaces.add(shape(args.links.uplink(n)), &args.links));
        let numbers = receivers.collect::<Result<Vec<_>, _>>()?;
        let mut hostiles = Vec::new();
        for kind in args.hostile.iter().flat_map(Hostiles::kinds) {
            hostiles.push((namespaces.add(shape(args.links.up), &args.links)?, kind));
        }
        let (mut others, offer) =
            program.offer(namespaces, (server, provider), &numbers, original, directory)?;
        if !hostiles.is_empty() {
            let started = hostiles
                .iter()
                .map(|hostile| program::start_hostile(namespaces, *hostile, &offer, directory));
            // The provider remains the last.
            others.splice(..0, started.collect::<anyhow::Result<Vec<_>>>()?);
            std::thread::sleep(HEAD_START);
        }
        let wire_bytes_before = namespaces.wire_bytes()?;
        let receivers = Vec::new();
        Ok(Self {
            args,
            program,
            namespaces,
            directory,
            offer,
            numbers,
            others,
            receivers,
            wire_bytes_before,
            interrupted,
        })
    }

    fn add_receiver(&mut self, index: usize) -> anyhow::Result<()> {
        let number = self.numbers[index];
        let target = self.directory.join(format!("copy-{number}"));
        let (process, form) = self.program.receive(
            self.namespaces,
            (number, &self.numbers),
            &self.offer,
            &target,
            self.args.in_order,
        )?;
        let copy = Copy::new(Instant::now(), self.args.size, target, form);
        self.receivers.push((process, copy));
        Ok(())
    }

    fn run_to_the_end(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let least = self.args.links.least_seconds(self.args.n, self.args.size);
        let all_arrived = self.args.arrivals * self.args.n;
        let limit = all_arrived + Duration::from_secs_f64(PATIENCE.0 * least + PATIENCE.1);
        let (mut looked, mut reported) = (begun, begun);
        while self.receivers.len() < self.numbers.len()
            || !self.receivers.iter().all(|(_, copy)| copy.is_complete())
        {
            let due = self.args.arrivals * self.receivers.len() as u32;
            if self.receivers.len() < self.numbers.len() && begun.elapsed() >= due {
                self.add_receiver(self.receivers.len())?;
                continue;
            }
            std::thread::sleep(TICK);
            let looks = looked.elapsed() >= LOOK;
            self.read(looks)?;
            if looks {
                looked = Instant::now();
            }
            if reported.elapsed() >= PROGRESS {
                reported = Instant::now();
                self.report_progress(begun);
            }
            if self.interrupted.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            if begun.elapsed() > limit {
                eprintln!("bench: given up after {:.0} s", limit.as_secs_f64());
                break;
            }
        }
        Ok(())
    }

    /// Reads what the programs have printed, and looks at the files.
    fn read(&mut self, looks: bool) -> anyhow::Result<()> {
        for process in &mut self.others {
            process.check()?;
            // The provider's progress is of no interest.
            while process.printed().is_some() {}
        }
        for (process, copy) in &mut self.receivers {
            process.check()?;
            while let Some(printed) = process.printed() {
                copy.on_printed(printed)?;
            }
            if looks {
                copy.look();
            }
        }
        Ok(())
    }

    fn report_progress(&self, begun: Instant) {
        let held: usize = self.receivers.iter().map(|(_, copy)| copy.held()).sum();
        let all = self.args.size.div_ceil(CHUNK_SIZE.into()) * u64::from(self.args.n);
        let complete = self.receivers.iter().filter(|(_, copy)| copy.is_complete()).count();
        eprintln!(
            "bench: {:5.0} s, {:3.0} % of the chunks, {complete} copies complete",
            begun.elapsed().as_secs_f64(),
            held as f64 / all.max(1) as f64 * 100.0,
        );
    }

    /// Ends the programs.
    fn outcome(self, sha256: Digest256) -> anyhow::Result<Outcome> {
        let Self { mut others, receivers, namespaces, .. } = self;
        let processes = || others.iter().chain(receivers.iter().map(|(process, _)| process));
        let cpu_seconds = processes().map(Process::cpu_seconds).sum();
        let wire_bytes = namespaces.wire_bytes()? - self.wire_bytes_before;
        let provider_bytes = bytes_uploaded(others.pop().context("a provider")?)?;
        let receivers = receivers.into_iter().map(|(process, copy)| {
            drop(process);
            copy.result(sha256)
        });
        Ok(Outcome {
            receivers: receivers.collect::<anyhow::Result<_>>()?,
            provider_bytes,
            wire_bytes,
            cpu_seconds,
        })
    }
}
