//! Taking a message body apart.

mod amf0;
mod amf3;
mod graph;

use std::sync::Arc;

use bytes::Bytes;

use super::{AmfError, MAX_EXPANDED, MAX_MEMORY, Value};
use amf3::Tables;
use graph::Slot;

/// Weight of a value in the expanded size, besides its text and bytes.
const VALUE_WEIGHT: u64 = 8;
/// Memory of a value in a list that has grown to twice what it needs.
const VALUE_MEMORY: u64 = 2 * size_of::<Value>() as u64;
/// The same of its name, beside the text.
const NAME_MEMORY: u64 = 2 * size_of::<Arc<str>>() as u64;
/// Memory of a text or a container beside what is in it: two counts of references, a place in a
/// table, and what an allocation costs.
const SHARED_MEMORY: u64 = 48;

/// Reads the values of one message, in AMF0 and, behind its marker `11`, in AMF3.
///
/// The reference tables are those of the message: they run on from value to value. After an error
/// the rest of the message has no meaning and counts as read.
///
/// ```
/// use rtmfp::amf::Reader;
///
/// let body = b"\x02\x00\x05hello\x00\x3f\xf0\0\0\0\0\0\0\x11\x0a\x0b\x01\x03a\x04\x01\x01";
/// let values = Reader::new(&body[..]).read_all()?;
/// assert_eq!(values[0].as_str(), Some("hello"));
/// assert_eq!(values[1].as_f64(), Some(1.0));
/// assert_eq!(values[2].to_string(), "{a: 1}");
/// # Ok::<(), rtmfp::amf::AmfError>(())
/// ```
pub struct Reader {
    input: Bytes,
    at: usize,
    /// Containers open now.
    depth: usize,
    /// The deepest level seen inside the innermost open container.
    peak: usize,
    /// Size so far with references written out.
    expanded: u64,
    /// What it may be beyond 16 times the input.
    growth: u64,
    /// Memory so far, in bytes.
    memory: u64,
    amf0: Vec<Slot>,
    amf3: Tables,
}

impl Reader {
    /// A reader with empty reference tables. Byte arrays will be slices of `input`.
    pub fn new(input: impl Into<Bytes>) -> Self {
        Self {
            input: input.into(),
            at: 0,
            depth: 0,
            peak: 0,
            expanded: 0,
            growth: MAX_EXPANDED,
            memory: 0,
            amf0: Vec::new(),
            amf3: Tables::default(),
        }
    }

    /// True if all values have been read.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Bytes left.
    pub fn remaining(&self) -> usize {
        self.input.len().saturating_sub(self.at)
    }

    /// Bytes read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next value, in AMF0 or behind the marker that switches to AMF3.
    ///
    /// # Errors
    ///
    /// [`AmfError`], also at the end of the input.
    pub fn read_value(&mut self) -> Result<Value, AmfError> {
        let value = self.amf0_value();
        self.ended(value)
    }

    /// The next value, in AMF3 without a marker for the switch.
    ///
    /// # Errors
    ///
    /// [`AmfError`], also at the end of the input.
    pub fn read_amf3(&mut self) -> Result<Value, AmfError> {
        let value = self.amf3_value();
        self.ended(value)
    }

    /// All values that are left, as of [`read_value`](Self::read_value).
    ///
    /// # Errors
    ///
    /// The first [`AmfError`].
    pub fn read_all(&mut self) -> Result<Vec<Value>, AmfError> {
        let mut values = Vec::new();
        while !self.is_empty() {
            values.push(self.read_value()?);
        }
        Ok(values)
    }

    fn ended<T>(&mut self, result: Result<T, AmfError>) -> Result<T, AmfError> {
        if result.is_err() {
            self.at = self.input.len();
        }
        result
    }

    /// Adds to the expanded size.
    fn weigh(&mut self, weight: u64) -> Result<(), AmfError> {
        self.expanded = self.expanded.saturating_add(weight);
        if self.grown() > self.growth {
            return Err(AmfError::TooLarge { at: self.at });
        }
        Ok(())
    }

    /// For values that are to be written with references written out: they may grow to so many bytes
    /// beyond 16 times the input, in place of [`MAX_EXPANDED`].
    pub(crate) fn with_growth(mut self, growth: u64) -> Self {
        self.growth = growth;
        self
    }

    /// What the values so far have grown to beyond 16 times the input.
    pub(crate) fn grown(&self) -> u64 {
        self.expanded.saturating_sub(16 * self.input.len() as u64)
    }

    /// Adds to the memory in use, before it is.
    fn spend(&mut self, bytes: u64) -> Result<(), AmfError> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > MAX_MEMORY.saturating_add(16 * self.input.len() as u64) {
            return Err(AmfError::TooMuchMemory { at: self.at });
        }
        Ok(())
    }

    /// The next `length` bytes.
    fn take(&mut self, length: usize, what: &'static str) -> Result<Bytes, AmfError> {
        self.require(length, what)?;
        let start = self.at;
        self.at += length;
        Ok(self.input.slice(start..self.at))
    }

    /// The next `N` bytes.
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], AmfError> {
        self.require(N, what)?;
        let bytes = self.input.get(self.at..).and_then(<[u8]>::first_chunk);
        self.at += N;
        Ok(bytes.copied().unwrap_or([0; N]))
    }

    fn require(&self, needed: usize, what: &'static str) -> Result<(), AmfError> {
        let left = self.remaining();
        if needed > left {
            return Err(AmfError::Truncated { what, needed, left, at: self.at });
        }
        Ok(())
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, AmfError> {
        self.array(what).map(u8::from_be_bytes)
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, AmfError> {
        self.array(what).map(u16::from_be_bytes)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, AmfError> {
        self.array(what).map(u32::from_be_bytes)
    }

    fn f64(&mut self, what: &'static str) -> Result<f64, AmfError> {
        self.array(what).map(f64::from_be_bytes)
    }

    /// UTF-8 of `length` bytes.
    fn text(&mut self, length: usize, what: &'static str) -> Result<Arc<str>, AmfError> {
        let at = self.at;
        let bytes = self.take(length, what)?;
        self.weigh(length as u64)?;
        self.spend(length as u64 + SHARED_MEMORY)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(AmfError::InvalidUtf8 { what, at }),
        }
    }

    /// Checks a declared number of elements, each of `size` bytes at least.
    fn count(
        &self,
        declared: usize,
        size: usize,
        what: &'static str,
        at: usize,
    ) -> Result<usize, AmfError> {
        let left = self.remaining();
        if declared > left / size.max(1) {
            return Err(AmfError::TooMany { what, declared, left, at });
        }
        Ok(declared)
    }
}
