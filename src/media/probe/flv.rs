//! The duration of an FLV: stated at its beginning, or the timestamp of its last tag.

use super::{HEAD, MAX_READ, Next};
use crate::media::flv::{Metadata, Reader, Tag, TagKind};
use std::ops::Range;
use std::time::Duration;

/// Bytes of the head of a tag, and of the length behind it.
const TAG_HEAD: u64 = 11;
const TRAILER: u64 = 4;

/// The steps of the search.
#[derive(Debug)]
pub(super) enum Search {
    /// The metadata, in so many bytes from the beginning.
    Beginning(u64),
    /// The length behind the last tag, which ends the file of this size.
    Trailer(u64),
    /// The head of the last tag, at this position.
    Last(u64),
}

impl Search {
    pub(super) const fn new() -> Self {
        Self::Beginning(HEAD)
    }

    pub(super) fn wants(&self) -> Range<u64> {
        match *self {
            Self::Beginning(len) => 0..len,
            Self::Trailer(size) => size - TRAILER..size,
            Self::Last(at) => at..at + TAG_HEAD,
        }
    }

    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        size: Option<u64>,
        metadata: &mut Option<Metadata>,
    ) -> Next {
        match *self {
            Self::Beginning(len) => {
                let found = match first_tag(bytes) {
                    // The list of keyframes may be long.
                    None if len < MAX_READ && bytes.len() as u64 >= len => {
                        *self = Self::Beginning(MAX_READ.min(len * 16));
                        return Next::More;
                    }
                    first => first.filter(|tag| tag.kind == TagKind::Script),
                };
                *metadata = found.and_then(|tag| Metadata::parse(&tag.data));
                let duration = metadata.as_ref().and_then(|metadata| metadata.duration);
                match (duration, size) {
                    (Some(duration), _) => Next::Found(duration),
                    (None, Some(size)) if size > TRAILER + TAG_HEAD => {
                        *self = Self::Trailer(size);
                        Next::More
                    }
                    (None, _) => Next::Nothing,
                }
            }
            Self::Trailer(size) => {
                let Some(len) = bytes.first_chunk::<4>() else { return Next::Nothing };
                let len = u64::from(u32::from_be_bytes(*len));
                match size.checked_sub(TRAILER + len).filter(|_| len >= TAG_HEAD) {
                    Some(at) => {
                        *self = Self::Last(at);
                        Next::More
                    }
                    None => Next::Nothing,
                }
            }
            Self::Last(_) => match *bytes {
                [8 | 9 | 18, _, _, _, t0, t1, t2, highest, 0, 0, 0, ..] => {
                    let time = u32::from_be_bytes([highest, t0, t1, t2]);
                    Next::Found(Duration::from_millis(time.into()))
                }
                _ => Next::Nothing,
            },
        }
    }
}

/// The first tag; `None` if it is not there as a whole.
fn first_tag(bytes: &[u8]) -> Option<Tag> {
    let mut reader = Reader::new();
    reader.push(bytes);
    reader.next_tag().ok().flatten()
}
