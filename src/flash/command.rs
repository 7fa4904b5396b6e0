//! Commands: the remote calls of a NetConnection (`connect`, `_result`, `onStatus`, …).
//!
//! A command is a name, a transaction number, an object (null except for `connect`) and arguments,
//! all in AMF. The AMF3 reference tables run on over all values of one command
//! (`protocol-notes/flash-profile.md`, subject "commands").

use std::sync::Arc;

use bytes::Bytes;

use super::limits::{MAX_ARGS, MAX_COMMAND_LEN};
use super::{Body, FlashError, Format};
use crate::amf::{AmfError, Encoding, Reader, Value, Writer};

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The method.
    pub name: Arc<str>,
    /// The number that the answer refers to; 0 if none is wanted.
    pub transaction: f64,
    /// The command object of `connect` and the properties in its result; else null.
    pub object: Value,
    /// The arguments.
    pub args: Vec<Value>,
}

/// The format that client and server negotiate for everything after `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ObjectEncoding {
    /// Everything in AMF0, in plain messages (0).
    Amf0,
    /// Complex values in AMF3, in extended messages (3). Flash Player's default.
    #[default]
    Amf3,
}

impl ObjectEncoding {
    /// From the value of `objectEncoding`: 3 is AMF3, anything else (or nothing) AMF0.
    pub fn from_value(value: Option<&Value>) -> Self {
        match value.and_then(Value::as_u32) {
            Some(3) => Self::Amf3,
            _ => Self::Amf0,
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> f64 {
        match self {
            Self::Amf0 => 0.0,
            Self::Amf3 => 3.0,
        }
    }

    /// The framing of messages of a connection with this encoding.
    pub const fn format(self) -> Format {
        match self {
            Self::Amf0 => Format::Plain,
            Self::Amf3 => Format::Extended,
        }
    }
}

impl Command {
    /// A call without command object. `transaction` 0 wants no answer.
    pub fn new(name: impl Into<Arc<str>>, transaction: f64, args: Vec<Value>) -> Self {
        Self { name: name.into(), transaction, object: Value::Null, args }
    }

    /// True if the sender waits for `_result` or `_error`.
    pub fn wants_answer(&self) -> bool {
        self.transaction.is_finite() && self.transaction != 0.0
    }

    /// Parses the values of a command message, of either [`Format`].
    ///
    /// A missing command object is read as null.
    ///
    /// # Errors
    ///
    /// [`FlashError::CommandTooLong`], [`FlashError::Amf`], [`FlashError::NotCommand`] or
    /// [`FlashError::TooManyArguments`].
    pub fn parse(values: &Bytes) -> Result<Self, FlashError> {
        if values.len() > MAX_COMMAND_LEN {
            return Err(FlashError::CommandTooLong(values.len()));
        }
        let mut reader = Reader::new(values.clone());
        let Value::String(name) = next(&mut reader, "a name")? else {
            return Err(FlashError::NotCommand("a name"));
        };
        let transaction = next(&mut reader, "a transaction number")?.as_f64();
        let transaction = transaction.ok_or(FlashError::NotCommand("a transaction number"))?;
        let object = if reader.is_empty() { Value::Null } else { reader.read_value()? };
        let mut args = Vec::new();
        while !reader.is_empty() {
            if args.len() == MAX_ARGS {
                return Err(FlashError::TooManyArguments);
            }
            args.push(reader.read_value()?);
        }
        Ok(Self { name, transaction, object, args })
    }

    /// Name and transaction of a command of which only the beginning is there.
    pub(super) fn parse_head(values: &Bytes) -> Option<Self> {
        let mut reader = Reader::new(values.clone());
        let Ok(Value::String(name)) = next(&mut reader, "a name") else { return None };
        let transaction = next(&mut reader, "a transaction number").ok()?.as_f64()?;
        Some(Self::new(name, transaction, Vec::new()))
    }

    /// The command as Flash Player sends it on a connection with this encoding. Clients with
    /// [`ObjectEncoding::Amf0`] get undefined in place of what AMF0 lacks.
    ///
    /// # Errors
    ///
    /// [`FlashError::Amf`] for a value without an encoding, [`FlashError::TooManyArguments`] or
    /// [`FlashError::CommandTooLong`].
    pub fn encode(&self, encoding: ObjectEncoding) -> Result<Body, FlashError> {
        self.encode_within(MAX_COMMAND_LEN, encoding)
    }

    /// The same, of no more than `limit` bytes.
    pub(super) fn encode_within(
        &self,
        limit: usize,
        encoding: ObjectEncoding,
    ) -> Result<Body, FlashError> {
        let values = match encoding {
            ObjectEncoding::Amf0 => Encoding::Amf0Only,
            ObjectEncoding::Amf3 => Encoding::Amf3,
        };
        Ok(Body::Command(encoding.format(), self.values(values, limit)?))
    }

    /// `connect` or its answer, which come before the negotiation.
    ///
    /// # Errors
    ///
    /// As of [`encode`](Self::encode).
    pub(super) fn encode_connect(&self) -> Result<Body, FlashError> {
        Ok(Body::Command(Format::Plain, self.values(Encoding::Amf0, MAX_COMMAND_LEN)?))
    }

    fn values(&self, encoding: Encoding, limit: usize) -> Result<Bytes, FlashError> {
        if self.args.len() > MAX_ARGS {
            return Err(FlashError::TooManyArguments);
        }
        let mut writer = Writer::new(encoding).with_limit(limit);
        let (name, transaction) = (Value::String(self.name.clone()), self.transaction.into());
        for value in [&name, &transaction, &self.object].into_iter().chain(&self.args) {
            match writer.write(value) {
                Ok(_) => {}
                Err(AmfError::Full { at }) => return Err(FlashError::CommandTooLong(at)),
                Err(error) => return Err(error.into()),
            }
        }
        let values = writer.into_bytes();
        match values.len() <= limit {
            true => Ok(values),
            false => Err(FlashError::CommandTooLong(values.len())),
        }
    }
}

fn next(reader: &mut Reader, what: &'static str) -> Result<Value, FlashError> {
    if reader.is_empty() {
        return Err(FlashError::NotCommand(what));
    }
    Ok(reader.read_value()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(encoding: ObjectEncoding, command: &Command) -> Bytes {
        match command.encode(encoding).unwrap() {
            Body::Command(format, values) if format == encoding.format() => values,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn literal_bytes() {
        let command = Command::new("err", 3.0, vec!["x".into()]);
        let expected = b"\x02\0\x03err\0\x40\x08\0\0\0\0\0\0\x05\x02\0\x01x";
        for encoding in [ObjectEncoding::Amf0, ObjectEncoding::Amf3] {
            assert_eq!(values(encoding, &command), expected[..]);
        }
        assert_eq!(Command::parse(&Bytes::from_static(expected)), Ok(command));
    }

    /// A player with object encoding 0 reads nothing behind the marker `11`.
    #[test]
    fn clients_with_object_encoding_0_read_on_behind_what_they_lack() {
        let bytes = || Value::ByteArray(Bytes::from_static(b"x"));
        let command =
            Command::new("f", 0.0, vec![bytes(), Value::object([("b", bytes())]), "y".into()]);
        let plain = values(ObjectEncoding::Amf0, &command);
        let args = b"\x06\x03\0\x01b\x06\0\0\x09\x02\0\x01y";
        assert!(plain.ends_with(args), "{plain:?}");
        assert_eq!(Command::parse(&values(ObjectEncoding::Amf3, &command)), Ok(command.clone()));
        let Body::Command(Format::Plain, first) = command.encode_connect().unwrap() else {
            panic!()
        };
        assert_eq!(Command::parse(&first), Ok(command));
    }

    #[test]
    fn a_missing_object_is_null() {
        let bytes = Bytes::from_static(b"\x02\0\x01x\0\0\0\0\0\0\0\0\0");
        assert_eq!(Command::parse(&bytes), Ok(Command::new("x", 0.0, vec![])));
    }

    #[test]
    fn which_commands_want_an_answer() {
        let wants = |transaction| Command::new("x", transaction, vec![]).wants_answer();
        assert!(wants(1.0) && wants(-1.0) && wants(0.5));
        assert!(!wants(0.0) && !wants(-0.0) && !wants(f64::NAN) && !wants(f64::INFINITY));
    }

    #[test]
    fn object_encodings() {
        let of = |value: Value| ObjectEncoding::from_value(Some(&value));
        assert_eq!(of(3.0.into()), ObjectEncoding::Amf3);
        assert_eq!(of(3.into()), ObjectEncoding::Amf3);
        for other in [Value::from(0.0), Value::from(f64::NAN), Value::from(-3.0), "3".into()] {
            assert_eq!(of(other), ObjectEncoding::Amf0);
        }
        assert_eq!(ObjectEncoding::from_value(None), ObjectEncoding::Amf0);
    }

    #[test]
    fn hostile_every_truncation() {
        let command = Command::new("x", 1.0, vec![Value::object([("a", 1.0)])]);
        let whole = values(ObjectEncoding::Amf0, &command);
        let complete = [whole.len(), 13, 14]; // before and after the command object
        for cut in (0..whole.len()).filter(|cut| !complete.contains(cut)) {
            assert!(Command::parse(&whole.slice(..cut)).is_err(), "{cut}");
        }
        assert_eq!(Command::parse(&Bytes::new()), Err(FlashError::NotCommand("a name")));
    }

    #[test]
    fn hostile_wrong_types() {
        let parse = |bytes| Command::parse(&Bytes::from_static(bytes));
        assert_eq!(parse(b"\x05\x05\x05"), Err(FlashError::NotCommand("a name")));
        assert_eq!(
            parse(b"\x02\0\x01x\x05\x05"),
            Err(FlashError::NotCommand("a transaction number"))
        );
    }

    #[test]
    fn hostile_counts_and_sizes() {
        let mut bytes = b"\x02\0\x01x\0\0\0\0\0\0\0\0\0\x05".to_vec();
        bytes.extend([0x05; MAX_ARGS]);
        assert_eq!(Command::parse(&bytes.clone().into()).unwrap().args.len(), MAX_ARGS);
        bytes.push(0x05);
        assert_eq!(Command::parse(&bytes.clone().into()), Err(FlashError::TooManyArguments));
        bytes.resize(MAX_COMMAND_LEN + 1, 0x05);
        let error = FlashError::CommandTooLong(MAX_COMMAND_LEN + 1);
        assert_eq!(Command::parse(&bytes.into()), Err(error));
        let array_of_4g =
            Bytes::from_static(b"\x02\0\x01x\0\0\0\0\0\0\0\0\0\x05\x0a\xff\xff\xff\xff");
        assert!(matches!(Command::parse(&array_of_4g), Err(FlashError::Amf(_))));
        let long = Command::new("x", 0.0, vec!["a".repeat(MAX_COMMAND_LEN).into()]);
        assert!(matches!(long.encode(ObjectEncoding::Amf3), Err(FlashError::CommandTooLong(_))));
        // References, which AMF0 lacks: each would be written out.
        let text = Value::from("a".repeat(9000).as_str());
        let references = Command::new("x", 0.0, vec![Value::array(vec![text; 30_000])]);
        assert!(values(ObjectEncoding::Amf3, &references).len() < 70_000);
        let Err(FlashError::CommandTooLong(at)) = references.encode(ObjectEncoding::Amf0) else {
            panic!("too long")
        };
        assert!(at < MAX_COMMAND_LEN + 10_000, "{at}");
        let many = Command::new("x", 0.0, vec![Value::Null; MAX_ARGS + 1]);
        assert_eq!(many.encode(ObjectEncoding::Amf3), Err(FlashError::TooManyArguments));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Command::parse(&bytes.into());
        }
    }
}
