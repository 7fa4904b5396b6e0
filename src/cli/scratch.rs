//! [`Scratch`]: a directory that vanishes.

use anyhow::Context;
use rtmfp::driver::os_random;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::path::{Path, PathBuf};

/// The end of the name of a lock, which lies beside its directory.
const LOCK: &str = "lock";

/// A new directory for temporary files that only this user can read. It is deleted with everything
/// in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// Locked while the directory is in use.
    lock: Option<File>,
}

impl Scratch {
    /// In the directory for temporary files.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Self::make(std::env::temp_dir().join(new_name()), None, "TMPDIR")
    }

    /// In this user's directory for caches: that for temporary files is in memory on many systems, where
    /// a film has no room. What commands left there that could not end by themselves is deleted.
    pub(crate) fn in_cache() -> anyhow::Result<Self> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let named = |name| variable(name).filter(|path| path.is_absolute());
        let (home, below) = match (cfg!(windows), cfg!(target_os = "macos")) {
            (true, _) => ("LOCALAPPDATA", "rtmfp/cache"),
            (_, true) => ("HOME", "Library/Caches/rtmfp"),
            _ => ("HOME", ".cache/rtmfp"),
        };
        let cache = named("XDG_CACHE_HOME").map(|cache| cache.join("rtmfp"));
        let cache = cache.or_else(|| Some(named(home)?.join(below)));
        match cache {
            Some(cache) if std::fs::create_dir_all(&cache).is_ok() => Self::below(&cache),
            // A user without a home.
            _ => Self::new(),
        }
    }

    fn below(cache: &Path) -> anyhow::Result<Self> {
        delete_abandoned(cache);
        let path = cache.join(new_name());
        let lock = OpenOptions::new().write(true).create_new(true).open(path.with_extension(LOCK));
        // Where files cannot be locked, nothing is known to be abandoned either.
        let lock = lock.ok().filter(|lock| lock.try_lock().is_ok());
        Self::make(path, lock, "XDG_CACHE_HOME")
    }

    fn make(path: PathBuf, lock: Option<File>, variable: &str) -> anyhow::Result<Self> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // Fails if the name is taken: nobody else can have prepared the directory.
        builder.create(&path).with_context(|| {
            format!(
                "cannot create the temporary directory {} ({variable} chooses another place)",
                path.display()
            )
        })?;
        Ok(Self { path, lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in a directory for such files anyway.
        let _ = std::fs::remove_dir_all(&self.path);
        if self.lock.take().is_some() {
            let _ = std::fs::remove_file(self.path.with_extension(LOCK));
        }
    }
}

fn new_name() -> String {
    format!("rtmfp-{:016x}", os_random().next_u64())
}

/// Deletes the directories of commands that were killed: their locks are free.
fn delete_abandoned(cache: &Path) {
    let Ok(entries) = std::fs::read_dir(cache) else { return };
    let locks = entries.filter_map(|entry| Some(entry.ok()?.path()));
    for lock in locks.filter(|path| path.extension() == Some(OsStr::new(LOCK))) {
        let is_free = File::open(&lock).is_ok_and(|file| file.try_lock().is_ok());
        if is_free {
            // The lock stays if its directory cannot be deleted, for the next time.
            let directory = lock.with_extension("");
            if !directory.exists() || std::fs::remove_dir_all(&directory).is_ok() {
                let _ = std::fs::remove_file(&lock);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_command_left_is_deleted_by_the_next() {
        let cache = tempfile::tempdir().unwrap();
        let running = Scratch::below(cache.path()).unwrap();
        std::fs::write(running.path().join("film"), "x").unwrap();
        let killed = Scratch::below(cache.path()).unwrap();
        std::fs::write(killed.path().join("film"), "x").unwrap();
        // The system closes what a killed process had open.
        let abandoned = killed.path().to_owned();
        let mut killed = std::mem::ManuallyDrop::new(killed);
        drop(killed.lock.take());
        let next = Scratch::below(cache.path()).unwrap();
        assert!(!abandoned.exists() && running.path().exists() && next.path().exists());
        drop((running, next));
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
    }
}
