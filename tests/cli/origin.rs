//! Files of web servers: URLs as arguments of `share`, `fetch` and `watch`.

use crate::support::{Running, Share, content, fail, rtmfp, succeed};
use crate::web_server::WebServer;

#[test]
fn a_url_is_shared_and_fetched_by_link_and_by_url() {
    let (directory, bytes) = (tempfile::tempdir().unwrap(), content(71, 1_000_000));
    let (_web, url) = WebServer::of_film(bytes.clone());
    let (_server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let via = format!("rtmfp://{address}/films");
    let cache = directory.path().join("cache");
    let args = [&url, "--via", &via, "--listen", "127.0.0.1", "--cache", cache.to_str().unwrap()];
    let share = Share::start(args);
    assert!(share.link.contains("/origin=http%3A%2F%2F127.0.0.1"), "{}", share.link);
    assert!(!share.link.contains("provider="), "{}", share.link);
    let by_link = directory.path().join("by link");
    succeed(rtmfp(["fetch", &share.link, "--listen", "127.0.0.1", "-o"]).arg(&by_link));
    assert!(std::fs::read(&by_link).unwrap() == bytes);
    // The same link, from every provider.
    let more = directory.path().join("more");
    let again = Share::start([&url, "--via", &via, "--cache", more.to_str().unwrap()]);
    assert_eq!(again.link, share.link);
    drop((share, again));
    // Nobody is left but the web server.
    let by_url = directory.path().join("by url");
    let (_, err) =
        succeed(rtmfp(["fetch", &url, "--via", &via, "--listen", "127.0.0.1", "-o"]).arg(&by_url));
    assert!(std::fs::read(&by_url).unwrap() == bytes);
    assert!(err.contains("1.0 MB from the web server") && !err.contains("samples"), "{err}");
}

#[test]
fn a_playlist_at_a_web_server_is_shared_as_a_folder() {
    let directory = tempfile::tempdir().unwrap();
    let list = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nv/1.ts\n#EXTINF:4,\nv/2.ts\n";
    let (one, two) = (content(73, 300_000), content(74, 400_001));
    let complete = format!("{list}#EXT-X-ENDLIST\n");
    let web = WebServer::start(vec![
        ("/film/list.m3u8".into(), complete.clone().into_bytes()),
        ("/film/live.m3u8".into(), list.to_owned().into_bytes()),
        ("/film/v/1.ts".into(), one.clone()),
        ("/film/v/2.ts".into(), two.clone()),
    ]);
    let (_server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let (url, via) = (format!("{}film/list.m3u8", web.url), format!("rtmfp://{address}/films"));
    let share = |name: &str, more: &[&str]| {
        let cache = directory.path().join(name);
        let mut args = vec![&*url, "--via", &via, "--listen", "127.0.0.1", "--cache"];
        args.push(cache.to_str().unwrap());
        args.extend(more);
        Share::start(args)
    };
    let assert_same = |folder: &std::path::Path| {
        assert_eq!(std::fs::read_to_string(folder.join("list.m3u8")).unwrap(), complete);
        assert!(std::fs::read(folder.join("v/1.ts")).unwrap() == one);
        assert!(std::fs::read(folder.join("v/2.ts")).unwrap() == two);
    };
    for more in [&[][..], &["--verified"]] {
        let first = share("one", more);
        assert!(first.link.contains("/files=3/name=list"), "{}", first.link);
        assert_eq!(share("two", more).link, first.link);
        let out = tempfile::tempdir().unwrap();
        let mut fetch = rtmfp(["fetch", &first.link, "--listen", "127.0.0.1"]);
        let (stdout, err) = succeed(fetch.current_dir(out.path()));
        assert_eq!(stdout.trim_end(), "./list", "{err}");
        assert_same(&out.path().join("list"));
        let mut check = rtmfp(["fetch", &first.link, "--listen", "127.0.0.1", "--check"]);
        if !more.is_empty() {
            succeed(check.current_dir(out.path()));
        }
    }
    // By the URL, when nobody is left but the web server, which is asked once what it has.
    let out = tempfile::tempdir().unwrap();
    web.take_requests();
    let mut fetch = rtmfp(["fetch", &url, "--via", &via, "--listen", "127.0.0.1"]);
    succeed(fetch.current_dir(out.path()));
    assert_same(&out.path().join("list"));
    let probes = web.take_requests().into_iter().filter(|(_, range)| range == "0-0");
    let mut probed: Vec<String> = probes.map(|(path, _)| path).collect();
    probed.sort_unstable();
    assert_eq!(probed, ["/film/list.m3u8", "/film/v/1.ts", "/film/v/2.ts"]);
    let live_url = format!("{}film/live.m3u8", web.url);
    let live = fail(&mut rtmfp(["share", &live_url, "--via", &via]), 1);
    assert!(live.contains("it is live") && live.contains("live.m3u8"), "{live}");
}

#[test]
fn a_url_that_is_read_and_hashed_first_has_a_link_with_every_hash() {
    let (directory, bytes) = (tempfile::tempdir().unwrap(), content(72, 300_000));
    let (_web, url) = WebServer::of_film(bytes.clone());
    let (_server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let via = format!("rtmfp://{address}/films");
    let cache = directory.path().join("cache");
    let start = || {
        let cache = cache.to_str().unwrap();
        Share::start([&url, "--verified", "--via", &via, "--listen", "127.0.0.1", "--cache", cache])
    };
    let first = start();
    let copy = directory.path().join("copy");
    succeed(rtmfp(["fetch", &first.link, "--listen", "127.0.0.1", "-o"]).arg(&copy));
    assert!(std::fs::read(&copy).unwrap() == bytes);
    succeed(rtmfp(["fetch", &first.link, "--listen", "127.0.0.1", "--check", "-o"]).arg(&copy));
    let link = first.link.clone();
    drop(first);
    assert_eq!(start().link, link);
}

#[test]
fn urls_that_cannot_be_shared_have_a_reason() {
    let secret = fail(&mut rtmfp(["share", "http://me:secret@127.0.0.1:1/film"]), 1);
    assert!(secret.contains("password") && !secret.contains("secret"), "{secret}");
    let url = "http://127.0.0.1:1/film";
    let refused = fail(&mut rtmfp(["share", url]), 1);
    assert!(refused.contains("cannot read from 127.0.0.1:1"), "{refused}");
    for args in [
        &["share", url, "film.mp4"][..],
        &["share", "film.mp4", url],
        &["share", url, "--group", "films"],
        &["share", url, "--save-upload"],
        &["share", "film.mp4", "--verified"],
        &["fetch", url],
        &["watch", url, "--no-open"],
    ] {
        fail(&mut rtmfp(args), 2);
    }
}
