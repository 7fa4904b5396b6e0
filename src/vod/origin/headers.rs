//! What an HTTP response states: validator, length, range, digest.

use super::super::hash::Digest256;
use super::{OriginError, Validator};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED,
};
use std::ops::Range;

/// A header as text, if it is there once or more; the first counts.
pub(super) fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(|text| text.trim().to_owned())
}

/// The strong entity tag, else the time of the last change.
pub(super) fn validator(headers: &HeaderMap) -> Option<Validator> {
    let read = |name| Validator::of_header(&text(headers, name)?);
    let is_tag = |validator: &Validator| matches!(validator, Validator::ETag(_));
    read(&ETAG).filter(is_tag).or_else(|| read(&LAST_MODIFIED).filter(|it| !is_tag(it)))
}

/// Refuses a content that is encoded.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), OriginError> {
    match text(headers, &CONTENT_ENCODING) {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => Err(OriginError::Encoded),
        _ => Ok(()),
    }
}

/// The length of the content.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    number(&text(headers, &CONTENT_LENGTH)?)
}

/// The part that `Content-Range` states, if there is one, and the whole length, if it is known.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(Option<Range<u64>>, Option<u64>)> {
    let text = text(headers, &CONTENT_RANGE)?;
    let (part, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let whole = if whole == "*" { None } else { Some(number(whole)?) };
    if part == "*" {
        return Some((None, whole));
    }
    let (first, last) = part.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((Some(first..last.checked_add(1)?), whole))
}

/// SHA-256 of the whole file in `Repr-Digest` (RFC 9530) or `Digest` (RFC 3230).
pub(super) fn stated_sha256(headers: &HeaderMap) -> Option<Digest256> {
    let members = |name: &'static str| {
        let all = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let all = all.flat_map(|value| value.split(','));
        all.filter_map(|member| member.trim().split_once('='))
            .filter(|(algorithm, _)| algorithm.trim().eq_ignore_ascii_case("sha-256"))
            .map(|(_, value)| value.trim())
            .collect::<Vec<_>>()
    };
    let structured = members("repr-digest").into_iter();
    let structured = structured.filter_map(|value| value.strip_prefix(':')?.split(':').next());
    structured
        .chain(members("digest"))
        .find_map(|value| Some(Digest256(STANDARD.decode(value).ok()?.try_into().ok()?)))
}

/// The hash in a file as `sha256sum` writes it.
pub(super) fn sha256_file(content: &[u8]) -> Option<Digest256> {
    let text = std::str::from_utf8(content).ok()?;
    text.split_whitespace().next()?.trim_start_matches('\\').parse().ok()
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn a_strong_tag_counts_before_the_time_of_the_last_change() {
        let time = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        let modified = Validator::LastModified(time.1.into());
        let of = |lines: &[_]| validator(&headers(lines));
        assert_eq!(of(&[("etag", "\"a\""), time]), Some(Validator::ETag("\"a\"".into())));
        assert_eq!(of(&[("etag", "W/\"a\""), time]), Some(modified.clone()));
        assert_eq!(of(&[("etag", "a"), time]), Some(modified));
        assert_eq!(of(&[("etag", "W/\"a\"")]), None);
        assert_eq!(of(&[("etag", &format!("\"{}\"", "a".repeat(300)))]), None);
    }

    #[test]
    fn ranges_are_read_and_nonsense_is_not() {
        let of = |value: &str| content_range(&headers(&[("content-range", value)]));
        assert_eq!(of("bytes 0-0/100"), Some((Some(0..1), Some(100))));
        assert_eq!(of("bytes 5-9/*"), Some((Some(5..10), None)));
        assert_eq!(of("bytes */0"), Some((None, Some(0))));
        let most = u64::MAX.to_string();
        for wrong in [
            "",
            "bytes",
            "bytes 1-0/5",
            "bytes a-b/c",
            "0-0/1",
            "bytes -1-2/3",
            "bytes 0-+1/3",
            &format!("bytes 0-{most}/5"),
            &format!("bytes 0-1/{most}9"),
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn stated_hashes_are_read_in_all_forms() {
        let hash = Digest256::of(b"film");
        let base64 = STANDARD.encode(hash.0);
        let of = |name, value: &str| stated_sha256(&headers(&[(name, value)]));
        assert_eq!(of("repr-digest", &format!("sha-256=:{base64}:")), Some(hash));
        assert_eq!(of("repr-digest", &format!("md5=:AAAA:, sha-256=:{base64}:;a=1")), Some(hash));
        assert_eq!(of("digest", &format!("MD5=AAAA,SHA-256={base64}")), Some(hash));
        assert_eq!(of("content-digest", &format!("sha-256=:{base64}:")), None, "of a part only");
        for wrong in ["sha-256=:AAAA:", "sha-256", "sha-256=:!:", ""] {
            assert_eq!(of("repr-digest", wrong), None);
        }
        assert_eq!(sha256_file(format!("{hash}  film.mp4\n").as_bytes()), Some(hash));
        assert_eq!(sha256_file(b"<html>"), None);
        assert_eq!(sha256_file(b""), None);
    }
}
