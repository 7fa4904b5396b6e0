//! A packet in one line, as a list of packets shows it.

use super::analyzer::{PacketView, Status};
use super::decoder::Undecoded;
use super::flows::FlowMessage;
use super::message::{self, FlowClass};
use super::text::{Hex, Ranges, Seconds};
use crate::crypto::{Certificate, Epd};
use crate::flash::{Command, UserControl};
use crate::group::FlowKind;
use crate::group::message::{RangeList, Report};
use crate::wire::chunk::{self, FragmentControl, OPTION_METADATA};
use crate::wire::option::{Item, items};
use crate::wire::{Chunk, Mode, vlu};
use bytes::Bytes;
use std::fmt::{self, Write};
use std::ops::RangeInclusive;

/// Bytes of a tag, cookie or fingerprint that are shown.
const SHORT: usize = 4;

/// Characters of a value that are shown.
const MAX_VALUE: usize = 48;

/// Ranges of an acknowledgement that are shown.
const MAX_RANGES: usize = 4;

/// Appends the line of a packet, without a line end.
///
/// # Errors
///
/// Errors of `out`.
pub fn write(packet: &PacketView<'_>, out: &mut impl Write) -> fmt::Result {
    write!(
        out,
        "{:>5} {:>11} {} → {} {:>4} ",
        packet.frame,
        Seconds(packet.relative).to_string(),
        packet.source,
        packet.destination,
        packet.len
    )?;
    write_summary(packet, out)
}

/// Appends the part of a line after the addresses: the sender, and the chunks.
///
/// # Errors
///
/// Errors of `out`.
pub fn write_summary(packet: &PacketView<'_>, out: &mut impl Write) -> fmt::Result {
    match (packet.status, packet.session) {
        (Status::Startup, _) => out.write_str("startup")?,
        (Status::Session(number, side), _) => write!(out, "#{number} {}", side.name())?,
        (Status::Undecoded(Undecoded::NoSecret(_)), Some((number, side))) => {
            write!(out, "#{number} {} encrypted", side.name())?;
        }
        (Status::Undecoded(Undecoded::Cut(_)), Some((number, side))) => {
            write!(out, "#{number} {}", side.name())?;
        }
        (Status::Undecoded(reason), _) => write!(out, "undecoded: {reason}")?,
    }
    if packet.missing > 0 {
        write!(out, " [{} bytes not captured]", packet.missing)?;
    }
    let mut messages = packet.messages.iter().peekable();
    for (index, (code, payload)) in packet.raw_chunks().enumerate() {
        out.write_str(if index == 0 { " " } else { ", " })?;
        write_chunk(code, payload, out)?;
        while let Some(message) = messages.next_if(|message| message.chunk == index) {
            out.write_str(" {")?;
            write_message(message, packet.bytes(message), out)?;
            out.write_char('}')?;
        }
    }
    if packet.has_wrong_mode() {
        match packet.header() {
            Some(header) => out.write_str(marked(header.mode))?,
            None => out.write_str(" [no packet header]")?,
        }
    }
    if packet.trailing > 0 {
        write!(out, " [{} bytes are neither chunks nor padding]", packet.trailing)?;
    }
    if let Some(keying) = packet.keying {
        let secret = if keying.has_secret { "" } else { ", no secret: cannot be decrypted" };
        write!(out, " [session #{}{secret}]", keying.session)?;
    }
    Ok(())
}

/// The contradiction between mode and key.
fn marked(mode: Mode) -> &'static str {
    match mode {
        Mode::Initiator => " [marked as of the initiator]",
        Mode::Responder => " [marked as of the responder]",
        Mode::Startup => " [marked as of startup]",
    }
}

fn short(bytes: &[u8]) -> Hex<'_> {
    Hex(&bytes[..bytes.len().min(SHORT)])
}

/// A chunk in short.
fn write_chunk(code: u8, payload: &[u8], out: &mut impl Write) -> fmt::Result {
    let name = chunk::name(code);
    let Ok(chunk) = Chunk::parse(code, payload) else {
        return write!(out, "{name} (malformed)");
    };
    match chunk {
        Chunk::InitiatorHello(hello) => {
            write!(out, "{name} ")?;
            write_epd(hello.epd, out)?;
            write!(out, " tag={}", short(hello.tag))
        }
        Chunk::ForwardedHello(hello) => {
            write!(out, "{name} ")?;
            write_epd(hello.epd, out)?;
            write!(out, " reply={} tag={}", hello.reply_address.socket, short(hello.tag))
        }
        Chunk::ResponderHello(hello) => {
            write!(out, "{name} tag={} cookie={}", short(hello.tag_echo), short(hello.cookie))?;
            write_certificate(hello.certificate, out)
        }
        Chunk::Redirect(redirect) => {
            write!(out, "{name} tag={}", short(redirect.tag_echo))?;
            redirect.addresses().try_for_each(|address| write!(out, " {}", address.socket))
        }
        Chunk::CookieChange(change) => {
            write!(out, "{name} {}→{}", short(change.old_cookie), short(change.new_cookie))
        }
        Chunk::InitiatorKeying(keying) => {
            write!(out, "{name} id={:08x} cookie={}", keying.session_id, short(keying.cookie))?;
            write_certificate(keying.certificate, out)
        }
        Chunk::ResponderKeying(keying) => write!(out, "{name} id={:08x}", keying.session_id),
        Chunk::UserData(data) => {
            write!(out, "Data flow={} seq={}", data.flow, data.sequence)?;
            if data.fsn_offset != 1 {
                write!(out, " fsn={}", data.forward_sequence())?;
            }
            if let Some(class) = data.options.and_then(class) {
                write!(out, " [{class}]")?;
            }
            write_fragment(data.flags, data.data.len(), out)
        }
        Chunk::NextUserData(data) => {
            out.write_str("+Data")?;
            write_fragment(data.flags, data.data.len(), out)
        }
        Chunk::RangeAck(ack) => {
            write_ack(ack.flow, ack.cumulative, ack.buffer_blocks, ack.ranges(), out)
        }
        Chunk::BitmapAck(ack) => {
            write_ack(ack.flow, ack.cumulative, ack.buffer_blocks, ack.ranges(), out)
        }
        Chunk::BufferProbe(flow) => write!(out, "{name} flow={flow}"),
        Chunk::FlowException { flow, exception } => {
            write!(out, "{name} flow={flow} code={exception}")
        }
        Chunk::Ping(data) | Chunk::PingReply(data) => write!(out, "{name} {}", short(data)),
        Chunk::EcnReport(count) => write!(out, "{name} {count}"),
        Chunk::Unknown { kind, payload } => write!(out, "chunk {kind:02x} {}B", payload.len()),
        _ => out.write_str(name),
    }
}

fn write_epd(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    let Ok(epd) = Epd::parse(bytes) else { return write!(out, "epd={}", short(bytes)) };
    match (epd.ancillary(), epd.fingerprint()) {
        (Some(uri), _) => {
            let uri = String::from_utf8_lossy(&uri[..uri.len().min(4 * MAX_VALUE)]);
            write!(out, "uri={uri:?}")
        }
        (None, Some(peer)) => write!(out, "peer={}", short(&peer.0)),
        (None, None) => write!(out, "epd={}", short(bytes)),
    }
}

fn write_certificate(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    match Certificate::parse(bytes) {
        Ok(certificate) => write!(out, " peer={}", short(&certificate.fingerprint().0)),
        Err(_) => out.write_str(" peer=?"),
    }
}

/// The class of a flow by its options.
fn class(options: &[u8]) -> Option<FlowClass> {
    items(options).find_map(|item| match item {
        Ok(Item::Option(option)) if option.kind == OPTION_METADATA => {
            Some(FlowClass::of(option.value))
        }
        _ => None,
    })
}

fn write_fragment(flags: chunk::UserDataFlags, len: usize, out: &mut impl Write) -> fmt::Result {
    out.write_str(match flags.fragment {
        FragmentControl::Whole => "",
        FragmentControl::Begin => " begin",
        FragmentControl::Middle => " middle",
        FragmentControl::End => " end",
    })?;
    if flags.abandon {
        out.write_str(" abandoned")?;
    }
    if flags.last {
        out.write_str(" final")?;
    }
    write!(out, " {len}B")
}

fn write_ack(
    flow: u64,
    cumulative: u64,
    buffer: u64,
    ranges: impl Iterator<Item = RangeInclusive<u64>>,
    out: &mut impl Write,
) -> fmt::Result {
    write!(out, "Ack flow={flow} cum={cumulative}")?;
    for (index, range) in ranges.take(MAX_RANGES + 1).enumerate() {
        match index {
            MAX_RANGES => out.write_str(" …")?,
            _ => write!(out, " +{}", Ranges(&[range]))?,
        }
    }
    write!(out, " buf={buffer}K")
}

/// Appends a message in short: its type and its main values.
///
/// # Errors
///
/// Errors of `out`.
pub fn write_message(message: &FlowMessage, bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    let name = message.layout.map_or("Unknown", |layout| layout.key);
    out.write_str(name)?;
    let body = bytes.get(1..).unwrap_or_default();
    match message.class {
        FlowClass::Tc(_) => write_rtmp(name, body, out),
        FlowClass::GroupServer => match name {
            "Join" => Ok(()),
            _ => write!(out, " {}", short(body)),
        },
        FlowClass::Group(FlowKind::Membership) => match name {
            "Report" => match Report::parse(body) {
                Ok(report) => write!(out, " of {}", report.records.len()),
                Err(_) => Ok(()),
            },
            "Hello" => match message.group {
                Some(group) => write!(out, " group={}", short(&group.0)),
                None => Ok(()),
            },
            _ => Ok(()),
        },
        FlowClass::Group(FlowKind::Replication) => match name {
            "Have" | "Unhave" => match RangeList::parse(body) {
                Ok(list) => write!(out, " {}", Ranges(&list.ranges)),
                Err(_) => Ok(()),
            },
            "Object" => write_number(body, out).and(write!(out, " {}B", bytes.len())),
            _ => write_number(body, out),
        },
        FlowClass::Group(FlowKind::PostingKeys) => {
            body.chunks(8).take(MAX_RANGES).try_for_each(|key| write!(out, " {}", Hex(key)))
        }
        FlowClass::Group(FlowKind::PostingValues | FlowKind::Routing) => write_value(bytes, out),
        FlowClass::Group(FlowKind::MulticastControl) if name == "Stream" => Ok(()),
        FlowClass::Group(FlowKind::MulticastControl) if name == "Push" => {
            write!(out, " {:02x}", body.first().copied().unwrap_or_default())
        }
        FlowClass::Group(FlowKind::MulticastControl) => write_number(body, out),
        FlowClass::Group(FlowKind::MulticastData) => {
            write_number(body, out).and(write!(out, " {}B", bytes.len()))
        }
        FlowClass::Unknown => write!(out, " {}B", bytes.len()),
    }
}

fn write_number(body: &[u8], out: &mut impl Write) -> fmt::Result {
    match vlu::parse("number", body) {
        Ok((number, _)) => write!(out, " {number}"),
        Err(_) => Ok(()),
    }
}

fn write_value(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    match message::amf(bytes) {
        Some(value) => write!(out, " {value:.MAX_VALUE$}"),
        None => write!(out, " {}B", bytes.len()),
    }
}

/// The name of a command or the handler of a data message, if it is one.
pub(super) fn command_name(message: &FlowMessage, bytes: &[u8]) -> Option<String> {
    let skip = match message.layout?.key {
        "Command" | "Data" => 5,
        "CommandExtended" | "DataExtended" => 6,
        _ => return None,
    };
    let FlowClass::Tc(_) = message.class else { return None };
    // A short AMF0 string: marker, length, text.
    let (head, rest) = bytes.get(skip..)?.split_first_chunk::<3>()?;
    let len = usize::from(u16::from_be_bytes([head[1], head[2]]));
    let text = rest.get(..len).filter(|_| head[0] == 2)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn write_rtmp(name: &str, body: &[u8], out: &mut impl Write) -> fmt::Result {
    let (timestamp, payload) = body.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    match name {
        "Audio" | "Video" => {
            write!(out, " t={} {}B", u32::from_be_bytes(*timestamp), payload.len())
        }
        "UserControl" => match UserControl::parse(&Bytes::copy_from_slice(payload)) {
            Ok(event) => write!(out, " {event:?}"),
            Err(_) => Ok(()),
        },
        _ => {
            let values = if name.ends_with("Extended") { payload.get(1..) } else { Some(payload) };
            let values = Bytes::copy_from_slice(values.unwrap_or_default());
            if name.starts_with("Command")
                && let Ok(command) = Command::parse(&values)
            {
                write!(out, " {}(", command.name)?;
                for (i, arg) in command.args.iter().take(MAX_RANGES).enumerate() {
                    write!(out, "{}{arg:.MAX_VALUE$}", if i == 0 { "" } else { ", " })?;
                }
                return write!(out, ") #{}", command.transaction);
            }
            write_value(&values, out)
        }
    }
}
