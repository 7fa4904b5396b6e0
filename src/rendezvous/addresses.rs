//! The addresses that a client reports, and their distribution.
//!
//! The source address of a client's packets is certain. The addresses that it reports (`setPeerInfo`)
//! are needed by clients that are in the same network or speak the other version of IP, but they
//! may belong to a third party, and every client that receives one sends a hello there. So they must
//! fit the address that is certain, and the client pays for each time with the bytes that it has
//! sent to the server.

use crate::flash::peer_info;
use std::net::{IpAddr, SocketAddr};

/// Reported addresses in one introduction.
const MAX_HANDED_OUT: usize = 3;
/// Addresses of a peer in the server's own process in one introduction.
const MAX_OF_OWN_PEER: usize = 4;
/// Addresses of one client that may be a third party's; further ones are not taken.
const MAX_FOREIGN: usize = 2;
/// The cost of handing one address out: a hello of the asking peer, in bytes.
const HELLO: u64 = 72;
/// Bytes of hellos that a client may cause for each byte that it has sent.
const FACTOR: u64 = 2;
/// Bytes that opening the session has taken of it, at least.
const OPENING: u64 = 256;
/// Askers that are no clients may use this part of what a client has paid: their sources may be forged.
const PART_OF_STRANGERS: u64 = 2;
/// An address that hardly helps is handed out only if this much is left, in bytes of hellos.
const RESERVE: u64 = 1024;

/// Who asks for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// It comes from the address of a client.
    Client,
    /// It comes from anywhere, or has a forged source.
    Stranger,
}

/// The kind of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Loopback,
    /// 169.254.0.0/16. Those of IPv6 mean nothing to others without their scope.
    LinkLocal,
    /// RFC 1918, RFC 4193, RFC 6598.
    Private,
    Public,
    /// An address that nobody can have.
    Unusable,
}

impl Class {
    fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => match ip.octets() {
                [127, ..] => Self::Loopback,
                [169, 254, ..] => Self::LinkLocal,
                [10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => {
                    Self::Private
                }
                [0, ..] | [224..=255, ..] => Self::Unusable,
                _ => Self::Public,
            },
            IpAddr::V6(ip) if ip.is_loopback() => Self::Loopback,
            IpAddr::V6(ip) => match ip.segments() {
                [0xfc00..=0xfdff, ..] => Self::Private,
                // Global unicast; what lies outside is reserved, multicast or link-local.
                [0x2000..=0x3fff, ..] => Self::Public,
                _ => Self::Unusable,
            },
        }
    }
}

/// True if an address means the same everywhere.
pub(super) fn is_public(ip: IpAddr) -> bool {
    Class::of(ip) == Class::Public
}

/// The use of an address for a certain asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Help {
    /// In the same network, or the only one for the asker's version of IP.
    Likely,
    /// A public address that is not the one observed: another interface, or anybody's.
    Foreign,
    /// A private address, and the two are in different networks.
    Unlikely,
}

/// Checks if a client observed at `observed` can have `reported`: `None` if not, otherwise what it is to
/// others.
fn plausible(observed: IpAddr, reported: SocketAddr, server: &[SocketAddr]) -> Option<Help> {
    let ip = reported.ip();
    if reported.port() == 0 || server.contains(&reported) {
        return None;
    }
    if ip == observed || shares_network(ip, observed) {
        return (Class::of(ip) != Class::Unusable).then_some(Help::Likely);
    }
    let near = Class::of(observed);
    match Class::of(ip) {
        Class::Unusable => None,
        Class::Loopback => (near == Class::Loopback).then_some(Help::Likely),
        Class::LinkLocal => (near != Class::Public).then_some(Help::Likely),
        Class::Private => Some(Help::Likely),
        // Who reaches the server from a private address is in its network, and has no public
        // address of its own, unless it is one of IPv6, which are not translated.
        Class::Public if near == Class::Private || near == Class::LinkLocal => {
            ip.is_ipv6().then_some(Help::Foreign)
        }
        Class::Public => Some(Help::Foreign),
    }
}

/// The same network of IPv6, in which a host may have many addresses.
fn shares_network(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V6(a), IpAddr::V6(b)) => a.segments()[..4] == b.segments()[..4],
        _ => false,
    }
}

/// True if clients observed at these addresses may be in one local network: one address translator
/// or pool of them, one site of IPv6, or the server is in that network itself.
fn same_site(a: IpAddr, b: IpAddr) -> bool {
    let local = |ip| Class::of(ip) != Class::Public;
    match (a, b) {
        (IpAddr::V4(x), IpAddr::V4(y)) if !local(a) && !local(b) => {
            x.octets()[..3] == y.octets()[..3]
        }
        (IpAddr::V6(x), IpAddr::V6(y)) if !local(a) && !local(b) => {
            x.segments()[..3] == y.segments()[..3]
        }
        // Addresses of different versions say nothing about it.
        _ => a.is_ipv4() != b.is_ipv4() || local(a) == local(b),
    }
}

/// The addresses that a client has reported.
#[derive(Debug, Default)]
pub(super) struct Reported {
    addresses: Vec<SocketAddr>,
    /// Index at which the next introduction begins, so that each address has its turn.
    turn: usize,
    /// Bytes of hellos that handing out has cost so far.
    spent: u64,
}

impl Reported {
    /// Takes a new report of a client at `observed`, in place of an earlier one. Returns how many
    /// addresses it can't have.
    pub(super) fn replace(
        &mut self,
        observed: SocketAddr,
        addresses: &[SocketAddr],
        server: &[SocketAddr],
    ) -> usize {
        self.addresses.clear();
        let mut foreign = 0;
        for &address in addresses.iter().take(peer_info::MAX_ADDRESSES) {
            let help = plausible(observed.ip(), address, server);
            foreign += usize::from(help == Some(Help::Foreign));
            let taken = help.is_some() && (help != Some(Help::Foreign) || foreign <= MAX_FOREIGN);
            if taken && !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        addresses.len() - self.addresses.len()
    }

    /// The addresses for somebody at `asker`, beside `observed`, from which the client has sent
    /// `received` bytes.
    pub(super) fn hand_out(
        &mut self,
        (observed, received): (SocketAddr, u64),
        (asker, sort): (IpAddr, Asker),
        server: &[SocketAddr],
    ) -> Vec<SocketAddr> {
        let paid = match sort {
            Asker::Client => FACTOR * (OPENING + received),
            Asker::Stranger => FACTOR * (OPENING + received) / PART_OF_STRANGERS,
        };
        let count = self.addresses.len();
        let mut helpful: Vec<(Help, SocketAddr)> = (0..count)
            .filter_map(|i| self.addresses.get((self.turn + i) % count).copied())
            .filter(|address| *address != observed)
            .filter_map(|address| {
                // It may have moved since.
                let help = plausible(observed.ip(), address, server)?;
                let private = Class::of(address.ip()) == Class::Private;
                let apart = private && !same_site(observed.ip(), asker);
                Some((if apart { Help::Unlikely } else { help }, address))
            })
            .collect();
        helpful.sort_by_key(|&(help, _)| help);
        let mut foreign = false;
        let mut handed_out = Vec::new();
        for (help, address) in helpful {
            let left = paid.saturating_sub(self.spent);
            let needed = if help == Help::Unlikely { HELLO + RESERVE } else { HELLO };
            let second = help == Help::Foreign && std::mem::replace(&mut foreign, true);
            if left < needed || second || handed_out.len() >= MAX_HANDED_OUT {
                continue;
            }
            self.spent += HELLO;
            handed_out.push(address);
        }
        self.turn = self.turn.wrapping_add(handed_out.len().max(1));
        handed_out
    }
}

/// The addresses of a peer in the server's own process for somebody at `asker`, the best first: what it
/// reports is certain. It is observed at an address of this host, often that of loopback, which leads
/// others to themselves.
pub(super) fn of_own_peer(
    observed: SocketAddr,
    reported: &[SocketAddr],
    asker: IpAddr,
) -> Vec<SocketAddr> {
    let rank = |address: &SocketAddr| {
        let (ip, is_near) = (address.ip(), Class::of(asker) != Class::Public);
        let apart = match Class::of(ip) {
            Class::Unusable => return None,
            Class::Loopback if Class::of(asker) != Class::Loopback => return None,
            Class::LinkLocal if !is_near => return None,
            Class::Private => !is_near,
            Class::Loopback | Class::LinkLocal | Class::Public => false,
        };
        Some((ip.is_ipv4() != asker.is_ipv4(), apart))
    };
    let mut found: Vec<_> = Vec::new();
    for &address in reported.iter().chain([&observed]) {
        if let Some(rank) = rank(&address)
            && !found.contains(&(rank, address))
        {
            found.push((rank, address));
        }
    }
    found.sort_by_key(|(rank, _)| *rank);
    found.truncate(MAX_OF_OWN_PEER);
    if found.is_empty() {
        return vec![observed];
    }
    found.into_iter().map(|(_, address)| address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const fn by_client(asker: IpAddr) -> (IpAddr, Asker) {
        (asker, Asker::Client)
    }

    fn sockets(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| socket(text)).collect()
    }

    fn taken(observed: &str, reported: &[&str]) -> Vec<SocketAddr> {
        let mut client = Reported::default();
        client.replace(socket(observed), &sockets(reported), &sockets(&["198.51.100.7:1935"]));
        client.addresses
    }

    #[test]
    fn what_a_client_cannot_have_is_not_taken() {
        let own = ["203.0.113.5:1000", "203.0.113.5:2000", "192.168.1.2:1000", "10.0.0.2:1000"];
        assert_eq!(taken("203.0.113.5:999", &own), sockets(&own));
        let bad = [
            "203.0.113.5:0",
            "198.51.100.7:1935",
            "127.0.0.1:5",
            "[::1]:5",
            "0.1.2.3:5",
            "224.0.0.1:5",
            "240.0.0.1:5",
            "255.255.255.255:5",
            "169.254.1.1:5",
            "[fe80::1]:5",
            "[ff02::1]:5",
            "[::ffff:8.8.8.8]:5",
        ];
        assert_eq!(taken("203.0.113.5:999", &bad), []);
        // The server's host may have clients too.
        assert_eq!(taken("203.0.113.5:999", &["198.51.100.7:1936"]).len(), 1);
    }

    #[test]
    fn a_public_address_that_is_not_the_observed_one_is_foreign() {
        let many: Vec<String> = (1..16).map(|i| format!("198.51.100.{i}:5")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(taken("203.0.113.5:999", &many).len(), MAX_FOREIGN);
        assert_eq!(taken("192.168.1.2:999", &many), [], "not behind the server's own translator");
        let six = ["[2001:db8::5]:5"];
        assert_eq!(taken("192.168.1.2:999", &six), sockets(&six), "IPv6 is not translated");
        assert_eq!(taken("127.0.0.1:999", &many).len(), MAX_FOREIGN, "the server's own host");
        let temporary: Vec<String> = (1..9).map(|i| format!("[2001:db8::{i}]:5")).collect();
        let temporary: Vec<&str> = temporary.iter().map(String::as_str).collect();
        assert_eq!(taken("[2001:db8::ff]:5", &temporary).len(), 8, "one network");
    }

    /// A player that connects by IPv6 reports its IPv4 addresses only, with another port.
    #[test]
    fn a_player_at_ipv6_is_found_by_ipv4() {
        let (observed, reported) = (socket("[2001:db8::5]:60000"), sockets(&["10.77.0.1:58379"]));
        let mut client = Reported::default();
        client.replace(observed, &reported, &[]);
        let out = client.hand_out((observed, 600), by_client(socket("203.0.113.9:1").ip()), &[]);
        assert_eq!(out, reported);
    }

    #[test]
    fn a_peer_of_the_own_process_is_found_from_everywhere() {
        let observed = socket("127.0.0.1:7");
        let reported = ["203.0.113.9:7", "10.0.0.2:7", "[2001:db8::9]:8", "224.0.0.1:7"];
        let of = |observed: SocketAddr, asker: &str| {
            of_own_peer(observed, &sockets(&reported), asker.parse().unwrap())
        };
        let from_afar = ["203.0.113.9:7", "10.0.0.2:7", "[2001:db8::9]:8"];
        assert_eq!(of(observed, "198.51.100.1"), sockets(&from_afar), "never loopback");
        let by_six = ["[2001:db8::9]:8", "203.0.113.9:7", "10.0.0.2:7"];
        assert_eq!(of(observed, "2001:db8:1::1"), sockets(&by_six));
        let near = ["203.0.113.9:7", "10.0.0.2:7", "[2001:db8::9]:8"];
        assert_eq!(of(observed, "10.0.0.3"), sockets(&near));
        assert!(of(observed, "127.0.0.1").contains(&observed));
        let at_interface = socket("10.0.0.2:7");
        assert_eq!(of(at_interface, "198.51.100.1"), sockets(&from_afar), "each once");
        assert_eq!(of_own_peer(observed, &[], "10.0.0.3".parse().unwrap()), [observed]);
    }

    #[test]
    fn those_behind_one_translator_find_each_other() {
        let (observed, lan) = (socket("203.0.113.5:999"), sockets(&["192.168.1.2:1000"]));
        let mut client = Reported::default();
        client.replace(observed, &lan, &[]);
        for asker in ["203.0.113.5", "203.0.113.77", "192.168.1.3", "2001:db8::1"] {
            let asker: IpAddr = asker.parse().unwrap();
            let same = asker != socket("192.168.1.3:1").ip();
            let out = client.hand_out((observed, 0), by_client(asker), &[]);
            assert_eq!(out.is_empty(), !same, "{asker}");
        }
        assert_eq!(
            client.hand_out((observed, 0), by_client(socket("198.51.100.1:1").ip()), &[]),
            []
        );
        let out = client.hand_out((observed, 2000), by_client(socket("198.51.100.1:1").ip()), &[]);
        assert_eq!(out, lan, "perhaps by a private network over the Internet");
    }

    #[test]
    fn hostile_reports_cost_what_they_cause() {
        let (observed, asker) = (socket("203.0.113.5:999"), socket("203.0.113.5:1").ip());
        let many: Vec<_> = (1..17).map(|i| SocketAddr::from(([10, 0, 0, i], 5))).collect();
        let mut client = Reported::default();
        client.replace(observed, &many, &[]);
        let received = 1000;
        let mut seen = std::collections::BTreeSet::new();
        let mut handed_out = 0;
        for _ in 0..10_000 {
            let out = client.hand_out((observed, received), by_client(asker), &[]);
            assert!(out.len() <= MAX_HANDED_OUT);
            handed_out += out.len() as u64;
            seen.extend(out);
            client.replace(observed, &many, &[]);
        }
        assert_eq!(handed_out, FACTOR * (OPENING + received) / HELLO);
        assert_eq!(seen.len(), many.len(), "in turn");
        assert_eq!(client.hand_out((observed, received + HELLO), by_client(asker), &[]).len(), 2);
    }

    #[test]
    fn hostile_hellos_from_forged_sources_leave_a_part_to_clients() {
        let (observed, asker) = (socket("203.0.113.5:999"), socket("203.0.113.5:1").ip());
        let mut client = Reported::default();
        client.replace(observed, &sockets(&["10.0.0.1:5", "10.0.0.2:5"]), &[]);
        let received = 1000;
        let mut count = |sort| {
            let calls = (0..1000)
                .map(|_| client.hand_out((observed, received), (asker, sort), &[]).len() as u64);
            calls.sum::<u64>()
        };
        let all = FACTOR * (OPENING + received) / HELLO;
        assert_eq!(count(Asker::Stranger), all / PART_OF_STRANGERS);
        assert_eq!(count(Asker::Client), all - all / PART_OF_STRANGERS);
    }
}
