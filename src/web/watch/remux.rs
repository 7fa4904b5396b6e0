//! FLV as fragmented MP4, from a time on: what a browser's `SourceBuffer` takes.

use super::body::{Gone, PIECE, Pieces, body, not_yet};
use super::locate::locate;
use super::part::Part;
use super::shared::{Remuxable, Shared};
use crate::media::flv::Reader;
use crate::media::fmp4::Remuxer;
use crate::vod::Fetch;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use serde::Deserialize;
use std::io::SeekFrom;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// What a request says.
#[derive(Debug, Deserialize)]
pub(super) struct From {
    /// Seconds from the beginning.
    #[serde(default)]
    from: f64,
    /// The number of the file in the share.
    #[serde(default)]
    file: usize,
}

/// `/remuxed?from=SECONDS&file=NUMBER`: an initialization segment and fragments from the keyframe before that time to
/// the end of the film.
pub(super) async fn remuxed(
    State(shared): State<Arc<Shared>>,
    Query(from): Query<From>,
) -> Response {
    let Some((fetch, _)) = shared.fetch().await else { return not_yet() };
    let Some(film) = shared.remuxable(from.file) else {
        let text = "This is for films in FLV, once their beginning is here.\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    let Ok(time) = Duration::try_from_secs_f64(from.from) else {
        return (StatusCode::BAD_REQUEST, "from= is a time in seconds.\n").into_response();
    };
    // The place is not known yet; what waits counts as waiting for about this.
    let share = (time.as_secs_f64() / film.duration.as_secs_f64().max(1.0)).min(1.0);
    let about = film.range.start + (film.size as f64 * share) as u64;
    let kind = [(header::CONTENT_TYPE, "video/mp4")];
    match body(&shared, about, |pieces| send(fetch, film, time, about, pieces)) {
        Ok(body) => (kind, body).into_response(),
        Err(busy) => busy.into_response(),
    }
}

async fn send(
    fetch: Arc<Fetch>,
    film: Arc<Remuxable>,
    time: Duration,
    about: u64,
    pieces: Arc<Pieces>,
) -> Result<(), Gone> {
    let (begin, mut reader) = (film.range.start, Part::of(&fetch, film.range.clone()));
    pieces.place.needs(about);
    let mut at = match locate(&mut reader, &film, time).await {
        Ok(position) => position,
        Err(error) => return Err(pieces.fail(error).await),
    };
    // A seek from the start never fails.
    let _ = reader.seek(SeekFrom::Start(at)).await;
    let mut tags = if at == 0 { Reader::new() } else { Reader::at_tag(at) };
    pieces.send(film.tracks.init_segment().into()).await?;
    let mut remuxer = Remuxer::new(film.tracks.clone());
    loop {
        pieces.place.needs(begin + at);
        let mut piece = BytesMut::with_capacity(PIECE);
        match reader.read_buf(&mut piece).await {
            Ok(0) => break,
            Ok(count) => at += count as u64,
            Err(error) => return Err(pieces.fail(error).await),
        }
        pieces.place.has(begin + at);
        tags.push(&piece);
        let mut out = Vec::new();
        let is_whole = loop {
            match tags.next_tag() {
                Ok(Some(tag)) => remuxer.push(&tag, &mut out),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        if !out.is_empty() {
            pieces.send(out.into()).await?;
        }
        // A damaged film ends here.
        if !is_whole {
            break;
        }
    }
    let mut out = Vec::new();
    remuxer.finish(&mut out);
    pieces.send(out.into()).await
}
