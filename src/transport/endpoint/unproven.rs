//! Budgets of bytes to addresses that have not answered.
//!
//! Redirects, reports of members and forwarded hellos all name addresses, which may be those of
//! somebody who has nothing to do with it. Three bounds hold together:
//!
//! * **Credit**: a session makes this endpoint send to others at most as many bytes as it has
//!   brought in ([`Session::credit`]); what a startup packet names costs at most three times its
//!   length ([`Purse`](super::candidate::Purse)).
//! * **A budget of each address**, over all attempts, sessions and groups.
//! * **A budget of each host**: an IPv4 address or an IPv6 network of 64 bits.
//!
//! An address that answers has shown that somebody there wants to talk: the bytes spent for it are
//! returned.

use super::Endpoint;
use crate::transport::buckets::{Buckets, Rate};
use crate::transport::{SessionId, Time};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes to one address that has not answered: seventeen hellos, or three answers to forwarded
/// hellos with a static key of 2,048 bits; then one hello in 9 s.
const PER_ADDRESS: Rate = Rate { burst: 1200, per_second: 8 };
/// Bytes to all addresses of one host that have not answered. Many peers can be behind one address
/// translator, some of them gone.
const PER_HOST: Rate = Rate { burst: 4800, per_second: 32 };
/// Addresses and hosts whose budgets are kept apart; further ones share one budget.
const MAX_KEPT: usize = 4096;
/// Addresses for which it is remembered who pays; for further ones nothing comes back.
const MAX_DEBTS: usize = 4096;
/// Bytes spent for an address are returned if it answers within this time.
const DEBT_LIFETIME: Duration = Duration::from_secs(60);

/// A host, whose addresses share a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Host(IpAddr);

impl Host {
    fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V6(ip) => {
                let network = u128::from(ip) & !u128::from(u64::MAX);
                Self(Ipv6Addr::from(network).into())
            }
            v4 => Self(v4),
        }
    }
}

/// Bytes spent for an address that has not answered yet.
#[derive(Debug)]
struct Debt {
    since: Time,
    bytes: u64,
    /// The last session that paid, and how much of it.
    payer: Option<(SessionId, u64)>,
}

/// The budgets of hosts, which all endpoints that share ports have in common: an address belongs
/// to one of them, a host to all.
#[derive(Debug, Clone)]
pub(super) struct HostBudgets(Arc<Mutex<Buckets<Host>>>);

impl Default for HostBudgets {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Buckets::new(PER_HOST, MAX_KEPT))))
    }
}

impl HostBudgets {
    /// Nothing panics under the lock, so that a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Buckets<Host>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The budgets of addresses that have not answered.
#[derive(Debug)]
pub(super) struct Unproven {
    addresses: Buckets<SocketAddr>,
    hosts: HostBudgets,
    debts: HashMap<SocketAddr, Debt>,
    swept: Time,
}

impl Unproven {
    pub(super) fn new(hosts: HostBudgets) -> Self {
        Self {
            addresses: Buckets::new(PER_ADDRESS, MAX_KEPT),
            hosts,
            debts: HashMap::new(),
            swept: Time::ZERO,
        }
    }

    /// Takes `bytes` from the budgets of `address` and its host, if both have them.
    fn spend(&mut self, now: Time, address: SocketAddr, bytes: u64) -> bool {
        let host = Host::of(address);
        let mut hosts = self.hosts.lock();
        hosts.has(now, &host, bytes)
            && self.addresses.spend(now, address, bytes)
            && hosts.spend(now, host, bytes)
    }

    fn note(&mut self, now: Time, address: SocketAddr, bytes: u64, payer: Option<SessionId>) {
        if now.since(self.swept) >= DEBT_LIFETIME {
            self.swept = now;
            self.debts.retain(|_, debt| now.since(debt.since) < DEBT_LIFETIME);
        }
        if self.debts.len() >= MAX_DEBTS && !self.debts.contains_key(&address) {
            return;
        }
        let new = Debt { since: now, bytes: 0, payer: None };
        let debt = self.debts.entry(address).or_insert(new);
        debt.bytes += bytes;
        debt.payer = match (debt.payer, payer) {
            (Some((old, paid)), Some(new)) if old == new => Some((new, paid + bytes)),
            (old, None) => old,
            (_, Some(new)) => Some((new, bytes)),
        };
    }

    /// The address has answered. Returns the session to which something comes back.
    fn settle(&mut self, address: SocketAddr) -> Option<(SessionId, u64)> {
        let debt = self.debts.remove(&address)?;
        self.addresses.give_back(&address, debt.bytes);
        self.hosts.lock().give_back(&Host::of(address), debt.bytes);
        debt.payer
    }
}

impl Endpoint {
    /// True if `bytes` may leave for an address that has not answered, on account of `payer` if
    /// there is one. They are charged then.
    pub(super) fn charge(
        &mut self,
        now: Time,
        address: SocketAddr,
        bytes: usize,
        payer: Option<SessionId>,
    ) -> bool {
        let bytes = bytes as u64;
        if payer.is_some_and(|payer| self.credit_of(payer) < bytes)
            || !self.unproven.spend(now, address, bytes)
        {
            return false;
        }
        if let Some(session) = payer.and_then(|payer| self.table.get_mut(payer)) {
            session.spend_credit(bytes);
        }
        self.unproven.note(now, address, bytes, payer);
        true
    }

    /// Bytes that a session may still make this endpoint send to others; none if it is not open.
    pub(super) fn credit_of(&self, session: SessionId) -> u64 {
        self.table.open(session).map_or(0, |session| session.credit())
    }

    /// Somebody at `address` has answered what only that address can have received.
    pub(super) fn prove(&mut self, address: SocketAddr) {
        if let Some((payer, bytes)) = self.unproven.settle(address)
            && let Some(session) = self.table.get_mut(payer)
        {
            session.return_credit(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: u8, port: u16) -> SocketAddr {
        ([192, 0, 2, host], port).into()
    }

    #[test]
    fn an_address_and_its_host_have_budgets_of_their_own() {
        let mut unproven = Unproven::new(HostBudgets::default());
        let now = Time::from_millis(1000);
        let hellos = |unproven: &mut Unproven, now, address| {
            (0..1000).filter(|_| unproven.spend(now, address, 68)).count()
        };
        assert_eq!(hellos(&mut unproven, now, address(1, 1)), 17);
        let host: usize = (2..1000).map(|port| hellos(&mut unproven, now, address(1, port))).sum();
        assert_eq!(17 + host, 4800 / 68);
        assert_eq!(hellos(&mut unproven, now, address(2, 1)), 17);
        let hour: usize = (1..360)
            .map(|i| hellos(&mut unproven, now + Duration::from_secs(10 * i), address(1, 1)))
            .sum();
        assert!((400..=425).contains(&hour), "{hour}");
    }

    /// The ports of one host are spread over all workers.
    #[test]
    fn hostile_ports_at_two_workers_have_the_budget_of_one_host() {
        let hosts = HostBudgets::default();
        let mut workers = [Unproven::new(hosts.clone()), Unproven::new(hosts)];
        let now = Time::from_millis(1000);
        let ports = (0..1000).flat_map(|port| [port; 20]);
        let mut spent = |port: u16| workers[usize::from(port % 2)].spend(now, address(1, port), 68);
        assert_eq!(ports.filter(|&port| spent(port)).count(), 4800 / 68);
    }

    #[test]
    fn an_ipv6_network_is_one_host() {
        let host = |text: &str| Host::of(text.parse().unwrap());
        assert_eq!(host("[2001:db8::1]:1"), host("[2001:db8::ffff:1:1]:2"));
        assert_ne!(host("[2001:db8::1]:1"), host("[2001:db8:0:1::1]:1"));
        assert_eq!(host("[::ffff:192.0.2.1]:1"), host("192.0.2.1:1"));
    }

    #[test]
    fn what_an_answer_gives_back() {
        let mut unproven = Unproven::new(HostBudgets::default());
        let (now, payer) = (Time::from_millis(1000), SessionId(7));
        for _ in 0..17 {
            assert!(unproven.spend(now, address(1, 1), 68));
            unproven.note(now, address(1, 1), 68, Some(payer));
        }
        assert!(!unproven.spend(now, address(1, 1), 68));
        assert_eq!(unproven.settle(address(1, 1)), Some((payer, 17 * 68)));
        assert!(unproven.spend(now, address(1, 1), 1200));
        assert_eq!(unproven.settle(address(1, 1)), None, "once");
    }

    #[test]
    fn hostile_debts_are_bounded() {
        let mut unproven = Unproven::new(HostBudgets::default());
        let now = Time::from_millis(1000);
        for i in 0..10_000u16 {
            unproven.note(now, address((i >> 8) as u8, i), 68, None);
        }
        assert_eq!(unproven.debts.len(), MAX_DEBTS);
        unproven.note(now + DEBT_LIFETIME, address(9, 9), 68, None);
        assert_eq!(unproven.debts.len(), 1);
    }
}
