//! [`Validator`] and [`Validators`]: what a server states about files, so that a change is noticed.

use crate::amf::Value;
use std::sync::Arc;

/// The longest validator that is kept, in bytes.
pub(in crate::vod) const MAX_VALIDATOR: usize = 256;

/// The most bytes that the validators of a share of several files have together.
pub const MAX_VALIDATORS: usize = 1 << 20;

/// What a server states about the content of a file, so that a change is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validator {
    /// A strong entity tag, with its quotes.
    ETag(String),
    /// The time of the last change, as the server writes it.
    LastModified(String),
}

impl Validator {
    /// A validator as it is in a header, of at most 256 bytes; a time has no quotes.
    pub(in crate::vod) fn of_header(text: &str) -> Option<Self> {
        let is_tag = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
        match text {
            _ if text.is_empty()
                || text.len() > MAX_VALIDATOR
                || text.contains(char::is_control) =>
            {
                None
            }
            _ if is_tag => Some(Self::ETag(text.to_owned())),
            _ if text.contains('"') => None,
            _ => Some(Self::LastModified(text.to_owned())),
        }
    }

    /// As it is in a header.
    pub fn as_str(&self) -> &str {
        match self {
            Self::ETag(text) | Self::LastModified(text) => text,
        }
    }
}

/// What a server states about each file of a share of several, in their order. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators(Arc<[Validator]>);

impl Validators {
    /// The validators of these files, unless they are longer than [`MAX_VALIDATORS`] together.
    pub fn new(validators: Vec<Validator>) -> Option<Self> {
        let length: usize = validators.iter().map(|validator| validator.as_str().len()).sum();
        (length <= MAX_VALIDATORS).then(|| Self(validators.into()))
    }

    /// The validators.
    pub fn as_slice(&self) -> &[Validator] {
        &self.0
    }

    /// Reads the member `validators` of a descriptor of so many files. Anything else is `None`.
    pub(in crate::vod) fn from_value(value: &Value, files: usize) -> Option<Self> {
        let Value::Array(array) = value else { return None };
        if array.dense.len() != files {
            return None;
        }
        let read = |entry: &Value| Validator::of_header(entry.as_str()?);
        Self::new(array.dense.iter().map(read).collect::<Option<_>>()?)
    }

    /// The member `validators`: an array of strings.
    pub(in crate::vod) fn to_value(&self) -> Value {
        Value::array(self.0.iter().map(|validator| Value::from(validator.as_str())))
    }

    /// As the digest of a descriptor and the group cover them: for each its length (8 bytes, big endian)
    /// and its bytes.
    pub(in crate::vod) fn digested(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for validator in self.0.iter().map(Validator::as_str) {
            bytes.extend((validator.len() as u64).to_be_bytes());
            bytes.extend(validator.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_from_times() {
        let read = |text: &str| Validator::of_header(text);
        assert_eq!(read("\"a\""), Some(Validator::ETag("\"a\"".into())));
        let time = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(read(time), Some(Validator::LastModified(time.into())));
        for wrong in ["", "\"", "W/\"a\"", "a\r\nb", &"a".repeat(257)] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn validators_beyond_the_bounds_are_refused() {
        let tag = |length: usize| Value::from(format!("\"{}\"", "x".repeat(length)));
        let read = |values: Vec<Value>, files| Validators::from_value(&Value::array(values), files);
        let good = read(vec![tag(5), Value::from("a time")], 2).unwrap();
        assert_eq!(Validators::from_value(&good.to_value(), 2), Some(good));
        assert_eq!(read(vec![tag(5)], 2), None);
        assert_eq!(read(vec![tag(255)], 1), None);
        assert_eq!(read(vec![Value::Null], 1), None);
        assert_eq!(read(vec![tag(254); 4097], 4097), None, "more than a mebibyte together");
        assert_eq!(Validators::from_value(&tag(1), 1), None);
    }
}
