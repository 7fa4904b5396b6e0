//! AMF3 §3: variable-length integers, and tables of strings, traits and objects.

use std::sync::Arc;

use super::graph::{Format, Slot};
use super::{NAME_MEMORY, Reader, SHARED_MEMORY, VALUE_MEMORY, VALUE_WEIGHT};
use crate::amf::marker::amf3 as marker;
use crate::amf::value::Member;
use crate::amf::{AmfError, Array, Cycle, Date, Dictionary, Object, ObjectVector, Value, Vector};

/// Characters of the name of a class in an error, which quotes it.
const MAX_NAME_SHOWN: usize = 64;

/// Reference tables of AMF3.
#[derive(Default)]
pub(super) struct Tables {
    strings: Vec<Arc<str>>,
    traits: Vec<Arc<Traits>>,
    pub(super) objects: Vec<Slot>,
}

/// Traits of a class.
struct Traits {
    class_name: Arc<str>,
    dynamic: bool,
    sealed: Vec<Arc<str>>,
}

/// A U29 whose low bit distinguishes a definition from a reference.
enum Header {
    Reference(usize),
    /// The other 28 bits.
    Inline(usize),
}

impl Reader {
    /// A value with its marker.
    pub(super) fn amf3_value(&mut self) -> Result<Value, AmfError> {
        let at = self.at;
        self.weigh(VALUE_WEIGHT)?;
        self.spend(VALUE_MEMORY)?;
        match self.u8("AMF3 marker")? {
            marker::UNDEFINED => Ok(Value::Undefined),
            marker::NULL => Ok(Value::Null),
            marker::FALSE => Ok(Value::Boolean(false)),
            marker::TRUE => Ok(Value::Boolean(true)),
            marker::INTEGER => self.u29("integer").map(|bits| Value::Integer(sign_extended(bits))),
            marker::DOUBLE => self.f64("double").map(Value::Number),
            marker::STRING => self.amf3_string("string").map(Value::String),
            kind => self.amf3_object_kind(kind, at),
        }
    }

    /// The types that go to the table of objects.
    fn amf3_object_kind(&mut self, kind: u8, at: usize) -> Result<Value, AmfError> {
        if !(marker::XML_DOCUMENT..=marker::DICTIONARY).contains(&kind) {
            return Err(AmfError::UnknownMarker { format: "AMF3", marker: kind, at });
        }
        let inline = match self.header("object header")? {
            Header::Reference(index) => return self.referred(Format::Amf3, index, at),
            Header::Inline(bits) => bits,
        };
        match kind {
            marker::XML_DOCUMENT => {
                let text = self.text(inline, "XML document")?;
                self.leaf(Value::XmlDocument(text), inline)
            }
            marker::XML => {
                let text = self.text(inline, "XML")?;
                self.leaf(Value::Xml(text), inline)
            }
            marker::DATE => {
                let milliseconds = self.f64("date")?;
                self.leaf(Value::Date(Date { milliseconds, time_zone: 0 }), 8)
            }
            marker::BYTE_ARRAY => {
                let bytes = self.take(inline, "byte array")?;
                self.leaf(Value::ByteArray(bytes), inline)
            }
            marker::ARRAY => self.amf3_array(inline, at),
            marker::OBJECT => self.amf3_object(inline, at),
            marker::VECTOR_INT => {
                let vector = self.vector(inline, i32::from_be_bytes, "Vector.<int>", at)?;
                self.leaf(Value::VectorInt(Arc::new(vector)), inline * 4)
            }
            marker::VECTOR_UINT => {
                let vector = self.vector(inline, u32::from_be_bytes, "Vector.<uint>", at)?;
                self.leaf(Value::VectorUint(Arc::new(vector)), inline * 4)
            }
            marker::VECTOR_DOUBLE => {
                let vector = self.vector(inline, f64::from_be_bytes, "Vector.<Number>", at)?;
                self.leaf(Value::VectorDouble(Arc::new(vector)), inline * 8)
            }
            marker::VECTOR_OBJECT => self.object_vector(inline, at),
            _ => self.dictionary(inline, at),
        }
    }

    fn amf3_array(&mut self, declared: usize, at: usize) -> Result<Value, AmfError> {
        let count = self.count(declared, 1, "array", at)?;
        self.container(Format::Amf3, Cycle::Array, Value::Array, |reader| {
            let mut named = Vec::new();
            reader.named_members(&mut named)?;
            let mut dense = Vec::new();
            for _ in 0..count {
                dense.push(reader.amf3_value()?);
            }
            Ok(Array { dense, named })
        })
    }

    fn amf3_object(&mut self, header: usize, at: usize) -> Result<Value, AmfError> {
        let traits = self.traits(header, at)?;
        self.container(Format::Amf3, Cycle::Object, Value::Object, |reader| {
            let mut members = Vec::new();
            reader.weigh(traits.class_name.len() as u64)?;
            for name in &traits.sealed {
                reader.weigh(name.len() as u64)?;
                reader.spend(NAME_MEMORY)?;
                members.push((name.clone(), reader.amf3_value()?));
            }
            if traits.dynamic {
                reader.named_members(&mut members)?;
            }
            let class_name = traits.class_name.clone();
            Ok(Object::from_parts(class_name, traits.sealed.len(), traits.dynamic, members))
        })
    }

    /// Traits: by reference (bit 1 clear), externalizable (bit 2), or a definition with the flag
    /// for dynamic and the number of sealed members (AMF3 §3.12).
    fn traits(&mut self, header: usize, at: usize) -> Result<Arc<Traits>, AmfError> {
        if header & 1 == 0 {
            let index = header >> 1;
            let known = self.amf3.traits.len();
            let found = self.amf3.traits.get(index).cloned();
            return found.ok_or(AmfError::BadReference { what: "traits", index, known, at });
        }
        let class_name = self.amf3_string("class name")?;
        if header & 2 != 0 {
            let class_name = class_name.chars().take(MAX_NAME_SHOWN).collect();
            return Err(AmfError::Externalizable { class_name, at });
        }
        let count = self.count(header >> 3, 1, "traits", at)?;
        let mut sealed = Vec::new();
        for _ in 0..count {
            self.spend(NAME_MEMORY)?;
            sealed.push(self.amf3_string("member name")?);
        }
        self.spend(size_of::<Traits>() as u64 + SHARED_MEMORY)?;
        let traits = Arc::new(Traits { class_name, dynamic: header & 4 != 0, sealed });
        self.amf3.traits.push(traits.clone());
        Ok(traits)
    }

    fn vector<T, const N: usize>(
        &mut self,
        declared: usize,
        item: fn([u8; N]) -> T,
        what: &'static str,
        at: usize,
    ) -> Result<Vector<T>, AmfError> {
        let fixed = self.u8(what)? != 0;
        let count = self.count(declared, N, what, at)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self.array(what)?));
        }
        Ok(Vector { fixed, items })
    }

    fn object_vector(&mut self, declared: usize, at: usize) -> Result<Value, AmfError> {
        let fixed = self.u8("vector")? != 0;
        let class_name = self.amf3_string("vector class name")?;
        let count = self.count(declared, 1, "vector", at)?;
        self.container(Format::Amf3, Cycle::VectorObject, Value::VectorObject, |reader| {
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(reader.amf3_value()?);
            }
            Ok(ObjectVector { class_name, fixed, items })
        })
    }

    fn dictionary(&mut self, declared: usize, at: usize) -> Result<Value, AmfError> {
        let weak_keys = self.u8("dictionary")? != 0;
        let count = self.count(declared, 2, "dictionary", at)?;
        self.container(Format::Amf3, Cycle::Dictionary, Value::Dictionary, |reader| {
            let mut entries = Vec::new();
            for _ in 0..count {
                entries.push((reader.amf3_value()?, reader.amf3_value()?));
            }
            Ok(Dictionary { weak_keys, entries })
        })
    }

    /// Names and values up to an empty name.
    fn named_members(&mut self, members: &mut Vec<Member>) -> Result<(), AmfError> {
        loop {
            let name = self.amf3_string("member name")?;
            if name.is_empty() {
                return Ok(());
            }
            self.spend(NAME_MEMORY)?;
            members.push((name, self.amf3_value()?));
        }
    }

    /// A string, from the table or into it; the empty string is never in the table.
    fn amf3_string(&mut self, what: &'static str) -> Result<Arc<str>, AmfError> {
        let at = self.at;
        match self.header(what)? {
            Header::Inline(length) => {
                let text = self.text(length, what)?;
                if length > 0 {
                    self.amf3.strings.push(text.clone());
                }
                Ok(text)
            }
            Header::Reference(index) => {
                let known = self.amf3.strings.len();
                let found = self.amf3.strings.get(index).cloned();
                let text =
                    found.ok_or(AmfError::BadReference { what: "string", index, known, at })?;
                self.weigh(text.len() as u64)?;
                Ok(text)
            }
        }
    }

    fn header(&mut self, what: &'static str) -> Result<Header, AmfError> {
        let bits = self.u29(what)?;
        let rest = usize::try_from(bits >> 1).unwrap_or(usize::MAX);
        Ok(if bits & 1 == 0 { Header::Reference(rest) } else { Header::Inline(rest) })
    }

    /// 7 bits a byte, high bit for "more follows"; a fourth byte has all its 8 bits (AMF3 §1.3.1).
    fn u29(&mut self, what: &'static str) -> Result<u32, AmfError> {
        let mut bits = 0;
        for _ in 0..3 {
            let byte = self.u8(what)?;
            bits = bits << 7 | u32::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(bits);
            }
        }
        Ok(bits << 8 | u32::from(self.u8(what)?))
    }
}

/// The 29 bits as two's complement.
fn sign_extended(bits: u32) -> i32 {
    ((bits << 3) as i32) >> 3
}
