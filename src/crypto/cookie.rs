//! Cookies without state (RFC 7016 §3.5.1.2): the responder remembers nothing of an initiator that
//! has only sent a hello.
//!
//! ```text
//! time (8) | HMAC(secret, time) (8) | HMAC(secret, time and address) (16)
//! ```
//!
//! The first HMAC shows that the cookie is ours, the second that it comes back from the address to
//! which it went.

use super::schedule::{HmacSha256, hmac_keyed};
use hmac::Mac;
use rand_core::CryptoRng;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a cookie.
///
/// Short, so that the hello with it and with a static certificate like Flash Player's (196 bytes)
/// is not longer than three times the hello of a Flash Player that asks for it (68 bytes).
pub const COOKIE_LEN: usize = TIME_LEN + TIME_TAG_LEN + ADDRESS_TAG_LEN;

/// Lifetime of a cookie, in milliseconds: as long as Flash Player keeps trying to open a
/// session.
pub const COOKIE_LIFETIME_MS: u64 = 95_000;

const TIME_LEN: usize = 8;
/// It only decides whether a cookie change is sent.
const TIME_TAG_LEN: usize = 8;
const ADDRESS_TAG_LEN: usize = 16;

/// Result of examining a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieCheck {
    /// Ours, fresh, from the address to which it went.
    Valid,
    /// Ours and fresh, but it went to another address: answer with a cookie change (RFC 7016
    /// §3.5.1.2), which costs the sender another round trip from its new address.
    WrongAddress,
    /// Ours, but older than [`COOKIE_LIFETIME_MS`].
    Stale,
    /// Not ours.
    Foreign,
}

/// The key of the cookies of a responder.
pub struct CookieSecret(HmacSha256);

impl CookieSecret {
    /// A new key.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *key);
        Self(hmac_keyed(&*key))
    }

    /// The cookie for an initiator at `address`. `now_ms` is in milliseconds of a clock that never
    /// goes back.
    pub fn make(&self, now_ms: u64, address: SocketAddr) -> [u8; COOKIE_LEN] {
        let time = now_ms.to_be_bytes();
        let mut cookie = [0; COOKIE_LEN];
        cookie[..TIME_LEN].copy_from_slice(&time);
        cookie[TIME_LEN..TIME_LEN + TIME_TAG_LEN].copy_from_slice(&self.time_tag(time));
        cookie[TIME_LEN + TIME_TAG_LEN..].copy_from_slice(&self.address_tag(time, address));
        cookie
    }

    /// Examines a cookie that came back from `address`.
    pub fn check(&self, now_ms: u64, address: SocketAddr, cookie: &[u8]) -> CookieCheck {
        let Ok(cookie) = <&[u8; COOKIE_LEN]>::try_from(cookie) else {
            return CookieCheck::Foreign;
        };
        let (time, tags) = cookie.split_at(TIME_LEN);
        let (time_tag, address_tag) = tags.split_at(TIME_TAG_LEN);
        let mut time_bytes = [0; TIME_LEN];
        time_bytes.copy_from_slice(time);
        let ours: bool = self.time_tag(time_bytes).ct_eq(time_tag).into();
        let here: bool = self.address_tag(time_bytes, address).ct_eq(address_tag).into();
        let Some(age) = now_ms.checked_sub(u64::from_be_bytes(time_bytes)) else {
            return CookieCheck::Foreign;
        };
        match (ours, here) {
            (false, _) => CookieCheck::Foreign,
            _ if age > COOKIE_LIFETIME_MS => CookieCheck::Stale,
            (true, false) => CookieCheck::WrongAddress,
            (true, true) => CookieCheck::Valid,
        }
    }

    fn time_tag(&self, time: [u8; TIME_LEN]) -> [u8; TIME_TAG_LEN] {
        tag(self.0.clone().chain_update(time))
    }

    /// The input is longer than that of the time tag, so that the two never meet.
    fn address_tag(&self, time: [u8; TIME_LEN], address: SocketAddr) -> [u8; ADDRESS_TAG_LEN] {
        let hmac = self.0.clone().chain_update(time).chain_update(address.port().to_be_bytes());
        // An IPv4 address that arrives at an IPv6 socket is still the same address.
        tag(match address.ip().to_canonical() {
            IpAddr::V4(ip) => hmac.chain_update(ip.octets()),
            IpAddr::V6(ip) => hmac.chain_update(ip.octets()),
        })
    }
}

fn tag<const N: usize>(hmac: HmacSha256) -> [u8; N] {
    let full: [u8; 32] = hmac.finalize().into_bytes().into();
    let mut tag = [0; N];
    tag.copy_from_slice(&full[..N]);
    tag
}

impl fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSecret { .. }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests_rng;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_cookie_is_bound_to_address_port_and_time() {
        let secret = CookieSecret::generate(&mut tests_rng(1));
        let here = address("192.0.2.1:1000");
        let cookie = secret.make(5_000, here);
        assert_eq!(cookie.len(), COOKIE_LEN);
        assert_eq!(secret.check(5_000, here, &cookie), CookieCheck::Valid);
        assert_eq!(secret.check(5_000 + COOKIE_LIFETIME_MS, here, &cookie), CookieCheck::Valid);
        assert_eq!(secret.check(5_001 + COOKIE_LIFETIME_MS, here, &cookie), CookieCheck::Stale);
        for elsewhere in ["192.0.2.1:1001", "192.0.2.2:1000", "[2001:db8::1]:1000"] {
            let check = secret.check(5_000, address(elsewhere), &cookie);
            assert_eq!(check, CookieCheck::WrongAddress);
        }
        let mapped = address("[::ffff:192.0.2.1]:1000");
        assert_eq!(secret.check(5_000, mapped, &cookie), CookieCheck::Valid);
        assert_eq!(secret.check(4_999, here, &cookie), CookieCheck::Foreign, "from the future");
    }

    #[test]
    fn hostile_cookies() {
        let secret = CookieSecret::generate(&mut tests_rng(1));
        let here = address("[2001:db8::1]:1000");
        let cookie = secret.make(0, here);
        for i in 0..COOKIE_LEN {
            let mut forged = cookie;
            forged[i] ^= 1;
            let expected = match i {
                16.. => CookieCheck::WrongAddress,
                _ => CookieCheck::Foreign,
            };
            assert_eq!(
                secret.check(u64::MAX / 2, here, &forged),
                if i >= 16 { CookieCheck::Stale } else { expected }
            );
            assert_eq!(secret.check(0, here, &forged), expected, "byte {i}");
        }
        for len in [0, COOKIE_LEN - 1] {
            assert_eq!(secret.check(0, here, &cookie[..len]), CookieCheck::Foreign);
        }
        assert_eq!(secret.check(0, here, &[0; 64]), CookieCheck::Foreign);
        let other = CookieSecret::generate(&mut tests_rng(2));
        assert_eq!(other.check(0, here, &cookie), CookieCheck::Foreign);
        assert_eq!(format!("{other:?}"), "CookieSecret { .. }");
    }
}
