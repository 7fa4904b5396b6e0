//! Destinations of output: a file, or something that is written to in order.
//!
//! A path that a person names for output may be anything: a file, a symbolic link, a device, a
//! named pipe, one of the process's own descriptors. [`OutputPath::locate`] finds out which,
//! without opening or changing it. A regular file may be replaced by a finished one; everything
//! else is written to in order, as a pipe is, and is never removed or renamed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Symbolic links that are followed one after the other, as on Linux.
const MAX_LINKS: usize = 40;

/// Destination that a path for output names. Symbolic links are followed, also one whose target
/// does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputPath {
    /// Nothing. A file can be created at this path; its directory need not exist.
    Missing(PathBuf),
    /// A regular file.
    File(PathBuf),
    /// A directory.
    Directory(PathBuf),
    /// A device, a named pipe or an open descriptor.
    InOrder(InOrder),
}

impl OutputPath {
    /// Finds out what `path` names.
    ///
    /// # Errors
    ///
    /// The operating system's error: no permission to look, a name that is too long, a path
    /// below a file, links in a circle. A socket is refused.
    pub fn locate(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..=MAX_LINKS {
            if is_descriptor(&path) {
                return Ok(Self::InOrder(InOrder { path, is_descriptor: true }));
            }
            let found = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self::Missing(path));
                }
                found => found?.file_type(),
            };
            if found.is_symlink() {
                let target = fs::read_link(&path)?;
                // A target that is absolute replaces the whole path.
                path = path.parent().unwrap_or(Path::new("")).join(target);
                continue;
            }
            return match (found.is_file(), found.is_dir()) {
                (true, _) => Ok(Self::File(path)),
                (_, true) => Ok(Self::Directory(path)),
                _ if is_socket(found) => Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is a socket, which cannot be opened as a file",
                )),
                _ => Ok(Self::InOrder(InOrder { path, is_descriptor: false })),
            };
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "too many symbolic links"))
    }
}

/// Something that is written to from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InOrder {
    path: PathBuf,
    is_descriptor: bool,
}

impl InOrder {
    /// Its path, links followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it for writing and does not wait: `None` if it is a named pipe that no process reads.
    /// Nothing is truncated. A descriptor is written to where it stands.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    pub fn open(&self) -> io::Result<Option<File>> {
        if self.is_descriptor
            && let Some(file) = duplicate(&self.path)?
        {
            return Ok(Some(file));
        }
        let mut options = OpenOptions::new();
        // Appending is how a file that another process has open under a number is written to in
        // order; it means nothing for pipes and devices.
        options.append(true);
        open_at_once(&mut options, &self.path)
    }
}

/// Writes a small file, which is complete whenever it is there. Its directory must exist; `path` is
/// not to be a link.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if there is one of its name and `replace` is not set, or what
/// the operating system reports. Nothing has been changed then.
pub fn write_whole(path: &Path, content: &[u8], access: Access, replace: bool) -> io::Result<()> {
    let temporary = write_aside(path, content, access)?;
    let named = match replace {
        true => fs::rename(&temporary, path),
        false => name_anew(&temporary, path),
    };
    // After a rename there is none. One that stays is a file too many.
    let _ = fs::remove_file(&temporary);
    named
}

/// Access to a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever may read the files that this user makes.
    Usual,
    /// Only this user.
    Private,
}

/// Writes a new file of another name in the same directory.
fn write_aside(path: &Path, content: &[u8], access: Access) -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!(".rtmfp-{}-{count}.new", std::process::id());
    let temporary = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let _ = access;
    let mut file = options.open(&temporary)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map(|()| temporary)
}

/// Gives a file a name that nothing has.
fn name_anew(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // No hard links on this file system.
        Err(_) if fs::symlink_metadata(path).is_err() => fs::rename(temporary, path),
        linked => linked,
    }
}

/// Opens a path that may name a pipe without waiting for who reads it; `None` if nobody does.
#[cfg(unix)]
fn open_at_once(options: &mut OpenOptions, path: &Path) -> io::Result<Option<File>> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use std::os::unix::fs::OpenOptionsExt;
    // A terminal that is written to does not become the controlling one.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(flags.bits().cast_signed());
    match options.open(path) {
        Ok(file) => {
            fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
            Ok(Some(file))
        }
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
            use std::os::unix::fs::FileTypeExt;
            let is_pipe = fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
            if is_pipe { Ok(None) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn open_at_once(options: &mut OpenOptions, path: &Path) -> io::Result<Option<File>> {
    options.open(path).map(Some)
}

/// Standard output and standard error under another number, with the place where they stand.
#[cfg(unix)]
fn duplicate(path: &Path) -> io::Result<Option<File>> {
    use std::os::fd::AsFd;
    let owned = match number(path) {
        Some(1) => io::stdout().as_fd().try_clone_to_owned()?,
        Some(2) => io::stderr().as_fd().try_clone_to_owned()?,
        _ => return Ok(None),
    };
    Ok(Some(owned.into()))
}

#[cfg(not(unix))]
fn duplicate(_path: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// The number of a descriptor of this process.
#[cfg(unix)]
fn number(path: &Path) -> Option<u32> {
    let folder = path.parent()?.canonicalize().ok()?;
    let own = Path::new("/proc").join(std::process::id().to_string()).join("fd");
    let is_own = folder == own || folder == Path::new("/dev/fd");
    path.file_name()?.to_str()?.parse().ok().filter(|_| is_own)
}

/// True if the path names an open descriptor, of this process or another: `/dev/fd/3`,
/// `/proc/self/fd/3`. What such a path leads to is open already and is not to be replaced.
fn is_descriptor(path: &Path) -> bool {
    let is_number = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    if !cfg!(unix) || !path.file_name().and_then(|name| name.to_str()).is_some_and(is_number) {
        return false;
    }
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    folder.is_some_and(|folder| {
        folder == Path::new("/dev/fd") || (folder.starts_with("/proc") && folder.ends_with("fd"))
    })
}

#[cfg(unix)]
fn is_socket(found: fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&found)
}

#[cfg(not(unix))]
fn is_socket(_found: fs::FileType) -> bool {
    false
}

/// Makes a named pipe. Not by the command: between its fork and its exec it would share the locks
/// of other tests.
#[cfg(all(test, target_os = "linux"))]
pub(crate) fn make_pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn locate(path: impl AsRef<Path>) -> OutputPath {
        OutputPath::locate(path.as_ref()).unwrap()
    }

    fn in_order(path: impl AsRef<Path>) -> InOrder {
        match locate(path) {
            OutputPath::InOrder(place) => place,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn links_are_followed_to_what_is_there_and_to_what_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "").unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink("file", at("link")).unwrap();
        symlink(at("link"), at("link to link")).unwrap();
        symlink("folder", at("to folder")).unwrap();
        symlink("folder/none", at("dangling")).unwrap();
        symlink("circle", at("circle")).unwrap();
        assert_eq!(locate(at("file")), OutputPath::File(at("file")));
        assert_eq!(locate(at("link to link")), OutputPath::File(at("file")));
        assert_eq!(locate(at("to folder")), OutputPath::Directory(at("folder")));
        assert_eq!(locate(at("dangling")), OutputPath::Missing(at("folder/none")));
        assert_eq!(locate(at("none")), OutputPath::Missing(at("none")));
        assert!(OutputPath::locate(&at("circle")).is_err());
        assert!(OutputPath::locate(&at("file/below")).is_err());
        assert!(OutputPath::locate(&at(&"x".repeat(256))).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn devices_pipes_and_descriptors_are_written_to_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        make_pipe(&at("pipe"));
        symlink("/dev/null", at("device")).unwrap();
        assert_eq!(in_order("/dev/null").path(), Path::new("/dev/null"));
        assert_eq!(in_order(at("device")).path(), Path::new("/dev/null"));
        for descriptor in ["/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2"] {
            assert!(in_order(descriptor).is_descriptor, "{descriptor}");
        }
        in_order("/dev/null").open().unwrap().unwrap().write_all(b"gone").unwrap();

        // Nobody reads the pipe: that is reported and not waited for.
        assert!(in_order(at("pipe")).open().unwrap().is_none());
        let mut reader = {
            let path = at("pipe");
            let mut options = OpenOptions::new();
            open_at_once(options.read(true), &path).unwrap().unwrap()
        };
        let mut writer = in_order(at("pipe")).open().unwrap().unwrap();
        writer.write_all(b"in order").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "in order");
    }

    #[test]
    fn a_file_behind_a_descriptor_is_neither_cut_nor_replaced() {
        use std::os::fd::AsRawFd;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"first ").unwrap();
        let descriptor = format!("/dev/fd/{}", file.as_raw_fd());
        in_order(descriptor).open().unwrap().unwrap().write_all(b"second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first second");
    }

    #[test]
    fn a_small_file_is_there_whole_or_not_at_all() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let write = |content: &str, replace| {
            write_whole(&path, content.as_bytes(), Access::Private, replace)
        };
        write("first", false).unwrap();
        assert_eq!(write("second", false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        write("third", true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "third");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_whole(&path.join("none"), b"", Access::Usual, true).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn sockets_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = OutputPath::locate(&path).unwrap_err();
        assert!(error.to_string().contains("socket"), "{error}");
    }
}
