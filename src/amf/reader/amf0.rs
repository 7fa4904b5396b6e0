//! AMF0 §2: big-endian, lengths in front, references for containers only.

use std::sync::Arc;

use super::graph::Format;
use super::{NAME_MEMORY, Reader, VALUE_MEMORY, VALUE_WEIGHT};
use crate::amf::marker::amf0 as marker;
use crate::amf::value::Member;
use crate::amf::{AmfError, Array, Cycle, Date, EcmaArray, Object, Value};

impl Reader {
    /// A value with its marker.
    pub(super) fn amf0_value(&mut self) -> Result<Value, AmfError> {
        let at = self.at;
        self.weigh(VALUE_WEIGHT)?;
        self.spend(VALUE_MEMORY)?;
        match self.u8("AMF0 marker")? {
            marker::NUMBER => self.f64("number").map(Value::Number),
            marker::BOOLEAN => self.u8("boolean").map(|byte| Value::Boolean(byte != 0)),
            marker::STRING => self.short_text("string").map(Value::String),
            marker::OBJECT => self.amf0_object("".into()),
            marker::MOVIE_CLIP => Err(AmfError::Reserved { name: "MovieClip", at }),
            marker::NULL => Ok(Value::Null),
            marker::UNDEFINED => Ok(Value::Undefined),
            marker::REFERENCE => {
                let index = self.u16("reference")?;
                self.referred(Format::Amf0, index.into(), at)
            }
            marker::ECMA_ARRAY => self.ecma_array(),
            marker::OBJECT_END => Err(AmfError::UnexpectedEnd { at }),
            marker::STRICT_ARRAY => self.strict_array(),
            marker::DATE => {
                let milliseconds = self.f64("date")?;
                let time_zone = self.array("time zone").map(i16::from_be_bytes)?;
                Ok(Value::Date(Date { milliseconds, time_zone }))
            }
            marker::LONG_STRING => self.long_text("long string").map(Value::String),
            marker::UNSUPPORTED => Ok(Value::Unsupported),
            marker::RECORD_SET => Err(AmfError::Reserved { name: "RecordSet", at }),
            marker::XML_DOCUMENT => self.long_text("XML document").map(Value::XmlDocument),
            marker::TYPED_OBJECT => {
                let class_name = self.short_text("class name")?;
                self.amf0_object(class_name)
            }
            marker::AMF3 => self.amf3_value(),
            marker => Err(AmfError::UnknownMarker { format: "AMF0", marker, at }),
        }
    }

    fn amf0_object(&mut self, class_name: Arc<str>) -> Result<Value, AmfError> {
        self.container(Format::Amf0, Cycle::Object, Value::Object, |reader| {
            let members = reader.amf0_members()?;
            Ok(Object::from_parts(class_name, 0, true, members))
        })
    }

    fn ecma_array(&mut self) -> Result<Value, AmfError> {
        // The declared length is the array's, not the number of members: senders differ.
        let length = self.u32("array length")?;
        self.container(Format::Amf0, Cycle::EcmaArray, Value::EcmaArray, |reader| {
            Ok(EcmaArray { length, members: reader.amf0_members()? })
        })
    }

    fn strict_array(&mut self) -> Result<Value, AmfError> {
        let at = self.at;
        let declared = self.u32("array length")?;
        let declared = usize::try_from(declared).unwrap_or(usize::MAX);
        let count = self.count(declared, 1, "strict array", at)?;
        self.container(Format::Amf0, Cycle::Array, Value::Array, |reader| {
            let mut dense = Vec::new();
            for _ in 0..count {
                dense.push(reader.amf0_value()?);
            }
            Ok(Array { dense, named: Vec::new() })
        })
    }

    /// Names and values up to an empty name and the object end.
    fn amf0_members(&mut self) -> Result<Vec<Member>, AmfError> {
        let mut members = Vec::new();
        loop {
            let name = self.short_text("member name")?;
            if name.is_empty() && self.input.get(self.at) == Some(&marker::OBJECT_END) {
                self.at += 1;
                return Ok(members);
            }
            self.spend(NAME_MEMORY)?;
            members.push((name, self.amf0_value()?));
        }
    }

    fn short_text(&mut self, what: &'static str) -> Result<Arc<str>, AmfError> {
        let length = self.u16(what)?;
        self.text(length.into(), what)
    }

    fn long_text(&mut self, what: &'static str) -> Result<Arc<str>, AmfError> {
        let length = self.u32(what)?;
        self.text(usize::try_from(length).unwrap_or(usize::MAX), what)
    }
}
