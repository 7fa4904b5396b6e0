use super::*;
use crate::crypto::Fingerprint;
use crate::flash::group_channel::GroupId;
use crate::trace::flows::{FlowKey, Side};

#[derive(Debug, Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Sink for Files {
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.entry(name.to_owned()).or_default().extend_from_slice(bytes);
        Ok(())
    }
}

fn message(class: FlowClass) -> FlowMessage {
    FlowMessage {
        key: FlowKey { session: 3, side: Side::Responder, flow: 2 },
        class,
        layout: None,
        first: 1,
        last: 1,
        chunk: 0,
        group: Some(GroupId([0xab; 32])),
        stream: Some(Fingerprint([0xcd; 32]).0),
        bytes: 0..0,
    }
}

fn extracted(class: FlowClass, messages: &[&[u8]]) -> BTreeMap<String, Vec<u8>> {
    let mut extractor = Extractor::new(Files::default());
    for bytes in messages {
        extractor.message(&message(class), bytes).unwrap();
    }
    extractor.finish().unwrap();
    assert_eq!(extractor.counts(), (extractor.sink.0.len(), 0));
    extractor.sink.0
}

#[test]
fn a_stream_is_an_flv() {
    let messages: [&[u8]; 4] =
        [b"\x08\x01\x02\x03\x04ab", b"\x0f\0\0\0\x05\0x", b"\x14\0\0\0\0no", b"\x09\0\0"];
    let files = extracted(FlowClass::Tc(7), &messages);
    let tags =
        b"\x08\0\0\x02\x02\x03\x04\x01\0\0\0ab\0\0\0\x0d\x12\0\0\x01\0\0\x05\0\0\0\0x\0\0\0\x0c";
    assert_eq!(
        files["session-3-responder-stream-7.flv"],
        [&flv::header(true, true)[..], tags].concat()
    );
    assert_eq!(files.len(), 1);
}

#[test]
fn objects_and_posts_once_each() {
    let class = FlowClass::Group(FlowKind::Replication);
    // The byte array [1, 2] in AMF3, a string in AMF0.
    let bytes: [&[u8]; 4] = [
        b"\x18\x05\x11\x0c\x05\x01\x02",
        b"\x18\x05\x11\x0c\x05\x01\x02",
        b"\x18\x06\x02\0\x01x",
        b"\x1a\x05",
    ];
    let files = extracted(class, &bytes);
    assert_eq!(files["group-abababababababab-object-5.bin"], [1, 2]);
    assert_eq!(files["group-abababababababab-object-6.amf"], b"\x02\0\x01x");
    assert_eq!(files.len(), 2);
    let files = extracted(FlowClass::Group(FlowKind::PostingValues), &[&b"\x02\0\x05fromB"[..]; 2]);
    assert_eq!(files.into_values().collect::<Vec<_>>(), [b"\x02\0\x05fromB"]);
}

#[test]
fn fragments_in_any_order_make_the_stream() {
    let class = FlowClass::Group(FlowKind::MulticastData);
    let (first, middle, last): (&[u8], &[u8], &[u8]) =
        (b"\x30\x01\x02\x09\0\0\0\x01ab", b"\x10\x02\x01cd", b"\x00\x03e");
    let whole: &[u8] = b"\x20\x04\x08\0\0\0\x02f";
    let orphan: &[u8] = b"\x00\x09zz";
    let files = extracted(class, &[last, first, whole, orphan, middle, first]);
    let tags =
        b"\x09\0\0\x05\0\0\x01\0\0\0\0abcde\0\0\0\x10\x08\0\0\x01\0\0\x02\0\0\0\0f\0\0\0\x0c";
    let file = &files["group-abababababababab-stream-cdcdcdcdcdcdcdcd.flv"];
    assert_eq!(*file, [&flv::header(true, true)[..], tags].concat());
}

#[test]
fn hostile_fragments_are_bounded() {
    let mut assembly = Assembly::default();
    for number in 2..(2 * MAX_WINDOW as u64) {
        let fragment = crate::group::message::cut(b"\x08\0\0\0\0", number).next().unwrap();
        let parsed = MulticastData::parse(&fragment).unwrap();
        let MulticastData::Fragment(fragment) = parsed else { panic!("a fragment was cut") };
        assembly.add(fragment);
        while assembly.is_full() && assembly.skip() {
            while assembly.take().is_some() {}
        }
        assert!(assembly.waiting.len() <= MAX_WINDOW);
    }
}

/// The player was seen to leave out how many fragments follow.
#[test]
fn a_first_fragment_without_the_number_of_those_that_follow() {
    let class = FlowClass::Group(FlowKind::MulticastData);
    let files = extracted(class, &[b"\x30\x01\x09\0\0\0\x01ab", b"\x00\x02cd", b"", b"\x10\x80"]);
    let tag = b"\x09\0\0\x04\0\0\x01\0\0\0\0abcd\0\0\0\x0f";
    let file = &files["group-abababababababab-stream-cdcdcdcdcdcdcdcd.flv"];
    assert_eq!(*file, [&flv::header(true, true)[..], tag].concat());
}
