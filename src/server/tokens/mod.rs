//! Tokens that let clients connect: JSON Web Tokens (RFC 7519) with HMAC-SHA256, so that a web server
//! makes them in any language, and this one needs no database to check them. `docs/tokens.md` describes
//! them.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the keys and what they check |
//! | `secret_file` | the file that has them |
//! | `claims` | what a token says |
//! | `jwt` | the form of a token |

mod claims;
mod jwt;
mod secret_file;

pub use claims::{Allowed, Claims, OneOrMany};
pub use secret_file::{MAX_KEYS, MIN_SECRET, SecretFileError};

use crate::driver::calendar_ms;
use crate::rendezvous::{CheckTokens, Rights, TokenError};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Seconds that the clock of who makes tokens may be ahead of this one (`nbf`).
const AHEAD: u64 = 60;

/// Keys that sign and check tokens.
///
/// ```
/// use rtmfp::server::{Claims, ServerConfig, TokenKeys};
/// use std::sync::Arc;
///
/// let keys = TokenKeys::parse("2026 1b2c3d4e5f60718293a4b5c6d7e8f9010203040506070809\n")?;
/// let token = keys.sign(&Claims::until(1_798_761_600).for_application("chat"));
/// let mut config = ServerConfig::default();
/// config.rendezvous.tokens = Some(Arc::new(keys));
/// # assert!(token.starts_with("eyJ"));
/// # Ok::<(), rtmfp::server::SecretFileError>(())
/// ```
pub struct TokenKeys {
    keys: Vec<Key>,
    /// Milliseconds since 1970.
    calendar: fn() -> u64,
}

/// A key.
struct Key {
    /// Its name in tokens; empty if it has none.
    id: String,
    secret: Zeroizing<String>,
}

impl TokenKeys {
    /// The keys of a text with one a line: its ID and its secret, or its secret alone. The first signs.
    ///
    /// # Errors
    ///
    /// [`SecretFileError`], without the secrets.
    pub fn parse(text: &str) -> Result<Self, SecretFileError> {
        Ok(Self { keys: secret_file::parse(text)?, calendar: calendar_ms })
    }

    /// The keys of a file.
    ///
    /// # Errors
    ///
    /// [`SecretFileError`]
    pub fn read(path: &Path) -> Result<Self, SecretFileError> {
        secret_file::read(path)
    }

    /// The same; a file that does not exist is made, readable by its owner alone, with a new secret.
    /// True if it was made.
    ///
    /// # Errors
    ///
    /// [`SecretFileError`]
    pub fn read_or_create(path: &Path) -> Result<(Self, bool), SecretFileError> {
        secret_file::read_or_create(path)
    }

    /// True if both are the same keys in the same order.
    pub fn are_same(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Key, &Key)| {
            one.id == other.id && bool::from(one.secret.as_bytes().ct_eq(other.secret.as_bytes()))
        };
        self.keys.len() == other.keys.len() && self.keys.iter().zip(&other.keys).all(is_same)
    }

    /// For a server's configuration.
    pub fn into_check(self) -> Arc<dyn CheckTokens> {
        Arc::new(self)
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Claims) -> String {
        // There is one at least.
        let key = self.keys.first().map_or(("", ""), |key| (&*key.id, &**key.secret));
        jwt::sign(key, claims)
    }

    /// What a token says, if one of the keys has signed it, whenever that was.
    fn open(&self, token: &str) -> Result<Claims, TokenError> {
        let token = jwt::Signed::parse(token).ok_or(TokenError::Invalid)?;
        let id = token.key_id.as_deref();
        let mut named = self.keys.iter().filter(|key| id.is_none_or(|id| key.id == id));
        let is_ours = named.any(|key| token.is_by(key.secret.as_bytes()));
        is_ours.then(|| token.claims()).flatten().ok_or(TokenError::Invalid)
    }
}

impl CheckTokens for TokenKeys {
    fn check(&self, token: Option<&str>, app: &str) -> Result<Rights, TokenError> {
        let claims = self.open(token.ok_or(TokenError::Missing)?)?;
        let now = (self.calendar)() / 1000;
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        if claims.nbf.is_some_and(|begin| begin > now.saturating_add(AHEAD)) {
            return Err(TokenError::Early);
        }
        if !claims.are_for(app) {
            return Err(TokenError::OtherApplication);
        }
        Ok(claims.rights())
    }
}

/// Without the secrets.
impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.keys.iter().map(|key| &key.id);
        f.debug_tuple("TokenKeys").field(&ids.collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendezvous::Names;

    const NOW: u64 = 1_790_000_000;
    const OLD: &str = "old 0123456789abcdef0123456789abcdef";
    const NEW: &str = "new fedcba9876543210fedcba9876543210";

    fn keys(text: &str) -> TokenKeys {
        TokenKeys { calendar: || NOW * 1000, ..TokenKeys::parse(text).unwrap() }
    }

    fn check(keys: &TokenKeys, claims: &Claims, app: &str) -> Result<Rights, TokenError> {
        keys.check(Some(&keys.sign(claims)), app)
    }

    #[test]
    fn tokens_end_and_begin() {
        let keys = keys(OLD);
        assert_eq!(check(&keys, &Claims::until(NOW), "chat"), Err(TokenError::Expired));
        assert_eq!(check(&keys, &Claims::until(NOW + 1), "chat"), Ok(Rights::default()));
        let begin = |nbf| Claims { nbf: Some(nbf), ..Claims::until(NOW + 9) };
        assert_eq!(check(&keys, &begin(NOW + AHEAD + 1), "chat"), Err(TokenError::Early));
        assert!(check(&keys, &begin(NOW + AHEAD), "chat").is_ok());
        assert_eq!(keys.check(None, "chat"), Err(TokenError::Missing));
    }

    #[test]
    fn applications_with_their_instances() {
        let keys = keys(OLD);
        let claims = Claims::until(NOW + 1).for_application("chat").for_application("/tv/a/");
        for app in ["chat", "chat/room", "tv/a", "tv/a/b"] {
            assert!(check(&keys, &claims, app).is_ok(), "{app}");
        }
        for app in ["", "cha", "chatter", "tv", "tv/ab", "Chat"] {
            assert_eq!(check(&keys, &claims, app), Err(TokenError::OtherApplication), "{app}");
        }
    }

    #[test]
    fn rights_and_a_name() {
        let mut claims = Claims::until(NOW + 1);
        claims.publish = Allowed::Names(vec!["me".into(), "room-*".into()]);
        claims.play = Allowed::All(false);
        claims.sub = Some("Ann".into());
        let rights = check(&keys(OLD), &claims, "chat").unwrap();
        assert!(rights.publish.contain("me") && rights.publish.contain("room-7"));
        assert!(!rights.publish.contain("you"));
        assert_eq!(rights.play, Names::Only([].into()));
        assert_eq!(rights.name.as_deref(), Some("Ann"));
    }

    #[test]
    fn keys_are_changed_without_a_gap() {
        let (old, both, new) = (keys(OLD), keys(&format!("{NEW}\n{OLD}\n")), keys(NEW));
        let claims = Claims::until(NOW + 1);
        assert!(both.check(Some(&old.sign(&claims)), "").is_ok());
        assert!(new.check(Some(&both.sign(&claims)), "").is_ok(), "the first signs");
        assert_eq!(new.check(Some(&old.sign(&claims)), ""), Err(TokenError::Invalid));
        // The ID of one, the secret of another.
        let forged = keys(&OLD.replace("old ", "new "));
        assert_eq!(both.check(Some(&forged.sign(&claims)), ""), Err(TokenError::Invalid));
        let nameless = keys(OLD.split_once(' ').unwrap().1);
        assert!(both.check(Some(&nameless.sign(&claims)), "").is_ok(), "every key is tried");
    }

    #[test]
    fn keys_that_differ_are_not_the_same() {
        let (old, new) = (keys(OLD), keys(NEW));
        assert!(old.are_same(&keys(&format!("# a comment\n\n{OLD}  \n"))));
        assert!(!old.are_same(&new));
        let (one, other) = (keys(&format!("{NEW}\n{OLD}")), keys(&format!("{OLD}\n{NEW}")));
        assert!(!one.are_same(&old) && !one.are_same(&other) && one.are_same(&one));
        assert!(!old.are_same(&keys(&OLD.replace("old ", "new "))));
    }

    #[test]
    fn no_secret_is_printed() {
        assert_eq!(format!("{:?}", keys(&format!("{NEW}\n{OLD}"))), r#"TokenKeys(["new", "old"])"#);
    }
}
