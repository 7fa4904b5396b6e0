//! Films as they come from an encoder, and hostile ones.

use super::{NotRemuxable, Remuxer, TrackFinder, Tracks};
use crate::media::flv::{self, Reader, Tag, TagKind};
use bytes::Bytes;
use proptest::prelude::*;

fn clip() -> Vec<Tag> {
    let path = format!("{}/fixtures/clips/test-pattern.flv", env!("CARGO_MANIFEST_DIR"));
    read(&std::fs::read(path).unwrap())
}

fn read(file: &[u8]) -> Vec<Tag> {
    let mut reader = Reader::new();
    reader.push(file);
    std::iter::from_fn(|| reader.next_tag().ok().flatten()).collect()
}

fn tracks(tags: &[Tag]) -> Result<Tracks, NotRemuxable> {
    let mut finder = TrackFinder::new();
    for tag in tags {
        if finder.push(tag)? {
            break;
        }
    }
    finder.finish()
}

/// Types and contents of boxes, which must fill the bytes.
fn boxes(mut bytes: &[u8]) -> Vec<(String, &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let len = u32::from_be_bytes(*bytes.first_chunk().unwrap()) as usize;
        found.push((String::from_utf8_lossy(&bytes[4..8]).into_owned(), &bytes[8..len]));
        bytes = &bytes[len..];
    }
    found
}

fn remuxed(tags: &[Tag]) -> Vec<u8> {
    let mut remuxer = Remuxer::new(tracks(tags).unwrap());
    let mut out = Vec::new();
    tags.iter().for_each(|tag| remuxer.push(tag, &mut out));
    remuxer.finish(&mut out);
    out
}

/// Begin and end of each track of a `moof`, in units of the track.
fn times(moof: &[u8]) -> Vec<(u32, u64, u64)> {
    let number = |bytes: &[u8], at: usize| u32::from_be_bytes(*bytes[at..].first_chunk().unwrap());
    let tracks = boxes(moof).into_iter().filter(|(kind, _)| kind == "traf");
    let time = |(_, traf): (String, &[u8])| {
        let inner = boxes(traf);
        let find = |name: &str| inner.iter().find(|(kind, _)| kind == name).unwrap().1;
        let begin = u64::from_be_bytes(*find("tfdt")[4..].first_chunk().unwrap());
        let run = find("trun");
        let samples = (0..number(run, 4) as usize).map(|n| u64::from(number(run, 12 + 16 * n)));
        (number(find("tfhd"), 4), begin, begin + samples.sum::<u64>())
    };
    tracks.map(time).collect()
}

#[test]
fn the_tracks_of_a_clip() {
    let tracks = tracks(&clip()).unwrap();
    assert!(tracks.has_video());
    let media_type = tracks.media_type();
    assert!(media_type.starts_with("video/mp4; codecs=\"avc1.64"), "{media_type}");
    assert!(media_type.ends_with(",mp4a.40.2\""), "{media_type}");
    let init = tracks.init_segment();
    let kinds: Vec<_> = boxes(&init).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["ftyp", "moov"]);
    let moov: Vec<_> = boxes(&init)[1].1.to_vec();
    let kinds: Vec<_> = boxes(&moov).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["mvhd", "trak", "trak", "mvex"]);
}

#[test]
fn fragments_are_whole_and_follow_each_other() {
    let tags = clip();
    let out = remuxed(&tags);
    let found = boxes(&out);
    let (moofs, mdats): (Vec<_>, Vec<_>) = found.iter().partition(|(kind, _)| kind == "moof");
    assert!(moofs.len() >= 3 && moofs.len() == mdats.len(), "{}", moofs.len());
    // Nothing but headers and configurations is left out: 5 bytes of each picture, 2 of each
    // sound.
    let of = |kind, head: usize| {
        let tags = tags.iter().filter(move |tag| tag.kind == kind && tag.data[1] == 1);
        tags.map(move |tag| tag.data.len() - head).sum::<usize>()
    };
    let media = of(TagKind::Video, 5) + of(TagKind::Audio, 2);
    assert_eq!(mdats.iter().map(|(_, data)| data.len()).sum::<usize>(), media);
    for track in [super::VIDEO, super::AUDIO] {
        let runs: Vec<_> =
            moofs.iter().flat_map(|(_, moof)| times(moof)).filter(|it| it.0 == track).collect();
        let seconds = |time: u64| time as f64 / if track == 1 { 1000.0 } else { 22_050.0 };
        assert!(runs.windows(2).all(|pair| pair[0].2 == pair[1].1), "{runs:?}");
        assert_eq!(seconds(runs[0].1).round(), 0.0);
        assert_eq!(seconds(runs.last().unwrap().2).round(), 3.0);
    }
}

#[test]
fn it_begins_at_a_keyframe_from_anywhere() {
    let tags = clip();
    let mut remuxer = Remuxer::new(tracks(&tags).unwrap());
    let mut out = Vec::new();
    let middle = tags.iter().position(|tag| tag.timestamp > 1_200).unwrap();
    tags[middle..].iter().for_each(|tag| remuxer.push(tag, &mut out));
    remuxer.finish(&mut out);
    // A keyframe each second.
    let found = boxes(&out);
    let moofs = found.iter().filter(|(kind, _)| kind == "moof");
    let begin = moofs.flat_map(|(_, moof)| times(moof)).find(|run| run.0 == super::VIDEO).unwrap();
    assert!((1_900..2_100).contains(&begin.1), "{begin:?}");
}

#[test]
fn a_decoder_that_is_configured_anew_gets_a_new_initialization() {
    let mut tags = clip();
    let config = tags.iter().find(|tag| tag.kind == TagKind::Video).unwrap().clone();
    let mut other = config.data.to_vec();
    // Another level.
    other[8] += 1;
    let at = tags.len() / 2;
    let again = Tag { timestamp: tags[at].timestamp, ..config };
    tags.insert(at, again.clone());
    assert!(!boxes(&remuxed(&tags)).iter().any(|(kind, _)| kind == "moov"), "it is the same");
    tags.insert(at, Tag { data: other.into(), ..again });
    let out = remuxed(&tags);
    assert_eq!(boxes(&out).iter().filter(|(kind, _)| kind == "moov").count(), 2);
}

#[test]
fn codecs_that_no_browser_has_are_named() {
    let tag = |kind, data: &'static [u8]| Tag { kind, timestamp: 0, data: data.into() };
    let found = |kind, data| tracks(&[tag(kind, data)]).unwrap_err();
    assert_eq!(found(TagKind::Video, b"\x14\0"), NotRemuxable::Video("On2 VP6"));
    assert_eq!(found(TagKind::Audio, b"\x62\0"), NotRemuxable::Audio("Nellymoser"));
    assert_eq!(found(TagKind::Script, b"x"), NotRemuxable::Nothing);
}

#[test]
fn timestamps_count_from_the_first_and_may_wrap() {
    let begin = u32::MAX - 1_500;
    let shifted: Vec<Tag> = clip()
        .into_iter()
        .map(|tag| Tag { timestamp: tag.timestamp.wrapping_add(begin), ..tag })
        .collect();
    assert!(remuxed(&shifted) == remuxed(&clip()));
}

proptest! {
    /// Packets of both codecs with anything in them, at any time.
    #[test]
    fn hostile_tags_make_whole_boxes(
        tags in proptest::collection::vec(
            (any::<bool>(), any::<u32>(), 0..4_u8, proptest::collection::vec(any::<u8>(), 0..40)),
            0..60,
        ),
    ) {
        let mut all: Vec<Tag> = clip().into_iter().take(4).collect();
        all.extend(tags.into_iter().map(|(is_video, timestamp, packet, rest)| {
            let (kind, first) =
                if is_video { (TagKind::Video, 0x17) } else { (TagKind::Audio, 0xaf) };
            let data: Bytes = [&[first, packet][..], &rest].concat().into();
            Tag { kind, timestamp, data }
        }));
        if tracks(&all).is_ok() {
            boxes(&remuxed(&all));
        }
        let mut file = flv::header(true, true).to_vec();
        all.iter().for_each(|tag| tag.encode(&mut file).unwrap());
        prop_assert_eq!(read(&file), all);
    }
}
