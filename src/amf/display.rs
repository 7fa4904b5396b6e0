//! Printing a value as an ActionScript-like literal of bounded length.

use std::fmt::{self, Write};

use super::value::{Cycle, Member, Object, Value};

/// Characters that `Display` prints unless a precision is given.
const DISPLAY_LENGTH: usize = 512;
/// Characters that `Debug` prints unless a precision is given.
const DEBUG_LENGTH: usize = 4096;
/// Bytes of a byte array that are shown.
const BYTES_SHOWN: usize = 8;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self, f.precision().unwrap_or(DISPLAY_LENGTH), f)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self, f.precision().unwrap_or(DEBUG_LENGTH), f)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bounded(f.precision().unwrap_or(DEBUG_LENGTH), f, |out| out.object(self))
    }
}

macro_rules! debug_as_value {
    ($($container:ident),*) => {$(
        impl fmt::Debug for super::value::$container {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&Value::from(self.clone()), f)
            }
        }
    )*};
}
debug_as_value!(Array, EcmaArray, ObjectVector, Dictionary);

fn print(value: &Value, limit: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bounded(limit, f, |out| out.value(value))
}

fn bounded(
    limit: usize,
    f: &mut fmt::Formatter<'_>,
    body: impl FnOnce(&mut Printer<'_, '_>) -> fmt::Result,
) -> fmt::Result {
    let mut printer = Printer { out: f, left: limit, full: false };
    match body(&mut printer) {
        Err(_) if printer.full => f.write_char('…'),
        result => result,
    }
}

/// Passes on a number of characters, then fails to stop the traversal.
struct Printer<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    left: usize,
    full: bool,
}

impl Write for Printer<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.char_indices().nth(self.left) {
            None => {
                self.left -= text.chars().count();
                self.out.write_str(text)
            }
            Some((end, _)) => {
                self.left = 0;
                self.full = true;
                self.out.write_str(text.get(..end).unwrap_or_default())?;
                Err(fmt::Error)
            }
        }
    }
}

impl Printer<'_, '_> {
    fn value(&mut self, value: &Value) -> fmt::Result {
        match value {
            Value::Undefined => self.write_str("undefined"),
            Value::Null => self.write_str("null"),
            Value::Unsupported => self.write_str("unsupported"),
            Value::Boolean(truth) => write!(self, "{truth}"),
            Value::Number(number) => write!(self, "{number:?}"),
            Value::Integer(number) => write!(self, "{number}"),
            Value::String(text) => self.text(text),
            Value::Object(object) => self.object(object),
            Value::EcmaArray(array) => {
                write!(self, "Array({})", array.length)?;
                self.braced(&array.members)
            }
            Value::Array(array) => {
                self.write_char('[')?;
                self.list(&array.dense, Self::value)?;
                let separator = if array.dense.is_empty() { "" } else { ", " };
                self.members(separator, &array.named)?;
                self.write_char(']')
            }
            Value::Date(date) => write!(self, "Date({:?})", date.milliseconds),
            Value::Xml(text) => self.wrapped("XML(", text),
            Value::XmlDocument(text) => self.wrapped("XMLDocument(", text),
            Value::ByteArray(bytes) => self.bytes(bytes),
            Value::VectorInt(vector) => {
                self.vector("int", &vector.items, |out, item| write!(out, "{item}"))
            }
            Value::VectorUint(vector) => {
                self.vector("uint", &vector.items, |out, item| write!(out, "{item}"))
            }
            Value::VectorDouble(vector) => {
                self.vector("Number", &vector.items, |out, item| write!(out, "{item:?}"))
            }
            Value::VectorObject(vector) if vector.class_name.is_empty() => {
                self.vector("Object", &vector.items, Self::value)
            }
            Value::VectorObject(vector) => {
                self.vector(&vector.class_name, &vector.items, Self::value)
            }
            Value::Dictionary(dictionary) => {
                self.write_str("Dictionary{")?;
                self.list(&dictionary.entries, |out, (key, value)| {
                    out.value(key)?;
                    out.write_str(": ")?;
                    out.value(value)
                })?;
                self.write_char('}')
            }
            Value::Cycle(cycle) => self.cycle(cycle),
        }
    }

    fn object(&mut self, object: &Object) -> fmt::Result {
        self.write_str(object.class_name())?;
        self.braced(object.members())
    }

    fn braced(&mut self, members: &[Member]) -> fmt::Result {
        self.write_char('{')?;
        self.members("", members)?;
        self.write_char('}')
    }

    fn members(&mut self, mut separator: &str, members: &[Member]) -> fmt::Result {
        for (name, value) in members {
            self.write_str(separator)?;
            separator = ", ";
            match is_identifier(name) {
                true => self.write_str(name)?,
                false => self.text(name)?,
            }
            self.write_str(": ")?;
            self.value(value)?;
        }
        Ok(())
    }

    fn list<T>(&mut self, items: &[T], item: impl Fn(&mut Self, &T) -> fmt::Result) -> fmt::Result {
        for (index, each) in items.iter().enumerate() {
            if index > 0 {
                self.write_str(", ")?;
            }
            item(self, each)?;
        }
        Ok(())
    }

    fn vector<T>(
        &mut self,
        class: &str,
        items: &[T],
        item: impl Fn(&mut Self, &T) -> fmt::Result,
    ) -> fmt::Result {
        write!(self, "Vector.<{class}>[")?;
        self.list(items, item)?;
        self.write_char(']')
    }

    fn text(&mut self, text: &str) -> fmt::Result {
        self.write_char('"')?;
        for character in text.escape_debug() {
            self.write_char(character)?;
        }
        self.write_char('"')
    }

    fn wrapped(&mut self, prefix: &str, text: &str) -> fmt::Result {
        self.write_str(prefix)?;
        self.text(text)?;
        self.write_char(')')
    }

    fn bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        write!(self, "ByteArray({}", bytes.len())?;
        for (index, byte) in bytes.iter().take(BYTES_SHOWN).enumerate() {
            write!(self, "{}{byte:02X}", if index == 0 { ": " } else { " " })?;
        }
        self.write_str(if bytes.len() > BYTES_SHOWN { " …)" } else { ")" })
    }

    fn cycle(&mut self, cycle: &Cycle) -> fmt::Result {
        self.write_str(match cycle {
            Cycle::Object(_) => "<enclosing object>",
            Cycle::EcmaArray(_) | Cycle::Array(_) => "<enclosing array>",
            Cycle::VectorObject(_) => "<enclosing vector>",
            Cycle::Dictionary(_) => "<enclosing dictionary>",
        })
    }
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_alphabetic() || matches!(first, '_' | '$'))
        && characters.all(|each| each.is_alphanumeric() || matches!(each, '_' | '$'))
}
