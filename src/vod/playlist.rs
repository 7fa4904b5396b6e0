//! [`Playlist`]: what the lines of a playlist (`.m3u`, `.m3u8`) name.

/// The longest playlist that is read, in bytes.
pub const MAX_PLAYLIST: u64 = 4 << 20;

/// A playlist: a list of files, or one of HTTP Live Streaming (RFC 8216).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Playlist {
    /// What it names, in order; the same file may be there several times.
    pub entries: Vec<PlaylistEntry>,
    /// True if the text begins with `#EXTM3U`.
    pub has_header: bool,
    /// True if more will be added to it: it has tags of HTTP Live Streaming, and is neither a list of
    /// variants nor complete (`#EXT-X-ENDLIST`).
    pub is_live: bool,
}

/// Something that a playlist names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaylistEntry {
    /// The path or the address, as it is written.
    pub uri: String,
    /// True if a tag states that it is a playlist: a variant or a rendition.
    pub is_playlist: bool,
}

impl Playlist {
    /// Reads a playlist: the lines without `#`, and the attribute `URI` of tags (`EXT-X-MAP`,
    /// `EXT-X-KEY`, `EXT-X-MEDIA`, …). Nothing is refused.
    pub fn parse(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}');
        let has_header = text.starts_with("#EXTM3U");
        let (mut entries, mut next_is_variant) = (Vec::new(), false);
        let (mut has_tags, mut has_variants, mut has_end) = (false, false, false);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some(tag) = line.strip_prefix('#') else {
                let is_playlist = std::mem::take(&mut next_is_variant);
                entries.push(PlaylistEntry { uri: line.to_owned(), is_playlist });
                continue;
            };
            let (name, attributes) = tag.split_once(':').unwrap_or((tag, ""));
            let names_playlist = matches!(name, "EXT-X-MEDIA" | "EXT-X-I-FRAME-STREAM-INF");
            has_tags |= name.starts_with("EXT-X-");
            has_variants |= names_playlist || name == "EXT-X-STREAM-INF";
            has_end |= name == "EXT-X-ENDLIST";
            next_is_variant |= name == "EXT-X-STREAM-INF";
            if let Some(uri) = uri_in(attributes) {
                entries.push(PlaylistEntry { uri, is_playlist: names_playlist });
            }
        }
        Self { entries, has_header, is_live: has_tags && !has_variants && !has_end }
    }
}

/// True if a name ends as that of a playlist does.
pub fn is_playlist(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    matches!(extension.as_deref(), Some("m3u" | "m3u8"))
}

/// The attribute `URI` of a tag, which is quoted. Others end like it, `X-ASSET-URI` for example.
fn uri_in(attributes: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        let (name, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (text, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        if name.trim() == "URI" {
            return (!text.is_empty()).then(|| text.to_owned());
        }
        rest = after.trim_start().trim_start_matches(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(text: &str) -> Vec<(String, bool)> {
        let entries = Playlist::parse(text).entries;
        entries.into_iter().map(|entry| (entry.uri, entry.is_playlist)).collect()
    }

    #[test]
    fn lines_and_attributes_of_tags_are_named() {
        let text = "\u{feff}#EXTM3U\r\n#EXT-X-MAP:BYTERANGE=\"10@0\",URI=\"init, 1.mp4\"\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n\
                    #EXTINF:4,a=URI=\"title\"\n#EXT-X-BYTERANGE:10@0\n one.ts \n\n#EXTINF:4,\none.ts\n# two.ts\n#EXT-X-ENDLIST";
        let expected = ["init, 1.mp4", "k", "one.ts", "one.ts"];
        assert_eq!(named(text), expected.map(|uri| (uri.to_owned(), false)));
        assert!(Playlist::parse(text).has_header && !Playlist::parse(text).is_live);
    }

    #[test]
    fn variants_and_renditions_are_playlists() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"a/list\"\n\
                    #EXT-X-STREAM-INF:BANDWIDTH=1\nlow\n#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i\"\n\
                    #EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"key\"\n";
        let expected = [("a/list", true), ("low", true), ("i", true), ("key", false)];
        assert_eq!(named(text), expected.map(|(uri, is)| (uri.to_owned(), is)));
        assert!(!Playlist::parse(text).is_live);
    }

    #[test]
    fn only_the_attribute_itself_counts() {
        for tag in [
            "#EXT-X-DATERANGE:ID=\"a\",X-ASSET-URI=\"http://ads.example/\"",
            "#EXT-X-SESSION-DATA:DATA-ID=\"a\",VALUE=\"URI=\"",
            "#EXT-X-MAP:URI=\"\"",
            "#EXT-X-MAP:URI=\"open",
            "#EXT-X-MAP:URI=unquoted\"",
            "#EXT-X-MAP",
        ] {
            let named = named(tag);
            assert!(named.iter().all(|(uri, _)| uri == "unquoted\""), "{tag}: {named:?}");
        }
    }

    #[test]
    fn a_live_playlist_has_tags_and_no_end() {
        let is_live = |text: &str| Playlist::parse(text).is_live;
        assert!(is_live("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n"));
        assert!(!is_live("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n#EXT-X-ENDLIST\n"));
        assert!(!is_live("#EXTM3U\n#EXTINF:123,Artist\nsong.mp3\n"));
    }

    #[test]
    fn names_of_playlists_are_known() {
        assert!(is_playlist("a.m3u8") && is_playlist("A.M3U") && !is_playlist("m3u8"));
        assert!(!is_playlist("a.m3u8.ts") && !is_playlist(""));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(#EXT-X-[A-Z]{1,4}:|URI=|\"|,|=|\n|[a-z]){0,60}") {
            for entry in Playlist::parse(&text).entries {
                prop_assert!(!entry.uri.is_empty());
            }
        }
    }
}
