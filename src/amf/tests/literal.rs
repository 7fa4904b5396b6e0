//! Every type of both formats, as the specifications write it.

use super::hex;
use crate::amf::{
    AmfError, Array, Date, Dictionary, EcmaArray, Encoding, Object, ObjectVector, Reader, Value,
    Vector, Writer,
};
use bytes::Bytes;
use std::sync::Arc;

#[track_caller]
fn amf0(value: Value, bytes: &str) {
    let bytes = hex(bytes);
    let mut reader = Reader::new(bytes.clone());
    assert_eq!(reader.read_value().unwrap(), value);
    assert!(reader.is_empty());
    assert_eq!(Writer::new(Encoding::Amf0).write(&value).unwrap().as_bytes(), bytes);
}

#[track_caller]
fn amf3(value: Value, bytes: &str) {
    let bytes = hex(bytes);
    let mut reader = Reader::new(bytes.clone());
    assert_eq!(reader.read_amf3().unwrap(), value);
    assert!(reader.is_empty());
    assert_eq!(Writer::new(Encoding::Amf0).write_amf3(&value).unwrap().as_bytes(), bytes);
}

#[test]
fn amf0_plain_values() {
    amf0(Value::Undefined, "06");
    amf0(Value::Unsupported, "0D");
    let date = Date { milliseconds: 1e12, time_zone: -120 };
    amf0(date.into(), "0B 426D1A94A2000000 FF88");
    amf0(Value::XmlDocument("<a/>".into()), "0F 00000004 3C612F3E");
}

#[test]
fn amf0_containers() {
    let object = Object::new().with("a", 1.0).with("", true).with("b", Object::new());
    amf0(object.into(), "03 0001 61 00 3FF0000000000000 0000 0101 0001 62 03 000009 000009");
    amf0(
        EcmaArray { length: 7, members: vec![("0".into(), Value::Null)] }.into(),
        "08 00000007 0001 30 05 000009",
    );
    amf0(Value::array([Value::Null, "x".into()]), "0A 00000002 05 02 0001 78");
    let typed = Value::from(Object::typed("C").with("a", Value::Null));
    amf0(typed, "10 0001 43 0001 61 05 000009");
}

#[test]
fn amf0_array_with_names_is_an_ecma_array() {
    let mixed = Array { dense: vec![true.into()], named: vec![("k".into(), Value::Null)] };
    let mut writer = Writer::new(Encoding::Amf0);
    writer.write(&mixed.into()).unwrap();
    assert_eq!(writer.as_bytes(), hex("08 00000001 0001 30 0101 0001 6B 05 000009"));
}

#[test]
fn amf0_switches_to_amf3_inside_an_object() {
    let object = Object::new().with("b", Bytes::from_static(b"\x2A"));
    amf0(object.into(), "03 0001 62 11 0C03 2A 000009");
}

#[test]
fn amf0_reference() {
    let inner = Value::from(Object::new());
    let outer = Value::array([inner.clone(), inner]);
    amf0(outer, "0A 00000002 03 000009 07 0001");
}

#[test]
fn amf3_integers() {
    for (number, bytes) in [
        (0, "04 00"),
        (0x7F, "04 7F"),
        (0x80, "04 8100"),
        (0x3FFF, "04 FF7F"),
        (0x4000, "04 818000"),
        (0x1F_FFFF, "04 FFFF7F"),
        (0x20_0000, "04 80C08000"),
        (0xFFF_FFFF, "04 BFFFFFFF"),
        (-1, "04 FFFFFFFF"),
        (-0x1000_0000, "04 C0808000"),
    ] {
        amf3(number.into(), bytes);
    }
    for number in [0x1000_0000, -0x1000_0001] {
        let mut writer = Writer::new(Encoding::Amf3);
        writer.write_amf3(&number.into()).unwrap();
        assert_eq!(writer.as_bytes()[0], 0x05);
        let read = Reader::new(writer.into_bytes()).read_amf3().unwrap();
        assert_eq!(read, f64::from(number).into());
    }
}

#[test]
fn amf3_plain_values() {
    amf3(Value::Undefined, "00");
    amf3(Value::Null, "01");
    amf3(false.into(), "02");
    amf3(true.into(), "03");
    amf3(0.5.into(), "05 3FE0000000000000");
    amf3("".into(), "06 01");
    amf3("a".into(), "06 0361");
    amf3(Value::XmlDocument("<a/>".into()), "07 09 3C612F3E");
    amf3(Bytes::new().into(), "0C 01");
}

#[test]
fn amf3_sealed_and_dynamic_members() {
    let typed = Object::typed("C").with_sealed("a", 1).with_sealed("b", 2);
    amf3(typed.clone().into(), "0A 23 0343 0361 0362 0401 0402");
    assert!(!typed.is_dynamic());
    let both = typed.with("d", 3).with_sealed("c", 4);
    assert_eq!(both.sealed().len(), 3);
    assert_eq!(both.dynamic().len(), 1);
    amf3(both.into(), "0A 3B 0343 0361 0362 0363 0401 0402 0404 0364 0403 01");
}

#[test]
fn amf3_traits_are_shared_by_content() {
    let one = |n: i32| Value::from(Object::typed("C").with_sealed("a", n));
    let other = Value::from(Object::typed("C").with_sealed("b", 3));
    amf3(
        Value::array([one(1), one(2), other]),
        "09 07 01 0A 13 0343 0361 0401 0A 01 0402 0A 13 00 0362 0403",
    );
}

#[test]
fn amf3_vectors() {
    let ints = Vector { fixed: true, items: vec![1, -1] };
    amf3(Value::VectorInt(Arc::new(ints)), "0D 05 01 00000001 FFFFFFFF");
    let uints = Vector { fixed: false, items: vec![u32::MAX] };
    amf3(Value::VectorUint(Arc::new(uints)), "0E 03 00 FFFFFFFF");
    let doubles = Vector { fixed: false, items: vec![0.5] };
    amf3(Value::VectorDouble(Arc::new(doubles)), "0F 03 00 3FE0000000000000");
    let objects =
        ObjectVector { class_name: "C".into(), fixed: false, items: vec![Value::Null, 1.into()] };
    amf3(objects.into(), "10 05 00 0343 01 0401");
}

#[test]
fn amf3_dictionary() {
    let entries = vec![(1.into(), "x".into()), (Object::new().into(), Value::Null)];
    amf3(Dictionary { weak_keys: true, entries }.into(), "11 05 01 0401 060378 0A 0B 01 01 01");
}

#[test]
fn unencodable_values_leave_the_message_as_it_was() {
    let mut writer = Writer::new(Encoding::Amf3);
    let good = Value::object([("a", "x")]);
    let bad = Value::array([Value::object([("b", "y")]), Value::object([("", "z")])]);
    writer.write(&good).unwrap();
    let before = writer.as_bytes().to_vec();
    assert!(matches!(writer.write(&bad), Err(AmfError::EmptyName { .. })));
    assert_eq!(writer.as_bytes(), before);
    // Neither the strings nor the objects of the failed value are referred to.
    writer.write(&Value::object([("b", Value::from("y")), ("c", good)])).unwrap();
    assert_eq!(writer.as_bytes()[before.len()..], hex("11 0A01 0362 060379 0363 0A00 01"));

    let long = Value::object([("n".repeat(65_536), 1)]);
    let mut writer = Writer::new(Encoding::Amf0);
    let error = writer.write(&long).map(drop).unwrap_err();
    assert!(matches!(error, AmfError::TooLong { what: "member name", length: 65_536, .. }));
    assert!(writer.as_bytes().is_empty());
}

#[test]
fn accessors() {
    let value = Value::object([("n", Value::from(3)), ("s", "t".into()), ("n", 4.5.into())]);
    assert_eq!(value.property("n").and_then(Value::as_f64), Some(4.5));
    assert_eq!(value.property("s").and_then(Value::as_str), Some("t"));
    assert_eq!(value.members().len(), 3);
    assert_eq!(value.as_str(), None);
    assert_eq!(Value::from(-1).as_u32(), None);
    assert_eq!(Value::from(1.5).as_u32(), None);
    assert_eq!(Value::from(f64::NAN).as_u32(), None);
    assert_eq!(Value::from(4294967295.0).as_u32(), Some(u32::MAX));
    assert_eq!(Value::from(4294967296.0).as_u32(), None);
    assert_eq!(Value::from(u32::MAX), Value::Number(4294967295.0));
    assert!(Value::Undefined.is_nothing() && Value::Null.is_nothing());
    assert_eq!(Value::array([1, 2]).elements().map(<[Value]>::len), Some(2));
}
