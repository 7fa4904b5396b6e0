//! Connections that end if who reads takes nothing for a while, so that it does not keep a place from
//! others.

use crate::driver::Clock;
use axum::serve::Listener;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Listens for connections that end after this time in which nothing could be sent.
#[derive(Debug)]
pub(super) struct Impatient {
    pub(super) listener: TcpListener,
    pub(super) patience: Duration,
}

impl Listener for Impatient {
    type Io = Connection<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Connection::new(stream, self.patience), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection on which sending fails if it has waited for too long.
pub(super) struct Connection<S> {
    stream: S,
    clock: Clock,
    patience: Duration,
    /// The end of the wait that is under way.
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S> Connection<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, clock: Clock::start(), patience, over: None }
    }

    /// What came of sending, or that it has waited for too long.
    fn within<T>(
        &mut self,
        cx: &mut Context<'_>,
        sent: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.over = None;
            return sent;
        }
        let (clock, patience) = (self.clock, self.patience);
        let over = self.over.get_or_insert_with(|| {
            let end = clock.now() + patience;
            Box::pin(async move { clock.sleep_until(Some(end)).await })
        });
        ready!(over.as_mut().poll(cx));
        self.over = None;
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.within(cx, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.within(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.stream).poll_flush(cx);
        self.within(cx, sent)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.within(cx, sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn hostile_readers_that_take_nothing_end() {
        let (near, far) = duplex(8);
        let mut near = Connection::new(near, Duration::from_millis(20));
        near.write_all(&[7; 8]).await.unwrap();
        let error = near.write_all(&[7; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(far);
    }

    #[tokio::test]
    async fn who_reads_slowly_stays() {
        let (near, mut far) = duplex(8);
        let mut near = Connection::new(near, Duration::from_secs(30));
        let (mut read, mut all) = ([0_u8; 8], Vec::<u8>::new());
        while all.len() < 64 {
            // Each time there is more than space for it.
            let more = tokio::join!(near.write(&[7; 8]), far.read(&mut read));
            assert_eq!(more.0.unwrap(), 8);
            all.extend(&read[..more.1.unwrap()]);
            assert!(near.over.is_none(), "no wait goes on");
        }
    }
}
