//! A receiver's copy, as it arrives.

use super::super::outcome::Receiver;
use crate::real::process::{Form, Printed, What};
use anyhow::bail;
use rtmfp::vod::{CHUNK_SIZE, Digest256};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

/// A receiver's copy.
///
/// The times of its chunks come from what the program prints: the bytes themselves if it writes them
/// in order, or an event for each chunk. If there are none, the file is looked at: it has holes where
/// chunks are missing.
pub(super) struct Copy {
    started: Instant,
    size: u64,
    target: PathBuf,
    form: Form,
    /// The bytes that were written in order.
    hasher: Sha256,
    received: u64,
    /// The file that is written to.
    partial: Option<File>,
    result: Receiver,
}

impl Copy {
    pub(super) fn new(started: Instant, size: u64, target: PathBuf, form: Form) -> Self {
        let chunks = size.div_ceil(CHUNK_SIZE.into()) as usize;
        let result = Receiver { held_at: vec![f64::INFINITY; chunks], ..Receiver::default() };
        let hasher = Sha256::new();
        Self { started, size, target, form, hasher, received: 0, partial: None, result }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.result.complete.is_some()
    }

    pub(super) fn held(&self) -> usize {
        self.result.held_at.iter().filter(|at| at.is_finite()).count()
    }

    /// Something on the program's standard output.
    pub(super) fn on_printed(&mut self, Printed { at, what }: Printed) -> anyhow::Result<()> {
        let seconds = at.saturating_duration_since(self.started).as_secs_f64();
        match what {
            What::Bytes(bytes) => {
                self.hasher.update(&bytes);
                self.received += bytes.len() as u64;
                let whole = match self.received >= self.size {
                    true => self.result.held_at.len(),
                    false => (self.received / u64::from(CHUNK_SIZE)) as usize,
                };
                self.result.held_at[..whole].iter_mut().for_each(|at| *at = at.min(seconds));
                if self.received >= self.size {
                    self.result.complete.get_or_insert(seconds);
                }
            }
            What::Event(event) => match event["event"].as_str() {
                Some("chunk") => {
                    let index = event["index"].as_u64().unwrap_or_default() as usize;
                    if let Some(at) = self.result.held_at.get_mut(index.wrapping_sub(1)) {
                        *at = at.min(seconds);
                    }
                }
                Some("complete") => {
                    self.result.complete.get_or_insert(seconds);
                    self.result.held_at.iter_mut().for_each(|at| *at = at.min(seconds));
                }
                Some("failed") => bail!("a receiver has failed: {}", event["reason"]),
                _ => {}
            },
        }
        Ok(())
    }

    /// Looks which chunks are in the file.
    pub(super) fn look(&mut self) {
        if self.form == Form::Bytes || self.is_complete() {
            return;
        }
        if self.partial.is_none() {
            let mut path = self.target.clone().into_os_string();
            path.push(".part");
            self.partial = File::open(path).ok();
        }
        let Some(file) = &self.partial else { return };
        let seconds = self.started.elapsed().as_secs_f64();
        let chunk = u64::from(CHUNK_SIZE);
        for (start, end) in data_ranges(file) {
            let first = start.div_ceil(chunk) as usize;
            let last = if end >= self.size { self.size.div_ceil(chunk) } else { end / chunk };
            let held = first..(last as usize).min(self.result.held_at.len());
            let held = self.result.held_at.get_mut(held).unwrap_or_default();
            held.iter_mut().for_each(|at| *at = at.min(seconds));
        }
    }

    /// What happened. The copy is compared.
    pub(super) fn result(self, sha256: Digest256) -> anyhow::Result<Receiver> {
        let found = match self.form {
            Form::Bytes => Digest256::from_hasher(self.hasher),
            Form::Events => {
                let path = match self.target.is_dir() {
                    true => self.target.join("film.mp4"),
                    false => self.target.clone(),
                };
                if self.result.complete.is_none() {
                    return Ok(self.result);
                }
                Digest256::of(&std::fs::read(path)?)
            }
        };
        Ok(Receiver { is_identical: found == sha256, ..self.result })
    }
}

/// The parts of a file that are not holes.
#[cfg(target_os = "linux")]
fn data_ranges(file: &File) -> Vec<(u64, u64)> {
    use rustix::fs::{SeekFrom, seek};
    let mut ranges = Vec::new();
    let mut end = 0;
    while let Ok(start) = seek(file, SeekFrom::Data(end)) {
        match seek(file, SeekFrom::Hole(start)) {
            Ok(hole) if hole > start => end = hole,
            _ => break,
        }
        ranges.push((start, end));
    }
    ranges
}

#[cfg(not(target_os = "linux"))]
fn data_ranges(_: &File) -> Vec<(u64, u64)> {
    Vec::new()
}
