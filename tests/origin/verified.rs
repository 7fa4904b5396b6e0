//! A large file of a web server whose link has hashes: those of its chunks are in pages that come from members.

use crate::scene::{GRACE, Scene, complete, content, fetch, local};
use rtmfp::peer::GroupEvent;
use rtmfp::vod::{Descriptor, DescriptorForm};
use rtmfp::vod::{
    Destination, Digest256, Fetch, FetchConfig, FileEvent, Integrity, OriginError, OriginLimit,
    ServerAddress, Share, ShareConfig, ShareLink, SourceFile,
};
use rtmfp::{Connection, GroupSpec};
use std::io::SeekFrom;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Two pages of hashes.
const SIZE: usize = 66 << 20;
const CHUNK: u32 = 65_536;

/// The file on the disk, as `--verified` has it, and the settings of its share.
async fn verified(scene: &Scene, content: &[u8]) -> (SourceFile, ShareConfig) {
    let path = scene.cache.path().join("film.bin");
    std::fs::write(&path, content).unwrap();
    let source = SourceFile::scan(&path, CHUNK, |_| {}).unwrap();
    let mut config = ShareConfig::new(scene.address());
    config.listen = local();
    let origin = rtmfp::vod::HttpOrigin::new(&scene.web.url()).unwrap();
    config.origin = Some(origin.version().await.unwrap());
    (source, config)
}

#[tokio::test]
async fn a_provider_serves_its_pages() {
    let content = content(SIZE);
    let scene = Scene::new(content.clone()).await;
    let (source, config) = verified(&scene, &content).await;
    let share = Share::start(source, config).await.unwrap();
    let fetch = fetch(share.link(), OriginLimit::OneCopy).await;
    // A place whose hashes are in the last page.
    let place = SIZE - 200_000;
    let mut reader = fetch.reader();
    reader.seek(SeekFrom::Start(place as u64)).await.unwrap();
    let mut bytes = vec![0; 100_000];
    tokio::time::timeout(GRACE, reader.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes == content[place..place + 100_000]);
    assert_eq!(fetch.progress().borrow().bytes_from_origin, 0);
}

/// A member that has the descriptor and nothing else: the provider has left early.
async fn only_the_descriptor(scene: &Scene, spec: &str, descriptor: Descriptor) -> Connection {
    let mut config = rtmfp::peer::PeerConfig::default();
    config.listen = local();
    let address: ServerAddress = scene.address();
    let url = format!("rtmfp://{address}/");
    let member = Connection::connect_with(config, &url).await.unwrap();
    let group = member.join(spec.parse::<GroupSpec>().unwrap()).await.unwrap();
    group.add_have_objects(0, 0).await.unwrap();
    tokio::spawn(async move {
        let mut events = group.events();
        while let Ok(event) = events.recv().await {
            if let GroupEvent::ReplicationRequest { request_id, .. } = event {
                let object = descriptor.to_value(DescriptorForm::Object);
                let _ = group.write_requested_object(request_id, &object).await;
            }
        }
    });
    member
}

#[tokio::test]
async fn without_pages_the_chunks_of_the_web_server_give_them() {
    let content = content(SIZE);
    let scene = Scene::new(content.clone()).await;
    let (source, config) = verified(&scene, &content).await;
    let share = Share::start(source, config).await.unwrap();
    let (link, descriptor) = (share.link().clone(), share.descriptor().as_ref().clone());
    share.stop(GRACE).await;
    let _member = only_the_descriptor(&scene, &link.groupspec, descriptor).await;
    let fetch = fetch(&link, OriginLimit::OneCopy).await;
    complete(&fetch, &content).await;
    let progress = fetch.progress().borrow().clone();
    assert_eq!((progress.bytes_from_origin, progress.resumed_chunks), (SIZE as u64, 0));
    let sha256 = fetch.completed().await.unwrap().sha256;
    assert_eq!(sha256, Digest256::of(&content));
}

#[tokio::test]
async fn a_web_server_with_another_file_of_the_same_length_is_noticed_at_a_page() {
    let mut content = content(SIZE);
    let scene = Scene::new(content.clone()).await;
    let (source, config) = verified(&scene, &content).await;
    let share = Share::start(source, config).await.unwrap();
    let (link, descriptor) = (share.link().clone(), share.descriptor().as_ref().clone());
    share.stop(GRACE).await;
    content[1_000_000] ^= 1;
    scene.web.change(|site| site.content = content);
    let _member = only_the_descriptor(&scene, &link.groupspec, descriptor).await;
    let fetch = fetch(&link, OriginLimit::OneCopy).await;
    let mut events = fetch.events();
    let noticed = async {
        loop {
            if let FileEvent::OriginGone(error) = events.recv().await.unwrap() {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(60), noticed).await.unwrap();
    assert_eq!(*error, OriginError::WrongHash);
    assert_eq!(fetch.progress().borrow().held_chunks, 0);
}

/// The link of a share with hashes whose provider is gone.
async fn link_alone(scene: &Scene, content: &[u8]) -> ShareLink {
    let (source, config) = verified(scene, content).await;
    let share = Share::start(source, config).await.unwrap();
    let link = share.link().clone();
    share.stop(GRACE).await;
    link
}

#[tokio::test]
async fn without_anybody_the_whole_file_proves_the_link() {
    for size in [300_000, 0] {
        let content = content(size);
        let scene = Scene::new(content.clone()).await;
        let link = link_alone(&scene, &content).await;
        let before = scene.web.sent();
        let first = fetch(&link, OriginLimit::OneCopy).await;
        let mut events = first.events();
        complete(&first, &content).await;
        let sent = scene.web.sent() - before;
        assert!(sent < size as u64 + 10, "one copy: {sent}");
        let descriptor = first.descriptor().await.unwrap();
        assert_eq!(link.integrity, Integrity::Descriptor(descriptor.digest()));
        let mut seen = Vec::new();
        while let Ok(event) = events.try_recv() {
            seen.extend(match event {
                FileEvent::OriginAlone => Some("alone"),
                FileEvent::OriginProven(_) => Some("proven"),
                FileEvent::Complete(_) => Some("complete"),
                _ => None,
            });
        }
        assert_eq!(seen, ["alone", "proven", "complete"]);
        // It passes on what is proven, and the hashes with it.
        let second = fetch(&link, OriginLimit::Off).await;
        complete(&second, &content).await;
        assert_eq!(second.progress().borrow().bytes_from_origin, 0);
        assert!(second.progress().borrow().bytes_from_peers >= size as u64);
    }
}

#[tokio::test]
async fn a_web_server_with_another_file_is_noticed_at_the_end_if_nobody_has_hashes() {
    let mut content = content(300_000);
    let scene = Scene::new(content.clone()).await;
    let link = link_alone(&scene, &content).await;
    content[200_000] ^= 1;
    scene.web.change(|site| site.content = content);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("film.bin");
    let mut config = FetchConfig::new(link, Destination::File(path.clone()));
    config.listen = local();
    let fetch = Fetch::start(config).await.unwrap();
    let outcome = tokio::time::timeout(GRACE, fetch.completed()).await.unwrap();
    assert!(outcome.unwrap_err().to_string().contains("not the file of the link"));
    assert_eq!(fetch.progress().borrow().held_chunks, 0);
    assert!(!path.exists());
}
