//! Providers that read a URL while they share it.

use crate::scene::{GRACE, Scene, all, complete, content, fetch};
use rtmfp::vod::{Digest256, FileEvent, OriginError, OriginLimit, SessionError};
use std::io::SeekFrom;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

const SIZE: usize = 6_000_001;
const CHUNK: usize = 65_536;

#[tokio::test]
async fn four_fetchers_one_after_the_other_cost_the_web_server_little_more_than_one_copy() {
    let content = content(SIZE);
    let scene = Scene::new(content.clone()).await;
    scene.web.allow(SIZE as u64 / 4);
    let share = scene.share().await;
    assert_eq!(share.link(), &scene.link().await, "it follows from the URL");
    let mut fetches = Vec::new();
    for quarter in 1..=4 {
        let fetch = fetch(share.link(), OriginLimit::OneCopy).await;
        let mut progress = fetch.progress();
        let has_begun = progress.wait_for(|p| p.held_chunks > quarter);
        tokio::time::timeout(GRACE, has_begun).await.unwrap().unwrap();
        fetches.push(fetch);
        scene.web.allow(SIZE as u64 / 4 * (quarter + 1) + SIZE as u64);
    }
    for fetch in &fetches {
        complete(fetch, &content).await;
    }
    let copies = scene.web.sent() as f64 / SIZE as f64;
    assert!(copies <= 1.3, "{copies}");
    let from_peers: u64 = fetches.iter().map(|it| it.progress().borrow().bytes_from_origin).sum();
    assert!(from_peers < SIZE as u64 / 4, "{from_peers}");
}

#[tokio::test]
async fn a_web_server_that_goes_and_comes_back_delays_the_file_only() {
    let content = content(SIZE);
    let mut scene = Scene::new(content.clone()).await;
    scene.web.allow(2_000_000);
    let share = scene.share().await;
    let mut events = share.events();
    let fetch = fetch(share.link(), OriginLimit::Off).await;
    let mut progress = fetch.progress();
    progress.wait_for(|p| p.held_chunks > 5).await.unwrap();
    scene.web.stop().await;
    scene.web.allow(u64::MAX);
    loop {
        if let FileEvent::OriginFailed(error) = events.recv().await.unwrap() {
            assert!(matches!(*error, OriginError::Connection { .. }), "{error}");
            break;
        }
    }
    scene.web.go_on().await;
    complete(&fetch, &content).await;
    assert!(scene.web.sent() < SIZE as u64 * 13 / 10);
}

#[tokio::test]
async fn a_file_that_changes_ends_the_share_and_nothing_of_it_is_passed_on() {
    let (before, after) = (content(SIZE), vec![9; SIZE]);
    let scene = Scene::new(before.clone()).await;
    scene.web.allow(2_000_000);
    let share = scene.share().await;
    let fetch = fetch(share.link(), OriginLimit::OneCopy).await;
    let mut progress = fetch.progress();
    progress.wait_for(|p| p.held_chunks > 5).await.unwrap();
    scene.web.change(|site| (site.content, site.etag) = (after, "\"second\"".into()));
    scene.web.allow(u64::MAX);
    let error = tokio::time::timeout(GRACE, share.failed()).await.unwrap();
    assert!(error.to_string().contains("was changed"), "{error}");
    let chunks = progress.borrow().chunks;
    for index in 1..=chunks {
        if let Ok(chunk) = fetch.read_chunk(index).await {
            let from = (index as usize - 1) * CHUNK;
            assert!(chunk == before[from..from + chunk.len()], "chunk {index}");
        }
    }
    let other = scene.share().await;
    assert_ne!(other.link().groupspec, share.link().groupspec);
}

#[tokio::test]
async fn two_providers_make_one_link_and_one_swarm() {
    let content = content(SIZE);
    let scene = Scene::new(content.clone()).await;
    let second_cache = tempfile::tempdir().unwrap();
    let first = scene.share().await;
    let second = scene.share_in(second_cache.path()).await.unwrap();
    assert_eq!(first.link().to_string(), second.link().to_string());
    let fetch = fetch(first.link(), OriginLimit::Off).await;
    let mut met = fetch.progress();
    complete(&fetch, &content).await;
    met.wait_for(|p| p.met == 2).await.unwrap();
    for share in [&first, &second] {
        let mut progress = share.progress();
        progress.wait_for(|p| p.met == 2).await.unwrap();
    }
    // The same directory is for one provider at a time.
    let error = scene.share_in(scene.cache.path()).await.unwrap().failed().await;
    assert!(error.to_string().contains("in use"), "{error}");
}

#[tokio::test]
async fn a_place_that_is_asked_for_is_read_before_the_rest() {
    let content = content(4 * SIZE);
    let scene = Scene::new(content.clone()).await;
    // The provider is kept at the beginning.
    scene.web.allow(1_000_000);
    let share = scene.share().await;
    let fetch = fetch(share.link(), OriginLimit::Off).await;
    let place = 3 * SIZE;
    let mut reader = fetch.reader();
    reader.seek(SeekFrom::Start(place as u64)).await.unwrap();
    let mut bytes = vec![0; 100_000];
    let mut requests = scene.web.requests();
    let is_asked = || {
        let first = |range: &String| range["bytes=".len()..].split('-').next()?.parse().ok();
        let site = scene.web.site.lock().unwrap();
        let mut firsts = site.ranges.iter().filter_map(first);
        firsts.any(|first: usize| (place - CHUNK..=place).contains(&first))
    };
    let asked = requests.wait_for(|_| is_asked());
    tokio::select! {
        asked = asked => drop(asked.unwrap()),
        read = reader.read_exact(&mut bytes) => panic!("{read:?}"),
    }
    assert!(scene.web.site.lock().unwrap().ranges.len() < 10);
    scene.web.allow(u64::MAX);
    tokio::time::timeout(GRACE, reader.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes == content[place..place + 100_000]);
    complete(&fetch, &content).await;
    assert!(scene.web.sent() < 4 * SIZE as u64 * 11 / 10);
}

#[tokio::test]
async fn a_share_goes_on_where_an_earlier_one_ended() {
    let content = content(SIZE);
    let scene = Scene::new(content.clone()).await;
    scene.web.allow(3_000_000);
    let share = scene.share().await;
    let mut progress = share.progress();
    progress.wait_for(|p| p.held_bytes > 2_000_000).await.unwrap();
    share.stop(GRACE).await;
    let before = scene.web.sent();
    scene.web.allow(u64::MAX);
    let share = scene.share().await;
    let mut events = share.events();
    let sha256 = loop {
        if let FileEvent::OriginRead { sha256 } = events.recv().await.unwrap() {
            break sha256;
        }
    };
    assert_eq!(sha256, Digest256::of(&content));
    assert!(share.progress().borrow().resumed_chunks >= 30);
    assert!(scene.web.sent() - before < SIZE as u64 - 1_900_000);
    share.stop(GRACE).await;
    // All of it is there.
    let before = scene.web.sent();
    let share = scene.share().await;
    let fetch = fetch(share.link(), OriginLimit::Off).await;
    complete(&fetch, &content).await;
    assert!(scene.web.sent() - before < 10);
}

#[tokio::test]
async fn a_web_server_without_ranges_is_read_once_in_order() {
    let content = content(SIZE);
    let scene = Scene::new(content.clone()).await;
    scene.web.change(|site| site.has_ranges = false);
    let share = scene.share().await;
    let fetch = fetch(share.link(), OriginLimit::OneCopy).await;
    complete(&fetch, &content).await;
    assert!(scene.web.site.lock().unwrap().ranges.is_empty());
}

#[tokio::test]
async fn a_stated_hash_is_compared_at_the_end() {
    let content = content(SIZE);
    let mut scene = Scene::new(content.clone()).await;
    let right = "Repr-Digest: sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\r\n";
    scene.web.change(|site| site.headers = right.into());
    let share = scene.share().await;
    assert_eq!(share.descriptor().sha256, Some(Digest256([0; 32])));
    let error = tokio::time::timeout(GRACE, share.failed()).await.unwrap();
    assert!(matches!(error, SessionError::Replica(_)), "{error}");
    scene.web.stop().await;
}

#[tokio::test]
async fn an_empty_file_and_a_small_one_are_shared() {
    for size in [0, 1, CHUNK, CHUNK + 1] {
        let content = content(size);
        let scene = Scene::new(content.clone()).await;
        if size == 0 {
            let raw = "HTTP/1.1 416 No\r\nContent-Range: bytes */0\r\nETag: \"0\"\r\nContent-Length: 0\r\n\r\n";
            scene.web.change(|site| site.raw = Some(raw.into()));
        }
        let share = scene.share().await;
        let fetch = fetch(share.link(), OriginLimit::OneCopy).await;
        fetch.completed().await.unwrap();
        assert!(all(&fetch).await == content, "{size}");
    }
}
