//! Sharing and fetching as a library does it, over real sockets.

use rtmfp::peer::{Bandwidth, Limits, MIN_NEIGHBORS};
use rtmfp::server::{Server, ServerConfig};
use rtmfp::vod::replica::Stage;
use rtmfp::vod::{
    CHUNK_SIZE, Destination, Digest256, Fetch, FetchConfig, FileEvent, ServerAddress, SessionError,
    Share, ShareConfig, ShareLink, SourceFile, StoreError,
};
use std::io::SeekFrom;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Nothing here takes this long unless it hangs.
const GRACE: Duration = Duration::from_secs(600);
const SIZE: u64 = 300_001;

fn local() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 0))]
}

async fn server() -> (Server, ServerAddress) {
    let config = ServerConfig::default().with_listen(local());
    let server = Server::start(config).await.unwrap();
    let address = server.local_addresses()[0];
    let named = ServerAddress::new(&address.ip().to_string(), address.port()).unwrap();
    (server, named)
}

fn content() -> Vec<u8> {
    (0..SIZE).map(|i| (i % 251) as u8).collect()
}

async fn share(directory: &Path, server: ServerAddress) -> Share {
    let path = directory.join("film.bin");
    std::fs::write(&path, content()).unwrap();
    let source = SourceFile::scan(&path, CHUNK_SIZE, |_| {}).unwrap();
    let mut config = ShareConfig::new(server);
    config.listen = local();
    Share::start(source, config).await.unwrap()
}

async fn fetch(link: &ShareLink) -> Result<Fetch, SessionError> {
    let mut config = FetchConfig::new(link.clone(), Destination::Memory);
    config.listen = local();
    Fetch::start(config).await
}

#[tokio::test]
async fn a_file_is_fetched_into_memory() {
    let (_server, address) = server().await;
    let directory = tempfile::tempdir().unwrap();
    let share = share(directory.path(), address).await;
    assert!(share.progress().borrow().connected);
    assert_eq!(share.link().name.as_deref(), Some("film.bin"));

    let fetch = fetch(share.link()).await.unwrap();
    let completed = fetch.completed().await.unwrap();
    assert_eq!((completed.sha256, completed.path), (Digest256::of(&content()), None));
    let progress = fetch.progress().borrow().clone();
    assert_eq!((progress.stage, progress.held_bytes), (Stage::Complete, SIZE));
    assert_eq!((progress.bytes_from_provider, progress.bytes_from_peers), (SIZE, 0));
    assert!(progress.map.columns().iter().all(|&column| column == 1.0));

    let mut copy = Vec::new();
    for index in 1..=progress.chunks {
        copy.extend_from_slice(&fetch.read_chunk(index).await.unwrap());
    }
    assert!(copy == content());
    let beyond = fetch.read_chunk(progress.chunks + 1).await.unwrap_err();
    let SessionError::Store(error) = &beyond else { panic!("{beyond}") };
    assert!(matches!(**error, StoreError::NotHeld { .. }), "{beyond}");
}

#[tokio::test]
async fn a_receiver_shares_on_when_the_provider_is_gone() {
    let (_server, address) = server().await;
    let directory = tempfile::tempdir().unwrap();
    let share = share(directory.path(), address).await;
    let link = share.link().clone();
    let first = fetch(&link).await.unwrap();
    first.completed().await.unwrap();
    let mut events = first.events();
    share.stop(GRACE).await;
    while !matches!(events.recv().await.unwrap(), FileEvent::NeighborDisconnect(_)) {}

    let second = fetch(&link).await.unwrap();
    let completed = second.completed().await.unwrap();
    assert_eq!(completed.sha256, Digest256::of(&content()));
    let progress = second.progress().borrow().clone();
    assert_eq!((progress.bytes_from_provider, progress.bytes_from_peers), (0, SIZE));
    let mut uploaded = first.progress();
    uploaded.wait_for(|p| p.bytes_uploaded > SIZE).await.unwrap();
}

#[tokio::test]
async fn the_second_server_of_a_link_is_used_when_the_first_has_no_address() {
    let (_server, address) = server().await;
    let directory = tempfile::tempdir().unwrap();
    let share = share(directory.path(), address).await;
    let mut link = share.link().clone();
    link.servers.insert(0, ServerAddress::new("no-such-host.invalid", 1935).unwrap());
    fetch(&link).await.unwrap().completed().await.unwrap();

    link.servers.truncate(1);
    let error = fetch(&link).await.unwrap_err();
    assert!(matches!(error, SessionError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains("no-such-host.invalid:1935 has no address"), "{error}");
}

#[tokio::test]
async fn dropping_a_share_leaves_the_group() {
    let (server, address) = server().await;
    let directory = tempfile::tempdir().unwrap();
    let share = share(directory.path(), address).await;
    let fetch = fetch(share.link()).await.unwrap();
    fetch.completed().await.unwrap();
    let mut events = fetch.events();
    drop(share);
    while !matches!(events.recv().await.unwrap(), FileEvent::NeighborDisconnect(_)) {}
    fetch.stop(GRACE).await;
    server.stop(GRACE).await.unwrap();
}

#[tokio::test]
async fn a_group_without_replication_is_not_for_files() {
    let server = ServerAddress::new("192.0.2.1", 1935).unwrap();
    let link = ShareLink::new(vec![server], "G:0103010c050e6368617400").unwrap();
    let error = fetch(&link).await.unwrap_err();
    assert!(matches!(error, SessionError::NotForFiles), "{error}");
}

#[tokio::test]
async fn a_file_is_read_while_it_arrives() {
    let (_server, address) = server().await;
    let directory = tempfile::tempdir().unwrap();
    let share = share(directory.path(), address).await;
    let fetch = fetch(share.link()).await.unwrap();
    let (mut reader, mut copy) = (fetch.reader(), Vec::new());
    reader.read_to_end(&mut copy).await.unwrap();
    assert!(copy == content());
    assert_eq!(reader.read(&mut [0; 16]).await.unwrap(), 0, "the end");

    for (to, position) in [
        (SeekFrom::Start(70_000), 70_000),
        (SeekFrom::Current(-70_000 - 10), 0),
        (SeekFrom::End(-7), SIZE - 7),
    ] {
        assert_eq!(reader.seek(to).await.unwrap(), position, "{to:?}");
        let mut part = [0; 10];
        let count = reader.read(&mut part).await.unwrap();
        assert_eq!(part[..count], content()[position as usize..][..count], "{to:?}");
        assert_eq!(count as u64, (SIZE - position).min(10), "{to:?}");
    }
    assert_eq!(reader.seek(SeekFrom::Start(SIZE + 9)).await.unwrap(), SIZE + 9);
    assert_eq!(reader.read(&mut [0; 16]).await.unwrap(), 0, "behind the end");
    let before = reader.seek(SeekFrom::End(-(SIZE as i64) - 1)).await.unwrap_err();
    assert_eq!(before.kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn what_a_reader_has_jumped_to_is_fetched_first() {
    const CHUNKS: u64 = 60;
    let (_server, address) = server().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("film.bin");
    let content: Vec<u8> = (0..CHUNKS * u64::from(CHUNK_SIZE)).map(|i| (i % 249) as u8).collect();
    std::fs::write(&path, &content).unwrap();
    let mut config = ShareConfig::new(address);
    config.listen = local();
    // Ten chunks a second, and two at once.
    config.limits = Limits::default().with_up(Some(Bandwidth::bytes_per_second(650_000)));
    let source = SourceFile::scan(&path, CHUNK_SIZE, |_| {}).unwrap();
    let share = Share::start(source, config).await.unwrap();
    let fetch = fetch(share.link()).await.unwrap();
    let held = || fetch.progress().borrow().held_chunks;

    let (mut reader, mut other, mut part) = (fetch.reader(), fetch.reader(), [0; 1000]);
    reader.read_exact(&mut part).await.unwrap();
    let before = held();
    let position = 50 * u64::from(CHUNK_SIZE) + 5;
    reader.seek(SeekFrom::Start(position)).await.unwrap();
    reader.read_exact(&mut part).await.unwrap();
    assert!(part == content[position as usize..][..1000]);
    assert!(held() < before + 12, "{} chunks came first, after {before}", held());

    // Without the reader, the beginning is next, and what is read from there.
    drop(reader);
    let mut rest = Vec::new();
    other.read_to_end(&mut rest).await.unwrap();
    assert!(rest == content);
    assert_eq!(fetch.progress().borrow().bytes_from_provider, content.len() as u64, "once each");
    fetch.completed().await.unwrap();
}

#[tokio::test]
async fn limits_are_set_and_changed_while_a_file_is_fetched() {
    let (_server, address) = server().await;
    let directory = tempfile::tempdir().unwrap();
    let share = share(directory.path(), address).await;
    let slow = Some(Bandwidth::bytes_per_second(2_000));
    let mut config = FetchConfig::new(share.link().clone(), Destination::Memory);
    config.listen = local();
    config.limits = Limits::default().with_down(slow);
    config.max_neighbors = Some(MIN_NEIGHBORS);
    let fetch = Fetch::start(config).await.unwrap();
    assert_eq!(fetch.connection().limits().await, Ok(Limits::default().with_down(slow)));
    // With that limit one chunk in 33 s.
    let mut progress = fetch.progress();
    progress.wait_for(|progress| progress.stage == Stage::Chunks).await.unwrap();
    let fast = Limits::default().with_up(slow);
    fetch.connection().set_limits(fast).await.unwrap();
    assert_eq!(fetch.connection().limits().await, Ok(fast));
    fetch.completed().await.unwrap();
    let connection = fetch.connection().clone();
    connection.close(GRACE).await.unwrap();
    assert!(connection.set_limits(Limits::default()).await.is_err());
}
