//! Which requests are served, and the headers of all responses.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What one page may do, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    /// Its Content-Security-Policy.
    pub(super) policy: &'static str,
    /// The port that it usually has.
    pub(super) port: u16,
}

/// Headers of every response: no guessing of types, no use by other pages.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Serves a request if its Host is an address or `localhost`: names can be made to lead here by those
/// who own them.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match is_meant(request.uri(), request.headers()) {
        true => next.run(request).await,
        false => refusal(guard.port),
    };
    let policy = (header::CONTENT_SECURITY_POLICY, guard.policy);
    for (name, value) in HEADERS.into_iter().chain([policy]) {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn refusal(port: u16) -> Response {
    let text = format!(
        "This page is reached by the address of the computer that serves it, for example \
         http://127.0.0.1:{port}/, not by a name.\n"
    );
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

fn is_meant(uri: &Uri, headers: &HeaderMap) -> bool {
    // A request line with a whole URL has its host there.
    let in_headers = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str()).or(in_headers);
    host.is_some_and(is_own)
}

fn is_own(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let address = rest.split_once(']').map(|(address, _)| address);
            return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        }
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_hosts() {
        for own in ["127.0.0.1", "127.0.0.1:8935", "localhost:1", "[::1]:8935", "192.0.2.7:80"] {
            assert!(is_own(own), "{own}");
        }
        for other in
            ["", "evil.example", "evil.example:8935", "127.0.0.1.evil.example", "[evil]:1", "1:2:3"]
        {
            assert!(!is_own(other), "{other}");
        }
    }
}
