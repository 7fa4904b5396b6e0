//! [`FlvReader`].

use super::PlayedStream;
use super::recorder::{Missing, Recorder};
use crate::flash::stream::{NetStreamError, NetStreamEvent};
use crate::peer::RecvError;
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};

/// An FLV of a stream that is played. It begins with metadata, codec configuration and a key frame,
/// its timestamps at 0, and ends when the stream does; what was missed is a gap.
#[derive(Debug)]
pub struct FlvReader {
    played: PlayedStream,
    recorder: Recorder,
    bytes: Vec<u8>,
    /// How many of `bytes` were read.
    read: usize,
    is_connected: bool,
    has_ended: bool,
    failure: Option<NetStreamError>,
    missed: u64,
}

impl FlvReader {
    pub(super) fn new(played: PlayedStream) -> Self {
        let recorder = Recorder::default();
        Self {
            played,
            recorder,
            bytes: Vec::new(),
            read: 0,
            is_connected: false,
            has_ended: false,
            failure: None,
            missed: 0,
        }
    }

    /// The stream.
    pub fn stream(&self) -> &PlayedStream {
        &self.played
    }

    /// The length of the file so far.
    pub fn position(&self) -> Duration {
        Duration::from_millis(self.recorder.position().into())
    }

    /// What is waited for before anything can be read; `None` while the stream is recorded.
    pub fn missing(&self) -> Option<Missing> {
        self.recorder.missing()
    }

    /// True if the peer or the server that has the stream was reached.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Why the stream ended, if it did not end in order: its publisher, for example, is gone.
    pub fn failure(&self) -> Option<&NetStreamError> {
        self.failure.as_ref()
    }

    /// Messages that were dropped because this was read too slowly.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The next bytes, whole tags always: a file that ends after them is complete. `None` at the
    /// end. Cancel safe. Not to be mixed with reads of less than there is.
    pub async fn next_tags(&mut self) -> Option<Bytes> {
        poll_fn(|context| {
            if self.read == self.bytes.len() {
                std::task::ready!(self.fill(context));
            }
            let rest = Bytes::copy_from_slice(&self.bytes[self.read..]);
            self.read = self.bytes.len();
            Poll::Ready((!rest.is_empty()).then_some(rest))
        })
        .await
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.recorder.end(&mut self.bytes);
    }

    fn fill(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.bytes.clear();
        self.read = 0;
        while self.bytes.is_empty() && !self.has_ended {
            match std::task::ready!(self.played.poll_recv(context)) {
                Ok(NetStreamEvent::Message(message)) => {
                    self.recorder.message(&message, &mut self.bytes);
                }
                Ok(NetStreamEvent::Reset | NetStreamEvent::MulticastReset) => self.recorder.reset(),
                Ok(NetStreamEvent::Ended) | Err(RecvError::Closed) => self.end(),
                Ok(NetStreamEvent::Failed(error)) => {
                    self.failure = Some(error);
                    self.end();
                }
                Ok(NetStreamEvent::Connected) => self.is_connected = true,
                // Nothing of it belongs in a file.
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    self.missed += missed;
                    self.recorder.reset();
                }
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for FlvReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read == self.bytes.len() {
            std::task::ready!(self.fill(context));
        }
        let rest = &self.bytes[self.read..];
        if let Some(failure) = self.failure.as_ref().filter(|_| rest.is_empty()) {
            return Poll::Ready(Err(io::Error::other(failure.clone())));
        }
        let now = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..now]);
        self.read += now;
        Poll::Ready(Ok(()))
    }
}
