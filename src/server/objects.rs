//! The folder that keeps persistent shared objects, a file for each.
//!
//! A file has [`MAGIC`], the SHA-256 of what follows, and then application, name, version, and the
//! slots with their values in AMF. Lengths and the version are 32 bits, high byte first. It is named
//! by the SHA-256 of application and name, so that what clients choose is never part of a path.

use super::SharedObjectsError as Error;
use crate::crypto::Fingerprint;
use crate::driver::{Access, write_whole};
use crate::rendezvous::SharedObjectSnapshot;
use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The end of the files' names.
const EXTENSION: &str = "object";
/// The file that is locked while a server uses the folder.
const LOCK: &str = "lock";
/// What a file begins with.
const MAGIC: &[u8] = b"rtmfp shared object 1\n";
/// Bytes of a file beside slots: at most the magic, a hash, two names and four numbers.
const MAX_HEADER: usize = 1024;

/// A folder that no other server uses.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked while it is open.
    _lock: File,
}

/// Objects that are to be saved, by application and name; without slots those that are gone.
#[derive(Debug, Default)]
pub(super) struct Unsaved(BTreeMap<(Arc<str>, Arc<str>), SharedObjectSnapshot>);

impl Unsaved {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Extend<SharedObjectSnapshot> for Unsaved {
    fn extend<T: IntoIterator<Item = SharedObjectSnapshot>>(&mut self, objects: T) {
        let named = |it: SharedObjectSnapshot| ((it.app.clone(), it.name.clone()), it);
        self.0.extend(objects.into_iter().map(named));
    }
}

impl Folder {
    /// Makes the folder if it does not exist, and locks out other servers where the file system
    /// supports that.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Folder { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        let lock = options.open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { path: path.to_owned(), _lock: lock }),
        }
    }

    /// The files of objects. Others are left alone.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, Error> {
        let failed = |source| Error::Folder { path: self.path.clone(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|it| it == EXTENSION) {
                files.push(path);
            }
        }
        Ok(files)
    }

    /// Reads an object with no more bytes than this in its slots.
    pub(super) fn read(&self, path: &Path, limit: usize) -> Result<SharedObjectSnapshot, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        // A pipe would be waited for.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(Error::Content { path: path.to_owned() });
        }
        let (longest, mut bytes) = (limit.saturating_add(MAX_HEADER), Vec::new());
        let file = File::open(path).map_err(failed)?;
        file.take(longest as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > longest {
            return Err(Error::Full { path: path.to_owned() });
        }
        let object = decode(&bytes);
        let object =
            object.filter(|it| self.path_of(&it.app, &it.name).file_name() == path.file_name());
        object.ok_or_else(|| Error::Content { path: path.to_owned() })
    }

    /// Writes objects, each whole or not at all, and removes the files of those that are gone. What
    /// fails stays in `objects`; the first failure is described.
    pub(super) fn save(&self, objects: &mut Unsaved) -> Option<String> {
        let mut failure = None;
        // First what makes space.
        for is_gone in [true, false] {
            objects.0.retain(|(app, name), object| {
                if object.slots.is_empty() != is_gone {
                    return true;
                }
                let path = self.path_of(app, name);
                let saved = match is_gone {
                    true => remove(&path),
                    false => write_whole(&path, &encode(object), Access::Private, true),
                };
                let Err(error) = saved else { return false };
                failure.get_or_insert_with(|| format!("{}: {error}", path.display()));
                true
            });
        }
        failure
    }

    pub(super) fn path_of(&self, app: &str, name: &str) -> PathBuf {
        let mut named = Vec::new();
        push(&mut named, app.as_bytes());
        push(&mut named, name.as_bytes());
        let hash = Fingerprint(Sha256::digest(&named).into());
        self.path.join(format!("{hash}.{EXTENSION}"))
    }
}

/// Removes a file, if there is one.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(_) if !path.try_exists()? => Ok(()),
        removed => removed,
    }
}

fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}

fn encode(object: &SharedObjectSnapshot) -> Vec<u8> {
    let mut content = Vec::new();
    push(&mut content, object.app.as_bytes());
    push(&mut content, object.name.as_bytes());
    content.extend(object.version.to_be_bytes());
    for (slot, value) in &object.slots {
        push(&mut content, slot.as_bytes());
        push(&mut content, value);
    }
    let hash = Sha256::digest(&content);
    [MAGIC, &hash, &content].concat()
}

/// `None` if it is not what [`encode`] returns.
fn decode(bytes: &[u8]) -> Option<SharedObjectSnapshot> {
    let (hash, mut rest) = bytes.strip_prefix(MAGIC)?.split_at_checked(32)?;
    if Sha256::digest(rest)[..] != *hash {
        return None;
    }
    let (app, name) = (text(&mut rest)?, text(&mut rest)?);
    let version = rest.try_get_u32().ok()?;
    let mut slots = Vec::new();
    while !rest.is_empty() {
        slots.push((text(&mut rest)?, Bytes::copy_from_slice(part(&mut rest)?)));
    }
    Some(SharedObjectSnapshot { app, name, version, slots })
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = rest.try_get_u32().ok()? as usize;
    rest.split_off(..len)
}

fn text(rest: &mut &[u8]) -> Option<Arc<str>> {
    Some(std::str::from_utf8(part(rest)?).ok()?.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn object(
        name: &str,
        slots: &[(&str, &'static [u8])],
    ) -> SharedObjectSnapshot {
        let slots = slots.iter().map(|&(slot, value)| (slot.into(), Bytes::from_static(value)));
        let (app, name, slots) = ("chat".into(), name.into(), slots.collect());
        SharedObjectSnapshot { app, name, version: 7, slots }
    }

    fn save(folder: &Folder, objects: impl IntoIterator<Item = SharedObjectSnapshot>) {
        let mut unsaved = Unsaved::default();
        unsaved.extend(objects);
        assert_eq!(folder.save(&mut unsaved), None);
        assert!(unsaved.is_empty());
    }

    #[test]
    fn what_is_saved_is_read_and_what_is_gone_has_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/objects");
        let folder = Folder::open(&path).unwrap();
        assert!(folder.files().unwrap().is_empty());
        fs::write(path.join("notes.txt"), "mine").unwrap();
        let room = object("room", &[("a", b"\x05"), ("b", b"\x11\x06\x03x"), ("", b"")]);
        save(&folder, [room.clone(), object("never", &[])]);
        let [file] = &folder.files().unwrap()[..] else { panic!() };
        assert_eq!(folder.read(file, 100).unwrap(), room);
        let later = SharedObjectSnapshot { version: 8, ..object("room", &[("a", b"\x06")]) };
        save(&folder, [room, later.clone()]);
        assert_eq!(folder.read(file, 100).unwrap(), later);
        save(&folder, [object("room", &[])]);
        assert!(folder.files().unwrap().is_empty());
        assert_eq!(fs::read(path.join("notes.txt")).unwrap(), b"mine");
    }

    #[test]
    fn hostile_names_stay_in_the_folder() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("objects");
        let folder = Folder::open(&path).unwrap();
        let names = ["../room", "/etc/room", "..", ".", "", "a/b", "a\\b", "C:room", "nul\0", "\n"];
        let objects = names.map(|name| object(name, &[("a", b"\x05")]));
        save(&folder, objects.clone());
        let files = folder.files().unwrap();
        assert_eq!(files.len(), names.len());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        for file in files {
            assert!(objects.contains(&folder.read(&file, 100).unwrap()));
        }
        // What belongs to the application, and what to the name, is part of the hash.
        for [(app, name), (other_app, other)] in
            [[("a\0b", "c"), ("a", "b\0c")], [("a", "bc"), ("ab", "c")], [("a", "B"), ("a", "b")]]
        {
            assert_ne!(folder.path_of(app, name), folder.path_of(other_app, other));
        }
    }

    #[test]
    fn a_file_that_is_damaged_or_too_long_is_an_error_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let room = object("room", &[("a", b"\x05"), ("b", b"\x06")]);
        save(&folder, [room.clone()]);
        let file = folder.path_of(&room.app, &room.name);
        let whole = fs::read(&file).unwrap();
        let error = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            let error = folder.read(&file, 1000).unwrap_err();
            assert_eq!(fs::read(&file).unwrap(), bytes);
            error
        };
        for len in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[len] ^= 1;
            for bytes in [&whole[..len], &flipped] {
                assert!(matches!(error(bytes), Error::Content { .. }), "{len}");
            }
        }
        let text = error(b"").to_string();
        assert!(text.ends_with("move it to another folder"), "{text}");
        assert!(matches!(error(&[0; 3000]), Error::Full { .. }));
        // A copy under another name would compete with the original.
        fs::write(&file, &whole).unwrap();
        let copy = directory.path().join("copy.object");
        fs::copy(&file, &copy).unwrap();
        assert!(matches!(folder.read(&copy, 1000), Err(Error::Content { .. })));
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Folder::open(file.path()).unwrap_err().to_string();
        assert!(error.starts_with("can't use the folder of shared objects "), "{error}");
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
        let directory = tempfile::tempdir().unwrap();
        let first = Folder::open(directory.path()).unwrap();
        let second = Folder::open(directory.path()).unwrap_err().to_string();
        assert!(second.ends_with("name another folder"), "{second}");
        drop(first);
        Folder::open(directory.path()).unwrap();
    }
}
