//! Negotiation of packet verification (RFC 7425 §4.5.2.4, §4.5.2.5, §4.6.4,
//! §4.6.6).

use super::component::{Flags, HMAC_LENGTHS, Terms};
use super::{CryptoError, DhGroup};

/// When the near end sends an HMAC or session sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendPolicy {
    /// Never.
    Never,
    /// If the far end requests it.
    OnRequest,
    /// Always.
    #[default]
    Always,
}

/// The near end's wishes about HMACs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HmacPolicy {
    /// When to send one. Without an HMAC a packet has a 16-bit checksum under the encryption.
    pub send: SendPolicy,
    /// Request one of the far end.
    pub request: bool,
    /// Refuse a keying in which the far end will not send one. Implies a request.
    pub require: bool,
    /// Bytes of the HMACs sent, 4 to 32; other values are moved to the nearer bound.
    pub length: u8,
}

impl Default for HmacPolicy {
    /// Sent always, 16 bytes, requested, not required.
    fn default() -> Self {
        Self { send: SendPolicy::Always, request: true, require: false, length: 16 }
    }
}

/// The near end's wishes about session sequence numbers, which stop replayed packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SseqPolicy {
    /// When to send them.
    pub send: SendPolicy,
    /// Request them of the far end.
    pub request: bool,
    /// Refuse a keying in which the far end will not send them. Implies a request.
    pub require: bool,
}

impl Default for SseqPolicy {
    /// Sent always, requested, not required.
    fn default() -> Self {
        Self { send: SendPolicy::Always, request: true, require: false }
    }
}

/// The near end's wishes for a keying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiation {
    /// HMACs.
    pub hmac: HmacPolicy,
    /// Session sequence numbers.
    pub sseq: SseqPolicy,
    /// The groups that an initiator prefers, best first. A group of its identity that is not
    /// listed is taken if none that is listed is common to both ends.
    pub groups: Vec<DhGroup>,
    /// Do not impose HMACs or sequence numbers on those that do not know them (librtmfp, MonaServer
    /// 1.x). An initiator then offers what Flash Player offers, "on request" and no more, unless
    /// they are required or the far end is one of ours. A responder omits them towards an initiator
    /// that neither sends them always nor requests them, unless they are required: some take no
    /// other answer. Flash Player offers the same as they, so that its packets have no more than a
    /// checksum then.
    pub only_on_request: bool,
}

impl Default for Negotiation {
    /// HMACs of 16 bytes and sequence numbers both ways, group 14 if the far end has it.
    fn default() -> Self {
        Self {
            hmac: HmacPolicy::default(),
            sseq: SseqPolicy::default(),
            groups: vec![DhGroup::Modp14, DhGroup::Modp2],
            only_on_request: true,
        }
    }
}

/// Verification of packets of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verification {
    /// The 16-bit checksum (§4.7.3.1).
    Checksum,
    /// An HMAC of this many bytes (§4.7.3.2).
    Hmac(u8),
}

/// Results of the negotiation for the packets of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Direction {
    /// Checksum or HMAC.
    pub verification: Verification,
    /// Packets carry session sequence numbers.
    pub sequence_numbers: bool,
}

/// Results of the negotiation in a keying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Negotiated {
    /// The Diffie-Hellman group.
    pub group: DhGroup,
    /// The larger group of an additional exchange of ephemeral keys, if there was one.
    pub additional_group: Option<DhGroup>,
    /// The near end used a static key.
    pub near_static: bool,
    /// The far end used a static key.
    pub far_static: bool,
    /// Packets to the far end.
    pub send: Direction,
    /// Packets from the far end.
    pub receive: Direction,
}

impl Negotiation {
    /// Checksums only, as if HMACs and sequence numbers did not exist.
    pub fn checksum_only() -> Self {
        Self {
            hmac: HmacPolicy {
                send: SendPolicy::Never,
                request: false,
                require: false,
                length: 16,
            },
            sseq: SseqPolicy { send: SendPolicy::Never, request: false, require: false },
            ..Self::default()
        }
    }

    /// These wishes towards a far end that is known to understand all of them.
    pub(super) fn among_ourselves(self) -> Self {
        Self { only_on_request: false, ..self }
    }

    /// The group of an additional exchange beside a static key in `group`: the one that is
    /// preferred, if it is larger.
    pub(super) fn additional_group(&self, group: DhGroup) -> Option<DhGroup> {
        self.groups.first().copied().filter(|preferred| preferred.id() > group.id())
    }

    /// Offer of an initiator: all it is ready to do.
    pub(super) fn offer(&self) -> Terms {
        let modest = self.only_on_request;
        let flags = |send: SendPolicy, request, require| Flags {
            always: send == SendPolicy::Always && !modest,
            on_request: send != SendPolicy::Never,
            request: require || (request && !modest),
        };
        self.terms(
            flags(self.hmac.send, self.hmac.request, self.hmac.require),
            flags(self.sseq.send, self.sseq.request, self.sseq.require),
        )
    }

    /// Answer of a responder to the initiator's offer: all it will do.
    ///
    /// It never contains "on request" without "always": an initiating Flash Player takes that for
    /// "always" with HMACs and drops packets without. Beside "always" it changes nothing, and is
    /// sent if this end requests too: all three flags, or "always" alone, are what the player was
    /// seen to take for both options.
    pub(super) fn answer(&self, far: &Terms) -> Terms {
        let HmacPolicy { send, request, require, .. } = self.hmac;
        let hmac = self.answer_flags(send, request, require, far.hmac);
        let SseqPolicy { send, request, require } = self.sseq;
        self.terms(hmac, self.answer_flags(send, request, require, far.sseq))
    }

    fn answer_flags(&self, send: SendPolicy, request: bool, require: bool, far: Flags) -> Flags {
        if self.only_on_request && !require && !far.always && !far.request {
            return Flags::default();
        }
        let always = match send {
            SendPolicy::Never => false,
            SendPolicy::OnRequest => far.request,
            SendPolicy::Always => true,
        };
        let request = request || require;
        Flags { always, on_request: always && request, request }
    }

    fn terms(&self, hmac: Flags, sseq: Flags) -> Terms {
        let len = self.hmac.length.clamp(*HMAC_LENGTHS.start(), *HMAC_LENGTHS.end());
        let hmac_len = if hmac.always || hmac.on_request { len } else { 0 };
        Terms { hmac, hmac_len, sseq }
    }

    /// Refuses a far end that will not do what is required of it.
    pub(super) fn check(&self, receive: Direction) -> Result<(), CryptoError> {
        if self.hmac.require && receive.verification == Verification::Checksum {
            return Err(CryptoError::HmacRequired);
        }
        if self.sseq.require && !receive.sequence_numbers {
            return Err(CryptoError::SequenceNumbersRequired);
        }
        Ok(())
    }
}

impl Direction {
    /// The options that the end with the component `sender` uses towards the end with `receiver`.
    pub(crate) fn settle(sender: &Terms, receiver: &Terms) -> Self {
        Self::with(sender, sender.hmac.sends(receiver.hmac.request), receiver)
    }

    /// The same if the sender is a responder that sends HMACs whenever it announced a length,
    /// which is what an initiating Flash Player expects.
    pub(crate) fn settle_as_flash_expects(sender: &Terms, receiver: &Terms) -> Self {
        Self::with(sender, sender.hmac_len > 0, receiver)
    }

    fn with(sender: &Terms, hmac: bool, receiver: &Terms) -> Self {
        let verification =
            if hmac { Verification::Hmac(sender.hmac_len) } else { Verification::Checksum };
        Self { verification, sequence_numbers: sender.sseq.sends(receiver.sseq.request) }
    }
}

#[cfg(test)]
mod tests {
    use super::Verification::{Checksum, Hmac};
    use super::*;
    use crate::crypto::component::{Component, encode_terms};

    /// The terms in a component with these HMAC and sequence number options.
    fn terms(hmac: Option<[u8; 2]>, sseq: Option<u8>) -> Result<Terms, CryptoError> {
        let mut bytes = Vec::new();
        if let Some([flags, len]) = hmac {
            bytes.extend_from_slice(&[0x03, 0x1a, flags, len]);
        }
        if let Some(flags) = sseq {
            bytes.extend_from_slice(&[0x02, 0x1e, flags]);
        }
        Ok(Component::parse(&bytes)?.terms)
    }

    fn bytes(terms: Terms) -> Vec<u8> {
        let mut out = Vec::new();
        encode_terms(&terms, &mut out);
        out
    }

    fn hmac(hmac: [u8; 2]) -> Terms {
        terms(Some(hmac), None).unwrap()
    }

    /// An initiating player offers HMAC `02 0A`; what it accepts and sends for each of our answers.
    #[test]
    fn hmac_with_a_player_as_initiator() {
        let player = hmac([0x02, 0x0a]);
        for (answer, we_send_by_rfc, player_accepts, player_sends) in [
            (None, Checksum, Checksum, Checksum),
            (Some([0x00, 0x00]), Checksum, Checksum, Checksum),
            (Some([0x02, 0x10]), Checksum, Hmac(16), Checksum),
            (Some([0x02, 0x0a]), Checksum, Hmac(10), Checksum),
            (Some([0x03, 0x10]), Checksum, Hmac(16), Hmac(10)),
            (Some([0x03, 0x04]), Checksum, Hmac(4), Hmac(10)),
            (Some([0x04, 0x10]), Hmac(16), Hmac(16), Checksum),
            (Some([0x04, 0x04]), Hmac(4), Hmac(4), Checksum),
            (Some([0x06, 0x10]), Hmac(16), Hmac(16), Checksum),
            (Some([0x05, 0x10]), Hmac(16), Hmac(16), Hmac(10)),
            (Some([0x07, 0x10]), Hmac(16), Hmac(16), Hmac(10)),
            (Some([0x07, 0x0a]), Hmac(10), Hmac(10), Hmac(10)),
            (Some([0x07, 0x20]), Hmac(32), Hmac(32), Hmac(10)),
            (Some([0x01, 0x00]), Checksum, Checksum, Hmac(10)),
            (Some([0x0a, 0x10]), Checksum, Hmac(16), Checksum),
            (Some([0xff, 0x10]), Hmac(16), Hmac(16), Hmac(10)),
        ] {
            let ours = terms(answer, None).unwrap();
            let ours_to_player = Direction::settle(&ours, &player).verification;
            assert_eq!(ours_to_player, we_send_by_rfc, "{answer:x?}");
            let expected = Direction::settle_as_flash_expects(&ours, &player).verification;
            assert_eq!(expected, player_accepts, "{answer:x?}");
            assert_eq!(Direction::settle(&player, &ours).verification, player_sends, "{answer:x?}");
        }
    }

    /// The offers of librtmfp and Flash Player, and of rtmfp-cpp.
    #[test]
    fn who_does_not_ask_gets_nothing_if_so_wished() {
        let policy = Negotiation { only_on_request: true, ..Negotiation::default() };
        let modest = terms(Some([0x02, 0x0a]), Some(0x02)).unwrap();
        assert_eq!(bytes(policy.answer(&modest)), [0x03, 0x1a, 0, 0, 0x02, 0x1e, 0]);
        for asking in [0x07, 0x04, 0x03] {
            let asking = terms(Some([asking, 0x10]), Some(asking)).unwrap();
            let eager = Negotiation { only_on_request: false, ..policy.clone() };
            assert_eq!(policy.answer(&asking), eager.answer(&asking));
        }
        let hmac = HmacPolicy { require: true, ..HmacPolicy::default() };
        let strict = Negotiation { hmac, ..policy };
        assert_eq!(bytes(strict.answer(&modest)), [0x03, 0x1a, 0x07, 0x10, 0x02, 0x1e, 0]);
    }

    #[test]
    fn contradictory_hmac_options_are_refused() {
        for contradictory in
            [[0x00, 0x10], [0x01, 0x10], [0x02, 0x00], [0x04, 0x00], [0x04, 0x03], [0x04, 0x21]]
        {
            assert!(terms(Some(contradictory), None).is_err(), "{contradictory:x?}");
        }
    }

    /// A responding player answers REQ iff we have SND, SND iff we have REQ, never SOR.
    #[test]
    fn hmac_with_a_player_as_responder() {
        for (ours, answer, we_send, player_sends) in [
            (None, [0x00, 0x00], Checksum, Checksum),
            (Some([0x00, 0x00]), [0x00, 0x00], Checksum, Checksum),
            (Some([0x02, 0x10]), [0x00, 0x00], Checksum, Checksum),
            (Some([0x02, 0x0a]), [0x00, 0x00], Checksum, Checksum),
            (Some([0x04, 0x10]), [0x01, 0x00], Hmac(16), Checksum),
            (Some([0x07, 0x10]), [0x05, 0x0a], Hmac(16), Hmac(10)),
            (Some([0x07, 0x0a]), [0x05, 0x0a], Hmac(10), Hmac(10)),
            (Some([0x07, 0x20]), [0x05, 0x0a], Hmac(32), Hmac(10)),
            (Some([0x01, 0x00]), [0x04, 0x0a], Checksum, Hmac(10)),
            (Some([0x03, 0x10]), [0x04, 0x0a], Checksum, Hmac(10)),
        ] {
            let (near, far) = (terms(ours, None).unwrap(), hmac(answer));
            assert_eq!(Direction::settle(&near, &far).verification, we_send, "{ours:x?}");
            assert_eq!(Direction::settle(&far, &near).verification, player_sends, "{ours:x?}");
        }
    }

    #[test]
    fn sequence_numbers_with_a_player() {
        let sseq = |flags| terms(None, flags).unwrap();
        let sends = |a: &Terms, b: &Terms| Direction::settle(a, b).sequence_numbers;
        // The player initiates with 02.
        let player = sseq(Some(0x02));
        for (ours, we_send, player_sends) in [
            (None, false, false),
            (Some(0x00), false, false),
            (Some(0x02), false, false),
            (Some(0x04), true, false),
            (Some(0x07), true, true),
        ] {
            assert_eq!(sends(&sseq(ours), &player), we_send, "{ours:x?}");
            assert_eq!(sends(&player, &sseq(ours)), player_sends, "{ours:x?}");
        }
        // The player responds.
        for (ours, answer, we_send, player_sends) in [
            (None, 0x00, false, false),
            (Some(0x00), 0x00, false, false),
            (Some(0x02), 0x00, false, false),
            (Some(0x04), 0x01, true, false),
            (Some(0x07), 0x05, true, true),
        ] {
            let player = sseq(Some(answer));
            assert_eq!(sends(&sseq(ours), &player), we_send, "{ours:x?}");
            assert_eq!(sends(&player, &sseq(ours)), player_sends, "{ours:x?}");
        }
    }

    /// To those that are not known: what the player offers. Among ourselves both protections both ways.
    #[test]
    fn the_default_promises_and_requests_nothing_of_strangers() {
        let policy = Negotiation::default();
        assert_eq!(bytes(policy.offer()), [0x03, 0x1a, 0x02, 0x10, 0x02, 0x1e, 0x02]);
        let offer = policy.clone().among_ourselves().offer();
        let answer = policy.answer(&offer);
        for (from, to) in [(&offer, &answer), (&answer, &offer)] {
            assert_eq!(bytes(*from), [0x03, 0x1a, 0x07, 0x10, 0x02, 0x1e, 0x07]);
            let direction = Direction::settle(from, to);
            assert_eq!((direction.verification, direction.sequence_numbers), (Hmac(16), true));
        }
        let hmac = HmacPolicy { require: true, ..HmacPolicy::default() };
        let strict = Negotiation { hmac, ..policy };
        assert_eq!(bytes(strict.offer()), [0x03, 0x1a, 0x03, 0x10, 0x02, 0x1e, 0x02]);
    }

    #[test]
    fn what_we_offer_and_answer() {
        let policy = Negotiation { only_on_request: false, ..Negotiation::default() };
        let offer = [0x03, 0x1a, 0x07, 0x10, 0x02, 0x1e, 0x07];
        assert_eq!(bytes(policy.offer()), offer);
        let player = terms(Some([0x02, 0x0a]), Some(0x02)).unwrap();
        assert_eq!(bytes(policy.answer(&player)), offer);

        let none = [0x03, 0x1a, 0x00, 0x00, 0x02, 0x1e, 0x00];
        assert_eq!(bytes(Negotiation::checksum_only().offer()), none);
        assert_eq!(bytes(Negotiation::checksum_only().answer(&policy.offer())), none);
    }

    #[test]
    fn on_request_is_resolved_by_the_responder() {
        let mut policy = Negotiation { only_on_request: false, ..Negotiation::default() };
        policy.hmac.send = SendPolicy::OnRequest;
        policy.sseq.send = SendPolicy::OnRequest;
        assert_eq!(bytes(policy.offer()), [0x03, 0x1a, 0x03, 0x10, 0x02, 0x1e, 0x03]);
        let silent = Terms::default();
        assert_eq!(bytes(policy.answer(&silent)), [0x03, 0x1a, 0x01, 0x00, 0x02, 0x1e, 0x01]);
        let asking = policy.offer();
        assert_eq!(bytes(policy.answer(&asking)), [0x03, 0x1a, 0x07, 0x10, 0x02, 0x1e, 0x07]);
    }

    /// Whatever the policies and the far end: our answers satisfy the RFC and Flash alike.
    #[test]
    fn our_answers_never_fall_into_the_flash_deviation() {
        let sends = [SendPolicy::Never, SendPolicy::OnRequest, SendPolicy::Always];
        for (send, request) in sends.into_iter().flat_map(|s| [(s, false), (s, true)]) {
            let hmac_policy = HmacPolicy { send, request, require: false, length: 16 };
            let policy = Negotiation { hmac: hmac_policy, ..Default::default() };
            for far in (0..8u8).map(|flags| [flags, if flags > 1 { 10 } else { 0 }]) {
                let far = hmac(far);
                let ours = policy.answer(&far);
                assert_eq!(
                    Direction::settle(&ours, &far),
                    Direction::settle_as_flash_expects(&ours, &far)
                );
            }
        }
    }

    #[test]
    fn requirements() {
        let mut policy = Negotiation::checksum_only();
        policy.hmac.require = true;
        policy.sseq.require = true;
        assert_eq!(bytes(policy.offer()), [0x03, 0x1a, 0x01, 0x00, 0x02, 0x1e, 0x01]);
        let direction =
            |verification, sequence_numbers| Direction { verification, sequence_numbers };
        assert_eq!(policy.check(direction(Checksum, true)), Err(CryptoError::HmacRequired));
        let no_sseq = policy.check(direction(Hmac(4), false));
        assert_eq!(no_sseq, Err(CryptoError::SequenceNumbersRequired));
        assert_eq!(policy.check(direction(Hmac(4), true)), Ok(()));
    }

    #[test]
    fn a_silly_length_is_moved_into_the_range() {
        let mut policy = Negotiation::default();
        for (length, sent) in [(0, 4), (4, 4), (32, 32), (200, 32)] {
            policy.hmac.length = length;
            assert_eq!(policy.offer().hmac_len, sent);
        }
    }
}
