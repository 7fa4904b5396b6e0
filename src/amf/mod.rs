//! AMF0 and AMF3, the value formats of ActionScript: reader and writer with limits.
//!
//! One [`Value`] covers both formats. A [`Reader`] takes the values of one message apart, a
//! [`Writer`] puts them together; both own the AMF3 reference tables of that message, because
//! Flash Player lets the tables run on over all values of a command message
//! (`protocol-notes/flash-profile.md`, subject "commands"). Group posts and replication objects
//! are one value each with tables of their own: [`to_bytes`] and [`from_bytes`].
//!
//! # Shared and cyclic values
//!
//! AMF sends an object that appears twice as a reference, so what arrives is a graph. Here every
//! container sits behind an [`Arc`](std::sync::Arc): a reference becomes another handle to the same
//! container, and the writer turns handles to one container back into references. A reference to a
//! container that is still open (a cycle) becomes [`Value::Cycle`], a weak handle: nothing leaks
//! and no traversal runs for ever.
//!
//! Bounds on what a sender can make of that:
//!
//! | bound | value | when reached |
//! | --- | --- | --- |
//! | nesting, counted through references | [`MAX_DEPTH`] | [`AmfError::TooDeep`] |
//! | size with every reference written out | [`MAX_EXPANDED`] beyond 16 times the input | [`AmfError::TooLarge`] |
//! | memory of the values | [`MAX_MEMORY`] beyond 16 times the input | [`AmfError::TooMuchMemory`] |
//! | declared number of elements | what the bytes left can hold | [`AmfError::TooMany`] |
//!
//! Strings are stored once, byte arrays are slices of the input, and nothing is allocated from a
//! declared count alone. Whoever walks over a decoded value without a thought for sharing is safe
//! too, in stack and in time.
//!
//! # Refused by name
//!
//! Externalizable objects (their format is known to their class only), MovieClip and RecordSet
//! (reserved in AMF0), and strings that are not UTF-8.
//!
//! Sources: Action Message Format AMF 0 (2007) and AMF 3 (January 2013), Adobe.

mod display;
mod encoded;
mod equal;
mod error;
mod marker;
mod reader;
mod value;
mod writer;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use encoded::Encoded;
pub use error::AmfError;
pub use reader::Reader;
pub use value::{
    Array, Cycle, Date, Dictionary, EcmaArray, Member, Object, ObjectVector, Value, Vector,
};
pub use writer::{Encoding, Writer};

/// Containers inside containers, at most; references count with what they refer to.
///
/// A deeper value is refused by [`Reader`] and [`Writer`] alike with [`AmfError::TooDeep`].
pub const MAX_DEPTH: usize = 64;

/// Bytes that the values of one message may grow to by references, beyond 16 times its length.
///
/// A message of references to references can stand for a value of any size (the "billion laughs").
/// A reader that passes this bound refuses the message with [`AmfError::TooLarge`].
pub const MAX_EXPANDED: u64 = 64 << 20;

/// Bytes of memory that the values of one message may take, beyond 16 times its length.
///
/// Some values take forty times the bytes of their encoding, containers without content a hundred
/// times: a message that consists of such things must be short. Ordinary ones are not near it. A
/// reader that passes this bound refuses the message with [`AmfError::TooMuchMemory`].
pub const MAX_MEMORY: u64 = 16 << 20;

/// The one value in `bytes`, as Flash Player writes a group post or a replication object.
///
/// The byte arrays in the value are slices of `bytes`.
///
/// # Errors
///
/// [`AmfError`] if `bytes` is not one well-formed value within the bounds, and
/// [`AmfError::Trailing`] if anything follows it.
pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Value, AmfError> {
    let mut reader = Reader::new(bytes);
    let value = reader.read_value()?;
    match reader.remaining() {
        0 => Ok(value),
        left => Err(AmfError::Trailing { left, at: reader.position() }),
    }
}

/// One value as Flash Player writes a group post or a replication object.
///
/// Null, booleans, numbers and strings are AMF0 (a string of more than 65535 bytes a long string),
/// undefined is null, an integer is a number, and everything else is AMF3 behind the AMF0 marker
/// `11`, with reference tables of its own.
///
/// # Errors
///
/// [`AmfError::TooDeep`], [`AmfError::TooLong`] or [`AmfError::EmptyName`]: the value has no
/// encoding.
pub fn to_bytes(value: &Value) -> Result<Bytes, AmfError> {
    let mut writer = Writer::new(Encoding::Amf3);
    match value {
        Value::Undefined => writer.write(&Value::Null)?,
        value => writer.write(value)?,
    };
    Ok(writer.into_bytes())
}
