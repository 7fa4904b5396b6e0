//! `rtmfp fetch --file`: some of the files of a share of several.

use super::destination::SEVERAL_IN_ORDER;
use super::format;
use super::outcome::WrongUsage;
use anyhow::{Context, bail, ensure};
use rtmfp::vod::file_name::safe_file_name;
use rtmfp::vod::{
    CHUNK_SIZE, Destination, Digest256, Fetch, FileDestination, FileList, ShareLink, SourceFile,
};
use std::path::{Path, PathBuf};

/// Names that are suggested for one that there is not.
const MAX_SUGGESTED: usize = 5;

/// The characters of a path that are compared to find similar ones.
const MAX_COMPARED: usize = 128;

/// What is fetched of a share, and where it goes.
#[derive(Debug)]
pub(crate) struct Chosen {
    paths: Vec<String>,
    /// The folder to which the files are written.
    folder: PathBuf,
    is_forced: bool,
}

/// A file that is complete.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) sha256: Digest256,
}

impl Chosen {
    /// The files of these paths, which go where the whole folder would go.
    ///
    /// # Errors
    ///
    /// The link is not for several files.
    pub(crate) fn new(
        paths: Vec<String>,
        link: &ShareLink,
        destination: &Destination,
        is_forced: bool,
    ) -> anyhow::Result<Self> {
        ensure!(
            link.files.is_some(),
            WrongUsage(
                "--file is for links of several files: this one is for a single file".into()
            )
        );
        let folder = match (destination, &link.name) {
            (Destination::File(folder), _) => folder.clone(),
            (Destination::Directory(directory), Some(name)) => directory.join(safe_file_name(name)),
            (Destination::Directory(_), None) => {
                bail!(WrongUsage("the link names no folder: name one with -o".into()))
            }
            _ => bail!(WrongUsage(SEVERAL_IN_ORDER.into())),
        };
        Ok(Self { paths, folder, is_forced })
    }

    /// Where the fetch keeps what it has. It is beside the folder and not the part of a fetch of everything,
    /// which would get the folder's name.
    pub(crate) fn destination(&self) -> Destination {
        let mut name = self.folder.file_name().unwrap_or_default().to_owned();
        name.push(".files");
        Destination::File(self.folder.with_file_name(name))
    }

    fn store(&self) -> FileDestination {
        let path = match self.destination() {
            Destination::File(path) => path,
            _ => self.folder.clone(),
        };
        FileDestination::new(path, Digest256([0; 32]))
    }

    /// Fetches the files, and gives them their names.
    ///
    /// # Errors
    ///
    /// There are no such files, the fetch fails, or other files have their names.
    pub(crate) async fn fetch(&self, fetch: &Fetch) -> anyhow::Result<Vec<Placed>> {
        let descriptor = fetch.descriptor().await?;
        let files = descriptor.files.as_ref().context("the share is a single file")?;
        let indices = indices(files, &self.paths)?;
        let ranges = indices.iter().filter_map(|&index| files.range(index)).collect();
        fetch.fetch_ranges(ranges).await?;
        let paths = files.safe_paths();
        let mut placed = Vec::new();
        for index in indices {
            let (Some(path), Some(file)) = (paths.get(index), files.files().get(index)) else {
                continue;
            };
            let (from, to) = (self.store().part_path().join(path), self.folder.join(path));
            let (size, is_forced) = (file.size, self.is_forced);
            let place = tokio::task::spawn_blocking(move || place(&from, to, size, is_forced));
            placed.push(place.await??);
        }
        Ok(placed)
    }

    /// Deletes what the fetch has kept: the files have a place of their own.
    pub(crate) fn clean_up(&self) {
        let store = self.store();
        // What is left is found by the next fetch.
        let _ = std::fs::remove_dir_all(store.part_path());
        let _ = std::fs::remove_file(store.sidecar_path());
    }
}

/// Gives a file that was fetched its name.
fn place(from: &Path, to: PathBuf, size: u64, is_forced: bool) -> anyhow::Result<Placed> {
    let shown = to.display();
    let cannot = || format!("cannot write {shown}");
    std::fs::create_dir_all(to.parent().unwrap_or(Path::new("."))).with_context(cannot)?;
    let hash = |path: &Path| {
        let source = SourceFile::scan(path, CHUNK_SIZE, |_| {})?;
        source.descriptor().sha256.context("the file has no hash")
    };
    if size == 0 && !from.exists() {
        std::fs::write(from, "").or_else(|error| match from.parent() {
            Some(folder) => std::fs::create_dir_all(folder).and_then(|()| std::fs::write(from, "")),
            None => Err(error),
        })?;
    }
    let sha256 = hash(from).with_context(|| format!("cannot read {}", from.display()))?;
    let found = std::fs::symlink_metadata(&to).ok();
    if let Some(found) = found {
        ensure!(found.is_file(), "{shown} is not a file");
        if found.len() == size && hash(&to)? == sha256 {
            return Ok(Placed { path: to, size, sha256 });
        }
        ensure!(is_forced, "{shown} exists and is another file; --force replaces it");
    }
    // The old file is there until the new one takes its name.
    let mut part = to.clone().into_os_string();
    part.push(".part");
    if std::fs::hard_link(from, &part).is_err() {
        // Not every file system has second names.
        std::fs::copy(from, &part).with_context(cannot)?;
    }
    std::fs::rename(&part, &to).with_context(cannot)?;
    Ok(Placed { path: to, size, sha256 })
}

/// The numbers of the files of these paths.
fn indices(files: &FileList, paths: &[String]) -> anyhow::Result<Vec<usize>> {
    let mut indices = Vec::new();
    for path in paths {
        let found = files.files().iter().position(|file| file.path == *path);
        let Some(index) = found else {
            let similar = similar(files, path);
            let similar: Vec<String> =
                similar.iter().map(|path| format!("  {}", format::printable(path))).collect();
            bail!(WrongUsage(format!(
                "the share has no file {}; those with similar names are\n{}",
                format::printable(path),
                similar.join("\n")
            )));
        };
        if !indices.contains(&index) {
            indices.push(index);
        }
    }
    Ok(indices)
}

/// The paths that are most like this one: those that have it in them first.
fn similar<'a>(files: &'a FileList, path: &str) -> Vec<&'a str> {
    let compared =
        |path: &str| -> String { path.to_lowercase().chars().take(MAX_COMPARED).collect() };
    let wanted = compared(path);
    let paths = files.files().iter().map(|file| {
        let found = compared(&file.path);
        (!found.contains(&wanted), strsim::levenshtein(&wanted, &found), &*file.path)
    });
    let mut paths: Vec<(bool, usize, &str)> = paths.collect();
    paths.sort_unstable();
    paths.into_iter().map(|(_, _, path)| path).take(MAX_SUGGESTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmfp::vod::SharedFile;

    fn list(paths: &[&str]) -> FileList {
        let file = |path: &&str| SharedFile { path: (*path).to_owned(), size: 1 };
        FileList::new(paths.iter().map(file).collect()).unwrap()
    }

    #[test]
    fn files_are_chosen_by_their_paths() {
        let files = list(&["a.mp4", "season 1/b.mp4", "season 1/c.mp4"]);
        let of = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            indices(&files, &paths)
        };
        assert_eq!(of(&["season 1/c.mp4", "a.mp4", "a.mp4"]).unwrap(), [2, 0]);
        let error = of(&["b.mp4"]).unwrap_err().to_string();
        let first = error.lines().nth(1).unwrap();
        assert_eq!(first, "  season 1/b.mp4", "{error}");
        let error = of(&["season 1/d.mp4"]).unwrap_err().to_string();
        assert!(error.lines().nth(1).unwrap().starts_with("  season 1/"), "{error}");
    }

    #[test]
    fn another_file_of_the_name_stays_unless_forced() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("a/to"));
        std::fs::write(&from, "new").unwrap();
        place(&from, to.clone(), 3, false).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"new");
        place(&from, to.clone(), 3, false).unwrap();
        std::fs::remove_file(&to).unwrap();
        std::fs::write(&to, "old").unwrap();
        assert!(place(&from, to.clone(), 3, false).unwrap_err().to_string().contains("--force"));
        assert_eq!(std::fs::read(&to).unwrap(), b"old");
        place(&from, to.clone(), 3, true).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"new");
        let empty = directory.path().join("none/empty");
        place(&empty, directory.path().join("a/empty"), 0, false).unwrap();
        assert!(directory.path().join("a/empty").exists());
    }
}
