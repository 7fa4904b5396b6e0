//! A link between two sockets on this machine: loss, delay, and in one direction a rate with a
//! queue before it.
//!
//! A datagram from the client waits in the queue, is dropped if that is full, takes its time at
//! the rate (28 bytes of IP and UDP headers included), is lost or not, and arrives after the
//! delay. To the client there is loss and delay only. The loss is that of a seeded generator.
//!
//! Each direction has a thread that receives and one that waits and sends, so that arrivals are
//! timed while another datagram waits for its departure.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes of an IPv4 and a UDP header.
const HEADERS: f64 = 28.0;
/// Bytes asked of the operating system for each socket's buffers.
const SOCKET_BUFFER: usize = 4 << 20;
/// How soon a thread notices the end of its link.
const TICK: Duration = Duration::from_millis(50);

/// The properties of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkConfig {
    /// Probability that a datagram is lost, in either direction.
    pub(crate) loss: f64,
    /// In either direction.
    pub(crate) delay: Duration,
    /// Bytes per second from the client.
    pub(crate) rate: f64,
    /// Bytes that may wait for their turn.
    pub(crate) queue: f64,
    /// Of the losses.
    pub(crate) seed: u64,
}

/// A running link. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Link {
    /// Where the client sends to.
    pub(crate) address: SocketAddr,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The counters of a link.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Datagrams that left, both ways.
    pub(crate) delivered: AtomicU64,
    /// Datagrams that were lost at random, both ways.
    pub(crate) lost: AtomicU64,
    /// Datagrams that found the queue full.
    pub(crate) overflowed: AtomicU64,
    /// How much later than they should datagrams left, in microseconds, all together.
    pub(crate) late: AtomicU64,
}

/// When a datagram leaves.
type Departure = (Instant, Vec<u8>);

/// One direction's fate of datagrams.
struct Direction {
    config: LinkConfig,
    /// True if there is a rate.
    limited: bool,
    random: u64,
    busy_until: Instant,
    counters: Arc<Counters>,
}

impl Direction {
    /// When a datagram that arrives now leaves the link, if ever.
    fn departure(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let mut sent = now;
        if self.limited {
            let len = len as f64 + HEADERS;
            let waiting = self.busy_until.saturating_duration_since(now).as_secs_f64();
            if waiting * self.config.rate + len > self.config.queue {
                self.counters.overflowed.fetch_add(1, Relaxed);
                return None;
            }
            let begun = self.busy_until.max(now);
            sent = begun + Duration::from_secs_f64(len / self.config.rate);
            self.busy_until = sent;
        }
        if self.chance() < self.config.loss {
            self.counters.lost.fetch_add(1, Relaxed);
            return None;
        }
        Some(sent + self.config.delay)
    }

    /// A number from 0 to 1 (the generator is SplitMix64).
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Link {
    /// Starts a link to `server`.
    pub(crate) fn start(config: LinkConfig, server: SocketAddr) -> io::Result<Self> {
        let (front, back) = (socket()?, socket()?);
        back.connect(server)?;
        let address = front.local_addr()?;
        let (counters, stop) = (Arc::new(Counters::default()), Arc::new(AtomicBool::new(false)));
        let client = Arc::new(OnceLock::new());
        let mut threads = Vec::new();
        for limited in [true, false] {
            let mut direction = Direction {
                config,
                limited,
                random: config.seed.wrapping_mul(2) + u64::from(limited),
                busy_until: Instant::now(),
                counters: Arc::clone(&counters),
            };
            let (departures, waiting) = mpsc::channel();
            let (from, to) = if limited { (&front, &back) } else { (&back, &front) };
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            let (ending, known) = (Arc::clone(&stop), Arc::clone(&client));
            threads.push(thread::spawn(move || {
                receive(&from, &ending, |now, sender, datagram| {
                    if limited {
                        known.get_or_init(|| sender);
                    }
                    if let Some(at) = direction.departure(now, datagram.len()) {
                        // The other thread ends with this one.
                        let _ = departures.send((at, datagram.to_vec()));
                    }
                });
            }));
            let (counters, client) = (Arc::clone(&counters), Arc::clone(&client));
            let remote = move || if limited { None } else { client.get().copied() };
            threads.push(thread::spawn(move || send(&to, &waiting, &counters, remote)));
        }
        Ok(Self { address, counters, stop, threads })
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // The threads return nothing.
            let _ = thread.join();
        }
    }
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(TICK))?;
    let options = socket2::SockRef::from(&socket);
    // It may give less.
    let _ = options.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = options.set_send_buffer_size(SOCKET_BUFFER);
    Ok(socket)
}

fn receive(
    socket: &UdpSocket,
    stop: &AtomicBool,
    mut take: impl FnMut(Instant, SocketAddr, &[u8]),
) {
    let mut buffer = vec![0; 65_536];
    while !stop.load(Relaxed) {
        // Errors are timeouts, or the far end's socket is gone: neither matters.
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            take(Instant::now(), from, &buffer[..len]);
        }
    }
}

fn send(
    socket: &UdpSocket,
    waiting: &mpsc::Receiver<Departure>,
    counters: &Counters,
    remote: impl Fn() -> Option<SocketAddr>,
) {
    for (at, datagram) in waiting {
        let left = at.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            thread::sleep(left);
        }
        counters.late.fetch_add(at.elapsed().as_micros() as u64, Relaxed);
        counters.delivered.fetch_add(1, Relaxed);
        // What can't be sent is lost.
        let _ = match remote() {
            Some(remote) => socket.send_to(&datagram, remote),
            None => socket.send(&datagram),
        };
    }
}

/// The measured properties of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked {
    /// The median round trip.
    pub(crate) round_trip: Duration,
    /// Bytes per second that arrive, with headers, of more than the link takes.
    pub(crate) rate: f64,
    /// Of all datagrams both ways that were not refused by the queue.
    pub(crate) loss: f64,
}

/// Measures a link with plain datagrams.
pub(crate) fn check(config: LinkConfig) -> io::Result<Checked> {
    const LEN: usize = 1200;
    const PROBES: usize = 200;
    let (far, near) = (socket()?, socket()?);
    let link = Link::start(config, far.local_addr()?)?;
    let stop = Arc::new(AtomicBool::new(false));
    let ending = Arc::clone(&stop);
    // The far end answers what begins with 1 and counts the rest.
    let answerer = thread::spawn(move || {
        let mut arrivals = Vec::new();
        receive(&far, &ending, |now, from, datagram| match datagram.first() {
            Some(1) => drop(far.send_to(&datagram[..16], from)),
            _ => arrivals.push(now),
        });
        arrivals
    });
    let origin = Instant::now();
    let (asker, ending) = (near.try_clone()?, Arc::clone(&stop));
    let listener = thread::spawn(move || {
        let mut trips = Vec::new();
        receive(&near, &ending, |now, _, datagram| {
            if let Some(stamp) = datagram.get(1..9).and_then(|bytes| bytes.try_into().ok()) {
                let sent = origin + Duration::from_micros(u64::from_be_bytes(stamp));
                trips.push(now.saturating_duration_since(sent));
            }
        });
        trips
    });
    let mut datagram = [0; LEN];
    for _ in 0..PROBES {
        datagram[0] = 1;
        let stamp = origin.elapsed().as_micros() as u64;
        datagram[1..9].copy_from_slice(&stamp.to_be_bytes());
        asker.send_to(&datagram, link.address)?;
        thread::sleep(Duration::from_millis(5));
    }
    datagram[0] = 0;
    let begun = Instant::now();
    let mut sent = 0.0;
    while begun.elapsed() < Duration::from_millis(1500) {
        // Half as much again as the link takes.
        while sent < begun.elapsed().as_secs_f64() * config.rate * 1.5 {
            asker.send_to(&datagram, link.address)?;
            sent += LEN as f64 + HEADERS;
        }
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(2 * config.delay + Duration::from_millis(20));
    stop.store(true, Relaxed);
    let arrivals = answerer.join().unwrap_or_default();
    let mut trips = listener.join().unwrap_or_default();
    trips.sort_unstable();
    let counters = link.counters();
    let lost = counters.lost.load(Relaxed) as f64;
    let delivered = counters.delivered.load(Relaxed) as f64;
    let window = Duration::from_millis(200)..Duration::from_millis(1400);
    let counted = arrivals
        .iter()
        .filter(|at| window.contains(&at.saturating_duration_since(begun + config.delay)));
    let seconds = (window.end - window.start).as_secs_f64();
    let rate = counted.count() as f64 * (LEN as f64 + HEADERS) / seconds;
    Ok(Checked {
        round_trip: trips.get(trips.len() / 2).copied().unwrap_or_default(),
        rate: rate / (1.0 - config.loss),
        loss: lost / (lost + delivered),
    })
}
