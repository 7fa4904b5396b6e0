//! [`Announcement`], and the datagram that carries it.

use crate::crypto::{AnnouncementKey, Fingerprint};
use crate::wire::option::{Item, encode_option, parse_item};

/// Option: the peer ID of the sender.
const PEER_ID: u64 = 0x1a;
/// Option without a value: the sender wants to know who else is there.
const ASKS: u64 = 0x2a;

/// What a member says on the local network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Announcement {
    /// The sender's peer ID. An announcement without one only asks.
    pub peer_id: Option<Fingerprint>,
    /// True if other members are to announce themselves.
    pub asks: bool,
}

/// Makes and reads the announcements of one group.
#[derive(Debug, Clone)]
pub struct AnnouncementCodec {
    key: AnnouncementKey,
}

impl AnnouncementCodec {
    /// The codec of the group with this canonical text, whose SHA-256 is `id`.
    pub fn new(id: &[u8; 32], canonical_text: &str) -> Self {
        Self { key: AnnouncementKey::new(id, canonical_text) }
    }

    /// The datagram, 56 bytes if it names a peer ID.
    pub fn encode(&self, announcement: &Announcement) -> Vec<u8> {
        let mut plain = Vec::with_capacity(56);
        if let Some(peer_id) = &announcement.peer_id {
            encode_option(PEER_ID, &peer_id.0, &mut plain);
        }
        if announcement.asks {
            encode_option(ASKS, &[], &mut plain);
        }
        self.key.seal(plain)
    }

    /// Reads a datagram. `None` if no member of the group has made it. Unknown options are skipped,
    /// a peer ID of another length too; of several, the first counts.
    pub fn decode(&self, datagram: &[u8]) -> Option<Announcement> {
        let plain = self.key.open(datagram)?;
        let mut announcement = Announcement::default();
        let mut rest = &plain[..];
        while !rest.is_empty() {
            let (item, after) = parse_item(rest).ok()?;
            rest = after;
            // The fill is markers.
            let Item::Option(option) = item else { continue };
            match option.kind {
                PEER_ID if announcement.peer_id.is_none() => {
                    announcement.peer_id = option.value.try_into().ok().map(Fingerprint);
                }
                ASKS => announcement.asks = true,
                _ => {}
            }
        }
        Some(announcement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The canonical text of the observed player's group, and its SHA-256.
    const TEXT: &str = "G:0100010101020103050e6c616e31011b";
    const PLAYER: &str = "8d84aa8f12fbf2d44788f1d71f34ba221a2277686f06be7c1a216c0ff5a0aa92";
    const OBSERVED: &str = "98ba242476f3831c87323684a15efdd9578d67413c44a1df561b54b7760ff52b\
                            f59aff40aacf5594cec48c4c3132ac9f96933078f29d7482";

    fn codec() -> AnnouncementCodec {
        use sha2::Digest;
        let id: [u8; 32] = sha2::Sha256::digest(TEXT).into();
        AnnouncementCodec::new(&id, TEXT)
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    #[test]
    fn the_datagram_of_the_observed_player() {
        let announcement = Announcement { peer_id: Some(PLAYER.parse().unwrap()), asks: true };
        assert_eq!(codec().encode(&announcement), hex(OBSERVED));
        assert_eq!(codec().decode(&hex(OBSERVED)), Some(announcement));
    }

    #[test]
    fn unknown_options_are_skipped() {
        let mut plain = Vec::new();
        encode_option(0x77, b"new", &mut plain);
        encode_option(PEER_ID, b"short", &mut plain);
        encode_option(ASKS, b"", &mut plain);
        let read = codec().decode(&codec().key.seal(plain));
        assert_eq!(read, Some(Announcement { peer_id: None, asks: true }));
    }

    #[test]
    fn a_broken_list_is_nothing() {
        assert_eq!(codec().decode(&codec().key.seal(vec![0x7f, 1])), None);
    }

    proptest! {
        #[test]
        fn any_plain_text_of_a_member_is_read_without_panic(
            plain in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = codec().decode(&codec().key.seal(plain));
        }

        #[test]
        fn strangers_are_not_read(datagram in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(codec().decode(&datagram), None);
        }
    }
}
