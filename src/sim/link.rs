//! One direction between two machines.

use super::SeededRandom;
use crate::transport::Time;
use std::time::Duration;

/// Properties of a link in one direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// One-way delay.
    pub delay: Duration,
    /// Up to this much is added to the delay, evenly spread.
    pub jitter: Duration,
    /// Share of datagrams that vanish, 0 to 1.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub duplicate: f64,
    /// Share of datagrams that are held back by twice the delay and 10 ms, so that later ones
    /// overtake them.
    pub reorder: f64,
    /// Longer datagrams vanish, in bytes.
    pub mtu: usize,
    /// Bytes that each datagram costs of the rate beyond its payload: its headers.
    pub overhead: usize,
    /// Bytes per second; unlimited if `None`.
    pub rate: Option<u64>,
    /// Time that a datagram may wait for the rate before the queue is full.
    pub queue: Duration,
    /// Links with the same number share one queue and rate, as where paths meet.
    pub bottleneck: Option<u32>,
    /// Datagrams that wait longer than this for the rate are marked, if they may be (RFC 3168).
    pub mark_after: Option<Duration>,
}

/// What waits before a link with a rate.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// When the last datagram will have left.
    pub(super) busy: Time,
    /// Bytes that have entered it, headers included.
    pub(super) carried: u64,
}

impl Link {
    /// Half a millisecond, nothing lost, 1,472 bytes.
    pub const fn lan() -> Self {
        Self {
            delay: Duration::from_micros(500),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            mtu: 1472,
            overhead: 0,
            rate: None,
            queue: Duration::from_millis(100),
            bottleneck: None,
            mark_after: None,
        }
    }

    /// 50 ms each way with 5 ms of jitter, 5 % lost, 2 % doubled, 5 % out of order.
    pub const fn bad() -> Self {
        Self {
            delay: Duration::from_millis(50),
            jitter: Duration::from_millis(5),
            loss: 0.05,
            duplicate: 0.02,
            reorder: 0.05,
            ..Self::lan()
        }
    }

    /// The same with another one-way delay.
    pub const fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The same with another share of losses.
    pub const fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    /// The same with a rate in bytes per second.
    pub const fn with_rate(self, rate: u64) -> Self {
        Self { rate: Some(rate), ..self }
    }

    /// The same with another queue: how long a datagram may wait for the rate.
    pub const fn with_queue(self, queue: Duration) -> Self {
        Self { queue, ..self }
    }

    /// The same with headers of so many bytes, which take their part of the rate.
    pub const fn with_overhead(self, overhead: usize) -> Self {
        Self { overhead, ..self }
    }

    /// The same, sharing queue and rate with the links of the same number.
    pub const fn through(self, bottleneck: u32) -> Self {
        Self { bottleneck: Some(bottleneck), ..self }
    }

    /// Nothing passes.
    pub const fn cut() -> Self {
        Self { loss: 1.0, ..Self::lan() }
    }

    /// When a datagram of `len` bytes has left, or `None` if it is too long or the queue is full.
    pub(super) fn departure(&self, now: Time, queue: &mut Queue, len: usize) -> Option<Time> {
        if len > self.mtu {
            return None;
        }
        let Some(rate) = self.rate else { return Some(now) };
        let start = now.max(queue.busy);
        if start.since(now) > self.queue {
            return None;
        }
        let bytes = len + self.overhead;
        queue.carried += bytes as u64;
        queue.busy = start + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        Some(queue.busy)
    }

    /// True if a datagram is marked that may be marked and waits this long for the rate.
    pub(super) fn marks(&self, waits: Duration) -> bool {
        self.mark_after.is_some_and(|after| waits > after)
    }

    /// The delays of the copies that arrive: none, one or two.
    pub(super) fn fates(&self, random: &mut SeededRandom) -> Vec<Duration> {
        if random.chance(self.loss) {
            return Vec::new();
        }
        let copies = 1 + usize::from(random.chance(self.duplicate));
        (0..copies).map(|_| self.one_delay(random)).collect()
    }

    fn one_delay(&self, random: &mut SeededRandom) -> Duration {
        let held = if random.chance(self.reorder) {
            self.delay * 2 + Duration::from_millis(10)
        } else {
            Duration::ZERO
        };
        self.delay + held + self.jitter.mul_f64(random.unit())
    }
}
