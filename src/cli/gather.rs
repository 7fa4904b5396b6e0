//! The files that `share` is given: files, folders, playlists, standard input.

use super::format;
use super::scratch::Scratch;
use super::screen::{self, Live};
use anyhow::{Context, bail, ensure};
use rtmfp::vod::file_name::safe_file_name;
use rtmfp::vod::files::MAX_FILES;
use rtmfp::vod::playlist::{MAX_PLAYLIST, Playlist, is_playlist};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

/// The deepest folder that is searched.
const MAX_DEPTH: usize = 64;

/// Bytes of standard input between two reports.
const STEP: u64 = 8 << 20;

/// What is shared.
#[derive(Debug)]
pub(crate) enum Gathered {
    /// A single file.
    One(PathBuf),
    /// Several files under a name: the path in the share and the path here of each.
    Several { name: String, files: Vec<(String, PathBuf)> },
    /// What came on standard input, in a directory that vanishes with this.
    Spooled { path: PathBuf, scratch: Scratch },
}

/// Finds the files that the arguments mean. `name` replaces the name of several files or of standard
/// input. This blocks while standard input is read.
///
/// # Errors
///
/// An argument names nothing that can be shared.
pub(crate) fn gather(arguments: &[PathBuf], name: Option<&str>) -> anyhow::Result<Gathered> {
    if arguments.iter().any(|argument| argument.as_os_str() == "-") {
        ensure!(arguments.len() == 1, "standard input (-) is shared alone, without other files");
        return spool(name.unwrap_or("stdin"));
    }
    let mut found = Found::default();
    for argument in arguments {
        found.add(argument, arguments.len() == 1)?;
    }
    found.left_out.report();
    let is_single = arguments.len() == 1 && !found.has_folder && found.files.len() == 1;
    if is_single && let Some(path) = found.files.values().next().cloned() {
        ensure!(
            name.is_none(),
            "--name is for several files and for standard input: a single file has its own name"
        );
        return Ok(Gathered::One(path));
    }
    ensure!(!found.files.is_empty(), "there is no file in {}", arguments[0].display());
    let name = match name {
        Some(name) => name.to_owned(),
        None => common_name(arguments, found.files.len())?,
    };
    Ok(Gathered::Several { name, files: found.files.into_iter().collect() })
}

/// The files in a folder, as [`gather`] finds them.
///
/// # Errors
///
/// It cannot be read, or has too many files.
pub(crate) fn folder(path: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut found = Found::default();
    found.add_folder(path, "", 0)?;
    Ok(found.files.into_iter().collect())
}

/// What the arguments name.
#[derive(Default)]
struct Found {
    /// By the path in the share, sorted.
    files: BTreeMap<String, PathBuf>,
    has_folder: bool,
    left_out: LeftOut,
}

/// What is not shared, by number.
#[derive(Debug, Default, PartialEq, Eq)]
struct LeftOut {
    hidden: usize,
    links: usize,
    special: usize,
    outside: usize,
}

impl LeftOut {
    fn report(&self) {
        let counts = [
            (self.hidden, "hidden file or folder"),
            (self.links, "symbolic link"),
            (self.special, "device or pipe"),
            (self.outside, "entry of a playlist that is no file in or below its folder"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            screen::line(&format!("not shared: {count} × {what}"));
        }
    }
}

impl Found {
    fn add(&mut self, argument: &Path, is_alone: bool) -> anyhow::Result<()> {
        let shown = argument.display();
        let metadata = argument.metadata().with_context(|| format!("cannot share {shown}"))?;
        if metadata.is_dir() {
            self.has_folder = true;
            // A single folder is the share; of several, each is a folder in it.
            let below = match is_alone {
                true => String::new(),
                false => format!("{}/", folder_name(argument)?),
            };
            return self.add_folder(argument, &below, 0);
        }
        ensure!(metadata.is_file(), "cannot share {shown}: it is neither a file nor a folder");
        let name = text(argument.file_name().unwrap_or(OsStr::new("file")));
        self.insert(name, argument.to_owned())?;
        if names_playlist(argument) {
            let folder = argument.parent().unwrap_or(Path::new(""));
            self.add_playlist(argument, folder, Path::new(""), 0)?;
        }
        Ok(())
    }

    fn insert(&mut self, path: String, local: PathBuf) -> anyhow::Result<()> {
        if let Some(other) = self.files.get(&path) {
            let is_same = other.canonicalize().ok() == local.canonicalize().ok();
            ensure!(
                is_same,
                "two files would be called {path}: {} and {}; share a folder that has both",
                other.display(),
                local.display()
            );
        }
        self.files.insert(path, local);
        ensure!(
            self.files.len() <= MAX_FILES,
            "more than {MAX_FILES} files: pack them into an archive, or share them in parts"
        );
        Ok(())
    }

    /// Adds what is in a folder, sorted; hidden files and links are left out.
    fn add_folder(&mut self, folder: &Path, below: &str, depth: usize) -> anyhow::Result<()> {
        let shown = folder.display();
        ensure!(depth < MAX_DEPTH, "{shown} is too deep below the shared folder");
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read {shown}"))? {
            let entry = entry.with_context(|| format!("cannot read {shown}"))?;
            let (name, kind) = (text(&entry.file_name()), entry.file_type()?);
            let path = format!("{below}{name}");
            match () {
                () if name.starts_with('.') => self.left_out.hidden += 1,
                () if kind.is_symlink() => self.left_out.links += 1,
                () if kind.is_dir() => {
                    self.add_folder(&entry.path(), &format!("{path}/"), depth + 1)?;
                }
                () if kind.is_file() => self.insert(path, entry.path())?,
                () => self.left_out.special += 1,
            }
        }
        Ok(())
    }

    /// Adds the files that a playlist names, also by way of other playlists. `below` is where it is in
    /// the folder of the first one.
    fn add_playlist(
        &mut self,
        playlist: &Path,
        folder: &Path,
        below: &Path,
        depth: usize,
    ) -> anyhow::Result<()> {
        const MAX_PLAYLISTS: usize = 4;
        let mut text = Vec::new();
        let read = fs::File::open(playlist)
            .and_then(|file| file.take(MAX_PLAYLIST).read_to_end(&mut text));
        read.with_context(|| format!("cannot read {}", playlist.display()))?;
        let text = String::from_utf8_lossy(&text);
        for entry in Playlist::parse(&text).entries {
            let Some(inside) = located(folder, below, &entry.uri) else {
                self.left_out.outside += 1;
                continue;
            };
            let local = folder.join(&inside);
            let path = in_share(&inside);
            if self.files.contains_key(&path) {
                continue;
            }
            self.insert(path, local.clone())?;
            if (entry.is_playlist || names_playlist(&local)) && depth < MAX_PLAYLISTS {
                let below = inside.parent().unwrap_or(Path::new("")).to_owned();
                self.add_playlist(&local, folder, &below, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// The name for several files.
fn common_name(arguments: &[PathBuf], count: usize) -> anyhow::Result<String> {
    let first = arguments.first().context("nothing to share")?;
    if arguments.len() == 1 && first.is_dir() {
        return folder_name(first);
    }
    let stem = first.file_stem().map_or_else(|| "files".to_owned(), text);
    Ok(match arguments.len() {
        1 => stem,
        _ => format!("{stem} and {} more", count.saturating_sub(1)),
    })
}

/// The name of a folder, also of `.`.
fn folder_name(folder: &Path) -> anyhow::Result<String> {
    let real =
        folder.canonicalize().with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(real.file_name().map_or_else(|| "files".to_owned(), text))
}

fn text(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

fn names_playlist(path: &Path) -> bool {
    path.file_name().is_some_and(|name| is_playlist(&name.to_string_lossy()))
}

/// The path, below `folder`, of what a playlist in `below` names; as it is written or
/// percent-encoded. `None` if it is elsewhere or no file.
fn located(folder: &Path, below: &Path, entry: &str) -> Option<PathBuf> {
    let candidates = [entry.to_owned(), percent_decoded(entry)?];
    candidates.iter().find_map(|entry| {
        let inside = normalized(below, Path::new(entry))?;
        // A link could lead out of the folder.
        let is_file = fs::symlink_metadata(folder.join(&inside)).is_ok_and(|it| it.is_file());
        is_file.then_some(inside)
    })
}

/// `below/entry` without `.` and `..`, unless that is outside.
fn normalized(below: &Path, entry: &Path) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in below.components().chain(entry.components()) {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => return None,
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}

fn percent_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| byte == b'%') {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

/// A relative path as it is in a share.
fn in_share(path: &Path) -> String {
    let names: Vec<String> = path.iter().map(text).collect();
    names.join("/")
}

/// Writes standard input to a file: what is shared has a size and hashes.
fn spool(name: &str) -> anyhow::Result<Gathered> {
    let scratch = Scratch::new()?;
    let path = scratch.path().join(safe_file_name(name));
    let mut file =
        fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let (mut input, live) = (std::io::stdin().lock(), Live::new());
    let mut buffer = vec![0; 1 << 20];
    let (mut bytes, mut shown) = (0u64, 0);
    loop {
        let read = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => bail!("cannot read standard input: {error}"),
        };
        file.write_all(&buffer[..read]).with_context(|| {
            format!("cannot write {} (TMPDIR chooses another place)", path.display())
        })?;
        bytes += read as u64;
        if bytes >= shown + STEP {
            shown = bytes;
            live.draw(&format!("reading standard input: {}", format::bytes(bytes)));
        }
    }
    ensure!(bytes > 0, "standard input was empty");
    Ok(Gathered::Spooled { path, scratch })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(folder: &Path, paths: &[&str]) {
        for path in paths {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
    }

    fn several(arguments: &[PathBuf]) -> (String, Vec<String>) {
        match gather(arguments, None).unwrap() {
            Gathered::Several { name, files } => {
                files.iter().for_each(|(_, path)| assert!(path.is_file()));
                (name, files.into_iter().map(|(path, _)| path).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_is_shared_sorted_and_without_what_is_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let album = dir.path().join("album");
        make(&album, &["b", "a/2", "a/1", ".hidden", "a/.git/config", "c/d/e"]);
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", album.join("link")).unwrap();
        let (name, files) = several(&[album]);
        assert_eq!(
            (&name[..], &files[..]),
            ("album", &["a/1", "a/2", "b", "c/d/e"].map(String::from)[..])
        );
    }

    #[test]
    fn a_single_file_is_shared_as_ever_and_a_folder_with_one_as_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), &["film.mp4", "folder/film.mp4"]);
        let film = dir.path().join("film.mp4");
        assert!(
            matches!(gather(std::slice::from_ref(&film), None).unwrap(), Gathered::One(path) if path == film)
        );
        assert!(gather(&[film], Some("x")).is_err());
        assert_eq!(several(&[dir.path().join("folder")]).1, ["film.mp4"]);
        fs::create_dir(dir.path().join("empty")).unwrap();
        let error = gather(&[dir.path().join("empty")], None).unwrap_err().to_string();
        assert!(error.contains("no file in"), "{error}");
    }

    #[test]
    fn several_files_have_a_name_and_none_has_the_name_of_another() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), &["a.mp4", "b.mp4", "c/a.mp4"]);
        let at = |name: &str| dir.path().join(name);
        let (name, files) = several(&[at("b.mp4"), at("a.mp4")]);
        assert_eq!(
            (&name[..], files),
            ("b and 1 more", vec!["a.mp4".to_owned(), "b.mp4".to_owned()])
        );
        assert_eq!(several(&[at("b.mp4"), at("c")]).1, ["b.mp4", "c/a.mp4"]);
        let error = gather(&[at("a.mp4"), at("c/a.mp4")], None).unwrap_err().to_string();
        assert!(error.contains("two files would be called a.mp4"), "{error}");
    }

    #[test]
    fn a_playlist_is_shared_with_what_it_names_below_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        make(
            dir.path(),
            &["out.mp4", "list/a b.mp4", "list/v/1.ts", "list/v/2.ts", "list/v/init.mp4"],
        );
        let playlist = dir.path().join("list/all.m3u8");
        let text = "\u{feff}#EXTM3U\n#EXTINF:5,A title\na%20b.mp4\r\n\nv/index.m3u8\n../out.mp4\n/etc/passwd\nhttp://example.org/x.ts\ngone.mp4\n";
        fs::write(&playlist, text).unwrap();
        let inner = "#EXT-X-MAP:URI=\"init.mp4\"\n1.ts\n./2.ts\n../all.m3u8\n";
        fs::write(dir.path().join("list/v/index.m3u8"), inner).unwrap();
        let (name, files) = several(&[playlist]);
        let expected = ["a b.mp4", "all.m3u8", "v/1.ts", "v/2.ts", "v/index.m3u8", "v/init.mp4"];
        assert_eq!((&name[..], &files[..]), ("all", &expected.map(String::from)[..]));
    }
}
