//! [`Scratch`]: a directory that vanishes.

use anyhow::Context;
use rtmfp::driver::os_random;
use std::fs::DirBuilder;
use std::path::{Path, PathBuf};

/// A new directory for temporary files that only this user can read. It is deleted with everything
/// in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// In the directory for temporary files.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Self::below(&std::env::temp_dir(), "TMPDIR")
    }

    /// In this user's directory for caches: that for temporary files is in memory on many systems, where
    /// a film has no room.
    pub(crate) fn in_cache() -> anyhow::Result<Self> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let named = |name| variable(name).filter(|path| path.is_absolute());
        let (home, below) = match (cfg!(windows), cfg!(target_os = "macos")) {
            (true, _) => ("LOCALAPPDATA", "rtmfp/cache"),
            (_, true) => ("HOME", "Library/Caches/rtmfp"),
            _ => ("HOME", ".cache/rtmfp"),
        };
        let cache = named("XDG_CACHE_HOME").map(|cache| cache.join("rtmfp"));
        let Some(cache) = cache.or_else(|| Some(named(home)?.join(below))) else {
            return Self::new();
        };
        match std::fs::create_dir_all(&cache) {
            Ok(()) => Self::below(&cache, "XDG_CACHE_HOME"),
            // A user without a home.
            Err(_) => Self::new(),
        }
    }

    fn below(directory: &Path, variable: &str) -> anyhow::Result<Self> {
        let path = directory.join(format!("rtmfp-{:016x}", os_random().next_u64()));
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
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in the directory for temporary files anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
