//! Sealing of the announcements of a group on the local network, as the observed player does it.
//!
//! ```text
//! AES-128-CBC(plain text, zeros up to the next block) | first 8 bytes of HMAC-SHA256(encrypted)
//! ```

use super::cbc::{self, BLOCK};
use super::schedule::{hmac_keyed, hmac_sha256};
use aes::cipher::KeyInit;
use aes::{Aes128Dec, Aes128Enc};
use hmac::Mac;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of the HMAC.
const MAC_LEN: usize = 8;

/// The keys of a group's announcements. Every member has them, and nobody else.
#[derive(Clone)]
pub(crate) struct AnnouncementKey {
    cipher: Zeroizing<[u8; 16]>,
    mac: Zeroizing<Vec<u8>>,
}

impl AnnouncementKey {
    /// The keys of the group with this canonical text, whose SHA-256 is `id`.
    pub(crate) fn new(id: &[u8; 32], text: &str) -> Self {
        let mut cipher = Zeroizing::new([0; 16]);
        cipher.copy_from_slice(&id[..16]);
        Self { cipher, mac: Zeroizing::new(text.as_bytes().to_vec()) }
    }

    /// Fills the plain text up to a block, and seals it.
    pub(crate) fn seal(&self, mut datagram: Vec<u8>) -> Vec<u8> {
        datagram.resize(datagram.len().next_multiple_of(BLOCK), 0);
        let all = 0..datagram.len();
        cbc::encrypt(&Aes128Enc::new((&*self.cipher).into()), &mut datagram, [all].into_iter());
        let mac = hmac_sha256(&self.mac, &datagram);
        datagram.extend_from_slice(&mac[..MAC_LEN]);
        datagram
    }

    /// The plain text with its fill; `None` if a member of another group has sealed it, or nobody.
    pub(crate) fn open(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let (encrypted, mac) = datagram.split_at_checked(datagram.len().checked_sub(MAC_LEN)?)?;
        if encrypted.is_empty() || !encrypted.len().is_multiple_of(BLOCK) {
            return None;
        }
        let expected = hmac_keyed(&self.mac).chain_update(encrypted).finalize().into_bytes();
        if !bool::from(expected[..MAC_LEN].ct_eq(mac)) {
            return None;
        }
        let mut plain = encrypted.to_vec();
        cbc::decrypt(&Aes128Dec::new((&*self.cipher).into()), &mut plain);
        Some(plain)
    }
}

impl fmt::Debug for AnnouncementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnnouncementKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AnnouncementKey {
        AnnouncementKey::new(&[7; 32], "G:01")
    }

    #[test]
    fn what_was_sealed_is_opened_and_nothing_else() {
        let sealed = key().seal(vec![1, 2, 3]);
        assert_eq!(sealed.len(), 16 + MAC_LEN);
        let opened = key().open(&sealed).unwrap();
        assert_eq!(opened, [&[1, 2, 3][..], &[0; 13]].concat());
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key().open(&damaged), None, "bit {bit}");
        }
        assert_eq!(AnnouncementKey::new(&[7; 32], "G:02").open(&sealed), None);
    }

    #[test]
    fn no_length_is_too_odd() {
        for len in 0..64 {
            assert_eq!(key().open(&vec![0; len]), None);
        }
        let mac = &hmac_sha256(b"G:01", &[])[..MAC_LEN];
        assert_eq!(key().open(mac), None, "nothing but the HMAC");
    }

    #[test]
    fn no_key_in_debug_output() {
        assert_eq!(format!("{:?}", key()), "AnnouncementKey { .. }");
    }
}
