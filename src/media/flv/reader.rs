//! [`Reader`].

use super::{FlvError, TAG_HEADER, Tag, TagKind};
use bytes::{Buf, BytesMut};

/// Bytes of the header without the length of no tag.
const HEADER: usize = 9;
/// The longest header that is skipped.
const MAX_HEADER: u32 = 64 << 10;
/// Bytes after each tag: its length. They are not compared, as players do not: some writers leave
/// 0.
const TRAILER: usize = 4;
/// The kind of a tag without the bits that say that it is encrypted or reserved.
pub(super) const KIND: u8 = 0x1f;

/// Takes a file in pieces and returns its tags. It holds at most one tag and the last piece.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: BytesMut,
    /// The header was read.
    has_begun: bool,
    /// Bytes to skip before the next tag.
    skip: usize,
    /// The position of `bytes` in the file.
    at: u64,
}

impl Reader {
    /// A reader before the beginning of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader before the tag at this position of a file.
    pub fn at_tag(position: u64) -> Self {
        Self { has_begun: true, at: position, ..Self::default() }
    }

    /// Adds the next bytes of the file. Take all tags before the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// True if nothing of an unfinished tag is there: where the file ends here, it is complete.
    pub fn is_between_tags(&self) -> bool {
        self.has_begun && self.bytes.is_empty() && self.skip == 0
    }

    /// The next tag; `None` if more bytes are needed. Encrypted tags are skipped.
    ///
    /// # Errors
    ///
    /// [`FlvError`]: the file is something else, or is damaged here. There is nothing to be read
    /// after that.
    pub fn next_tag(&mut self) -> Result<Option<Tag>, FlvError> {
        loop {
            self.drop_skipped();
            if self.skip > 0 {
                return Ok(None);
            }
            if !self.has_begun {
                if !self.begin()? {
                    return Ok(None);
                }
                continue;
            }
            let Some(&[first, l0, l1, l2, t0, t1, t2, highest, ..]) =
                self.bytes.first_chunk::<TAG_HEADER>()
            else {
                return Ok(None);
            };
            let Some(kind) = TagKind::from_byte(first & KIND) else {
                return Err(FlvError::NotATag { at: self.at, byte: first });
            };
            let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            if self.bytes.len() < TAG_HEADER + len {
                return Ok(None);
            }
            self.advance(TAG_HEADER);
            let data = self.bytes.split_to(len).freeze();
            self.at += len as u64;
            self.skip = TRAILER;
            self.drop_skipped();
            if first & !KIND == 0 {
                let timestamp = u32::from_be_bytes([highest, t0, t1, t2]);
                return Ok(Some(Tag { kind, timestamp, data }));
            }
        }
    }

    /// Reads the header. `false` if more bytes are needed.
    fn begin(&mut self) -> Result<bool, FlvError> {
        let known = &self.bytes[..self.bytes.len().min(3)];
        if !b"FLV".starts_with(known) {
            return Err(FlvError::NotFlv);
        }
        let Some(&[_, _, _, version, _, l0, l1, l2, l3]) = self.bytes.first_chunk::<HEADER>()
        else {
            return Ok(false);
        };
        if version != 1 {
            return Err(FlvError::Version(version));
        }
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if !(HEADER as u32..=MAX_HEADER).contains(&length) {
            return Err(FlvError::HeaderLength(length));
        }
        self.has_begun = true;
        self.skip = length as usize + TRAILER;
        Ok(true)
    }

    fn drop_skipped(&mut self) {
        let now = self.skip.min(self.bytes.len());
        self.advance(now);
        self.skip -= now;
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
        self.at += bytes as u64;
    }
}
