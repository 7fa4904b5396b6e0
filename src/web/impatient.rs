//! Connections of which there are only so many, and which end if who reads takes nothing for a while, or if
//! nothing was to be sent for a while, so that nobody keeps a place from others.

use crate::driver::Clock;
use axum::serve::Listener;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// When connections end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// After this time in which nothing could be sent.
    pub(super) blocked: Duration,
    /// After this time in which nothing was sent: there was no request, or it is not complete.
    pub(super) silent: Duration,
}

/// Listens for connections, of which there are no more than some at a time; further ones wait.
#[derive(Debug)]
pub(super) struct Impatient {
    listener: TcpListener,
    patience: Patience,
    places: Arc<Semaphore>,
}

impl Impatient {
    pub(super) fn new(listener: TcpListener, patience: Patience, connections: usize) -> Self {
        Self { listener, patience, places: Arc::new(Semaphore::new(connections)) }
    }
}

impl Listener for Impatient {
    type Io = Connection<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Connection { _place: place, ..Connection::new(stream, self.patience) }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection on which sending and receiving fail if it has waited for too long.
pub(super) struct Connection<S> {
    stream: S,
    patience: Patience,
    blocked: Wait,
    silent: Wait,
    /// Others have it when the connection ends.
    _place: Option<OwnedSemaphorePermit>,
}

/// A wait, and its end while it is under way.
struct Wait {
    clock: Clock,
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Wait {
    /// The error if the wait, which begins now unless it is under way, has lasted for this long.
    fn poll<T>(&mut self, cx: &mut Context<'_>, longest: Duration) -> Poll<io::Result<T>> {
        let clock = self.clock;
        let end = self.end.get_or_insert_with(|| {
            let end = clock.now() + longest;
            Box::pin(async move { clock.sleep_until(Some(end)).await })
        });
        ready!(end.as_mut().poll(cx));
        self.end = None;
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<S> Connection<S> {
    fn new(stream: S, patience: Patience) -> Self {
        let clock = Clock::start();
        let wait = || Wait { clock, end: None };
        Self { stream, patience, blocked: wait(), silent: wait(), _place: None }
    }

    /// What came of sending, or that it has waited for too long.
    fn within<T>(
        &mut self,
        cx: &mut Context<'_>,
        sent: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.blocked.end = None;
            return sent;
        }
        self.blocked.poll(cx, self.patience.blocked)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let longest = self.patience.silent;
        // Also while bytes come: they may be those of a request without an end.
        match self.silent.poll(cx, longest) {
            Poll::Pending => read,
            over => over,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.silent.end = self.silent.end.take().filter(|_| sent.is_pending());
        self.within(cx, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.silent.end = self.silent.end.take().filter(|_| sent.is_pending());
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
        let mut near = Connection::new(near, patience(20, 30_000));
        near.write_all(&[7; 8]).await.unwrap();
        let error = near.write_all(&[7; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(far);
    }

    #[tokio::test]
    async fn who_reads_slowly_stays() {
        let (near, mut far) = duplex(8);
        let mut near = Connection::new(near, patience(30_000, 30_000));
        let (mut read, mut all) = ([0_u8; 8], Vec::<u8>::new());
        while all.len() < 64 {
            // Each time there is more than space for it.
            let more = tokio::join!(near.write(&[7; 8]), far.read(&mut read));
            assert_eq!(more.0.unwrap(), 8);
            all.extend(&read[..more.1.unwrap()]);
            assert!(near.blocked.end.is_none(), "no wait goes on");
        }
    }

    #[tokio::test]
    async fn hostile_requests_without_an_end_end() {
        let (near, mut far) = duplex(1);
        let mut near = Connection::new(near, patience(30_000, 20));
        let slowly = async {
            loop {
                far.write_all(b"x").await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let read = async {
            loop {
                if let Err(error) = near.read_u8().await {
                    return error.kind();
                }
            }
        };
        let ended = tokio::select! { kind = read => kind, () = slowly => unreachable!() };
        assert_eq!(ended, ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_gets_something_now_and_then_stays() {
        let (near, mut far) = duplex(8);
        let mut near = Connection::new(near, patience(30_000, 30_000));
        for _ in 0..3 {
            let idle = tokio::select! {
                biased;
                read = near.read_u8() => panic!("{read:?}"),
                () = tokio::task::yield_now() => near.silent.end.is_some(),
            };
            assert!(idle, "the wait goes on");
            near.write_all(b"x").await.unwrap();
            assert!(near.silent.end.is_none(), "it begins anew");
            far.read_u8().await.unwrap();
        }
    }

    #[tokio::test]
    async fn hostile_connections_wait_when_there_are_many() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut impatient = Impatient::new(listener, patience(30_000, 30_000), 2);
        let _far = [(); 3].map(|()| std::net::TcpStream::connect(address).unwrap());
        let first = impatient.accept().await.0;
        let second = impatient.accept().await.0;
        let mut third = Box::pin(impatient.accept());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(third.as_mut().poll(&mut cx).is_pending());
        drop(first);
        drop(third.await);
        drop(second);
    }

    fn patience(blocked_ms: u64, silent_ms: u64) -> Patience {
        let [blocked, silent] = [blocked_ms, silent_ms].map(Duration::from_millis);
        Patience { blocked, silent }
    }
}
