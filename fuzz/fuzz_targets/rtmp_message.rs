//! An RTMP message as a flow delivers it, down to the values of its command; and the same bytes as
//! the user metadata of a flow. What can be read can be written, and reads back as what was written.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rtmfp::proto::flash::{
    Body, Command, FlowMetadata, Message, ObjectEncoding, message, peer_info,
};

fuzz_target!(|input: &[u8]| {
    if let Some(kind) = FlowMetadata::parse(input) {
        assert_eq!(FlowMetadata::parse(&kind.encode()), Some(kind));
    }
    let Ok(parsed) = Message::parse(&Bytes::copy_from_slice(input)) else { return };
    let _ = format!("{parsed:?}");
    let written = parsed.encode();
    assert!(written.len() >= message::HEADER_LEN && written.len() <= input.len());
    assert_eq!(Message::parse(&written.into_bytes()), Ok(parsed.clone()));
    if let Body::Command(_, values) = parsed.body {
        command(&values);
    }
});

fn command(values: &Bytes) {
    let Ok(command) = Command::parse(values) else { return };
    let _ = (format!("{command:?}"), command.wants_answer());
    let addresses = peer_info::parse(&command.args);
    assert_eq!(peer_info::parse(&peer_info::encode(&addresses)), addresses);
    for encoding in [ObjectEncoding::Amf0, ObjectEncoding::Amf3] {
        let Ok(body) = command.encode(encoding) else { continue };
        let Body::Command(format, written) = &body else { panic!("not a command: {body:?}") };
        assert_eq!(*format, encoding.format());
        let again = Command::parse(written).expect("what was written can be read");
        assert_eq!(again.encode(encoding), Ok(body));
    }
}
