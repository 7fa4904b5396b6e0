//! [`Metadata`]: the script data `onMetaData`.

use crate::amf::{Reader, Value};
use bytes::Bytes;
use std::time::Duration;

/// Keyframes of which the place is kept; of a longer list, the first.
pub const MAX_KEYFRAMES: usize = 200_000;

/// The longest duration that is believed, in seconds: four months.
const MAX_SECONDS: f64 = 1e7;

/// The place of a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyframe {
    /// Its time from the beginning.
    pub time: Duration,
    /// The position of its tag in the file, in bytes.
    pub position: u64,
}

/// What the writer of a file states about it. None of it need be true.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metadata {
    /// The length of the film.
    pub duration: Option<Duration>,
    /// The keyframes by time, ascending; empty if they are not listed.
    pub keyframes: Vec<Keyframe>,
}

impl Metadata {
    /// The metadata in the data of a script tag. `None` if it is another script.
    pub fn parse(data: &Bytes) -> Option<Self> {
        let mut reader = Reader::new(data.clone());
        if reader.read_value().ok()?.as_str() != Some("onMetaData") {
            return None;
        }
        let values = reader.read_value().ok()?;
        let duration = values.property("duration").and_then(time).filter(|time| !time.is_zero());
        let keyframes = values.property("keyframes").map(keyframes).unwrap_or_default();
        Some(Self { duration, keyframes })
    }

    /// The last keyframe that is not after `time`.
    pub fn keyframe_before(&self, time: Duration) -> Option<Keyframe> {
        let after = self.keyframes.partition_point(|keyframe| keyframe.time <= time);
        self.keyframes.get(after.checked_sub(1)?).copied()
    }
}

/// A time in seconds.
fn time(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().filter(|seconds| *seconds <= MAX_SECONDS)?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The object with the lists `times` and `filepositions`, up to the first entry that is not in order.
fn keyframes(value: &Value) -> Vec<Keyframe> {
    let list = |name| value.property(name).and_then(Value::elements).unwrap_or_default();
    let mut found: Vec<Keyframe> = Vec::new();
    for (at, position) in list("times").iter().zip(list("filepositions")).take(MAX_KEYFRAMES) {
        let position = position.as_f64().filter(|it| (0.0..=9e15).contains(it));
        let (Some(time), Some(position)) = (time(at), position) else { break };
        if found.last().is_some_and(|last| last.time > time) {
            break;
        }
        found.push(Keyframe { time, position: position as u64 });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf;

    fn metadata(values: Value) -> Option<Metadata> {
        let mut data = amf::to_bytes(&"onMetaData".into()).unwrap().to_vec();
        data.extend_from_slice(&amf::to_bytes(&values).unwrap());
        Metadata::parse(&data.into())
    }

    fn numbers(values: &[f64]) -> Value {
        Value::array(values.iter().copied())
    }

    #[test]
    fn duration_and_keyframes() {
        let keyframes = Value::object([
            ("times", numbers(&[0.0, 2.0, 4.5])),
            ("filepositions", numbers(&[500.0, 9_000.0, 20_000.0])),
        ]);
        let values = Value::object([("duration", 6.5.into()), ("keyframes", keyframes)]);
        let metadata = metadata(values).unwrap();
        assert_eq!(metadata.duration, Some(Duration::from_millis(6_500)));
        let before = |ms| metadata.keyframe_before(Duration::from_millis(ms)).map(|it| it.position);
        assert_eq!(before(0), Some(500));
        assert_eq!(before(1_999), Some(500));
        assert_eq!(before(2_000), Some(9_000));
        assert_eq!(before(100_000), Some(20_000));
    }

    #[test]
    fn hostile_numbers_are_left_out() {
        for duration in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
            let found = metadata(Value::object([("duration", duration)])).unwrap();
            assert_eq!(found.duration, None, "{duration}");
        }
        let keyframes = Value::object([
            ("times", numbers(&[0.0, 4.0, 2.0])),
            ("filepositions", numbers(&[1.0, 2.0, 3.0])),
        ]);
        let found = metadata(Value::object([("keyframes", keyframes)])).unwrap();
        assert_eq!(found.keyframes.len(), 2, "the third is not in order");
        let keyframes = Value::object([
            ("times", numbers(&[0.0])),
            ("filepositions", numbers(&[f64::NEG_INFINITY])),
        ]);
        let found = metadata(Value::object([("keyframes", keyframes)])).unwrap();
        assert!(found.keyframes.is_empty());
    }

    #[test]
    fn hostile_scripts_are_no_metadata() {
        for data in [&b""[..], b"\x02\x00\x02hi", b"\x02\x00\x0aonMetaData", b"\x02\xff\xffx"] {
            assert_eq!(Metadata::parse(&Bytes::copy_from_slice(data)), None, "{data:?}");
        }
    }
}
