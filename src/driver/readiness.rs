//! When a socket can receive or send, as the operating system tells the runtime.
//!
//! A UDP socket becomes writable again with every datagram that leaves it. Whoever waits for both
//! directions all the time is woken after each datagram that it has sent, for nothing. So only
//! what could not be sent waits for room.

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

    /// After so many calls that found room it is no longer waited for.
    const CALM: u32 = 1000;

    /// A non-blocking socket and what is waited for.
    #[derive(Debug)]
    pub(in crate::driver) struct Watched {
        arrivals: AsyncFd<UdpSocket>,
        room: Option<Room>,
    }

    /// Since there was no room to send.
    #[derive(Debug)]
    struct Room {
        watched: AsyncFd<UdpSocket>,
        /// Calls since then that found room.
        calls: u32,
    }

    impl Watched {
        /// # Panics
        ///
        /// Outside a tokio runtime with IO.
        pub(in crate::driver) fn new(socket: UdpSocket) -> io::Result<Self> {
            Ok(Self { arrivals: watch(socket, Interest::READABLE)?, room: None })
        }

        pub(in crate::driver) fn socket(&self) -> &UdpSocket {
            self.arrivals.get_ref()
        }

        /// Calls `receive` if something may have arrived. If it says that it would block, the next
        /// arrival is waited for.
        pub(in crate::driver) fn try_receive(
            &self,
            receive: impl FnOnce(&UdpSocket) -> io::Result<()>,
        ) -> io::Result<()> {
            self.arrivals.try_io(Interest::READABLE, receive)
        }

        /// Calls `send`. If it says that it would block, room is waited for.
        pub(in crate::driver) fn try_send(
            &mut self,
            send: impl FnOnce(&UdpSocket) -> io::Result<()>,
        ) -> io::Result<()> {
            let result = match &self.room {
                Some(room) => room.watched.try_io(Interest::WRITABLE, send),
                None => send(self.socket()),
            };
            let is_full = matches!(&result, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
            match &mut self.room {
                Some(room) if is_full => room.calls = 0,
                Some(room) if room.calls < CALM => room.calls += 1,
                None if is_full => {
                    let watched = watch(self.socket().try_clone()?, Interest::WRITABLE)?;
                    self.room = Some(Room { watched, calls: 0 });
                }
                _ => self.room = None,
            }
            result
        }

        pub(in crate::driver) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
            self.arrivals.poll_read_ready(cx).map(drop)
        }

        /// Ready at once unless the last attempt to send found no room.
        pub(in crate::driver) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
            match &self.room {
                Some(room) => room.watched.poll_write_ready(cx).map(drop),
                None => Poll::Ready(()),
            }
        }
    }

    #[allow(deprecated, reason = "its successor is unsafe, for types whose descriptor can change")]
    fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
        AsyncFd::with_interest(socket, interest)
    }
}

/// Where the runtime offers no choice of direction.
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
