//! Passwords that a group may require from members that publish or post. Each member enforces them
//! on itself, from its own groupspec; nothing of it is sent.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const HASH_LEN: usize = 32;

/// The value of a password hash option: `salt || SHA-256(salt || password)`; the salt may be empty.
pub(super) fn hash(password: &str, salt: &str) -> Vec<u8> {
    let mut value = salt.as_bytes().to_vec();
    value.extend_from_slice(&digest(salt.as_bytes(), password.as_bytes()));
    value
}

/// True if the hash option `value` was made from `password`.
pub(super) fn matches(value: &[u8], password: &[u8]) -> bool {
    let Some((salt, expected)) = value.split_last_chunk::<HASH_LEN>() else { return false };
    digest(salt, password).ct_eq(expected).into()
}

/// A password in plain text, as the hexadecimal of one option. Empty without a password.
pub(super) fn authorization(kind: u64, password: &str) -> String {
    match password.is_empty() {
        true => String::new(),
        false => super::encode_hex_option(kind, password.as_bytes()),
    }
}

fn digest(salt: &[u8], password: &[u8]) -> [u8; HASH_LEN] {
    Sha256::new().chain_update(salt).chain_update(password).finalize().into()
}
