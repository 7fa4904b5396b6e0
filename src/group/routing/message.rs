//! The form of messages that travel to a destination.
//!
//! On the wire a message is a bare AMF value that only applications understand. This is the form of
//! the example in Adobe's reference.

use crate::amf::{self, AmfError, Object, Value};
use crate::group::GroupAddress;
use bytes::Bytes;

const DESTINATION: &str = "destination";
const VALUE: &str = "value";
const HOPS: &str = "hops";

/// A message with a destination, in the form `{destination: "…", value: …, hops: …}`.
///
/// `destination` is a group address of 64 hexadecimal digits. `hops` counts the times that the message
/// was sent on; Flash applications neither write nor read it, and leave it as it is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RoutedMessage {
    /// The group address to whose nearest member it goes.
    pub destination: GroupAddress,
    /// What it carries; undefined if the property is missing.
    pub value: Value,
    /// The times that members of this kind have sent it on; `None` in a message of a Flash
    /// application.
    pub hops: Option<u32>,
}

impl RoutedMessage {
    /// A message that has not been sent yet.
    pub fn new(destination: GroupAddress, value: impl Into<Value>) -> Self {
        Self { destination, value: value.into(), hops: Some(0) }
    }

    /// The message in `value`, if it has a destination.
    pub fn from_value(value: &Value) -> Option<Self> {
        let destination = value.property(DESTINATION)?.as_str()?.parse().ok()?;
        let hops = value.property(HOPS).and_then(Value::as_u32);
        let value = value.property(VALUE).cloned().unwrap_or_default();
        Some(Self { destination, value, hops })
    }

    /// The message as a value.
    pub fn to_value(&self) -> Value {
        let object = Object::new()
            .with(DESTINATION, self.destination.to_string())
            .with(VALUE, self.value.clone());
        match self.hops {
            Some(hops) => object.with(HOPS, hops).into(),
            None => object.into(),
        }
    }
}

/// The same value with one hop more; whatever else is in it stays.
pub(super) fn one_hop_on(value: &Value, hops: u32) -> Result<Bytes, AmfError> {
    let mut object = Object::new();
    for (name, member) in value.members().iter().filter(|(name, _)| &**name != HOPS) {
        object = object.with(name.clone(), member.clone());
    }
    amf::to_bytes(&object.with(HOPS, hops + 1).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> GroupAddress {
        GroupAddress([0xab; 32])
    }

    #[test]
    fn a_message_in_the_form_of_the_reference() {
        let message = RoutedMessage::new(address(), "Hello");
        let text = message.to_value().to_string();
        let destination = "ab".repeat(32);
        assert_eq!(text, format!(r#"{{destination: "{destination}", value: "Hello", hops: 0}}"#));
        assert_eq!(RoutedMessage::from_value(&message.to_value()), Some(message));
    }

    #[test]
    fn a_message_of_a_flash_application() {
        let destination = address().to_string();
        let value =
            Value::object([("value", Value::from(1.5)), ("destination", destination.into())]);
        let message = RoutedMessage::from_value(&value).unwrap();
        assert_eq!((message.destination, message.hops), (address(), None));
        assert_eq!(message.value, Value::from(1.5));
        assert_eq!(message.to_value().members().len(), 2);
        for other in [
            Value::Null,
            Value::from("text"),
            Value::object([("destination", "0560")]),
            Value::object([("destination", 5.0)]),
            Value::object([("value", "no destination")]),
        ] {
            assert_eq!(RoutedMessage::from_value(&other), None);
        }
    }

    #[test]
    fn a_hop_leaves_the_rest_alone() {
        let destination = address().to_string();
        let value = Value::object([
            ("hops", Value::from(3_u32)),
            ("destination", destination.into()),
            ("user", "me".into()),
        ]);
        let value = amf::from_bytes(one_hop_on(&value, 3).unwrap()).unwrap();
        assert_eq!(value.property("hops").and_then(Value::as_u32), Some(4));
        assert_eq!(value.property("user").and_then(Value::as_str), Some("me"));
        assert!(RoutedMessage::from_value(&value).is_some());
    }
}
