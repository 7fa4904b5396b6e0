//! The same bytes through an independent AMF reader: flash-lso finds the same values.
//!
//! flash-lso has no handles to shared containers, so the generated values share none; it keeps its
//! own numbering of references, so they are left out too. It reads AMF3 inside AMF0 only.

use std::sync::Arc;

use bytes::Bytes;
use flash_lso::amf0::read::AMF0Decoder;
use flash_lso::types::{Attribute, Element, Value as Theirs};
use proptest::collection::vec;
use proptest::prelude::*;
use rtmfp::amf::{
    Array, Date, Dictionary, EcmaArray, Encoding, Object, ObjectVector, Reader, Value, Vector,
    Writer,
};

/// What the oracle reads, in our terms. Its arrays and XML do not contain their format: `amf3` does.
fn ours(theirs: &Theirs, amf3: bool) -> Value {
    let values = |values: &[Theirs]| values.iter().map(|value| ours(value, amf3)).collect();
    let members = |elements: &[Element]| -> Vec<(Arc<str>, Value)> {
        elements
            .iter()
            .map(|element| (element.name.as_str().into(), ours(&element.value, amf3)))
            .collect()
    };
    match theirs {
        Theirs::Undefined => Value::Undefined,
        Theirs::Null => Value::Null,
        Theirs::Unsupported => Value::Unsupported,
        Theirs::Bool(truth) => (*truth).into(),
        Theirs::Number(number) => (*number).into(),
        Theirs::Integer(number) => (*number).into(),
        Theirs::String(text) => text.as_str().into(),
        Theirs::XML { value, is_string: true } if amf3 => Value::Xml(value.as_str().into()),
        Theirs::XML { value, .. } => Value::XmlDocument(value.as_str().into()),
        Theirs::Date { time, timezone_or_utc } => {
            let time_zone = timezone_or_utc.unwrap_or(0) as i16;
            Date { milliseconds: *time, time_zone }.into()
        }
        Theirs::ByteArray(bytes) => Bytes::from(bytes.clone()).into(),
        Theirs::AMF3(value) => ours(value, true),
        Theirs::StrictArray { values: dense, .. } => {
            Value::array::<Value>(dense.iter().map(|value| ours(value, amf3)).collect::<Vec<_>>())
        }
        Theirs::ECMAArray { data, .. } if amf3 => {
            Array { dense: values(&data.dense), named: members(&data.elements) }.into()
        }
        Theirs::ECMAArray { data, .. } => {
            EcmaArray { length: data.length, members: members(&data.elements) }.into()
        }
        Theirs::VectorInt(vector) => Value::VectorInt(Arc::new(Vector {
            fixed: vector.fixed_length,
            items: vector.values.clone(),
        })),
        Theirs::VectorUInt(vector) => Value::VectorUint(Arc::new(Vector {
            fixed: vector.fixed_length,
            items: vector.values.clone(),
        })),
        Theirs::VectorDouble(vector) => Value::VectorDouble(Arc::new(Vector {
            fixed: vector.fixed_length,
            items: vector.values.clone(),
        })),
        Theirs::VectorObject { data, .. } => ObjectVector {
            class_name: data.object_type_name.as_str().into(),
            fixed: data.fixed_length,
            items: values(&data.values),
        }
        .into(),
        Theirs::Dictionary { data, .. } => Dictionary {
            weak_keys: data.weak_keys,
            entries: data
                .elements
                .iter()
                .map(|entry| (ours(&entry.key, amf3), ours(&entry.value, amf3)))
                .collect(),
        }
        .into(),
        Theirs::Object { data, .. } => {
            let class = data.class_definition.as_ref();
            let sealed = class.map_or(0, |class| class.static_properties.len());
            let dynamic = class.is_none_or(|class| class.attributes.contains(Attribute::Dynamic));
            let name = class.map_or("", |class| &class.name);
            let mut object = match dynamic && name.is_empty() {
                true => Object::new(),
                false => Object::typed(name),
            };
            for (index, (name, value)) in members(&data.elements).into_iter().enumerate() {
                object = match index < sealed {
                    true => object.with_sealed(name, value),
                    false => object.with(name, value),
                };
            }
            object.into()
        }
        other => panic!("not generated: {other:?}"),
    }
}

#[track_caller]
fn check(value: &Value, encoding: Encoding) {
    let mut writer = Writer::new(encoding);
    writer.write(value).unwrap();
    let bytes = writer.into_bytes();
    let (rest, theirs) = AMF0Decoder::default().parse_single_element(&bytes).unwrap();
    assert!(rest.is_empty(), "{} bytes left after {value:?}", rest.len());
    assert_eq!(&ours(&theirs, false), value);
    assert_eq!(&Reader::new(bytes).read_value().unwrap(), value);
}

fn name() -> impl Strategy<Value = Arc<str>> {
    prop_oneof!["[ab]", "[a-zé€ 0-9]{1,12}"].prop_map(Arc::from)
}

fn number() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("NaN is not equal to itself", |number| !number.is_nan())
}

fn plain() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Undefined),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ]
}

fn amf0_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        plain(),
        ".{0,9}".prop_map(|text| Value::XmlDocument(text.into())),
        (number(), any::<i16>()).prop_map(|(milliseconds, time_zone)| Date {
            milliseconds,
            time_zone
        }
        .into()),
    ];
    leaf.prop_recursive(4, 40, 6, |value| {
        let members = || vec((name(), value.clone()), 0..5);
        prop_oneof![
            members().prop_map(Value::object),
            (name(), vec((name(), value.clone()), 1..5)).prop_map(|(class_name, members)| {
                let object = Object::typed(class_name);
                let add = |object: Object, (name, value)| object.with(name, value);
                members.into_iter().fold(object, add).into()
            }),
            (any::<u32>(), members())
                .prop_map(|(length, members)| EcmaArray { length, members }.into()),
            vec(value.clone(), 0..6).prop_map(Value::array),
        ]
    })
}

fn amf3_value() -> impl Strategy<Value = Value> {
    let vector = || (any::<bool>(), vec(any::<u32>(), 0..5));
    let leaf = prop_oneof![
        plain(),
        (-(1 << 28)..1 << 28).prop_map(Value::Integer),
        name().prop_map(Value::String),
        ".{0,9}".prop_map(|text| Value::XmlDocument(text.into())),
        ".{0,9}".prop_map(|text| Value::Xml(text.into())),
        number().prop_map(|milliseconds| Date { milliseconds, time_zone: 0 }.into()),
        vec(any::<u8>(), 0..300).prop_map(|bytes| Bytes::from(bytes).into()),
        vector().prop_map(|(fixed, items)| Value::VectorUint(Arc::new(Vector { fixed, items }))),
        vector().prop_map(|(fixed, items)| {
            let items = items.into_iter().map(u32::cast_signed).collect();
            Value::VectorInt(Arc::new(Vector { fixed, items }))
        }),
        vector().prop_map(|(fixed, items)| {
            let items = items.into_iter().map(f64::from).collect();
            Value::VectorDouble(Arc::new(Vector { fixed, items }))
        }),
    ];
    leaf.prop_recursive(4, 40, 6, |value| {
        let members = || vec((name(), value.clone()), 0..4);
        let values = || vec(value.clone(), 0..6);
        prop_oneof![
            members().prop_map(Value::object),
            (name(), members(), members()).prop_map(|(class_name, sealed, dynamic)| {
                let object = Object::typed(class_name);
                let object = sealed.into_iter().fold(object, |o, (n, v)| o.with_sealed(n, v));
                dynamic.into_iter().fold(object, |o, (n, v)| o.with(n, v)).into()
            }),
            (values(), members()).prop_map(|(dense, named)| Array { dense, named }.into()),
            (any::<bool>(), name(), values()).prop_map(|(fixed, class_name, items)| {
                ObjectVector { class_name, fixed, items }.into()
            }),
            (any::<bool>(), vec((value.clone(), value.clone()), 0..4))
                .prop_map(|(weak_keys, entries)| Dictionary { weak_keys, entries }.into()),
        ]
    })
}

proptest! {
    #[test]
    fn amf0(value in amf0_value()) {
        check(&value, Encoding::Amf0);
    }

    #[test]
    fn amf3(value in amf3_value().prop_filter("plain values stay AMF0", |value| {
        !matches!(value, Value::Integer(_))
    })) {
        check(&value, Encoding::Amf3);
    }
}
