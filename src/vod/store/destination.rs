//! [`FileDestination`]: the path of a fetched file, checked before anything is fetched.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::hash::Digest256;
use super::StoreError;
use crate::driver::OutputPath;

/// The longest file name of common file systems, in bytes.
const MAX_NAME: usize = 255;
/// The longest suffix that [`FileDestination`] appends to a name.
const LONGEST_SUFFIX: &str = ".part.rtmfp";

/// The treatment of a different file that already has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Keep it and report [`StoreError::DestinationExists`].
    #[default]
    Never,
    /// Replace it once the new file is complete.
    Replace,
}

/// The path on disk to which a file is fetched.
#[derive(Debug, Clone)]
pub struct FileDestination {
    /// Path and name of the complete file. A name from the network must have gone through
    /// [`safe_file_name`](super::super::file_name::safe_file_name).
    pub path: PathBuf,
    /// The treatment of an existing file of this name.
    pub overwrite: Overwrite,
    /// The identity of this download, see
    /// [`ShareLink::identity`](super::super::link::ShareLink::identity).
    pub identity: Digest256,
}

impl FileDestination {
    /// A destination that overwrites nothing.
    pub fn new(path: impl Into<PathBuf>, identity: Digest256) -> Self {
        Self { path: path.into(), overwrite: Overwrite::Never, identity }
    }

    /// The unfinished file: `NAME.part`. If the name leaves no space for suffixes, its end is
    /// replaced by a hash of the name.
    pub fn part_path(&self) -> PathBuf {
        self.with_suffix(".part")
    }

    /// The list beside the unfinished file: `NAME.part.rtmfp`.
    pub fn sidecar_path(&self) -> PathBuf {
        self.with_suffix(LONGEST_SUFFIX)
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let name = self.path.file_name().unwrap_or(OsStr::new("download"));
        let mut name = match name.len() + LONGEST_SUFFIX.len() > MAX_NAME {
            true => shortened(name),
            false => name.to_owned(),
        };
        name.push(suffix);
        self.path.with_file_name(name)
    }

    /// Resolves symbolic links in the path, and returns the metadata of the existing file, or folder
    /// if `is_folder`, if any.
    ///
    /// Errors: something of another kind exists, which cannot be replaced.
    pub(super) fn follow_links(&mut self, is_folder: bool) -> Result<Option<Metadata>, StoreError> {
        let refuse = |what| StoreError::NotReplaceable { path: self.path.clone(), what };
        match OutputPath::locate(&self.path).map_err(StoreError::io("write", &self.path))? {
            OutputPath::Missing(path) => {
                self.path = path;
                Ok(None)
            }
            OutputPath::File(_) if is_folder => Err(refuse("a file")),
            OutputPath::File(path) => {
                let found = path.metadata().map_err(StoreError::io("open", &path))?;
                self.path = path;
                Ok(Some(found))
            }
            OutputPath::Directory(path) if is_folder => {
                let found = path.metadata().map_err(StoreError::io("open", &path))?;
                self.path = path;
                Ok(Some(found))
            }
            OutputPath::Directory(_) => Err(refuse("a directory")),
            OutputPath::InOrder(_) => Err(refuse("a device or a pipe")),
        }
    }
}

/// A unique name that leaves space for suffixes.
fn shortened(name: &OsStr) -> OsString {
    const HASH_DIGITS: usize = 16;
    let hash = Digest256::of(name.as_encoded_bytes()).to_string();
    let text = name.to_string_lossy();
    let mut end = (MAX_NAME - LONGEST_SUFFIX.len() - HASH_DIGITS - 1).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let start = text.get(..end).unwrap_or_default();
    format!("{start}~{}", hash.get(..HASH_DIGITS).unwrap_or_default()).into()
}

/// The directory of a path.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Checks that a file can be created at this path. No file remains.
///
/// # Errors
///
/// The directory is missing or not writable, the name is too long, or what exists at the path
/// cannot be replaced by a file.
pub fn check_destination(path: &Path) -> Result<(), StoreError> {
    let mut destination = FileDestination::new(path, Digest256([0; 32]));
    destination.follow_links(false)?;
    check_directory(folder(&destination.path))
}

/// Checks that files can be created in this directory. No file remains.
///
/// # Errors
///
/// It is missing, not a directory, or not writable.
pub fn check_directory(directory: &Path) -> Result<(), StoreError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let error = StoreError::io("write to the directory", directory);
    let attempt = || -> io::Result<()> {
        if !directory.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let probe = directory.join(format!(".rtmfp-{}-{count}", std::process::id()));
        OpenOptions::new().write(true).create_new(true).open(&probe)?;
        fs::remove_file(&probe)
    };
    attempt().map_err(error)
}

/// Checks that a file of this size fits, in addition to the space that the unfinished file takes
/// already.
pub(super) fn check_space(allocated: u64, path: &Path, size: u64) -> Result<(), StoreError> {
    let (needed, directory) = (size.saturating_sub(allocated), folder(path));
    match free(directory) {
        Some(free) if free < needed => {
            Err(StoreError::NoSpace { directory: directory.to_owned(), needed, free })
        }
        _ => Ok(()),
    }
}

/// Bytes that a file takes on the disk; holes take none.
pub(super) fn allocated(file: &Metadata) -> u64 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::blocks(file).saturating_mul(512).min(file.len());
    #[cfg(not(unix))]
    file.len()
}

/// Bytes that this user may still write below a directory; `None` where that is unknown.
fn free(directory: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let found = rustix::fs::statvfs(directory).ok()?;
        // Some network file systems report nothing but zeros.
        (found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = directory;
        None
    }
}

/// Makes the folder of an unfinished share of several files, unless it is there.
pub(super) fn make_part(path: &Path) -> Result<(), StoreError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(StoreError::ForeignPart { path: path.to_owned() }),
        Err(_) => fs::create_dir(path).map_err(StoreError::io("create", path)),
    }
}

/// Opens the unfinished file, or creates it.
pub(super) fn open_part(path: &Path) -> Result<File, StoreError> {
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(StoreError::ForeignPart { path: path.to_owned() });
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(StoreError::io("create", path))
}

/// A damaged copy that has the file's name, to be moved away for the fetched file.
#[derive(Debug)]
pub(super) struct Damaged {
    found: Metadata,
}

impl Damaged {
    pub(super) fn new(found: Metadata) -> Self {
        Self { found }
    }

    /// True if it has not changed since it was found.
    fn is_still(&self, path: &Path) -> bool {
        let stamp = |found: &Metadata| (found.is_file(), found.len(), found.modified().ok());
        fs::symlink_metadata(path).is_ok_and(|now| stamp(&now) == stamp(&self.found))
    }
}

/// Gives the file its name in one step. A damaged copy is moved to another name, which is returned.
pub(super) fn publish(
    part: &Path,
    destination: &FileDestination,
    damaged: Option<&Damaged>,
) -> Result<Option<PathBuf>, StoreError> {
    let path = &destination.path;
    let rename = || fs::rename(part, path).map_err(StoreError::io("create", path));
    let exists = || StoreError::DestinationExists { path: path.clone() };
    let found = fs::symlink_metadata(path).ok();
    if destination.overwrite == Overwrite::Replace {
        // Whatever has appeared there meanwhile: only a file is replaced.
        return match found.is_none_or(|found| found.is_file()) {
            true => rename().map(|()| None),
            false => Err(exists()),
        };
    }
    if let Some(damaged) = damaged.filter(|_| found.is_some()) {
        if !damaged.is_still(path) {
            return Err(exists());
        }
        let kept = set_aside(path).map_err(StoreError::io("rename", path))?;
        return rename().map(|()| Some(kept));
    }
    // A rename would silently replace a file that appeared meanwhile; a link does not.
    match fs::hard_link(part, path) {
        Ok(()) => {
            // A second name of the file does no harm.
            let _ = fs::remove_file(part);
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
        // No hard links on this file system.
        Err(_) if fs::symlink_metadata(path).is_ok() => Err(exists()),
        Err(_) => rename().map(|()| None),
    }
}

/// Gives the folder of several files its name in one step. A folder that is a damaged copy, or is to be
/// replaced, is moved to another name, which is returned: no folder is ever deleted.
pub(super) fn publish_folder(
    part: &Path,
    destination: &FileDestination,
    damaged: Option<&Damaged>,
) -> Result<Option<PathBuf>, StoreError> {
    let path = &destination.path;
    // Only a folder without content is removed by this.
    let _ = fs::remove_dir(path);
    let mut kept = None;
    if let Ok(found) = fs::symlink_metadata(path) {
        let may_move = found.is_dir()
            && (destination.overwrite == Overwrite::Replace
                || damaged.is_some_and(|damaged| damaged.is_still(path)));
        if !may_move {
            return Err(StoreError::DestinationExists { path: path.clone() });
        }
        kept = Some(move_aside(path).map_err(StoreError::io("rename", path))?);
    }
    fs::rename(part, path).map_err(StoreError::io("create", path))?;
    Ok(kept)
}

/// Renames a folder to a name that is free.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let destination = FileDestination::new(path, Digest256([0; 32]));
    for count in 1..=MAX_ASIDE {
        let aside = destination.with_suffix(&damaged_suffix(count));
        match fs::symlink_metadata(&aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return fs::rename(path, &aside).map(|()| aside);
            }
            _ => {}
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Names that are tried for a damaged copy.
const MAX_ASIDE: u32 = 1000;

fn damaged_suffix(count: u32) -> String {
    if count == 1 { ".damaged".to_owned() } else { format!(".damaged{count}") }
}

/// Gives a file a second name that is free; where there are no hard links, renames it.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let destination = FileDestination::new(path, Digest256([0; 32]));
    for count in 1..=MAX_ASIDE {
        let aside = destination.with_suffix(&damaged_suffix(count));
        match fs::hard_link(path, &aside) {
            Ok(()) => return Ok(aside),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) if fs::symlink_metadata(&aside).is_ok() => {}
            Err(_) => return fs::rename(path, &aside).map(|()| aside),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(name: &str) -> FileDestination {
        FileDestination::new(Path::new("folder").join(name), Digest256([0; 32]))
    }

    #[test]
    fn names_up_to_255_bytes_have_parts_of_their_own() {
        let part = |name: &str| destination(name).part_path();
        assert_eq!(part("film.mp4"), Path::new("folder/film.mp4.part"));
        let name = |length: usize, last: &str| "x".repeat(length - last.len()) + last;
        assert_eq!(part(&name(244, "y")), Path::new("folder").join(name(244, "y") + ".part"));
        for length in 245..=MAX_NAME {
            let (one, other) = (name(length, "1"), name(length, "2"));
            assert_ne!(part(&one), part(&other));
            let longest = destination(&one).sidecar_path();
            assert!(longest.file_name().unwrap().len() <= MAX_NAME, "{longest:?}");
        }
        let accents = "é".repeat(127);
        assert!(destination(&accents).sidecar_path().file_name().unwrap().len() <= MAX_NAME);
    }

    #[test]
    fn what_cannot_be_written_is_found_beforehand_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "").unwrap();
        let check = |path: PathBuf| check_destination(&path).unwrap_err().to_string();
        check_destination(&at("new")).unwrap();
        check_destination(&at("file")).unwrap();
        check_destination(Path::new("relative")).unwrap();
        assert!(check(at("none/new")).contains("none"));
        assert!(check(at("file/new")).contains("file/new"));
        assert!(check(at(&"x".repeat(256))).contains("xxx"));
        assert!(check(directory.path().to_owned()).contains("is a directory"));
        assert!(check_directory(&at("file")).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        #[cfg(unix)]
        assert!(check("/dev/null".into()).contains("device"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_means_the_file_that_it_leads_to() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink("folder/film", at("link")).unwrap();
        let mut destination = FileDestination::new(at("link"), Digest256([0; 32]));
        assert!(destination.follow_links(false).unwrap().is_none());
        assert_eq!(destination.part_path(), at("folder/film.part"));
        fs::write(at("folder/film"), "old").unwrap();
        let mut destination = FileDestination::new(at("link"), Digest256([0; 32]));
        assert_eq!(destination.follow_links(false).unwrap().unwrap().len(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn space_is_compared_with_the_missing_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("film.part");
        let part = open_part(&path).unwrap();
        part.set_len(1 << 30).unwrap();
        assert!(allocated(&part.metadata().unwrap()) < 1 << 20, "holes take no space");
        check_space(allocated(&part.metadata().unwrap()), &path, 1000).unwrap();
        // No disk has 8 EB.
        let error = check_space(0, &path, 1 << 63).unwrap_err();
        let StoreError::NoSpace { needed, free, .. } = &error else { panic!("{error}") };
        assert!(*needed > 1 << 62 && *free > 1000);
        assert!(error.to_string().contains("GB free"), "{error}");
    }

    #[test]
    fn a_damaged_copy_is_kept_aside_unless_it_was_changed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let destination = FileDestination::new(at("film"), Digest256([0; 32]));
        fs::write(at("film.damaged"), "an older one").unwrap();
        fs::write(at("film"), "dam4ged").unwrap();
        let damaged = Damaged::new(fs::metadata(at("film")).unwrap());
        fs::write(at("film.part"), "damaged").unwrap();
        let kept = publish(&at("film.part"), &destination, Some(&damaged)).unwrap();
        assert_eq!(kept, Some(at("film.damaged2")));
        let text = |name: &str| fs::read_to_string(at(name)).unwrap();
        assert_eq!((text("film"), text("film.damaged2")), ("damaged".into(), "dam4ged".into()));
        assert_eq!(text("film.damaged"), "an older one");

        fs::write(at("film"), "somebody's new work").unwrap();
        fs::write(at("film.part"), "damaged").unwrap();
        assert!(publish(&at("film.part"), &destination, Some(&damaged)).is_err());
        assert_eq!(text("film"), "somebody's new work");
    }
}
