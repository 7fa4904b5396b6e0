use super::*;
use crate::trace::{Analyzer, DatagramRef, Decoder, KeyLog};
use crate::wire::chunk::{InitiatorHello, Redirect};
use crate::wire::{Chunk, Mode};
use proptest::prelude::*;
use std::time::Duration;

/// A startup packet with a hello and a redirect, the second of two that are a second apart.
fn chosen(filter: &str) -> bool {
    let mut analyzer = Analyzer::new(Decoder::new(KeyLog::default()));
    let mut scratch = Vec::new();
    let chunks = [
        Chunk::InitiatorHello(InitiatorHello { epd: b"", tag: b"tag" }),
        Chunk::Redirect(Redirect::new(b"tag", &[], &mut scratch)),
    ];
    let payload = crate::trace::writer::startup_packet(0, Mode::Startup, &chunks);
    let filter: Filter = filter.parse().unwrap();
    let mut last = false;
    for frame in 1..=2 {
        let datagram = DatagramRef {
            frame,
            time: Duration::from_secs(100 + frame),
            source: ([10, 0, 0, 5], 4000).into(),
            destination: ([0x20, 1, 0xdb8, 0, 0, 0, 0, 1], 1935).into(),
            payload: &payload,
            missing: 0,
        };
        last = filter.matches(&analyzer.feed(&datagram));
    }
    last
}

#[test]
fn filters_choose_packets() {
    for yes in [
        "chunk==IHello && ip==10.0.0.5",
        "chunk == ihello and src == 10.0.0.5:4000",
        "chunk==0x71",
        "dst==20:1:db8::1",
        "dst==[20:1:db8::1]",
        "dst==[20:1:db8::1]:1935 && port==1935 && port==4000",
        "kind==startup",
        "kind != responder",
        "frame==2 && time>=1 && time<1.001",
        "!(chunk==UserData) && !session && not flow",
        "session==1 || frame>1",
        "frame=2",
        "len>0x10",
        "chunk",
        "ip!=10.0.0.6",
        "session!=7",
        "message!=\"Command\"",
        "kind==startup && frame==1 || frame==2",
    ] {
        assert!(chosen(yes), "{yes}");
    }
    for no in [
        "chunk!=IHello",
        "src==20:1:db8::1",
        "ip!=10.0.0.5",
        "port!=1935",
        "message",
        "group==ab",
        "session",
        "kind==startup && (frame==1 || frame==3)",
        "!chunk",
    ] {
        assert!(!chosen(no), "{no}");
    }
}

fn error(filter: &str) -> String {
    filter.parse::<Filter>().unwrap_err().to_string()
}

#[test]
fn errors_point_at_the_place() {
    assert_eq!(error("chunk==IHello &&"), {
        "expected a field, ! or (\n  chunk==IHello &&\n                  ^"
    });
    assert_eq!(error("(frame==1"), "this is not closed\n  (frame==1\n  ^");
    assert_eq!(error("frame==1)"), "this was not opened\n  frame==1)\n          ^");
    assert_eq!(error("é frame"), error("é frame"));
    for (filter, message, column) in [
        ("", "expected a field", 0),
        ("frame==", "expected a value of frame", 7),
        ("frame==x", "frame is a number", 7),
        ("frame==nan", "frame is a number", 7),
        ("frame == == 1", "expected a value of frame", 9),
        ("ip<10.0.0.5", "ip has no order", 2),
        ("ip==10.0.0", "ip is an IP address", 4),
        ("chunk==Hello", "there is no such chunk, but PacketFragment, IHello", 7),
        ("chunk==0x100", "there is no such chunk", 7),
        ("kind==server", "kind has no such value", 6),
        ("ü==1", "there is no field ü, but frame, time", 0),
        ("frame==1 frame==2", "expected && or ||", 9),
        ("frame==1 & len==2", "& alone means nothing", 9),
        ("message==\"x", "this quotation does not end", 9),
        ("&& frame", "expected a field", 0),
        ("(frame & len)", "& alone means nothing", 7),
        (" ( frame || and )", "expected a field", 12),
        ("\u{3000}ü", "there is no field ü", 1),
        ("frame==1 || (len==\"2", "this quotation does not end", 18),
    ] {
        let error = filter.parse::<Filter>().unwrap_err();
        assert!(error.message.starts_with(message), "{filter}: {error}");
        assert_eq!(error.column, column, "{filter}: {error}");
    }
}

#[test]
fn hostile_filters_are_bounded() {
    assert!(error(&"(".repeat(MAX_DEPTH_AND_MORE)).starts_with("too many parentheses"));
    assert!(error(&"!".repeat(MAX_DEPTH_AND_MORE)).starts_with("too many parentheses"));
    assert!(error(&"é".repeat(MAX_LEN)).starts_with("the filter is too long"));
}

const MAX_DEPTH_AND_MORE: usize = 200;

proptest! {
    #[test]
    fn arbitrary_texts_never_panic(text: String) {
        let _ = text.parse::<Filter>().map_err(|error| error.to_string());
    }

    #[test]
    fn arbitrary_tokens_never_panic(picks in proptest::collection::vec(0usize..12, 0..12)) {
        const WORDS: [&str; 12] =
            ["frame", "ip", "==", "<", "&&", "||", "!", "(", ")", "1", "chunk", "10.0.0.5"];
        let text: Vec<_> = picks.into_iter().map(|i| WORDS[i]).collect();
        let _ = text.join(" ").parse::<Filter>().map_err(|error| error.to_string());
    }
}
