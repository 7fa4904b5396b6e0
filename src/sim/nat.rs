//! Network address translators: what a machine behind one can send and receive.

use crate::transport::Time;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The first port that a translator gives.
const FIRST_PORT: u16 = 40_000;

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
    /// The address that others see. It must be that of no machine and no other translator.
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
    next_port: u16,
}

impl Translator {
    pub(super) fn new(nat: Nat) -> Self {
        Self { nat, ports: HashMap::new(), sent: HashMap::new(), next_port: FIRST_PORT }
    }

    /// The sender's address of a datagram to `to` as that sees it.
    pub(super) fn outward(&mut self, now: Time, to: SocketAddr) -> SocketAddr {
        let destination = (self.nat.kind == NatKind::Symmetric).then_some(to);
        let lives = |used: Time| now.since(used) < self.nat.lifetime;
        let port = match self.ports.get(&destination) {
            Some(&(port, used)) if lives(used) => port,
            _ => {
                self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
                self.next_port
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: u8, port: u16) -> SocketAddr {
        ([192, 0, 2, host], port).into()
    }

    /// A translator that has sent something to port 1 of host 1, and the port that this has got.
    fn translator(kind: NatKind) -> (Translator, u16) {
        let mut translator = Translator::new(Nat::new(kind, [198, 51, 100, 1].into()));
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
