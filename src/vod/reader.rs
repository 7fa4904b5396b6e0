//! [`FetchReader`]: a file as a stream of bytes while it is fetched.

use super::session::{ReaderToken, SessionError};
use super::{Fetch, StoreError};
use bytes::{Buf, Bytes};
use std::fmt;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

/// Reads a file while it is fetched: for a player, a pipe, an extractor.
///
/// A read waits until the chunk at its position has arrived, in whatever order chunks arrive. After
/// a seek to a part that is missing, that part is fetched before everything else; a reader that is
/// dropped no longer counts. A read fails if the fetch fails. Without chunk hashes, the bytes read are verified only
/// when the fetch is [complete](Fetch::completed).
pub struct FetchReader<'a> {
    fetch: &'a Fetch,
    token: ReaderToken,
    position: u64,
    /// The rest of the chunk at the position.
    chunk: Bytes,
    reading: Option<Reading<'a>>,
}

/// The bytes of a chunk from a position on; none beyond the end of the file.
type Reading<'a> = Pin<Box<dyn Future<Output = Result<Bytes, SessionError>> + Send + 'a>>;

impl Fetch {
    /// Reads the file from its beginning, while it is fetched.
    pub fn reader(&self) -> FetchReader<'_> {
        let token = ReaderToken::default();
        FetchReader { fetch: self, token, position: 0, chunk: Bytes::new(), reading: None }
    }
}

impl FetchReader<'_> {
    /// Moves to a position, at which the next read continues.
    fn move_to(&mut self, position: u64) {
        if position != self.position {
            (self.position, self.chunk, self.reading) = (position, Bytes::new(), None);
        }
    }
}

impl AsyncRead for FetchReader<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.chunk.is_empty() && buffer.remaining() > 0 {
            let (fetch, position) = (this.fetch, this.position);
            let token = &this.token;
            let reading = this
                .reading
                .get_or_insert_with(|| Box::pin(read_at(fetch, token.clone(), position)));
            let read = ready!(reading.as_mut().poll(cx));
            this.reading = None;
            this.chunk = read.map_err(io::Error::other)?;
        }
        let count = this.chunk.len().min(buffer.remaining());
        buffer.put_slice(&this.chunk[..count]);
        this.chunk.advance(count);
        this.position += count as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for FetchReader<'_> {
    /// [`SeekFrom::End`] fails while the size of the file is unknown.
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => this.position.checked_add_signed(offset),
            SeekFrom::End(offset) => {
                let size = this.fetch.progress().borrow().size;
                let unknown = || io::Error::other("the size of the file is not known yet");
                size.ok_or_else(unknown)?.checked_add_signed(offset)
            }
        };
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the file");
        this.move_to(position.ok_or_else(invalid)?);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

impl fmt::Debug for FetchReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchReader").field("position", &self.position).finish_non_exhaustive()
    }
}

/// The rest of the chunk at a position; empty beyond the end of the file.
async fn read_at(fetch: &Fetch, token: ReaderToken, position: u64) -> Result<Bytes, SessionError> {
    let layout = fetch.descriptor().await?.layout;
    if layout.chunks() == 0 {
        return Ok(Bytes::new());
    }
    let chunk_size = match layout.chunk_size() {
        _ if position == 0 => 1,
        Some(size) => u64::from(size),
        // All but the last chunk have the length of the first.
        None => (read_when_held(fetch, None, 1).await?.len() as u64).max(1),
    };
    let (before, offset) = (position / chunk_size, position % chunk_size);
    if before >= layout.chunks() {
        return Ok(Bytes::new());
    }
    let mut chunk = read_when_held(fetch, Some(&token), before + 1).await?;
    // A chunk has at most 2^32 bytes.
    chunk.advance(chunk.len().min(usize::try_from(offset).unwrap_or(usize::MAX)));
    Ok(chunk)
}

/// Reads a chunk as soon as it is held, perhaps for a reader, whose place it is.
async fn read_when_held(
    fetch: &Fetch,
    reader: Option<&ReaderToken>,
    index: u64,
) -> Result<Bytes, SessionError> {
    let mut progress = fetch.progress();
    loop {
        progress.borrow_and_update();
        let read = match reader {
            Some(reader) => fetch.read_in_order(reader.clone(), index).await,
            None => fetch.read_chunk(index).await,
        };
        match read {
            Err(SessionError::Store(error)) if matches!(*error, StoreError::NotHeld { .. }) => {}
            read => return read,
        }
        tokio::select! {
            changed = progress.changed() => changed.map_err(|_| SessionError::Stopped)?,
            // A complete file holds every chunk: the next attempt succeeds.
            ended = fetch.completed() => drop(ended?),
        }
    }
}
