//! AMF0 §2.

use super::{Encoding, Writer, marker};
use crate::amf::value::Member;
use crate::amf::{AmfError, Array, Object, Value};

impl Writer {
    /// A value with its marker.
    pub(super) fn amf0_value(&mut self, value: &Value) -> Result<(), AmfError> {
        self.check_limit()?;
        match value {
            Value::Undefined => self.out.push(marker::UNDEFINED),
            Value::Null => self.out.push(marker::NULL),
            Value::Boolean(truth) => self.out.extend([marker::BOOLEAN, u8::from(*truth)]),
            Value::Number(number) => self.amf0_number(*number),
            Value::Integer(number) => self.amf0_number(f64::from(*number)),
            Value::String(text) => self.amf0_string(text)?,
            Value::Unsupported => self.out.push(marker::UNSUPPORTED),
            complex => match self.encoding {
                Encoding::Amf0 | Encoding::Amf0Only => self.amf0_complex(complex)?,
                Encoding::Amf3 => self.switched(complex)?,
            },
        }
        Ok(())
    }

    fn amf0_complex(&mut self, value: &Value) -> Result<(), AmfError> {
        if let Some(index) = self.amf0.find(value).and_then(|index| u16::try_from(index).ok()) {
            self.out.push(marker::REFERENCE);
            self.out.extend(index.to_be_bytes());
            return Ok(());
        }
        match value {
            Value::Object(object) => {
                self.amf0.enter(value);
                self.nested(|writer| writer.amf0_object(object))
            }
            Value::EcmaArray(array) => {
                self.amf0.enter(value);
                self.nested(|writer| {
                    writer.out.push(marker::ECMA_ARRAY);
                    writer.out.extend(array.length.to_be_bytes());
                    writer.amf0_members(&array.members)?;
                    writer.object_end();
                    Ok(())
                })
            }
            Value::Array(array) => {
                self.amf0.enter(value);
                self.nested(|writer| writer.amf0_array(array))
            }
            Value::Date(date) => {
                self.out.push(marker::DATE);
                self.out.extend(date.milliseconds.to_be_bytes());
                self.out.extend(date.time_zone.to_be_bytes());
                Ok(())
            }
            Value::XmlDocument(text) => {
                self.out.push(marker::XML_DOCUMENT);
                self.long_text("XML document", text)
            }
            Value::Cycle(cycle) => match cycle.upgrade() {
                // Beyond the references that there are, it would be written out again and again.
                Some(enclosing) if self.amf0.find(&enclosing).is_none_or(is_reference) => {
                    self.amf0_value(&enclosing)
                }
                _ => {
                    self.out.push(marker::NULL);
                    Ok(())
                }
            },
            Value::Xml(text) if self.encoding == Encoding::Amf0Only => {
                self.out.push(marker::XML_DOCUMENT);
                self.long_text("XML document", text)
            }
            _ if self.encoding == Encoding::Amf0Only => {
                self.out.push(marker::UNDEFINED);
                Ok(())
            }
            other => self.switched(other),
        }
    }

    /// AMF3 behind the marker that switches to it.
    fn switched(&mut self, value: &Value) -> Result<(), AmfError> {
        self.out.push(marker::AMF3);
        self.amf3_value(value)
    }

    fn amf0_number(&mut self, number: f64) {
        self.out.push(marker::NUMBER);
        self.out.extend(number.to_be_bytes());
    }

    fn amf0_string(&mut self, text: &str) -> Result<(), AmfError> {
        if text.len() <= usize::from(u16::MAX) {
            self.out.push(marker::STRING);
            return self.short_text("string", text);
        }
        self.out.push(marker::LONG_STRING);
        self.long_text("string", text)
    }

    fn amf0_object(&mut self, object: &Object) -> Result<(), AmfError> {
        if object.class_name().is_empty() {
            self.out.push(marker::OBJECT);
        } else {
            self.out.push(marker::TYPED_OBJECT);
            self.short_text("class name", object.class_name())?;
        }
        self.amf0_members(object.members())?;
        self.object_end();
        Ok(())
    }

    /// A strict array, or an ECMA array if there are names.
    fn amf0_array(&mut self, array: &Array) -> Result<(), AmfError> {
        let length = u32::try_from(array.dense.len())
            .map_err(|_| self.too_long("array", array.dense.len()))?;
        if array.named.is_empty() {
            self.out.push(marker::STRICT_ARRAY);
            self.out.extend(length.to_be_bytes());
            return array.dense.iter().try_for_each(|value| self.amf0_value(value));
        }
        self.out.push(marker::ECMA_ARRAY);
        self.out.extend(length.to_be_bytes());
        for (index, value) in array.dense.iter().enumerate() {
            self.short_text("index", &index.to_string())?;
            self.amf0_value(value)?;
        }
        self.amf0_members(&array.named)?;
        self.object_end();
        Ok(())
    }

    fn amf0_members(&mut self, members: &[Member]) -> Result<(), AmfError> {
        for (name, value) in members {
            self.short_text("member name", name)?;
            self.amf0_value(value)?;
        }
        Ok(())
    }

    fn object_end(&mut self) {
        self.out.extend([0, 0, marker::OBJECT_END]);
    }

    fn short_text(&mut self, what: &'static str, text: &str) -> Result<(), AmfError> {
        let length = u16::try_from(text.len()).map_err(|_| self.too_long(what, text.len()))?;
        self.out.extend(length.to_be_bytes());
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn long_text(&mut self, what: &'static str, text: &str) -> Result<(), AmfError> {
        let length = u32::try_from(text.len()).map_err(|_| self.too_long(what, text.len()))?;
        self.out.extend(length.to_be_bytes());
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// True if a reference to the container with this index can be written.
fn is_reference(index: usize) -> bool {
    u16::try_from(index).is_ok()
}
