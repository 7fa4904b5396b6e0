//! NATS as the bus between servers.
//!
//! Every server listens to two subjects: `rtmfp.NAME.all`, for signs of life and for commands that
//! concern whoever has a peer or a group, and `rtmfp.NAME.NUMBER` with its own number, for commands to
//! one member. While NATS can't be reached commands are lost; clients are served as ever.

use super::frame::{Beat, Frame};
use super::roster::{BEAT_PERIOD, Change, Roster};
use super::{ClusterConfig, Counters};
use crate::driver::Clock;
use crate::rendezvous::cluster::{Command, MemberId, To};
use crate::server::carrier::Carrier;
use crate::server::mail::Boxes;
use crate::transport::Time;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber, connection::State};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::StreamExt;
use tracing::{info, warn};

/// Commands that wait for the bus, and their bytes; further ones are lost.
const MAX_QUEUED: usize = 16_384;
const MAX_QUEUED_BYTES: usize = 16 << 20;
/// Messages that the client of NATS has taken and not sent yet. When its server is gone they reach the
/// next one late.
const MAX_IN_CLIENT: usize = 256;
/// Messages of others that wait; further ones are lost.
const MAX_UNREAD: usize = 16_384;
/// A server of NATS that does not answer is given up after two of these.
const PING_PERIOD: Duration = Duration::from_secs(2);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Longest time between attempts to connect.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// How long a server that stops tries to say so.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// The address of a server of NATS: `nats://[USER:PASSWORD@]HOST[:PORT]`, or `tls://…`.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterUrl {
    text: String,
    address: ServerAddr,
}

/// A text is no [`ClusterUrl`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this is no address of NATS; write nats://HOST or nats://USER:PASSWORD@HOST:PORT")]
pub struct ClusterUrlError(());

impl ClusterUrl {
    /// The text as it was given, with the password.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ClusterUrl {
    type Err = ClusterUrlError;

    fn from_str(text: &str) -> Result<Self, ClusterUrlError> {
        let address: ServerAddr = text.parse().map_err(|_| ClusterUrlError(()))?;
        if address.host().is_empty() || address.is_websocket() {
            return Err(ClusterUrlError(()));
        }
        Ok(Self { text: text.to_owned(), address })
    }
}

/// Without user and password.
impl fmt::Display for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nats://{}:{}", self.address.host(), self.address.port())
    }
}

impl fmt::Debug for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A message for the bus.
#[derive(Debug)]
struct Outgoing {
    /// One server, or all.
    to: Option<u32>,
    bytes: Vec<u8>,
}

/// The way to members on other machines.
#[derive(Debug)]
pub(in super::super) struct Nats {
    own: u32,
    clock: Clock,
    out: mpsc::Sender<Outgoing>,
    queued: Arc<AtomicUsize>,
    counters: Arc<Counters>,
}

/// The end of a server's membership.
#[derive(Debug)]
pub(in super::super) struct Membership {
    leave: Arc<Notify>,
    ended: watch::Receiver<()>,
}

impl Membership {
    /// Tells the others that this server stops; waits until they can know it, for a moment at most.
    pub(in super::super) async fn end(&self) {
        self.leave.notify_one();
        // Closed when the task has ended.
        let _ = self.ended.clone().changed().await;
    }
}

impl Nats {
    /// Connects, now or whenever that is possible, and passes what others send to the workers.
    pub(in super::super) fn start(
        config: &ClusterConfig,
        clock: Clock,
        (limit, addresses): (usize, Vec<SocketAddr>),
        boxes: Boxes,
        counters: Arc<Counters>,
    ) -> (Arc<Self>, Membership) {
        let own = boxes.server();
        let (out, outgoing) = mpsc::channel(MAX_QUEUED);
        let (ending, ended) = watch::channel(());
        let queued = Arc::new(AtomicUsize::new(0));
        let leave = Arc::new(Notify::new());
        let task = Task {
            subject: format!("rtmfp.{}", config.name),
            clock,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            addresses,
            elsewhere: Arc::default(),
            roster: Roster::new(own),
            own,
            boxes,
            queued: Arc::clone(&queued),
            counters: Arc::clone(&counters),
            leave: Arc::clone(&leave),
            _ending: ending,
        };
        let urls = config.nats.iter().map(|url| url.address.clone()).collect();
        tokio::spawn(task.run(urls, outgoing));
        (Arc::new(Self { own, clock, out, queued, counters }), Membership { leave, ended })
    }

    fn lose(&self) {
        self.counters.lost.fetch_add(1, Relaxed);
    }
}

impl Carrier for Nats {
    fn leads_to(&self, to: To) -> bool {
        let is_elsewhere = match to {
            To::Member(member) => member.server != self.own,
            _ => true,
        };
        is_elsewhere && self.counters.others.load(Relaxed) > 0
    }

    fn carry(&self, _: Time, from: MemberId, to: To, command: Command) {
        let Some(bytes) = command.encode(self.clock.now()) else { return self.lose() };
        let (server, worker) = match to {
            To::Member(member) => (Some(member.server), Some(member.worker)),
            _ => (None, None),
        };
        let frame = Frame::Command { worker: from.worker, to: worker, command: &bytes };
        let bytes = frame.encode(self.own);
        let len = bytes.len();
        let has_space = self.queued.fetch_add(len, Relaxed) + len <= MAX_QUEUED_BYTES;
        if !has_space || self.out.try_send(Outgoing { to: server, bytes }).is_err() {
            self.queued.fetch_sub(len, Relaxed);
            self.lose();
        }
    }
}

/// What keeps the connection.
struct Task {
    subject: String,
    clock: Clock,
    limit: u32,
    addresses: Vec<SocketAddr>,
    /// Where newcomers are sent now.
    elsewhere: Arc<[SocketAddr]>,
    roster: Roster,
    own: u32,
    boxes: Boxes,
    queued: Arc<AtomicUsize>,
    counters: Arc<Counters>,
    leave: Arc<Notify>,
    /// Dropped with the task.
    _ending: watch::Sender<()>,
}

impl Task {
    async fn run(mut self, urls: Vec<ServerAddr>, mut outgoing: mpsc::Receiver<Outgoing>) {
        let connected = Arc::new(Notify::new());
        let options = self.options(Arc::clone(&connected));
        // With retries from the beginning, it fails only if the addresses are none.
        let client = match options.connect(urls).await {
            Ok(client) => client,
            Err(error) => return warn!(%error, "no cluster: NATS can't be used"),
        };
        let all = format!("{}.all", self.subject);
        let own = format!("{}.{:08x}", self.subject, self.own);
        let (Ok(mut to_all), Ok(mut to_own)) =
            (client.subscribe(all).await, client.subscribe(own).await)
        else {
            return warn!("no cluster: the client of NATS has ended");
        };
        let mut beats = tokio::time::interval(BEAT_PERIOD);
        let leave = Arc::clone(&self.leave);
        loop {
            tokio::select! {
                message = next(&mut to_all) => self.on_message(&client, &message).await,
                message = next(&mut to_own) => self.on_message(&client, &message).await,
                out = outgoing.recv() => match out {
                    Some(out) => self.send(&client, out).await,
                    // All workers have ended.
                    None => break,
                },
                _ = beats.tick() => {
                    let gone = self.roster.expire(self.clock.now());
                    self.apply(gone);
                    self.spread();
                    self.beat(&client).await;
                }
                () = connected.notified() => self.beat(&client).await,
                () = leave.notified() => break,
            }
        }
        let farewell = async {
            self.publish(&client, None, Frame::Leaving.encode(self.own)).await;
            // It is gone either way.
            let _ = client.flush().await;
        };
        let _ = tokio::time::timeout(LEAVE_WITHIN, farewell).await;
    }

    fn options(&self, connected: Arc<Notify>) -> ConnectOptions {
        let counters = Arc::clone(&self.counters);
        let delay = |attempts: usize| {
            let factor = 1 << attempts.min(6);
            (Duration::from_millis(25) * factor).min(MAX_DELAY)
        };
        ConnectOptions::new()
            .name("rtmfp")
            .no_echo()
            .retry_on_initial_connect()
            .retain_servers_order()
            .ping_interval(PING_PERIOD)
            .connection_timeout(CONNECT_WITHIN)
            .client_capacity(MAX_IN_CLIENT)
            .subscription_capacity(MAX_UNREAD)
            .reconnect_delay_callback(delay)
            .event_callback(move |event| {
                on_event(&counters, &connected, &event);
                std::future::ready(())
            })
    }

    async fn on_message(&mut self, client: &Client, message: &async_nats::Message) {
        let Some((server, frame)) = Frame::parse(&message.payload) else { return };
        let now = self.clock.now();
        match frame {
            Frame::Beat(beat) => {
                let joined = self.roster.heard(now, server, beat);
                if joined.is_some() {
                    self.apply(joined);
                    // So that the other one knows this one at once.
                    self.beat(client).await;
                }
            }
            Frame::Leaving => {
                let gone = self.roster.left(server);
                self.apply(gone);
            }
            Frame::Command { worker, to, command } if self.roster.knows(server) => {
                if let Some(command) = Command::decode(now, command) {
                    self.counters.received.fetch_add(1, Relaxed);
                    self.boxes.deliver(MemberId { server, worker }, to, command);
                }
            }
            Frame::Command { .. } => {}
        }
    }

    /// Gives the workers the members that there are now.
    fn apply(&self, changes: impl IntoIterator<Item = Change>) {
        let mut has_changed = false;
        for change in changes {
            has_changed = true;
            match change {
                Change::Joined(server) => info!("server {server:08x} has joined the cluster"),
                Change::Gone(server) => info!("server {server:08x} is gone from the cluster"),
            }
        }
        if has_changed {
            self.counters.others.store(self.roster.len(), Relaxed);
            self.boxes.set_elsewhere(&Arc::new(self.roster.members()));
        }
    }

    /// Sends newcomers elsewhere, or serves them.
    fn spread(&mut self) {
        let clients = u32::try_from(self.boxes.clients()).unwrap_or(u32::MAX);
        let addresses: Arc<[SocketAddr]> = self.roster.less_busy(clients, self.limit).into();
        if addresses != self.elsewhere {
            match addresses.is_empty() {
                true => info!("{clients} clients: newcomers are served here"),
                false => info!("{clients} clients: newcomers are sent to {addresses:?}"),
            }
            self.boxes.redirect(&addresses);
            self.elsewhere = addresses;
        }
    }

    async fn beat(&self, client: &Client) {
        let clients = u32::try_from(self.boxes.clients()).unwrap_or(u32::MAX);
        let beat = Beat {
            workers: self.boxes.len() as u16,
            clients,
            limit: self.limit,
            addresses: self.addresses.clone(),
        };
        self.publish(client, None, Frame::Beat(beat).encode(self.own)).await;
    }

    async fn send(&self, client: &Client, out: Outgoing) {
        self.queued.fetch_sub(out.bytes.len(), Relaxed);
        let counter = match self.publish(client, out.to, out.bytes).await {
            true => &self.counters.sent,
            false => &self.counters.lost,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// False if it is lost.
    async fn publish(&self, client: &Client, to: Option<u32>, bytes: Vec<u8>) -> bool {
        // Else it would wait for the next server of NATS, and others.
        if client.connection_state() != State::Connected {
            return false;
        }
        let subject = match to {
            Some(server) => format!("{}.{server:08x}", self.subject),
            None => format!("{}.all", self.subject),
        };
        client.publish(subject, bytes.into()).await.is_ok()
    }
}

/// The next message. A subscription ends with the client, which ends with the task.
async fn next(messages: &mut Subscriber) -> async_nats::Message {
    match messages.next().await {
        Some(message) => message,
        None => std::future::pending().await,
    }
}

fn on_event(counters: &Counters, connected: &Notify, event: &Event) {
    match event {
        Event::Connected => {
            counters.connected.store(true, Relaxed);
            info!("connected to NATS");
            connected.notify_one();
        }
        Event::Disconnected => {
            counters.connected.store(false, Relaxed);
            warn!("NATS can't be reached: clients of other servers are not found meanwhile");
        }
        Event::SlowConsumer(_) => {
            counters.lost.fetch_add(1, Relaxed);
        }
        Event::ServerError(error) => warn!(%error, "NATS reports an error"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::group_channel::GroupId;
    use crate::transport::SessionId;

    #[test]
    fn hostile_floods_wait_for_the_bus_in_bounds() {
        let nats = |others| {
            let (out, waiting) = mpsc::channel(MAX_QUEUED);
            let counters = Arc::new(Counters::default());
            counters.others.store(others, Relaxed);
            let (clock, queued) = (Clock::start(), Arc::default());
            (Nats { own: 1, clock, out, queued, counters }, waiting)
        };
        let from = MemberId { server: 1, worker: 0 };
        let to = To::Group(GroupId([1; 32]));
        let left = || Command::Left { group: GroupId([1; 32]), members: 1 };
        let (small, waiting) = nats(1);
        for _ in 0..MAX_QUEUED + 5 {
            small.carry(Time::ZERO, from, to, left());
        }
        assert_eq!((waiting.len(), small.counters.read().lost), (MAX_QUEUED, 5));
        assert_eq!(small.queued.load(Relaxed), MAX_QUEUED * 42);

        let (large, waiting) = nats(1);
        let sessions = vec![SessionId(u32::MAX); 100_000];
        for _ in 0..100 {
            large.carry(Time::ZERO, from, to, Command::Probe { sessions: sessions.clone() });
        }
        assert!(large.queued.load(Relaxed) <= MAX_QUEUED_BYTES);
        assert_eq!(waiting.len() as u64 + large.counters.read().lost, 100);
        assert_eq!(waiting.len(), MAX_QUEUED_BYTES / 500_012);

        let (alone, _waiting) = nats(0);
        assert!(!alone.leads_to(to), "there is nobody");
    }

    #[test]
    fn passwords_are_not_shown() {
        let url: ClusterUrl = "nats://ann:secret@bus.example:4333".parse().unwrap();
        assert_eq!(format!("{url} {url:?}"), "nats://bus.example:4333 nats://bus.example:4333");
        assert!(url.as_str().contains("secret"));
        for wrong in ["", "nats://", "http://a", "ws://a"] {
            assert!(wrong.parse::<ClusterUrl>().is_err(), "{wrong}");
        }
        assert_eq!(
            "bus.example".parse::<ClusterUrl>().unwrap().to_string(),
            "nats://bus.example:4222"
        );
    }
}
