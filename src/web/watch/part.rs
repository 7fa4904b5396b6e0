//! [`Part`]: one file of a share as a reader of its own.

use crate::vod::{Fetch, FetchReader};
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeek, ReadBuf, Take};

/// Reads a range of a share, whose positions count from the beginning of the range.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Its limit is what is left of the range.
    reader: Take<FetchReader<'a>>,
    range: Range<u64>,
}

impl<'a> Part<'a> {
    /// A reader at the beginning of the range.
    pub(super) fn of(fetch: &'a Fetch, range: Range<u64>) -> Self {
        let mut part = Self { reader: fetch.reader().take(0), range };
        // A seek from the start never fails.
        let _ = part.move_to(part.range.start);
        part
    }

    fn move_to(&mut self, position: u64) -> io::Result<()> {
        self.reader.set_limit(self.range.end.saturating_sub(position));
        Pin::new(self.reader.get_mut()).start_seek(SeekFrom::Start(position))
    }

    /// In the share.
    fn position(&self) -> u64 {
        self.range.end.saturating_sub(self.reader.limit())
    }
}

impl AsyncRead for Part<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().reader).poll_read(cx, buffer)
    }
}

impl AsyncSeek for Part<'_> {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        let position = match to {
            SeekFrom::Start(position) => this.range.start.checked_add(position),
            SeekFrom::Current(offset) => this.position().checked_add_signed(offset),
            SeekFrom::End(offset) => this.range.end.checked_add_signed(offset),
        };
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the file");
        this.move_to(position.filter(|position| *position >= this.range.start).ok_or_else(invalid)?)
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position() - self.range.start))
    }
}
