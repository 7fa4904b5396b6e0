//! The contract between a state machine and whoever gives it sockets and a clock.

use super::{Arrived, Computed, Job, Path, Time, Transmit, TransmitBuf};

/// A protocol state machine without sockets, clock or randomness of its own.
///
/// **Drain rule**, the only one: after any call that takes `now`, or several calls of
/// [`handle_datagrams`](Self::handle_datagrams) in a row, first call
/// [`poll_job`](Self::poll_job) until it is `None`, then [`poll_transmit`](Self::poll_transmit)
/// until it is `None`, then read the machine's events, then
/// [`poll_timeout`](Self::poll_timeout) once. Calls made while reading events count as calls that
/// take `now`.
pub trait Machine {
    /// Datagrams arrived together on one path; the buffer is decrypted in place. Packets of one
    /// session are verified side by side.
    fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>);

    /// A single datagram arrived, of whose congestion mark nothing is known.
    fn handle_datagram(&mut self, now: Time, path: Path, datagram: &mut [u8]) {
        self.handle_datagrams(now, path, Arrived::one(datagram));
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come. Harmless if called early.
    fn handle_timeout(&mut self, now: Time);

    /// A job of [`poll_job`](Self::poll_job) is done.
    fn handle_computed(&mut self, now: Time, computed: Computed);

    /// Empties `buf` and puts the next batch into it; `None` if there is nothing to send.
    #[must_use]
    fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit>;

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` for never.
    #[must_use]
    fn poll_timeout(&self) -> Option<Time>;

    /// The next piece of work that is too long for the machine's thread.
    #[must_use]
    fn poll_job(&mut self) -> Option<Job>;
}

/// A machine around another one: a node around an endpoint, a service around a node. It gets its
/// share of time, and is asked after every input of the inner machine.
///
/// Every layer is a [`Machine`].
pub trait Layer {
    /// The machine inside.
    type Inner: Machine + ?Sized;

    /// The machine inside.
    fn inner(&self) -> &Self::Inner;

    /// The machine inside.
    fn inner_mut(&mut self) -> &mut Self::Inner;

    /// The inner machine was called and may have events.
    fn after_call(&mut self, _now: Time) {}

    /// When [`handle_own_timeout`](Self::handle_own_timeout) wants to be called, without regard to
    /// the inner machine.
    fn poll_own_timeout(&self) -> Option<Time> {
        None
    }

    /// Does what is due. Called with every timeout, also those of the inner machine, and before
    /// [`after_call`](Self::after_call).
    fn handle_own_timeout(&mut self, _now: Time) {}
}

impl<L: Layer> Machine for L {
    fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>) {
        self.inner_mut().handle_datagrams(now, path, arrived);
        self.after_call(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.inner_mut().handle_timeout(now);
        self.handle_own_timeout(now);
        self.after_call(now);
    }

    fn handle_computed(&mut self, now: Time, computed: Computed) {
        self.inner_mut().handle_computed(now, computed);
        self.after_call(now);
    }

    fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        self.inner_mut().poll_transmit(now, buf)
    }

    fn poll_timeout(&self) -> Option<Time> {
        [self.poll_own_timeout(), self.inner().poll_timeout()].into_iter().flatten().min()
    }

    fn poll_job(&mut self) -> Option<Job> {
        self.inner_mut().poll_job()
    }
}
