//! Network address translators: what a machine behind one can send and receive.

use super::{Network, NodeId};
use crate::transport::Time;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The first port that a translator gives, and how many each machine behind it has for its own.
const FIRST_PORT: u16 = 40_000;
const PORTS: u16 = 1000;

/// Which datagrams a translator lets in, and which port it gives (RFC 3489 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// One port for all destinations; anybody may send to it.
    FullCone,
    /// One port; who is sent something may answer, from any port of the same host.
    AddressRestricted,
    /// One port; who is sent something may answer, from the same port.
    PortRestricted,
    /// Another port for each destination, which alone may answer.
    Symmetric,
}

/// A translator before one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat {
    /// What it lets in.
    pub kind: NatKind,
    /// The address that others see. It must be that of no machine. Machines with the same are in one
    /// local network.
    pub public: IpAddr,
    /// A port is forgotten, and so is who may answer, when nothing was sent for so long.
    pub lifetime: Duration,
}

impl Nat {
    /// A translator that forgets after 60 s.
    pub const fn new(kind: NatKind, public: IpAddr) -> Self {
        Self { kind, public, lifetime: Duration::from_secs(60) }
    }
}

/// A translator at work.
#[derive(Debug)]
pub(super) struct Translator {
    pub(super) nat: Nat,
    /// The port of each destination, or of all (`None`), and when it was last used.
    ports: HashMap<Option<SocketAddr>, (u16, Time)>,
    /// Who was sent something from a port, and when.
    sent: HashMap<(u16, SocketAddr), Time>,
    /// The last port that was given, and the first that may be.
    last_port: u16,
    first_port: u16,
}

impl Translator {
    /// The part of a translator that serves the machine at this place behind it.
    ///
    /// # Panics
    /// If there are more machines than it has ports.
    pub(super) fn new(nat: Nat, place: usize) -> Self {
        assert!(place < usize::from((u16::MAX - FIRST_PORT) / PORTS), "too many machines");
        let first_port = FIRST_PORT + PORTS * place as u16;
        let (ports, sent) = (HashMap::new(), HashMap::new());
        Self { nat, ports, sent, last_port: first_port, first_port }
    }

    /// True if this is one of the ports for its machine.
    pub(super) fn has_port(&self, port: u16) -> bool {
        (self.first_port..self.first_port + PORTS).contains(&port)
    }

    /// The sender's address of a datagram to `to` as that sees it.
    pub(super) fn outward(&mut self, now: Time, to: SocketAddr) -> SocketAddr {
        let destination = (self.nat.kind == NatKind::Symmetric).then_some(to);
        let lives = |used: Time| now.since(used) < self.nat.lifetime;
        let port = match self.ports.get(&destination) {
            Some(&(port, used)) if lives(used) => port,
            _ => {
                let next = self.last_port + 1;
                self.last_port = if self.has_port(next) { next } else { self.first_port };
                self.last_port
            }
        };
        self.ports.insert(destination, (port, now));
        self.sent.insert((port, to), now);
        SocketAddr::new(self.nat.public, port)
    }

    /// True if a datagram of `from` to one of the ports is let in.
    pub(super) fn admits(&self, now: Time, port: u16, from: SocketAddr) -> bool {
        let lives = |used: &Time| now.since(*used) < self.nat.lifetime;
        let is_open = self.ports.values().any(|(open, used)| *open == port && lives(used));
        let answers = |exactly: bool| {
            self.sent.iter().any(|((of, to), at)| {
                let is_it = if exactly { *to == from } else { to.ip() == from.ip() };
                *of == port && is_it && lives(at)
            })
        };
        is_open
            && match self.nat.kind {
                NatKind::FullCone => true,
                NatKind::AddressRestricted => answers(false),
                NatKind::PortRestricted | NatKind::Symmetric => answers(true),
            }
    }
}

impl<M> Network<M> {
    /// Puts a translator before a machine. From now on nothing that others send to the machine's own
    /// address arrives. Links are set and found by that address all the same.
    ///
    /// Machines behind translators with one public address are in one local network: they reach each
    /// other by their own addresses, and not by the public one.
    ///
    /// # Panics
    /// If there are more than 24 machines behind one address: the test is wrong.
    pub fn set_nat(&mut self, node: NodeId, nat: Nat) {
        let behind = self.by_nat.entry(nat.public).or_default();
        let place = behind.iter().position(|id| *id == node.0).unwrap_or(behind.len());
        if place == behind.len() {
            behind.push(node.0);
        }
        self.nats.insert(node.0, Translator::new(nat, place));
    }

    /// The machine that has this address, or is behind it.
    pub(super) fn machine_at(&self, address: SocketAddr) -> Option<usize> {
        let has_port = |id: &&usize| {
            self.nats.get(id).is_some_and(|translator| translator.has_port(address.port()))
        };
        match self.by_nat.get(&address.ip()) {
            Some(behind) => behind.iter().find(has_port).copied(),
            None => self.by_address.get(&address).copied(),
        }
    }

    /// True if what `from` sends to `to` is let through to the machine there.
    pub(super) fn admits(&self, id: usize, from: SocketAddr, to: SocketAddr) -> bool {
        let admits = |translator: &Translator| {
            translator.nat.public == to.ip() && translator.admits(self.now, to.port(), from)
        };
        self.nats.get(&id).is_none_or(admits) || self.shares_nat(id, from)
    }

    /// True if the machine with this address of its own is behind the same translator as another.
    pub(super) fn shares_nat(&self, id: usize, address: SocketAddr) -> bool {
        let public = |id: &usize| self.nats.get(id).map(|translator| translator.nat.public);
        let other = self.by_address.get(&address).and_then(public);
        other.is_some() && other == public(&id)
    }

    /// True if the machine is in the local network of the one with this address of its own; all that
    /// are behind no translator are in one.
    pub(super) fn is_local(&self, id: usize, address: SocketAddr) -> bool {
        let public = |id: &usize| self.nats.get(id).map(|translator| translator.nat.public);
        self.by_address.get(&address).and_then(public) == public(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: u8, port: u16) -> SocketAddr {
        ([192, 0, 2, host], port).into()
    }

    /// A translator that has sent something to port 1 of host 1, and the port that this has got.
    fn translator(kind: NatKind) -> (Translator, u16) {
        let mut translator = Translator::new(Nat::new(kind, [198, 51, 100, 1].into()), 0);
        let outside = translator.outward(Time::ZERO, at(1, 1));
        assert_eq!(outside.ip(), IpAddr::from([198, 51, 100, 1]));
        (translator, outside.port())
    }

    #[test]
    fn who_is_let_in() {
        for (kind, admitted) in [
            (NatKind::FullCone, [true, true, true]),
            (NatKind::AddressRestricted, [true, true, false]),
            (NatKind::PortRestricted, [true, false, false]),
            (NatKind::Symmetric, [true, false, false]),
        ] {
            let (translator, port) = translator(kind);
            let senders = [at(1, 1), at(1, 2), at(2, 1)];
            let admits = senders.map(|from| translator.admits(Time::ZERO, port, from));
            assert_eq!(admits, admitted, "{kind:?}");
            assert!(!translator.admits(Time::ZERO, port + 1, at(1, 1)), "{kind:?}: no such port");
        }
    }

    #[test]
    fn only_a_symmetric_one_has_a_port_for_each_destination() {
        for kind in [NatKind::FullCone, NatKind::AddressRestricted, NatKind::PortRestricted] {
            let (mut translator, port) = translator(kind);
            assert_eq!(translator.outward(Time::ZERO, at(2, 2)).port(), port);
        }
        let (mut translator, port) = translator(NatKind::Symmetric);
        let second = translator.outward(Time::ZERO, at(2, 2)).port();
        assert_ne!(second, port);
        assert_eq!(translator.outward(Time::ZERO, at(1, 1)).port(), port);
        assert!(!translator.admits(Time::ZERO, second, at(1, 1)));
    }

    #[test]
    fn what_is_not_used_is_forgotten() {
        let (mut translator, port) = translator(NatKind::PortRestricted);
        let later = |seconds| Time::ZERO + Duration::from_secs(seconds);
        assert!(translator.admits(later(59), port, at(1, 1)));
        translator.outward(later(50), at(2, 2));
        assert!(!translator.admits(later(60), port, at(1, 1)), "the port is used, but not to it");
        assert!(translator.admits(later(60), port, at(2, 2)));
        assert_ne!(translator.outward(later(110), at(1, 1)).port(), port);
    }
}
