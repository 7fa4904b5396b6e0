//! A sender of bulk data as TCP is one, for comparison: Reno (RFC 5681) or CUBIC (RFC 9438), with
//! selective acknowledgement of each packet, without pacing.

use rtmfp::proto::transport::{Path, Time, Transmit, TransmitBuf};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// UDP payload of a packet, in bytes.
const SEGMENT: usize = 1200;
/// A packet is lost when one was acknowledged that left so many later.
const REORDERING: u64 = 3;
/// The shortest retransmission timeout, as in Linux.
const MIN_TIMEOUT: Duration = Duration::from_millis(200);
const CUBIC_C: f64 = 0.4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tcp {
    Reno,
    Cubic,
}

/// Keeps its window full; windows are in segments.
#[derive(Debug)]
pub struct TcpSender {
    kind: Tcp,
    to: SocketAddr,
    next: u64,
    flight: BTreeMap<u64, Time>,
    window: f64,
    threshold: f64,
    /// Losses of packets before this have been answered.
    answered: u64,
    acked_at: Time,
    round_trip: Duration,
    /// CUBIC: window before the last reduction, when that was, and what Reno would have.
    last_max: f64,
    epoch: Option<Time>,
    friendly: f64,
}

impl TcpSender {
    pub fn new(kind: Tcp, to: SocketAddr) -> Self {
        Self {
            kind,
            to,
            next: 0,
            flight: BTreeMap::new(),
            window: 10.0,
            threshold: f64::INFINITY,
            answered: 0,
            acked_at: Time::ZERO,
            round_trip: Duration::ZERO,
            last_max: 0.0,
            epoch: None,
            friendly: 0.0,
        }
    }

    pub fn on_datagram(&mut self, now: Time, datagram: &[u8]) {
        let Some(number) = datagram.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)) else {
            return;
        };
        let Some(sent) = self.flight.remove(&number) else { return };
        self.acked_at = now;
        let sample = now.since(sent);
        self.round_trip =
            if self.round_trip.is_zero() { sample } else { (self.round_trip * 7 + sample) / 8 };
        let lost: Vec<u64> =
            self.flight.range(..number.saturating_sub(REORDERING)).map(|(&n, _)| n).collect();
        for number in &lost {
            self.flight.remove(number);
        }
        match lost.last() {
            Some(&number) if number >= self.answered => self.reduce(),
            Some(_) => {}
            None => self.grow(now),
        }
    }

    fn reduce(&mut self) {
        self.answered = self.next;
        self.last_max = self.window;
        self.epoch = None;
        let kept = if self.kind == Tcp::Reno { 0.5 } else { 0.7 };
        self.window = (self.window * kept).max(2.0);
        self.threshold = self.window;
    }

    fn grow(&mut self, now: Time) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        match self.kind {
            Tcp::Reno => self.window += 1.0 / self.window,
            Tcp::Cubic => self.grow_cubic(now),
        }
    }

    fn grow_cubic(&mut self, now: Time) {
        if self.epoch.is_none() {
            self.epoch = Some(now);
            self.friendly = self.window;
            self.last_max = self.last_max.max(self.window);
        }
        let elapsed = self.epoch.map_or(Duration::ZERO, |at| now.since(at)) + self.round_trip;
        let k = (self.last_max * 0.3 / CUBIC_C).cbrt();
        let target = CUBIC_C * (elapsed.as_secs_f64() - k).powi(3) + self.last_max;
        self.friendly += 0.53 / self.friendly;
        let growth = (target.min(self.window * 1.5) - self.window).max(0.0) / self.window;
        self.window = (self.window + growth).max(self.friendly);
    }

    fn timeout(&self) -> Duration {
        (self.round_trip * 2).max(MIN_TIMEOUT)
    }

    pub fn due(&self) -> Option<Time> {
        let (_, &oldest) = self.flight.first_key_value()?;
        Some(oldest.max(self.acked_at) + self.timeout())
    }

    pub fn on_timeout(&mut self, now: Time) {
        if self.due().is_some_and(|due| due <= now) {
            self.flight.clear();
            self.answered = self.next;
            self.threshold = (self.window / 2.0).max(2.0);
            self.window = 1.0;
            self.epoch = None;
        }
    }

    pub fn poll(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        if self.flight.len() as f64 >= self.window.floor() {
            return None;
        }
        let mut datagram = self.next.to_be_bytes().to_vec();
        datagram.resize(SEGMENT, 0);
        self.flight.insert(self.next, now);
        self.next += 1;
        Some(fill(buf, self.to, &datagram))
    }
}

/// Acknowledges each packet.
#[derive(Debug, Default)]
pub struct TcpReceiver {
    pub received: u64,
    answers: VecDeque<(SocketAddr, [u8; 8])>,
}

impl TcpReceiver {
    pub fn on_datagram(&mut self, path: Path, datagram: &[u8]) {
        if let Some(number) = datagram.first_chunk() {
            self.received += datagram.len() as u64;
            self.answers.push_back((path.remote, *number));
        }
    }

    pub fn poll(&mut self, buf: &mut TransmitBuf) -> Option<Transmit> {
        let (to, number) = self.answers.pop_front()?;
        Some(fill(buf, to, &number))
    }
}

/// The only datagram of a batch.
fn fill(buf: &mut TransmitBuf, to: SocketAddr, datagram: &[u8]) -> Transmit {
    buf.clear();
    buf.push(datagram);
    Transmit::to(Path::to(to))
}
