//! [`VideoPacket`] and [`AudioPacket`]: the data of tags.

use bytes::{Buf, Bytes};

/// The data of a video tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoPacket {
    /// The configuration of an H.264 decoder (AVCDecoderConfigurationRecord).
    AvcConfig(Bytes),
    /// A frame of H.264.
    Avc {
        /// It can be decoded without others.
        is_key: bool,
        /// Milliseconds from the tag's timestamp to the time at which it is shown.
        composition: i32,
        /// NAL units, each after its length.
        data: Bytes,
    },
    /// Nothing to show: the end of a sequence, or a command.
    Nothing,
    /// Another codec, by its name.
    Other(&'static str),
}

impl VideoPacket {
    /// The data of a tag. `None` if they are cut off.
    pub fn parse(data: &Bytes) -> Option<Self> {
        const COMMAND: u8 = 5;
        const EXTENDED: u8 = 0x80;
        let first = *data.first()?;
        if first & EXTENDED != 0 {
            return Some(Self::Other(extended_name(data.get(1..5)?)));
        }
        let (frame, codec) = (first >> 4, first & 15);
        if codec != 7 {
            return Some(Self::Other(video_name(codec)));
        }
        if frame == COMMAND {
            return Some(Self::Nothing);
        }
        let &[_, kind, c0, c1, c2] = data.first_chunk::<5>()?;
        let mut rest = data.clone();
        rest.advance(5);
        // A signed number of three bytes.
        let composition = i32::from_be_bytes([c0, c1, c2, 0]) >> 8;
        Some(match kind {
            0 => Self::AvcConfig(rest),
            1 => Self::Avc { is_key: frame == 1, composition, data: rest },
            _ => Self::Nothing,
        })
    }
}

fn video_name(codec: u8) -> &'static str {
    match codec {
        2 => "Sorenson Spark (H.263)",
        3 | 6 => "Screen Video",
        4 => "On2 VP6",
        5 => "On2 VP6 with alpha",
        8 => "Real-time H.263",
        9 => "MPEG-4 Part 2",
        12 => "H.265 (HEVC)",
        _ => "an unknown video codec",
    }
}

/// The codecs of enhanced RTMP.
fn extended_name(four: &[u8]) -> &'static str {
    match four {
        b"hvc1" => "H.265 (HEVC)",
        b"av01" => "AV1",
        b"vp09" => "VP9",
        b"avc1" => "H.264 in the form of enhanced RTMP",
        _ => "an unknown video codec",
    }
}

/// The data of an audio tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioPacket {
    /// The configuration of an AAC decoder (AudioSpecificConfig).
    AacConfig(Bytes),
    /// A frame of AAC.
    Aac(Bytes),
    /// A frame of MP3.
    Mp3(Bytes),
    /// Another codec, by its name.
    Other(&'static str),
}

impl AudioPacket {
    /// The data of a tag. `None` if they are cut off.
    pub fn parse(data: &Bytes) -> Option<Self> {
        let codec = *data.first()? >> 4;
        let after = |count| {
            let mut rest = data.clone();
            rest.advance(count);
            rest
        };
        Some(match codec {
            2 | 14 => Self::Mp3(after(1)),
            10 if *data.get(1)? == 0 => Self::AacConfig(after(2)),
            10 => Self::Aac(after(2)),
            0 | 3 => Self::Other("PCM"),
            1 => Self::Other("ADPCM"),
            4..=6 => Self::Other("Nellymoser"),
            7 | 8 => Self::Other("G.711"),
            11 => Self::Other("Speex"),
            _ => Self::Other("an unknown audio codec"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(data: &'static [u8]) -> Option<VideoPacket> {
        VideoPacket::parse(&Bytes::from_static(data))
    }

    fn audio(data: &'static [u8]) -> Option<AudioPacket> {
        AudioPacket::parse(&Bytes::from_static(data))
    }

    #[test]
    fn literal_video() {
        let config = VideoPacket::AvcConfig(Bytes::from_static(b"record"));
        assert_eq!(video(b"\x17\0\0\0\0record"), Some(config));
        let avc = |is_key, composition| VideoPacket::Avc {
            is_key,
            composition,
            data: Bytes::from_static(b"nal"),
        };
        assert_eq!(video(b"\x17\x01\0\0\x50nal"), Some(avc(true, 80)));
        assert_eq!(video(b"\x27\x01\xff\xff\xd8nal"), Some(avc(false, -40)));
        assert_eq!(video(b"\x17\x02\0\0\0"), Some(VideoPacket::Nothing));
        assert_eq!(video(b"\x14\0"), Some(VideoPacket::Other("On2 VP6")));
        assert_eq!(video(b"\x90hvc1"), Some(VideoPacket::Other("H.265 (HEVC)")));
    }

    #[test]
    fn literal_audio() {
        assert_eq!(audio(b"\xaf\0\x12\x10"), Some(AudioPacket::AacConfig(b"\x12\x10"[..].into())));
        assert_eq!(audio(b"\xaf\x01x"), Some(AudioPacket::Aac(b"x"[..].into())));
        assert_eq!(audio(b"\x2fx"), Some(AudioPacket::Mp3(b"x"[..].into())));
        assert_eq!(audio(b"\xbf"), Some(AudioPacket::Other("Speex")));
    }

    #[test]
    fn hostile_packets_that_are_cut_off() {
        for data in [&b""[..], b"\x17", b"\x17\x01\0\0", b"\x90hvc"] {
            assert_eq!(video(data), None, "{data:?}");
        }
        assert_eq!(audio(b""), None);
        assert_eq!(audio(b"\xaf"), None);
    }
}
