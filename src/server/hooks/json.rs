//! Values of AMF as JSON, and back. `docs/hooks.md` describes the forms.
//!
//! What JSON lacks is an object with one member whose name begins with `$`.

use crate::amf::{Date, Object, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value as Json, json};

const DATE: &str = "$date";
const BYTES: &str = "$bytes";
const XML: &str = "$xml";
const ENTRIES: &str = "$entries";
const CLASS: &str = "$class";
const UNDEFINED: &str = "$undefined";

/// A value of a client; it is not deeper than messages can be.
pub(super) fn to_json(value: &Value) -> Json {
    match value {
        Value::Undefined | Value::Unsupported => json!({ UNDEFINED: true }),
        // A cycle has no end in JSON.
        Value::Null | Value::Cycle(_) => Json::Null,
        Value::Boolean(truth) => (*truth).into(),
        Value::Number(number) => number_to_json(*number),
        Value::Integer(number) => (*number).into(),
        Value::String(text) => (&**text).into(),
        Value::Date(date) => json!({ DATE: number_to_json(date.milliseconds) }),
        Value::Xml(text) | Value::XmlDocument(text) => json!({ XML: &**text }),
        Value::ByteArray(bytes) => json!({ BYTES: STANDARD.encode(bytes) }),
        Value::VectorInt(vector) => vector.items.clone().into(),
        Value::VectorUint(vector) => vector.items.clone().into(),
        Value::VectorDouble(vector) => {
            vector.items.iter().map(|number| number_to_json(*number)).collect()
        }
        Value::VectorObject(vector) => vector.items.iter().map(to_json).collect(),
        Value::Array(array) if array.named.is_empty() => array.dense.iter().map(to_json).collect(),
        Value::Array(array) => {
            let dense = array.dense.iter().enumerate();
            let mut members: Map<_, _> =
                dense.map(|(at, value)| (at.to_string(), to_json(value))).collect();
            members.extend(members_of(value));
            Json::Object(members)
        }
        Value::EcmaArray(_) => Json::Object(members_of(value)),
        Value::Object(object) => {
            let mut members = members_of(value);
            if !object.class_name().is_empty() {
                members.insert(CLASS.to_owned(), (&**object.class_name()).into());
            }
            Json::Object(members)
        }
        Value::Dictionary(dictionary) => {
            let entry = |(key, value): &(Value, Value)| json!([to_json(key), to_json(value)]);
            json!({ ENTRIES: dictionary.entries.iter().map(entry).collect::<Vec<_>>() })
        }
    }
}

fn members_of(value: &Value) -> Map<String, Json> {
    value.members().iter().map(|(name, value)| (name.to_string(), to_json(value))).collect()
}

/// Whole numbers without a point; those that JSON lacks are null.
fn number_to_json(number: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if number.fract() == 0.0 && number.abs() < EXACT {
        return (number as i64).into();
    }
    Number::from_f64(number).map_or(Json::Null, Json::Number)
}

/// A value for a client.
pub(super) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Boolean(*truth),
        // Beyond the range it is infinite.
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(elements) => Value::array(elements.iter().map(from_json)),
        Json::Object(members) => special(members).unwrap_or_else(|| object(members)),
    }
}

/// What JSON lacks.
fn special(members: &Map<String, Json>) -> Option<Value> {
    let (name, value) = members.iter().next().filter(|_| members.len() == 1)?;
    match (name.as_str(), value) {
        (UNDEFINED, Json::Bool(true)) => Some(Value::Undefined),
        (DATE, Json::Number(ms)) => {
            let milliseconds = ms.as_f64()?;
            Some(Value::Date(Date { milliseconds, time_zone: 0 }))
        }
        (BYTES, Json::String(text)) => Some(Value::ByteArray(STANDARD.decode(text).ok()?.into())),
        (XML, Json::String(text)) => Some(Value::Xml(text.as_str().into())),
        _ => None,
    }
}

fn object(members: &Map<String, Json>) -> Value {
    let class = members.get(CLASS).and_then(Json::as_str);
    let object = class.map_or_else(Object::new, Object::typed);
    let members = members.iter().filter(|(name, _)| class.is_none() || *name != CLASS);
    Value::from(
        members.fold(object, |object, (name, value)| object.with(name.as_str(), from_json(value))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf::Array;

    #[test]
    fn values_there_and_back() {
        for (value, json) in [
            (Value::Null, json!(null)),
            (Value::Undefined, json!({"$undefined": true})),
            (Value::from(7.0), json!(7)),
            (Value::from(-0.5), json!(-0.5)),
            (Value::from("ä"), json!("ä")),
            (Value::array([Value::from(true), Value::Null]), json!([true, null])),
            (Value::object([("a", Value::from("b"))]), json!({"a": "b"})),
            (Value::object([("$date", Value::from("b"))]), json!({"$date": "b"})),
            (
                Value::Date(Date { milliseconds: 1e12, time_zone: 0 }),
                json!({"$date": 1_000_000_000_000_i64}),
            ),
            (Value::ByteArray(vec![1, 2, 255].into()), json!({"$bytes": "AQL/"})),
            (Value::Xml("<a/>".into()), json!({"$xml": "<a/>"})),
            (
                Value::from(Object::typed("flash.Point").with("x", 1.0)),
                json!({"$class": "flash.Point", "x": 1}),
            ),
        ] {
            assert_eq!(to_json(&value), json, "{value}");
            assert_eq!(from_json(&json), value, "{json}");
        }
    }

    #[test]
    fn what_has_no_way_back() {
        assert_eq!(to_json(&Value::from(f64::NAN)), json!(null));
        assert_eq!(to_json(&Value::Integer(-7)), json!(-7));
        assert_eq!(to_json(&Value::from(1e300)), json!(1e300));
        let named = vec![("x".into(), Value::from("y"))];
        let array = Array { dense: vec![Value::from("a")], named };
        assert_eq!(to_json(&Value::from(array)), json!({"0": "a", "x": "y"}));
        assert_eq!(from_json(&json!({"$bytes": "?"})).property("$bytes"), Some(&"?".into()));
    }
}
