//! Options and option lists (RFC 7016 §2.1.3, §2.1.4).

use super::{Reason, WireError, vlu};
use bytes::Bytes;

/// Options accepted in one list; a longer list is refused with [`Reason::TooMany`].
pub const MAX_OPTIONS: usize = 64;

/// One option: a type code and its value, borrowed from the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionRef<'a> {
    /// Type code; its meaning depends on where the option stands.
    pub kind: u64,
    /// The bytes after the type code.
    pub value: &'a [u8],
}

impl OptionRef<'_> {
    /// A copy that owns its value.
    pub fn to_owned(self) -> RawOption {
        RawOption { kind: self.kind, value: Bytes::copy_from_slice(self.value) }
    }
}

/// An item of an option list: an option, or a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// An option of length zero: the end of a list, or a separator.
    Marker,
    /// An option with a type code.
    Option(OptionRef<'a>),
}

/// Reads one option or marker from the front of `input`.
pub fn parse_item(input: &[u8]) -> Result<(Item<'_>, &[u8]), WireError> {
    let (body, rest) = vlu::parse_prefixed("option.length", input)?;
    if body.is_empty() {
        return Ok((Item::Marker, rest));
    }
    let base = input.len() - rest.len() - body.len();
    let (kind, value) = vlu::parse("option.type", body).map_err(|e| e.within(base))?;
    Ok((Item::Option(OptionRef { kind, value }), rest))
}

/// Appends one option.
pub fn encode_option(kind: u64, value: &[u8], out: &mut Vec<u8>) {
    vlu::encode((vlu::encoded_len(kind) + value.len()) as u64, out);
    vlu::encode(kind, out);
    out.extend_from_slice(value);
}

/// Appends one option whose value is a VLU.
pub fn encode_vlu_option(kind: u64, value: u64, out: &mut Vec<u8>) {
    vlu::encode((vlu::encoded_len(kind) + vlu::encoded_len(value)) as u64, out);
    vlu::encode(kind, out);
    vlu::encode(value, out);
}

/// Number of bytes that [`encode_option`] appends.
pub const fn option_len(kind: u64, value_len: usize) -> usize {
    let body = vlu::encoded_len(kind) + value_len;
    vlu::encoded_len(body as u64) + body
}

/// The options and markers of `input` up to its end, as certificates, endpoint discriminators,
/// keying components and signatures are built (RFC 7425 §4.3.1, §4.4.1, §4.5.1).
///
/// The iterator yields an error once and then ends.
pub fn items(input: &[u8]) -> Items<'_> {
    Items { whole: input.len(), rest: input, seen: 0 }
}

/// Iterator of [`items`].
#[derive(Debug, Clone)]
pub struct Items<'a> {
    whole: usize,
    rest: &'a [u8],
    seen: usize,
}

impl<'a> Items<'a> {
    /// Number of bytes consumed so far.
    pub fn offset(&self) -> usize {
        self.whole - self.rest.len()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let offset = self.offset();
        if self.seen == MAX_OPTIONS {
            self.rest = &[];
            return Some(Err(WireError::new("options", offset, Reason::TooMany)));
        }
        self.seen += 1;
        match parse_item(self.rest) {
            Ok((item, rest)) => {
                self.rest = rest;
                Some(Ok(item))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error.within(offset)))
            }
        }
    }
}

/// An option list (RFC 7016 §2.1.4), read in place; [`OptionList`] owns one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionListRef<'a>(&'a [u8]);

impl<'a> OptionListRef<'a> {
    /// Reads options up to and including the marker that ends the list.
    pub fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), WireError> {
        let (mut rest, mut count) = (input, 0);
        loop {
            let offset = input.len() - rest.len();
            let (item, next) = parse_item(rest).map_err(|e| e.within(offset))?;
            rest = next;
            match item {
                Item::Marker => break,
                Item::Option(_) if count == MAX_OPTIONS => {
                    return Err(WireError::new("options", offset, Reason::TooMany));
                }
                Item::Option(_) => count += 1,
            }
        }
        let (list, rest) = input.split_at(input.len() - rest.len());
        Ok((Self(list), rest))
    }

    /// The options in their order.
    pub fn iter(&self) -> impl Iterator<Item = OptionRef<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            // All of them were read before. At the marker there is none.
            let Ok((Item::Option(option), next)) = parse_item(rest) else { return None };
            rest = next;
            Some(option)
        })
    }

    /// The value of the first option of this type.
    pub fn find(&self, kind: u64) -> Option<&'a [u8]> {
        self.iter().find(|option| option.kind == kind).map(|option| option.value)
    }

    /// A copy that owns its options.
    pub fn to_owned(self) -> OptionList {
        OptionList(self.iter().map(|option| option.to_owned()).collect())
    }
}

/// An owned option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawOption {
    /// Type code.
    pub kind: u64,
    /// The bytes after the type code.
    pub value: Bytes,
}

/// An option list (RFC 7016 §2.1.4): options up to a marker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptionList(pub Vec<RawOption>);

impl OptionList {
    /// Reads options up to and including the marker that ends the list.
    pub fn parse(input: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (list, rest) = OptionListRef::parse(input)?;
        Ok((list.to_owned(), rest))
    }

    /// The value of the first option of type `kind`.
    pub fn find(&self, kind: u64) -> Option<&[u8]> {
        self.0.iter().find(|o| o.kind == kind).map(|o| &o.value[..])
    }

    /// Number of bytes that [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        1 + self.0.iter().map(|o| option_len(o.kind, o.value.len())).sum::<usize>()
    }

    /// Appends the options and the marker.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for option in &self.0 {
            encode_option(option.kind, &option.value, out);
        }
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_fragment_options_of_the_player() {
        let bytes = [0x04, 0x00, 0x47, 0x52, 0x15, 0x02, 0x0a, 0x02, 0x00, 0xff];
        let (list, rest) = OptionList::parse(&bytes).unwrap();
        assert_eq!(rest, [0xff]);
        assert_eq!(list.find(0), Some(&b"GR\x15"[..]));
        assert_eq!(list.find(0x0a), Some(&[2u8][..]));
        let mut out = Vec::new();
        list.encode(&mut out);
        assert_eq!(out, bytes[..9]);
        assert_eq!(out.len(), list.encoded_len());
    }

    #[test]
    fn items_report_the_offset_of_the_bad_option() {
        let mut items = items(&[0x01, 0x0a, 0x00, 0x05, 0x0e, 1]);
        assert_eq!(items.next(), Some(Ok(Item::Option(OptionRef { kind: 0x0a, value: &[] }))));
        assert_eq!(items.next(), Some(Ok(Item::Marker)));
        assert_eq!(items.next().unwrap().unwrap_err().offset, 3);
        assert_eq!(items.next(), None);
    }

    #[test]
    fn hostile_lists() {
        assert!(OptionList::parse(&[]).is_err());
        assert!(OptionList::parse(&[0x01, 0x00]).is_err(), "no marker");
        assert!(OptionList::parse(&[0x02, 0x80, 0x80, 0x00]).is_err(), "type leaves the option");
        let many = [0x01u8, 0x00].repeat(MAX_OPTIONS + 1);
        assert_eq!(OptionList::parse(&many).unwrap_err().reason, Reason::TooMany);
        assert_eq!(items(&many).filter(|i| i.is_err()).count(), 1);
    }

    proptest! {
        #[test]
        fn round_trip(options: Vec<(u64, Vec<u8>)>) {
            let list = OptionList(
                options.into_iter().take(MAX_OPTIONS)
                    .map(|(kind, value)| RawOption { kind, value: value.into() }).collect(),
            );
            let mut out = Vec::new();
            list.encode(&mut out);
            prop_assert_eq!(out.len(), list.encoded_len());
            prop_assert_eq!(OptionList::parse(&out), Ok((list, &[][..])));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = OptionList::parse(&bytes);
            prop_assert!(items(&bytes).count() <= MAX_OPTIONS + 1);
        }
    }
}
