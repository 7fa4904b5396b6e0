//! The rendezvous server that `--via` names.

use anyhow::Context;
use rtmfp::driver::ascii_host;
use rtmfp::proto::flash::{Host, Uri};
use rtmfp::vod::ServerAddress;

/// Reads the URL of a server.
pub(crate) fn parse(text: &str) -> Result<Uri, String> {
    let uri = Uri::parse(text).map_err(|error| error.to_string())?;
    match uri.server() {
        None => Err("this names no server; write rtmfp://host/app".into()),
        Some((Host::Name(name), _)) => match ascii_host(name) {
            Ok(_) => Ok(uri),
            Err(error) => Err(format!("{name:?}: {error}")),
        },
        Some((Host::Ip(_), _)) => Ok(uri),
    }
}

/// The server and the application of such a URL.
pub(crate) fn server_of(uri: &Uri) -> anyhow::Result<(ServerAddress, String)> {
    let unusable = || format!("--via {uri} does not name a server; write rtmfp://host/app");
    let (host, port) = uri.server().with_context(unusable)?;
    let host = host.to_string();
    // The error of a link would not fit here.
    let server = ServerAddress::new(host.trim_matches(['[', ']']), port).ok();
    Ok((server.with_context(unusable)?, uri.app().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_kept_as_given() {
        for url in
            ["rtmfp://bücher.example/Films", "rtmfp://[fe80::1%25eth0]:80/a/b?c", "RTMFP://h"]
        {
            let uri = parse(url).unwrap();
            assert_eq!(uri.as_str(), url);
            assert!(server_of(&uri).is_ok(), "{url}");
        }
        let (server, app) = server_of(&parse("rtmfp://bücher.example/Films").unwrap()).unwrap();
        assert_eq!((server.host(), app.as_str()), ("bücher.example", "Films"));
    }

    #[test]
    fn no_advice_is_given_that_would_be_refused() {
        for wrong in ["", "rtmfp:", "rtmfp:/h", "rtmfp:///a", "http://h/", "h", "rtmfp://xn--ü/"] {
            let error = parse(wrong).unwrap_err();
            assert!(!error.contains("rtmfp: alone") && !error.contains("link"), "{wrong}: {error}");
        }
    }
}
