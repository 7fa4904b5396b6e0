//! Files of web servers: a URL as the argument of `share`, `fetch` and `watch`.

use super::fit::{self, Size};
use super::format;
use super::hashing;
use super::limits::HEADING;
use super::screen::{self, Live};
use anyhow::Context;
use rtmfp::peer::Bandwidth;
use rtmfp::vod::origin::{OriginVersion, Validator};
use rtmfp::vod::session::Progress;
use rtmfp::vod::{HttpOrigin, OriginLimit, ScanConfig, SourceFile};
use std::path::{Path, PathBuf};

/// What is read from the web server that a link names.
#[derive(Debug, clap::Args)]
pub(super) struct OriginArgs {
    /// Read at most this much from the web server that the link names, 50MB, 1GiB, or nothing: off
    /// [default: as much as the file is long]
    ///
    /// It is read for what no member has, or does not send in time, and for comparing samples.
    #[arg(
        long,
        value_name = "BYTES|off",
        value_parser = parse_limit,
        help_heading = HEADING,
        display_order = 5
    )]
    origin_limit: Option<OriginLimit>,
}

impl OriginArgs {
    pub(super) fn limit(&self) -> OriginLimit {
        self.origin_limit.unwrap_or_default()
    }
}

/// A file of a web server that is to be shared.
pub(super) struct Offer {
    pub(super) source: HttpOrigin,
    pub(super) version: OriginVersion,
    pub(super) cache: PathBuf,
}

/// The URL, if an argument is one.
pub(super) fn url_in(argument: &Path) -> Option<&str> {
    let text = argument.to_str()?;
    let begins = |scheme: &str| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    (begins("http://") || begins("https://")).then_some(text)
}

/// Finds out what the web server has, and prints it.
pub(super) async fn probe(url: &str) -> anyhow::Result<(HttpOrigin, OriginVersion)> {
    let source = HttpOrigin::new(url)?;
    screen::line(&format!("asking {}", format::printable(source.url())));
    let version = source.version().await?;
    let validator = match &version.validator {
        Validator::ETag(etag) => format!("ETag {etag}"),
        Validator::LastModified(time) => format!("changed on {time}"),
    };
    let parts = if version.has_ranges {
        ""
    } else {
        "; it gives no parts (no Range), so that the file is read from its beginning to its end"
    };
    let size = format::bytes(version.size);
    let count = version.files.as_ref().map(|files| files.list().files().len() as u64);
    let files =
        count.map_or_else(String::new, |count| format!(" in {}", format::count(count, "file")));
    let validator = format::printable(&validator);
    screen::line(&format!("the web server has {size}{files}, {validator}{parts}"));
    Ok((source, version))
}

/// The directory for what is read from web servers.
pub(super) fn cache(asked: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(directory) = asked {
        return Ok(directory);
    }
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let (home, below) = match cfg!(windows) {
        true => ("LOCALAPPDATA", "rtmfp/cache"),
        false => ("HOME", ".cache/rtmfp"),
    };
    let cache = variable("XDG_CACHE_HOME").map(|cache| cache.join("rtmfp"));
    let cache = cache.or_else(|| Some(variable(home)?.join(below)));
    cache.with_context(|| {
        format!("neither XDG_CACHE_HOME nor {home} is set: name a directory with --cache")
    })
}

/// Prints what those who fetch can rely on.
pub(super) fn explain(version: &OriginVersion) {
    screen::line(match version.sha256 {
        Some(_) => {
            "the web server states the SHA-256: those who fetch verify the whole file with it at the end"
        }
        None => {
            "nothing is hashed: those who fetch compare samples of what others send with the web server; \
             --verified hashes every part first"
        }
    });
}

/// What the web server sent, as the end of a sentence; empty if that is nothing.
pub(super) fn note(progress: &Progress) -> String {
    match progress.bytes_from_origin {
        0 => String::new(),
        bytes => format!(", {} from the web server", format::bytes(bytes)),
    }
}

/// Reads all of it into a file, or of a playlist into a directory, unless an earlier run did, and takes the
/// hashes.
pub(super) async fn read_all(offer: &Offer) -> anyhow::Result<SourceFile> {
    let Offer { source, version, cache } = offer;
    std::fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let path = version.cache_file(cache);
    let live = Live::new();
    let shown = |bytes| {
        let part = bytes as f64 / version.size.max(1) as f64;
        let bar = fit::bar(part, Size::of_screen().columns.min(62) - 20);
        live.draw(&format!("reading {bar} {}", format::percent(part)));
    };
    let Some(files) = &version.files else {
        source.download(version, &path, shown).await?;
        live.clear();
        return hashing::scan(path).await;
    };
    let files = source.download_files(files, &path, shown).await?;
    live.clear();
    let (name, config) = (path.display().to_string(), ScanConfig::default());
    let scan = move |progress: &mut dyn FnMut(u64)| {
        SourceFile::scan_files(&name, files, &config, progress)
    };
    hashing::hashing(version.size, scan).await
}

/// Reads `50MB`, `1GiB` or `off`.
fn parse_limit(text: &str) -> Result<OriginLimit, String> {
    if text == "off" {
        return Ok(OriginLimit::Off);
    }
    // Amounts are written as rates are, without the time.
    let amount: Option<Bandwidth> = text.parse().ok().filter(|_| !text.contains(['/', 't', 'p']));
    amount
        .map(|amount| OriginLimit::Bytes(amount.as_bytes_per_second()))
        .ok_or_else(|| format!("{text:?} is not an amount: write 50MB, 1GiB or off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_files() {
        assert_eq!(url_in(Path::new("HTTPS://a.example/film")), Some("HTTPS://a.example/film"));
        for file in ["film.mp4", "http", "./http://a", "ftp://a/film"] {
            assert_eq!(url_in(Path::new(file)), None);
        }
    }

    #[test]
    fn limits_are_amounts() {
        assert_eq!(parse_limit("off"), Ok(OriginLimit::Off));
        assert_eq!(parse_limit("50MB"), Ok(OriginLimit::Bytes(50_000_000)));
        assert_eq!(parse_limit("1GiB"), Ok(OriginLimit::Bytes(1 << 30)));
        for wrong in ["", "much", "5MB/s", "5Mbit", "-1"] {
            assert!(parse_limit(wrong).is_err(), "{wrong}");
        }
    }
}
