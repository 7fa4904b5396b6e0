//! The bytes of a capture file, decompressed if need be, as a window that moves forward.

use super::CaptureError;
use flate2::read::MultiGzDecoder;
use std::io::{Cursor, ErrorKind, Read};
use std::ops::Range;

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Bytes that are read at a time. A multiple of what fits, so that little is moved.
const BUFFER: usize = 4 * super::MAX_RECORD;

pub(super) struct Source {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// The bytes of the buffer that are not consumed.
    window: Range<usize>,
    /// Bytes that were consumed.
    position: u64,
    /// A compressed file that ended too early.
    cut: bool,
}

impl Source {
    pub(super) fn open(mut file: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let mut magic = Vec::with_capacity(GZIP.len());
        file.by_ref().take(GZIP.len() as u64).read_to_end(&mut magic).map_err(CaptureError::Io)?;
        let compressed = magic == GZIP;
        let whole = Cursor::new(magic).chain(file);
        let reader: Box<dyn Read + Send> =
            if compressed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        Ok(Self { reader, buffer: vec![0; BUFFER], window: 0..0, position: 0, cut: false })
    }

    /// The whole buffer: ranges of records refer to it.
    pub(super) fn data(&self) -> &[u8] {
        &self.buffer
    }

    /// Bytes that were consumed so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// True if the compressed file was found to end too early.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// The next `len` bytes, which stay. Fewer are there only at the end of the file.
    pub(super) fn peek(&mut self, len: usize) -> Result<&[u8], CaptureError> {
        let len = len.min(BUFFER);
        if self.window.len() < len {
            self.refill(len)?;
        }
        let end = self.window.end.min(self.window.start + len);
        Ok(&self.buffer[self.window.start..end])
    }

    /// Skips bytes that were peeked at, and returns their range in [`data`](Self::data).
    pub(super) fn consume(&mut self, len: usize) -> Range<usize> {
        let start = self.window.start;
        self.window.start = (start + len).min(self.window.end);
        self.position += (self.window.start - start) as u64;
        start..self.window.start
    }

    /// Skips any number of bytes. Returns whether all of them were there.
    pub(super) fn skip(&mut self, mut len: usize) -> Result<bool, CaptureError> {
        while len > 0 {
            let step = self.peek(len.min(BUFFER))?.len();
            if step == 0 {
                return Ok(false);
            }
            self.consume(step);
            len -= step;
        }
        Ok(true)
    }

    fn refill(&mut self, len: usize) -> Result<(), CaptureError> {
        self.buffer.copy_within(self.window.clone(), 0);
        self.window = 0..self.window.len();
        while self.window.len() < len {
            match self.reader.read(&mut self.buffer[self.window.end..]) {
                Ok(0) => break,
                Ok(read) => self.window.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.cut = true;
                    break;
                }
                Err(error) => return Err(CaptureError::Io(error)),
            }
        }
        Ok(())
    }
}
