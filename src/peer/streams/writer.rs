//! [`FlvWriter`].

use super::PublishedStream;
use crate::flash::Message;
use crate::media::flv;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream};
use tokio::task::JoinHandle;

/// Bytes that wait to be published; then writing waits.
const PIPE: usize = 256 << 10;
/// Bytes that are taken at a time.
const PIECE: usize = 16 << 10;

/// An FLV that is written here is published. Shut it down to learn whether all of it was; the
/// stream ends then.
#[derive(Debug)]
pub struct FlvWriter {
    pipe: DuplexStream,
    publishing: JoinHandle<io::Result<PublishedStream>>,
    published: Option<PublishedStream>,
}

impl FlvWriter {
    pub(super) fn new(published: PublishedStream) -> Self {
        let (pipe, end) = tokio::io::duplex(PIPE);
        let publishing = tokio::spawn(publish(published, end));
        Self { pipe, publishing, published: None }
    }

    /// The stream, after a shutdown without an error; it goes on until it is dropped or closed.
    pub fn into_stream(self) -> Option<PublishedStream> {
        self.published
    }
}

/// Publishes the tags of an FLV until it ends.
async fn publish(
    published: PublishedStream,
    mut file: impl AsyncRead + Unpin,
) -> io::Result<PublishedStream> {
    let (mut reader, mut piece) = (flv::Reader::new(), vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece).await?;
        reader.push(&piece[..read]);
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        while let Some(tag) = reader.next_tag().map_err(invalid)? {
            published.write(Message::from(tag)).await.map_err(io::Error::other)?;
        }
        if read == 0 {
            return match reader.is_between_tags() {
                true => Ok(published),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}

impl AsyncWrite for FlvWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(Pin::new(&mut self.pipe).poll_shutdown(context))?;
        if self.published.is_none() {
            let done = std::task::ready!(Pin::new(&mut self.publishing).poll(context));
            self.published = Some(done.map_err(io::Error::other)??);
        }
        Poll::Ready(Ok(()))
    }
}
