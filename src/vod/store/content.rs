//! [`Content`]: the bytes of a share on a disk, in one file or in several.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::super::files::FileList;
use super::destination::allocated;
use super::{StoreError, positioned};

/// Files of a folder that are open at a time.
const MAX_OPEN: usize = 32;

/// The bytes of a share: those of a file, or of several files one after the other.
#[derive(Debug)]
pub(super) enum Content {
    /// A single file.
    File {
        /// Its path, for errors.
        path: PathBuf,
        /// The file.
        file: File,
    },
    /// Several files.
    Files(Files),
}

/// The files of a share of several. They are opened as they are needed.
#[derive(Debug)]
pub(super) struct Files {
    list: FileList,
    /// The folder, which the paths are in, or a name for all of them.
    root: PathBuf,
    paths: Vec<PathBuf>,
    /// True for the files of a receiver: nothing outside of the folder is opened, and no link followed.
    is_confined: bool,
    /// The files used last, the last one at the end.
    open: VecDeque<(usize, File)>,
    can_write: bool,
}

impl Content {
    /// A single open file.
    pub(super) fn of_file(path: &Path, file: File) -> Self {
        Self::File { path: path.to_owned(), file }
    }

    /// The files of a folder that is written to or was fetched.
    pub(super) fn of_folder(root: &Path, list: &FileList, can_write: bool) -> Self {
        let paths = list.safe_paths().iter().map(|path| root.join(path)).collect();
        Self::Files(Files { is_confined: true, can_write, ..Files::new(root, list, paths) })
    }

    /// Files of this host that are shared, wherever they are.
    pub(super) fn of_files(root: &Path, list: &FileList, paths: Vec<PathBuf>) -> Self {
        Self::Files(Files::new(root, list, paths))
    }

    /// The path of the file or of the folder.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } => path,
            Self::Files(files) => &files.root,
        }
    }

    /// Reads `length` bytes; `None` if they are not all there.
    pub(super) fn read(&mut self, offset: u64, length: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::File { path, file } => {
                positioned::read_chunk(file, offset, length).map_err(StoreError::io("read", path))
            }
            Self::Files(files) => files.read(offset, length),
        }
    }

    /// Writes bytes.
    pub(super) fn write(&mut self, data: &[u8], offset: u64) -> Result<(), StoreError> {
        match self {
            Self::File { path, file } => {
                positioned::write_at(file, data, offset).map_err(StoreError::io("write", path))
            }
            Self::Files(files) => files.write(data, offset),
        }
    }

    /// Bytes that are there, holes included.
    pub(super) fn length(&self) -> Result<u64, StoreError> {
        match self {
            Self::File { path, file } => {
                file.metadata().map(|it| it.len()).map_err(StoreError::io("read", path))
            }
            Self::Files(files) => Ok(files.sum(Metadata::len)),
        }
    }

    /// The place in the share behind the last byte that is there. The files of a folder may be too short
    /// anywhere.
    pub(super) fn end(&self) -> Result<u64, StoreError> {
        match self {
            Self::File { .. } => self.length(),
            Self::Files(files) => Ok(files.end()),
        }
    }

    /// True if there are neither too few bytes nor too many.
    pub(super) fn has_size(&self, size: Option<u64>) -> Result<bool, StoreError> {
        match self {
            Self::File { .. } => Ok(Some(self.length()?) == size),
            Self::Files(files) => Ok(files.found().all(|(stated, found)| {
                found.is_some_and(|found| found.is_file() && found.len() == stated)
            })),
        }
    }

    /// Bytes that are taken on the disk.
    pub(super) fn allocated(&self) -> u64 {
        match self {
            Self::File { file, .. } => file.metadata().map_or(0, |found| allocated(&found)),
            Self::Files(files) => files.sum(allocated),
        }
    }

    /// Removes every byte.
    pub(super) fn clear(&mut self) -> Result<(), StoreError> {
        match self {
            Self::File { path, file } => file.set_len(0).map_err(StoreError::io("write", path)),
            Self::Files(files) => files.set_sizes(|_| 0),
        }
    }

    /// Gives every file its size, also those without content, and waits until all are on the disk.
    pub(super) fn complete(&mut self, size: u64) -> Result<(), StoreError> {
        match self {
            Self::File { path, file } => {
                file.set_len(size).map_err(StoreError::io("write", path))?;
                file.sync_all().map_err(StoreError::io("write", path))
            }
            Self::Files(files) => files.set_sizes(|stated| stated),
        }
    }

    /// Closes what cannot be open while its folder is renamed.
    pub(super) fn close(&mut self) {
        if let Self::Files(files) = self {
            files.open.clear();
        }
    }

    /// The file or folder has another path now, and is not written to any more.
    pub(super) fn moved(&mut self, to: &Path) {
        match self {
            Self::File { path, .. } => *path = to.to_owned(),
            Self::Files(files) => {
                let paths = files.list.safe_paths().iter().map(|path| to.join(path)).collect();
                let is_confined = files.is_confined;
                *files = Files { is_confined, ..Files::new(to, &files.list, paths) };
            }
        }
    }
}

impl Files {
    fn new(root: &Path, list: &FileList, paths: Vec<PathBuf>) -> Self {
        let (list, root) = (list.clone(), root.to_owned());
        Self { list, root, paths, is_confined: false, open: VecDeque::new(), can_write: false }
    }

    /// The stated size of each file, and what is there.
    fn found(&self) -> impl Iterator<Item = (u64, Option<Metadata>)> {
        let files = self.list.files().iter().zip(&self.paths);
        files.map(|(file, path)| {
            let found = match self.is_confined {
                true => fs::symlink_metadata(path),
                false => fs::metadata(path),
            };
            (file.size, found.ok())
        })
    }

    fn end(&self) -> u64 {
        let places = (0..).map_while(|index| self.list.range(index));
        let ends = places.zip(self.found()).filter_map(|(place, (stated, found))| {
            let length = found.filter(Metadata::is_file)?.len().min(stated);
            (length > 0).then_some(place.start + length)
        });
        ends.max().unwrap_or_default()
    }

    fn sum(&self, of: impl Fn(&Metadata) -> u64) -> u64 {
        self.found()
            .filter_map(|(_, found)| found.filter(Metadata::is_file).map(|it| of(&it)))
            .sum()
    }

    fn read(&mut self, offset: u64, length: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let size = usize::try_from(length).map_err(|_| StoreError::NotHeld { index: 0 })?;
        let mut buffer = vec![0; size];
        let mut rest = &mut buffer[..];
        let mut at = offset;
        while !rest.is_empty() {
            let Some((index, within, here)) = self.place(at, rest.len()) else { return Ok(None) };
            let (now, later) = rest.split_at_mut(here);
            let path = self.paths[index].clone();
            let read = match self.file(index) {
                Ok(file) => positioned::read_at(file, now, within),
                Err(error) => Err(error),
            };
            match read {
                Ok(()) => {}
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) => return Err(StoreError::io("read", &path)(error)),
            }
            (rest, at) = (later, at + here as u64);
        }
        Ok(Some(buffer))
    }

    fn write(&mut self, data: &[u8], offset: u64) -> Result<(), StoreError> {
        let (mut rest, mut at) = (data, offset);
        while !rest.is_empty() {
            // The layout has admitted the chunk, and the list has as many bytes.
            let Some((index, within, here)) = self.place(at, rest.len()) else { return Ok(()) };
            let (now, later) = rest.split_at(here);
            let path = self.paths[index].clone();
            let written = self.file(index).and_then(|file| positioned::write_at(file, now, within));
            written.map_err(StoreError::io("write", &path))?;
            (rest, at) = (later, at + here as u64);
        }
        Ok(())
    }

    /// The file at a position of the share, the position in it, and how many of `wanted` bytes it has
    /// from there.
    fn place(&self, position: u64, wanted: usize) -> Option<(usize, u64, usize)> {
        let index = self.list.at(position);
        let range = self.list.range(index)?;
        let here = usize::try_from(range.end.checked_sub(position)?).unwrap_or(usize::MAX);
        Some((index, position - range.start, here.min(wanted)))
    }

    /// Opens a file, and closes the one that was not used for the longest time.
    fn file(&mut self, index: usize) -> io::Result<&File> {
        let open = match self.open.iter().position(|(known, _)| *known == index) {
            Some(at) => self.open.remove(at),
            None => Some((index, self.open_file(index)?)),
        };
        if self.open.len() >= MAX_OPEN {
            self.open.pop_front();
        }
        self.open.extend(open);
        self.open.back().map(|(_, file)| file).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn open_file(&self, index: usize) -> io::Result<File> {
        let path = self.paths.get(index).ok_or(ErrorKind::NotFound)?;
        if !self.is_confined {
            // Opening a pipe would wait for its writer.
            return match fs::metadata(path)?.is_file() {
                true => File::open(path),
                false => Err(ErrorKind::InvalidInput.into()),
            };
        }
        self.enter_folder(path)?;
        if let Ok(found) = fs::symlink_metadata(path)
            && !found.is_file()
        {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "it is no regular file"));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(self.can_write).create(self.can_write).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        }
        options.open(path)
    }

    /// Makes the folders that a file of the receiver is in. A link among them would lead elsewhere.
    fn enter_folder(&self, path: &Path) -> io::Result<()> {
        let below = path.strip_prefix(&self.root).map_err(io::Error::other)?;
        let mut folder = self.root.clone();
        for part in below.parent().unwrap_or(Path::new("")).components() {
            folder.push(part);
            match fs::symlink_metadata(&folder) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    let what = format!("{} is no folder", folder.display());
                    return Err(io::Error::new(ErrorKind::AlreadyExists, what));
                }
                Err(error) if error.kind() == ErrorKind::NotFound && self.can_write => {
                    fs::create_dir(&folder)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives every file a size that depends on the stated one, and waits until all are on the disk.
    fn set_sizes(&mut self, size: impl Fn(u64) -> u64) -> Result<(), StoreError> {
        let stated: Vec<u64> = self.list.files().iter().map(|file| file.size).collect();
        for (index, stated) in stated.into_iter().enumerate() {
            let path = self.paths[index].clone();
            let file = self.file(index).and_then(|file| {
                file.set_len(size(stated))?;
                file.sync_all()
            });
            file.map_err(StoreError::io("write", &path))?;
        }
        Ok(())
    }
}

/// True if the bytes are not there, as opposed to not readable.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::UnexpectedEof
            | ErrorKind::AlreadyExists
            | ErrorKind::NotADirectory
    )
}
