//! A message of a group's flow; the first byte selects which. What can be read can be written, and
//! reads back as what was written.
#![no_main]

use std::fmt::Debug;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rtmfp::proto::flash::group_channel::ServerMessage;
use rtmfp::proto::group::message::{MembershipMessage, RangeList, ReplicationMessage, Report};
use rtmfp::proto::range::{IndexSet, MAX_INDEX};
use rtmfp::wire::WireError;

fuzz_target!(|input: &[u8]| {
    let Some((&flow, message)) = input.split_first() else { return };
    let message = Bytes::copy_from_slice(message);
    match flow % 3 {
        0 => server(&message),
        1 => membership(&message),
        _ => replication(&message),
    }
});

fn server(message: &Bytes) {
    if let Ok(ServerMessage::Join(key)) =
        reads_back(message, ServerMessage::parse, |m| m.to_bytes())
    {
        let _ = key.group_id();
    }
}

fn membership(message: &Bytes) {
    let parsed = reads_back(message, MembershipMessage::parse, |m| m.to_bytes());
    let hello = matches!(parsed, Ok(MembershipMessage::Hello(_)));
    assert_eq!(MembershipMessage::group_of_hello(message).is_some(), hello);
    if let Ok(MembershipMessage::Report(report)) = parsed {
        walk(&report);
    }
}

fn replication(message: &Bytes) {
    let parsed = reads_back(message, |m| ReplicationMessage::parse(m.clone()), |m| m.to_bytes());
    if let Ok(ReplicationMessage::Have(list) | ReplicationMessage::Unhave(list)) = parsed {
        make_set(&list);
    }
}

/// The message, if it can be read.
fn reads_back<T: Debug + PartialEq>(
    message: &Bytes,
    parse: impl Fn(&Bytes) -> Result<T, WireError>,
    write: impl Fn(&T) -> Bytes,
) -> Result<T, WireError> {
    let parsed = parse(message)?;
    let _ = format!("{parsed:?}");
    let written = write(&parsed);
    assert!(written.len() <= message.len());
    assert_eq!(parse(&written).as_ref(), Ok(&parsed));
    Ok(parsed)
}

fn walk(report: &Report) {
    let mut written = Vec::new();
    report.encode(&mut written);
    assert_eq!(written.len(), report.encoded_len());
    let _ = (report.asks(), report.unsettled(), report.receiver_address());
    let _ = report.sender_addresses();
    for record in &report.records {
        let _ = (record.peer(), record.addresses());
    }
}

/// The ranges are as a set keeps them.
fn make_set(list: &RangeList) {
    let Ok(set) = IndexSet::from_ranges(list.ranges.iter().cloned()) else { return };
    assert!(set.ranges().eq(list.ranges.iter().cloned()));
    assert!(set.last().is_none_or(|last| last <= MAX_INDEX));
    assert_eq!(RangeList::complete(&set).ranges, list.ranges);
}
