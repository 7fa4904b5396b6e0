//! Path MTU: search for the largest datagram that the path passes (RFC 7016 §3.5.4.3, after
//! RFC 4821).
//!
//! Every path is taken to pass [`Config::max_datagram`]. A session that sends much looks for more:
//! a packet of padding and a ping that is answered has passed. It looks only if the far end puts
//! packet fragments together again, since fragments of messages keep the size to which they were
//! cut: should the path take less later, they go in pieces.

use super::Session;
use crate::transport::{Config, Time, TransmitBuf};
use crate::wire::chunk::CHUNK_HEADER_LEN;
use crate::wire::chunk::kind;
use std::net::SocketAddr;
use std::time::Duration;

/// A session that has sent less, in bytes, does not search.
const WORTHWHILE: u64 = 64 << 10;
/// A search ends when at most this many bytes are left to be gained.
const RESOLUTION: usize = 32;
/// Probes of a size before it counts as too large.
const TRIES: u32 = 3;
/// Shortest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// After a search, and after a far end that does not answer, it is tried again then (RFC 4821
/// §7.3).
const SEARCH_AGAIN: Duration = Duration::from_secs(600);
/// So many flights in a row whose large fragments were lost mean that large datagrams no longer
/// pass. All losses of one flight are one: a queue that overflows or a batch that is dropped takes
/// many at once.
const LOST_FLIGHTS: u32 = 3;
/// What IPv6 leaves of an Ethernet frame, and so do most tunnels; tried when more does not pass.
const COMMON: usize = 1452;
/// The header of IPv6 is longer by this than that of IPv4.
const IPV6_MORE: usize = 20;
/// What IPv4 leaves of the largest Ethernet frames in use. Every system's loopback interface passes
/// it: it is tried there when the ceiling has passed.
const JUMBO: usize = 8972;
/// First byte of the ping's message.
const MARK: u8 = b'P';
const MESSAGE_LEN: usize = 1 + 4;

/// Datagram sizes of the path, and the state of the search.
#[derive(Debug)]
pub(super) struct PathMtu {
    /// Size that passes every path.
    base: usize,
    /// Largest size that is searched for.
    ceiling: usize,
    /// A much larger one to be tried when the ceiling has passed; `None` afterwards.
    jumbo: Option<usize>,
    /// Size that passes this path.
    current: usize,
    /// The largest that it ever was.
    largest: usize,
    search: Search,
    /// Number of the last probe, by which its answer is recognized.
    number: u32,
    /// To be sent now.
    due: Option<Probe>,
    lost_flights: u32,
    /// Losses of transmissions before this one belong to a flight that was counted.
    counted: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    /// No search yet.
    Idle,
    /// Large datagrams seem not to pass. Waits for a sign that small ones do.
    Doubting,
    /// Waits for the next search.
    Resting { until: Time },
    /// The far end was asked whether it puts pieces together.
    Asking { tries: u32, again: Time },
    /// A probe of `size` is on its way; `high` and more do not pass.
    Probing { high: usize, size: usize, tries: u32, again: Time },
}

/// A packet of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    /// Bytes of the datagram; `None` for the question whether pieces are put together.
    pub(super) size: Option<usize>,
    pub(super) message: [u8; MESSAGE_LEN],
}

impl PathMtu {
    pub(super) fn new(config: &Config, remote: SocketAddr) -> Self {
        let remote = remote.ip().to_canonical();
        let less = if remote.is_ipv6() { IPV6_MORE } else { 0 };
        let ceiling = config.max_probed_datagram.saturating_sub(less);
        let jumbo = remote.is_loopback().then_some(JUMBO - less);
        Self {
            base: config.max_datagram,
            ceiling,
            jumbo: jumbo.filter(|&size| size > ceiling && ceiling > config.max_datagram),
            current: config.max_datagram,
            largest: config.max_datagram,
            search: Search::Idle,
            number: 0,
            due: None,
            lost_flights: 0,
            counted: 0,
        }
    }

    /// The largest datagram that may be sent, in bytes.
    pub(super) const fn size(&self) -> usize {
        self.current
    }

    /// Size that passes every path.
    pub(super) const fn base(&self) -> usize {
        self.base
    }

    /// The size by which windows are counted: three of the base hold two datagrams of an Ethernet
    /// frame as well, but not of much larger ones.
    pub(super) const fn segment(&self) -> usize {
        if self.current > 2 * self.base { self.current } else { self.base }
    }

    /// Fragments may wait that are too large for the path as it is now.
    pub(super) const fn has_shrunk(&self) -> bool {
        self.current < self.largest
    }

    /// So many bytes were sent altogether.
    pub(super) fn on_sent(&mut self, now: Time, total: u64) {
        if self.search == Search::Idle && total >= WORTHWHILE && self.is_worth_it() {
            self.search = Search::Resting { until: now };
        }
    }

    /// Begins to search at once, whether the far end puts pieces together or not.
    fn begin(&mut self, now: Time, timeout: Duration) {
        if self.is_worth_it() && !self.is_searching() {
            self.probe(self.ceiling + 1, self.ceiling, now + timeout.max(PATIENCE));
        }
    }

    const fn is_searching(&self) -> bool {
        matches!(self.search, Search::Asking { .. } | Search::Probing { .. })
    }

    fn is_worth_it(&self) -> bool {
        self.ceiling >= self.current + RESOLUTION
    }

    pub(super) const fn next_timeout(&self) -> Option<Time> {
        match self.search {
            Search::Idle | Search::Doubting => None,
            Search::Resting { until: at }
            | Search::Asking { again: at, .. }
            | Search::Probing { again: at, .. } => Some(at),
        }
    }

    /// Goes on with the search if that is due. `timeout` is the retransmission timeout.
    pub(super) fn on_timeout(&mut self, now: Time, timeout: Duration) {
        if self.next_timeout().is_none_or(|at| at > now) {
            return;
        }
        let again = now + timeout.max(PATIENCE);
        match self.search {
            Search::Idle | Search::Doubting => {}
            Search::Resting { .. } if !self.is_worth_it() => self.rest(now, SEARCH_AGAIN),
            Search::Resting { .. } => {
                self.search = Search::Asking { tries: 1, again };
                self.send(None);
            }
            Search::Asking { tries, .. } if tries < TRIES => {
                self.search = Search::Asking { tries: tries + 1, again };
                self.send(None);
            }
            Search::Asking { .. } => self.rest(now, SEARCH_AGAIN),
            Search::Probing { high, size, tries, .. } if tries < TRIES => {
                self.search = Search::Probing { high, size, tries: tries + 1, again };
                self.send(Some(size));
            }
            Search::Probing { size, .. } => self.look_below(now, again, size),
        }
    }

    fn rest(&mut self, now: Time, period: Duration) {
        self.search = Search::Resting { until: now + period };
    }

    /// Tries a common size, or the middle between what passes and `high`, which does not.
    fn look_below(&mut self, now: Time, again: Time, high: usize) {
        if high > self.ceiling + 1 {
            return self.rest(now, SEARCH_AGAIN);
        }
        if high < self.current + RESOLUTION {
            return match self.jumbo.take_if(|_| high > self.ceiling) {
                Some(size) => self.probe(size + 1, size, again),
                None => self.rest(now, SEARCH_AGAIN),
            };
        }
        let is_between = self.current < COMMON && COMMON < high;
        let middle = self.current + (high - self.current) / 2;
        self.probe(high, if is_between { COMMON } else { middle }, again);
    }

    fn probe(&mut self, high: usize, size: usize, again: Time) {
        self.search = Search::Probing { high, size, tries: 1, again };
        self.send(Some(size));
    }

    fn send(&mut self, size: Option<usize>) {
        self.number = self.number.wrapping_add(1);
        self.due = Some(Probe { size, message: self.message() });
    }

    fn message(&self) -> [u8; MESSAGE_LEN] {
        let [a, b, c, d] = self.number.to_be_bytes();
        [MARK, a, b, c, d]
    }

    pub(super) const fn has_probe(&self) -> bool {
        self.due.is_some()
    }

    pub(super) const fn take_probe(&mut self) -> Option<Probe> {
        self.due.take()
    }

    /// Takes the answer to a ping. True if it belongs to the search.
    pub(super) fn on_reply(&mut self, now: Time, timeout: Duration, message: &[u8]) -> bool {
        if message != self.message() {
            return false;
        }
        let again = now + timeout.max(PATIENCE);
        match self.search {
            Search::Asking { .. } if self.is_worth_it() => {
                self.probe(self.ceiling + 1, self.ceiling, again);
            }
            Search::Asking { .. } => self.rest(now, SEARCH_AGAIN),
            Search::Probing { high, size, .. } => {
                self.current = size;
                self.largest = self.largest.max(size);
                self.lost_flights = 0;
                self.look_below(now, again, high);
            }
            Search::Idle | Search::Doubting | Search::Resting { .. } => {}
        }
        true
    }

    /// A fragment of `size` bytes has arrived; `large` is what a small datagram does not hold.
    pub(super) const fn on_acknowledged(&mut self, now: Time, size: u64, large: u64) {
        if size > large {
            self.lost_flights = 0;
        }
        // In pieces also the large ones pass.
        if matches!(self.search, Search::Doubting) {
            self.search = Search::Resting { until: now };
        }
    }

    /// A fragment of `size` bytes was lost, the transmission `tsn`; the next one will be `next`.
    pub(super) fn on_lost(&mut self, (tsn, next): (u64, u64), size: u64, large: u64) {
        if size <= large || self.current == self.base || tsn < self.counted {
            return;
        }
        self.counted = next;
        self.lost_flights += 1;
        if self.lost_flights >= LOST_FLIGHTS {
            tracing::debug!(bytes = self.current, "large datagrams no longer pass");
            self.fall_back(Search::Doubting);
        }
    }

    /// The path is another one now.
    pub(super) fn on_moved(&mut self, now: Time) {
        self.jumbo = None;
        if self.search != Search::Idle {
            self.fall_back(Search::Resting { until: now + PATIENCE });
        }
    }

    const fn fall_back(&mut self, search: Search) {
        self.current = self.base;
        self.lost_flights = 0;
        self.due = None;
        self.search = search;
    }
}

impl Session {
    pub(crate) fn search_path(&mut self, now: Time) {
        self.path_mtu.begin(now, self.rtt.timeout());
    }

    pub(crate) const fn is_searching_path(&self) -> bool {
        self.path_mtu.is_searching()
    }

    /// A fragment larger than this, with its chunk header, was cut for more than the base.
    pub(super) fn large_fragment(&self) -> u64 {
        self.sealer.plain_capacity(self.path_mtu.base()) as u64
    }

    /// Puts the packet that the search wants sent into the empty buffer.
    pub(super) fn assemble_probe(&mut self, buf: &mut TransmitBuf) {
        let Some(probe) = self.path_mtu.take_probe() else { return };
        let pieces = match probe.size {
            None => self.ping_in_pieces(&probe.message),
            Some(_) => Vec::new(),
        };
        let capacity = probe.size.map_or(0, |size| self.sealer.plain_capacity(size));
        let packet = self.sealer.begin(&mut buf.bytes);
        let start = buf.bytes.len();
        crate::wire::PacketHeader::new(self.near_mode()).encode(&mut buf.bytes);
        if probe.size.is_some() {
            let ping = CHUNK_HEADER_LEN + MESSAGE_LEN;
            let padding = capacity.saturating_sub(1 + CHUNK_HEADER_LEN + ping);
            push_chunk(kind::PADDING_00, &vec![0; padding], &mut buf.bytes);
            push_chunk(kind::PING, &probe.message, &mut buf.bytes);
        } else {
            buf.bytes.extend_from_slice(&pieces);
        }
        debug_assert!(probe.size.is_none() || buf.bytes.len() - start == capacity);
        let range = self.sealer.finish(&mut buf.bytes, packet);
        buf.datagrams.push(range);
    }
}

fn push_chunk(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    let len = u16::try_from(payload.len()).unwrap_or(0);
    out.push(kind);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&payload[..usize::from(len)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(250);

    fn searching() -> PathMtu {
        let config = Config { max_probed_datagram: 1452, ..Config::default() };
        let mut mtu = PathMtu::new(&config, ([192, 0, 2, 1], 1).into());
        mtu.on_sent(Time::ZERO, WORTHWHILE - 1);
        assert_eq!(mtu.next_timeout(), None);
        mtu.on_sent(Time::ZERO, WORTHWHILE);
        mtu
    }

    /// Lets the search run over a path that passes `limit` bytes.
    fn run(mtu: &mut PathMtu, mut now: Time, limit: usize) -> Time {
        for _ in 0..100 {
            mtu.on_timeout(now, TIMEOUT);
            while let Some(probe) = mtu.take_probe() {
                if probe.size.is_none_or(|size| size <= limit) {
                    assert!(mtu.on_reply(now, TIMEOUT, &probe.message));
                }
            }
            match mtu.search {
                Search::Resting { .. } => return now,
                _ => now = mtu.next_timeout().unwrap(),
            }
        }
        panic!("an endless search");
    }

    #[test]
    fn a_search_finds_what_passes() {
        for limit in 1200..1500 {
            let mut mtu = searching();
            run(&mut mtu, Time::ZERO, limit);
            assert!(mtu.size() <= limit && mtu.size() + RESOLUTION > limit.min(1452), "{limit}");
        }
    }

    #[test]
    fn a_far_end_that_does_not_answer_gets_nothing_larger() {
        let mut mtu = searching();
        let mut now = Time::ZERO;
        for _ in 0..TRIES {
            mtu.on_timeout(now, TIMEOUT);
            assert_eq!(mtu.take_probe().unwrap().size, None);
            now = mtu.next_timeout().unwrap();
        }
        mtu.on_timeout(now, TIMEOUT);
        assert_eq!(mtu.next_timeout(), Some(now + SEARCH_AGAIN));
        assert_eq!((mtu.take_probe(), mtu.size()), (None, 1200));
    }

    #[test]
    fn three_lost_flights_in_a_row_lead_back() {
        let mut mtu = searching();
        let now = run(&mut mtu, Time::ZERO, 9000);
        assert_eq!(mtu.size(), 1452);
        // A hundred datagrams of one batch.
        for tsn in 10..110 {
            mtu.on_lost((tsn, 200), 1300, 1190);
        }
        mtu.on_lost((200, 300), 1300, 1190);
        mtu.on_acknowledged(now, 1300, 1190);
        mtu.on_lost((300, 400), 1300, 1190);
        mtu.on_acknowledged(now, 500, 1190);
        mtu.on_lost((450, 500), 500, 1190);
        mtu.on_lost((399, 500), 1300, 1190);
        mtu.on_lost((400, 500), 1300, 1190);
        assert_eq!(mtu.size(), 1452);
        mtu.on_lost((500, 600), 1300, 1190);
        assert!(mtu.size() == 1200 && mtu.has_shrunk());
        assert_eq!(mtu.next_timeout(), None, "nothing passes yet");
        mtu.on_acknowledged(now, 500, 1190);
        assert_eq!(mtu.next_timeout(), Some(now));
        run(&mut mtu, now, 9000);
        assert_eq!(mtu.size(), 1452);
    }

    #[test]
    fn what_tunnels_leave_is_tried_second() {
        let config = Config::default();
        let mut mtu = PathMtu::new(&config, ([192, 0, 2, 1], 1).into());
        mtu.on_sent(Time::ZERO, WORTHWHILE);
        let now = run(&mut mtu, Time::ZERO, 1464);
        assert_eq!(mtu.size(), 1452);
        assert!(now <= Time::ZERO + 6 * PATIENCE, "{now:?}");
        let six = PathMtu::new(&config, (std::net::Ipv6Addr::LOCALHOST, 1).into());
        assert_eq!(six.ceiling, 1452);
    }

    #[test]
    fn much_more_is_tried_on_the_loopback_interface() {
        for (limit, expected) in [(65_507, 8972), (8971, 1472), (1452, 1452), (1200, 1200)] {
            let mut mtu =
                PathMtu::new(&Config::default(), (std::net::Ipv4Addr::LOCALHOST, 1).into());
            mtu.on_sent(Time::ZERO, WORTHWHILE);
            let now = run(&mut mtu, Time::ZERO, limit);
            assert_eq!(mtu.size(), expected, "{limit}");
            assert_eq!(mtu.segment(), if expected == 8972 { 8972 } else { 1200 });
            if expected == 8972 {
                (0..3).for_each(|flight| mtu.on_lost((flight * 10, flight * 10 + 9), 8900, 1190));
                assert_eq!((mtu.size(), mtu.segment()), (1200, 1200));
                mtu.on_acknowledged(now, 500, 1190);
                run(&mut mtu, now, limit);
                assert_eq!(mtu.size(), 1472, "not a second time");
            }
        }
        let six = (std::net::Ipv6Addr::LOCALHOST, 1).into();
        assert_eq!(PathMtu::new(&Config::default(), six).jumbo, Some(8952));
        let no_search = Config { max_probed_datagram: 0, ..Config::default() };
        assert_eq!(PathMtu::new(&no_search, six).jumbo, None);
        let elsewhere = ([192, 168, 0, 1], 1).into();
        assert_eq!(PathMtu::new(&Config::default(), elsewhere).jumbo, None);
    }

    #[test]
    fn a_late_answer_to_an_earlier_probe_means_nothing() {
        let mut mtu = searching();
        mtu.on_timeout(Time::ZERO, TIMEOUT);
        let ask = mtu.take_probe().unwrap();
        assert!(mtu.on_reply(Time::ZERO, TIMEOUT, &ask.message));
        assert!(!mtu.on_reply(Time::ZERO, TIMEOUT, &ask.message));
        assert!(!mtu.on_reply(Time::ZERO, TIMEOUT, b"P"));
        assert_eq!(mtu.size(), 1200);
        assert_eq!(mtu.take_probe().unwrap().size, Some(1452));
    }
}
