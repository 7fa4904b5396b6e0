//! The hashes of what is shared, taken with progress on the screen.

use super::fit::{self, Size};
use super::format;
use super::gather::{self, Gathered};
use super::remembered;
use super::scratch::Scratch;
use super::screen::{self, Live};
use anyhow::Context;
use rtmfp::driver::Clock;
use rtmfp::vod::store::SAVED_FROM;
use rtmfp::vod::{CHUNK_SIZE, ScanConfig, SourceFile, StoreError};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// Finds and hashes the files. Standard input is kept as long as the directory that is returned.
pub(crate) async fn source_of(
    arguments: Vec<PathBuf>,
    name: Option<String>,
) -> anyhow::Result<(SourceFile, Option<Scratch>)> {
    let gather = move || gather::gather(&arguments, name.as_deref());
    let gathered = tokio::task::spawn_blocking(gather);
    match gathered.await.context("looking for files")?? {
        Gathered::One(path) => {
            let size = path.metadata().map_or(0, |metadata| metadata.len());
            let scan = move |progress: &mut dyn FnMut(u64)| {
                SourceFile::scan_file(&path, &remembering(), progress)
            };
            Ok((hashing(size, scan).await?, None))
        }
        Gathered::Spooled { path, scratch } => Ok((scan(path).await?, Some(scratch))),
        Gathered::Several { name, files } => {
            let sizes = files.iter().filter_map(|(_, path)| Some(path.metadata().ok()?.len()));
            let size = sizes.sum();
            let count = files.len();
            let scan = move |progress: &mut dyn FnMut(u64)| {
                SourceFile::scan_files(&name, files, &remembering(), progress)
            };
            let source = hashing(size, scan).await?;
            screen::line(&format!(
                "{}, {}",
                format::count(count as u64, "file"),
                format::bytes(size)
            ));
            Ok((source, None))
        }
    }
}

/// Hashes of large files are saved with the state of this user, if there is a place for it.
pub(crate) fn remembering() -> ScanConfig {
    let saved_in = remembered::directory().ok().map(|directory| directory.join("hashes"));
    ScanConfig { saved_in, ..ScanConfig::default() }
}

/// Hashes the file, whatever is known of it, and reports progress.
pub(crate) async fn scan(path: PathBuf) -> anyhow::Result<SourceFile> {
    let size = path.metadata().map_or(0, |metadata| metadata.len());
    hashing(size, move |progress| SourceFile::scan(&path, CHUNK_SIZE, progress)).await
}

/// Hashes `size` bytes, and reports progress.
pub(crate) async fn hashing(
    size: u64,
    scan: impl FnOnce(&mut dyn FnMut(u64)) -> Result<SourceFile, StoreError> + Send + 'static,
) -> anyhow::Result<SourceFile> {
    let (sender, mut steps) = mpsc::channel(1);
    let scan = tokio::task::spawn_blocking(move || {
        scan(&mut |bytes| {
            // A step that was not shown yet need not be reported again.
            let _ = sender.try_send(bytes);
        })
    });
    let (mut live, clock) = (Live::new(), Clock::start());
    let (began, mut known) = (clock.now(), None);
    while let Some(done) = steps.recv().await {
        // What an earlier pass has read took no time now.
        let known = *known.get_or_insert(done);
        let part = done as f64 / size.max(1) as f64;
        let rate = (done - known) as f64 / clock.now().since(began).as_secs_f64().max(0.001);
        let left = match size.saturating_sub(done) as f64 / rate {
            left if left.is_finite() && done > known => {
                format!(", {} left", format::duration(Duration::from_secs_f64(left)))
            }
            _ => String::new(),
        };
        let bar = fit::bar(part, Size::of_screen().columns.min(62) - 20);
        let percent = format::percent(part);
        live.draw(&format!("taking hashes {bar} {percent}{left}"));
        if size >= SAVED_FROM && done > known {
            live.report(part, format!("taking hashes: {percent} of {}{left}", format::bytes(size)));
        }
    }
    Ok(scan.await.context("taking hashes")??)
}
