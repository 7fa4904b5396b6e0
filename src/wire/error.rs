//! Errors in bytes from the wire.

use thiserror::Error;

/// A field that could not be parsed. The sender of the bytes is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{field}: {reason} (at byte {offset})")]
pub struct WireError {
    /// The field as the RFC names it.
    pub field: &'static str,
    /// Offset of the field, in bytes from the start of the structure being parsed.
    pub offset: usize,
    /// The defect.
    pub reason: Reason,
}

/// Reason for which a field was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// The input ends inside the field.
    #[error("truncated")]
    Truncated,
    /// The value does not fit the type or the bound that this codec sets.
    #[error("value too large")]
    TooLarge,
    /// The value contradicts the RFC or another field.
    #[error("invalid value")]
    Invalid,
    /// More elements than the bound allows.
    #[error("too many elements")]
    TooMany,
    /// Bytes remain where the structure should have ended.
    #[error("trailing bytes")]
    Trailing,
}

impl WireError {
    /// An error about `field` at `offset`.
    pub const fn new(field: &'static str, offset: usize, reason: Reason) -> Self {
        Self { field, offset, reason }
    }

    /// The same error seen from an enclosing structure in which this one starts at `base`.
    pub const fn within(mut self, base: usize) -> Self {
        self.offset += base;
        self
    }
}
