//! Who runs where: the server has a processor of its own, so that its CPU time is not that of its clients.
//! The attacker shares the other with honest clients, which come first.

use anyhow::{Context, bail};
use std::process::Command;

/// How much the attacker gives way to honest clients.
const NICENESS: i32 = 10;

/// Starts the server on processor 0, and goes on with another one.
pub(super) fn server<R>(pin: bool, start: impl FnOnce() -> anyhow::Result<R>) -> anyhow::Result<R> {
    if !pin {
        return start();
    }
    run_on(0)?;
    let started = start();
    run_on(1)?;
    started
}

/// Lets this process run on the processor of clients.
pub(crate) fn clients() -> anyhow::Result<()> {
    run_on(1)
}

/// Moves this process, and so those that it starts from now on, to a processor.
fn run_on(processor: usize) -> anyhow::Result<()> {
    let (processor, own) = (processor.to_string(), std::process::id().to_string());
    let mut fault = String::new();
    // It fails if a thread ends meanwhile.
    for _ in 0..10 {
        let moved = Command::new("taskset").args(["-a", "-p", "-c", &processor, &own]).output();
        let moved = moved.context("--pin needs taskset, of util-linux")?;
        if moved.status.success() {
            return Ok(());
        }
        fault = String::from_utf8_lossy(&moved.stderr).trim().to_owned();
    }
    bail!("{fault}");
}

/// Lets others on this processor come first.
pub(super) fn give_way() {
    #[cfg(unix)]
    {
        // Whoever may not do so keeps its place.
        let _ = rustix::process::nice(NICENESS);
    }
    #[cfg(not(unix))]
    let _ = NICENESS;
}
