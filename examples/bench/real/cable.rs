//! A cable that delays and loses frames, where the kernel has no netem.

use anyhow::{Context, ensure};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running `benches/reference/lossy_cable.py`. Its cards go when this is dropped.
pub(super) struct Cable(Child);

/// The names of a cable's two ends, and what it does to frames from the near one to the far one.
pub(super) struct Ends<'a> {
    pub(super) near: &'a str,
    pub(super) far: &'a str,
    pub(super) delay_ms: f64,
    pub(super) loss: f64,
    /// How many frames are on their way at most.
    pub(super) frames: f64,
    /// Of the losses.
    pub(super) seed: u32,
}

impl Cable {
    /// Returns once both cards are there, in the namespace of the command.
    pub(super) fn lay(mut command: Command, ends: &Ends<'_>) -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/reference/lossy_cable.py");
        ensure!(script.exists(), "{} is not there", script.display());
        command.arg("python3").arg(script).args(["--near", ends.near, "--far", ends.far]);
        for (option, value) in [
            ("--delay-ms", ends.delay_ms),
            ("--loss", ends.loss),
            ("--frames", ends.frames),
            ("--seed", ends.seed.into()),
        ] {
            command.args([option, &value.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child =
            command.spawn().context("the kernel has no netem, and python3 cannot be started")?;
        let stdout = child.stdout.take();
        let this = Self(child);
        let mut line = String::new();
        BufReader::new(stdout.context("no standard output")?).read_line(&mut line)?;
        ensure!(
            line.trim_end() == "ready",
            "--loss and --rtt-ms need netem in the kernel (module sch_netem), or python3 and \
             /dev/net/tun"
        );
        Ok(this)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
