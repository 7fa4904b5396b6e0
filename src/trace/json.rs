//! JSON, written straight into a buffer.
//!
//! [`packet`] writes one packet as one line; its schema is in `docs/decoding.md`. Nothing but the
//! tree is allocated.

use super::analyzer::{PacketView, Status};
use super::fields::{self, Base, Inside, Wire};
use super::tree::{FieldNode, FieldValue, Tree};
use crate::amf;
use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::time::Duration;

/// The deepest value in AMF that is written; deeper ones are null.
const MAX_DEPTH: usize = 32;

/// Bytes of JSON of one value in AMF; beyond this, its remaining parts are null.
const MAX_VALUE: usize = 1 << 20;

/// Writes JSON, putting the commas in.
#[derive(Debug)]
pub struct Json<'a> {
    out: &'a mut Vec<u8>,
    needs_comma: bool,
}

impl<'a> Json<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, needs_comma: false }
    }

    fn separate(&mut self) {
        if self.needs_comma {
            self.out.push(b',');
        }
        self.needs_comma = true;
    }

    fn open(&mut self, bracket: u8) {
        self.separate();
        self.out.push(bracket);
        self.needs_comma = false;
    }

    fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.needs_comma = true;
    }

    /// An object with the members that `body` writes.
    pub fn object(&mut self, body: impl FnOnce(&mut Self)) {
        self.open(b'{');
        body(self);
        self.close(b'}');
    }

    /// An array with the elements that `body` writes.
    pub fn array(&mut self, body: impl FnOnce(&mut Self)) {
        self.open(b'[');
        body(self);
        self.close(b']');
    }

    /// The name of the member that follows.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.text(key);
        self.out.push(b':');
        self.needs_comma = false;
        self
    }

    /// A string.
    pub fn text(&mut self, text: &str) {
        self.separate();
        self.out.push(b'"');
        escape(text, self.out);
        self.out.push(b'"');
    }

    /// A string of `value` as displayed.
    pub fn display(&mut self, value: impl Display) {
        self.separate();
        self.out.push(b'"');
        // A writer that escapes and cannot fail.
        let _ = write!(Escaping(self.out), "{value}");
        self.out.push(b'"');
    }

    /// Bytes in hexadecimal, as a string.
    pub fn hex(&mut self, bytes: &[u8]) {
        self.separate();
        self.out.push(b'"');
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS[usize::from(nibble & 15)];
        self.out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]));
        self.out.push(b'"');
    }

    /// A whole number.
    pub fn number(&mut self, number: u64) {
        self.separate();
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    /// A number; null if it is not finite.
    pub fn float(&mut self, number: f64) {
        self.separate();
        // Memory takes everything.
        let _ = match number.is_finite() {
            true => write!(self.out, "{number}"),
            false => write!(self.out, "null"),
        };
    }

    /// Seconds with all their nanoseconds.
    pub fn seconds(&mut self, time: Duration) {
        self.separate();
        let _ = write!(self.out, "{}.{:09}", time.as_secs(), time.subsec_nanos());
    }

    /// True or false.
    pub fn bool(&mut self, value: bool) {
        self.separate();
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Null.
    pub fn null(&mut self) {
        self.separate();
        self.out.extend_from_slice(b"null");
    }
}

struct Escaping<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        escape(text, self.0);
        Ok(())
    }
}

fn escape(text: &str, out: &mut Vec<u8>) {
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..i]);
        plain = i + 1;
        let _ = match byte {
            b'"' | b'\\' => out.write_all(&[b'\\', *byte]),
            b'\n' => out.write_all(b"\\n"),
            other => write!(out, "\\u{other:04x}"),
        };
    }
    out.extend_from_slice(&bytes[plain..]);
}

/// Writes a packet as an object and a line end. `with_data` is true to write what applications
/// sent, too, and not only its length.
pub fn packet(packet: &PacketView<'_>, with_data: bool, out: &mut Vec<u8>) {
    let mut json = Json::new(out);
    json.object(|json| {
        json.key("frame").number(packet.frame);
        json.key("time").seconds(packet.time);
        json.key("relative").seconds(packet.relative);
        json.key("src").display(packet.source);
        json.key("dst").display(packet.destination);
        json.key("len").number(packet.len as u64);
        if packet.missing > 0 {
            json.key("missing").number(packet.missing as u64);
        }
        match packet.status {
            Status::Startup => json.key("kind").text("startup"),
            Status::Session(..) => json.key("kind").text("session"),
            Status::Undecoded(reason) => {
                json.key("kind").text("undecoded");
                json.key("reason").display(reason);
            }
        }
        if let Some((session, side)) = packet.session {
            json.key("session").number(session);
            json.key("sender").text(side.name());
        }
        if let Some(id) = packet.session_id {
            json.key("session_id").display(format_args!("{id:08x}"));
        }
        if let Some(keying) = packet.keying {
            json.key("keying").object(|json| {
                json.key("session").number(keying.session);
                json.key("initiator_id").display(format_args!("{:08x}", keying.initiator_id));
                json.key("responder_id").display(format_args!("{:08x}", keying.responder_id));
                json.key("has_secret").bool(keying.has_secret);
            });
        }
        if packet.has_wrong_mode() {
            json.key("wrong_mode").bool(true);
        }
        if packet.trailing > 0 {
            json.key("trailing").number(packet.trailing as u64);
        }
        let tree = Tree::of(packet);
        Nodes { json, with_data }.members(tree.nodes());
    });
    out.push(b'\n');
}

struct Nodes<'j, 'o> {
    json: &'j mut Json<'o>,
    with_data: bool,
}

impl Nodes<'_, '_> {
    /// Nodes of one depth with all that is deeper.
    fn members(&mut self, mut nodes: &[FieldNode<'_>]) {
        while let Some((node, rest)) = nodes.split_first() {
            if node.field.is_list() {
                nodes = self.list(nodes);
                continue;
            }
            let (inside, after) = split_inside(node, rest);
            self.member(node, inside);
            nodes = after;
        }
    }

    /// The nodes of the same list at the front; returns the nodes after them.
    fn list<'n, 'a>(&mut self, mut nodes: &'n [FieldNode<'a>]) -> &'n [FieldNode<'a>] {
        let Some(first) = nodes.first() else { return nodes };
        let field = first.field;
        self.json.key(field.key);
        self.json.open(b'[');
        while let Some((node, rest)) = nodes.split_first().filter(|(n, _)| n.field == field) {
            let (inside, after) = split_inside(node, rest);
            self.element(node, inside);
            nodes = after;
        }
        self.json.close(b']');
        nodes
    }

    fn element(&mut self, node: &FieldNode<'_>, inside: &[FieldNode<'_>]) {
        if let FieldValue::Amf(value) = &node.value {
            return write_amf(self.json, value);
        }
        self.json.open(b'{');
        if let FieldValue::Named(code, name) = node.value {
            self.json.key("type").text(name);
            self.json.key("code").number(code);
        }
        if [&fields::CHUNK, &fields::MESSAGE].contains(&node.field) {
            self.json.key("offset").number(node.offset as u64);
            self.json.key("len").number(node.len as u64);
        }
        self.members(inside);
        self.json.close(b'}');
    }

    fn member(&mut self, node: &FieldNode<'_>, inside: &[FieldNode<'_>]) {
        let field = node.field;
        let has_inside = matches!(field.inside, Inside::Flags(_) | Inside::Options(_));
        if !has_inside && inside.is_empty() {
            return self.leaf(field.key, node);
        }
        self.json.key(field.key);
        self.json.open(b'{');
        match &node.value {
            FieldValue::None => {}
            FieldValue::Named(code, name) => {
                self.json.key("type").text(name);
                self.json.key("code").number(*code);
            }
            FieldValue::Bytes(bytes) => self.json.key("hex").hex(bytes),
            _ => self.leaf("value", node),
        }
        self.members(inside);
        self.json.close(b'}');
    }

    fn leaf(&mut self, key: &str, node: &FieldNode<'_>) {
        let json = &mut *self.json;
        match &node.value {
            FieldValue::None => json.key(key).null(),
            FieldValue::Flag(value) => json.key(key).bool(*value),
            // Session IDs, as elsewhere.
            FieldValue::Number(number)
                if node.field.wire == Wire::U32 && node.field.base == Base::Hex =>
            {
                json.key(key).display(format_args!("{number:08x}"));
            }
            FieldValue::Number(number) => json.key(key).number(*number),
            FieldValue::Named(_, name) => json.key(key).text(name),
            FieldValue::Text(text) => json.key(key).text(text),
            FieldValue::Malformed(why) => json.key(key).text(why),
            FieldValue::Amf(value) => write_amf(json.key(key), value),
            FieldValue::Bytes(bytes) if node.field.wire == Wire::Data => {
                json.key(&[key, "_len"].concat()).number(bytes.len() as u64);
                if self.with_data {
                    json.key(key).hex(bytes);
                }
            }
            FieldValue::Bytes(bytes) => json.key(key).hex(bytes),
            FieldValue::Keys(keys) => {
                json.key(key).array(|json| keys.chunks(8).for_each(|key| json.hex(key)));
            }
            FieldValue::Addresses(addresses) => json.key(key).array(|json| {
                for address in addresses {
                    json.display(address.socket);
                }
            }),
            FieldValue::Ranges(ranges) => json.key(key).array(|json| {
                for range in ranges {
                    json.array(|json| {
                        json.number(*range.start());
                        json.number(*range.end());
                    });
                }
            }),
        }
    }
}

/// The nodes inside of a node, and the nodes after it.
fn split_inside<'n, 'a>(
    node: &FieldNode<'_>,
    rest: &'n [FieldNode<'a>],
) -> (&'n [FieldNode<'a>], &'n [FieldNode<'a>]) {
    let end = rest.iter().position(|next| next.depth <= node.depth).unwrap_or(rest.len());
    rest.split_at(end)
}

/// Writes a value: objects and arrays as such, bytes in hexadecimal, types that JSON does not have as
/// text.
pub fn write_amf(json: &mut Json<'_>, value: &amf::Value) {
    let end = json.out.len().saturating_add(MAX_VALUE);
    amf_value(json, value, MAX_DEPTH, end);
}

fn amf_value(json: &mut Json<'_>, value: &amf::Value, depth: usize, end: usize) {
    if depth == 0 || json.out.len() > end {
        return json.null();
    }
    match value {
        amf::Value::Undefined | amf::Value::Null | amf::Value::Unsupported => json.null(),
        amf::Value::Boolean(value) => json.bool(*value),
        amf::Value::Number(number) => json.float(*number),
        amf::Value::Integer(number) => json.float((*number).into()),
        amf::Value::String(text) => json.text(text),
        amf::Value::ByteArray(bytes) => json.hex(bytes),
        amf::Value::Array(array) if array.named.is_empty() => json.array(|json| {
            array.dense.iter().for_each(|value| amf_value(json, value, depth - 1, end));
        }),
        amf::Value::Object(_) | amf::Value::EcmaArray(_) | amf::Value::Array(_) => {
            json.object(|json| {
                for (i, value) in value.elements().unwrap_or_default().iter().enumerate() {
                    json.key(&i.to_string());
                    amf_value(json, value, depth - 1, end);
                }
                for (name, value) in value.members() {
                    json.key(name);
                    amf_value(json, value, depth - 1, end);
                }
            });
        }
        other => json.display(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(body: impl FnOnce(&mut Json<'_>)) -> String {
        let mut out = Vec::new();
        body(&mut Json::new(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values() {
        let text = written(|json| {
            json.object(|json| {
                json.key("a").number(0);
                json.key("b").number(u64::MAX);
                json.key("c").array(|json| {
                    json.bool(true);
                    json.float(0.5);
                    json.float(f64::NAN);
                    json.hex(&[0xab, 0x01]);
                });
                json.key("d").text("\"\\\n\u{1}é");
                json.key("e").seconds(Duration::new(1, 5));
                json.key("f").object(|_| {});
            });
        });
        assert_eq!(
            text,
            "{\"a\":0,\"b\":18446744073709551615,\"c\":[true,0.5,null,\"ab01\"],\
             \"d\":\"\\\"\\\\\\n\\u0001é\",\"e\":1.000000005,\"f\":{}}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    /// The object and the array are `o.self = o` and `a[0] = a` as Flash Player writes them.
    #[test]
    fn a_cycle_is_text_that_names_what_encloses_it() {
        let json = |bytes: &'static [u8]| {
            let value = amf::from_bytes(bytes).unwrap();
            written(|json| write_amf(json, &value))
        };
        let object = json(b"\x11\x0A\x0B\x01\x09self\x0A\x00\x01");
        assert_eq!(object, "{\"self\":\"<enclosing object>\"}");
        assert_eq!(json(b"\x11\x09\x03\x01\x09\x00"), "[\"<enclosing array>\"]");
    }

    #[test]
    fn amf_is_bounded() {
        let mut value = amf::Value::Null;
        for _ in 0..100 {
            value = amf::Value::array([value.clone(), value]);
        }
        let text = written(|json| write_amf(json, &value));
        assert!(text.len() < 2 * MAX_VALUE);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
