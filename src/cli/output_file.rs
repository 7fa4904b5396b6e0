//! Output files, which are never one of the inputs, by whatever name.

use anyhow::{Context, bail};
use rtmfp::driver::OutputPath;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The identity of a file: the same for all paths and links to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileId {
    /// Device and inode.
    #[cfg(unix)]
    Inode(u64, u64),
    /// Path of a file that does not exist yet, or where there are no inodes.
    Path(PathBuf),
}

impl FileId {
    /// The file at `path`, which need not exist. Symbolic links are followed; nothing is opened.
    ///
    /// # Errors
    ///
    /// Errors of the operating system: the folder does not exist, or may not be read.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        if let OutputPath::Missing(path) = OutputPath::locate(path)? {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new(".")).canonicalize()?;
            return Ok(Self::Path(folder.join(path.file_name().unwrap_or(OsStr::new("")))));
        }
        Self::of_existing(path, &fs::metadata(path)?)
    }

    #[cfg(unix)]
    fn of_existing(_: &Path, metadata: &fs::Metadata) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        Ok(Self::Inode(metadata.dev(), metadata.ino()))
    }

    #[cfg(not(unix))]
    fn of_existing(path: &Path, _: &fs::Metadata) -> io::Result<Self> {
        path.canonicalize().map(Self::Path)
    }
}

/// Standard input or output as a file.
#[cfg(unix)]
fn metadata_of(stream: impl std::os::fd::AsFd) -> Option<fs::Metadata> {
    File::from(stream.as_fd().try_clone_to_owned().ok()?).metadata().ok()
}

/// Elsewhere a redirected stream has no identity that could be compared.
#[cfg(not(unix))]
fn metadata_of<S>(_: S) -> Option<fs::Metadata> {
    None
}

/// True if `path` is standard output: `-`, `/dev/stdout`, or what that is redirected to.
pub(crate) fn is_standard_output(path: &Path) -> bool {
    if path.as_os_str() == "-" {
        return true;
    }
    let Some(metadata) = metadata_of(io::stdout()) else { return false };
    let standard = FileId::of_existing(path, &metadata).ok();
    path.exists() && standard.is_some_and(|id| FileId::of(path).is_ok_and(|other| other == id))
}

/// Opens `path` for writing from the start. Standard output, pipes and devices are written to in
/// order, and a pipe's reader is waited for; a link is followed to its file; what was in a regular
/// file is gone.
///
/// # Errors
///
/// If it cannot be opened; the error names it.
pub(crate) fn create(path: &Path) -> anyhow::Result<Box<dyn Write>> {
    if is_standard_output(path) {
        return Ok(Box::new(io::stdout()));
    }
    let opened = OutputPath::locate(path).and_then(|place| match place {
        OutputPath::InOrder(place) => match place.open()? {
            Some(file) => Ok(file),
            None => OpenOptions::new().append(true).open(place.path()),
        },
        _ => File::create(path),
    });
    Ok(Box::new(opened.with_context(|| format!("cannot write {}", path.display()))?))
}

/// The regular files that a command uses, none of which may be overwritten. Pipes and devices may be
/// read and written at once, as terminals are.
#[derive(Debug, Default)]
pub(crate) struct InUse {
    files: Vec<(FileId, String)>,
}

impl InUse {
    /// Adds the file at `path`, which need not exist. `what` names its purpose:
    /// "the capture that is read".
    pub(crate) fn add(&mut self, path: &Path, what: &str) {
        let is_special = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        if let Ok(id) = FileId::of(path)
            && !is_special
        {
            self.files.push((id, format!("{what} ({})", path.display())));
        }
    }

    /// Adds what standard input was redirected from.
    pub(crate) fn add_standard_input(&mut self, what: &str) {
        let metadata = metadata_of(io::stdin()).filter(fs::Metadata::is_file);
        if let Some(metadata) = metadata
            && let Ok(id) = FileId::of_existing(Path::new("-"), &metadata)
        {
            self.files.push((id, format!("{what} (standard input)")));
        }
    }

    /// The use of the file at `path`, if there is one.
    pub(crate) fn find(&self, path: &Path) -> Option<&str> {
        let id = FileId::of(path).ok()?;
        self.files.iter().find(|(other, _)| *other == id).map(|(_, what)| &what[..])
    }

    /// Fails if the output at `path`, which `option` names, would overwrite one of the files.
    ///
    /// # Errors
    ///
    /// If it would. The error has advice.
    pub(crate) fn check_output(&self, option: &str, path: &Path) -> anyhow::Result<()> {
        if path.as_os_str() == "-" {
            return self.check_standard_output();
        }
        match self.find(path) {
            Some(what) => {
                bail!("{option} {} is {what}: choose another file", path.display())
            }
            None => Ok(()),
        }
    }

    /// Fails if standard output was redirected to one of the files.
    ///
    /// # Errors
    ///
    /// If it was. The error has advice.
    pub(crate) fn check_standard_output(&self) -> anyhow::Result<()> {
        let metadata = metadata_of(io::stdout()).filter(fs::Metadata::is_file);
        let id = metadata.and_then(|m| FileId::of_existing(Path::new("-"), &m).ok());
        let found = self.files.iter().find(|(other, _)| id.as_ref() == Some(other));
        match found {
            Some((_, what)) => bail!(
                "standard output is redirected to {what}: redirect it to another file, and restore \
                 this one, which the shell may have emptied"
            ),
            None => Ok(()),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_name_of_a_file_is_that_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "a").unwrap();
        fs::write(path("b"), "a").unwrap();
        fs::hard_link(path("a"), path("hard")).unwrap();
        symlink("a", path("soft")).unwrap();
        symlink("later", path("dangling")).unwrap();
        fs::create_dir(path("d")).unwrap();
        let mut in_use = InUse::default();
        in_use.add(&path("a"), "the capture");
        in_use.add(&path("later"), "the key log");
        for name in ["a", "hard", "soft", "d/../a"] {
            let error = in_use.check_output("--decrypted", &path(name)).unwrap_err().to_string();
            assert!(error.contains("the capture") && error.contains("choose another"), "{error}");
        }
        assert!(in_use.check_output("--decrypted", &path("dangling")).is_err());
        assert!(in_use.check_output("--decrypted", &path("b")).is_ok());
        assert!(in_use.check_output("--decrypted", &path("new")).is_ok());
    }

    #[test]
    fn devices_are_not_protected() {
        let mut in_use = InUse::default();
        in_use.add(Path::new("/dev/null"), "the key log");
        assert!(in_use.check_output("--decrypted", Path::new("/dev/null")).is_ok());
    }
}
