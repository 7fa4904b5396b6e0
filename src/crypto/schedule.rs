//! From the shared secret to the keys of a session (RFC 7425 §4.6.3 to §4.6.5).

use super::dh::DhSecret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write};
use zeroize::Zeroizing;

/// HMAC-SHA256 as a keyed state that is copied for each use.
pub(super) type HmacSha256 = Hmac<Sha256>;

/// A state keyed with `key`, of any length.
pub(super) fn hmac_keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// HMAC-SHA256 of `message`.
pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(hmac_keyed(key).chain_update(message).finalize().into_bytes().into())
}

/// The keys for the packets of one direction.
pub(super) struct TrafficKeys {
    /// Key of the cipher; AES-128 takes the first half.
    pub(super) cipher: Zeroizing<[u8; 32]>,
    /// Key of the packet HMAC.
    pub(super) hmac: Zeroizing<[u8; 32]>,
}

impl TrafficKeys {
    /// The keys for packets from the end with the component `sender` to the end with `receiver`.
    pub(super) fn derive(secret: &[u8], sender: &[u8], receiver: &[u8]) -> Self {
        Self::derive_keyed(&hmac_keyed(secret), sender, receiver)
    }

    /// The same with a state keyed with the secret.
    pub(super) fn derive_keyed(secret: &HmacSha256, sender: &[u8], receiver: &[u8]) -> Self {
        let cipher = finish(secret, &*hmac_sha256(receiver, sender));
        let hmac = finish(secret, &*cipher);
        Self { cipher, hmac }
    }

    pub(super) fn aes_128(&self) -> &[u8; 16] {
        self.cipher.first_chunk().expect("16 of 32 bytes")
    }
}

/// The nonce of the end with the component `component` (§4.6.5), with a state keyed with the
/// secret.
pub(super) fn nonce(secret: &HmacSha256, component: &[u8]) -> [u8; 32] {
    *finish(secret, component)
}

/// The HMAC of `message` with a copy of a keyed state.
fn finish(keyed: &HmacSha256, message: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(keyed.clone().chain_update(message).finalize().into_bytes().into())
}

/// Secrets with which a decoder reads a recorded session: the shared secret, and a digest that
/// identifies the keying that it belongs to.
#[derive(Clone)]
pub struct KeyLogEntry {
    digest: [u8; 32],
    secret: DhSecret,
}

impl KeyLogEntry {
    pub(super) fn new(skic: &[u8], skrc: &[u8], secret: DhSecret) -> Self {
        Self { digest: keying_digest(skic, skrc), secret }
    }

    /// SHA-256 of the initiator's keying component followed by the responder's.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The line of a key log, `DH_SECRET <digest> <secret>`, without a line end.
    ///
    /// Whoever has it can read and forge the session.
    pub fn line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(String::with_capacity(80 + 2 * self.secret.len()));
        line.push_str("DH_SECRET ");
        push_hex(&self.digest, &mut line);
        line.push(' ');
        push_hex(&self.secret, &mut line);
        line
    }
}

impl fmt::Debug for KeyLogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLogEntry { .. }")
    }
}

/// The digest by which a key log names a keying: SHA-256 of the initiator's component followed by
/// the responder's.
pub fn keying_digest(skic: &[u8], skrc: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(skic).chain_update(skrc).finalize().into()
}

fn push_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        write!(out, "{byte:02x}").expect("strings take everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        let mut out = String::new();
        push_hex(bytes, &mut out);
        out
    }

    /// RFC 4231 test case 2.
    #[test]
    fn hmac_vector() {
        assert_eq!(
            hex(&*hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn keys_of_the_two_directions() {
        let (secret, near, far) =
            (&[0x01u8, 0x23, 0x45, 0x67, 0x89][..], &b"SKNC"[..], &b"SKFC"[..]);
        let send = TrafficKeys::derive(secret, near, far);
        // ENCRYPT_KEY = HMAC(DH_SECRET, HMAC(SKFC, SKNC)) and so on, written out.
        let encrypt = hmac_sha256(secret, &*hmac_sha256(far, near));
        assert_eq!(send.cipher, encrypt);
        assert_eq!(send.hmac, hmac_sha256(secret, &*encrypt));
        assert_eq!(send.aes_128()[..], encrypt[..16]);
        let receive = TrafficKeys::derive(secret, far, near);
        assert_ne!(receive.cipher, send.cipher);
        assert_eq!(nonce(&hmac_keyed(secret), near), *hmac_sha256(secret, near));
    }

    #[test]
    fn key_log_line() {
        let entry = KeyLogEntry::new(b"a", b"bc", Zeroizing::new(vec![0x01, 0xab]));
        assert_eq!(
            *entry.line(),
            "DH_SECRET ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 01ab"
        );
        assert_eq!(format!("{entry:?}"), "KeyLogEntry { .. }");
    }
}
