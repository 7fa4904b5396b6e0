//! What members send each other about shared objects: every parcel once, and in order.
//!
//! Commands may be lost. A [`Link`] numbers what it sends, keeps it until the far end has confirmed it,
//! and sends it again meanwhile. If too much waits, it gives everything up and begins anew with
//! a higher epoch, from which the far end learns that something is missing.

use super::Parcel;
use crate::transport::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes that wait to be confirmed; beyond, everything is given up.
const MAX_QUEUED: usize = 8 << 20;
/// Bytes that wait beyond which nothing more is asked for.
const HIGH: usize = 4 << 20;
/// Bytes that are on the way.
const MAX_ON_THE_WAY: usize = 512 << 10;
/// Bytes in one command, unless one parcel has more.
const MAX_BATCH: usize = 256 << 10;
/// What is not confirmed is sent again after this time, and then after twice as long each time, up to
/// the second.
const RESEND: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

/// The far end has forgotten the link if it confirms less than before although the rest was sent again
/// so often.
const RESENT_IN_VAIN: u32 = 2;

/// One direction to another member, and what is known of the other.
#[derive(Debug)]
pub(in super::super) struct Link {
    epoch: u64,
    /// The number of the first in `queue`.
    first: u64,
    queue: VecDeque<(Parcel, usize)>,
    bytes: usize,
    /// Parcels of `queue` that were sent, and bytes in them.
    sent: usize,
    on_the_way: usize,
    resend_at: Option<Time>,
    pause: Duration,
    /// How often it was sent again since something was last confirmed.
    resent: u32,
    /// The far end does not know yet that everything before was given up.
    is_broken: bool,
    /// The epoch of the far end, and the number of its next parcel.
    far_epoch: u64,
    expected: u64,
}

/// Some parcels for a command.
#[derive(Debug)]
pub(in super::super) struct Batch {
    pub(in super::super) epoch: u64,
    pub(in super::super) first: u64,
    pub(in super::super) parcels: Vec<Parcel>,
}

/// What a confirmation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Confirmed {
    /// Nothing new, or some parcels.
    Some,
    /// The far end knows that everything before was given up.
    Anew,
}

impl Link {
    pub(in super::super) fn new(now: Time) -> Self {
        Self {
            epoch: epoch_at(now),
            first: 0,
            queue: VecDeque::new(),
            bytes: 0,
            sent: 0,
            on_the_way: 0,
            resend_at: None,
            pause: RESEND[0],
            resent: 0,
            is_broken: false,
            far_epoch: 0,
            expected: 0,
        }
    }

    /// True if so much waits that the far end should be given nothing more to answer.
    pub(in super::super) fn is_full(&self) -> bool {
        self.bytes > HIGH
    }

    /// Sends a parcel. If too much waits, everything is given up instead.
    pub(in super::super) fn push(&mut self, now: Time, parcel: Parcel) {
        let weight = parcel.weight();
        if self.bytes + weight > MAX_QUEUED {
            return self.give_up(now);
        }
        self.bytes += weight;
        self.queue.push_back((parcel, weight));
    }

    fn give_up(&mut self, now: Time) {
        self.epoch = epoch_at(now).max(self.epoch + 1);
        self.queue.clear();
        (self.first, self.bytes, self.sent, self.on_the_way) = (0, 0, 0, 0);
        self.is_broken = true;
        (self.pause, self.resent) = (RESEND[0], 0);
        self.resend_at = Some(now);
    }

    /// What is to be sent next.
    pub(in super::super) fn poll(&mut self, now: Time) -> Option<Batch> {
        let is_due = self.resend_at.is_some_and(|at| at <= now);
        if is_due {
            (self.sent, self.on_the_way) = (0, 0);
            self.resend_at = Some(now + self.pause);
            self.pause = (self.pause * 2).min(RESEND[1]);
            self.resent += 1;
        }
        let first = self.first + self.sent as u64;
        let mut parcels = Vec::new();
        let mut len = 0;
        while let Some((parcel, weight)) = self.queue.get(self.sent)
            && self.on_the_way < MAX_ON_THE_WAY
            && (parcels.is_empty() || len + weight <= MAX_BATCH)
        {
            parcels.push(parcel.clone());
            len += weight;
            self.sent += 1;
            self.on_the_way += weight;
        }
        if self.resend_at.is_none() && !parcels.is_empty() {
            self.resend_at = Some(now + self.pause);
        }
        // An empty one names the epoch.
        let is_worth = !parcels.is_empty() || is_due && self.is_broken;
        is_worth.then_some(Batch { epoch: self.epoch, first, parcels })
    }

    pub(in super::super) fn next_timeout(&self) -> Option<Time> {
        self.resend_at
    }

    /// The far end has all parcels before `next`.
    pub(in super::super) fn on_receipt(&mut self, now: Time, epoch: u64, next: u64) -> Confirmed {
        if epoch != self.epoch {
            return Confirmed::Some;
        }
        // An older confirmation may have come late.
        if next < self.first && self.resent >= RESENT_IN_VAIN {
            self.give_up(now);
            return Confirmed::Some;
        }
        let mut has_moved = std::mem::take(&mut self.is_broken);
        let confirmed = if has_moved { Confirmed::Anew } else { Confirmed::Some };
        while self.first < next
            && let Some((_, weight)) = self.queue.pop_front()
        {
            self.first += 1;
            self.bytes -= weight;
            if self.sent > 0 {
                self.sent -= 1;
                self.on_the_way -= weight;
            }
            has_moved = true;
        }
        if has_moved {
            (self.pause, self.resent) = (RESEND[0], 0);
            self.resend_at = (!self.queue.is_empty()).then_some(now + self.pause);
        }
        confirmed
    }

    /// Parcels have come, from the number `first` on. True if the far end has given up what was
    /// before.
    pub(in super::super) fn on_batch(&mut self, epoch: u64) -> bool {
        if epoch <= self.far_epoch {
            return false;
        }
        let is_anew = self.far_epoch != 0;
        (self.far_epoch, self.expected) = (epoch, 0);
        is_anew
    }

    /// True if this is the next parcel, which is taken.
    pub(in super::super) fn take(&mut self, epoch: u64, number: u64) -> bool {
        let is_next = epoch == self.far_epoch && number == self.expected;
        self.expected += u64::from(is_next);
        is_next
    }

    /// What the far end is to know: its epoch, and the number of its next parcel.
    pub(in super::super) fn receipt(&self) -> (u64, u64) {
        (self.far_epoch, self.expected)
    }
}

/// A number higher than that of any link that was forgotten.
fn epoch_at(now: Time) -> u64 {
    u64::try_from(now.since(Time::ZERO).as_micros()).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::shared_object::{SharedObjectEvent, SharedObjectMessage};
    use crate::random::SplitMix64;
    use bytes::Bytes;

    const START: Time = Time::from_millis(1000);

    fn parcel(number: u32, len: usize) -> Parcel {
        let value = Bytes::from(vec![5; len]);
        let events = vec![SharedObjectEvent::Send(value)];
        let message = SharedObjectMessage::new("room".into(), false, number, events);
        Parcel::Deliver { app: "app".into(), sessions: Vec::new(), message }
    }

    fn number(parcel: &Parcel) -> u32 {
        match parcel {
            Parcel::Deliver { message, .. } => message.version,
            _ => panic!("another parcel"),
        }
    }

    /// Gives a batch to the far end, and returns what that takes.
    fn arrive(to: &mut Link, batch: Batch) -> Vec<u32> {
        to.on_batch(batch.epoch);
        let numbered = (batch.first..).zip(batch.parcels);
        numbered.filter(|(at, _)| to.take(batch.epoch, *at)).map(|(_, it)| number(&it)).collect()
    }

    #[test]
    fn everything_arrives_once_and_in_order() {
        for seed in 0..20 {
            let mut random = SplitMix64::new(seed);
            let (mut near, mut far) = (Link::new(START), Link::new(START));
            let (mut now, mut taken, mut pushed) = (START, Vec::new(), 0);
            while taken.len() < 200 {
                if pushed < 200 {
                    near.push(now, parcel(pushed, 1000));
                    pushed += 1;
                }
                while let Some(batch) = near.poll(now) {
                    if random.below(2) == 0 {
                        taken.extend(arrive(&mut far, batch));
                    }
                }
                if random.below(2) == 0 {
                    let (epoch, next) = far.receipt();
                    assert_eq!(near.on_receipt(now, epoch, next), Confirmed::Some);
                }
                now += Duration::from_millis(10);
                assert!(now < START + Duration::from_secs(600), "seed {seed}");
            }
            assert_eq!(taken, (0..200).collect::<Vec<_>>(), "seed {seed}");
            let (epoch, next) = far.receipt();
            near.on_receipt(now, epoch, next);
            assert!(near.bytes == 0 && near.on_the_way == 0 && near.next_timeout().is_none());
        }
    }

    #[test]
    fn hostile_floods_are_given_up_and_the_far_end_learns_of_it() {
        let (mut near, mut far) = (Link::new(START), Link::new(START));
        near.push(START, parcel(0, 10));
        assert_eq!(arrive(&mut far, near.poll(START).unwrap()), [0]);
        for n in 0..200 {
            near.push(START, parcel(n, 100_000));
            assert!(near.bytes <= MAX_QUEUED);
        }
        assert!(near.is_broken && near.queue.len() < 200);
        let batch = near.poll(START).unwrap();
        assert_eq!((batch.first, far.on_batch(batch.epoch)), (0, true));
        let last = batch.parcels.len() as u64;
        assert!(arrive(&mut far, batch).len() as u64 == last);
        let (epoch, next) = far.receipt();
        assert_eq!((near.on_receipt(START, epoch, next), next), (Confirmed::Anew, last));
    }

    #[test]
    fn a_far_end_that_has_forgotten_the_link_gets_a_new_one() {
        let (mut near, mut far) = (Link::new(START), Link::new(START));
        for n in 0..3 {
            near.push(START, parcel(n, 10));
        }
        assert_eq!(arrive(&mut far, near.poll(START).unwrap()), [0, 1, 2]);
        let (epoch, next) = far.receipt();
        near.on_receipt(START, epoch, next);
        let mut again = Link::new(START);
        near.push(START, parcel(3, 10));
        assert_eq!(arrive(&mut again, near.poll(START).unwrap()), [0; 0]);
        let (epoch, next) = again.receipt();
        near.on_receipt(START, epoch, next);
        assert!(!near.is_broken, "it could be an old confirmation");
        let (mut now, before) = (START, near.epoch);
        while near.epoch == before {
            now = near.next_timeout().unwrap();
            assert!(now < START + Duration::from_secs(5));
            while let Some(batch) = near.poll(now) {
                assert_eq!(arrive(&mut again, batch), [0; 0]);
                let (epoch, next) = again.receipt();
                near.on_receipt(now, epoch, next);
            }
        }
        near.push(now, parcel(4, 10));
        assert_eq!(arrive(&mut again, near.poll(now).unwrap()), [4]);
        let (epoch, next) = again.receipt();
        near.on_receipt(now, epoch, next);
        assert!(near.bytes == 0 && !near.is_broken);
    }
}
