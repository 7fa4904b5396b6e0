//! [`FileList`]: the files of a share of several, and the paths at which they are written.
//!
//! The content of such a share is the content of its files, one after the other; chunks are cut
//! without regard to where a file ends. The paths in the list are text from a stranger:
//! [`FileList::safe_paths`] is the only way to turn them into paths on a disk.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

use super::file_name::safe_file_name;
use crate::amf::Value;
use crate::range::MAX_INDEX;

/// The most files in a share.
pub const MAX_FILES: usize = 16_384;

/// The longest path in a list, in bytes of UTF-8.
pub const MAX_PATH: usize = 1024;

/// The most bytes that the paths of a list may have together.
pub const MAX_PATHS: usize = 1 << 20;

/// The deepest folder that a list makes. What lies deeper is written under one long name.
pub const MAX_DEPTH: usize = 16;

/// The longest path that is written, in bytes; a longer one becomes one name.
const MAX_WRITTEN: usize = 900;

/// One file of a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFile {
    /// The path in the share, its parts separated by `/`. It is untrusted text: see
    /// [`FileList::safe_paths`].
    pub path: String,
    /// Size in bytes.
    pub size: u64,
}

/// Why a list of files cannot be shared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileListError {
    /// No file at all.
    #[error("there is no file to share")]
    Empty,
    /// More than [`MAX_FILES`].
    #[error("{0} files are more than the 16384 that a share may have: pack them into an archive")]
    TooMany(usize),
    /// A path of more than [`MAX_PATH`] bytes, or of none.
    #[error("a path of {0} bytes cannot be shared: it must have 1 to 1024")]
    Path(usize),
    /// The paths have more than [`MAX_PATHS`] bytes together.
    #[error("the paths of the files are {0} bytes long together, of at most 1048576")]
    TooLong(usize),
    /// The sizes are more than an index can hold.
    #[error("the files are too large together")]
    TooLarge,
}

/// The files of a share of several, in the order of their content. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileList {
    files: Arc<[SharedFile]>,
    /// Where each file begins, and where the last one ends.
    starts: Arc<[u64]>,
}

impl FileList {
    /// A list of these files.
    ///
    /// # Errors
    ///
    /// A bound is exceeded, or the list is empty.
    pub fn new(files: Vec<SharedFile>) -> Result<Self, FileListError> {
        if files.is_empty() {
            return Err(FileListError::Empty);
        }
        if files.len() > MAX_FILES {
            return Err(FileListError::TooMany(files.len()));
        }
        let (mut text, mut starts) = (0, vec![0u64]);
        let mut end = 0u64;
        for SharedFile { path, size } in &files {
            if !(1..=MAX_PATH).contains(&path.len()) {
                return Err(FileListError::Path(path.len()));
            }
            text += path.len();
            end = end
                .checked_add(*size)
                .filter(|&end| end <= MAX_INDEX)
                .ok_or(FileListError::TooLarge)?;
            starts.push(end);
        }
        if text > MAX_PATHS {
            return Err(FileListError::TooLong(text));
        }
        Ok(Self { files: files.into(), starts: starts.into() })
    }

    /// The files.
    pub fn files(&self) -> &[SharedFile] {
        &self.files
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default()
    }

    /// The bytes of the share that are file `index`, counted from 0.
    pub fn range(&self, index: usize) -> Option<Range<u64>> {
        Some(*self.starts.get(index)?..*self.starts.get(index.checked_add(1)?)?)
    }

    /// The first file with bytes at or after a position of the share, or the number of files.
    pub(super) fn at(&self, position: u64) -> usize {
        self.starts.partition_point(|&start| start <= position).saturating_sub(1)
    }

    /// Reads the member `files` of a descriptor. Anything that is not a list within the bounds is
    /// `None`, as members are that belong to somebody else's application.
    pub(super) fn from_value(value: &Value) -> Option<Self> {
        let Value::Array(array) = value else { return None };
        if array.dense.len() > MAX_FILES {
            return None;
        }
        let file = |entry: &Value| {
            let size = entry.property("size")?.as_f64()?;
            let fits = (0.0..=MAX_INDEX as f64).contains(&size) && size.fract() == 0.0;
            let path = entry.property("path")?.as_str().filter(|path| path.len() <= MAX_PATH)?;
            fits.then(|| SharedFile { path: path.to_owned(), size: size as u64 })
        };
        Self::new(array.dense.iter().map(file).collect::<Option<_>>()?).ok()
    }

    /// The member `files`: an array of objects with `path` and `size`.
    pub(super) fn to_value(&self) -> Value {
        let entry = |file: &SharedFile| {
            let path = Value::from(&file.path[..]);
            Value::object([("path", path), ("size", Value::Number(file.size as f64))])
        };
        Value::array(self.files.iter().map(entry))
    }

    /// The list as the digest of the descriptor covers it: for each file the length of its path (8
    /// bytes, big endian), the path, and its size (8 bytes, big endian).
    pub(super) fn digested(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for SharedFile { path, size } in self.files.iter() {
            bytes.extend((path.len() as u64).to_be_bytes());
            bytes.extend(path.as_bytes());
            bytes.extend(size.to_be_bytes());
        }
        bytes
    }

    /// The path of each file below the folder that the share is written to. Whatever the list states:
    ///
    /// * every path is relative and consists of names that [`safe_file_name`] makes, so that none
    ///   leaves the folder, on any platform;
    /// * no two paths are equal, also where a file system ignores case or the composition of
    ///   characters, and none leads through another file;
    /// * none is deeper than [`MAX_DEPTH`] or longer than most systems allow.
    ///
    /// Ordinary paths stay as they are. The result depends on the list alone, so that the same share
    /// is found again.
    pub fn safe_paths(&self) -> Vec<PathBuf> {
        let mut tree = Tree::default();
        self.files.iter().map(|file| tree.place(&file.path)).collect()
    }
}

/// The names that are taken, folder by folder.
#[derive(Default)]
struct Tree {
    /// By folder and folded name.
    taken: HashMap<(usize, String), Taken>,
    folders: usize,
    /// The number that a further name of this kind gets.
    next: HashMap<(usize, String), u32>,
}

/// What has a name.
#[derive(Clone)]
enum Taken {
    File,
    Folder { id: usize, name: String },
}

impl Tree {
    /// Finds the place of one file.
    fn place(&mut self, given: &str) -> PathBuf {
        let parts: Vec<&str> = given.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let names: Vec<String> = parts.iter().map(|part| safe_file_name(part)).collect();
        let length: usize = names.iter().map(|name| name.len() + 1).sum();
        let names = match names.len() {
            0 => vec![safe_file_name(given)],
            depth if depth > MAX_DEPTH || length > MAX_WRITTEN => vec![safe_file_name(given)],
            _ => names,
        };
        let (mut folder, mut path) = (0, PathBuf::new());
        let (file, folders) = names.split_last().expect("at least one name, as made above");
        for name in folders {
            let name = self.enter(&mut folder, name);
            path.push(name);
        }
        let name = self.free(folder, file);
        self.taken.insert((folder, folded(&name)), Taken::File);
        path.push(name);
        path
    }

    /// Goes into a folder, making it if necessary; returns its name.
    fn enter(&mut self, folder: &mut usize, name: &str) -> String {
        if let Some(Taken::Folder { id, name }) = self.taken.get(&(*folder, folded(name))) {
            *folder = *id;
            return name.clone();
        }
        let name = self.free_folder(*folder, name);
        match name {
            Ok(name) => {
                self.folders += 1;
                let taken = Taken::Folder { id: self.folders, name: name.clone() };
                self.taken.insert((*folder, folded(&name)), taken);
                *folder = self.folders;
                name
            }
            Err((id, name)) => {
                *folder = id;
                name
            }
        }
    }

    /// A name for a new folder; or the folder that was made when the name was a file's before.
    fn free_folder(&mut self, folder: usize, name: &str) -> Result<String, (usize, String)> {
        for number in 1u32.. {
            let name = numbered(name, number);
            match self.taken.get(&(folder, folded(&name))) {
                None => return Ok(name),
                Some(Taken::Folder { id, name }) => return Err((*id, name.clone())),
                Some(Taken::File) => {}
            }
        }
        Ok(name.to_owned())
    }

    /// A free name for a file: this one, or with a number before its extension.
    fn free(&mut self, folder: usize, name: &str) -> String {
        if !self.taken.contains_key(&(folder, folded(name))) {
            return name.to_owned();
        }
        // Numbers are not tried twice, or a list of equal names would take quadratic time.
        let mut next = match self.next.entry((folder, folded(name))) {
            Entry::Occupied(next) => *next.get(),
            Entry::Vacant(_) => 2,
        };
        let free = loop {
            let candidate = numbered(name, next);
            next = next.saturating_add(1);
            if !self.taken.contains_key(&(folder, folded(&candidate))) {
                break candidate;
            }
        };
        self.next.insert((folder, folded(name)), next);
        free
    }
}

/// `film.mp4` as `film (2).mp4`; 1 leaves it as it is.
fn numbered(name: &str, number: u32) -> String {
    if number == 1 {
        return name.to_owned();
    }
    let path = Path::new(name);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(name);
    let extension = path.extension().and_then(|extension| extension.to_str());
    let end = extension.map(|extension| format!(".{extension}")).unwrap_or_default();
    safe_file_name(&format!("{stem} ({number}){end}"))
}

/// What a name is on a file system that ignores case and the composition of characters.
fn folded(name: &str) -> String {
    name.nfkd().flat_map(char::to_lowercase).nfkd().flat_map(char::to_uppercase).nfkd().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Component;

    use proptest::prelude::*;

    use super::super::file_name::MAX_FILE_NAME;
    use super::*;

    fn list(paths: &[&str]) -> FileList {
        let file = |path: &&str| SharedFile { path: (*path).to_owned(), size: 10 };
        FileList::new(paths.iter().map(file).collect()).unwrap()
    }

    fn written(paths: &[&str]) -> Vec<String> {
        let paths = list(paths).safe_paths();
        paths.iter().map(|path| path.to_str().unwrap().replace('\\', "/")).collect()
    }

    /// What must hold for any list.
    fn assert_harmless(list: &FileList) {
        let paths = list.safe_paths();
        assert_eq!(paths.len(), list.files().len());
        let (mut files, mut folders) = (HashSet::new(), HashSet::new());
        for path in &paths {
            let mut prefix = String::new();
            let components: Vec<Component<'_>> = path.components().collect();
            assert!((1..=MAX_DEPTH).contains(&components.len()), "{path:?}");
            for (at, component) in components.iter().enumerate() {
                let Component::Normal(name) = component else { panic!("{path:?}") };
                let name = name.to_str().unwrap();
                assert_eq!(safe_file_name(name), name, "{path:?}");
                assert!(name.len() <= MAX_FILE_NAME);
                prefix = format!("{prefix}/{}", folded(name));
                match at + 1 == components.len() {
                    true => assert!(files.insert(prefix.clone()), "{path:?} twice"),
                    false => drop(folders.insert(prefix.clone())),
                }
            }
            assert!(path.as_os_str().len() < 2 * MAX_WRITTEN, "{path:?}");
        }
        assert!(files.is_disjoint(&folders), "a file that is a folder as well: {paths:?}");
    }

    #[test]
    fn ordinary_paths_stay() {
        let paths = ["a.mp4", "season 1/b.mp4", "season 1/subs/b.en.srt", "Ünïcode/電影.mp4"];
        assert_eq!(written(&paths), paths);
    }

    #[test]
    fn no_path_leaves_the_folder() {
        for (hostile, safe) in [
            ("../../etc/passwd", "download/download/etc/passwd"),
            ("/etc/passwd", "etc/passwd"),
            ("..", "download"),
            ("/", "_"),
            ("a/../b", "a/download/b"),
            ("./a//b/.", "a/b"),
            (r"..\..\boot.ini", "_.._boot.ini"),
            (r"C:\Windows\x", "C__Windows_x"),
            ("C:/Windows/x", "C_/Windows/x"),
            ("//server/share/x", "server/share/x"),
            ("a/NUL.txt", "a/_NUL.txt"),
            ("con/x", "_con/x"),
            ("a\0b/c", "a_b/c"),
            (".ssh/authorized_keys", "ssh/authorized_keys"),
            ("a./b ", "a/b"),
            ("~/x", "~/x"),
            ("-rf/x", "_rf/x"),
        ] {
            assert_eq!(written(&[hostile]), [safe], "{hostile:?}");
            assert_harmless(&list(&[hostile]));
        }
    }

    #[test]
    fn no_two_files_have_one_place() {
        for (hostile, safe) in [
            (vec!["a", "a", "a"], vec!["a", "a (2)", "a (3)"]),
            (vec!["a.mp4", "A.MP4"], vec!["a.mp4", "A (2).MP4"]),
            (vec!["é", "e\u{301}"], vec!["é", "e\u{301} (2)"]),
            (vec!["straße", "STRASSE"], vec!["straße", "STRASSE (2)"]),
            (vec!["a", "a/b", "a/c"], vec!["a", "a (2)/b", "a (2)/c"]),
            (vec!["a/b", "a"], vec!["a/b", "a (2)"]),
            (vec!["Dir/x", "dir/x", "dir/y"], vec!["Dir/x", "Dir/x (2)", "Dir/y"]),
            (vec!["a (2)", "a", "a"], vec!["a (2)", "a", "a (3)"]),
            (vec!["a:b", "a?b"], vec!["a_b", "a_b (2)"]),
            (vec![".a", "a"], vec!["a", "a (2)"]),
            (vec!["../x", "download/x"], vec!["download/x", "download/x (2)"]),
        ] {
            assert_eq!(written(&hostile), safe, "{hostile:?}");
            assert_harmless(&list(&hostile));
        }
    }

    #[test]
    fn what_is_too_deep_or_too_long_becomes_one_name() {
        let deep = "d/".repeat(MAX_DEPTH) + "film.mp4";
        let paths = written(&[&deep, "d/film.mp4"]);
        assert_eq!(paths, ["d_".repeat(MAX_DEPTH) + "film.mp4", "d/film.mp4".to_owned()]);
        let long = ("x".repeat(250) + "/").repeat(4) + "film.mp4";
        let paths = written(&[&long]);
        assert!(paths[0].len() <= MAX_FILE_NAME && paths[0].ends_with(".mp4"), "{paths:?}");
        assert_harmless(&list(&[&long, &deep, &long]));
    }

    #[test]
    fn many_equal_names_take_no_long_time() {
        let paths = vec!["a"; MAX_FILES];
        let list = list(&paths);
        assert_eq!(list.safe_paths().last(), Some(&PathBuf::from(format!("a ({MAX_FILES})"))));
    }

    #[test]
    fn lists_beyond_the_bounds_are_refused() {
        let file = |path: &str, size| SharedFile { path: path.into(), size };
        let new = FileList::new;
        assert_eq!(new(vec![]), Err(FileListError::Empty));
        assert_eq!(
            new(vec![file("a", 1); MAX_FILES + 1]),
            Err(FileListError::TooMany(MAX_FILES + 1))
        );
        assert_eq!(new(vec![file("", 1)]), Err(FileListError::Path(0)));
        assert_eq!(new(vec![file(&"x".repeat(1025), 1)]), Err(FileListError::Path(1025)));
        assert!(matches!(
            new(vec![file(&"x".repeat(1024), 1); 1025]),
            Err(FileListError::TooLong(_))
        ));
        assert_eq!(new(vec![file("a", MAX_INDEX), file("b", 1)]), Err(FileListError::TooLarge));
        for hostile in [
            Value::Null,
            Value::array([Value::Number(1.0)]),
            Value::array([Value::object([("path", Value::from("a"))])]),
            Value::array([Value::object([
                ("path", Value::from("a")),
                ("size", Value::Number(-1.0)),
            ])]),
            Value::array([Value::object([
                ("path", Value::from("a")),
                ("size", Value::Number(f64::NAN)),
            ])]),
            Value::array(Vec::<Value>::new()),
        ] {
            assert_eq!(FileList::from_value(&hostile), None, "{hostile}");
        }
    }

    #[test]
    fn a_list_knows_where_its_files_are() {
        let file = |path: &str, size| SharedFile { path: path.into(), size };
        let list =
            FileList::new(vec![file("a", 3), file("b", 0), file("c", 0), file("d", 5)]).unwrap();
        assert_eq!(list.size(), 8);
        assert_eq!(
            (list.range(0), list.range(1), list.range(3)),
            (Some(0..3), Some(3..3), Some(3..8))
        );
        assert_eq!((list.range(4), list.range(usize::MAX)), (None, None));
        assert_eq!((list.at(0), list.at(2), list.at(3), list.at(7)), (0, 0, 3, 3));
        assert_eq!(FileList::from_value(&list.to_value()), Some(list));
    }

    proptest! {
        #[test]
        fn any_list_is_harmless(paths in proptest::collection::vec("[-./\\\\a-cA-C: éßKK2()\u{301}\u{130}]{1,12}", 1..40)) {
            let paths: Vec<&str> = paths.iter().map(|path| &path[..]).collect();
            assert_harmless(&list(&paths));
        }

        #[test]
        fn any_text_is_harmless(paths in proptest::collection::vec(".{1,100}", 1..10)) {
            let paths: Vec<&str> = paths.iter().map(|path| &path[..]).filter(|path| path.len() <= MAX_PATH).collect();
            if !paths.is_empty() {
                assert_harmless(&list(&paths));
            }
        }
    }
}
