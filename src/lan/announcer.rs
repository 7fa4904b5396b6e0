//! [`Announcer`]: when a member announces itself, and whom it believes.

use super::{Announcement, AnnouncementCodec};
use crate::crypto::Fingerprint;
use crate::random::SplitMix64;
use crate::transport::Time;
use std::ops::Range;
use std::time::Duration;

/// The second announcement follows the first after this time.
const SECOND: Duration = Duration::from_secs(1);
/// Interval from any announcement to the next, in milliseconds.
const PERIOD: Range<u64> = 25_000..31_000;
/// Delay of an answer, in milliseconds.
const ANSWER: Range<u64> = 150..400;
/// Unknown members that are believed at once; whoever has the groupspec can invent any number.
const STRANGERS: u32 = 64;
/// Interval at which one more is believed.
const STRANGER_PERIOD: Duration = Duration::from_millis(250);

/// Announces a member of one group on the local network: twice at the beginning, one second apart, asking
/// the others to do the same, then every half a minute, and whenever somebody asks.
#[derive(Debug)]
pub struct Announcer {
    codec: AnnouncementCodec,
    near: Fingerprint,
    random: SplitMix64,
    /// Announcements that ask and have not been sent yet, the first of them due at `at`.
    asking: u8,
    at: Time,
    answer_at: Option<Time>,
    /// Unknown members that would be believed at `strangers_at`.
    strangers: u32,
    strangers_at: Time,
}

impl Announcer {
    /// An announcer of the member `near`, which has something to send at once. `seed` varies its
    /// delays.
    pub fn new(now: Time, codec: AnnouncementCodec, near: Fingerprint, seed: u64) -> Self {
        Self {
            codec,
            near,
            random: SplitMix64::new(seed),
            asking: 2,
            at: now,
            answer_at: None,
            strangers: STRANGERS,
            strangers_at: now,
        }
    }

    /// When [`poll_datagram`](Self::poll_datagram) has something.
    pub fn poll_timeout(&self) -> Time {
        self.answer_at.map_or(self.at, |answer| answer.min(self.at))
    }

    /// The datagram that is due, for the multicast addresses of the group.
    #[must_use]
    pub fn poll_datagram(&mut self, now: Time) -> Option<Vec<u8>> {
        if now < self.poll_timeout() {
            return None;
        }
        let asks = now >= self.at && self.asking > 0;
        if asks {
            self.asking -= 1;
        }
        if asks && self.asking > 0 {
            self.at = now + SECOND;
        } else if self.asking == 0 {
            self.at = now + self.within(PERIOD);
        }
        self.answer_at = None;
        Some(self.codec.encode(&Announcement { peer_id: Some(self.near), asks }))
    }

    /// The local network has changed: announces the member anew.
    pub fn restart(&mut self, now: Time) {
        (self.asking, self.at) = (2, now);
    }

    /// Reads a datagram that came to a multicast address of the group. Returns the member that has
    /// announced itself; `None` if it is this one, or nobody of this group.
    pub fn handle_datagram(&mut self, now: Time, datagram: &[u8]) -> Option<Fingerprint> {
        let announcement = self.codec.decode(datagram)?;
        if announcement.peer_id == Some(self.near) {
            return None;
        }
        if announcement.asks && self.answer_at.is_none() {
            self.answer_at = Some(now + self.within(ANSWER));
        }
        announcement.peer_id
    }

    /// True if one more unknown member may be believed; it counts then.
    pub fn admit(&mut self, now: Time) -> bool {
        let periods = now.since(self.strangers_at).as_micros() / STRANGER_PERIOD.as_micros();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        if periods > 0 {
            self.strangers = self.strangers.saturating_add(periods).min(STRANGERS);
            self.strangers_at = now;
        }
        let admitted = self.strangers > 0;
        self.strangers -= u32::from(admitted);
        admitted
    }

    /// A time in this range of milliseconds.
    fn within(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.random.below(range.end - range.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec() -> AnnouncementCodec {
        AnnouncementCodec::new(&[3; 32], "G:01")
    }

    fn announcer(n: u8) -> Announcer {
        Announcer::new(Time::from_millis(5), codec(), Fingerprint([n; 32]), n.into())
    }

    /// Times in milliseconds and questions of what is sent until `end`.
    fn sent(announcer: &mut Announcer, end: u64) -> Vec<(u64, bool)> {
        let mut sent = Vec::new();
        while announcer.poll_timeout() <= Time::from_millis(end) {
            let now = announcer.poll_timeout();
            let datagram = announcer.poll_datagram(now).unwrap();
            let read = codec().decode(&datagram).unwrap();
            assert_eq!(read.peer_id, Some(announcer.near));
            assert_eq!(announcer.poll_datagram(now), None, "once");
            sent.push((now.as_micros() / 1000, read.asks));
        }
        sent
    }

    fn question(n: u8) -> Vec<u8> {
        codec().encode(&Announcement { peer_id: Some(Fingerprint([n; 32])), asks: true })
    }

    #[test]
    fn two_questions_then_one_announcement_in_half_a_minute() {
        for seed in 0..50 {
            let sent = sent(&mut announcer(seed), 600_000);
            assert_eq!(sent[..2], [(5, true), (1005, true)]);
            assert!(sent[2..].iter().all(|&(_, asks)| !asks));
            let gaps = sent[1..].windows(2).map(|w| w[1].0 - w[0].0);
            assert!(
                gaps.clone().all(|gap| PERIOD.contains(&gap)),
                "{:?}",
                gaps.collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn a_question_is_answered_once_and_the_clock_restarts() {
        for seed in 1..50 {
            let mut announcer = announcer(seed);
            sent(&mut announcer, 10_000);
            let now = Time::from_millis(10_000);
            for other in 100..110 {
                let named = announcer.handle_datagram(now, &question(other));
                assert_eq!(named, Some(Fingerprint([other; 32])));
            }
            let sent = sent(&mut announcer, 60_000);
            let (first, asks) = sent[0];
            assert!((10_150..10_400).contains(&first) && !asks, "{sent:?}");
            assert!(PERIOD.contains(&(sent[1].0 - first)), "{sent:?}");
        }
    }

    #[test]
    fn an_answer_does_not_replace_the_second_question() {
        let mut announcer = announcer(1);
        assert!(announcer.poll_datagram(Time::from_millis(5)).is_some());
        announcer.handle_datagram(Time::from_millis(6), &question(2));
        let sent = sent(&mut announcer, 20_000);
        assert_eq!(sent.iter().map(|&(_, asks)| asks).collect::<Vec<_>>(), [false, true]);
        assert_eq!(sent[1].0, 1005);
    }

    #[test]
    fn own_announcements_and_those_of_others_say_nothing() {
        let mut announcer = announcer(1);
        sent(&mut announcer, 10_000);
        let now = Time::from_millis(10_000);
        assert_eq!(announcer.handle_datagram(now, &question(1)), None);
        let other = AnnouncementCodec::new(&[4; 32], "G:02");
        let asks = Announcement { peer_id: Some(Fingerprint([9; 32])), asks: true };
        assert_eq!(announcer.handle_datagram(now, &other.encode(&asks)), None);
        assert!(announcer.answer_at.is_none());
    }

    #[test]
    fn a_question_without_a_name_is_answered() {
        let mut announcer = announcer(1);
        sent(&mut announcer, 10_000);
        let asks = codec().encode(&Announcement { peer_id: None, asks: true });
        assert_eq!(announcer.handle_datagram(Time::from_millis(10_000), &asks), None);
        assert!(announcer.answer_at.is_some());
    }

    #[test]
    fn invented_members_are_believed_slowly() {
        let mut announcer = announcer(1);
        let mut now = Time::from_millis(5);
        let mut admitted = 0;
        for _ in 0..100_000 {
            admitted += u32::from(announcer.admit(now));
            now += Duration::from_millis(1);
        }
        assert!((400..=STRANGERS + 400).contains(&admitted), "{admitted} in 100 s");
    }
}
