//! `rtmfp fetch --check`: verification of a local file against a link.

use super::format;
use super::outcome::TimedOut;
use super::patience::after;
use super::screen::{self, Live};
use super::signals::Signals;
use super::{STOP_GRACE, hashing};
use anyhow::{Context, bail};
use rtmfp::vod::file_name::safe_file_name;
use rtmfp::vod::store::{Verdict, check_file_by};
use rtmfp::vod::tree::HashTree;
use rtmfp::vod::{Descriptor, Fetch, FetchConfig, FileList, Integrity, ShareLink};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Bad parts that are listed.
const MAX_LISTED: usize = 20;

/// Checks the file at `path`, or the one that a fetch to there would have made. `config` is for
/// asking the group which parts the file has, if that is needed.
///
/// # Errors
///
/// The file is not the shared one, or cannot be read.
pub(crate) async fn run(
    path: Option<&Path>,
    config: FetchConfig,
    timeout: Option<Duration>,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let path = file_of(path, &config.link)?;
    let link = config.link.clone();
    // For a correct file, the link alone is enough.
    let sha256 = match link.integrity.descriptor() {
        Some(descriptor) => {
            let verdict = check(&path, Arc::new(descriptor), None, signals).await?;
            return report(&path, &verdict, None);
        }
        // What the link vouches for has the paths of the files as well, which a folder does not have.
        None if path.is_dir() => None,
        None => {
            let source = tokio::select! {
                source = hashing::scan(path.clone()) => source?,
                () = signals.recv() => bail!("interrupted"),
            };
            let descriptor = Descriptor { name: link.name.clone(), ..source.descriptor() };
            let sha256 = descriptor.sha256.context("the file has no hash")?;
            if link.integrity == Integrity::Descriptor(descriptor.digest()) {
                return report(&path, &Verdict::Good { sha256 }, None);
            }
            Some(sha256)
        }
    };
    let shown = path.display();
    screen::line(&match sha256 {
        Some(_) => format!(
            "{shown} is not the file of the link\nasking members of the group which parts the file has"
        ),
        None => "asking members of the group for the list of files".to_owned(),
    });
    let length = path.metadata().ok().filter(|found| found.is_file()).map(|found| found.len());
    let (descriptor, hashes) = tokio::select! {
        answer = ask(config, length) => answer.with_context(|| match sha256 {
            Some(sha256) => format!(
                "cannot determine which parts of {shown} are bad (its SHA-256 is {sha256})"
            ),
            None => format!("cannot check the files in {shown}"),
        })?,
        () = after(timeout) => {
            return Err(TimedOut(match sha256 {
                Some(sha256) => format!(
                    "{shown} is not the file that was shared (its SHA-256 is {sha256}); no member \
                     has sent a list of its parts"
                ),
                None => format!("no member has sent a list of the files, to check {shown} by"),
            })
            .into());
        }
        () = signals.recv() => bail!("interrupted"),
    };
    let verdict = check(&path, Arc::clone(&descriptor), hashes, signals).await?;
    report(&path, &verdict, Some(&descriptor))
}

/// The file to check.
fn file_of(path: Option<&Path>, link: &ShareLink) -> anyhow::Result<PathBuf> {
    let path = path.unwrap_or(Path::new("."));
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let name = link.name.as_deref().context("the link names no file: name it with -o")?;
    let inside = path.join(safe_file_name(name));
    // A folder may have been given another name.
    Ok(if link.files.is_some() && !inside.exists() { path.to_owned() } else { inside })
}

/// The descriptor, and the hashes of so many bytes or of all, if the descriptor does not list them; from
/// whoever has them.
async fn ask(
    config: FetchConfig,
    length: Option<u64>,
) -> anyhow::Result<(Arc<Descriptor>, Option<HashTree>)> {
    let fetch = Fetch::start(config).await?;
    let descriptor = fetch.descriptor().await?;
    let length = length.or(descriptor.layout.size()).unwrap_or_default();
    let hashes = fetch.hashes(length).await?;
    fetch.stop(STOP_GRACE).await;
    Ok((descriptor, hashes))
}

/// Compares file and descriptor, and shows progress.
async fn check(
    path: &Path,
    descriptor: Arc<Descriptor>,
    hashes: Option<HashTree>,
    signals: &mut Signals,
) -> anyhow::Result<Verdict> {
    let (sender, mut steps) = mpsc::channel(1);
    let file = path.to_owned();
    let check = tokio::task::spawn_blocking(move || {
        check_file_by(&file, &descriptor, hashes.as_ref(), |bytes| {
            // A step that nobody has looked at yet need not be reported again.
            let _ = sender.try_send(bytes);
        })
    });
    let live = Live::new();
    let shown = async {
        while let Some(bytes) = steps.recv().await {
            live.draw(&format!("checked {}", format::bytes(bytes)));
        }
        check.await
    };
    tokio::select! {
        verdict = shown => Ok(verdict??),
        () = signals.recv() => bail!("interrupted"),
    }
}

fn report(path: &Path, verdict: &Verdict, descriptor: Option<&Descriptor>) -> anyhow::Result<()> {
    let shown = path.display();
    match verdict {
        Verdict::Good { sha256 } => {
            screen::result(&format!("{shown}: good, SHA-256 {sha256}"))?;
            Ok(())
        }
        Verdict::Bad { length, parts, bad_chunks, is_a_copy, .. } => {
            let chunks = descriptor.map_or(0, Descriptor::chunks);
            if chunks > 0 {
                let count = format::count(*bad_chunks, "part");
                screen::result(&format!("{shown}: {count} of {chunks} bad"))?;
                list(parts, descriptor)?;
            }
            let size = descriptor.and_then(|descriptor| descriptor.layout.size());
            if let Some(size) = size.filter(|size| size != length) {
                screen::result(&format!("  it has {length} bytes instead of {size}"))?;
            }
            bail!("{shown} is not the file that was shared; {}", advice(*is_a_copy))
        }
        _ => bail!("neither the link nor the group has a hash of {shown}"),
    }
}

fn list(parts: &[RangeInclusive<u64>], descriptor: Option<&Descriptor>) -> std::io::Result<()> {
    let ranges = match descriptor.and_then(|descriptor| descriptor.files.as_ref()) {
        None => parts.iter().map(|part| (None, part.clone())).collect(),
        Some(files) => by_file(parts, files),
    };
    for (file, part) in ranges.iter().take(MAX_LISTED) {
        let file = file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
        screen::result(&format!("  {file}bytes {} to {}", part.start(), part.end()))?;
    }
    match ranges.len().saturating_sub(MAX_LISTED) {
        0 => Ok(()),
        more => screen::result(&format!("  and {more} further ranges")),
    }
}

/// Ranges of a share as ranges of its files.
fn by_file(
    parts: &[RangeInclusive<u64>],
    files: &FileList,
) -> Vec<(Option<String>, RangeInclusive<u64>)> {
    let paths = files.safe_paths();
    let mut ranges = Vec::new();
    for part in parts {
        for (index, path) in paths.iter().enumerate() {
            let Some(file) = files.range(index) else { break };
            let (from, to) = ((*part.start()).max(file.start), (*part.end() + 1).min(file.end));
            if from < to {
                let range = from - file.start..=to - 1 - file.start;
                ranges.push((Some(path.display().to_string()), range));
            }
        }
    }
    ranges
}

/// Advice on how to repair the file.
fn advice(is_a_copy: bool) -> &'static str {
    match is_a_copy {
        true => {
            "the same command without --check fetches what is bad and keeps the old file beside it"
        }
        false => "the same command with --force instead of --check replaces it",
    }
}
