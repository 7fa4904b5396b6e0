//! How much memory values take.

use crate::amf::Value;

/// The most memory of the values of one query, in bytes, roughly.
pub const MAX_QUERY: usize = 64 << 10;

/// What a value takes besides its text or bytes.
const EACH: usize = 16;

/// True if these values take no more than [`MAX_QUERY`], wherever they are shared. Stops counting there.
pub(super) fn fits(values: &[Value]) -> bool {
    let mut left = MAX_QUERY;
    values.iter().all(|value| spend(value, &mut left))
}

fn spend(value: &Value, left: &mut usize) -> bool {
    let own = match value {
        Value::String(text) | Value::Xml(text) | Value::XmlDocument(text) => text.len(),
        Value::ByteArray(bytes) => bytes.len(),
        Value::VectorInt(vector) => 4 * vector.items.len(),
        Value::VectorUint(vector) => 4 * vector.items.len(),
        Value::VectorDouble(vector) => 8 * vector.items.len(),
        Value::Object(object) => object.class_name().len(),
        _ => 0,
    };
    let mut take = |bytes: usize| match left.checked_sub(bytes) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    };
    if !take(EACH) || !take(own) || !value.members().iter().all(|(name, _)| take(name.len())) {
        return false;
    }
    let entries = match value {
        Value::Dictionary(dictionary) => dictionary.entries.as_slice(),
        _ => &[],
    };
    value.elements().into_iter().flatten().all(|element| spend(element, left))
        && value.members().iter().all(|(_, value)| spend(value, left))
        && entries.iter().all(|(key, value)| spend(key, left) && spend(value, left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn hostile_values_are_counted_as_they_unfold() {
        assert!(fits(&[Value::from("x".repeat(MAX_QUERY - EACH).as_str())]));
        assert!(!fits(&[Value::from("x".repeat(MAX_QUERY - EACH + 1).as_str())]));
        assert!(!fits(&[Value::ByteArray(Bytes::from(vec![0; MAX_QUERY]))]));
        assert!(!fits(&vec![Value::Null; MAX_QUERY / EACH + 1]));
        assert!(!fits(&[Value::object([("x".repeat(MAX_QUERY).as_str(), Value::Null)])]));
        // Two to the power of 40 texts, shared.
        let mut value = Value::from("x");
        for _ in 0..40 {
            value = Value::array([value.clone(), value]);
        }
        assert!(!fits(&[value]));
    }
}
