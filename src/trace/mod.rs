//! Packet captures in, decoded packets out.
//!
//! [`Analyzer`] is the whole of it: datagrams in, packets with their messages out, and a memory of
//! sessions, flows and groups. [`Decoder`] alone decrypts. Nothing here panics or grows without
//! bound, whatever is in a file.
//!
//! | file | what |
//! | --- | --- |
//! | [`capture`], [`writer`] | pcap and pcapng files to UDP datagrams, and back |
//! | [`keylog`] | shared secrets of recorded sessions |
//! | [`decoder`] | datagrams to decrypted packets |
//! | `pieces` | packets in pieces, put together |
//! | `recognize` | what is RTMFP and what is not |
//! | [`analyzer`] | packets with all that they mean |
//! | [`sessions`], [`flows`], [`groups`] | what is remembered |
//! | [`message`] | what flows carry |
//! | [`fields`] | the table of chunks, messages and their fields |
//! | [`tree`], [`line`](mod@line), [`json`] | a packet for people and for programs |
//! | [`report`], [`stats`] | what a capture adds up to |
//! | [`filter`] | a language to choose packets |
//! | [`wireshark`] | decrypted captures and a plugin for Wireshark |
//! | [`extract`] | what was carried, as files |
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
pub use decoder::{Decoded, Decoder, Ends, Handshake, Keying, Opened, Packet, Undecoded, Verify};
pub use keylog::{KeyLog, KeyLogError};
pub use sender::Sender;
pub use stats::Stats;
