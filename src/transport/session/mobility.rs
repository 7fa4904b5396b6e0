//! Verifying that the far end has moved to another address (RFC 7016 §3.5.4.2).

use crate::crypto::mac16;
use crate::transport::{Path, Time};
use std::net::SocketAddr;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// First byte of a mobility ping's message.
const MARK: u8 = b'M';
/// A mobility ping's message: mark, time, address hash.
const LEN: usize = 1 + 8 + 16;
/// Bytes of a packet with a mobility ping, at most.
pub(super) const MOBILITY_PING: u64 = 84;
/// Not more than one mobility ping in this time.
const PERIOD: Duration = Duration::from_secs(1);
/// A reply is ignored after this time.
const LIFETIME: Duration = Duration::from_secs(120);
/// Addresses beside the session's own where the far end may be.
const MAX_OTHERS: usize = 4;
/// Pings to each of them while the far end is sought, until a packet arrives from there.
const MAX_SEEKING: u32 = 8;

/// Mobility state of a session.
#[derive(Debug)]
pub(super) struct Mobility {
    secret: [u8; 16],
    last_sent: Option<Time>,
    last_confirmed: Option<Time>,
    others: Vec<Other>,
}

/// An address from which a packet of the far end arrived, verified or not.
#[derive(Debug)]
struct Other {
    path: Path,
    last_received: Time,
    pings: u32,
}

impl Mobility {
    pub(super) const fn new(secret: [u8; 16]) -> Self {
        Self { secret, last_sent: None, last_confirmed: None, others: Vec::new() }
    }

    /// The message of a ping to `address`, from which a packet came unexpectedly; `None` if one
    /// was sent within the last second.
    pub(super) fn challenge(&mut self, now: Time, address: SocketAddr) -> Option<[u8; LEN]> {
        if self.last_sent.is_some_and(|sent| now.since(sent) < PERIOD) {
            return None;
        }
        self.last_sent = Some(now);
        Some(self.message(now, address))
    }

    /// Notes that a packet of the far end arrived from another address than the session's.
    pub(super) fn note(&mut self, now: Time, path: Path) {
        self.others
            .retain(|other| other.path != path && now.since(other.last_received) <= LIFETIME);
        if self.others.len() >= MAX_OTHERS {
            self.others.remove(0);
        }
        self.others.push(Other { path, last_received: now, pings: 0 });
    }

    /// The far end does not answer: pings to the other addresses where it may be by now. Both ends
    /// can change their address at once, and then nobody is left at the address that each knows;
    /// but one of them may have sent from its new one already, or have gone back to an old one.
    pub(super) fn seek(&mut self, now: Time, current: Path) -> Vec<(Path, [u8; LEN])> {
        self.others.retain(|other| {
            other.path != current
                && other.pings < MAX_SEEKING
                && now.since(other.last_received) <= LIFETIME
        });
        self.others.iter_mut().for_each(|other| other.pings += 1);
        let paths: Vec<Path> = self.others.iter().map(|other| other.path).collect();
        paths.into_iter().map(|path| (path, self.message(now, path.remote))).collect()
    }

    /// True if `message` answers a challenge that was sent to `address`.
    pub(super) fn confirm(&mut self, now: Time, address: SocketAddr, message: &[u8]) -> bool {
        let Some(&[MARK, ref time @ ..]) = message.first_chunk::<9>() else { return false };
        let sent = Time::from_micros(u64::from_be_bytes(*time));
        let fresh = sent <= now
            && now.since(sent) <= LIFETIME
            && self.last_confirmed.is_none_or(|last| sent > last);
        let genuine = bool::from(self.message(sent, address).as_slice().ct_eq(message));
        if fresh && genuine {
            self.last_confirmed = Some(sent);
        }
        fresh && genuine
    }

    fn message(&self, time: Time, address: SocketAddr) -> [u8; LEN] {
        let mut message = [0; LEN];
        message[0] = MARK;
        message[1..9].copy_from_slice(&time.as_micros().to_be_bytes());
        let mac = mac16(&self.secret, &[&message[..9], address.to_string().as_bytes()]);
        message[9..].copy_from_slice(&mac);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_addresses_are_sought_within_bounds() {
        let mut mobility = Mobility::new([7; 16]);
        let path = |port| Path::to(([192, 0, 2, 1], port).into());
        for port in 1..=10 {
            mobility.note(Time::from_millis(u64::from(port)), path(port));
        }
        let now = Time::from_millis(100);
        let sought = mobility.seek(now, path(9));
        let ports: Vec<u16> = sought.iter().map(|(path, _)| path.remote.port()).collect();
        assert_eq!(ports, [7, 8, 10]);
        assert!(mobility.confirm(now, path(7).remote, &sought[0].1));
        for _ in 1..MAX_SEEKING {
            assert_eq!(mobility.seek(now, path(9)).len(), 3);
        }
        assert!(mobility.seek(now, path(9)).is_empty());
        mobility.note(now, path(7));
        assert_eq!(mobility.seek(now + LIFETIME, path(9)).len(), 1);
        assert!(mobility.seek(now + LIFETIME + PERIOD, path(9)).is_empty());
    }

    #[test]
    fn only_a_genuine_reply_from_that_address_confirms_once() {
        let mut mobility = Mobility::new([7; 16]);
        let here: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let there: SocketAddr = "192.0.2.1:1001".parse().unwrap();
        let now = Time::from_millis(5000);
        let challenge = mobility.challenge(now, there).unwrap();
        assert!(mobility.challenge(Time::from_millis(5500), there).is_none());
        assert!(!mobility.confirm(now, here, &challenge));
        let mut forged = challenge;
        forged[20] ^= 1;
        assert!(!mobility.confirm(now, there, &forged));
        assert!(!mobility.confirm(now, there, b"M"));
        assert!(mobility.confirm(Time::from_millis(5100), there, &challenge));
        assert!(!mobility.confirm(Time::from_millis(5200), there, &challenge), "a replay");
        let late = mobility.challenge(Time::from_millis(10_000), there).unwrap();
        assert!(!mobility.confirm(Time::from_millis(131_000), there, &late));
    }
}
