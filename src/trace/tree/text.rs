//! A tree for people.

use super::{Node, Tree, Value};
use crate::amf;
use crate::trace::fields::{self, Base, Wire};
use crate::trace::text::{Hex, Ranges};
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
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.nodes.iter().try_for_each(|node| write_node(node, out))
    }
}

fn write_node(node: &Node<'_>, out: &mut impl Write) -> io::Result<()> {
    let indent = 2 * usize::from(node.depth) + 2;
    write!(out, "  {:04x}+{:04x}{:indent$}", node.offset, node.len, "")?;
    let field = node.field;
    match &node.value {
        Value::None => writeln!(out, "{}", field.name),
        Value::Flag(is_set) => {
            writeln!(out, "{}: {}", field.name, if *is_set { "yes" } else { "no" })
        }
        Value::Number(number) if field.base == Base::Hex => {
            let width = 2 * node.len;
            writeln!(out, "{}: 0x{number:0width$x}", field.name)
        }
        Value::Number(number) => writeln!(out, "{}: {number}", field.name),
        Value::Named(number, name) => writeln!(out, "{}: {name} (0x{number:02x})", field.name),
        Value::Text(text) => writeln!(out, "{}: {:?}", field.name, text),
        Value::Addresses(addresses) => {
            write!(out, "{}:", field.name)?;
            for address in addresses {
                write!(out, " {} ({:?})", address.socket, address.origin)?;
            }
            writeln!(out)
        }
        Value::Ranges(ranges) => writeln!(out, "{}: {}", field.name, Ranges(ranges)),
        Value::Keys(keys) => {
            write!(out, "{}:", field.name)?;
            for key in keys.chunks(8).take(MAX_BYTES) {
                write!(out, " {}", Hex(key))?;
            }
            writeln!(out)
        }
        Value::Bytes(bytes) => {
            let limit = if field.wire == Wire::Data { MAX_DATA } else { MAX_BYTES };
            let shown = &bytes[..bytes.len().min(limit)];
            let more = if bytes.len() > limit { "…" } else { "" };
            writeln!(out, "{} ({} bytes): {}{more}", field.name, bytes.len(), Hex(shown))
        }
        Value::Malformed(why) => writeln!(out, "{}: {why}", field.name),
        Value::Amf(value) => {
            writeln!(out, "{}: {value:.MAX_AMF$}", field.name)?;
            write_members(value, indent + 2, 1, out)
        }
    }
}

/// The members of a value that has some.
fn write_members(
    value: &amf::Value,
    indent: usize,
    depth: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    if depth > MAX_AMF_DEPTH {
        return Ok(());
    }
    for (name, member) in value.members().iter().take(MAX_MEMBERS) {
        let label = fields::AMF_MEMBER.name;
        let name: &str = name;
        writeln!(out, "           {:indent$}{label}: {name:?}: {member:.MAX_AMF$}", "")?;
        write_members(member, indent + 2, depth + 1, out)?;
    }
    Ok(())
}
