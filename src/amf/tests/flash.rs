//! Bytes observed from Flash Player 10.3 (`protocol-notes/object-replication.md`, subject
//! "object encoding"), both ways.

use super::hex;
use crate::amf::{Array, Date, Encoding, Object, Reader, Value, Writer, from_bytes, to_bytes};
use bytes::Bytes;

#[track_caller]
fn both_ways(value: Value, bytes: &[u8]) {
    let encoded = to_bytes(&value).unwrap();
    assert_eq!(encoded, bytes, "encoding {value}");
    let decoded = from_bytes(bytes.to_vec()).unwrap();
    // Not `==`: an integer becomes a number at the top, undefined null, and NaN equals nothing.
    assert_eq!(decoded.to_string(), from_bytes(encoded).unwrap().to_string());
    assert_eq!(to_bytes(&decoded).unwrap(), bytes, "encoding {value} again");
}

#[track_caller]
fn same(value: Value, bytes: &[u8]) {
    assert_eq!(from_bytes(bytes.to_vec()).unwrap(), value);
    both_ways(value, bytes);
}

#[test]
fn short_string() {
    same("object-0".into(), &hex("02 0008 6F626A6563742D30"));
    same("".into(), &hex("02 0000"));
    same("hé€".into(), &hex("02 0006 68C3A9E282AC"));
}

#[test]
fn long_string() {
    let mut bytes = hex("0C 00011170");
    bytes.resize(5 + 70_000, b'x');
    same("x".repeat(70_000).into(), &bytes);
}

#[test]
fn string_at_the_limit_of_the_short_form() {
    assert_eq!(to_bytes(&"x".repeat(65_535).into()).unwrap()[..3], hex("02 FFFF"));
    assert_eq!(to_bytes(&"x".repeat(65_536).into()).unwrap()[..5], hex("0C 00010000"));
}

#[test]
fn numbers() {
    same(1.5.into(), &hex("00 3FF8000000000000"));
    same((-1.0).into(), &hex("00 BFF0000000000000"));
    same(1e10.into(), &hex("00 4202A05F20000000"));
    both_ways(9.into(), &hex("00 4022000000000000"));
    both_ways(f64::from_bits(0xFFF8 << 48).into(), &hex("00 FFF8000000000000"));
    assert!(from_bytes(hex("00 FFF8000000000000")).unwrap().as_f64().unwrap().is_nan());
}

#[test]
fn booleans_and_null() {
    same(true.into(), &hex("01 01"));
    same(false.into(), &hex("01 00"));
    same(Value::Null, &hex("05"));
    both_ways(Value::Undefined, &hex("05"));
}

#[test]
fn objects() {
    let object = Value::object([("a", Value::from(1)), ("b", "x".into())]);
    same(object, &hex("11 0A0B01 0361 0401 0362 060378 01"));
    same(Object::new().into(), &hex("11 0A0B0101"));
}

#[test]
fn arrays() {
    let array = Value::array([1.into(), "two".into(), Value::Null]);
    same(array, &hex("11 0907 01 0401 060774776F 01"));
    same(Array::default().into(), &hex("11 090101"));
    let mixed = Array { dense: vec!["z".into()], named: vec![("k".into(), 1.into())] };
    same(mixed.into(), &hex("11 0903 036B 0401 01 06037A"));
}

#[test]
fn byte_arrays() {
    let content: Vec<u8> = (0..100).collect();
    let mut bytes = hex("11 0C8149");
    bytes.extend(&content);
    same(Bytes::from(content).into(), &bytes);

    let content: Vec<u8> = (0..307_200u32).map(|i| i as u8).collect();
    let mut bytes = hex("11 0CA5C001");
    bytes.extend(&content);
    assert_eq!(bytes.len(), 307_205); // 307207 with `18 <index>` in front
    same(Bytes::from(content).into(), &bytes);
}

#[test]
fn two_byte_arrays_in_an_object() {
    let bytes = || Value::from(Bytes::from_static(&[0, 1, 2]));
    let object = Value::object([("d", bytes()), ("e", bytes())]);
    same(object, &hex("110A0B0103640C0700010203650C0700010201"));
}

#[test]
fn date_and_xml() {
    let date = Date { milliseconds: 1e12, time_zone: 0 };
    same(date.into(), &hex("11 0801 426D1A94A2000000"));
    same(Value::Xml("<a>b</a>".into()), &hex("11 0B11 3C613E623C2F613E"));
}

#[test]
fn nested_object_with_string_and_traits_references() {
    let inner = Value::object([("s", 1.5)]);
    let object = Value::object([
        ("big", 536_870_912.into()), // beyond 29 bits: sent as a double
        ("s", Value::from("rep")),
        ("t", Value::array(["rep".into(), "rep".into(), inner])),
        ("u", true.into()),
        ("n", Value::Null),
        ("i", Value::from(-1)),
        ("d", 0.5.into()),
    ]);
    let bytes =
        hex("11 0A0B01 07626967 0541C0000000000000 0373 0607726570 0374 0907010604 0604 0A0102 \
         053FF8000000000000 01 0375 03 036E 01 0369 04FFFFFFFF 0364 053FE0000000000000 01");
    both_ways(object, &bytes);
    let text = from_bytes(bytes).unwrap().to_string();
    let expected = r#"{big: 536870912.0, s: "rep", t: ["rep", "rep", {s: 1.5}], u: true, n: null, i: -1, d: 0.5}"#;
    assert_eq!(text, expected);
}

#[test]
fn posted_object() {
    let object = Value::object([("seq", Value::from(15)), ("who", "p1-A".into())]);
    same(object, &hex("110A0B0107736571040F0777686F060970312D4101"));
}

#[test]
fn tables_run_on_over_the_values_of_a_message() {
    // The third value names the traits and the member name of the second.
    let body = hex("02 0004 6563686F 11 0A0B01 0361 06056869 01 11 0A01 00 0602 01");
    let mut values = Reader::new(body.clone()).read_all().unwrap();
    assert_eq!(values.len(), 3);
    assert_eq!(values[1], Value::object([("a", "hi")]));
    assert_eq!(values[2], Value::object([("a", "hi")]));

    let mut writer = Writer::new(Encoding::Amf3);
    for value in &values {
        writer.write(value).unwrap();
    }
    assert_eq!(writer.as_bytes(), body);

    // A value alone has tables of its own.
    let last = values.pop().unwrap();
    assert_eq!(to_bytes(&last).unwrap(), hex("11 0A0B01 0361 06056869 01"));
}

#[test]
fn undefined_stays_undefined_in_a_message() {
    let mut writer = Writer::new(Encoding::Amf3);
    writer.write(&Value::Undefined).unwrap().write(&Value::Null).unwrap();
    assert_eq!(writer.into_vec(), hex("06 05"));
}

#[test]
fn connect_command() {
    let body = hex("02 0007 636F6E6E656374 00 3FF0000000000000 03 \
         0003 617070 02 0004 6C697665 \
         0006 73776655726C 06 \
         0004 66706164 0100 \
         000C 6361706162696C6974696573 00 406D600000000000 \
         0000 09");
    let values = Reader::new(body.clone()).read_all().unwrap();
    assert_eq!(values[0].as_str(), Some("connect"));
    assert_eq!(values[2].property("app").and_then(Value::as_str), Some("live"));
    assert_eq!(values[2].property("capabilities").and_then(Value::as_u32), Some(235));
    assert_eq!(values[2].property("swfUrl"), Some(&Value::Undefined));
    assert_eq!(values[2].property("tcUrl"), None);

    let mut writer = Writer::after(vec![0x14, 0, 0, 0, 0], Encoding::Amf0);
    for value in &values {
        writer.write(value).unwrap();
    }
    assert_eq!(writer.as_bytes()[5..], body);
}
