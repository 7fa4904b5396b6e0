//! What kind of film it is.

use super::media_type::media_type;
use super::shared::{Remuxable, Shared};
use super::status::{Film, Player};
use crate::media::flv::Reader;
use crate::media::fmp4::{TrackFinder, Tracks};
use crate::media::probe::{Container, MediaInfo, Probe};
use crate::vod::{Descriptor, Fetch};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::io::{self, SeekFrom};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Bytes that are read at a time.
const PIECE: u64 = 64 << 10;

/// What is escaped of a name.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// What the description says, before anything of the file is here.
pub(super) fn described(descriptor: &Descriptor, size: Option<u64>) -> Film {
    let name = descriptor.file_name();
    let path = format!("/film/{}", utf8_percent_encode(&name, ESCAPED));
    Film { name, path: Some(path), size, ..Film::default() }
}

/// Looks into the file, as soon as its beginning is here.
///
/// # Errors
///
/// The fetch has failed.
pub(super) async fn find(shared: &Shared, fetch: &Fetch) -> io::Result<Film> {
    let descriptor = fetch.descriptor().await.map_err(io::Error::other)?;
    let size = descriptor.layout.size().or(fetch.progress().borrow().size);
    let info = probed(fetch, size).await?;
    let mut film = described(&descriptor, size);
    film.duration = info.duration.map(|duration| duration.as_secs_f64());
    film.bytes_per_second = info.bytes_per_second();
    film.container = info.container.map(|container| match container {
        Container::Mp4 => "mp4",
        Container::WebM => "webm",
        Container::Flv => "flv",
    });
    let kind = media_type(&film.name, descriptor.mime.as_deref());
    film.player = match info.container {
        Some(Container::Flv) => remuxable(shared, fetch, &info).await?,
        Some(_) => Player::Native,
        None if kind.starts_with("video/") || kind.starts_with("audio/") => Player::Native,
        None => Player::None { reason: "this file is no film that is known here".into() },
    };
    Ok(film)
}

async fn probed(fetch: &Fetch, size: Option<u64>) -> io::Result<MediaInfo> {
    let (mut reader, mut probe) = (fetch.reader(), Probe::new(size));
    while let Some(range) = probe.wants() {
        reader.seek(SeekFrom::Start(range.start)).await?;
        let mut bytes = Vec::new();
        (&mut reader).take(range.end - range.start).read_to_end(&mut bytes).await?;
        probe.push(&bytes);
    }
    Ok(probe.info().clone())
}

/// Prepares an FLV for the browser.
async fn remuxable(shared: &Shared, fetch: &Fetch, info: &MediaInfo) -> io::Result<Player> {
    let tracks = match tracks(fetch).await? {
        Ok(tracks) => tracks,
        Err(reason) => return Ok(Player::None { reason }),
    };
    let media_type = tracks.media_type();
    shared.set_remuxable(Remuxable {
        tracks,
        metadata: info.flv.clone().unwrap_or_default(),
        duration: info.duration.unwrap_or(Duration::ZERO),
        size: info.size.unwrap_or(0),
    });
    Ok(Player::Remuxed { media_type })
}

/// The tracks, or why there are none for a browser.
async fn tracks(fetch: &Fetch) -> io::Result<Result<Tracks, String>> {
    let (mut reader, mut tags, mut finder) = (fetch.reader(), Reader::new(), TrackFinder::new());
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
