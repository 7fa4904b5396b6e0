//! Hundreds of files on one connection: one pair of sockets, few threads, little memory.
//!
//! All are counted for the whole process, so this test has a binary of its own.
#![cfg(target_os = "linux")]

use rtmfp::driver::POOL_THREADS;
use rtmfp::peer::{Connection, ConnectionState, PeerConfig};
use rtmfp::server::{Server, ServerConfig};
use rtmfp::vod::{
    CHUNK_SIZE, Destination, Digest256, Fetch, FetchConfig, ServerAddress, Share, ShareConfig,
    SourceFile,
};
use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const FILES: usize = 200;
/// The largest of them has two chunks.
const LARGEST: usize = CHUNK_SIZE as usize + 1000;
/// Nothing here takes this long unless it hangs.
const GRACE: Duration = Duration::from_secs(600);
/// Memory of one file at both ends and at the server: two groups, their flows and what they hold.
const MEMORY_OF_A_FILE: u64 = 256 << 10;

/// UDP sockets of this process.
fn sockets() -> usize {
    let tables = ["udp", "udp6"].map(|name| fs::read_to_string(format!("/proc/self/net/{name}")));
    let inodes: HashSet<String> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| line.split_whitespace().nth(9))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| inodes.contains(&*link.to_string_lossy())).count()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn local() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 0))]
}

fn content(number: usize) -> Vec<u8> {
    let length = if number == 0 { LARGEST } else { 1000 + number };
    (0..length).map(|i| (i * (number + 7) % 251) as u8).collect()
}

fn source(directory: &Path, number: usize) -> SourceFile {
    let path = directory.join(format!("file-{number}.bin"));
    fs::write(&path, content(number)).unwrap();
    SourceFile::scan(&path, CHUNK_SIZE, |_| {}).unwrap()
}

#[tokio::test]
async fn two_hundred_files_travel_over_one_connection() {
    let config = ServerConfig::default().with_listen(local());
    let server = Server::start(config).await.unwrap();
    let address = server.local_addresses()[0];
    let uri = format!("rtmfp://{address}/");
    let peer = || PeerConfig::default().with_listen(local());
    let provider = Connection::connect_with(peer(), &uri).await.unwrap();
    let receiver = Connection::connect_with(peer(), &uri).await.unwrap();
    let (sockets_before, threads_before, memory_before) = (sockets(), threads(), resident());
    // The server has one, and two for what it checks for clients.
    assert_eq!(sockets_before, 5, "the server's three and those of two connections");

    let directory = tempfile::tempdir().unwrap();
    let named = ServerAddress::new(&address.ip().to_string(), address.port()).unwrap();
    let mut shares = Vec::new();
    for number in 0..FILES {
        let config = ShareConfig::new(named.clone());
        let source = source(directory.path(), number);
        shares.push(Share::start_on(&provider, source, config).await.unwrap());
    }
    let mut fetches = Vec::new();
    for share in &shares {
        assert_eq!(share.link().provider, Some(Digest256(provider.peer_id().0)));
        let config = FetchConfig::new(share.link().clone(), Destination::Memory);
        fetches.push(Fetch::start_on(&receiver, config).await.unwrap());
    }
    for (number, fetch) in fetches.iter().enumerate() {
        let completed = fetch.completed().await.unwrap();
        assert_eq!(completed.sha256, Digest256::of(&content(number)), "file {number}");
    }

    assert_eq!(sockets(), sockets_before);
    let keying = std::thread::available_parallelism().unwrap().get();
    let more_threads = threads().saturating_sub(threads_before);
    assert!(more_threads <= 2 * POOL_THREADS + 3 * keying, "{more_threads} threads more");
    let memory = resident().saturating_sub(memory_before);
    assert!(memory <= FILES as u64 * MEMORY_OF_A_FILE, "{memory} bytes more");
    eprintln!("{more_threads} threads and {} KiB more", memory >> 10);

    // One file ends and the others stay.
    let last = fetches.pop().unwrap();
    last.stop(GRACE).await;
    assert!(matches!(receiver.state(), ConnectionState::Connected { .. }));
    let stats = receiver.stats().await.unwrap();
    assert_eq!(stats.sessions, 2, "the server and the provider");
    let read = fetches[0].read_chunk(1).await.unwrap();
    assert_eq!(read[..], content(0)[..CHUNK_SIZE as usize]);
    drop((shares, fetches));
    provider.close(GRACE).await.unwrap();
    receiver.close(GRACE).await.unwrap();
    server.stop(GRACE).await.unwrap();
}
