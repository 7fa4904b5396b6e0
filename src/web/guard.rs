//! Which requests are served, and the headers of all responses.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// What one page may do, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// Its Content-Security-Policy.
    pub(super) policy: &'static str,
    /// The port that it usually has.
    pub(super) port: u16,
    /// Names by which it is reached, in lower case: those of its owner.
    pub(super) hosts: Option<Arc<[String]>>,
}

/// Headers of every response: no guessing of types, no use by other pages.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Serves a request if its Host is an address, `localhost` or a name of the page's owner: other names
/// can be made to lead here by those who own them.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.is_meant(request.uri(), request.headers()) {
        true => next.run(request).await,
        false => guard.refusal(),
    };
    let policy = (header::CONTENT_SECURITY_POLICY, guard.policy);
    for (name, value) in HEADERS.into_iter().chain([policy]) {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

impl Guard {
    fn refusal(&self) -> Response {
        let text = format!(
            "This page is reached by the address of the computer that serves it, for example \
             http://127.0.0.1:{}/, not by this name.\n",
            self.port
        );
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    }

    fn is_meant(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        // A request line with a whole URL has its host there.
        let in_headers = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = uri.authority().map(|authority| authority.as_str()).or(in_headers);
        host.is_some_and(|host| self.is_own(host))
    }

    fn is_own(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => {
                let address = rest.split_once(']').map(|(address, _)| address);
                return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
            }
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let whole = name.strip_suffix('.').unwrap_or(name);
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<Ipv4Addr>().is_ok()
            || self
                .hosts
                .iter()
                .flat_map(|hosts| hosts.iter())
                .any(|own| own.eq_ignore_ascii_case(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_own_names_are_hosts() {
        let guard = |hosts: &[&str]| {
            let hosts = Some(hosts.iter().map(|&host| host.to_owned()).collect());
            Guard { policy: "", port: 1, hosts }
        };
        let is_own = |host: &str| guard(&[]).is_own(host);
        for own in ["127.0.0.1", "127.0.0.1:8935", "localhost:1", "[::1]:8935", "192.0.2.7:80"] {
            assert!(is_own(own), "{own}");
        }
        for other in
            ["", "evil.example", "evil.example:8935", "127.0.0.1.evil.example", "[evil]:1", "1:2:3"]
        {
            assert!(!is_own(other), "{other}");
        }
        let guard = guard(&["status.example"]);
        for own in ["127.0.0.1", "status.example", "STATUS.Example:80", "status.example.:80"] {
            assert!(guard.is_own(own), "{own}");
        }
        for other in [
            "",
            ".",
            "example",
            "a.status.example",
            "status.example.evil",
            "status.example..",
            ":1",
        ] {
            assert!(!guard.is_own(other), "{other}");
        }
    }
}
