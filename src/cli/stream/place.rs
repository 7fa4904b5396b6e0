//! [`Place`]: where a stream is.

use rtmfp::GroupSpec;
use rtmfp::peer::GroupSpecError;
use rtmfp::proto::crypto::Fingerprint;

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

impl Place {
    /// Where a stream can be published.
    pub(super) fn to_publish(text: &str) -> Result<Self, String> {
        match Self::parse(text) {
            Some(Ok(Self::Peer(_))) => {
                Err("to publish for peers, write the word peers: any peer can \
                 ask for the stream then"
                    .to_owned())
            }
            Some(place) => place,
            None => Err("write a groupspec, which begins with G:, or one of the words peers and \
                 server"
                .to_owned()),
        }
    }

    /// Where a stream can be played.
    pub(super) fn to_play(text: &str) -> Result<Self, String> {
        match Self::parse(text) {
            Some(Ok(Self::Peers)) => {
                Err("name the peer that publishes the stream by its peer ID".to_owned())
            }
            Some(place) => place,
            None => Err("write a groupspec, which begins with G:, a peer ID of 64 digits, or the \
                 word server"
                .to_owned()),
        }
    }

    fn parse(text: &str) -> Option<Result<Self, String>> {
        match text {
            PEERS => Some(Ok(Self::Peers)),
            SERVER => Some(Ok(Self::Server)),
            _ if text.starts_with("G:") => {
                let spec = text.parse().map(|spec| Self::Group(Box::new(spec)));
                Some(spec.map_err(|error: GroupSpecError| error.to_string()))
            }
            _ => text.parse().ok().map(|peer| Ok(Self::Peer(peer))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_by_their_text() {
        assert!(matches!(Place::to_publish("peers"), Ok(Place::Peers)));
        assert!(matches!(Place::to_play("server"), Ok(Place::Server)));
        assert!(matches!(Place::to_play("G:0101010c030e747600"), Ok(Place::Group(_))));
        let peer = "ab".repeat(32);
        assert!(matches!(Place::to_play(&peer), Ok(Place::Peer(id)) if id.to_string() == peer));
        for (place, reason) in [
            (Place::to_play("rtmfp://host/app"), "a peer ID of 64 digits, or the word server"),
            (Place::to_play("peers"), "by its peer ID"),
            (Place::to_play("G:01"), "was it cut off?"),
            (Place::to_publish("rtmfp://host/app"), "one of the words peers and server"),
            (Place::to_publish(&peer), "write the word peers"),
        ] {
            let error = place.unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
