//! A flood of startup packets, thinned out before it fills the buffer of a socket.
//!
//! Anybody can send hellos, from forged sources, as many as the line carries. What can't be read in
//! time is dropped by the system, and with it the packets of sessions, which wait in the same buffer.
//! Linux lets a program filter what a socket takes: in a flood a random part of the startup packets gets
//! through, and every packet that names a session.
//!
//! The part is as large as there is time for: a newcomer's hello is one among the forged ones, and what is
//! read of these decides how soon his is. Each [sort](SORTS) of startup packets has a share, so that a flood of
//! hellos leaves the keyings of those whose hello got through, and the other way round.

use crate::transport::Time;
use std::time::Duration;

/// Startup packets that are read in a second while there is time for nothing else: a crowd of initiators
/// that all come at once sends less.
const FEWEST: u64 = 20_000;
/// Startup packets that are read in a second at most: more than a processor can process.
const MOST: u64 = 1_000_000;
/// Less of the time without work is too little: packets of sessions would wait.
const BUSY: f64 = 0.15;
/// With more of it, more startup packets can be read.
const IDLE: f64 = 0.25;
/// How often they are counted.
const PERIOD: Duration = Duration::from_millis(250);
/// The shortest time between two lines in the log.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of three words: what is shorter is no packet.
pub(super) const MIN_PACKET: usize = 12;
/// Startup packets are of three sorts: short ones, long ones, and several from one source that the system has
/// joined, of which it shows a filter no more than the first one and the length of all.
///
/// A hello is short unless its URL is long. A keying is long: it has a cookie, a certificate and two public keys.
const SORTS: usize = 3;
/// Bytes from which on it is a long one, and from which on it is several.
const LONG: usize = 256;
const SEVERAL: usize = 1500;
/// One in so many gets through at least.
const LEAST_PART: u32 = 1 << 12;

/// Which part of the startup packets is taken: one in so many of each sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thinning([u32; SORTS]);

impl Thinning {
    /// Everything is taken.
    const NONE: Self = Self([1; SORTS]);

    /// That of the sort of which the smallest part is taken.
    pub(super) fn most(self) -> u32 {
        self.0.into_iter().fold(1, u32::max)
    }
}

/// Numbers of startup packets, of each sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Startups([u64; SORTS]);

impl Startups {
    /// So many that the system has joined to `length` bytes.
    pub(super) fn joined(count: usize, length: usize) -> Self {
        let sort = usize::from(length >= LONG) + usize::from(length >= SEVERAL);
        let mut counted = Self::default();
        counted.0[sort] = count as u64;
        counted
    }
}

/// Counts startup packets, and says which part of them to take.
#[derive(Debug)]
pub(super) struct FloodGuard {
    since: Time,
    received: Startups,
    /// Time in which nothing had to be done.
    waited: Duration,
    /// Startup packets that are worth their work, in a second.
    budget: u64,
    taken: Thinning,
    /// A flood that begins before is not worth another line in the log.
    silent_until: Time,
}

impl Default for FloodGuard {
    fn default() -> Self {
        Self {
            since: Time::ZERO,
            received: Startups::default(),
            waited: Duration::ZERO,
            budget: MOST,
            taken: Thinning::NONE,
            silent_until: Time::ZERO,
        }
    }
}

impl FloodGuard {
    /// So many startup packets were received. Returns how many were not, about.
    pub(super) fn note(&mut self, startups: Startups) -> usize {
        let mut dropped = 0;
        for (sort, count) in startups.0.into_iter().enumerate() {
            self.received.0[sort] += count;
            dropped += count * u64::from(self.taken.0[sort] - 1);
        }
        usize::try_from(dropped).unwrap_or(usize::MAX)
    }

    /// For so long nothing had to be done.
    pub(super) fn note_wait(&mut self, waited: Duration) {
        self.waited += waited;
    }

    /// The part that is to be taken from now on, if it is another one.
    pub(super) fn adjust(&mut self, now: Time) -> Option<Thinning> {
        let elapsed = now.since(self.since);
        if elapsed < PERIOD {
            return None;
        }
        let received = std::mem::take(&mut self.received).0;
        let idle = std::mem::take(&mut self.waited).as_secs_f64() / elapsed.as_secs_f64();
        self.since = now;
        let per_second =
            |count: u64| count.saturating_mul(1_000_000) / (elapsed.as_micros() as u64).max(1);
        self.set_budget(per_second(received.iter().sum()), idle);

        let before = self.taken;
        let sent = std::array::from_fn(|sort| {
            per_second(received[sort]).saturating_mul(u64::from(before.0[sort]))
        });
        let taken = shares(sent, self.budget);
        self.taken.0 = std::array::from_fn(|sort| part(sent[sort], taken[sort], before.0[sort]));
        (self.taken != before).then_some(self.taken)
    }

    /// Sets the budget by how many were read in a second, and which part of the time was left.
    fn set_budget(&mut self, read: u64, idle: f64) {
        if idle > IDLE {
            self.budget = (self.budget + self.budget / 8).min(MOST);
        } else if idle < BUSY {
            let read = read.min(self.budget);
            // Without any time left it is unknown how much too many they were.
            let fewer = if idle < BUSY / 4.0 { read / 2 } else { read - read / 5 };
            // If few were read, something else took the time.
            self.budget = fewer.max(FEWEST);
        }
    }

    /// The flood is worth a line in the log: as it begins, and once a minute at most.
    pub(super) fn is_news(&mut self, now: Time) -> bool {
        let is_news = self.taken != Thinning::NONE && now >= self.silent_until;
        if is_news {
            self.silent_until = now + SILENCE;
        }
        is_news
    }

    /// When to [adjust](Self::adjust) again, even if nothing comes.
    pub(super) fn next_look(&self) -> Option<Time> {
        (self.taken != Thinning::NONE).then(|| self.since + PERIOD)
    }
}

/// Divides a budget: everything of the sorts that are fewer than their share, and as many of each other one.
fn shares(sent: [u64; SORTS], budget: u64) -> [u64; SORTS] {
    let (mut shares, mut left) = ([0; SORTS], budget);
    let mut fewest_first: [usize; SORTS] = std::array::from_fn(|sort| sort);
    fewest_first.sort_unstable_by_key(|&sort| sent[sort]);
    for (place, sort) in fewest_first.into_iter().enumerate() {
        shares[sort] = sent[sort].min(left / (SORTS - place) as u64);
        left -= shares[sort];
    }
    shares
}

/// The part of `sent` packets a second by which `share` are taken. It is at most twice the part before, so
/// that a flood that pauses does not fill the buffer when it goes on.
fn part(sent: u64, share: u64, before: u32) -> u32 {
    let one_in = u32::try_from(sent.div_ceil(share.max(1))).unwrap_or(LEAST_PART);
    one_in.max(before / 2).clamp(1, LEAST_PART)
}

/// Makes a socket take a part of the startup packets only.
///
/// The session ID of a packet is the exclusive-or of its first three words (RFC 7016 §2.2.2), and 0
/// in startup packets. What is shorter than three words is no packet, and counts as a short one.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn thin_out(socket: socket2::SockRef<'_>, taken: Thinning) -> std::io::Result<()> {
    use socket2::SockFilter;
    if taken == Thinning::NONE {
        return match socket.detach_filter() {
            // There was none.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            detached => detached,
        };
    }
    // Instructions of the classic filter (Linux, Documentation/networking/filter.rst).
    const LOAD_LENGTH: u16 = 0x80;
    const LOAD_WORD: u16 = 0x20;
    const TO_X: u16 = 0x07;
    const XOR_X: u16 = 0xac;
    const IF_EQUAL: u16 = 0x15;
    const IF_GREATER: u16 = 0x25;
    const IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    /// Where a load finds a random number.
    const RANDOM: u32 = 0xffff_f000 + 56;
    /// The filter sees the header of UDP, too.
    const UDP: u32 = 8;
    let step = |code, k| SockFilter::new(code, 0, 0, k);
    // Both numbers say how many steps are left out: if it is so, and if not.
    let branch = |code, k, then, otherwise| SockFilter::new(code, then, otherwise, k);
    let enough = taken.0.map(|one_in| u32::MAX / one_in.max(1));
    let filter = [
        step(LOAD_LENGTH, 0),
        branch(IF_AT_LEAST, UDP + MIN_PACKET as u32, 0, 11),
        step(LOAD_WORD, UDP),
        step(TO_X, 0),
        step(LOAD_WORD, UDP + 4),
        step(XOR_X, 0),
        step(TO_X, 0),
        step(LOAD_WORD, UDP + 8),
        step(XOR_X, 0),
        branch(IF_EQUAL, 0, 0, 9),
        step(LOAD_LENGTH, 0),
        branch(IF_AT_LEAST, UDP + SEVERAL as u32, 5, 0),
        branch(IF_AT_LEAST, UDP + LONG as u32, 2, 0),
        // Each sort.
        step(LOAD_WORD, RANDOM),
        branch(IF_GREATER, enough[0], 5, 4),
        step(LOAD_WORD, RANDOM),
        branch(IF_GREATER, enough[1], 3, 2),
        step(LOAD_WORD, RANDOM),
        branch(IF_GREATER, enough[2], 1, 0),
        step(RETURN, u32::MAX),
        step(RETURN, 0),
    ];
    socket.attach_filter(&filter)
}

/// Elsewhere a socket takes what comes.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
pub(super) fn thin_out(_: socket2::SockRef<'_>, _: Thinning) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(100_000 + ms)
    }

    fn short(count: u64) -> Startups {
        Startups([count, 0, 0])
    }

    fn guard() -> FloodGuard {
        let mut guard = FloodGuard::default();
        guard.note_wait(Duration::from_secs(100));
        guard.adjust(at(0));
        guard
    }

    /// Ten seconds with so many startup packets in each, on a machine that does nothing else and can process
    /// 500,000; what it takes at the end, and how many of these it reads in a second.
    fn settle(
        guard: &mut FloodGuard,
        begin: u64,
        sent: [u64; SORTS],
    ) -> ([u32; SORTS], [u64; SORTS]) {
        const CAPACITY: u64 = 500_000;
        let mut read = [0; SORTS];
        for step in 0..40 {
            let got = |sort: usize| sent[sort] / u64::from(guard.taken.0[sort]);
            // What is too much does not fit into the buffer.
            let all = (0..SORTS).map(got).sum::<u64>().max(1);
            let processed = all.min(CAPACITY);
            read = std::array::from_fn(|sort| got(sort) * processed / all);
            guard.note(Startups(read.map(|count| count / 4)));
            guard.note_wait(PERIOD.mul_f64(1.0 - processed as f64 / CAPACITY as f64));
            guard.adjust(at(begin + 250 * (step + 1)));
        }
        (guard.taken.0, read)
    }

    #[test]
    fn a_flood_is_thinned_out_and_all_is_taken_when_it_is_over() {
        let mut guard = guard();
        assert_eq!(settle(&mut guard, 0, [200_000, 0, 0]).0, [1, 1, 1]);
        assert_eq!(guard.next_look(), None);
        assert_eq!((guard.note(short(100)), guard.is_news(at(10_000))), (0, false), "all is taken");

        let (taken, read) = settle(&mut guard, 10_000, [6_000_000, 0, 0]);
        assert!((300_000..=425_000).contains(&read[0]), "{read:?} of what can be processed");
        assert!(taken[0] >= 15 && taken[1] == 1, "{taken:?}");
        assert_eq!(guard.note(short(100)), 100 * (taken[0] as usize - 1));
        assert!(guard.is_news(at(20_000)) && !guard.is_news(at(79_999)));
        assert!(guard.is_news(at(80_000)), "after a minute");
        assert!(guard.next_look().is_some());

        let (taken, _) = settle(&mut guard, 20_000, [u64::from(u32::MAX) << 4, 0, 0]);
        assert_eq!(taken[0], LEAST_PART);
        assert_eq!(settle(&mut guard, 30_000, [1000, 0, 0]).0, [1, 1, 1]);
        assert_eq!(guard.next_look(), None);
    }

    #[test]
    fn each_sort_has_a_share() {
        let mut guard = guard();
        let (taken, read) = settle(&mut guard, 0, [5_000_000, 2_000, 100]);
        assert_eq!((taken[1], read[1], read[2]), (1, 2_000, 100), "keyings in a flood of hellos");
        let (taken, read) = settle(&mut guard, 10_000, [2_000, 5_000_000, 0]);
        assert_eq!((taken[0], read[0]), (1, 2_000), "hellos in a flood of keyings");
        let (taken, read) = settle(&mut guard, 20_000, [5_000_000, 1_000, 9_000_000]);
        assert!(read[0].abs_diff(read[2]) < read[0] / 4, "{taken:?} {read:?}");
        assert!(read[0] + read[2] > 250_000 && read[1] == 1_000, "{read:?}");
        assert_eq!(shares([10, 50, 20], 60), [10, 30, 20]);
        assert_eq!(shares([90, 50, 70], 60), [20, 20, 20]);
    }

    #[test]
    fn what_can_not_be_processed_is_thinned_out_but_for_a_crowd() {
        let mut guard = guard();
        guard.note(short(7_500));
        let half = Some(Thinning([2, 1, 1]));
        assert_eq!(guard.adjust(at(250)), half, "30,000 a second, and never a moment without");
        guard.note(short(2_500));
        assert_eq!(guard.adjust(at(500)), Some(Thinning::NONE), "10,000 of 20,000");
        for step in 3..40 {
            guard.note(short(5_000));
            assert_eq!(guard.adjust(at(250 * step)), None, "something else takes the time");
        }
    }

    /// Packets of sessions get through; of the others one in so many.
    #[cfg(target_os = "linux")]
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the filter is the system's")]
    fn sessions_get_through_a_filter() {
        use crate::wire::multiplex::scramble;
        use std::net::UdpSocket;
        let (here, there) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
        let (here, there) = (here.unwrap(), there.unwrap());
        here.set_nonblocking(true).unwrap();
        let to = here.local_addr().unwrap();
        let received = |taken: Thinning, id: u32, len: usize| {
            thin_out((&here).into(), taken).unwrap();
            let mut count = 0;
            for number in 0..512_u32 {
                let mut packet = vec![0x5a; len];
                let end = len.min(8);
                packet[end - 4..end].copy_from_slice(&number.to_be_bytes());
                scramble(id, &mut packet);
                there.send_to(&packet, to).unwrap();
                count += usize::from(here.recv(&mut [0; 2000]).is_ok());
            }
            count
        };
        assert_eq!(received(Thinning::NONE, 0, 52), 512);
        for (sort, lengths) in [(0, [52, LONG - 1]), (1, [LONG, SEVERAL - 1]), (2, [SEVERAL, 1900])]
        {
            let mut fewer = Thinning::NONE;
            fewer.0[sort] = 50;
            let mut others = Thinning([50; SORTS]);
            others.0[sort] = 1;
            for length in lengths {
                let session = received(fewer, 0x0200_0001, length);
                assert_eq!(session, 512, "{length} bytes of sessions");
                let startups = received(fewer, 0, length);
                assert!(startups < 64, "{startups} of 512 startup packets of {length} bytes");
                assert_eq!(received(others, 0, length), 512, "startup packets of {length} bytes");
            }
        }
        let short = received(Thinning([50, 1, 1]), 7, 8);
        assert!(short < 64, "{short} of 512 that are no packets");
        assert_eq!(received(Thinning::NONE, 0, 52), 512, "the filter is gone");
    }
}
