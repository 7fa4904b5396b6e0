//! The loop around a machine.

use super::clock::instant_now;
use super::error::ShutdownError;
use super::flood::{FloodGuard, MIN_PACKET, Startups};
use super::jobs::Jobs;
use super::shared::{DROP_GRACE, EVENT_QUEUE, Request, Shared};
use super::socket::Inbound;
use super::{Clock, Service, Sockets};
use crate::transport::{Arrived, Interface, Path, Time, TransmitBuf};
use crate::wire::multiplex::session_id;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::time::{Instant, Sleep};
use tracing::{debug, info, warn};

/// Commands that are handled in one turn.
const COMMANDS_PER_TURN: usize = 64;
/// When this many datagrams were received from a socket, the others have their turn. One call may
/// bring more.
const DATAGRAMS_PER_TURN: usize = 256;
/// Batches that are sent in one turn.
const BATCHES_PER_TURN: usize = 64;
/// Shortest pause before a machine is woken again that wants something at once although it was
/// just called.
/// The timers of the operating system are no finer.
const MIN_SLEEP: Duration = Duration::from_millis(1);
/// Interval at which the host's addresses are looked at: a laptop that changes its network has
/// waited longer for the new one. A look takes less than a tenth of a millisecond.
const ADDRESS_PERIOD: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 5000 });
/// Places in the event queue that must be free before a stalled machine is read again.
const RESUME_AT: usize = EVENT_QUEUE / 2;

/// The task: a core and what it waits for.
pub(super) struct Task<S: Service> {
    core: Core<S>,
    inbound: Inbound,
    requests: mpsc::Receiver<Request<S::Command>>,
    /// A request that ended the wait.
    request: Option<Request<S::Command>>,
    /// Handles are left.
    has_handles: bool,
    timer: Pin<Box<Sleep>>,
    /// Time that `timer` is set to; `None` if it is not to be waited for.
    timer_at: Option<Instant>,
    stop: Option<Stop>,
    /// When the host's addresses are looked at again.
    look_at: Option<Instant>,
}

/// A stop that has begun.
#[derive(Debug, Clone, Copy)]
struct Stop {
    at: Time,
    grace: Duration,
}

/// The machine and everything that drains it.
struct Core<S: Service> {
    service: S,
    clock: Clock,
    sockets: Sockets,
    jobs: Jobs,
    batch: TransmitBuf,
    /// Batches that may still be sent in this turn.
    batches: usize,
    events: mpsc::Sender<S::Event>,
    /// The event for which there was no place in the queue.
    stalled: Option<S::Event>,
    shared: Arc<Shared>,
    flood: FloodGuard,
}

impl<S: Service> Task<S> {
    pub(super) fn new(
        service: S,
        (sockets, clock, jobs): (Sockets, Clock, Jobs),
        requests: mpsc::Receiver<Request<S::Command>>,
        events: mpsc::Sender<S::Event>,
        shared: Arc<Shared>,
    ) -> Self {
        let inbound = sockets.inbound();
        let look_at = sockets.listen_on_all().then(|| instant_now() + ADDRESS_PERIOD);
        let core = Core {
            service,
            clock,
            sockets,
            jobs,
            batch: TransmitBuf::new(),
            batches: 0,
            events,
            stalled: None,
            shared,
            flood: FloodGuard::default(),
        };
        Self {
            core,
            inbound,
            requests,
            request: None,
            has_handles: true,
            timer: Box::pin(tokio::time::sleep_until(instant_now())),
            timer_at: None,
            stop: None,
            look_at,
        }
    }

    /// Runs until it is stopped.
    pub(super) async fn run(mut self) {
        self.core.sockets.ready().await;
        let outcome = loop {
            let has_more = self.turn();
            if let Some(outcome) = self.outcome() {
                break outcome;
            }
            if has_more {
                tokio::task::yield_now().await;
            } else {
                let begun = instant_now();
                self.wait().await;
                self.core.flood.note_wait(instant_now().saturating_duration_since(begun));
            }
        };
        let shared = Arc::clone(&self.core.shared);
        let Self { core, requests, .. } = self;
        // The sockets are closed when those who wait for the end learn of it.
        drop(core);
        let _ = shared.outcome.set(outcome);
        drop(requests);
    }

    /// A bounded amount of work, without waiting. Returns whether there may be more to do at once.
    fn turn(&mut self) -> bool {
        self.core.batches = BATCHES_PER_TURN;
        self.core.sockets.send_held(&self.core.shared.counters);
        self.core.sockets.flush(&self.core.shared.counters);
        // What an earlier turn left.
        self.core.drain();
        // Datagrams are processed before the timer: where the processor was busy with
        // something else, both have waited.
        let more_datagrams = self.receive();
        self.core.thin_out();
        let floor = self.core.handle_timeout();
        self.core.handle_computed();
        self.look_at_addresses();
        let more_requests = self.handle_requests();
        self.core.sockets.listen_on(self.core.service.multicast_addresses());
        self.core.sockets.flush(&self.core.shared.counters);
        self.set_timer(floor);
        more_requests || more_datagrams || self.core.batches == 0
    }

    /// Reports changed addresses of the host to the machine.
    fn look_at_addresses(&mut self) {
        if self.look_at.is_none_or(|at| instant_now() < at) {
            return;
        }
        self.look_at = Some(instant_now() + ADDRESS_PERIOD);
        let addresses = self.core.sockets.peer_addresses();
        let has_changed = addresses != *self.core.shared.peer_addresses();
        if has_changed {
            info!(?addresses, "the addresses of this host have changed");
            *self.core.shared.peer_addresses() = addresses.clone();
            self.core.sockets.join_again();
            self.core.service.handle_addresses(self.core.clock.now(), addresses);
            self.core.drain();
        }
    }

    /// Carries out the requests that wait. What several of them want sent leaves together. Returns
    /// whether there may be more.
    fn handle_requests(&mut self) -> bool {
        let mut has_commands = false;
        let has_more = self.take_requests(&mut has_commands);
        if has_commands {
            self.core.drain();
        }
        has_more
    }

    fn take_requests(&mut self, has_commands: &mut bool) -> bool {
        for _ in 0..COMMANDS_PER_TURN {
            let request = match self.request.take() {
                Some(request) => request,
                None => match self.requests.try_recv() {
                    Ok(request) => request,
                    Err(TryRecvError::Empty) => return false,
                    Err(TryRecvError::Disconnected) => {
                        if std::mem::take(&mut self.has_handles) && self.stop.is_none() {
                            debug!("the last handle is gone");
                            self.begin_stop(DROP_GRACE);
                        }
                        return false;
                    }
                },
            };
            match request {
                Request::Command(command) => {
                    let now = self.core.clock.now();
                    self.core.service.handle_command(now, command);
                    *has_commands = true;
                    if self.core.deliver() {
                        self.core.drain();
                    }
                }
                Request::Shutdown { grace } => self.begin_stop(grace),
            }
        }
        true
    }

    fn begin_stop(&mut self, grace: Duration) {
        let now = self.core.clock.now();
        let stop = Stop { at: now + grace, grace };
        if self.stop.is_none_or(|earlier| stop.at < earlier.at) {
            self.stop = Some(stop);
        }
        self.core.service.begin_shutdown(now);
        self.core.drain();
    }

    /// The outcome of the task, once it is over.
    fn outcome(&self) -> Option<Result<(), ShutdownError>> {
        let stop = self.stop?;
        if self.core.is_idle() {
            return Some(Ok(()));
        }
        let grace = stop.grace;
        (self.core.clock.now() >= stop.at).then(|| {
            info!("not everything was closed within {grace:?}");
            Err(ShutdownError::GraceOver { grace })
        })
    }

    /// Receives from each socket in turn. Returns whether there may be more.
    fn receive(&mut self) -> bool {
        let Self { core, inbound, .. } = self;
        let mut has_more = false;
        for index in 0..core.sockets.len() {
            let mut received = 0;
            while received < DATAGRAMS_PER_TURN {
                match core.receive(index, inbound) {
                    0 => break,
                    datagrams => received += datagrams,
                }
            }
            has_more |= received >= DATAGRAMS_PER_TURN;
        }
        for index in 0..core.sockets.listeners() {
            core.receive_multicast(index, inbound);
        }
        has_more
    }

    /// Sets the timer to the next thing that time brings; `floor` holds for the machine.
    fn set_timer(&mut self, floor: Time) {
        let core = &self.core;
        let machine = core.service.poll_timeout().map(|at| at.max(floor));
        let stop = self.stop.map(|stop| stop.at);
        let times = [machine, stop, core.flood.next_look()].into_iter().flatten();
        let instants = times.filter_map(|time| core.clock.instant(time));
        let next = instants.chain(core.sockets.rest_until()).chain(self.look_at).min();
        if next != self.timer_at {
            self.timer_at = next;
            if let Some(at) = next {
                self.timer.as_mut().reset(at);
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) {
        let Core { sockets, jobs, events, stalled, .. } = &mut self.core;
        tokio::select! {
            () = sockets.readable() => {}
            () = sockets.writable() => {}
            () = jobs.ready() => {}
            () = &mut self.timer, if self.timer_at.is_some() => self.timer_at = None,
            // That no handle is left, `handle_requests` sees for itself.
            request = self.requests.recv(), if self.has_handles => self.request = request,
            // The places are given back at once: nobody else takes them.
            _ = events.reserve_many(RESUME_AT), if stalled.is_some() => {}
        }
    }
}

impl<S: Service> Core<S> {
    /// The drain rule of [`Machine`](crate::transport::Machine), except for its last step: the
    /// timer is set once a turn.
    fn drain(&mut self) {
        loop {
            while let Some(job) = self.service.poll_job() {
                if let Err(refused) = self.jobs.start(job, &self.shared.counters) {
                    self.service.handle_computed(self.clock.now(), refused);
                }
            }
            self.transmit();
            if !self.deliver() {
                return;
            }
        }
    }

    /// Sends what the machine wants sent, as far as there is space.
    fn transmit(&mut self) {
        while self.batches > 0 && !self.sockets.is_blocked() {
            let now = self.clock.now();
            let Some(transmit) = self.service.poll_transmit(now, &mut self.batch) else { return };
            self.batches -= 1;
            self.sockets.send(transmit, &self.batch, &self.shared.counters);
        }
    }

    /// Moves events into the queue. Returns whether the machine got an input meanwhile, so
    /// that it must be drained again.
    fn deliver(&mut self) -> bool {
        if self.stalled.is_some() {
            return self.resume();
        }
        while let Some(event) = self.service.poll_event() {
            match self.events.try_send(event) {
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(event)) => {
                    self.stalled = Some(event);
                    self.shared.counters.stalls.add(1);
                    debug!("the application is slow: {EVENT_QUEUE} events wait for it");
                    self.service.handle_stall(self.clock.now(), true);
                    return true;
                }
            }
        }
        false
    }

    /// Goes on with events when the queue has space again, or nobody reads it. Returns
    /// whether it does.
    fn resume(&mut self) -> bool {
        if self.events.capacity() < RESUME_AT && !self.events.is_closed() {
            return false;
        }
        if let Some(event) = self.stalled.take() {
            // Fails only if nobody reads it.
            let _ = self.events.try_send(event);
        }
        self.service.handle_stall(self.clock.now(), false);
        true
    }

    /// Calls the machine if its time has come. Returns the earliest time for the next call, which
    /// keeps a machine that always wants one from taking all the time there is.
    fn handle_timeout(&mut self) -> Time {
        let now = self.clock.now();
        let is_due = |service: &S| service.poll_timeout().is_some_and(|at| at <= now);
        if !is_due(&self.service) {
            return Time::ZERO;
        }
        self.service.handle_timeout(now);
        self.drain();
        if is_due(&self.service) { now + MIN_SLEEP } else { Time::ZERO }
    }

    /// Has the sockets take fewer startup packets in a flood of these, and all of them after it.
    fn thin_out(&mut self) {
        let now = self.clock.now();
        if let Some(taken) = self.flood.adjust(now) {
            self.sockets.thin_out(taken);
            if self.flood.is_news(now) {
                let one_in = taken.most();
                warn!(one_in, "flood of hellos: a random part is read");
            }
        }
    }

    fn handle_computed(&mut self) {
        while let Some(computed) = self.jobs.poll(&self.shared.counters) {
            self.service.handle_computed(self.clock.now(), computed);
            self.drain();
        }
    }

    /// Receives once from a socket. Returns how many datagrams came.
    fn receive(&mut self, index: usize, inbound: &mut Inbound) -> usize {
        self.sockets.receive(index, inbound);
        let interface = Interface(u16::try_from(index).unwrap_or(Interface::ANY.0));
        let now = self.clock.now();
        let (mut count, mut bytes) = (0, 0);
        for (remote, arrived) in inbound.runs() {
            count += arrived.len();
            bytes += arrived.bytes.len();
            let dropped = self.flood.note(startups(&arrived));
            self.shared.counters.startups_dropped.add(dropped);
            let path = Path { interface, remote };
            self.service.handle_datagrams(now, path, arrived);
        }
        if count > 0 {
            self.drain();
        }
        self.sockets.flush(&self.shared.counters);
        if count > 0 {
            self.shared.counters.receive_calls.add(1);
            self.shared.counters.datagrams_received.add(count);
            self.shared.counters.bytes_received.add(bytes);
        }
        count
    }

    /// Receives once from a socket that listens on an IP multicast address. What waits beyond is
    /// received in the next turn.
    fn receive_multicast(&mut self, index: usize, inbound: &mut Inbound) {
        let Some(to) = self.sockets.receive_multicast(index, inbound) else { return };
        let (now, mut count) = (self.clock.now(), 0);
        for (from, arrived) in inbound.runs() {
            for datagram in arrived.each() {
                count += 1;
                self.service.handle_multicast(now, to, from, datagram);
            }
        }
        if count > 0 {
            self.drain();
        }
    }

    /// Nothing is lost if the machine is dropped now.
    fn is_idle(&self) -> bool {
        self.service.is_idle()
            && self.batches > 0
            && !self.sockets.is_blocked()
            && self.stalled.is_none()
    }
}

/// Startup packets among what has arrived, and what is too short to be a packet.
fn startups(arrived: &Arrived<'_>) -> Startups {
    let all = arrived.bytes.chunks(arrived.segment.max(1));
    let is_startup =
        |datagram: &&[u8]| datagram.len() < MIN_PACKET || session_id(datagram) == Some(0);
    Startups::joined(all.filter(is_startup).count(), arrived.bytes.len())
}
