//! The kind of a flow: its user metadata (RFC 7425 §5.1.1, `protocol-notes/netgroup-membership.md`).

use bytes::Bytes;

use crate::wire::vlu;

/// The largest RTMP stream ID: 24 bits (RFC 7425 §5.1).
pub const MAX_STREAM_ID: u32 = 0x00ff_ffff;

const STREAM_ID_PRESENT: u8 = 0x04;
const ARRIVAL_ORDER: u8 = 0x01;

/// The kind of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlowMetadata {
    /// RTMP messages of one stream (`TC`). Stream 0 is the NetConnection itself.
    Tc {
        /// The RTMP stream ID, at most [`MAX_STREAM_ID`].
        stream: u32,
        /// The sender's hint that messages be taken in the order of their arrival.
        arrival_order: bool,
    },
    /// A group's flow between a client and its server (`GC`).
    GroupServer,
    /// One of a group's flows between two members (`GR` and a byte for its kind).
    GroupPeer(u8),
}

impl FlowMetadata {
    /// A flow for the messages of `stream`, in their original order.
    pub const fn tc(stream: u32) -> Self {
        Self::Tc { stream, arrival_order: false }
    }

    /// The kind of a flow with this metadata; none if a receiver should reject the flow: unknown
    /// signature, or an RTMP flow without a stream ID or with one above [`MAX_STREAM_ID`].
    ///
    /// Reserved flags and bytes after the stream ID are ignored.
    pub fn parse(metadata: &[u8]) -> Option<Self> {
        match *metadata {
            [b'T', b'C', flags, ref rest @ ..] if flags & STREAM_ID_PRESENT != 0 => {
                let (stream, _) = vlu::parse("stream ID", rest).ok()?;
                let stream = u32::try_from(stream).ok().filter(|&id| id <= MAX_STREAM_ID)?;
                Some(Self::Tc { stream, arrival_order: flags & ARRIVAL_ORDER != 0 })
            }
            [b'G', b'C'] => Some(Self::GroupServer),
            [b'G', b'R', purpose] => Some(Self::GroupPeer(purpose)),
            _ => None,
        }
    }

    /// The metadata of a flow of this kind.
    pub fn encode(self) -> Bytes {
        match self {
            Self::Tc { stream, arrival_order } => {
                let order = if arrival_order { ARRIVAL_ORDER } else { 0 };
                let mut out = vec![b'T', b'C', STREAM_ID_PRESENT | order];
                vlu::encode(u64::from(stream), &mut out);
                out.into()
            }
            Self::GroupServer => Bytes::from_static(b"GC"),
            Self::GroupPeer(purpose) => Bytes::copy_from_slice(&[b'G', b'R', purpose]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literal_bytes() {
        let cases: [(&[u8], FlowMetadata); 5] = [
            (b"TC\x04\x00", FlowMetadata::tc(0)),
            (b"TC\x05\x00", FlowMetadata::Tc { stream: 0, arrival_order: true }),
            (b"TC\x04\x81\x00", FlowMetadata::tc(128)),
            (b"GC", FlowMetadata::GroupServer),
            (b"GR\x1c", FlowMetadata::GroupPeer(0x1c)),
        ];
        for (metadata, kind) in cases {
            assert_eq!(FlowMetadata::parse(metadata), Some(kind));
            assert_eq!(kind.encode(), metadata);
        }
    }

    #[test]
    fn flash_rejects_these_and_so_do_we() {
        for metadata in
            [&b""[..], b"T", b"TC", b"TC\x00", b"TC\x00\x00", b"metadata", b"GR", b"GCx"]
        {
            assert_eq!(FlowMetadata::parse(metadata), None, "{metadata:02x?}");
        }
    }

    #[test]
    fn hostile_stream_ids() {
        assert_eq!(FlowMetadata::parse(b"TC\x04"), None);
        assert_eq!(FlowMetadata::parse(b"TC\x04\x81"), None);
        assert_eq!(FlowMetadata::parse(b"TC\x04\x88\x80\x80\x00"), None); // 2^24
        assert_eq!(
            FlowMetadata::parse(b"TC\x04\x87\xff\xff\x7f"),
            Some(FlowMetadata::tc(MAX_STREAM_ID))
        );
        assert_eq!(FlowMetadata::parse(b"TC\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_metadata_never_panics(tail: Vec<u8>, tc: bool) {
            let mut metadata = if tc { b"TC\x04".to_vec() } else { vec![] };
            metadata.extend(tail);
            if let Some(kind) = FlowMetadata::parse(&metadata) {
                prop_assert_eq!(FlowMetadata::parse(&kind.encode()), Some(kind));
            }
        }
    }
}
