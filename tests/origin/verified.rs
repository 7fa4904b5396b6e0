//! A large file of a web server whose link has hashes: those of its chunks are in pages that come from members.

use crate::scene::{GRACE, Scene, complete, content, fetch, local};
use rtmfp::peer::GroupEvent;
use rtmfp::vod::{Descriptor, DescriptorForm};
use rtmfp::vod::{
    Digest256, FileEvent, OriginError, OriginLimit, ServerAddress, Share, ShareConfig, SourceFile,
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
