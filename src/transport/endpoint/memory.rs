//! Bounds on the memory that sessions cost together.
//!
//! A session bounds what its own flows hold. Many sessions can still use this end up, whether one
//! address opens them or many do. Then those that hold most are closed: what they hold was
//! acknowledged, so that it can't be dropped from flows that go on, and an honest far end, which
//! holds little or holds it only while something is lost, is the last to be hit.

use super::{CloseReason, Endpoint, SessionId, Time};
use std::net::IpAddr;
use std::time::Duration;

/// At most one line is logged in this time.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// Evictions that were not logged yet.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    logged: Option<Time>,
    sessions: u64,
}

impl Endpoint {
    /// Accounts for the memory of a session, and closes sessions if a bound is exceeded.
    pub(super) fn account(&mut self, now: Time, id: SessionId) {
        let Some((ip, of_address)) = self.table.charge(id) else { return };
        if of_address > self.config.max_address_memory {
            self.evict(now, Some(ip), of_address, self.config.max_address_memory);
        }
        let held = self.table.memory();
        let bound = self.memory.cover(held);
        if held > bound {
            self.evict(now, None, held, bound);
        }
    }

    /// Closes the sessions that hold most, all or those with one address, until an eighth of
    /// `bound` is free. So a search among all sessions is paid for by many bytes received.
    fn evict(&mut self, now: Time, ip: Option<IpAddr>, mut held: u64, bound: u64) {
        let heaviest = self.table.heaviest(ip);
        let most = heaviest.first().map_or(0, |&(memory, _)| memory);
        for (memory, id) in heaviest {
            if held <= bound - bound / 8 {
                break;
            }
            held = held.saturating_sub(memory);
            if let Some((session, mut cx)) = self.entry(now, id) {
                session.close_abruptly(&mut cx, CloseReason::Evicted);
            }
            self.counters.sessions_evicted += 1;
            self.evictions.sessions += 1;
            self.table.charge(id);
            self.table.touch(id);
            self.table.schedule(now, id);
        }
        self.log_evictions(now, ip, bound, most);
    }

    fn log_evictions(&mut self, now: Time, ip: Option<IpAddr>, bound: u64, most: u64) {
        let Evictions { logged, sessions } = &mut self.evictions;
        if logged.is_none_or(|at| now.since(at) >= LOG_PERIOD) {
            let address = ip.map_or_else(|| "all addresses".to_owned(), |ip| ip.to_string());
            tracing::warn!(
                closed = *sessions,
                of = address,
                bound,
                most,
                "sessions that held most memory were closed"
            );
            (*logged, *sessions) = (Some(now), 0);
        }
    }
}
