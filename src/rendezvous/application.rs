//! The applications that clients connect to.

/// The application as it counts for streams and the like: as at Flash Media Server without the query,
/// and without the name of the instance that is the default.
pub(super) fn application(app: &str) -> &str {
    let path = app.split_once('?').map_or(app, |(path, _)| path);
    let path = path.trim_end_matches('/');
    path.strip_suffix("/_definst_").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_are_paths_without_query_and_default_instance() {
        let cases = [
            ("live", "live"),
            ("live/", "live"),
            ("live/_definst_", "live"),
            ("live/_definst_/?x=1", "live"),
            ("live/a?token", "live/a"),
            ("", ""),
            ("?x", ""),
        ];
        for (app, expected) in cases {
            assert_eq!(application(app), expected, "{app}");
        }
    }
}
