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
//! | `link` | what lies between the wire and IP |
//! | `ip` | IPv4, IPv6 and UDP headers |
//! | `fragments` | IP packets put together |
//!
//! Bounds: a record has at most [`MAX_RECORD`] bytes, a pcapng section [`MAX_INTERFACES`]
//! interfaces, and [`MAX_FRAGMENTED`] fragmented IP packets are put together at a time.

mod fragments;
mod ip;
mod joined;
mod link;
mod pcap;
mod pcapng;
mod source;

pub use fragments::MAX_FRAGMENTED;
pub use pcapng::MAX_INTERFACES;

use fragments::Fragments;
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
    /// When it was captured, since 1970.
    pub time: Duration,
    /// Who sent it.
    pub source: SocketAddr,
    /// Where it went.
    pub destination: SocketAddr,
    /// The UDP payload, as much of it as was captured.
    pub payload: &'a [u8],
    /// Bytes of the payload that the capture lacks, as it was taken with a snap length.
    pub missing: usize,
}

/// A UDP datagram of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// When it was captured, since 1970.
    pub time: Duration,
    /// Who sent it.
    pub source: SocketAddr,
    /// Where it went.
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

/// What was passed over in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaptureCounts {
    /// Records of any kind.
    pub frames: u64,
    /// Bytes of the file so far, decompressed.
    pub bytes: u64,
    /// Frames of a link layer that is not known.
    pub unknown_link: u64,
    /// UDP datagrams that the capture has only the beginning of.
    pub cut: u64,
    /// Fragmented IP packets that stayed incomplete.
    pub incomplete: u64,
}

/// The datagrams of a capture file, in its order. After an error it has ended.
pub struct Capture {
    source: Source,
    format: Format,
    fragments: Fragments,
    counts: CaptureCounts,
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
}

/// A datagram by where its payload is.
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
    /// [`CaptureError::NotACapture`] or [`CaptureError::Io`].
    pub fn open(file: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let mut source = Source::open(file)?;
        let format = if let Some(header) = pcap::Header::read(&mut source)? {
            Format::Pcap(header)
        } else if pcapng::Section::is_next(&mut source)? {
            Format::Pcapng(pcapng::Section::default())
        } else {
            return Err(CaptureError::NotACapture);
        };
        let (fragments, counts) = (Fragments::default(), CaptureCounts::default());
        Ok(Self { source, format, fragments, counts, joined: None, ended: false })
    }

    /// The next datagram. `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// Any [`CaptureError`], once; what came before it is good.
    pub fn advance(&mut self) -> Result<Option<DatagramRef<'_>>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        if let Some(joined) = self.joined.take() {
            return Ok(Some(self.first_of(joined)));
        }
        match self.find() {
            Ok(Some(found)) => {
                let segment = joined::segment(self.payload(&found.place));
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
            frame: self.counts.frames,
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
            Place::Fragments(range) => self.fragments.completed().get(range.clone()),
        };
        payload.unwrap_or_default()
    }

    /// What was passed over so far.
    pub fn counts(&self) -> CaptureCounts {
        CaptureCounts {
            bytes: self.source.position(),
            incomplete: self.fragments.incomplete(),
            ..self.counts
        }
    }

    fn find(&mut self) -> Result<Option<Found>, CaptureError> {
        loop {
            let frame = self.counts.frames;
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
            self.counts.frames += 1;
            if let Some(found) = self.datagram(record) {
                return Ok(Some(found));
            }
        }
    }

    fn datagram(&mut self, record: Record) -> Option<Found> {
        let frame = self.source.data().get(record.data.clone())?;
        let Some(link) = link::strip(record.link, frame) else {
            self.counts.unknown_link += u64::from(!link::is_known(record.link));
            return None;
        };
        let packet = ip::parse(frame.get(link..)?)?;
        let base = record.data.start + link + packet.payload.start;
        let udp = frame.get(link..)?.get(packet.payload.clone())?;
        let (found, place) = match packet.fragment {
            None => {
                let datagram = ip::udp(udp, packet.missing)?;
                let range = base + ip::UDP_HEADER..base + ip::UDP_HEADER + datagram.len;
                (datagram, Place::Source(range))
            }
            Some(fragment) => {
                let key = fragments::Key::new(&packet, fragment.id);
                let whole = packet.missing == 0;
                let len = self.fragments.add(key, fragment, udp, whole, record.time)?;
                let datagram = ip::udp(self.fragments.completed().get(..len)?, 0)?;
                let range = ip::UDP_HEADER..ip::UDP_HEADER + datagram.len;
                (datagram, Place::Fragments(range))
            }
        };
        self.counts.cut += u64::from(found.missing > 0);
        Some(Found {
            time: record.time,
            source: SocketAddr::new(packet.source, found.source_port),
            destination: SocketAddr::new(packet.destination, found.destination_port),
            place,
            missing: found.missing,
        })
    }
}

/// Owned datagrams, for those who are not in a hurry.
impl Iterator for Capture {
    type Item = Result<Datagram, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|datagram| datagram.map(Datagram::from)).transpose()
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("counts", &self.counts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
