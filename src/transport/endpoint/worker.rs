//! Several endpoints of one process that share an identity and ports (`docs/multicore.md`).
//!
//! The low bits of a session ID are the number of the worker that gave it out: a datagram that
//! comes to another one, because its sender has moved, is passed on to that worker.

use super::Endpoint;
use super::tally::Tally;
use super::unproven::HostBudgets;
use crate::crypto::CookieSecret;
use crate::transport::{Arrived, Config, Ecn, Path, Rate};
use rand_core::CryptoRng;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Workers of one process at most: 24 bits of a session ID stay random.
pub const MAX_WORKERS: usize = 256;
/// Runs of datagrams for other workers that wait to be taken; further ones are dropped, like any
/// datagram for which there is no space.
const MAX_STRAYS: usize = 1024;
/// Memory that a worker takes from the common part at a time, in bytes.
const MEMORY_UNIT: u64 = 1 << 20;

/// One of several endpoints that share an identity and ports: its number, and what is counted over
/// all of them.
#[derive(Debug, Clone)]
pub struct Worker {
    number: u32,
    count: u32,
    common: Arc<Common>,
}

/// What workers share. None of it is touched for each packet of a session.
#[derive(Debug)]
struct Common {
    cookies: CookieSecret,
    /// Sessions, open and closing ones.
    sessions: Tally,
    /// Keyings that wait for their computation.
    keyings: Tally,
    unproven: HostBudgets,
    /// Bytes of memory that nobody has taken yet.
    memory: AtomicU64,
}

impl Worker {
    /// The only worker of an endpoint that shares nothing.
    pub(super) fn alone(random: &mut dyn CryptoRng) -> Self {
        Self { number: 0, count: 1, common: Arc::new(Common::new(0, random)) }
    }

    /// The workers of one process, for endpoints with this configuration: one to [`MAX_WORKERS`],
    /// whatever `count` says.
    pub fn crew(count: usize, config: &Config, random: &mut dyn CryptoRng) -> Vec<Self> {
        let count = count.clamp(1, MAX_WORKERS) as u32;
        let pool = if count > 1 { config.max_memory / 2 } else { 0 };
        let common = Arc::new(Common::new(pool, random));
        (0..count).map(|number| Self { number, count, common: Arc::clone(&common) }).collect()
    }

    /// Its number, from 0.
    pub fn number(&self) -> usize {
        self.number as usize
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    const fn mask(&self) -> u32 {
        self.count.next_power_of_two() - 1
    }

    /// The same session ID, given out by this worker.
    pub(super) const fn sign(&self, id: u32) -> u32 {
        (id & !self.mask()) | self.number
    }

    /// The number of the worker that gave `id` out, if it is another than this one. The ID of
    /// startup packets belongs to everybody.
    pub(super) fn other_owner(&self, id: u32) -> Option<usize> {
        let owner = id & self.mask();
        (id != 0 && owner != self.number && owner < self.count).then_some(owner as usize)
    }

    /// This worker's part of a bound that is divided.
    pub(super) fn part(&self, bound: usize) -> usize {
        (bound / self.count as usize).max(1)
    }

    /// This worker's part of a rate.
    pub(super) fn part_of_rate(&self, rate: Rate) -> Rate {
        let part = |units: u32| (units / self.count).max(1);
        Rate { burst: part(rate.burst), per_second: part(rate.per_second) }
    }

    pub(super) fn cookies(&self) -> &CookieSecret {
        &self.common.cookies
    }

    pub(super) fn sessions(&self) -> &Tally {
        &self.common.sessions
    }

    pub(super) fn keyings(&self) -> &Tally {
        &self.common.keyings
    }

    pub(super) fn unproven(&self) -> &HostBudgets {
        &self.common.unproven
    }
}

impl Common {
    fn new(memory: u64, random: &mut dyn CryptoRng) -> Self {
        Self {
            cookies: CookieSecret::generate(random),
            sessions: Tally::default(),
            keyings: Tally::default(),
            unproven: HostBudgets::default(),
            memory: AtomicU64::new(memory),
        }
    }

    /// Takes up to `bytes` of the common memory.
    fn take(&self, bytes: u64) -> u64 {
        let take = |free: u64| Some(free - bytes.min(free));
        let before = self.memory.fetch_update(Relaxed, Relaxed, take).unwrap_or(0);
        bytes.min(before)
    }
}

/// The part of [`Config::max_memory`] that a worker may use: one part is its own, of another all
/// workers take what they need. A lone worker owns all of it.
#[derive(Debug)]
pub(super) struct MemoryShare {
    worker: Worker,
    own: u64,
    taken: u64,
}

impl MemoryShare {
    pub(super) fn new(worker: &Worker, max_memory: u64) -> Self {
        let own = match worker.count {
            1 => max_memory,
            count => max_memory / 2 / u64::from(count),
        };
        Self { worker: worker.clone(), own, taken: 0 }
    }

    /// Sees that the share covers `held` bytes, if that is possible. Returns the bytes that may be
    /// held.
    pub(super) fn cover(&mut self, held: u64) -> u64 {
        let share = self.own + self.taken;
        if held > share {
            self.taken += self.worker.common.take((held - share).next_multiple_of(MEMORY_UNIT));
        } else if self.taken > 0 {
            // One unit is kept, so that not every message takes and returns one.
            let spare = (share - held).saturating_sub(MEMORY_UNIT);
            let back = (spare - spare % MEMORY_UNIT).min(self.taken);
            if back > 0 {
                self.taken -= back;
                self.worker.common.memory.fetch_add(back, Relaxed);
            }
        }
        self.own + self.taken
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.worker.common.memory.fetch_add(self.taken, Relaxed);
    }
}

/// Datagrams that have come to another worker than the one that gave their session ID out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The number of the worker to which they belong.
    pub worker: usize,
    /// Where they came from. All workers number their sockets in the same way.
    pub path: Path,
    /// The datagrams, one after another.
    pub bytes: Vec<u8>,
    /// Bytes of each but the last, which may be shorter.
    pub segment: usize,
    /// Their congestion mark.
    pub ecn: Ecn,
}

impl Stray {
    /// The datagrams, for [`Machine::handle_datagrams`](crate::transport::Machine).
    pub fn arrived(&mut self) -> Arrived<'_> {
        Arrived { bytes: &mut self.bytes, segment: self.segment, ecn: self.ecn }
    }
}

impl Endpoint {
    /// This endpoint's place among those that share its ports.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The next datagrams for another worker; to be read like events.
    #[must_use]
    pub fn poll_stray(&mut self) -> Option<Stray> {
        self.strays.pop_front()
    }

    pub(super) fn pass_on(&mut self, worker: usize, path: Path, arrived: &Arrived<'_>) {
        if self.strays.len() >= MAX_STRAYS {
            self.counters.strays_dropped += 1;
            return;
        }
        let Arrived { bytes, segment, ecn } = arrived;
        let (bytes, segment, ecn) = (bytes.to_vec(), *segment, *ecn);
        self.strays.push_back(Stray { worker, path, bytes, segment, ecn });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    fn crew(count: usize, config: &Config) -> Vec<Worker> {
        Worker::crew(count, config, &mut rand_chacha::ChaCha20Rng::seed_from_u64(1))
    }

    #[test]
    fn an_id_names_its_worker_and_a_lone_one_leaves_ids_alone() {
        for count in [2, 3, 4, 7, 8, 256] {
            let workers = crew(count, &Config::server());
            assert_eq!(workers.len(), count);
            for (number, worker) in workers.iter().enumerate() {
                let id = worker.sign(0xdead_beef);
                assert_eq!((worker.number(), worker.count()), (number, count));
                assert_eq!(id >> 8, 0x00de_adbe, "{id:08x}");
                for other in &workers {
                    let owner = (other.number() != number).then_some(number);
                    assert_eq!(other.other_owner(id), owner);
                }
                assert_eq!(worker.other_owner(0), None, "startup packets");
            }
        }
        let three = crew(3, &Config::server());
        assert_eq!(three[0].other_owner(0xffff_ffff), None, "a number that no worker has");
        let lone = &crew(1, &Config::server())[0];
        assert_eq!(lone.sign(0xdead_beef), 0xdead_beef);
        assert_eq!(lone.other_owner(0xdead_beef), None);
        assert_eq!(crew(1000, &Config::server()).len(), MAX_WORKERS);
        assert_eq!(crew(0, &Config::server()).len(), 1);
    }

    #[test]
    fn a_worker_uses_memory_that_others_do_not_need() {
        let config = Config { max_memory: 64 << 20, ..Config::server() };
        let workers = crew(4, &config);
        let mut shares = workers.iter().map(|worker| MemoryShare::new(worker, config.max_memory));
        let (mut one, mut two) = (shares.next().unwrap(), shares.next().unwrap());
        assert_eq!(one.cover(0), 8 << 20, "its own part");
        assert_eq!(one.cover(40 << 20), 40 << 20, "and all that is common");
        assert_eq!(one.cover(41 << 20), 40 << 20, "but no more");
        assert_eq!(two.cover(9 << 20), 8 << 20, "nothing common is left");
        assert_eq!(one.cover(20 << 20), 21 << 20);
        assert_eq!(two.cover(9 << 20), 9 << 20);
        drop((one, two));
        assert_eq!(workers[0].common.memory.load(Relaxed), 32 << 20, "all has come back");
        let lone = &crew(1, &config)[0];
        assert_eq!(MemoryShare::new(lone, config.max_memory).cover(1 << 40), 64 << 20);
    }
}
