//! One container in several places, and containers inside themselves.

use std::sync::Arc;

use super::{at, hex};
use crate::amf::{Encoding, Object, Reader, Value, Writer, from_bytes, to_bytes};

fn shared(a: &Value, b: &Value) -> bool {
    matches!((a, b), (Value::Object(a), Value::Object(b)) if Arc::ptr_eq(a, b))
}

#[test]
fn a_reference_is_the_same_object() {
    let bytes = hex("11 0A0B01 0361 0A010378 040101 0362 0A02 01");
    let value = from_bytes(bytes.clone()).unwrap();
    assert!(shared(at(&value, "a"), at(&value, "b")));
    assert_eq!(to_bytes(&value).unwrap(), bytes);
}

#[test]
fn equal_objects_are_not_shared() {
    let twice = Value::array([Object::new(), Object::new()]);
    let read = from_bytes(to_bytes(&twice).unwrap()).unwrap();
    let elements = read.elements().unwrap();
    assert!(!shared(&elements[0], &elements[1]));
}

#[test]
fn dates_and_bytes_count_in_the_table() {
    // [Date, ByteArray, {}, reference to the object: entry 3]
    let bytes = hex("11 0909 01 0801 426D1A94A2000000 0C0301 0A0B0101 0A06");
    let value = from_bytes(bytes.clone()).unwrap();
    let elements = value.elements().unwrap();
    assert!(shared(&elements[2], &elements[3]));
    assert_eq!(to_bytes(&value).unwrap(), bytes);
}

#[test]
fn a_referred_byte_array_is_a_slice_of_the_input() {
    let bytes = bytes::Bytes::from(hex("11 0905 01 0C05AABB 0C02"));
    let value = from_bytes(bytes.clone()).unwrap();
    for element in value.elements().unwrap() {
        let slice = element.as_bytes().unwrap();
        assert_eq!(slice.as_ptr(), bytes[6..].as_ptr());
        assert_eq!(slice[..], [0xAA, 0xBB]);
    }
}

#[test]
fn sharing_across_the_values_of_a_message() {
    let body = hex("11 0A0B0101 11 0A00 03 000009 07 0000");
    let values = Reader::new(body.clone()).read_all().unwrap();
    assert!(shared(&values[0], &values[1]));
    assert!(shared(&values[2], &values[3]));
}

#[test]
fn an_object_in_itself() {
    let bytes = hex("11 0A0B01 0973656C66 0A00 01");
    let value = from_bytes(bytes.clone()).unwrap();
    let Value::Cycle(cycle) = at(&value, "self") else { panic!("{value:?}") };
    assert!(shared(&cycle.upgrade().unwrap(), &value));
    assert_eq!(value.to_string(), "{self: <enclosing object>}");
    assert_eq!(to_bytes(&value).unwrap(), bytes);
    assert_eq!(value, from_bytes(bytes).unwrap());
}

#[test]
fn every_container_in_itself() {
    for bytes in [
        "11 0903 01 0900",
        "11 1003 00 01 1000",
        "11 1103 00 1100 1100",
        "11 0903 0361 0900 01 0900",
    ] {
        let bytes = hex(bytes);
        let value = from_bytes(bytes.clone()).unwrap();
        assert_eq!(to_bytes(&value).unwrap(), bytes);
        assert_eq!(value, from_bytes(bytes).unwrap());
    }
    let body = hex("0A 00000002 07 0000 08 00000000 0001 61 07 0001 000009");
    let value = Reader::new(body.clone()).read_value().unwrap();
    assert_eq!(Writer::new(Encoding::Amf0).write(&value).unwrap().as_bytes(), body);
}

#[test]
fn cycles_of_different_shape_differ() {
    // {a: {b: <outer>}} and {a: {b: <inner>}}
    let outer = from_bytes(hex("11 0A0B01 0361 0A01 0362 0A00 01 01")).unwrap();
    let inner = from_bytes(hex("11 0A0B01 0361 0A01 0362 0A02 01 01")).unwrap();
    assert_ne!(outer, inner);
    assert_eq!(outer.as_object(), outer.clone().as_object());
}

#[test]
fn a_cycle_does_not_keep_itself_alive() {
    let value = from_bytes(hex("11 0A0B01 0361 0A01 0362 0A00 01 01")).unwrap();
    let inner = at(&value, "a").clone();
    let Value::Cycle(cycle) = at(&inner, "b").clone() else { panic!() };
    assert!(cycle.upgrade().is_some());
    drop(value);
    assert!(cycle.upgrade().is_none());
    assert_eq!(to_bytes(&inner).unwrap(), hex("11 0A0B01 0362 01 01"));
}

#[test]
fn a_part_of_a_cycle_alone_is_written_with_what_it_leads_to() {
    let value = from_bytes(hex("11 0A0B01 0361 0A01 0362 0A00 01 01")).unwrap();
    let inner = at(&value, "a");
    // The inner object is entry 0 now, and the outer one inside it.
    assert_eq!(to_bytes(inner).unwrap(), hex("11 0A0B01 0362 0A01 0361 0A00 01 01"));
}

#[test]
fn a_dropped_value_is_not_mistaken_for_a_new_one() {
    let mut writer = Writer::new(Encoding::Amf3);
    for number in 0..100 {
        let before = writer.as_bytes().len();
        writer.write(&Value::object([("n", number)])).unwrap();
        assert!(writer.as_bytes().len() - before > 3, "a reference for object {number}");
    }
    let values = Reader::new(writer.into_bytes()).read_all().unwrap();
    for (number, value) in (0..).zip(&values) {
        assert_eq!(at(value, "n"), &Value::Integer(number));
    }
}
