//! [`HttpHook`]: an owner behind HTTP. `docs/hooks.md` describes requests and answers.

use super::Hooks;
use super::json::{from_json, to_json};
use crate::driver::calendar_ms;
use crate::rendezvous::{Decision, HookEvent, Query};
use crate::wire::Shown;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use thiserror::Error;
use url::Url;

/// Bytes of an answer; a longer one has failed.
const MAX_ANSWER: usize = 64 << 10;
/// Idle connections to the web server are closed after this time, before usual servers close them.
const IDLE: Duration = Duration::from_secs(4);
/// The shortest time between two log lines about failures, in milliseconds.
const SILENCE: u64 = 60_000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A hook's URL can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HookUrlError {
    /// It is no URL of HTTP.
    #[error("the URL of the hook must be one of http or https, such as http://127.0.0.1:8000/hook")]
    NotHttp,
    /// This system has no certificates to compare those of servers with.
    #[error("the hook cannot be reached by https: no certificates of trusted authorities: {0}")]
    NoCertificates(std::io::Error),
}

/// Posts each query to a URL as JSON, and takes the answer as the decision.
#[derive(Debug, Clone)]
pub struct HttpHook {
    client: HttpClient,
    url: hyper::Uri,
    authorization: Option<HeaderValue>,
    /// When a failure may be logged again.
    silent_until: Arc<AtomicU64>,
}

#[derive(Debug, Clone)]
enum HttpClient {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl HttpHook {
    /// Asks this URL. `user:password@` in it is sent as basic authentication.
    ///
    /// # Errors
    ///
    /// [`HookUrlError`]
    pub fn new(url: &str) -> Result<Self, HookUrlError> {
        let mut url = Url::parse(url).map_err(|_| HookUrlError::NotHttp)?;
        url.set_fragment(None);
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some(format!("{user}:{}", password.unwrap_or_default())),
        };
        // These fail only for URLs without host.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        let authorization = credentials.map(|credentials| {
            let mut value =
                format!("Basic {}", STANDARD.encode(credentials)).parse::<HeaderValue>();
            if let Ok(value) = &mut value {
                value.set_sensitive(true);
            }
            value
        });
        let authorization = authorization.transpose().map_err(|_| HookUrlError::NotHttp)?;
        let client = match url.scheme() {
            "http" => HttpClient::Plain(client(tcp())),
            "https" => {
                let tls = HttpsConnectorBuilder::new().with_native_roots();
                let tls = tls.map_err(HookUrlError::NoCertificates)?;
                HttpClient::Tls(client(tls.https_only().enable_http1().wrap_connector(tcp())))
            }
            _ => return Err(HookUrlError::NotHttp),
        };
        let url = url.as_str().parse().map_err(|_| HookUrlError::NotHttp)?;
        Ok(Self { client, url, authorization, silent_until: Arc::default() })
    }

    async fn ask(&self, query: &Query) -> Result<Decision, Failure> {
        let body = serde_json::to_vec(&body_of(query))?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("rtmfp/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let request = request.body(Full::from(body))?;
        let answer = match &self.client {
            HttpClient::Plain(client) => client.request(request).await?,
            HttpClient::Tls(client) => client.request(request).await?,
        };
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await?.to_bytes();
        decision(status, &body, &query.event)
    }

    /// Logs why the owner could not be asked, once in a while.
    fn report(&self, failure: &Failure) {
        let (now, silent_until) = (calendar_ms(), self.silent_until.load(Relaxed));
        let reason = failure
            .source()
            .map_or_else(|| failure.to_string(), |cause| format!("{failure}: {cause}"));
        let reason = Shown::new(&reason);
        // The calendar may have been set back.
        if now < silent_until && silent_until <= now + SILENCE {
            tracing::debug!("the hook has not decided: {reason}");
            return;
        }
        self.silent_until.store(now + SILENCE, Relaxed);
        tracing::warn!("the hook has not decided: {reason}");
    }
}

impl Hooks for HttpHook {
    async fn decide(&self, query: Query) -> Decision {
        match self.ask(&query).await {
            Ok(decision) => decision,
            Err(failure) => {
                self.report(&failure);
                Decision::Failed
            }
        }
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp
}

fn client<C>(connector: C) -> Client<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(connector)
}

fn body_of(query: &Query) -> Json {
    let client = &query.client;
    let mut body = json!({
        "event": query.event.kind().name(),
        "client": {
            "id": client.peer.to_string(),
            "address": client.address.to_string(),
            "app": &*client.app,
            "name": client.name.as_deref(),
        },
    });
    let more = match &query.event {
        HookEvent::Connect(facts) => json!({
            "app": facts.app,
            "tcUrl": facts.tc_url,
            "flashVer": facts.flash_version.as_deref(),
            "swfUrl": facts.swf_url.as_deref(),
            "pageUrl": facts.page_url.as_deref(),
            "args": facts.args.iter().map(to_json).collect::<Vec<_>>(),
        }),
        HookEvent::Publish { name } | HookEvent::Play { name } | HookEvent::Unpublish { name } => {
            json!({ "stream": &**name })
        }
        HookEvent::Call { method, args, wants_answer } => json!({
            "method": &**method,
            "args": args.iter().map(to_json).collect::<Vec<_>>(),
            "wantsAnswer": wants_answer,
        }),
        HookEvent::Disconnect => Json::Null,
    };
    if let (Json::Object(body), Json::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

fn decision(status: StatusCode, body: &[u8], event: &HookEvent) -> Result<Decision, Failure> {
    match status {
        _ if status.is_success() => {}
        StatusCode::FORBIDDEN => {}
        StatusCode::NOT_FOUND if matches!(event, HookEvent::Call { .. }) => {
            return Ok(Decision::Unknown);
        }
        _ => return Err(format!("status {status}").into()),
    }
    let is_allowed = status.is_success();
    let answer: Json = match body.trim_ascii() {
        b"" => json!({}),
        body if is_allowed => serde_json::from_slice(body)?,
        // What a web server says in words is no answer of the owner.
        body => serde_json::from_slice(body).unwrap_or_default(),
    };
    let text = |name: &str| answer.get(name).and_then(Json::as_str).map(str::to_owned);
    let is_true = |name: &str| answer.get(name).and_then(Json::as_bool);
    if !is_allowed || is_true("allow") == Some(false) || answer.get("redirect").is_some() {
        let redirect = text("redirect");
        let usual = if redirect.is_some() { "connect to another server" } else { "not allowed" };
        let description = text("description").unwrap_or_else(|| usual.to_owned());
        return Ok(Decision::Deny { description, redirect });
    }
    if !answer.is_object() {
        return Err("the answer is no JSON object".into());
    }
    Ok(match (answer.get("result"), answer.get("error")) {
        (Some(result), _) => Decision::Answer(from_json(result)),
        (None, Some(error)) => Decision::Fail(from_json(error)),
        _ if is_true("unknown") == Some(true) => Decision::Unknown,
        _ => Decision::Allow,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf::Value;

    fn decided(status: u16, body: &str) -> Option<Decision> {
        let call = HookEvent::Call { method: "m".into(), args: vec![], wants_answer: true };
        decision(StatusCode::from_u16(status).unwrap(), body.as_bytes(), &call).ok()
    }

    #[test]
    fn answers_and_what_they_mean() {
        let deny = |why: &str| Some(Decision::deny(why));
        for (status, body, expected) in [
            (200, "", Some(Decision::Allow)),
            (204, "", Some(Decision::Allow)),
            (200, "{}", Some(Decision::Allow)),
            (200, r#"{"allow": true}"#, Some(Decision::Allow)),
            (200, r#"{"allow": false}"#, deny("not allowed")),
            (200, r#"{"allow": false, "description": "no"}"#, deny("no")),
            (403, "", deny("not allowed")),
            (403, "<html>", deny("not allowed")),
            (403, r#"{"description": "no"}"#, deny("no")),
            (200, r#"{"redirect": "rtmfp://b/"}"#, Some(Decision::redirect("rtmfp://b/"))),
            (200, r#"{"result": null}"#, Some(Decision::Answer(Value::Null))),
            (200, r#"{"error": "no"}"#, Some(Decision::Fail("no".into()))),
            (200, r#"{"unknown": true}"#, Some(Decision::Unknown)),
            (404, "<html>", Some(Decision::Unknown)),
            (200, "<html>", None),
            (200, "7", None),
            (302, "", None),
            (401, "", None),
            (500, "", None),
        ] {
            assert_eq!(decided(status, body), expected, "{status} {body}");
        }
        let not_found = decision(StatusCode::NOT_FOUND, b"", &HookEvent::Disconnect);
        assert!(not_found.is_err(), "a wrong URL lets nobody in");
    }

    #[test]
    fn urls_and_their_passwords() {
        let hook = HttpHook::new("http://me:secret@127.0.0.1:1/hook?x=1#y").unwrap();
        assert_eq!(hook.url, "http://127.0.0.1:1/hook?x=1");
        assert_eq!(hook.authorization.as_ref().unwrap(), "Basic bWU6c2VjcmV0");
        assert!(!format!("{hook:?}").contains("secret"));
        for wrong in ["", "/hook", "127.0.0.1:80", "ftp://a/", "rtmfp://a/"] {
            assert!(matches!(HttpHook::new(wrong), Err(HookUrlError::NotHttp)), "{wrong}");
        }
    }
}
