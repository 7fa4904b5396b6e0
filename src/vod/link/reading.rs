//! Reading a link: its values, as they are collected.

use std::fmt;
use std::ops::RangeInclusive;

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_till, take_till1, take_until};
use nom::character::complete::char;
use nom::combinator::map_opt;
use nom::multi::many0;
use nom::sequence::{preceded, terminated};

use super::super::chunker::{CHUNK_SIZE, MAX_CHUNK_SIZE};
use super::super::files::MAX_FILES;
use super::super::hash::{Digest256, NotADigest};
use super::super::layout::Layout;
use super::{
    Integrity, LINK_VERSION, LinkError, LinkProblem, LinkSignature, MAX_SERVERS, PublicKey, SCHEME,
    ServerAddress, ShareLink, check_origin,
};
use crate::range::MAX_INDEX;
use crate::text::{self, Failed, decimal, expect, fail, hex_bytes};

type Parsed<'a, T> = text::Parsed<'a, T, LinkProblem>;

/// Reads a link, and makes of its values what it leads to.
pub(super) fn of_values<L>(
    text: &str,
    made: impl FnOnce(Values) -> Result<L, LinkProblem>,
) -> Parsed<'_, L> {
    let scheme = terminated(take_until("://"), tag("://"));
    let (rest, scheme) = expect(scheme, LinkProblem::NotALink).parse(text)?;
    if ["rtmfp", "rtmp"].iter().any(|server| scheme.eq_ignore_ascii_case(server)) {
        return Err(fail(text, LinkProblem::ServerAddressOnly));
    }
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(fail(text, LinkProblem::NotALink));
    }
    if let Some(at) = rest.find(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(fail(&rest[at..], LinkProblem::Whitespace));
    }
    let (rest, server) = segment(rest)?;
    let (rest, found) = expect(preceded(char('/'), segment), LinkProblem::NoVersion).parse(rest)?;
    match decimal(found).ok_or_else(|| fail(found, LinkProblem::NoVersion))? {
        LINK_VERSION => {}
        other => return Err(fail(found, LinkProblem::Version { found: other })),
    }
    let (rest, pairs) = many0(preceded(char('/'), segment)).parse(rest)?;
    let mut values = Values::default();
    for pair in pairs.into_iter().filter(|pair| !pair.is_empty()) {
        values.take(pair)?;
    }
    if !server.is_empty() {
        values.servers.insert(0, server_address(server)?);
    }
    Ok((rest, made(values).map_err(|problem| fail(text, problem))?))
}

fn segment(input: &str) -> Parsed<'_, &str> {
    take_till(|c| c == '/').parse(input)
}

fn server_address(text: &str) -> Result<ServerAddress, Failed<'_, LinkProblem>> {
    text.parse().map_err(|error: LinkError| fail(text, error.problem))
}

/// The values of a link as they are collected.
#[derive(Default)]
pub(super) struct Values {
    pub(super) servers: Vec<ServerAddress>,
    pub(super) app: Option<String>,
    pub(super) group: Option<String>,
    pub(super) descriptor: Option<Digest256>,
    pub(super) sha256: Option<Digest256>,
    pub(super) size: Option<u64>,
    pub(super) chunk: Option<u32>,
    pub(super) name: Option<String>,
    pub(super) files: Option<u32>,
    pub(super) key: Option<Digest256>,
    pub(super) signature: Option<[u8; 64]>,
    pub(super) provider: Option<Digest256>,
    pub(super) spare: Option<bool>,
    pub(super) origin: Option<String>,
    pub(super) catalogue: Option<Digest256>,
}

impl Values {
    fn take<'a>(&mut self, pair: &'a str) -> Result<(), Failed<'a, LinkProblem>> {
        let key = terminated(take_till(|c| c == '='), char('='));
        let (value, key) = expect(key, LinkProblem::NotAPair(pair.to_owned())).parse(pair)?;
        let is_first = match key {
            "group" => self.group.replace(groupspec_value(value)?.1).is_none(),
            "app" => self.app.replace(decoded("app", value)?).is_none(),
            "name" => self.name.replace(decoded("name", value)?).is_none(),
            "descriptor" => self.descriptor.replace(digest("descriptor", value)?).is_none(),
            "sha256" => self.sha256.replace(digest("sha256", value)?).is_none(),
            "key" => self.key.replace(digest("key", value)?).is_none(),
            "signature" => {
                let bytes = hex_bytes(value).ok().and_then(|bytes| bytes.try_into().ok());
                let problem =
                    || value_error("signature", value, "128 hexadecimal digits are expected");
                self.signature.replace(bytes.ok_or_else(problem)?).is_none()
            }
            "provider" => self.provider.replace(digest("provider", value)?).is_none(),
            // Another value is for other versions.
            "spare" => self.spare.replace(value == "provider").is_none(),
            "origin" => self.origin.replace(origin(value)?).is_none(),
            "catalogue" => self.catalogue.replace(digest("catalogue", value)?).is_none(),
            "files" => {
                let files = number("files", value, 1..=MAX_FILES as u64)?;
                self.files.replace(u32::try_from(files).unwrap_or(u32::MAX)).is_none()
            }
            "size" => self.size.replace(number("size", value, 0..=MAX_INDEX)?).is_none(),
            "chunk" => {
                let length = number("chunk", value, 1..=MAX_CHUNK_SIZE.into())?;
                let length = u32::try_from(length).unwrap_or(MAX_CHUNK_SIZE);
                self.chunk.replace(length).is_none()
            }
            "also" if self.servers.len() + 1 >= MAX_SERVERS => {
                return Err(fail(pair, LinkProblem::TooManyServers));
            }
            "also" => {
                self.servers.push(server_address(value)?);
                true
            }
            _ => true,
        };
        is_first.then_some(()).ok_or_else(|| fail(pair, LinkProblem::Duplicate(key.to_owned())))
    }

    /// What the values of a file lead to.
    pub(super) fn into_link(self) -> Result<ShareLink, LinkProblem> {
        if self.catalogue.is_some() {
            return Err(LinkProblem::Catalogue);
        }
        let integrity = match (self.descriptor, self.sha256) {
            (Some(_), Some(_)) => return Err(LinkProblem::BothIntegrities),
            (Some(digest), None) => Integrity::Descriptor(digest),
            (None, Some(sha256)) => {
                let size = self.size.ok_or(LinkProblem::Missing("size"))?;
                let chunk_size = self.chunk.unwrap_or(CHUNK_SIZE);
                Layout::of_size(size, chunk_size).map_err(|error| LinkProblem::Value {
                    key: "size",
                    problem: error.to_string(),
                })?;
                Integrity::File { sha256, size, chunk_size }
            }
            (None, None) if self.size.is_some() || self.chunk.is_some() => {
                return Err(LinkProblem::Missing("sha256"));
            }
            (None, None) => Integrity::None,
        };
        let signature = match (self.key, self.signature) {
            (Some(Digest256(key)), Some(signature)) => {
                Some(LinkSignature { key: PublicKey(key), signature })
            }
            (None, None) => None,
            (None, Some(_)) => return Err(LinkProblem::Missing("key")),
            (Some(_), None) => return Err(LinkProblem::Missing("signature")),
        };
        let link = ShareLink {
            servers: self.servers,
            app: self.app.unwrap_or_default(),
            groupspec: self.group.ok_or(LinkProblem::Missing("group"))?,
            integrity,
            name: self.name,
            signature,
            files: self.files,
            provider: self.provider,
            spares_provider: self.spare.unwrap_or_default(),
            origin: self.origin,
        };
        match link.signature {
            Some(signature) if !signature.is_of(&link) => Err(LinkProblem::WrongSignature),
            _ => Ok(link),
        }
    }
}

fn value_error<'a>(
    key: &'static str,
    place: &'a str,
    problem: impl fmt::Display,
) -> Failed<'a, LinkProblem> {
    fail(place, LinkProblem::Value { key, problem: problem.to_string() })
}

pub(super) fn groupspec_value(value: &str) -> Parsed<'_, String> {
    let error = |place, problem: &str| value_error("group", place, problem);
    let prefix = value.strip_prefix("G:");
    let digits = prefix.ok_or_else(|| error(value, "a groupspec begins with G:"))?;
    match hex_bytes(digits) {
        Ok(bytes) if bytes.is_empty() => {
            Err(error(digits, "hexadecimal digits are expected after G:"))
        }
        Ok(_) => Ok((&value[value.len()..], value.to_owned())),
        Err(end) if end.is_empty() => {
            Err(error(end, "an odd number of hexadecimal digits: was the link cut off?"))
        }
        Err(place) => Err(error(place, "hexadecimal digits are expected after G:")),
    }
}

fn digest<'a>(key: &'static str, value: &'a str) -> Result<Digest256, Failed<'a, LinkProblem>> {
    value.parse().map_err(|error: NotADigest| value_error(key, value, error))
}

fn number<'a>(
    key: &'static str,
    value: &'a str,
    allowed: RangeInclusive<u64>,
) -> Result<u64, Failed<'a, LinkProblem>> {
    decimal(value).filter(|number| allowed.contains(number)).ok_or_else(|| {
        let (least, most) = (allowed.start(), allowed.end());
        value_error(key, value, format!("{value:?} is not a whole number from {least} to {most}"))
    })
}

/// The percent-encoded URL of an origin.
fn origin(value: &str) -> Result<String, Failed<'_, LinkProblem>> {
    let url = decoded("origin", value)?;
    check_origin(&url).map_err(|problem| value_error("origin", value, problem))?;
    Ok(url)
}

/// Percent-encoded UTF-8.
fn decoded<'a>(key: &'static str, text: &'a str) -> Result<String, Failed<'a, LinkProblem>> {
    let escaped = map_opt(preceded(char('%'), take(2usize)), |hex| hex_bytes(hex).ok());
    let plain = take_till1(|c| c == '%').map(|plain: &str| plain.as_bytes().to_vec());
    let (rest, parts) = many0(alt((escaped, plain))).parse(text)?;
    if !rest.is_empty() {
        return Err(value_error(key, rest, "% without two hexadecimal digits after it"));
    }
    String::from_utf8(parts.concat()).map_err(|_| value_error(key, text, "not UTF-8"))
}
