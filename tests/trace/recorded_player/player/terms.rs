//! What components and certificates say.

use rtmfp::proto::crypto::{DhGroup, HmacPolicy, Negotiation, SendPolicy, SseqPolicy};
use rtmfp::wire::option::{Item, items};

/// The content of a component: flags and length for HMACs, flags for sequence numbers. No option is like
/// one of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Terms {
    pub hmac: u8,
    pub length: u8,
    pub sseq: u8,
}

impl Terms {
    pub const SEND: u8 = 0x04;
    pub const REQUEST: u8 = 0x01;

    pub fn of(component: &[u8]) -> Self {
        let hmac = option(component, 0x1a).unwrap_or(&[0, 0]);
        let sseq = option(component, 0x1e).unwrap_or(&[0]);
        Self { hmac: hmac[0], length: hmac[1], sseq: sseq[0] }
    }
}

/// What a responding player answers: a request if and only if the initiator sends always, and
/// "always" if and only if it requests.
pub fn answer(offer: &Terms) -> Negotiation {
    let send = SendPolicy::OnRequest;
    let request = |flags| flags & Terms::SEND != 0;
    Negotiation {
        hmac: HmacPolicy { send, request: request(offer.hmac), require: false, length: 10 },
        sseq: SseqPolicy { send, request: request(offer.sseq), require: false },
        groups: vec![DhGroup::Modp2],
        only_on_request: false,
    }
}

/// The value of an option of this kind.
pub fn option(list: &[u8], kind: u64) -> Option<&[u8]> {
    items(list).find_map(|item| match item {
        Ok(Item::Option(option)) if option.kind == kind => Some(option.value),
        _ => None,
    })
}

/// True if the canonical section has keys in group 2, and 0A if that is wanted.
pub fn is_acceptable(certificate: &[u8], ancillary: bool) -> bool {
    let mut canonical = Vec::new();
    for item in items(certificate) {
        match item {
            Ok(Item::Option(option)) => canonical.push((option.kind, option.value)),
            _ => break,
        }
    }
    let group_2 = canonical
        .iter()
        .any(|(kind, value)| matches!((kind, value), (0x15, [2]) | (0x1d, [2, ..])));
    group_2 && (!ancillary || canonical.iter().any(|(kind, _)| *kind == 0x0a))
}
