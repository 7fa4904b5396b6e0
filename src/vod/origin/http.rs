//! [`HttpOrigin`]: the HTTP client.

use super::super::link::check_origin;
use super::headers::{
    check_encoding, content_length, content_range, sha256_file, stated_sha256, text, validator,
};
use super::version::host_of;
use super::{OriginError, OriginVersion, ReadOrigin, Reading, Validator};
use crate::vod::{Digest256, ServerAddress, ShareLink};
use crate::wire::Shown;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, HeaderValue, IF_RANGE, LOCATION, RANGE, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::error::Error;
use std::ops::Range;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use url::Url;

/// The time that connecting may take.
const CONNECT: Duration = Duration::from_secs(15);
/// The time until the headers of an answer, and between two parts of its body.
const SILENCE: Duration = Duration::from_secs(20);
/// The slowest that a body may be, in bytes a second.
const MIN_RATE: u64 = 4096;
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// Bytes of headers; a server that sends more is refused.
const MAX_HEADERS: usize = 64 << 10;
/// Bytes of the file with the hash.
const MAX_HASH_FILE: usize = 4096;

/// A file on a web server.
#[derive(Debug, Clone)]
pub struct HttpOrigin {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    url: Url,
}

impl HttpOrigin {
    /// The file at this URL. Nothing is requested yet.
    ///
    /// # Errors
    ///
    /// Not a URL with `http` or `https`, a user name or password in it, or no certificates on this
    /// system to compare those of servers with.
    pub fn new(url: &str) -> Result<Self, OriginError> {
        let problem = |problem: String| OriginError::Url { url: shown_url(url), problem };
        check_origin(url).map_err(|text| problem(text.to_owned()))?;
        let mut parsed = Url::parse(url).map_err(|error| problem(error.to_string()))?;
        parsed.set_fragment(None);
        check_url(&parsed).map_err(|text| problem(text.to_owned()))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| problem(format!("no certificates of trusted authorities: {error}")))?;
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .http1_max_buf_size(MAX_HEADERS)
            .pool_idle_timeout(SILENCE)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(connector);
        Ok(Self { client, url: parsed })
    }

    /// The URL in its normal form: scheme and host in lower case, without the usual port, without
    /// fragment, `.` and `..` resolved.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    pub(super) fn address(&self) -> &Url {
        &self.url
    }

    /// Another file, read by the same client.
    pub(super) fn at(&self, url: Url) -> Self {
        Self { client: self.client.clone(), url }
    }

    /// Finds out what the server has: size, validator, and if it gives parts. At most two bodies of a
    /// few bytes are read. A [playlist](Self::is_playlist) is read, and what it names is asked for: one
    /// byte of each file.
    ///
    /// # Errors
    ///
    /// The server cannot be reached or refuses, or what it states is not enough to share the file. A
    /// playlist is live, or names what is elsewhere.
    pub async fn version(&self) -> Result<OriginVersion, OriginError> {
        match self.is_playlist() {
            true => self.list_version().await,
            false => self.file_version(true).await,
        }
    }

    /// What the server has of one file; `has_hash` looks for its SHA-256.
    pub(super) async fn file_version(&self, has_hash: bool) -> Result<OriginVersion, OriginError> {
        let (host, response) = self.send(&self.url, Some(&(0..1)), None).await?;
        let headers = response.headers();
        let (size, has_ranges) = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = content_range(headers)
                    .ok_or(OriginError::Contradiction("a part without a valid Content-Range"))?;
                let (part, size) = range;
                if part != Some(0..1) {
                    return Err(OriginError::Contradiction("not the part that was asked for"));
                }
                (size.ok_or(OriginError::NoLength)?, true)
            }
            StatusCode::OK => (content_length(headers).ok_or(OriginError::NoLength)?, false),
            // There is no first byte in an empty file.
            StatusCode::RANGE_NOT_SATISFIABLE
                if content_range(headers) == Some((None, Some(0))) =>
            {
                (0, true)
            }
            status => return Err(OriginError::Status { host, status: status.as_u16() }),
        };
        check_encoding(headers)?;
        let validator = validator(headers).ok_or(OriginError::NoValidator)?;
        let sha256 = match stated_sha256(headers).filter(|_| has_hash) {
            Some(sha256) => Some(sha256),
            None if has_hash => self.hash_file().await?,
            None => None,
        };
        let version = OriginVersion::new(self.url.to_string(), size, validator);
        let version = OriginVersion { sha256, has_ranges, ..version };
        version.descriptor().map_err(|_| OriginError::TooLarge)?;
        Ok(version)
    }

    /// The hash in `URL.sha256`, if there is such a file.
    async fn hash_file(&self) -> Result<Option<Digest256>, OriginError> {
        let mut url = self.url.clone();
        let path = format!("{}.sha256", url.path());
        url.set_path(&path);
        let (host, response) = self.send(&url, None, None).await?;
        match response.status() {
            StatusCode::OK => {}
            // Its absence must be certain: the link depends on it.
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(OriginError::Status { host, status: status.as_u16() });
            }
            _ => return Ok(None),
        }
        let mut content = Vec::new();
        let mut body = response.into_body();
        while let Some(part) = next_part(&mut body, &host).await? {
            if content.len() + part.len() > MAX_HASH_FILE {
                return Ok(None);
            }
            content.extend_from_slice(&part);
        }
        Ok(sha256_file(&content))
    }

    /// Sends a request, and follows redirects. Returns the host that has answered.
    async fn send(
        &self,
        url: &Url,
        range: Option<&Range<u64>>,
        condition: Option<&Validator>,
    ) -> Result<(String, Response<Incoming>), OriginError> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let host = host_of(url.as_str()).to_owned();
            let request = request(&url, range, condition)?;
            let answer = timeout(SILENCE, self.client.request(request)).await;
            let response = answer
                .map_err(|_| OriginError::Slow { host: host.clone(), waited: SILENCE })?
                .map_err(|error| connection(&host, &error))?;
            if !is_redirect(response.status()) {
                return Ok((host, response));
            }
            url = redirected(&url, response.headers())
                .map_err(|problem| OriginError::Redirect { host, problem })?;
        }
        let host = host_of(self.url.as_str()).to_owned();
        Err(OriginError::Redirect { host, problem: "more than five times" })
    }

    /// Reads a part of a version, or all of it, and checks that it is that version.
    pub(super) async fn read_part(
        &self,
        version: &OriginVersion,
        range: Option<Range<u64>>,
        parts: mpsc::Sender<Bytes>,
    ) -> Result<(), OriginError> {
        let (host, response) =
            self.send(&self.url, range.as_ref(), Some(&version.validator)).await?;
        check_version(&host, &response, version)?;
        let expected = match (response.status(), &range) {
            (StatusCode::PARTIAL_CONTENT, Some(range)) => {
                let stated = content_range(response.headers());
                let (part, size) = stated
                    .ok_or(OriginError::Contradiction("a part without a valid Content-Range"))?;
                if size.is_some_and(|size| size != version.size) {
                    return Err(OriginError::Changed { host, what: "another size" });
                }
                if part.as_ref() != Some(range) {
                    return Err(OriginError::Contradiction("not the part that was asked for"));
                }
                range.end - range.start
            }
            (StatusCode::OK, None) => version.size,
            (StatusCode::OK, Some(_)) => return Err(OriginError::RangeIgnored),
            (StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE, _) => {
                return Err(OriginError::Changed { host, what: "it has no such part" });
            }
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) => {
                let status = response.status().as_u16();
                return Err(OriginError::Status { host, status });
            }
            (status, _) => return Err(OriginError::Status { host, status: status.as_u16() }),
        };
        let most = SILENCE + Duration::from_secs(expected / MIN_RATE);
        let body = forward(response.into_body(), expected, &host, parts);
        timeout(most, body)
            .await
            .unwrap_or(Err(OriginError::Slow { host: host.clone(), waited: most }))
    }
}

impl ReadOrigin for HttpOrigin {
    fn probe(&self) -> Reading<'_, OriginVersion> {
        Box::pin(self.version())
    }

    fn read<'a>(
        &'a self,
        version: &'a OriginVersion,
        range: Option<Range<u64>>,
        parts: mpsc::Sender<Bytes>,
    ) -> Reading<'a, ()> {
        match &version.files {
            Some(files) => Box::pin(self.read_files(version, files, range, parts)),
            None => Box::pin(self.read_part(version, range, parts)),
        }
    }
}

/// Probes the file at a URL and makes its link, the same that every other provider at this server makes.
///
/// # Errors
///
/// As [`HttpOrigin::new`] and [`HttpOrigin::version`].
pub async fn link_of(
    url: &str,
    server: ServerAddress,
    app: &str,
) -> Result<(ShareLink, OriginVersion), OriginError> {
    let version = HttpOrigin::new(url)?.version().await?;
    let mut link = version.link(vec![server], false)?;
    link.app = app.to_owned();
    Ok((link, version))
}

fn request(
    url: &Url,
    range: Option<&Range<u64>>,
    condition: Option<&Validator>,
) -> Result<Request<Empty<Bytes>>, OriginError> {
    let problem = |problem: String| OriginError::Url { url: shown_url(url.as_str()), problem };
    let uri: Uri = url.as_str().parse().map_err(|error| problem(format!("{error}")))?;
    let agent = concat!("rtmfp/", env!("CARGO_PKG_VERSION"));
    let mut request = Request::get(uri)
        .header(USER_AGENT, agent)
        .header(ACCEPT_ENCODING, "identity")
        .header("want-repr-digest", "sha-256=9");
    if let Some(Range { start, end }) = range {
        request = request.header(RANGE, format!("bytes={start}-{}", end.saturating_sub(1)));
        if let Some(value) = condition.map(Validator::as_str) {
            let value = HeaderValue::from_str(value).map_err(|error| problem(error.to_string()))?;
            request = request.header(IF_RANGE, value);
        }
    }
    request.body(Empty::new()).map_err(|error| problem(error.to_string()))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirected(from: &Url, headers: &hyper::HeaderMap) -> Result<Url, &'static str> {
    let location = text(headers, &LOCATION).ok_or("it does not say where to")?;
    let mut to = from.join(&location).map_err(|_| "where to is not a URL")?;
    to.set_fragment(None);
    check_url(&to)?;
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err("from https to http");
    }
    Ok(to)
}

fn check_url(url: &Url) -> Result<(), &'static str> {
    match url {
        _ if !matches!(url.scheme(), "http" | "https") => Err("only http and https are read"),
        _ if !url.username().is_empty() || url.password().is_some() => {
            Err("the URL has a user name or password")
        }
        _ if url.host_str().is_none_or(str::is_empty) => Err("the URL names no host"),
        _ => Ok(()),
    }
}

/// Refuses an answer of another version. Servers that know `If-Range` send the whole of it.
fn check_version(
    host: &str,
    response: &Response<Incoming>,
    version: &OriginVersion,
) -> Result<(), OriginError> {
    let changed = |what| Err(OriginError::Changed { host: host.to_owned(), what });
    let (status, headers) = (response.status(), response.headers());
    if !status.is_success() {
        return Ok(());
    }
    check_encoding(headers)?;
    match validator(headers) {
        Some(found) if found != version.validator => changed("another ETag or time of change"),
        _ if status == StatusCode::OK
            && content_length(headers).is_some_and(|size| size != version.size) =>
        {
            changed("another size")
        }
        _ => Ok(()),
    }
}

/// Passes a body on, which must have this length.
async fn forward(
    mut body: Incoming,
    expected: u64,
    host: &str,
    parts: mpsc::Sender<Bytes>,
) -> Result<(), OriginError> {
    let mut left = expected;
    while let Some(part) = next_part(&mut body, host).await? {
        left = left
            .checked_sub(part.len() as u64)
            .ok_or(OriginError::Contradiction("more bytes than the part has"))?;
        // Nobody waits for the rest if the receiver is gone.
        if parts.send(part).await.is_err() {
            return Ok(());
        }
        if left == 0 {
            break;
        }
    }
    match left {
        0 => Ok(()),
        _ => Err(OriginError::Connection {
            host: host.to_owned(),
            reason: "the connection ended before the part was complete".into(),
        }),
    }
}

/// The next bytes of a body.
async fn next_part(body: &mut Incoming, host: &str) -> Result<Option<Bytes>, OriginError> {
    loop {
        let frame = timeout(SILENCE, body.frame()).await;
        let frame =
            frame.map_err(|_| OriginError::Slow { host: host.to_owned(), waited: SILENCE })?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(connection(host, &error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                // Trailers say nothing.
                _ => {}
            },
        }
    }
}

/// An error of the client, with its innermost cause, which says most.
fn connection(host: &str, error: &dyn Error) -> OriginError {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    OriginError::Connection {
        host: host.to_owned(),
        reason: Shown::new(&cause.to_string()).to_string(),
    }
}

/// A URL for a message: without what may be a password, and not too long.
fn shown_url(url: &str) -> String {
    let authority = host_of(url);
    let shown = match authority.rsplit_once('@') {
        Some((secret, _)) => url.replacen(&format!("{secret}@"), "…@", 1),
        None => url.to_owned(),
    };
    Shown::new(&shown).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_one_normal_form() {
        for (url, normal) in [
            ("HTTP://Web.Example:80/a/../film.mp4#t=3", "http://web.example/film.mp4"),
            ("https://web.example:443", "https://web.example/"),
            ("https://bücher.example/Ä.mp4?a=b", "https://xn--bcher-kva.example/%C3%84.mp4?a=b"),
        ] {
            assert_eq!(HttpOrigin::new(url).unwrap().url(), normal);
        }
    }

    #[test]
    fn secrets_are_refused_and_not_repeated() {
        for url in ["http://me:secret@web.example/film", "https://me:secret@web.example"] {
            let error = HttpOrigin::new(url).unwrap_err().to_string();
            assert!(error.contains("password") && !error.contains("secret"), "{error}");
        }
        assert!(HttpOrigin::new("ftp://web.example/film").is_err());
        assert!(HttpOrigin::new("http://[::1/film").is_err());
    }

    #[test]
    fn redirects_lead_to_open_urls_only() {
        let of = |from: &str, to: &str| {
            let mut headers = hyper::HeaderMap::new();
            headers.insert(LOCATION, to.parse().unwrap());
            redirected(&Url::parse(from).unwrap(), &headers).map(String::from)
        };
        assert_eq!(of("http://a/b/c", "../d").as_deref(), Ok("http://a/d"));
        assert_eq!(of("http://a/b", "https://c/").as_deref(), Ok("https://c/"));
        assert!(of("https://a/b", "http://a/b").is_err());
        assert!(of("http://a/b", "http://me@a/b").is_err());
        assert!(of("http://a/b", "file:///etc/passwd").is_err());
    }
}
