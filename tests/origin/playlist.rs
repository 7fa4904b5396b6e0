//! A playlist at a web server as one share, with the files that it names.

use crate::scene::{GRACE, Scene, content, local};
use rtmfp::vod::{
    Destination, Fetch, FetchConfig, HttpOrigin, OriginError, OriginLimit, OriginVersion,
    ScanConfig, SessionError, Share, ShareConfig, ShareLink, SourceFile,
};
use std::collections::BTreeMap;
use std::path::Path;

type Files = BTreeMap<String, (Vec<u8>, String)>;

/// A film in two variants: the paths below /films/one/ and the content of each.
fn film() -> Vec<(&'static str, Vec<u8>)> {
    let text = |lines: &str| lines.replace('|', "\n").into_bytes();
    let high = "#EXTM3U|#EXT-X-TARGETDURATION:4|#EXT-X-KEY:METHOD=AES-128,URI=\"../key.bin\"\
                |#EXTINF:4,|seg%201.ts|#EXTINF:4,|seg%202.ts|#EXT-X-ENDLIST|";
    let low = "#EXTM3U|#EXT-X-TARGETDURATION:4|#EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"9@0\"\
               |#EXTINF:4,|#EXT-X-BYTERANGE:50@9|all.mp4|#EXTINF:4,|#EXT-X-BYTERANGE:50@59|all.mp4|#EXT-X-ENDLIST|";
    let master = "#EXTM3U|#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"e\",URI=\"subs/list.m3u8\"\
                  |#EXT-X-STREAM-INF:BANDWIDTH=2|high/list.m3u8|#EXT-X-STREAM-INF:BANDWIDTH=1|low.m3u8|";
    let subs = "#EXTM3U|#EXT-X-TARGETDURATION:8|#EXTINF:8,|empty.vtt|#EXT-X-ENDLIST|";
    let bytes = content(2_000_000);
    vec![
        ("list.m3u8", text(master)),
        ("subs/list.m3u8", text(subs)),
        ("subs/empty.vtt", Vec::new()),
        ("high/list.m3u8", text(high)),
        ("key.bin", bytes[..16].to_vec()),
        ("high/seg 1.ts", bytes[..700_001].to_vec()),
        ("high/seg 2.ts", bytes[700_001..1_500_000].to_vec()),
        ("low.m3u8", text(low)),
        ("all.mp4", bytes[1_500_000..].to_vec()),
    ]
}

fn site(files: &[(&str, Vec<u8>)]) -> Files {
    let placed = files.iter().enumerate().map(|(number, (path, content))| {
        let path = format!("/films/one/{}", path.replace(' ', "%20"));
        (path, (content.clone(), format!("\"tag {number}\"")))
    });
    placed.collect()
}

async fn scene(files: &[(&str, Vec<u8>)]) -> (Scene, String) {
    let scene = Scene::new(Vec::new()).await;
    scene.web.change(|web| web.files = site(files));
    let url = format!("http://{}/films/one/list.m3u8", scene.web.address);
    (scene, url)
}

async fn share(scene: &Scene, url: &str, cache: &Path) -> Share {
    let mut config = ShareConfig::new(scene.address());
    config.listen = local();
    let source = HttpOrigin::new(url).unwrap();
    let version = source.version().await.unwrap();
    Share::start_from(source, version, cache, config).await.unwrap()
}

async fn fetch_to(link: &ShareLink, folder: &Path, origin: OriginLimit) -> Fetch {
    let mut config = FetchConfig::new(link.clone(), Destination::File(folder.to_owned()));
    config.listen = local();
    config.origin = origin;
    Fetch::start(config).await.unwrap()
}

async fn completed(fetch: &Fetch) {
    tokio::time::timeout(GRACE, fetch.completed()).await.expect("it hangs").unwrap();
}

fn assert_same(folder: &Path, files: &[(&str, Vec<u8>)]) {
    for (path, content) in files {
        let found = std::fs::read(folder.join(path)).unwrap_or_else(|it| panic!("{path}: {it}"));
        assert!(found == *content, "{path} differs");
    }
}

#[tokio::test]
async fn a_playlist_is_one_share_and_its_files_come_as_a_folder() {
    let film = film();
    let (scene, url) = scene(&film).await;
    let version = HttpOrigin::new(&url).unwrap().version().await.unwrap();
    let listed = version.files.as_ref().unwrap().list().files();
    let paths: Vec<&str> = listed.iter().map(|file| &*file.path).collect();
    assert_eq!(paths, film.iter().map(|(path, _)| *path).collect::<Vec<_>>(), "in playing order");
    let provider = share(&scene, &url, scene.cache.path()).await;
    let link = provider.link().clone();
    assert_eq!((link.name.as_deref(), link.files), (Some("list"), Some(9)));
    let other = tempfile::tempdir().unwrap();
    let again = share(&scene, &url, other.path()).await;
    assert_eq!(again.link(), &link, "every provider makes the same link");
    drop(again);
    // The provider has asked for each file; a fetcher need not.
    scene.web.change(|web| web.asked.clear());
    let out = tempfile::tempdir().unwrap();
    let first = fetch_to(&link, &out.path().join("first"), OriginLimit::Off).await;
    completed(&first).await;
    assert_same(&out.path().join("first"), &film);
    assert_eq!(first.progress().borrow().bytes_from_origin, 0);
    // The link goes through text.
    let link: ShareLink = link.to_string().parse().unwrap();
    provider.stop(GRACE).await;
    let before = scene.web.sent();
    let second = fetch_to(&link, &out.path().join("second"), OriginLimit::OneCopy).await;
    completed(&second).await;
    assert_same(&out.path().join("second"), &film);
    let read = scene.web.sent() - before;
    assert!(read < 200_000, "from the first, but for samples: {read}");
}

#[tokio::test]
async fn without_anybody_the_web_server_is_enough() {
    let film = film();
    let (scene, url) = scene(&film).await;
    let link = rtmfp::vod::origin::link_of(&url, scene.address(), "").await.unwrap().0;
    scene.server.stop(GRACE).await.unwrap();
    let out = tempfile::tempdir().unwrap();
    let fetch = fetch_to(&link, &out.path().join("film"), OriginLimit::OneCopy).await;
    completed(&fetch).await;
    assert_same(&out.path().join("film"), &film);
}

/// How often the web server is asked what it has: for the first byte.
fn probes(scene: &Scene) -> usize {
    let ranges = std::mem::take(&mut scene.web.site.lock().unwrap().ranges);
    ranges.iter().filter(|range| *range == "bytes=0-0").count()
}

#[tokio::test]
async fn every_file_is_probed_once() {
    let film = film();
    let (scene, url) = scene(&film).await;
    let (link, version) = rtmfp::vod::origin::link_of(&url, scene.address(), "").await.unwrap();
    assert_eq!(probes(&scene), film.len(), "playlists, too");
    let fetch_knowing = async |version: OriginVersion, name: &str| {
        let out = tempfile::tempdir().unwrap();
        let to = Destination::File(out.path().join(name));
        let mut config = FetchConfig::new(link.clone(), to);
        config.listen = local();
        config.origin_version = Some(version);
        let fetch = Fetch::start(config).await.unwrap();
        completed(&fetch).await;
        assert_same(&out.path().join(name), &film);
    };
    fetch_knowing(version.clone(), "known").await;
    assert_eq!(probes(&scene), 0);
    // What the link does not mean is not believed.
    let mut other = version;
    other.size += 1;
    fetch_knowing(other, "asked").await;
    assert_eq!(probes(&scene), film.len());
}

#[tokio::test]
async fn with_verified_every_part_has_a_hash() {
    let film = film();
    let (scene, url) = scene(&film).await;
    let source = HttpOrigin::new(&url).unwrap();
    let version: OriginVersion = source.version().await.unwrap();
    let directory = version.cache_file(scene.cache.path());
    let files = version.files.clone().unwrap();
    let mut progress = 0;
    let files = source.download_files(&files, &directory, |bytes| progress = bytes).await.unwrap();
    assert_eq!(progress, version.size);
    assert_same(&directory, &film);
    let source = SourceFile::scan_files("any name", files, &ScanConfig::default(), |_| {}).unwrap();
    let mut config = ShareConfig::new(scene.address());
    config.listen = local();
    config.origin = Some(version);
    let share = Share::start(source, config).await.unwrap();
    let out = tempfile::tempdir().unwrap();
    let fetch = fetch_to(share.link(), &out.path().join("film"), OriginLimit::OneCopy).await;
    let descriptor = fetch.descriptor().await.unwrap();
    assert!(descriptor.chunk_hashes.is_some() && descriptor.validators.is_some());
    completed(&fetch).await;
    assert_same(&out.path().join("film"), &film);
}

#[tokio::test]
async fn a_file_that_changes_ends_the_share_and_is_named() {
    let film = film();
    let (scene, url) = scene(&film).await;
    let source = HttpOrigin::new(&url).unwrap();
    let version = source.version().await.unwrap();
    scene.web.change(|web| {
        let changed = web.files.get_mut("/films/one/high/seg%202.ts").unwrap();
        changed.1 = "\"another\"".into();
    });
    let mut config = ShareConfig::new(scene.address());
    config.listen = local();
    let share = Share::start_from(source, version, scene.cache.path(), config).await.unwrap();
    let error = tokio::time::timeout(GRACE, share.failed()).await.expect("it hangs");
    let SessionError::Replica(error) = error else { panic!("{error}") };
    let error = error.to_string();
    assert!(error.contains("was changed") && error.contains("(high/seg 2.ts)"), "{error}");
}

async fn refused(files: &[(&str, Vec<u8>)]) -> OriginError {
    let (_scene, url) = scene(files).await;
    HttpOrigin::new(&url).unwrap().version().await.unwrap_err()
}

#[tokio::test]
async fn what_cannot_be_shared_has_a_reason() {
    let list = |text: &str| vec![("list.m3u8", text.as_bytes().to_vec()), ("a.ts", vec![1])];
    let end = "#EXT-X-TARGETDURATION:4\n#EXT-X-ENDLIST\n";
    for (text, reasons) in [
        (
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n".to_owned(),
            ["list.m3u8", "it is live"],
        ),
        ("<html>".to_owned(), ["list.m3u8", "not a playlist"]),
        (
            format!("#EXTM3U\n{end}http://127.0.0.1:1/b.ts\n"),
            ["http://127.0.0.1:1/b.ts", "another web server"],
        ),
        (format!("#EXTM3U\n{end}../b.ts\n"), ["../b.ts", "not in or below"]),
        (format!("#EXTM3U\n{end}a.ts?x\n"), ["a.ts?x", "query"]),
        (format!("#EXTM3U\n{end}a.ts\nb.ts\n"), ["(b.ts)", "404"]),
        (format!("#EXTM3U\n{end}c.m3u8\n"), ["(c.m3u8)", "404"]),
        (format!("#EXTM3U\n{}", " \n".repeat(3 << 20)), ["list.m3u8", "too long for a playlist"]),
        (
            format!("#EXTM3U\n{end}{}", (0..16_400).map(|n| format!("{n}\n")).collect::<String>()),
            ["list.m3u8", "too many files"],
        ),
        (format!("#EXTM3U\n{end}{}", "x".repeat(3000)), ["xxxx", "too long"]),
    ] {
        let error = refused(&list(&text)).await.to_string();
        assert!(reasons.iter().all(|reason| error.contains(reason)), "{error}");
        assert!(error.len() < 1000, "{error}");
    }
}

#[tokio::test]
async fn playlists_that_name_ever_more_playlists_end() {
    let (scene, url) = scene(&[]).await;
    let number = |n: usize| format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{n}.m3u8\n");
    scene.web.change(|web| {
        let lists = (0..400).map(|n| (format!("/films/one/{n}.m3u8"), number(n + 1)));
        let first = [("/films/one/list.m3u8".to_owned(), number(0))];
        let lists = first.into_iter().chain(lists);
        web.files = lists.map(|(path, text)| (path, (text.into(), "\"1\"".into()))).collect();
    });
    let error = HttpOrigin::new(&url).unwrap().version().await.unwrap_err().to_string();
    assert!(error.contains("too many playlists"), "{error}");
    assert!(scene.web.site.lock().unwrap().asked.len() < 600);
    // In a circle, it is read once.
    scene.web.change(|web| {
        let both = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlist.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=1\nb.m3u8\n";
        let lists = ["/films/one/list.m3u8", "/films/one/b.m3u8"];
        web.files = lists.map(|path| (path.to_owned(), (both.into(), "\"1\"".into()))).into();
    });
    let version = HttpOrigin::new(&url).unwrap().version().await.unwrap();
    assert_eq!(version.files.unwrap().list().files().len(), 2);
}

#[tokio::test]
async fn a_server_without_ranges_has_no_playlists_to_share() {
    let (scene, url) = scene(&film()).await;
    scene.web.change(|web| web.has_ranges = false);
    let error = HttpOrigin::new(&url).unwrap().version().await.unwrap_err().to_string();
    assert!(error.contains("gives no parts") && error.contains("list.m3u8"), "{error}");
}
