//! Media types of what strangers share.

/// Extensions and types that a browser takes for media and nothing else.
const TYPES: [(&str, &str); 19] = [
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("mov", "video/quicktime"),
    ("webm", "video/webm"),
    ("mkv", "video/x-matroska"),
    ("flv", "video/x-flv"),
    ("f4v", "video/mp4"),
    ("ogv", "video/ogg"),
    ("avi", "video/x-msvideo"),
    ("ts", "video/mp2t"),
    ("m4s", "video/iso.segment"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("aac", "audio/aac"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("flac", "audio/flac"),
    ("wav", "audio/wav"),
];

/// What nobody runs or shows.
const OTHER: &str = "application/octet-stream";

/// The media type of a file, by the extension of its name or else as its provider states it, if it is
/// one of the list: nothing that a stranger writes becomes a page or a script.
pub(super) fn media_type(name: &str, stated: Option<&str>) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let by_name = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension));
    let stated = stated.unwrap_or_default();
    let as_stated = || TYPES.iter().find(|(_, kind)| kind.eq_ignore_ascii_case(stated));
    by_name.or_else(as_stated).map_or(OTHER, |(_, kind)| kind)
}

/// True for what a player takes.
pub(super) fn is_played(media_type: &str) -> bool {
    // Pieces of a film are played by their playlist.
    const PIECES: [&str; 2] = ["video/iso.segment", "video/mp2t"];
    let is_media = ["video/", "audio/", "application/vnd.apple"];
    is_media.iter().any(|kind| media_type.starts_with(kind)) && !PIECES.contains(&media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_media_has_a_type() {
        assert_eq!(media_type("Film.MP4", None), "video/mp4");
        assert_eq!(media_type("film", Some("video/webm")), "video/webm");
        assert_eq!(media_type("film.mp4", Some("text/html")), "video/mp4");
        for (name, stated) in [
            ("a.html", None),
            ("a", Some("text/html")),
            ("a.svg", Some("image/svg+xml")),
            ("a", None),
        ] {
            assert_eq!(media_type(name, stated), OTHER, "{name}");
        }
    }
}
