//! A packet as a tree: packet, chunks, fields, options, messages, values.
//!
//! The nodes stand one behind the other as a person reads them, each with its depth. They borrow
//! from the packet.

mod dissect;
mod text;

use super::analyzer::PacketView;
use super::fields::Field;
use crate::amf;
use crate::wire::{Address, WireError};
use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Nodes of a tree; beyond this, the rest is left out.
pub const MAX_NODES: usize = 65_536;

/// The tree of a packet.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree<'a> {
    nodes: Vec<FieldNode<'a>>,
}

/// A field with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldNode<'a> {
    /// Depth of nesting; the packet's own fields have 0.
    pub depth: u8,
    /// The field.
    pub field: &'static Field,
    /// Offset in bytes from the start of the plain packet, or of the message that it is
    /// in.
    pub offset: usize,
    /// Length in bytes.
    pub len: usize,
    /// Its value.
    pub value: FieldValue<'a>,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FieldValue<'a> {
    /// No value of its own: the nodes inside have it.
    None,
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(u64),
    /// A number with a name.
    Named(u64, &'static str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Keys of eight bytes each.
    Keys(&'a [u8]),
    /// Text, what is not UTF-8 replaced.
    Text(Cow<'a, str>),
    /// Socket addresses.
    Addresses(Vec<Address>),
    /// Sequence numbers or indices.
    Ranges(Vec<RangeInclusive<u64>>),
    /// A value in AMF.
    Amf(amf::Value),
    /// The reason why the rest of the container cannot be read.
    Malformed(Cow<'static, str>),
}

impl<'a> Tree<'a> {
    /// The tree of a packet. Empty if it could not be decrypted.
    pub fn of(packet: &PacketView<'a>) -> Self {
        Self { nodes: dissect::packet(packet) }
    }

    /// The nodes in their order.
    pub fn nodes(&self) -> &[FieldNode<'a>] {
        &self.nodes
    }
}

impl From<WireError> for FieldValue<'_> {
    fn from(error: WireError) -> Self {
        Self::Malformed(error.to_string().into())
    }
}
