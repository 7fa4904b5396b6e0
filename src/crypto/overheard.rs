//! A keying as a listener knows it who has the shared secret from a key log.

use super::component::Component;
use super::negotiation::Direction;
use super::schedule::TrafficKeys;
use super::{CryptoError, Opener, PacketError};
use std::fmt;

/// Opens the packets of a recorded session, in both directions and without a replay check.
///
/// An initiating Flash Player expects HMACs of a responder in cases in which RFC 7425 §4.6.4 wants
/// checksums, so that a responder that obliges sends them. Where the two differ, both are tried.
pub struct Overheard {
    from_initiator: Opener,
    from_responder: Opener,
    from_responder_to_flash: Option<Opener>,
    agreed: [Direction; 2],
}

impl Overheard {
    /// The session of this keying: both components as they were sent, and `DH_SECRET`.
    ///
    /// # Errors
    ///
    /// If a component is one that no end would have accepted.
    pub fn new(skic: &[u8], skrc: &[u8], secret: &[u8]) -> Result<Self, CryptoError> {
        let initiator = Component::parse(skic)?.terms;
        let responder = Component::parse(skrc)?.terms;
        let opener = |sender: &[u8], receiver: &[u8], direction| {
            Opener::new(&TrafficKeys::derive(secret, sender, receiver), direction)
                .without_replay_check()
        };
        let direction = Direction::settle(&responder, &initiator);
        let to_flash = Direction::settle_as_flash_expects(&responder, &initiator);
        let from_initiator = Direction::settle(&initiator, &responder);
        Ok(Self {
            agreed: [from_initiator, direction],
            from_initiator: opener(skic, skrc, from_initiator),
            from_responder: opener(skrc, skic, direction),
            from_responder_to_flash: (to_flash != direction).then(|| opener(skrc, skic, to_flash)),
        })
    }

    /// Verifies and decrypts what follows the session ID in a datagram of the initiator. `scratch`
    /// is overwritten and holds the result.
    pub fn open_from_initiator<'a>(
        &mut self,
        encrypted: &[u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], PacketError> {
        self.from_initiator.open(copied(encrypted, scratch))
    }

    /// Decrypts a datagram of the initiator without a look at its HMAC; a checksum is verified.
    /// Of use when earlier datagrams have shown that the keys fit: what this returns may be
    /// anybody's, or nonsense.
    pub fn trust_from_initiator<'a>(
        &mut self,
        encrypted: &[u8],
        scratch: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        self.from_initiator.open_trusting(copied(encrypted, scratch)).ok()
    }

    /// The same for a datagram of the responder. `None` also if there is no telling whether its
    /// packets have HMACs.
    pub fn trust_from_responder<'a>(
        &mut self,
        encrypted: &[u8],
        scratch: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        if self.from_responder_to_flash.is_some() {
            return None;
        }
        self.from_responder.open_trusting(copied(encrypted, scratch)).ok()
    }

    /// True if packets have HMACs: of the initiator, of the responder.
    pub fn has_hmac(&self) -> [bool; 2] {
        [self.from_initiator.has_hmac(), self.from_responder.has_hmac()]
    }

    /// True if a packet that opens was verified by an HMAC and not only by a checksum, which is right
    /// by chance once in 65,536 times: of the initiator, of the responder.
    pub fn is_certain(&self) -> [bool; 2] {
        let to_flash = self.from_responder_to_flash.as_ref();
        let responder = self.from_responder.has_hmac() && to_flash.is_none_or(Opener::has_hmac);
        [self.from_initiator.has_hmac(), responder]
    }

    /// Verification of packets by RFC 7425: of the initiator, of the responder.
    pub fn agreed(&self) -> [Direction; 2] {
        self.agreed
    }

    /// The same as [`open_from_initiator`](Self::open_from_initiator) for a datagram of the
    /// responder.
    pub fn open_from_responder<'a>(
        &mut self,
        encrypted: &[u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], PacketError> {
        if let Some(opener) = &mut self.from_responder_to_flash
            && opener.open(copied(encrypted, scratch)).is_ok()
        {
            return opener.open(copied(encrypted, scratch));
        }
        self.from_responder.open(copied(encrypted, scratch))
    }
}

fn copied<'a>(encrypted: &[u8], scratch: &'a mut Vec<u8>) -> &'a mut [u8] {
    scratch.clear();
    scratch.extend_from_slice(encrypted);
    scratch
}

impl fmt::Debug for Overheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overheard").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Sealer, Verification};

    const SECRET: &[u8] = b"a shared secret";

    fn datagram(sender: &[u8], receiver: &[u8], direction: Direction) -> Vec<u8> {
        let mut sealer = Sealer::new(&TrafficKeys::derive(SECRET, sender, receiver), direction);
        let mut buf = Vec::new();
        let start = sealer.begin(&mut buf);
        buf.extend_from_slice(b"a plain packet");
        let range = sealer.finish(&mut buf, start);
        sealer.seal(1, &mut buf, &[range]);
        buf
    }

    /// The player offers HMAC `02 0A`, its responder `02 10`: by the RFC nobody sends HMACs, but the
    /// player accepts nothing else of the responder.
    #[test]
    fn a_responder_may_oblige_an_initiating_player() {
        let (skic, skrc) = ([0x03, 0x1a, 0x02, 0x0a], [0x03, 0x1a, 0x02, 0x10]);
        let mut overheard = Overheard::new(&skic, &skrc, SECRET).unwrap();
        let mut scratch = Vec::new();
        for verification in [Verification::Checksum, Verification::Hmac(16)] {
            let direction = Direction { verification, sequence_numbers: false };
            let theirs = datagram(&skrc, &skic, direction);
            let opened = overheard.open_from_responder(&theirs[4..], &mut scratch).unwrap();
            assert!(opened.starts_with(b"a plain packet"));
            assert!(overheard.open_from_initiator(&theirs[4..], &mut scratch).is_err());
            let ours = datagram(&skic, &skrc, direction);
            let opened = overheard.open_from_initiator(&ours[4..], &mut scratch);
            assert_eq!(opened.is_ok(), verification == Verification::Checksum);
        }
    }

    #[test]
    fn hostile_components() {
        assert!(Overheard::new(b"\x05", b"", SECRET).is_err());
        assert!(Overheard::new(b"", &[0x03, 0x1a, 0x00, 0x10], SECRET).is_err());
    }
}
