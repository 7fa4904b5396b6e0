//! [`Descriptor`]: object 0, which describes the other objects.
//!
//! Flash applications use two forms; both are read, either can be written:
//!
//! * **object form**: an AMF object. `chunks` (Number) is the number of chunks; the objects 1 to
//!   `chunks` follow. Flash applications read `name` and `size` as well. This crate also writes
//!   `chunkSize` (Number, bytes), `mime` (String), `sha256` (ByteArray of 32: the whole file) and
//!   `hashes` (ByteArray: the first 16 bytes of the SHA-256 of each chunk, concatenated). A
//!   Flash receiver ignores members it does not know, so these cost it nothing but bytes. For a file
//!   of more than 1,024 chunks (64 MB) it writes `pages` instead of `hashes`: the hashes of
//!   [pages](super::tree) of hashes, which are objects of their own (2.5 KB for 10 GB).
//! * **Number form**: a bare Number, one *more* than the number of chunks. It cannot hold hashes.
//!
//! # Integrity
//!
//! Replication in Flash has none: a member of the group can serve anything under any index. The
//! chain of trust begins with the [link](super::link), which is not sent through the group. In the
//! object form the link carries [`Descriptor::digest`], so that no other descriptor is accepted;
//! the descriptor carries a hash of each chunk, so that a bad chunk is detected on arrival and
//! attributed to its sender; when all chunks are there, so is the file. In the Number form the link
//! carries the SHA-256, the size and the chunk length of the file: forgery is detected only at the
//! end.
//!
//! The digest covers the *meaning* of the descriptor, not its AMF bytes, because a Flash member
//! that passes the object on encodes it anew, with its members in any order. It is the SHA-256 of
//! the ASCII text `rtmfp-share descriptor 1`, a zero byte, and for each member that is present, in
//! ascending order of its tag: tag (one byte), length of the value in bytes (8 bytes, big endian),
//! value. Numbers are 8 bytes, big endian.
//!
//! | tag | member | value |
//! | --- | --- | --- |
//! | 1 | `chunks` | number |
//! | 2 | `size` | number |
//! | 3 | `chunkSize` | number |
//! | 4 | `name` | UTF-8 |
//! | 5 | `mime` | UTF-8 |
//! | 6 | `sha256` | 32 bytes |
//! | 7 | `hashes` | 16 bytes a chunk |
//! | 8 | `files` | for each file: length of the path (8 bytes), path (UTF-8), size (8 bytes) |
//! | 9 | `pages` | 16 bytes a page of the highest level |
//! | 10 | `validators` | for each file: length (8 bytes) and UTF-8 |
//!
//! # Several files
//!
//! `files` (Array of objects with `path`, String, and `size`, Number) lists the files of a share of
//! several: its content is theirs, one after the other. `size` is the sum, and `name` that of a folder.
//! A share of one file has no such member, and the Number form cannot hold it. If they come from a web
//! server, `validators` (Array of String) has what it states about each: a strong entity tag, or the time
//! of the last change.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::file_name::safe_file_name;
use super::files::FileList;
use super::hash::{CHUNK_HASH_LEN, ChunkHashes, Digest256};
use super::layout::{Layout, LayoutError, MAX_CHUNKS};
use super::tree::{HashTree, KnownHashes, TreeShape};
use super::validators::Validators;
use crate::amf::Value;
use crate::range::MAX_INDEX;

/// The longest `name` or `mime` that is accepted, in bytes of UTF-8.
pub const MAX_TEXT: usize = 1024;

const DIGEST_CONTEXT: &[u8] = b"rtmfp-share descriptor 1\0";

/// Why object 0 is not a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// Neither a Number nor an object with a member `chunks`.
    #[error("object 0 is neither a number nor an object with a member `chunks`")]
    NotADescriptor,
    /// A member that is not of the expected type or range.
    #[error("member `{0}` of the descriptor has no valid value")]
    Member(&'static str),
    /// The number of hashes differs from the number of chunks, or of pages.
    #[error("the descriptor lists hashes of {listed} bytes for {chunks} chunks or pages")]
    HashCount {
        /// Length of the list in bytes.
        listed: usize,
        /// Number of chunks.
        chunks: u64,
    },
    /// The numbers contradict each other.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// The form of the descriptor on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DescriptorForm {
    /// An object with the member `chunks`.
    #[default]
    Object,
    /// A bare Number, one more than the number of chunks.
    Number,
}

impl fmt::Display for DescriptorForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "object",
            Self::Number => "number",
        })
    }
}

impl FromStr for DescriptorForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "object" => Ok(Self::Object),
            "number" => Ok(Self::Number),
            _ => Err(format!("{text:?} is not a descriptor form, choose `object` or `number`")),
        }
    }
}

/// The description of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Number of chunks and, as far as stated, chunk length and file size.
    pub layout: Layout,
    /// The files of a share of several; `None` for a single file.
    pub files: Option<FileList>,
    /// Name as stated by the provider, of the file or of the folder. It is untrusted text: see [`Descriptor::file_name`].
    pub name: Option<String>,
    /// Media type as stated by the provider.
    pub mime: Option<String>,
    /// SHA-256 of the whole file.
    pub sha256: Option<Digest256>,
    /// Hashes of the chunks, one for each chunk.
    pub chunk_hashes: Option<ChunkHashes>,
    /// Of a large file: the hashes of the pages of the highest level of its [`HashTree`].
    pub page_hashes: Option<ChunkHashes>,
    /// What the web server states about each of several files that come from it.
    pub validators: Option<Validators>,
}

impl Descriptor {
    /// A descriptor that states nothing but the layout.
    pub fn of_layout(layout: Layout) -> Self {
        Self {
            layout,
            files: None,
            name: None,
            mime: None,
            sha256: None,
            chunk_hashes: None,
            page_hashes: None,
            validators: None,
        }
    }

    /// Number of chunks.
    pub fn chunks(&self) -> u64 {
        self.layout.chunks()
    }

    /// The name, turned into a file name that is safe in any directory.
    pub fn file_name(&self) -> String {
        safe_file_name(self.name.as_deref().unwrap_or_default())
    }

    /// The bytes of the share that are file `index`, counted from 0; of a single file, all.
    pub fn file_range(&self, index: usize) -> Option<Range<u64>> {
        match &self.files {
            Some(files) => files.range(index),
            None if index == 0 => Some(0..self.layout.size()?),
            None => None,
        }
    }

    /// The hashes by which chunks are verified, as far as the descriptor has them.
    pub(super) fn known_hashes(&self) -> KnownHashes {
        let root = self.page_hashes.clone();
        match (&self.chunk_hashes, root.and_then(|root| HashTree::new(self.chunks(), root))) {
            (Some(list), _) => KnownHashes::List(list.clone()),
            (None, Some(tree)) => KnownHashes::Tree(tree),
            (None, None) => KnownHashes::None,
        }
    }

    /// Reads object 0 in either form.
    pub fn from_value(value: &Value) -> Result<(Self, DescriptorForm), DescriptorError> {
        if let Some(number) = value.as_f64() {
            let layout = Layout::new(chunks_of_number(number)?, None, None)?;
            return Ok((Self::of_layout(layout), DescriptorForm::Number));
        }
        Ok((Self::from_members(value)?, DescriptorForm::Object))
    }

    /// Object 0 in the given form. The Number form omits everything but the number of chunks.
    pub fn to_value(&self, form: DescriptorForm) -> Value {
        match form {
            DescriptorForm::Number => Value::Number((self.chunks() + 1) as f64),
            DescriptorForm::Object => self.to_object(),
        }
    }

    /// The digest that a link carries; the module documentation defines it.
    pub fn digest(&self) -> Digest256 {
        let mut hasher = Sha256::new_with_prefix(DIGEST_CONTEXT);
        let mut member = |tag: u8, value: &[u8]| {
            hasher.update([tag]);
            hasher.update((value.len() as u64).to_be_bytes());
            hasher.update(value);
        };
        member(1, &self.chunks().to_be_bytes());
        self.layout.size().iter().for_each(|size| member(2, &size.to_be_bytes()));
        let chunk_size = self.layout.chunk_size().map(u64::from);
        chunk_size.iter().for_each(|length| member(3, &length.to_be_bytes()));
        self.name.iter().for_each(|name| member(4, name.as_bytes()));
        self.mime.iter().for_each(|mime| member(5, mime.as_bytes()));
        self.sha256.iter().for_each(|sha256| member(6, &sha256.0));
        self.chunk_hashes.iter().for_each(|hashes| member(7, hashes.as_bytes()));
        self.files.iter().for_each(|files| member(8, &files.digested()));
        self.page_hashes.iter().for_each(|hashes| member(9, hashes.as_bytes()));
        self.validators.iter().for_each(|validators| member(10, &validators.digested()));
        Digest256::from_hasher(hasher)
    }

    fn from_members(value: &Value) -> Result<Self, DescriptorError> {
        let chunks = value.property("chunks").ok_or(DescriptorError::NotADescriptor)?;
        let chunks = whole(chunks, MAX_CHUNKS).ok_or(DescriptorError::Member("chunks"))?;
        let chunk_size = optional(value, "chunkSize", |v| whole(v, u32::MAX.into()))?;
        let chunk_size = chunk_size.map(|length| length as u32);
        let size = value.property("size").and_then(|v| whole(v, MAX_INDEX));
        // Without size and chunk length it is not known which bytes are whose.
        let files = value.property("files").and_then(FileList::from_value);
        let files = files.filter(|it| chunk_size.is_some() && Some(it.size()) == size);
        let stated = files.as_ref().and_then(|files| {
            Validators::from_value(value.property("validators")?, files.files().len())
        });
        Ok(Self {
            layout: Layout::new(chunks, chunk_size, size)?,
            files,
            validators: stated,
            name: value.property("name").and_then(text),
            mime: value.property("mime").and_then(text),
            sha256: optional(value, "sha256", |v| {
                Some(Digest256(v.as_bytes()?.as_ref().try_into().ok()?))
            })?,
            chunk_hashes: hashes_of(value, "hashes", chunks)?,
            page_hashes: match TreeShape::of(chunks) {
                Some(shape) => hashes_of(value, "pages", shape.root_hashes())?,
                None => None,
            },
        })
    }

    fn to_object(&self) -> Value {
        let number = |number: u64| Value::Number(number as f64);
        let bytes = |bytes: &[u8]| Value::ByteArray(bytes.to_vec().into());
        let mut members = vec![("chunks", number(self.chunks()))];
        let mut optional = |name, value: Option<Value>| {
            members.extend(value.map(|value| (name, value)));
        };
        optional("name", self.name.as_deref().map(Value::from));
        optional("size", self.layout.size().map(number));
        optional("chunkSize", self.layout.chunk_size().map(u64::from).map(number));
        optional("mime", self.mime.as_deref().map(Value::from));
        optional("sha256", self.sha256.map(|digest| bytes(&digest.0)));
        optional(
            "hashes",
            self.chunk_hashes.as_ref().map(|list| Value::ByteArray(list.as_bytes().clone())),
        );
        optional(
            "pages",
            self.page_hashes.as_ref().map(|list| Value::ByteArray(list.as_bytes().clone())),
        );
        optional("files", self.files.as_ref().map(FileList::to_value));
        optional("validators", self.validators.as_ref().map(Validators::to_value));
        Value::object(members)
    }
}

fn chunks_of_number(number: f64) -> Result<u64, DescriptorError> {
    let more_by_one = whole(&Value::Number(number), MAX_CHUNKS + 1);
    more_by_one.and_then(|n| n.checked_sub(1)).ok_or(DescriptorError::NotADescriptor)
}

/// A whole number from 0 to `most`.
fn whole(value: &Value, most: u64) -> Option<u64> {
    let number = value.as_f64()?;
    let fits = (0.0..=most as f64).contains(&number) && number.fract() == 0.0;
    fits.then_some(number as u64)
}

/// Text of acceptable length. Text of a Flash application that is too long is ignored.
fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| text.len() <= MAX_TEXT).map(str::to_owned)
}

/// A member that may be missing or null, but not invalid.
fn optional<T>(
    object: &Value,
    name: &'static str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<Option<T>, DescriptorError> {
    match object.property(name) {
        None => Ok(None),
        Some(value) if value.is_nothing() => Ok(None),
        Some(value) => read(value).map(Some).ok_or(DescriptorError::Member(name)),
    }
}

fn hashes_of(
    object: &Value,
    name: &'static str,
    chunks: u64,
) -> Result<Option<ChunkHashes>, DescriptorError> {
    let Some(bytes) = optional(object, name, |v| v.as_bytes().cloned())? else {
        return Ok(None);
    };
    let listed = bytes.len();
    if listed as u64 != chunks.saturating_mul(CHUNK_HASH_LEN as u64) {
        return Err(DescriptorError::HashCount { listed, chunks });
    }
    Ok(ChunkHashes::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::files::SharedFile;
    use super::super::hash::chunk_hash;
    use super::super::validators::Validator;
    use super::*;
    use crate::amf;

    fn full() -> Descriptor {
        Descriptor {
            layout: Layout::of_size(100_000, 65_536).unwrap(),
            files: None,
            name: Some("film.mp4".into()),
            mime: Some("video/mp4".into()),
            sha256: Some(Digest256::of(b"film")),
            chunk_hashes: Some(ChunkHashes::from_hashes([chunk_hash(b"a"), chunk_hash(b"b")])),
            page_hashes: None,
            validators: None,
        }
    }

    fn object(members: &[(&'static str, Value)]) -> Value {
        Value::object(members.to_vec())
    }

    fn over_the_wire(value: &Value) -> Value {
        amf::from_bytes(amf::to_bytes(value).unwrap()).unwrap()
    }

    fn read(value: &Value) -> Result<Descriptor, DescriptorError> {
        Descriptor::from_value(&over_the_wire(value)).map(|(descriptor, _)| descriptor)
    }

    #[test]
    fn the_object_form_round_trips_with_its_hashes() {
        let value = over_the_wire(&full().to_value(DescriptorForm::Object));
        assert_eq!(Descriptor::from_value(&value), Ok((full(), DescriptorForm::Object)));
        let empty = Descriptor::of_layout(Layout::of_size(0, 65_536).unwrap());
        assert_eq!(read(&empty.to_value(DescriptorForm::Object)), Ok(empty));
    }

    #[test]
    fn the_number_form_is_one_more_than_the_chunks() {
        let value = over_the_wire(&full().to_value(DescriptorForm::Number));
        assert_eq!(value.as_f64(), Some(3.0));
        let (descriptor, form) = Descriptor::from_value(&value).unwrap();
        assert_eq!((descriptor.chunks(), form), (2, DescriptorForm::Number));
        assert_eq!(descriptor.chunk_hashes, None);
        assert_eq!(read(&Value::Integer(6)).unwrap().chunks(), 5);
        assert_eq!(read(&Value::Number(1.0)).unwrap().chunks(), 0);
    }

    #[test]
    fn a_flash_descriptor_with_nothing_but_chunks_is_enough() {
        let minimal = object(&[("chunks", Value::Integer(42))]);
        assert_eq!(read(&minimal).unwrap().chunks(), 42);
        let typical = object(&[
            ("name", "a.mp4".into()),
            ("size", Value::Number(150_000.0)),
            ("chunks", Value::Integer(3)),
            ("author", "someone".into()),
        ]);
        let descriptor = read(&typical).unwrap();
        assert_eq!(descriptor.layout.size(), Some(150_000));
        assert_eq!(descriptor.layout.chunk_size(), None);
        assert_eq!(descriptor.file_name(), "a.mp4");
    }

    #[test]
    fn what_is_no_descriptor_is_refused() {
        for value in [
            Value::Null,
            Value::Boolean(true),
            Value::from("5"),
            Value::ByteArray(Bytes::from_static(b"\0")),
            object(&[("size", Value::Number(5.0))]),
            Value::array([1.0, 2.0]),
            Value::Number(0.0),
            Value::Number(-1.0),
            Value::Number(2.5),
            Value::Number(f64::NAN),
            Value::Number(f64::INFINITY),
            Value::Number(1e300),
            Value::Number((1u64 << 32) as f64 + 2.0),
        ] {
            assert_eq!(read(&value), Err(DescriptorError::NotADescriptor), "{value}");
        }
        assert_eq!(read(&Value::Number((1u64 << 32) as f64 + 1.0)).unwrap().chunks(), 1 << 32);
    }

    #[test]
    fn hostile_members_are_refused() {
        let with = |name, value| read(&object(&[("chunks", Value::Integer(2)), (name, value)]));
        for chunks in [-1.0, 0.5, 1e18, f64::NAN] {
            assert_eq!(
                with("chunks", Value::Number(chunks)),
                Err(DescriptorError::Member("chunks"))
            );
        }
        let bytes = |length| Value::ByteArray(vec![0; length].into());
        assert_eq!(with("sha256", bytes(31)), Err(DescriptorError::Member("sha256")));
        assert_eq!(with("sha256", "text".into()), Err(DescriptorError::Member("sha256")));
        for length in [0, 31, 33, 48] {
            let error = Err(DescriptorError::HashCount { listed: length, chunks: 2 });
            assert_eq!(with("hashes", bytes(length)), error);
        }
        assert_eq!(
            with("chunkSize", Value::Number(-5.0)),
            Err(DescriptorError::Member("chunkSize"))
        );
        assert!(matches!(with("chunkSize", Value::Number(0.0)), Err(DescriptorError::Layout(_))));
        assert!(matches!(with("chunkSize", Value::Number(1e9)), Err(DescriptorError::Layout(_))));
        assert!(matches!(with("size", Value::Number(1e15)), Err(DescriptorError::Layout(_))));
    }

    #[test]
    fn members_that_do_not_matter_do_no_harm() {
        let odd = object(&[
            ("chunks", Value::Integer(1)),
            ("name", Value::Integer(7)),
            ("mime", Value::from("x".repeat(5000))),
            ("size", "big".into()),
            ("sha256", Value::Null),
        ]);
        assert_eq!(read(&odd).unwrap(), Descriptor::of_layout(Layout::new(1, None, None).unwrap()));
        assert_eq!(read(&odd).unwrap().file_name(), "download");
    }

    #[test]
    fn the_name_cannot_leave_the_directory() {
        let mut hostile = full();
        hostile.name = Some("../../home/user/.bashrc".into());
        assert_eq!(hostile.file_name(), "_.._home_user_.bashrc");
    }

    #[test]
    fn the_digest_is_over_the_meaning() {
        // Written out by hand from the table in the module documentation.
        let mut minimal = b"rtmfp-share descriptor 1\0".to_vec();
        minimal.extend(b"\x01\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x01");
        minimal.extend(b"\x04\0\0\0\0\0\0\0\x01x");
        let mut descriptor = Descriptor::of_layout(Layout::new(1, None, None).unwrap());
        descriptor.name = Some("x".into());
        assert_eq!(descriptor.digest(), Digest256::of(&minimal));

        // A Flash member that passes the object on may reorder its members.
        let value = full().to_value(DescriptorForm::Object);
        let mut members = value.members().to_vec();
        members.reverse();
        let turned = over_the_wire(&Value::object(members));
        assert_eq!(read(&turned).unwrap().digest(), full().digest());
    }

    fn several() -> Descriptor {
        let file = |path: &str, size| SharedFile { path: path.into(), size };
        let files = vec![file("a.mp4", 60_000), file("empty", 0), file("subs/b.srt", 40_000)];
        Descriptor { files: Some(FileList::new(files).unwrap()), ..full() }
    }

    #[test]
    fn several_files_are_listed_with_their_places() {
        let value = over_the_wire(&several().to_value(DescriptorForm::Object));
        assert_eq!(Descriptor::from_value(&value), Ok((several(), DescriptorForm::Object)));
        assert_eq!(several().file_range(2), Some(60_000..100_000));
        assert_eq!((several().file_range(3), full().file_range(1)), (None, None));
        assert_eq!(full().file_range(0), Some(0..100_000));
        // A list that is not about this content belongs to another application.
        let other = Descriptor { layout: Layout::of_size(99_999, 65_536).unwrap(), ..several() };
        let read = read(&other.to_value(DescriptorForm::Object)).unwrap();
        assert_eq!(read.files, None);
        assert_ne!(read.digest(), other.digest());
    }

    #[test]
    fn what_a_web_server_states_is_listed_for_each_file() {
        let validator = |text: &str| Validator::of_header(text).unwrap();
        let stated = |count| Validators::new(vec![validator("\"1\""); count]);
        let list = Descriptor { validators: stated(3), ..several() };
        assert_eq!(read(&list.to_value(DescriptorForm::Object)), Ok(list.clone()));
        // One for each, or none.
        let wrong = Descriptor { validators: stated(2), ..several() };
        assert_eq!(read(&wrong.to_value(DescriptorForm::Object)), Ok(several()));
        let alone = Descriptor { validators: stated(1), ..full() };
        assert_eq!(read(&alone.to_value(DescriptorForm::Object)), Ok(full()));
        // Written out by hand from the table in the module documentation.
        let mut short = Descriptor::of_layout(Layout::new(1, None, None).unwrap());
        short.validators = Validators::new(vec![validator("t")]);
        let mut expected = b"rtmfp-share descriptor 1\0".to_vec();
        expected.extend(b"\x01\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x01");
        expected.extend(b"\x0a\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x01t");
        assert_eq!(short.digest(), Digest256::of(&expected));
    }

    #[test]
    fn the_digest_covers_the_files() {
        // Written out by hand from the table in the module documentation.
        let file = SharedFile { path: "é".into(), size: 1 };
        let mut descriptor = Descriptor::of_layout(Layout::new(1, None, None).unwrap());
        descriptor.files = Some(FileList::new(vec![file]).unwrap());
        let mut expected = b"rtmfp-share descriptor 1\0".to_vec();
        expected.extend(b"\x01\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x01");
        expected.extend(b"\x08\0\0\0\0\0\0\0\x12\0\0\0\0\0\0\0\x02\xc3\xa9\0\0\0\0\0\0\0\x01");
        assert_eq!(descriptor.digest(), Digest256::of(&expected));
    }

    #[test]
    fn a_large_file_lists_pages_of_hashes() {
        let pages = |count| ChunkHashes::from_hashes(vec![[7; 16]; count]);
        let large = Descriptor {
            layout: Layout::of_size(65_536 * 2000, 65_536).unwrap(),
            chunk_hashes: None,
            page_hashes: Some(pages(2)),
            ..full()
        };
        assert_eq!(read(&large.to_value(DescriptorForm::Object)), Ok(large.clone()));
        assert!(matches!(large.known_hashes(), KnownHashes::Tree(_)));
        let wrong = Descriptor { page_hashes: Some(pages(3)), ..large.clone() };
        let error = DescriptorError::HashCount { listed: 48, chunks: 2 };
        assert_eq!(read(&wrong.to_value(DescriptorForm::Object)), Err(error));
        // Small files have no pages, whatever is stated.
        let small = Descriptor { page_hashes: Some(pages(2)), ..full() };
        assert_eq!(read(&small.to_value(DescriptorForm::Object)), Ok(full()));
    }

    #[test]
    fn every_member_changes_the_digest() {
        let changes: [fn(&mut Descriptor); 9] = [
            |d| d.page_hashes = d.chunk_hashes.clone(),
            |d| d.files = several().files,
            |d| d.layout = Layout::of_size(100_001, 65_536).unwrap(),
            |d| d.layout = Layout::of_size(100_000, 65_535).unwrap(),
            |d| d.name = Some("film.mp5".into()),
            |d| d.name = None,
            |d| d.mime = None,
            |d| d.sha256 = Some(Digest256::of(b"other")),
            |d| d.chunk_hashes = None,
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut other = full();
            change(&mut other);
            assert_ne!(other.digest(), full().digest(), "change {n}");
        }
    }

    proptest! {
        #[test]
        fn any_number_is_read_without_panic(number in any::<f64>()) {
            if let Ok((descriptor, _)) = Descriptor::from_value(&Value::Number(number)) {
                prop_assert_eq!(descriptor.chunks() as f64 + 1.0, number);
            }
            let _ = read(&object(&[("chunks", Value::Number(number))]));
            let _ = read(&object(&[("chunks", Value::Integer(9)), ("size", Value::Number(number)), ("chunkSize", Value::Number(number))]));
        }
    }
}
