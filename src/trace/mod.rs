//! Packet captures in, decoded packets out.
//!
//! [`Analyzer`] does everything: datagrams in, packets with their messages out, and the state of
//! sessions, flows and groups. [`Decoder`] alone decrypts. Nothing here panics or grows without
//! bound, whatever is in a file.
//!
//! | file | what |
//! | --- | --- |
//! | [`capture`], [`writer`] | pcap and pcapng files to UDP datagrams, and back |
//! | [`keylog`] | shared secrets of recorded sessions |
//! | [`decoder`] | datagrams to decrypted packets |
//! | `pieces` | reassembly of fragmented packets |
//! | `recognize` | recognition of RTMFP |
//! | [`analyzer`] | packets with messages, sessions, flows and groups |
//! | [`sessions`], [`flows`], [`groups`] | the state that is kept of each |
//! | [`message`] | classes of flows, messages by type |
//! | [`fields`] | the table of chunks, messages and their fields |
//! | [`tree`], [`line`](mod@line), [`json`] | a packet for people and for programs |
//! | [`report`], [`stats`] | summaries of a capture |
//! | [`filter`] | a language to choose packets |
//! | [`wireshark`] | decrypted captures and a plugin for Wireshark |
//! | [`extract`] | streams, objects and posts as files |
//!
//! ```no_run
//! use rtmfp::trace::{Analyzer, Capture, Decoder, KeyLog, line};
//! use std::fs::File;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut keys = KeyLog::default();
//! keys.read(File::open("session.keys")?)?;
//! let mut analyzer = Analyzer::new(Decoder::new(keys));
//! let mut capture = Capture::open(File::open("session.pcap")?)?;
//! let mut text = String::new();
//! while let Some(datagram) = capture.advance_with(|first| analyzer.knows(first))? {
//!     let packet = analyzer.feed(&datagram);
//!     text.clear();
//!     line::write(&packet, &mut text)?;
//!     println!("{text}");
//! }
//! # Ok(())
//! # }
//! ```

pub mod analyzer;
pub mod capture;
pub mod decoder;
pub mod extract;
pub mod fields;
pub mod filter;
pub mod flows;
pub mod groups;
pub mod json;
pub mod keylog;
pub mod line;
pub mod message;
mod pieces;
mod recognize;
pub mod report;
mod sender;
pub mod sessions;
pub mod stats;
mod text;
pub mod tree;
pub mod wireshark;
pub mod writer;

pub use analyzer::{Analyzer, PacketInfo, PacketView, Status};
pub use capture::{Capture, CaptureCounts, CaptureError, Datagram, DatagramRef, Frames, Unread};
pub use decoder::{
    Decoded, Decoder, Ends, Handshake, Keying, OpenedPacket, Packet, Undecoded, Verify,
};
pub use keylog::{KeyLog, KeyLogError};
pub use sender::Sender;
pub use stats::CaptureStats;
