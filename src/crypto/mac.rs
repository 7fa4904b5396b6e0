//! A short keyed hash for values that only this end will see again.

use super::schedule::hmac_keyed;
use hmac::Mac;

/// The first 16 bytes of HMAC-SHA256 over the parts one after the other.
pub(crate) fn mac16(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = hmac_keyed(key);
    parts.iter().for_each(|part| mac.update(part));
    let mut out = [0; 16];
    out.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    out
}
