//! What kind of film it is.

use super::files::Files;
use super::media_type::is_played;
use super::part::Part;
use super::shared::{Remuxable, Shared};
use super::status::{Film, Player};
use crate::media::flv::Reader;
use crate::media::fmp4::{TrackFinder, Tracks};
use crate::media::probe::{Container, MediaInfo, Probe};
use crate::vod::Fetch;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Bytes that are read at a time.
const PIECE: u64 = 64 << 10;

/// What the description says of a file, before anything of it is here. `None` if there is no such file.
pub(super) fn described(files: &Files, index: usize) -> Option<Film> {
    let file = files.get(index)?;
    Some(Film {
        name: file.path.clone(),
        path: Some(file.url()),
        size: file.size,
        offset: file.offset,
        index,
        ..Film::default()
    })
}

/// Looks into a file, as soon as its beginning is here.
///
/// # Errors
///
/// There is no such file, or the fetch has failed.
pub(super) async fn find(
    shared: &Shared,
    fetch: &Fetch,
    files: &Files,
    index: usize,
) -> io::Result<Film> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let mut film = described(files, index).ok_or_else(missing)?;
    let file = files.get(index).ok_or_else(missing)?;
    let info = probed(fetch, file.range(), file.size).await?;
    film.duration = info.duration.map(|duration| duration.as_secs_f64());
    film.bytes_per_second = info.bytes_per_second();
    // Of several, the film that was looked into last is the one that is played.
    fetch.set_play_rate(film.bytes_per_second.map(|rate| rate.ceil() as u64)).await;
    film.container = info.container.map(|container| match container {
        Container::Mp4 => "mp4",
        Container::WebM => "webm",
        Container::Flv => "flv",
    });
    film.player = match info.container {
        Some(Container::Flv) => remuxable(shared, fetch, file.range(), index, &info).await?,
        Some(_) => Player::Native,
        None if is_played(files.media_type(file)) => Player::Native,
        None => Player::None { reason: "this file is no film that is known here".into() },
    };
    Ok(film)
}

async fn probed(fetch: &Fetch, range: Range<u64>, size: Option<u64>) -> io::Result<MediaInfo> {
    let (mut reader, mut probe) = (Part::of(fetch, range), Probe::new(size));
    while let Some(range) = probe.wants() {
        reader.seek(SeekFrom::Start(range.start)).await?;
        let mut bytes = Vec::new();
        (&mut reader).take(range.end - range.start).read_to_end(&mut bytes).await?;
        probe.push(&bytes);
    }
    Ok(probe.info().clone())
}

/// Prepares an FLV for the browser.
async fn remuxable(
    shared: &Shared,
    fetch: &Fetch,
    range: Range<u64>,
    index: usize,
    info: &MediaInfo,
) -> io::Result<Player> {
    let tracks = match tracks(fetch, range.clone()).await? {
        Ok(tracks) => tracks,
        Err(reason) => return Ok(Player::None { reason }),
    };
    let media_type = tracks.media_type();
    let remuxable = Remuxable {
        tracks,
        metadata: info.flv.clone().unwrap_or_default(),
        duration: info.duration.unwrap_or(Duration::ZERO),
        size: info.size.unwrap_or(0),
        range,
    };
    shared.set_remuxable(index, remuxable);
    Ok(Player::Remuxed { media_type })
}

/// The tracks, or why there are none for a browser.
async fn tracks(fetch: &Fetch, range: Range<u64>) -> io::Result<Result<Tracks, String>> {
    let (mut reader, mut tags) = (Part::of(fetch, range), Reader::new());
    let mut finder = TrackFinder::new();
    loop {
        let mut piece = Vec::new();
        let is_end = (&mut reader).take(PIECE).read_to_end(&mut piece).await? == 0;
        tags.push(&piece);
        let is_found = loop {
            match tags.next_tag().map(|tag| tag.map(|tag| finder.push(&tag))) {
                Ok(Some(Ok(false))) => {}
                Ok(Some(Ok(true))) => break true,
                Ok(Some(Err(error))) => return Ok(Err(error.to_string())),
                Ok(None) => break is_end || finder.is_exhausted(),
                Err(error) => return Ok(Err(error.to_string())),
            }
        };
        if is_found {
            return Ok(finder.finish().map_err(|error| error.to_string()));
        }
    }
}
