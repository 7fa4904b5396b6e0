//! Fetchers that read from the web server what the swarm lacks, and compare with it what comes.

use crate::scene::{GRACE, Scene, complete, content, fetch, local};
use rtmfp::peer::GroupEvent;
use rtmfp::vod::{FileEvent, OriginLimit};
use rtmfp::{Connection, GroupSpec};
use std::time::Duration;

const SIZE: usize = 3_000_001;

#[tokio::test]
async fn without_any_provider_the_web_server_is_enough() {
    let content = content(SIZE);
    let scene = Scene::new(content.clone()).await;
    let link = scene.link().await;
    let first = fetch(&link, OriginLimit::OneCopy).await;
    complete(&first, &content).await;
    let origin = first.progress().borrow().bytes_from_origin;
    assert!(origin >= SIZE as u64, "{origin}");
    // Another one has it from the first.
    let before = scene.web.sent();
    let second = fetch(&link, OriginLimit::OneCopy).await;
    complete(&second, &content).await;
    assert!(scene.web.sent() - before < SIZE as u64 / 4, "{}", scene.web.sent() - before);
}

#[tokio::test]
async fn not_even_the_rendezvous_server_is_needed() {
    let content = content(SIZE);
    let scene = Scene::new(content.clone()).await;
    let link = scene.link().await;
    scene.server.stop(GRACE).await.unwrap();
    let mut config = rtmfp::vod::FetchConfig::new(link, rtmfp::vod::Destination::Memory);
    config.listen = local();
    let fetch = rtmfp::vod::Fetch::start(config).await.unwrap();
    complete(&fetch, &content).await;
}

#[tokio::test]
async fn a_provider_that_leaves_in_the_middle_is_replaced_by_the_web_server() {
    let content = content(2 * SIZE);
    let scene = Scene::new(content.clone()).await;
    scene.web.allow(2_000_000);
    let share = scene.share().await;
    let link = share.link().clone();
    let fetches =
        [fetch(&link, OriginLimit::OneCopy).await, fetch(&link, OriginLimit::OneCopy).await];
    for fetch in &fetches {
        let mut progress = fetch.progress();
        progress.wait_for(|p| p.held_chunks > 5).await.unwrap();
    }
    share.stop(GRACE).await;
    scene.web.allow(u64::MAX);
    for fetch in &fetches {
        complete(fetch, &content).await;
    }
    let copies = scene.web.sent() as f64 / content.len() as f64;
    assert!(copies < 1.6, "{copies}");
}

#[tokio::test]
async fn a_limit_of_the_origin_is_kept() {
    let scene = Scene::new(content(SIZE)).await;
    let link = scene.link().await;
    let fetch = fetch(&link, OriginLimit::Bytes(1_000_000)).await;
    let mut progress = fetch.progress();
    progress.wait_for(|p| p.bytes_from_origin >= 1_000_000).await.unwrap();
    let longer = tokio::time::timeout(Duration::from_secs(3), fetch.completed()).await;
    assert!(longer.is_err());
    assert!(progress.borrow().bytes_from_origin <= 1_000_000 + (1 << 20));
}

#[tokio::test]
async fn a_changed_origin_is_not_read() {
    let scene = Scene::new(content(SIZE)).await;
    let link = scene.link().await;
    scene.web.change(|site| site.etag = "\"second\"".into());
    let fetch = fetch(&link, OriginLimit::OneCopy).await;
    let mut events = fetch.events();
    loop {
        if let FileEvent::OriginGone(error) = events.recv().await.unwrap() {
            assert!(error.to_string().contains("was changed"), "{error}");
            break;
        }
    }
    assert_eq!(fetch.progress().borrow().held_chunks, 0);
}

#[tokio::test]
async fn a_member_that_sends_something_else_is_dropped_and_its_chunks_are_fetched_again() {
    let content = content(SIZE);
    let scene = Scene::new(content.clone()).await;
    let link = scene.link().await;
    let spec: GroupSpec = link.groupspec.parse().unwrap();
    let mut config = rtmfp::peer::PeerConfig::default();
    config.listen = local();
    let poisoner =
        Connection::connect_with(config, &link.server_url(&link.servers[0])).await.unwrap();
    let group = poisoner.join(spec).await.unwrap();
    let chunks = SIZE.div_ceil(65_536) as u64;
    group.add_have_objects(1, chunks).await.unwrap();
    let poison = tokio::spawn(async move {
        let mut events = group.events();
        while let Ok(event) = events.recv().await {
            if let GroupEvent::ReplicationRequest { index, request_id } = event {
                let length = if index == chunks { SIZE % 65_536 } else { 65_536 };
                let garbage = rtmfp::amf::Value::ByteArray(vec![index as u8; length].into());
                let _ = group.write_requested_object(request_id, &garbage).await;
            }
        }
    });
    let fetch = fetch(&link, OriginLimit::OneCopy).await;
    let mut events = fetch.events();
    loop {
        if let FileEvent::BadObject { from, fault, .. } = events.recv().await.unwrap() {
            assert_eq!(from, poisoner.peer_id());
            assert!(fault.to_string().contains("web server"), "{fault}");
            break;
        }
    }
    complete(&fetch, &content).await;
    poison.abort();
}
