//! Readiness of a socket to receive or send, as the operating system reports it to the runtime.
//!
//! A UDP socket becomes writable again with every datagram that leaves it. Whoever waits for both
//! directions all the time is woken after each datagram that it has sent, for nothing. So only
//! what could not be sent waits for space in the send buffer.

use std::io;
use std::task::{Context, Poll};
use tokio::io::Interest;

#[cfg(not(unix))]
pub(super) use other::Watched;
#[cfg(unix)]
pub(super) use unix::Watched;

#[cfg(unix)]
mod unix {
    use super::{Context, Interest, Poll, io};
    use std::net::UdpSocket;
    use tokio::io::unix::AsyncFd;

    /// After so many calls that found space it is no longer waited for.
    const CALM: u32 = 1000;

    /// A non-blocking socket and what is waited for.
    #[derive(Debug)]
    pub(in crate::driver) struct Watched {
        arrivals: AsyncFd<UdpSocket>,
        space: Option<Space>,
    }

    /// Set while the send buffer was full.
    #[derive(Debug)]
    struct Space {
        watched: AsyncFd<UdpSocket>,
        /// Calls since then that found space.
        calls: u32,
    }

    impl Watched {
        /// # Panics
        ///
        /// Outside a tokio runtime with IO.
        pub(in crate::driver) fn new(socket: UdpSocket) -> io::Result<Self> {
            Ok(Self { arrivals: watch(socket, Interest::READABLE)?, space: None })
        }

        pub(in crate::driver) fn socket(&self) -> &UdpSocket {
            self.arrivals.get_ref()
        }

        /// Calls `receive` if something may have arrived. If it would block, the next
        /// arrival is waited for.
        pub(in crate::driver) fn try_receive(
            &self,
            receive: impl FnOnce(&UdpSocket) -> io::Result<()>,
        ) -> io::Result<()> {
            self.arrivals.try_io(Interest::READABLE, receive)
        }

        /// Calls `send`. If it would block, space is waited for.
        pub(in crate::driver) fn try_send(
            &mut self,
            send: impl FnOnce(&UdpSocket) -> io::Result<()>,
        ) -> io::Result<()> {
            let result = match &self.space {
                Some(space) => space.watched.try_io(Interest::WRITABLE, send),
                None => send(self.socket()),
            };
            let is_full = matches!(&result, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
            match &mut self.space {
                Some(space) if is_full => space.calls = 0,
                Some(space) if space.calls < CALM => space.calls += 1,
                None if is_full => {
                    let watched = watch(self.socket().try_clone()?, Interest::WRITABLE)?;
                    self.space = Some(Space { watched, calls: 0 });
                }
                _ => self.space = None,
            }
            result
        }

        pub(in crate::driver) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
            self.arrivals.poll_read_ready(cx).map(drop)
        }

        /// Ready at once unless the last attempt to send found no space.
        pub(in crate::driver) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
            match &self.space {
                Some(space) => space.watched.poll_write_ready(cx).map(drop),
                None => Poll::Ready(()),
            }
        }
    }

    #[allow(deprecated, reason = "its successor is unsafe, for types whose descriptor can change")]
    fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
        AsyncFd::with_interest(socket, interest)
    }
}

/// Readiness where the runtime offers no choice of direction.
#[cfg(not(unix))]
mod other {
    use super::{Context, Interest, Poll, io};
    use tokio::net::UdpSocket;

    #[derive(Debug)]
    pub(in crate::driver) struct Watched(UdpSocket);

    impl Watched {
        pub(in crate::driver) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
            Ok(Self(UdpSocket::from_std(socket)?))
        }

        pub(in crate::driver) fn socket(&self) -> &UdpSocket {
            &self.0
        }

        pub(in crate::driver) fn try_receive(
            &self,
            receive: impl FnOnce(&UdpSocket) -> io::Result<()>,
        ) -> io::Result<()> {
            self.0.try_io(Interest::READABLE, || receive(&self.0))
        }

        pub(in crate::driver) fn try_send(
            &mut self,
            send: impl FnOnce(&UdpSocket) -> io::Result<()>,
        ) -> io::Result<()> {
            self.0.try_io(Interest::WRITABLE, || send(&self.0))
        }

        pub(in crate::driver) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
            self.0.poll_recv_ready(cx).map(drop)
        }

        pub(in crate::driver) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
            self.0.poll_send_ready(cx).map(drop)
        }
    }
}
