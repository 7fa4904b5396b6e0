//! Packet captures in, decoded packets out.
//!
//! | file | what |
//! | --- | --- |
//! | [`capture`] | pcap and pcapng files to UDP datagrams |
//! | [`keylog`] | shared secrets of recorded sessions |
//! | [`decoder`] | datagrams to decrypted packets |
//! | [`stats`] | counts over decoded datagrams |
//!
//! ```no_run
//! use rtmfp::trace::{Capture, Decoded, Decoder, KeyLog};
//! use std::fs::File;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut keys = KeyLog::default();
//! keys.read(File::open("session.keys")?)?;
//! let mut decoder = Decoder::new(keys);
//! for datagram in Capture::open(File::open("session.pcap")?)? {
//!     if let Decoded::Packet(packet) = decoder.feed(&datagram?) {
//!         println!("{:?}: {} chunks", packet.sender, packet.chunks().count());
//!     }
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
mod recognize;
pub mod report;
pub mod sessions;
pub mod stats;
mod text;
pub mod tree;
pub mod writer;

pub use analyzer::{Analyzer, PacketInfo, PacketView, Status};
pub use capture::{Capture, CaptureCounts, CaptureError, Datagram, DatagramRef};
pub use decoder::{Decoded, Decoder, Handshake, Keying, Opened, Packet, Sender, Undecoded, Verify};
pub use keylog::{KeyLog, KeyLogError};
pub use stats::Stats;
