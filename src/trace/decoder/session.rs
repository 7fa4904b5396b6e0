//! A session whose keying was seen, and whether a packet is one of it.

use super::{Ends, Handshake};
use crate::crypto::Overheard;
use crate::trace::recognize::Content;
use crate::wire::packet::Mode;

/// HMACs that are verified in each direction of a session before any is not.
const VERIFY_FIRST: u64 = 64;

/// Afterwards one of so many packets is verified.
const VERIFY_EVERY: u64 = 64;

/// Sides are 0, the initiator, and 1, the responder.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) digest: [u8; 32],
    pub(super) initiator_id: u32,
    pub(super) responder_id: u32,
    /// The latest addresses of each side's packets.
    pub(super) paths: [Ends; 2],
    /// Absent without a secret.
    pub(super) keys: Option<Overheard>,
    /// Packets of each side that were opened.
    pub(super) opened: [u64; 2],
    pub(super) handshake: Option<Handshake>,
}

/// The result of trying a session's keys on a packet.
pub(super) enum Opening {
    /// They do not fit.
    Failed,
    /// The packet is this session's.
    Certain,
    /// The checksum is right, but the packet is not sound.
    Doubtful(Content),
}

impl Session {
    /// The ID on packets of a side, which the other one chose.
    pub(super) fn id_of_packets(&self, side: usize) -> u32 {
        if side == 0 { self.responder_id } else { self.initiator_id }
    }

    /// True if packets of a side pass between these addresses, as far as is known: an end that moves
    /// is noticed in its own packets first.
    pub(super) fn is_between(&self, side: usize, ends: Ends) -> bool {
        self.paths[side] == ends || self.paths[1 - side] == (ends.1, ends.0)
    }

    /// Decrypts a packet of a side into `plain`.
    pub(super) fn open(
        &mut self,
        side: usize,
        may_trust: bool,
        encrypted: &[u8],
        scratch: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> Opening {
        let Some(keys) = &mut self.keys else { return Opening::Failed };
        let mode = if side == 0 { Mode::Initiator } else { Mode::Responder };
        let count = self.opened[side];
        let trusts = may_trust
            && keys.has_hmac()[side]
            && count >= VERIFY_FIRST
            && !count.is_multiple_of(VERIFY_EVERY);
        if trusts {
            let opened = match side {
                0 => keys.trust_from_initiator(encrypted, scratch),
                _ => keys.trust_from_responder(encrypted, scratch),
            };
            if let Some(opened) = opened.filter(|opened| Content::of(opened, mode).is_sound()) {
                plain.clear();
                plain.extend_from_slice(opened);
                self.opened[side] += 1;
                return Opening::Certain;
            }
        }
        let opened = match side {
            0 => keys.open_from_initiator(encrypted, scratch),
            _ => keys.open_from_responder(encrypted, scratch),
        };
        let Ok(opened) = opened else { return Opening::Failed };
        plain.clear();
        plain.extend_from_slice(opened);
        let content = Content::of(plain, mode);
        if !keys.is_certain()[side] && !content.is_sound() {
            return Opening::Doubtful(content);
        }
        self.opened[side] += 1;
        Opening::Certain
    }
}

/// The IDs of a session, without repetition.
pub(super) fn ids(session: &Session) -> impl Iterator<Item = u32> + use<> {
    let (a, b) = (session.initiator_id, session.responder_id);
    std::iter::once(a).chain((a != b).then_some(b))
}
