//! A small language to choose packets: `chunk==IHello && ip==10.0.0.5`.
//!
//! ```text
//! filter     = either { ("||" | "or") either }
//! either     = factor { ("&&" | "and") factor }
//! factor     = ("!" | "not") factor | "(" filter ")" | test
//! test       = field [ ("==" | "!=" | "<" | "<=" | ">" | ">=") value ]
//! ```
//!
//! A field alone asks whether the packet has it. A packet may have several values of a field, for
//! example a chunk of several types: `==` is true if one of them is equal, `!=` if none is.

mod parse;

use super::analyzer::{PacketView, Status};
use super::fields::{CHUNKS, FieldLayout};
use super::line::command_name;
use super::message::FlowClass;
use crate::wire::chunk::{BitmapAck, RangeAck, UserData, kind};
use crate::wire::vlu;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use thiserror::Error;

/// The longest filter, in bytes; a longer one is refused.
pub const MAX_LEN: usize = 4096;

/// A filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Expression);

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    Not(Box<Expression>),
    Test(Test),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    /// The packet has a value of the field.
    Has(Field),
    Number(Field, Operator, f64),
    Chunk(Operator, u8),
    Ip(Field, Operator, IpAddr),
    Socket(Field, Operator, SocketAddr),
    Text(Field, Operator, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The fields of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Frame,
    Time,
    Len,
    Trailing,
    Session,
    Flow,
    Port,
    Ip,
    Source,
    Destination,
    Chunk,
    Kind,
    Message,
    Command,
    Class,
    Group,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Number,
    Address,
    Chunk,
    Text,
}

/// The fields: name, type, and description for help texts.
const FIELDS: &[(&str, Field, Type, &str)] = &[
    ("frame", Field::Frame, Type::Number, "number of the frame in the file"),
    ("time", Field::Time, Type::Number, "seconds since the first datagram"),
    ("len", Field::Len, Type::Number, "bytes of the UDP payload"),
    ("trailing", Field::Trailing, Type::Number, "bytes that are neither chunks nor padding"),
    ("session", Field::Session, Type::Number, "number of the session, as in the lines"),
    ("flow", Field::Flow, Type::Number, "flow ID of a data, acknowledgement or other chunk"),
    ("port", Field::Port, Type::Number, "UDP port of either end"),
    ("ip", Field::Ip, Type::Address, "address of either end: IP or IP:PORT"),
    ("src", Field::Source, Type::Address, "address of the sender: IP or IP:PORT"),
    ("dst", Field::Destination, Type::Address, "address of the receiver: IP or IP:PORT"),
    ("chunk", Field::Chunk, Type::Chunk, "type of a chunk: IHello, UserData, … or 0x30"),
    ("kind", Field::Kind, Type::Text, "startup, initiator, responder or undecoded"),
    ("message", Field::Message, Type::Text, "type of a completed message: Command, Have, Hello, …"),
    ("command", Field::Command, Type::Text, "name of a command or data message: connect, …"),
    ("class", Field::Class, Type::Text, "what the flow of a message is for: TC, GC, GR15, …"),
    ("group", Field::Group, Type::Text, "group of a message: the beginning of its ID"),
];

/// The fields and their descriptions.
pub fn fields() -> impl Iterator<Item = (&'static str, &'static str)> {
    FIELDS.iter().map(|(name, _, _, description)| (*name, *description))
}

/// A syntax error of a filter, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}\n  {text}\n  {caret:>width$}", caret = '^', width = .column + 1)]
pub struct FilterError {
    /// The problem.
    pub message: String,
    /// The filter.
    pub text: String,
    /// The character at which it is, from 0.
    pub column: usize,
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(Self)
    }
}

impl Filter {
    /// True if the packet is chosen.
    pub fn matches(&self, packet: &PacketView<'_>) -> bool {
        self.0.matches(packet)
    }
}

impl Expression {
    fn matches(&self, packet: &PacketView<'_>) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.matches(packet)),
            Self::All(parts) => parts.iter().all(|part| part.matches(packet)),
            Self::Not(part) => !part.matches(packet),
            Self::Test(test) => test.matches(packet),
        }
    }
}

impl Operator {
    /// Tests the values that a packet has against the one that was asked for.
    fn test<T: PartialOrd + ?Sized>(
        self,
        mut values: impl Iterator<Item = impl std::borrow::Borrow<T>>,
        wanted: &T,
    ) -> bool {
        match self {
            Self::Equal => values.any(|value| value.borrow() == wanted),
            Self::NotEqual => values.all(|value| value.borrow() != wanted),
            Self::Less => values.any(|value| value.borrow() < wanted),
            Self::LessOrEqual => values.any(|value| value.borrow() <= wanted),
            Self::Greater => values.any(|value| value.borrow() > wanted),
            Self::GreaterOrEqual => values.any(|value| value.borrow() >= wanted),
        }
    }
}

impl Test {
    fn matches(&self, packet: &PacketView<'_>) -> bool {
        match self {
            Self::Has(field) => field.is_in(packet),
            Self::Number(field, operator, wanted) => {
                operator.test(field.numbers(packet).into_iter(), wanted)
            }
            Self::Chunk(operator, wanted) => {
                operator.test(packet.raw_chunks().map(|(code, _)| code), wanted)
            }
            Self::Ip(field, operator, wanted) => {
                operator.test(field.sockets(packet).map(|socket| socket.ip()), wanted)
            }
            Self::Socket(field, operator, wanted) => operator.test(field.sockets(packet), wanted),
            Self::Text(field, operator, wanted) => {
                operator.test(field.texts(packet, wanted.len()).into_iter(), wanted)
            }
        }
    }
}

impl Field {
    fn is_in(self, packet: &PacketView<'_>) -> bool {
        match self {
            Self::Chunk => packet.raw_chunks().next().is_some(),
            Self::Message | Self::Command | Self::Class | Self::Group => {
                !self.texts(packet, usize::MAX).is_empty()
            }
            Self::Session | Self::Flow | Self::Trailing => !self.numbers(packet).is_empty(),
            _ => true,
        }
    }

    fn numbers(self, packet: &PacketView<'_>) -> Vec<f64> {
        match self {
            Self::Frame => vec![packet.frame as f64],
            Self::Time => vec![packet.relative.as_secs_f64()],
            Self::Len => vec![packet.len as f64],
            Self::Trailing if packet.trailing == 0 => Vec::new(),
            Self::Trailing => vec![packet.trailing as f64],
            Self::Session => packet.session.iter().map(|(number, _)| *number as f64).collect(),
            Self::Port => vec![packet.source.port().into(), packet.destination.port().into()],
            Self::Flow => packet.raw_chunks().filter_map(flow).map(|flow| flow as f64).collect(),
            _ => Vec::new(),
        }
    }

    fn sockets(self, packet: &PacketView<'_>) -> impl Iterator<Item = SocketAddr> {
        let source = (self != Self::Destination).then_some(packet.source);
        let destination = (self != Self::Source).then_some(packet.destination);
        source.into_iter().chain(destination)
    }

    /// The values in lower case; groups only as much of their IDs as was asked for.
    fn texts(self, packet: &PacketView<'_>, len: usize) -> Vec<String> {
        let messages = packet.messages.iter();
        match self {
            Self::Kind => vec![kind_name(packet).to_owned()],
            Self::Message => messages
                .map(|message| message.layout.map_or("unknown", |layout| layout.key))
                .map(str::to_ascii_lowercase)
                .collect(),
            Self::Command => messages
                .filter_map(|message| command_name(message, packet.bytes(message)))
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            Self::Class => messages.flat_map(|message| class_names(message.class)).collect(),
            Self::Group => messages
                .filter_map(|message| message.group)
                .map(|group| group.to_string().chars().take(len).collect())
                .collect(),
            _ => Vec::new(),
        }
    }
}

fn kind_name(packet: &PacketView<'_>) -> &'static str {
    match packet.status {
        Status::Startup => "startup",
        Status::Session(_, side) => side.name(),
        Status::Undecoded(_) => "undecoded",
    }
}

/// `GR 15` is asked for as `gr15` or `gr`, `TC 1` as `tc1` or `tc`.
fn class_names(class: FlowClass) -> [String; 2] {
    let whole = class.to_string().to_ascii_lowercase();
    let first = whole.split(' ').next().unwrap_or_default().to_owned();
    [whole.replace(' ', ""), first]
}

/// The flow ID in a chunk.
fn flow((code, payload): (u8, &[u8])) -> Option<u64> {
    match code {
        kind::USER_DATA => UserData::parse(payload).ok().map(|data| data.flow),
        kind::RANGE_ACK => RangeAck::parse(payload).ok().map(|ack| ack.flow),
        kind::BITMAP_ACK => BitmapAck::parse(payload).ok().map(|ack| ack.flow),
        kind::BUFFER_PROBE | kind::FLOW_EXCEPTION => {
            vlu::parse("flow", payload).ok().map(|(flow, _)| flow)
        }
        _ => None,
    }
}

/// The flows with data in a packet.
pub(super) fn data_flows(packet: &PacketView<'_>) -> impl Iterator<Item = u64> {
    let data = packet.raw_chunks().filter(|(code, _)| *code == kind::USER_DATA);
    data.filter_map(flow)
}

fn chunk_names() -> impl Iterator<Item = &'static FieldLayout> {
    CHUNKS.iter().filter(|layout| layout.key != "Padding")
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

#[cfg(test)]
mod tests;
