//! AMF3 §3.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Identities, Writer};
use crate::amf::marker::amf3 as marker;
use crate::amf::value::Member;
use crate::amf::{AmfError, Object, Value};

/// The largest number in 29 bits.
const U29_MAX: usize = (1 << 29) - 1;
/// The integers that AMF3 has a marker for.
const INTEGERS: std::ops::Range<i32> = -(1 << 28)..1 << 28;

/// Tables of what has been written and can be referred to.
#[derive(Default)]
pub(super) struct Tables {
    strings: HashMap<Arc<str>, usize>,
    traits: HashMap<Traits, usize>,
    objects: Identities,
}

/// Traits of a class.
#[derive(PartialEq, Eq, Hash)]
struct Traits {
    class_name: Arc<str>,
    dynamic: bool,
    sealed: Vec<Arc<str>>,
}

/// Lengths of the tables.
pub(super) struct Mark {
    strings: usize,
    traits: usize,
    objects: usize,
}

impl Tables {
    pub(super) fn mark(&self) -> Mark {
        Mark { strings: self.strings.len(), traits: self.traits.len(), objects: self.objects.next }
    }

    pub(super) fn rewind(&mut self, mark: Mark) {
        self.strings.retain(|_, index| *index < mark.strings);
        self.traits.retain(|_, index| *index < mark.traits);
        self.objects.rewind(mark.objects);
    }
}

impl Writer {
    /// A value with its marker.
    pub(super) fn amf3_value(&mut self, value: &Value) -> Result<(), AmfError> {
        self.check_limit()?;
        match value {
            Value::Undefined | Value::Unsupported => self.out.push(marker::UNDEFINED),
            Value::Null => self.out.push(marker::NULL),
            Value::Boolean(false) => self.out.push(marker::FALSE),
            Value::Boolean(true) => self.out.push(marker::TRUE),
            Value::Integer(number) if INTEGERS.contains(number) => {
                self.out.push(marker::INTEGER);
                self.push_u29(*number as u32);
            }
            Value::Integer(number) => self.double(f64::from(*number)),
            Value::Number(number) => self.double(*number),
            Value::String(text) => {
                self.out.push(marker::STRING);
                self.amf3_string(text)?;
            }
            complex => self.amf3_complex(complex)?,
        }
        Ok(())
    }

    /// The types that go to the table of objects.
    fn amf3_complex(&mut self, value: &Value) -> Result<(), AmfError> {
        let Some(marker) = amf3_marker(value) else { return self.amf3_cycle(value) };
        self.out.push(marker);
        if let Some(index) = self.amf3.objects.find(value) {
            return self.u29("object reference", index, 1, 0);
        }
        self.amf3.objects.enter(value);
        match value {
            Value::Date(date) => {
                self.inline("date", 0)?;
                self.out.extend(date.milliseconds.to_be_bytes());
                Ok(())
            }
            Value::Xml(text) | Value::XmlDocument(text) => self.blob("XML", text.as_bytes()),
            Value::ByteArray(bytes) => self.blob("byte array", bytes),
            Value::VectorInt(vector) => {
                self.vector(vector.fixed, &vector.items, |item| item.to_be_bytes())
            }
            Value::VectorUint(vector) => {
                self.vector(vector.fixed, &vector.items, |item| item.to_be_bytes())
            }
            Value::VectorDouble(vector) => {
                self.vector(vector.fixed, &vector.items, |item| item.to_be_bytes())
            }
            container => self.nested(|writer| writer.amf3_container(container)),
        }
    }

    fn amf3_cycle(&mut self, value: &Value) -> Result<(), AmfError> {
        let enclosing = match value {
            Value::Cycle(cycle) => cycle.upgrade(),
            _ => None,
        };
        self.amf3_value(&enclosing.unwrap_or(Value::Null))
    }

    /// Parts of a container after its marker.
    fn amf3_container(&mut self, value: &Value) -> Result<(), AmfError> {
        match value {
            Value::Object(object) => {
                self.amf3_traits(object)?;
                object.sealed().iter().try_for_each(|(_, value)| self.amf3_value(value))?;
                match object.is_dynamic() {
                    true => self.amf3_members(object.dynamic()),
                    false => Ok(()),
                }
            }
            Value::EcmaArray(array) => {
                self.inline("array", 0)?;
                self.amf3_members(&array.members)
            }
            Value::Array(array) => {
                self.inline("array", array.dense.len())?;
                self.amf3_members(&array.named)?;
                array.dense.iter().try_for_each(|value| self.amf3_value(value))
            }
            Value::VectorObject(vector) => {
                self.inline("vector", vector.items.len())?;
                self.out.push(u8::from(vector.fixed));
                self.amf3_string(&vector.class_name)?;
                vector.items.iter().try_for_each(|value| self.amf3_value(value))
            }
            Value::Dictionary(dictionary) => {
                self.inline("dictionary", dictionary.entries.len())?;
                self.out.push(u8::from(dictionary.weak_keys));
                dictionary.entries.iter().try_for_each(|(key, value)| {
                    self.amf3_value(key)?;
                    self.amf3_value(value)
                })
            }
            _ => Ok(()),
        }
    }

    fn amf3_traits(&mut self, object: &Object) -> Result<(), AmfError> {
        let traits = Traits {
            class_name: object.class_name().clone(),
            dynamic: object.is_dynamic(),
            sealed: object.sealed().iter().map(|(name, _)| name.clone()).collect(),
        };
        if let Some(&index) = self.amf3.traits.get(&traits) {
            return self.u29("traits reference", index, 2, 0b01);
        }
        let flags = 0b0011 | u32::from(traits.dynamic) << 3;
        self.u29("sealed members", traits.sealed.len(), 4, flags)?;
        self.amf3_string(&traits.class_name)?;
        for name in &traits.sealed {
            self.amf3_string(name)?;
        }
        let index = self.amf3.traits.len();
        self.amf3.traits.insert(traits, index);
        Ok(())
    }

    /// Names and values, then the empty name.
    fn amf3_members(&mut self, members: &[Member]) -> Result<(), AmfError> {
        for (name, value) in members {
            if name.is_empty() {
                return Err(AmfError::EmptyName { at: self.out.len() });
            }
            self.amf3_string(name)?;
            self.amf3_value(value)?;
        }
        self.inline("end of members", 0)
    }

    fn amf3_string(&mut self, text: &Arc<str>) -> Result<(), AmfError> {
        if let Some(&index) = self.amf3.strings.get(text) {
            return self.u29("string reference", index, 1, 0);
        }
        if !text.is_empty() {
            self.amf3.strings.insert(text.clone(), self.amf3.strings.len());
        }
        self.blob("string", text.as_bytes())
    }

    fn vector<T: Copy, const N: usize>(
        &mut self,
        fixed: bool,
        items: &[T],
        bytes: fn(T) -> [u8; N],
    ) -> Result<(), AmfError> {
        self.inline("vector", items.len())?;
        self.out.push(u8::from(fixed));
        self.out.reserve(items.len() * N);
        for &item in items {
            self.out.extend(bytes(item));
        }
        Ok(())
    }

    fn double(&mut self, number: f64) {
        self.out.push(marker::DOUBLE);
        self.out.extend(number.to_be_bytes());
    }

    fn blob(&mut self, what: &'static str, bytes: &[u8]) -> Result<(), AmfError> {
        self.out.reserve(bytes.len() + 4);
        self.inline(what, bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// A length, with the low bit set: the value itself follows.
    fn inline(&mut self, what: &'static str, length: usize) -> Result<(), AmfError> {
        self.u29(what, length, 1, 1)
    }

    /// A number above `shift` bits of flags.
    fn u29(
        &mut self,
        what: &'static str,
        number: usize,
        shift: u32,
        flags: u32,
    ) -> Result<(), AmfError> {
        if number > U29_MAX >> shift {
            return Err(self.too_long(what, number));
        }
        self.push_u29((number as u32) << shift | flags);
        Ok(())
    }

    /// The low 29 bits: 7 bits a byte, a fourth byte has 8 (AMF3 §1.3.1).
    fn push_u29(&mut self, bits: u32) {
        let bits = bits & U29_MAX as u32;
        let byte = |shift: u32| (bits >> shift) as u8;
        match bits {
            0..0x80 => self.out.push(byte(0)),
            0x80..0x4000 => self.out.extend([byte(7) | 0x80, byte(0) & 0x7F]),
            0x4000..0x20_0000 => {
                self.out.extend([byte(14) | 0x80, byte(7) | 0x80, byte(0) & 0x7F]);
            }
            _ => self.out.extend([byte(22) | 0x80, byte(15) | 0x80, byte(8) | 0x80, byte(0)]),
        }
    }
}

/// The marker of what goes to the table of objects; none for cycles.
fn amf3_marker(value: &Value) -> Option<u8> {
    Some(match value {
        Value::Object(_) => marker::OBJECT,
        Value::EcmaArray(_) | Value::Array(_) => marker::ARRAY,
        Value::Date(_) => marker::DATE,
        Value::Xml(_) => marker::XML,
        Value::XmlDocument(_) => marker::XML_DOCUMENT,
        Value::ByteArray(_) => marker::BYTE_ARRAY,
        Value::VectorInt(_) => marker::VECTOR_INT,
        Value::VectorUint(_) => marker::VECTOR_UINT,
        Value::VectorDouble(_) => marker::VECTOR_DOUBLE,
        Value::VectorObject(_) => marker::VECTOR_OBJECT,
        Value::Dictionary(_) => marker::DICTIONARY,
        _ => return None,
    })
}
