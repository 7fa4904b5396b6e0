//! Texts that people write: errors that name the place, and the common parts of their parsers.
//!
//! URIs, share links, filters, key logs and addresses are read by nom parsers over `&str`. Their error
//! is a `Fault`, which `parse` turns into a [`SyntaxError`]. Every caller bounds the length of the
//! text first, and no parser of a text from strangers recurses.

use nom::branch::alt;
use nom::bytes::complete::take_till;
use nom::character::complete::char;
use nom::combinator::{all_consuming, opt, rest};
use nom::error::{ErrorKind, ParseError};
use nom::sequence::{delimited, preceded};
use nom::{Finish, IResult, Offset, Parser};
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A problem with a text, and its place.
///
/// It is printed as `at character 9: …`, without the place if that is the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError<P> {
    /// The problem.
    pub problem: P,
    /// Number of characters before the place.
    pub column: usize,
}

impl<P> SyntaxError<P> {
    /// A problem at `place`, which is a part of `text`.
    pub(crate) fn new(text: &str, place: &str, problem: P) -> Self {
        let before = text.get(..text.offset(place));
        Self { problem, column: before.map_or(0, |before| before.chars().count()) }
    }
}

/// A problem with the text as a whole.
impl<P> From<P> for SyntaxError<P> {
    fn from(problem: P) -> Self {
        Self { problem, column: 0 }
    }
}

impl<P: fmt::Display> fmt::Display for SyntaxError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            0 => write!(f, "{}", self.problem),
            column => write!(f, "at character {}: {}", column + 1, self.problem),
        }
    }
}

impl<P: fmt::Debug + fmt::Display> std::error::Error for SyntaxError<P> {}

/// The error of a nom parser: the text from the place on, and the problem unless it is one that nom
/// found by itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault<'a, P> {
    place: &'a str,
    problem: Option<P>,
}

impl<'a, P> ParseError<&'a str> for Fault<'a, P> {
    fn from_error_kind(place: &'a str, _: ErrorKind) -> Self {
        Self { place, problem: None }
    }

    fn append(_: &'a str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Result of a nom parser of a text with problems of type `P`.
pub(crate) type Parsed<'a, T, P> = IResult<&'a str, T, Fault<'a, P>>;

/// Why a nom parser ended.
pub(crate) type Failed<'a, P> = nom::Err<Fault<'a, P>>;

/// A problem at `place` that ends the parsing: no alternative is tried.
pub(crate) fn fail<P>(place: &str, problem: P) -> Failed<'_, P> {
    nom::Err::Failure(Fault { place, problem: Some(problem) })
}

/// `parser`, without which the text has `problem`.
pub(crate) fn expect<'a, T, P, Q: Into<P> + Clone>(
    mut parser: impl Parser<&'a str, Output = T, Error = Fault<'a, P>>,
    problem: Q,
) -> impl FnMut(&'a str) -> Parsed<'a, T, P> {
    move |input| match parser.parse(input) {
        Err(nom::Err::Error(_)) => Err(fail(input, problem.clone().into())),
        parsed => parsed,
    }
}

/// Parses the whole of `text`, which has the problem `unexpected` where the parser names none.
pub(crate) fn parse<'a, T, P>(
    text: &'a str,
    parser: impl Parser<&'a str, Output = T, Error = Fault<'a, P>>,
    unexpected: P,
) -> Result<T, SyntaxError<P>> {
    let parsed = all_consuming(parser).parse(text).finish();
    let (_, value) = parsed.map_err(|Fault { place, problem }| {
        SyntaxError::new(text, place, problem.unwrap_or(unexpected))
    })?;
    Ok(value)
}

/// Bytes as pairs of hexadecimal digits.
///
/// # Errors
///
/// The place: the first character that is no digit, or the end if the last digit has no pair.
pub(crate) fn hex_bytes(digits: &str) -> Result<Vec<u8>, &str> {
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let (pairs, odd) = digits.as_bytes().as_chunks::<2>();
    if !(rest.is_empty() && odd.is_empty()) {
        return Err(rest);
    }
    // Digits all of them.
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
    Ok(pairs.iter().map(|&[high, low]| value(high) << 4 | value(low)).collect())
}

/// A decimal number without a sign.
pub fn decimal<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// An IPv6 address and its zone, if it has one: `fe80::1%eth0`.
pub(crate) fn ipv6_and_zone(text: &str) -> Option<(Ipv6Addr, Option<&str>)> {
    let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let is_zone = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_possible = zone.is_none_or(|zone| !zone.is_empty() && zone.bytes().all(is_zone));
    Some((ip.parse().ok().filter(|_| is_possible)?, zone))
}

/// The parts of `HOST`, `HOST:PORT`, `[HOST]`, `[HOST]:PORT` or a bare IPv6 address, none of them
/// checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// The text before the port, without brackets; may be empty.
    pub host: &'a str,
    /// True if the host is in brackets.
    pub bracketed: bool,
    /// The text after the colon.
    pub port: Option<&'a str>,
}

impl<'a> HostPort<'a> {
    /// Takes `text` apart; nothing if it begins with a bracket but not with `[HOST]`.
    pub fn parse(text: &'a str) -> Option<Self> {
        if !text.starts_with('[') && text.bytes().filter(|&b| b == b':').count() > 1 {
            return Some(Self { host: text, bracketed: false, port: None });
        }
        let bracketed = delimited(char('['), take_till(|c| c == ']'), char(']'));
        let bare = take_till(|c| c == '[' || c == ':');
        let host = alt((bracketed.map(|host| (host, true)), bare.map(|host| (host, false))));
        let parts = all_consuming((host, opt(preceded(char(':'), rest)))).parse(text);
        let (_, ((host, bracketed), port)) = parts.map_err(|_: nom::Err<()>| ()).ok()?;
        Some(Self { host, bracketed, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nom::bytes::complete::tag;
    use nom::multi::many0_count;

    #[test]
    fn errors_name_the_character() {
        let ab = |text| parse(text, many0_count(preceded(tag("ä"), expect(tag("b"), "no b"))), "?");
        assert_eq!(ab("äbäb"), Ok(2));
        assert_eq!(ab("äbäc"), Err(SyntaxError { problem: "no b", column: 3 }));
        assert_eq!(ab("äbä").unwrap_err().to_string(), "at character 4: no b");
        assert_eq!(ab("äb!").unwrap_err().to_string(), "at character 3: ?");
        assert_eq!(ab("!").unwrap_err().to_string(), "?");
    }

    #[test]
    fn hexadecimal_digits_in_pairs() {
        assert_eq!(hex_bytes("00fF"), Ok(vec![0, 0xff]));
        assert_eq!(hex_bytes(""), Ok(vec![]));
        assert_eq!(hex_bytes("00f"), Err(""));
        assert_eq!(hex_bytes("00é0"), Err("é0"));
        assert_eq!(hex_bytes("+1"), Err("+1"));
    }

    #[test]
    fn hosts_and_ports() {
        let parts = |text| HostPort::parse(text).map(|it| (it.host, it.bracketed, it.port));
        assert_eq!(parts("a"), Some(("a", false, None)));
        assert_eq!(parts("a:1"), Some(("a", false, Some("1"))));
        assert_eq!(parts(":1"), Some(("", false, Some("1"))));
        assert_eq!(parts("a:"), Some(("a", false, Some(""))));
        assert_eq!(parts("[::1]"), Some(("::1", true, None)));
        assert_eq!(parts("[::1]:1:2"), Some(("::1", true, Some("1:2"))));
        assert_eq!(parts("::1"), Some(("::1", false, None)));
        for wrong in ["[::1", "[::1]1", "a[b]"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn zones_of_ipv6_addresses() {
        let ip = "fe80::1".parse().unwrap();
        assert_eq!(ipv6_and_zone("fe80::1"), Some((ip, None)));
        assert_eq!(ipv6_and_zone("fe80::1%eth0.1"), Some((ip, Some("eth0.1"))));
        for wrong in ["fe80::1%", "fe80::1%a%b", "fe80::1%ä", "1.2.3.4%a", "%a"] {
            assert_eq!(ipv6_and_zone(wrong), None, "{wrong}");
        }
    }
}
