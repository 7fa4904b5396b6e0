//! A flood of startup packets, thinned out before it fills the buffer of a socket.
//!
//! Anybody can send hellos, from forged sources, as many as the line carries. What can't be read in
//! time is dropped by the system, and with it the packets of sessions, which wait in the same buffer.
//! Linux lets a program filter what a socket takes: while far more startup packets come than honest
//! initiators send, a random part of them gets through, and every packet that names a session.

use crate::transport::Time;
use std::time::Duration;

/// Startup packets in a second that are worth their work: each costs some microseconds.
const ENOUGH: u64 = 50_000;
/// The same while there is no time for anything else: a crowd of initiators that all come at once sends
/// less.
const TOO_MANY: u64 = 20_000;
/// How often they are counted.
const PERIOD: Duration = Duration::from_millis(250);
/// The shortest time between two lines in the log.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of three words: what is shorter is no packet.
pub(super) const MIN_PACKET: usize = 12;
/// One in so many gets through at least.
const FEWEST: u32 = 1 << 10;

/// Counts startup packets, and says which part of them to take.
#[derive(Debug)]
pub(super) struct FloodGuard {
    since: Time,
    startups: u64,
    /// There was a moment in which nothing had to be done.
    has_waited: bool,
    /// One in so many is taken: a power of two.
    one_in: u32,
    /// A flood that begins before is not worth another line in the log.
    silent_until: Time,
}

impl Default for FloodGuard {
    fn default() -> Self {
        Self {
            since: Time::ZERO,
            startups: 0,
            has_waited: true,
            one_in: 1,
            silent_until: Time::ZERO,
        }
    }
}

impl FloodGuard {
    /// So many startup packets were received. Returns how many were not, about.
    pub(super) fn note(&mut self, startups: usize) -> usize {
        self.startups += startups as u64;
        startups * (self.one_in as usize - 1)
    }

    /// Nothing has to be done now.
    pub(super) const fn note_wait(&mut self) {
        self.has_waited = true;
    }

    /// The part that is to be taken from now on, one in so many, if it is another one.
    pub(super) fn adjust(&mut self, now: Time) -> Option<u32> {
        let elapsed = now.since(self.since);
        if elapsed < PERIOD {
            return None;
        }
        let rate = self.startups.saturating_mul(1_000_000) / (elapsed.as_micros() as u64).max(1);
        let enough = if self.has_waited { ENOUGH } else { TOO_MANY };
        (self.since, self.startups, self.has_waited) = (now, 0, false);
        let before = self.one_in;
        if rate > enough {
            let times = u32::try_from(rate.div_ceil(enough)).unwrap_or(FEWEST);
            self.one_in = before.saturating_mul(times.min(FEWEST).next_power_of_two()).min(FEWEST);
        } else if rate < enough / 4 {
            self.one_in = (before / 2).max(1);
        }
        (self.one_in != before).then_some(self.one_in)
    }

    /// The flood is worth a line in the log: as it begins, and once a minute at most.
    pub(super) fn is_news(&mut self, now: Time) -> bool {
        let is_news = self.one_in > 1 && now >= self.silent_until;
        if is_news {
            self.silent_until = now + SILENCE;
        }
        is_news
    }

    /// When to [adjust](Self::adjust) again, even if nothing comes.
    pub(super) fn next_look(&self) -> Option<Time> {
        (self.one_in > 1).then(|| self.since + PERIOD)
    }
}

/// Makes a socket take one in `one_in` startup packets, a power of two; all if it is 1.
///
/// The session ID of a packet is the exclusive-or of its first three words (RFC 7016 §2.2.2), and 0
/// in startup packets. What is shorter than three words is no packet.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn thin_out(socket: socket2::SockRef<'_>, one_in: u32) -> std::io::Result<()> {
    use socket2::SockFilter;
    if one_in <= 1 {
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
    const AND: u16 = 0x54;
    const IF_EQUAL: u16 = 0x15;
    const IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    /// Where a load finds a random number.
    const RANDOM: u32 = 0xffff_f000 + 56;
    /// The filter sees the header of UDP, too.
    const UDP: u32 = 8;
    let step = |code, k| SockFilter::new(code, 0, 0, k);
    let filter = [
        step(LOAD_LENGTH, 0),
        SockFilter::new(IF_AT_LEAST, 0, 8, UDP + MIN_PACKET as u32),
        step(LOAD_WORD, UDP),
        step(TO_X, 0),
        step(LOAD_WORD, UDP + 4),
        step(XOR_X, 0),
        step(TO_X, 0),
        step(LOAD_WORD, UDP + 8),
        step(XOR_X, 0),
        SockFilter::new(IF_EQUAL, 0, 3, 0),
        step(LOAD_WORD, RANDOM),
        step(AND, one_in - 1),
        SockFilter::new(IF_EQUAL, 0, 1, 0),
        step(RETURN, u32::MAX),
        step(RETURN, 0),
    ];
    socket.attach_filter(&filter)
}

/// Elsewhere a socket takes what comes.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
pub(super) fn thin_out(_: socket2::SockRef<'_>, _: u32) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(100_000 + ms)
    }

    /// What a guard does with so many startup packets a second, of which it takes a part, if they can
    /// be processed.
    fn settle(guard: &mut FloodGuard, begin: u64, rate: u64) -> u32 {
        for step in 0..40 {
            guard.note_wait();
            guard.note((rate / 4 / u64::from(guard.one_in)) as usize);
            guard.adjust(at(begin + 250 * (step + 1)));
        }
        guard.one_in
    }

    #[test]
    fn a_flood_is_thinned_out_and_all_is_taken_when_it_is_over() {
        let mut guard = FloodGuard::default();
        guard.adjust(at(0));
        assert_eq!((settle(&mut guard, 0, 40_000), guard.next_look()), (1, None));
        assert_eq!((guard.note(100), guard.is_news(at(10_000))), (0, false), "everything is taken");
        let one_in = settle(&mut guard, 10_000, 6_000_000);
        assert!((128..=512).contains(&one_in), "{one_in}");
        assert_eq!(guard.note(100), 100 * (one_in as usize - 1));
        assert!(guard.is_news(at(20_000)) && !guard.is_news(at(79_999)));
        assert!(guard.is_news(at(80_000)), "after a minute");
        assert!(guard.next_look().is_some());
        assert_eq!(settle(&mut guard, 20_000, u64::from(u32::MAX) << 4), FEWEST);
        assert_eq!((settle(&mut guard, 30_000, 1000), guard.next_look()), (1, None));
    }

    #[test]
    fn what_can_not_be_processed_is_a_flood_sooner() {
        let mut guard = FloodGuard::default();
        guard.adjust(at(0));
        guard.note(7_500);
        assert_eq!(guard.adjust(at(250)), Some(2), "30,000 a second, and never a moment without");
        guard.note_wait();
        guard.note(7_500);
        assert_eq!(guard.adjust(at(500)), None, "so many can be");
        guard.note(1_000);
        assert_eq!(guard.adjust(at(750)), Some(1));
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
        let received = |one_in: u32, id: u32, len: usize| {
            thin_out((&here).into(), one_in).unwrap();
            let mut count = 0;
            for number in 0..512_u32 {
                let mut packet = vec![0x5a; len];
                let end = len.min(8);
                packet[end - 4..end].copy_from_slice(&number.to_be_bytes());
                scramble(id, &mut packet);
                there.send_to(&packet, to).unwrap();
                count += usize::from(here.recv(&mut [0; 100]).is_ok());
            }
            count
        };
        assert_eq!(received(1, 0, 52), 512);
        assert_eq!(received(64, 0x0200_0001, 52), 512, "packets of sessions");
        let startups = received(64, 0, 52);
        assert!(startups < 64, "{startups} of 512 startup packets");
        let short = received(64, 7, 8);
        assert!(short < 64, "{short} of 512 that are no packets");
        assert_eq!(received(1, 0, 52), 512, "the filter is gone");
    }
}
