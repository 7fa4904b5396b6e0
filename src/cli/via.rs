//! The rendezvous servers that `--via` names.

use super::outcome::WrongUsage;
use anyhow::{Context, ensure};
use rtmfp::driver::ascii_host;
use rtmfp::proto::flash::{Host, Uri};
use rtmfp::vod::ServerAddress;
use rtmfp::vod::link::MAX_SERVERS;

/// The parameter of a URL's query that is a secret.
const TOKEN: &str = "token";

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

/// The servers of such URLs, in their order, and the application, which is the same at all of them, with its
/// query. `None` if there is no URL.
///
/// # Errors
///
/// More servers than a link can name, or several applications.
pub(crate) fn servers_of(uris: &[Uri]) -> anyhow::Result<Option<(Vec<ServerAddress>, String)>> {
    let Some(first) = uris.first() else { return Ok(None) };
    ensure!(
        uris.len() <= MAX_SERVERS,
        WrongUsage(format!("a link names at most {MAX_SERVERS} servers, and so does --via"))
    );
    let mut servers = Vec::new();
    for uri in uris {
        ensure!(
            uri.app() == first.app(),
            WrongUsage(
                "a link names one application: let every --via have the same one".to_owned()
            )
        );
        servers.push(server_of(uri)?.0);
    }
    Ok(Some((servers, first.app().to_owned())))
}

/// An application without the token in its query, which is a secret of whoever connects.
pub(crate) fn without_token(app: &str) -> String {
    let Some((path, query)) = app.split_once('?') else { return app.to_owned() };
    let is_token = |it: &&str| it.split_once('=').is_some_and(|(name, _)| name == TOKEN);
    let rest: Vec<&str> = query.split('&').filter(|parameter| !is_token(parameter)).collect();
    match rest.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", rest.join("&")),
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
    fn several_servers_have_one_application() {
        let of = |urls: &[&str]| {
            let uris: Vec<Uri> = urls.iter().map(|url| parse(url).unwrap()).collect();
            servers_of(&uris).map_err(|error| error.to_string())
        };
        let (servers, app) =
            of(&["rtmfp://a.example/x?y", "rtmfp://b.example:7/x?y"]).unwrap().unwrap();
        let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(
            (servers, app.as_str()),
            (vec!["a.example:1935".into(), "b.example:7".into()], "x?y")
        );
        assert_eq!(of(&[]), Ok(None));
        assert!(of(&["rtmfp://a.example/x", "rtmfp://b.example/y"]).unwrap_err().contains("same"));
        assert!(of(&["rtmfp://a.example/"; MAX_SERVERS + 1]).unwrap_err().contains("at most"));
    }

    #[test]
    fn a_token_is_left_out_and_nothing_else() {
        for (app, expected) in [
            ("films", "films"),
            ("films?x=1", "films?x=1"),
            ("films?token=secret", "films"),
            ("films?x=1&token=secret&y", "films?x=1&y"),
            ("?token=a&token=b", ""),
            ("films?mytoken=1&token", "films?mytoken=1&token"),
        ] {
            assert_eq!(without_token(app), expected, "{app}");
        }
    }

    #[test]
    fn no_advice_is_given_that_would_be_refused() {
        for wrong in ["", "rtmfp:", "rtmfp:/h", "rtmfp:///a", "http://h/", "h", "rtmfp://xn--ü/"] {
            let error = parse(wrong).unwrap_err();
            assert!(!error.contains("rtmfp: alone") && !error.contains("link"), "{wrong}: {error}");
        }
    }
}
