//! FLV: the file format of Flash video (Adobe Flash Video File Format Specification 10.1, Annex E).
//!
//! A file is a header and tags, each followed by its length:
//!
//! ```text
//! 'F' 'L' 'V' 01 | flags (1) | length of the header (4) | 00 00 00 00 type (1) | length (3) |
//! timestamp (3), its highest byte (1) | stream 000000 | data | 11 + length (4)
//! ```
//!
//! [`Reader`] takes a file in pieces of any length, as from a pipe, and [`Tag::encode`] writes one.
//! The data of a tag are the payload of an RTMP message. [`VideoPacket`], [`AudioPacket`] and
//! [`Metadata`] are what is in them; [`find_tag`] finds the tags after a jump into the middle of a file.

mod metadata;
mod packet;
mod reader;
mod resync;

pub use metadata::{Keyframe, MAX_KEYFRAMES, Metadata};
pub use packet::{AudioPacket, VideoPacket};
pub use reader::Reader;
pub use resync::find_tag;

use bytes::Bytes;
use thiserror::Error;

/// The longest data of a tag: their length has three bytes.
pub const MAX_DATA: usize = 0xff_ff_ff;

/// Bytes of a tag before its data.
const TAG_HEADER: usize = 11;

/// The kind of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// Audio data with its codec header.
    Audio,
    /// Video data with its codec header.
    Video,
    /// The name of a handler and values in AMF0, such as `onMetaData`.
    Script,
}

impl TagKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Script),
            _ => None,
        }
    }
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The kind of the data.
    pub kind: TagKind,
    /// Milliseconds, modulo 2³².
    pub timestamp: u32,
    /// At most [`MAX_DATA`] bytes.
    pub data: Bytes,
}

/// Why bytes are not FLV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FlvError {
    /// The file does not begin with `FLV`.
    #[error(
        "this is no FLV: it does not begin with the letters FLV (ffmpeg makes one with -f flv)"
    )]
    NotFlv,
    /// A version other than 1.
    #[error("FLV of version {0}, which is not known")]
    Version(u8),
    /// The header announces a length that cannot be.
    #[error("the header of the FLV is {0} bytes long by its own account")]
    HeaderLength(u32),
    /// Something else than a tag stands where one has to.
    #[error("the FLV is damaged at byte {at}: no tag begins with {byte:#04x}")]
    NotATag {
        /// The position in the file, in bytes.
        at: u64,
        /// What stands there.
        byte: u8,
    },
}

/// The data of a tag are longer than [`MAX_DATA`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} bytes are too many for a tag of an FLV")]
pub struct TagTooLong(pub usize);

/// The beginning of a file: its header and the length of no tag.
pub fn header(has_audio: bool, has_video: bool) -> [u8; 13] {
    let flags = u8::from(has_audio) << 2 | u8::from(has_video);
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
}

impl Tag {
    /// Appends the tag and its length.
    ///
    /// # Errors
    ///
    /// [`TagTooLong`]; nothing is appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), TagTooLong> {
        let len = self.data.len();
        let Some(length) = u32::try_from(len).ok().filter(|_| len <= MAX_DATA) else {
            return Err(TagTooLong(len));
        };
        let [highest, time @ ..] = self.timestamp.to_be_bytes();
        out.push(self.kind.byte());
        out.extend_from_slice(&length.to_be_bytes()[1..]);
        out.extend_from_slice(&time);
        out.extend_from_slice(&[highest, 0, 0, 0]);
        out.extend_from_slice(&self.data);
        out.extend_from_slice(&(length + TAG_HEADER as u32).to_be_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag() -> impl Strategy<Value = Tag> {
        const KINDS: [TagKind; 3] = [TagKind::Audio, TagKind::Video, TagKind::Script];
        let data = proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        (proptest::sample::select(&KINDS[..]), any::<u32>(), data)
            .prop_map(|(kind, timestamp, data)| Tag { kind, timestamp, data })
    }

    fn file(tags: &[Tag]) -> Vec<u8> {
        let mut out = header(true, true).to_vec();
        tags.iter().for_each(|tag| tag.encode(&mut out).unwrap());
        out
    }

    fn read(reader: &mut Reader) -> Result<Vec<Tag>, FlvError> {
        std::iter::from_fn(|| reader.next_tag().transpose()).collect()
    }

    #[test]
    fn a_tag_byte_for_byte() {
        let data = Bytes::from_static(&[0xaf, 1, 2]);
        let tag = Tag { kind: TagKind::Audio, timestamp: 0x0102_0304, data };
        let mut out = Vec::new();
        tag.encode(&mut out).unwrap();
        let head = [8, 0, 0, 3, 2, 3, 4, 1, 0, 0, 0];
        assert_eq!(out, [&head[..], &[0xaf, 1, 2], &[0, 0, 0, 14]].concat());
    }

    #[test]
    fn a_tag_that_is_too_long_is_not_written() {
        let data = Bytes::from(vec![0; MAX_DATA + 1]);
        let tag = Tag { kind: TagKind::Video, timestamp: 0, data };
        let mut out = Vec::new();
        assert_eq!(tag.encode(&mut out), Err(TagTooLong(MAX_DATA + 1)));
        assert!(out.is_empty());
    }

    #[test]
    fn other_files_are_named_as_such() {
        let mut reader = Reader::new();
        reader.push(b"\0\0\0\x20ftypisom");
        assert_eq!(reader.next_tag(), Err(FlvError::NotFlv));
        let mut reader = Reader::new();
        reader.push(b"FLV\x02\x05\0\0\0\x09");
        assert_eq!(reader.next_tag(), Err(FlvError::Version(2)));
        let mut reader = Reader::new();
        reader.push(b"FLV\x01\x05\0\0\0\x08");
        assert_eq!(reader.next_tag(), Err(FlvError::HeaderLength(8)));
    }

    #[test]
    fn damage_is_found_where_it_is() {
        let tag = Tag { kind: TagKind::Video, timestamp: 40, data: Bytes::from_static(b"abc") };
        let mut bytes = file(&[tag.clone(), tag.clone()]);
        let second = 13 + TAG_HEADER + 3 + 4;
        bytes[second] = 0x77;
        let mut reader = Reader::new();
        reader.push(&bytes);
        assert_eq!(reader.next_tag(), Ok(Some(tag)));
        assert_eq!(reader.next_tag(), Err(FlvError::NotATag { at: second as u64, byte: 0x77 }));
    }

    #[test]
    fn encrypted_and_reserved_tags_are_skipped() {
        let tag = Tag { kind: TagKind::Video, timestamp: 40, data: Bytes::from_static(b"abc") };
        let mut bytes = file(&[tag.clone(), tag.clone(), tag.clone()]);
        bytes[13] |= 0x20;
        bytes[13 + 18] |= 0x80;
        let mut reader = Reader::new();
        reader.push(&bytes);
        assert_eq!(read(&mut reader), Ok(vec![tag.clone(), tag][..1].to_vec()));
        assert!(reader.is_between_tags());
    }

    #[test]
    fn a_longer_header_is_skipped() {
        let tag = Tag { kind: TagKind::Script, timestamp: 0, data: Bytes::from_static(b"x") };
        let mut bytes = b"FLV\x01\x04\0\0\0\x0c???\0\0\0\0".to_vec();
        tag.encode(&mut bytes).unwrap();
        let mut reader = Reader::new();
        reader.push(&bytes);
        assert_eq!(read(&mut reader), Ok(vec![tag]));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_in_pieces_of_any_length(
            tags in proptest::collection::vec(tag(), 0..8),
            piece in 1..400_usize,
        ) {
            let bytes = file(&tags);
            let mut reader = Reader::new();
            let mut found = Vec::new();
            for piece in bytes.chunks(piece) {
                reader.push(piece);
                found.extend(read(&mut reader).unwrap());
            }
            prop_assert_eq!(found, tags);
            prop_assert!(reader.is_between_tags());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new();
            reader.push(b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
            reader.push(&bytes);
            let _ = read(&mut reader);
        }
    }
}
