//! [`Place`]: where a stream is.

use rtmfp::GroupSpec;
use rtmfp::proto::crypto::Fingerprint;
use std::str::FromStr;

/// The word for a stream that is published to peers.
const PEERS: &str = "peers";
/// The word for a stream of the server.
const SERVER: &str = "server";

/// Where a stream is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In a group.
    Group(Box<GroupSpec>),
    /// Here, for peers that ask for it.
    Peers,
    /// At a peer.
    Peer(Fingerprint),
    /// At the server of `--via`.
    Server,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            PEERS => Ok(Self::Peers),
            SERVER => Ok(Self::Server),
            _ if text.starts_with("G:") => {
                let spec = text.parse().map_err(|error| format!("{error}"))?;
                Ok(Self::Group(Box::new(spec)))
            }
            _ => text.parse().map(Self::Peer).map_err(|_| {
                "write a groupspec, which begins with G:, a peer ID of 64 digits, or one of the \
                 words peers and server"
                    .to_owned()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_by_their_text() {
        let parse = |text: &str| text.parse::<Place>();
        assert!(matches!(parse("peers"), Ok(Place::Peers)));
        assert!(matches!(parse("server"), Ok(Place::Server)));
        assert!(matches!(parse("G:010104616e79"), Ok(Place::Group(_)) | Err(_)));
        let peer = "ab".repeat(32);
        assert!(matches!(parse(&peer), Ok(Place::Peer(id)) if id.to_string() == peer));
        let error = parse("rtmfp://host/app").unwrap_err();
        assert!(error.contains("a peer ID of 64 digits"), "{error}");
    }
}
