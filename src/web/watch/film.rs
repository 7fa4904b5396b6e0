//! The file, whole or a range of it (RFC 9110, section 14).

use super::body::{Busy, Gone, PIECE, Pieces, body, not_yet};
use super::part::Part;
use super::shared::Shared;
use crate::vod::Fetch;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// `/film/PATH`.
pub(super) async fn film(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Some((fetch, files)) = shared.fetch().await else { return not_yet() };
    let Some(file) = files.find(&name) else {
        return (StatusCode::NOT_FOUND, "No such film is shared here.\n").into_response();
    };
    let size = file.size.or(fetch.progress().borrow().size);
    let kind = files.media_type(file);
    let file = file.range();
    let asked = asked(&headers, size, shared.entity_tag());
    let mut response = match (asked, size) {
        (Asked::Nothing, size) => {
            let range = size.unwrap_or(0)..size.unwrap_or(0);
            let headers = [(header::CONTENT_RANGE, format!("bytes */{}", range.end))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response();
        }
        (Asked::Range(range), Some(size)) => {
            let (status, shown) = (StatusCode::PARTIAL_CONTENT, range.end - 1);
            let content = format!("bytes {}-{shown}/{size}", range.start);
            let headers = [(header::CONTENT_RANGE, content)];
            match content_of(&shared, fetch, file, range.clone(), &method) {
                Ok(body) => (status, headers, sized(range), body).into_response(),
                Err(busy) => return busy.into_response(),
            }
        }
        (_, Some(size)) => match content_of(&shared, fetch, file, 0..size, &method) {
            Ok(body) => (sized(0..size), body).into_response(),
            Err(busy) => return busy.into_response(),
        },
        // A Flash application may say how many parts there are, and no more.
        (_, None) => match content_of(&shared, fetch, file, 0..u64::MAX, &method) {
            Ok(body) => body.into_response(),
            Err(busy) => return busy.into_response(),
        },
    };
    let own = response.headers_mut();
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if size.is_some() {
        own.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if let Ok(tag) = HeaderValue::from_str(shared.entity_tag()) {
        own.insert(header::ETAG, tag);
    }
    response
}

fn sized(range: Range<u64>) -> [(header::HeaderName, String); 1] {
    [(header::CONTENT_LENGTH, (range.end - range.start).to_string())]
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Everything,
    Range(Range<u64>),
    /// A range that lies beyond the end.
    Nothing,
}

/// One range is served; several, those that are malformed, and those of another file get the whole, as
/// a server may do.
fn asked(headers: &HeaderMap, size: Option<u64>, entity_tag: &str) -> Asked {
    let (Some(range), Some(size)) = (headers.get(header::RANGE), size) else {
        return Asked::Everything;
    };
    let is_of_another = headers.get(header::IF_RANGE).is_some_and(|tag| tag != entity_tag);
    let parsed = range.to_str().ok().and_then(|it| http_range_header::parse_range_header(it).ok());
    let Some(parsed) = parsed.filter(|_| !is_of_another) else { return Asked::Everything };
    match parsed.validate(size).as_deref() {
        Ok([range]) => Asked::Range(*range.start()..range.end().saturating_add(1)),
        Ok(_) => Asked::Everything,
        Err(_) => Asked::Nothing,
    }
}

fn content_of(
    shared: &Arc<Shared>,
    fetch: Arc<Fetch>,
    file: Range<u64>,
    range: Range<u64>,
    method: &Method,
) -> Result<Body, Busy> {
    if method == Method::HEAD {
        return Ok(Body::empty());
    }
    body(shared, file.start + range.start, |pieces| copy(fetch, file, range, pieces))
}

/// Reads a range of the file and sends it on.
async fn copy(
    fetch: Arc<Fetch>,
    file: Range<u64>,
    range: Range<u64>,
    pieces: Arc<Pieces>,
) -> Result<(), Gone> {
    let (begin, mut reader, mut at) = (file.start, Part::of(&fetch, file), range.start);
    // A seek from the start never fails.
    let _ = reader.seek(SeekFrom::Start(at)).await;
    let mut reader = reader.take(range.end - range.start);
    while at < range.end {
        pieces.place.needs(begin + at);
        let mut piece = BytesMut::with_capacity(PIECE);
        match reader.read_buf(&mut piece).await {
            Ok(0) if range.end == u64::MAX => return Ok(()),
            Ok(0) => return Err(pieces.fail(io::ErrorKind::UnexpectedEof.into()).await),
            Ok(count) => at += count as u64,
            Err(error) => return Err(pieces.fail(error).await),
        }
        pieces.place.has(begin + at);
        pieces.send(piece.freeze()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_of(size: u64, range: &str, condition: Option<&str>) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        if let Some(condition) = condition {
            headers.insert(header::IF_RANGE, condition.parse().unwrap());
        }
        asked(&headers, Some(size), "\"tag\"")
    }

    #[test]
    fn ranges_as_players_write_them() {
        assert_eq!(asked_of(1000, "bytes=0-", None), Asked::Range(0..1000));
        assert_eq!(asked_of(1000, "bytes=10-19", None), Asked::Range(10..20));
        assert_eq!(asked_of(1000, "bytes=990-5000", None), Asked::Range(990..1000));
        assert_eq!(asked_of(1000, "bytes=-100", None), Asked::Range(900..1000));
        assert_eq!(asked_of(1000, "bytes=0-", Some("\"tag\"")), Asked::Range(0..1000));
    }

    #[test]
    fn what_is_no_range_of_this_file_gets_the_whole() {
        assert_eq!(asked_of(1000, "bytes=10-19", Some("\"other\"")), Asked::Everything);
        assert_eq!(asked_of(1000, "bytes=10-19", Some("W/\"tag\"")), Asked::Everything);
        assert_eq!(asked_of(1000, "bytes=0-1,4-5", None), Asked::Everything);
        assert_eq!(asked_of(1000, "bytes=x", None), Asked::Everything);
        assert_eq!(asked_of(1000, "lines=1-2", None), Asked::Everything);
        assert_eq!(asked(&HeaderMap::new(), Some(1000), ""), Asked::Everything);
    }

    #[test]
    fn hostile_ranges_beyond_the_end_are_refused() {
        assert_eq!(asked_of(1000, "bytes=1000-", None), Asked::Nothing);
        assert_eq!(asked_of(1000, "bytes=99999999999999999999-", None), Asked::Nothing);
        assert_eq!(asked_of(0, "bytes=0-", None), Asked::Nothing);
    }
}
