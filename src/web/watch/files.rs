//! [`Files`]: the files of a share, and where each is in it.

use super::media_type::{is_played, media_type};
use crate::vod::Descriptor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// What is escaped of a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'/');

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Its path in the share; of a single file, the name.
    pub(super) path: String,
    /// Where it begins in the share.
    pub(super) offset: u64,
    /// Its size, unless nobody has said it yet.
    pub(super) size: Option<u64>,
}

impl File {
    /// The path of its URL.
    pub(super) fn url(&self) -> String {
        format!("/film/{}", utf8_percent_encode(&self.path, ESCAPED))
    }

    /// Its place in the share; to the end of that while its size is unknown.
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.size.map_or(u64::MAX, |size| self.offset.saturating_add(size))
    }
}

/// The files of a share. Their paths are safe: those at which `fetch` writes them.
#[derive(Debug)]
pub(super) struct Files {
    files: Vec<File>,
    by_path: HashMap<String, usize>,
    /// The media type that the provider states of a single file.
    stated: Option<String>,
}

/// A file as `/api/files` has it.
#[derive(Debug, Serialize)]
pub(super) struct Listed<'a> {
    name: &'a str,
    path: String,
    size: Option<u64>,
}

impl Files {
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        let files: Vec<File> = match &descriptor.files {
            None => vec![File {
                path: descriptor.file_name(),
                offset: 0,
                size: descriptor.layout.size(),
            }],
            Some(list) => {
                let places = (0..).map_while(|index| list.range(index));
                let paths = list.safe_paths();
                paths.iter().zip(places).map(|(path, range)| several(path, &range)).collect()
            }
        };
        let by_path =
            files.iter().enumerate().map(|(index, file)| (file.path.clone(), index)).collect();
        Self { files, by_path, stated: descriptor.mime.clone() }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&File> {
        self.files.get(index)
    }

    /// The file of this path.
    pub(super) fn find(&self, path: &str) -> Option<&File> {
        self.get(*self.by_path.get(path)?)
    }

    pub(super) fn media_type(&self, file: &File) -> &'static str {
        let stated = self.stated.as_deref().filter(|_| self.len() == 1);
        media_type(&file.path, stated)
    }

    /// The file to play first: a playlist, as its parts are files too, or else the first film, or the
    /// first file.
    pub(super) fn first(&self) -> usize {
        let is_playlist = |file: &&File| media_type(&file.path, None).ends_with("mpegurl");
        let playlists = self.files.iter().filter(is_playlist);
        // One that lists others is above them.
        let top = playlists.min_by_key(|file| {
            let is_master = file.path.contains("master") || file.path.contains("index");
            (file.path.matches('/').count(), !is_master)
        });
        let film = || self.files.iter().find(|file| is_played(media_type(&file.path, None)));
        let first = top.or_else(film);
        first.and_then(|file| self.by_path.get(&file.path)).copied().unwrap_or(0)
    }

    /// All that can be played, with their numbers.
    pub(super) fn listed(&self) -> Vec<(usize, Listed<'_>)> {
        let played = self
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| self.len() == 1 || is_played(media_type(&file.path, None)));
        played
            .map(|(index, file)| {
                (index, Listed { name: &file.path, path: file.url(), size: file.size })
            })
            .collect()
    }
}

fn several(path: &Path, range: &Range<u64>) -> File {
    let parts = path.components().map(|part| part.as_os_str().to_string_lossy());
    let path = parts.collect::<Vec<_>>().join("/");
    File { path, offset: range.start, size: Some(range.end - range.start) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Files {
        let file = |(index, path): (usize, &&str)| File {
            path: (*path).to_owned(),
            offset: index as u64 * 10,
            size: Some(10),
        };
        let files: Vec<File> = paths.iter().enumerate().map(file).collect();
        let by_path =
            files.iter().enumerate().map(|(index, file)| (file.path.clone(), index)).collect();
        Files { files, by_path, stated: None }
    }

    #[test]
    fn the_file_to_play_first() {
        assert_eq!(files(&["readme.txt", "b.mp4", "a.mp4"]).first(), 1);
        assert_eq!(files(&["720/seg1.ts", "720/list.m3u8", "master.m3u8"]).first(), 2);
        assert_eq!(files(&["a.m3u8", "index.m3u8", "seg.ts"]).first(), 1);
        assert_eq!(files(&["readme.txt"]).first(), 0);
    }

    #[test]
    fn a_file_is_found_by_the_path_of_its_url() {
        let files = files(&["a.mp4", "two words/ü.mp4"]);
        let found = files.find("two words/ü.mp4").unwrap();
        assert_eq!((found.url().as_str(), found.range()), ("/film/two%20words/%C3%BC.mp4", 10..20));
        assert_eq!(files.find("two words"), None);
    }
}
