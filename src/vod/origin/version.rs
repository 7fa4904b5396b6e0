//! [`OriginVersion`]: one content of a URL, and what follows from it.

use super::super::chunker::CHUNK_SIZE;
use super::super::descriptor::Descriptor;
use super::super::file_name::safe_file_name;
use super::super::files::FileList;
use super::super::hash::Digest256;
use super::super::layout::{Layout, LayoutError};
use super::super::link::{Integrity, ServerAddress, ShareLink, decoded_lossy};
use super::{OriginError, Validator, Validators};
use crate::group::{GroupSpec, GroupSpecBuilder, GroupSpecError, IpMulticastAddress};
use sha2::{Digest, Sha256};

const CONTEXT: &[u8] = b"rtmfp-share origin 1\0";

/// One content of a URL: of a file, or of a playlist with the files that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OriginVersion {
    /// The URL in its normal form.
    pub url: String,
    /// Size in bytes, of all files together.
    pub size: u64,
    /// What the server states about the content; of several files, about that of the playlist.
    pub validator: Validator,
    /// SHA-256 of the file, if the server states it.
    pub sha256: Option<Digest256>,
    /// True if the server gives parts of the file.
    pub has_ranges: bool,
    /// The files of a playlist, itself among them; `None` for a single file.
    pub files: Option<OriginFiles>,
}

/// The files of a playlist at a web server. The first is the playlist, the others are below its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginFiles {
    list: FileList,
    validators: Validators,
}

impl OriginFiles {
    /// These files with what the server states about each; `None` if the numbers differ.
    pub fn new(list: FileList, validators: Validators) -> Option<Self> {
        let is_complete = list.files().len() == validators.as_slice().len();
        is_complete.then_some(Self { list, validators })
    }

    /// The paths below the playlist's directory, and the sizes.
    pub fn list(&self) -> &FileList {
        &self.list
    }

    /// What the server states about each.
    pub fn validators(&self) -> &Validators {
        &self.validators
    }
}

impl OriginVersion {
    /// A version of a URL in normal form.
    pub fn new(url: String, size: u64, validator: Validator) -> Self {
        Self { url, size, validator, sha256: None, has_ranges: true, files: None }
    }

    /// A version of a playlist, whose URL is in normal form, with its files.
    pub fn of_files(url: String, files: OriginFiles) -> Self {
        let (first, size) = (files.validators.as_slice()[0].clone(), files.list.size());
        Self { files: Some(files), ..Self::new(url, size, first) }
    }

    /// The version that a descriptor states, if it is one of a playlist.
    pub(in crate::vod) fn of_descriptor(url: &str, descriptor: &Descriptor) -> Option<Self> {
        let (list, validators) = (descriptor.files.clone()?, descriptor.validators.clone()?);
        Some(Self::of_files(url.to_owned(), OriginFiles::new(list, validators)?))
    }

    /// The descriptor: the name is the last part of the path, of a playlist without its ending, and there
    /// are no hashes but the one that the server states.
    ///
    /// # Errors
    ///
    /// The file has too many chunks.
    pub fn descriptor(&self) -> Result<Descriptor, LayoutError> {
        let layout = Layout::of_size(self.size, CHUNK_SIZE)?;
        Ok(Descriptor {
            name: Some(self.name()),
            sha256: self.sha256,
            files: self.files.as_ref().map(|files| files.list.clone()),
            validators: self.validators(),
            ..Descriptor::of_layout(layout)
        })
    }

    /// What the server states about each file of a playlist.
    pub(in crate::vod) fn validators(&self) -> Option<Validators> {
        self.files.as_ref().map(|files| files.validators.clone())
    }

    /// What makes the group of this version unique: the same for everybody, and another one if the
    /// chunks are hashed before they are shared.
    pub fn group_tag(&self, is_hashed: bool) -> [u8; 32] {
        let (kind, validator) = match &self.validator {
            Validator::ETag(etag) => (b'e', etag),
            Validator::LastModified(time) => (b'm', time),
        };
        let mut hasher = Sha256::new_with_prefix(CONTEXT);
        let mut member = |value: &[u8]| {
            hasher.update((value.len() as u64).to_be_bytes());
            hasher.update(value);
        };
        member(self.url.as_bytes());
        member(&self.size.to_be_bytes());
        member(&[kind]);
        member(validator.as_bytes());
        member(self.sha256.as_ref().map_or(&[][..], |sha256| &sha256.0));
        member(&[u8::from(is_hashed)]);
        if let Some(OriginFiles { list, validators }) = &self.files {
            member(&list.digested());
            member(&validators.digested());
        }
        Digest256::from_hasher(hasher).0
    }

    /// The group in which this version is shared. With `lan`, members announce themselves on the local
    /// network; `is_hashed` as for [`group_tag`](Self::group_tag).
    ///
    /// # Errors
    ///
    /// [`GroupSpecBuilder`] has them.
    pub fn group(&self, lan: bool, is_hashed: bool) -> Result<GroupSpec, GroupSpecError> {
        let name = safe_file_name(&self.name());
        group_of_file(GroupSpecBuilder::new(&name)?.make_unique(self.group_tag(is_hashed)), lan)
    }

    /// The link that every provider of this version makes, at these servers.
    ///
    /// # Errors
    ///
    /// Too many servers, or too many chunks.
    pub fn link(&self, servers: Vec<ServerAddress>, lan: bool) -> Result<ShareLink, OriginError> {
        let descriptor = self.descriptor().map_err(|_| OriginError::TooLarge)?;
        let group = self.group(lan, false).map_err(OriginError::local)?;
        let mut link = ShareLink::new(servers, group.as_str()).map_err(OriginError::local)?;
        link.integrity = Integrity::Descriptor(descriptor.digest());
        link.name = descriptor.name;
        // A list has at most 16,384 files.
        link.files = descriptor.files.map(|files| files.files().len() as u32);
        link.origin = Some(self.url.clone());
        Ok(link)
    }

    /// True if a link means this version: its group follows from it.
    pub fn is_meant_by(&self, link: &ShareLink) -> bool {
        let groups = [(false, false), (false, true), (true, false), (true, true)];
        link.origin.as_deref() == Some(&self.url)
            && groups.iter().any(|&(lan, is_hashed)| {
                self.group(lan, is_hashed).is_ok_and(|spec| spec.as_str() == link.groupspec)
            })
    }

    /// Host name and port, for messages.
    pub fn host(&self) -> &str {
        host_of(&self.url)
    }

    /// The name in a directory of what was read: it tells versions apart.
    #[cfg(feature = "origin")]
    pub(in crate::vod) fn cache_name(&self, is_hashed: bool) -> String {
        let tag = Digest256(self.group_tag(is_hashed)).to_string();
        safe_file_name(&format!("{tag:.16}-{}", safe_file_name(&self.name())))
    }

    /// The file name: the last part of the path. Of a playlist, without its ending.
    pub(in crate::vod) fn name(&self) -> String {
        let name = self.file_name();
        match name.rsplit_once('.') {
            Some((stem, _)) if self.files.is_some() && !stem.is_empty() => stem.to_owned(),
            _ => name,
        }
    }

    fn file_name(&self) -> String {
        let path = self.url.split(['?', '#']).next().unwrap_or_default();
        let after_host = path.split_once("://").map_or(path, |(_, rest)| rest);
        let last = after_host.rsplit_once('/').map_or("", |(_, last)| last);
        let name = decoded_lossy(last);
        if name.is_empty() { host_of(&self.url).to_owned() } else { name }
    }
}

/// A group for a file; with `lan`, members announce themselves on the local network.
pub(in crate::vod) fn group_of_file(
    mut builder: GroupSpecBuilder,
    lan: bool,
) -> Result<GroupSpec, GroupSpecError> {
    if lan {
        builder =
            builder.ip_multicast_member_updates(true).ip_multicast_address(IpMulticastAddress::LAN);
    }
    builder.object_replication(true).server_channel(true).build()
}

/// Host and port of a URL.
pub(in crate::vod) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(url: &str) -> OriginVersion {
        OriginVersion::new(url.into(), 100_000, Validator::ETag("\"1\"".into()))
    }

    #[test]
    fn the_name_is_the_last_part_of_the_path() {
        for (url, name) in [
            ("https://a.example/x/my%20film.mp4?v=1", "my film.mp4"),
            ("https://a.example:8080/", "a.example:8080"),
            ("https://a.example/film%ff.mp4", "film\u{fffd}.mp4"),
        ] {
            let descriptor = version(url).descriptor().unwrap();
            assert_eq!(descriptor.name.as_deref(), Some(name));
            assert_eq!((descriptor.chunks(), descriptor.layout.size()), (2, Some(100_000)));
        }
    }

    #[test]
    fn a_link_means_one_version() {
        let version = version("https://a.example/film.mp4");
        let server = ServerAddress::new("b.example", 1935).unwrap();
        for lan in [false, true] {
            let link = version.link(vec![server.clone()], lan).unwrap();
            assert!(version.is_meant_by(&link));
            assert_eq!(version.link(vec![server.clone()], lan).unwrap(), link);
            assert_eq!((link.provider, link.name.as_deref()), (None, Some("film.mp4")));
            let changed = OriginVersion { size: 100_001, ..version.clone() };
            assert!(!changed.is_meant_by(&link));
            let elsewhere = OriginVersion { url: "https://a.example/b".into(), ..version.clone() };
            assert!(!elsewhere.is_meant_by(&link));
        }
    }

    #[test]
    fn whatever_differs_gives_another_group() {
        let first = version("https://a.example/film");
        let mut others = vec![first.clone(); 5];
        others[0].url.push('2');
        others[1].size += 1;
        others[2].validator = Validator::ETag("\"2\"".into());
        others[3].validator = Validator::LastModified("\"1\"".into());
        others[4].sha256 = Some(Digest256::of(b""));
        let mut tags: Vec<_> = others.iter().map(|version| version.group_tag(false)).collect();
        tags.extend([first.group_tag(false), first.group_tag(true)]);
        assert!((1..tags.len()).all(|at| !tags[..at].contains(&tags[at])));
        let shown = Digest256(first.group_tag(false)).to_string();
        assert_eq!(
            shown, "ecd45c1edcc2a78667f4462190c38dcfd778eca95c4be21fc2de4a1a49d2270d",
            "every provider must make the same"
        );
        let plain = OriginVersion { has_ranges: false, ..first.clone() };
        assert_eq!(plain.group_tag(false), first.group_tag(false));
    }
}
