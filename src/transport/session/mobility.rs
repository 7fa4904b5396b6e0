//! Verifying that the far end has moved to another address (RFC 7016 §3.5.4.2).

use crate::crypto::mac16;
use crate::transport::Time;
use std::net::SocketAddr;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// First byte of a mobility ping's message, to know it again.
const MARK: u8 = b'M';
/// A mobility ping's message: mark, time, address hash.
const LEN: usize = 1 + 8 + 16;
/// Not more than one mobility ping in this time.
const PERIOD: Duration = Duration::from_secs(1);
/// A reply is worth nothing after this time.
const LIFETIME: Duration = Duration::from_secs(120);

/// Mobility state of a session.
#[derive(Debug)]
pub(super) struct Mobility {
    secret: [u8; 16],
    last_sent: Option<Time>,
    last_confirmed: Option<Time>,
}

impl Mobility {
    pub(super) const fn new(secret: [u8; 16]) -> Self {
        Self { secret, last_sent: None, last_confirmed: None }
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
