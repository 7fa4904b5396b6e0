//! The classic format: a header, then records of a header and a frame each.

use super::source::Source;
use super::{CaptureError, MAX_RECORD, Record};
use std::time::Duration;

const HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// Interface, protocol and direction behind the header of a record, in files of patched versions of
/// libpcap.
const MODIFIED_FIELDS: usize = 8;
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;
/// The bits of the network field with the link type; the others describe a checksum after the frame.
const LINK_TYPE: u32 = 0xffff;

/// The header of a file.
pub(super) struct Header {
    word: fn([u8; 4]) -> u32,
    /// Nanoseconds of the unit in which fractions of seconds are given.
    unit: u64,
    link: u32,
    /// Bytes of the header of a record.
    record_header: usize,
}

impl Header {
    /// Reads the header, unless the file is of another format.
    pub(super) fn read(source: &mut Source) -> Result<Option<Self>, CaptureError> {
        let Some(bytes) = source.peek(HEADER)?.first_chunk::<HEADER>().copied() else {
            return Ok(None);
        };
        let field = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let recognised = [u32::from_be_bytes as fn([u8; 4]) -> u32, u32::from_le_bytes]
            .into_iter()
            .find_map(|word| match word(field(0)) {
                MICROSECONDS => Some((word, 1000, RECORD_HEADER)),
                NANOSECONDS => Some((word, 1, RECORD_HEADER)),
                MODIFIED => Some((word, 1000, RECORD_HEADER + MODIFIED_FIELDS)),
                _ => None,
            });
        let Some((word, unit, record_header)) = recognised else { return Ok(None) };
        let link = word(field(20)) & LINK_TYPE;
        source.consume(HEADER);
        Ok(Some(Self { word, unit, link, record_header }))
    }

    /// The next record. `frame` is the number of the one before it.
    pub(super) fn next(
        &self,
        source: &mut Source,
        frame: u64,
    ) -> Result<Option<Record>, CaptureError> {
        let bytes = source.peek(RECORD_HEADER)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let header =
            *bytes.first_chunk::<RECORD_HEADER>().ok_or(CaptureError::Truncated { frame })?;
        let field =
            |at: usize| (self.word)([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let time = Duration::from_secs(field(0).into())
            + Duration::from_nanos(u64::from(field(4)) * self.unit);
        let len = usize::try_from(field(8)).unwrap_or(usize::MAX);
        if len > MAX_RECORD {
            return Err(CaptureError::Damaged { frame });
        }
        if source.peek(self.record_header + len)?.len() < self.record_header + len {
            return Err(CaptureError::Truncated { frame });
        }
        let missing = (field(12) as usize).saturating_sub(len);
        source.consume(self.record_header);
        Ok(Some(Record { time, link: self.link, data: source.consume(len), missing }))
    }
}
