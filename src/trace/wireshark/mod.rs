//! Decrypted captures for Wireshark, and the plugin that shows them.
//!
//! Wireshark's Lua cannot decrypt RTMFP. So a [`Decrypted`] capture is written, in which each
//! datagram has the same time and addresses, but no payload; behind it stands a record of what the
//! decoder made of it: the plain packet, the messages that it completes, and the tree. The link
//! layer is that for private use (`USER0`), so that no port makes Wireshark take it for another
//! protocol. The [`plugin`] has the fields of the field table and puts the record's tree into
//! Wireshark's.
//!
//! | file | what |
//! | --- | --- |
//! | `record` | a packet as a record |
//! | `names` | the fields under Wireshark's names |
//! | `plugin` | the plugin's source |

mod names;
mod plugin;
mod record;

pub use names::{Kind, Name, names};
pub use plugin::plugin;
pub use record::{MAX_RECORD, write_record};

use super::analyzer::PacketView;
use super::writer::CaptureWriter;
use std::io::{self, Write};

/// Link layer for private use.
const USER0: u32 = 147;

/// Writes decrypted captures.
#[derive(Debug)]
pub struct Decrypted<W> {
    capture: CaptureWriter<W>,
    record: Vec<u8>,
}

impl<W: Write> Decrypted<W> {
    /// Begins a capture.
    ///
    /// # Errors
    ///
    /// Errors of `out`.
    pub fn new(out: W) -> io::Result<Self> {
        Ok(Self { capture: CaptureWriter::with_link(out, USER0)?, record: Vec::new() })
    }

    /// Writes the record of a packet, or of a datagram that could not be decrypted.
    ///
    /// # Errors
    ///
    /// Errors of the writer.
    pub fn packet(&mut self, packet: &PacketView<'_>) -> io::Result<()> {
        self.record.clear();
        write_record(packet, &mut self.record)?;
        let (from, to) = (packet.source, packet.destination);
        self.capture.write_with(packet.time, from, to, &[], &self.record)
    }

    /// Writes what the writer holds back.
    ///
    /// # Errors
    ///
    /// Errors of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.capture.get_mut().flush()
    }
}
