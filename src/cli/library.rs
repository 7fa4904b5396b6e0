//! `share --library`: every file and every folder in a directory is a share of its own, on one connection,
//! and what is added, changed or removed is followed.

use super::events::Reporter;
use super::format;
use super::gather;
use super::hashing::{hashing, remembering};
use super::outcome;
use super::remembered::Remembered;
use super::screen::{self, Live};
use super::signals::Signals;
use anyhow::Context;
use rtmfp::peer::Connection;
use rtmfp::vod::catalogue::{Entry as Listed, Publication};
use rtmfp::vod::{Digest256, Share, ShareConfig, SourceFile, StoreError};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Interval at which the directory is read. What has changed is shared when it has stayed the same for
/// so long: until then it is still being written.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// The most shares of a library, each of which is a group. More are left out, with a warning.
const MAX_SHARES: usize = 500;

/// What is in the directory under a name.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) content: Content,
    /// Changes with every path, size and time in it.
    pub(crate) stamp: Digest256,
    pub(crate) size: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    File(PathBuf),
    Folder(Vec<(String, PathBuf)>),
}

impl Content {
    /// Hashes it. This blocks.
    pub(crate) fn scan(
        self,
        name: &str,
        progress: &mut dyn FnMut(u64),
    ) -> Result<SourceFile, StoreError> {
        match self {
            Self::File(path) => SourceFile::scan_file(&path, &remembering(), progress),
            Self::Folder(files) => SourceFile::scan_files(name, files, &remembering(), progress),
        }
    }
}

/// An entry that was seen.
struct Item {
    stamp: Digest256,
    /// True if it was looked at: it is shared, or cannot be.
    is_done: bool,
    share: Option<Share>,
}

/// A directory whose entries are shared.
pub(crate) struct Library<'a> {
    directory: PathBuf,
    connection: &'a Connection,
    catalogue: &'a Publication,
    config: ShareConfig,
    remembered: Option<&'a Remembered>,
    reporter: &'a Reporter,
    items: BTreeMap<String, Item>,
    is_full: bool,
}

impl<'a> Library<'a> {
    pub(crate) fn new(
        directory: &Path,
        connection: &'a Connection,
        catalogue: &'a Publication,
        config: ShareConfig,
        remembered: Option<&'a Remembered>,
        reporter: &'a Reporter,
    ) -> Self {
        let (directory, items) = (directory.to_owned(), BTreeMap::new());
        Self {
            directory,
            connection,
            catalogue,
            config,
            remembered,
            reporter,
            items,
            is_full: false,
        }
    }

    /// Follows the directory until a signal ends the command. Returns the bytes uploaded.
    ///
    /// # Errors
    ///
    /// The directory cannot be read when it is read first.
    pub(crate) async fn run(mut self, signals: &mut Signals) -> anyhow::Result<u64> {
        let mut live = Live::new();
        let mut poll = tokio::time::interval(INTERVAL);
        let mut uploaded = 0;
        let mut entries = list(self.directory.clone()).await?;
        loop {
            let next = async {
                poll.tick().await;
                self.follow(&entries).await;
                list(self.directory.clone()).await
            };
            tokio::select! {
                // A directory that is gone for a while, on a disk that was taken away, is an empty one.
                found = next => entries = found.unwrap_or_default(),
                () = signals.recv() => break,
            }
            uploaded = self.uploaded().max(uploaded);
            let shared = self.shares().count();
            let shares = format::count(shared as u64, "share");
            let text = format!("{shares}, {} uploaded", format::bytes(uploaded));
            live.draw(&text);
            live.report(0.0, text);
        }
        uploaded = self.uploaded().max(uploaded);
        for (_, item) in self.items {
            if let Some(share) = item.share {
                share.stop(Duration::ZERO).await;
            }
        }
        Ok(uploaded)
    }

    fn shares(&self) -> impl Iterator<Item = &Share> {
        self.items.values().filter_map(|item| item.share.as_ref())
    }

    fn uploaded(&self) -> u64 {
        self.shares().map(|share| share.progress().borrow().bytes_uploaded).sum()
    }

    /// Begins and ends shares, so that they are those of the entries.
    async fn follow(&mut self, entries: &BTreeMap<String, Entry>) {
        let is_gone = |name: &String, item: &Item| {
            entries.get(name).is_none_or(|entry| entry.stamp != item.stamp)
        };
        let gone: Vec<String> = self
            .items
            .iter()
            .filter(|(name, item)| is_gone(name, item))
            .map(|(it, _)| it.clone())
            .collect();
        for name in gone {
            let Some(item) = self.items.remove(&name) else { continue };
            if let Some(share) = item.share {
                share.stop(Duration::ZERO).await;
                screen::line(&format!("no longer shared as it was: {}", format::printable(&name)));
                self.publish();
            }
        }
        for (name, entry) in entries {
            match self.items.get(name) {
                // Seen for the first time: it may still be written.
                None if self.items.len() < MAX_SHARES => {
                    let item = Item { stamp: entry.stamp, is_done: false, share: None };
                    self.items.insert(name.clone(), item);
                }
                None => self.warn_of_more(),
                Some(item) if item.is_done => {}
                Some(_) => {
                    let share = self.begin(name, entry).await;
                    let share = share.inspect_err(|error| {
                        let name = format::printable(name);
                        screen::line(&format!("cannot share {name}: {}", outcome::text(error)));
                    });
                    if let Some(item) = self.items.get_mut(name) {
                        (item.is_done, item.share) = (true, share.ok());
                    }
                    self.publish();
                }
            }
        }
    }

    /// Lists in the catalogue what is shared now.
    fn publish(&self) {
        let entries = self.shares().map(|share| Listed {
            name: share.descriptor().file_name(),
            size: share.descriptor().layout.size(),
            mime: share.descriptor().mime.clone(),
            link: share.link().clone(),
        });
        self.catalogue.set(entries.collect());
    }

    fn warn_of_more(&mut self) {
        if !std::mem::replace(&mut self.is_full, true) {
            let directory = self.directory.display();
            screen::line(&format!(
                "WARNING: only {MAX_SHARES} entries of {directory} are shared: put files that belong \
                 together into a folder"
            ));
        }
    }

    /// Hashes an entry and shares it.
    async fn begin(&self, name: &str, entry: &Entry) -> anyhow::Result<Share> {
        let (content, folder) = (entry.content.clone(), name.to_owned());
        let source = hashing(entry.size, move |progress| content.scan(&folder, progress));
        let source = source.await?;
        let mut config = self.config.clone();
        let digest = source.descriptor().digest();
        config.seed = self.remembered.map(|it| it.seed_for(&format!("{name}\n{digest}")));
        let share = Share::start_on(self.connection, source, config).await?;
        match self.reporter.is_on() {
            true => self.reporter.shared(share.link(), share.descriptor()),
            false => screen::result(&share.link().to_string())?,
        }
        Ok(share)
    }
}

/// The entries of a directory by name. What is hidden, a link, or a fetch that is not complete is left
/// out, and so is a folder that cannot be read or has no file.
pub(crate) async fn list(directory: PathBuf) -> anyhow::Result<BTreeMap<String, Entry>> {
    tokio::task::spawn_blocking(move || {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        let entries = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_partial = name.ends_with(".part") || name.ends_with(".part.rtmfp");
            if name.starts_with('.') || is_partial {
                return None;
            }
            let kind = entry.file_type().ok()?;
            let content = match (kind.is_file(), kind.is_dir()) {
                (true, _) => Content::File(entry.path()),
                (_, true) => Content::Folder(gather::folder(&entry.path()).ok()?),
                _ => return None,
            };
            Some((name, examine(content)?))
        });
        Ok(entries.collect())
    })
    .await?
}

fn examine(content: Content) -> Option<Entry> {
    let paths: Vec<&Path> = match &content {
        Content::File(path) => vec![path],
        Content::Folder(files) if files.is_empty() => return None,
        Content::Folder(files) => files.iter().map(|(_, path)| path.as_path()).collect(),
    };
    let (mut size, mut text) = (0, String::new());
    for path in paths {
        let found = path.metadata().ok()?;
        size += found.len();
        text.push_str(&format!("{}\n{} {}\n", path.display(), found.len(), changed(&found)));
    }
    Some(Entry { content, stamp: Digest256::of(text.as_bytes()), size })
}

/// When a file was changed, in nanoseconds.
fn changed(found: &Metadata) -> u128 {
    let since = found.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0, |time| time.as_nanos())
}
