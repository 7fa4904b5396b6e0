//! [`HttpOrigin::download`]: a whole file, for hashing before it is shared.

use super::{HttpOrigin, OriginError, OriginVersion, ReadOrigin};
use crate::vod::StoreError;
use bytes::Bytes;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Bytes of one request.
const PART: u64 = 64 << 20;
/// Requests without any result after which the download has failed.
const MAX_FAILURES: u32 = 5;

impl HttpOrigin {
    /// Downloads a version to this path, unless it is there already; the name must tell versions apart.
    /// What an earlier call has left in `PATH.part` is kept. `progress` is called with the number of bytes
    /// that are there.
    ///
    /// # Errors
    ///
    /// The server fails several times in a row or has another version, or the file cannot be written.
    pub async fn download(
        &self,
        version: &OriginVersion,
        path: &Path,
        mut progress: impl FnMut(u64),
    ) -> Result<(), OriginError> {
        let is_there = path.metadata().is_ok_and(|it| it.is_file() && it.len() == version.size);
        if is_there {
            return Ok(());
        }
        let part = part_of(path);
        let mut file = open(&part)?;
        let cannot = |error| OriginError::local(StoreError::io("write", &part)(error));
        let mut failures = 0;
        loop {
            let mut held = file.seek(io::SeekFrom::End(0)).await.map_err(cannot)?;
            if held > version.size || (held > 0 && held < version.size && !version.has_ranges) {
                file.set_len(0).await.map_err(cannot)?;
                continue;
            }
            progress(held);
            if held == version.size {
                break;
            }
            let before = held;
            let end = version.size.min(held.saturating_add(PART));
            let range = version.has_ranges.then_some(held..end);
            let (parts, mut incoming) = mpsc::channel::<Bytes>(4);
            let write = async {
                while let Some(bytes) = incoming.recv().await {
                    file.write_all(&bytes).await?;
                    held += bytes.len() as u64;
                    progress(held);
                }
                file.flush().await
            };
            let (read, written) = tokio::join!(self.read(version, range, parts), write);
            written.map_err(cannot)?;
            match read {
                Ok(()) => failures = 0,
                Err(error) if error.is_final() => return Err(error),
                Err(_) if held > before => failures = 0,
                Err(error) if failures >= MAX_FAILURES => return Err(error),
                Err(_) => {
                    failures += 1;
                    let pause = Duration::from_secs(1 << failures);
                    let _ = timeout(pause, std::future::pending::<()>()).await;
                }
            }
        }
        file.sync_all().await.map_err(cannot)?;
        tokio::fs::rename(&part, path).await.map_err(cannot)
    }
}

impl OriginVersion {
    /// The file for [`HttpOrigin::download`] in a directory.
    pub fn cache_file(&self, directory: &Path) -> PathBuf {
        directory.join(self.cache_name(true))
    }

    /// Compares the hash of the file with the one that the server states.
    ///
    /// # Errors
    ///
    /// They differ.
    pub fn check_sha256(&self, found: crate::vod::Digest256) -> Result<(), OriginError> {
        match self.sha256 {
            Some(stated) if stated != found => Err(OriginError::WrongFile),
            _ => Ok(()),
        }
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Opens the file, for one process at a time.
fn open(part: &Path) -> Result<File, OriginError> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.create(true).append(true).open(part);
    let file = file.map_err(|error| OriginError::local(StoreError::io("open", part)(error)))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(OriginError::local(StoreError::InUse { path: part.to_owned() }))
        }
        Ok(()) | Err(TryLockError::Error(_)) => Ok(File::from_std(file)),
    }
}
