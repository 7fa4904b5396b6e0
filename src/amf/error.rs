//! Errors of AMF.

/// Reason for which bytes are not AMF, or a value has no AMF encoding.
///
/// Offsets are in bytes from the start of the message body given to the reader, or from the start
/// of the writer's output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmfError {
    /// The input ends inside `what`.
    #[error("{what} at byte {at} needs {needed} bytes, {left} left")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes left in the input.
        left: usize,
        /// Offset of the field.
        at: usize,
    },
    /// A type marker that the format does not define.
    #[error("unknown {format} marker {marker:#04x} at byte {at}")]
    UnknownMarker {
        /// `"AMF0"` or `"AMF3"`.
        format: &'static str,
        /// The marker.
        marker: u8,
        /// Its offset.
        at: usize,
    },
    /// A type that the AMF0 specification reserves and nobody sends: MovieClip or RecordSet.
    #[error("reserved type {name} at byte {at}")]
    Reserved {
        /// The type.
        name: &'static str,
        /// Offset of its marker.
        at: usize,
    },
    /// An AMF0 object end where a value should be.
    #[error("object end without an object at byte {at}")]
    UnexpectedEnd {
        /// Offset of the marker.
        at: usize,
    },
    /// An object whose format is known to its class only.
    #[error("externalizable object of class {class_name:?} at byte {at}")]
    Externalizable {
        /// The class.
        class_name: String,
        /// Offset of the object.
        at: usize,
    },
    /// Text that is not UTF-8.
    #[error("{what} at byte {at} is not UTF-8")]
    InvalidUtf8 {
        /// The field.
        what: &'static str,
        /// Offset of the text.
        at: usize,
    },
    /// A reference to an entry that the table does not have.
    #[error("reference to {what} {index} of {known} at byte {at}")]
    BadReference {
        /// Contents of the table.
        what: &'static str,
        /// The entry referred to, from 0.
        index: usize,
        /// Entries in the table.
        known: usize,
        /// Offset of the reference.
        at: usize,
    },
    /// More elements declared than the bytes left can hold.
    #[error("{what} at byte {at} declares {declared} elements in {left} bytes")]
    TooMany {
        /// The container.
        what: &'static str,
        /// The declared number.
        declared: usize,
        /// Bytes left in the input.
        left: usize,
        /// Offset of the declaration.
        at: usize,
    },
    /// Containers nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH), references included.
    #[error("more than {} nested containers at byte {at}", super::MAX_DEPTH)]
    TooDeep {
        /// Offset at which the depth is exceeded.
        at: usize,
    },
    /// References make the message larger than [`MAX_EXPANDED`](super::MAX_EXPANDED) allows.
    #[error("references expand the message beyond bounds at byte {at}")]
    TooLarge {
        /// Offset at which the bound is exceeded.
        at: usize,
    },
    /// The values take more memory than [`MAX_MEMORY`](super::MAX_MEMORY) allows.
    #[error("the values take too much memory at byte {at}")]
    TooMuchMemory {
        /// Offset at which the bound is exceeded.
        at: usize,
    },
    /// Something follows the only value.
    #[error("{left} bytes after the value at byte {at}")]
    Trailing {
        /// Number of bytes.
        left: usize,
        /// Offset of the value's end.
        at: usize,
    },
    /// Writing: text, bytes or elements beyond what the length field can express.
    #[error("{what} of length {length} at byte {at} has no encoding")]
    TooLong {
        /// The field.
        what: &'static str,
        /// Its length.
        length: usize,
        /// Offset at which it would be written.
        at: usize,
    },
    /// Writing: the output is longer than its [limit](super::Writer::with_limit).
    #[error("the values take more than the bytes that they may, {at} so far")]
    Full {
        /// Offset at which the next value would be written.
        at: usize,
    },
    /// Writing: AMF3 has no dynamic member with an empty name (it ends the list).
    #[error("member without a name at byte {at} has no AMF3 encoding")]
    EmptyName {
        /// Offset at which it would be written.
        at: usize,
    },
}

impl AmfError {
    /// Offset of the error, in bytes from the start of the input or output.
    pub fn offset(&self) -> usize {
        match *self {
            Self::Truncated { at, .. }
            | Self::UnknownMarker { at, .. }
            | Self::Reserved { at, .. }
            | Self::UnexpectedEnd { at }
            | Self::Externalizable { at, .. }
            | Self::InvalidUtf8 { at, .. }
            | Self::BadReference { at, .. }
            | Self::TooMany { at, .. }
            | Self::TooDeep { at }
            | Self::TooLarge { at }
            | Self::TooMuchMemory { at }
            | Self::Trailing { at, .. }
            | Self::TooLong { at, .. }
            | Self::Full { at }
            | Self::EmptyName { at } => at,
        }
    }
}
