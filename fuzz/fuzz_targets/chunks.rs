//! One chunk: its type, then its payload. Everything nested in it is walked: options, addresses,
//! acknowledged ranges. What can be read can be written, and reads back as what was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::wire::chunk::CHUNK_HEADER_LEN;
use rtmfp::wire::chunk::{AckRange, encode_ack, name};
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Address, Chunk, OptionList};

/// Lengths to which acknowledgements are cut, header included.
const ACK_LIMITS: [usize; 4] = [0, 16, 64, 1400];

fuzz_target!(|input: &[u8]| {
    let Some((&kind, payload)) = input.split_first() else { return };
    let Ok(chunk) = Chunk::parse(kind, payload) else { return };
    assert_eq!(chunk.kind(), kind);
    let _ = format!("{} {chunk:?}", name(kind));
    reads_back(&chunk);
    walk(&chunk);
});

fn reads_back(chunk: &Chunk<'_>) {
    let mut written = Vec::new();
    if chunk.encode(&mut written).is_err() {
        assert!(chunk.encoded_len() > CHUNK_HEADER_LEN + usize::from(u16::MAX));
        assert!(written.is_empty());
        return;
    }
    assert_eq!(written.len(), chunk.encoded_len());
    let mut again = chunks(&written);
    assert_eq!(again.next(), Some(*chunk));
    assert!(again.rest().is_empty());
}

fn walk(chunk: &Chunk<'_>) {
    match chunk {
        Chunk::ForwardedHello(hello) => address_reads_back(&hello.reply_address),
        Chunk::Redirect(redirect) => {
            redirect.addresses().for_each(|address| address_reads_back(&address));
        }
        Chunk::UserData(data) => {
            assert!(data.sequence > 0);
            assert!(data.forward_sequence() <= data.sequence);
            options_read_back(data.options);
        }
        Chunk::NextUserData(data) => options_read_back(data.options),
        Chunk::BitmapAck(ack) => {
            let ranges: Vec<_> = ack.ranges().collect();
            assert!(ranges.len() <= 4 * ack.bits.len());
            acknowledgement_reads_back(ack.flow, ack.buffer_blocks, ack.cumulative, &ranges);
        }
        Chunk::RangeAck(ack) => {
            let ranges: Vec<_> = ack.ranges().collect();
            assert!(ranges.len() <= ack.runs.len() / 2);
            acknowledgement_reads_back(ack.flow, ack.buffer_blocks, ack.cumulative, &ranges);
        }
        _ => {}
    }
}

fn address_reads_back(address: &Address) {
    let mut written = Vec::new();
    address.encode(&mut written);
    assert_eq!(written.len(), address.encoded_len());
    assert_eq!(Address::parse(&written), Ok((*address, &[][..])));
}

fn options_read_back(encoded: Option<&[u8]>) {
    let Some(encoded) = encoded else { return };
    let (list, rest) = OptionList::parse(encoded).expect("the list was read with its chunk");
    assert!(rest.is_empty());
    let mut written = Vec::new();
    list.encode(&mut written);
    assert_eq!(written.len(), list.encoded_len());
    assert_eq!(OptionList::parse(&written), Ok((list, &[][..])));
}

/// Ranges are ascending, apart and above the cumulative part. Written anew in whatever form and cut
/// to any length, they are the same or the first of the same.
fn acknowledgement_reads_back(flow: u64, blocks: u64, cumulative: u64, ranges: &[AckRange]) {
    let mut highest = cumulative;
    for range in ranges {
        assert!(range.start() <= range.end());
        assert!(range.start() - highest >= 2);
        highest = *range.end();
    }
    for limit in ACK_LIMITS {
        let mut written = Vec::new();
        let all = encode_ack(flow, blocks, cumulative, ranges.iter().cloned(), limit, &mut written);
        assert!(written.len() <= limit);
        let Some(all) = all else {
            assert!(written.is_empty());
            continue;
        };
        let again: Vec<_> = match chunks(&written).next() {
            Some(Chunk::BitmapAck(ack)) => ack.ranges().collect(),
            Some(Chunk::RangeAck(ack)) => ack.ranges().collect(),
            other => panic!("not an acknowledgement: {other:?}"),
        };
        assert!(ranges.starts_with(&again));
        assert_eq!(again.len() == ranges.len(), all);
    }
}
