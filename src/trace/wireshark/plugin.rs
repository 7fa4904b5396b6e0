//! The plugin's source: a fixed part that reads records, and the fields.

use super::names::{Kind, Name, names};
use super::record::MAGIC;
use crate::trace::fields::{Base, CHUNKS};
use std::fmt::Write;

/// The part that is always the same.
const READER: &str = include_str!("reader.lua");

/// The Lua source of a dissector for Wireshark 3.6 and later.
pub fn plugin() -> String {
    let mut out = format!(
        "-- RTMFP in captures that `rtmfp decode --decrypted` wrote.\n\
         -- Made by rtmfp {} from its field table: `rtmfp wireshark install` makes it anew.\n\n\
         local MAGIC = \"{}\"\n\
         local rtmfp = Proto(\"rtmfp\", \"Secure Real-Time Media Flow Protocol\")\n\
         local fields = {{}}\n\n",
        env!("CARGO_PKG_VERSION"),
        str::from_utf8(MAGIC).unwrap_or_default(),
    );
    out.push_str("local CHUNKS = {\n");
    for chunk in CHUNKS {
        let _ = writeln!(out, "    [0x{:02x}] = {},", chunk.code, quoted(chunk.key));
    }
    out.push_str("}\n\n");
    names().iter().for_each(|name| write_field(name, &mut out));
    out.push('\n');
    out.push_str(READER);
    out
}

fn write_field(name: &Name, out: &mut String) {
    let (filter, title) = (quoted(&name.filter), quoted(name.title));
    let description = quoted(name.description);
    let (kind, display) = match (name.kind, name.base) {
        // One byte, so that its values can have names.
        (Kind::Number, _) if name.filter == "rtmfp.chunk" => ("uint8", "base.HEX, CHUNKS, nil, "),
        (Kind::Number, Base::Dec) => ("uint64", "base.DEC, nil, nil, "),
        (Kind::Number, Base::Hex) => ("uint64", "base.HEX, nil, nil, "),
        (Kind::Flag, _) => ("bool", "base.NONE, nil, nil, "),
        (Kind::Bytes, _) => ("bytes", "base.NONE, "),
        (Kind::Text, _) => ("string", "base.UNICODE, "),
        (Kind::Label, _) => ("none", ""),
    };
    let _ = writeln!(
        out,
        "fields[{filter}] = ProtoField.{kind}({filter}, {title}, {display}{description})"
    );
}

/// A string in Lua. The table's strings have nothing but printable characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_declared_once() {
        let source = plugin();
        for name in names() {
            let declared = format!("\nfields[\"{}\"] = ", name.filter);
            assert_eq!(source.matches(&declared).count(), 1, "{declared}");
        }
        assert!(source.contains("    [0x10] = \"UserData\",\n"));
        assert_eq!(quoted("a \"b\" \\"), r#""a \"b\" \\""#);
    }
}
