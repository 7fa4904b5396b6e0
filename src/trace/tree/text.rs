//! A tree for people.

use super::{FieldNode, FieldValue, Tree};
use crate::amf;
use crate::trace::fields::{self, Base, Wire};
use crate::trace::text::{Hex, Ranges};
use std::fmt;
use std::io::{self, Write};

/// Bytes of a field that are shown.
const MAX_BYTES: usize = 64;

/// Bytes of application data that are shown.
const MAX_DATA: usize = 16;

/// Characters of a value in AMF that are shown in one line.
const MAX_AMF: usize = 160;

/// Members of a value in AMF that get a line of their own, and how deep.
const MAX_MEMBERS: usize = 64;
const MAX_AMF_DEPTH: usize = 8;

impl Tree<'_> {
    /// Prints a line for each node: offset and length in hexadecimal, then the field, indented.
    ///
    /// # Errors
    ///
    /// Errors of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.nodes.iter().try_for_each(|node| write_node(node, out))
    }
}

fn write_node(node: &FieldNode<'_>, out: &mut impl Write) -> io::Result<()> {
    let indent = 2 * usize::from(node.depth) + 2;
    write!(out, "  {:04x}+{:04x}{:indent$}", node.offset, node.len, "")?;
    node.write_label(out)?;
    writeln!(out)?;
    for member in node.members() {
        let indent = indent + 2 * member.depth;
        writeln!(out, "           {:indent$}{}: {member}", "", fields::AMF_MEMBER.name)?;
    }
    Ok(())
}

impl<'a> FieldNode<'a> {
    /// Writes the field's name and value for people, without a line break.
    ///
    /// # Errors
    ///
    /// Errors of `out`.
    pub fn write_label(&self, out: &mut impl Write) -> io::Result<()> {
        let field = self.field;
        match &self.value {
            FieldValue::None => write!(out, "{}", field.name),
            FieldValue::Flag(is_set) => {
                write!(out, "{}: {}", field.name, if *is_set { "yes" } else { "no" })
            }
            FieldValue::Number(number) if field.base == Base::Hex => {
                let width = 2 * self.len;
                write!(out, "{}: 0x{number:0width$x}", field.name)
            }
            FieldValue::Number(number) => write!(out, "{}: {number}", field.name),
            FieldValue::Named(number, name) => {
                write!(out, "{}: {name} (0x{number:02x})", field.name)
            }
            FieldValue::Text(text) => write!(out, "{}: {:?}", field.name, text),
            FieldValue::Addresses(addresses) => {
                write!(out, "{}:", field.name)?;
                for address in addresses {
                    write!(out, " {} ({:?})", address.socket, address.origin)?;
                }
                Ok(())
            }
            FieldValue::Ranges(ranges) => write!(out, "{}: {}", field.name, Ranges(ranges)),
            FieldValue::Keys(keys) => {
                write!(out, "{}:", field.name)?;
                for key in keys.chunks(8).take(MAX_BYTES) {
                    write!(out, " {}", Hex(key))?;
                }
                Ok(())
            }
            FieldValue::Bytes(bytes) => {
                let limit = if field.wire == Wire::Data { MAX_DATA } else { MAX_BYTES };
                let shown = &bytes[..bytes.len().min(limit)];
                let more = if bytes.len() > limit { "…" } else { "" };
                write!(out, "{} ({} bytes): {}{more}", field.name, bytes.len(), Hex(shown))
            }
            FieldValue::Malformed(why) => write!(out, "{}: {why}", field.name),
            FieldValue::Amf(value) => write!(out, "{}: {value:.MAX_AMF$}", field.name),
        }
    }

    /// The members of a value in AMF that has some, theirs behind each.
    pub(in crate::trace) fn members(&self) -> Vec<Member<'_>> {
        let mut found = Vec::new();
        if let FieldValue::Amf(value) = &self.value {
            members(value, 1, &mut found);
        }
        found
    }
}

/// A member of a value in AMF: `"name": value`.
pub(in crate::trace) struct Member<'a> {
    /// 1 for a member of the value itself.
    pub(in crate::trace) depth: usize,
    name: &'a str,
    value: &'a amf::Value,
}

impl fmt::Display for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:.MAX_AMF$}", self.name, self.value)
    }
}

fn members<'a>(value: &'a amf::Value, depth: usize, found: &mut Vec<Member<'a>>) {
    if depth > MAX_AMF_DEPTH {
        return;
    }
    for (name, member) in value.members().iter().take(MAX_MEMBERS) {
        found.push(Member { depth, name, value: member });
        members(member, depth + 1, found);
    }
}
