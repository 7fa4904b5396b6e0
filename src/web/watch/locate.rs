//! The place of a time in an FLV.

use super::shared::Remuxable;
use crate::media::flv::{Reader, Tag, TagKind, VideoPacket, find_tag};
use std::io::{self, SeekFrom};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt};

/// Bytes that are read at a time.
const PIECE: u64 = 64 << 10;
/// Bytes in which a tag must be found after a jump: more than the frames of most films have.
const SEARCH: u64 = 4 << 20;
/// Bytes that are read from there on, to find the last keyframe before the time.
const SCAN: u64 = 32 << 20;
/// Jumps, at most; then the film is played from where the last one led.
const JUMPS: usize = 8;
/// Milliseconds before the time at which the first jump aims, and the next ones twice as far each:
/// keyframes of most films are not farther apart.
const BEFORE: u64 = 3_000;
/// Milliseconds from the beginning that are not worth a jump.
const BEGINNING: u64 = 2_000;

/// The position of the tag from which to play the film at `time`: the keyframe before it, if that can
/// be found. 0 is the beginning.
///
/// # Errors
///
/// An error of the reader.
pub(super) async fn locate<R>(reader: &mut R, film: &Remuxable, time: Duration) -> io::Result<u64>
where
    R: AsyncRead + AsyncSeek + Unpin,
{
    let target = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if target < BEGINNING {
        return Ok(0);
    }
    let listed = film.metadata.keyframe_before(time).map(|keyframe| keyframe.position);
    if let Some(position) = listed.filter(|position| *position < film.size)
        && is_tag_at(reader, position).await?
    {
        return Ok(position);
    }
    by_estimate(reader, film, target).await
}

/// The list of a file that was cut or edited leads anywhere.
async fn is_tag_at<R>(reader: &mut R, position: u64) -> io::Result<bool>
where
    R: AsyncRead + AsyncSeek + Unpin,
{
    reader.seek(SeekFrom::Start(position)).await?;
    let mut head = [0; 11];
    match reader.read_exact(&mut head).await {
        Ok(_) => Ok(matches!(head, [8 | 9 | 18, .., 0, 0, 0])),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Jumps to where the time should be if every second had as many bytes, and nearer from there.
async fn by_estimate<R>(reader: &mut R, film: &Remuxable, target: u64) -> io::Result<u64>
where
    R: AsyncRead + AsyncSeek + Unpin,
{
    let duration = u64::try_from(film.duration.as_millis()).unwrap_or(u64::MAX).max(1);
    // Position and time of a place before the target, and of one after it.
    let (mut low, mut high) = ((0, 0), (film.size, duration.max(target + 1)));
    let mut before = BEFORE;
    for _ in 0..JUMPS {
        let aim = target.saturating_sub(before);
        if aim <= low.1 || high.1 <= low.1 {
            return Ok(low.0);
        }
        // What is between the two is nearer than the one after.
        let part = ((aim - low.1) as f64 / (high.1 - low.1) as f64).min(0.9);
        let position = low.0 + ((high.0 - low.0) as f64 * part) as u64;
        let Some(found) = scan(reader, film, position, target).await? else {
            high = (position, high.1);
            before *= 2;
            continue;
        };
        match found {
            Scan::Keyframe(position) => return Ok(position),
            Scan::After(time) => high = (position, time),
            Scan::Before(position, time) => low = (position, time),
        }
        before *= 2;
    }
    Ok(low.0)
}

/// What the tags after a jump show.
enum Scan {
    /// The last keyframe before the target is here.
    Keyframe(u64),
    /// The tags begin at this time, and no keyframe is between it and the target, or the end.
    After(u64),
    /// The tags are far before the target: position and time.
    Before(u64, u64),
}

/// Reads tags from a position on. `None` if there is none.
async fn scan<R>(
    reader: &mut R,
    film: &Remuxable,
    position: u64,
    target: u64,
) -> io::Result<Option<Scan>>
where
    R: AsyncRead + AsyncSeek + Unpin,
{
    let Some((mut tags, mut at)) = synchronized(reader, position).await? else { return Ok(None) };
    let end = at.saturating_add(SCAN);
    let (mut first, mut keyframe, mut last) = (None, None, (at, 0));
    loop {
        // A damaged place ends what can be known.
        while let Ok(Some(tag)) = tags.next_tag() {
            let time = film.tracks.time(&tag);
            if tag.kind != TagKind::Script && time > target {
                return Ok(Some(
                    keyframe.map_or(Scan::After(first.unwrap_or(time)), Scan::Keyframe),
                ));
            }
            first.get_or_insert(time);
            last = (at, time);
            if begins_here(film, &tag) {
                keyframe = Some(at);
            }
            // Head, data and the length behind them.
            at += tag.data.len() as u64 + 15;
        }
        let mut piece = Vec::with_capacity(PIECE as usize);
        if at > end {
            return Ok(Some(keyframe.map_or(Scan::Before(last.0, last.1), Scan::Keyframe)));
        }
        if (&mut *reader).take(PIECE).read_to_end(&mut piece).await? == 0 {
            let without = Scan::After(first.unwrap_or(target));
            return Ok(Some(keyframe.map_or(without, Scan::Keyframe)));
        }
        tags.push(&piece);
    }
}

/// True if the film can be played from this tag on.
fn begins_here(film: &Remuxable, tag: &Tag) -> bool {
    match tag.kind {
        TagKind::Video => {
            let packet = VideoPacket::parse(&tag.data);
            matches!(packet, Some(VideoPacket::Avc { is_key: true, .. }))
        }
        TagKind::Audio => !film.tracks.has_video(),
        TagKind::Script => false,
    }
}

/// A reader of tags from the first one after a position, and where that is.
async fn synchronized<R>(reader: &mut R, position: u64) -> io::Result<Option<(Reader, u64)>>
where
    R: AsyncRead + AsyncSeek + Unpin,
{
    reader.seek(SeekFrom::Start(position)).await?;
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < SEARCH {
        // Twice as many each time: they are searched from the first on.
        let more = PIECE.max(bytes.len() as u64);
        if (&mut *reader).take(more).read_to_end(&mut bytes).await? == 0 {
            break;
        }
        if let Some(found) = find_tag(&bytes) {
            let at = position + found as u64;
            let mut tags = Reader::at_tag(at);
            tags.push(&bytes[found..]);
            return Ok(Some((tags, at)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::flv::{self, Keyframe, Metadata};
    use crate::media::fmp4::TrackFinder;
    use bytes::Bytes;
    use std::io::Cursor;

    /// Seconds of the film, with a keyframe every other.
    const SECONDS: u32 = 200;

    /// A film whose second half has four times as many bytes a second, and the positions and times of its
    /// keyframes.
    fn film() -> (Vec<u8>, Vec<Keyframe>, Remuxable) {
        let path = format!("{}/fixtures/clips/test-pattern.flv", env!("CARGO_MANIFEST_DIR"));
        let mut reader = Reader::new();
        reader.push(&std::fs::read(path).unwrap());
        let tags: Vec<Tag> = std::iter::from_fn(|| reader.next_tag().unwrap()).take(20).collect();
        let mut finder = TrackFinder::new();
        assert!(tags.iter().any(|tag| finder.push(tag).unwrap()));
        let (mut out, mut keyframes) = (flv::header(true, true).to_vec(), Vec::new());
        for tenth in 0..SECONDS * 10 {
            let is_key = tenth % 20 == 0;
            if is_key {
                let time = Duration::from_millis(u64::from(tenth) * 100);
                keyframes.push(Keyframe { time, position: out.len() as u64 });
            }
            let len = if tenth < SECONDS * 5 { 2_000 } else { 8_000 };
            let mut data = vec![1; len];
            data[..5].copy_from_slice(&[if is_key { 0x17 } else { 0x27 }, 1, 0, 0, 0]);
            let tag = Tag { kind: TagKind::Video, timestamp: tenth * 100, data: Bytes::from(data) };
            tag.encode(&mut out).unwrap();
        }
        let film = Remuxable {
            tracks: finder.finish().unwrap(),
            metadata: Metadata::default(),
            duration: Duration::from_secs(SECONDS.into()),
            size: out.len() as u64,
            range: 0..out.len() as u64,
        };
        (out, keyframes, film)
    }

    async fn located(file: &[u8], film: &Remuxable, seconds: f64) -> u64 {
        let time = Duration::from_secs_f64(seconds);
        locate(&mut Cursor::new(file), film, time).await.unwrap()
    }

    #[tokio::test]
    async fn the_keyframe_before_a_time_is_found_by_estimate() {
        let (file, keyframes, film) = film();
        for seconds in [2.0, 2.05, 17.9, 55.0, 99.9, 100.0, 101.0, 140.3, 199.9] {
            let before = |it: &&Keyframe| it.time.as_secs_f64() <= seconds;
            let expected = keyframes.iter().rev().find(before).unwrap().position;
            let found = located(&file, &film, seconds).await;
            // From the beginning the first ones are as near.
            assert!(found == expected || (found == 0 && seconds < 12.0), "{seconds}: {found}");
        }
        assert_eq!(located(&file, &film, 0.5).await, 0);
    }

    #[tokio::test]
    async fn a_list_of_keyframes_is_used_unless_it_is_wrong() {
        let (file, keyframes, mut film) = film();
        film.metadata.keyframes = keyframes.clone();
        assert_eq!(located(&file, &film, 57.0).await, keyframes[28].position);
        film.metadata.keyframes.iter_mut().for_each(|keyframe| keyframe.position += 3);
        assert_eq!(located(&file, &film, 57.0).await, keyframes[28].position);
        film.metadata.keyframes.iter_mut().for_each(|keyframe| keyframe.position = u64::MAX);
        assert_eq!(located(&file, &film, 57.0).await, keyframes[28].position);
    }

    #[tokio::test]
    async fn hostile_films_are_played_from_somewhere() {
        let (file, _, mut film) = film();
        // It ends long before its stated end, or goes on long after it.
        for duration in [1, 20_000_000] {
            film.duration = Duration::from_secs(duration);
            assert!(located(&file, &film, 150.0).await < film.size);
        }
        let nothing = vec![0; 5 << 20];
        film.size = nothing.len() as u64;
        assert_eq!(located(&nothing, &film, 150.0).await, 0);
    }
}
