//! [`Encoded`]: a value that has not been decoded.

use super::{AmfError, Value, from_bytes};
use bytes::Bytes;
use std::fmt;

/// An AMF value in its encoded form, as received. Whether it is well-formed is known once it is
/// [decoded](Self::decode).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Encoded(Bytes);

impl Encoded {
    /// The value.
    ///
    /// # Errors
    ///
    /// As [`from_bytes`].
    pub fn decode(&self) -> Result<Value, AmfError> {
        from_bytes(self.0.clone())
    }

    /// Bytes of the encoded form.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no bytes at all, which is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The encoded form.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The encoded form.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<Bytes> for Encoded {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

/// The length alone: objects are large.
impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.len())
    }
}
