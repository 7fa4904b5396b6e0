//! A keying as a listener knows it who has the shared secret from a key log.

use super::component::Component;
use super::negotiation::Direction;
use super::schedule::TrafficKeys;
use super::{CryptoError, OpenError, Opener};
use std::fmt;

/// Opens the packets of a recorded session, in both directions and without a replay check.
///
/// An initiating Flash Player expects HMACs of a responder in cases in which RFC 7425 §4.6.4 wants
/// checksums, so that a responder that obliges sends them. Where the two differ, both are tried.
pub struct Overheard {
    from_initiator: Opener,
    from_responder: Opener,
    from_responder_to_flash: Option<Opener>,
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
        Ok(Self {
            from_initiator: opener(skic, skrc, Direction::settle(&initiator, &responder)),
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
    ) -> Result<&'a [u8], OpenError> {
        self.from_initiator.open(copied(encrypted, scratch))
    }

    /// The same for a datagram of the responder.
    pub fn open_from_responder<'a>(
        &mut self,
        encrypted: &[u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], OpenError> {
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
