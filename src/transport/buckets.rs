//! Budgets that refill with time, one for each key, in a table that cannot be flushed.

use super::Time;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// A full table is searched for keys with a whole budget this often.
const SWEEP: Duration = Duration::from_secs(1);
/// Any table that is not small is searched this often.
const RARELY: Duration = Duration::from_secs(60);
/// Keys that are not searched for: they take little memory.
const FEW: usize = 256;

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
    sweeper: Sweeper,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn new(rate: Rate, max: usize) -> Self {
        let whole_at = HashMap::new();
        Self { rate, max, whole_at, others: Time::ZERO, sweeper: Sweeper::default() }
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

    /// Drops keys whose budget is whole, if there are many or places are needed.
    fn sweep(&mut self, now: Time) {
        let is_full = self.whole_at.len() >= self.max;
        self.sweeper.sweep(&mut self.whole_at, now, is_full);
    }
}

/// Drops keys whose time has come from a table: when there are twice as many as the last time were left,
/// or a minute has passed. So each costs little, and a table that was large becomes small again.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    last: Time,
    /// So many keys are searched.
    at: usize,
}

impl Sweeper {
    /// Searches the table if it is time for that; a full one once a second.
    pub(crate) fn sweep<K: Eq + Hash>(
        &mut self,
        table: &mut HashMap<K, Time>,
        now: Time,
        is_full: bool,
    ) {
        let since = now.since(self.last);
        let has_many = table.len() >= self.at.max(FEW);
        let is_due = match is_full {
            true => since >= SWEEP,
            false => has_many || (since >= RARELY && table.capacity() > FEW),
        };
        if !is_due {
            return;
        }
        self.last = now;
        table.retain(|_, at| *at > now);
        self.at = 2 * table.len();
        if table.capacity() > 4 * self.at.max(FEW) {
            table.shrink_to(self.at.max(FEW));
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

    #[test]
    fn hostile_floods_of_keys_leave_no_memory_behind() {
        let mut buckets = Buckets::new(RATE, 1 << 20);
        let mut most = 0;
        // 200,000 keys in ten seconds, of which each has its budget back after half a second.
        for n in 0..200_000_u64 {
            buckets.spend(at(n / 20), n, 1);
            most = most.max(buckets.whole_at.len());
        }
        assert!((10_000..=20_000 + FEW).contains(&most), "{most} at a time");
        buckets.spend(at(100_000), 0, 1);
        assert!(buckets.whole_at.capacity() <= 4 * FEW, "{}", buckets.whole_at.capacity());
        assert!(!buckets.has(at(100_000), &0, 3), "what was spent now counts");
    }
}
