//! Passwords in session startup (RFC 7425 §4.3.5).

use crate::crypto::{Password, SignatureCheck, sign, verify};

/// By which passwords an endpoint signs its keyings, and which it demands of the far end.
///
/// A password proves who it is to the far end and authenticates the keying: whoever stands between
/// the two does not know it. Only a keyed hash of it is sent, which allows a recipient to try
/// passwords; it should be hard to guess. The far end's certificate is part of what the initiator
/// signs only by way of the cookie, so that both ends should demand.
#[derive(Debug, Clone, Default)]
pub struct Passwords {
    /// Those by which this end signs every keying, as initiator and as responder.
    pub offered: Vec<Password>,
    /// Those that this end knows of others.
    pub known: Vec<Password>,
    /// Ignore a keying that is signed by none of [`known`](Self::known), or by one of them wrongly.
    /// Nothing of it is sent to the far end. Otherwise any signature is good enough, as the RFC
    /// wants.
    pub required: bool,
}

impl Passwords {
    /// The signature field over `parameters`.
    pub(crate) fn sign(&self, parameters: &[u8]) -> Vec<u8> {
        sign(&self.offered, parameters)
    }

    /// The identifiers whose passwords the far end has proved to know; `None` if its keying is not
    /// acceptable.
    pub(crate) fn accept(&self, signature: &[u8], parameters: &[u8]) -> Option<Vec<Vec<u8>>> {
        let find = |id: &[u8]| {
            self.known.iter().find(|known| known.id == id).map(|known| known.secret.clone())
        };
        match verify(signature, parameters, find) {
            SignatureCheck::Valid(ids) => Some(ids),
            SignatureCheck::Absent | SignatureCheck::Invalid => (!self.required).then(Vec::new),
        }
    }
}
