//! The signature field of keying chunks (RFC 7425 §4.3.5): empty, or proofs of passwords.

use super::schedule::hmac_sha256;
use crate::wire::option::{Item, encode_option, items};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The field of a sender that signs nothing, as Flash Player sends it.
pub const NO_SIGNATURE: &[u8] = b"X";

const SIMPLE_PASSWORD: u64 = 0x1d;
const HMAC_LEN: usize = 32;

/// A password and the identifier by which the verifier finds it, such as a user name.
#[derive(Clone)]
pub struct Password {
    /// The identifier, sent in the clear.
    pub id: Vec<u8>,
    /// The password, not sent.
    pub secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Password").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Result of verifying a signature field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureCheck {
    /// Nothing: it is empty, "X", malformed, or has only options and identifiers that the verifier
    /// does not know. A verifier that requires no signature accepts it.
    Absent,
    /// Knowledge of the passwords with these identifiers, at least one.
    Valid(Vec<Vec<u8>>),
    /// A proof for a known identifier is wrong.
    Invalid,
}

/// Makes a signature field over the signed `parameters` (RFC 7016 §2.3.7, §2.3.8) with a Simple
/// Password option for each password (RFC 7425 §4.3.5.1.1). Without passwords it is
/// [`NO_SIGNATURE`].
pub fn sign(passwords: &[Password], parameters: &[u8]) -> Vec<u8> {
    if passwords.is_empty() {
        return NO_SIGNATURE.to_vec();
    }
    let mut out = Vec::new();
    for password in passwords {
        let mut value = hmac_sha256(&password.secret, parameters).to_vec();
        value.extend_from_slice(&password.id);
        encode_option(SIMPLE_PASSWORD, &value, &mut out);
    }
    out
}

/// Examines a signature field over the signed `parameters`. `password` returns the password with
/// an identifier, if there is one.
pub fn verify(
    signature: &[u8],
    parameters: &[u8],
    mut password: impl FnMut(&[u8]) -> Option<Zeroizing<Vec<u8>>>,
) -> SignatureCheck {
    // A malformed field counts as empty, whatever stands before the fault.
    let Ok(items) = items(signature).collect::<Result<Vec<_>, _>>() else {
        return SignatureCheck::Absent;
    };
    let mut proven = Vec::new();
    for item in items {
        let Item::Option(option) = item else { continue };
        if option.kind != SIMPLE_PASSWORD {
            continue;
        }
        let Some((proof, id)) = option.value.split_first_chunk::<HMAC_LEN>() else {
            return SignatureCheck::Absent;
        };
        let Some(secret) = password(id) else { continue };
        if !bool::from(hmac_sha256(&secret, parameters).ct_eq(proof)) {
            return SignatureCheck::Invalid;
        }
        proven.push(id.to_vec());
    }
    if proven.is_empty() { SignatureCheck::Absent } else { SignatureCheck::Valid(proven) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn password(id: &str, secret: &str) -> Password {
        Password { id: id.into(), secret: Zeroizing::new(secret.into()) }
    }

    fn known(id: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        (id == b"ann").then(|| Zeroizing::new(b"secret".to_vec()))
    }

    #[test]
    fn nothing_signed() {
        assert_eq!(sign(&[], b"m"), b"X");
        for empty in [&b"X"[..], b"", b"garbage", &[0x05, 0x1d, 1, 2, 3], &[0x02, 0x33, 7]] {
            assert_eq!(verify(empty, b"m", known), SignatureCheck::Absent, "{empty:x?}");
        }
    }

    #[test]
    fn passwords() {
        let ann = password("ann", "secret");
        let signature = sign(&[password("bob", "x"), ann.clone()], b"m");
        assert_eq!(signature[..2], [0x24, 0x1d]);
        assert_eq!(verify(&signature, b"m", known), SignatureCheck::Valid(vec![b"ann".to_vec()]));
        assert_eq!(verify(&signature, b"n", known), SignatureCheck::Invalid);
        assert_eq!(verify(&signature, b"m", |_| None), SignatureCheck::Absent);
        let wrong = sign(&[ann, password("ann", "Secret")], b"m");
        assert_eq!(verify(&wrong, b"m", known), SignatureCheck::Invalid);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_prove_nothing(bytes: Vec<u8>) {
            let check = verify(&bytes, b"m", known);
            prop_assert!(!matches!(check, SignatureCheck::Valid(_)));
        }
    }
}
