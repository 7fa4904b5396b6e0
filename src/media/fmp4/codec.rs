//! The configurations of decoders.

use super::sps;
use bytes::Bytes;

/// The longest configuration of a decoder that is taken; real ones have some dozen bytes.
const MAX_AVC: usize = 4096;
/// The same for AAC; it keeps the lengths in the descriptor at one byte.
const MAX_SPECIFIC: usize = 64;
/// Sample rates of AAC by their index.
const AAC_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// The configuration of an H.264 decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvcConfig {
    record: Bytes,
    size: (u16, u16),
}

impl AvcConfig {
    /// Reads an AVCDecoderConfigurationRecord (ISO/IEC 14496-15). `None` if it is not valid.
    pub fn parse(record: &Bytes) -> Option<Self> {
        let &[1, _, _, _, _, sets, l0, l1] = record.first_chunk::<8>()? else { return None };
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let unit = record.get(8..8 + len).filter(|_| sets & 31 > 0)?;
        let is_usual = record.len() <= MAX_AVC;
        // A picture of unknown size is shown in the size that the decoder finds.
        let size = sps::size(unit).unwrap_or((640, 360));
        is_usual.then(|| Self { record: record.clone(), size })
    }

    pub(super) fn record(&self) -> &[u8] {
        &self.record
    }

    /// Width and height.
    pub(super) fn size(&self) -> (u16, u16) {
        self.size
    }

    /// The codec in the form of RFC 6381.
    fn name(&self) -> String {
        let profile = self.record.get(1..4).unwrap_or_default();
        let digits: String = profile.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("avc1.{digits}")
    }
}

/// The configuration of an AAC decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AacConfig {
    specific: Bytes,
    object_type: u8,
    sample_rate: u32,
    channels: u16,
}

impl AacConfig {
    /// Reads an AudioSpecificConfig (ISO/IEC 14496-3). `None` if it is not valid.
    pub fn parse(specific: &Bytes) -> Option<Self> {
        let mut bits = [0; 8];
        let len = specific.len().min(8);
        bits[..len].copy_from_slice(&specific[..len]);
        let bits = u64::from_be_bytes(bits);
        let mut at = 0;
        let mut take = |count: u32| {
            at += count;
            (bits >> (64 - at)) & ((1 << count) - 1)
        };
        let mut object_type = take(5);
        if object_type == 31 {
            object_type = 32 + take(6);
        }
        let sample_rate = match take(4) {
            15 => take(24) as u32,
            index => *AAC_RATES.get(index as usize)?,
        };
        // 0: described elsewhere; 7: eight channels.
        let channels = match take(4) {
            0 => 2,
            7 => 8,
            channels => channels as u16,
        };
        let is_usual = (2..=MAX_SPECIFIC).contains(&specific.len())
            && object_type > 0
            && (1_000..=192_000).contains(&sample_rate);
        let object_type = object_type as u8;
        is_usual.then(|| Self { specific: specific.clone(), object_type, sample_rate, channels })
    }
}

/// What the header of a frame of MP3 says of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mp3Config {
    sample_rate: u32,
    channels: u16,
    samples: u32,
}

impl Mp3Config {
    /// Reads the header of a frame of layer III. `None` if it is not one.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let &[0xff, second, third, fourth] = frame.first_chunk::<4>()? else { return None };
        let index = usize::from(third >> 2 & 3);
        let (rates, samples) = match (second >> 5, second >> 3 & 3, second >> 1 & 3) {
            (7, 3, 1) => ([44_100, 48_000, 32_000], 1152),
            (7, 2, 1) => ([22_050, 24_000, 16_000], 576),
            (7, 0, 1) => ([11_025, 12_000, 8_000], 576),
            _ => return None,
        };
        let channels = if fourth >> 6 == 3 { 1 } else { 2 };
        Some(Self { sample_rate: *rates.get(index)?, channels, samples })
    }
}

/// The configuration of the decoder of the sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioConfig {
    /// AAC.
    Aac(AacConfig),
    /// MP3.
    Mp3(Mp3Config),
}

impl AudioConfig {
    pub(super) fn sample_rate(&self) -> u32 {
        match self {
            Self::Aac(aac) => aac.sample_rate,
            Self::Mp3(mp3) => mp3.sample_rate,
        }
    }

    pub(super) fn channels(&self) -> u16 {
        match self {
            Self::Aac(aac) => aac.channels,
            Self::Mp3(mp3) => mp3.channels,
        }
    }

    /// Samples of sound in a frame.
    pub(super) fn frame(&self) -> u32 {
        match self {
            Self::Aac(_) => 1024,
            Self::Mp3(mp3) => mp3.samples,
        }
    }

    /// The kind of stream in an `esds`.
    pub(super) fn object_type(&self) -> u8 {
        match self {
            Self::Aac(_) => 0x40,
            Self::Mp3(_) => 0x6b,
        }
    }

    /// What the decoder needs besides.
    pub(super) fn specific(&self) -> &[u8] {
        match self {
            Self::Aac(aac) => &aac.specific,
            Self::Mp3(_) => &[],
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Aac(aac) => format!("mp4a.40.{}", aac.object_type),
            Self::Mp3(_) => "mp4a.6B".into(),
        }
    }
}

/// The media type with codecs, as `MediaSource.isTypeSupported` takes it.
pub(super) fn media_type(video: Option<&AvcConfig>, audio: Option<&AudioConfig>) -> String {
    let kind = if video.is_some() { "video" } else { "audio" };
    let names: Vec<_> =
        video.map(AvcConfig::name).into_iter().chain(audio.map(AudioConfig::name)).collect();
    format!("{kind}/mp4; codecs=\"{}\"", names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn configurations_that_encoders_write() {
        let aac = AacConfig::parse(&Bytes::from_static(&[0x12, 0x10])).unwrap();
        assert_eq!((aac.object_type, aac.sample_rate, aac.channels), (2, 44_100, 2));
        let mono = AacConfig::parse(&Bytes::from_static(&[0x13, 0x88, 0x56, 0xe5, 0])).unwrap();
        assert_eq!((mono.object_type, mono.sample_rate, mono.channels), (2, 22_050, 1));
        let mp3 = Mp3Config::parse(&[0xff, 0xfb, 0x90, 0xc4]).unwrap();
        assert_eq!((mp3.sample_rate, mp3.channels, mp3.samples), (44_100, 1, 1152));
        assert_eq!(media_type(None, Some(&AudioConfig::Mp3(mp3))), "audio/mp4; codecs=\"mp4a.6B\"");
    }

    #[test]
    fn hostile_configurations_are_refused() {
        for specific in [&b""[..], b"\x12", b"\x00\x10", b"\x17\x00", &[0x12; 65]] {
            assert_eq!(AacConfig::parse(&Bytes::copy_from_slice(specific)), None, "{specific:?}");
        }
        for record in
            [&b""[..], b"\x01\x64\0\x1e\xff\xe1\0\x20short", b"\x02\x64\0\x1e\xff\xe1\0\0"]
        {
            assert_eq!(AvcConfig::parse(&Bytes::copy_from_slice(record)), None, "{record:?}");
        }
        assert_eq!(Mp3Config::parse(b"ID3\x04"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = (AacConfig::parse(&bytes.clone().into()), Mp3Config::parse(&bytes));
            let _ = AvcConfig::parse(&bytes.into());
        }
    }
}
