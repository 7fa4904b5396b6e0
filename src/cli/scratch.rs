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
    pub(crate) fn new() -> anyhow::Result<Self> {
        let name = format!("rtmfp-{:016x}", os_random().next_u64());
        let path = std::env::temp_dir().join(name);
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // Fails if the name is taken: nobody else can have prepared the directory.
        builder.create(&path).with_context(|| {
            format!(
                "cannot create the temporary directory {} (TMPDIR chooses another place)",
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
