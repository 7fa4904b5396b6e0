//! Putting a message body together.

mod amf0;
mod amf3;

use std::collections::HashMap;

use bytes::Bytes;

use super::marker::amf0 as marker;
use super::{AmfError, MAX_DEPTH, Value};
use amf3::Tables;

/// Encoding of values that are not plain in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As AMF0 where it has the type, else as AMF3 behind the marker `11`.
    ///
    /// Encoding of a `connect` command.
    Amf0,
    /// As AMF0 alone: undefined in place of what it lacks, [`Value::XmlDocument`] in place of
    /// [`Value::Xml`].
    ///
    /// Encoding of a connection with object encoding 0 after `connect`: its readers don't know the marker `11`.
    Amf0Only,
    /// As AMF3 behind the marker `11`; null, undefined, booleans, numbers and strings stay AMF0.
    ///
    /// Encoding of Flash Player on a connection with object encoding 3 and in groups.
    Amf3,
}

/// Writes the values of one message.
///
/// Reference tables run on from value to value, as the reader of the message expects. A container
/// that comes a second time (the same one, not an equal one) is written as a reference.
///
/// ```
/// use rtmfp::amf::{Encoding, Value, Writer};
///
/// let mut writer = Writer::new(Encoding::Amf0);
/// writer.write(&"connect".into())?.write(&1.0.into())?;
/// writer.write(&Value::object([("app", "live")]))?;
/// assert_eq!(writer.as_bytes()[..10], *b"\x02\x00\x07connect");
/// # Ok::<(), rtmfp::amf::AmfError>(())
/// ```
pub struct Writer {
    out: Vec<u8>,
    encoding: Encoding,
    /// Bytes of output beyond which no further value is begun.
    limit: usize,
    depth: usize,
    amf0: Identities,
    amf3: Tables,
}

/// Containers written so far.
#[derive(Default)]
struct Identities {
    next: usize,
    /// Index by identity, with a handle so that no other container can take the same place.
    seen: HashMap<usize, (usize, Value)>,
}

impl Identities {
    fn find(&self, value: &Value) -> Option<usize> {
        self.seen.get(&value.identity()?).map(|(index, _)| *index)
    }

    /// Gives the next index to a value.
    fn enter(&mut self, value: &Value) {
        if let Some(identity) = value.identity() {
            self.seen.insert(identity, (self.next, value.clone()));
        }
        self.next += 1;
    }

    /// Drops the index `next` and later ones.
    fn rewind(&mut self, next: usize) {
        self.next = next;
        self.seen.retain(|_, (index, _)| *index < next);
    }
}

impl Writer {
    /// A writer with empty reference tables.
    pub fn new(encoding: Encoding) -> Self {
        Self::after(Vec::new(), encoding)
    }

    /// A writer that appends to the header of a message.
    pub fn after(header: Vec<u8>, encoding: Encoding) -> Self {
        Self {
            out: header,
            encoding,
            limit: usize::MAX,
            depth: 0,
            amf0: Identities::default(),
            amf3: Tables::default(),
        }
    }

    /// The same writer, which begins no further value, nor a part of one, when its output is longer than so
    /// many bytes. A few bytes of AMF3, with references to a long text, can be many of AMF0.
    #[must_use]
    pub fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Appends a value.
    ///
    /// # Errors
    ///
    /// [`AmfError::TooDeep`], [`AmfError::TooLong`], [`AmfError::Full`] or [`AmfError::EmptyName`]; then
    /// nothing has been appended.
    pub fn write(&mut self, value: &Value) -> Result<&mut Self, AmfError> {
        self.whole(|writer| writer.amf0_value(value))
    }

    /// Appends a value in AMF3, without a marker for the switch.
    ///
    /// # Errors
    ///
    /// As of [`write`](Self::write).
    pub fn write_amf3(&mut self, value: &Value) -> Result<&mut Self, AmfError> {
        self.whole(|writer| writer.amf3_value(value))
    }

    /// The bytes written so far, the header included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// The bytes written so far, the header included.
    pub fn into_bytes(self) -> Bytes {
        self.out.into()
    }

    /// The bytes written so far, the header included, to write on.
    pub fn into_vec(self) -> Vec<u8> {
        self.out
    }

    /// Runs `body`; if it fails, output and tables are as before.
    fn whole(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<(), AmfError>,
    ) -> Result<&mut Self, AmfError> {
        let length = self.out.len();
        let containers = self.amf0.next;
        let tables = self.amf3.mark();
        match body(self) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.out.truncate(length);
                self.depth = 0;
                self.amf0.rewind(containers);
                self.amf3.rewind(tables);
                Err(error)
            }
        }
    }

    /// Runs `body` one level deeper.
    fn nested(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<(), AmfError>,
    ) -> Result<(), AmfError> {
        if self.depth >= MAX_DEPTH {
            return Err(AmfError::TooDeep { at: self.out.len() });
        }
        self.depth += 1;
        body(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn check_limit(&self) -> Result<(), AmfError> {
        match self.out.len() <= self.limit {
            true => Ok(()),
            false => Err(AmfError::Full { at: self.out.len() }),
        }
    }

    fn too_long(&self, what: &'static str, length: usize) -> AmfError {
        AmfError::TooLong { what, length, at: self.out.len() }
    }
}
