//! Values are read back as they were written.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::amf::{
    Array, Date, Dictionary, EcmaArray, Encoding, Object, ObjectVector, Reader, Value, Vector,
    Writer, from_bytes, to_bytes,
};

fn name() -> impl Strategy<Value = Arc<str>> {
    // Few names, so that references are used.
    prop_oneof!["[ab]", "[a-zé€ 0-9]{1,12}"].prop_map(Arc::from)
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(0.0), Just(-0.0), Just(f64::INFINITY), -1e10..1e10]
        .prop_filter("NaN is not equal to itself", |number| !number.is_nan())
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Undefined),
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        number().prop_map(Value::Number),
        (-(1 << 28)..1 << 28).prop_map(Value::Integer),
        ".{0,20}".prop_map(Value::from),
        name().prop_map(Value::String),
        number().prop_map(|milliseconds| Date { milliseconds, time_zone: 0 }.into()),
        ".{0,9}".prop_map(|text| Value::Xml(text.into())),
        ".{0,9}".prop_map(|text| Value::XmlDocument(text.into())),
        vec(any::<u8>(), 0..300).prop_map(|bytes| Bytes::from(bytes).into()),
        (any::<bool>(), vec(any::<i32>(), 0..5))
            .prop_map(|(fixed, items)| Value::VectorInt(Arc::new(Vector { fixed, items }))),
        (any::<bool>(), vec(any::<u32>(), 0..5))
            .prop_map(|(fixed, items)| Value::VectorUint(Arc::new(Vector { fixed, items }))),
        (any::<bool>(), vec(number(), 0..5))
            .prop_map(|(fixed, items)| Value::VectorDouble(Arc::new(Vector { fixed, items }))),
    ]
}

fn object(value: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Object> {
    let members = || vec((name(), value.clone()), 0..4);
    let class_name = prop_oneof![Just(Arc::from("")), name()];
    (class_name, members(), members()).prop_map(|(class_name, sealed, dynamic)| {
        let object = if class_name.is_empty() { Object::new() } else { Object::typed(class_name) };
        let object = sealed.into_iter().fold(object, |object, (n, v)| object.with_sealed(n, v));
        dynamic.into_iter().fold(object, |object, (n, v)| object.with(n, v))
    })
}

/// Values that AMF3 carries without loss; some containers are there twice.
fn amf3_value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(5, 60, 6, |value| {
        let values = vec(value.clone(), 0..6);
        prop_oneof![
            object(value.clone()).prop_map(Value::from),
            (values.clone(), vec((name(), value.clone()), 0..3)).prop_map(|(dense, named)| Array {
                dense,
                named
            }
            .into()),
            (any::<bool>(), name(), values).prop_map(|(fixed, class_name, items)| ObjectVector {
                class_name,
                fixed,
                items
            }
            .into()),
            (any::<bool>(), vec((value.clone(), value.clone()), 0..4))
                .prop_map(|(weak_keys, entries)| Dictionary { weak_keys, entries }.into()),
            value.prop_map(|value| Value::array([value.clone(), value.clone(), value])),
        ]
    })
}

/// Values that AMF0 carries without loss.
fn amf0_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Undefined),
        Just(Value::Null),
        Just(Value::Unsupported),
        any::<bool>().prop_map(Value::Boolean),
        number().prop_map(Value::Number),
        ".{0,20}".prop_map(Value::from),
        (number(), any::<i16>()).prop_map(|(milliseconds, time_zone)| Date {
            milliseconds,
            time_zone
        }
        .into()),
        ".{0,9}".prop_map(|text| Value::XmlDocument(text.into())),
        vec(any::<u8>(), 0..9).prop_map(|bytes| Bytes::from(bytes).into()),
    ];
    leaf.prop_recursive(5, 60, 6, |value| {
        let members = || vec((name(), value.clone()), 0..5);
        prop_oneof![
            (prop_oneof![Just(Arc::from("")), name()], members()).prop_map(
                |(class_name, members)| Object::from_parts(class_name, 0, true, members).into()
            ),
            (any::<u32>(), members())
                .prop_map(|(length, members)| EcmaArray { length, members }.into()),
            vec(value.clone(), 0..6).prop_map(Value::array),
            value.prop_map(|value| Value::array([value.clone(), value])),
        ]
    })
}

proptest! {
    #[test]
    fn amf3_message(values in vec(amf3_value(), 0..4)) {
        let mut writer = Writer::new(Encoding::Amf3);
        for value in &values {
            writer.write_amf3(value).unwrap();
        }
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(bytes.clone());
        let mut again = Writer::new(Encoding::Amf3);
        for value in &values {
            let read = reader.read_amf3().unwrap();
            prop_assert_eq!(&read, value);
            again.write_amf3(&read).unwrap();
        }
        prop_assert!(reader.is_empty());
        prop_assert_eq!(again.into_bytes(), bytes);
    }

    #[test]
    fn amf0_message(values in vec(amf0_value(), 0..4)) {
        let mut writer = Writer::new(Encoding::Amf0);
        for value in &values {
            writer.write(value).unwrap();
        }
        let bytes = writer.into_bytes();
        let read = Reader::new(bytes.clone()).read_all().unwrap();
        prop_assert_eq!(&read, &values);
        let mut again = Writer::new(Encoding::Amf0);
        for value in &read {
            again.write(value).unwrap();
        }
        prop_assert_eq!(again.into_bytes(), bytes);
    }

    #[test]
    fn one_value(value in amf3_value()) {
        let bytes = to_bytes(&value).unwrap();
        let read = from_bytes(bytes.clone()).unwrap();
        prop_assert_eq!(to_bytes(&read).unwrap(), bytes.clone());
        for length in 0..bytes.len() {
            prop_assert!(from_bytes(bytes.slice(..length)).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes(bytes in vec(prop_oneof![0u8..0x12, any::<u8>()], 0..200)) {
        let mut reader = Reader::new(bytes);
        while let Ok(value) = reader.read_value() {
            let _ = format!("{value:?}");
            if let Ok(bytes) = to_bytes(&value) {
                let read = from_bytes(bytes.clone()).unwrap();
                prop_assert_eq!(to_bytes(&read).unwrap(), bytes);
            }
        }
    }
}
