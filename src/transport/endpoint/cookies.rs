//! Cookies as they are sent: the part without state, and marks for initiators of our kind.
//!
//! ```text
//! cookie without state (32) | mark (16) | kind of hello (1) | zeros (15)
//! ```
//!
//! Some initiators (librtmfp) take cookies of 64 bytes only, which is what Flash Player sends. To
//! all others a cookie is opaque, so that the rest can carry the mark: by it an initiator of our
//! kind knows that this responder takes an additional key. Where 64 bytes are too many, the first
//! 32 go alone.

use super::Epd;
use crate::crypto::COOKIE_LEN;

/// Bytes of a whole cookie.
pub(super) const WHOLE_COOKIE: usize = 64;
/// Marks a responder that takes additional keys, in the form of `crypto::keying`, and HMACs and
/// sequence numbers.
const MARK: [u8; 16] = *b"additional key/1";
const MARK_END: usize = COOKIE_LEN + MARK.len();

/// Properties of a sender that its hello shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hello {
    /// Nothing in particular.
    Usual = 0,
    /// It asks for a server by something else than a URL: that is librtmfp, which names the
    /// application alone. All others send the URL, Flash Player as well.
    NotByUrl = 1,
}

impl Hello {
    pub(super) fn of(epd: &Epd) -> Self {
        let by_url = |data: &[u8]| data.windows(3).any(|three| three == b"://");
        match epd.ancillary() {
            Some(data) if !by_url(data) => Self::NotByUrl,
            _ => Self::Usual,
        }
    }
}

/// A whole cookie around the part without state.
pub(super) fn whole(cookie: [u8; COOKIE_LEN], hello: Hello) -> [u8; WHOLE_COOKIE] {
    let mut whole = [0; WHOLE_COOKIE];
    whole[..COOKIE_LEN].copy_from_slice(&cookie);
    whole[COOKIE_LEN..MARK_END].copy_from_slice(&MARK);
    whole[MARK_END] = hello as u8;
    whole
}

/// The part without state of a cookie that came back, and to what hello it was the answer.
pub(super) fn read(cookie: &[u8]) -> (&[u8], Hello) {
    if cookie.len() != WHOLE_COOKIE {
        return (cookie, Hello::Usual);
    }
    let hello = if cookie[MARK_END] == 1 { Hello::NotByUrl } else { Hello::Usual };
    (&cookie[..COOKIE_LEN], hello)
}

/// True if the responder that made this cookie is of our kind.
pub(super) fn is_ours(cookie: &[u8]) -> bool {
    cookie.len() == WHOLE_COOKIE && cookie[COOKIE_LEN..MARK_END] == MARK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Fingerprint;

    #[test]
    fn what_goes_out_comes_back() {
        for hello in [Hello::Usual, Hello::NotByUrl] {
            let cookie = whole([7; COOKIE_LEN], hello);
            assert_eq!(read(&cookie), (&[7; COOKIE_LEN][..], hello));
            assert!(is_ours(&cookie));
        }
        assert_eq!(read(&[7; COOKIE_LEN]), (&[7; COOKIE_LEN][..], Hello::Usual));
    }

    #[test]
    fn hostile_cookies_are_not_ours() {
        for cookie in [&[0; 64][..], &[0xff; 64], &[1; 63], &[0; 200], &[]] {
            assert!(!is_ours(cookie));
            let _ = read(cookie);
        }
    }

    #[test]
    fn hellos_by_url_and_others() {
        for (epd, expected) in [
            (Epd::for_uri("rtmfp://127.0.0.1/chat"), Hello::Usual),
            (Epd::for_uri("RTMFP://LOCALHOST:2481/App"), Hello::Usual),
            (Epd::for_uri("chat"), Hello::NotByUrl),
            (Epd::for_uri(""), Hello::NotByUrl),
            (Epd::for_fingerprint(Fingerprint([7; 32])), Hello::Usual),
        ] {
            assert_eq!(Hello::of(&epd), expected, "{epd:?}");
        }
    }
}
