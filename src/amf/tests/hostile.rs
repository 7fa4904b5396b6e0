//! Input made to hurt.

use super::hex;
use crate::amf::{AmfError, Encoding, MAX_DEPTH, Reader, Value, Writer, from_bytes, to_bytes};

/// AMF0 and AMF3 openings of a container with another one inside.
const OPENINGS: &[&str] = &[
    "03 0001 61",          // object
    "08 FFFFFFFF 0001 61", // ECMA array
    "0A 00000001",         // strict array
    "10 0001 43 0001 61",  // typed object
];
const OPENINGS_AMF3: &[&str] = &[
    "09 03 01",        // array, dense
    "09 01 0361",      // array, named
    "0A 0B 01 0361",   // object, dynamic
    "0A 13 0343 0361", // object, sealed
    "10 03 00 01",     // vector
    "11 03 00",        // dictionary, key
    "11 03 00 01",     // dictionary, value
];

#[test]
fn nested_a_hundred_thousand_times() {
    for opening in OPENINGS {
        let error = from_bytes(hex(opening).repeat(100_000)).unwrap_err();
        assert!(matches!(error, AmfError::TooDeep { .. }), "{opening}: {error}");
    }
    for opening in OPENINGS_AMF3 {
        let mut bytes = vec![0x11];
        bytes.extend(hex(opening).repeat(100_000));
        let error = from_bytes(bytes).unwrap_err();
        assert!(matches!(error, AmfError::TooDeep { .. }), "{opening}: {error}");
    }
}

#[test]
fn depth_counts_both_formats() {
    let nested = |amf0: usize, amf3: usize| {
        let mut bytes = hex("0A 00000001").repeat(amf0);
        bytes.push(0x11);
        bytes.extend(hex("09 03 01").repeat(amf3));
        bytes.push(0x01);
        bytes
    };
    assert!(from_bytes(nested(30, MAX_DEPTH - 30)).is_ok());
    let error = from_bytes(nested(30, MAX_DEPTH - 29)).unwrap_err();
    assert!(matches!(error, AmfError::TooDeep { .. }));
}

#[test]
fn writer_refuses_what_the_reader_would() {
    let nested = |levels| (0..levels).fold(Value::Null, |value, _| Value::array([value]));
    for encoding in [Encoding::Amf0, Encoding::Amf0Only, Encoding::Amf3] {
        let mut writer = Writer::new(encoding);
        assert!(writer.write(&nested(MAX_DEPTH)).is_ok());
        let error = writer.write(&nested(MAX_DEPTH + 1)).map(drop).unwrap_err();
        assert!(matches!(error, AmfError::TooDeep { .. }));
        assert!(writer.write(&nested(MAX_DEPTH)).is_ok());
        let values = Reader::new(writer.into_bytes()).read_all().unwrap();
        assert_eq!(values, [nested(MAX_DEPTH), nested(MAX_DEPTH)]);
    }
}

#[test]
fn depth_built_from_references() {
    // Each element is an array around the one before: a hundred levels, none nested in the bytes.
    let mut bytes = hex("11 09 83 01 01 09 01 01"); // 1st element: entry 1, empty
    for entry in 1..100u8 {
        bytes.extend(hex("09 03 01 09"));
        match entry << 1 {
            low @ ..0x80 => bytes.push(low),
            high => bytes.extend([0x81, high & 0x7F]),
        }
    }
    bytes.extend([0x01; 100]);
    let error = from_bytes(bytes).unwrap_err();
    assert!(matches!(error, AmfError::TooDeep { .. }), "{error}");
}

#[test]
fn depth_built_over_several_values() {
    // Value n is an array around value n - 1.
    let mut bytes = hex("11 09 01 01");
    for entry in 0..100u8 {
        bytes.extend(hex("11 09 03 01 09"));
        match entry << 1 {
            low @ ..0x80 => bytes.push(low),
            high => bytes.extend([0x81, high & 0x7F]),
        }
    }
    let mut reader = Reader::new(bytes);
    let levels = (0..).take_while(|_| reader.read_value().is_ok()).count();
    assert_eq!(levels, MAX_DEPTH);
    assert!(reader.is_empty());
}

#[test]
fn billion_laughs() {
    // Sixty arrays, each twice the one before.
    let mut bytes = hex("11 09 7B 01 09 01 01");
    for entry in 1..=60u8 {
        bytes.extend(hex("09 05 01"));
        bytes.extend([0x09, entry << 1, 0x09, entry << 1]);
    }
    let error = from_bytes(bytes).unwrap_err();
    assert!(matches!(error, AmfError::TooLarge { .. }), "{error}");
}

#[test]
fn a_long_string_referred_to_often() {
    let mut bytes = hex("11 09 86 8D 41 01 06 84 80 01"); // 100,000 elements, the first of 32 KiB
    bytes.resize(bytes.len() + 32_768, b'x');
    let short = bytes.len();
    for _ in 1..100_000 {
        bytes.extend([0x06, 0x00]);
    }
    let error = from_bytes(bytes).unwrap_err();
    assert!(matches!(error, AmfError::TooLarge { .. }), "{error}");
    assert!(error.offset() > short);
}

#[test]
fn long_member_names_referred_to_by_traits() {
    // A class with one member whose name has 32 KiB, and 100,000 instances of three bytes.
    let mut bytes = hex("11 09 86 8D 41 01 0A 13 01 84 80 01");
    bytes.resize(bytes.len() + 32_768, b'x');
    bytes.push(0x01);
    for _ in 1..100_000 {
        bytes.extend([0x0A, 0x01, 0x01]);
    }
    let error = from_bytes(bytes).unwrap_err();
    assert!(matches!(error, AmfError::TooLarge { .. }), "{error}");
}

#[test]
fn a_byte_array_referred_to_often() {
    let mut bytes = hex("11 09 86 8D 41 01 0C 84 80 01");
    bytes.resize(bytes.len() + 32_768, 0);
    for _ in 1..100_000 {
        bytes.extend([0x0C, 0x02]);
    }
    let error = from_bytes(bytes).unwrap_err();
    assert!(matches!(error, AmfError::TooLarge { .. }), "{error}");
}

#[test]
fn declared_lengths_beyond_the_input() {
    for bytes in [
        "0A FFFFFFFF 05", // strict array
        "0A 10000000 05",
        "11 09 FFFFFFFF 01 01", // array
        "11 0A FFFFFFF3 01",    // sealed members
        "11 0A A0808003 01",
        "11 0D FFFFFFFF 00 00",        // Vector.<int>
        "11 0E FFFFFFFF 00 00",        // Vector.<uint>
        "11 0F FFFFFFFF 00 00",        // Vector.<Number>
        "11 0D 05 00 00000001 000000", // 2 ints in 7 bytes
        "11 10 FFFFFFFF 00 01 01",     // vector of objects
        "11 11 FFFFFFFF 00 01",        // dictionary
        "11 11 05 00 01 01 01",        // 2 entries in 3 bytes
    ] {
        let error = from_bytes(hex(bytes)).unwrap_err();
        assert!(matches!(error, AmfError::TooMany { .. }), "{bytes}: {error}");
    }
    for bytes in
        ["02 FFFF 61", "0C FFFFFFFF 61", "0F FFFFFFFF", "11 06 FFFFFFFF", "11 0C FFFFFFFF 00"]
    {
        let error = from_bytes(hex(bytes)).unwrap_err();
        assert!(matches!(error, AmfError::Truncated { left: 0..=1, .. }), "{bytes}: {error}");
    }
}

#[test]
fn truncated_at_every_byte() {
    for bytes in [
        "11 0A0B01 07626967 0541C0000000000000 0374 0905010600 0A0102 03 01 01",
        "03 0001 61 00 3FF0000000000000 0001 62 0A 00000001 0B 426D1A94A2000000 0000 000009",
        "11 11 03 00 0A 13 0343 0361 0D 05 00 00000001 00000002 10 03 00 01 0C 05 AABB",
        "10 0001 43 0001 61 08 00000001 0001 6B 0C 00000001 61 000009 000009",
    ] {
        let bytes = hex(bytes);
        from_bytes(bytes.clone()).unwrap();
        for length in 0..bytes.len() {
            let error = from_bytes(bytes[..length].to_vec()).unwrap_err();
            assert!(
                matches!(error, AmfError::Truncated { .. } | AmfError::TooMany { .. }),
                "{length} bytes: {error}"
            );
            assert!(error.offset() <= length);
        }
    }
}

#[test]
fn references_to_nothing() {
    for (bytes, at) in [
        ("07 0000", 0),
        ("03 0001 61 07 0001 000009", 4),
        ("11 06 00", 2),
        ("11 0A 00", 1),
        ("11 0A 01", 1),
        ("11 09 FFFFFFFE", 1),
        ("11 0A 0B 01 00 01 01", 4), // an empty string is not in the table
    ] {
        let error = from_bytes(hex(bytes)).unwrap_err();
        assert!(matches!(error, AmfError::BadReference { .. }), "{bytes}: {error}");
        assert_eq!(error.offset(), at, "{bytes}");
    }
}

#[test]
fn text_that_is_not_utf8() {
    for (bytes, what, at) in [
        ("02 0001 FF", "string", 3),
        ("0C 00000002 C3 28", "long string", 5),
        ("02 0003 EDA080", "string", 3), // a lone surrogate
        ("03 0001 80 05 000009", "member name", 3),
        ("10 0001 80 000009", "class name", 3),
        ("11 06 03 FF", "string", 3),
        ("11 0A 0B 03 FF", "class name", 4),
        ("11 0B 03 FF", "XML", 3),
    ] {
        assert_eq!(from_bytes(hex(bytes)), Err(AmfError::InvalidUtf8 { what, at }), "{bytes}");
    }
}

#[test]
fn refused_by_name() {
    let error = from_bytes(hex("11 0A 07 0343 00")).unwrap_err();
    assert_eq!(error, AmfError::Externalizable { class_name: "C".into(), at: 1 });
    assert_eq!(error.to_string(), r#"externalizable object of class "C" at byte 1"#);
    assert_eq!(from_bytes(hex("04")), Err(AmfError::Reserved { name: "MovieClip", at: 0 }));
    assert_eq!(from_bytes(hex("0E")), Err(AmfError::Reserved { name: "RecordSet", at: 0 }));
    assert_eq!(from_bytes(hex("09")), Err(AmfError::UnexpectedEnd { at: 0 }));
    let unknown = |format, marker, at| Err(AmfError::UnknownMarker { format, marker, at });
    assert_eq!(from_bytes(hex("12")), unknown("AMF0", 0x12, 0));
    assert_eq!(from_bytes(hex("11 12")), unknown("AMF3", 0x12, 1));
    assert_eq!(from_bytes(hex("05 05")), Err(AmfError::Trailing { left: 1, at: 1 }));
}

#[test]
fn after_an_error_nothing_is_left() {
    let mut reader = Reader::new(hex("05 04 05 05"));
    assert_eq!(reader.read_value(), Ok(Value::Null));
    assert!(reader.read_value().is_err());
    assert!(reader.is_empty());
    assert!(reader.read_value().is_err());
}

#[test]
fn many_cycles_do_not_multiply() {
    // An object with 1,000 members, each the outer object; written from the inner one.
    let mut bytes = hex("11 0A0B01 0361 0A01 0362 0A00");
    bytes.extend(hex("02 0A00").repeat(999));
    bytes.extend([0x01, 0x01]);
    let value = from_bytes(bytes).unwrap();
    let part = value.property("a").unwrap();
    assert_eq!(part.members().len(), 1000);
    assert!(to_bytes(part).unwrap().len() < 10_000);
    let mut writer = Writer::new(Encoding::Amf0);
    writer.write(part).unwrap();
    assert!(writer.as_bytes().len() < 10_000);
    assert_eq!(value, value.clone());
}

#[test]
fn memory_is_bounded_whatever_the_values() {
    let many = 4 << 20;
    let array = |value: &[u8]| {
        // 1,048,575 elements.
        let mut bytes = hex("11 09 80 BF FF FF 01");
        bytes.extend(value.iter().copied().cycle().take(many));
        bytes
    };
    // Nulls, empty objects, dictionaries, names and texts of one byte.
    for value in ["01", "0A 0B 01 01", "11 01 00", "09 01 03 61 01 01", "06 03 61"] {
        let bytes = array(&hex(value));
        let error = from_bytes(bytes).unwrap_err();
        let AmfError::TooMuchMemory { at } = error else { panic!("{value}: {error}") };
        // 16 MiB and 16 times the input, at 80 bytes a value at least.
        assert!(at < (16 << 20) / 80 + many, "{value}: {at}");
    }
    // A hundred thousand integers, and twenty thousand objects with two members, are ordinary.
    let mut bytes = hex("11 09 8C 9A 41 01");
    bytes.extend(std::iter::repeat_n([0x04, 0x05], 100_000).flatten());
    assert!(from_bytes(bytes).is_ok());
    let mut bytes = hex("11 09 82 B8 41 01 0A 23 01 03 78 03 79 04 01 04 02");
    bytes.extend(hex("0A 01 04 01 04 02").into_iter().cycle().take(6 * 19_999));
    from_bytes(bytes).expect("objects");
}
