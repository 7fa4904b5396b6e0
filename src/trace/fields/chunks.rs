//! Packets and chunks (RFC 7016 §2), and the fields of the cryptography profile in them (RFC 7425 §4).

use super::{Field, FieldLayout, Flag, OptionType, Wire};
use crate::wire::chunk::kind;

macro_rules! fields {
    ($($id:ident = $key:literal, $name:literal, $wire:expr, $description:literal
        $(, $with:ident($($arg:expr)?))*;)*) => {
        $(pub(in crate::trace) static $id: Field =
            Field::new($key, $name, $wire, $description)$(.$with($($arg)?))*;)*
    };
}
pub(super) use fields;

fields! {
    HEADER = "header", "Header", Wire::Group, "The packet header (§2.2.4).";
    FLAGS = "flags", "Flags", Wire::U8, "Flags and mode.", flags(HEADER_FLAGS);
    TIME_CRITICAL = "time_critical", "Time critical", Wire::Bits, "Contains real-time data (TC).";
    TIME_CRITICAL_REVERSE = "time_critical_reverse", "Time critical reverse", Wire::Bits,
        "The sender receives real-time data on other sessions (TCR).";
    HAS_TIMESTAMP = "has_timestamp", "Timestamp present", Wire::Bits, "TS.";
    HAS_ECHO = "has_timestamp_echo", "Timestamp echo present", Wire::Bits, "TSE.";
    MODE = "mode", "Mode", Wire::Bits, "Role of the sender.";
    TIMESTAMP = "timestamp", "Timestamp", Wire::U16, "The sender's clock in units of 4 ms.";
    TIMESTAMP_ECHO = "timestamp_echo", "Timestamp echo", Wire::U16,
        "The receiver's clock as the sender estimates it, in units of 4 ms.";
    CHUNK = "chunks", "Chunk", Wire::List, "A chunk (§2.3).";
    MESSAGE = "messages", "Message", Wire::List, "A message of a flow that the chunk completes.";
    MESSAGE_FLOW = "flow", "Flow", Wire::Group, "The flow that the message is of.";
    MESSAGE_CLASS = "class", "Class", Wire::Group, "What the flow is for.";
    MESSAGE_FIRST = "first", "First sequence number", Wire::Group, "Of the message's fragments.";
    MESSAGE_LAST = "last", "Last sequence number", Wire::Group, "Of the message's fragments.";
    MESSAGE_GROUP = "group_id", "Group", Wire::Group, "The group that the message is of.";
    PADDING = "padding", "Padding", Wire::Data, "What follows the last chunk.";
    MALFORMED = "malformed", "Malformed", Wire::Group, "Why the rest cannot be read.";
    OPTION = "options", "Option", Wire::List, "An option (§2.1.3).";
    OPTION_VALUE = "data", "Value", Wire::Rest, "The value of an option that is not known.";

    EPD = "epd", "Endpoint discriminator", Wire::Prefixed,
        "Selects the endpoint that is meant (RFC 7425 §4.4).", options(EPD_OPTIONS);
    TAG = "tag", "Tag", Wire::Rest, "Comes back in the answer.";
    REPLY_ADDRESS = "reply_address", "Reply address", Wire::Address, "Where the initiator was seen.";
    TAG_ECHO = "tag_echo", "Tag echo", Wire::Prefixed, "The tag of the hello that is answered.";
    COOKIE = "cookie", "Cookie", Wire::Prefixed, "To be echoed in the keying.";
    CERTIFICATE = "certificate", "Certificate", Wire::Rest,
        "The responder's certificate (RFC 7425 §4.3).", options(CERTIFICATE_OPTIONS);
    REDIRECT_ADDRESSES = "addresses", "Addresses", Wire::Addresses,
        "Where to try; none at all stands for the address of the redirector.";
    OLD_COOKIE = "old_cookie", "Old cookie", Wire::Prefixed, "The cookie that was echoed.";
    NEW_COOKIE = "new_cookie", "New cookie", Wire::Rest, "The cookie to echo instead.";
    SESSION_ID = "session_id", "Session ID", Wire::U32,
        "What the far end shall put on its packets.", hex();
    COOKIE_ECHO = "cookie", "Cookie echo", Wire::Prefixed, "The cookie of the responder's hello.";
    INITIATOR_CERTIFICATE = "certificate", "Certificate", Wire::Prefixed,
        "The initiator's certificate (RFC 7425 §4.3).", options(CERTIFICATE_OPTIONS);
    COMPONENT = "component", "Keying component", Wire::Prefixed,
        "What the end contributes to the keys (RFC 7425 §4.5).", options(COMPONENT_OPTIONS);
    SIGNATURE = "signature", "Signature", Wire::Rest, "Of what is before it (RFC 7425 §4.5.1).";

    FRAGMENT_FLAGS = "flags", "Flags", Wire::U8, "Whether more fragments follow.",
        flags(FRAGMENT_FLAG_BITS);
    MORE = "more", "More", Wire::Bits, "More fragments of this packet follow.";
    PACKET_ID = "packet_id", "Packet ID", Wire::Vlu, "Which packet.";
    FRAGMENT_NUMBER = "number", "Fragment number", Wire::Vlu, "From 0.";
    PACKET_DATA = "data", "Data", Wire::Data, "A piece of the packet.";

    ECHO = "data", "Data", Wire::Rest, "Comes back in the reply.";
    USER_FLAGS = "flags", "Flags", Wire::U8, "Fragmentation, abandonment, end.",
        flags(USER_FLAG_BITS);
    HAS_OPTIONS = "has_options", "Options present", Wire::Bits, "OPT.";
    FRAGMENT = "fragment", "Fragment", Wire::Bits, "Which part of a message.";
    ABANDONED = "abandoned", "Abandoned", Wire::Bits, "The sequence number was given up (ABN).";
    FINAL = "final", "Final", Wire::Bits, "The last sequence number of the flow (FIN).";
    FLOW = "flow", "Flow", Wire::Vlu, "The flow ID of the sender of the data.";
    SEQUENCE = "sequence", "Sequence number", Wire::Vlu, "From 1 in each flow.";
    FSN_OFFSET = "fsn_offset", "Forward sequence offset", Wire::Vlu,
        "So far below is the last sequence number that will not be sent again.";
    USER_OPTIONS = "options", "Options", Wire::OptionsIfFlagged, "Of the flow (§2.3.11.1).",
        options(USER_OPTION_TYPES);
    USER_DATA = "data", "Data", Wire::Data, "A piece of a message.";
    METADATA = "metadata", "Metadata", Wire::Rest, "What the flow is for.";
    ASSOCIATION = "flow", "Flow", Wire::Vlu, "The flow of the receiver that this one answers.";
    BUFFER = "buffer_blocks", "Buffer", Wire::Vlu, "Room in the receiver's buffer, in KiB.";
    CUMULATIVE = "cumulative", "Cumulative", Wire::Vlu,
        "Everything up to this sequence number was received or given up.";
    ACK_BITS = "ranges", "Also received", Wire::AckBits, "Sequence numbers above the next.";
    ACK_RUNS = "ranges", "Also received", Wire::AckRuns, "Sequence numbers above the next.";
    EXCEPTION = "exception", "Exception", Wire::Vlu, "Why: an application's code, or 0.";
    ECN_COUNT = "count", "Count", Wire::U8, "Packets with Congestion Experienced, modulo 256.";

    HOSTNAME = "hostname", "Hostname", Wire::Text, "The name that a certificate has or must have.";
    ANCILLARY = "ancillary", "Ancillary data", Wire::Text, "The URI of a server.";
    FINGERPRINT = "fingerprint", "Fingerprint", Wire::Rest, "The peer ID.";
    RANDOM = "random", "Randomness", Wire::Rest, "Makes it unique.";
    DH_GROUP = "group", "Group", Wire::Vlu, "Diffie-Hellman group (RFC 2409, RFC 3526).";
    PUBLIC_KEY = "key", "Public key", Wire::Rest, "In that group.";
    TERMS = "terms", "Terms", Wire::U8, "What the sender does and wants.", flags(TERM_BITS);
    SENDS = "sends", "Will send always", Wire::Bits, "SND.";
    SENDS_ON_REQUEST = "sends_on_request", "Will send on request", Wire::Bits, "SOR.";
    REQUESTS = "requests", "Requests", Wire::Bits, "REQ.";
    HMAC_LENGTH = "length", "Length", Wire::Vlu, "Bytes of an HMAC.";
}

static HEADER_FLAGS: &[Flag] = &[
    Flag { mask: 0x80, field: &TIME_CRITICAL, values: &[] },
    Flag { mask: 0x40, field: &TIME_CRITICAL_REVERSE, values: &[] },
    Flag { mask: 0x08, field: &HAS_TIMESTAMP, values: &[] },
    Flag { mask: 0x04, field: &HAS_ECHO, values: &[] },
    Flag { mask: 0x03, field: &MODE, values: &["forbidden", "initiator", "responder", "startup"] },
];

static FRAGMENT_FLAG_BITS: &[Flag] = &[Flag { mask: 0x80, field: &MORE, values: &[] }];

static USER_FLAG_BITS: &[Flag] = &[
    Flag { mask: 0x80, field: &HAS_OPTIONS, values: &[] },
    Flag { mask: 0x30, field: &FRAGMENT, values: &["whole", "begin", "end", "middle"] },
    Flag { mask: 0x02, field: &ABANDONED, values: &[] },
    Flag { mask: 0x01, field: &FINAL, values: &[] },
];

static TERM_BITS: &[Flag] = &[
    Flag { mask: 0x04, field: &SENDS, values: &[] },
    Flag { mask: 0x02, field: &SENDS_ON_REQUEST, values: &[] },
    Flag { mask: 0x01, field: &REQUESTS, values: &[] },
];

static USER_OPTION_TYPES: &[OptionType] = &[
    OptionType { code: 0x00, key: "metadata", fields: &[&METADATA] },
    OptionType { code: 0x0a, key: "return_association", fields: &[&ASSOCIATION] },
];

/// Options of endpoint discriminators.
pub(in crate::trace) static EPD_OPTIONS: &[OptionType] = &[
    OptionType { code: 0x00, key: "required_hostname", fields: &[&HOSTNAME] },
    OptionType { code: 0x0a, key: "ancillary_data", fields: &[&ANCILLARY] },
    OptionType { code: 0x0f, key: "fingerprint", fields: &[&FINGERPRINT] },
];

static CERTIFICATE_OPTIONS: &[OptionType] = &[
    OptionType { code: 0x00, key: "hostname", fields: &[&HOSTNAME] },
    OptionType { code: 0x0a, key: "accepts_ancillary", fields: &[] },
    OptionType { code: 0x0e, key: "extra_randomness", fields: &[&RANDOM] },
    OptionType { code: 0x15, key: "ephemeral_group", fields: &[&DH_GROUP] },
    OptionType { code: 0x1d, key: "static_key", fields: &[&DH_GROUP, &PUBLIC_KEY] },
];

static COMPONENT_OPTIONS: &[OptionType] = &[
    OptionType { code: 0x0d, key: "ephemeral_key", fields: &[&DH_GROUP, &PUBLIC_KEY] },
    OptionType { code: 0x0e, key: "extra_randomness", fields: &[&RANDOM] },
    OptionType { code: 0x1a, key: "hmac", fields: &[&TERMS, &HMAC_LENGTH] },
    OptionType { code: 0x1d, key: "group_select", fields: &[&DH_GROUP] },
    OptionType { code: 0x1e, key: "sequence_numbers", fields: &[&TERMS] },
];

/// Chunks (RFC 7016 §2.3).
pub static CHUNKS: &[FieldLayout] = &[
    chunk(
        kind::PACKET_FRAGMENT,
        "PacketFragment",
        "Packet Fragment (§2.3.1)",
        &[&FRAGMENT_FLAGS, &PACKET_ID, &FRAGMENT_NUMBER, &PACKET_DATA],
    ),
    chunk(kind::INITIATOR_HELLO, "IHello", "Initiator Hello (§2.3.2)", &[&EPD, &TAG]),
    chunk(
        kind::FORWARDED_HELLO,
        "FIHello",
        "Forwarded Initiator Hello (§2.3.3)",
        &[&EPD, &REPLY_ADDRESS, &TAG],
    ),
    chunk(
        kind::RESPONDER_HELLO,
        "RHello",
        "Responder Hello (§2.3.4)",
        &[&TAG_ECHO, &COOKIE, &CERTIFICATE],
    ),
    chunk(
        kind::REDIRECT,
        "Redirect",
        "Responder Redirect (§2.3.5)",
        &[&TAG_ECHO, &REDIRECT_ADDRESSES],
    ),
    chunk(
        kind::COOKIE_CHANGE,
        "CookieChange",
        "RHello Cookie Change (§2.3.6)",
        &[&OLD_COOKIE, &NEW_COOKIE],
    ),
    chunk(
        kind::INITIATOR_KEYING,
        "IIKeying",
        "Initiator Initial Keying (§2.3.7)",
        &[&SESSION_ID, &COOKIE_ECHO, &INITIATOR_CERTIFICATE, &COMPONENT, &SIGNATURE],
    ),
    chunk(
        kind::RESPONDER_KEYING,
        "RIKeying",
        "Responder Initial Keying (§2.3.8)",
        &[&SESSION_ID, &COMPONENT, &SIGNATURE],
    ),
    chunk(kind::PING, "Ping", "Ping (§2.3.9)", &[&ECHO]),
    chunk(kind::PING_REPLY, "PingReply", "Ping Reply (§2.3.10)", &[&ECHO]),
    chunk(
        kind::USER_DATA,
        "UserData",
        "User Data (§2.3.11)",
        &[&USER_FLAGS, &FLOW, &SEQUENCE, &FSN_OFFSET, &USER_OPTIONS, &USER_DATA],
    ),
    chunk(
        kind::NEXT_USER_DATA,
        "NextUserData",
        "Next User Data (§2.3.12)",
        &[&USER_FLAGS, &USER_OPTIONS, &USER_DATA],
    ),
    chunk(
        kind::BITMAP_ACK,
        "BitmapAck",
        "Data Acknowledgement Bitmap (§2.3.13)",
        &[&FLOW, &BUFFER, &CUMULATIVE, &ACK_BITS],
    ),
    chunk(
        kind::RANGE_ACK,
        "RangeAck",
        "Data Acknowledgement Ranges (§2.3.14)",
        &[&FLOW, &BUFFER, &CUMULATIVE, &ACK_RUNS],
    ),
    chunk(kind::BUFFER_PROBE, "BufferProbe", "Buffer Probe (§2.3.15)", &[&FLOW]),
    chunk(
        kind::FLOW_EXCEPTION,
        "FlowException",
        "Flow Exception Report (§2.3.16)",
        &[&FLOW, &EXCEPTION],
    ),
    chunk(kind::CLOSE_REQUEST, "Close", "Session Close Request (§2.3.17)", &[]),
    chunk(kind::CLOSE_ACK, "CloseAck", "Session Close Acknowledgement (§2.3.18)", &[]),
    chunk(kind::PADDING_00, "Padding", "Padding (§2.2.4)", &[&PADDING]),
    chunk(kind::PADDING_FF, "Padding", "Padding (§2.2.4)", &[&PADDING]),
    chunk(
        kind::ECN_REPORT,
        "EcnReport",
        "Congestion Experienced report (not in RFC 7016)",
        &[&ECN_COUNT],
    ),
];

const fn chunk(
    code: u8,
    key: &'static str,
    title: &'static str,
    fields: &'static [&'static Field],
) -> FieldLayout {
    FieldLayout { code: code as u16, key, title, fields }
}
