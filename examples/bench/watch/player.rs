//! A player that reads a film from `rtmfp watch`, by curl.

use crate::swarm::viewer::{Seen, Viewer};
use anyhow::Context;
use rtmfp::proto::range::IndexSet;
use rtmfp::proto::transport::Time;
use rtmfp::vod::{CHUNK_SIZE, Digest256};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

/// Bytes that are read at a time. So many, and what the pipe and the socket hold, are read further
/// ahead than the film is wanted.
const READ: usize = CHUNK_SIZE as usize;

/// A player, and the viewer before it. It is stopped when this is dropped.
pub(super) struct Player {
    curl: Child,
    parts: Receiver<Vec<u8>>,
    started: Instant,
    size: u64,
    received: u64,
    hasher: Sha256,
    held: IndexSet,
    viewer: Viewer,
}

impl Player {
    /// Starts to read the film at this URL. `command` runs what it is given beside the web page;
    /// `started` is when the viewer wished to see the film, `rate` its bytes a second.
    pub(super) fn start(
        mut command: Command,
        url: &str,
        started: Instant,
        (size, rate): (u64, f64),
    ) -> anyhow::Result<Self> {
        command.args(["curl", "--silent", "--no-buffer", url]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut curl = command.spawn().context("curl can't be started")?;
        let mut stdout = curl.stdout.take().context("no standard output")?;
        // Who does not read keeps the film in `rtmfp watch`.
        let (sender, parts) = sync_channel(0);
        std::thread::spawn(move || {
            let mut buffer = vec![0; READ];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let chunks = size.div_ceil(CHUNK_SIZE.into());
        let viewer = Viewer::new(Time::ZERO, chunks, f64::from(CHUNK_SIZE) / rate);
        let (hasher, held) = (Sha256::new(), IndexSet::default());
        Ok(Self { curl, parts, started, size, received: 0, hasher, held, viewer })
    }

    /// Reads what is there and wanted, and plays.
    pub(super) fn update(&mut self) -> anyhow::Result<()> {
        self.viewer.update(self.now(), &self.held);
        while self.viewer.playhead().is_some_and(|next| !self.held.contains(next)) {
            let Ok(part) = self.parts.try_recv() else { break };
            self.hasher.update(&part);
            let before = self.received / u64::from(CHUNK_SIZE);
            self.received += part.len() as u64;
            let whole = match self.received >= self.size {
                true => self.size.div_ceil(CHUNK_SIZE.into()),
                false => self.received / u64::from(CHUNK_SIZE),
            };
            for chunk in before + 1..=whole {
                self.held.insert(chunk)?;
            }
            self.viewer.update(self.now(), &self.held);
        }
        Ok(())
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.viewer.seen
    }

    /// True if it has read this file.
    pub(super) fn has_read(&self, sha256: Digest256) -> bool {
        Digest256::from_hasher(self.hasher.clone()) == sha256
    }

    fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}
