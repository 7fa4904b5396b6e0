//! Shares a file and fetches it twice, in one program.
//!
//! ```text
//! $ cargo run --example share_and_fetch
//! shared as rtmfp-share://127.0.0.1:52471/1/group=G:0102010c…/name=poem.txt
//! copy 1 is complete: /tmp/rtmfp-example-4294/copy-1.txt
//! copy 2 is complete: /tmp/rtmfp-example-4294/copy-2.txt
//! 4.5 MB of 8.0 MB came from the provider, the rest from the other receiver
//! ```
//!
//! (The link is longer, and the numbers differ each time.)

use rtmfp::server::{Server, ServerConfig};
use rtmfp::vod::{
    CHUNK_SIZE, Destination, Fetch, FetchConfig, ServerAddress, Share, ShareConfig, SourceFile,
};
use std::path::Path;
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("rtmfp-example-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let outcome = run(&directory).await;
    std::fs::remove_dir_all(&directory)?;
    outcome
}

async fn run(directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let poem = directory.join("poem.txt");
    std::fs::write(&poem, "Shall I compare thee to a summer's day?\n".repeat(100_000))?;

    // The rendezvous server of the group; a server that runs elsewhere works as well.
    let listen = vec!["127.0.0.1:0".parse()?];
    let server = Server::start(ServerConfig::default().with_listen(listen)).await?;
    let address = server.client_addresses()[0];
    let address = ServerAddress::new(&address.ip().to_string(), address.port())?;

    // Hashing reads the whole file, which would block other tasks of an async thread.
    let source =
        tokio::task::spawn_blocking(move || SourceFile::scan(&poem, CHUNK_SIZE, |_| {})).await??;
    let share = Share::start(source, ShareConfig::new(address)).await?;
    println!("shared as {}", share.link());

    let to = |name| FetchConfig::new(share.link().clone(), Destination::File(directory.join(name)));
    let (first, second) =
        tokio::try_join!(Fetch::start(to("copy-1.txt")), Fetch::start(to("copy-2.txt")))?;
    let fetches = [first, second];
    let (mut fetched, mut from_provider) = (0, 0);
    for (number, fetch) in (1..).zip(&fetches) {
        let copy = fetch.completed().await?;
        println!("copy {number} is complete: {}", copy.path.unwrap_or_default().display());
        let progress = fetch.progress().borrow().clone();
        fetched += progress.held_bytes;
        from_provider += progress.bytes_from_provider;
    }
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "{:.1} MB of {:.1} MB came from the provider, the rest from the other receiver",
        megabytes(from_provider),
        megabytes(fetched),
    );

    for fetch in fetches {
        fetch.stop(GRACE).await;
    }
    share.stop(GRACE).await;
    server.stop(GRACE).await?;
    Ok(())
}
