//! Budgets that refill with time, one for each key, in a table that cannot be flushed.

use super::Time;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// A full table is searched for keys with a whole budget this often.
const SWEEP: Duration = Duration::from_secs(1);

/// Budget of one key: `burst` units at once, and `per_second` in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Units that may be spent at once.
    pub burst: u32,
    /// Units that come back in a second, at least 1.
    pub per_second: u32,
}

impl Rate {
    fn takes(self, units: u64) -> Duration {
        let micros = units.saturating_mul(1_000_000) / u64::from(self.per_second.max(1));
        Duration::from_micros(micros)
    }
}

/// A budget for each of at most `max` keys. Of each is known when its budget will be whole again,
/// so that a key that spends nothing costs no memory.
///
/// A key gives its place up only when its budget is whole. While all places are taken, the other
/// keys share one budget: a flood of keys makes it narrow for new ones, and gives nothing back to
/// those that have spent theirs.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    max: usize,
    whole_at: HashMap<K, Time>,
    others: Time,
    swept: Time,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn new(rate: Rate, max: usize) -> Self {
        Self { rate, max, whole_at: HashMap::new(), others: Time::ZERO, swept: Time::ZERO }
    }

    /// From now on budgets are these. What was spent stays spent for as long as it was.
    pub(crate) const fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// True if `key` may spend `units` now.
    pub(crate) fn has(&self, now: Time, key: &K, units: u64) -> bool {
        let full = self.whole_at.len() >= self.max;
        let whole_at = match self.whole_at.get(key) {
            Some(&at) => at,
            None if full => self.others,
            None => now,
        };
        (whole_at.max(now) + self.rate.takes(units)).since(now)
            <= self.rate.takes(self.rate.burst.into())
    }

    /// Spends `units` of the budget of `key`, if it has them.
    pub(crate) fn spend(&mut self, now: Time, key: K, units: u64) -> bool {
        self.sweep(now);
        if !self.has(now, &key, units) {
            return false;
        }
        let full = self.whole_at.len() >= self.max;
        let takes = self.rate.takes(units);
        let whole_at = match self.whole_at.get_mut(&key) {
            Some(at) => at,
            None if full => &mut self.others,
            None => self.whole_at.entry(key).or_insert(now),
        };
        *whole_at = (*whole_at).max(now) + takes;
        true
    }

    /// Gives `units` back that `key` has spent.
    pub(crate) fn give_back(&mut self, key: &K, units: u64) {
        if let Some(at) = self.whole_at.get_mut(key) {
            let micros = self.rate.takes(units).as_micros() as u64;
            *at = Time::from_micros(at.as_micros().saturating_sub(micros));
        }
    }

    /// Drops keys whose budget is whole, if places are needed.
    fn sweep(&mut self, now: Time) {
        if self.whole_at.len() >= self.max && now.since(self.swept) >= SWEEP {
            self.swept = now;
            self.whole_at.retain(|_, at| *at > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, per_second: 2 };

    fn at(millis: u64) -> Time {
        Time::from_millis(100_000 + millis)
    }

    #[test]
    fn each_key_has_a_budget_that_refills() {
        let mut buckets = Buckets::new(RATE, 10);
        let spent = |buckets: &mut Buckets<u8>, now, key| {
            (0..10).filter(|_| buckets.spend(now, key, 1)).count()
        };
        assert_eq!(spent(&mut buckets, at(0), 1), 3);
        assert_eq!(spent(&mut buckets, at(0), 2), 3);
        assert_eq!(spent(&mut buckets, at(499), 1), 0);
        assert_eq!(spent(&mut buckets, at(500), 1), 1);
        assert_eq!(spent(&mut buckets, at(60_000), 1), 3, "no more than the burst");
        buckets.give_back(&1, 2);
        assert_eq!(spent(&mut buckets, at(60_000), 1), 2);
        assert!(!buckets.has(at(60_000), &3, 4), "more than there ever is");
    }

    #[test]
    fn hostile_floods_of_keys_give_nothing_back() {
        let mut buckets = Buckets::new(RATE, 4);
        for key in 0..4u32 {
            assert!(buckets.spend(at(0), key, 3));
        }
        let others = (4..1000).filter(|key| buckets.spend(at(0), *key, 1)).count();
        assert_eq!(others, 3, "one budget for all others");
        assert_eq!(buckets.whole_at.len(), 4);
        assert!((0..4).all(|key| !buckets.spend(at(0), key, 1)));
        // When the budgets are whole again, there are places again.
        assert!(buckets.spend(at(1500), 1000, 3) && buckets.spend(at(1500), 1001, 3));
        assert_eq!(buckets.whole_at.len(), 2);
    }
}
