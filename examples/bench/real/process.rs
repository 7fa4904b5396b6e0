//! A program of a run, in a namespace, and what it prints.

use anyhow::{Context, bail};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long a program may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes that are read from a pipe at a time.
const READ: usize = 64 << 10;

/// A running program. It is killed when this is dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    output: Receiver<Printed>,
    /// What it has written to standard error.
    log: std::path::PathBuf,
}

/// Something on a program's standard output, and when it came.
pub(crate) struct Printed {
    pub(crate) at: Instant,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// A JSON object.
    Event(Value),
    /// Bytes of the file.
    Bytes(Vec<u8>),
}

/// The form of a program's standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Events,
    Bytes,
}

impl Process {
    /// Starts a program. Its messages for people go to a file in this directory.
    pub(crate) fn start(
        name: &str,
        mut command: Command,
        form: Form,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        // Nothing of the person's own is read or changed.
        command.env("HOME", directory).env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
        let mut child = command.spawn().with_context(|| format!("can't start {name}"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (sender, output) = channel();
        std::thread::spawn(move || match form {
            Form::Events => read_events(stdout, &sender),
            Form::Bytes => read_bytes(stdout, &sender),
        });
        Ok(Self { name: name.to_owned(), child, output, log })
    }

    /// The next thing that it has printed, if there is one.
    pub(crate) fn printed(&self) -> Option<Printed> {
        self.output.try_recv().ok()
    }

    /// Waits for an event of this name.
    pub(crate) fn wait_for(&mut self, event: &str, patience: Duration) -> anyhow::Result<Value> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(Printed { what: What::Event(value), .. }) if value["event"] == event => {
                    return Ok(value);
                }
                Ok(_) => {}
                Err(_) => bail!("{} prints no `{event}`: {}", self.name, self.last_words()),
            }
        }
    }

    /// An error if it has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} has ended ({status}): {}", self.name, self.last_words()),
            None => Ok(()),
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().last().unwrap_or("it has printed nothing").to_owned()
    }

    /// CPU time so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        // The name is in parentheses and may have spaces.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: f64 =
            fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        ticks / ticks_per_second()
    }

    /// Asks it to end.
    pub(crate) fn interrupt(&self) {
        #[cfg(unix)]
        if let Some(id) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            // It may have ended.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::INT);
        }
    }

    /// Waits until it has ended, at most for a while, and returns the remaining events.
    pub(crate) fn finish(mut self) -> Vec<Value> {
        let end = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let events = self.output.try_iter().filter_map(|printed| match printed.what {
            What::Event(value) => Some(value),
            What::Bytes(_) => None,
        });
        events.collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

#[cfg(not(unix))]
fn ticks_per_second() -> f64 {
    f64::NAN
}

fn read_events(stdout: impl Read, sender: &Sender<Printed>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(value) = serde_json::from_str(&line) else { continue };
        if sender.send(Printed { at: Instant::now(), what: What::Event(value) }).is_err() {
            return;
        }
    }
}

fn read_bytes(mut stdout: impl Read, sender: &Sender<Printed>) {
    let mut buffer = vec![0; READ];
    while let Ok(length @ 1..) = stdout.read(&mut buffer) {
        let what = What::Bytes(buffer[..length].to_vec());
        if sender.send(Printed { at: Instant::now(), what }).is_err() {
            return;
        }
    }
}
