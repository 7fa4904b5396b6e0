//! Values as a trace shows them.

use bytes::Bytes;

use crate::amf::{Array, Date, Dictionary, EcmaArray, Object, ObjectVector, Value};

#[test]
fn literals() {
    let object = Object::typed("flash.Point").with("x", 1).with("2 y", 0.5);
    let dictionary = Dictionary { weak_keys: false, entries: vec![(1.into(), true.into())] };
    let vector = ObjectVector { items: vec![Value::Null], ..ObjectVector::default() };
    for (value, text) in [
        (Value::Undefined, "undefined"),
        (Value::from(1), "1"),
        (Value::from(1.0), "1.0"),
        (Value::from(1e300), "1e300"),
        (Value::from("a\"b\n"), r#""a\"b\n""#),
        (object.into(), r#"flash.Point{x: 1, "2 y": 0.5}"#),
        (Array { dense: vec![1.into()], named: vec![("k".into(), 2.into())] }.into(), "[1, k: 2]"),
        (EcmaArray { length: 2, members: vec![("a".into(), 1.into())] }.into(), "Array(2){a: 1}"),
        (Date { milliseconds: 5.0, time_zone: 0 }.into(), "Date(5.0)"),
        (Bytes::from_static(&[0, 255]).into(), "ByteArray(2: 00 FF)"),
        (Bytes::from(vec![1; 9]).into(), "ByteArray(9: 01 01 01 01 01 01 01 01 …)"),
        (Bytes::new().into(), "ByteArray(0)"),
        (Value::Xml("<a/>".into()), r#"XML("<a/>")"#),
        (vector.into(), "Vector.<Object>[null]"),
        (dictionary.into(), "Dictionary{1: true}"),
    ] {
        assert_eq!(value.to_string(), text);
        assert_eq!(format!("{value:?}"), text);
    }
}

#[test]
fn output_is_bounded() {
    let long = Value::array(vec![Value::from("é".repeat(1000)); 1000]);
    assert_eq!(long.to_string().chars().count(), 513);
    assert_eq!(format!("{long:?}").chars().count(), 4097);
    assert_eq!(format!("{long:.5}"), "[\"ééé…");
    assert_eq!(format!("{:.4}", Value::Null), "null");
    assert_eq!(format!("{:.3}", Value::Null), "nul…");
}
