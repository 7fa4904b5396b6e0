//! Capture files in, UDP datagrams out.
//!
//! A file is read front to back in large blocks, from anything that is [`Read`]: pcap (both byte
//! orders, micro- and nanoseconds), pcapng (any number of interfaces and resolutions; blocks that
//! are not packets are skipped), either of them compressed with gzip. Nothing is copied or
//! allocated for a packet.
//!
//! | file | what |
//! | --- | --- |
//! | `source` | bytes of the file, decompressed |
//! | `pcap`, `pcapng` | records of the two formats |
//! | `walk`, `layers` | from the link layer to UDP, header by header |
//! | `link`, `tunnel` | link layers; PPP, MPLS and GRE |
//! | `ip` | IPv4, IPv6 and UDP headers |
//! | `fragments` | IP packets put together |
//! | `joined` | datagrams taken apart that segmentation offload has joined |
//! | `unread` | frames that give no datagram, by reason |
//!
//! Every frame gives datagrams, or is a piece of one, or is counted with the reason.
//!
//! Bounds: a record has at most [`MAX_RECORD`] bytes, a pcapng section [`MAX_INTERFACES`]
//! interfaces, and [`MAX_FRAGMENTED`] fragmented IP packets are put together at a time.

mod fragments;
mod ip;
mod joined;
mod layers;
mod link;
mod pcap;
mod pcapng;
mod source;
mod tunnel;
mod unread;
mod walk;

pub use fragments::MAX_FRAGMENTED;
pub use pcapng::MAX_INTERFACES;
pub use unread::{Frames, MAX_REASONS, Unread, UnreadCount};

use fragments::{Added, Fragments};
use layers::{Cursor, Layer, Outcome};
use source::Source;
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;
use thiserror::Error;

/// The longest record that is read, in bytes; a longer one means that the file is damaged.
pub const MAX_RECORD: usize = 1 << 20;

/// A UDP datagram of a capture, in the memory of its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatagramRef<'a> {
    /// Number of the record in the file, from 1, whatever the others are.
    pub frame: u64,
    /// Time of capture, since 1970.
    pub time: Duration,
    /// Source address.
    pub source: SocketAddr,
    /// Destination address.
    pub destination: SocketAddr,
    /// The UDP payload, as much of it as was captured.
    pub payload: &'a [u8],
    /// Bytes of the payload that the capture lacks, as it was taken with a snap length.
    pub missing: usize,
}

/// A UDP datagram of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Time of capture, since 1970.
    pub time: Duration,
    /// Source address.
    pub source: SocketAddr,
    /// Destination address.
    pub destination: SocketAddr,
    /// The UDP payload, cut if the capture was taken with a snap length.
    pub payload: Vec<u8>,
}

impl From<DatagramRef<'_>> for Datagram {
    fn from(datagram: DatagramRef<'_>) -> Self {
        Self {
            time: datagram.time,
            source: datagram.source,
            destination: datagram.destination,
            payload: datagram.payload.to_vec(),
        }
    }
}

/// A capture file that cannot be read (further).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// There is not a single byte.
    #[error("the file is empty")]
    Empty,
    /// Neither pcap nor pcapng.
    #[error("not a capture file")]
    NotACapture,
    /// The file ends inside a record, as after a crash of the capturing program.
    #[error("capture file ends inside a packet, after frame {frame}")]
    Truncated {
        /// The last frame that is whole.
        frame: u64,
    },
    /// A record is damaged or longer than [`MAX_RECORD`].
    #[error("capture file is damaged after frame {frame}")]
    Damaged {
        /// The last frame that could be read.
        frame: u64,
    },
    /// The reader failed.
    #[error("cannot read the capture file: {0}")]
    Io(std::io::Error),
}

/// Missing parts of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaptureCounts {
    /// Bytes of the file so far, decompressed.
    pub bytes: u64,
    /// UDP datagrams of which only the beginning was captured.
    pub cut: u64,
    /// Fragmented IP packets that stayed incomplete.
    pub incomplete: u64,
}

/// The datagrams of a capture file, in its order. After an error it has ended.
pub struct Capture {
    source: Source,
    format: Format,
    fragments: Fragments,
    /// The packet that was put together last, behind its IP header.
    completed: Vec<u8>,
    frames: Frames,
    cut: u64,
    /// The datagrams that were joined with the last one and come after it.
    joined: Option<Joined>,
    ended: bool,
}

struct Joined {
    found: Found,
    /// The length of each but the last.
    segment: usize,
}

enum Format {
    Pcap(pcap::Header),
    Pcapng(pcapng::Section),
}

/// A link-layer frame in the buffer of the source.
struct Record {
    time: Duration,
    link: u32,
    data: Range<usize>,
    /// Bytes of the frame that were not captured.
    missing: usize,
}

/// A datagram by the place of its payload.
#[derive(Clone)]
struct Found {
    time: Duration,
    source: SocketAddr,
    destination: SocketAddr,
    place: Place,
    missing: usize,
}

#[derive(Clone)]
enum Place {
    /// In the buffer of the source.
    Source(Range<usize>),
    /// In the fragments that were just completed.
    Fragments(Range<usize>),
}

impl Capture {
    /// Recognises the format of a file.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Empty`], [`CaptureError::NotACapture`] or [`CaptureError::Io`].
    pub fn open(file: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let mut source = Source::open(file)?;
        if source.peek(1)?.is_empty() {
            return Err(CaptureError::Empty);
        }
        let format = if let Some(header) = pcap::Header::read(&mut source)? {
            Format::Pcap(header)
        } else if pcapng::Section::is_next(&mut source)? {
            Format::Pcapng(pcapng::Section::default())
        } else {
            return Err(CaptureError::NotACapture);
        };
        Ok(Self {
            source,
            format,
            fragments: Fragments::default(),
            completed: Vec::new(),
            frames: Frames::default(),
            cut: 0,
            joined: None,
            ended: false,
        })
    }

    /// The next datagram. `None` at the end of the file. For a reader that knows no sessions: of
    /// datagrams that segmentation offload has joined only those are taken apart that are longer
    /// than the link carries.
    ///
    /// # Errors
    ///
    /// Any [`CaptureError`], once; earlier datagrams are valid.
    pub fn advance(&mut self) -> Result<Option<DatagramRef<'_>>, CaptureError> {
        self.advance_with(|_| false)
    }

    /// The next datagram. If it looks as if several were joined by segmentation offload,
    /// `is_known` gets the first of them and returns true if it belongs to a session that is known
    /// ([`Analyzer::knows`](super::Analyzer::knows)); they are then taken apart. Otherwise they are
    /// if they are longer than the link carries.
    ///
    /// # Errors
    ///
    /// Any [`CaptureError`], once; earlier datagrams are valid.
    pub fn advance_with(
        &mut self,
        is_known: impl FnOnce(&DatagramRef<'_>) -> bool,
    ) -> Result<Option<DatagramRef<'_>>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        if let Some(joined) = self.joined.take() {
            return Ok(Some(self.first_of(joined)));
        }
        match self.find() {
            Ok(Some(found)) => {
                let segment = self.segment(&found, is_known);
                Ok(Some(self.first_of(Joined { found, segment })))
            }
            Ok(None) => {
                self.ended = true;
                Ok(None)
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }

    /// The length of each of the datagrams that were joined in this one.
    fn segment(&self, found: &Found, is_known: impl FnOnce(&DatagramRef<'_>) -> bool) -> usize {
        let payload = self.payload(&found.place);
        // What was fragmented was one datagram.
        if matches!(found.place, Place::Fragments(_)) {
            return payload.len();
        }
        let segment = joined::segment(payload);
        if segment == payload.len() {
            return segment;
        }
        let (source, destination) = (found.source, found.destination);
        let first = DatagramRef {
            frame: self.frames.total,
            time: found.time,
            source,
            destination,
            payload: &payload[..segment],
            missing: 0,
        };
        let len = payload.len() + found.missing;
        let is_joined = is_known(&first)
            || (joined::is_longer_than_link(source.ip(), destination.ip(), len)
                && joined::are_packets(payload, segment));
        if is_joined { segment } else { payload.len() }
    }

    /// The first of joined datagrams; the others are kept for the next calls.
    fn first_of(&mut self, Joined { mut found, segment }: Joined) -> DatagramRef<'_> {
        let (Place::Source(range) | Place::Fragments(range)) = &found.place;
        let end = range.end;
        if segment > 0 && range.start + segment < end {
            let mut others = found.clone();
            let (Place::Source(range) | Place::Fragments(range)) = &mut others.place;
            range.start += segment;
            self.joined = Some(Joined { found: others, segment });
            let (Place::Source(range) | Place::Fragments(range)) = &mut found.place;
            range.end = range.start + segment;
            found.missing = 0;
        }
        DatagramRef {
            frame: self.frames.total,
            time: found.time,
            source: found.source,
            destination: found.destination,
            payload: self.payload(&found.place),
            missing: found.missing,
        }
    }

    fn payload(&self, place: &Place) -> &[u8] {
        let payload = match place {
            Place::Source(range) => self.source.data().get(range.clone()),
            Place::Fragments(range) => self.completed.get(range.clone()),
        };
        payload.unwrap_or_default()
    }

    /// The missing parts of the file so far.
    pub fn counts(&self) -> CaptureCounts {
        CaptureCounts {
            bytes: self.source.position(),
            cut: self.cut,
            incomplete: self.fragments.incomplete(),
        }
    }

    /// The counters of its frames so far.
    pub fn frames(&self) -> &Frames {
        &self.frames
    }

    fn find(&mut self) -> Result<Option<Found>, CaptureError> {
        loop {
            let frame = self.frames.total;
            let record = match &mut self.format {
                Format::Pcap(header) => header.next(&mut self.source, frame)?,
                Format::Pcapng(section) => section.next(&mut self.source, frame)?,
            };
            let Some(record) = record else {
                return if self.source.is_cut() {
                    Err(CaptureError::Truncated { frame })
                } else {
                    Ok(None)
                };
            };
            self.frames.total += 1;
            match self.datagram(record) {
                Ok(Some(found)) => {
                    self.frames.read += 1;
                    self.cut += u64::from(found.missing > 0);
                    return Ok(Some(found));
                }
                Ok(None) => self.frames.pieces += 1,
                Err(why) => self.frames.add_unread(why),
            }
        }
    }

    /// The datagram in a frame; `None` if the frame is a piece of one that is not complete yet.
    fn datagram(&mut self, record: Record) -> Result<Option<Found>, Unread> {
        let base = record.data.start;
        let frame = self.source.data().get(record.data).unwrap_or_default();
        let mut layer = Layer::Link(record.link);
        let (mut missing, mut depth, mut assembled) = (record.missing, 0, None);
        // A packet that was put together may be a piece of another, inside a tunnel.
        loop {
            let bytes = assembled.as_deref().unwrap_or(frame);
            let mut cursor = Cursor::new(bytes, missing, depth);
            match walk::walk(&mut cursor, layer)? {
                Outcome::Next(_) => return Err(Unread::TooDeep),
                Outcome::Datagram { source, destination } => {
                    let (range, missing) = (cursor.range(), cursor.missing());
                    let place = match assembled {
                        None => Place::Source(base + range.start..base + range.end),
                        Some(packet) => {
                            self.completed = packet;
                            Place::Fragments(range)
                        }
                    };
                    let time = record.time;
                    return Ok(Some(Found { time, source, destination, place, missing }));
                }
                Outcome::Piece(..) if cursor.missing() > 0 => return Err(Unread::Cut),
                Outcome::Piece(transport, fragment) => {
                    let key = fragments::Key::new(transport, fragment.id);
                    depth = cursor.depth();
                    match self.fragments.add(key, fragment, cursor.rest(), record.time) {
                        Added::Complete(packet) => assembled = Some(packet),
                        Added::Waiting => return Ok(None),
                        Added::Refused => return Err(Unread::Malformed("IP fragment")),
                    }
                    (layer, missing) = (Layer::Transport(transport), 0);
                }
            }
        }
    }
}

/// Iteration over owned datagrams: convenient, but with a copy of each.
impl Iterator for Capture {
    type Item = Result<Datagram, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|datagram| datagram.map(Datagram::from)).transpose()
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("frames", &self.frames).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
