//! `rtmfp watch`: the film by HTTP, from a share that is fetched.

use crate::support::{
    PATIENCE, Running, Share, content, hold_usual_port, own_port, rtmfp, write_file,
};
use crate::web_server::WebServer;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use ureq::http::Response;
use ureq::{Agent, Body};

/// A running `rtmfp watch`.
pub struct Watch {
    running: Running,
    /// The URL of the page, with a slash at its end.
    pub url: String,
    cache: tempfile::TempDir,
}

impl Watch {
    pub fn start(link: &str, more: &[&str]) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let mut command = rtmfp(["watch", link, "--no-open", "--udp", "127.0.0.1"]);
        command.args(more).env("XDG_CACHE_HOME", cache.path());
        let running = Running::start(&mut command);
        let url = running.line();
        assert!(url.starts_with("http://127.0.0.1:") && url.ends_with('/'), "{url}");
        Self { running, url, cache }
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = agent().get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.call().unwrap()
    }

    /// Follows the events until the state is as wanted.
    pub fn until(&self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let events = self.get("events", &[]);
        assert_eq!(header(&events, "content-type"), "text/event-stream");
        let lines = BufReader::new(events.into_body().into_reader()).lines();
        let mut last = Value::Null;
        for line in lines.map_while(Result::ok) {
            let Some(data) = line.strip_prefix("data: ") else { continue };
            last = serde_json::from_str(data).unwrap();
            if is_wanted(&last) {
                return last;
            }
        }
        panic!("the events end with {last}");
    }

    /// Ctrl-C, and what is said then.
    pub fn stop(self) -> String {
        self.running.interrupt();
        let (status, lines, err) = self.running.wait();
        assert_eq!((status, lines.len()), (Some(0), 0), "{lines:?}\n{err}");
        // What was stored is gone.
        let left = std::fs::read_dir(self.cache.path().join("rtmfp"));
        assert_eq!(left.map_or(0, Iterator::count), 0);
        err
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    config.build().into()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn bytes(response: Response<Body>) -> Vec<u8> {
    let mut all = Vec::new();
    response.into_body().into_reader().read_to_end(&mut all).unwrap();
    all
}

/// A shared file of random bytes.
fn shared(directory: &Path, len: usize, more: &[&str]) -> (Share, Vec<u8>) {
    let file: PathBuf = directory.join("my film.mp4");
    let content = write_file(&file, 77, len);
    let mut args = vec![file.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    args.extend(more);
    (Share::start(args), content)
}

const FILM: &str = "film/my%20film.mp4";

#[test]
fn a_film_is_read_whole_and_by_ranges() {
    let directory = tempfile::tempdir().unwrap();
    let (share, content) = shared(directory.path(), 3_000_001, &[]);
    let watch = Watch::start(&share.link, &[]);

    let whole = watch.get(FILM, &[]);
    assert_eq!((whole.status().as_u16(), header(&whole, "accept-ranges")), (200, "bytes"));
    assert_eq!(header(&whole, "content-length"), "3000001");
    assert_eq!(header(&whole, "content-type"), "video/mp4");
    assert_eq!(header(&whole, "x-content-type-options"), "nosniff");
    assert_eq!(header(&whole, "access-control-allow-origin"), "");
    let tag = header(&whole, "etag").to_owned();
    assert!(bytes(whole) == content);

    let head = agent().head(format!("{}{FILM}", watch.url)).call().unwrap();
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, "3000001"));

    let ranges = [
        ("bytes=0-0", 0..1),
        ("bytes=65530-65545", 65_530..65_546),
        ("bytes=2999990-", 2_999_990..3_000_001),
        ("bytes=-70000", 2_930_001..3_000_001),
        ("bytes=2999999-99999999", 2_999_999..3_000_001),
    ];
    for (range, expected) in ranges {
        for condition in [None, Some(("If-Range", &*tag))] {
            let headers: Vec<_> = [("Range", range)].into_iter().chain(condition).collect();
            let part = watch.get(FILM, &headers);
            let place = format!("bytes {}-{}/3000001", expected.start, expected.end - 1);
            assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, &*place));
            assert!(bytes(part) == content[expected.clone()], "{range}");
        }
    }
    let of_another = watch.get(FILM, &[("Range", "bytes=5-6"), ("If-Range", "\"other\"")]);
    assert_eq!(of_another.status().as_u16(), 200);
    let beyond = watch.get(FILM, &[("Range", "bytes=3000001-")]);
    assert_eq!(
        (beyond.status().as_u16(), header(&beyond, "content-range")),
        (416, "bytes */3000001")
    );
    assert_eq!(watch.get("film/other.mp4", &[]).status().as_u16(), 404);
    watch.stop();
}

#[test]
fn the_page_is_whole_and_only_for_those_who_mean_it() {
    let directory = tempfile::tempdir().unwrap();
    let (share, _) = shared(directory.path(), 100_000, &[]);
    let watch = Watch::start(&share.link, &[]);
    for (path, kind) in [
        ("", "text/html; charset=utf-8"),
        ("common.js", "text/javascript; charset=utf-8"),
        ("watch.js", "text/javascript; charset=utf-8"),
        ("watch.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("api/status", "application/json"),
    ] {
        let response = watch.get(path, &[]);
        assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, kind));
        assert!(header(&response, "content-security-policy").contains("default-src 'none'"));
        // Nothing of another host is in it.
        let text = String::from_utf8(bytes(response)).unwrap();
        let others = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!others.contains("http://") && !others.contains("https://"), "{path}");
    }
    assert_eq!(watch.get("nothing", &[]).status().as_u16(), 404);
    for path in ["", "api/status", "events", FILM] {
        let foreign = watch.get(path, &[("Host", "films.example")]);
        assert_eq!(foreign.status().as_u16(), 421, "{path}");
    }
    assert_eq!(watch.get("", &[("Host", "localhost:1")]).status().as_u16(), 200);
    let err = watch.stop();
    assert!(err.contains("-o FILE keeps it"), "{err}");
}

#[test]
fn many_read_at_a_time_and_leave() {
    let directory = tempfile::tempdir().unwrap();
    let (share, content) = shared(directory.path(), 20_000_000, &[]);
    let watch = Watch::start(&share.link, &[]);
    let mut readers: Vec<_> = (0..6)
        .map(|n| {
            let range = format!("bytes={}-", n * 1_000_000);
            watch.get(FILM, &[("Range", &range)]).into_body().into_reader()
        })
        .collect();
    for round in 0..3 {
        for (n, reader) in readers.iter_mut().enumerate() {
            let mut part = vec![0; 100_000];
            reader.read_exact(&mut part).unwrap();
            assert!(part == content[n * 1_000_000 + round * 100_000..][..100_000]);
        }
    }
    let busy = watch.until(|status| status["readers"] == 6);
    assert_eq!(busy["film"]["size"], 20_000_000);
    drop(readers);
    watch.until(|status| status["readers"] == 0);
    watch.stop();
}

#[test]
fn where_it_is_read_comes_first() {
    let directory = tempfile::tempdir().unwrap();
    let (share, content) = shared(directory.path(), 4_000_000, &["--up-limit", "400KB/s"]);
    let watch = Watch::start(&share.link, &[]);
    let part = watch.get(FILM, &[("Range", "bytes=3500000-3650000")]);
    assert!(bytes(part) == content[3_500_000..=3_650_000]);
    let status = watch.until(|_| true);
    let fraction = status["held"]["fraction"].as_f64().unwrap();
    assert!(fraction < 0.7, "{fraction} of the file was fetched for a part of it");
    watch.stop();
}

#[test]
fn a_film_is_kept_where_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (share, content) = shared(directory.path(), 500_000, &[]);
    let kept = directory.path().join("kept/");
    let watch = Watch::start(&share.link, &["-o", &format!("{}/", kept.display())]);
    let status = watch.until(|status| status["held"]["is_complete"] == true);
    assert_eq!(status["traffic"]["from_provider"], 500_000);
    assert_eq!(status["network"]["provider"], true);
    watch.stop();
    assert!(std::fs::read(kept.join("my film.mp4")).unwrap() == content);
}

#[test]
fn when_the_provider_leaves_what_is_here_plays_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("my film.mp4");
    let content = write_file(&file, 78, 4_000_000);
    let state = directory.path().join("state");
    let (listen, _usual) = (format!("127.0.0.1:{}", own_port()), hold_usual_port());
    let start = |more: &[&str]| {
        let mut command = rtmfp(["share", "--listen", &listen]);
        command.arg(&file).args(more).env("XDG_STATE_HOME", &state);
        Share::spawn(command)
    };
    let mut share = start(&["--up-limit", "300KB/s"]);
    let watch = Watch::start(&share.link, &[]);
    watch.until(|status| status["held"]["fraction"].as_f64() > Some(0.2));
    share.interrupt();
    share.wait();
    let left = watch.until(|status| status["network"]["provider"] == false);
    assert_eq!(left["message"]["level"], "warning", "{}", left["message"]);
    // The first parts are here.
    let begin = watch.get(FILM, &[("Range", "bytes=0-99999")]);
    assert!(bytes(begin) == content[..100_000]);
    // Another is not, as the page says to whoever waits for it.
    let mut missing =
        watch.get(FILM, &[("Range", "bytes=3900000-3900999")]).into_body().into_reader();
    let waiting = watch.until(|status| status["waits_at"] == 3_900_000);
    assert_eq!(waiting["message"]["level"], "waiting", "{}", waiting["message"]);
    let again = start(&[]);
    assert_eq!(again.link, share.link);
    let mut part = Vec::new();
    missing.read_to_end(&mut part).unwrap();
    assert!(part == content[3_900_000..3_901_000]);
    let complete = watch.until(|status| status["held"]["is_complete"] == true);
    assert_eq!(complete["message"]["level"], "fine");
    watch.stop();
}

#[test]
fn flv_is_given_as_mp4_from_any_time() {
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clips/test-pattern.flv");
    let share = Share::start([clip.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let watch = Watch::start(&share.link, &[]);
    let status = watch.until(|status| status["film"]["player"]["kind"] == "remuxed");
    let media_type = status["film"]["player"]["media_type"].as_str().unwrap();
    assert!(media_type.starts_with("video/mp4; codecs=\"avc1."), "{media_type}");
    assert_eq!(status["film"]["duration"].as_f64().unwrap().round(), 3.0);
    let whole = bytes(watch.get("remuxed", &[]));
    let rest = bytes(watch.get("remuxed?from=2.5", &[]));
    assert!(whole[4..8] == *b"ftyp" && rest[4..8] == *b"ftyp");
    assert!(rest.len() <= whole.len(), "{} of {}", rest.len(), whole.len());
    assert_eq!(watch.get("remuxed?from=-1", &[]).status().as_u16(), 400);
    watch.stop();
}

#[test]
fn each_file_of_a_folder_has_its_own_address() {
    let directory = tempfile::tempdir().unwrap();
    let season = directory.path().join("season");
    std::fs::create_dir_all(season.join("two")).unwrap();
    let first = write_file(&season.join("1 one.mp4"), 1, 150_000);
    let second = write_file(&season.join("two/2.mp4"), 2, 100_001);
    let list = "#EXTM3U\n#EXTINF:4,\n1%20one.mp4\n";
    std::fs::write(season.join("list.m3u8"), list).unwrap();
    let share = Share::start([season.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let watch = Watch::start(&share.link, &[]);
    let mut files = watch.get("api/files", &[]);
    let files: Value = files.body_mut().read_json().unwrap();
    let paths: Vec<_> = files.as_array().unwrap().iter().map(|it| it[1]["path"].clone()).collect();
    assert_eq!(paths, ["/film/1%20one.mp4", "/film/list.m3u8", "/film/two/2.mp4"]);
    assert!(bytes(watch.get("film/1%20one.mp4", &[])) == first);
    assert!(bytes(watch.get("film/two/2.mp4", &[])) == second);
    let part = watch.get("film/two/2.mp4", &[("Range", "bytes=99990-")]);
    assert_eq!(header(&part, "content-range"), "bytes 99990-100000/100001");
    assert!(bytes(part) == second[99_990..]);
    let playlist = watch.get("film/list.m3u8", &[]);
    assert_eq!(header(&playlist, "content-type"), "application/vnd.apple.mpegurl");
    assert_eq!(watch.get("film/two", &[]).status().as_u16(), 404);
    assert_eq!(watch.get("film/two/%2e%2e/1%20one.mp4", &[]).status().as_u16(), 404);
    // A playlist is played first: the other files may be its parts.
    let status = watch.until(|status| status["film"]["player"]["kind"] == "native");
    assert_eq!((&status["film"]["path"], &status["files"]), (&"/film/list.m3u8".into(), &3.into()));
    let mut one: Response<Body> = watch.get("api/films/2", &[]);
    let one: Value = one.body_mut().read_json().unwrap();
    assert_eq!(
        (&one["name"], &one["offset"]),
        (&"two/2.mp4".into(), &(150_000 + list.len()).into())
    );
    assert_eq!(watch.get("api/films/3", &[]).status().as_u16(), 404);
    watch.stop();
}

/// The film of a URL as the page serves it, and the state once all of it is here.
fn watched(watch: &Watch) -> (Vec<u8>, Value) {
    let film = watch.get("film/film.bin", &[]);
    assert_eq!(film.status().as_u16(), 200);
    (bytes(film), watch.until(|status| status["held"]["is_complete"] == true))
}

#[test]
fn a_film_at_a_url_is_watched_without_a_provider() {
    let content = content(73, 1_000_000);
    let (_web, url) = WebServer::of_film(content.clone());
    let (_server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let via = format!("rtmfp://{address}/films");
    let watch = Watch::start(&url, &["--via", &via]);
    let (film, status) = watched(&watch);
    assert!(film == content);
    assert_eq!(status["film"]["name"], "film.bin");
    let traffic = &status["traffic"];
    assert_eq!(traffic["from_origin"], 1_000_000);
    assert_eq!((&traffic["from_peers"], &traffic["saved"]), (&Value::from(0), &Value::from(0.0)));
    assert!(watch.stop().contains("1.0 MB, 1.0 MB from the web server"));
}

#[test]
fn a_film_is_watched_by_a_link_without_asking_its_web_server() {
    let (cache, content) = (tempfile::tempdir().unwrap(), content(74, 300_000));
    let (_web, url) = WebServer::of_film(content.clone());
    let cache = cache.path().to_str().unwrap();
    let share = Share::start([&url, "--listen", "127.0.0.1:0", "--cache", cache]);
    let watch = Watch::start(&share.link, &["--origin-limit", "off"]);
    let (film, status) = watched(&watch);
    assert!(film == content);
    assert_eq!(status["traffic"]["from_origin"], 0);
    assert_eq!(status["traffic"]["from_peers"], 300_000);
    assert!(!watch.stop().contains("web server"));
}
