//! The compact form of a token (RFC 7515 §3.1): header, claims and signature, each in base64url, with
//! dots between. The only algorithm is HS256 (RFC 7518 §3.2).

use super::Claims;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The algorithm.
const HS256: &str = "HS256";

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    /// The key's ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    /// Extensions that must be understood; there are none here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

/// A token, signed with a key: its ID and secret.
pub(super) fn sign((id, secret): (&str, &str), claims: &Claims) -> String {
    let kid = (!id.is_empty()).then(|| id.to_owned());
    let header = Header { alg: HS256.to_owned(), kid, crit: None };
    let mut token = encode(&header) + "." + &encode(claims);
    let signature = mac(secret.as_bytes(), &token).finalize().into_bytes();
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature));
    token
}

/// A token whose signature is still to be checked.
pub(super) struct Signed<'a> {
    /// The ID of the key, if it names one.
    pub(super) key_id: Option<String>,
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Signed<'a> {
    /// None if it has another form.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = decode(header)?;
        if header.alg != HS256 || header.crit.is_some() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { key_id: header.kid, signed, claims, signature })
    }

    /// True if it was signed with this secret. Compares in constant time.
    pub(super) fn is_by(&self, secret: &[u8]) -> bool {
        mac(secret, self.signed).verify_slice(&self.signature).is_ok()
    }

    /// What it says; to be believed only if the signature is right.
    pub(super) fn claims(&self) -> Option<Claims> {
        decode(self.claims)
    }
}

fn mac(secret: &[u8], signed: &str) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.chain_update(signed)
}

fn encode<T: Serialize>(value: &T) -> String {
    // Plain structures of texts and numbers have a JSON form.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap_or_default())
}

fn decode<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn open_with(secret: &str, token: &str) -> Option<Claims> {
        Signed::parse(token).filter(|token| token.is_by(secret.as_bytes()))?.claims()
    }

    fn made(header: &str, claims: &str) -> String {
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = mac(SECRET.as_bytes(), &signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// RFC 7515 §A.1, whose claims are ours but for what is ignored.
    #[test]
    fn the_example_of_the_standard() {
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                     eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                     dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
        let token = Signed::parse(token).unwrap();
        assert_eq!((token.is_by(&secret), &token.key_id), (true, &None));
        assert_eq!(token.claims(), Some(Claims::until(1_300_819_380)));
    }

    #[test]
    fn what_is_signed_is_opened() {
        let claims = Claims::until(7).for_application("chat");
        let token = sign(("k1", SECRET), &claims);
        assert_eq!(Signed::parse(&token).unwrap().key_id.as_deref(), Some("k1"));
        assert_eq!(open_with(SECRET, &token), Some(claims));
        assert_eq!(open_with("another secret", &token), None);
    }

    #[test]
    fn hostile_tokens_are_not_valid() {
        let good = sign(("", SECRET), &Claims::until(7));
        assert!(open_with(SECRET, &good).is_some());
        for at in 0..good.len() {
            let mut damaged = good.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert_eq!(open_with(SECRET, &damaged), None, "{damaged}");
            assert_eq!(open_with(SECRET, &good[..at]), None);
        }
        let good = r#"{"exp":7}"#;
        assert!(open_with(SECRET, &made(r#"{"alg":"HS256","typ":"JWT"}"#, good)).is_some());
        assert!(open_with(SECRET, &made(r#"{"alg":"HS256"}"#, r#"{"exp":7.5,"x":[]}"#)).is_some());
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"HS256","crit":["exp"]}"#,
            r#"{"kid":"x"}"#,
            "[]",
            "",
        ] {
            assert_eq!(open_with(SECRET, &made(header, good)), None, "{header}");
        }
        let deep = "[".repeat(700);
        for claims in ["{}", r#"{"exp":"7"}"#, r#"{"exp":7,"exp":8}"#, "7", "", &deep] {
            assert_eq!(open_with(SECRET, &made(r#"{"alg":"HS256"}"#, claims)), None, "{claims}");
        }
        for text in ["", ".", "..", "...", "a.b.c", "\u{7f}.\u{e4}.x"] {
            assert_eq!(open_with(SECRET, text), None, "{text}");
        }
        let unsigned = made(r#"{"alg":"HS256"}"#, good);
        let unsigned = unsigned.rsplit_once('.').unwrap().0.to_owned() + ".";
        assert_eq!(open_with(SECRET, &unsigned), None);
    }
}
