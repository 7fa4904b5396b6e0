//! Web servers that lie: clear errors, and nothing without a bound.

use crate::scene::{GRACE, Scene, content};
use crate::web::Web;
use rtmfp::vod::{HttpOrigin, OriginError};

const PART: &str = "HTTP/1.1 206 Part\r\nETag: \"a\"\r\nContent-Length: 1\r\n";

async fn probe(raw: &str, endless: bool) -> Result<(), OriginError> {
    let web = Web::start(Vec::new()).await;
    web.change(|site| (site.raw, site.endless) = (Some(raw.into()), endless));
    let probe = async { HttpOrigin::new(&web.url())?.version().await };
    tokio::time::timeout(GRACE, probe).await.expect("it hangs").map(drop)
}

#[tokio::test]
async fn what_a_probe_does_not_accept_has_a_reason() {
    let ok = "HTTP/1.1 200 OK\r\n";
    for (raw, expected) in [
        (format!("{PART}\r\n7"), "Content-Range"),
        (format!("{PART}Content-Range: bytes 5-5/100\r\n\r\n7"), "not the part"),
        (format!("{PART}Content-Range: bytes 0-0/*\r\n\r\n7"), "how long"),
        (format!("{PART}Content-Range: bytes 0-0/{}\r\n\r\n7", u64::MAX), "too large"),
        (format!("{ok}ETag: \"a\"\r\n\r\n"), "how long"),
        (format!("{ok}Content-Length: 5\r\n\r\nabcde"), "ETag nor Last-Modified"),
        (format!("{ok}ETag: W/\"a\"\r\nContent-Length: 5\r\n\r\nabcde"), "ETag nor Last-Modified"),
        (
            format!("{ok}ETag: \"a\"\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"),
            "compressed",
        ),
        ("HTTP/1.1 404 Not here\r\nContent-Length: 0\r\n\r\n".into(), "no such file"),
        ("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".into(), "login"),
        ("HTTP/1.1 302 There\r\nContent-Length: 0\r\n\r\n".into(), "where to"),
        (
            "HTTP/1.1 302 There\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n".into(),
            "five times",
        ),
        (
            "HTTP/1.1 302 There\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"
                .into(),
            "http",
        ),
        ("SSH-2.0-OpenSSH\r\n\r\n".into(), "cannot read"),
        (format!("{ok}X: {}\r\n\r\n", "x".repeat(1 << 20)), "cannot read"),
    ] {
        let error = probe(&raw, false).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected) && text.len() < 400, "{expected}: {text}");
    }
}

#[tokio::test]
async fn endless_headers_and_bodies_are_not_read() {
    let error = probe("HTTP/1.1 200 OK\r\nX: ", true).await.unwrap_err();
    assert!(matches!(error, OriginError::Connection { .. }), "{error}");
    // A body after which nothing was asked for is not read at all.
    probe("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 99999999\r\n\r\n", true)
        .await
        .unwrap();
}

/// What a share ends or is delayed by when a server that was fine answers each part like this.
async fn while_sharing(raw: &'static str, endless: bool) -> OriginError {
    let scene = Scene::new(content(3_000_000)).await;
    scene.web.allow(1000);
    let share = scene.share().await;
    let mut events = share.events();
    scene.web.change(|site| (site.raw, site.endless) = (Some(raw.into()), endless));
    scene.web.allow(u64::MAX);
    let failed = async {
        loop {
            if let Ok(rtmfp::vod::FileEvent::OriginFailed(error)) = events.recv().await {
                return (*error).clone();
            }
        }
    };
    let ended = async {
        match share.failed().await {
            rtmfp::vod::SessionError::Replica(error) => match &*error {
                rtmfp::vod::replica::ReplicaError::Origin(error) => (**error).clone(),
                other => panic!("{other}"),
            },
            other => panic!("{other}"),
        }
    };
    let error = async {
        tokio::select! { biased; error = ended => error, error = failed => error }
    };
    let error = tokio::time::timeout(GRACE, error).await.expect("it hangs");
    let held = share.progress().borrow().held_bytes;
    assert!(held < 3_000_000, "{error}");
    error
}

#[tokio::test]
async fn lies_about_a_part_are_noticed_and_nothing_wrong_is_kept() {
    let other = "HTTP/1.1 206 P\r\nETag: \"first\"\r\nContent-Length: 9\r\n\
                 Content-Range: bytes 7-15/3000000\r\n\r\n123456789";
    assert!(matches!(while_sharing(other, false).await, OriginError::Contradiction(_)));
    let none = "HTTP/1.1 206 P\r\nETag: \"first\"\r\nContent-Length: 1\r\n\r\n1";
    assert!(matches!(while_sharing(none, false).await, OriginError::Contradiction(_)));
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(while_sharing(busy, false).await, OriginError::Status { status: 503, .. }));
    let whole = "HTTP/1.1 200 OK\r\nETag: \"first\"\r\nContent-Length: 3000000\r\n\r\n";
    assert!(matches!(while_sharing(whole, true).await, OriginError::RangeIgnored));
    let size = "HTTP/1.1 206 P\r\nETag: \"first\"\r\nContent-Length: 9\r\n\
                Content-Range: bytes 0-8/9\r\n\r\n123456789";
    assert!(matches!(while_sharing(size, false).await, OriginError::Changed { .. }));
    let gone = "HTTP/1.1 412 No\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(while_sharing(gone, false).await, OriginError::Changed { .. }));
}
