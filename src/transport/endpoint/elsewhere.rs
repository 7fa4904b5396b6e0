//! Other servers to which newcomers are redirected (RFC 7016 §3.5.1.4).
//!
//! Only hellos that ask for a server by its URI are redirected. A client asks the servers that a
//! redirect names and goes on asking this one; if it does, none of them has answered, and it is
//! answered here. So nobody is turned away, and nobody is sent round in circles.

use super::Endpoint;
use crate::transport::{Path, Time};
use crate::wire::chunk::Redirect;
use crate::wire::{Address, Chunk, Origin};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Addresses that a redirect names, at most.
const MAX_ADDRESSES: usize = 4;
/// Clients that have been redirected and may ask again; further ones are answered here.
const MAX_REDIRECTED: usize = 4096;
/// A client that asks again within this time is answered here.
const ASKS_AGAIN_WITHIN: Duration = Duration::from_secs(30);

/// Where newcomers are sent.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    addresses: Vec<SocketAddr>,
    redirected: HashMap<SocketAddr, Time>,
}

impl Elsewhere {
    /// The addresses for a newcomer of the same family as its own. None if it is to be answered here.
    fn for_newcomer(&mut self, now: Time, from: SocketAddr) -> Vec<Address> {
        let fits = |it: &&SocketAddr| it.is_ipv4() == from.is_ipv4() && **it != from;
        let fitting = self.addresses.iter().filter(fits).take(MAX_ADDRESSES);
        let addresses: Vec<_> = fitting.map(|&it| Address::new(it, Origin::Unknown)).collect();
        if addresses.is_empty() || self.redirected.contains_key(&from) {
            return Vec::new();
        }
        if self.redirected.len() >= MAX_REDIRECTED {
            self.redirected.retain(|_, at| now.since(*at) < ASKS_AGAIN_WITHIN);
        }
        if self.redirected.len() >= MAX_REDIRECTED {
            return Vec::new();
        }
        self.redirected.insert(from, now);
        addresses
    }

    /// Forgets a client that has asked again too late.
    fn expire(&mut self, now: Time, from: SocketAddr) {
        if self.redirected.get(&from).is_some_and(|at| now.since(*at) >= ASKS_AGAIN_WITHIN) {
            self.redirected.remove(&from);
        }
    }
}

impl Endpoint {
    /// From now on, newcomers that ask for a server by its URI are sent to these addresses; with none
    /// they are answered here.
    pub fn redirect_newcomers(&mut self, addresses: Vec<SocketAddr>) {
        if addresses.is_empty() {
            self.elsewhere = Elsewhere::default();
        } else {
            self.elsewhere.addresses = addresses;
        }
    }

    /// Redirects a newcomer. False if it is to be answered here.
    pub(super) fn send_elsewhere(
        &mut self,
        now: Time,
        path: Path,
        tag: &[u8],
        received: usize,
    ) -> bool {
        self.elsewhere.expire(now, path.remote);
        let addresses = self.elsewhere.for_newcomer(now, path.remote);
        let limit = self.config.max_amplification * received;
        let mut scratch = Vec::new();
        for count in (1..=addresses.len()).rev() {
            let chunk = Chunk::Redirect(Redirect::new(tag, &addresses[..count], &mut scratch));
            if self.send_startup_within(limit, path, 0, &chunk).is_some() {
                self.counters.redirected += 1;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newcomer(number: u16) -> SocketAddr {
        ([192, 0, 2, 1], number).into()
    }

    fn elsewhere() -> Elsewhere {
        let addresses = ["198.51.100.1:1935", "[2001:db8::1]:1935"];
        let addresses = addresses.map(|it| it.parse().unwrap()).to_vec();
        Elsewhere { addresses, ..Elsewhere::default() }
    }

    #[test]
    fn who_asks_again_is_answered() {
        let mut elsewhere = elsewhere();
        let sockets = |found: Vec<Address>| found.into_iter().map(|it| it.socket.to_string());
        let first = elsewhere.for_newcomer(Time::ZERO, newcomer(1));
        assert!(sockets(first).eq(["198.51.100.1:1935"]), "of the same family");
        assert!(elsewhere.for_newcomer(Time::ZERO, newcomer(1)).is_empty());
        elsewhere.expire(Time::from_millis(29_999), newcomer(1));
        assert!(elsewhere.for_newcomer(Time::from_millis(29_999), newcomer(1)).is_empty());
        elsewhere.expire(Time::from_millis(30_000), newcomer(1));
        assert_eq!(elsewhere.for_newcomer(Time::from_millis(30_000), newcomer(1)).len(), 1);
    }

    #[test]
    fn hostile_floods_of_hellos_are_answered_here() {
        let mut elsewhere = elsewhere();
        for port in 0..MAX_REDIRECTED as u16 {
            assert_eq!(elsewhere.for_newcomer(Time::ZERO, newcomer(port)).len(), 1);
        }
        assert!(elsewhere.for_newcomer(Time::ZERO, newcomer(60_000)).is_empty());
        assert_eq!(elsewhere.redirected.len(), MAX_REDIRECTED);
        let later = Time::ZERO + ASKS_AGAIN_WITHIN;
        assert_eq!(elsewhere.for_newcomer(later, newcomer(60_000)).len(), 1);
        assert_eq!(elsewhere.redirected.len(), 1);
    }
}
