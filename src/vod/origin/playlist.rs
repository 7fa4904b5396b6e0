//! A playlist at a web server, with the files that it names.

use super::super::files::{FileList, MAX_FILES, MAX_PATH, MAX_PATHS, SharedFile};
use super::super::link::decoded_lossy;
use super::super::playlist::{MAX_PLAYLIST, Playlist, is_playlist};
use super::{HttpOrigin, OriginError, OriginFiles, OriginVersion, Validator, Validators};
use crate::wire::Shown;
use bytes::{Bytes, BytesMut};
use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::Url;

/// The longest address in a playlist, in bytes.
pub const MAX_URI: usize = 2048;

/// Playlists that are read for one share.
pub const MAX_PLAYLISTS: usize = 256;

/// Files that the server is asked about at a time.
pub const MAX_PROBES: usize = 8;

/// A file of a share, with what its server states.
type Stated = (SharedFile, Validator);

/// A file that a playlist names, or the playlist itself.
struct Named {
    path: String,
    stated: Option<Stated>,
}

impl HttpOrigin {
    /// True if the URL is that of a playlist, by the end of its path.
    pub fn is_playlist(&self) -> bool {
        is_playlist(self.address().path())
    }

    /// Reads the playlist, and what the server states about everything that it names.
    pub(super) async fn list_version(&self) -> Result<OriginVersion, OriginError> {
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        for (index, Named { path, stated }) in self.named().await?.into_iter().enumerate() {
            if stated.is_none() {
                unknown.push((index, path));
            }
            found.push(stated);
        }
        let (mut probes, mut next) = (JoinSet::new(), unknown.into_iter());
        loop {
            while probes.len() < MAX_PROBES
                && let Some((index, path)) = next.next()
            {
                let file = self.file(&path, index)?;
                probes.spawn(async move {
                    let probed = file.probed().await.map_err(|error| error.of_file(&path));
                    (index, probed.map(|version| stated(path, version)))
                });
            }
            let Some(probed) = probes.join_next().await else { break };
            let (index, probed) = probed.map_err(OriginError::local)?;
            found[index] = Some(probed?);
        }
        let (files, validators) = found.into_iter().flatten().unzip::<_, _, Vec<_>, Vec<_>>();
        let list = FileList::new(files).map_err(|error| self.refusal(&error.to_string()))?;
        let validators = Validators::new(validators)
            .ok_or_else(|| self.refusal("what the server states about its files is too long"))?;
        let files = OriginFiles::new(list, validators).ok_or(OriginError::TooLarge)?;
        let version = OriginVersion::of_files(self.address().to_string(), files);
        version.descriptor().map_err(|_| OriginError::TooLarge)?;
        Ok(version)
    }

    /// What the server states about this file, of which it must give parts.
    async fn probed(&self) -> Result<OriginVersion, OriginError> {
        let version = self.file_version(false).await?;
        match version.has_ranges {
            true => Ok(version),
            false => Err(self.refusal(
                "the web server gives no parts of it (Range), which the files of a playlist need",
            )),
        }
    }

    /// The playlist and what it names, also by way of other playlists, in order. What the server states is
    /// known of the playlists, which were read.
    async fn named(&self) -> Result<Vec<Named>, OriginError> {
        let (_, last) = self.address().path().rsplit_once('/').unwrap_or_default();
        let first = decoded_lossy(last);
        let mut known = HashSet::from([first.clone()]);
        let mut all: Vec<Named> = Vec::new();
        let mut length = 0;
        // The last one is read next, so that what a playlist names follows it.
        let mut waiting: Vec<(String, bool)> = vec![(first, true)];
        let mut playlists = 0;
        while let Some((path, is_list)) = waiting.pop() {
            // The name of the first one is not among its own paths.
            if !all.is_empty() {
                length += path.len();
            }
            if all.len() >= MAX_FILES || length > MAX_PATHS {
                return Err(self.refusal("it names too many files"));
            }
            if !is_list {
                all.push(Named { path, stated: None });
                continue;
            }
            playlists += 1;
            if playlists > MAX_PLAYLISTS {
                return Err(self.refusal("it names too many playlists"));
            }
            let file = self.file(&path, all.len())?;
            let read = file.read_playlist().await.map_err(|error| error.of_file(&path));
            let (version, playlist) = read?;
            let stated = Some(stated(path.clone(), version));
            all.push(Named { path, stated });
            let mut named = Vec::new();
            for entry in playlist.entries {
                let path = self.path_of(file.address(), &entry.uri)?;
                if known.insert(path.clone()) {
                    let is_list = entry.is_playlist || is_playlist(&path);
                    named.push((path, is_list));
                }
                if known.len() > MAX_FILES {
                    return Err(self.refusal("it names too many files"));
                }
            }
            waiting.extend(named.into_iter().rev());
        }
        Ok(all)
    }

    /// Reads a playlist, which must be complete.
    async fn read_playlist(&self) -> Result<(OriginVersion, Playlist), OriginError> {
        let version = self.probed().await?;
        if version.size > MAX_PLAYLIST {
            return Err(self.refusal("it is too long for a playlist: more than 4 MiB"));
        }
        let (parts, mut incoming) = mpsc::channel::<Bytes>(4);
        let collect = async {
            let mut text = BytesMut::new();
            while let Some(part) = incoming.recv().await {
                text.extend_from_slice(&part);
            }
            text
        };
        let range = Some(0..version.size).filter(|range| !range.is_empty());
        let (read, text) = tokio::join!(self.read_part(&version, range, parts), collect);
        read?;
        let playlist = Playlist::parse(&String::from_utf8_lossy(&text));
        match playlist {
            Playlist { has_header: false, .. } => {
                Err(self.refusal("it is not a playlist, which begins with #EXTM3U"))
            }
            Playlist { is_live: true, .. } => Err(self.refusal(
                "it is live: it has no #EXT-X-ENDLIST, and only a film that is complete can be shared",
            )),
            playlist => Ok((version, playlist)),
        }
    }

    /// The path of what a playlist at `base` names.
    fn path_of(&self, base: &Url, uri: &str) -> Result<String, OriginError> {
        let refuse = |problem: &str| {
            let problem = format!("the playlist names it, {problem}");
            Err(OriginError::Url { url: Shown::new(uri).to_string(), problem })
        };
        if uri.len() > MAX_URI {
            return refuse("and it is too long");
        }
        let Ok(mut url) = base.join(uri) else { return refuse("and it is not a URL") };
        url.set_fragment(None);
        if url.origin() != self.address().origin() || !url.username().is_empty() {
            return refuse("and it is at another web server");
        }
        if url.query().is_some() {
            return refuse("and it has a query (?), which the name of a file has not");
        }
        let (directory, _) = self.address().path().rsplit_once('/').unwrap_or_default();
        let below = url.path().strip_prefix(directory).and_then(|path| path.strip_prefix('/'));
        let Some(below) = below else {
            return refuse("and it is not in or below the playlist's directory");
        };
        let parts: Vec<String> = below.split('/').map(decoded_lossy).collect();
        match parts.iter().all(|part| is_name(part)) && below.len() <= MAX_PATH {
            true => Ok(parts.join("/")),
            false => refuse("and it cannot be the name of a file"),
        }
    }

    /// The file at this path, which is the playlist itself if it is the first.
    fn file(&self, path: &str, index: usize) -> Result<Self, OriginError> {
        if index == 0 {
            return Ok(self.clone());
        }
        let mut url = self.address().clone();
        url.set_query(None);
        let is_path = path.len() <= MAX_PATH && path.split('/').all(is_name);
        match url.path_segments_mut() {
            Ok(mut segments) if is_path => drop(segments.pop().extend(path.split('/'))),
            _ => {
                let problem = "it cannot be the name of a file".to_owned();
                return Err(OriginError::Url { url: Shown::new(path).to_string(), problem });
            }
        }
        Ok(self.at(url))
    }

    /// Reads a part of the files of a version, one after the other.
    pub(super) async fn read_files(
        &self,
        version: &OriginVersion,
        files: &OriginFiles,
        range: Option<Range<u64>>,
        parts: mpsc::Sender<Bytes>,
    ) -> Result<(), OriginError> {
        let range = range.unwrap_or(0..version.size);
        for index in files.list().at(range.start)..files.list().files().len() {
            let place = files.list().range(index).unwrap_or_default();
            if place.start >= range.end {
                break;
            }
            let part = range.start.max(place.start)..range.end.min(place.end);
            if part.is_empty() || parts.is_closed() {
                continue;
            }
            let (file, version) = self.one_of(files, index)?;
            let part = part.start - place.start..part.end - place.start;
            let read = file.read_part(&version, Some(part), parts.clone()).await;
            let path = files.list().files().get(index).map(|file| &*file.path);
            read.map_err(|error| error.of_file(path.unwrap_or_default()))?;
        }
        Ok(())
    }

    /// One file of a version.
    fn one_of(
        &self,
        files: &OriginFiles,
        index: usize,
    ) -> Result<(Self, OriginVersion), OriginError> {
        let shared = files.list().files().get(index);
        let stated = files.validators().as_slice().get(index);
        let (shared, stated) = shared.zip(stated).ok_or(OriginError::TooLarge)?;
        let file = self.file(&shared.path, index)?;
        let version = OriginVersion::new(file.address().to_string(), shared.size, stated.clone());
        Ok((file, version))
    }

    /// Downloads every file of a version of a playlist to a directory, as [`download`](Self::download)
    /// does with one. Returns the path in the share and the path here of each.
    ///
    /// # Errors
    ///
    /// As for [`download`](Self::download); or a directory cannot be made.
    pub async fn download_files(
        &self,
        files: &OriginFiles,
        directory: &Path,
        mut progress: impl FnMut(u64),
    ) -> Result<Vec<(String, PathBuf)>, OriginError> {
        let (mut done, mut downloaded) = (0, Vec::new());
        for (index, path) in files.list().safe_paths().iter().enumerate() {
            let (file, version) = self.one_of(files, index)?;
            let local = directory.join(path);
            let folder = local.parent().unwrap_or(directory);
            let made = tokio::fs::create_dir_all(folder).await;
            made.map_err(|error| OriginError::local(format!("{}: {error}", folder.display())))?;
            file.download(&version, &local, |bytes| progress(done + bytes))
                .await
                .map_err(|error| error.of_file(&path.display().to_string()))?;
            done += version.size;
            let shared = files.list().files().get(index).map(|file| file.path.clone());
            downloaded.push((shared.unwrap_or_default(), local));
        }
        Ok(downloaded)
    }

    fn refusal(&self, problem: &str) -> OriginError {
        OriginError::Url {
            url: Shown::new(self.address().as_str()).to_string(),
            problem: problem.to_owned(),
        }
    }
}

/// What the server states about the file at this path.
fn stated(path: String, version: OriginVersion) -> Stated {
    (SharedFile { path, size: version.size }, version.validator)
}

/// True if a part of a path is the name of a file or a folder.
fn is_name(part: &str) -> bool {
    let is_strange = |c: char| c.is_control() || matches!(c, '/' | '\u{fffd}');
    !matches!(part, "" | "." | "..") && !part.contains(is_strange)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> HttpOrigin {
        HttpOrigin::new("https://a.example/films/one/list.m3u8?key=1").unwrap()
    }

    #[test]
    fn what_is_below_the_playlist_is_a_file() {
        let (origin, nested) = (origin(), "https://a.example/films/one/720/list.m3u8");
        let nested = Url::parse(nested).unwrap();
        for (uri, path) in [
            ("seg 1.ts", "720/seg 1.ts"),
            ("seg%201.ts#t=5", "720/seg 1.ts"),
            ("./a/../b.ts", "720/b.ts"),
            ("../key%2Dx.bin", "key-x.bin"),
            ("/films/one/c.ts", "c.ts"),
            ("HTTPS://A.example:443/films/one/c.ts", "c.ts"),
            ("Ä.ts", "720/Ä.ts"),
        ] {
            assert_eq!(origin.path_of(&nested, uri).unwrap(), path, "{uri}");
        }
    }

    #[test]
    fn what_is_elsewhere_is_named_and_refused() {
        let origin = origin();
        for (uri, problem) in [
            ("http://a.example/films/one/x.ts", "another web server"),
            ("https://b.example/films/one/x.ts", "another web server"),
            ("https://a.example:8443/films/one/x.ts", "another web server"),
            ("https://me:secret@a.example/films/one/x.ts", "another web server"),
            ("skd://key", "another web server"),
            ("data:text/plain,x", "another web server"),
            ("../x.ts", "not in or below"),
            ("/films/one", "not in or below"),
            ("/films/one2/x.ts", "not in or below"),
            ("%2e%2e/x.ts", "not in or below"),
            ("x.ts?token=1", "query"),
            ("a//b.ts", "name of a file"),
            ("a%2Fb.ts", "name of a file"),
            ("a%00b.ts", "name of a file"),
            ("a%ffb.ts", "name of a file"),
            ("a/", "name of a file"),
            ("http://[::1", "not a URL"),
            (&"x".repeat(MAX_URI + 1), "too long"),
            (&"x".repeat(MAX_PATH + 1), "name of a file"),
        ] {
            let error = origin.path_of(origin.address(), uri).unwrap_err().to_string();
            let named: String = uri.chars().take(5).collect();
            assert!(error.contains(problem) && error.contains(&named), "{uri}: {error}");
            assert!(error.len() < 600, "{error}");
        }
    }

    #[test]
    fn a_file_has_one_address() {
        let url = |path: &str, index| origin().file(path, index).map(|it| it.url().to_owned());
        let first = url("list.m3u8", 0).unwrap();
        assert_eq!(first, "https://a.example/films/one/list.m3u8?key=1");
        let second = url("720/Ä 1%.ts", 1).unwrap();
        assert_eq!(second, "https://a.example/films/one/720/%C3%84%201%25.ts");
        for hostile in ["../x", "/etc/passwd", "a//b", "", ".", "a/../../x", "a\r\nb"] {
            assert!(url(hostile, 1).is_err(), "{hostile:?}");
        }
    }
}
