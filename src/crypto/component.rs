//! Session keying components (RFC 7425 §4.5), one in each end's keying chunk.

use super::CryptoError;
use super::dh::DhGroup;
use crate::wire::option::{Item, encode_option, encode_vlu_option, items};
use crate::wire::vlu;
use std::ops::RangeInclusive;

/// The longest component that is accepted, in bytes. A key in group 16 has 512.
const MAX_COMPONENT: usize = 4096;

/// Bytes that an HMAC may have (§4.5.2.4).
pub(super) const HMAC_LENGTHS: RangeInclusive<u8> = 4..=32;

const EPHEMERAL_KEY: u64 = 0x0d;
/// Ours: like an ephemeral key, beside the key that the RFC wants. Unknown to others, so that it is
/// sent only to those that have shown that they know it.
const ADDITIONAL_KEY: u64 = 0x2d;
const EXTRA_RANDOMNESS: u64 = 0x0e;
const GROUP_SELECT: u64 = 0x1d;
const HMAC: u64 = 0x1a;
const SSEQ: u64 = 0x1e;

const SND: u8 = 0x04;
const SOR: u8 = 0x02;
const REQ: u8 = 0x01;

/// The flags of a negotiation option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags {
    /// SND: will send always.
    pub(crate) always: bool,
    /// SOR: will send on request.
    pub(crate) on_request: bool,
    /// REQ: requests it of the far end.
    pub(crate) request: bool,
}

/// Packet verification options of a component; an absent option is like one of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Terms {
    pub(crate) hmac: Flags,
    /// Bytes of the sender's HMAC: zero if and only if it will never send one.
    pub(crate) hmac_len: u8,
    pub(crate) sseq: Flags,
}

/// A parsed component.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Component<'a> {
    /// Group number and public key.
    pub(crate) ephemeral_key: Option<(u64, &'a [u8])>,
    pub(crate) group_select: Option<u64>,
    /// Group number and public key of an additional exchange.
    pub(crate) additional_key: Option<(u64, &'a [u8])>,
    pub(crate) terms: Terms,
}

impl Flags {
    fn parse(byte: u8) -> Self {
        Self { always: byte & SND != 0, on_request: byte & SOR != 0, request: byte & REQ != 0 }
    }

    fn encode(self) -> u8 {
        let bit = |set, bit| if set { bit } else { 0 };
        bit(self.always, SND) | bit(self.on_request, SOR) | bit(self.request, REQ)
    }

    /// True if the sender of these flags will send what they are about, given whether the other
    /// end requests it.
    pub(crate) fn sends(self, requested: bool) -> bool {
        self.always || (self.on_request && requested)
    }
}

impl<'a> Component<'a> {
    /// Reads a component. Unknown options and markers are ignored; a contradiction between the
    /// flags and the length of an HMAC is an error, as with Flash Player.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, CryptoError> {
        if bytes.len() > MAX_COMPONENT {
            return Err(CryptoError::TooLong("keying component"));
        }
        let mut component = Self::default();
        let (mut hmac, mut sseq) = (None, None);
        for item in items(bytes) {
            let Item::Option(option) = item? else { continue };
            match option.kind {
                EPHEMERAL_KEY if component.ephemeral_key.is_some() => {
                    return Err(CryptoError::Duplicate("ephemeral public key"));
                }
                EPHEMERAL_KEY => {
                    component.ephemeral_key = Some(vlu::parse("component.group", option.value)?);
                }
                GROUP_SELECT if component.group_select.is_some() => {
                    return Err(CryptoError::Duplicate("group selection"));
                }
                GROUP_SELECT => {
                    component.group_select = Some(vlu::parse("component.group", option.value)?.0);
                }
                ADDITIONAL_KEY if component.additional_key.is_some() => {
                    return Err(CryptoError::Duplicate("additional public key"));
                }
                ADDITIONAL_KEY => {
                    component.additional_key = Some(vlu::parse("component.group", option.value)?);
                }
                HMAC => hmac = hmac.or(Some(option.value)),
                SSEQ => sseq = sseq.or(Some(option.value)),
                _ => {}
            }
        }
        if let Some(value) = hmac {
            (component.terms.hmac, component.terms.hmac_len) = parse_hmac(value)?;
        }
        if let Some(value) = sseq {
            let byte = value.first().ok_or(CryptoError::InvalidOption("sequence number flags"))?;
            component.terms.sseq = Flags::parse(*byte);
        }
        Ok(component)
    }
}

fn parse_hmac(value: &[u8]) -> Result<(Flags, u8), CryptoError> {
    const INVALID: CryptoError = CryptoError::InvalidOption("HMAC negotiation");
    let (&flags, rest) = value.split_first().ok_or(INVALID)?;
    let flags = Flags::parse(flags);
    let (len, _) = vlu::parse("component.hmac_length", rest)?;
    let len = u8::try_from(len).map_err(|_| INVALID)?;
    let may_send = flags.always || flags.on_request;
    let consistent = if may_send { HMAC_LENGTHS.contains(&len) } else { len == 0 };
    if consistent { Ok((flags, len)) } else { Err(INVALID) }
}

pub(super) fn encode_ephemeral_key(group: DhGroup, public: &[u8], out: &mut Vec<u8>) {
    encode_key(EPHEMERAL_KEY, group, public, out);
}

pub(super) fn encode_additional_key(group: DhGroup, public: &[u8], out: &mut Vec<u8>) {
    encode_key(ADDITIONAL_KEY, group, public, out);
}

fn encode_key(kind: u64, group: DhGroup, public: &[u8], out: &mut Vec<u8>) {
    let mut value = Vec::with_capacity(public.len() + 1);
    vlu::encode(group.id(), &mut value);
    value.extend_from_slice(public);
    encode_option(kind, &value, out);
}

pub(super) fn encode_group_select(group: DhGroup, out: &mut Vec<u8>) {
    encode_vlu_option(GROUP_SELECT, group.id(), out);
}

pub(super) fn encode_extra_randomness(salt: &[u8], out: &mut Vec<u8>) {
    encode_option(EXTRA_RANDOMNESS, salt, out);
}

pub(super) fn encode_terms(terms: &Terms, out: &mut Vec<u8>) {
    encode_option(HMAC, &[terms.hmac.encode(), terms.hmac_len], out);
    encode_option(SSEQ, &[terms.sseq.encode()], out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_component_of_an_initiating_player() {
        let mut bytes = vec![0x02, 0x1d, 0x02, 0x41, 0x0e];
        bytes.extend_from_slice(&[0x77; 64]);
        bytes.extend_from_slice(&[0x03, 0x1a, 0x02, 0x0a, 0x02, 0x1e, 0x02]);
        let component = Component::parse(&bytes).unwrap();
        assert_eq!(component.group_select, Some(2));
        assert_eq!(component.ephemeral_key, None);
        let on_request = Flags { on_request: true, ..Default::default() };
        assert_eq!(component.terms, Terms { hmac: on_request, hmac_len: 10, sseq: on_request });
        let mut out = Vec::new();
        encode_group_select(DhGroup::Modp2, &mut out);
        encode_extra_randomness(&[0x77; 64], &mut out);
        encode_terms(&component.terms, &mut out);
        assert_eq!(out, bytes);
    }

    #[test]
    fn an_ephemeral_key() {
        let mut bytes = Vec::new();
        encode_ephemeral_key(DhGroup::Modp2, &[0x55; 128], &mut bytes);
        assert_eq!(bytes[..5], [0x81, 0x02, 0x0d, 0x02, 0x55]);
        let component = Component::parse(&bytes).unwrap();
        assert_eq!(component.ephemeral_key, Some((2, &[0x55; 128][..])));
        assert_eq!(component.terms, Terms::default());
    }

    #[test]
    fn markers_unknown_options_and_reserved_bits_are_ignored() {
        let bytes = [0x00, 0x03, 0x33, 1, 2, 0x03, 0x1a, 0xff, 0x10, 0x00, 0x03, 0x1e, 0xfc, 9];
        let terms = Component::parse(&bytes).unwrap().terms;
        assert_eq!(terms.hmac, Flags { always: true, on_request: true, request: true });
        assert_eq!(terms.hmac_len, 16);
        assert_eq!(terms.sseq, Flags { always: true, ..Default::default() });
    }

    #[test]
    fn flags_and_length_must_agree() {
        for (flags, len, ok) in [
            (0x00, 0, true),
            (0x01, 0, true),
            (0x02, 4, true),
            (0x04, 32, true),
            (0x07, 10, true),
            (0x00, 16, false),
            (0x01, 16, false),
            (0x02, 0, false),
            (0x04, 0, false),
            (0x04, 3, false),
            (0x04, 33, false),
        ] {
            let bytes = [0x03, 0x1a, flags, len];
            assert_eq!(Component::parse(&bytes).is_ok(), ok, "{flags:02x} {len}");
        }
    }

    #[test]
    fn hostile_components() {
        for bad in [
            &[0x01, 0x1a][..],
            &[0x02, 0x1a, 0x04],
            &[0x04, 0x1a, 0x04, 0x82, 0x00],
            &[0x01, 0x1e],
            &[0x01, 0x0d],
            &[0x01, 0x1d],
            &[0x09, 0x0d, 0x02],
            &[0x02, 0x1d, 0x02, 0x02, 0x1d, 0x02],
            &[0x03, 0x0d, 0x02, 7, 0x03, 0x0d, 0x02, 7],
            &[0x03, 0x2d, 0x02, 7, 0x03, 0x2d, 0x02, 7],
            &[0x01, 0x2d],
        ] {
            assert!(Component::parse(bad).is_err(), "{bad:x?}");
        }
        assert!(Component::parse(&vec![0; MAX_COMPONENT + 1]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Component::parse(&bytes);
        }

        #[test]
        fn arbitrary_options_never_panic(options: Vec<(u8, Vec<u8>)>) {
            let mut bytes = Vec::new();
            for (kind, value) in &options {
                encode_option(u64::from(kind & 0x1f), value, &mut bytes);
            }
            let _ = Component::parse(&bytes);
        }
    }
}
