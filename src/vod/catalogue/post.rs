//! [`Post`]: a part of a catalogue as it is posted.

use crate::amf::{self, Value};
use crate::range::MAX_INDEX;
use crate::vod::descriptor::MAX_TEXT;
use crate::vod::{Digest256, Integrity, LinkKey, PublicKey, ShareLink};
use bytes::Bytes;

/// The longest link of an entry, in bytes.
pub const MAX_ENTRY_LINK: usize = 4096;
/// The longest MIME type of an entry, in bytes.
const MAX_MIME: usize = 255;
/// The longest signed body, in bytes.
const MAX_BODY: usize = 32 << 10;
/// Entries are put into one post up to so many bytes; a single one is always smaller than the rest.
const PAGE: usize = 16 << 10;
/// The most entries of a post, and the most that it says are gone.
const MAX_IN_POST: usize = 256;
/// Bytes of an entry beside its texts, about.
const OVERHEAD: usize = 64;

/// The largest value that is posted or accepted: body, signature, and AMF around them.
pub(super) const MAX_VALUE: usize = MAX_BODY + 256;

const CONTEXT: &[u8] = b"rtmfp-share catalogue 1\0";

/// A share in a catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the file or folder. Not safe as a path.
    pub name: String,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its MIME type.
    pub mime: Option<String>,
    /// The link of the share, with a hash of its content.
    pub link: ShareLink,
}

/// A part of a catalogue at a time of its publisher.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Post {
    /// When it was posted, in milliseconds by the publisher's clock, which never goes back.
    pub time: u64,
    /// The number of entries that the catalogue has by then.
    pub total: u32,
    /// Entries.
    pub entries: Vec<Entry>,
    /// [Entries](Entry::id) that are no longer shared.
    pub gone: Vec<Digest256>,
}

/// Why a posted value is no part of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// Not of the form of a post, or beyond its bounds.
    #[error("{0} of a post to a catalogue is not valid")]
    Malformed(&'static str),
    /// Not signed by the publisher for this catalogue.
    #[error("a post is not signed by the publisher of the catalogue")]
    NotSigned,
}

impl Entry {
    /// Its identity: that of its link's [download](ShareLink::identity).
    pub fn id(&self) -> Digest256 {
        self.link.identity()
    }

    /// True if it can be posted.
    pub fn is_valid(&self) -> bool {
        self.name.len() <= MAX_TEXT
            && self.mime.as_ref().is_none_or(|mime| mime.len() <= MAX_MIME)
            && self.size.is_none_or(|size| size <= MAX_INDEX)
            && self.link.integrity != Integrity::None
            && self.link.to_string().len() <= MAX_ENTRY_LINK
    }

    /// Bytes of its texts, about.
    pub(super) fn weight(&self) -> usize {
        let mime = self.mime.as_ref().map_or(0, String::len);
        OVERHEAD + self.name.len() + mime + self.link.to_string().len()
    }

    fn to_value(&self) -> Value {
        let mut members = vec![
            ("name", Value::from(self.name.as_str())),
            ("link", Value::from(self.link.to_string().as_str())),
        ];
        members.extend(self.size.map(|size| ("size", Value::Number(size as f64))));
        members.extend(self.mime.as_deref().map(|mime| ("mime", Value::from(mime))));
        Value::object(members)
    }

    fn from_value(value: &Value) -> Option<Self> {
        let text = |name, most| {
            value.property(name)?.as_str().filter(|text| text.len() <= most).map(str::to_owned)
        };
        let size = match value.property("size") {
            None => None,
            Some(size) => Some(whole(size, MAX_INDEX)?),
        };
        let entry = Self {
            name: text("name", MAX_TEXT)?,
            size,
            mime: text("mime", MAX_MIME),
            link: text("link", MAX_ENTRY_LINK)?.parse().ok()?,
        };
        entry.is_valid().then_some(entry)
    }
}

/// A whole number from 0 to `most`.
fn whole(value: &Value, most: u64) -> Option<u64> {
    let number = value.as_f64()?;
    let fits = (0.0..=most as f64).contains(&number) && number.fract() == 0.0;
    fits.then_some(number as u64)
}

impl Post {
    /// Posts with all of these, each small enough.
    pub(super) fn pages(
        time: u64,
        total: u32,
        entries: Vec<Entry>,
        gone: Vec<Digest256>,
    ) -> Vec<Self> {
        let empty = || Self { time, total, ..Self::default() };
        let (mut pages, mut page, mut weight) = (Vec::new(), empty(), 0);
        for entry in entries {
            let more = entry.weight();
            if weight + more > PAGE || page.entries.len() == MAX_IN_POST {
                pages.push(std::mem::replace(&mut page, empty()));
                weight = 0;
            }
            weight += more;
            page.entries.push(entry);
        }
        if !page.entries.is_empty() {
            pages.push(page);
        }
        let of_gone = gone.chunks(MAX_IN_POST).map(|gone| Self { gone: gone.to_vec(), ..empty() });
        pages.extend(of_gone);
        pages
    }

    /// The value that is posted in the group of this groupspec. `None` if it is beyond the bounds.
    pub fn signed(&self, key: &LinkKey, groupspec: &str) -> Option<Value> {
        let body = amf::to_bytes(&self.to_value()).ok().filter(|body| body.len() <= MAX_BODY)?;
        let signature = key.sign_bytes(&signed_bytes(groupspec, &body));
        Some(Value::object([
            ("catalogue", Value::ByteArray(body)),
            ("signature", Value::ByteArray(Bytes::copy_from_slice(&signature))),
        ]))
    }

    /// Reads a value that was posted in the group of this groupspec.
    ///
    /// # Errors
    ///
    /// It is not signed by `key`, not valid, or too large.
    pub fn read(value: &Value, key: &PublicKey, groupspec: &str) -> Result<Self, PostError> {
        let bytes = |name| value.property(name).and_then(Value::as_bytes);
        let body = bytes("catalogue").filter(|body| body.len() <= MAX_BODY);
        let body = body.ok_or(PostError::Malformed("the body"))?;
        let signature = bytes("signature").and_then(|it| it.as_ref().try_into().ok());
        let signature: [u8; 64] = signature.ok_or(PostError::Malformed("the signature"))?;
        if !key.has_signed(&signed_bytes(groupspec, body), &signature) {
            return Err(PostError::NotSigned);
        }
        let body = amf::from_bytes(body.clone()).map_err(|_| PostError::Malformed("the body"))?;
        Self::from_value(&body)
    }

    fn to_value(&self) -> Value {
        let gone = self.gone.iter().map(|id| Value::ByteArray(Bytes::copy_from_slice(&id.0)));
        Value::object([
            ("time", Value::Number(self.time as f64)),
            ("total", Value::Number(self.total.into())),
            ("entries", Value::array(self.entries.iter().map(Entry::to_value))),
            ("gone", Value::array(gone)),
        ])
    }

    /// Entries that this version does not understand are left out: they may be those of a later one.
    fn from_value(value: &Value) -> Result<Self, PostError> {
        let number = |name, most| {
            let number = value.property(name).and_then(|value| whole(value, most));
            number.ok_or(PostError::Malformed(name))
        };
        let list = |name| {
            let list = value.property(name).and_then(Value::elements).unwrap_or_default();
            if list.len() <= MAX_IN_POST { Ok(list) } else { Err(PostError::Malformed(name)) }
        };
        let id = |value: &Value| Some(Digest256(value.as_bytes()?.as_ref().try_into().ok()?));
        Ok(Self {
            time: number("time", MAX_INDEX)?,
            total: u32::try_from(number("total", u32::MAX.into())?).unwrap_or(u32::MAX),
            entries: list("entries")?.iter().filter_map(Entry::from_value).collect(),
            gone: list("gone")?.iter().filter_map(id).collect(),
        })
    }
}

/// What is signed: a post is for one group alone.
fn signed_bytes(groupspec: &str, body: &[u8]) -> Vec<u8> {
    [CONTEXT, &Digest256::of(groupspec.as_bytes()).0, body].concat()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    const GROUP: &str = "G:0103010c050e66696c6d00";

    pub(in crate::vod::catalogue) fn entry(name: &str) -> Entry {
        let digest = Digest256::of(name.as_bytes());
        let link =
            format!("rtmfp-share://192.0.2.7/1/group=G:0102010c050e66696c6d00/descriptor={digest}");
        let link = link.parse().unwrap();
        Entry { name: name.into(), size: Some(5), mime: None, link }
    }

    fn key() -> LinkKey {
        LinkKey::new([7; 32])
    }

    fn post() -> Post {
        let mut film = entry("film.mp4");
        film.mime = Some("video/mp4".into());
        let unknown = Entry { size: None, ..entry("folder") };
        let gone = vec![Digest256::of(b"gone")];
        Post { time: 1_700_000_000_000, total: 2, entries: vec![film, unknown], gone }
    }

    fn over_the_wire(value: &Value) -> Value {
        amf::from_bytes(amf::to_bytes(value).unwrap()).unwrap()
    }

    fn read(value: &Value) -> Result<Post, PostError> {
        Post::read(&over_the_wire(value), &key().public(), GROUP)
    }

    #[test]
    fn a_post_is_read_as_it_was_written() {
        assert_eq!(read(&post().signed(&key(), GROUP).unwrap()), Ok(post()));
    }

    #[test]
    fn only_the_publisher_posts_and_only_for_this_group() {
        let by_another = post().signed(&LinkKey::new([8; 32]), GROUP).unwrap();
        assert_eq!(read(&by_another), Err(PostError::NotSigned));
        let elsewhere = post().signed(&key(), "G:0103010c050e66696c6e00").unwrap();
        assert_eq!(read(&elsewhere), Err(PostError::NotSigned));
        let value = post().signed(&key(), GROUP).unwrap();
        let mut body = value.property("catalogue").unwrap().as_bytes().unwrap().to_vec();
        *body.last_mut().unwrap() ^= 1;
        let changed = Value::object([
            ("catalogue", Value::ByteArray(body.into())),
            ("signature", value.property("signature").unwrap().clone()),
        ]);
        assert_eq!(read(&changed), Err(PostError::NotSigned));
    }

    #[test]
    fn hostile_values_are_refused() {
        for value in [
            Value::Null,
            Value::from("text"),
            Value::object([("catalogue", Value::from("text"))]),
            Value::object([("catalogue", Value::ByteArray(vec![0; MAX_BODY + 1].into()))]),
            Value::object([
                ("catalogue", Value::ByteArray(vec![0].into())),
                ("signature", Value::ByteArray(vec![0; 63].into())),
            ]),
        ] {
            assert!(matches!(read(&value), Err(PostError::Malformed(_))), "{value}");
        }
    }

    /// What the publisher itself signs may be hostile as well.
    fn read_body(body: &Value) -> Result<Post, PostError> {
        let body = amf::to_bytes(body).unwrap();
        let signature = key().sign_bytes(&signed_bytes(GROUP, &body));
        read(&Value::object([
            ("catalogue", Value::ByteArray(body)),
            ("signature", Value::ByteArray(signature.to_vec().into())),
        ]))
    }

    #[test]
    fn bounds_hold_for_the_publisher_too() {
        let body = |name: &'static str, value: Value| {
            let mut members = vec![("time", Value::Number(5.0)), ("total", Value::Number(1.0))];
            members.retain(|(known, _)| *known != name);
            members.push((name, value));
            read_body(&Value::object(members))
        };
        assert!(body("other", Value::Null).is_ok());
        for time in [-1.0, 0.5, f64::NAN, 1e300] {
            assert_eq!(body("time", Value::Number(time)), Err(PostError::Malformed("time")));
        }
        let many = Value::array(vec![Value::Null; MAX_IN_POST + 1]);
        assert_eq!(body("entries", many.clone()), Err(PostError::Malformed("entries")));
        assert_eq!(body("gone", many), Err(PostError::Malformed("gone")));
        let left_out = |change: fn(&mut Entry)| {
            let mut changed = entry("film");
            change(&mut changed);
            let found = body("entries", Value::array([changed.to_value(), entry("b").to_value()]));
            assert_eq!(found.unwrap().entries, [entry("b")]);
        };
        left_out(|entry| entry.name = "x".repeat(MAX_TEXT + 1));
        left_out(|entry| entry.size = Some(u64::MAX));
        left_out(|entry| entry.link.integrity = Integrity::None);
        left_out(|entry| entry.link.name = Some("x".repeat(MAX_ENTRY_LINK)));
    }

    #[test]
    fn pages_are_small_and_have_everything() {
        let mut entries: Vec<Entry> = (0..500).map(|n| entry(&format!("film {n}"))).collect();
        entries[3].name = "x".repeat(MAX_TEXT);
        entries[4].link.name = Some("x".repeat(3500));
        let gone: Vec<_> = (0..600u32).map(|n| Digest256::of(&n.to_be_bytes())).collect();
        let pages = Post::pages(9, 500, entries.clone(), gone.clone());
        let read: Vec<Post> =
            pages.iter().map(|page| read(&page.signed(&key(), GROUP).unwrap()).unwrap()).collect();
        assert_eq!(read, pages);
        assert!(read.iter().flat_map(|page| &page.entries).eq(&entries));
        assert!(read.iter().flat_map(|page| &page.gone).eq(&gone));
        for page in &pages {
            let value = page.signed(&key(), GROUP).unwrap();
            assert!(amf::to_bytes(&value).unwrap().len() <= PAGE + MAX_ENTRY_LINK);
        }
    }

    proptest! {
        #[test]
        fn any_signed_bytes_are_read_without_panic(body: Vec<u8>) {
            let signature = key().sign_bytes(&signed_bytes(GROUP, &body));
            let value = Value::object([
                ("catalogue", Value::ByteArray(body.into())),
                ("signature", Value::ByteArray(signature.to_vec().into())),
            ]);
            let _ = read(&value);
        }
    }
}
