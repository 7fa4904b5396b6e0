//! Messages of flows: RTMP (RFC 7425 §5) and groups (`protocol-notes/netgroup-membership.md`,
//! `protocol-notes/object-replication.md`).

use super::chunks::{EPD_OPTIONS, fields};
use super::{Field, FieldLayout, OptionType, Wire};

fields! {
    RTMP_TIMESTAMP = "timestamp", "Timestamp", Wire::U32, "Milliseconds.";
    SELECTOR = "selector", "Format selector", Wire::U8, "0, the only one that is defined.";
    VALUES = "values", "Values", Wire::Amf, "Values in AMF.";
    AMF = "values", "Value", Wire::List, "A value in AMF.";
    AMF_MEMBER = "member", "Member", Wire::Group, "A member of a value in AMF.";
    EVENT = "event", "Event", Wire::Event, "User Control event (RFC 7425 §5.2, §5.3.4).";
    MEDIA = "data", "Data", Wire::Data, "Audio or video with its codec header.";
    PAYLOAD = "data", "Data", Wire::Data, "What the type is about.";
    STREAM = "stream", "Stream", Wire::U32, "Stream ID.";
    MILLIS = "millis", "Milliseconds", Wire::U32, "How much is buffered.";
    PING_VALUE = "value", "Value", Wire::U32, "Comes back in the response.";
    SYNC_ID = "id", "Barrier", Wire::U32, "Which barrier.";
    SYNC_COUNT = "count", "Flows", Wire::U32, "How many flows carry it.";
    SERVER_PERIOD = "server_period", "Server period", Wire::U32, "Keepalive to the server, in ms.";
    PEER_PERIOD = "peer_period", "Peer period", Wire::U32, "Keepalive to peers, in ms.";

    JOIN_OPTIONS = "options", "Options", Wire::Options, "Which group.", options(JOIN_OPTION_TYPES);
    CANONICAL_TEXT = "canonical_text", "Canonical text", Wire::Text, "The groupspec's own part.";
    GROUP_ID = "group", "Group", Wire::Rest, "The group ID.";
    PEER = "peer", "Peer", Wire::Fixed(32), "The peer ID of a member.";

    HELLO_OPTIONS = "options", "Options", Wire::Options, "Of a hello.", options(HELLO_OPTION_TYPES);
    GROUP_HEX = "group", "Group", Wire::Text, "The group ID in hexadecimal.";
    PROOF = "proof", "Proof", Wire::Rest, "HMAC of the sender's nonce with the canonical text.";
    RECEIVER = "receiver", "Receiver", Wire::Rest, "Whom it is for.", options(EPD_OPTIONS);
    REPORT_OPTIONS = "options", "Options", Wire::Options, "Of a report.",
        options(REPORT_OPTION_TYPES);
    ADDRESSES = "addresses", "Addresses", Wire::Addresses, "Socket addresses.";
    RECORDS = "records", "Records", Wire::Records, "What the sender knows of members.";
    RECORD = "records", "Record", Wire::List, "What the sender knows of a member.";
    RECORD_EPD = "epd", "Endpoint discriminator", Wire::Prefixed, "Of the member.",
        options(EPD_OPTIONS);
    AGE = "age", "Age", Wire::Vlu, "Seconds since the last sign of the member.";

    RANGES = "ranges", "Objects", Wire::Ranges, "Indices of objects.";
    INDEX = "index", "Index", Wire::Vlu, "Of an object.";
    OBJECT = "value", "Value", Wire::Data, "The object in AMF.";
    KEYS = "keys", "Keys", Wire::Keys, "First 8 bytes of SHA-256 of values.";

    STREAM_OPTIONS = "options", "Options", Wire::Options, "Of a stream; or a fragment ID: its end.",
        options(STREAM_OPTION_TYPES);
    STREAM_NAME = "name", "Name", Wire::Text, "The name that was published.";
    STREAM_KEY = "key", "Key", Wire::Rest, "Identifies the stream.";
    PERIOD = "millis", "Milliseconds", Wire::Vlu, "A period.";
    NEWEST = "newest", "Newest", Wire::Vlu, "The newest fragment that the sender has.";
    AVAILABLE = "available", "Available", Wire::Rest, "Bits for the fragments before it.";
    PUSH_MASK = "mask", "Mask", Wire::U8, "Push fragments with these IDs modulo 8.", hex();
    FRAGMENT_ID = "fragment", "Fragment", Wire::Vlu, "Number of a fragment.";
    REMAINING = "remaining", "Remaining", Wire::Vlu, "Fragments that follow in the message.";
    RTMP_TYPE = "rtmp_type", "RTMP type", Wire::U8, "Type of the message.", values(RTMP_NAMES);
    END_ID = "end", "End", Wire::Vlu, "The fragment ID behind the last.";
}

static RTMP_NAMES: &[(u64, &str)] = &[
    (0x04, "UserControl"),
    (0x08, "Audio"),
    (0x09, "Video"),
    (0x0f, "DataExtended"),
    (0x11, "CommandExtended"),
    (0x12, "Data"),
    (0x14, "Command"),
];

static JOIN_OPTION_TYPES: &[OptionType] = &[
    OptionType { code: 0x10, key: "canonical_text", fields: &[&CANONICAL_TEXT] },
    OptionType { code: 0x15, key: "group_id", fields: &[&GROUP_ID] },
];

static HELLO_OPTION_TYPES: &[OptionType] = &[
    OptionType { code: 0x00, key: "group", fields: &[&GROUP_HEX] },
    OptionType { code: 0x01, key: "proof", fields: &[&PROOF] },
    OptionType { code: 0x03, key: "receiver", fields: &[&RECEIVER] },
];

/// Options of reports and of their records.
pub(in crate::trace) static REPORT_OPTION_TYPES: &[OptionType] = &[
    OptionType { code: 0x00, key: "ask", fields: &[] },
    OptionType { code: 0x0a, key: "addresses", fields: &[&ADDRESSES] },
    OptionType { code: 0x0d, key: "receiver_address", fields: &[&ADDRESSES] },
    OptionType { code: 0x0f, key: "unsettled", fields: &[] },
];

static STREAM_OPTION_TYPES: &[OptionType] = &[
    OptionType { code: 0x00, key: "name", fields: &[&STREAM_NAME] },
    OptionType { code: 0x01, key: "key", fields: &[&STREAM_KEY] },
    OptionType { code: 0x02, key: "present", fields: &[] },
    OptionType { code: 0x03, key: "window_duration", fields: &[&PERIOD] },
    OptionType { code: 0x04, key: "timeout", fields: &[&PERIOD] },
    OptionType { code: 0x05, key: "availability_update_period", fields: &[&PERIOD] },
    OptionType { code: 0x06, key: "availability_send_to_all", fields: &[] },
    OptionType { code: 0x07, key: "fetch_period", fields: &[&PERIOD] },
];

/// RTMP messages on `TC` flows (RFC 7425 §5.1.2).
pub static RTMP: &[FieldLayout] = &[
    message(0x04, "UserControl", "User Control", &[&RTMP_TIMESTAMP, &EVENT]),
    message(0x08, "Audio", "Audio", &[&RTMP_TIMESTAMP, &MEDIA]),
    message(0x09, "Video", "Video", &[&RTMP_TIMESTAMP, &MEDIA]),
    message(0x0f, "DataExtended", "Data (extended)", &[&RTMP_TIMESTAMP, &SELECTOR, &VALUES]),
    message(0x11, "CommandExtended", "Command (extended)", &[&RTMP_TIMESTAMP, &SELECTOR, &VALUES]),
    message(0x12, "Data", "Data", &[&RTMP_TIMESTAMP, &VALUES]),
    message(0x14, "Command", "Command", &[&RTMP_TIMESTAMP, &VALUES]),
];

/// User Control events by their number.
pub static EVENTS: &[FieldLayout] = &[
    message(0x00, "StreamBegin", "Stream Begin", &[&STREAM]),
    message(0x03, "SetBufferLength", "Set Buffer Length", &[&STREAM, &MILLIS]),
    message(0x06, "PingRequest", "Ping Request", &[&PING_VALUE]),
    message(0x07, "PingResponse", "Ping Response", &[&PING_VALUE]),
    message(0x22, "FlowSync", "Flow Synchronisation", &[&SYNC_ID, &SYNC_COUNT]),
    message(0x29, "SetKeepalive", "Set Keepalive", &[&SERVER_PERIOD, &PEER_PERIOD]),
];

/// Messages between a member and its server, on `GC` flows.
pub static GROUP_SERVER: &[FieldLayout] = &[
    message(0x01, "Join", "Join a group", &[&JOIN_OPTIONS]),
    message(0x0b, "Connect", "Connect to a member", &[&PEER]),
    message(0x1b, "Hint", "Hint at a member", &[&PEER]),
];

/// Messages on `GR 1C` flows.
pub static MEMBERSHIP: &[FieldLayout] = &[
    message(0x01, "Hello", "Hello", &[&HELLO_OPTIONS]),
    message(0x02, "Accepted", "Hello accepted", &[]),
    message(0x0a, "Report", "Report", &[&REPORT_OPTIONS, &RECORDS]),
    message(0x0b, "Member", "Member", &[&PEER]),
    message(0x0c, "Unneeded", "Neighbor not needed", &[]),
    message(0x0e, "Exact", "Receive mode exact", &[]),
    message(0x0f, "Nearest", "Receive mode nearest", &[]),
];

/// Messages on `GR 15` flows.
pub static REPLICATION: &[FieldLayout] = &[
    message(0x10, "Have", "Have", &[&RANGES]),
    message(0x11, "Unhave", "Have no more", &[&RANGES]),
    message(0x14, "Interested", "Interested", &[]),
    message(0x15, "NotInterested", "Not interested", &[]),
    message(0x16, "Choke", "Choke", &[]),
    message(0x17, "Unchoke", "Unchoke", &[]),
    message(0x18, "Object", "Object", &[&INDEX, &OBJECT]),
    message(0x19, "Deny", "Deny", &[&INDEX]),
    message(0x1a, "Request", "Request", &[&INDEX]),
];

/// Messages on `GR 18` flows.
pub static POSTING_KEYS: &[FieldLayout] = &[
    message(0x30, "Announce", "Announce posts", &[&KEYS]),
    message(0x3a, "Ask", "Ask for a post", &[&KEYS]),
    message(0x3e, "HaveNot", "Do not have a post", &[&KEYS]),
];

/// Messages on `GR 11` flows.
pub static MULTICAST_CONTROL: &[FieldLayout] = &[
    message(0x21, "Stream", "Stream description", &[&STREAM_OPTIONS]),
    message(0x22, "Map", "Availability map", &[&NEWEST, &AVAILABLE]),
    message(0x23, "Push", "Push request", &[&PUSH_MASK]),
    message(0x2b, "Pull", "Pull request", &[&FRAGMENT_ID]),
];

/// Messages on `GR 12` flows.
pub static MULTICAST_DATA: &[FieldLayout] = &[
    message(0x00, "LastFragment", "Last fragment", &[&FRAGMENT_ID, &MEDIA]),
    message(0x10, "MiddleFragment", "Middle fragment", &[&FRAGMENT_ID, &REMAINING, &MEDIA]),
    message(
        0x20,
        "WholeMessage",
        "Whole message",
        &[&FRAGMENT_ID, &RTMP_TYPE, &RTMP_TIMESTAMP, &MEDIA],
    ),
    message(0x21, "StreamEnd", "End of the stream", &[&END_ID]),
    message(
        0x30,
        "FirstFragment",
        "First fragment",
        &[&FRAGMENT_ID, &REMAINING, &RTMP_TYPE, &RTMP_TIMESTAMP, &MEDIA],
    ),
];

/// The end of a stream on `GR 11` flows: distinguished from a description by its length.
pub(in crate::trace) static STREAM_END: FieldLayout =
    message(0x21, "StreamEnd", "End of the stream", &[&END_ID]);

/// A first fragment that does not state how many follow: the player was seen to leave that out.
pub(in crate::trace) static UNCOUNTED_FIRST: FieldLayout = message(
    0x30,
    "FirstFragment",
    "First fragment",
    &[&FRAGMENT_ID, &RTMP_TYPE, &RTMP_TIMESTAMP, &MEDIA],
);

/// Values on `GR 19` and `GR 1D` flows, which have no type.
pub(in crate::trace) static POST: FieldLayout = message(0, "Post", "Post", &[&VALUES]);
/// See [`POST`].
pub(in crate::trace) static DIRECTED: FieldLayout =
    message(0, "Directed", "Directed message", &[&VALUES]);

const fn message(
    code: u16,
    key: &'static str,
    title: &'static str,
    fields: &'static [&'static Field],
) -> FieldLayout {
    FieldLayout { code, key, title, fields }
}
