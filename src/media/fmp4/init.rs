//! The initialization segment.

use super::boxes::{put, put_full, u16s, u32s};
use super::codec::{AudioConfig, AvcConfig};
use super::finder::Tracks;
use super::{AUDIO, MILLISECONDS, VIDEO};

/// The unit matrix of a picture, in fixed point.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// The language `und` in five bits a letter.
const UNDETERMINED: u16 = 0x55c4;

/// Appends the segment.
pub(super) fn write(out: &mut Vec<u8>, tracks: &Tracks) {
    put(out, b"ftyp", |out| {
        out.extend_from_slice(b"iso5");
        u32s(out, &[512]);
        out.extend_from_slice(b"iso5iso6mp41");
    });
    put(out, b"moov", |out| {
        put_full(out, b"mvhd", 0, 0, |out| {
            u32s(out, &[0, 0, MILLISECONDS, 0, 0x1_0000, 0x0100_0000, 0, 0]);
            u32s(out, &MATRIX);
            u32s(out, &[0, 0, 0, 0, 0, 0, AUDIO + 1]);
        });
        if let Some(avc) = &tracks.video {
            video(out, avc);
        }
        if let Some(config) = &tracks.audio {
            audio(out, config);
        }
        put(out, b"mvex", |out| {
            let ids = [tracks.video.as_ref().map(|_| VIDEO), tracks.audio.as_ref().map(|_| AUDIO)];
            for id in ids.into_iter().flatten() {
                put_full(out, b"trex", 0, 0, |out| u32s(out, &[id, 1, 0, 0, 0]));
            }
        });
    });
}

fn video(out: &mut Vec<u8>, avc: &AvcConfig) {
    let (width, height) = avc.size();
    let head = Head { id: VIDEO, timescale: MILLISECONDS, width, height, handler: *b"vide" };
    let media = |out: &mut Vec<u8>| put_full(out, b"vmhd", 0, 1, |out| u16s(out, &[0; 4]));
    track(out, &head, media, |out| {
        put(out, b"avc1", |out| {
            u16s(out, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, width, height]);
            u32s(out, &[0x48_0000, 0x48_0000, 0]);
            u16s(out, &[1]);
            out.extend_from_slice(&[0; 32]);
            u16s(out, &[0x18, 0xffff]);
            put(out, b"avcC", |out| out.extend_from_slice(avc.record()));
        });
    });
}

fn audio(out: &mut Vec<u8>, config: &AudioConfig) {
    let rate = config.sample_rate();
    let head = Head { id: AUDIO, timescale: rate, width: 0, height: 0, handler: *b"soun" };
    let media = |out: &mut Vec<u8>| put_full(out, b"smhd", 0, 0, |out| u32s(out, &[0]));
    track(out, &head, media, |out| {
        put(out, b"mp4a", |out| {
            u16s(out, &[0, 0, 0, 1, 0, 0, 0, 0, config.channels(), 16, 0, 0]);
            // Fixed point; 0 for a rate that does not fit, which the configuration has anyway.
            u32s(out, &[u16::try_from(rate).map_or(0, |rate| u32::from(rate) << 16)]);
            put_full(out, b"esds", 0, 0, |out| descriptor(out, config));
        });
    });
}

/// The descriptor of an elementary stream (ISO/IEC 14496-1).
fn descriptor(out: &mut Vec<u8>, config: &AudioConfig) {
    let specific = config.specific();
    // AudioConfig bounds this, so that every length has one byte.
    let len = specific.len() as u8;
    let own = if specific.is_empty() { 0 } else { 2 + len };
    out.extend_from_slice(&[3, 3 + 2 + 13 + own + 3, 0, AUDIO as u8, 0]);
    out.extend_from_slice(&[4, 13 + own, config.object_type(), 0x15]);
    out.extend_from_slice(&[0; 11]);
    if !specific.is_empty() {
        out.extend_from_slice(&[5, len]);
        out.extend_from_slice(specific);
    }
    out.extend_from_slice(&[6, 1, 2]);
}

struct Head {
    id: u32,
    timescale: u32,
    width: u16,
    height: u16,
    handler: [u8; 4],
}

fn track(
    out: &mut Vec<u8>,
    head: &Head,
    media: impl FnOnce(&mut Vec<u8>),
    entry: impl FnOnce(&mut Vec<u8>),
) {
    let volume = if head.id == AUDIO { 0x0100_0000 } else { 0 };
    put(out, b"trak", |out| {
        put_full(out, b"tkhd", 0, 3, |out| {
            u32s(out, &[0, 0, head.id, 0, 0, 0, 0, 0, volume]);
            u32s(out, &MATRIX);
            u32s(out, &[u32::from(head.width) << 16, u32::from(head.height) << 16]);
        });
        put(out, b"mdia", |out| {
            put_full(out, b"mdhd", 0, 0, |out| {
                u32s(out, &[0, 0, head.timescale, 0]);
                u16s(out, &[UNDETERMINED, 0]);
            });
            put_full(out, b"hdlr", 0, 0, |out| {
                u32s(out, &[0, u32::from_be_bytes(head.handler), 0, 0, 0]);
                out.push(0);
            });
            put(out, b"minf", |out| {
                media(out);
                put(out, b"dinf", |out| {
                    put_full(out, b"dref", 0, 0, |out| {
                        u32s(out, &[1]);
                        put_full(out, b"url ", 0, 1, |_| {});
                    });
                });
                put(out, b"stbl", |out| samples(out, entry));
            });
        });
    });
}

/// The table of samples: none, as they are in the fragments.
fn samples(out: &mut Vec<u8>, entry: impl FnOnce(&mut Vec<u8>)) {
    put_full(out, b"stsd", 0, 0, |out| {
        u32s(out, &[1]);
        entry(out);
    });
    for kind in [b"stts", b"stsc", b"stco"] {
        put_full(out, kind, 0, 0, |out| u32s(out, &[0]));
    }
    put_full(out, b"stsz", 0, 0, |out| u32s(out, &[0, 0]));
}
